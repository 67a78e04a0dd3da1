import numpy as np
import pytest
from scipy.spatial import cKDTree

from ceria_data.crystal import CERIUM, OXYGEN, lattice_around, view_axes
from ceria_data.defects import relax
from ceria_data.errors import ConfigError
from ceria_data.grid import Field, cell_around
from ceria_data.particle import build_structure, perfect

FIELD = Field((180, 200), 0.25)
CELL = cell_around(FIELD, 0.25, 4.0)


def build(seed=1, kind="octahedron", thickness_atoms=6, **changes):
    return build_structure(perfect(kind, thickness_atoms, **changes), FIELD, CELL, seed)


def total(structure, species, name):
    return getattr(structure.columns, name)[structure.columns.species == species].sum()


def missing(perfect_one, defective):
    """Positions of the perfect crystal where the other one has no atom."""
    # Both are centred on their atoms; the most frequent offset undoes that.
    offset = perfect_one.positions[:, 2].min() - defective.positions[:, 2].min()
    found = cKDTree(defective.positions + np.array((0, 0, offset)))
    return perfect_one.positions[found.query(perfect_one.positions)[0] > 0.5]


@pytest.mark.parametrize("arrangement", ["random", "clustered", "surface"])
def test_asked_share_of_oxygen_is_missing(arrangement):
    structure = build(oxygen_vacancy_fraction=0.06, oxygen_vacancy_arrangement=arrangement)
    sites = total(structure, OXYGEN, "sites")
    assert total(structure, OXYGEN, "n_vacancies") == pytest.approx(0.06 * sites, abs=1)
    assert (structure.species == OXYGEN).sum() == sites - total(structure, OXYGEN, "n_vacancies")
    assert total(structure, CERIUM, "n_vacancies") == 0


def test_asked_share_of_cerium_is_missing():
    structure = build(cerium_vacancy_fraction=0.05)
    sites = total(structure, CERIUM, "sites")
    assert total(structure, CERIUM, "n_vacancies") == pytest.approx(0.05 * sites, abs=1)
    assert (structure.species == CERIUM).sum() == sites - total(structure, CERIUM, "n_vacancies")
    assert total(structure, OXYGEN, "n_vacancies") == 0


def test_share_below_one_atom_is_right_on_average():
    sites = total(build(thickness_atoms=3), OXYGEN, "sites")
    numbers = [
        total(build(seed, thickness_atoms=3, oxygen_vacancy_fraction=0.4 / sites), OXYGEN, name)
        for name in ["n_vacancies"]
        for seed in range(60)
    ]
    assert set(numbers) == {0, 1}
    assert np.mean(numbers) == pytest.approx(0.4, abs=0.2)


def test_clusters_are_denser_and_surface_vacancies_farther_out_than_random_ones():
    whole = build(kind="cube", thickness_atoms=7)
    middle = whole.positions.mean(axis=0)
    spacing, depth = {}, {}
    for arrangement in ("random", "clustered", "surface"):
        empty = missing(
            whole,
            build(
                kind="cube",
                thickness_atoms=7,
                oxygen_vacancy_fraction=0.03,
                oxygen_vacancy_arrangement=arrangement,
            ),
        )
        assert len(empty) > 15
        spacing[arrangement] = np.median(cKDTree(empty).query(empty, 2)[0][:, 1])
        inner = (whole.positions.max(axis=0) - middle) - abs(empty - middle)
        depth[arrangement] = inner.min(axis=1).mean()
    assert spacing["clustered"] < 3.0 < spacing["random"]
    assert depth["surface"] < 0.6 * depth["random"]


def test_unknown_arrangement_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="random, clustered, surface"):
        build(oxygen_vacancy_arrangement="ordered", oxygen_vacancy_fraction=0.1)


def test_emptied_columns_stay_with_no_atoms():
    structure = build(oxygen_vacancy_fraction=1.0)
    oxygen = structure.columns.species == OXYGEN
    whole = build()
    np.testing.assert_array_equal(structure.columns.site_id, whole.columns.site_id)
    np.testing.assert_array_equal(structure.columns.sites, whole.columns.sites)
    np.testing.assert_array_equal(
        structure.columns.n_vacancies[oxygen], structure.columns.sites[oxygen]
    )
    assert (structure.species == CERIUM).all()


def test_adatoms_stand_on_lattice_sites_outside_the_crystal():
    rough = {"n_terraces": 2, "two_coordinated_oxygen": 1.0}
    whole = build(**rough)
    more = build(**rough, n_cerium_adatoms=1000, n_oxygen_adatoms=15)  # Ce wherever it can
    assert total(more, CERIUM, "n_adatoms") > 50
    assert total(more, OXYGEN, "n_adatoms") == 15
    untouched = more.columns.site_id[more.columns.n_adatoms == 0][0]
    depths = [s.positions[s.site_id == untouched, 2] for s in (more, whole)]
    crystal = whole.positions + np.array((0, 0, (depths[0] - depths[1])[0]))
    distance, _ = cKDTree(crystal).query(more.positions)
    added = distance > 1.0
    assert added.sum() == more.columns.n_adatoms.sum() == len(more.species) - len(whole.species)
    cerium = crystal[whole.species == CERIUM]
    for atom, species in zip(more.positions[added], more.species[added], strict=True):
        near = np.linalg.norm(cerium - atom, axis=1)
        if species == CERIUM:
            assert (abs(near - 5.411 / np.sqrt(2)) < 0.01).sum() >= 3
        else:
            assert (abs(near - 5.411 * np.sqrt(3) / 4) < 0.01).sum() >= 1


