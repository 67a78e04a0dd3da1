"""The projected lattice that the sites of a film stand on."""

from dataclasses import dataclass
from math import pi

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ceria_data.crystal import Lattice, Vector, ViewAxes, lattice_around, site_ids, view_axes
from ceria_data.lattice import reflections
from ceria_data.schema import SPECIES

Floats = NDArray[np.float64]

ZONES: tuple[Vector, ...] = ((1, 1, 0), (1, 0, 0), (1, 1, 1))
"""Directions of the beam that are tried."""
NEAR = 0.45
"""A site is on the lattice if it stands this near to a lattice point of its species [Å]."""
_FEWEST = 6
"""Sites of Ce without which no lattice is fitted."""
_SHARE = 0.6
"""Share of the sites on the lattice, above that by chance, from which the lattice is believed."""
_ROTATIONS = np.deg2rad(np.arange(0.0, 180.0, 0.5))
_SCALES = np.linspace(0.94, 1.06, 13)
_STARTS = 4
_GROWTH = (8.0, 12.0, 18.0, 27.0, 40.0, np.inf)
"""Radii [Å] around the middle within which the lattice is fitted one after the other: a small
error of rotation or scale must not lose the count of rows towards the rim."""
_LARGEST_STRAIN = 0.1


@dataclass(frozen=True)
class SiteLattice:
    """Where the lattice lies in the image, and which lattice point each site is.

    Attributes
    ----------
    axes : ViewAxes
        Of the zone axis that fits best.
    lattice_parameter : float
        Edge of the cubic cell [Å].
    origin : array of float64, shape (2,)
        Place (x, y) of a Ce lattice point [Å].
    frame : array of float64, shape (2, 2)
        Turns coordinates (x, y) along the view axes [Å] into those of the image; a rotation
        with a small strain.
    index : array of int64, shape (site, 2)
        Integer coordinates along the view axes, as `crystal.Lattice.projected`.
    on : array of bool, shape (site,)
        Whether the site stands on a lattice point.
    rms : float
        Of the distances of these sites to their lattice points [Å].
    """

    axes: ViewAxes
    lattice_parameter: float
    origin: Floats
    frame: Floats
    index: NDArray[np.int64]
    on: NDArray[np.bool_]
    rms: float

    @property
    def rotation_deg(self) -> float:
        """In-plane rotation of the crystal, from x to y."""
        u, _, vt = np.linalg.svd(self.frame)
        turn = u @ vt
        return float(np.rad2deg(np.arctan2(turn[1, 0], turn[0, 0])))

    @property
    def strain(self) -> tuple[float, float]:
        """Largest and smallest stretch of the fitted lattice against the ideal one, minus 1."""
        stretch = np.linalg.svd(self.frame, compute_uv=False)
        return float(stretch[0] - 1), float(stretch[1] - 1)

    def place(self, index: NDArray[np.int64]) -> Floats:
        """Give the places [Å] in the image of integer coordinates, both (point, (x, y))."""
        placed: Floats = self.origin + _ideal(index, self.axes, self.lattice_parameter) @ (
            self.frame.T
        )
        return placed


def fit_site_lattice(
    sites: pd.DataFrame, lattice_parameter: float, zones: tuple[Vector, ...] = ZONES
) -> SiteLattice | None:
    """Fit the projected lattice of fluorite to the places of sites.

    Rotation and scale are those at which the sites of Ce diffract best into the reflections of
    the zone; origin, rotation and strain are then fitted by least squares, from the middle of
    the particle outwards.

    Parameters
    ----------
    sites : DataFrame
        species, x_A, y_A.
    lattice_parameter : float
        Edge of the cubic cell [Å].
    zones : tuple of tuple of int
        Directions of the beam to try.

    Returns
    -------
    SiteLattice or None
        None where too few sites stand on any of the lattices.

    Examples
    --------
    Twelve Ce columns of [110], turned by 10 degrees:

    >>> x, y = (v.ravel() for v in np.meshgrid(1.913 * np.arange(6), 2.7055 * np.arange(4)))
    >>> odd = np.rint(x / 1.913 + y / 2.7055) % 2 == 0
    >>> place = np.exp(1j * np.deg2rad(10)) * (x + 1j * y)[odd]
    >>> sites = pd.DataFrame({"species": "Ce", "x_A": place.real, "y_A": place.imag})
    >>> lattice = fit_site_lattice(sites, 5.411)
    >>> lattice.axes.z, round(lattice.rotation_deg % 180), bool(lattice.on.all())
    ((1, 1, 0), 10, True)
    """
    species = species_index(sites)
    places = sites[["x_A", "y_A"]].to_numpy(dtype=float)
    if (species == 0).sum() < _FEWEST:
        return None
    best, best_score = None, 0.0
    for zone in zones:
        points = _lattice_points(view_axes(zone), lattice_parameter, _extent(places))
        for start in _starts(places[species == 0], zone, lattice_parameter):
            fit = _refined(places, species, points, start, view_axes(zone), lattice_parameter)
            if fit is None:
                continue
            chance = min(0.9, _density(points) * pi * NEAR**2)
            score = (float(fit.on.mean()) - chance) / (1 - chance)
            if score > best_score + 1e-6:
                best, best_score = fit, score
    return best if best_score >= _SHARE else None


