"""Hot, dead and stuck pixels of a camera: found in the film itself, and repaired."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, maximum_filter, median_filter, rank_filter

from ceria_data.errors import FilmError
from ceria_data.film import Film, shows_nothing
from ceria_data.noise import FOURTH_DIFFERENCE

_FRAMES = 100
"""That are read to find bad pixels, evenly over the film."""
_AROUND = 5
"""Pixels along the side of the square that a pixel is compared with."""
_CENTRE = float(FOURTH_DIFFERENCE[2] ** 2)
"""Share of a single pixel in its own fourth difference along both axes."""
_FAR = 8.0
"""Standard deviations of the noise."""
_RELATIVE = 0.4
"""Part of the level around, by which a bad pixel differs at least."""
_LEAST_SHARE = 0.3
"""Of that difference, in the fourth differences: of an atom hardly anything is left there."""
_ROUNDS = 50
"""Bad pixels side by side are found one after the other."""
_STUCK = 0.05
"""Variance of a pixel over that of the neighbours that vary least: it does not see the light."""
_LEAST = 2
"""Rank of the neighbours that vary least: the third of 25."""
_ENOUGH = 20
"""Frames from which the variance of a pixel over time tells something."""
_KNOWN = 0.3
"""Variance that nearly all pixels have, of the usual one: else electrons are too few to tell."""
_MOST = 0.05
"""Part of the pixels that may be repaired."""
_REACH = 4
"""Pixels that a repair looks for good neighbours, at most."""


def bad_pixels(film: Film) -> NDArray[np.bool_]:
    """Find hot, dead and stuck pixels from the mean and the variance of a film.

    A pixel is bad if its mean differs from the median around by 0.4 of it and stands out in
    fourth differences, in which atoms hardly show, by 8 standard deviations of the noise; or if
    it hardly varies over 20 frames and more.

    Parameters
    ----------
    film : Film
        At most 100 frames of it are read, evenly over the film.

    Returns
    -------
    array of bool, shape (y, x)

    Examples
    --------
    >>> from ceria_data.film import film_of_array
    >>> frames = np.random.default_rng(0).poisson(9.0, (30, 40, 40))
    >>> frames[:, 7, 20] += 90
    >>> np.argwhere(bad_pixels(film_of_array(frames))).tolist()
    [[7, 20]]
    """
    mean, variance, n = _moments(film)
    bad = np.zeros(film.shape, dtype=bool)
    if min(film.shape) < _AROUND or not mean.mean() > 0:
        return bad
    for _ in range(_ROUNDS):
        found = _standing_out(mean)
        if not found.any():
            break
        bad |= found
        mean[found] = median_filter(mean, _AROUND, mode="mirror")[found]
    if n >= _ENOUGH and np.percentile(variance, 1) > _KNOWN * np.median(variance):
        least = rank_filter(variance, _LEAST, size=_AROUND, mode="mirror")
        bad |= variance < _STUCK * least
    return bad


def _standing_out(mean: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find pixels that stand out, each the one that does most among its neighbours."""
    level = median_filter(mean, _AROUND, mode="mirror")
    excess = mean
    for axis in (0, 1):
        excess = correlate1d(excess, FOURTH_DIFFERENCE, axis=axis, mode="mirror")
    excess = excess / _CENTRE
    # The noise as most of the pixels have it; the 75th percentile of |normal| is 1.15.
    noise = float(np.percentile(np.abs(excess), 75)) / 1.15
    brighter = np.sqrt(np.maximum(level / max(float(level.mean()), 1e-30), 1.0))
    # Differences ring: the good neighbours of a bad pixel stand out too, but keep to their level.
    off = mean - level
    excess = np.where((np.abs(off) > _RELATIVE * level) & (off * excess > 0), np.abs(excess), 0.0)
    far = excess > np.maximum(_LEAST_SHARE * np.abs(off), _FAR * noise * brighter)
    out: NDArray[np.bool_] = far & (excess == maximum_filter(excess, _AROUND, mode="mirror"))
    return out


def repaired(film: Film, mask: NDArray[np.bool_]) -> Film:
    """Replace bad pixels by the median of the good ones around them.

    Parameters
    ----------
    film : Film
    mask : array of bool, shape (y, x)
        True where a pixel is bad, such as from `bad_pixels`.

    Returns
    -------
    Film
        Frames of float32, or as stored if no pixel is bad; a note says how many are.

    Raises
    ------
    FilmError
        If the mask is of another shape, or marks more than 5 % of the pixels.

    Examples
    --------
    >>> from ceria_data.film import film_of_array
    >>> frame = np.array([[1, 2, 3], [4, 900, 6], [7, 8, 9]])
    >>> repaired(film_of_array(frame), frame > 99).frames(0, 1)[0, 1, 1]
    np.float32(5.0)
    """
    bad = np.asarray(mask) != 0
    if bad.shape != film.shape:
        raise FilmError(
            f"the mask of bad pixels has the shape {bad.shape}; expected {film.shape}, that of a "
            f"frame of {film.source}"
        )
    n = int(bad.sum())
    if n == 0:
        return film
    if n > max(_MOST * bad.size, 1):
        raise FilmError(
            f"{n} of {bad.size} pixels are marked as bad; expected at most {_MOST:.0%}: is the "
            "mask turned round?"
        )
    around = [_good_around(bad, int(y), int(x)) for y, x in np.argwhere(bad)]

    def read(start: int, stop: int) -> NDArray[Any]:
        frames = film.frames(start, stop).astype(np.float32)
        for (y, x), (ys, xs) in zip(np.argwhere(bad), around, strict=True):
            frames[:, y, x] = np.median(frames[:, ys, xs], axis=1)
        return frames

    return replace(film, read=read, notes=(*film.notes, f"{n} bad pixels were repaired"))


def _moments(film: Film) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Mean and variance over time, of frames that show something."""
    rows = np.unique(np.linspace(0, len(film) - 1, min(len(film), _FRAMES)).round().astype(int))
    mean, squares, n = np.zeros(film.shape), np.zeros(film.shape), 0
    for row in rows.tolist():
        frame = film.frames(row, row + 1)[0].astype(np.float64)
        if shows_nothing(frame):
            continue
        n += 1
        step = frame - mean
        mean += step / n
        squares += step * (frame - mean)
    return mean, squares / max(n - 1, 1), n


def _good_around(
    bad: NDArray[np.bool_], y: int, x: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the good pixels in the smallest square that has at least three."""
    for reach in range(1, _REACH + 1):
        top, left = max(y - reach, 0), max(x - reach, 0)
        good = np.argwhere(~bad[top : y + reach + 1, left : x + reach + 1])
        if len(good) >= 3:
            return good[:, 0] + top, good[:, 1] + left
    raise FilmError(
        f"the bad pixel ({y}, {x}) (y, x) has no good ones within {_REACH} pixels; cut that part "
        "out of the film"
    )
