"""Films in Zarr folders: plain arrays, OME-Zarr and .zspy of HyperSpy."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ceria_data.errors import FilmError
from ceria_data.film import Film, check_frames
from ceria_data.film_axes import Axis, calibrated
from ceria_data.film_hdf5 import film_of_signal
from ceria_data.film_rosetta import reading

_OME_AXES = ("t", "z", "y", "x")


def film_of_zarr(path: Path) -> Film:
    """Open a Zarr folder: one array of frames, OME-Zarr, or a signal of HyperSpy.

    The attributes `sampling_A`, `frame_time_s`, `dose_e_per_A2` and `energy_keV` of a plain
    array are taken.
    """
    with reading(path, "zarr"):
        node = zarr.open(path, mode="r")
        if isinstance(node, zarr.Group):
            attributes: dict[str, Any] = dict(node.attrs)
            if "Experiments" in node:
                return film_of_signal(path, node)  # type: ignore[arg-type]
            ome: Any = attributes.get("ome", attributes)
            if "multiscales" in ome:
                return _film_of_ome(path, node, ome["multiscales"][0])
            arrays = [array for _, array in node.arrays()]
            if len(arrays) != 1:
                raise FilmError(
                    f"{path} holds {len(arrays)} arrays; expected one: name its folder inside"
                )
            return _film_of_plain(path, arrays[0], attributes)
        return _film_of_plain(path, node, {})


def _film_of_plain(path: Path, array: "zarr.Array[Any]", above: dict[str, Any]) -> Film:
    facts = above | dict(array.attrs)
    film = film_of_array_on_disk(path, array)
    known = {
        name: float(facts[key])
        for name, key in (
            ("sampling", "sampling_A"),
            ("frame_time_s", "frame_time_s"),
            ("dose_e_per_A2", "dose_e_per_A2"),
            ("energy_keV", "energy_keV"),
        )
        if facts.get(key)
    }
    return replace(film, **known)  # type: ignore[arg-type]


def _film_of_ome(path: Path, group: zarr.Group, scales: dict[str, Any]) -> Film:
    """Open the finest level of an OME-Zarr image."""
    level = scales["datasets"][0]
    array: Any = group[level["path"]]
    film = film_of_array_on_disk(path, array)
    axes = scales.get("axes", [])
    steps = np.ones(array.ndim)
    for part in (level, scales):
        for change in part.get("coordinateTransformations", []):
            if change.get("type") == "scale":
                steps = steps * np.asarray(change["scale"], dtype=np.float64)
    named = {
        axis["name"]: Axis(float(step), str(axis.get("unit", "")))
        for axis, step in zip(axes, steps, strict=False)
        if isinstance(axis, dict)
    }
    if "y" not in named or "x" not in named:
        return film
    return calibrated(film, named["y"], named["x"], named.get("t"))


def film_of_array_on_disk(path: Path, array: "zarr.Array[Any]") -> Film:
    """Make a film of a Zarr array; axes of one pixel before the last two are left out."""
    shape = tuple(array.shape)
    kept = [i for i, n in enumerate(shape) if n != 1 or i >= len(shape) - 2]
    check_frames([shape[i] for i in kept], array.dtype, str(path))
    frame = kept[0] if len(kept) == 3 else None

    def read(start: int, stop: int) -> NDArray[Any]:
        index = [slice(None)] * len(shape)
        if frame is not None:
            index[frame] = slice(start, stop)
        with reading(path, "zarr"):
            values = np.asarray(array[tuple(index)]).reshape(-1, *shape[-2:])
        return values if frame is not None else values[start:stop]

    n = 1 if frame is None else shape[frame]
    missing = array.nchunks - array.nchunks_initialized
    note = (
        f"{missing} of its {array.nchunks} chunks are not there; their pixels are read as "
        f"{array.fill_value}"
    )
    notes = (note,) if missing > 0 else ()
    return Film(str(path), (shape[-2], shape[-1]), n, read, notes=notes)
