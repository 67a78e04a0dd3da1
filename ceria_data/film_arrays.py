"""Films in .npy files and pictures in .png files; they do not say their sampling."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from ceria_data.errors import FilmError
from ceria_data.film import Film, film_of_array
from ceria_data.film_mapped import mapped_frames


def film_of_npy(path: Path) -> Film:
    """Map a .npy file; one that was cut off has the frames that are whole."""
    try:
        with path.open("rb") as file:
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, by_columns, dtype = read(file)
            offset = file.tell()
    except (OSError, ValueError) as error:
        raise FilmError(f"{path} cannot be read: {error}") from error
    if by_columns:
        return film_of_array(_whole(path), source=str(path))
    frames, notes = mapped_frames(path, offset, dtype, shape)
    return replace(film_of_array(frames, source=str(path)), notes=notes)


def film_of_png(path: Path) -> Film:
    """Read a grey picture."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.mode not in ("L", "I", "I;16", "F"):
                raise FilmError(
                    f"{path} is a picture in colour ({picture.mode}); expected grey values"
                )
            values = np.asarray(picture)
    except (OSError, ValueError) as error:
        raise FilmError(f"{path} cannot be read: {error}") from error
    return film_of_array(values, source=str(path))


def _whole(path: Path) -> "np.ndarray[Any, Any]":
    """Map an array whose frames do not lie one behind the other."""
    try:
        values: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise FilmError(f"{path} cannot be read: {error}") from error
    return values
