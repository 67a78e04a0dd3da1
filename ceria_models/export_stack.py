"""Frames of a film, each with the counts painted onto it, one after the other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from numpy.typing import NDArray

from ceria_data.film import Film
from ceria_data.schema import PAINT_RADIUS, SPECIES
from ceria_models.errors import FilmFolderError
from ceria_models.report_frames import film_of_tables
from ceria_models.report_tables import PredictedFilm
from ceria_models.report_traces import MISSING, Traces, read_traces


@dataclass(frozen=True)
class Stack:
    """Chosen frames of a predicted film, at equal steps.

    Attributes
    ----------
    tables : PredictedFilm
    film : Film
    traces : Traces
        With the chosen frames.
    frames : array of int, shape (time,)
    step : int
    tell : callable
        Told images made and in all.
    """

    tables: PredictedFilm
    film: Film
    traces: Traces
    frames: NDArray[np.int64]
    step: int
    tell: Callable[[int, int], None] = lambda done, total: None
    _done: Iterator[int] = field(default_factory=lambda: count(1), repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sizes of (time, y, x)."""
        return len(self.frames), *self.film.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of the frames, as stored."""
        first = self.film.frames(0, 1).dtype
        return np.dtype(np.uint8) if first.kind == "b" else first

    @property
    def step_s(self) -> float | None:
        """From one chosen frame to the next [s]."""
        time = self.tables.frame_time_s
        return None if time is None else time * self.step

    def images(self) -> Iterator[NDArray[np.generic]]:
        """Read the frames, (y, x) each."""
        dtype = self.dtype
        for frame in self.frames.tolist():
            self._tell_one()
            yield self.film.frames(frame, frame + 1)[0].astype(dtype, copy=False)

    def counts(self, species: str) -> Iterator[NDArray[np.uint8]]:
        """Paint the counts of one species, (y, x) for each frame; 0 = no column."""
        for frame in self.frames.tolist():
            self._tell_one()
            yield self.painted(frame, species)

    def _tell_one(self) -> None:
        self.tell(next(self._done), len(self.frames) * (1 + len(species_of(self.tables))))

    def painted(self, frame: int, species: str) -> NDArray[np.uint8]:
        """Paint the counts of one species in one of the frames."""
        at = int(np.searchsorted(self.traces.frames, frame))
        count = self.traces.occupancy[:, at]
        own = (self.tables.sites["species"] == species).to_numpy() & (count != MISSING)
        places = self.tables.sites[["y_A", "x_A"]].to_numpy(dtype=np.float64)[own]
        places = (places + self.tables.drift[frame, ::-1]) / self.tables.sampling
        return painted_discs(places, count[own], self.film.shape, self.tables.sampling)


def painted_discs(
    places: NDArray[np.float64],
    counts: NDArray[np.uint8],
    shape: tuple[int, int],
    sampling: float,
) -> NDArray[np.uint8]:
    """Paint disks of 0.6 Å radius; where two overlap the nearer column wins.

    Parameters
    ----------
    places : array of float, shape (column, 2)
        y, x [pixels].
    counts : array of uint8, shape (column,)
    shape : tuple of int
    sampling : float
        Å/pixel.

    Returns
    -------
    array of uint8, shape (y, x)
        0 = background.

    Examples
    --------
    >>> painted_discs(np.array([[1.0, 2.0]]), np.array([7], np.uint8), (3, 4), 0.6)
    array([[0, 0, 7, 0],
           [0, 7, 7, 7],
           [0, 0, 7, 0]], dtype=uint8)
    """
    picture = np.zeros(shape, np.uint8)
    reach = int(np.ceil(PAINT_RADIUS / sampling)) + 1
    window = np.arange(-reach, reach + 1)
    centre = np.rint(places).astype(np.int64)
    y = centre[:, 0, None, None] + window[None, :, None]
    x = centre[:, 1, None, None] + window[None, None, :]
    y, x = np.broadcast_arrays(y, x)
    away = np.hypot(y - places[:, 0, None, None], x - places[:, 1, None, None]) * sampling
    inside = (away <= PAINT_RADIUS + 1e-9) & (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
    value = np.broadcast_to(counts[:, None, None], away.shape)[inside]
    farthest_first = np.argsort(-away[inside], kind="stable")
    picture[y[inside][farthest_first], x[inside][farthest_first]] = value[farthest_first]
    return picture


def stack_of(
    tables: PredictedFilm,
    step: int = 1,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Stack:
    """Open the frames of a predicted film for other programs.

    Parameters
    ----------
    tables : PredictedFilm
    step : int
        Every how many frames.
    tell : callable
        Told images made and in all.

    Raises
    ------
    FilmFolderError
        If the film is not there any more.
    """
    film, why = film_of_tables(tables)
    if film is None:
        raise FilmFolderError(
            f"{why}. Images are made from the film; put it beside {tables.folder}, or convert "
            "the tables with --to csv"
        )
    frames = np.arange(0, len(tables.frames), step)
    traces = read_traces(tables, longest=len(tables.frames), step=step)
    return Stack(tables, film, traces, frames, step, tell)


def species_of(tables: PredictedFilm) -> list[str]:
    """Name the species of which there are columns, Ce first."""
    return [name for name in SPECIES if (tables.sites["species"] == name).any()]
