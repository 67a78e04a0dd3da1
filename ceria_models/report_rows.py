"""Columns that stand in a row: along the outline of the particle, or between two of them."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ceria_data.grid import Field
from ceria_models.errors import FilmFolderError

_NEIGHBOURS = {"Ce": (4.2, 6), "O": (2.3, 2)}
"""Distance of neighbours along [110] [Å], and how many a column inside has."""
_BORDER_A = 5.0
"""A column nearer to the border of the field lacks neighbours that are only out of sight."""
_DIRECTIONS = 6
"""Neighbours of the column in the middle that a row may go through."""
_ROW_A = 0.9
"""Columns of a row lie this near to its line [Å]."""


def outer_columns(sites: pd.DataFrame, species: str, field: Field) -> NDArray[np.int64]:
    """List the columns on the outline of the particle, in the order of going around.

    Parameters
    ----------
    sites : DataFrame
        site, species, x_A, y_A.
    species : str
    field : Field
        Columns near its border are left out.

    Returns
    -------
    array of int
        Their sites; empty if there are none.

    Examples
    --------
    >>> x, y = np.meshgrid(6 + 3.5 * np.arange(4), 6 + 3.4 * np.arange(4))
    >>> sites = pd.DataFrame({"site": range(16), "species": "Ce", "x_A": x.flat, "y_A": y.flat})
    >>> outer_columns(sites, "Ce", Field((120, 120), 0.2)).tolist()
    [1, 2, 3, 7, 11, 15, 14, 13, 12, 8, 4, 0]
    """
    own = sites[sites["species"] == species]
    places = own[["x_A", "y_A"]].to_numpy(dtype=np.float64)
    if not len(own):
        return np.array([], dtype=np.int64)
    far, full = _NEIGHBOURS[species]
    near = cKDTree(places).query_ball_point(places, far, return_length=True) - 1
    if species == "Ce":
        full = min(full, int(near.max()))
    height, width = field.extent
    inside = (places > _BORDER_A) & (places < np.array([width, height]) - _BORDER_A)
    outer = (near < full) & inside.all(axis=1)
    away = places - places.mean(axis=0)
    angle = np.arctan2(away[:, 1], away[:, 0])
    order = np.argsort(angle, kind="stable")
    around = order[outer[order]]
    if len(around) > 2:
        # An outline that is in sight in part begins behind its widest gap.
        gaps = np.hypot(*(places[around] - places[np.roll(around, 1)]).T)
        around = np.roll(around, -int(gaps.argmax()))
    found: NDArray[np.int64] = own["site"].to_numpy(dtype=np.int64)[around]
    return found


def longest_row(sites: pd.DataFrame, species: str) -> NDArray[np.int64]:
    """List the columns of the longest straight row through the middle of the particle.

    Parameters
    ----------
    sites : DataFrame
        site, species, x_A, y_A; site is the row.
    species : str

    Returns
    -------
    array of int
        Their sites in order; empty if there are none.

    Examples
    --------
    >>> x, y = np.meshgrid(4 + 3.5 * np.arange(7), 4 + 3.5 * np.arange(3))
    >>> sites = pd.DataFrame({"site": range(21), "species": "Ce", "x_A": x.flat, "y_A": y.flat})
    >>> longest_row(sites, "Ce").tolist()
    [7, 8, 9, 10, 11, 12, 13]
    """
    own = sites[sites["species"] == species]
    number = own["site"].to_numpy(dtype=np.int64)
    if len(own) < 2:
        return number
    places = own[["x_A", "y_A"]].to_numpy(dtype=np.float64)
    tree = cKDTree(places)
    _, middle = tree.query(places.mean(axis=0))
    _, near = tree.query(places[middle], min(_DIRECTIONS + 1, len(own)))
    best = number[[middle]]
    for other in near[1:]:
        way = (places[other] - places[middle]) / np.hypot(*(places[other] - places[middle]))
        way = way if way[np.abs(way).argmax()] > 0 else -way
        away = places - places[middle]
        on = np.flatnonzero(np.abs(away @ np.array([-way[1], way[0]])) < _ROW_A / 2)
        if len(on) > len(best):
            best = number[on[np.argsort(away[on] @ way, kind="stable")]]
    return best


def columns_between(sites: pd.DataFrame, first: int, last: int) -> NDArray[np.int64]:
    """List the columns of one species on the line from one column to another, in their order.

    Parameters
    ----------
    sites : DataFrame
        site, species, x_A, y_A; site is the row.
    first, last : int
        Sites, of one species.

    Returns
    -------
    array of int
        Their sites, both ends among them.

    Raises
    ------
    FilmFolderError
        If there is no such site, or the two are of different species, or one.

    Examples
    --------
    >>> sites = pd.DataFrame({"site": range(4), "species": "Ce", "x_A": [0., 6., 3., 3.],
    ...                       "y_A": [0., 0., 0.1, 3.]})
    >>> columns_between(sites, 0, 1).tolist()
    [0, 2, 1]
    """
    for site in (first, last):
        if not 0 <= site < len(sites):
            raise FilmFolderError(f"there is no column {site}; expected 0 to {len(sites) - 1}")
    species = sites["species"]
    if species[first] != species[last] or first == last:
        raise FilmFolderError(
            f"a row goes from one column to another of its species; found {first} "
            f"({species[first]}) and {last} ({species[last]})"
        )
    places = sites[["x_A", "y_A"]].to_numpy(dtype=np.float64)
    way = places[last] - places[first]
    length = float(np.hypot(*way))
    along = (places - places[first]) @ way / length
    beside = np.abs((places - places[first]) @ np.array([-way[1], way[0]]) / length)
    on = (species == species[first]).to_numpy() & (beside < _ROW_A)
    on &= (along > -_ROW_A) & (along < length + _ROW_A)
    found = np.flatnonzero(on)
    return found[np.argsort(along[found], kind="stable")]
