"""Frozen phonons: the thermal configurations whose images are averaged."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceria_data.randomness import sample_rng
from ceria_data.structure import Structure

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
    rng = sample_rng(seed, structure.parameters.number, "phonons")
    atoms, carbon = [], []
    for _ in range(structure.parameters.n_phonons):
        draw = rng.standard_normal(structure.positions.shape)
        atoms.append(structure.positions + structure.rms[:, None] * draw)
        draw = rng.standard_normal(structure.support.shape)
        carbon.append(structure.support + RMS_CARBON * draw)
    return Configurations(np.array(atoms), np.array(carbon))
