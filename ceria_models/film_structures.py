"""The particle between events: atoms, and where every column begins and ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ceria_models.atom_files import write_cif, write_extxyz
from ceria_models.atoms3d import WITHOUT_LATTICE, atoms_of, column_depths
from ceria_models.film_tables import Readings
from ceria_models.tracked_sites import TrackedSites

Floats = NDArray[np.float64]
INTERFACES = "interfaces.parquet"
STRUCTURES = "structures"
MOST = 50
"""Intervals that are written, the longest ones."""


@dataclass(frozen=True)
class Interval:
    """Frames that show one structure.

    Attributes
    ----------
    start, stop : int
        Positions of the first frame and of the one after the last.
    """

    start: int
    stop: int


def stable_intervals(
    event_frames: Sequence[int], n_frames: int, most: int = MOST
) -> list[Interval]:
    """Cut a film at its events.

    Parameters
    ----------
    event_frames : sequence of int
        Position of the first frame after each event.
    n_frames : int
    most : int
        Keep the longest ones only.

    Returns
    -------
    list of Interval
        In the order of time.

    Examples
    --------
    >>> stable_intervals([4, 4, 6], 10)
    [Interval(start=0, stop=4), Interval(start=4, stop=6), Interval(start=6, stop=10)]
    >>> stable_intervals([4, 6], 10, most=1)
    [Interval(start=0, stop=4)]
    """
    cuts = [0, *sorted({frame for frame in event_frames if 0 < frame < n_frames}), n_frames]
    pieces = [Interval(i, j) for i, j in pairwise(cuts)]
    longest = sorted(pieces, key=lambda piece: piece.start - piece.stop)[:most]
    return sorted(longest, key=lambda piece: piece.start)


def write_structures(
    folder: Path,
    tracks: Path,
    intervals: list[Interval],
    found: TrackedSites,
    readings: Readings,
    times: Floats,
    exposure_s: float,
) -> pd.DataFrame:
    """Write `structures/` and `interfaces.parquet`.

    Parameters
    ----------
    folder : Path
    tracks : Path
        `tracks.parquet`, site by site.
    intervals : list of Interval
    found : TrackedSites
    readings : Readings
        Of all listed sites.
    times : array of float64, shape (frame,)
        Start of each exposure [s].
    exposure_s : float
        How long each is [s]; an interval ends with its last exposure.

    Returns
    -------
    DataFrame
        The interfaces: site, interval, time_start_s, time_stop_s, species, occupancy,
        confidence, top_A (first atom along the beam, as read), bottom_A (last atom), top_sd_A,
        bottom_sd_A; NaN for empty columns.
    """
    (folder / STRUCTURES).mkdir()
    means = _mean_probabilities(tracks, intervals, len(found.table), len(times))
    z, spread = readings.z[found.rows], readings.z_spread[found.rows]
    tables = []
    for number, (interval, p) in enumerate(zip(intervals, means, strict=True)):
        depth, sd = _mean_depth(z, spread, interval)
        depths = column_depths(found.table, found.lattice, p, depth, sd)
        first, last = float(times[interval.start]), float(times[interval.stop - 1]) + exposure_s
        atoms = atoms_of(found.table, p, depths)
        name = f"interval_{number:04d}"
        comment = f"{_assumptions(found)}; frames {interval.start} to {interval.stop - 1} of the "
        comment += f"film, {first:.4g} to {last:.4g} s"
        write_extxyz(atoms, folder / STRUCTURES / f"{name}.extxyz", comment)
        write_cif(atoms, folder / STRUCTURES / f"{name}.cif", name, comment)
        tables.append(
            pd.DataFrame(
                {
                    "site": found.table["site"],
                    "interval": number,
                    "time_start_s": first,
                    "time_stop_s": last,
                    "species": found.table["species"],
                    "occupancy": p.argmax(axis=1),
                    "confidence": p.max(axis=1),
                    "top_A": depths.top,
                    "bottom_A": depths.bottom,
                    "top_sd_A": depths.sd,
                    "bottom_sd_A": depths.sd,
                }
            )
        )
    interfaces = pd.concat(tables, ignore_index=True)
    interfaces.to_parquet(folder / INTERFACES, index=False)
    return interfaces


def _mean_probabilities(
    tracks: Path, intervals: list[Interval], n_sites: int, n_frames: int
) -> Floats:
    """Mean over the frames of each interval, shape (interval, site, count)."""
    with pq.ParquetFile(tracks) as file:
        names = [name for name in file.schema_arrow.names if name.startswith("p_")]
        means = np.zeros((len(intervals), n_sites, len(names)))
        rows_of = {}
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=["site", *names])
            site = table["site"].to_numpy()[::n_frames]
            p = np.column_stack([table[name].to_numpy() for name in names])
            p = p.reshape(len(site), n_frames, len(names))
            for k, interval in enumerate(intervals):
                mean = p[:, interval.start : interval.stop].mean(axis=1, dtype=np.float64)
                rows_of.update({(k, int(s)): mean[i] for i, s in enumerate(site)})
    order = sorted({s for _, s in rows_of})
    for (k, s), mean in rows_of.items():
        means[k, order.index(s)] = mean
    return means


def _mean_depth(
    z: NDArray[np.floating], spread: NDArray[np.floating], interval: Interval
) -> tuple[Floats, Floats]:
    """Depth of every site in an interval, and its standard deviation [Å]."""
    own = slice(interval.start, interval.stop)
    values, widths = z[:, own].astype(float), spread[:, own].astype(float)
    known = np.isfinite(values) & np.isfinite(widths)
    weight = np.where(known, 1 / np.maximum(np.where(known, widths, 1.0), 0.1) ** 2, 0.0)
    total = weight.sum(axis=1)
    seen = total > 0
    summed = (weight * np.where(known, values, 0.0)).sum(axis=1)
    # A column that is not read here lies anywhere within the particle.
    mean = np.where(seen, summed / np.where(seen, total, 1.0), 0.0)
    # What a net says of depth is mostly what columns are usually like, in every frame again: many
    # frames are no surer of it than one.
    often = np.maximum(known.sum(axis=1), 1)
    sd = np.where(seen, np.sqrt(often / np.where(seen, total, 1.0)), 2 * WITHOUT_LATTICE)
    return mean, sd


def _assumptions(found: TrackedSites) -> str:
    text = (
        "atoms from counts and mean depths of columns; z along the beam from the entrance face; "
        "columns without gaps"
    )
    if found.lattice is None:
        return f"{text}; no lattice found: atoms {WITHOUT_LATTICE} A apart in every column"
    zone = "".join(map(str, found.lattice.axes.z))
    return f"{text}; on the lattice planes of CeO2 along [{zone}], their common shift fitted"
