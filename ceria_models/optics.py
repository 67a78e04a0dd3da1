"""The optics of an image as a training asks for them."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

OPTICS = ("defocus", "focal_spread", "A1_cosine", "A1_sine")
"""The two parts of A1 are its length times cosine and sine of twice its azimuth."""


def optics_of(samples: pd.DataFrame) -> NDArray[np.float32]:
    """Collect what is asked of every image.

    Parameters
    ----------
    samples : DataFrame
        Rows of `samples.parquet`.

    Returns
    -------
    array of float32, shape (sample, quantity)
        See `OPTICS` [Å].

    Examples
    --------
    >>> row = {"defocus_A": -60.0, "focal_spread_A": 20.0, "A1_A": 5.0, "A1_azimuth_deg": 45.0}
    >>> optics_of(pd.DataFrame([row])).round(3) + 0.0
    array([[-60.,  20.,   0.,   5.]], dtype=float32)
    """
    twice = np.radians(2 * samples["A1_azimuth_deg"].to_numpy(float))
    length = samples["A1_A"].to_numpy(float)
    parts = (
        samples["defocus_A"].to_numpy(float),
        samples["focal_spread_A"].to_numpy(float),
        length * np.cos(twice),
        length * np.sin(twice),
    )
    return np.stack(parts, axis=1).astype(np.float32)


def turned_optics(
    optics: NDArray[np.float32], quarters: int, mirrored: bool
) -> NDArray[np.float32]:
    """Tell the optics of an image after quarter turns, and then a mirror along an axis.

    Parameters
    ----------
    optics : array, shape (quantity,)
        See `OPTICS`.
    quarters : int
    mirrored : bool

    Returns
    -------
    array of float32, shape (quantity,)

    Examples
    --------
    Astigmatism has a direction, but no sense: half a turn leaves it as it is.

    >>> turned_optics(np.float32([-60, 20, 3, 4]), 1, mirrored=True).tolist()
    [-60.0, 20.0, -3.0, 4.0]
    >>> turned_optics(np.float32([-60, 20, 3, 4]), 2, mirrored=False).tolist()
    [-60.0, 20.0, 3.0, 4.0]
    """
    turn = -1.0 if quarters % 2 else 1.0
    signs = np.array([1.0, 1.0, turn, -turn if mirrored else turn], dtype=np.float32)
    turned: NDArray[np.float32] = optics * signs
    return turned
