"""What a net sees of an image: its contrast, and how many electrons made it."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from ceria_models.errors import ImageError
from ceria_models.strips import strips

CHANNELS = 2
"""Channels of a net's input: contrast, and the logarithm of the dose."""
REFERENCE_DOSE = 300.0
"""The dose channel is 0 at this dose [e-/Å²]."""

FOURTH_DIFFERENCE = np.array([1.0, -4.0, 6.0, -4.0, 1.0])
NOISE_GAIN = float(FOURTH_DIFFERENCE @ FOURTH_DIFFERENCE)
"""Growth of the variance of white noise under the difference, along one axis."""
DOSE_CHANNEL_ENDS = (1e-1, 1e7)
"""Outside, the dose channel stays at its end; both lie far outside any use."""


def apparent_dose(image: NDArray[np.floating] | NDArray[np.integer], sampling: float) -> float:
    """Estimate the dose of an image from its noise, on any linear scale.

    Fourth differences along both axes leave only frequencies near the corner of the Fourier
    plane, where an image of atoms has no signal. For electrons that are counted one by one,
    mean² / variance is the number of electrons per pixel. A camera that correlates
    neighbouring pixels appears to have seen more of them.

    Parameters
    ----------
    image : array, shape (y, x)
        Zero = no electrons; at least 5 pixels along each axis.
    sampling : float
        Pixel size [Å/pixel].

    Returns
    -------
    float
        Electrons per area [e-/Å²]; infinite for an image without noise.

    Raises
    ------
    ImageError
        If the image is too small, or its mean is not positive.

    Examples
    --------
    >>> counts = np.random.default_rng(0).poisson(12.0, (256, 256))
    >>> bool(abs(apparent_dose(counts, 0.2) / 300 - 1) < 0.05)
    True
    """
    width = len(FOURTH_DIFFERENCE)
    if min(image.shape) < width:
        raise ImageError(f"an image of {image.shape} pixels is too small; expected {width} or more")
    mean = image.mean(dtype=np.float64)
    if not mean > 0:
        raise ImageError(
            f"the mean of the image is {mean:.4g}; expected a positive one: subtract the offset "
            "of the camera and nothing more"
        )
    border = width // 2
    inner = (image.shape[0] - 2 * border, image.shape[1] - 2 * border)
    squares = 0.0
    for rows in strips(inner):
        values = np.asarray(image[rows.start : rows.stop + 2 * border], dtype=np.float64)
        for axis in (0, 1):
            values = correlate1d(values, FOURTH_DIFFERENCE, axis=axis)
        squares += float((values[border:-border, border:-border] ** 2).sum())
    variance = squares / (inner[0] * inner[1]) / NOISE_GAIN**2
    return float(mean**2 / variance / sampling**2) if variance > 0 else float("inf")


def net_input(
    image: NDArray[np.floating] | NDArray[np.integer], mean: float, dose: float
) -> NDArray[np.float32]:
    """Make the input of a net from an image on the net's sampling.

    Parameters
    ----------
    image : array, shape (y, x)
        Any linear scale.
    mean : float
        Mean of the whole image.
    dose : float
        As from `apparent_dose` of the image as it was recorded [e-/Å²].

    Returns
    -------
    array of float32, shape (2, y, x)
        Contrast ``image / mean - 1``; ``log10(dose / 300)`` everywhere.

    Examples
    --------
    >>> net_input(np.array([[1.0, 3.0]]), mean=2.0, dose=3000.0)[:, 0]
    array([[-0.5,  0.5],
           [ 1. ,  1. ]], dtype=float32)
    """
    seen = np.empty((CHANNELS, *image.shape), dtype=np.float32)
    seen[0] = np.asarray(image, dtype=np.float32) / np.float32(mean) - 1
    seen[1] = np.log10(np.clip(dose, *DOSE_CHANNEL_ENDS) / REFERENCE_DOSE)
    return seen
