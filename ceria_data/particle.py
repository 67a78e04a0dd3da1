"""From the drawn record of a structure to its atoms: the steps, in order."""

from dataclasses import dataclass, replace
from math import cos, hypot, radians, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceria_data.crystal import (
    BOND_STEPS,
    CERIUM,
    Lattice,
    ViewAxes,
    count,
    lattice_around,
    site_ids,
    view_axes,
)
from ceria_data.defects import Defects, draw_defects, relax
from ceria_data.errors import StructureError
from ceria_data.grid import Cell, Field
from ceria_data.parameters import StructureParameters
from ceria_data.randomness import sample_rng
from ceria_data.shapes import draw_outline, fill_sites, lay_window
from ceria_data.structure import ColumnSites, Structure
from ceria_data.support import fill_carbon
from ceria_data.surface import surface_classes

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

INNER_MARGIN = 1.0
"""Columns nearer to the cell's border than this [Å] are left out whole."""
_BEYOND = 8.0
"""Lattice sites are listed this far [Å] beyond the crystal or the cell, so that every
column in the cell knows its neighbours."""


def build_structure(
    parameters: StructureParameters, field: Field, cell: Cell, seed: int
) -> Structure:
    """Build the atoms of one structure in its pose.

    The crystal is cut out of the lattice, gets its defects and their relaxation, is
    rotated about the beam, tilted and shifted, and loses the columns that do not lie
    in the cell. Then the support is laid against it.

    Parameters
    ----------
    parameters : StructureParameters
    field : Field
        Pixels of the stored images.
    cell : Cell
        Where atoms may be; larger crystals run out of it.
    seed : int
        The dataset's seed.

    Returns
    -------
    Structure
        Equal for equal arguments.

    Raises
    ------
    ConfigError
        If the kind or the arrangement of vacancies is unknown, or the zone axis does not
        show the slab's surface edge-on.
    StructureError
        If no atom lies in the cell.

    Examples
    --------
    >>> from ceria_data.grid import cell_around
    >>> field = Field((100, 120), 0.2)
    >>> structure = build_structure(
    ...     perfect("slab_flat", 5), field, cell_around(field, 0.1, 4.0), seed=0
    ... )
    >>> structure.facets, int(structure.columns.sites.max())
    ('{110}', 5)
    """
    p = parameters
    axes = view_axes(p.zone_axis)
    crystal = _cut(p, axes, field, cell, seed)
    lattice, filled = crystal.lattice, crystal.filled
    posed = place(crystal.ideal, p, field)
    rng = sample_rng(seed, p.number, "defects")
    defects = draw_defects(p, lattice, filled, _within(posed, field), rng)
    moved = _along_view(relax(lattice, defects.vacant, p.relaxation_A), axes)
    moved += p.static_displacement_A * rng.standard_normal(moved.shape)
    present = (filled & ~defects.vacant) | defects.added

    kept, names = _kept(lattice, filled | defects.added, posed, cell)
    atoms = kept[present[kept]]
    if not len(atoms):
        raise StructureError(
            f"structure number {p.number} ({p.kind}) has no atom in the cell of "
            f"{cell.extent[1]:.1f} × {cell.extent[0]:.1f} Å; "
            "expected a crystal that reaches into it: raise edge_A or aspect, or lower the shift"
        )
    positions = place(crystal.ideal + moved, p, field)[atoms]
    positions[:, 2] -= positions[:, 2].mean()
    depth = lattice.projected[:, 2]
    return Structure(
        parameters=p,
        facets=crystal.facets,
        species=lattice.species[atoms],
        positions=positions,
        plane=(depth[atoms] - depth[kept].min()) // axes.plane_step,
        site_id=names[atoms],
        rms=_rms(p, lattice, present)[atoms],
        columns=_columns(lattice, kept, names, filled, defects, posed),
        support=fill_carbon(
            positions[:, 2],
            cell,
            p.support_thickness_A,
            p.support_side,
            sample_rng(seed, p.number, "support"),
        ),
    )


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


