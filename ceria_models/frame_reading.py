"""One image through the net, in tiles: the columns found, and what is said at given places."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.schema import SPECIES
from ceria_models.contrast import net_input
from ceria_models.decoding import (
    Peaks,
    calibrated,
    column_rows,
    find_and_read,
    joined_peaks,
)
from ceria_models.errors import ImageError
from ceria_models.model import Model, PixelOutput
from ceria_models.resampling import Resampled, resample_counts
from ceria_models.runtime import Runtime
from ceria_models.tiles import Tile, tiles_of

TILE = 512
"""Pixels of a tile's core along each axis."""
_SAME_PLACE = 0.02
"""Two tiles see the same pixels around a column, and put it at one place but for rounding [Å]."""
_SMALLEST = 16
"""Pixels along an axis: 3 Å show no column with its neighbours."""

Places = dict[str, NDArray[np.float64]]
"""Positions (place, (y, x)) of each species [Å]."""


@dataclass(frozen=True)
class Reader:
    """A net, and how it is used.

    Attributes
    ----------
    model : Model
    run : callable
        As from `runtime.open_runtime`.
    tile : int
        Pixels of a tile's core along each axis.
    """

    model: Model
    run: Runtime
    tile: int = TILE


@dataclass(frozen=True)
class FrameReading:
    """What a net says about one image, in the image's coordinates.

    Attributes
    ----------
    columns : DataFrame
        As from `decoding.column_rows`.
    p : dict of str to array of float64, shape (place, class)
        Calibrated probabilities at the places that were asked for, by species.
    z, z_spread : dict of str to array of float64, shape (place,)
        Depth there, and its standard deviation [Å].
    """

    columns: pd.DataFrame
    p: dict[str, NDArray[np.float64]]
    z: dict[str, NDArray[np.float64]]
    z_spread: dict[str, NDArray[np.float64]]


NOWHERE: Places = {species: np.empty((0, 2)) for species in SPECIES}
"""No places."""


def view_of(
    image: NDArray[np.floating] | NDArray[np.integer], sampling: float, model: Model
) -> Resampled:
    """Bring an image to the pixels of a net.

    Parameters
    ----------
    image : array, shape (y, x)
    sampling : float
        Å/pixel.
    model : Model

    Returns
    -------
    Resampled

    Raises
    ------
    ImageError
        If the image is too small.
    """
    check_size(image.shape, sampling, model)
    return resample_counts(image, sampling, model.config.sampling_A)


def check_size(shape: tuple[int, ...], sampling: float, model: Model) -> None:
    """Refuse images that are too small for a net.

    Parameters
    ----------
    shape : tuple of int
        Pixels (y, x).
    sampling : float
        Å/pixel.
    model : Model

    Raises
    ------
    ImageError
    """
    smallest = _SMALLEST * model.config.sampling_A
    if min(shape) * sampling < smallest * (1 - 1e-6):
        raise ImageError(
            f"the image shows {shape[0] * sampling:.3g} × {shape[1] * sampling:.3g} Å; "
            f"expected at least {smallest:.3g} Å along each axis: is the pixel size of "
            f"{sampling:.4g} Å right?"
        )


def read_frame(
    reader: Reader,
    image: NDArray[np.floating] | NDArray[np.integer],
    sampling: float,
    dose: float,
    places: Places,
) -> FrameReading:
    """List the columns of an image, and read the net at given places.

    Parameters
    ----------
    reader : Reader
    image : array, shape (y, x)
        Counts, or any linear scale with zero = no electrons.
    sampling : float
        Å/pixel.
    dose : float
        What the net is told [e-/Å²].
    places : dict of str to array of float64, shape (place, (y, x))
        In the image's coordinates [Å]; each lies in the image.

    Returns
    -------
    FrameReading

    Raises
    ------
    ImageError
        If the image is too small.

    Examples
    --------
    >>> from ceria_data import open_dataset
    >>> from ceria_models import DEFAULT, from_pretrained
    >>> from ceria_models.runtime import open_runtime
    >>> model = from_pretrained(DEFAULT)
    >>> reader = Reader(model, open_runtime(model))
    >>> image = open_dataset("ceria-columns-mini", "test")[41].counts
    >>> places = {"Ce": np.array([[1.0, 1.0]]), "O": np.empty((0, 2))}
    >>> found = read_frame(reader, image, 0.2, 300.0, places)
    >>> found.p["Ce"].shape, found.p["O"].shape, len(found.columns) > 20
    ((1, 15), (0, 15), True)
    """
    view = view_of(image, sampling, reader.model)
    return read_view(reader, view, float(image.mean(dtype=np.float64)), dose, places)


