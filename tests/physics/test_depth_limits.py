from dataclasses import replace

import numpy as np
import pytest

from ceria_data.depth_limits import along_beam, column_moves, lattice_error
from ceria_data.grid import cell_around
from ceria_data.observer import fisher_information, information_beside, position_bound
from ceria_data.optics import form_image
from ceria_data.patch import patch_around, patch_settings, specimen_in
from ceria_data.scattering import exit_waves
from ceria_data.slices import lay_slices
from ceria_data.waves import ScatteringSettings, Specimen
from tests.physics.reference import CERIUM, LATTICE, OXYGEN, image_parameters, island, specimen

SAMPLING = 0.2
REPEAT = LATTICE / np.sqrt(2)
PATCH = patch_around(0.0, 0.0, SAMPLING)
SETTINGS = patch_settings(ScatteringSettings())
# The envelope of the angular spread belongs to the focus of z = 0, whatever stands there.
IMAGE = image_parameters(angular_spread_mrad=0.0)
ASTIGMATIC = image_parameters(angular_spread_mrad=0.0, A1_A=15.0, B2_A=100.0, A2_A=200.0)


def image_of(one, image=IMAGE):
    cell = cell_around(PATCH.field, SETTINGS.sampling_A, SETTINGS.padding_A)
    (wave,) = exit_waves([specimen_in(PATCH, one, SETTINGS)], cell, SETTINGS)
    return form_image(wave, image, PATCH.field).astype(np.float64)


def focused(one, image):
    """Change of the image per Å of underfocus."""
    under, over = (
        image_of(one, replace(image, defocus_A=image.defocus_A + step)) for step in (0.5, -0.5)
    )
    return under - over


def apart(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def alone(number, atoms):
    """One column of atoms, entrance face first, 0.3 Å from the middle of the patch."""
    z = REPEAT * (np.arange(atoms) - (atoms - 1) / 2)
    positions = np.column_stack([np.full(atoms, 0.3), np.full(atoms, -0.1), z])
    return specimen(positions, np.full(atoms, number, np.uint8), phonons=2)


@pytest.mark.parametrize("image", [IMAGE, ASTIGMATIC])
@pytest.mark.parametrize(("number", "atoms"), [(OXYGEN, 1), (OXYGEN, 3), (CERIUM, 3)])
def test_moving_all_that_there_is_means_focusing(number, atoms, image):
    one = alone(number, atoms)
    moves = column_moves(one, np.arange(atoms), REPEAT, PATCH, image, SETTINGS)
    assert apart(moves.along, focused(one, image)) < 2e-3


@pytest.fixture(scope="module")
def crystal():
    """A few columns of both species, four atoms thick, and which atoms form each of them."""
    positions, numbers = island(3.0, 3.2, 7.5)
    one = specimen(positions, numbers)
    _, name = np.unique(positions[:, :2].round(3), axis=0, return_inverse=True)
    return one, [np.flatnonzero(name == i) for i in range(name.max() + 1)]


def test_moves_of_all_columns_add_up_to_a_change_of_focus(crystal):
    one, columns = crystal
    assert len(columns) > 8
    moves = [column_moves(one, atoms, REPEAT, PATCH, IMAGE, SETTINGS) for atoms in columns]
    focus = focused(one, IMAGE)
    assert apart(sum(each.along for each in moves), focus) < 0.02
    assert apart(moves[0].along, focus) > 0.5


def test_a_step_and_a_shift_are_those_of_a_crystal_built_that_way(crystal):
    one, columns = crystal
    atoms = max(columns, key=lambda own: (one.numbers[own[0]] == CERIUM, len(own)))
    moves = column_moves(one, atoms, REPEAT, PATCH, IMAGE, SETTINGS)
    still = image_of(one)
    assert moves.intensity == pytest.approx(still)

    def built(axis, distance):
        positions, depths = one.positions.copy(), one.slices.z[one.slices.member]
        positions[:, atoms, axis] += distance
        depths[atoms] += distance * (axis == 2)
        return image_of(Specimen(positions, one.numbers, lay_slices(depths, 0.5)))

    for found, distance in zip(moves.steps, (REPEAT, -REPEAT), strict=True):
        assert apart(found, built(2, distance) - still) < 0.002
    for axis, found in enumerate(moves.across):
        assert apart(found, (built(axis, 0.05) - built(axis, -0.05)) / 0.1) < 0.002


def test_the_ends_are_the_first_and_the_last_atom_along_the_beam():
    one = alone(CERIUM, 3)
    shuffled = np.array([1, 0, 2])
    moves = column_moves(one, shuffled, REPEAT, PATCH, IMAGE, SETTINGS)
    for end, kept in ((0, [False, True, True]), (1, [True, True, False])):
        assert moves.ends[end] == pytest.approx(image_of(one) - image_of(one.of(np.array(kept))))


def test_a_derivative_does_not_depend_on_how_far_the_column_goes(crystal):
    one, columns = crystal
    atoms = max(columns, key=len)
    moves = column_moves(one, atoms, REPEAT, PATCH, IMAGE, SETTINGS)
    fine = (
        image_of(along_beam(one, atoms, 0.2)) - image_of(along_beam(one, atoms, -0.2))
    ) / 0.4  # fmt: skip
    assert apart(moves.along, fine) < 0.01


def test_a_column_that_does_not_move_changes_nothing(crystal):
    one, columns = crystal
    for atoms in (columns[0], columns[-1]):
        assert image_of(along_beam(one, atoms, 0.0)) == pytest.approx(image_of(one), abs=5e-4)


def test_moved_atoms_pass_each_other_and_leave_no_empty_plane():
    positions = np.array([[[0.0, 0.0, z] for z in (0.0, 0.1, 2.0, 4.0)]])
    one = Specimen(positions, np.zeros(4, np.uint8), lay_slices(positions[0, :, 2], 0.5))
    moved = along_beam(one, np.array([0, 2]), 3.0)
    assert moved.slices.z == pytest.approx([0.05, 3.05, 4.0, 5.0])
    assert moved.slices.member.tolist() == [1, 0, 3, 2]
    assert moved.positions[0, :, 2] == pytest.approx([3.0, 0.1, 5.0, 4.0])
    assert one.positions[0, 0, 2] == 0.0


def test_information_is_that_of_the_bound_of_a_position():
    y, x = np.indices((30, 30)) * 0.2 - 3.0
    value = np.exp(-0.5 * (x**2 + 2 * y**2 + x * y))
    gradient = np.stack([value * (x + y / 2), value * (2 * y + x / 2)])
    information = 50.0 * fisher_information(1 + value, gradient, 0.2)
    left = [information_beside(information, [i])[0, 0] for i in (0, 1)]
    assert 100 / np.sqrt(left) == pytest.approx(position_bound(1 + value, gradient, 50.0, 0.2))
    assert information_beside(information, [1, 0]) == pytest.approx(information[::-1, ::-1])


def test_what_looks_like_something_unknown_tells_nothing():
    change = np.array([[1.0, 2.0], [0.0, 1.0]])
    information = fisher_information(np.ones((2, 2)), np.stack([change, 3 * change]), 1.0)
    assert information_beside(information, [0])[0, 0] == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ValueError, match="do not belong"):
        fisher_information(np.ones((2, 2)), np.ones((1, 2, 3)), 1.0)


