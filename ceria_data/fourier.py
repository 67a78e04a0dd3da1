"""Fourier transforms over the last two axes, with the library of the array."""

from typing import Any, Literal

import scipy.fft
from array_api_compat import array_namespace, is_numpy_array

from ceria_data import mkl

Library = Literal["scipy", "mkl"]
"""Who transforms NumPy arrays; the arrays of other modules have transforms of their own.

SciPy's pocketfft does not measure, so it is reproducible, and it is several times faster
than `numpy.fft` in float32. MKL is faster still, but rounds otherwise on processors of
another maker.
"""
_AXES = (-2, -1)


def fft2(array: Any, library: Library = "scipy") -> Any:
    """Transform complex arrays forwards; a NumPy array may be overwritten.

    Parameters
    ----------
    array : array of complex, shape (..., y, x)
    library : str
        For a NumPy array.

    Returns
    -------
    array of complex, shape (..., y, x)
    """
    if not is_numpy_array(array):
        return array_namespace(array).fft.fftn(array, axes=_AXES)
    if library == "mkl":
        return mkl.transform("fft2", array)
    return scipy.fft.fftn(array, axes=_AXES, overwrite_x=True)


def ifft2(array: Any, library: Library = "scipy") -> Any:
    """Transform complex arrays backwards; a NumPy array may be overwritten.

    Parameters
    ----------
    array : array of complex, shape (..., y, x)
    library : str
        For a NumPy array.

    Returns
    -------
    array of complex, shape (..., y, x)
    """
    if not is_numpy_array(array):
        return array_namespace(array).fft.ifftn(array, axes=_AXES)
    if library == "mkl":
        return mkl.transform("ifft2", array)
    return scipy.fft.ifftn(array, axes=_AXES, overwrite_x=True)


def ifft(array: Any, axis: int) -> Any:
    """Transform complex arrays backwards along one axis; a NumPy array may be overwritten.

    With SciPy for a NumPy array: MKL does a whole grid, zeros included, in less time.
    """
    if is_numpy_array(array):
        return scipy.fft.ifft(array, axis=axis, overwrite_x=True)
    return array_namespace(array).fft.ifft(array, axis=axis)


def rfft2(array: Any, library: Library = "scipy") -> Any:
    """Transform real arrays forwards.

    Parameters
    ----------
    array : array of float, shape (..., y, x)
    library : str
        For a NumPy array.

    Returns
    -------
    array of complex, shape (..., y, x // 2 + 1)
    """
    if not is_numpy_array(array):
        return array_namespace(array).fft.rfftn(array, axes=_AXES)
    if library == "mkl":
        return mkl.transform("rfft2", array)
    return scipy.fft.rfftn(array, axes=_AXES)


def irfft2(array: Any, shape: tuple[int, int], library: Library = "scipy") -> Any:
    """Transform half spectra back to real arrays; missing high orders of x are zero.

    Parameters
    ----------
    array : array of complex, shape (..., y, n)
        n at most ``x // 2 + 1``.
    shape : tuple of int
        Points (y, x) of the result.
    library : str
        For a NumPy array.

    Returns
    -------
    array of float, shape (..., y, x)
    """
    if not is_numpy_array(array):
        return array_namespace(array).fft.irfftn(array, s=shape, axes=_AXES)
    if library == "mkl":
        return mkl.transform("irfft2", array, s=shape)
    return scipy.fft.irfftn(array, s=shape, axes=_AXES, overwrite_x=True)
