"""The mean of a film whose frames are moved back by their drift."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2

_BORDER = 2
"""Pixels that the shift by a part of a pixel mixes with those of the opposite border."""


def mean_of_frames(
    frames: Iterable[tuple[NDArray[np.floating] | NDArray[np.integer], float, float]],
    shape: tuple[int, int],
    sampling: float,
) -> NDArray[np.float32]:
    """Average frames in the coordinates of the reference.

    A frame is shifted by whole pixels, and by the rest in Fourier space, which leaves the noise
    as it is: the dose that the noise of the mean tells is that of all frames.

    Parameters
    ----------
    frames : iterable of tuple
        Image, shape (y, x), and its drift (y, x) [Å].
    shape : tuple of int
        Pixels of a frame.
    sampling : float
        Å/pixel.

    Returns
    -------
    array of float32, shape (y, x)
        Each pixel is the mean of the frames that show it; what none shows is the mean of all.

    Examples
    --------
    >>> image = np.zeros((9, 9))
    >>> image[4, 4] = 1
    >>> moved = np.roll(image, (1, -2), (0, 1))
    >>> mean = mean_of_frames([(image, 0.0, 0.0), (moved, 0.2, -0.4)], (9, 9), 0.2)
    >>> float(mean[4, 4]), float(mean.sum())
    (1.0, 1.0)
    """
    total = np.zeros(shape, dtype=np.float32)
    seen = np.zeros(shape, dtype=np.float32)
    for image, y, x in frames:
        whole = [round(at / sampling) for at in (y, x)]
        rest = [at / sampling - n for at, n in zip((y, x), whole, strict=True)]
        border = _BORDER if any(abs(part) > 1e-6 for part in rest) else 0
        values = _moved_back(image, rest) if border else image
        # Pixel p of the frame is pixel p - whole of the reference.
        low = [max(border, n) for n in whole]
        high = [min(m - border, m + n) for n, m in zip(whole, shape, strict=True)]
        if all(a < b for a, b in zip(low, high, strict=True)):
            taken = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            into = tuple(slice(t.start - n, t.stop - n) for t, n in zip(taken, whole, strict=True))
            total[into] += values[taken]
            seen[into] += 1
    mean = (total / np.maximum(seen, 1)).astype(np.float32)
    if (seen == 0).any() and (seen > 0).any():
        mean[seen == 0] = mean[seen > 0].mean()
    return mean


def _moved_back(
    image: NDArray[np.floating] | NDArray[np.integer], pixels: list[float]
) -> NDArray[np.float32]:
    """Shift an image against a drift of parts of a pixel (y, x)."""
    values = np.asarray(image, dtype=np.float32)
    sizes = [next_fast_len(n, real=True) for n in values.shape]
    pads = [(0, size - n) for size, n in zip(sizes, values.shape, strict=True)]
    padded = np.pad(values, pads, mode="edge")
    ky, kx = np.fft.fftfreq(sizes[0]), np.fft.rfftfreq(sizes[1])
    along_y = np.exp(2j * np.pi * ky * pixels[0]).astype(np.complex64)
    along_x = np.exp(2j * np.pi * kx * pixels[1]).astype(np.complex64)
    moved: NDArray[np.float32] = irfft2(
        rfft2(padded) * along_y[:, None] * along_x, s=sizes, overwrite_x=True
    )
    return moved[: values.shape[0], : values.shape[1]]