def test_the_best_fit_of_a_depth_beside_a_place_and_a_count_reaches_the_bound(crystal):
    """One Newton step from the truth, on many noisy images."""
    one, columns = crystal
    moves = column_moves(one, max(columns, key=len), REPEAT, PATCH, IMAGE, SETTINGS)
    changes = np.concatenate([moves.along[None], moves.across, moves.ends[1:]])
    electrons = 2000.0 * SAMPLING**2
    mean = electrons * moves.intensity
    information = 2000.0 * fisher_information(moves.intensity, changes, SAMPLING)
    rng, estimates = np.random.default_rng(4), []
    for _ in range(1500):
        score = np.tensordot(changes, rng.poisson(mean) / moves.intensity - electrons, 2)
        estimates.append(np.linalg.solve(information, score))
    left = information_beside(information, [0])[0, 0]
    assert np.std(estimates, axis=0)[0] == pytest.approx(1 / np.sqrt(left), rel=0.06)


@pytest.mark.parametrize(
    ("information", "middle", "spread"),
    [(0.5, 0.0, np.inf), (0.03, 0.0, np.inf), (0.1, 1.9, 1.3), (0.02, -2.5, 1.3), (2.0, 5.7, 1.0)],
)
def test_the_error_on_a_lattice_is_that_of_the_most_probable_place(information, middle, spread):
    rng = np.random.default_rng(8)
    seen = middle + rng.standard_normal(40_000) / np.sqrt(information)
    k = np.arange(-12, 13)
    places = middle + REPEAT * k
    fit = -0.5 * information * (seen[:, None] - places) ** 2 - 0.5 * (places / spread) ** 2
    error = REPEAT * np.sqrt((k[fit.argmax(axis=1)] ** 2).mean())
    assert lattice_error(information, REPEAT, middle, spread) == pytest.approx(error, rel=0.05)


def test_a_lattice_helps_where_its_steps_are_long_only():
    assert lattice_error(100.0, REPEAT) < 1e-6
    assert lattice_error(1 / 400.0, REPEAT) == pytest.approx(20.0, rel=0.01)
    assert np.isinf(lattice_error(0.0, REPEAT))
    assert lattice_error(0.0, 4.0, middle=7.9, spread=1.0) == 8.0
