import numpy as np
import pytest
from scipy.spatial import cKDTree

from ceria_data.crystal import CERIUM, OXYGEN, n_planes
from ceria_data.errors import ConfigError
from ceria_data.grid import Field, cell_around
from ceria_data.particle import build_structure, perfect
from ceria_data.shapes import KINDS, edge_normal

A = 5.411
FIELD = Field((140, 180), 0.25)
CELL = cell_around(FIELD, 0.25, 4.0)
SLABS = ("slab_flat", "slab_sawtooth", "slab_stepped")


def build(kind, thickness_atoms, seed=1, **changes):
    return build_structure(perfect(kind, thickness_atoms, **changes), FIELD, CELL, seed)


def cerium_columns(structure):
    own = structure.columns.species == CERIUM
    return structure.columns.position[own], structure.columns.sites[own]


def outline(structure):
    """Outermost Ce column along +x in every row, as (y, x)."""
    x, y = cerium_columns(structure)[0].T
    rows = np.unique(y.round(6))
    return rows, np.array([x[abs(y - row) < 1e-5].max() for row in rows])


@pytest.mark.parametrize("kind", KINDS)
def test_no_column_is_thicker_than_asked(kind):
    structure = build(kind, 6, aspect=1.2, two_coordinated_oxygen=1.0)
    assert structure.columns.sites.max() <= 6
    assert structure.columns.sites.min() >= 1


@pytest.mark.parametrize("kind", SLABS)
def test_slab_is_full_inside_and_empty_beyond_its_edge(kind):
    structure = build(kind, 4, edge_A=3.0)
    points, sites = cerium_columns(structure)
    assert (sites == 4).all()
    surface = FIELD.centre[0] + 3.0
    height = {"slab_flat": 0.0, "slab_sawtooth": 16.233 / 4 / np.sqrt(2), "slab_stepped": 2 * 1.914}
    assert points[:, 0].max() <= surface + height[kind] + 1e-3
    x0, _, y0, y1 = CELL.bounds
    inside = points[:, 0] < surface - 6
    area = (surface - 6 - x0 - 1) * (y1 - y0 - 2)
    assert inside.sum() == pytest.approx(area * 2 / (A * A / np.sqrt(2)), rel=0.08)


def test_flat_edge_is_flat_and_moves_with_edge_A():
    _, x = outline(build("slab_flat", 3))
    assert np.ptp(x) == pytest.approx(A / np.sqrt(8), abs=1e-6)  # two rows of (220)
    _, moved = outline(build("slab_flat", 3, edge_A=3 * A / np.sqrt(8)))
    assert moved.max() - x.max() == pytest.approx(3 * A / np.sqrt(8))


def test_saw_teeth_are_111_facets_at_the_asked_period():
    rows, x = outline(build("slab_sawtooth", 3, period_A=4 * A))
    tips = rows[x > x.max() - 0.1]
    np.testing.assert_allclose(np.diff(tips), 4 * A, atol=1e-3)
    between = (rows > tips[0]) & (rows < tips[0] + 1.9 * A)
    slope = np.polyfit(rows[between], x[between], 1)[0]
    assert 2 * np.degrees(np.arctan(-slope)) == pytest.approx(70.53, abs=0.01)


def test_steps_are_one_220_spacing_high_and_go_both_ways():
    ups, downs = 0, 0
    for seed in range(4):
        _, x = outline(build("slab_stepped", 3, seed=seed, period_A=9.0))
        surface = np.maximum(x[1:], x[:-1])  # neighbouring rows are shifted by one spacing
        steps = np.diff(surface) / (A / np.sqrt(8))
        np.testing.assert_allclose(steps, steps.round(), atol=1e-6)
        assert abs(steps).max() < 1.01
        assert np.ptp(surface) < 4.01 * A / np.sqrt(8)
        ups, downs = ups + (steps > 0.5).sum(), downs + (steps < -0.5).sum()
    assert ups > 2
    assert downs > 2


