"""Edge, surface, subsurface or bulk: what a column is, seen along the beam."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ceria_data.crystal import (
    CERIUM,
    CERIUM_STEPS,
    OXYGEN,
    OXYGEN_STEPS,
    Vector,
    ViewAxes,
    column_step,
    lattice_around,
)

_NEIGHBOURHOOD = 4.5
"""Radius [a/4] in which a column's surroundings decide on its surface class."""


def surface_classes(
    site_id: NDArray[np.int64],
    species: NDArray[np.uint8],
    crystal: NDArray[np.int64],
    axes: ViewAxes,
) -> NDArray[np.str_]:
    """Class each column by the columns of its species around it, seen along the beam.

    Exposed is where more than a sixth of the nearest columns is missing: an edge if half
    of the wider neighbourhood is empty too (corners), else the surface. Beside an exposed
    or a missing column it is subsurface.

    Parameters
    ----------
    site_id : array of int64, shape (column,)
        As from `crystal.site_ids`.
    species : array of uint8, shape (column,)
        0 = Ce, 1 = O.
    crystal : array of int64, shape (filled,)
        The columns that hold atoms, sorted.
    axes : ViewAxes

    Returns
    -------
    array of str, shape (column,)
        ``edge``, ``surface``, ``subsurface`` or ``bulk``.

    Examples
    --------
    >>> from ceria_data.crystal import site_ids, view_axes
    >>> alone = site_ids(np.zeros(1, np.uint8), np.zeros((1, 2), np.int64))
    >>> surface_classes(alone, np.zeros(1, np.uint8), alone, view_axes((1, 1, 0))).tolist()
    ['edge']
    """
    surface = np.full(len(site_id), "bulk", dtype="<U10")
    for kind, nearest in ((CERIUM, CERIUM_STEPS), (OXYGEN, OXYGEN_STEPS)):
        steps = np.unique(column_step(nearest @ axes.matrix.T))
        steps = steps[steps != 0]
        inner = crystal[_share_among(crystal, steps, crystal) >= 5 / 6 - 1e-9]
        own = site_id[species == kind]
        conditions = [
            ~np.isin(own, inner) & (_share_among(own, _steps_around(axes, kind), crystal) <= 0.5),
            ~np.isin(own, inner),
            _share_among(own, steps, inner) < 1,
        ]
        surface[species == kind] = np.select(conditions, ["edge", "surface", "subsurface"], "bulk")
    return surface


def _share_among(
    columns: NDArray[np.int64], steps: NDArray[np.int64], chosen: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Share of the steps from each column that lead to a chosen one."""
    share: NDArray[np.float64] = np.isin(columns[:, None] + steps, chosen).mean(axis=1)
    return share


@lru_cache(maxsize=16)
def _steps_around(axes: ViewAxes, kind: int) -> NDArray[np.int64]:
    """Differences of `site_id` to the columns of one species nearby."""
    site: Vector = (0, 0, 0) if kind == CERIUM else (1, 1, 1)
    here = axes.matrix @ np.array(site)
    one_repeat = axes.cerium_repeat / float(axes.lengths[2])
    around = lattice_around(axes, here / axes.lengths, _NEIGHBOURHOOD, one_repeat)
    steps = np.unique(column_step(around.projected[around.species == kind] - here))
    elsewhere: NDArray[np.int64] = steps[steps != 0]
    return elsewhere
