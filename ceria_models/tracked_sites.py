"""The sites of a film: merged, with their neighbours, surface class and facet."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ceria_data.crystal import ViewAxes, family, site_ids
from ceria_data.surface import surface_classes
from ceria_models.site_lattice import (
    SiteLattice,
    fit_site_lattice,
    lattice_site_ids,
    species_index,
)

Floats = NDArray[np.float64]
CLASSES = ("edge", "surface", "subsurface", "bulk")
EXPOSED = ("edge", "surface")
SAME_PLACE = 0.9
"""Sites of one species nearer than this [Å] are one, where there is no lattice."""
_FACETS = ((1, 1, 1), (1, 1, 0), (1, 0, 0))
_FACET_REACH = 7.0
_HOLE = 5 / 6
_BEYOND = 8.0
_SHELL = 4.3
"""Radius [Å] of the neighbourhood that decides where there is no lattice."""


@dataclass(frozen=True)
class TrackedSites:
    """Sites that stand for different columns.

    Attributes
    ----------
    table : DataFrame
        site, species, x_A, y_A of the sites that are kept.
    rows : array of int64, shape (site,)
        The sites that are kept among those listed.
    merged : array of int64, shape (listed,)
        For every site listed, the row of `table` that stands for it.
    lattice : SiteLattice or None
        Of the kept sites.
    """

    table: pd.DataFrame
    rows: NDArray[np.int64]
    merged: NDArray[np.int64]
    lattice: SiteLattice | None


def merge_sites(sites: pd.DataFrame, lattice_parameter: float) -> TrackedSites:
    """Find the lattice, and take sites that are the same lattice point for one.

    Parameters
    ----------
    sites : DataFrame
        site, species, x_A, y_A, and n_frames_seen where known: the one seen most often
        stands for all.
    lattice_parameter : float
        Edge of the cubic cell [Å].

    Returns
    -------
    TrackedSites
        Without a lattice, sites of one species within `SAME_PLACE` are one.

    Examples
    --------
    >>> sites = pd.DataFrame({
    ...     "site": [0, 1, 2], "species": "Ce", "x_A": [0.0, 0.4, 4.0], "y_A": 0.0,
    ...     "n_frames_seen": [3, 9, 9],
    ... })
    >>> found = merge_sites(sites, 5.411)
    >>> found.table["site"].tolist(), found.merged.tolist()
    ([1, 2], [0, 0, 1])
    """
    lattice = fit_site_lattice(sites, lattice_parameter)
    seen = sites.get("n_frames_seen", pd.Series(1, index=sites.index)).to_numpy()
    order = np.argsort(-seen, kind="stable")
    names = np.full(len(sites), -1) if lattice is None else lattice_site_ids(lattice, sites)
    places, species = sites[["x_A", "y_A"]].to_numpy(float), species_index(sites)
    head = np.arange(len(sites))
    kept: list[int] = []
    for site in order:
        same = [k for k in kept if species[k] == species[site] and (
            names[k] == names[site] if names[site] >= 0 and names[k] >= 0
            else np.hypot(*(places[k] - places[site])) < SAME_PLACE)]  # fmt: skip
        if same:
            head[site] = same[0]
        else:
            kept.append(int(site))
    rows = np.sort(np.array(kept, dtype=np.int64))
    if lattice is not None:
        lattice = replace(lattice, index=lattice.index[rows], on=lattice.on[rows])
    merged = np.searchsorted(rows, head)
    return TrackedSites(sites.iloc[rows].reset_index(drop=True), rows, merged, lattice)


def neighbours_of(sites: pd.DataFrame, reach: dict[str, float]) -> list[NDArray[np.int64]]:
    """List the sites of the same species between which atoms can hop.

    Parameters
    ----------
    sites : DataFrame
        species, x_A, y_A.
    reach : dict of str to float
        Largest distance by species [Å].

    Returns
    -------
    list of array of int64
        For every row of `sites`, other rows.

    Examples
    --------
    >>> sites = pd.DataFrame({"species": "Ce", "x_A": [0.0, 3.3, 9.9], "y_A": 0.0})
    >>> [rows.tolist() for rows in neighbours_of(sites, {"Ce": 5.6, "O": 3.4})]
    [[1], [0], []]
    """
    near: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)] * len(sites)
    places, species = sites[["x_A", "y_A"]].to_numpy(float), sites["species"].to_numpy()
    for name, distance in reach.items():
        rows = np.flatnonzero(species == name)
        if not len(rows):
            continue
        found = cKDTree(places[rows]).query_ball_point(places[rows], distance)
        for row, others in zip(rows, found, strict=True):
            own = rows[np.sort(np.array(others, dtype=np.int64))]
            near[row] = own[own != row]
    return near


def classify(
    found: TrackedSites, present: NDArray[np.bool_], field: tuple[float, float] | None
) -> pd.DataFrame:
    """Say for every site whether it is at the surface, and on which facet.

    The rule is that of the labels of a dataset (`ceria_data.surface`). Single columns that
    were not found inside the particle, and lattice points outside of the field beside ones that
    hold atoms, count as filled. Without a lattice the number of columns around decides.

    Parameters
    ----------
    found : TrackedSites
    present : array of bool, shape (site,)
        Whether the site holds atoms for most of the film.
    field : tuple of float, optional
        Size of the image (y, x) [Å].

    Returns
    -------
    DataFrame
        ``surface`` (edge, surface, subsurface or bulk) and ``facet``: the nearest of 111, 110
        and 100 by the direction of the boundary for edge and surface, else empty.

    Examples
    --------
    >>> from ceria_models.synthetic_film import synthetic_sites
    >>> sites = synthetic_sites(columns=500, seed=0)
    >>> found = merge_sites(sites, 5.411)
    >>> classes = classify(found, np.ones(len(sites), bool), None)
    >>> float((classes["surface"] == sites["surface"]).mean())
    1.0
    """
    lattice, table = found.lattice, found.table
    if lattice is None:
        surface = _classes_by_number(table, present)
        return pd.DataFrame({"surface": surface, "facet": [""] * len(table)})
    species = species_index(table)
    index, kind = _filled_points(lattice, species, present, field)
    crystal = np.unique(site_ids(kind, index))
    ids = site_ids(species, lattice.index)
    surface = surface_classes(ids, species, crystal, lattice.axes).astype(object)
    if not lattice.on.all():
        surface[~lattice.on] = _classes_by_number(table, present)[~lattice.on]
    exposed = np.isin(surface.astype(str), EXPOSED) & lattice.on
    facet = np.where(exposed, _facets(lattice, index), "")
    return pd.DataFrame({"surface": surface.astype(str), "facet": facet})


def _filled_points(
    lattice: SiteLattice,
    species: NDArray[np.uint8],
    present: NDArray[np.bool_],
    field: tuple[float, float] | None,
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Lattice points (index, species) that hold columns, as far as one can know."""
    axes = lattice.axes
    filled: list[NDArray[np.int64]] = []
    kinds: list[NDArray[np.uint8]] = []
    for kind in (0, 1):
        own = lattice.index[lattice.on & present & (species == kind)]
        own = np.unique(own, axis=0)
        if len(own):
            own = _without_holes(own, axes, kind)
            if field is not None:
                own = _continued(own, lattice, kind, field)
        filled.append(own.reshape(-1, 2))
        kinds.append(np.full(len(own), kind, dtype=np.uint8))
    return np.concatenate(filled), np.concatenate(kinds)


