"""Fourier transforms of host arrays with Intel's MKL, which comes with PyTorch.

PyTorch is imported by the first transform, so that nothing else pays for it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceria_data.errors import DeviceError


@lru_cache(maxsize=1)
def library() -> Any:
    """Import PyTorch and see that it has MKL.

    Returns
    -------
    module

    Raises
    ------
    DeviceError
        If its build has another library, as those for ARM have.
    """
    import torch

    backend: Any = torch.backends.mkl
    if not backend.is_available():
        raise DeviceError(
            f"engine batched_mkl needs a PyTorch with MKL, and PyTorch {torch.__version__} on this "
            "machine has none (builds for x86-64 have it); use scattering.engine: batched"
        )
    return torch


@contextmanager
def one_thread(needed: bool) -> Iterator[None]:
    """Keep MKL to one thread, and leave it as it was: the process may train a net next.

    Parameters
    ----------
    needed : bool
        Whether MKL is used at all.
    """
    if not needed:
        yield
        return
    torch = library()
    before = torch.get_num_threads()
    # Also where it says 1 already: that is the number of OpenMP, and MKL has one of its own.
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def transform(name: str, array: NDArray[Any], **options: Any) -> NDArray[Any]:
    """Call a function of `torch.fft` on each image of an array.

    Image by image, because MKL does not promise that an image of many gets the same digits
    as alone; for the same reason it belongs into `one_thread`. The arrays share their memory with
    PyTorch's.

    Parameters
    ----------
    name : str
        Such as ``fft2``.
    array : array, shape (..., y, x)
    **options
        Of the function.

    Returns
    -------
    array, shape (..., y, x)
    """
    torch = library()
    function: Callable[..., Any] = getattr(torch.fft, name)
    if array.size == array.shape[-2] * array.shape[-1]:
        # A wave that goes alone, as they do on a CPU, is not copied.
        return np.asarray(function(torch.from_numpy(array), **options))
    images = torch.from_numpy(array.reshape(-1, *array.shape[-2:]))
    done = torch.stack([function(image, **options) for image in images]).numpy()
    return np.asarray(done.reshape(*array.shape[:-2], *done.shape[-2:]))
