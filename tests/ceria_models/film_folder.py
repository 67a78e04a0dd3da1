"""The folder of a predicted and tracked film, with known truth, without a net."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter, shift

from ceria_data.dataset import open_dataset

CLASSES = 15
SAMPLING = 0.2
FRAME_TIME = 1 / 30
_READING_SD = {"Ce": 0.8, "O": 1.6}
"""Of the count that one frame tells [atoms]."""
_TRACK_SD = 0.4


@dataclass(frozen=True)
class Script:
    """What happens in the film.

    Attributes
    ----------
    frames : int
    events : list of (kind, frame)
        Each takes the next columns of its species.
    oxygen : bool
        O columns are there.
    tracked : bool
        The tables of `track` too.
    source : str
        Name of the film's file, in the folder's parent; it is written unless `lost`.
    warnings : list of str
    """

    frames: int = 24
    events: tuple[tuple[str, int], ...] = (
        ("migration", 8), ("departure", 12), ("vacancy_creation", 15), ("vacancy_filling", 20),
    )  # fmt: skip
    oxygen: bool = True
    tracked: bool = True
    source: str = "film.npy"
    lost: bool = False
    dose: float = 300.0
    forced: bool = False
    warnings: list[str] = field(default_factory=list)


def make_folder(parent: Path, script: Script | None = None, seed: int = 0) -> Path:
    """Write the film, and the folder that `predict` and `track` would make of it."""
    script = script or Script()
    rng = np.random.default_rng(seed)
    sample = open_dataset("ceria-columns-mini", "test")[78]
    image = sample.intensity.astype(np.float64)
    sites = _sites(sample.columns, image.shape, oxygen=script.oxygen)
    truth, events = _history(sites, script)
    drift = np.cumsum(rng.normal(0, 0.04, (script.frames, 2)), axis=0) + 0.01
    stack = _film(image, sites, truth, drift, script.dose, rng)
    if not script.lost:
        np.save(parent / script.source, stack)
    folder = parent / "prediction"
    folder.mkdir()
    time = np.arange(script.frames) * FRAME_TIME
    readings = _counts(truth, sites, _READING_SD, rng)
    _write_prediction(folder, script, (sites, readings, drift, time), stack)
    if script.tracked:
        _write_tracks(folder, sites, truth, time, rng)
        events.to_parquet(folder / "events.parquet", index=False)
        _rates(events, script).to_parquet(folder / "rates.parquet", index=False)
        (folder / "track.json").write_text(json.dumps({"temperature": 1.0, "notes": []}))
    return folder


def _sites(columns, shape, *, oxygen):
    """Columns well inside the field, as sites of the reference."""
    inside = columns["in_field"] & (columns["occupancy"] > 0)
    for name, n in (("x_A", shape[1]), ("y_A", shape[0])):
        inside &= columns[name].between(1.0, n * SAMPLING - 1.2)
    own = columns[inside & (oxygen | (columns["species"] == "Ce"))]
    own = own.sort_values(["species", "y_A", "x_A"]).reset_index(drop=True)
    return pd.DataFrame(
        {"site": np.arange(len(own)), "species": own["species"], "x_A": own["x_A"],
         "y_A": own["y_A"], "n_frames_seen": 0, "source": "sum", "count": own["occupancy"]}
    )  # fmt: skip


def _history(sites, script):
    """True counts, (frame, site), and the list of events."""
    truth = np.tile(sites["count"].to_numpy(), (script.frames, 1))
    places = sites[["x_A", "y_A"]].to_numpy()
    middle = SAMPLING * 64
    outward = np.argsort(-(places[:, 0] + 0.01 * places[:, 1]), kind="stable")
    taken = {}
    for species in ("Ce", "O"):
        own = [i for i in outward if sites.loc[i, "species"] == species]
        own = [i for i in own if abs(places[i, 1] - middle) < 6 and truth[0, i] > 2]
        taken[species] = iter(own[::2])
    rows = []
    for number, (kind, frame) in enumerate(script.events):
        species = "O" if kind.startswith("vacancy") else "Ce"
        site = int(next(taken[species]))
        to = -1
        truth[frame:, site] += 1 if kind in ("arrival", "vacancy_filling") else -1
        if kind in ("migration", "vacancy_migration"):
            far = np.hypot(*(places - places[site]).T) + 99 * (sites["species"] != species)
            to = int(far.to_numpy().argsort()[1])
            truth[frame:, to] += 1
        if kind in ("arrival", "vacancy_filling"):
            site, to = -1, site
        place = sites.loc[site if site >= 0 else to]
        time = (frame + 0.4) * FRAME_TIME
        rows.append((number, kind, species, time, time - 0.05, time + 0.06, frame, site, to,
                     0.95 - 0.1 * number, place["x_A"], place["y_A"]))  # fmt: skip
    names = ["event", "kind", "species", "time_s", "time_low_s", "time_high_s", "frame",
             "site_from", "site_to", "confidence", "x_A", "y_A"]  # fmt: skip
    return np.clip(truth, 0, CLASSES - 1), pd.DataFrame(rows, columns=names)


def _film(image, sites, truth, drift, dose, rng):
    """Electrons of every frame: a column that lost atoms is darker."""
    stack = np.empty((len(truth), *image.shape), np.uint16)
    for frame, counts in enumerate(truth):
        change = np.zeros(image.shape)
        for i in np.flatnonzero(counts != truth[0]):
            y, x = (round(sites.loc[i, name] / SAMPLING) for name in ("y_A", "x_A"))
            change[y, x] += counts[i] - truth[0, i]
        seen = image + 2.5 * gaussian_filter(change, 2.5)
        moved = shift(seen, drift[frame, ::-1] / SAMPLING, order=1, mode="nearest")
        stack[frame] = rng.poisson(np.clip(moved, 0, None) * dose * SAMPLING**2)
    return stack


def _counts(truth, sites, widths, rng):
    """Probabilities of counts that noisy frames tell, (frame, site, class)."""
    sd = sites["species"].map(widths).to_numpy()
    seen = truth + rng.normal(0, 1, truth.shape) * sd
    classes = np.arange(CLASSES)
    p = np.exp(-0.5 * ((classes - seen[..., None]) / sd[:, None]) ** 2) + 1e-9
    return (p / p.sum(-1, keepdims=True)).astype(np.float32)


def _long(values, n_frames, sites, time=None):
    """A table with a row for every (frame, site), in the order of frames."""
    n = len(sites)
    table = {"frame": np.repeat(np.arange(n_frames), n), "site": np.tile(np.arange(n), n_frames)}
    if time is not None:
        table["time_s"] = np.repeat(time, n)
    flat = values.reshape(-1, CLASSES)
    return pd.DataFrame(table | {f"p_{i}": flat[:, i] for i in range(CLASSES)})


def _write_prediction(folder, script, known, stack):
    sites, p, drift, time = known
    readings = _long(p, script.frames, sites)
    readings["z_mean_A"], readings["z_spread_A"] = np.float32(0.2), np.float32(5.0)
    frame, site = readings["frame"].to_numpy(), readings["site"].to_numpy()
    # O has none, as in a film with too few of them.
    cerium = (sites["species"] == "Ce").to_numpy()[site]
    level = p.reshape(-1, CLASSES) @ np.arange(CLASSES) + 0.25
    readings.assign(level=np.where(cerium, level, np.nan).astype(np.float32)).to_parquet(
        folder / "readings.parquet", index=False, row_group_size=len(sites) * 8
    )
    columns = readings.drop(columns="site").assign(
        species=sites["species"].to_numpy()[site],
        x_A=sites["x_A"].to_numpy()[site] + drift[frame, 0],
        y_A=sites["y_A"].to_numpy()[site] + drift[frame, 1],
        occupancy=p.argmax(-1).ravel(), confidence=p.max(-1).ravel(),
    )  # fmt: skip
    columns = columns[columns["p_0"] < 0.5]
    columns.to_parquet(folder / "columns.parquet", index=False)
    found = columns.groupby(["frame", "species"]).size().unstack(fill_value=0)
    mean = stack.mean((1, 2))
    pd.DataFrame(
        {"frame": np.arange(script.frames), "time_s": time, "dose_e_per_A2": script.dose,
         "drift_x_A": drift[:, 0], "drift_y_A": drift[:, 1], "n_Ce": found["Ce"].to_numpy(),
         "n_O": found["O"].to_numpy() if "O" in found else 0, "mean": mean}
    ).to_parquet(folder / "frames.parquet", index=False)  # fmt: skip
    sites.assign(n_frames_seen=script.frames).drop(columns="count").to_parquet(
        folder / "sites.parquet", index=False
    )
    np.save(folder / "reference.npy", stack.mean(0, dtype=np.float32))
    facts = {
        "frames": script.frames, "columns": columns.groupby("species").size().to_dict(),
        "in_domain": not script.warnings, "forced": script.forced, "warnings": script.warnings,
        "model": "ceria-net", "model_version": "1.0.0", "dataset": "ceria-columns-mini",
        "source": str(folder.parent / script.source), "sampling_A": SAMPLING,
        "frame_time_s": FRAME_TIME, "shape": list(stack.shape[1:]), "software": "0.1.0",
    }  # fmt: skip
    (folder / "prediction.json").write_text(json.dumps(facts), encoding="utf-8")


def _write_tracks(folder, sites, truth, time, rng):
    # The noise of a smoothed track does not change from frame to frame.
    quiet = truth + 0.3 * rng.normal(0, _TRACK_SD, truth.shape[1])
    sd = np.where(sites["species"] == "Ce", _TRACK_SD, 1.7 * _TRACK_SD)[:, None]
    p = np.exp(-0.5 * ((np.arange(CLASSES) - quiet[..., None]) / sd) ** 2) + 1e-9
    p = (p / p.sum(-1, keepdims=True)).astype(np.float32)
    table = _long(p, len(truth), sites, time)
    table["species"] = np.tile(sites["species"].to_numpy(), len(truth))
    table["occupancy"] = p.argmax(-1).ravel()
    table["confidence"] = p.max(-1).ravel()
    table["z_mean_A"] = np.float32(0.2)
    table.sort_values(["site", "frame"]).to_parquet(folder / "tracks.parquet", index=False)


def _rates(events, script):
    rows = []
    for kind, own in events.groupby("kind"):
        n, seconds = float(own["confidence"].sum()), 20 * script.frames * FRAME_TIME
        for surface, facet in (("edge", "111"), ("edge", "100"), ("bulk", "")):
            rows.append((kind, surface, facet, n / 3, seconds, n / 3 / seconds, 0.1 / seconds,
                         (n + 3) / seconds))  # fmt: skip
    names = ["kind", "surface", "facet", "n_events", "column_seconds", "rate_per_s", "rate_low",
             "rate_high"]  # fmt: skip
    return pd.DataFrame(rows, columns=names)
