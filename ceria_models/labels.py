"""What a net should say about every pixel: the training labels, from the table of columns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceria_data.grid import Field
from ceria_data.schema import SPECIES
from ceria_data.targets import NOWHERE, nearest_column
from ceria_models.decoded import StructureColumns

_FADED = 8.0
"""Beyond this many widths a column's probability counts as nought: 3e-4."""


@dataclass(frozen=True)
class Mask:
    """How far a column reaches in its label.

    At the distance d from the nearest column, its class has the probability
    ``1 / (1 + exp((d - radius) / softness))`` and the background the rest.

    Attributes
    ----------
    radius : float
        Where column and background are equally probable [Å].
    softness : float
        Width of the transition [Å]; 0 makes a hard edge.
    """

    radius: float
    softness: float

    @property
    def reach(self) -> float:
        """Distance beyond which there is only background [Å]."""
        return self.radius + _FADED * self.softness


@dataclass(frozen=True)
class PixelLabels:
    """Labels of one image; species are in the order of `schema.SPECIES`.

    Attributes
    ----------
    occupancy : array of uint8, shape (species, y, x)
        Class of the nearest column, 0 where none is near.
    probability : array of float32, shape (species, y, x)
        Probability of that class; the background has the rest.
    depth : array of float32, shape (species, y, x)
        Mean depth of the column's atoms [Å].
    offset : array of float32, shape (species, 2, y, x)
        From the pixel to the column's position (y, x) [Å].
    """

    occupancy: NDArray[np.uint8]
    probability: NDArray[np.float32]
    depth: NDArray[np.float32]
    offset: NDArray[np.float32]


def pixel_labels(
    columns: StructureColumns, field: Field, max_count: int, mask: Mask
) -> PixelLabels:
    """Render the labels of one image.

    Parameters
    ----------
    columns : StructureColumns
        In the coordinates of the image; also those outside it.
    field : Field
    max_count : int
        Highest class; fuller columns belong to it.
    mask : Mask

    Returns
    -------
    PixelLabels

    Examples
    --------
    >>> one = StructureColumns(*(np.array([v]) for v in (0, 0.2, 0.0, -3.0, 7)))
    >>> labels = pixel_labels(one, Field((1, 4), 0.2), 14, Mask(radius=0.3, softness=0.05))
    >>> labels.occupancy[0, 0], labels.probability[0, 0].round(2)
    (array([7, 7, 7, 7], dtype=uint8), array([0.88, 1.  , 0.88, 0.12], dtype=float32))
    """
    shape = (len(SPECIES), *field.shape)
    occupancy = np.zeros(shape, dtype=np.uint8)
    probability, depth = np.zeros((2, *shape), dtype=np.float32)
    offset = np.zeros((len(SPECIES), 2, *field.shape), dtype=np.float32)
    for index in range(len(SPECIES)):
        own = columns.species == index
        owner, squared = nearest_column(columns.x[own], columns.y[own], field, mask.reach)
        y, x = np.nonzero(owner != NOWHERE)
        of = owner[y, x]
        distance = np.sqrt(squared[y, x])
        occupancy[index, y, x] = np.minimum(columns.occupancy[own], max_count)[of]
        probability[index, y, x] = _fading(distance, mask)
        depth[index, y, x] = columns.z[own][of]
        offset[index, 0, y, x] = columns.y[own][of] - field.sampling * y
        offset[index, 1, y, x] = columns.x[own][of] - field.sampling * x
    return PixelLabels(occupancy, probability, depth, offset)


def _fading(distance: NDArray[np.float64], mask: Mask) -> NDArray[np.float64]:
    if mask.softness == 0:
        return (distance <= mask.radius).astype(np.float64)
    faded: NDArray[np.float64] = 1 / (1 + np.exp((distance - mask.radius) / mask.softness))
    return faded
