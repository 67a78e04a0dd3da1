"""Positions against a crystal that ASE builds, and figures of the literature."""

import numpy as np
import pytest
from ase.build import bulk
from scipy.spatial import ConvexHull, cKDTree

from ceria_data.grid import Field, cell_around
from ceria_data.labels import column_table
from ceria_data.particle import build_structure, perfect
from ceria_data.phonons import displace
from ceria_data.targets import class_map

A = 5.411
FIELD = Field((120, 160), 0.25)
CELL = cell_around(FIELD, 0.25, 4.0)
VIEWS = {
    (1, 1, 0): [(-1, 1, 0), (0, 0, 1), (1, 1, 0)],
    (1, 0, 0): [(0, 1, 0), (0, 0, 1), (1, 0, 0)],
    (1, 1, 1): [(-1, 2, -1), (-1, 0, 1), (1, 1, 1)],
    (1, 1, 2): [(1, 1, -1), (-1, 1, 0), (1, 1, 2)],
}


def build(zone_axis=(1, 1, 0), kind="slab_flat", thickness_atoms=5, **changes):
    parameters = perfect(kind, thickness_atoms, zone_axis=zone_axis, **changes)
    return build_structure(parameters, FIELD, CELL, seed=2)


def projected(structure, species):
    """Ideal (x, y) of the columns of one species."""
    return structure.columns.position[structure.columns.species == species]


@pytest.mark.parametrize("zone_axis", VIEWS)
def test_atoms_stand_where_ase_puts_them(zone_axis):
    structure = build(zone_axis, edge_A=100.0)  # fills the cell
    crystal = bulk("CeO2", crystalstructure="fluorite", a=A, cubic=True) * (16, 16, 16)
    view = np.array([np.array(row) / np.linalg.norm(row) for row in VIEWS[zone_axis]])
    expected = (crystal.positions - 8 * A) @ view.T
    corner = view @ (np.array((0.1, 0.2, 0.3)) * A)  # offsets of the record
    expected[:, :2] += np.array(FIELD.centre) - corner[:2]
    # Depth is free by whole lattice vectors: line up on one Ce of the middle.
    names = np.array(["Ce", "O"])[structure.species]
    middle = np.argmin(np.linalg.norm(structure.positions - (*FIELD.centre, 0), axis=1))
    same = np.array(crystal.get_chemical_symbols()) == names[middle]
    beside = np.linalg.norm((expected - structure.positions[middle])[:, :2], axis=1)
    candidates = expected[same & (beside < 1e-6)]
    assert len(candidates)
    expected[:, 2] += structure.positions[middle, 2] - candidates[len(candidates) // 2, 2]
    distance, index = cKDTree(expected).query(structure.positions)
    assert distance.max() < 1e-6
    assert (np.array(crystal.get_chemical_symbols())[index] == names).all()
    # And the other way round: inside, no site of ASE's crystal is left out.
    low, high = structure.positions.min(axis=0) + 4, structure.positions.max(axis=0) - 4
    inner = ((expected > low) & (expected < high)).all(axis=1)
    assert inner.sum() > 500
    assert cKDTree(structure.positions).query(expected[inner])[0].max() < 1e-6


@pytest.mark.parametrize(
    ("zone_axis", "cerium_cerium", "cerium_oxygen"),
    [
        ((1, 1, 0), 3.314, 1.353),
        ((1, 0, 0), A / 2, A / 4 * np.sqrt(2)),
        ((1, 1, 1), A / np.sqrt(6), 0.0),
    ],
)
def test_projected_distances(zone_axis, cerium_cerium, cerium_oxygen):
    structure = build(zone_axis)
    cerium, oxygen = projected(structure, 0), projected(structure, 1)
    inner = abs(cerium - cerium.mean(axis=0)).max(axis=1) < 6
    assert cKDTree(cerium).query(cerium[inner], 2)[0][:, 1] == pytest.approx(
        cerium_cerium, abs=1e-3
    )
    assert cKDTree(oxygen).query(cerium[inner])[0] == pytest.approx(cerium_oxygen, abs=1e-3)


@pytest.mark.parametrize(
    ("zone_axis", "per_area"),
    [
        ((1, 1, 0), (2 / (3.826 * A), 4 / (3.826 * A))),
        ((1, 0, 0), (4 / A**2, 4 / A**2)),
        ((1, 1, 1), (4 * np.sqrt(3) / A**2, 4 * np.sqrt(3) / A**2)),
    ],
)
def test_columns_per_area(zone_axis, per_area):
    structure = build(zone_axis, edge_A=100.0)  # fills the cell
    height, width = CELL.extent
    for species, expected in enumerate(per_area):
        density = len(projected(structure, species)) / ((height - 2) * (width - 2))
        assert density == pytest.approx(expected, rel=0.03)


def test_depth_of_one_atom_on_110():
    structure = build()
    depths = np.sort(structure.positions[structure.site_id == structure.site_id[0], 2])
    np.testing.assert_allclose(np.diff(depths), 3.826, atol=1e-3)
    rows = [
        np.sort(structure.positions[structure.site_id == i, 2])[0] for i in set(structure.site_id)
    ]
    assert np.ptp(rows) == pytest.approx(1.913, abs=1e-3)


def test_octahedron_faces_meet_at_70_53_degrees():
    structure = build(kind="octahedron", thickness_atoms=6, truncation=0.0, aspect=0.8)
    points = projected(structure, 0)
    corners = points[ConvexHull(points).vertices]
    sides = np.roll(corners, -1, axis=0) - corners
    sides = sides[np.linalg.norm(sides, axis=1) > 8]
    angles = np.degrees(np.arctan2(sides[:, 1], sides[:, 0])) % 180
    first, second = np.unique(angles.round(2))
    assert len(sides) == 4
    assert min(second - first, 180 - second + first) == pytest.approx(70.53, abs=0.01)


def test_class_map_of_a_structure_has_one_disk_per_column_at_its_place():
    structure = build(kind="octahedron", thickness_atoms=3, aspect=0.9, rotation_deg=17.0)
    columns = column_table(structure, displace(structure, 0), FIELD, row=0)
    painted = class_map(columns, FIELD, 14)
    for column in columns[columns["in_field"]].itertuples():
        y, x = round(column.y_A / 0.25), round(column.x_A / 0.25)
        assert painted[0 if column.species == "Ce" else 1, y, x] == column.occupancy
    assert (painted > 0).sum() * 0.0625 == pytest.approx(len(columns) * np.pi * 0.36, rel=0.03)
