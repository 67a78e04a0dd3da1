"""The ideal observer: how well electrons can tell two structures apart, or a column's place."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, cg

from ceria_data.detector import transfer
from ceria_data.errors import CeriaError
from ceria_data.parameters import Camera

_ROUNDING_VARIANCE = 1.0 / 12.0
_TOLERANCE = 1e-8
_PICOMETRES = 100.0
"""Of one Å."""


def detectability(
    intensity: NDArray[np.floating],
    other: NDArray[np.floating],
    dose: float,
    sampling: float,
    camera: Camera,
) -> float:
    """Compute d'² between two images of the same field.

    For a counting camera, whose pixels are independent Poisson variables of means λ and
    λ', this is ``Σ (λ - λ')² / ((λ + λ') / 2)``. For an integrating camera it is
    ``Δᵀ K⁻¹ Δ`` with the difference Δ of the mean images and the covariance K of the
    noise: shot noise shaped by the NTF, read-out noise and rounding.

    Parameters
    ----------
    intensity, other : array of float, shape (y, x)
        Images before the camera; 1 = vacuum.
    dose : float
        Electrons per area [e-/Å²].
    sampling : float
        Pixel size [Å/pixel].
    camera : Camera

    Returns
    -------
    float
        d'², not negative.

    Raises
    ------
    ValueError
        If the images have different shapes.

    References
    ----------
    .. [1] Barrett and Myers, Foundations of Image Science (2004), ch. 13: ideal and
       Hotelling observers.

    Examples
    --------
    One pixel of 100 and 90 expected electrons:

    >>> a, b = np.array([[1.0]]), np.array([[0.9]])
    >>> round(detectability(a, b, dose=100.0, sampling=1.0, camera=Camera()), 4)
    1.0526
    """
    if intensity.shape != other.shape:
        raise ValueError(f"images of shapes {intensity.shape} and {other.shape} cannot be compared")
    electrons = dose * sampling**2
    first = electrons * intensity.astype(np.float64)
    second = electrons * other.astype(np.float64)
    if camera.kind == "counting":
        mean = 0.5 * (first + second)
        lit = mean > 0
        return float(((first - second)[lit] ** 2 / mean[lit]).sum())
    return _correlated(first, second, camera)


def position_bound(
    intensity: NDArray[np.floating],
    gradient: NDArray[np.floating],
    dose: float,
    sampling: float,
) -> NDArray[np.float64]:
    """Compute the Cramér-Rao bound of a column's position, for a counting camera.

    The pixels are independent Poisson variables of means λ. With their derivatives by the
    position, the Fisher information is ``F_ij = Σ ∂_i λ ∂_j λ / λ``, and no estimate
    without bias has variances below the diagonal of its inverse. Everything else is taken
    as known: optics, all other columns, and what the column holds.

    Parameters
    ----------
    intensity : array of float, shape (y, x)
        Image before the camera; 1 = vacuum.
    gradient : array of float, shape (2, y, x)
        Its change per shift of the column along x and along y [1/Å].
    dose : float
        Electrons per area [e-/Å²].
    sampling : float
        Pixel size [Å/pixel].

    Returns
    -------
    array of float64, shape (2,)
        Smallest standard deviation along x and y [pm]; infinite without information. It
        falls as 1/√dose. The rms distance is at least ``np.hypot(*bound)``.

    Raises
    ------
    ValueError
        If the shapes do not belong together.

    References
    ----------
    .. [1] Kay, Fundamentals of Statistical Signal Processing: Estimation Theory (1993),
       ch. 3.
    .. [2] van Aert et al., J. Struct. Biol. 138, 21 (2002) (atomic columns, counts).

    Examples
    --------
    A wide peak of N = 1000 electrons without background: σ/√N, here 1 Å / √1000.

    >>> x = np.arange(-8, 8.05, 0.1)
    >>> peak = np.exp(-0.5 * (x[:, None] ** 2 + x**2)) / (2 * np.pi)
    >>> gradient = np.stack([peak * x, peak * x[:, None]])
    >>> position_bound(peak, gradient, dose=1000.0, sampling=0.1).round(2)
    array([3.16, 3.16])
    """
    if gradient.shape != (2, *intensity.shape):
        raise ValueError(
            f"a gradient of shape {gradient.shape} does not belong to an image of shape "
            f"{intensity.shape}; expected {(2, *intensity.shape)}"
        )
    lit = intensity > 0
    slopes = gradient[:, lit].astype(np.float64)
    information = dose * sampling**2 * (slopes / intensity[lit].astype(np.float64)) @ slopes.T
    determinant = information[0, 0] * information[1, 1] - information[0, 1] ** 2
    if determinant <= 0:
        return np.full(2, np.inf)
    variances = information.diagonal()[::-1] / determinant
    bound: NDArray[np.float64] = _PICOMETRES * np.sqrt(variances)
    return bound


def _correlated(first: NDArray[np.float64], second: NDArray[np.float64], camera: Camera) -> float:
    """Hotelling observer of an integrating camera, by conjugate gradients."""
    shape = first.shape
    mtf = transfer(shape, camera.mtf_half, camera.mtf_power)
    ntf = transfer(shape, camera.ntf_half, camera.ntf_power)
    difference = camera.gain * _filtered(first - second, mtf)
    variance = camera.gain**2 * np.maximum(_filtered(0.5 * (first + second), mtf), 0.0)
    white = camera.readout_noise**2 + _ROUNDING_VARIANCE

    def covariance(flat: NDArray[np.float64]) -> NDArray[np.float64]:
        image = flat.reshape(shape)
        shot = _filtered(variance * _filtered(image, ntf), ntf)
        return (shot + white * image).ravel()

    operator = LinearOperator((first.size, first.size), matvec=covariance, dtype=np.float64)
    weights, failed = cg(operator, difference.ravel(), rtol=_TOLERANCE, maxiter=10 * first.size)
    if failed:
        raise CeriaError("the covariance of the camera's noise could not be inverted")
    return float(difference.ravel() @ weights)


def _filtered(image: NDArray[np.float64], transfer: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.fft.irfft2(np.fft.rfft2(image) * transfer, s=image.shape)