def test_adatoms_are_put_where_the_image_shows_them():
    slab = build(kind="slab_flat", thickness_remainder=0.7, n_cerium_adatoms=500, edge_A=5.0)
    x, y = slab.columns.position[slab.columns.n_adatoms > 0].T
    assert len(x) > 50
    assert -0.5 <= (x / 0.25).min() <= (x / 0.25).max() <= 199.5
    assert -0.5 <= (y / 0.25).min() <= (y / 0.25).max() <= 179.5
    assert slab.columns.position.min() < -0.5 * 0.25


def test_adatoms_join_columns_up_to_the_thickness_and_form_new_ones():
    joined = founded = 0
    for seed in range(4):
        structure = build(seed, thickness_atoms=5, n_cerium_adatoms=300, n_terraces=2)
        columns = structure.columns
        cerium = columns.species == CERIUM
        occupancy = columns.sites - columns.n_vacancies + columns.n_adatoms
        assert occupancy[cerium].max() <= 5
        joined += (cerium & (columns.n_adatoms > 0) & (columns.sites > 0)).sum()
        founded += (cerium & (columns.n_adatoms > 0) & (columns.sites == 0)).sum()
    assert joined > 0
    assert founded > 0


def test_defects_do_not_move_the_rest_of_the_crystal():
    plain = build()
    for changes in ({"oxygen_vacancy_fraction": 0.1}, {"static_displacement_A": 0.0}):
        structure = build(**changes)
        np.testing.assert_array_equal(plain.columns.position, structure.columns.position)


def one_vacancy(kind):
    lattice = lattice_around(view_axes((1, 1, 0)), np.zeros(3), 7.0, 7.0)
    near = (lattice.sites**2).sum(axis=1)
    vacant = np.zeros(len(near), dtype=bool)
    vacant[np.flatnonzero((lattice.species == kind) & (near <= 3))[0]] = True
    return lattice, vacant


def test_oxygen_vacancy_pushes_four_cerium_and_pulls_six_oxygen():
    lattice, vacant = one_vacancy(OXYGEN)
    moved = relax(lattice, vacant, 0.08)
    outward = lattice.sites - lattice.sites[vacant]
    along = (moved * outward).sum(axis=1)
    is_cerium = lattice.species == CERIUM
    assert (along[is_cerium] > 1e-9).sum() == 4
    assert (along[~is_cerium] < -1e-9).sum() == 6
    lengths = np.linalg.norm(moved, axis=1)
    assert (lengths > 0).sum() == 10
    np.testing.assert_allclose(lengths[lengths > 0], 0.08)
    distance = np.linalg.norm(outward, axis=1)
    np.testing.assert_allclose(abs(along), distance * lengths, atol=1e-12)  # radial


def test_cerium_vacancy_pushes_eight_oxygen():
    lattice, vacant = one_vacancy(CERIUM)
    moved = relax(lattice, vacant, 0.05)
    along = (moved * (lattice.sites - lattice.sites[vacant])).sum(axis=1)
    assert (along > 1e-9).sum() == 8
    assert (lattice.species[along != 0] == OXYGEN).all()
    np.testing.assert_allclose(along[along > 0], 0.05 * np.sqrt(3))


def test_displacements_of_two_vacancies_add():
    lattice = lattice_around(view_axes((1, 1, 0)), np.zeros(3), 7.0, 7.0)
    masks = [(lattice.sites == site).all(axis=1) for site in ((1, 1, 1), (-1, 1, 1))]
    both = relax(lattice, masks[0] | masks[1], 0.1)
    np.testing.assert_allclose(both, sum(relax(lattice, mask, 0.1) for mask in masks))


def test_relaxation_reaches_the_atoms_in_the_frame_of_the_image():
    whole = build(rotation_deg=35.0, oxygen_vacancy_fraction=0.01)
    relaxed = build(rotation_deg=35.0, oxygen_vacancy_fraction=0.01, relaxation_A=0.1)
    shift = relaxed.positions - whole.positions
    moved = np.linalg.norm(shift - np.median(shift, axis=0), axis=1) > 0.05
    empty = missing(build(rotation_deg=35.0), whole)
    empty += (0, 0, whole.positions[:, 2].min() - build(rotation_deg=35.0).positions[:, 2].min())
    distance, nearest = cKDTree(empty).query(whole.positions)
    cerium = moved & (whole.species == CERIUM) & (distance < 2.5)
    assert cerium.sum() > 10
    outward = whole.positions - empty[nearest]
    along = (shift * outward).sum(axis=1)[cerium] / distance[cerium]
    assert np.median(along) == pytest.approx(0.1, abs=0.01)


def test_static_disorder_has_the_asked_rms():
    moved = build(static_displacement_A=0.07).positions - build().positions
    np.testing.assert_allclose(moved.std(axis=0), 0.07, rtol=0.1)
