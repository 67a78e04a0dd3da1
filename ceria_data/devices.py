"""Where arrays live: the host or a GPU."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from ceria_data.errors import DeviceError, MissingExtraError


@dataclass(frozen=True)
class Place:
    """An array module and one of its devices.

    Attributes
    ----------
    xp : module
        NumPy, CuPy or another module that follows the array API.
    device : object
        A device of that module; None is its default.
    """

    xp: Any
    device: Any = None

    def put(self, array: NDArray[Any], dtype: Any = None) -> Any:
        """Bring an array of the host here."""
        return self.xp.asarray(array, dtype=dtype, device=self.device)


def place_of(device: str) -> Place:
    """Find the array module of a device, or say why there is none.

    Parameters
    ----------
    device : str
        ``cpu`` or ``gpu``.

    Returns
    -------
    Place

    Raises
    ------
    DeviceError
        If `device` is unknown or there is no GPU.
    MissingExtraError
        If `device` is ``gpu`` and CuPy is not installed.

    Examples
    --------
    >>> place_of("cpu").put(np.ones(2), np.float32).dtype
    dtype('float32')
    """
    if device == "cpu":
        return Place(array_namespace(np.empty(0)))
    if device != "gpu":
        raise DeviceError(f"unknown device {device!r}; the devices are 'cpu' and 'gpu'")
    try:
        cupy = import_module("cupy")
    except ImportError as error:
        raise MissingExtraError("--device gpu", "gpu", "cupy") from error
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(f"no usable GPU ({error}); use --device cpu") from error
    return Place(array_namespace(cupy.empty(0)))


def to_host(array: Any) -> NDArray[Any]:
    """Bring an array to the host: the one place where pixels leave a GPU."""
    on_gpu = hasattr(array, "get")
    return np.asarray(array.get() if on_gpu else array)
