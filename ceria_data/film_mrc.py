"""Films in .mrc files (SerialEM, cameras of Gatan, Thermo Fisher and Direct Electron)."""

import warnings
from dataclasses import replace
from pathlib import Path

from ceria_data.errors import FilmError, MissingExtraError
from ceria_data.film import Film, film_of_array
from ceria_data.film_axes import Axis, calibrated
from ceria_data.film_mapped import mapped_frames

_HEADER_BYTES = 1024
_FIRST_VOLUME_STACK = 401
"""Space group from which a file holds several volumes."""


def film_of_mrc(path: Path) -> Film:
    """Map a .mrc file; the format knows a pixel size and no frame time."""
    try:
        import mrcfile
    except ImportError as error:
        raise MissingExtraError(f"reading {path}", "em", "mrcfile") from error
    try:
        with warnings.catch_warnings():
            # Told below, or of no importance: files that were cut off, and their labels.
            warnings.simplefilter("ignore")
            with mrcfile.open(path, permissive=True, header_only=True) as file:
                header = file.header
                dtype = mrcfile.utils.data_dtype_from_header(header)
    except (OSError, ValueError) as error:
        raise FilmError(f"{path} cannot be read: {error}") from error
    if int(header.ispg) >= _FIRST_VOLUME_STACK:
        raise FilmError(f"{path} holds a series of volumes; expected one series of frames")
    shape = tuple(int(n) for n in (header.nz, header.ny, header.nx))
    if min(shape) < 1:
        raise FilmError(f"{path} is empty: its shape is {shape}")
    frames, notes = mapped_frames(path, _HEADER_BYTES + int(header.nsymbt), dtype, shape)
    film = replace(film_of_array(frames, source=str(path)), notes=notes)
    sides = [
        float(length) / int(n) if int(n) > 0 else None
        for length, n in ((header.cella.y, header.my), (header.cella.x, header.mx))
    ]
    if sides == [1.0, 1.0]:
        note = "its pixel size is 1 Å, as programs write that do not know it; it is not used"
        return replace(film, notes=(*notes, note))
    return calibrated(film, Axis(sides[0], "Å"), Axis(sides[1], "Å"))
