"""The frames of a film in order, as many at a time as memory allows."""

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ceria_data.film import Film

Image = NDArray[np.floating] | NDArray[np.integer]

_BYTES = 32 << 20
_MOST = 64
_PIXELS_OF_CHUNK = 32 * 512 * 512
"""What is predicted between two checkpoints, about half a minute of a processor's time."""
_FRAMES_OF_CHUNK = 256


def frames_of(film: Film, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Image]]:
    """Read frames one after the other.

    Parameters
    ----------
    film : Film
    start, stop : int
        First frame, and the one behind the last; by default all.

    Yields
    ------
    tuple of int and array, shape (y, x)
        Number of the frame, and its image.

    Examples
    --------
    >>> from ceria_data.film import film_of_array
    >>> [i for i, _ in frames_of(film_of_array(np.ones((5, 8, 8))), 2)]
    [2, 3, 4]
    """
    stop = len(film) if stop is None else stop
    some = _at_a_time(film)
    for first in range(start, stop, some):
        images = film.frames(first, min(first + some, stop))
        if images.dtype == bool:
            images = images.astype(np.uint8)
        for offset, image in enumerate(images):
            yield first + offset, np.ascontiguousarray(image)


def digest_of(film: Film, n_frames: int) -> str:
    """Tell films apart by the first, the middle and the last of some frames.

    Parameters
    ----------
    film : Film
    n_frames : int
        A film that has grown since has the same digest.

    Returns
    -------
    str
        SHA-256.

    Raises
    ------
    FilmError
        If there are fewer frames.

    Examples
    --------
    >>> from ceria_data.film import film_of_array
    >>> one, other = film_of_array(np.ones((5, 8, 8))), film_of_array(np.ones((7, 8, 8)))
    >>> digest_of(one, 5) == digest_of(other, 5)
    True
    """
    digest = hashlib.sha256()
    for number in sorted({0, n_frames // 2, n_frames - 1}):
        for _, image in frames_of(film, number, number + 1):
            digest.update(image.tobytes())
    return digest.hexdigest()


def chunks_of(film: Film, sampling: float, step: float) -> list[range]:
    """Divide a film into what is predicted between two checkpoints.

    Parameters
    ----------
    film : Film
    sampling : float
        Å/pixel.
    step : float
        That of the net [Å/pixel].

    Returns
    -------
    list of range
        Frames.

    Examples
    --------
    >>> from ceria_data.film import film_of_array
    >>> chunks_of(film_of_array(np.ones((70, 16, 16))), 6.4, 0.2)
    [range(0, 32), range(32, 64), range(64, 70)]
    """
    pixels = film.shape[0] * film.shape[1] * (sampling / step) ** 2
    size = int(min(max(_PIXELS_OF_CHUNK / pixels, 1), _FRAMES_OF_CHUNK))
    return [range(at, min(at + size, len(film))) for at in range(0, len(film), size)]


def _at_a_time(film: Film) -> int:
    bytes_of_frame = 8 * film.shape[0] * film.shape[1]
    return int(min(max(_BYTES // bytes_of_frame, 1), _MOST))
