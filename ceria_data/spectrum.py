"""The power spectrum of frames, in units of its noise."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fftshift, rfft2
from scipy.ndimage import gaussian_filter
from scipy.signal.windows import tukey
from scipy.special import gammaincinv

from ceria_data.lattice import windows_of

_PADDED = 4
_FADES = 0.25
"""Part of a window over which it fades to its mean: a particle at the border still counts."""
_BLUR = 1.5
"""Pixels that the noise is averaged over before the contrast is measured."""
_SURROUNDINGS = 1 / 12
"""Of a window's size, over which its contrast is averaged."""
_USUAL = (0.1, 99.9)
"""Percentiles of the values that count as contrast."""
_LEAST_WEIGHT = 0.1
"""Of a place without contrast."""
_HALF_WEIGHT = 0.15
"""Contrast, of the highest, that has half of the weight."""
_RING = 1.5
"""Width of the rings whose median is the noise, in frequencies that a window tells apart."""
_MOST_SPECTRA = 64
"""That are counted as independent: what disturbs a spectrum besides noise does not average out."""


def whitened_spectrum(
    frames: Callable[[], Iterator[NDArray[Any]]],
) -> NDArray[np.float64]:
    """Average the power spectra of frames, so that white or coloured noise is 1 everywhere.

    Of frames above 512 pixels it is that of the four windows that have the most contrast. Each
    place counts as much as its contrast, so that a small particle is not lost in the noise of
    the vacuum around it. The power is divided by its median over rings, which is the noise; its
    excess is multiplied by the square root of the number of spectra, so that the noise of an
    average scatters as that of one.

    Parameters
    ----------
    frames : callable
        Gives the frames one by one, arrays of shape (y, x), each time that it is called: first
        their mean says where the contrast is.

    Returns
    -------
    array of float64, shape (ky, kx)
        Frequency 0 in the middle, 1 = noise; ``1 / n`` cycles a pixel from one to the next.
    """
    mean, n = np.zeros(0), 0
    for frame in frames():
        mean, n = np.asarray(frame, dtype=np.float64) + (mean if n else 0.0), n + 1
    windows = windows_of(mean)
    weights = [_weight(mean[window]) for window in windows]
    shape = tuple(_PADDED * n for n in weights[0].shape)
    total, n = np.zeros((shape[0], shape[1] // 2 + 1)), 0
    for frame in frames():
        for window, weight in zip(windows, weights, strict=True):
            seen = np.asarray(frame[window], dtype=np.float64)
            level = (seen * weight).sum() / weight.sum()
            total += np.abs(rfft2((seen - level) * weight, s=shape)) ** 2
            n += 1
    power = _both_halves(total, shape[1])
    # The median of the mean of n exponential variables, over their mean.
    n = min(n, _MOST_SPECTRA)
    power /= _rings(power, weights[0].shape) / (gammaincinv(n, 0.5) / n)
    excess: NDArray[np.float64] = (power - 1) * np.sqrt(n)
    return np.maximum(1 + excess, 0.0)


def _weight(mean: NDArray[np.floating]) -> NDArray[np.float64]:
    """Fade to the borders, and to where there is no contrast."""
    along_y, along_x = (tukey(n + 2, _FADES)[1:-1] for n in mean.shape)
    fading: NDArray[np.float64] = np.outer(along_y, along_x)
    # A hot pixel is no contrast.
    ends = np.percentile(mean, _USUAL)
    smooth = gaussian_filter(np.clip(mean, *ends).astype(np.float64), _BLUR)
    around = min(mean.shape) * _SURROUNDINGS
    contrast = gaussian_filter((smooth - gaussian_filter(smooth, around)) ** 2, around)
    contrast = np.maximum(contrast - np.percentile(contrast, 5), 0)
    highest = contrast.max()
    if not highest > 0:
        return fading
    share = contrast / highest
    share = share * (1 + _HALF_WEIGHT) / (share + _HALF_WEIGHT)
    weight: NDArray[np.float64] = fading * (_LEAST_WEIGHT + (1 - _LEAST_WEIGHT) * share)
    return weight


def _both_halves(half: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Complete the spectrum of real values, frequency 0 in the middle."""
    full = np.empty((half.shape[0], width))
    full[:, : half.shape[1]] = half
    rest = width - half.shape[1]
    mirrored = np.roll(half[::-1], 1, axis=0)
    full[:, half.shape[1] :] = mirrored[:, 1 : rest + 1][:, ::-1]
    shifted: NDArray[np.float64] = fftshift(full)
    return shifted


def _rings(power: NDArray[np.float64], window: tuple[int, ...]) -> NDArray[np.float64]:
    """Evaluate the median of the power over rings of equal frequency, at every frequency."""
    ky, kx = (np.arange(n) / n - 0.5 for n in power.shape)
    k = np.hypot(ky[:, None], kx)
    width = _RING / min(window)
    ring = (k / width).astype(np.int64).ravel()
    order = np.argsort(ring, kind="stable")
    ends = np.searchsorted(ring[order], np.arange(ring.max() + 2))
    sorted_power = power.ravel()[order]
    medians = np.array(
        [np.median(sorted_power[a:b]) if b > a else np.nan for a, b in pairwise(ends)]
    )
    floor = float(np.median(power))
    medians = np.where(np.isfinite(medians) & (medians > 0), medians, floor if floor > 0 else 1.0)
    middles = (np.arange(len(medians)) + 0.5) * width
    smooth: NDArray[np.float64] = np.interp(k, middles, medians)
    return smooth
