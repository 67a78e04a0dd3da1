"""References of a camera: what it shows without electrons, and evenly lit, and its bad pixels."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceria_data.digest import file_sha256
from ceria_data.errors import FilmError
from ceria_data.film import Film, open_film
from ceria_data.film_pixels import repaired
from ceria_data.film_preparation import flat_fielded, without_dark, without_offset

_PART = 16
"""Frames of a reference that are read together."""
_LOOKED_AT = 8
"""Frames of a film, evenly over it, whose mean says whether too much was subtracted."""


@dataclass(frozen=True)
class Reference:
    """Mean of the frames of a file.

    Attributes
    ----------
    file : str
        As it was named.
    sha256 : str
        Of the file; of a folder, of the names and sums of its files.
    values : array of float64, shape (y, x)
    """

    file: str
    sha256: str
    values: NDArray[np.float64]

    def record(self) -> dict[str, Any]:
        """Say which file it is: file, sha256, mean."""
        return {"file": self.file, "sha256": self.sha256, "mean": float(self.values.mean())}


@dataclass(frozen=True)
class CameraReferences:
    """What turns the numbers of a camera into electrons.

    Attributes
    ----------
    dark : Reference or None
        Recorded without electrons; the offset of the camera is in it.
    offset : float or None
        Units that the camera adds to every pixel, where there is no dark reference.
    flat : Reference or None
        Recorded with even illumination, offset and dark current included.
    gain : float
        Units per electron.
    bad_pixels : Reference or None
        0 where a pixel is good.

    Raises
    ------
    FilmError
        If they contradict each other, or no camera can have them.

    Examples
    --------
    >>> from ceria_data.film import film_of_array
    >>> camera = CameraReferences(offset=100.0, gain=10.0)
    >>> camera.applied(film_of_array([[110, 120]])).frames(0, 1)
    array([[[1., 2.]]], dtype=float32)
    """

    dark: Reference | None = None
    offset: float | None = None
    flat: Reference | None = None
    gain: float = 1.0
    bad_pixels: Reference | None = None

    def __post_init__(self) -> None:
        if self.dark is not None and self.offset is not None:
            raise FilmError(
                f"a dark reference, {self.dark.file}, and the offset {self.offset:g}: the offset "
                "is in the dark reference; give one of them"
            )
        if self.offset is not None and not np.isfinite(self.offset):
            raise FilmError(f"the offset is {self.offset:g} counts; expected a finite number")
        if not 0 < self.gain < np.inf:
            raise FilmError(
                f"the gain is {self.gain:g} counts per electron; expected a positive number"
            )

    def record(self) -> dict[str, Any]:
        """Say what is done, without what is not; `references_again` reads it."""
        files = {"dark": self.dark, "flat": self.flat, "bad_pixels": self.bad_pixels}
        found: dict[str, Any] = {
            name: one.record() for name, one in files.items() if one is not None
        }
        if self.offset is not None:
            found["offset"] = self.offset
        return found if self.gain == 1.0 else found | {"gain": self.gain}

    def applied(self, film: Film) -> Film:
        """Correct a film, when its frames are asked for.

        Parameters
        ----------
        film : Film
            As the camera wrote it.

        Returns
        -------
        Film
            Electrons, in frames of float32.

        Raises
        ------
        FilmError
            If a reference has another shape than the film, is as bright as the film, or the
            gain reference has pixels without light that are not marked as bad.
        """
        if not self.record():
            return film
        if film.samples is not None:
            raise FilmError(
                f"{film.source} is a dataset, whose images are electrons already; leave out the "
                "references, offset and gain of a camera"
            )
        zeroed = self._zeroed(film)
        if zeroed is not film:
            self._check_left(film, zeroed)
        if self.flat is not None:
            zeroed = flat_fielded(zeroed, self._response(film))
        if self.gain != 1.0:
            zeroed = without_offset(zeroed, 0.0, self.gain)
        if self.bad_pixels is not None:
            zeroed = repaired(zeroed, self.bad_pixels.values != 0)
        return zeroed

    def _zeroed(self, film: Film) -> Film:
        if self.dark is not None:
            return without_dark(film, self.dark.values)
        return film if self.offset is None else without_offset(film, self.offset)

    def _check_left(self, film: Film, zeroed: Film) -> None:
        rows = np.unique(np.linspace(0, len(film) - 1, min(len(film), _LOOKED_AT)).astype(int))
        looked = rows.tolist()
        left = float(np.mean([zeroed.frames(row, row + 1).mean(dtype=float) for row in looked]))
        if left <= 0:
            taken = self.offset if self.dark is None else self.dark.values.mean()
            what = "the offset" if self.dark is None else f"the dark reference {self.dark.file}"
            mean = np.mean([film.frames(row, row + 1).mean(dtype=float) for row in looked])
            raise FilmError(
                f"{what} is {taken:g} counts on average, {film.source} {mean:g}: nothing would be "
                "left; expected less than in the film, recorded with the same settings of the "
                "camera"
            )

    def _response(self, film: Film) -> NDArray[np.float64]:
        """Take from the gain reference what the camera shows without electrons."""
        assert self.flat is not None
        lit = self.flat.values
        if lit.shape == film.shape:  # else `flat_fielded` says what is wrong
            dark = self.offset or 0.0 if self.dark is None else self.dark.values
            lit = lit - dark
            bad = np.zeros(lit.shape, bool)
            if self.bad_pixels is not None and self.bad_pixels.values.shape == lit.shape:
                bad = self.bad_pixels.values != 0
            unlit = np.argwhere((lit <= 0) & ~bad)
            if len(unlit):
                y, x = unlit[0].tolist()
                raise FilmError(
                    f"the gain reference {self.flat.file} is not above the camera's zero in "
                    f"{len(unlit)} of {lit.size} pixels, first (y, x) = ({y}, {x}): "
                    f"{self.flat.values[y, x]:g} counts; expected an evenly lit image as recorded, "
                    "offset included; mark single pixels as bad"
                )
            # Bad pixels must not decide what even light is.
            lit = np.where(bad, 0.0, lit)
        return lit


def read_reference(file: str | Path, sha256: str | None = None) -> Reference:
    """Average the frames of a file to a reference.

    Parameters
    ----------
    file : str or Path
        Image or film in any format that `open_film` reads.
    sha256 : str, optional
        Expected.

    Returns
    -------
    Reference

    Raises
    ------
    FilmError
        If it cannot be read, holds values that are no numbers, is a dataset, or is another file.
    """
    path = Path(file)
    film = open_film(path)
    if film.samples is not None:
        raise FilmError(
            f"{file} is a dataset, whose images are electrons without the camera's offset; "
            "expected what the camera recorded"
        )
    digest = _digest(path)
    if sha256 not in (None, digest):
        raise FilmError(f"{file} is not the reference that was used before: its sha256 differs")
    total = np.zeros(film.shape)
    for start in range(0, len(film), _PART):
        total += film.frames(start, min(start + _PART, len(film))).sum(0, dtype=np.float64)
    bad = int((~np.isfinite(total)).sum())
    if bad:
        raise FilmError(
            f"{file} holds values that are no finite numbers, in {bad} of {total.size} pixels; "
            "expected numbers: mark broken pixels in a mask of bad pixels, and write 0 there"
        )
    return Reference(str(file), digest, total / len(film))


def references_again(record: dict[str, Any]) -> CameraReferences:
    """Read the references that a record names, if they are still the same.

    Parameters
    ----------
    record : dict
        As `CameraReferences.record`.

    Returns
    -------
    CameraReferences

    Raises
    ------
    FilmError
        If a file is gone or another, or the record holds something that is not known here.

    Examples
    --------
    >>> references_again({"offset": 100.0}).offset
    100.0
    """
    try:
        read = {
            name: read_reference(value["file"], value["sha256"])
            if isinstance(value, dict)
            else float(value)
            for name, value in record.items()
        }
        return CameraReferences(**read)  # type: ignore[arg-type]
    except (TypeError, KeyError, ValueError) as error:
        raise FilmError(f"references of a camera that are not known here: {record}") from error


def _digest(path: Path) -> str:
    if path.is_file():
        return file_sha256(path)
    total = hashlib.sha256()
    for file in sorted(own for own in path.rglob("*") if own.is_file()):
        total.update(f"{file_sha256(file)}  {file.relative_to(path).as_posix()}\n".encode())
    return total.hexdigest()
