from itertools import product

import numpy as np
import pytest

from ceria_data.crystal import (
    BOND_STEPS,
    CERIUM,
    CERIUM_STEPS,
    OXYGEN,
    OXYGEN_STEPS,
    cerium_planes,
    column_step,
    lattice_around,
    n_planes,
    plane_spacing,
    site_ids,
    view_axes,
)
from ceria_data.errors import ConfigError

AXES = [(1, 0, 0), (1, 1, 0), (0, 1, 1), (1, 1, 1), (1, 1, 2), (2, 1, 1), (2, 1, 0), (-1, 2, 3)]


def fluorite(extent):
    """Sites of CeO2 from fractional coordinates, in quarters of the cell."""
    cells = np.array(list(product(range(-extent, extent), repeat=3)))
    cerium = np.array([(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)])
    oxygen = np.array(list(product((0.25, 0.75), repeat=3)))
    return [(4 * (cells[:, None] + basis)).reshape(-1, 3).astype(int) for basis in (cerium, oxygen)]


@pytest.mark.parametrize("zone_axis", AXES)
def test_view_axes_are_perpendicular_primitive_and_right_handed(zone_axis):
    axes = view_axes(zone_axis)
    unit = axes.matrix / axes.lengths[:, None]
    np.testing.assert_allclose(unit @ unit.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(unit) == pytest.approx(1)
    assert [np.gcd.reduce(row) for row in axes.matrix] == [1, 1, 1]


def test_zone_axis_with_a_common_factor_is_the_same_axis():
    assert view_axes((2, 2, 0)) == view_axes((1, 1, 0))


def test_zone_axis_of_zeros_is_refused():
    with pytest.raises(ConfigError, match="zone_axis"):
        view_axes((0, 0, 0))


def test_lattice_holds_exactly_the_fluorite_sites():
    lattice = lattice_around(view_axes((1, 1, 0)), np.array((0.3, 0.2, 0.1)), 9.0, 7.0)
    for species, sites in zip((CERIUM, OXYGEN), fluorite(5), strict=True):
        units = lattice.axes.matrix / lattice.axes.lengths[:, None]
        x, y, z = (sites @ units.T - (0.3, 0.2, 0.1)).T
        expected = sites[(np.hypot(x, y) <= 9.0) & (abs(z) <= 7.0)]
        found = lattice.sites[lattice.species == species]
        assert sorted(map(tuple, found)) == sorted(map(tuple, expected))


@pytest.mark.parametrize(
    ("steps", "kind", "other", "number"),
    [
        (BOND_STEPS, CERIUM, OXYGEN, 8),
        (BOND_STEPS, OXYGEN, CERIUM, 4),
        (CERIUM_STEPS, CERIUM, CERIUM, 12),
        (OXYGEN_STEPS, OXYGEN, OXYGEN, 6),
    ],
)
def test_inner_sites_have_the_neighbours_of_fluorite(steps, kind, other, number):
    lattice = lattice_around(view_axes((1, 1, 1)), np.zeros(3), 9.0, 9.0)
    neighbours = lattice.neighbours(steps)
    inner = (lattice.species == kind) & ((lattice.sites**2).sum(axis=1) < 25)
    assert inner.sum() > 10
    assert ((neighbours[inner] >= 0).sum(axis=1) == number).all()
    site, step = np.nonzero((neighbours >= 0) & inner[:, None])
    reached = neighbours[site, step]
    np.testing.assert_array_equal(lattice.sites[site] + steps[step], lattice.sites[reached])
    assert (lattice.species[reached] == other).all()


@pytest.mark.parametrize("zone_axis", AXES)
def test_repeats_and_plane_steps_are_those_of_the_site_list(zone_axis):
    axes = view_axes(zone_axis)
    depths = {}
    for species, sites in zip((CERIUM, OXYGEN), fluorite(6), strict=True):
        projected = sites @ axes.matrix.T
        reference = projected[(abs(sites).sum(axis=1) <= 3)][0]
        column = (projected[:, :2] == reference[:2]).all(axis=1)
        repeat = np.diff(np.unique(projected[column, 2])).min()
        assert repeat == (axes.cerium_repeat, axes.oxygen_repeat)[species]
        depths[species] = projected[:, 2]
    both = np.concatenate(list(depths.values()))
    assert np.gcd.reduce(both - both[0]) == axes.plane_step
    assert np.gcd.reduce(depths[CERIUM]) == axes.cerium_plane_step


def test_plane_spacings_are_those_of_the_literature():
    assert plane_spacing((1, 1, 0), 5.411) == pytest.approx(5.411 / np.sqrt(8))
    assert plane_spacing((1, 0, 0), 5.411) == pytest.approx(5.411 / 4)
    assert plane_spacing((1, 1, 1), 5.411) == pytest.approx(5.411 * np.sqrt(3) / 12)


@pytest.mark.parametrize("thickness", [1, 2, 5])
@pytest.mark.parametrize("zone_axis", AXES)
def test_cerium_planes_put_the_asked_number_of_atoms_in_the_thickest_column(zone_axis, thickness):
    axes = view_axes(zone_axis)
    per_repeat = axes.cerium_repeat // axes.cerium_plane_step
    for remainder in (0.0, 0.3, 0.5, 0.99, 1.0):
        planes = cerium_planes(axes, thickness, remainder)
        in_column = [len(range(start, planes, per_repeat)) for start in range(per_repeat)]
        assert max(in_column) == thickness
        assert min(in_column) >= max(thickness - 1, 1)


def test_parity_follows_the_remainder():
    axes = view_axes((1, 1, 0))
    remainders = (0, 0.49, 0.5, 0.99)
    assert [cerium_planes(axes, 5, remainder) for remainder in remainders] == [10, 10, 9, 9]


def test_site_ids_tell_species_and_columns_apart():
    places = np.array(list(product(range(-40, 41, 7), repeat=2)))
    ids = np.concatenate([site_ids(np.full(len(places), s, np.uint8), places) for s in (0, 1)])
    assert len(np.unique(ids)) == 2 * len(places)
    assert ids.min() > 0


def test_column_step_leads_from_column_to_column():
    places = np.array([(-3, 5), (4, -2)])
    ids = site_ids(np.ones(2, np.uint8), places)
    assert ids[1] - ids[0] == column_step(places[1:] - places[:1])[0]


def test_planes_of_110_are_two_per_atom_and_two_more_for_adatoms():
    assert n_planes((1, 1, 0), 14, adatoms=False) == 28
    assert n_planes((1, 1, 0), 14, adatoms=True) == 30