def depth_phase(lattice: SiteLattice, sites: pd.DataFrame) -> NDArray[np.int64]:
    """Give the depth of the atoms of each site's column, as far as the lattice decides.

    Parameters
    ----------
    lattice : SiteLattice
    sites : DataFrame
        The sites that the lattice was fitted to.

    Returns
    -------
    array of int64, shape (site,)
        Integer depth along the beam, modulo the distance of a column's atoms of the species;
        0 for sites that are not on the lattice.

    Examples
    --------
    >>> from ceria_models.synthetic_film import synthetic_sites
    >>> sites = synthetic_sites(columns=40, seed=0)
    >>> phase = depth_phase(fit_site_lattice(sites, 5.411), sites)
    >>> sorted(set(phase[sites["species"] == "Ce"].tolist()))
    [0, 2]
    """
    species = species_index(sites)
    axes = lattice.axes
    around = _one_repeat(axes, int(np.abs(lattice.index).max(initial=0)) + 4)
    names = site_ids(around.species, around.projected)
    order = np.argsort(names, kind="stable")
    at = np.searchsorted(names[order], site_ids(species, lattice.index)).clip(0, len(names) - 1)
    depth = around.projected[order[at], 2]
    repeat = np.where(species == 0, axes.cerium_repeat, axes.oxygen_repeat)
    return np.where(lattice.on, depth % repeat, 0)


def species_index(sites: pd.DataFrame) -> NDArray[np.uint8]:
    """Give the species of sites as numbers.

    Parameters
    ----------
    sites : DataFrame
        species.

    Returns
    -------
    array of uint8, shape (site,)
        0 = Ce, 1 = O.

    Examples
    --------
    >>> species_index(pd.DataFrame({"species": ["O", "Ce"]}))
    array([1, 0], dtype=uint8)
    """
    return np.array([SPECIES.index(name) for name in sites["species"]], dtype=np.uint8)


def _extent(places: Floats) -> float:
    return float(np.hypot(*(places - places.mean(axis=0)).T).max()) + 8.0


def _ideal(index: NDArray[np.int64], axes: ViewAxes, lattice_parameter: float) -> Floats:
    ideal: Floats = index / axes.lengths[:2] * (lattice_parameter / 4)
    return ideal


@dataclass(frozen=True)
class _Points:
    """Lattice columns of each species around the origin: integers and places [Å]."""

    index: tuple[NDArray[np.int64], ...]
    trees: tuple[cKDTree, ...]


def _lattice_points(axes: ViewAxes, lattice_parameter: float, radius: float) -> _Points:
    # Twice the extent: the origin may be any site of the particle.
    around = _one_repeat(axes, int(np.ceil(2 * radius / (lattice_parameter / 4))))
    indices = []
    for species in range(len(SPECIES)):
        own = around.projected[around.species == species, :2]
        indices.append(np.unique(own, axis=0))
    trees = tuple(cKDTree(_ideal(own, axes, lattice_parameter)) for own in indices)
    return _Points(tuple(indices), trees)


def _one_repeat(axes: ViewAxes, radius: float) -> Lattice:
    """All columns around the origin, with the depths of their atoms in one repeat."""
    half_depth = axes.cerium_repeat / float(axes.lengths[2]) / 2 + 0.1
    return lattice_around(axes, np.zeros(3), radius, half_depth)


def _density(points: _Points) -> float:
    """Lattice columns of one species per Å², of the species with more of them."""
    reach = float(np.abs(points.trees[0].data).max())
    return max(len(tree.data) for tree in points.trees) / (pi * reach**2)


