"""Counts of every column over time, small enough for a page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ceria_models.errors import FilmTableError
from ceria_models.film_tables import LEVEL, READINGS, TRACKS, open_long_table
from ceria_models.report_tables import PredictedFilm

MISSING = 255
"""Count of a column that is not in the field in a frame."""
LONGEST = 2000
"""Frames of a trace; of longer films every 2nd, 3rd, ... frame is kept."""
_TAIL = 0.05
"""Probability left out at each side: bands are 90 % intervals."""
_BATCH = 65_536


@dataclass(frozen=True)
class Traces:
    """Counts of columns in chosen frames; arrays of uint8 have the shape (site, time).

    Attributes
    ----------
    frames : array of int, shape (time,)
    occupancy : array of uint8
        Most probable number of atoms; 255 where nothing is known.
    confidence : array of uint8
        Its probability, 255 = 1.
    low, high : array of uint8
        Ends of the 90 % interval of the number of atoms.
    reading : array of uint8
        Most probable number as one frame alone tells.
    reading_confidence : array of uint8
    level : array of uint8
        Level in one frame, in sixteenths of an atom above -2; 255 where there is none.
    stride : int
        Every how many frames; frames that were asked for are there besides.
    """

    frames: NDArray[np.int64]
    occupancy: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    low: NDArray[np.uint8]
    high: NDArray[np.uint8]
    reading: NDArray[np.uint8]
    reading_confidence: NDArray[np.uint8]
    level: NDArray[np.uint8]
    stride: int

    @property
    def most(self) -> int:
        """Largest count, at least 1."""
        return self.most_of(slice(None))

    def most_of(self, own: Any) -> int:
        """Largest count of some sites, a mask or their numbers; at least 1."""
        counts = self.occupancy[own]
        return max(1, int(counts[counts != MISSING].max(initial=0)))


def read_traces(
    tables: PredictedFilm,
    also: NDArray[np.int64] | None = None,
    *,
    longest: int = LONGEST,
    step: int = 1,
) -> Traces:
    """Read the counts of all columns at many frames, evenly, and at those asked for.

    Parameters
    ----------
    tables : PredictedFilm
        Not tracked: counts are those of single frames.
    also : array of int, optional
        Frames that must be among them.
    longest : int
        Frames at equal steps at most.
    step : int
        Smallest step.

    Returns
    -------
    Traces

    Raises
    ------
    FilmTableError
        If a table is damaged.
    """
    n = len(tables.frames)
    stride = max(step, -(-n // longest))
    wanted = np.arange(0, n, stride)
    frames = np.union1d(wanted, also) if also is not None else wanted
    single = _Counts.read(tables.folder / READINGS, frames, len(tables.sites), n)
    smooth = single
    if tables.tracked:
        smooth = _Counts.read(tables.folder / TRACKS, frames, len(tables.sites), n)
    return Traces(
        frames.astype(np.int64),
        smooth.count,
        smooth.confidence,
        smooth.low,
        smooth.high,
        single.count,
        single.confidence,
        single.level,
        stride,
    )


@dataclass(frozen=True)
class _Counts:
    """Most probable counts, their intervals, and levels where the table has them, (site, time)."""

    count: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    low: NDArray[np.uint8]
    high: NDArray[np.uint8]
    level: NDArray[np.uint8]

    @classmethod
    def read(cls, file: Path, frames: NDArray[Any], n_sites: int, n_frames: int) -> "_Counts":
        """Read a table in parts; of each part only the chosen frames are kept."""
        table = open_long_table(file, ("site", "frame", "p_0", "p_1"))
        names = table.schema_arrow.names
        classes = [f"p_{i}" for i in range(len(names)) if f"p_{i}" in names]
        place = np.full(n_frames, -1)
        place[frames] = np.arange(len(frames))
        empty = np.full((n_sites, len(frames)), MISSING, np.uint8)
        found = cls(empty, np.zeros_like(empty), *(empty.copy() for _ in range(3)))
        leveled = [LEVEL] if LEVEL in names else []
        try:
            for part in table.iter_batches(_BATCH, columns=["site", "frame", *classes, *leveled]):
                found._take(part, classes, place, file)
        except (OSError, pa.ArrowException) as error:
            raise FilmTableError(f"{file} cannot be read: {error}") from error
        return found

    def _take(
        self, part: pa.RecordBatch, classes: list[str], place: NDArray[Any], file: Path
    ) -> None:
        site, frame = (part.column(name).to_numpy() for name in ("site", "frame"))
        if len(site) and not (
            0 <= site.min() <= site.max() < len(self.count)
            and 0 <= frame.min() <= frame.max() < len(place)
        ):
            raise FilmTableError(
                f"{file} names site {site.max()} in frame {frame.max()}; there are "
                f"{len(self.count)} sites and {len(place)} frames: predict and track the film again"
            )
        keep = place[frame] >= 0
        p = np.stack([part.column(name).to_numpy()[keep] for name in classes], axis=1)
        known = np.isfinite(p).all(axis=1)
        p, at = p[known], (site[keep][known], place[frame[keep][known]])
        if LEVEL in part.schema.names:
            level = part.column(LEVEL).to_numpy(zero_copy_only=False)  # none is null there
            self.level[at] = packed_level(level[keep][known])
        below = np.cumsum(p, axis=1) / np.maximum(p.sum(axis=1, keepdims=True), 1e-12)
        self.count[at] = p.argmax(axis=1)
        self.confidence[at] = np.rint(255 * np.clip(p.max(axis=1), 0, 1))
        self.low[at] = (below >= _TAIL).argmax(axis=1)
        self.high[at] = (below >= 1 - _TAIL).argmax(axis=1)


def packed_level(level: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Pack levels [atoms] into bytes: sixteenths above -2, and 255 for none.

    Examples
    --------
    >>> packed_level(np.array([-9.0, 0.0, 3.5, 99.0, np.nan])).tolist()
    [0, 32, 88, 254, 255]
    """
    sixteenths = np.clip(np.rint(16 * (level + 2)), 0, MISSING - 1)
    return np.where(np.isfinite(level), sixteenths, MISSING).astype(np.uint8)
