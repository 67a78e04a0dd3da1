"""Images on another pixel size: counts by area, smooth intensity by its Fourier series."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

_SAME = 1e-6


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
    if target > sampling:
        rows, columns = (_overlaps(n, sampling, target) for n in image.shape)
        binned = rows @ np.asarray(image, dtype=np.float64) @ columns.T
        return Resampled(binned.astype(np.float32), target, (origin, origin))
    centres = [origin + target * np.arange(int(n * sampling / target + _SAME)) for n in image.shape]
    rows_of, columns_of = (
        cosine_series(n, sampling, at) for n, at in zip(image.shape, centres, strict=True)
    )
    fine = rows_of @ np.asarray(image, dtype=np.float64) @ columns_of.T
    return Resampled(fine.astype(np.float32), target, (origin, origin))


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
        cosine_series(n, sampling, first + target * np.arange(m), target)
        for n, first, m in zip(intensity.shape, origin, shape, strict=True)
    )
    return np.maximum(rows @ intensity.astype(np.float64) @ columns.T, 0.0)


def cosine_series(
    n: int, sampling: float, at: NDArray[np.float64], width: float | None = None
) -> NDArray[np.float64]:
    """Make the matrix that evaluates the cosine series of n pixels at given places.

    The series continues an image as its mirror image, so that borders do not ring.

    Parameters
    ----------
    n : int
        Pixels.
    sampling : float
        Their size [Å].
    at : array of float, shape (m,)
        Places, from the centre of the first pixel [Å].
    width : float, optional
        Pixel over which the result is integrated [Å], where the values are integrated over
        pixels of `sampling`; None leaves the integration as it is.

    Returns
    -------
    array of float64, shape (m, n)
        Its rows sum to 1.

    References
    ----------
    .. [1] Strang, SIAM Rev. 41, 135 (1999): the DCT-II and its inverse.

    Examples
    --------
    >>> np.allclose(cosine_series(5, 0.2, 0.2 * np.arange(5)), np.eye(5))
    True
    """
    order = np.arange(n)
    place = (np.arange(n) + 0.5) / n
    forward = np.cos(np.pi * order[:, None] * place) * np.where(order == 0, 1.0, 2.0)[:, None] / n
    if width is not None:
        frequency = order / (2 * n * sampling)
        forward *= (np.sinc(width * frequency) / np.sinc(sampling * frequency))[:, None]
    wanted = (np.asarray(at) / sampling + 0.5) / n
    series: NDArray[np.float64] = np.cos(np.pi * wanted[:, None] * order) @ forward
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