def _starts(places: Floats, zone: Vector, lattice_parameter: float) -> list[Floats]:
    """Rotations with scales at which the places diffract best, as (2, 2) matrices."""
    spots = reflections(zone, lattice_parameter)
    centred = places - places.mean(axis=0)
    cos, sin = np.cos(_ROTATIONS)[:, None], np.sin(_ROTATIONS)[:, None]
    kx = spots[:, 0] * cos - spots[:, 1] * sin
    ky = spots[:, 0] * sin + spots[:, 1] * cos
    phase = 2 * pi * (kx[..., None] * centred[:, 0] + ky[..., None] * centred[:, 1])
    power = np.array([
        np.abs(np.exp(1j * phase / scale).sum(axis=-1)) ** 2 for scale in _SCALES
    ]).mean(axis=-1)  # fmt: skip
    found: list[tuple[float, float]] = []
    for at in np.argsort(-power, axis=None):
        i, j = np.unravel_index(at, power.shape)
        scale, turn = float(_SCALES[i]), float(_ROTATIONS[j])
        if all(abs(np.sin(turn - t)) > 0.06 or abs(scale - s) > 0.015 for s, t in found):
            found.append((scale, turn))
        if len(found) == _STARTS:
            break
    return [s * np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]]) for s, t in found]


def _refined(
    places: Floats,
    species: NDArray[np.uint8],
    points: _Points,
    frame: Floats,
    axes: ViewAxes,
    lattice_parameter: float,
) -> SiteLattice | None:
    """Fit origin and frame by least squares, in growing circles around the middle."""
    middle = places[species == 0].mean(axis=0)
    first = np.flatnonzero(species == 0)[np.hypot(*(places[species == 0] - middle).T).argmin()]
    origin = places[first]
    away = np.hypot(*(places - origin).T)
    for radius in _GROWTH:
        for _ in range(2):
            index, distance = _nearest(places, species, points, origin, frame)
            used = (distance < 2 * NEAR) & (away <= radius)
            if used.sum() < _FEWEST:
                break
            ideal = _ideal(index[used], axes, lattice_parameter)
            design = np.column_stack([ideal, np.ones(len(ideal))])
            if np.linalg.matrix_rank(design) < 3:
                break
            solved = np.linalg.lstsq(design, places[used], rcond=None)[0]
            stretch = np.linalg.svd(solved[:2], compute_uv=False)
            if np.abs(stretch - 1).max() > _LARGEST_STRAIN or np.linalg.det(solved[:2]) < 0:
                break
            frame, origin = solved[:2].T, solved[2]
    index, distance = _nearest(places, species, points, origin, frame)
    on = distance < NEAR
    if on.sum() < _FEWEST:
        return None
    rms = float(np.sqrt((distance[on] ** 2).mean()))
    return SiteLattice(axes, lattice_parameter, origin, frame, index, on, rms)


def _nearest(
    places: Floats, species: NDArray[np.uint8], points: _Points, origin: Floats, frame: Floats
) -> tuple[NDArray[np.int64], Floats]:
    """Nearest lattice point of the own species, as integers, and its distance [Å]."""
    crystal = (places - origin) @ np.linalg.inv(frame).T
    index = np.zeros((len(places), 2), dtype=np.int64)
    distance = np.full(len(places), np.inf)
    for kind, tree in enumerate(points.trees):
        own = species == kind
        if own.any():
            distance[own], nearest = tree.query(crystal[own])
            index[own] = points.index[kind][nearest]
    return index, distance


def lattice_site_ids(lattice: SiteLattice, sites: pd.DataFrame) -> NDArray[np.int64]:
    """Name the lattice column of every site as `crystal.site_ids` does.

    Parameters
    ----------
    lattice : SiteLattice
    sites : DataFrame
        The sites that the lattice was fitted to.

    Returns
    -------
    array of int64, shape (site,)
        -1 where a site is not on the lattice.

    Examples
    --------
    >>> from ceria_models.synthetic_film import synthetic_sites
    >>> sites = synthetic_sites(columns=40, seed=0)
    >>> ids = lattice_site_ids(fit_site_lattice(sites, 5.411), sites)
    >>> len(set(ids.tolist())) == len(sites)
    True
    """
    return np.where(lattice.on, site_ids(species_index(sites), lattice.index), -1)
