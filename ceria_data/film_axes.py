"""What the axes of a file say: pixel size and time, from any unit."""

import re
import unicodedata
from dataclasses import dataclass, replace
from math import isfinite, sqrt

from ceria_data.errors import FilmError
from ceria_data.film import Film

_A = {
    "a": 1.0, "angstrom": 1.0, "ang": 1.0, "å": 1.0,
    "pm": 0.01, "picometer": 0.01, "picometre": 0.01,
    "nm": 10.0, "nanometer": 10.0, "nanometre": 10.0,
    "µm": 1e4, "um": 1e4, "micron": 1e4, "micrometer": 1e4, "micrometre": 1e4,
    "mm": 1e7, "millimeter": 1e7, "millimetre": 1e7,
    "cm": 1e8, "centimeter": 1e8, "m": 1e10, "meter": 1e10, "metre": 1e10, "inch": 2.54e8,
}  # fmt: skip
_SECONDS = {
    "ns": 1e-9, "nanosecond": 1e-9,
    "µs": 1e-6, "us": 1e-6, "usec": 1e-6, "microsecond": 1e-6,
    "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3,
    "s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0,
    "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0,
}  # fmt: skip
_NO_UNIT = {
    "",
    "pixel",
    "px",
    "none",
    "[]",
    "<undefined>",
    "undefined",
    "unit",
    "frame",
    "gray value",
}
_RECIPROCAL = re.compile(r"^(1\s*/|[a-zµå]+\s*(\^?\s*-\s*1|⁻¹)$)|mrad|^deg|°|radian")
_SQUARE = 0.01
"""Pixels whose sides differ by no more than this part are square."""


@dataclass(frozen=True)
class Axis:
    """Step of an axis and its unit, as a file says them."""

    step: float | None
    unit: str


def calibrated(film: Film, y: Axis, x: Axis, time: Axis | None = None) -> Film:
    """Give a film the pixel size and frame time that a file says.

    Parameters
    ----------
    film : Film
        Its notes say in the end what could not be used.
    y, x : Axis
        Of the pixels.
    time : Axis, optional
        Of the frames; None or another unit than one of time: not known.

    Returns
    -------
    Film

    Raises
    ------
    FilmError
        If the pixels are in 1/nm or mrad: that is a diffraction pattern.

    Examples
    --------
    >>> from ceria_data.film import film_of_array
    >>> film = film_of_array([[1.0, 2.0]])
    >>> film = calibrated(film, Axis(0.02, "nm"), Axis(0.02, "nm"), Axis(40.0, "ms"))
    >>> film.sampling, film.frame_time_s
    (0.2, 0.04)
    """
    sides, notes = [], list(film.notes)
    for axis in (y, x):
        unit = plain_unit(axis.unit)
        if _RECIPROCAL.search(unit):
            raise FilmError(
                f"the pixels of {film.source} are in {axis.unit}: a diffraction pattern; expected "
                "an image of the specimen"
            )
        sides.append(length_in_A(axis.step, axis.unit))
        if sides[-1] is None and unit not in _NO_UNIT and axis.step:
            notes.append(f"its pixel size, {axis.step:.4g} {axis.unit}, is not in a unit of length")
    sampling = None
    if sides[0] is not None and sides[1] is not None:
        if abs(sides[0] / sides[1] - 1) <= _SQUARE:
            sampling = _rounded(sqrt(sides[0] * sides[1]))
        else:
            notes.append(
                f"its pixels would be {sides[0]:.4g} Å high and {sides[1]:.4g} Å wide; expected "
                "squares, so its pixel size is not used"
            )
    frame_time = None if time is None else _in_unit(time.step, time.unit, _SECONDS)
    if time is not None and time.step and plain_unit(time.unit) not in {*_SECONDS, *_NO_UNIT}:
        notes.append(f"its frame time, {time.step:.4g} {time.unit}, is not in a unit of time")
    return replace(
        film,
        sampling=sampling,
        frame_time_s=None if frame_time is None else _rounded(frame_time),
        notes=tuple(dict.fromkeys(notes)),
    )


def plain_unit(unit: str) -> str:
    r"""Write a unit in lower case, without escapes, plural or the many codes of µ and Å.

    Examples
    --------
    >>> plain_unit("\\u00B5m"), plain_unit("microns"), plain_unit("\u212b")
    ('µm', 'micron', 'å')
    """
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), str(unit))
    # The compatible form of the micro sign is the Greek letter, of the Ångström sign Å.
    text = unicodedata.normalize("NFKC", text).replace("\u03bc", "µ").strip().strip("\x00").lower()
    return text[:-1] if len(text) > 2 and text.endswith("s") else text


def length_in_A(step: float | None, unit: str) -> float | None:
    """Convert a length; None unless it is positive and in a known unit.

    Examples
    --------
    >>> length_in_A(20.0, "pm"), length_in_A(1.0, "pixel")
    (0.2, None)
    """
    return _in_unit(step, unit, _A)


def _in_unit(step: float | None, unit: str, factors: dict[str, float]) -> float | None:
    factor = factors.get(plain_unit(unit))
    if step is None or factor is None or not isfinite(step) or not step > 0:
        return None
    return float(step) * factor


def _rounded(value: float) -> float:
    """Undo the rounding of conversions and of numbers that were stored in 4 bytes."""
    return float(f"{value:.7g}")
