"""Films in .npy files and pictures in .png files; they do not say their sampling."""

from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from ceria_data.errors import FilmError
from ceria_data.film import Film, film_of_array
from ceria_data.film_mapped import mapped_film
from ceria_data.film_reading import reading


def film_of_npy(path: Path) -> Film:
    """Map a .npy file; one that was cut off has the frames that are whole."""
    with reading(path, "numpy"), path.open("rb") as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, by_columns, dtype = read(file)
        offset = file.tell()
    if by_columns:
        with reading(path, "numpy"):
            return film_of_array(np.load(path, mmap_mode="r"), source=str(path))
    return mapped_film(path, offset, dtype, shape)


def film_of_png(path: Path) -> Film:
    """Read a grey picture."""
    from PIL import Image

    with reading(path, "pillow"), Image.open(path) as picture:
        if picture.mode not in ("L", "I", "I;16", "F"):
            raise FilmError(f"{path} is a picture in colour ({picture.mode}); expected grey values")
        values = np.asarray(picture)
    return film_of_array(values, source=str(path))
