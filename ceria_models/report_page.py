"""One page, which needs nothing else, to look at a predicted film."""

import gzip
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from matplotlib import colormaps
from matplotlib.colors import to_hex

from ceria_data.schema import SPECIES
from ceria_models.overlay import COLOUR_MAPS
from ceria_models.report_frames import ShownFrames, grey_jpeg, shrunk
from ceria_models.report_tables import PredictedFilm
from ceria_models.report_traces import Traces
from ceria_models.report_words import decimals, kind_of, place_of

MOST_EVENTS = 5000
"""Events of a page, the most certain ones."""
_MOST_WARNINGS = 8
_REFERENCE_SIDE = 720
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
"""So that no text of a file ends the script that it stands in."""


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes
    ----------
    name, caption : str
    png : bytes
    """

    name: str
    caption: str
    png: bytes

    @property
    def source(self) -> str:
        """The picture as a text that an image element takes."""
        return "data:image/png;base64," + b64encode(self.png).decode("ascii")


def page_of(
    tables: PredictedFilm,
    traces: Traces,
    shown: ShownFrames | None,
    notes: Sequence[str],
    pictures: Sequence[Picture] = (),
) -> str:
    """Make the page.

    Parameters
    ----------
    tables : PredictedFilm
    traces : Traces
        With the frames that are shown.
    shown : ShownFrames or None
        None where the film is not there any more: the page shows the mean of all frames.
    notes : sequence of str
        What a reader has to know, beside the warnings of the prediction.
    pictures : sequence of Picture

    Returns
    -------
    str
        HTML.
    """
    events = page_events(tables)
    template = files("ceria_models.templates")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    page = environment.from_string(template.joinpath("report.html.j2").read_text("utf-8"))
    return page.render(
        title=tables.name,
        summary=_summary(tables, events),
        warnings=_warnings(tables, notes),
        facts=_facts(tables),
        rates=_rates(tables.rates),
        tracked=tables.tracked,
        folder=tables.folder.name,
        pictures=pictures,
        notes=_notes(tables, traces, shown, len(events)),
        css=template.joinpath("report.css").read_text("utf-8"),
        js=template.joinpath("report.js").read_text("utf-8"),
        content=as_script(page_content(tables, traces, shown, events)),
        frames=as_script(
            {
                "raw": [_base64(one) for one in shown.raw] if shown else [],
                "averaged": [_base64(one) for one in shown.averaged] if shown else [],
                "reference": _base64(_reference(tables)),
            }
        ),
        counts=packed_counts(traces),
    )


def as_script(value: Any) -> str:
    r"""Write a value as JSON that may stand in a script element, whatever texts it holds.

    Examples
    --------
    >>> as_script({"source": "</script><b>&"})
    '{"source":"\\u003c/script\\u003e\\u003cb\\u003e\\u0026"}'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def packed_counts(traces: Traces) -> str:
    """Pack the seven arrays of traces, each (site, time), as base64 of gzip."""
    arrays = (
        traces.occupancy, traces.confidence, traces.low, traces.high, traces.reading,
        traces.reading_confidence, traces.level,
    )  # fmt: skip
    return _base64(gzip.compress(b"".join(array.tobytes() for array in arrays), 7, mtime=0))


def page_events(tables: PredictedFilm) -> list[dict[str, Any]]:
    """List the events of a page in the order of time; of very many, the most certain ones."""
    certain = tables.events.sort_values("confidence", ascending=False, kind="stable")
    own = certain.head(MOST_EVENTS).sort_values(["time_s", "event"])
    times = ("time_s", "time_low_s", "time_high_s")
    for name in times[1:]:
        own[name] = own[name].fillna(own["time_s"])
    return [
        {
            "event": int(row["event"]),
            "kind": str(row["kind"]),
            "species": str(row["species"]),
            **{name: round(float(row[name]), 6) for name in times},
            "frame": int(row["frame"]),
            "site_from": int(row["site_from"]),
            "site_to": int(row["site_to"]),
            "confidence": round(float(row["confidence"]), 4),
            "x_A": round(float(row["x_A"]), 3),
            "y_A": round(float(row["y_A"]), 3),
        }
        for row in own.to_dict("records")
    ]  # fmt: skip


