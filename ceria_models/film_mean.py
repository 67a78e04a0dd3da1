"""The mean of a film whose frames are moved back by their drift."""

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2

_BORDER = 2
"""Pixels that the shift by a part of a pixel mixes with those of the opposite border."""


class Mean:
    """The mean of frames in the coordinates of the reference, one frame at a time.

    A frame is shifted by whole pixels, and by the rest in Fourier space, which leaves the noise
    as it is: the dose that the noise of the mean tells is that of all frames.

    Parameters
    ----------
    shape : tuple of int
        Pixels of a frame (y, x).
    sampling : float
        Å/pixel.

    Examples
    --------
    >>> image = np.zeros((9, 9))
    >>> image[4, 4] = 1
    >>> mean = Mean((9, 9), 0.2)
    >>> mean.add(image, 0.0, 0.0)
    >>> mean.add(np.roll(image, (1, -2), (0, 1)), 0.2, -0.4)
    >>> float(mean.image()[4, 4]), float(mean.image().sum())
    (1.0, 1.0)
    """

    def __init__(self, shape: tuple[int, int], sampling: float) -> None:
        self.sampling = sampling
        self.total = np.zeros(shape, dtype=np.float32)
        self.seen = np.zeros(shape, dtype=np.float32)

    def add(self, image: NDArray[np.floating] | NDArray[np.integer], y: float, x: float) -> None:
        """Add a frame.

        Parameters
        ----------
        image : array, shape (y, x)
        y, x : float
            Its drift [Å].
        """
        values, into = aligned(image, self.sampling, y, x)
        self.total[into] += values
        self.seen[into] += 1

    def join(self, other: "Mean") -> None:
        """Add the frames of another mean."""
        self.total += other.total
        self.seen += other.seen

    def image(self) -> NDArray[np.float32]:
        """Divide: each pixel is the mean of the frames that show it, or else that of all pixels."""
        mean = (self.total / np.maximum(self.seen, 1)).astype(np.float32)
        if (self.seen == 0).any() and (self.seen > 0).any():
            mean[self.seen == 0] = mean[self.seen > 0].mean()
        return mean


def aligned(
    image: NDArray[np.floating] | NDArray[np.integer], sampling: float, y: float, x: float
) -> tuple[NDArray[np.floating] | NDArray[np.integer], tuple[slice, slice]]:
    """Move a frame back by its drift.

    Parameters
    ----------
    image : array, shape (y, x)
    sampling : float
        Å/pixel.
    y, x : float
        Its drift [Å].

    Returns
    -------
    array, shape (y, x)
        The pixels of the reference that the frame shows; those at the border that the shift mixes
        with the opposite one are left out.
    tuple of slice
        Where they are in the reference.

    Examples
    --------
    >>> values, into = aligned(np.arange(12.0).reshape(3, 4), 0.1, 0.0, 0.1)
    >>> values[0].tolist(), into
    ([1.0, 2.0, 3.0], (slice(0, 3, None), slice(0, 3, None)))
    """
    whole = [round(at / sampling) for at in (y, x)]
    rest = [at / sampling - n for at, n in zip((y, x), whole, strict=True)]
    border = _BORDER if any(abs(part) > 1e-6 for part in rest) else 0
    values = _moved_back(image, rest) if border else image
    # Pixel p of the frame is pixel p - whole of the reference.
    low = [max(border, n) for n in whole]
    high = [min(m - border, m + n) for n, m in zip(whole, image.shape, strict=True)]
    taken = tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
    into = tuple(slice(t.start - n, t.stop - n) for t, n in zip(taken, whole, strict=True))
    return values[taken], (into[0], into[1])


def _moved_back(
    image: NDArray[np.floating] | NDArray[np.integer], pixels: list[float]
) -> NDArray[np.float32]:
    """Shift an image against a drift of parts of a pixel (y, x)."""
    values = np.asarray(image, dtype=np.float32)
    sizes = [next_fast_len(n, real=True) for n in values.shape]
    pads = [(0, size - n) for size, n in zip(sizes, values.shape, strict=True)]
    padded = np.pad(values, pads, mode="edge") if pads != [(0, 0), (0, 0)] else values
    ky, kx = np.fft.fftfreq(sizes[0]), np.fft.rfftfreq(sizes[1])
    along_y = np.exp(2j * np.pi * ky * pixels[0]).astype(np.complex64)
    along_x = np.exp(2j * np.pi * kx * pixels[1]).astype(np.complex64)
    spectrum = rfft2(padded)
    spectrum *= along_y[:, None]
    spectrum *= along_x
    moved: NDArray[np.float32] = irfft2(spectrum, s=sizes, overwrite_x=True)
    return moved[: values.shape[0], : values.shape[1]]
