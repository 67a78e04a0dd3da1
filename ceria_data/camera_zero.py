"""Where a camera's zero lies, as the noise tells: it grows with the signal above it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from ceria_data.film import Film, shows_nothing
from ceria_data.noise import FOURTH_DIFFERENCE, NOISE_GAIN

_FRAMES = 24
"""Looked at, in a row at the middle of the film, where drift is small."""
_BLOCK = 4
"""Pixels along each side of a block, for which mean and noise are compared."""
_WIDEST = 1024
"""Pixels along each side of the middle of a frame that are looked at."""
_FEWEST = 64
_OUTLIER = 4.0
"""Blocks with this many times the usual noise have a bad pixel, ..."""
_FAR = 8.0
"""... and those whose mean is this many median deviations from the usual one."""
_DRAWS = 200
_LEAST = 0.1
"""Share of the mean ..."""
_SIGMAS = 3.0
"""... and standard deviations that an offset has at least, before it is believed."""


@dataclass(frozen=True)
class CameraZero:
    """What a camera records without electrons, as the noise of a film tells.

    Attributes
    ----------
    value, error : float
        With its standard deviation, in the units of the film.
    mean : float
        Of the frames.
    """

    value: float
    error: float
    mean: float

    @property
    def has_offset(self) -> bool:
        """Whether the zero lies clearly, and by more than a tenth of the mean, above 0."""
        return self.value > max(_LEAST * self.mean, _SIGMAS * self.error)


def camera_zero(film: Film) -> CameraZero | None:
    """Extrapolate the noise of bright and dark parts of a film to none.

    The variance of electrons grows in proportion to their number, whatever the gain, and
    whether or not the camera blurs. Of a film the differences of frames in a row are taken, in
    which the structure, bad pixels and differences of gain cancel.

    Parameters
    ----------
    film : Film

    Returns
    -------
    CameraZero or None
        None if the film is too small, or has no parts of different brightness.

    References
    ----------
    .. [1] Janesick, Photon Transfer (2007), ch. 5: variance against mean.

    Examples
    --------
    >>> from ceria_data.film import film_of_array
    >>> bright = np.repeat(np.linspace(2.0, 20.0, 128), 128).reshape(128, 128)
    >>> counts = np.random.default_rng(0).poisson(bright, (8, 128, 128))
    >>> zero = camera_zero(film_of_array(10 * counts + 100))
    >>> round(zero.value, -1), zero.has_offset
    (100.0, True)
    """
    means, noises = _blocks(film)
    away = np.abs(means - np.median(means))
    good = (noises < _OUTLIER * np.median(noises)) & (away <= _FAR * np.median(away))
    means, noises = means[good], noises[good]
    if len(means) < _FEWEST or np.ptp(means) == 0:
        return None
    rng = np.random.default_rng(0)
    draws = rng.integers(len(means), size=(_DRAWS, len(means)))
    drawn = [_zero(means[own], noises[own]) for own in draws]
    value = _zero(means, noises)
    if not np.isfinite([value, *drawn]).all():
        return None
    return CameraZero(value, float(np.std(drawn)), float(means.mean()))


def _zero(means: NDArray[np.float64], noises: NDArray[np.float64]) -> float:
    """Find the mean at which a line through the variances reaches 0."""
    away = means - means.mean()
    slope = float(away @ noises) / max(float(away @ away), 1e-300)
    return float(means.mean() - noises.mean() / slope) if slope > 0 else -np.inf


def _blocks(film: Film) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of the noise in every block, averaged over frames."""
    cut = tuple(slice(max(0, (n - _WIDEST) // 2), (n + _WIDEST) // 2) for n in film.shape)
    ny, nx = (min(n, _WIDEST) // _BLOCK for n in film.shape)
    n = min(len(film), _FRAMES)
    first = (len(film) - n) // 2
    means, noises = np.zeros((ny, nx)), np.zeros((ny, nx))
    before: NDArray[Any] | None = None
    used = 0
    for row in range(first, first + n):
        frame = film.frames(row, row + 1)[0][cut].astype(np.float64)
        if shows_nothing(frame):
            continue
        noise = frame if n == 1 else None if before is None else (frame - before) / np.sqrt(2)
        shown = frame if before is None else 0.5 * (frame + before)
        before = frame
        if noise is None:
            continue
        for axis in (0, 1):
            noise = correlate1d(noise, FOURTH_DIFFERENCE, axis=axis)
        means += _block_means(shown, ny, nx)
        noises += _block_means(noise**2, ny, nx) / NOISE_GAIN**2
        used += 1
    return means.ravel() / max(used, 1), noises.ravel() / max(used, 1)


def _block_means(image: NDArray[np.float64], ny: int, nx: int) -> NDArray[np.float64]:
    cut = image[: ny * _BLOCK, : nx * _BLOCK]
    found: NDArray[np.float64] = cut.reshape(ny, _BLOCK, nx, _BLOCK).mean((1, 3))
    return found
