"""Pixel masks from the tables, and nothing else: exact, and rendered in milliseconds.

Everything here follows from the rounded coordinates of the tables by single additions,
multiplications and comparisons, so that masks are equal on every machine.
"""

from math import ceil

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.grid import Field
from ceria_data.schema import PAINT_RADIUS, SPECIES

NOWHERE = -1
"""Owner of a pixel that no column is near to."""
_TAIL = 10
"""Beyond this many widths a soft edge is nought: 1 / (1 + exp(10)) = 5e-5."""


def class_map(columns: pd.DataFrame, field: Field, max_count: int) -> NDArray[np.uint8]:
    """Paint the class of every column on a disk around it.

    Parameters
    ----------
    columns : pandas.DataFrame
        Rows of one structure, as `schema.COLUMNS`; also those outside the field.
    field : Field
    max_count : int
        Highest class; fuller columns get it too.

    Returns
    -------
    array of uint8, shape (species, y, x)
        Atoms in the column, 0 = background or an emptied column. Of two columns of one
        species the nearer one wins.

    Examples
    --------
    >>> columns = pd.DataFrame({"species": ["O"], "x_A": [1.0], "y_A": [0.0], "occupancy": [7]})
    >>> class_map(columns, Field((2, 4), 0.5), max_count=14)[1]
    array([[0, 7, 7, 7],
           [0, 0, 7, 0]], dtype=uint8)
    """
    painted = np.zeros((len(SPECIES), *field.shape), dtype=np.uint8)
    for index, species in enumerate(SPECIES):
        own = _present(columns, species)
        owner, _ = _nearest(own, field, PAINT_RADIUS)
        classes = np.minimum(own["occupancy"].to_numpy(), max_count).astype(np.uint8)
        painted[index] = np.append(classes, np.uint8(0))[owner]
    return painted


def volume(
    atoms: pd.DataFrame, columns: pd.DataFrame, n_planes: int, field: Field
) -> NDArray[np.uint8]:
    """Paint every atom on the disk of its column, in its lattice plane.

    Parameters
    ----------
    atoms, columns : pandas.DataFrame
        Rows of one structure, as `schema.ATOMS` and `schema.COLUMNS`.
    n_planes : int
        Planes along the beam; `crystal.n_planes` bounds what a structure needs.
    field : Field

    Returns
    -------
    array of uint8, shape (plane, y, x)
        0 = none, 1 = Ce, 2 = O, 3 = both. A pixel belongs to the same column as in the
        class map, so the planes marked there are as many as the column's atoms.

    Raises
    ------
    ValueError
        If an atom lies in no plane of the array.

    Examples
    --------
    >>> atoms = pd.DataFrame({"species": ["Ce", "Ce"], "plane": [0, 2], "site_id": [5, 5]})
    >>> columns = pd.DataFrame(
    ...     {"site_id": [5], "species": ["Ce"], "x_A": [0.0], "y_A": [0.0], "occupancy": [2]}
    ... )
    >>> volume(atoms, columns, 3, Field((1, 2), 1.0)).ravel()
    array([1, 0, 0, 0, 1, 0], dtype=uint8)
    """
    if len(atoms) and not 0 <= atoms["plane"].min() <= atoms["plane"].max() < n_planes:
        raise ValueError(
            f"atoms lie in planes {atoms['plane'].min()} to {atoms['plane'].max()}, "
            f"the volume has planes 0 to {n_planes - 1}"
        )
    painted = np.zeros((n_planes, *field.shape), dtype=np.uint8)
    for bit, species in enumerate(SPECIES):
        own = _present(columns, species)
        owner, _ = _nearest(own, field, PAINT_RADIUS)
        inside = atoms["species"].to_numpy() == species
        column = pd.Index(own["site_id"]).get_indexer(pd.Index(atoms["site_id"][inside]))
        stands = np.zeros((n_planes, len(own) + 1), dtype=np.uint8)
        stands[atoms["plane"].to_numpy()[inside], column] = 1 << bit
        stands[:, NOWHERE] = 0
        painted |= stands[:, owner]
    return painted


