"""Films made of films: corrected, binned, summed, cut. Frames are computed when asked for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceria_data.errors import FilmError
from ceria_data.film import Film

_NAMED = 20
"""Dark frames that a note lists by their numbers."""
_RUNNING_PART = 64
"""Frames whose running sums are made together."""


def without_offset(film: Film, offset: float, gain: float = 1.0) -> Film:
    """Turn units of a camera into electrons.

    Parameters
    ----------
    film : Film
    offset : float
        Units that the camera adds to every pixel.
    gain : float
        Units per electron.

    Returns
    -------
    Film
        Frames of float32.

    Examples
    --------
    >>> from ceria_data.film import film_of_array
    >>> without_offset(film_of_array([[100, 120]]), 100, 10).frames(0, 1)
    array([[[0., 2.]]], dtype=float32)
    """
    if not gain > 0:
        raise FilmError(f"the gain is {gain:g} units per electron; expected a positive number")
    return _mapped(film, lambda frames: (frames - np.float64(offset)) / gain)


def without_dark(film: Film, dark: NDArray[Any]) -> Film:
    """Subtract a dark reference, as recorded without electrons.

    Parameters
    ----------
    film : Film
    dark : array, shape (y, x)
        Mean of dark frames, in the units of the film.

    Returns
    -------
    Film
        Frames of float32.
    """
    reference = _reference(film, dark, "dark reference")
    return _mapped(film, lambda frames: frames - reference)


def flat_fielded(film: Film, flat: NDArray[Any]) -> Film:
    """Divide by a gain reference, so that all pixels respond alike.

    Parameters
    ----------
    film : Film
        Without offset or dark current.
    flat : array, shape (y, x)
        The camera's answer to even illumination; its mean is taken out. Pixels that are not
        positive there are left as they are: name them to `repaired`.

    Returns
    -------
    Film
        Frames of float32, with the same mean response.

    Examples
    --------
    >>> from ceria_data.film import film_of_array
    >>> flat_fielded(film_of_array([[1, 3]]), np.array([[1.0, 3.0]])).frames(0, 1)
    array([[[2., 2.]]], dtype=float32)
    """
    reference = _reference(film, flat, "gain reference")
    good = reference > 0
    if not good.any():
        raise FilmError("the gain reference has no positive pixel; expected an evenly lit image")
    response = np.where(good, reference / reference[good].mean(), 1.0)
    return _mapped(film, lambda frames: frames / response)


def binned(film: Film, factor: int) -> Film:
    """Sum pixels over squares; the sampling grows, the dose stays.

    Parameters
    ----------
    film : Film
    factor : int
        Pixels along each side of a square. What is left at the far borders is cut off.

    Returns
    -------
    Film

    Examples
    --------
    >>> from ceria_data.film import film_of_array
    >>> film = binned(film_of_array(np.ones((5, 7), np.uint8), sampling=0.1), 2)
    >>> film.shape, film.sampling, int(film.frames(0, 1)[0, 0, 0])
    ((2, 3), 0.2, 4)
    """
    ny, nx = (n // factor if factor >= 1 else 0 for n in film.shape)
    if min(ny, nx) < 1:
        raise FilmError(
            f"frames of {film.shape[1]} × {film.shape[0]} pixels cannot be binned by {factor}; "
            "expected a whole number from 1 to the shorter side"
        )

    def read(start: int, stop: int) -> NDArray[Any]:
        frames = film.frames(start, stop)[:, : ny * factor, : nx * factor]
        parts = frames.reshape(len(frames), ny, factor, nx, factor)
        squares: NDArray[Any] = parts.sum((2, 4), dtype=_wide(frames.dtype))
        return squares

    sampling = None if film.sampling is None else film.sampling * factor
    return replace(film, read=read, shape=(ny, nx), sampling=sampling)


def summed(film: Film, n: int) -> Film:
    """Sum every n frames to one; frame time and dose grow.

    Parameters
    ----------
    film : Film
    n : int
        Frames that are left at the end are dropped, and a note says so.

    Returns
    -------
    Film

    Examples
    --------
    >>> from ceria_data.film import film_of_array
    >>> film = summed(film_of_array(np.ones((7, 2, 2)), frame_time_s=0.04), 3)
    >>> len(film), film.frame_time_s, float(film.frames(1, 2)[0, 0, 0])
    (2, 0.12, 3.0)
    """
    _check_sum(film, n)

    def read(start: int, stop: int) -> NDArray[Any]:
        sums = [_sum(film.frames(i * n, (i + 1) * n)) for i in range(start, stop)]
        return np.stack(sums) if sums else film.frames(0, 0)

    left = len(film) % n
    note = f"the last {left} frames are too few for a sum of {n} and are left out"
    return replace(
        film,
        read=read,
        n_frames=len(film) // n,
        frame_time_s=_times(film.frame_time_s, n),
        dose_e_per_A2=_times(film.dose_e_per_A2, n),
        notes=(*film.notes, note) if left else film.notes,
        samples=None,
    )


def running(film: Film, n: int) -> Film:
    """Sum every frame with those that follow, n in all; only the dose grows.

    Parameters
    ----------
    film : Film
    n : int

    Returns
    -------
    Film
        Of ``len(film) - n + 1`` frames; frame i is the sum of the frames i to i + n - 1, so
        neighbours share electrons.

    Examples
    --------
    >>> from ceria_data.film import film_of_array
    >>> film = running(film_of_array(np.arange(5)[:, None, None]), 3)
    >>> film.frames(0, 3).ravel()
    array([3, 6, 9])
    """
    _check_sum(film, n)

    def read(start: int, stop: int) -> NDArray[Any]:
        parts = []
        for first in range(start, stop, _RUNNING_PART):
            last = min(first + _RUNNING_PART, stop)
            frames = film.frames(first, last + n - 1)
            # Sums anew, not differences of a cumulative one: the same whatever the range.
            sums = frames[: last - first].astype(_wide(frames.dtype))
            for i in range(1, n):
                sums += frames[i : i + last - first]
            parts.append(sums)
        return np.concatenate(parts) if parts else film.frames(0, 0)

    return replace(
        film,
        read=read,
        n_frames=len(film) - n + 1,
        dose_e_per_A2=_times(film.dose_e_per_A2, n),
        samples=None,
    )


def cropped(film: Film, y: tuple[int, int], x: tuple[int, int]) -> Film:
    """Cut a rectangle out of every frame.

    Parameters
    ----------
    film : Film
    y, x : tuple of int
        First pixel, and the one behind the last. Positions are counted from the first.

    Returns
    -------
    Film

    Examples
    --------
    >>> from ceria_data.film import film_of_array
    >>> cropped(film_of_array(np.eye(4)), (1, 3), (0, 4)).shape
    (2, 4)
    """
    for name, (first, stop), n in (("y", y, film.shape[0]), ("x", x, film.shape[1])):
        if not 0 <= first < stop <= n:
            raise FilmError(
                f"pixels {first} to {stop} along {name} cannot be cut out; expected a range "
                f"between 0 and {n}"
            )
    return replace(
        film,
        read=lambda start, stop: film.frames(start, stop)[:, slice(*y), slice(*x)],
        shape=(y[1] - y[0], x[1] - x[0]),
        notes=(*film.notes, f"cut out from pixel ({y[0]}, {x[0]}) (y, x) on"),
    )


def dark_frames(film: Film, part: int = 16) -> list[int]:
    """Find frames whose pixels are all equal: no light, or nothing written.

    Parameters
    ----------
    film : Film
    part : int
        Frames that are read together.

    Returns
    -------
    list of int

    Examples
    --------
    >>> from ceria_data.film import film_of_array
    >>> dark_frames(film_of_array(np.arange(12).reshape(3, 2, 2) % 8 * [[[1]], [[0]], [[1]]]))
    [1]
    """
    found: list[int] = []
    for start in range(0, len(film), part):
        frames = film.frames(start, min(start + part, len(film)))
        dark = frames.min((1, 2)) == frames.max((1, 2))
        found += (start + np.flatnonzero(dark)).tolist()
    return found


def dark_noted(film: Film) -> Film:
    """Name the dark frames of a film in its notes; reads the whole film once.

    Parameters
    ----------
    film : Film

    Returns
    -------
    Film
        The same frames.

    Examples
    --------
    >>> from ceria_data.film import film_of_array
    >>> dark_noted(film_of_array(np.zeros((2, 4, 4)))).notes
    ('2 of its 2 frames are dark: 0, 1',)
    """
    dark = dark_frames(film)
    if not dark:
        return film
    named = ", ".join(str(row) for row in dark[:_NAMED]) + (", ..." if len(dark) > _NAMED else "")
    note = f"{len(dark)} of its {len(film)} frames are dark: {named}"
    return replace(film, notes=(*film.notes, note))


def _mapped(film: Film, function: Callable[[NDArray[Any]], NDArray[Any]]) -> Film:
    """Apply a function to all frames; the result is stored in 4 bytes a pixel."""

    def read(start: int, stop: int) -> NDArray[Any]:
        return function(film.frames(start, stop)).astype(np.float32)

    return replace(film, read=read)


def _reference(film: Film, values: NDArray[Any], what: str) -> NDArray[np.float64]:
    reference = np.asarray(values, dtype=np.float64)
    reference = reference[0] if reference.ndim == 3 and len(reference) == 1 else reference
    if reference.shape != film.shape:
        raise FilmError(
            f"the {what} has the shape {reference.shape}; expected {film.shape}, that of a frame "
            f"of {film.source}"
        )
    if not np.isfinite(reference).all():
        raise FilmError(f"the {what} holds values that are no numbers; expected finite ones")
    return reference


def _check_sum(film: Film, n: int) -> None:
    if not 1 <= n <= len(film):
        raise FilmError(
            f"sums of {n} frames were asked for; expected 1 to {len(film)}, the frames of "
            f"{film.source}"
        )


def _sum(frames: NDArray[Any]) -> NDArray[Any]:
    total: NDArray[Any] = frames.sum(0, dtype=_wide(frames.dtype))
    return total


def _wide(dtype: "np.dtype[Any]") -> "np.dtype[Any]":
    """Choose a type in which sums of many values are exact, or nearly so."""
    if dtype.kind == "f":
        return np.dtype(np.float64 if dtype.itemsize > 4 else np.float32)
    return np.dtype(np.int64)


def _times(value: float | None, n: int) -> float | None:
    return None if value is None else value * n
