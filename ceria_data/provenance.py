"""What made a dataset: software, machine class, device."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from ceria_data import __version__

_PACKAGES = ("numpy", "scipy", "abtem", "ase", "zarr", "numcodecs", "dask", "pandas", "pyarrow")
_SIMD_LEVELS = ("X86_V4", "AVX512_SKX", "AVX512F", "X86_V3", "AVX2", "X86_V2", "SVE", "ASIMD")


def software(engine: str = "batched") -> dict[str, str]:
    """List the versions of all packages that decide a dataset's content.

    Parameters
    ----------
    engine : str
        As in `ScatteringSettings`; PyTorch, which brings MKL, decides that of ``batched_mkl``.

    Returns
    -------
    dict
        Version by package.
    """
    versions = {"ceria": __version__, "python": platform.python_version()}
    mkl = ("torch",) if engine == "batched_mkl" else ()
    for package in (*_PACKAGES, "pyfftw", "cupy-cuda12x", *mkl):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def machine(device: str, engine: str = "batched") -> dict[str, str]:
    """Name the class of machine on which equal content is promised.

    Parameters
    ----------
    device : str
        ``cpu`` or ``gpu``.
    engine : str
        As in `ScatteringSettings`.

    Returns
    -------
    dict
        architecture, SIMD level, device, and the kernels that NumPy's BLAS chose: processors of
        one SIMD level, but of two makers, get different ones, and with them other last digits.
        For ``batched_mkl`` the maker of the processor, too, by which MKL chooses its code.

    Examples
    --------
    >>> sorted(machine("cpu"))
    ['architecture', 'blas', 'device', 'simd', 'system']
    """
    found = {
        "architecture": platform.machine(),
        "system": platform.system(),
        "simd": _simd_level(),
        "blas": _blas_kernels(),
        "device": _gpu_name() if device == "gpu" else "cpu",
    }
    return found | {"maker": _maker()} if engine == "batched_mkl" else found


def cores() -> int:
    """Count the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _simd_level() -> str:
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    found = set(extensions.get("found", [])) | set(extensions.get("baseline", []))
    return next((level for level in _SIMD_LEVELS if level in found), "baseline")


def _blas_kernels() -> str:
    """Name the code by which NumPy multiplies matrices."""
    from threadpoolctl import threadpool_info  # of the extra [generate], as all that calls this

    libraries = [one for one in threadpool_info() if one["user_api"] == "blas"]
    # Wheels of NumPy bring their own; what else is loaded differs from process to process.
    own = [one for one in libraries if "numpy" in one["filepath"]] or libraries
    found = {f"{one['internal_api']} {one.get('architecture', '')}".strip() for one in own}
    return ", ".join(sorted(found)) or "unknown"


def _maker() -> str:
    """Name the maker of the processor; only Linux tells it apart from the model."""
    if Path("/proc/cpuinfo").is_file():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("vendor_id"):
                return line.split(":")[1].strip()
    return platform.processor() or "unknown"


def _gpu_name() -> str:
    import cupy

    return str(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())
