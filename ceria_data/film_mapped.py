"""Frames that lie one behind the other in a file, mapped into memory."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ceria_data.errors import FilmError
from ceria_data.film import Film, check_frames
from ceria_data.film_reading import reading


def mapped_film(path: Path, offset: int, dtype: DTypeLike, shape: Sequence[int]) -> Film:
    """Map the frames of a file; of one that was cut off, those that are whole.

    Each reading is a mapping of its own, which ends with the array that it gave: pages of one
    mapping of the whole file would count as memory of the process until its end.

    Parameters
    ----------
    path : Path
    offset : int
        Bytes before the first frame.
    dtype : dtype
    shape : sequence of int
        As the file announces it, (frame, y, x) or (y, x).

    Returns
    -------
    Film
        A note says how many frames are missing, if any.

    Raises
    ------
    FilmError
        If the file holds no whole frame of that shape, or the shape is none of a film.
    """
    dtype = np.dtype(dtype)
    check_frames(shape, dtype, str(path))
    announced, *frame = (1, *shape) if len(shape) == 2 else tuple(int(n) for n in shape)
    there = max(path.stat().st_size - offset, 0) // (prod(int(n) for n in frame) * dtype.itemsize)
    if there == 0:
        raise FilmError(
            f"{path} announces {announced} frames of {frame[1]} × {frame[0]} pixels, and holds not "
            "one of them; it was cut off, or its header is damaged"
        )
    n = min(announced, there)
    notes = () if n == announced else (missing_frames(announced, n),)
    bytes_of_frame = prod(frame) * dtype.itemsize

    def read(start: int, stop: int) -> NDArray[Any]:
        wanted = (stop - start, *frame)
        if start == stop:
            return np.empty(wanted, dtype)
        at = offset + start * bytes_of_frame
        # The file may have become shorter since.
        with reading(path, "numpy"):
            return np.asarray(np.memmap(path, dtype, mode="r", offset=at, shape=wanted))

    return Film(source=str(path), shape=(frame[0], frame[1]), n_frames=n, read=read, notes=notes)


def missing_frames(announced: int, there: int) -> str:
    """Say that a file was cut off.

    Examples
    --------
    >>> missing_frames(100, 63)
    'the file announces 100 frames, 63 are there: it was cut off'
    """
    return f"the file announces {announced} frames, {there} are there: it was cut off"
