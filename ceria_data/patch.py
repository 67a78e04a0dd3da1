"""A small field around one column, in which changes of its atoms are computed."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ceria_data.grid import Field, cell_around
from ceria_data.waves import ScatteringSettings, Specimen

PATCH_RADIUS = 12.0
"""Half the edge of the cell around a column [Å]; atoms outside are left out."""
PATCH_MARGIN = 3.0
"""Rim of the cell that is not evaluated [Å]: the difference has faded there."""


@dataclass(frozen=True)
class Patch:
    """A small field around a column, cut out of the field on whole pixels.

    Attributes
    ----------
    field : Field
        Its pixels.
    first_pixel : tuple of int
        Pixel (y, x) of the image at which the patch begins; may lie outside.
    """

    field: Field
    first_pixel: tuple[int, int]

    def inside(self, field: Field) -> NDArray[np.bool_]:
        """Pixels of the patch that the stored image has."""
        y, x = np.indices(self.field.shape)
        y, x = y + self.first_pixel[0], x + self.first_pixel[1]
        return (y >= 0) & (y < field.shape[0]) & (x >= 0) & (x < field.shape[1])


def patch_around(x_A: float, y_A: float, sampling: float) -> Patch:
    """Lay a patch around a column.

    Parameters
    ----------
    x_A, y_A : float
        Position of the column [Å].
    sampling : float
        Pixel size [Å/pixel].

    Returns
    -------
    Patch
        An odd number of pixels with the column in the middle one.

    Examples
    --------
    >>> patch_around(3.0, 20.0, sampling=0.2)
    Patch(field=Field(shape=(91, 91), sampling=0.2), first_pixel=(55, -30))
    """
    half = round((PATCH_RADIUS - PATCH_MARGIN) / sampling)
    return Patch(
        field=Field((2 * half + 1, 2 * half + 1), sampling),
        first_pixel=(round(y_A / sampling) - half, round(x_A / sampling) - half),
    )


def patch_settings(settings: ScatteringSettings) -> ScatteringSettings:
    """Take the settings of a whole field for patches, whose cells have a narrower margin."""
    return replace(settings, padding_A=PATCH_MARGIN)


def specimen_in(patch: Patch, whole: Specimen, settings: ScatteringSettings) -> Specimen:
    """Take the atoms around a column, in the slices of the whole.

    Parameters
    ----------
    patch : Patch
    whole : Specimen
        In the coordinates of the field.
    settings : ScatteringSettings
        From `patch_settings`.

    Returns
    -------
    Specimen
        In the coordinates of the patch.
    """
    cell = cell_around(patch.field, settings.sampling_A, settings.padding_A)
    x_min, x_max, y_min, y_max = cell.bounds
    y0, x0 = (n * patch.field.sampling for n in patch.first_pixel)
    shifted = whole.positions - np.array([x0, y0, 0.0])
    x, y = shifted[..., 0].mean(axis=0), shifted[..., 1].mean(axis=0)
    near = (x > x_min) & (x < x_max) & (y > y_min) & (y < y_max)
    return replace(whole, positions=shifted).of(near)
