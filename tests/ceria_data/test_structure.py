from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from ceria_data.crystal import CERIUM, OXYGEN, n_planes
from ceria_data.errors import StructureError
from ceria_data.grid import Cell, Field, cell_around
from ceria_data.labels import atom_table, column_table
from ceria_data.particle import build_structure, perfect
from ceria_data.phonons import RMS_CARBON, displace
from ceria_data.scene import place
from ceria_data.shapes import KINDS
from ceria_data.support import fill_carbon
from ceria_data.targets import class_map, volume

FIELD = Field((72, 96), 0.3)
CELL = cell_around(FIELD, 0.3, 3.0)
DIRTY = {
    "n_terraces": 2,
    "two_coordinated_oxygen": 0.5,
    "oxygen_vacancy_fraction": 0.05,
    "cerium_vacancy_fraction": 0.02,
    "n_cerium_adatoms": 2,
    "n_oxygen_adatoms": 2,
    "static_displacement_A": 0.02,
    "relaxation_A": 0.05,
    "support_thickness_A": 4.0,
    "mistilt_deg": 0.7,
    "rotation_deg": 20.0,
}


def build(kind="slab_flat", thickness_atoms=4, seed=1, field=FIELD, cell=CELL, **changes):
    return build_structure(perfect(kind, thickness_atoms, **changes), field, cell, seed)


def arrays(structure):
    for item in fields(structure):
        value = getattr(structure, item.name)
        if isinstance(value, np.ndarray):
            yield item.name, value
    for item in fields(structure.columns):
        yield item.name, getattr(structure.columns, item.name)


@pytest.mark.parametrize("kind", KINDS)
def test_structure_is_repeated_from_its_seed_and_number(kind):
    first, again = build(kind, **DIRTY), build(kind, **DIRTY)
    for (name, one), (_, two) in zip(arrays(first), arrays(again), strict=True):
        np.testing.assert_array_equal(one, two, err_msg=name)


@pytest.mark.parametrize("change", [{"seed": 2}, {"number": 7}])
def test_another_seed_or_number_changes_every_random_choice(change):
    def choices(**changes):
        yield build("irregular", **changes).site_id
        yield build(oxygen_vacancy_fraction=0.1, **changes).columns.n_vacancies
        yield build(support_thickness_A=2.0, **changes).support
        yield displace(build(**changes), changes.get("seed", 1)).positions

    for one, other in zip(choices(), choices(**change), strict=True):
        assert not np.array_equal(one, other)


@pytest.mark.parametrize(("remainder", "counts"), [(0.0, {5}), (0.6, {4, 5})])
def test_nine_or_ten_planes_put_five_or_alternately_four_and_five_atoms(remainder, counts):
    structure = build(thickness_atoms=5, thickness_remainder=remainder)
    for species in (CERIUM, OXYGEN):
        own = (structure.columns.species == species) & (structure.columns.surface == "bulk")
        assert set(structure.columns.sites[own]) == counts
    assert structure.plane.max() + 1 == (10 if remainder == 0 else 9)
    cerium = structure.columns.species == CERIUM
    x = structure.columns.position[cerium, 0]
    row = ((x - x.min()) / (5.411 / np.sqrt(8))).round().astype(int)
    by_row = [set(structure.columns.sites[cerium][row == i]) for i in range(row.max() + 1)]
    assert all(len(counts) == 1 for counts in by_row)
    assert all((a != b) == (remainder > 0) for a, b in pairwise(by_row))


def test_depth_is_relative_to_the_mean_of_the_atoms_present():
    structure = build("octahedron", **DIRTY)
    assert structure.positions[:, 2].mean() == pytest.approx(0, abs=1e-12)
    order = np.argsort(structure.positions[:, 2])
    assert structure.plane[order[0]] < structure.plane[order[-1]]


def test_planes_are_their_spacing_apart():
    structure = build(thickness_atoms=4)
    spacing = np.polyfit(structure.plane, structure.positions[:, 2], 1)[0]
    assert spacing == pytest.approx(5.411 / np.sqrt(8))
    assert structure.plane.min() == 0


def test_particle_stands_in_the_middle_plus_its_shift():
    middle = build("octahedron", offset_1=0.0, offset_2=0.0, offset_3=0.0, aspect=0.7)
    np.testing.assert_allclose(middle.positions[:, :2].mean(axis=0), FIELD.centre, atol=0.8)
    shift = build(
        "octahedron",
        offset_1=0.0,
        offset_2=0.0,
        offset_3=0.0,
        aspect=0.7,
        shift_x_A=2.5,
        shift_y_A=-1.5,
    )
    np.testing.assert_allclose(
        shift.positions - middle.positions, np.tile((2.5, -1.5, 0), (len(shift.species), 1))
    )


