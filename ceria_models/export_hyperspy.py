"""A predicted film as signals of HyperSpy."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceria_data.errors import MissingExtraError
from ceria_models.export_stack import Stack, species_of

_MAPPED = "frames.npy"


def write_hyperspy(stack: Stack, folder: Path) -> list[Path]:
    """Write the film, and the counts of each species on its pixels, as .hspy files of equal axes.

    Time [s] is the navigation axis, y and x [nm] are signal axes.

    Parameters
    ----------
    stack : Stack
    folder : Path

    Returns
    -------
    list of Path

    Raises
    ------
    MissingExtraError
        If rosettasciio or h5py is not installed.
    """
    try:
        from rsciio.hspy import file_writer
    except ImportError as error:
        raise MissingExtraError("--to hyperspy", "em", error.name or "rsciio") from error
    parts: list[tuple[str, np.dtype[Any], Iterable[NDArray[np.generic]]]] = [
        ("film", stack.dtype, stack.images())
    ]
    parts += [
        (f"counts_{n}", np.dtype(np.uint8), stack.counts(n)) for n in species_of(stack.tables)
    ]
    written = []
    for name, dtype, frames in parts:
        # Mapped: the writer takes an array, and a film may be larger than the memory.
        mapped = np.lib.format.open_memmap(folder / _MAPPED, "w+", dtype, stack.shape)
        for i, frame in enumerate(frames):
            mapped[i] = frame
        signal = _signal(stack, mapped, f"{stack.tables.name}: {name}")
        file_writer(folder / f"{name}.hspy", signal, show_progressbar=False)
        del mapped, signal
        (folder / _MAPPED).unlink()
        written.append(folder / f"{name}.hspy")
    return written


def _signal(stack: Stack, values: NDArray[Any], title: str) -> dict[str, Any]:
    """Describe an array as HyperSpy does."""
    pixel = 0.1 * stack.tables.sampling
    steps = (
        ("time", "s" if stack.step_s else "", stack.step_s or 1.0, True),
        ("y", "nm", pixel, False),
        ("x", "nm", pixel, False),
    )
    axes = [
        {
            "_type": "UniformDataAxis", "name": name, "units": unit, "scale": scale, "offset": 0.0,
            "size": size, "navigate": navigate, "is_binned": False,
        }
        for (name, unit, scale, navigate), size in zip(steps, values.shape, strict=True)
    ]  # fmt: skip
    return {
        "data": values,
        "axes": axes,
        "metadata": {
            "General": {"title": title, "original_filename": stack.tables.name},
            "Signal": {"signal_type": ""},
        },
        "original_metadata": {
            "ceria": {
                name: str(stack.tables.facts.get(name, ""))
                for name in ("software", "model", "model_version")
            }
        },
        "attributes": {"_lazy": False, "ragged": False},
        "tmp_parameters": {},
        "learning_results": {},
        # The package that has the class of the signal, not the one that wrote it.
        "package_info": {"package": "hyperspy", "package_version": "2.0"},
        "models": {},
    }
