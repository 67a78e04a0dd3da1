"""What a net sees of an image: its contrast, and how many electrons made it."""

import numpy as np
from numpy.typing import NDArray

from ceria_data.noise import apparent_dose as apparent_dose

CHANNELS = 2
"""Channels of a net's input: contrast, and the logarithm of the dose."""
REFERENCE_DOSE = 300.0
"""The dose channel is 0 at this dose [e-/Å²]."""

DOSE_CHANNEL_ENDS = (1e-1, 1e7)
"""Outside, the dose channel stays at its end; both lie far outside any use."""


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