def test_pose_rotates_x_towards_y_and_tilts_about_the_azimuth():
    points = np.array([(1.0, 0, 0), (0, 1, 0), (0, 0, 1)])
    field = Field((3, 3), 1.0)
    p = perfect("cube", 3)
    turned = place(points, replace(p, rotation_deg=30.0), field) - (1, 1, 0)
    np.testing.assert_allclose(turned[0], (np.sqrt(3) / 2, 0.5, 0), atol=1e-12)
    tilted = place(points, replace(p, mistilt_deg=2.0, mistilt_azimuth_deg=90.0), field)
    tilted = tilted - (1, 1, 0)
    np.testing.assert_allclose(tilted[1], (0, 1, 0), atol=1e-12)  # the tilt axis is y
    np.testing.assert_allclose(tilted[2], (np.sin(np.radians(2)), 0, np.cos(np.radians(2))))
    both = replace(p, rotation_deg=77.0, mistilt_deg=3.0, mistilt_azimuth_deg=40.0)
    matrix = place(points, both, field) - (1, 1, 0)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)
    assert matrix[2, 2] == pytest.approx(np.cos(np.radians(3)))


def test_columns_are_cropped_whole():
    structure = build(thickness_atoms=8, mistilt_deg=2.0)
    assert set(structure.columns.sites[structure.columns.surface == "bulk"]) == {8}
    x0, x1, y0, y1 = CELL.bounds
    x, y, _ = structure.positions.T
    assert x0 < x.min()
    assert x.max() < x1
    assert y0 < y.min()
    assert y.max() < y1
    assert y.min() < y0 + 5
    assert y.max() > y1 - 5


def test_crystal_out_of_the_cell_is_an_error_that_names_the_structure():
    with pytest.raises(StructureError, match=r"number 5 .*no atom in the cell"):
        build(edge_A=-100.0, number=5)


def test_surface_atoms_shake_more():
    structure = build("octahedron", 5, aspect=0.8, surface_rms_factor=2.0)
    cerium, oxygen = (structure.positions[structure.species == s] for s in (CERIUM, OXYGEN))
    for own, others, full, rms, species in (
        (cerium, oxygen, 8, 0.06, CERIUM),
        (oxygen, cerium, 4, 0.08, OXYGEN),
    ):
        bonds = cKDTree(others).query_ball_point(own, 2.5, return_length=True)
        expected = np.where(bonds < full, 2 * rms, rms)
        np.testing.assert_allclose(structure.rms[structure.species == species], expected)
        assert 0 < (bonds < full).mean() < 1


def test_crop_does_not_make_a_surface():
    structure = build(thickness_atoms=4, edge_A=5.0)
    x = structure.columns.position[:, 0]
    deep = x < FIELD.centre[0] + 5.0 - 8.0
    assert set(structure.columns.surface[deep]) == {"bulk"}


def test_flat_edge_is_surface_then_subsurface_then_bulk():
    structure = build(thickness_atoms=4, edge_A=5.0)
    for species in (CERIUM, OXYGEN):
        own = structure.columns.species == species
        x, surface = structure.columns.position[own, 0], structure.columns.surface[own]
        layers = [set(surface[abs(x - layer) < 0.01]) for layer in np.unique(x.round(3))[::-1]]
        assert layers[0] == {"surface"}
        assert layers[1] == {"subsurface"}
        assert all(layer == {"bulk"} for layer in layers[3:])
        assert len(layers) > 5


def test_tips_of_saw_teeth_are_edges():
    structure = build("slab_sawtooth", thickness_atoms=3, period_A=16.233)
    cerium = structure.columns.species == CERIUM
    x, y = structure.columns.position[cerium].T
    surface = structure.columns.surface[cerium]
    tips = x > x.max() - 0.01
    assert set(surface[tips]) == {"edge"}
    np.testing.assert_allclose(np.diff(np.sort(y[tips])), 16.233)
    assert (surface == "edge").sum() <= 2 * tips.sum() + 2


def test_first_configurations_do_not_depend_on_their_number():
    few = build("cube", n_phonons=2, support_thickness_A=3.0)
    many = replace(few, parameters=replace(few.parameters, n_phonons=5))
    one, two = displace(few, seed=3), displace(many, seed=3)
    assert two.positions.shape == (5, len(few.species), 3)
    np.testing.assert_array_equal(one.positions, two.positions[:2])
    np.testing.assert_array_equal(one.support, two.support[:2])
    assert not np.array_equal(displace(few, seed=4).positions, one.positions)


def test_thermal_displacements_have_the_rms_of_each_atom():
    structure = build("cube", n_phonons=200, support_thickness_A=3.0)
    moved = displace(structure, seed=1)
    spread = np.sqrt(((moved.positions - structure.positions) ** 2).mean(axis=(0, 2)))
    np.testing.assert_allclose(spread / structure.rms, 1, atol=0.2)
    assert (spread / structure.rms).mean() == pytest.approx(1, abs=0.01)
    carbon = (moved.support - structure.support).std()
    assert carbon == pytest.approx(RMS_CARBON, rel=0.01)


