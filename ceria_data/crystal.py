"""The CeO2 lattice in exact integers: sites, columns, planes and neighbours.

Sites are integer vectors in units of a quarter of the lattice parameter, along the
cubic axes: Ce where all three are even and their sum is a multiple of four, O where
all three are odd. Scalar products with integer axes then name columns and planes
without rounding.
"""

from dataclasses import dataclass
from itertools import permutations, product
from math import ceil, gcd, sqrt

import numpy as np
from numpy.typing import NDArray

from ceria_data.errors import ConfigError

Vector = tuple[int, int, int]

CERIUM, OXYGEN = 0, 1


def family(indices: Vector) -> tuple[Vector, ...]:
    """List the directions that cubic symmetry makes equal to one.

    Parameters
    ----------
    indices : tuple of int
        Miller indices.

    Returns
    -------
    tuple of tuple of int
        All signed permutations, sorted.

    Examples
    --------
    >>> len(family((1, 1, 1))), len(family((1, 1, 0))), len(family((1, 0, 0)))
    (8, 12, 6)
    """
    signed = product(*((i, -i) for i in indices))
    return tuple(sorted({p for s in signed for p in permutations(s)}))  # type: ignore[misc]


CERIUM_STEPS = np.array(family((2, 2, 0)))
"""From a Ce to its 12 nearest Ce; they span the translations of the lattice."""
OXYGEN_STEPS = np.array(family((2, 0, 0)))
"""From an O to its 6 nearest O; they span the translations of the O sites."""
BOND_STEPS = np.array(family((1, 1, 1)))
"""From a Ce to its 8 O; four of them lead from an O to its Ce, the others nowhere."""


@dataclass(frozen=True)
class ViewAxes:
    """Integer crystal directions along the image's x and y and along the beam, z.

    Examples
    --------
    >>> view_axes((1, 1, 0))
    ViewAxes(x=(-1, 1, 0), y=(0, 0, 1), z=(1, 1, 0))
    """

    x: Vector
    y: Vector
    z: Vector

    @property
    def matrix(self) -> NDArray[np.int64]:
        """The three directions as rows."""
        return np.array((self.x, self.y, self.z))

    @property
    def lengths(self) -> NDArray[np.float64]:
        """Lengths of the three integer directions."""
        return np.array([sqrt(sum(i * i for i in axis)) for axis in (self.x, self.y, self.z)])

    @property
    def plane_step(self) -> int:
        """Distance of lattice planes along the beam, of both species, as an integer depth."""
        lattice = [*CERIUM_STEPS, *OXYGEN_STEPS, np.array((1, 1, 1))]
        return gcd(*(int(step @ np.array(self.z)) for step in lattice))

    @property
    def cerium_plane_step(self) -> int:
        """Distance of Ce planes along the beam as an integer depth."""
        return gcd(*(int(depth) for depth in CERIUM_STEPS @ np.array(self.z)))

    @property
    def cerium_repeat(self) -> int:
        """Distance of neighbours in a Ce column as an integer depth."""
        steps = 2 if sum(self.z) % 2 == 0 else 4
        return steps * sum(i * i for i in self.z)

    @property
    def oxygen_repeat(self) -> int:
        """Distance of neighbours in an O column as an integer depth."""
        return 2 * sum(i * i for i in self.z)


def view_axes(zone_axis: Vector) -> ViewAxes:
    """Choose image axes for a zone axis.

    z is the zone axis, y the shortest low-index direction perpendicular to it
    (``[001]`` for ``[110]``), and ``x = y × z``.

    Parameters
    ----------
    zone_axis : tuple of int
        Direction of the beam in the crystal, Miller indices.

    Returns
    -------
    ViewAxes
        Right-handed and without common factors.

    Raises
    ------
    ConfigError
        If all indices are zero.

    Examples
    --------
    >>> view_axes((1, 0, 0))
    ViewAxes(x=(0, 1, 0), y=(0, 0, 1), z=(1, 0, 0))
    """
    if not any(zone_axis):
        raise ConfigError("zone_axis is [0 0 0]; expected a direction such as [1, 1, 0]")
    z = _primitive(zone_axis)
    reach = range(-max(map(abs, z)), max(map(abs, z)) + 1)
    directions = ((i, j, k) for i in reach for j in reach for k in reach if i or j or k)
    across = [v for v in directions if _dot(v, z) == 0]
    y = _primitive(min(across, key=lambda v: (_dot(v, v), tuple(-i for i in reversed(v)))))
    x = _primitive(
        (
            y[1] * z[2] - y[2] * z[1],
            y[2] * z[0] - y[0] * z[2],
            y[0] * z[1] - y[1] * z[0],
        )
    )
    return ViewAxes(x, y, z)


