"""Slices: which atoms act on the electron wave together, and where along the beam."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Slices:
    """Groups of atoms that are projected on one plane each.

    Attributes
    ----------
    member : array of int64, shape (atom,)
        Slice of each atom.
    z : array of float64, shape (slice,)
        Planes along the beam, ascending [Å].
    """

    member: NDArray[np.int64]
    z: NDArray[np.float64]

    def of(self, kept: NDArray[np.bool_]) -> "Slices":
        """Take the slices of some of the atoms; none moves, those without atoms go.

        Parameters
        ----------
        kept : array of bool, shape (atom,)

        Returns
        -------
        Slices
        """
        occupied, member = np.unique(self.member[kept], return_inverse=True)
        return Slices(member.astype(np.int64), self.z[occupied])


def lay_slices(z: NDArray[np.float64], thickness: float) -> Slices:
    """Lay slices on the planes of atoms: each begins with the first atom not yet in one.

    Empty space gets no slice and a lattice plane is not cut in two, so that there are
    about half as many slices as in a regular grid of the same thickness, with the atoms
    nearer to their planes.

    Parameters
    ----------
    z : array of float64, shape (atom,)
        Positions along the beam without thermal displacement [Å]: all thermal
        configurations of a structure then share its slices.
    thickness : float
        Largest distance along the beam of two atoms in one slice [Å].

    Returns
    -------
    Slices
        Each at the mean z of its atoms.

    Examples
    --------
    >>> slices = lay_slices(np.asarray([1.9, 0.0, 0.2, 2.1, 0.3]), thickness=0.5)
    >>> slices.member, slices.z.round(3)
    (array([1, 0, 0, 1, 0]), array([0.167, 2.   ]))
    """
    order = np.argsort(z, kind="stable")
    ascending = z[order]
    ends = [0]
    while ends[-1] < len(z):
        limit = ascending[ends[-1]] + thickness
        ends.append(int(np.searchsorted(ascending, limit, side="right")))
    member = np.empty(len(z), np.int64)
    member[order] = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    means = [ascending[first:end].mean() for first, end in pairwise(ends)]
    return Slices(member, np.asarray(means, np.float64))


def join_slices(slices: Slices, z: NDArray[np.float64], thickness: float) -> Slices:
    """Add atoms to slices that are laid; no plane and no other atom moves.

    Parameters
    ----------
    slices : Slices
    z : array of float64, shape (atom,)
        Positions of the new atoms along the beam [Å], farther apart than `thickness`.
    thickness : float
        An atom within half of it joins the nearest slice [Å]; for others there is a new one.

    Returns
    -------
    Slices
        The new atoms last.

    Examples
    --------
    >>> laid = lay_slices(np.asarray([0.0, 1.9]), thickness=0.5)
    >>> joined = join_slices(laid, np.asarray([2.0, 5.8]), thickness=0.5)
    >>> joined.member, joined.z
    (array([0, 1, 1, 2]), array([0. , 1.9, 5.8]))
    """
    planes, members = slices.z, slices.member
    for depth in z:
        nearest = int(np.abs(planes - depth).argmin()) if len(planes) else 0
        if len(planes) == 0 or abs(planes[nearest] - depth) > thickness / 2:
            nearest = int(np.searchsorted(planes, depth))
            planes = np.insert(planes, nearest, depth)
            members = members + (members >= nearest)
        members = np.append(members, nearest)
    return Slices(members.astype(np.int64), planes)
