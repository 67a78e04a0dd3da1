"""Frozen phonons: the thermal configurations whose images are averaged."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceria_data.randomness import sample_rng
from ceria_data.structure import Structure

Floats = NDArray[np.float64]

RMS_CARBON = 0.1
"""Thermal rms displacement of carbon per axis [Å]."""


@dataclass(frozen=True)
class Configurations:
    """Displaced positions of all atoms, one set per thermal configuration.

    Attributes
    ----------
    positions : array of float64, shape (phonon, atom, 3)
        x, y, z [Å] of the atoms of a `Structure`.
    support : array of float64, shape (phonon, carbon, 3)
        The same of the carbon atoms.
    """

    positions: NDArray[np.float64]
    support: NDArray[np.float64]


def displace(structure: Structure, seed: int) -> Configurations:
    """Displace every atom independently (Einstein model), once per configuration.

    Parameters
    ----------
    structure : Structure
    seed : int
        The dataset's seed.

    Returns
    -------
    Configurations
        `n_phonons` sets; the first ones do not depend on how many there are.

    References
    ----------
    .. [1] Loane, Xu and Silcox, Acta Cryst. A47, 267 (1991).
    """
    p = structure.parameters
    shape = (p.n_phonons, len(structure.positions), len(structure.support))
    draws, carbon = thermal_draws(*shape, p.number, seed)
    return Configurations(
        structure.positions + structure.rms[:, None] * draws,
        structure.support + RMS_CARBON * carbon,
    )


def thermal_draws(
    n_phonons: int, n_atoms: int, n_carbon: int, number: int, seed: int
) -> tuple[Floats, Floats]:
    """Draw thermal displacements in units of their rms.

    Parameters
    ----------
    n_phonons, n_atoms, n_carbon : int
    number : int
        Of the structure or film.
    seed : int
        The dataset's seed.

    Returns
    -------
    atoms : array of float64, shape (phonon, atom, 3)
    carbon : array of float64, shape (phonon, carbon, 3)
    """
    rng = sample_rng(seed, number, "phonons")
    atoms, carbon = [], []
    for _ in range(n_phonons):
        atoms.append(rng.standard_normal((n_atoms, 3)))
        carbon.append(rng.standard_normal((n_carbon, 3)))
    return np.array(atoms), np.array(carbon)
