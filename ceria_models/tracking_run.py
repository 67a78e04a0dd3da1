"""From the folder of a predicted film to tracks, events, rates and structures."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data import __version__
from ceria_data.errors import OutputError
from ceria_data.store import write_text
from ceria_models.changes import find_changes
from ceria_models.errors import TrackingError
from ceria_models.event_rates import event_rates
from ceria_models.film_events import NOWHERE, film_events, no_events
from ceria_models.film_structures import (
    INTERFACES,
    STRUCTURES,
    Interval,
    stable_intervals,
    write_structures,
)
from ceria_models.film_tables import (
    ASSUMED_S,
    CLASSES,
    EVENTS,
    RATES,
    TRACK,
    TRACKS,
    FilmTables,
    Readings,
    open_film_tables,
    read_readings,
)
from ceria_models.film_tracks import Tracked, fill_merged, write_tracks
from ceria_models.tracked_sites import TrackedSites, classify, merge_sites, neighbours_of
from ceria_models.tracking_settings import TrackingSettings, load_settings
from ceria_models.tracking_warnings import tracking_warnings

Floats = NDArray[np.float64]
WRITTEN = (TRACKS, EVENTS, RATES, CLASSES, INTERFACES, STRUCTURES, TRACK)
"""What a tracking writes; `track.json` last."""


def run_tracking(
    folder: Path,
    *,
    confidence: float = 0.5,
    frames: Sequence[int] | None = None,
    settings: TrackingSettings | None = None,
    overwrite: bool = False,
    on_progress: Callable[[str, int, int], None] = lambda unit, done, total: None,
) -> tuple[dict[str, Any], list[str]]:
    """Track a predicted film and write the tables beside those of the prediction.

    Parameters
    ----------
    folder : Path
        What `ceria-models predict` wrote of a film.
    confidence : float
        Lowest confidence of a listed event.
    frames : sequence of int, optional
        Write structures of these frames; by default of the intervals between events.
    settings : TrackingSettings, optional
        By default those of the package.
    overwrite : bool
        Replace an earlier tracking.
    on_progress : callable
        Told a unit, how many are done and of how many.

    Returns
    -------
    dict
        What was found.
    list of str
        Warnings.

    Raises
    ------
    OutputError
        If the film is tracked already, without `overwrite`.
    FilmFolderError, FilmTableError, TrackingError
        If the folder, its tables or the options cannot be used.
    """
    if not 0 < confidence <= 1:
        raise TrackingError(f"the confidence is {confidence:g}; expected more than 0, at most 1")
    tables = open_film_tables(folder)
    if (folder / TRACK).exists() and not overwrite:
        raise OutputError(f"{folder} is tracked already; replace its tracks with --overwrite")
    settings = settings or load_settings()
    _refuse_other_classes(tables, settings)
    chosen = _positions(tables, frames)
    staging = folder / f".track.{uuid4().hex}.staging"
    staging.mkdir()
    try:
        facts, warnings = _write(staging, tables, settings, confidence, chosen, on_progress)
        _publish(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    shown = {"tracked": str(folder)} | {
        key: facts[key] for key in ("frames", "sites", "lattice", "events", "rate_per_s")
    }
    return shown | {"events table": str(folder / EVENTS)}, warnings


def _write(
    staging: Path,
    tables: FilmTables,
    settings: TrackingSettings,
    confidence: float,
    chosen: list[Interval],
    on_progress: Callable[[str, int, int], None],
) -> tuple[dict[str, Any], list[str]]:
    """Write all that a tracking makes into a folder; give the facts and the warnings."""
    scratch = staging / "scratch"
    scratch.mkdir()
    readings = read_readings(tables, scratch)
    found = merge_sites(tables.sites, settings.lattice_parameter_A)
    fill_merged(readings, found)
    tracked = write_tracks(tables, found, readings, settings, staging / TRACKS, on_progress)
    classes = classify(found, tracked.presence > 0.5, _field(tables))
    exposure = _exposure(tables, readings, found)
    events = _events(tables, found, tracked, settings)
    rates = event_rates(events, found.table[["species"]].join(classes), exposure, confidence)
    rates.to_parquet(staging / RATES, index=False)
    listed = events[events["confidence"] >= confidence].reset_index(drop=True)
    intervals = chosen or stable_intervals(listed["frame"].tolist(), len(tables.frames))
    times = tables.frames["time_s"].to_numpy(dtype=float)
    write_structures(
        staging, staging / TRACKS, intervals, found, readings, times, tables.exposure_s
    )
    _named(listed, tables, found).to_parquet(staging / EVENTS, index=False)
    of_sites = _site_table(tables, found, classes, tracked, exposure)
    of_sites.to_parquet(staging / CLASSES, index=False)
    warnings = tracking_warnings(tables, found, tracked)
    facts = _facts(tables, found, tracked, settings, confidence, listed, warnings)
    numbers = tables.frames["frame"].tolist()
    facts["intervals"] = [[numbers[i.start], numbers[i.stop - 1]] for i in intervals]
    write_text(staging / TRACK, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    return facts, warnings


def _publish(staging: Path, folder: Path) -> None:
    """Move what is whole into the folder; what says that it is whole goes first and comes last."""
    (folder / TRACK).unlink(missing_ok=True)
    for name in WRITTEN:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        (staging / name).replace(folder / name)


def _refuse_other_classes(tables: FilmTables, settings: TrackingSettings) -> None:
    for species in set(tables.sites["species"]):
        classes = len(settings.evidence[species].prior)
        if classes != tables.max_count + 1:
            raise TrackingError(
                f"the readings have the classes 0 to {tables.max_count}, the settings of tracking "
                f"for {species} 0 to {classes - 1}; fit settings for this net "
                "(benchmarks/tracking.py) and give them with --settings"
            )


def _positions(tables: FilmTables, frames: Sequence[int] | None) -> list[Interval]:
    """Turn numbers of frames into intervals of one frame."""
    numbers = tables.frames["frame"].tolist()
    lost = [frame for frame in frames or () if frame not in numbers]
    if lost:
        raise TrackingError(
            f"frame {lost[0]} is not in the film; its frames are {min(numbers)} to {max(numbers)}"
        )
    at = sorted({numbers.index(frame) for frame in frames or ()})
    return [Interval(i, i + 1) for i in at]


def _field(tables: FilmTables) -> tuple[float, float] | None:
    """Size of the image (y, x) [Å], where the prediction says it."""
    shape, sampling = tables.facts.get("shape"), tables.facts.get("sampling_A")
    if not shape or not sampling:
        return None
    return float(shape[-2]) * float(sampling), float(shape[-1]) * float(sampling)


def _events(
    tables: FilmTables, found: TrackedSites, tracked: Tracked, settings: TrackingSettings
) -> pd.DataFrame:
    """Events of all species, sure or not; sites and frames by their position."""
    times = tables.middles
    places = found.table[["x_A", "y_A"]].to_numpy(dtype=float)
    reach = {species: motion.reach_A for species, motion in settings.motion.items()}
    neighbours = neighbours_of(found.table, reach)
    parts = []
    for species, chain in tracked.chains.items():
        own = (found.table["species"] == species).to_numpy()
        gains, losses = (np.where(own, flux, 0.0) for flux in (tracked.gain, tracked.loss))
        changes = find_changes(gains, times, chain.gain_per_s, gain=True)
        changes += find_changes(losses, times, chain.loss_per_s, gain=False)
        parts.append(
            film_events(
                changes,
                species,
                neighbours,
                times,
                chain.gain_per_s,
                settings.motion[species],
                places,
            )
        )
    filled = [part for part in parts if len(part)]
    if not filled:
        return no_events()
    events = pd.concat(filled, ignore_index=True)
    events = events.sort_values(["time_s", "species", "site_from", "site_to"], kind="stable")
    events = events.reset_index(drop=True)
    return events.assign(event=np.arange(len(events)))


def _named(events: pd.DataFrame, tables: FilmTables, found: TrackedSites) -> pd.DataFrame:
    """Sites and frames by the names that the tables of the prediction give them."""
    names = np.append(found.table["site"].to_numpy(np.int64), NOWHERE)
    numbers = tables.frames["frame"].to_numpy(np.int64)
    return events.assign(
        event=np.arange(len(events)),
        frame=numbers[events["frame"].to_numpy(np.int64)],
        site_from=names[events["site_from"].to_numpy(np.int64)],
        site_to=names[events["site_to"].to_numpy(np.int64)],
    )


def _exposure(tables: FilmTables, readings: Readings, found: TrackedSites) -> Floats:
    """Time for which each kept site was read [s]."""
    times = tables.frames["time_s"].to_numpy(dtype=float)
    if len(times) > 1:
        each = float(np.median(np.diff(times)))
    else:
        each = float(tables.facts.get("frame_time_s") or ASSUMED_S)
    read = np.array([np.isfinite(readings.z[row]).sum() for row in found.rows], dtype=float)
    return each * read


def _site_table(
    tables: FilmTables,
    found: TrackedSites,
    classes: pd.DataFrame,
    tracked: Tracked,
    exposure: Floats,
) -> pd.DataFrame:
    """List for every site which site stands for it, and what that is."""
    row = found.merged
    lattice = found.lattice
    index = np.zeros((len(found.table), 2), dtype=np.int64) if lattice is None else lattice.index
    on = np.zeros(len(found.table), dtype=bool) if lattice is None else lattice.on
    return pd.DataFrame({
        "site": tables.sites["site"],
        "stands_for_it": found.table["site"].to_numpy()[row],
        "species": tables.sites["species"],
        "surface": classes["surface"].to_numpy()[row],
        "facet": classes["facet"].to_numpy()[row],
        "on_lattice": on[row],
        "index_x": index[row, 0],
        "index_y": index[row, 1],
        "presence": tracked.presence[row],
        "exposure_s": exposure[row],
    })  # fmt: skip


def _facts(
    tables: FilmTables,
    found: TrackedSites,
    tracked: Tracked,
    settings: TrackingSettings,
    confidence: float,
    listed: pd.DataFrame,
    warnings: list[str],
) -> dict[str, Any]:
    lattice = found.lattice
    dose = tables.frames["dose_e_per_A2"].to_numpy(dtype=float)
    middle = float(np.nanmedian(dose)) if np.isfinite(dose).any() else None
    at = np.array([np.nan if middle is None else middle])
    return {
        "frames": len(tables.frames),
        "sites": {str(k): int(v) for k, v in found.table.groupby("species").size().items()},
        "merged_sites": len(tables.sites) - len(found.table),
        "lattice": "none" if lattice is None else {
            "zone_axis": list(lattice.axes.z),
            "rotation_deg": round(lattice.rotation_deg, 3),
            "strain": [round(v, 5) for v in lattice.strain],
            "rms_A": round(lattice.rms, 4),
            "sites_on_it": int(lattice.on.sum()),
        },
        "events": {str(k): int(v) for k, v in listed.groupby("kind").size().items()},
        "rate_per_s": {
            species: {"gain": chain.gain_per_s, "loss": chain.loss_per_s}
            for species, chain in tracked.chains.items()
        },
        "confidence": confidence,
        "temperature": {
            species: float(settings.evidence[species].temperature(at)[0])
            for species in tracked.chains
        },
        "dose_e_per_A2": middle,
        "film_prior": {
            species: [float(v) for v in chain.prior] for species, chain in tracked.chains.items()
        },
        "judged_by_levels": tracked.leveled,
        "level_offset": {
            species: dict(zip(
                map(str, chain.levels.offsets.tolist()),
                map(float, chain.levels.offset_prior),
                strict=True,
            ))
            for species, chain in tracked.chains.items() if tracked.leveled[species]
        },
        "assumed": [
            "readings are calibrated under the prior of settings.evidence, which is divided out",
            "a column gains or loses one atom at a time, at rates that do not change with time",
            "a net reads a column with the same offset of its count in all frames, and so does "
            "its level",
            "columns have no gaps along the beam; an atom hops within settings.motion.reach_A",
            *([] if tables.timed else [f"frame time {ASSUMED_S:.4f} s"]),
        ],
        "warnings": warnings,
        "settings": settings.model_dump(mode="json"),
        "software": __version__,
    }  # fmt: skip
