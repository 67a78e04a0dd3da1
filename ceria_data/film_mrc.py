"""Films in .mrc files (SerialEM, cameras of Gatan, Thermo Fisher and Direct Electron)."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from ceria_data.errors import FilmError
from ceria_data.film import Film
from ceria_data.film_axes import Axis, calibrated
from ceria_data.film_mapped import mapped_film
from ceria_data.film_reading import reading

_HEADER_BYTES = 1024
_IMOD = slice(40, 48)
"""Of `extra2`: stamp and flags of IMOD, whose bytes are unsigned unless a flag says otherwise [1].

.. [1] https://bio3d.colorado.edu/imod/doc/mrc_format.txt
"""
_STAMP = 1146047817
_FIRST_VOLUME_STACK = 401
"""Space group from which a file holds several volumes."""


def film_of_mrc(path: Path) -> Film:
    """Map a .mrc file; the format knows a pixel size and no frame time."""
    with reading(path, "mrcfile"), warnings.catch_warnings():
        import mrcfile

        # Told below, or of no importance: files that were cut off, and their labels.
        warnings.simplefilter("ignore")
        with mrcfile.open(path, permissive=True, header_only=True) as file:
            header = file.header
            dtype = mrcfile.utils.data_dtype_from_header(header)
            stamp, flags = np.frombuffer(header.extra2.tobytes()[_IMOD], header.nx.dtype)
    if dtype == np.int8 and stamp == _STAMP and not flags & 1:
        dtype = np.dtype(np.uint8)
    if int(header.ispg) >= _FIRST_VOLUME_STACK:
        raise FilmError(f"{path} holds a series of volumes; expected one series of frames")
    shape = tuple(int(n) for n in (header.nz, header.ny, header.nx))
    if min(shape) < 1:
        raise FilmError(f"{path} is empty: its shape is {shape}")
    film = mapped_film(path, _HEADER_BYTES + int(header.nsymbt), dtype, shape)
    sides = [
        float(length) / int(n) if int(n) > 0 else None
        for length, n in ((header.cella.y, header.my), (header.cella.x, header.mx))
    ]
    if sides == [1.0, 1.0]:
        note = "its pixel size is 1 Å, as programs write that do not know it; it is not used"
        return replace(film, notes=(*film.notes, note))
    return calibrated(film, Axis(sides[0], "Å"), Axis(sides[1], "Å"))
