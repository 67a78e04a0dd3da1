"""The columns of a lattice: which of them lie in the cell, their sites, where they stand."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ceria_data.crystal import (
    CERIUM,
    CERIUM_STEPS,
    OXYGEN,
    OXYGEN_STEPS,
    Lattice,
    Vector,
    ViewAxes,
    column_step,
    lattice_around,
    site_ids,
)
from ceria_data.grid import Cell
from ceria_data.structure import ColumnSites

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

INNER_MARGIN = 1.0
"""Columns nearer to the cell's border than this [Å] are left out whole."""
_NEIGHBOURHOOD = 4.5
"""Radius [a/4] in which a column's surroundings decide on its surface class."""


def whole_columns(
    lattice: Lattice, listed: Bools, posed: Floats, cell: Cell
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Find the sites of whole columns in the cell.

    Parameters
    ----------
    lattice : Lattice
    listed : array of bool, shape (site,)
        Sites that hold an atom at some time, or would in the perfect crystal.
    posed : array of float64, shape (site, 3)
        Ideal positions in the pose [Å].
    cell : Cell

    Returns
    -------
    kept : array of int, shape (kept,)
        Listed sites whose column lies in the cell with all of its listed sites, by column
        and depth.
    names : array of int64, shape (site,)
        Column of every site, as `crystal.site_ids`.
    """
    names = site_ids(lattice.species, lattice.projected)
    order = np.flatnonzero(listed)
    order = order[np.lexsort((lattice.projected[order, 2], names[order]))]
    x0, x1, y0, y1 = cell.bounds
    x, y, _ = posed[order].T
    inside = (x >= x0 + INNER_MARGIN) & (x <= x1 - INNER_MARGIN)
    inside &= (y >= y0 + INNER_MARGIN) & (y <= y1 - INNER_MARGIN)
    cut = np.unique(names[order[~inside]])
    return order[~np.isin(names[order], cut)], names


def column_sites(
    lattice: Lattice,
    kept: NDArray[np.intp],
    names: NDArray[np.int64],
    filled: Bools,
    present: Bools,
    posed: Floats,
) -> ColumnSites:
    """Count the sites of every column and average their ideal positions.

    Parameters
    ----------
    lattice : Lattice
    kept, names
        From `whole_columns`.
    filled, present : array of bool, shape (site,)
        Sites of the perfect crystal, and those that hold an atom.
    posed : array of float64, shape (site, 3)
        Ideal positions in the pose [Å].

    Returns
    -------
    ColumnSites
        A column for every `names[kept]`, whether or not an atom is left in it.
    """
    site_id, first, index, total = np.unique(
        names[kept], return_index=True, return_inverse=True, return_counts=True
    )

    def tally(chosen: Bools) -> NDArray[np.int64]:
        return np.bincount(index[chosen[kept]], minlength=len(site_id)).astype(np.int64)

    mean = [np.bincount(index, posed[kept, axis]) / total for axis in (0, 1)]
    species = lattice.species[kept[first]]
    return ColumnSites(
        site_id=site_id,
        species=species,
        sites=tally(filled),
        n_vacancies=tally(filled & ~present),
        n_adatoms=tally(present & ~filled),
        position=np.stack(mean, axis=1),
        surface=_surface(site_id, species, np.unique(names[filled]), lattice.axes),
    )


def _surface(
    site_id: NDArray[np.int64],
    species: NDArray[np.uint8],
    crystal: NDArray[np.int64],
    axes: ViewAxes,
) -> NDArray[np.str_]:
    """Class of each column by the columns of its species around it, seen along the beam.

    Exposed is where more than a sixth of the nearest columns is missing: an edge if half
    of the wider neighbourhood is empty too (corners), else the surface. Beside an exposed
    or a missing column it is subsurface.
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
) -> Floats:
    """Share of the steps from each column that lead to a chosen one."""
    share: Floats = np.isin(columns[:, None] + steps, chosen).mean(axis=1)
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
