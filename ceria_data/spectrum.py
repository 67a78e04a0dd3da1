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
from ceria_data.strips import strips

_PADDED = 4
"""So fine that reading between the frequencies costs no accuracy: with 2 it would be a third."""
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
    on_progress: Callable[[int], None] = lambda done: None,
) -> NDArray[np.float32]:
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
    on_progress : callable
        Told the number of frames done.

    Returns
    -------
    array of float32, shape (ky, kx)
        1 = noise; frequency 0 in the middle of the first axis and at the start of the second,
        ``1 / ky.size`` cycles a pixel from one to the next along both.
    """
    mean, n = _mean(frames())
    windows = windows_of(mean)
    weights = [_weight(mean[window]) for window in windows]
    side = _PADDED * max(weights[0].shape)
    total = np.zeros((side, side // 2 + 1), dtype=np.float32)
    for done, frame in enumerate(frames(), start=1):
        for window, weight in zip(windows, weights, strict=True):
            seen = np.asarray(frame[window], dtype=np.float32)
            level = float((seen * weight).sum() / weight.sum())
            total += np.abs(rfft2((seen - level) * weight, s=(side, side))) ** 2
        on_progress(done)
    # The median of the mean of n exponential variables, over their mean.
    n = min(n * len(windows), _MOST_SPECTRA)
    _divide_by_rings(total, min(weights[0].shape), gammaincinv(n, 0.5) / n)
    total -= 1
    total *= np.sqrt(n)
    total += 1
    shifted: NDArray[np.float32] = fftshift(np.maximum(total, 0, out=total), axes=0)
    return shifted


def _mean(frames: Iterator[NDArray[Any]]) -> tuple[NDArray[Any], int]:
    """Average frames, and count them; a single one is taken as it is."""
    total, n = next(frames), 1
    for frame in frames:
        total = total + frame if n > 1 else np.add(total, frame, dtype=np.float64)
        n += 1
    return (total if n == 1 else total / n), n


def _weight(mean: NDArray[Any]) -> NDArray[np.float32]:
    """Fade to the borders, and to where there is no contrast."""
    along_y, along_x = (tukey(n + 2, _FADES)[1:-1] for n in mean.shape)
    fading: NDArray[np.float32] = np.outer(along_y, along_x).astype(np.float32)
    # A hot pixel is no contrast.
    ends = np.percentile(mean, _USUAL)
    smooth = gaussian_filter(np.clip(mean, *ends).astype(np.float32), _BLUR)
    around = min(mean.shape) * _SURROUNDINGS
    contrast = gaussian_filter((smooth - gaussian_filter(smooth, around)) ** 2, around)
    contrast = np.maximum(contrast - np.percentile(contrast, 5), 0)
    highest = contrast.max()
    if not highest > 0:
        return fading
    share = contrast / highest
    share = share * (1 + _HALF_WEIGHT) / (share + _HALF_WEIGHT)
    weight: NDArray[np.float32] = fading * (_LEAST_WEIGHT + (1 - _LEAST_WEIGHT) * share)
    return weight.astype(np.float32)


def _divide_by_rings(power: NDArray[np.float32], window: int, median: float) -> None:
    """Divide the power by its median over rings of equal frequency; `median` of it shall be."""
    along_y = np.fft.fftfreq(power.shape[0]).astype(np.float32)
    along_x = np.arange(power.shape[1], dtype=np.float32) / power.shape[0]
    width = _RING / window
    # Neighbours say the same, because the window was padded.
    some = power[::2, ::2].ravel()
    ring = (np.hypot(along_y[::2, None], along_x[::2]) / width).astype(np.int32).ravel()
    order = np.argsort(ring, kind="stable")
    ends = np.searchsorted(ring[order], np.arange(ring.max() + 2))
    some = some[order]
    medians = np.array([np.median(some[a:b]) if b > a else np.nan for a, b in pairwise(ends)])
    floor = float(np.median(some))
    medians = np.where(np.isfinite(medians) & (medians > 0), medians, floor if floor > 0 else 1.0)
    middles = (np.arange(len(medians)) + 0.5) * width
    for rows in strips(power.shape):
        k = np.hypot(along_y[rows, None], along_x)
        power[rows] *= (median / np.interp(k, middles, medians)).astype(np.float32)