def test_octahedron_shows_two_111_pairs_at_their_angle():
    structure = build("octahedron", 6, truncation=0.0, aspect=0.9)
    points, _ = cerium_columns(structure)
    centred = points - FIELD.centre
    for sign in (1, -1):
        normal = np.array((np.sqrt(2 / 3), sign * np.sqrt(1 / 3)))
        reach = 0.9 * 12 * A / np.sqrt(8) / 2
        distance = centred @ normal
        assert distance.max() <= reach + 1e-5
        assert distance.max() > reach - A / np.sqrt(3)
        on_face = points[distance > distance.max() - 0.01]
        assert len(on_face) >= 4  # a whole facet, not a corner


def test_octahedron_is_thinner_towards_its_tips_and_truncation_removes_them():
    height = {}
    for truncation in (0.0, 1.0):
        structure = build("octahedron", 7, truncation=truncation)
        points, sites = cerium_columns(structure)
        away = abs(points[:, 1] - FIELD.centre[1])
        if truncation == 0.0:
            assert sites[away > away.max() - 3].max() < sites[away < 3].min()
        height[truncation] = np.ptp(points[:, 1])
    assert height[1.0] < 0.65 * height[0.0]


def test_cube_shows_100_and_110_edges():
    points, _ = cerium_columns(build("cube", 6, truncation=0.0, zone_axis=(1, 0, 0)))
    size = 12 * A / 2
    np.testing.assert_allclose(np.ptp(points, axis=0), size, atol=A / 2 + 0.01)
    columns = np.prod(np.ptp(points, axis=0) / (A / 2) + 1)
    assert len(points) == pytest.approx(columns)


def test_rod_is_as_long_as_asked_along_x():
    points, _ = cerium_columns(build("rod", 6, aspect=0.5, elongation=3.0))
    length, width = np.ptp(points, axis=0)
    assert length > 1.4 * width
    longer, _ = cerium_columns(build("rod", 6, aspect=0.5, elongation=4.0))
    reach = 0.5 * 12 * A / np.sqrt(8) / 2 * np.sqrt(3 / 2)
    assert np.ptp(longer[:, 0]) - length == pytest.approx(2 * reach, abs=A)


def test_irregular_particles_differ_from_seed_to_seed():
    first, second = (build("irregular", 6, seed=seed) for seed in (1, 2))
    assert len(first.species) != len(second.species)


@pytest.mark.parametrize("kind", ["octahedron", "cube", "rod", "irregular"])
@pytest.mark.parametrize("zone_axis", [(1, 1, 0), (1, 0, 0), (1, 1, 1)])
def test_oxygen_belongs_to_the_crystal_from_three_cerium_on(kind, zone_axis):
    structure = build(kind, 3, zone_axis=zone_axis, aspect=0.9, elongation=1.3)
    cerium, oxygen = (structure.positions[structure.species == s] for s in (CERIUM, OXYGEN))
    bonds = cKDTree(cerium).query_ball_point(oxygen, 2.5, return_length=True)
    assert bonds.min() == 3
    assert bonds.max() == 4
    assert cKDTree(oxygen).query_ball_point(cerium, 2.5, return_length=True).min() >= 2
    # Every O site with three Ce is filled: look for empty ones around the Ce.
    around = np.array([v for v in np.ndindex(3, 3, 3) if 1 not in v]) - 1.0
    axes = view_matrix(zone_axis)
    sites = (cerium[:, None] + A / 4 * around @ axes.T).reshape(-1, 3)
    empty = sites[cKDTree(oxygen).query(sites)[0] > 0.1]
    assert cKDTree(cerium).query_ball_point(empty, 2.5, return_length=True).max() <= 2


def view_matrix(zone_axis):
    """Rows: unit vectors of the image axes along the cubic axes."""
    rows = {
        (1, 1, 0): [(-1, 1, 0), (0, 0, 1), (1, 1, 0)],
        (1, 0, 0): [(0, 1, 0), (0, 0, 1), (1, 0, 0)],
        (1, 1, 1): [(-1, 2, -1), (-1, 0, 1), (1, 1, 1)],
    }[zone_axis]
    return np.array([np.array(row) / np.linalg.norm(row) for row in rows])


def test_111_facets_end_in_oxygen():
    structure = build("octahedron", 6, truncation=0.0, aspect=0.9)
    for angle in np.radians((35.2644, -35.2644, 144.7356, -144.7356)):
        distance = structure.positions[:, :2] @ (np.cos(angle), np.sin(angle))
        outer = [distance[structure.species == s].max() for s in (CERIUM, OXYGEN)]
        assert outer[1] - outer[0] == pytest.approx(A * np.sqrt(3) / 12, abs=1e-4)