def page_content(
    tables: PredictedFilm, traces: Traces, shown: ShownFrames | None, events: list[dict[str, Any]]
) -> dict[str, Any]:
    """Gather what the script of the page reads, but for pictures and counts.

    Parameters
    ----------
    tables : PredictedFilm
    traces : Traces
    shown : ShownFrames or None
        None: the frames of the traces, of which the page has no pictures.
    events : list of dict

    Returns
    -------
    dict
        Numbers, texts, lists and dicts of these.
    """
    frames = traces.frames if shown is None else shown.frames
    regular = np.ones(len(frames), dtype=bool) if shown is None else shown.regular
    time = tables.frames["time_s"].to_numpy(dtype=np.float64)
    dose = tables.frames["dose_e_per_A2"].to_numpy(dtype=np.float64)
    species = [str(name) for name in tables.sites["species"]]
    return {
        "name": tables.name,
        "n_frames": len(tables.frames),
        "time": _rounded([time[0], time[-1]], 6),
        "decimals": decimals(tables.frame_time_s),
        "sampling": tables.sampling,
        "pixels": list(tables.field.shape),
        "tracked": tables.tracked,
        "neighbours": shown.neighbours if shown else 0,
        "shown": {
            "frames": frames.tolist(),
            "regular": regular.astype(int).tolist(),
            "time": _rounded(time[frames], 6),
            "drift": [_rounded(pair, 3) for pair in tables.drift[frames]],
            "dose": [None if np.isnan(d) else float(f"{d:.3g}") for d in dose[frames]],
        },
        "sites": {
            "species": species,
            "x": _rounded(tables.sites["x_A"], 3),
            "y": _rounded(tables.sites["y_A"], 3),
            "place": tables.places,
        },
        "traces": {"frames": traces.frames.tolist(), "time": _rounded(time[traces.frames], 6)},
        "events": events,
        "rates": _clean(tables.rates),
        "kinds": {
            name: {"words": kind_of(name).words, "colour": kind_of(name).colour}
            for name in dict.fromkeys(event["kind"] for event in events)
        },
        "colours": {
            name: _colours(name, traces.most_of((tables.sites["species"] == name).to_numpy()))
            for name in SPECIES
        },
    }


def _colours(species: str, most: int) -> list[str]:
    """Give each count from 1 its colour, as on overlays."""
    steps = np.linspace(0, 1, max(most, 2))
    return [to_hex(colour) for colour in colormaps[COLOUR_MAPS[species]](steps)]


def _reference(tables: PredictedFilm) -> bytes:
    y, x = tables.field.shape
    scale = min(1.0, _REFERENCE_SIDE / max(y, x))
    return grey_jpeg(shrunk(tables.reference, (max(1, round(x * scale)), max(1, round(y * scale)))))


def _summary(tables: PredictedFilm, events: list[dict[str, Any]]) -> str:
    number = tables.sites.groupby("species").size()
    found = " and ".join(f"{number.get(name, 0)} {name}" for name in SPECIES)
    text = f"{found} columns in {len(tables.frames):,} frame{'s' * (len(tables.frames) != 1)}"
    if not tables.tracked:
        return text + "; not tracked yet"
    return text + f", {len(events):,} event{'s' * (len(events) != 1)}"


def _warnings(tables: PredictedFilm, notes: Sequence[str]) -> list[str]:
    found = []
    if tables.facts.get("forced"):
        found.append(
            "This prediction was forced: the film lies far outside of what the net has seen, and "
            "the counts may mean nothing."
        )
    elif tables.facts.get("in_domain") is False:
        found.append("Outside of what the net has seen; counts are less certain than they say.")
    own = [str(text) for text in tables.facts.get("warnings") or ()]
    found += own[:_MOST_WARNINGS]
    if len(own) > _MOST_WARNINGS:
        found.append(f"{len(own) - _MOST_WARNINGS} more warnings are in prediction.json.")
    return found + list(notes)