@pytest.mark.parametrize("side", ["entrance", "exit"])
def test_carbon_touches_the_particle_and_fills_the_cell(side):
    structure = build("octahedron", support_thickness_A=8.0, support_side=side)
    carbon, z = structure.support, structure.positions[:, 2]
    x0, x1, y0, y1 = CELL.bounds
    height, width = CELL.extent
    gap = carbon[:, 2].min() - z.max() if side == "exit" else z.min() - carbon[:, 2].max()
    assert gap == pytest.approx(2.2, abs=0.1)
    assert np.ptp(carbon[:, 2]) == pytest.approx(8.0, abs=0.1)
    density = len(carbon) * 12.011 / 6.02214e23 / (width * height * 8.0 * 1e-24)
    assert density == pytest.approx(2.0, rel=1e-3)
    histogram = np.histogram2d(*carbon.T[:2], bins=4, range=[(x0, x1), (y0, y1)])[0]
    assert histogram.min() > 0.6 * histogram.mean()


def test_carbon_atoms_keep_their_distance_across_the_border_too():
    cell = Cell((60, 80), 0.25, (10, 10), 1)
    carbon = fill_carbon(np.zeros(1), cell, 6.0, "exit", np.random.default_rng(2))
    gaps = carbon[:, None] - carbon
    height, width = cell.extent
    gaps[..., 0] -= width * np.rint(gaps[..., 0] / width)
    gaps[..., 1] -= height * np.rint(gaps[..., 1] / height)
    distance = np.linalg.norm(gaps, axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert distance.min() >= 1.4


def test_no_support_is_no_carbon():
    assert build().support.shape == (0, 3)


PARAMETERS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(KINDS),
        "thickness_atoms": st.integers(1, 7),
        "thickness_remainder": st.floats(0, 1),
        "aspect": st.floats(0.8, 2),
        "elongation": st.floats(1, 4),
        "truncation": st.floats(0, 1),
        "offset_1": st.floats(0, 1),
        "offset_2": st.floats(0, 1),
        "offset_3": st.floats(0, 1),
        "edge_A": st.floats(-5, 8),
        "period_A": st.floats(6, 30),
        "n_terraces": st.integers(0, 4),
        "two_coordinated_oxygen": st.floats(0, 1),
        "rotation_deg": st.floats(0, 360),
        "shift_x_A": st.floats(-3, 3),
        "shift_y_A": st.floats(-3, 3),
        "mistilt_deg": st.floats(0, 2),
        "mistilt_azimuth_deg": st.floats(0, 360),
        "oxygen_vacancy_fraction": st.floats(0, 0.3),
        "oxygen_vacancy_arrangement": st.sampled_from(["random", "clustered", "surface"]),
        "cerium_vacancy_fraction": st.floats(0, 0.1),
        "n_cerium_adatoms": st.integers(0, 5),
        "n_oxygen_adatoms": st.integers(0, 5),
        "relaxation_A": st.floats(0, 0.1),
        "n_phonons": st.integers(1, 2),
    }
)
ZONE_AXES = st.sampled_from([(1, 1, 0)] * 4 + [(1, 0, 0), (1, 1, 1), (1, 1, 2)])


@given(PARAMETERS, ZONE_AXES, st.integers(0, 10**9))
@settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
def test_invariants_hold_for_any_parameters(changes, zone_axis, seed):
    if changes["kind"] != "slab_sawtooth":  # its teeth need a <110> axis
        changes = changes | {"zone_axis": zone_axis}
    structure = build_structure(
        perfect(changes.pop("kind"), changes.pop("thickness_atoms"), **changes), FIELD, CELL, seed
    )
    p, columns = structure.parameters, structure.columns
    occupancy = columns.sites - columns.n_vacancies + columns.n_adatoms
    found = np.unique(structure.site_id, return_counts=True)
    np.testing.assert_array_equal(found[0], columns.site_id[occupancy > 0])
    np.testing.assert_array_equal(found[1], occupancy[occupancy > 0])
    assert (np.diff(columns.site_id) > 0).all()
    assert (columns.n_vacancies <= columns.sites).all()
    index = np.searchsorted(columns.site_id, structure.site_id)
    np.testing.assert_array_equal(columns.species[index], structure.species)
    assert occupancy[columns.species == CERIUM].max(initial=0) <= p.thickness_atoms
    assert set(columns.surface) <= {"edge", "surface", "subsurface", "bulk"}

    x0, x1, y0, y1 = CELL.bounds
    x, y, z = structure.positions.T
    assert x0 < x.min() <= x.max() < x1
    assert y0 < y.min() <= y.max() < y1
    assert abs(z.mean()) < 1e-9
    if len(x) > 1:
        assert cKDTree(structure.positions).query(structure.positions, 2)[0][:, 1].min() > 1.5
    adatoms = p.n_cerium_adatoms + p.n_oxygen_adatoms > 0
    planes = n_planes(p.zone_axis, p.thickness_atoms, adatoms)
    assert 0 <= structure.plane.min() <= structure.plane.max() < planes

    configurations = displace(structure, seed)
    table = column_table(structure, configurations, FIELD, row=0)
    atoms = atom_table(structure, row=0)
    assert table["occupancy"].sum() == len(atoms)
    painted = class_map(table, FIELD, max_count=255)
    masks = volume(atoms, table, planes, FIELD)
    np.testing.assert_array_equal((masks & 1).sum(axis=0), painted[CERIUM])
    np.testing.assert_array_equal((masks >> 1).sum(axis=0), painted[OXYGEN])
