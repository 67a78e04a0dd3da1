"""Amorphous carbon under or over a particle."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ceria_data.grid import Cell

ATOMS_PER_A3 = 2.0 * 6.02214076e23 / 12.011 / 1e24
"""Carbon of 2.0 g/cm³; sputtered films have 1.8 to 2.1."""
CLOSEST = 1.4
"""Smallest distance of two carbon atoms [Å], about the bond in graphite."""
GAP = 2.2
"""Distance of the film from the outermost atom [Å], between a bond and contact."""


def fill_carbon(
    z: NDArray[np.float64], cell: Cell, thickness: float, side: str, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Fill a film of amorphous carbon that touches the outermost atom of a particle.

    The atoms are random points no two of which are closer than 1.4 Å, periodic in x
    and y; bonding angles are not modelled.

    Parameters
    ----------
    z : array of float64, shape (atom,)
        Positions of the particle's atoms along the beam [Å].
    cell : Cell
        The film covers it.
    thickness : float
        Thickness of the film [Å]; 0 = no film.
    side : str
        ``entrance`` or ``exit``.
    rng : numpy.random.Generator
        Generator of the stage ``support``.

    Returns
    -------
    array of float64, shape (carbon, 3)
        x, y, z [Å].

    Examples
    --------
    >>> film = fill_carbon(
    ...     np.zeros(1), Cell((50, 50), 0.2, (0, 0), 1), 10.0, "exit", np.random.default_rng(0)
    ... )
    >>> film.shape, bool(film[:, 2].min() >= 2.2)
    ((100, 3), True)
    """
    x0, x1, y0, y1 = cell.bounds
    size = np.array((x1 - x0, y1 - y0, thickness))
    atoms: NDArray[np.float64] = rng.random((round(ATOMS_PER_A3 * float(size.prod())), 3)) * size
    # Periodic along x and y; along z the box is open, so its period is out of reach.
    box = np.array((size[0], size[1], thickness + 2 * CLOSEST))
    while len(clash := _too_close(atoms, box)):
        atoms[clash] = rng.random((len(clash), 3)) * size
    start = z.max() + GAP if side == "exit" else z.min() - GAP - thickness
    atoms += np.array((x0, y0, start))
    return atoms


def _too_close(atoms: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.intp]:
    """Atoms that have to be drawn again: the later one of each pair."""
    if len(atoms) < 2:
        return np.empty(0, dtype=np.intp)
    pairs = cKDTree(atoms, boxsize=box).query_pairs(CLOSEST, output_type="ndarray")
    return np.unique(pairs.max(axis=1)) if len(pairs) else np.empty(0, dtype=np.intp)
