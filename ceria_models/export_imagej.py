"""A predicted film as a hyperstack for ImageJ and Fiji."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ceria_models.errors import FilmFolderError
from ceria_models.export_stack import Stack, species_of

FILE = "film.tif"
_MOST_BYTES = 4_000_000_000
"""ImageJ's format has 32-bit offsets."""
_KEPT = (np.dtype(np.uint8), np.dtype(np.uint16))


def write_imagej(stack: Stack, folder: Path) -> list[Path]:
    """Write one TIFF file: the image and, as further channels, the counts on the columns.

    Pixel size in nm and the frame interval in s are where ImageJ looks for them; image and counts
    have a range of grey values each.

    Parameters
    ----------
    stack : Stack
    folder : Path

    Returns
    -------
    list of Path

    Raises
    ------
    FilmFolderError
        If it would be larger than 4 GB, which ImageJ cannot read.
    """
    names = species_of(stack.tables)
    kept = stack.dtype if stack.dtype in _KEPT else np.dtype(np.float32)
    t, y, x = stack.shape
    shape = (t, 1 + len(names), y, x)
    bytes_ = int(np.prod(shape)) * kept.itemsize
    if bytes_ > _MOST_BYTES:
        every = stack.step * -(-bytes_ // _MOST_BYTES)
        raise FilmFolderError(
            f"{t:,} frames would make a file of {bytes_ / 1e9:.1f} GB, ImageJ reads up to 4; "
            f"take fewer, as with --every {every}, or --to ome-zarr"
        )
    per_nm = 10 / stack.tables.sampling
    tifffile.imwrite(
        folder / FILE,
        _pages(stack, names, kept),
        shape=shape,
        dtype=kept,
        imagej=True,
        resolution=(per_nm, per_nm),
        metadata=_metadata(stack, names),
        photometric="minisblack",
    )
    return [folder / FILE]


def _metadata(stack: Stack, names: list[str]) -> dict[str, Any]:
    first = stack.film.frames(0, 1)[0].astype(np.float64)
    low, high = (float(value) for value in np.percentile(first, (0.5, 99.7)))
    most = float(stack.traces.most)
    known: dict[str, Any] = {
        "axes": "TCYX",
        "unit": "nm",
        "mode": "grayscale",
        "Labels": [
            f"{channel}, frame {frame}"
            for frame in stack.frames.tolist()
            for channel in ("image", *(f"{name} atoms" for name in names))
        ],
        "Ranges": (low, max(high, low + 1e-9), *(0.0, most) * len(names)),
    }
    if stack.step_s is not None:
        known |= {"finterval": stack.step_s, "fps": 1 / stack.step_s, "tunit": "s"}
    return known


def _pages(stack: Stack, names: list[str], dtype: np.dtype[Any]) -> Iterator[NDArray[np.generic]]:
    painted = (stack.counts(name) for name in names)
    for channels in zip(stack.images(), *painted, strict=True):
        for channel in channels:
            yield channel.astype(dtype, copy=False)
