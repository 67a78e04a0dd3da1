"""What made a dataset: software, machine class, device."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from ceria_data import __version__

_PACKAGES = ("numpy", "scipy", "abtem", "ase", "zarr", "numcodecs", "dask", "pandas", "pyarrow")
_SIMD_LEVELS = ("X86_V4", "AVX512_SKX", "AVX512F", "X86_V3", "AVX2", "X86_V2", "SVE", "ASIMD")


def software() -> dict[str, str]:
    """List the versions of all packages that decide a dataset's content."""
    versions = {"ceria": __version__, "python": platform.python_version()}
    for package in (*_PACKAGES, "pyfftw", "cupy-cuda12x"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def machine(device: str) -> dict[str, str]:
    """Name the class of machine on which equal content is promised.

    Parameters
    ----------
    device : str
        ``cpu`` or ``gpu``.

    Returns
    -------
    dict
        architecture, SIMD level, and device.

    Examples
    --------
    >>> sorted(machine("cpu"))
    ['architecture', 'device', 'simd', 'system']
    """
    return {
        "architecture": platform.machine(),
        "system": platform.system(),
        "simd": _simd_level(),
        "device": _gpu_name() if device == "gpu" else "cpu",
    }


def cores() -> int:
    """Count the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _simd_level() -> str:
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    found = set(extensions.get("found", [])) | set(extensions.get("baseline", []))
    return next((level for level in _SIMD_LEVELS if level in found), "baseline")


def _gpu_name() -> str:
    import cupy

    return str(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())
