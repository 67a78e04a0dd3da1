"""Vacancies, adatoms and the displacement of the atoms around them."""

from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import NDArray

from ceria_data.crystal import (
    BOND_STEPS,
    CERIUM,
    CERIUM_STEPS,
    OXYGEN,
    OXYGEN_STEPS,
    Lattice,
    count,
    site_ids,
)
from ceria_data.errors import ConfigError
from ceria_data.parameters import StructureParameters

Bools = NDArray[np.bool_]
ARRANGEMENTS = ("random", "clustered", "surface")
"""Names that `StructureParameters.oxygen_vacancy_arrangement` may have."""
VACANCIES_PER_CLUSTER = 4


@dataclass(frozen=True)
class Defects:
    """What differs from the perfect crystal, for every lattice site.

    Attributes
    ----------
    vacant : array of bool, shape (site,)
        Sites of the crystal without an atom.
    added : array of bool, shape (site,)
        Sites outside the crystal with an atom.
    """

    vacant: Bools
    added: Bools


def draw_defects(
    parameters: StructureParameters,
    lattice: Lattice,
    filled: Bools,
    in_field: Bools,
    rng: np.random.Generator,
) -> Defects:
    """Choose the vacancies and the adatoms of a crystal.

    Parameters
    ----------
    parameters : StructureParameters
    lattice : Lattice
    filled : array of bool, shape (site,)
        Sites of the perfect crystal.
    in_field : array of bool, shape (site,)
        Sites seen in the image; adatoms are put on these only.
    rng : numpy.random.Generator
        Generator of the stage ``defects``.

    Returns
    -------
    Defects
        A vacancy is a site of the crystal. A Ce adatom has at least three Ce and an O
        of the crystal beside it, an O adatom at least one Ce. No column gets more Ce
        than `thickness_atoms`, nor more O than the same depth holds. Where fewer sites
        than adatoms are on offer, all of them are taken.

    Raises
    ------
    ConfigError
        If the arrangement of vacancies is unknown.
    """
    p = parameters
    bonds = lattice.neighbours(BOND_STEPS)
    oxygen = filled & (lattice.species == OXYGEN)
    cerium = filled & (lattice.species == CERIUM)
    order = _vacancy_order(p.oxygen_vacancy_arrangement, p, lattice, filled, bonds, rng)
    vacant = _take_first(oxygen, order, _share(p.oxygen_vacancy_fraction, oxygen, rng))
    order = rng.random(len(filled))
    vacant |= _take_first(cerium, order, _share(p.cerium_vacancy_fraction, cerium, rng))

    present = filled & ~vacant
    near_cerium = count(present & cerium, lattice.neighbours(CERIUM_STEPS))
    bound = count(present, bonds)
    free = in_field & ~filled
    hosts = {
        CERIUM: free & (lattice.species == CERIUM) & (near_cerium >= 3) & (bound >= 1),
        OXYGEN: free & (lattice.species == OXYGEN) & (bound >= 1),
    }
    axes = lattice.axes
    room = p.thickness_atoms * axes.cerium_repeat
    added = _add(lattice, filled, hosts[CERIUM], p.n_cerium_adatoms, p.thickness_atoms, rng)
    added |= _add(
        lattice, filled, hosts[OXYGEN], p.n_oxygen_adatoms, room // axes.oxygen_repeat, rng
    )
    return Defects(vacant, added)


def _share(fraction: float, sites: Bools, rng: np.random.Generator) -> int:
    """Round the share of the sites up or down by chance, so that its mean is exact."""
    return min(floor(fraction * int(sites.sum()) + rng.random()), int(sites.sum()))


def _take_first(sites: Bools, order: NDArray[np.float64], n: int) -> Bools:
    """Mark the n sites that come first in the order."""
    ranked = np.flatnonzero(sites)[np.argsort(order[sites], kind="stable")]
    taken = np.zeros_like(sites)
    taken[ranked[:n]] = True
    return taken