def soft_targets(
    columns: pd.DataFrame, field: Field, max_count: int, radius: float, softness: float
) -> NDArray[np.float32]:
    """Render class probabilities that fade from each column into the background.

    At the distance d from the nearest column that is not empty its class has the
    probability ``1 / (1 + exp((d - radius) / softness))``, the background has the rest.

    Parameters
    ----------
    columns : pandas.DataFrame
        Rows of one structure, as `schema.COLUMNS`; also those outside the field.
    field : Field
    max_count : int
        Highest class; fuller columns belong to it.
    radius : float
        Distance at which column and background are equally probable [Å].
    softness : float
        Width of the transition [Å].

    Returns
    -------
    array of float32, shape (species, class, y, x)
        The classes of a pixel sum to 1.

    Examples
    --------
    >>> columns = pd.DataFrame({"species": ["Ce"], "x_A": [0.0], "y_A": [0.0], "occupancy": [2]})
    >>> soft_targets(columns, Field((1, 4), 0.2), 2, radius=0.4, softness=0.1)[0, 2].round(2)
    array([[0.98, 0.88, 0.5 , 0.12]], dtype=float32)
    """
    soft = np.zeros((len(SPECIES), max_count + 1, *field.shape), dtype=np.float32)
    for index, species in enumerate(SPECIES):
        own = _present(columns, species)
        owner, squared = _nearest(own, field, radius + _TAIL * softness)
        classes = np.minimum(own["occupancy"].to_numpy(), max_count)
        y, x = np.nonzero(owner != NOWHERE)
        edge = (np.sqrt(squared[y, x]) - radius) / softness
        probability = (1 / (1 + np.exp(edge))).astype(np.float32)
        soft[index, 0] = 1
        soft[index, 0, y, x] = 1 - probability
        soft[index, classes[owner[y, x]], y, x] = probability
    return soft


def _present(columns: pd.DataFrame, species: str) -> pd.DataFrame:
    """Columns of one species that hold an atom."""
    return columns[(columns["species"] == species) & (columns["occupancy"] > 0)]


def _nearest(
    columns: pd.DataFrame, field: Field, reach: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the nearest column of every pixel, and its squared distance [Å²]."""
    return nearest_column(
        columns["x_A"].to_numpy(float), columns["y_A"].to_numpy(float), field, reach
    )


def nearest_column(
    x: NDArray[np.float64], y: NDArray[np.float64], field: Field, reach: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the nearest column of every pixel.

    Parameters
    ----------
    x, y : array of float, shape (column,)
        Positions [Å]; also those outside the field.
    field : Field
    reach : float
        Columns farther away do not count [Å].

    Returns
    -------
    owner : array of int, shape (y, x)
        Position of the column in `x`; -1 where none is within reach. Of two at equal
        distance the first.
    squared : array of float, shape (y, x)
        Its squared distance [Å²]; infinite where there is none.

    Examples
    --------
    >>> owner, squared = nearest_column(np.array([0.3]), np.array([0.0]), Field((1, 4), 0.2), 0.25)
    >>> owner
    array([[-1,  0,  0, -1]])
    """
    step = field.sampling
    height, width = field.shape
    span = np.arange(-ceil(reach / step) - 1, ceil(reach / step) + 2)
    px = np.rint(x / step).astype(np.int64)[:, None, None] + span
    py = np.rint(y / step).astype(np.int64)[:, None, None] + span[:, None]
    dx, dy = px * step - x[:, None, None], py * step - y[:, None, None]
    squared = dx * dx + dy * dy
    seen = squared <= reach * reach
    seen &= (px >= 0) & (px < width)
    seen &= (py >= 0) & (py < height)
    column = np.nonzero(seen)[0]
    pixel, near = (py * width + px)[seen], squared[seen]

    distance = np.full(height * width, np.inf)
    np.minimum.at(distance, pixel, near)
    wins = near == distance[pixel]
    owner = np.full(height * width, len(x))
    np.minimum.at(owner, pixel[wins], column[wins])
    owner[owner == len(x)] = NOWHERE
    return owner.reshape(field.shape), distance.reshape(field.shape)
