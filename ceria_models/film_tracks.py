"""Tracks: smoothed counts and depths of every site, written some sites at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ceria_data.schema import SPECIES
from ceria_models.evidence import level_spread
from ceria_models.film_chain import Columns, FilmChain, fit_chain, smoothed_blocks
from ceria_models.film_tables import FilmTables, Readings
from ceria_models.level_scale import level_scale
from ceria_models.tracked_sites import TrackedSites
from ceria_models.tracking_settings import TrackingSettings

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tracked:
    """What is kept of the tracks in memory.

    Attributes
    ----------
    gain, loss : array of float32, shape (frame - 1, site)
        Probability that a site has more, or fewer, atoms in the next frame.
    presence : array of float64, shape (site,)
        Share of the frames in which it holds atoms, as expected.
    chains : dict of str to FilmChain
        By species that occurs.
    leveled : dict of str to int
        Columns judged by their levels.
    """

    gain: NDArray[np.float32]
    loss: NDArray[np.float32]
    presence: Floats
    chains: dict[str, FilmChain]
    leveled: dict[str, int]


def fill_merged(readings: Readings, found: TrackedSites) -> None:
    """Let the sites that a kept one stands for give the readings that it lacks, in place.

    Readings of one column are of the same pixels: they are not combined.

    Parameters
    ----------
    readings : Readings
        Of all listed sites.
    found : TrackedSites

    Examples
    --------
    >>> sites = pd.DataFrame({
    ...     "site": [0, 1], "species": "Ce", "x_A": [0.0, 0.4], "y_A": 0.0,
    ... })
    >>> from ceria_models.tracked_sites import merge_sites
    >>> p = np.array([[[np.nan] * 2], [[1, 0]]], dtype=np.float32)
    >>> z = np.array([[np.nan], [3]], dtype=np.float32)
    >>> readings = Readings(p, z, z, z)
    >>> fill_merged(readings, merge_sites(sites, 5.411))
    >>> readings.p[0].tolist()
    [[1.0, 0.0]]
    """
    for listed, row in enumerate(found.rows[found.merged]):
        if row == listed:
            continue
        for values in (readings.p, readings.z, readings.z_spread, readings.level):
            own = values[row]
            missing = np.isnan(own)
            own[missing] = values[listed][missing]


def write_tracks(
    tables: FilmTables,
    found: TrackedSites,
    readings: Readings,
    settings: TrackingSettings,
    file: Path,
    on_progress: Callable[[str, int, int], None] = lambda unit, done, total: None,
) -> Tracked:
    """Smooth all sites and write `tracks.parquet`, some sites at a time.

    Parameters
    ----------
    tables : FilmTables
    found : TrackedSites
    readings : Readings
        Of all listed sites.
    settings : TrackingSettings
    file : Path
    on_progress : callable
        Told a unit, how many are done and of how many.

    Returns
    -------
    Tracked
    """
    times = tables.frames["time_s"].to_numpy(dtype=float)
    dose = tables.frames["dose_e_per_A2"].to_numpy(dtype=float)
    spread = level_spread(readings.level, tables.level_spread, tables.overlap)
    sites = found.table
    n_sites, n_frames = len(sites), len(times)
    gain = np.zeros((max(n_frames - 1, 0), n_sites), dtype=np.float32)
    tracked = Tracked(gain, np.zeros_like(gain), np.zeros(n_sites), {}, {})
    schema = _schema(tables.max_count)
    with pq.ParquetWriter(file, schema) as writer:
        for species in SPECIES:
            rows = np.flatnonzero(sites["species"] == species)
            if not len(rows):
                continue
            _steady(readings, found.rows[rows], spread, times)
            columns = Columns(
                readings.p,
                found.rows[rows],
                times,
                dose,
                readings.level,
                spread,
                tables.mean_p,
                tables.overlap,
            )
            evidence, motion = settings.evidence[species], settings.motion[species]
            chain = tracked.chains[species] = fit_chain(
                columns,
                evidence,
                motion,
                lambda done, total, unit=species: on_progress(f"{unit} learned", done, total),  # type: ignore[misc]
            )
            done = 0
            for which, smoothed in smoothed_blocks(columns, evidence, chain):
                own = rows[which]
                tracked.gain[:, own], tracked.loss[:, own] = smoothed.gain, smoothed.loss
                tracked.presence[own] = 1 - smoothed.p[:, :, 0].mean(axis=0)
                of_sites = []
                for k, row in enumerate(own):
                    p, listed = smoothed.p[:, k], found.rows[row]
                    z = smoothed_depth(
                        readings.z[listed], readings.z_spread[listed], p.argmax(axis=1)
                    )
                    of_sites.append(_rows(tables, sites.iloc[row], p, z, schema))
                writer.write_table(pa.concat_tables(of_sites))
                done += len(which)
                on_progress(f"{species} columns", done, len(rows))
            tracked.leveled[species] = int(columns.leveled.sum())
        if not n_sites:
            writer.write_table(schema.empty_table())
    return tracked


def _steady(readings: Readings, rows: NDArray[np.int64], spread: Floats, times: Floats) -> None:
    """Divide the levels of a species by their common scale, in place."""
    level = readings.level
    scale = level_scale(level[rows], spread[rows], times)
    for row in rows:
        level[row] /= scale


def smoothed_depth(
    z: NDArray[np.floating], z_spread: NDArray[np.floating], count: NDArray[np.integer]
) -> Floats:
    """Average the depth of a column over the frames in which its count stays the same.

    Parameters
    ----------
    z, z_spread : array of float, shape (frame,)
        As read, NaN where missing [Å].
    count : array of int, shape (frame,)

    Returns
    -------
    array of float64, shape (frame,)
        Weighted with the inverse variances. A stretch without any reading takes the mean of
        all; without readings at all it is 0, the particle's middle.

    Examples
    --------
    >>> z = np.array([1.0, 3.0, np.nan, 8.0])
    >>> smoothed_depth(z, np.ones(4), np.array([5, 5, 5, 6])).tolist()
    [2.0, 2.0, 2.0, 8.0]
    """
    known = np.isfinite(z) & np.isfinite(z_spread)
    weight = np.where(known, 1 / np.maximum(np.where(known, z_spread, 1.0), 0.1) ** 2, 0.0)
    weighted = weight * np.where(known, z, 0.0)
    stretch = np.cumsum(np.diff(count, prepend=count[:1]) != 0)
    total = np.bincount(stretch, weight)
    summed = np.bincount(stretch, weighted)
    everywhere = weighted.sum() / weight.sum() if known.any() else 0.0
    mean: Floats = np.where(total > 0, summed / np.where(total > 0, total, 1.0), everywhere)
    smooth: Floats = mean[stretch]
    return smooth


def _schema(max_count: int) -> pa.Schema:
    fields = [
        ("site", pa.int64()), ("frame", pa.int64()), ("time_s", pa.float64()),
        ("species", pa.string()), ("occupancy", pa.int64()), ("confidence", pa.float32()),
    ]  # fmt: skip
    fields += [(f"p_{n}", pa.float32()) for n in range(max_count + 1)]
    return pa.schema([*fields, ("z_mean_A", pa.float32())])


def _rows(
    tables: FilmTables, site: "pd.Series[int]", p: NDArray[np.float32], z: Floats, schema: pa.Schema
) -> pa.Table:
    """Rows of one site, a frame each."""
    n = len(p)
    values = [
        np.full(n, int(site["site"])),
        tables.frames["frame"].to_numpy(),
        tables.frames["time_s"].to_numpy(dtype=float),
        [str(site["species"])] * n,
        p.argmax(axis=1),
        p.max(axis=1),
        *p.T,
        z.astype(np.float32),
    ]
    arrays = [pa.array(v, type=field.type) for v, field in zip(values, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)
