"""What `predict` is given: a file is a film; a dataset holds films, or single images."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceria_data.dataset import open_dataset
from ceria_data.film import Film, open_film


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
    """

    film: Film
    times: NDArray[np.float64]
    is_film: bool
    record: dict[str, Any]


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
    FilmError
        If there is no such source, it holds no images, or not of this particle.

    Examples
    --------
    >>> still = open_source(Path("ceria-columns-mini"), split="test", limit=3)
    >>> still.is_film, still.record
    (False, {'split': 'test', 'limit': 3})
    """
    given = {"split": split, "limit": limit, "particle": particle}
    record = {name: value for name, value in given.items() if value is not None}
    film = open_film(source, split, limit, particle)
    if frame_time_s is not None:
        film = replace(film, frame_time_s=frame_time_s)
    times = frame_times(film)
    if film.samples is None:
        return Source(film, times, True, record)
    rows = open_dataset(source, split).samples.set_index("sample").loc[list(film.samples)]
    follow = bool(rows["particle"].nunique() == 1 and (np.diff(rows["frame"]) > 0).all())
    if frame_time_s is None:
        times = rows["time_s"].to_numpy(dtype=np.float64)
    return Source(film, times, follow, record)


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