def _steps(axes: ViewAxes, kind: int) -> NDArray[np.int64]:
    """List the steps in the projection to the nearest columns of a species."""
    nearest = family((2, 2, 0)) if kind == 0 else family((2, 0, 0))
    projected = np.unique(np.array(nearest) @ axes.matrix[:2].T, axis=0)
    steps: NDArray[np.int64] = projected[(projected != 0).any(axis=1)]
    return steps


def _without_holes(own: NDArray[np.int64], axes: ViewAxes, kind: int) -> NDArray[np.int64]:
    """Add the points nearly all of whose neighbours are filled."""
    steps = _steps(axes, kind)
    there = {tuple(point) for point in own.tolist()}
    beside = np.unique((own[:, None] + steps).reshape(-1, 2), axis=0)
    holes = [
        point
        for point in beside.tolist()
        if tuple(point) not in there
        and np.mean([(point[0] + i, point[1] + j) in there for i, j in steps.tolist()])
        >= _HOLE - 1e-9
    ]
    return np.concatenate([own, np.array(holes, dtype=np.int64).reshape(-1, 2)])


def _continued(
    own: NDArray[np.int64], lattice: SiteLattice, kind: int, field: tuple[float, float]
) -> NDArray[np.int64]:
    """Add points outside of the field that steps from filled ones lead to."""
    steps = _steps(lattice.axes, kind)
    together = own
    for _ in range(2):
        beside = np.unique((together[:, None] + steps).reshape(-1, 2), axis=0)
        x, y = lattice.place(beside).T
        outside = (x < 0.5) | (y < 0.5) | (x > field[1] - 0.5) | (y > field[0] - 0.5)
        together = np.unique(np.concatenate([together, beside[outside]]), axis=0)
    return together


def _facets(lattice: SiteLattice, filled: NDArray[np.int64]) -> NDArray[np.str_]:
    """Nearest low-index plane, edge-on, by the direction in which columns are missing."""
    axes = lattice.axes
    unit = lattice.lattice_parameter / 4
    points = filled / axes.lengths[:2] * unit
    sites = lattice.index / axes.lengths[:2] * unit
    tree = cKDTree(points)
    names, normals = [], []
    for plane in _FACETS:
        for normal in family(plane):
            if np.dot(normal, axes.z) == 0:
                names.append("".join(map(str, plane)))
                along = np.array(normal) @ axes.matrix[:2].T / axes.lengths[:2]
                normals.append(along / np.hypot(*along))
    direction = np.array(normals)
    facets = []
    for site in sites:
        around = points[tree.query_ball_point(site, _FACET_REACH)]
        outward = (site - around).sum(axis=0)
        facets.append(names[int((direction @ outward).argmax())])
    return np.array(facets, dtype="<U3")


def _classes_by_number(table: pd.DataFrame, present: NDArray[np.bool_]) -> NDArray[np.object_]:
    """Classes without a lattice: by the number of columns around, against the fullest place."""
    places, species = table[["x_A", "y_A"]].to_numpy(float), table["species"].to_numpy()
    surface = np.full(len(table), "bulk", dtype=object)
    for name in np.unique(species):
        own = np.flatnonzero(species == name)
        there = own[present[own]]
        if not len(there):
            surface[own] = "edge"
            continue
        tree = cKDTree(places[there])
        number = np.array([len(rows) for rows in tree.query_ball_point(places[own], _SHELL)])
        share = number / max(float(np.percentile(number, 90)), 1.0)
        inner = share >= _HOLE
        outside = places[own[~inner]]
        beside = np.zeros(len(own), dtype=bool)
        if len(outside):
            beside = cKDTree(outside).query(places[own])[0] < _SHELL
        surface[own] = np.select(
            [~inner & (share <= 0.6), ~inner, beside], ["edge", "surface", "subsurface"], "bulk"
        )
    return surface
