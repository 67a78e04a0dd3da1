"""What `predict` is given: a file is a film; a dataset holds films, or single images."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceria_data.camera_zero import camera_zero
from ceria_data.dataset import open_dataset
from ceria_data.errors import FilmError
from ceria_data.film import Film, open_film, selected
from ceria_data.film_preparation import binned, running, summed
from ceria_data.film_references import CameraReferences, references_again

_AS_RECORDED = CameraReferences()


@dataclass(frozen=True)
class Preparation:
    """What is done to a film before the net sees it, in this order.

    Attributes
    ----------
    first : int
        Frame to begin with.
    frames : int or None
        How many are kept; None for all that follow.
    every : int
        Of the frames from `first` on, each so many-th is kept.
    bin : int
        Pixels along each side of a square that become one.
    sum : int
        Frames that become one.
    running : int
        Frames whose sum takes the place of each.
    references : CameraReferences
        What turns the numbers of the camera into electrons; before all else.

    Examples
    --------
    >>> Preparation(first=3, sum=2).record()
    {'first': 3, 'sum': 2}
    """

    first: int = 0
    frames: int | None = None
    every: int = 1
    bin: int = 1
    sum: int = 1
    running: int = 1
    references: CameraReferences = _AS_RECORDED

    def record(self) -> dict[str, Any]:
        """Say what is done, without what is not."""
        usual, camera = vars(Preparation()), self.references.record()
        found = {name: value for name, value in vars(self).items() if value != usual[name]}
        found.pop("references", None)
        return found | ({"references": camera} if camera else {})

    def prepared(self, film: Film) -> Film:
        """Prepare a film; nothing is computed before frames are asked for.

        Raises
        ------
        FilmError
            If nothing is left, frames are summed in two ways, or the references do not fit.
        """
        if self.sum > 1 and self.running > 1:
            raise FilmError("--sum and --running exclude each other; give one of them")
        film = self.references.applied(film)
        if self.first or self.frames is not None or self.every > 1:
            stop = None if self.frames is None else self.first + self.frames * self.every
            film = selected(film, self.first, stop, self.every)
        for name, n, prepare in (
            ("bin", self.bin, binned),
            ("sum", self.sum, summed),
            ("running", self.running, running),
        ):
            if n > 1:
                available = min(film.shape) if name == "bin" else len(film)
                if n > available:
                    unit = "pixels along an axis" if name == "bin" else "frames"
                    raise FilmError(
                        f"--{name} {n}: {film.source} has {available} {unit}; expected no more"
                    )
                film = prepare(film, n)
        return film


_AS_IT_IS = Preparation()


@dataclass(frozen=True)
class Origins:
    """What the facts about a film rest on: ``file``, ``flag``, ``dataset`` or ``estimated``.

    Attributes
    ----------
    sampling, frame_time : str or None
        None where it is not known.
    sampling_uncertainty : float or None
        Standard deviation [Å/pixel], where it was estimated.
    """

    sampling: str | None = None
    sampling_uncertainty: float | None = None
    frame_time: str | None = None


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
    origins : Origins
    """

    film: Film
    times: NDArray[np.float64]
    is_film: bool
    record: dict[str, Any]
    origins: Origins = Origins()


def open_source(
    source: Path,
    *,
    split: str | None = None,
    limit: int | None = None,
    particle: int | None = None,
    frame_time_s: float | None = None,
    preparation: Preparation = _AS_IT_IS,
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
    preparation : Preparation

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
    record |= preparation.record()
    opened = open_film(source, split, limit, particle)
    if frame_time_s is not None:
        opened = replace(opened, frame_time_s=frame_time_s)
    film = preparation.prepared(opened)
    begin = preparation.first * (opened.frame_time_s or 0.0)
    times = begin + frame_times(film)
    own = "file" if opened.samples is None else "dataset"
    known = "flag" if frame_time_s is not None else own
    origins = Origins(
        sampling=None if film.sampling is None else own,
        frame_time=None if film.frame_time_s is None else known,
    )
    if opened.samples is None:
        film = replace(film, notes=(*film.notes, *_offset_notes(opened, preparation.references)))
        return Source(film, times, True, record, origins)
    rows = open_dataset(source, split).samples.set_index("sample").loc[list(opened.samples)]
    follow = bool(rows["particle"].nunique() == 1 and (np.diff(rows["frame"]) > 0).all())
    if (preparation.sum > 1 or preparation.running > 1) and not follow:
        raise FilmError(
            f"{source} holds images of several structures; only frames of one film can be summed"
        )
    if frame_time_s is None and film.samples is not None:
        times = rows.loc[list(film.samples), "time_s"].to_numpy(dtype=np.float64)
    elif frame_time_s is None:  # a sum is at the time of its first frame
        times = float(rows["time_s"].iloc[preparation.first]) + frame_times(film)
    return Source(film, times, follow, record, origins)


def _offset_notes(film: Film, references: CameraReferences) -> list[str]:
    """Say so if the noise tells of an offset that was not taken off; sums would hide it."""
    zero = camera_zero(references.applied(film))
    if zero is None or not zero.has_offset:
        return []
    return [
        f"the noise of {film.source} grows with the signal as if no electrons were "
        f"{zero.value:.3g} ± {zero.error:.2g} of {zero.mean:.4g} units on average: counts of atoms "
        "and doses are wrong unless an offset is taken off, with --dark or --offset"
    ]


def open_again(place: str | Path, record: dict[str, Any]) -> Film:
    """Open and prepare a film as the record of a prediction says.

    Parameters
    ----------
    place : str or Path
    record : dict
        As `Source.record`.

    Returns
    -------
    Film

    Raises
    ------
    FilmError
        If it cannot be opened, or the record holds something that is not known here.
    """
    kept = dict(record)
    found = {name: kept.pop(name) for name in ("split", "limit", "particle") if name in kept}
    if "references" in kept:
        kept["references"] = references_again(kept["references"])
    try:
        preparation = Preparation(**kept)
    except TypeError as error:
        raise FilmError(f"the film was prepared in a way that is not known here: {kept}") from error
    return preparation.prepared(open_film(place, **found))


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
