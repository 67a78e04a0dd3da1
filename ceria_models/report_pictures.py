"""Pictures of a film as a whole: counts over time along a row, events over time."""

from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ceria_models.overlay import COLOUR_MAPS, show_image
from ceria_models.report_tables import PredictedFilm
from ceria_models.report_traces import MISSING, Traces
from ceria_models.report_words import kind_of

_DPI = 110
_UNKNOWN = np.array([0.6, 0.6, 0.6])
"""Grey that unsure counts fade to; no count has it."""
_NAMED = 24
"""Columns of a kymograph that are named at most."""


def kymograph_png(tables: PredictedFilm, traces: Traces, row: NDArray[np.int64]) -> bytes:
    """Draw the counts of columns in a row over time, beside the way of the row.

    Parameters
    ----------
    tables : PredictedFilm
    traces : Traces
    row : array of int
        Sites of one species, at least one.

    Returns
    -------
    bytes
        PNG.
    """
    species = str(tables.sites["species"][row[0]])
    counts, sure = traces.occupancy[row], traces.confidence[row] / 255
    figure = Figure(figsize=(12, min(3.2 + 0.09 * len(row), 7)), layout="constrained")
    way, axis = figure.subplots(1, 2, width_ratios=(1, 2.4))
    _draw_way(way, tables, row)
    low, high = _range(counts)
    colours = ListedColormap(colormaps[COLOUR_MAPS[species]](np.linspace(0, 1, high - low + 1)))
    norm = BoundaryNorm(np.arange(low - 0.5, high + 1), high - low + 1)
    picture = colours(norm(np.clip(counts, low, high)))[..., :3]
    share = np.where(counts == MISSING, 0.0, np.clip(2 * sure - 0.4, 0.15, 1.0))[..., None]
    picture = share * picture + (1 - share) * _UNKNOWN
    time = tables.frames["time_s"].to_numpy(dtype=np.float64)
    edges = _edges(time[traces.frames])
    axis.pcolorfast(edges, np.arange(len(row) + 1) - 0.5, picture)
    axis.invert_yaxis()
    step = -(-len(row) // _NAMED)
    axis.set_yticks(range(0, len(row), step), [str(site) for site in row[::step]], fontsize=8)
    axis.set(xlabel="time (s)", ylabel="column, along the line")
    axis.set_title(f"{species} columns over time; grey = unsure")
    _mark_events(axis, tables, row, (edges[0], edges[-1]))
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axis, ticks=range(low, high + 1))
    bar.set_label(f"{species} atoms in the column")
    return _png(figure)


def _draw_way(axis: Axes, tables: PredictedFilm, row: NDArray[np.int64]) -> None:
    show_image(axis, tables.reference, tables.field)
    x, y = (tables.sites[name].to_numpy()[row] for name in ("x_A", "y_A"))
    axis.plot(x, y, "-", c="#56B4E9", lw=1)
    axis.scatter(x, y, s=14, c="#56B4E9", zorder=3)
    for at, word in ((0, str(row[0])), (len(row) - 1, str(row[-1]))):
        axis.annotate(
            word, (x[at], y[at]), (4, 4), textcoords="offset points", color="white", fontsize=9,
            bbox={"facecolor": "black", "alpha": 0.6, "pad": 1, "lw": 0},
        )  # fmt: skip
    axis.set_title("mean of the film, and the row")


def _range(counts: NDArray[np.uint8]) -> tuple[int, int]:
    known = counts[counts != MISSING]
    return (int(known.min()), int(known.max())) if len(known) else (0, 1)


def _edges(time: NDArray[np.float64]) -> NDArray[np.float64]:
    """Borders between frames: each lasts until the next."""
    step = float(np.median(np.diff(time))) if len(time) > 1 else 1.0
    return np.append(time, time[-1] + step)


def _mark_events(
    axis: Axes, tables: PredictedFilm, row: NDArray[np.int64], span: tuple[float, float]
) -> None:
    place = {int(site): i for i, site in enumerate(row)}
    kinds: dict[str, None] = {}
    for event in tables.events.to_dict("records"):
        kind = kind_of(str(event["kind"]))
        left = {"color": kind.colour, "mec": "white"}
        came = {"mfc": "white", "mec": kind.colour, "mew": 1.5}
        for end, style in (("site_from", left), ("site_to", came)):
            if int(event[end]) in place:
                kinds[str(event["kind"])] = None
                axis.plot(event["time_s"], place[int(event[end])], kind.marker, ms=8, **style)
    axis.set_xlim(*span)
    if kinds:
        legend = axis.legend(
            handles=_legend(list(kinds)), fontsize=8, loc="upper left", ncols=3, frameon=False,
            bbox_to_anchor=(0, -0.12), title="filled: an atom left, white: an atom came",
        )  # fmt: skip
        legend.get_title().set_fontsize(8)


def _legend(kinds: list[str]) -> list[Line2D]:
    return [
        Line2D([], [], ls="none", marker=kind_of(name).marker, c=kind_of(name).colour,
               mec="white", ms=8, label=kind_of(name).words)
        for name in kinds
    ]  # fmt: skip


def timeline_png(tables: PredictedFilm) -> bytes:
    """Draw every event at its time, with its interval, and how sure it is.

    Parameters
    ----------
    tables : PredictedFilm

    Returns
    -------
    bytes
        PNG; without events it says so.
    """
    events = tables.events
    kinds = list(dict.fromkeys(str(kind) for kind in events["kind"]))
    figure = Figure(figsize=(10, 1.7 + 0.55 * max(len(kinds), 1)), layout="constrained")
    axis = figure.subplots()
    for i, name in enumerate(kinds):
        own, kind = events[events["kind"] == name], kind_of(name)
        time, sure = (own[key].to_numpy(dtype=np.float64) for key in ("time_s", "confidence"))
        ends: Any = np.stack([own["time_low_s"].fillna(own["time_s"]),
                              own["time_high_s"].fillna(own["time_s"])])  # fmt: skip
        height = i + 0.35 - 0.7 * sure
        axis.hlines(height, *ends, color=kind.colour, lw=1.5, alpha=0.6)
        axis.plot(time, height, kind.marker, c=kind.colour, mec="0.2", mew=0.5, ms=7)
        axis.axhspan(i - 0.35, i + 0.35, color="0.5", alpha=0.08, lw=0)
    if not kinds:
        axis.text(0.5, 0.5, "no event was found", ha="center", transform=axis.transAxes)
    words = [f"{kind_of(name).words} ({(events['kind'] == name).sum()})" for name in kinds]
    axis.set_yticks(range(len(kinds)), words)
    axis.set_ylim(max(len(kinds), 1) - 0.4, -0.6)
    edges = _edges(tables.frames["time_s"].to_numpy(dtype=np.float64))
    axis.set_xlim(edges[0], edges[-1])
    axis.set_xlabel("time (s)")
    axis.set_title(
        "events; within a band confidence goes from 0 (below) to 1 (above); bars: 90 % intervals",
        fontsize=10,
    )
    axis.grid(axis="x", alpha=0.3)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    file = BytesIO()
    figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
    return file.getvalue()
