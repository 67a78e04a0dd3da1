"""The tables of a predicted film, read with bounded memory."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ceria_data.schema import SPECIES
from ceria_models.errors import FilmFolderError, FilmTableError

COLUMNS, SITES, FRAMES, READINGS, REFERENCE, FACTS = (
    "columns.parquet", "sites.parquet", "frames.parquet", "readings.parquet", "reference.npy",
    "prediction.json",
)  # fmt: skip
"""What `predict` writes of a film."""
TRACKS, EVENTS, RATES, CLASSES, TRACK = (
    "tracks.parquet", "events.parquet", "rates.parquet", "site_classes.parquet", "track.json",
)  # fmt: skip
"""What `track` adds, beside structures."""
LEVEL, SPREAD = "level", "level_spread"
"""Columns of the readings, and of the sites; films that were predicted without levels lack them."""
MADE_OF = "made_of"
"""Of `prediction.json`: what tells it from a prediction of another film or by another command."""
ASSUMED_S = 1 / 30
"""Time of a frame where the film does not say it."""
_NEEDED = {
    SITES: ("site", "species", "x_A", "y_A"),
    FRAMES: ("frame",),
    READINGS: ("frame", "site", "z_mean_A", "z_spread_A", "p_0", "p_1"),
}


@dataclass(frozen=True)
class FilmTables:
    """What a prediction of a film says, but for the readings.

    Attributes
    ----------
    folder : Path
    sites : DataFrame
        site, species, x_A, y_A and more, in the order of `site`.
    frames : DataFrame
        frame, time_s (start of the exposure), dose_e_per_A2, in the order of time.
    facts : dict
        `prediction.json`.
    max_count : int
        K, the highest class.
    timed : bool
        False where the film does not know its frame time; `time_s` then assumes `ASSUMED_S`.
    """

    folder: Path
    sites: pd.DataFrame
    frames: pd.DataFrame
    facts: dict[str, Any]
    max_count: int
    timed: bool

    @property
    def overlap(self) -> int:
        """Frames that share electrons: those of running sums."""
        return self._prepared("running")

    @property
    def exposure_s(self) -> float:
        """From the first electron of a frame to its last [s]; sums are one frame."""
        times = self.frames["time_s"].to_numpy(np.float64)
        known = float(self.facts.get("frame_time_s") or ASSUMED_S)
        step = float(np.median(np.diff(times))) if len(times) > 1 else known
        every, summed = self._prepared("every"), self._prepared("sum") * self.overlap
        return step * ((summed - 1) * every + 1) / (every * self._prepared("sum"))

    @property
    def middles(self) -> NDArray[np.float64]:
        """Middles of the exposures [s]; what changes from frame to frame does so between these."""
        return self.frames["time_s"].to_numpy(np.float64) + self.exposure_s / 2

    def _prepared(self, name: str) -> int:
        return int((self.facts.get("preparation") or {}).get(name) or 1)

    @property
    def level_spread(self) -> NDArray[np.float64]:
        """Expected scatter of the levels, (site,), up to a factor; NaN where it is not known."""
        if SPREAD not in self.sites:
            return np.full(len(self.sites), np.nan)
        return self.sites[SPREAD].to_numpy(np.float64)

    @property
    def mean_p(self) -> NDArray[np.float64]:
        """What the net says about the mean of the film, (site, class); NaN where nothing."""
        names = [f"p_{n}" for n in range(self.max_count + 1)]
        if not set(names) <= set(self.sites):
            return np.full((len(self.sites), len(names)), np.nan)
        return self.sites[names].to_numpy(np.float64)


@dataclass(frozen=True)
class Readings:
    """What the net reads at every site in every frame.

    Attributes
    ----------
    p : array of float32, shape (site, frame, class)
        Calibrated probabilities, NaN where there is no reading.
    z, z_spread : array of float32, shape (site, frame)
        Mean depth and its standard deviation [Å], NaN where there is no reading.
    level : array of float32, shape (site, frame)
        Atoms that the contrast amounts to, NaN where there is no level.
    """

    p: NDArray[np.float32]
    z: NDArray[np.float32]
    z_spread: NDArray[np.float32]
    level: NDArray[np.float32]


def open_film_tables(folder: Path) -> FilmTables:
    """Open the folder that `ceria-models predict` wrote of a film.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    FilmTables

    Raises
    ------
    FilmFolderError
        If a table is not there.
    FilmTableError
        If a table is damaged, lacks a column or contradicts itself.

    Examples
    --------
    >>> open_film_tables(Path("nowhere"))
    Traceback (most recent call last):
        ...
    ceria_models.errors.FilmFolderError: nowhere has no sites.parquet; expected a folder that ...
    """
    for name in (SITES, FRAMES, READINGS, FACTS):
        if not (folder / name).is_file():
            raise FilmFolderError(
                f"{folder} has no {name}; expected a folder that `ceria-models predict` wrote of a "
                "film, with sites, frames and readings: predict the film again"
            )
    sites, frames = (read_film_table(folder / name, _NEEDED[name]) for name in (SITES, FRAMES))
    schema = open_long_table(folder / READINGS, _NEEDED[READINGS]).schema_arrow
    sites = sites.sort_values("site", kind="stable").reset_index(drop=True)
    if sites["site"].tolist() != list(range(len(sites))):
        raise FilmTableError(f"{folder / SITES}: sites are not numbered 0 to {len(sites) - 1}")
    strange = sorted(set(sites["species"]) - set(SPECIES))
    if strange:
        raise FilmTableError(f"{folder / SITES}: species {strange}; expected {', '.join(SPECIES)}")
    if not np.isfinite(sites[["x_A", "y_A"]].to_numpy(float)).all():
        raise FilmTableError(f"{folder / SITES}: x_A or y_A is not a finite number")
    facts = read_facts(folder)
    frames, timed = _timed(folder, frames, facts)
    return FilmTables(folder, sites, frames, facts, _max_count(schema.names), timed)


def read_readings(tables: FilmTables, scratch: Path) -> Readings:
    """Read all readings into arrays by site; large ones lie on the disk, not in memory.

    Parameters
    ----------
    tables : FilmTables
    scratch : Path
        Folder for temporary files.

    Returns
    -------
    Readings
        Frames in the order of `tables.frames`.

    Raises
    ------
    FilmTableError
        If rows name sites or frames that are not there, or probabilities that are none.
    """
    n_sites, n_frames, classes = len(tables.sites), len(tables.frames), tables.max_count + 1
    p = _scratch(scratch / "p", (n_sites, n_frames, classes))
    z = _scratch(scratch / "z", (n_sites, n_frames))
    spread = _scratch(scratch / "z_spread", (n_sites, n_frames))
    level = _scratch(scratch / "level", (n_sites, n_frames))
    names = [f"p_{n}" for n in range(classes)]
    numbers = tables.frames["frame"].to_numpy()
    order = np.argsort(numbers, kind="stable")
    file = open_long_table(tables.folder / READINGS, _NEEDED[READINGS])
    leveled = [LEVEL] if LEVEL in file.schema_arrow.names else []
    read = ["frame", "site", "z_mean_A", "z_spread_A", *leveled, *names]
    try:
        for batch in file.iter_batches(batch_size=1 << 16, columns=read):
            frame, site = (batch[name].to_numpy(zero_copy_only=False) for name in ("frame", "site"))
            at = np.searchsorted(numbers[order], frame).clip(0, n_frames - 1)
            row = order[at]
            lost = (numbers[row] != frame) | (site < 0) | (site >= n_sites)
            if lost.any():
                first = int(np.flatnonzero(lost)[0])
                raise FilmTableError(
                    f"{tables.folder / READINGS} has a reading of frame {frame[first]} at site "
                    f"{site[first]}, which {FRAMES} or {SITES} does not list; predict again"
                )
            values = np.stack([batch[name].to_numpy(zero_copy_only=False) for name in names], 1)
            p[site, row] = _checked(values, tables.folder / READINGS)
            z[site, row] = batch["z_mean_A"].to_numpy(zero_copy_only=False)
            spread[site, row] = batch["z_spread_A"].to_numpy(zero_copy_only=False)
            if leveled:
                level[site, row] = batch[LEVEL].to_numpy(zero_copy_only=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise FilmTableError(
            f"{tables.folder / READINGS} cannot be read to its end: {error}; predict again"
        ) from error
    return Readings(p, z, spread, level)


_IN_MEMORY = 1 << 28


def _scratch(file: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Make an array of NaN, in memory or in a file."""
    if 4 * int(np.prod(shape)) <= _IN_MEMORY:
        return np.full(shape, np.nan, dtype=np.float32)
    array = np.memmap(file, dtype=np.float32, mode="w+", shape=shape)
    for row in array:
        row[...] = np.nan
    return array


