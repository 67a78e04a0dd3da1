"""Atoms in three dimensions: columns of counts, on the planes that the lattice allows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_models.site_lattice import SiteLattice, depth_phase, species_index

Floats = NDArray[np.float64]

WITHOUT_LATTICE = 3.826
"""Distance of the atoms of a column where no lattice was found [Å]: that of [110]."""
_PHASES = 64
_SHARPEST = 0.1
"""Standard deviation of a depth below which it weighs no more in the fit of the lattice [Å]."""


@dataclass(frozen=True)
class ColumnDepths:
    """Where the columns begin and end along the beam.

    Attributes
    ----------
    top, bottom : array of float64, shape (site,)
        Depth of the first and the last atom as read [Å]; NaN where there is none.
    sd : array of float64, shape (site,)
        Standard deviation of either [Å].
    first, last : array of float64, shape (site,)
        The same on the nearest place that the lattice allows [Å].
    place_sd : array of float64, shape (site,)
        Standard deviation of either [Å].
    step : array of float64, shape (site,)
        Distance of the atoms [Å].
    """

    top: Floats
    bottom: Floats
    sd: Floats
    first: Floats
    last: Floats
    place_sd: Floats
    step: Floats


def column_depths(
    sites: pd.DataFrame, lattice: SiteLattice | None, p: Floats, z: Floats, z_sd: Floats
) -> ColumnDepths:
    """Put the atoms of every column on lattice planes.

    A column of n atoms has them at equal distances, without gaps, their middle at the mean
    depth that was read. On a lattice the columns are shifted against each other along the
    beam: on [110] neighbouring rows by 1.913 Å. One shift of the whole lattice is fitted to
    all depths; each column then takes the nearest place that the lattice allows. Places are a
    step apart, so where the depth is hardly known they are further from the truth than what
    was read: atoms need a place, ends do not.

    Parameters
    ----------
    sites : DataFrame
        species, x_A, y_A.
    lattice : SiteLattice or None
    p : array of float64, shape (site, count)
        Probability of each count.
    z, z_sd : array of float64, shape (site,)
        Mean depth and its standard deviation [Å].

    Returns
    -------
    ColumnDepths
        Their error holds that of the depth and half a step for each atom of the count's, on
        the lattice also that of a place chosen at random within a step.

    Examples
    --------
    >>> sites = pd.DataFrame({"species": ["Ce"], "x_A": [0.0], "y_A": [0.0]})
    >>> p = np.eye(4)[[3]]
    >>> depths = column_depths(sites, None, p, np.array([1.0]), np.array([0.5]))
    >>> depths.top.round(3), depths.bottom.round(3), depths.sd
    (array([-2.826]), array([4.826]), array([0.5]))
    """
    count = p.argmax(axis=1)
    step = np.full(len(sites), WITHOUT_LATTICE)
    middle = np.array(z, dtype=float)
    within = np.zeros(len(sites))
    if lattice is not None and lattice.on.any():
        unit = lattice.lattice_parameter / 4 / float(lattice.axes.lengths[2])
        repeat = np.where(
            species_index(sites) == 0, lattice.axes.cerium_repeat, lattice.axes.oxygen_repeat
        )
        step = np.where(lattice.on, repeat * unit, float(lattice.axes.cerium_repeat) * unit)
        fixed = lattice.on & (count > 0)
        # The middle of an even column lies half a step beside the places of its atoms.
        place = depth_phase(lattice, sites) * unit + (count - 1) / 2 * step
        middle[fixed] = _on_planes(middle[fixed], place[fixed], step[fixed], z_sd[fixed])
        # The standard deviation of what is evenly distributed over a step.
        within[fixed] = step[fixed] / np.sqrt(12)
    half = np.where(count > 0, (count - 1) / 2 * step, np.nan)
    numbers = np.arange(p.shape[1])
    mean = p @ numbers
    spread = np.sqrt(np.maximum(p @ numbers**2 - mean**2, 0.0))
    sd = np.hypot(z_sd, step / 2 * spread)
    return ColumnDepths(
        z - half, z + half, sd, middle - half, middle + half, np.hypot(sd, within), step
    )


def _on_planes(z: Floats, place: Floats, step: Floats, z_sd: Floats) -> Floats:
    """Nearest allowed middles, for the common shift of the lattice that suits all columns."""
    weight = 1 / np.maximum(z_sd, _SHARPEST) ** 2
    shifts = np.arange(_PHASES) / _PHASES * step.max()
    away = (z - place - shifts[:, None] + step / 2) % step - step / 2
    best = (weight * away**2).sum(axis=1).argmin()
    nearest: Floats = z - away[best]
    return nearest


def atoms_of(sites: pd.DataFrame, p: Floats, depths: ColumnDepths) -> pd.DataFrame:
    """List the atoms of all columns.

    Parameters
    ----------
    sites : DataFrame
        site, species, x_A, y_A.
    p : array of float64, shape (site, count)
    depths : ColumnDepths

    Returns
    -------
    DataFrame
        species, x_A, y_A, z_A, site, ``count_confidence`` and ``z_sd_A`` (of the column's
        ends); atoms of a column one after the other along the beam.

    Examples
    --------
    >>> sites = pd.DataFrame({"site": [7], "species": ["Ce"], "x_A": [0.0], "y_A": [0.0]})
    >>> p = np.eye(4)[[2]]
    >>> depths = column_depths(sites, None, p, np.zeros(1), np.zeros(1))
    >>> atoms_of(sites, p, depths)["z_A"].tolist()
    [-1.913, 1.913]
    """
    count = p.argmax(axis=1)
    row = np.repeat(np.arange(len(sites)), count)
    rank = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    return pd.DataFrame({
        "species": sites["species"].to_numpy()[row],
        "x_A": sites["x_A"].to_numpy(dtype=float)[row],
        "y_A": sites["y_A"].to_numpy(dtype=float)[row],
        "z_A": depths.first[row] + rank * depths.step[row],
        "site": sites["site"].to_numpy()[row],
        "count_confidence": p.max(axis=1)[row],
        "z_sd_A": depths.place_sd[row],
    })  # fmt: skip
