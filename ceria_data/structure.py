"""One configuration of atoms in one pose."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceria_data.parameters import StructureParameters


@dataclass(frozen=True)
class ColumnSites:
    """The lattice columns of a structure, one entry per column, sorted by `site_id`.

    Attributes
    ----------
    site_id : array of int64, shape (column,)
    species : array of uint8, shape (column,)
        0 = Ce, 1 = O.
    sites : array of int64, shape (column,)
        Lattice sites of the shape before defects.
    n_vacancies, n_adatoms : array of int64, shape (column,)
        ``occupancy = sites - n_vacancies + n_adatoms``.
    position : array of float64, shape (column, 2)
        Mean projected position (x, y) of the ideal sites after tilt [Å]; used where no
        atom is left.
    surface : array of str, shape (column,)
        ``edge``, ``surface``, ``subsurface`` or ``bulk`` in projection.
    """

    site_id: NDArray[np.int64]
    species: NDArray[np.uint8]
    sites: NDArray[np.int64]
    n_vacancies: NDArray[np.int64]
    n_adatoms: NDArray[np.int64]
    position: NDArray[np.float64]
    surface: NDArray[np.str_]


@dataclass(frozen=True)
class Structure:
    """Atoms that scatter, and the columns that are counted.

    Attributes
    ----------
    parameters : StructureParameters
    facets : str
        Lattice planes that bound the shape, for the table.
    species : array of uint8, shape (atom,)
        0 = Ce, 1 = O.
    positions : array of float64, shape (atom, 3)
        x, y, z [Å] after relaxation and tilt, without thermal displacement. x and y have
        the origin of the field (centre of pixel (0, 0)), z runs along the beam and is
        relative to the mean z of these atoms.
    plane : array of int64, shape (atom,)
        Ideal lattice plane along the beam, 0 = first plane of the structure.
    site_id : array of int64, shape (atom,)
        Column of each atom.
    rms : array of float64, shape (atom,)
        Thermal rms displacement per axis [Å].
    columns : ColumnSites
    support : array of float64, shape (carbon, 3)
        Carbon atoms of the support in the same coordinates; empty without support.
    """

    parameters: StructureParameters
    facets: str
    species: NDArray[np.uint8]
    positions: NDArray[np.float64]
    plane: NDArray[np.int64]
    site_id: NDArray[np.int64]
    rms: NDArray[np.float64]
    columns: ColumnSites
    support: NDArray[np.float64]
