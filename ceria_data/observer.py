"""The ideal observer: how well electrons can tell two structures apart, or a column's place."""

from collections.abc import Sequence

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


def fisher_information(
    intensity: NDArray[np.floating], changes: NDArray[np.floating], sampling: float
) -> NDArray[np.float64]:
    """Compute the Fisher information of what an image depends on, for a counting camera.

    The pixels are independent Poisson variables of means λ: ``F_ij = Σ ∂_i λ ∂_j λ / λ``.

    Parameters
    ----------
    intensity : array of float, shape (y, x)
        Image before the camera; 1 = vacuum.
    changes : array of float, shape (parameter, y, x)
        Its change per unit of each parameter.
    sampling : float
        Pixel size [Å/pixel].

    Returns
    -------
    array of float64, shape (parameter, parameter)
        At 1 e-/Å²; it grows in proportion to the dose.

    Raises
    ------
    ValueError
        If the shapes do not belong together.

    Examples
    --------
    One pixel of 0.5 that grows by 1: N electrons more, beside a variance of 0.5 N.

    >>> fisher_information(np.array([[0.5]]), np.array([[[1.0]]]), sampling=1.0)
    array([[2.]])
    """
    if changes.ndim != 3 or changes.shape[1:] != intensity.shape:
        raise ValueError(
            f"changes of shape {changes.shape} do not belong to an image of shape "
            f"{intensity.shape}; expected {('parameter', *intensity.shape)}"
        )
    lit = intensity > 0
    slopes = changes[:, lit].astype(np.float64) / np.sqrt(intensity[lit].astype(np.float64))
    information: NDArray[np.float64] = sampling**2 * slopes @ slopes.T
    return information


def information_beside(
    information: NDArray[np.float64], wanted: Sequence[int]
) -> NDArray[np.float64]:
    """Compute the Fisher information that is left of some parameters if the others are unknown.

    The Schur complement ``F_ww - F_wn F_nn⁻¹ F_nw``: its inverse is the block of F⁻¹, the
    smallest covariance of estimates of the wanted parameters beside all others.

    Parameters
    ----------
    information : array of float64, shape (parameter, parameter)
    wanted : sequence of int
        Parameters.

    Returns
    -------
    array of float64, shape (wanted, wanted)

    Examples
    --------
    >>> information_beside(np.array([[2.0, 1.0], [1.0, 1.0]]), wanted=[0])
    array([[1.]])
    """
    chosen = np.asarray(wanted)
    others = np.setdiff1d(np.arange(len(information)), chosen)
    own, across = information[np.ix_(chosen, chosen)], information[np.ix_(others, chosen)]
    unknown = information[np.ix_(others, others)]
    left: NDArray[np.float64] = own - across.T @ np.linalg.pinv(unknown, hermitian=True) @ across
    return left


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
    information = dose * fisher_information(intensity, gradient, sampling)
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
