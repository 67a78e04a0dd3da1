"""A crystal in its pose: where atoms stand, and where they could."""

from dataclasses import dataclass
from math import cos, hypot, radians, sin

import numpy as np
from numpy.typing import NDArray

from ceria_data.column_sites import column_sites, whole_columns
from ceria_data.crystal import (
    BOND_STEPS,
    CERIUM,
    Lattice,
    ViewAxes,
    count,
    lattice_around,
    view_axes,
)
from ceria_data.defects import draw_defects, relax
from ceria_data.errors import StructureError
from ceria_data.grid import Cell, Field
from ceria_data.parameters import StructureParameters
from ceria_data.randomness import sample_rng
from ceria_data.shapes import draw_outline, fill_sites, lay_window
from ceria_data.structure import Structure
from ceria_data.support import fill_carbon

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_BEYOND = 8.0
"""Lattice sites are listed this far [Å] beyond the crystal or the cell, so that every
column in the cell knows its neighbours."""


@dataclass(frozen=True)
class Scene:
    """A crystal in its pose, with its defects: where atoms stand at first, and could stand.

    Attributes
    ----------
    parameters : StructureParameters
    field : Field
    cell : Cell
    seed : int
    lattice : Lattice
        Sites of the crystal and around it.
    filled, present : array of bool, shape (site,)
        Sites of the perfect crystal, and those that hold an atom.
    ideal, disorder : array of float64, shape (site, 3)
        Ideal positions from the middle of the crystal, before the pose, and static
        displacements, both along the view axes [Å].
    facets : str
    """

    parameters: StructureParameters
    field: Field
    cell: Cell
    seed: int
    lattice: Lattice
    filled: Bools
    present: Bools
    ideal: Floats
    disorder: Floats
    facets: str


@dataclass(frozen=True)
class Shared:
    """What all structures of a scene have in common.

    Attributes
    ----------
    kept : array of int, shape (kept,)
        Sites of whole columns in the cell, by column and depth.
    names : array of int64, shape (site,)
        Column of every site.
    rms : array of float64, shape (site,)
        Thermal rms displacement per axis [Å], by the bonds of the first structure.
    middle : float
        z of the posed crystal that is called 0: the mean of the first structure's atoms [Å].
    support : array of float64, shape (carbon, 3)
    """

    kept: NDArray[np.intp]
    names: NDArray[np.int64]
    rms: Floats
    middle: float
    support: Floats


def set_scene(parameters: StructureParameters, field: Field, cell: Cell, seed: int) -> Scene:
    """Cut a crystal, pose it and draw its defects; arguments and errors of `build_structure`."""
    p = parameters
    crystal = _cut(p, view_axes(p.zone_axis), field, cell, seed)
    lattice, filled = crystal.lattice, crystal.filled
    rng = sample_rng(seed, p.number, "defects")
    x, y, _ = place(crystal.ideal, p, field).T
    in_field = field.holds(x, y)
    defects = draw_defects(p, lattice, filled, in_field, rng)
    disorder = p.static_displacement_A * rng.standard_normal(lattice.sites.shape)
    present = (filled & ~defects.vacant) | defects.added
    return Scene(
        p, field, cell, seed, lattice, filled, present, crystal.ideal, disorder, crystal.facets
    )


def share(scene: Scene, visited: Bools) -> Shared:
    """Settle what all structures of a scene have in common.

    Parameters
    ----------
    scene : Scene
    visited : array of bool, shape (site,)
        Sites that hold an atom in one of the structures.

    Returns
    -------
    Shared

    Raises
    ------
    StructureError
        If no atom lies in the cell.
    """
    p, cell = scene.parameters, scene.cell
    posed = place(scene.ideal, p, scene.field)
    kept, names = whole_columns(scene.lattice, scene.filled | visited, posed, cell)
    z = positions_of(scene, scene.present, p)[:, 2]
    atoms = kept[scene.present[kept]]
    if not len(atoms):
        raise StructureError(
            f"structure number {p.number} ({p.kind}) has no atom in the cell of "
            f"{cell.extent[1]:.1f} × {cell.extent[0]:.1f} Å; "
            "expected a crystal that reaches into it: raise edge_A or aspect, or lower the shift"
        )
    middle = float(z[atoms].mean())
    support = fill_carbon(
        z[kept[visited[kept]]] - middle,
        cell,
        p.support_thickness_A,
        p.support_side,
        sample_rng(scene.seed, p.number, "support"),
    )
    return Shared(kept, names, _rms(p, scene.lattice, scene.present), middle, support)


def arrange(
    scene: Scene, shared: Shared, present: Bools, parameters: StructureParameters
) -> Structure:
    """Build the structure of some atoms of a scene.

    Parameters
    ----------
    scene : Scene
    shared : Shared
    present : array of bool, shape (site,)
        Sites that hold an atom; its vacancies displace their neighbours.
    parameters : StructureParameters
        Those of the scene, perhaps with another mistilt.

    Returns
    -------
    Structure
    """
    lattice, kept = scene.lattice, shared.kept
    atoms = kept[present[kept]]
    positions = positions_of(scene, present, parameters)[atoms]
    positions[:, 2] -= shared.middle
    depth = lattice.projected[:, 2]
    posed = place(scene.ideal, parameters, scene.field)
    return Structure(
        parameters=parameters,
        facets=scene.facets,
        species=lattice.species[atoms],
        positions=positions,
        plane=(depth[atoms] - depth[kept].min()) // lattice.axes.plane_step,
        site_id=shared.names[atoms],
        rms=shared.rms[atoms],
        columns=column_sites(lattice, kept, shared.names, scene.filled, present, posed),
        support=shared.support,
    )


