"""The reflections of the lattice, and the parts of an image that show it."""

from itertools import product
from math import isqrt, pi

import numpy as np
from numpy.typing import NDArray

from ceria_data.crystal import Vector, view_axes

_LONGEST = 12
"""Sum of squared indices of the farthest reflections used, {222}."""
_WINDOW = 512
"""Pixels along an axis that a power spectrum is made of, at most: 100 Å at 0.2 Å. The reflections
of a particle get sharper and higher up to its size, and no particle has to be larger."""
_WINDOWS = 4
"""Windows of a larger image, those of most contrast: there are the particles."""
_BLOCK = 4
"""Pixels along an axis whose mean is taken before the contrast: noise averages out."""


def reflections(
    zone_axis: Vector, lattice_parameter: float, longest: int = _LONGEST
) -> NDArray[np.float64]:
    """List the reflections of fluorite in a zone, one of each pair, by default up to {222}.

    Parameters
    ----------
    zone_axis : tuple of int
    lattice_parameter : float
        Å.
    longest : int
        Sum of squared indices of the farthest.

    Returns
    -------
    array of float64, shape (reflection, (x, y))
        Frequencies [1/Å] in the image axes of `crystal.view_axes`.

    Examples
    --------
    >>> (1 / np.hypot(*reflections((1, 1, 0), 5.411).T)).round(3)
    array([3.124, 3.124, 2.706, 1.913, 1.631, 1.631, 1.562, 1.562])
    """
    axes = view_axes(zone_axis)
    matrix = axes.matrix / axes.lengths[:, None]
    found = []
    reach = range(-isqrt(longest), isqrt(longest) + 1)
    for hkl in product(reach, reach, reach):
        same_parity = len({i % 2 for i in hkl}) == 1
        in_zone = np.dot(hkl, axes.z) == 0
        if same_parity and in_zone and 0 < np.dot(hkl, hkl) <= longest:
            k = matrix[:2] @ np.array(hkl) / lattice_parameter
            angle = np.arctan2(k[1], k[0]) % (2 * pi)
            if angle < pi - 1e-9:
                found.append((k[0], k[1]))
    return np.array(sorted(found, key=lambda k: (round(np.hypot(*k), 9), round(k[0], 9))))


def windows_of(
    image: NDArray[np.floating] | NDArray[np.integer],
) -> list[tuple[slice, slice]]:
    """Choose the windows that a spectrum is made of; a small image is one.

    Examples
    --------
    >>> windows_of(np.ones((200, 300)))
    [(slice(0, 200, None), slice(0, 300, None))]
    """
    sizes = [min(n, _WINDOW) for n in image.shape]
    # Evenly over the image, neighbours half over each other: a particle at the border of one,
    # where spectra are blind, is in the middle of the next.
    starts = [
        np.linspace(0, n - size, -(-2 * (n - size) // size) + 1).round().astype(int)
        for n, size in zip(image.shape, sizes, strict=True)
    ]
    windows = [
        (slice(int(y), int(y) + sizes[0]), slice(int(x), int(x) + sizes[1]))
        for y, x in product(*starts)
    ]
    if len(windows) == 1:
        return windows
    return sorted(windows, key=lambda window: -_contrast(image[window]))[:_WINDOWS]


def _contrast(image: NDArray[np.floating] | NDArray[np.integer]) -> float:
    """Variance of the means over small blocks of pixels, weighted as in a spectrum."""
    y, x = (n // _BLOCK for n in image.shape)
    parts = image[: y * _BLOCK, : x * _BLOCK].reshape(y, _BLOCK, x, _BLOCK)
    blocks = parts.mean((1, 3), dtype=np.float64)
    weight = _fading(blocks.shape) ** 2
    return float(np.average((blocks - blocks.mean()) ** 2, weights=weight))


def _fading(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Weights that fall to zero at the borders."""
    along_y, along_x = (np.hanning(n + 2)[1:-1] for n in shape)
    return np.outer(along_y, along_x)
