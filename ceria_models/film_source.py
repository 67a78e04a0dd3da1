"""What `predict` is given: a file is a film; a dataset holds films, or single images."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.dataset import open_dataset
from ceria_data.film import Film, open_film
from ceria_models.errors import ImageError


@dataclass(frozen=True)
class Source:
    """Images to predict, and how they belong together.

    Attributes
    ----------
    film : Film
    times : array of float64, shape (frame,)
        Time of every frame [s]; not a number where it is not known.
    is_film : bool
        False for images of a dataset that do not follow each other in time.
    record : dict
        How it was opened: what has to be given to open it again.
    notes : tuple of str
        What a person has to know.
    """

    film: Film
    times: NDArray[np.float64]
    is_film: bool
    record: dict[str, Any]
    notes: tuple[str, ...] = ()


def open_source(
    source: Path,
    *,
    split: str | None = None,
    limit: int | None = None,
    particle: int | None = None,
    frame_time_s: float | None = None,
) -> Source:
    """Open a film, an image, or images of a dataset.

    The images of a dataset are a film if they show one particle at different times.

    Parameters
    ----------
    source : Path
        As for `open_film`.
    split : str, optional
        Of a dataset.
    limit : int, optional
        The first frames only.
    particle : int, optional
        Of a dataset, only images of this particle.
    frame_time_s : float, optional
        From one frame to the next [s]; by default as the source says.

    Returns
    -------
    Source

    Raises
    ------
    ImageError
        If there is no such source, it holds no images, or not of this particle.

    Examples
    --------
    >>> still = open_source(Path("ceria-columns-mini"), split="test", limit=3)
    >>> still.is_film, still.record
    (False, {'split': 'test', 'limit': 3})
    """
    given = {"split": split, "limit": limit, "particle": particle}
    record = {name: value for name, value in given.items() if value is not None}
    film = open_film(source, split, None if particle is not None else limit)
    if film.samples is None:
        if particle is not None:
            raise ImageError(f"{source} is no dataset and has no particles; leave out --particle")
        if frame_time_s is not None:
            film = replace(film, frame_time_s=frame_time_s)
        return Source(film, frame_times(film), True, record)
    rows = open_dataset(source, split).samples
    if particle is not None:
        film, rows = _of_particle(film, rows, particle, limit)
    return _of_dataset(film, rows.iloc[: len(film)], record, frame_time_s)


def frame_times(film: Film) -> NDArray[np.float64]:
    """Evaluate the time of every frame [s]; not a number where the film does not say it.

    Examples
    --------
    >>> from ceria_data.film import film_of_array
    >>> frame_times(film_of_array(np.ones((3, 4, 4)), frame_time_s=0.5))
    array([0. , 0.5, 1. ])
    """
    step = np.nan if film.frame_time_s is None else film.frame_time_s
    return np.arange(len(film), dtype=np.float64) * step


def _of_dataset(
    film: Film, rows: pd.DataFrame, record: dict[str, Any], frame_time_s: float | None
) -> Source:
    """Decide whether images of a dataset are a film, and take their times from its table."""
    frames, particles = rows["frame"].to_numpy(), rows["particle"]
    follow = bool(particles.nunique() == 1 and (np.diff(frames) > 0).all())
    times = rows["time_s"].to_numpy(dtype=np.float64)
    if follow and len(rows) > 1:
        step = float(np.median(np.diff(times) / np.diff(frames)))
        film = replace(film, frame_time_s=frame_time_s or step)
        if frame_time_s is not None:
            times = frame_times(film)
    notes: tuple[str, ...] = ()
    if not follow and rows.groupby("particle")["frame"].nunique().max() > 1:
        notes = (
            f"the images are of {particles.nunique()} films; each was read by itself, without "
            "drift and sites: --particle predicts one film",
        )
    return Source(film, times, follow, record, notes)


def _of_particle(
    film: Film, rows: pd.DataFrame, particle: int, limit: int | None
) -> tuple[Film, pd.DataFrame]:
    """Keep the images of one particle."""
    own = np.flatnonzero(rows["particle"].to_numpy() == particle)[:limit]
    if not len(own):
        known = rows["particle"].unique()
        raise ImageError(
            f"{film.source} has no images of particle {particle} there; it has "
            f"{len(known)} particles, {known.min()} to {known.max()}"
        )

    def read(start: int, stop: int) -> NDArray[Any]:
        return np.concatenate([film.frames(int(row), int(row) + 1) for row in own[start:stop]])

    samples = None if film.samples is None else tuple(film.samples[row] for row in own)
    kept = replace(film, read=read, n_frames=len(own), samples=samples)
    return kept, rows.iloc[own]
