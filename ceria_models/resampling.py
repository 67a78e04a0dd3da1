"""Images on another pixel size: counts by area, smooth intensity by its Fourier series."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.sparse import csr_array

from ceria_data.strips import strips

_SAME = 1e-6
_PART = 512
"""Rows of a matrix that are made at a time."""


@dataclass(frozen=True)
class Resampled:
    """An image on another grid.

    Attributes
    ----------
    image : array of float32, shape (y, x)
        Same units per area as the original, on pixels of `sampling`.
    sampling : float
        Pixel size [Å/pixel].
    origin : tuple of float
        Centre of its pixel (0, 0) in the coordinates of the original (y, x) [Å].
    """

    image: NDArray[np.float32]
    sampling: float
    origin: tuple[float, float]


def resample_counts(
    image: NDArray[np.floating] | NDArray[np.integer], sampling: float, target: float
) -> Resampled:
    """Bring a recorded image to another pixel size without losing or inventing electrons.

    Onto larger pixels every electron goes to the pixels that its own pixel overlaps, in
    proportion to the area. Onto smaller ones the image is interpolated by its cosine series,
    since dividing pixels would leave blocks. The result is a density: multiplied by the ratio
    of the areas it would be counts.

    Parameters
    ----------
    image : array, shape (y, x)
        Any linear scale.
    sampling, target : float
        Pixel size now and afterwards [Å/pixel].

    Returns
    -------
    Resampled

    Examples
    --------
    >>> coarse = resample_counts(np.array([[1.0, 3.0], [5.0, 7.0]]), 0.1, 0.2)
    >>> coarse.image, coarse.origin
    (array([[4.]], dtype=float32), (0.05, 0.05))
    """
    if abs(sampling / target - 1) < _SAME:
        return Resampled(np.ascontiguousarray(image, dtype=np.float32), sampling, (0.0, 0.0))
    origin = 0.5 * (target - sampling)
    resampled = (_binned if target > sampling else _interpolated)(image, sampling, target, origin)
    return Resampled(resampled, target, (origin, origin))


def _binned(
    image: NDArray[np.floating] | NDArray[np.integer],
    sampling: float,
    target: float,
    _origin: float,
) -> NDArray[np.float32]:
    """Share out the electrons of small pixels; float64 is needed in strips only."""
    rows, columns = (_overlaps(n, sampling, target) for n in image.shape)
    binned = np.empty((rows.shape[0], columns.shape[0]), dtype=np.float32)
    for some in strips((rows.shape[0], int(image.shape[1] * target / sampling))):
        own = rows[some]
        used = slice(own.indices.min(), own.indices.max() + 1)
        electrons = np.asarray(image[used], dtype=np.float64)
        binned[some] = own[:, used] @ electrons @ columns.T
    return binned


def _interpolated(
    image: NDArray[np.floating] | NDArray[np.integer],
    sampling: float,
    target: float,
    origin: float,
) -> NDArray[np.float32]:
    """Evaluate the cosine series between pixels, one axis after the other, matrices in parts."""
    sizes = [int(n * sampling / target + _SAME) for n in image.shape]

    def parts(axis: int) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        n, m = image.shape[axis], sizes[axis]
        for start in range(0, m, _PART):
            some = slice(start, min(start + _PART, m))
            first = origin + target * start
            yield some, cosine_series(n, sampling, target, first, some.stop - start)

    along_x = np.empty((image.shape[0], sizes[1]))
    for columns, matrix in parts(1):
        for rows in strips(image.shape):
            along_x[rows, columns] = np.asarray(image[rows], dtype=np.float64) @ matrix.T
    fine = np.empty((sizes[0], sizes[1]), dtype=np.float32)
    for rows, matrix in parts(0):
        for start in range(0, sizes[1], _PART):
            columns = slice(start, start + _PART)
            fine[rows, columns] = matrix @ along_x[:, columns]
    return fine


def resample_intensity(
    intensity: NDArray[np.floating],
    sampling: float,
    target: float,
    origin: tuple[float, float],
    shape: tuple[int, int],
) -> NDArray[np.float64]:
    """Evaluate a noise-free image for a camera with other pixels.

    Both images are integrated over their pixels; the series is divided by the sinc of the one
    and multiplied by that of the other.

    Parameters
    ----------
    intensity : array of float, shape (y, x)
        1 = vacuum, integrated over pixels of `sampling`.
    sampling, target : float
        Pixel sizes [Å/pixel].
    origin : tuple of float
        Centre of pixel (0, 0) of the result (y, x) [Å].
    shape : tuple of int
        Pixels of the result.

    Returns
    -------
    array of float64, shape (y, x)
        Not negative.

    Examples
    --------
    >>> flat = resample_intensity(np.ones((8, 8)), 0.2, 0.11, (0.3, 0.2), (3, 5))
    >>> flat.shape, bool(np.allclose(flat, 1))
    ((3, 5), True)
    """
    rows, columns = (
        cosine_series(n, sampling, target, first, m, integrated=True)
        for n, first, m in zip(intensity.shape, origin, shape, strict=True)
    )
    return np.maximum(rows @ intensity.astype(np.float64) @ columns.T, 0.0)


def cosine_series(
    n: int, sampling: float, target: float, first: float, m: int, *, integrated: bool = False
) -> NDArray[np.float64]:
    """Make the matrix that evaluates the cosine series of n pixels on m others.

    The series continues an image as its mirror image, so that borders do not ring.

    Parameters
    ----------
    n : int
        Pixels.
    sampling, target : float
        Size of the pixels, and of the others [Å].
    first : float
        Centre of the first of the others, from that of the first pixel [Å].
    m : int
    integrated : bool
        The values are integrals over their pixels, and so shall be the result.

    Returns
    -------
    array of float64, shape (m, n)
        Its rows sum to 1.

    References
    ----------
    .. [1] Strang, SIAM Rev. 41, 135 (1999): the DCT-II and its inverse.

    Examples
    --------
    >>> np.allclose(cosine_series(5, 0.2, 0.2, 0.0, 5), np.eye(5))
    True
    """
    order = np.arange(n)
    wanted = ((first + target * np.arange(m)) / sampling + 0.5) / n
    waves = np.cos(np.pi * wanted[:, None] * order)
    if integrated:
        frequency = order / (2 * n * sampling)
        waves *= np.sinc(target * frequency) / np.sinc(sampling * frequency)
    # The coefficients of the series are a DCT-II of the pixels: its transpose, a DCT-III.
    series: NDArray[np.float64] = dct(waves, type=3, axis=1, overwrite_x=True)
    series /= n
    return series


def _overlaps(n: int, sampling: float, target: float) -> csr_array:
    """Mean over larger pixels as a matrix (m, n); pixels that stick out are left away."""
    m = int(n * sampling / target + _SAME)
    ratio = target / sampling
    edges = ratio * np.arange(m + 1)
    first = np.floor(edges[:-1] + _SAME).astype(int)
    span = np.arange(int(np.ceil(ratio)) + 1)
    pixel = np.minimum(first[:, None] + span, n - 1)
    low = np.maximum(first[:, None] + span, edges[:-1, None])
    high = np.minimum(first[:, None] + span + 1, edges[1:, None])
    share = np.maximum(high - low, 0.0) / ratio
    share /= share.sum(axis=1, keepdims=True)
    row = np.broadcast_to(np.arange(m)[:, None], pixel.shape)
    return csr_array((share.ravel(), (row.ravel(), pixel.ravel())), shape=(m, n))
