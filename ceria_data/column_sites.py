"""The columns of a lattice: which of them lie in the cell, their sites, where they stand."""

import numpy as np
from numpy.typing import NDArray

from ceria_data.crystal import (
    Lattice,
    site_ids,
)
from ceria_data.grid import Cell
from ceria_data.structure import ColumnSites
from ceria_data.surface import surface_classes

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

INNER_MARGIN = 1.0
"""Columns nearer to the cell's border than this [Å] are left out whole."""


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
        surface=surface_classes(site_id, species, np.unique(names[filled]), lattice.axes),
    )