def _checked(values: NDArray[Any], file: Path) -> NDArray[np.float32]:
    """Probabilities that sum to 1; rows with NaN become no reading at all."""
    known = np.isfinite(values).all(axis=1)
    total = values[known].sum(axis=1)
    if (values[known] < 0).any() or (np.abs(total - 1) > 0.02).any():
        raise FilmTableError(
            f"{file}: p_0 to p_{values.shape[1] - 1} of a row sum to "
            f"{total[np.abs(total - 1).argmax()]:.3g}; expected probabilities that sum to 1"
        )
    checked = np.full(values.shape, np.nan, dtype=np.float32)
    checked[known] = values[known] / total[:, None]
    return checked


def open_long_table(file: Path, needed: Sequence[str]) -> pq.ParquetFile:
    """Open a table with a row for each site and frame, to be read in parts.

    Parameters
    ----------
    file : Path
    needed : sequence of str
        Columns it must have.

    Returns
    -------
    pyarrow.parquet.ParquetFile

    Raises
    ------
    FilmTableError
        If it is damaged or lacks a column.
    """
    try:
        opened = pq.ParquetFile(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise FilmTableError(f"{file} cannot be read: {error}; {_again(file)}") from error
    _require(opened.schema_arrow.names, needed, file)
    return opened


def read_film_table(file: Path, needed: Sequence[str]) -> pd.DataFrame:
    """Read a small table.

    Parameters
    ----------
    file : Path
    needed : sequence of str
        Columns it must have.

    Returns
    -------
    DataFrame

    Raises
    ------
    FilmTableError
        If it is damaged or lacks a column.
    """
    try:
        table = pd.read_parquet(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise FilmTableError(f"{file} cannot be read: {error}; {_again(file)}") from error
    _require(list(table.columns), needed, file)
    return table


def read_facts(folder: Path) -> dict[str, Any]:
    """Read `prediction.json`.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict

    Raises
    ------
    FilmTableError
        If it is damaged.
    """
    try:
        facts = json.loads((folder / FACTS).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FilmTableError(f"{folder / FACTS} cannot be read: {error}") from error
    if not isinstance(facts, dict):
        raise FilmTableError(f"{folder / FACTS} holds no facts; predict the film again")
    return facts


def _require(names: Sequence[str], needed: Sequence[str], file: Path) -> None:
    missing = [name for name in needed if name not in names]
    if missing:
        raise FilmTableError(
            f"{file} lacks {', '.join(missing)}; found {', '.join(names)}; {_again(file)}"
        )


def _again(file: Path) -> str:
    """Say which command writes a table."""
    predicted = (COLUMNS, SITES, FRAMES, READINGS)
    return "predict the film again" if file.name in predicted else "track the film again"


def _timed(folder: Path, frames: pd.DataFrame, facts: dict[str, Any]) -> tuple[pd.DataFrame, bool]:
    """Frames in the order of their times; without times, of their numbers."""
    if frames["frame"].duplicated().any() or not len(frames):
        raise FilmTableError(f"{folder / FRAMES} lists a frame twice, or none; predict again")
    if "dose_e_per_A2" not in frames:
        frames = frames.assign(dose_e_per_A2=np.nan)
    known = "time_s" in frames and np.isfinite(frames["time_s"].to_numpy(float)).all()
    if not known:
        step = float(facts.get("frame_time_s") or np.nan)
        known = bool(0 < step < np.inf)
        frames = frames.assign(time_s=frames["frame"] * (step if known else ASSUMED_S))
    frames = frames.sort_values(["time_s", "frame"], kind="stable").reset_index(drop=True)
    if (np.diff(frames["time_s"].to_numpy(float)) <= 0).any():
        raise FilmTableError(f"{folder / FRAMES}: two frames have the same time_s; predict again")
    return frames, bool(known)


def _max_count(names: list[str]) -> int:
    n = 0
    while f"p_{n + 1}" in names:
        n += 1
    return n