def _dot(a: Vector, b: Vector) -> int:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _primitive(v: Vector) -> Vector:
    divisor = gcd(*v)
    return (v[0] // divisor, v[1] // divisor, v[2] // divisor)


def plane_spacing(zone_axis: Vector, lattice_parameter: float) -> float:
    """Give the distance of lattice planes along the beam.

    Parameters
    ----------
    zone_axis : tuple of int
        Direction of the beam in the crystal.
    lattice_parameter : float
        Edge of the cubic cell [Å].

    Returns
    -------
    float
        Distance of the planes that `volume` is made of [Å].

    Examples
    --------
    >>> round(plane_spacing((1, 1, 0), 5.411), 3)
    1.913
    """
    axes = view_axes(zone_axis)
    return float(axes.plane_step * lattice_parameter / 4 / axes.lengths[2])


def cerium_planes(axes: ViewAxes, thickness_atoms: int, remainder: float = 0.0) -> int:
    """Count the Ce planes along the beam of a crystal of given thickness.

    Parameters
    ----------
    axes : ViewAxes
    thickness_atoms : int
        Atoms in its thickest Ce columns.
    remainder : float
        0 to 1: how much of the last repeat is cut away.

    Returns
    -------
    int
        At least as many as leave one atom in every column. On ``[110]`` M planes put
        ``ceil(M / 2)`` or ``floor(M / 2)`` atoms in a column.

    Examples
    --------
    >>> cerium_planes(view_axes((1, 1, 0)), 5), cerium_planes(view_axes((1, 1, 0)), 5, 0.7)
    (10, 9)
    """
    per_repeat = axes.cerium_repeat // axes.cerium_plane_step
    thinnest = max((thickness_atoms - 1) * per_repeat + 1, per_repeat)
    return max(ceil((thickness_atoms - remainder) * per_repeat - 1e-9), thinnest)


def n_planes(zone_axis: Vector, max_thickness_atoms: int, adatoms: bool) -> int:
    """Bound the number of lattice planes along the beam that a structure can have.

    Parameters
    ----------
    zone_axis : tuple of int
        Direction of the beam in the crystal.
    max_thickness_atoms : int
        Atoms in the thickest Ce column allowed.
    adatoms : bool
        Whether the structures may have adatoms.

    Returns
    -------
    int
        Planes of both species, with two-coordinated O and adatoms on both faces.

    Examples
    --------
    >>> n_planes((1, 1, 0), 10, adatoms=False), n_planes((1, 1, 0), 10, adatoms=True)
    (20, 22)
    """
    axes = view_axes(zone_axis)
    direction = np.array(axes.z)
    window = cerium_planes(axes, max_thickness_atoms) - 1
    # An O of the shape has two Ce in the window, an adatom at least one; a Ce adatom has
    # three of the 12 next Ce in it. So the second, first and third largest step bound them.
    tetrahedra = (np.array([s for s in BOND_STEPS if s.prod() == sign]) for sign in (1, -1))
    bonds = [np.sort(t @ direction) for t in tetrahedra]
    beyond = max(0, *(int(depths[-2]) for depths in bonds))
    if adatoms:
        cerium = int(np.sort(CERIUM_STEPS @ direction)[-3])
        beyond = max(beyond, cerium, *(int(depths[-1]) for depths in bonds))
    return (window * axes.cerium_plane_step + 2 * beyond) // axes.plane_step + 1


_ID_SHIFT = 1 << 20
_ID_OFFSET = 1 << 19


def site_ids(species: NDArray[np.uint8], projected: NDArray[np.int64]) -> NDArray[np.int64]:
    """Name the column of every site, whatever else is in the structure.

    Parameters
    ----------
    species : array of uint8, shape (site,)
        0 = Ce, 1 = O.
    projected : array of int64, shape (site, 2 or 3)
        Integer coordinates along the image axes, from `Lattice.projected`.

    Returns
    -------
    array of int64, shape (site,)

    Examples
    --------
    >>> site_ids(np.array([0, 1], np.uint8), np.array([[0, 0], [-2, 1]]))
    array([ 549756338176, 1649265868801])
    """
    names = species.astype(np.int64) * _ID_SHIFT + projected[:, 0] + _ID_OFFSET
    return names * _ID_SHIFT + projected[:, 1] + _ID_OFFSET


def column_step(projected: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn steps between columns, shape (step, 2 or 3), into differences of `site_ids`.

    Parameters
    ----------
    projected : array of int64, shape (step, 2 or 3)
        Integer coordinates along the image axes.

    Returns
    -------
    array of int64, shape (step,)

    Examples
    --------
    >>> ids = site_ids(np.zeros(2, np.uint8), np.array([[0, 0], [2, 2]]))
    >>> int(ids[1] - ids[0]) == int(column_step(np.array([[2, 2]]))[0])
    True
    """
    return projected[:, 0] * _ID_SHIFT + projected[:, 1]


@dataclass(frozen=True)
class Lattice:
    """All lattice sites in a region around a crystal, in a fixed order.

    Attributes
    ----------
    axes : ViewAxes
    sites : array of int64, shape (site, 3)
        Along the cubic axes [a/4]; Ce first, each species sorted.
    species : array of uint8, shape (site,)
    projected : array of int64, shape (site, 3)
        Scalar products with the integer axes x, y, z.
    """

    axes: ViewAxes
    sites: NDArray[np.int64]
    species: NDArray[np.uint8]
    projected: NDArray[np.int64]

    def neighbours(self, steps: NDArray[np.int64]) -> NDArray[np.intp]:
        """Find the sites one step away.

        Parameters
        ----------
        steps : array of int64, shape (step, 3)

        Returns
        -------
        array of int, shape (site, step)
            Index of the neighbour, -1 where there is none.
        """
        margin = int(np.abs(steps).max())
        lower = self.sites.min(axis=0) - margin
        shape = self.sites.max(axis=0) + margin + 1 - lower
        strides = np.array((shape[1] * shape[2], shape[2], 1))
        index = np.full(int(shape.prod()), -1, dtype=np.intp)
        place = ((self.sites - lower) * strides).sum(axis=1)
        index[place] = np.arange(len(place))
        found: NDArray[np.intp] = index[place[:, None] + (steps * strides).sum(axis=1)]
        return found


def count(chosen: NDArray[np.bool_], neighbours: NDArray[np.intp]) -> NDArray[np.int64]:
    """Count the neighbours of every site that are among the chosen sites.

    Parameters
    ----------
    chosen : array of bool, shape (site,)
    neighbours : array of int, shape (site, step)
        From `Lattice.neighbours`.

    Returns
    -------
    array of int64, shape (site,)

    Examples
    --------
    >>> count(np.array([True, False]), np.array([[1, -1], [0, -1]]))
    array([0, 1])
    """
    among: NDArray[np.int64] = np.append(chosen, False)[neighbours].sum(axis=1)
    return among


def lattice_around(
    axes: ViewAxes, centre: NDArray[np.float64], radius: float, half_depth: float
) -> Lattice:
    """List the lattice sites in a cylinder along the beam.

    Parameters
    ----------
    axes : ViewAxes
    centre : array of float64, shape (3,)
        Middle of the cylinder along x, y, z [a/4].
    radius, half_depth : float
        Its radius and half its length [a/4].

    Returns
    -------
    Lattice

    Examples
    --------
    >>> lattice = lattice_around(view_axes((1, 0, 0)), np.zeros(3), 2.9, 1.5)
    >>> [int((lattice.species == species).sum()) for species in (CERIUM, OXYGEN)]
    [5, 8]
    """
    units = axes.matrix / axes.lengths[:, None]
    half = np.abs(units).T @ np.array((radius, radius, half_depth))
    middle = units.T @ centre
    start, stop = np.floor(middle - half).astype(int), np.ceil(middle + half).astype(int) + 1
    found = []
    for species, parity in ((CERIUM, 0), (OXYGEN, 1)):
        sides = [np.arange(i + (i + parity) % 2, j, 2) for i, j in zip(start, stop, strict=True)]
        sites = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3)
        if species == CERIUM:
            sites = sites[sites.sum(axis=1) % 4 == 0]
        projected = sites @ axes.matrix.T
        x, y, z = (projected / axes.lengths - centre).T
        inside = (x * x + y * y <= radius * radius) & (np.abs(z) <= half_depth)
        found.append((sites[inside], projected[inside]))
    return Lattice(
        axes,
        np.concatenate([sites for sites, _ in found]),
        np.repeat(np.array((CERIUM, OXYGEN), np.uint8), [len(sites) for sites, _ in found]),
        np.concatenate([projected for _, projected in found]),
    )