def _vacancy_order(
    arrangement: str,
    parameters: StructureParameters,
    lattice: Lattice,
    filled: Bools,
    bonds: NDArray[np.intp],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Rank the sites: the lower, the sooner an O is taken away."""
    chance = rng.random(len(filled))
    if arrangement == "random":
        return chance
    if arrangement == "surface":
        return np.where(exposed_oxygen(lattice, filled, bonds), chance, 1 + chance)
    if arrangement == "clustered":
        oxygen = np.flatnonzero(filled & (lattice.species == OXYGEN))
        wanted = parameters.oxygen_vacancy_fraction * len(oxygen)
        n = min(max(round(wanted / VACANCIES_PER_CLUSTER), 1), len(oxygen))
        seeds = lattice.sites[rng.choice(oxygen, n, replace=False)]
        squared = np.full(len(filled), np.iinfo(np.int64).max)
        for seed in seeds:
            squared = np.minimum(squared, ((lattice.sites - seed) ** 2).sum(axis=1))
        return squared + 8 * chance
    raise ConfigError(
        f"oxygen_vacancy_arrangement is {arrangement!r}; expected one of {', '.join(ARRANGEMENTS)}"
    )


def exposed_oxygen(lattice: Lattice, filled: Bools, bonds: NDArray[np.intp]) -> Bools:
    """Find the O sites of a crystal at its surface.

    Parameters
    ----------
    lattice : Lattice
    filled : array of bool, shape (site,)
        Sites of the perfect crystal.
    bonds : array of int, shape (site, 8)
        Neighbours by `crystal.BOND_STEPS`.

    Returns
    -------
    array of bool, shape (site,)
        For O sites: fewer than four Ce beside them, or a Ce with fewer than eight O.
    """
    poor = filled & (lattice.species == CERIUM) & (count(filled, bonds) < len(BOND_STEPS))
    exposed: Bools = (count(poor, bonds) > 0) | (count(filled, bonds) < 4)
    return exposed


def _add(
    lattice: Lattice, filled: Bools, hosts: Bools, n: int, room: int, rng: np.random.Generator
) -> Bools:
    """Put adatoms on n of the host sites, at most `room` atoms in a column."""
    added = np.zeros_like(filled)
    candidates = rng.permutation(np.flatnonzero(hosts))
    names = site_ids(lattice.species, lattice.projected)
    present, sites = np.unique(names[filled], return_counts=True)
    height = dict(zip(present.tolist(), sites.tolist(), strict=True))
    for site in candidates:
        if added.sum() == n:
            break
        name = int(names[site])
        if height.get(name, 0) < room:
            height[name] = height.get(name, 0) + 1
            added[site] = True
    return added


def relax(lattice: Lattice, vacant: NDArray[np.bool_], amplitude: float) -> NDArray[np.float64]:
    """Displace the neighbours of vacancies.

    Around an O vacancy the four Ce move outwards and the six O inwards, around a Ce
    vacancy the eight O outwards, all by the amplitude; displacements add up.

    Parameters
    ----------
    lattice : Lattice
    vacant : array of bool, shape (site,)
    amplitude : float
        Length of each displacement [Å].

    Returns
    -------
    array of float64, shape (site, 3)
        Displacements along the cubic axes [Å].

    References
    ----------
    .. [1] Pushing of Ce and attraction of O by the effective charge of the vacancy:
       Nolan et al., Surf. Sci. 576, 217 (2005).
    """
    moved = np.zeros(lattice.sites.shape)
    for species, steps, sign in (
        (OXYGEN, BOND_STEPS, 1.0),
        (OXYGEN, OXYGEN_STEPS, -1.0),
        (CERIUM, BOND_STEPS, 1.0),
    ):
        empty = np.flatnonzero(vacant & (lattice.species == species))
        if not len(empty):
            continue
        neighbours = lattice.neighbours(steps)[empty]
        shift = sign * amplitude * steps / np.sqrt((steps**2).sum(axis=1, keepdims=True))
        for column, displacement in zip(neighbours.T, shift, strict=True):
            moved[column[column >= 0]] += displacement  # one step leads to each site once
    return moved