def test_share_of_two_coordinated_oxygen_is_the_asked_one():
    numbers = [
        (build("cube", 4, zone_axis=(1, 0, 0), two_coordinated_oxygen=p).species == OXYGEN).sum()
        for p in (0.0, 0.5, 1.0)
    ]
    assert (numbers[1] - numbers[0]) / (numbers[2] - numbers[0]) == pytest.approx(0.5, abs=0.1)
    assert numbers[2] - numbers[0] > 100


@pytest.mark.parametrize("thickness", [1, 2, 5])
def test_terraces_vary_the_counts_and_leave_an_atom_everywhere(thickness):
    plain = build("slab_flat", thickness)
    stepped = build("slab_flat", thickness, n_terraces=6)
    (points, sites), (all_points, _) = cerium_columns(stepped), cerium_columns(plain)
    np.testing.assert_allclose(points, all_points, atol=1e-9)
    assert sites.min() >= 1
    assert sites.max() <= thickness
    assert (len(np.unique(sites)) > 1) == (thickness > 1)


def test_faces_lie_in_one_plane_between_terraces():
    structure = build("slab_flat", 6, n_terraces=1, seed=5)
    tops = {}
    for face in (np.maximum, np.minimum):
        ends = np.full(len(structure.columns.site_id), structure.plane[0])
        index = np.searchsorted(structure.columns.site_id, structure.site_id)
        ends = np.array([face.reduce(structure.plane[index == i]) for i in range(len(ends))])
        tops[face] = len(np.unique(ends[structure.columns.species == CERIUM]))
    assert sorted(tops.values()) == [2, 4]  # one flat face of two alternating rows, one stepped


@pytest.mark.parametrize("zone_axis", [(1, 1, 0), (1, 0, 0), (1, 1, 1), (1, 1, 2), (2, 1, 1)])
def test_slab_edge_is_a_110_plane_seen_edge_on(zone_axis):
    normal = edge_normal(zone_axis)
    assert sorted(map(abs, normal)) == [0, 1, 1]
    assert np.dot(normal, zone_axis) == 0
    assert len(build("slab_flat", 2, zone_axis=zone_axis).species) > 100


def test_slab_on_an_axis_without_edge_on_110_is_refused():
    with pytest.raises(ConfigError, match=r"\{110\} edge"):
        build("slab_stepped", 3, zone_axis=(2, 1, 0))


@pytest.mark.parametrize("zone_axis", [(1, 0, 0), (1, 1, 1), (1, 1, 2)])
def test_saw_teeth_need_two_edge_on_111(zone_axis):
    with pytest.raises(ConfigError, match=r"two \{111\}"):
        build("slab_sawtooth", 3, zone_axis=zone_axis)


def test_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="slab_flat, slab_sawtooth"):
        build("pyramid", 3)


@pytest.mark.parametrize("zone_axis", [(1, 1, 0), (1, 0, 0), (1, 1, 1), (1, 1, 2), (2, 1, 0)])
def test_planes_fit_the_bound_with_all_that_can_stand_on_the_faces(zone_axis):
    reached = 0
    for seed in range(3):
        structure = build(
            "octahedron",
            2,
            seed=seed,
            zone_axis=zone_axis,
            aspect=1.5,
            n_terraces=seed,
            two_coordinated_oxygen=1.0,
        )
        assert structure.plane.max() < n_planes(zone_axis, 2, adatoms=False)
        changes = {"n_cerium_adatoms": 400, "n_oxygen_adatoms": 400}
        more = build("octahedron", 2, seed=seed, zone_axis=zone_axis, n_terraces=seed, **changes)
        reached = max(reached, more.plane.max() + 1)
        assert reached <= n_planes(zone_axis, 2, adatoms=True)
    assert reached > n_planes(zone_axis, 2, adatoms=False) or zone_axis != (1, 1, 0)


def test_facets_are_named():
    assert build("slab_sawtooth", 2).facets == "{111} {110}"
    assert build("octahedron", 2, zone_axis=(1, 0, 0)).facets == "{111} {100}"
