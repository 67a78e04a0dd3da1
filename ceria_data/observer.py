"""The ideal observer: how well counted electrons can tell two structures apart."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, cg

from ceria_data.detector import transfer
from ceria_data.errors import CeriaError
from ceria_data.parameters import Camera

_ROUNDING_VARIANCE = 1.0 / 12.0
_TOLERANCE = 1e-8


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
