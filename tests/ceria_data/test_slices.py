import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceria_data.grid import Field, cell_around
from ceria_data.slices import join_slices, lay_slices
from ceria_data.waves import Specimen

depths = st.lists(st.floats(-50, 50, allow_nan=False, width=32), max_size=40)


@given(depths, st.floats(0.01, 5))
def test_every_atom_is_in_a_slice_no_thicker_than_asked_for(z, thickness):
    z = np.asarray(z, float)
    slices = lay_slices(z, thickness)
    assert len(slices.member) == len(z)
    assert sorted(set(slices.member.tolist())) == list(range(len(slices.z)))
    for number, plane in enumerate(slices.z):
        own = z[slices.member == number]
        assert np.ptp(own) <= thickness + 1e-9
        assert plane == pytest.approx(own.mean())
    assert (np.diff(slices.z) > 0).all()


@given(depths, st.floats(0.01, 5))
def test_atoms_are_in_slices_in_their_order_along_the_beam(z, thickness):
    z = np.asarray(z, float)
    member = lay_slices(z, thickness).member[np.argsort(z, kind="stable")]
    assert (np.diff(member) >= 0).all()


def test_lattice_planes_are_not_cut():
    z = np.repeat([0.0, 1.9, 3.8], 20) + np.random.default_rng(0).uniform(-0.2, 0.2, 60)
    assert lay_slices(z, 0.5).z == pytest.approx([0.0, 1.9, 3.8], abs=0.1)


def test_fewer_atoms_stay_where_they_were():
    slices = lay_slices(np.array([0.0, 0.4, 2.0, 4.0]), 0.5)
    fewer = slices.of(np.array([True, False, False, True]))
    assert fewer.z.tolist() == [slices.z[0], slices.z[2]] == [0.2, 4.0]
    assert fewer.member.tolist() == [0, 1]
    assert slices.of(np.zeros(4, bool)).z.tolist() == []


def test_a_specimen_of_fewer_atoms_keeps_their_places():
    positions = np.random.default_rng(1).uniform(0, 3, (2, 5, 3))
    whole = Specimen(
        positions, np.array([0, 1, 1, 0, 2], np.uint8), lay_slices(positions[0, :, 2], 0.5)
    )
    kept = np.array([True, False, True, True, False])
    fewer = whole.of(kept)
    assert fewer.numbers.tolist() == [0, 1, 0]
    assert (fewer.positions == positions[:, kept]).all()
    assert fewer.slices.z[fewer.slices.member].tolist() == (
        whole.slices.z[whole.slices.member[kept]].tolist()
    )
    cell = cell_around(Field((16, 20), 0.2), sampling=0.1, padding=2.0)
    x_min, x_max, y_min, y_max = cell.bounds
    fractions = fewer.fractions(cell)
    assert fractions[..., 0] * (y_max - y_min) + y_min == pytest.approx(positions[:, kept, 1])
    assert fractions[..., 1] * (x_max - x_min) + x_min == pytest.approx(positions[:, kept, 0])


def test_an_atom_between_two_slices_gets_its_own_and_moves_no_other():
    z = np.array([0.0, 0.2, 4.0, 8.0])
    slices = lay_slices(z, 0.5)
    joined = join_slices(slices, np.array([2.0, 8.2, -3.0]), 0.5)
    assert joined.z == pytest.approx([-3.0, 0.1, 2.0, 4.0, 8.0])
    assert joined.z[joined.member] == pytest.approx([0.1, 0.1, 4.0, 8.0, 2.0, 8.0, -3.0])


def test_the_first_atom_of_empty_space_gets_a_slice():
    joined = join_slices(lay_slices(np.zeros(0), 0.5), np.array([1.0]), 0.5)
    assert joined.z.tolist() == [1.0]
    assert joined.member.tolist() == [0]
