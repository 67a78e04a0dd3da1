"""Films in .tif files, with what ImageJ, OME and DigitalMicrograph write into them."""

import logging
import re
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from ceria_data.errors import FilmError
from ceria_data.film import Film, check_frames
from ceria_data.film_axes import Axis, calibrated, length_in_A
from ceria_data.film_mapped import mapped_film, missing_frames
from ceria_data.film_reading import reading

_DM_TAGS = ((65010, 65004), (65009, 65003), (65011, 65005))
"""Step and unit of y, x and time, of DigitalMicrograph."""
_RESOLUTION_UNITS = {2: "inch", 3: "cm"}
Notes = tuple[str, ...]
_COARSEST_A = 10.0
"""A printer's 72 dots an inch is no pixel size; one below this is."""


def film_of_tif(path: Path) -> Film:
    """Open a .tif file; frames that lie one behind the other are mapped.

    Of a file that was cut off, the frames that can still be found are the film.
    """
    with reading(path, "tifffile"), _complaints() as complaints:
        tif = tifffile.TiffFile(path)
        try:
            if not tif.series:
                raise FilmError(f"{path} is empty: it holds no image")
            y, x, time = _axes_of(tif)
            film = _frames_of(path, tif)
            broken = any("invalid page offset" in text for text in complaints)
        except BaseException:
            tif.close()
            raise
        # Nobody else closes the file, and a film that is mapped does not need it.
        weakref.finalize(film.read, tif.close)
    if broken and not film.notes:
        film = replace(film, notes=(f"the file was cut off; {len(film)} frames are there",))
    return calibrated(film, y, x, time)


def _frames_of(path: Path, tif: tifffile.TiffFile) -> Film:
    series = tif.series[0]
    axes = [
        (letter, n)
        for letter, n in zip(series.axes, series.shape, strict=True)
        if n != 1 or letter in "YX"
    ]
    if "S" in dict(axes):
        raise FilmError(
            f"{path} is in colour, {series.axes} of {series.shape}; expected grey values"
        )
    shape = [n for _, n in axes]
    check_frames(shape, series.dtype, str(path))
    appended, besides = _further(path, tif, shape)
    announced = len(appended) or _announced(tif, shape)
    if (
        not appended
        and series.dataoffset is not None
        and (len(shape) == 3 or announced == 1 or tif.is_imagej)
    ):
        dtype = np.dtype(series.dtype).newbyteorder(tif.byteorder)
        film = mapped_film(path, series.dataoffset, dtype, (announced, shape[-2], shape[-1]))
        return replace(film, notes=film.notes + besides)
    pages: Any = appended or (tif.pages if len(shape) == 2 and announced > 1 else series.pages)
    there = _whole_pages(path, pages, shape[-2:])
    if there == 0:
        raise FilmError(f"{path} announces {announced} frames and holds not one; it was cut off")

    def read(start: int, stop: int) -> NDArray[Any]:
        out = np.empty((stop - start, *shape[-2:]), dtype=series.dtype)
        with reading(path, "imagecodecs"):
            for at, page in enumerate(range(start, stop)):
                out[at] = pages[page].asarray()
        return out

    notes = () if there == announced else (missing_frames(announced, there),)
    return Film(str(path), (shape[-2], shape[-1]), there, read, notes=notes + besides)


def _further(path: Path, tif: tifffile.TiffFile, shape: list[int]) -> tuple[list[Any], Notes]:
    """Tell frames that were appended one by one, previews, and other films apart.

    Returns the pages of all frames, if they were appended, and what to say of the previews.
    """
    first, *others = tif.series
    if not others:
        return [], ()
    if len(shape) == 2 and all(s.shape == first.shape and s.dtype == first.dtype for s in others):
        return [s.pages[0] for s in tif.series], ()
    for other in others:
        size = dict(zip(other.axes, other.shape, strict=True))
        smaller = size.get("Y", 0) < shape[-2] and size.get("X", 0) < shape[-1]
        if not (smaller or getattr(other.keyframe, "is_reduced", False)):
            raise FilmError(
                f"{path} holds {len(others) + 1} films or images, of {first.shape} and "
                f"{other.shape} values; expected one: save the one that you want on its own"
            )
    preview = "a smaller image" if len(others) == 1 else f"{len(others)} smaller images"
    return [], (f"the file holds {preview} too, not read here",)