def positions_of(scene: Scene, present: Bools, parameters: StructureParameters) -> Floats:
    """Place all sites in a pose, displaced by disorder and by the vacancies.

    Parameters
    ----------
    scene : Scene
    present : array of bool, shape (site,)
    parameters : StructureParameters
        The pose.

    Returns
    -------
    array of float64, shape (site, 3)
        x, y, z [Å]; z from the middle of the crystal.
    """
    vacant = scene.filled & ~present
    moved = _along_view(relax(scene.lattice, vacant, parameters.relaxation_A), scene.lattice.axes)
    moved += scene.disorder
    return place(scene.ideal + moved, parameters, scene.field)


@dataclass(frozen=True)
class _Crystal:
    """A perfect crystal: sites of the lattice around it, which of them it fills, where they are."""

    lattice: Lattice
    filled: Bools
    ideal: Floats
    facets: str


def _cut(p: StructureParameters, axes: ViewAxes, field: Field, cell: Cell, seed: int) -> _Crystal:
    """Cut the crystal out of the lattice; positions [Å] are from its middle, before the pose."""
    unit = p.lattice_parameter_A / 4
    window = lay_window(p, axes)
    thickness = window.planes * axes.cerium_plane_step / float(axes.lengths[2]) * unit
    rng = sample_rng(seed, p.number, "shape")
    outline = draw_outline(p, thickness, rng)
    radius = min(outline.reach, _reach(p, field, cell)) + _BEYOND
    half_depth = thickness / 2 + _BEYOND
    lattice = lattice_around(axes, window.centre, radius / unit, half_depth / unit)
    span = min(outline.reach, hypot(*field.extent) / 2)
    filled = fill_sites(p, lattice, window, outline, span, rng)
    ideal = (lattice.projected / axes.lengths - window.centre) * unit
    return _Crystal(lattice, filled, ideal, outline.facets)


def place(points: Floats, parameters: StructureParameters, field: Field) -> Floats:
    """Bring a crystal into its pose: rotate about the beam, tilt, shift.

    Parameters
    ----------
    points : array of float64, shape (site, 3)
        x, y, z along the crystal's view axes, from its centre [Å].
    parameters : StructureParameters
        `rotation_deg` turns x towards y; `mistilt_deg` then turns about the axis in the
        image that `mistilt_azimuth_deg` gives, from x towards y.
    field : Field
        Its middle is where the centre goes, before the shift.

    Returns
    -------
    array of float64, shape (site, 3)
        x, y from the centre of pixel (0, 0), z along the beam [Å].

    Examples
    --------
    >>> from ceria_data.particle import perfect
    >>> quarter_turn = perfect("cube", 4, rotation_deg=90.0)
    >>> place(np.array([[1.0, 0, 0]]), quarter_turn, Field((11, 21), 1.0)).round(6).tolist()
    [[10.0, 6.0, 0.0]]
    """
    p = parameters
    turn, tilt, azimuth = map(radians, (p.rotation_deg, p.mistilt_deg, p.mistilt_azimuth_deg))
    x0, y0, z = points.T
    x = cos(turn) * x0 - sin(turn) * y0
    y = sin(turn) * x0 + cos(turn) * y0
    kx, ky = cos(azimuth), sin(azimuth)  # Rodrigues' rotation about (kx, ky, 0)
    along = (1 - cos(tilt)) * (kx * x + ky * y)
    centre_x, centre_y = field.centre
    return np.stack(
        (
            cos(tilt) * x + sin(tilt) * ky * z + along * kx + (centre_x + p.shift_x_A),
            cos(tilt) * y - sin(tilt) * kx * z + along * ky + (centre_y + p.shift_y_A),
            cos(tilt) * z + sin(tilt) * (kx * y - ky * x),
        ),
        axis=1,
    )


def _reach(parameters: StructureParameters, field: Field, cell: Cell) -> float:
    """Distance from the crystal's centre to the farthest corner of the cell [Å]."""
    x0, x1, y0, y1 = cell.bounds
    x, y = field.centre[0] + parameters.shift_x_A, field.centre[1] + parameters.shift_y_A
    return hypot(max(x - x0, x1 - x), max(y - y0, y1 - y))


def _along_view(vectors: Floats, axes: ViewAxes) -> Floats:
    """Components along x, y, z of vectors given along the cubic axes."""
    along: Floats = (vectors[:, None, :] * axes.matrix).sum(axis=2) / axes.lengths
    return along


def _rms(parameters: StructureParameters, lattice: Lattice, present: Bools) -> Floats:
    """Thermal displacement, larger where bonds are missing."""
    bound = count(present, lattice.neighbours(BOND_STEPS))
    is_cerium = lattice.species == CERIUM
    rms = np.where(is_cerium, parameters.rms_Ce_A, parameters.rms_O_A)
    return np.where(bound < np.where(is_cerium, 8, 4), rms * parameters.surface_rms_factor, rms)