def perfect(kind: str, thickness_atoms: int, **changes: Any) -> StructureParameters:
    """Give the record of a perfect crystal on [110], in the middle, at room temperature.

    Parameters
    ----------
    kind : str
        One of `ceria_data.shapes.KINDS`.
    thickness_atoms : int
        Atoms in the thickest Ce column.
    **changes
        Other fields of `StructureParameters`.

    Returns
    -------
    StructureParameters

    Examples
    --------
    >>> perfect("cube", 4, mistilt_deg=1.0).mistilt_deg
    1.0
    """
    plain = StructureParameters(
        number=0,
        kind=kind,
        zone_axis=(1, 1, 0),
        lattice_parameter_A=5.411,
        thickness_atoms=thickness_atoms,
        thickness_remainder=0.0,
        aspect=1.0,
        elongation=2.0,
        truncation=0.5,
        offset_1=0.1,
        offset_2=0.2,
        offset_3=0.3,
        edge_A=0.0,
        period_A=16.233,
        n_terraces=0,
        two_coordinated_oxygen=0.0,
        rotation_deg=0.0,
        shift_x_A=0.0,
        shift_y_A=0.0,
        mistilt_deg=0.0,
        mistilt_azimuth_deg=0.0,
        oxygen_vacancy_fraction=0.0,
        oxygen_vacancy_arrangement="random",
        cerium_vacancy_fraction=0.0,
        n_cerium_adatoms=0,
        n_oxygen_adatoms=0,
        relaxation_A=0.0,
        static_displacement_A=0.0,
        rms_Ce_A=0.06,
        rms_O_A=0.08,
        surface_rms_factor=1.5,
        n_phonons=1,
        support_thickness_A=0.0,
        support_side="exit",
    )
    return replace(plain, **changes)


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


def _within(points: Floats, field: Field) -> Bools:
    half = field.sampling / 2
    x, y, _ = points.T
    height, width = field.extent
    within: Bools = (x >= -half) & (x < width - half) & (y >= -half) & (y < height - half)
    return within


def _along_view(vectors: Floats, axes: ViewAxes) -> Floats:
    """Components along x, y, z of vectors given along the cubic axes."""
    along: Floats = (vectors[:, None, :] * axes.matrix).sum(axis=2) / axes.lengths
    return along


def _kept(
    lattice: Lattice, listed: Bools, posed: Floats, cell: Cell
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Sites of whole columns in the cell, by column and depth; and every site's column."""
    names = site_ids(lattice.species, lattice.projected)
    order = np.flatnonzero(listed)
    order = order[np.lexsort((lattice.projected[order, 2], names[order]))]
    x0, x1, y0, y1 = cell.bounds
    x, y, _ = posed[order].T
    inside = (x >= x0 + INNER_MARGIN) & (x <= x1 - INNER_MARGIN)
    inside &= (y >= y0 + INNER_MARGIN) & (y <= y1 - INNER_MARGIN)
    cut = np.unique(names[order[~inside]])
    return order[~np.isin(names[order], cut)], names


def _rms(parameters: StructureParameters, lattice: Lattice, present: Bools) -> Floats:
    """Thermal displacement, larger where bonds are missing."""
    bound = count(present, lattice.neighbours(BOND_STEPS))
    is_cerium = lattice.species == CERIUM
    rms = np.where(is_cerium, parameters.rms_Ce_A, parameters.rms_O_A)
    return np.where(bound < np.where(is_cerium, 8, 4), rms * parameters.surface_rms_factor, rms)


def _columns(
    lattice: Lattice,
    kept: NDArray[np.intp],
    names: NDArray[np.int64],
    filled: Bools,
    defects: Defects,
    posed: Floats,
) -> ColumnSites:
    """Count the sites of every column and average their ideal positions."""
    site_id, first, index, total = np.unique(
        names[kept], return_index=True, return_inverse=True, return_counts=True
    )

    def tally(chosen: Bools) -> NDArray[np.int64]:
        return np.bincount(index[chosen[kept]], minlength=len(site_id)).astype(np.int64)

    mean = [np.bincount(index, posed[kept, axis]) / total for axis in (0, 1)]
    species = lattice.species[kept[first]]
    return ColumnSites(
        site_id=site_id,
        species=species,
        sites=tally(filled),
        n_vacancies=tally(defects.vacant),
        n_adatoms=tally(defects.added),
        position=np.stack(mean, axis=1),
        surface=surface_classes(site_id, species, np.unique(names[filled]), lattice.axes),
    )
