"""Where a probability is highest, and which of such places are too close."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ceria_models.model import DecodingFacts

_ALL_PIXELS = 4
"""Neighbours with which all pixels are compared; with the others, those that are left."""


def maxima_of(
    atom: NDArray[np.floating], sampling: float, decoding: DecodingFacts
) -> NDArray[np.float64]:
    """Find maxima of the smoothed probability of an atom.

    Parameters
    ----------
    atom : array of float, shape (y, x)
    sampling : float
        Pixel size [Å/pixel].
    decoding : DecodingFacts

    Returns
    -------
    array of float64, shape (column, (y, x))
        Pixels, row by row.

    Examples
    --------
    >>> atom = np.zeros((9, 12))
    >>> atom[2:5, 4:7] = 1
    >>> maxima_of(atom, 0.2, DecodingFacts(mask_radius_A=0.6))
    array([[3., 5.]])
    """
    smooth = _smoothed(atom, decoding.smoothing_A / sampling)
    # A disk reaches the height of its fill factor only; the threshold is relative to it.
    full = 1 - np.exp(-0.5 * (decoding.mask_radius_A / decoding.smoothing_A) ** 2)
    radius = decoding.separation_A / (2 * sampling)
    reach = int(radius)
    padded = np.pad(smooth, reach, mode="edge")
    width = padded.shape[1]
    # Pixel by pixel around, the nearest first: after a few of them hardly any are left.
    span = np.arange(-reach, reach + 1)
    dy, dx = (grid.ravel() for grid in np.meshgrid(span, span, indexing="ij"))
    distance = np.hypot(dy, dx)
    order = [k for k in np.argsort(distance, kind="stable") if 0 < distance[k] <= radius]
    high = smooth > decoding.threshold * full
    for k in order[:_ALL_PIXELS]:
        y, x = reach + dy[k], reach + dx[k]
        high &= smooth >= padded[y : y + smooth.shape[0], x : x + smooth.shape[1]]
    y, x = np.divmod(np.flatnonzero(high), smooth.shape[1])
    left, padded = (y + reach) * width + x + reach, padded.ravel()
    for k in order[_ALL_PIXELS:]:
        left = left[padded[left] >= padded[left + dy[k] * width + dx[k]]]
    return np.stack([left // width - reach, left % width - reach], axis=1).astype(np.float64)


def _smoothed(values: NDArray[np.floating], sigma: float) -> NDArray[np.floating]:
    """Convolve with a Gaussian of a width in pixels; borders continue.

    As `scipy.ndimage.gaussian_filter`, in a third of the time: it sums whole images, in the
    same order for every pixel.
    """
    reach = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    weights /= 2 * weights.sum() - weights[0]
    for axis in (0, 1):
        n = values.shape[axis]
        pads = [(0, 0), (0, 0)]
        pads[axis] = (reach, reach)
        padded = np.pad(values, pads, mode="edge")
        at = [
            padded[start : start + n] if axis == 0 else padded[:, start : start + n]
            for start in range(2 * reach + 1)
        ]
        values = at[reach] * padded.dtype.type(weights[0])
        both = np.empty_like(values)
        for k in range(1, reach + 1):
            np.add(at[reach - k], at[reach + k], out=both)
            both *= padded.dtype.type(weights[k])
            values += both
    return values


def distinct(
    position: NDArray[np.float64], strength: NDArray[np.float64], closest: float
) -> NDArray[np.int64]:
    """Choose positions, the strongest first, that are not closer to one chosen before.

    Parameters
    ----------
    position : array of float64, shape (column, (y, x))
        Å.
    strength : array of float64, shape (column,)
    closest : float
        Å.

    Returns
    -------
    array of int64, shape (chosen,)
        Ascending.

    Examples
    --------
    >>> at = np.array([[0.0, 0.0], [0.0, 0.3], [0.0, 0.6], [9.0, 9.0]])
    >>> distinct(at, np.array([1.0, 2.0, 1.5, 1.0]), 0.4)
    array([1, 3])
    >>> distinct(at, np.array([2.0, 1.0, 1.5, 1.0]), 0.4)
    array([0, 2, 3])
    """
    pairs = cKDTree(position).query_pairs(closest, output_type="ndarray")
    apart = np.hypot(*(position[pairs[:, 0]] - position[pairs[:, 1]]).T)
    rank = np.empty(len(position), dtype=np.int64)
    rank[np.argsort(-strength, kind="stable")] = np.arange(len(position))
    first, second = np.sort(rank[pairs[apart < closest]], axis=1).T
    kept = np.ones(len(position), dtype=bool)  # by rank
    for k in np.lexsort((second, first)):
        if kept[first[k]]:
            kept[second[k]] = False
    return np.flatnonzero(kept[rank])