def _announced(tif: tifffile.TiffFile, shape: list[int]) -> int:
    """Find the number of frames, also where the list of pages was cut off."""
    if len(shape) == 3:
        return shape[0]
    first: Any = tif.pages.first
    written = re.search(r"^images=(\d+)$", first.description, re.MULTILINE)
    if tif.is_imagej and written:
        return int(written[1])
    if tif.shaped_metadata and len(tif.shaped_metadata[0]["shape"]) == 3:
        return int(tif.shaped_metadata[0]["shape"][0])
    return 1


def _whole_pages(path: Path, pages: Any, shape: list[int]) -> int:
    """Count the pages before the first that is another image, or not wholly in the file."""
    size, n = path.stat().st_size, 0
    for page in pages:
        if page is None or not page.dataoffsets or list(page.shape) != shape:
            break
        ends = zip(page.dataoffsets, page.databytecounts, strict=True)
        if max(offset + count for offset, count in ends) > size:
            break
        n += 1
    return n


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what tifffile logs, instead of letting it print."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger, collector = logging.getLogger("tifffile"), Collector()
    before = logger.propagate
    logger.addHandler(collector)
    logger.propagate = False
    try:
        yield found
    finally:
        logger.removeHandler(collector)
        logger.propagate = before


def _axes_of(tif: tifffile.TiffFile) -> tuple[Axis, Axis, Axis | None]:
    """Read what the file says of y, x and time; the most explicit wins."""
    first: Any = tif.pages.first
    tags = first.tags
    if tif.ome_metadata:
        return _of_ome(tif.ome_metadata)
    resolution = [_pixels_per_unit(tags.get(name)) for name in ("YResolution", "XResolution")]
    steps = [1 / n if n else None for n in resolution]
    if tif.imagej_metadata is not None:
        facts = tif.imagej_metadata
        time = Axis(facts.get("finterval"), str(facts.get("tunit", "s")))
        unit_x = str(facts.get("unit", ""))
        return Axis(steps[0], str(facts.get("yunit", unit_x))), Axis(steps[1], unit_x), time
    if all(tag in tags for pair in _DM_TAGS[:2] for tag in pair):
        y, x, *frames = (
            Axis(float(tags[step].value), str(tags[unit].value))
            for step, unit in _DM_TAGS
            if step in tags and unit in tags
        )
        return y, x, frames[0] if frames else None
    unit = int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else 2
    sides = [length_in_A(step, _RESOLUTION_UNITS.get(unit, "")) for step in steps]
    if any(side is None or side > _COARSEST_A for side in sides):
        return Axis(None, ""), Axis(None, ""), None
    return Axis(sides[0], "Å"), Axis(sides[1], "Å"), None


def _pixels_per_unit(tag: Any) -> float:
    if tag is None:
        return 0.0
    numerator, denominator = tag.value
    return numerator / denominator if denominator else 0.0


def _of_ome(text: str) -> tuple[Axis, Axis, Axis | None]:
    root = ElementTree.fromstring(text)
    pixels = next((node for node in root.iter() if node.tag.endswith("}Pixels")), None)
    facts = {} if pixels is None else pixels.attrib

    def axis(name: str, unit: str) -> Axis:
        value = facts.get(name)
        return Axis(None if value is None else float(value), facts.get(f"{name}Unit", unit))

    return axis("PhysicalSizeY", "µm"), axis("PhysicalSizeX", "µm"), axis("TimeIncrement", "s")
