"""A predicted film as OME-Zarr (NGFF 0.5): the frames, and the counts as labels."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from matplotlib import colormaps
from numpy.typing import NDArray

from ceria_models.export_stack import Stack, species_of
from ceria_models.overlay import COLOUR_MAPS

VERSION = "0.5"
_SHARD_BYTES = 32_000_000
_AXES = (("t", "time", "second"), ("y", "space", "angstrom"), ("x", "space", "angstrom"))


def write_ome_zarr(stack: Stack, folder: Path) -> list[Path]:
    """Write an image (t, y, x), and for each species a label image with the count of its columns.

    Axes, scales, labels and their colours as in the specification, https://ngff.openmicroscopy.org/0.5/.
    The value of a label is the number of atoms, 0 is background.

    Parameters
    ----------
    stack : Stack
    folder : Path
        New; its name should end in .ome.zarr.

    Returns
    -------
    list of Path
    """
    root = zarr.open_group(folder, mode="w", zarr_format=3)
    root.attrs["ome"] = {
        "version": VERSION,
        "multiscales": [_multiscale(stack, stack.tables.name)],
    }
    _write(root, stack, stack.dtype, stack.images())
    labels = root.create_group("labels")
    names = species_of(stack.tables)
    labels.attrs["ome"] = {"version": VERSION, "labels": names}
    for name in names:
        group = labels.create_group(name)
        group.attrs["ome"] = {
            "version": VERSION,
            "multiscales": [_multiscale(stack, f"{name} atoms in a column")],
            "image-label": _image_label(name, stack.traces.most),
        }
        _write(group, stack, np.dtype(np.uint8), stack.counts(name))
    return [folder]


def _multiscale(stack: Stack, name: str) -> dict[str, Any]:
    axes: list[dict[str, str]] = []
    for axis, kind, unit in _AXES:
        known = axis != "t" or stack.step_s is not None
        axes.append({"name": axis, "type": kind} | ({"unit": unit} if known else {}))
    scale = [stack.step_s or 1.0, stack.tables.sampling, stack.tables.sampling]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
    return {"name": name, "axes": axes, "datasets": [level]}


def _image_label(species: str, most: int) -> dict[str, Any]:
    colours = colormaps[COLOUR_MAPS[species]](np.linspace(0, 1, max(most, 2)), bytes=True)
    return {
        "colors": [
            {"label-value": i + 1, "rgba": [int(part) for part in colour]}
            for i, colour in enumerate(colours[:most])
        ],
        "properties": [
            {"label-value": i + 1, "species": species, "atoms": i + 1} for i in range(most)
        ],
        "source": {"image": "../../"},
    }


def _write(
    group: zarr.Group,
    stack: Stack,
    dtype: np.dtype[np.generic],
    frames: Iterable[NDArray[np.generic]],
) -> None:
    """Write frames into the array "0", a whole shard at a time."""
    n, y, x = stack.shape
    per_shard = min(n, max(1, _SHARD_BYTES // (y * x * dtype.itemsize)))
    array = group.create_array(
        "0",
        shape=stack.shape,
        dtype=dtype,
        chunks=(1, y, x),
        shards=(per_shard, y, x),
        dimension_names=[axis for axis, _, _ in _AXES],
    )
    block: list[NDArray[np.generic]] = []
    start = 0
    for frame in frames:
        block.append(frame)
        if len(block) == per_shard:
            array[start : start + len(block)] = np.stack(block)
            start, block = start + len(block), []
    if block:
        array[start : start + len(block)] = np.stack(block)