def read_view(
    reader: Reader,
    view: Resampled,
    mean: float,
    dose: float,
    places: Places,
    on_output: Callable[[Tile, PixelOutput], None] = lambda part, output: None,
) -> FrameReading:
    """Do the same for an image on the pixels of the net.

    Parameters
    ----------
    reader : Reader
    view : Resampled
        As from `view_of`.
    mean : float
        Of the image as it was recorded.
    dose : float
        What the net is told [e-/Å²].
    places : dict of str to array of float64, shape (place, (y, x))
        In the coordinates of the image as it was recorded [Å].
    on_output : callable
        Given each tile, and what the net says about its pixels.

    Returns
    -------
    FrameReading
    """
    config = reader.model.config
    own = {species: positions - view.origin for species, positions in places.items()}
    owners = _owners(own, view.image.shape, config.sampling_A)
    found: list[dict[str, Peaks]] = []
    read = {species: _empty(len(own[species]), config.net.max_count + 1) for species in SPECIES}
    for part in tiles_of(view.image.shape, reader.model.net, reader.tile):
        output = reader.run(net_input(view.image[part.rows, part.columns], mean, dose))
        on_output(part, output)
        mine = _places_of(part, owners)
        peaks, there = _tile_read(part, output, own, mine, reader.model)
        found.append(_in_core(part, view.image.shape, peaks, reader.model))
        for species, rows in mine.items():
            for values, new in zip(
                vars(read[species]).values(), vars(there[species]).values(), strict=True
            ):
                values[rows] = new
    together = {species: _united([one[species] for one in found]) for species in SPECIES}
    table = column_rows(together, config.column_calibration, dose)
    table["y_A"] += view.origin[0]
    table["x_A"] += view.origin[1]
    p = {s: calibrated(read[s].logits, config.column_calibration[s], dose) for s in SPECIES}
    return FrameReading(
        table, p, {s: read[s].z for s in SPECIES}, {s: read[s].z_spread for s in SPECIES}
    )


def _in_core(
    part: Tile, shape: tuple[int, ...], peaks: dict[str, Peaks], model: Model
) -> dict[str, Peaks]:
    """Keep the peaks in a tile's core, and a little beyond, in the coordinates of the view."""
    step, beyond = model.config.sampling_A, model.config.decoding.separation_A / 4
    found = {}
    for species, own in peaks.items():
        x, y = own.x + part.columns.start * step, own.y + part.rows.start * step
        inside = np.ones(len(own), dtype=bool)
        for at, core, n in ((y, part.core_rows, shape[0]), (x, part.core_columns, shape[1])):
            inside &= (at > (core.start - 0.5) * step - beyond) | (core.start == 0)
            inside &= (at < (core.stop - 0.5) * step + beyond) | (core.stop == n)
        moved = Peaks(x, y, own.logits, own.z, own.z_spread)
        found[species] = moved.keep(inside)
    return found


def _united(parts: list[Peaks]) -> Peaks:
    """Join the peaks of all tiles; one that two tiles found counts once."""
    if len(parts) == 1:
        return parts[0]
    together = joined_peaks(parts)
    keep = np.ones(len(together), dtype=bool)
    order = np.argsort(together.y, kind="stable")
    y = together.y[order]
    ends = np.searchsorted(y, y + _SAME_PLACE, side="right")
    for rank in np.flatnonzero(ends > np.arange(len(y)) + 1):
        later = order[rank + 1 : ends[rank]]
        keep[later[np.abs(together.x[later] - together.x[order[rank]]) < _SAME_PLACE]] = False
    return together.keep(keep)


def _owners(places: Places, shape: tuple[int, ...], step: float) -> dict[str, NDArray[np.int64]]:
    """Find the pixel (place, (y, x)) that decides which tile reads a place."""
    last = np.array(shape) - 1
    return {
        species: np.clip(np.rint(own / step), 0, last).astype(np.int64)
        for species, own in places.items()
    }


def _places_of(part: Tile, owners: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    """List the numbers of the places whose pixel lies in a tile's core."""
    mine = {}
    for species, pixel in owners.items():
        inside = np.ones(len(pixel), dtype=bool)
        for axis, core in enumerate((part.core_rows, part.core_columns)):
            inside &= (pixel[:, axis] >= core.start) & (pixel[:, axis] < core.stop)
        mine[species] = np.flatnonzero(inside)
    return mine


def _tile_read(
    part: Tile,
    output: PixelOutput,
    places: Places,
    mine: dict[str, NDArray[np.int64]],
    model: Model,
) -> tuple[dict[str, Peaks], dict[str, Peaks]]:
    """Find the peaks of a tile, in its own coordinates, and read its places."""
    step = model.config.sampling_A
    corner = np.array([part.rows.start, part.columns.start]) * step
    own = {species: places[species][rows] - corner for species, rows in mine.items()}
    return find_and_read(output, own, step, model.config.decoding)


def _empty(n: int, classes: int) -> Peaks:
    return Peaks(np.zeros(n), np.zeros(n), np.zeros((n, classes)), np.zeros(n), np.zeros(n))