def _facts(tables: PredictedFilm) -> list[tuple[str, str]]:
    facts, step, n = tables.facts, tables.frame_time_s, len(tables.frames)
    doses = tables.frames["dose_e_per_A2"].dropna()
    height, width = tables.field.extent
    across, down = np.ptp(tables.drift, axis=0)
    known = [("frames", f"{n:,}")]
    if step:
        known += [("frame time", f"{1000 * step:.3g} ms"), ("length", f"{n * step:.3g} s")]
    if len(doses):
        dose = float(doses.median())
        electrons = dose * tables.sampling**2
        known.append(("dose of a frame", f"{dose:.3g} e⁻/Å² ({electrons:.2g} per pixel)"))
    known += [
        ("pixel size", _pixel_size(tables)),
        ("field", f"{0.1 * width:.3g} × {0.1 * height:.3g} nm"),
        ("model", f"{facts.get('model', '?')} {facts.get('model_version', '')}".strip()),
        ("drift", f"{across:.2g} × {down:.2g} Å"),
        ("software", f"ceria {facts.get('software', '?')}"),
    ]
    return known


_RESTS_ON = {
    "flag": "given", "file": "from the file", "dataset": "of the dataset",
    "estimated": "from the reflections",
}  # fmt: skip


def _pixel_size(tables: PredictedFilm) -> str:
    """Say the pixel size, how sure it is, and what it rests on."""
    sure = tables.facts.get("sampling_uncertainty_A")
    rests_on = _RESTS_ON.get(str(tables.facts.get("sampling_source")), "")
    size = f"{tables.sampling:.4g}" + (f" ± {sure:.2g}" if sure else "") + " Å"
    return f"{size}, {rests_on}" if rests_on else size


def _rates(rates: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {
            "kind": kind_of(str(row["kind"])).words,
            "place": place_of(str(row["surface"]), str(row["facet"] or "")),
            "n": f"{row['n_events']:.1f}",
            "seconds": f"{row['column_seconds']:.3g}",
            "rate": f"{row['rate_per_s']:.2g} ({row['rate_low']:.2g} to {row['rate_high']:.2g})",
        }
        for row in rates.sort_values("n_events", ascending=False, kind="stable").to_dict("records")
    ]


def _notes(
    tables: PredictedFilm, traces: Traces, shown: ShownFrames | None, n_events: int
) -> list[str]:
    """Say what the page leaves out."""
    notes = []
    if shown is None:
        notes.append("The mean of all frames, their drift taken off, stands for the frames.")
    else:
        y, x = shown.pixels
        which = "All frames" if shown.stride == 1 else f"Every frame number {shown.stride} × n"
        besides = int((~shown.regular).sum())
        and_more = f", and {besides} frames before and at events" if besides else ""
        notes.append(
            f"{which}{and_more}: {len(shown.frames)} of {len(tables.frames):,}, as 8-bit JPEG of "
            f"{x} × {y} pixels (film: {tables.field.shape[1]} × {tables.field.shape[0]})."
        )
        if shown.neighbours:
            notes.append(
                f"An average is that of a frame and of {shown.neighbours} frames before and after "
                "it, moved by their drift in whole pixels."
            )
    if traces.stride > 1:
        notes.append(
            f"Traces have every frame number {traces.stride} × n, and those that are shown; "
            "probabilities are kept in steps of 1/255."
        )
    if n_events < len(tables.events):
        notes.append(f"The {n_events:,} most certain of {len(tables.events):,} events are listed.")
    notes.append(
        "Positions: x along the rows of the image, y down, from the centre of the first pixel, in "
        "the mean of the film with drift taken off."
    )
    return notes


def _clean(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows without NaN, which JSON has no word for."""
    return [
        {
            str(name): None if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in row.items()
        }
        for row in table.to_dict("records")
    ]


def _rounded(values: Any, places: int) -> list[float]:
    return [round(float(value), places) for value in values]


def _base64(content: bytes) -> str:
    return b64encode(content).decode("ascii")
