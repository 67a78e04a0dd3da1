"""How many electrons made an image, as its noise tells."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from ceria_data.errors import ImageError
from ceria_data.strips import strips

FOURTH_DIFFERENCE = np.array([1.0, -4.0, 6.0, -4.0, 1.0])
NOISE_GAIN = float(FOURTH_DIFFERENCE @ FOURTH_DIFFERENCE)
"""Growth of the variance of white noise under the difference, along one axis."""


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
