"""The lattice in an image, and the pixel size that would make it CeO2."""

from dataclasses import dataclass
from itertools import product
from math import isqrt, pi

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft2, fftshift
from scipy.ndimage import map_coordinates
from scipy.optimize import minimize

from ceria_data.crystal import Vector, view_axes

_LONGEST = 12
"""Sum of squared indices of the farthest reflections used, {222}."""
_SCALES = np.geomspace(0.65, 1.5, 106)
_ROTATIONS = np.deg2rad(np.arange(0.0, 180.0, 1.5))
_PADDED = 4
_WINDOW = 512
"""Pixels along an axis that a power spectrum is made of, at most: 100 Å at 0.2 Å. The reflections
of a particle get sharper and higher up to its size, and no particle has to be larger."""
_WINDOWS = 4
"""Windows of a larger image, those of most contrast: there are the particles."""
_BLOCK = 4
"""Pixels along an axis whose mean is taken before the contrast: noise averages out."""
_AS_GIVEN = 0.04
_PERCENTILE = 90
"""Of all scales and rotations; the best fit is compared with it."""


@dataclass(frozen=True)
class LatticeFit:
    """The lattice that explains the reflections of an image best.

    Attributes
    ----------
    scale : float
        True pixel size over the one that was given.
    rotation_deg : float
        In-plane rotation of the crystal, 0 to 180.
    strength : float
        Mean logarithm of the power of the reflections, above that of the 90th percentile of
        all other lattices.
    gain : float
        The same, above that of the best lattice whose pixel size is as given, within 4 %.
    """

    scale: float
    rotation_deg: float
    strength: float
    gain: float


def fit_lattice(
    image: NDArray[np.floating] | NDArray[np.integer],
    sampling: float,
    zone_axis: Vector,
    lattice_parameter: float,
) -> LatticeFit:
    """Find pixel size and rotation from the reflections of a fluorite crystal.

    The power spectrum, in units of its median, is read at the reflections of the zone for
    every scale and rotation; the mean of its logarithm is largest where all of them meet. Of an
    image above 512 pixels it is the mean over the four windows that have the most contrast, so
    that the memory does not grow with the image. Particles that are turned against each other
    meet in one spectrum, as they would in that of the whole image.

    Parameters
    ----------
    image : array, shape (y, x)
        Any linear scale.
    sampling : float
        Pixel size as it is believed [Å/pixel].
    zone_axis : tuple of int
        Direction of the beam in the crystal, Miller indices.
    lattice_parameter : float
        Edge of the cubic cell [Å].

    Returns
    -------
    LatticeFit

    Examples
    --------
    Cosines along two {111} and {200} of [110], in an image whose pixels are 3 % larger:

    >>> y, x = 0.206 * np.mgrid[:160, :160]
    >>> waves = [np.cos(2 * np.pi * (k[0] * x + k[1] * y)) for k in reflections((1, 1, 0), 5.411)]
    >>> fit = fit_lattice(np.sum(waves, axis=0) + 9, 0.2, (1, 1, 0), 5.411)
    >>> round(fit.scale, 2), fit.strength > 1
    (1.03, True)
    """
    spots = reflections(zone_axis, lattice_parameter)
    power = _power(image)

    def score(scale: NDArray[np.float64], rotation: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean logarithm of the power at the reflections; arrays of one shape."""
        cos, sin = np.cos(rotation)[..., None], np.sin(rotation)[..., None]
        x = (spots[:, 0] * cos - spots[:, 1] * sin) * scale[..., None]
        y = (spots[:, 0] * sin + spots[:, 1] * cos) * scale[..., None]
        middle = np.array(power.shape) // 2
        at = [k * sampling * n + m for k, n, m in zip((y, x), power.shape, middle, strict=True)]
        read = map_coordinates(power, at, order=1, mode="constant", cval=1.0)
        mean: NDArray[np.float64] = np.log1p(read).mean(axis=-1)
        return mean

    # A pixel that is larger than believed makes frequencies per believed Å larger.
    scales, rotations = np.meshgrid(_SCALES, _ROTATIONS, indexing="ij")
    scores = score(scales, rotations)
    best = np.unravel_index(scores.argmax(), scores.shape)
    start = np.array([scales[best], rotations[best]])
    simplex = start + np.array([[0, 0], [0.006, 0], [0, 0.012]])
    fit = minimize(
        lambda v: -float(score(np.asarray(v[0]), np.asarray(v[1]))),
        start,
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "xatol": 1e-5, "fatol": 1e-6},
    )
    as_given = scores[np.abs(_SCALES - 1) < _AS_GIVEN].max()
    return LatticeFit(
        scale=float(fit.x[0]),
        rotation_deg=float(np.rad2deg(fit.x[1]) % 180),
        strength=-float(fit.fun) - float(np.percentile(scores, _PERCENTILE)),
        gain=float(scores.max() - as_given),
    )


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


def _power(image: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.float64]:
    """Power spectrum in units of its median, frequency 0 in the middle."""
    total = None
    for window in windows_of(image):
        power = _window_power(image[window])
        total = power if total is None else np.add(total, power, out=total)
    assert total is not None
    median = np.median(total)
    scaled: NDArray[np.float64] = fftshift(total) / (median if median > 0 else 1.0)
    return scaled


def _window_power(image: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.float64]:
    """Power spectrum of an image that fades to its mean at the borders."""
    window = _fading(image.shape)
    mean = (image * window).sum() / window.sum()
    shape = tuple(_PADDED * n for n in image.shape)
    power: NDArray[np.float64] = np.abs(fft2((image - mean) * window, s=shape)) ** 2
    return power


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
