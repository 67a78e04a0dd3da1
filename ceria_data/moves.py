"""What can happen to the atoms of a particle next: every event that its structure allows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceria_data.crystal import (
    BOND_STEPS,
    CERIUM,
    CERIUM_STEPS,
    OXYGEN,
    OXYGEN_STEPS,
    count,
)
from ceria_data.defects import exposed_oxygen
from ceria_data.scene import Scene, Shared, place

Bools = NDArray[np.bool_]
Sites = NDArray[np.intp]

NOWHERE = -1
"""Site that an atom comes from when it arrives, and goes to when it leaves."""


@dataclass(frozen=True)
class Moves:
    """Moves of one kind that a structure allows, grouped by the unit that makes them.

    Attributes
    ----------
    source, target : array of int, shape (move,)
        Sites that an atom leaves and comes to; -1 = none.
    weight : array of float64, shape (move,)
        One over the number of moves that the unit can choose from, so that the sum
        counts the units.
    """

    source: Sites
    target: Sites
    weight: NDArray[np.float64]

    @property
    def units(self) -> float:
        """Atoms, vacancies or free sites that can make a move."""
        return float(self.weight.sum())


class Surroundings:
    """The sites of a scene that events are looked for at, and their neighbours.

    Events happen in the field only, and not in columns that are left out because they
    reach over the edge of the cell.

    Parameters
    ----------
    scene : Scene
    shared : Shared
        Of the first structure.
    oxygen_sites : str
        ``surface`` or ``any``: where vacancies are created.
    """

    def __init__(self, scene: Scene, shared: Shared, oxygen_sites: str) -> None:
        lattice = scene.lattice
        self.crystal = scene.filled
        self.is_cerium = lattice.species == CERIUM
        self.is_oxygen = lattice.species == OXYGEN
        self.bonds = lattice.neighbours(BOND_STEPS)
        self.cerium_around = lattice.neighbours(CERIUM_STEPS)
        self.oxygen_around = lattice.neighbours(OXYGEN_STEPS)
        _, self.column = np.unique(shared.names, return_inverse=True)
        self.depth = lattice.projected[:, 2]
        self.room = scene.parameters.thickness_atoms
        listed = scene.filled | scene.present
        listed[shared.kept] = False
        x, y, _ = place(scene.ideal, scene.parameters, scene.field).T
        self.open: Bools = scene.field.holds(x, y) & ~np.isin(self.column, self.column[listed])
        exposed = exposed_oxygen(lattice, scene.filled, self.bonds)
        self.creation = self.open & self.crystal & self.is_oxygen
        if oxygen_sites == "surface":
            self.creation &= exposed

    def migrations(self, present: Bools) -> Moves:
        """Ce atoms at an end of their column with a free place at an end of a neighbouring one."""
        movers = np.flatnonzero(self._leaving(present))
        around = self.cerium_around[movers]
        fits = np.append(self._hosting(present, self._cerium_hosts(present)), False)
        # The atom itself is no neighbour of the place it goes to.
        own = (self.crystal & present)[movers].astype(np.int64)
        beside = np.append(self._cerium_hosts(present), 0)[around] - own[:, None]
        elsewhere = self.column[around] != self.column[movers][:, None]
        return _chosen(movers, around, (around >= 0) & fits[around] & (beside >= 3) & elsewhere)

    def arrivals(self, present: Bools) -> Moves:
        """Free Ce sites at an end of a column that could hold an adatom."""
        sites = np.flatnonzero(self._hosting(present, self._cerium_hosts(present)))
        return Moves(np.full_like(sites, NOWHERE), sites, np.ones(len(sites)))

    def departures(self, present: Bools) -> Moves:
        """Ce atoms at an end of their column."""
        sites = np.flatnonzero(self._leaving(present))
        return Moves(sites, np.full_like(sites, NOWHERE), np.ones(len(sites)))

    def vacancy_creations(self, present: Bools) -> Moves:
        """O atoms of the crystal that no Ce needs."""
        sites = np.flatnonzero(self.creation & present & ~self._needed(present))
        return Moves(sites, np.full_like(sites, NOWHERE), np.ones(len(sites)))

    def vacancy_fillings(self, present: Bools) -> Moves:
        """Vacancies with a Ce beside them."""
        sites = np.flatnonzero(self._vacancies(present))
        return Moves(np.full_like(sites, NOWHERE), sites, np.ones(len(sites)))

    def vacancy_migrations(self, present: Bools) -> Moves:
        """Vacancies with an O atom beside them, in another column, that no Ce needs."""
        vacancies = np.flatnonzero(self._vacancies(present))
        around = self.oxygen_around[vacancies]
        free = self.open & self.crystal & present & ~self._needed(present)
        allowed = (around >= 0) & np.append(free, False)[around]
        allowed &= self.column[around] != self.column[vacancies][:, None]
        moves = _chosen(vacancies, around, allowed)
        return Moves(moves.target, moves.source, moves.weight)

    def _needed(self, present: Bools) -> Bools:
        """Atoms that are the last neighbour of an atom of the other species."""
        last = present & (count(present, self.bonds) <= 1)
        return count(last, self.bonds) > 0

    def _leaving(self, present: Bools) -> Bools:
        """Ce atoms that may go: at an end of their column, and the last Ce of no O."""
        first, last = self._range(present)
        end = (self.depth == first[self.column]) | (self.depth == last[self.column])
        leaving: Bools = present & self.is_cerium & end & self.open & ~self._needed(present)
        return leaving

    def _range(self, present: Bools) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Depths of the first and the last atom of every column; beyond all in an empty one."""
        n = int(self.column.max()) + 1
        first, last = np.full(n, np.iinfo(np.int64).max), np.full(n, np.iinfo(np.int64).min)
        np.minimum.at(first, self.column[present], self.depth[present])
        np.maximum.at(last, self.column[present], self.depth[present])
        return first, last

    def _cerium_hosts(self, present: Bools) -> NDArray[np.int64]:
        """Ce atoms of the crystal beside each site."""
        return count(present & self.crystal & self.is_cerium, self.cerium_around)

    def _hosting(self, present: Bools, beside: NDArray[np.int64]) -> Bools:
        """Free Ce sites beyond the ends of a column that can hold an atom.

        Three Ce and an O of the crystal beside them and room in the column, as
        `defects.draw_defects` asks of adatoms.
        """
        height = np.bincount(self.column[present], minlength=int(self.column.max()) + 1)
        first, last = self._range(present)
        beyond = (self.depth < first[self.column]) | (self.depth > last[self.column])
        bound = count(present & self.crystal, self.bonds)
        free: Bools = self.open & ~present & self.is_cerium & beyond
        free &= (beside >= 3) & (bound >= 1) & (height[self.column] < self.room)
        return free

    def _vacancies(self, present: Bools) -> Bools:
        """Empty O sites of the crystal with a Ce beside them."""
        empty: Bools = self.open & self.crystal & self.is_oxygen & ~present
        empty &= count(present, self.bonds) >= 1
        return empty


def _chosen(units: Sites, around: Sites, allowed: Bools) -> Moves:
    """List the allowed steps of every unit, shape (unit, step)."""
    unit, step = np.nonzero(allowed)
    choices = allowed.sum(axis=1)
    return Moves(units[unit], around[unit, step], 1.0 / choices[unit])
