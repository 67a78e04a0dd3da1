"""Films: series of frames of one exposure each, read when asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceria_data.bundled import bundled_datasets
from ceria_data.errors import FilmError
from ceria_data.store import MANIFEST

SUFFIXES = (
    ".dm3", ".dm4", ".emd", ".hspy", ".mrc", ".mrcs", ".npy", ".png", ".tif", ".tiff",
    ".zarr", ".zspy",
)  # fmt: skip
"""Of the files and folders that `open_film` reads."""


@dataclass(frozen=True)
class Film:
    """A series of frames of one exposure each; a single image is a film of one frame.

    Frames are read when they are asked for, never all at once.

    Attributes
    ----------
    source : str
        Name of the file or dataset, for records.
    shape : tuple of int
        Pixels of a frame, (y, x).
    n_frames : int
        The same as ``len(film)``.
    read : callable
        ``read(start, stop)`` gives frames, (frame, y, x); use `frames`, which checks the range.
    sampling : float or None
        Pixel size at the specimen [Å/pixel], where the source says it.
    frame_time_s : float or None
        From one frame to the next [s], where the source says it.
    dose_e_per_A2 : float or None
        Of one frame [e-/Å²], where the source says it.
    energy_keV : float or None
        Of the electrons, where the source says it.
    notes : tuple of str
        What a reader has to know, such as frames that are announced and not there.
    samples : tuple of int or None
        For images of a dataset, their rows of `samples.parquet`.
    """

    source: str
    shape: tuple[int, int]
    n_frames: int
    read: Callable[[int, int], NDArray[Any]] = field(repr=False)
    sampling: float | None = None
    frame_time_s: float | None = None
    dose_e_per_A2: float | None = None
    energy_keV: float | None = None
    notes: tuple[str, ...] = ()
    samples: tuple[int, ...] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return self.n_frames

    def frames(self, start: int, stop: int) -> NDArray[Any]:
        """Read some frames.

        Parameters
        ----------
        start, stop : int
            First frame, and the one behind the last.

        Returns
        -------
        array, shape (frame, y, x)
            As stored: any real type, any linear scale; in the byte order of this machine.

        Raises
        ------
        FilmError
            If the range is not in the film, or the frames cannot be read.
        """
        if not 0 <= start <= stop <= len(self):
            raise FilmError(
                f"frames {start} to {stop} of {self.source} were asked for; it has {len(self)}"
            )
        frames = self.read(start, stop)
        return frames.astype(frames.dtype.newbyteorder("="), copy=False)


def film_of_array(
    frames: ArrayLike,
    sampling: float | None = None,
    frame_time_s: float | None = None,
    source: str = "array",
    samples: Sequence[int] | None = None,
) -> Film:
    """Make a film of frames in memory, or of an array that is mapped from a file.

    Parameters
    ----------
    frames : array, shape (frame, y, x) or (y, x)
        Real numbers; a single image is a film of one frame.
    sampling : float, optional
        Å/pixel.
    frame_time_s : float, optional
        From one frame to the next [s].
    source : str
        Name, for records.
    samples : sequence of int, optional
        Rows of `samples.parquet`, for images of a dataset.

    Returns
    -------
    Film

    Raises
    ------
    FilmError
        If the array is empty, has another number of axes or holds something else than real
        numbers.

    Examples
    --------
    >>> film = film_of_array(np.ones((5, 8, 9)), sampling=0.2)
    >>> len(film), film.shape, film.frames(1, 3).shape
    (5, (8, 9), (2, 8, 9))
    """
    values = frames if isinstance(frames, np.ndarray) else np.asarray(frames)
    check_frames(values.shape, values.dtype, source)
    stack = values[None] if values.ndim == 2 else values
    return Film(
        source=source,
        shape=(stack.shape[1], stack.shape[2]),
        n_frames=len(stack),
        read=lambda start, stop: np.asarray(stack[start:stop]),
        sampling=sampling,
        frame_time_s=frame_time_s,
        samples=None if samples is None else tuple(samples),
    )


def shows_nothing(frame: NDArray[Any]) -> bool:
    """Tell frames without an image: all pixels are equal, or one is not a finite number.

    Examples
    --------
    >>> [shows_nothing(np.array([[1, x]])) for x in (1, 2, np.nan, np.inf)]
    [True, False, True, True]
    """
    low, high = float(frame.min()), float(frame.max())  # not finite if a pixel is not
    return not (low < high and np.isfinite([low, high]).all())


def check_frames(shape: Sequence[int], dtype: "np.dtype[Any]", source: str) -> None:
    """Refuse arrays that hold no frames.

    Raises
    ------
    FilmError

    Examples
    --------
    >>> check_frames((100, 64, 64), np.dtype("uint8"), "film.npy")
    >>> check_frames((64, 64), np.dtype("complex64"), "wave.npy")
    Traceback (most recent call last):
    ceria_data.errors.FilmError: wave.npy holds complex64 values; expected real numbers
    """
    if dtype.kind not in "biuf":
        raise FilmError(f"{source} holds {dtype} values; expected real numbers")
    if len(shape) not in (2, 3):
        raise FilmError(
            f"{source} has {len(shape)} axes, the shape {tuple(shape)}; expected (y, x) or "
            "(frame, y, x)"
        )
    if 0 in shape:
        raise FilmError(f"{source} is empty: its shape is {tuple(shape)}")


def open_film(
    source: str | Path,
    split: str | None = None,
    limit: int | None = None,
    particle: int | None = None,
) -> Film:
    """Open a film for reading.

    Parameters
    ----------
    source : str or Path
        A file, the folder of a dataset, or the name of a bundled dataset. Images of a dataset
        are electrons: stored counts without gain and offset.
    split : str, optional
        Of a dataset.
    limit : int, optional
        The first frames only.
    particle : int, optional
        Of a dataset; it has to be named where there are several films.

    Returns
    -------
    Film

    Raises
    ------
    FilmError
        If there is no such source, or it holds no frames, or several films.
    MissingExtraError
        If the format needs an extra that is not installed.

    Examples
    --------
    >>> film = open_film("ceria-columns-mini", split="test", limit=3)
    >>> len(film), film.shape, film.sampling
    (3, (128, 128), 0.2)
    """
    path = Path(source)
    if (path / MANIFEST).is_file() or (not path.exists() and str(source) in bundled_datasets()):
        from ceria_data.film_dataset import film_of_dataset

        return film_of_dataset(path, split, limit, particle)
    for name, value in (("split", split), ("particle", particle)):
        if value is not None:
            raise FilmError(f"{source} is no dataset and has no {name}s; leave out --{name}")
    film = _film_of_file(path)
    return film if limit is None else selected(film, stop=limit)


def _film_of_file(path: Path) -> Film:
    """Choose the reader by the suffix; its libraries are loaded only then."""
    suffix = path.suffix.lower()
    is_zarr = suffix in (".zarr", ".zspy") or any(
        (path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup")
    )
    if not (path.is_dir() if is_zarr else path.is_file()):
        raise FilmError(
            f"{path} is neither a film nor a dataset; expected a file or folder "
            f"{', '.join(SUFFIXES)}, a dataset's folder, or a bundled dataset: "
            f"{', '.join(bundled_datasets())}"
        )
    if is_zarr:
        from ceria_data.film_zarr import film_of_zarr as reader
    elif suffix == ".npy":
        from ceria_data.film_arrays import film_of_npy as reader
    elif suffix == ".png":
        from ceria_data.film_arrays import film_of_png as reader
    elif suffix in (".tif", ".tiff"):
        from ceria_data.film_tif import film_of_tif as reader
    elif suffix in (".mrc", ".mrcs"):
        from ceria_data.film_mrc import film_of_mrc as reader
    elif suffix in (".dm3", ".dm4"):
        from ceria_data.film_rosetta import film_of_dm as reader
    elif suffix == ".emd":
        from ceria_data.film_hdf5 import film_of_emd as reader
    elif suffix == ".hspy":
        from ceria_data.film_hdf5 import film_of_hspy as reader
    else:
        raise FilmError(f"{path} is a {suffix or 'nameless'} file; expected {', '.join(SUFFIXES)}")
    return reader(path)


def selected(film: Film, start: int = 0, stop: int | None = None, step: int = 1) -> Film:
    """Keep some frames of a film.

    Parameters
    ----------
    film : Film
    start, stop : int
        First frame, and the one behind the last; by default, or beyond the end, all.
    step : int
        Keep every step-th; the frame time grows with it.

    Returns
    -------
    Film

    Raises
    ------
    FilmError
        If no frame is left.

    Examples
    --------
    >>> film = selected(film_of_array(np.ones((9, 8, 8)), frame_time_s=0.1), 2, step=3)
    >>> len(film), round(film.frame_time_s, 3)
    (3, 0.3)
    """
    kept = range(len(film))[start:stop:step] if start >= 0 and step >= 1 else range(0)
    if len(kept) == 0:
        raise FilmError(
            f"no frame is left of {film.source}: it has {len(film)}, kept would be {start} to "
            f"{len(film) if stop is None else stop} in steps of {step}"
        )

    def read(first: int, last: int) -> NDArray[Any]:
        chosen = kept[first:last]
        if len(chosen) == 0 or step == 1:
            return film.frames(kept.start + first, kept.start + last)
        # One by one: a range over all of them would read what is left out.
        return np.concatenate([film.frames(row, row + 1) for row in chosen])

    return replace(
        film,
        read=read,
        n_frames=len(kept),
        frame_time_s=None if film.frame_time_s is None else film.frame_time_s * step,
        samples=None if film.samples is None else tuple(film.samples[row] for row in kept),
    )
