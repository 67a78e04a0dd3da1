import array_api_strict
import numpy as np
import pytest
from abtem.parametrizations import LobatoParametrization
from scipy import constants

from ceria_data.potential import form_factors, project
from ceria_data.waves import SYMBOLS
from tests.physics import reference

SHAPE, EXTENT = (60, 48), (6.0, 4.8)


@pytest.fixture(scope="module")
def atoms():
    rng = np.random.default_rng(3)
    counts = [[3, 4, 0], [0, 0, 0], [0, 2, 1]]
    total = sum(map(sum, counts))
    return rng.random(total), rng.random(total), counts


def factors(dtype):
    return form_factors(SYMBOLS, SHAPE, EXTENT).astype(dtype)


def factor_of_abtem(symbol, k2):
    return LobatoParametrization().scattering_factor(symbol)(k2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_potential_equals_the_plain_sum_over_atoms(atoms, dtype):
    x, y, counts = atoms
    slices = project(x, y, counts, factors(dtype))
    assert slices.dtype == dtype
    first = 0
    for potential, numbers in zip(slices, counts, strict=True):
        symbols = [s for s, n in zip(SYMBOLS, numbers, strict=True) for _ in range(n)]
        here = slice(first, first + len(symbols))
        xy = np.stack([x[here] * EXTENT[0], y[here] * EXTENT[1]], axis=1)
        expected = reference.potential_slice(xy, symbols, SHAPE[::-1], 0.1, factor_of_abtem)
        assert np.linalg.norm(potential.T - expected) <= 1e-5 * np.linalg.norm(expected)
        first += len(symbols)


def test_potential_near_an_atom_is_the_analytic_one():
    shape, sampling = (800, 800), 0.02
    table = form_factors(["Ce"], shape, (16.0, 16.0))
    potential = project(np.array([0.5]), np.array([0.5]), [[1]], table)[0]
    # Off the axes through the atom, where the missing Nyquist lines leave a ripple.
    r = np.array([14, 21, 28, 42])
    expected = LobatoParametrization().projected_potential("Ce")(r * np.sqrt(2) * sampling)
    assert potential[400 + r, 400 + r] == pytest.approx(expected, rel=2e-3)


def test_mean_potential_is_the_scattering_factor_at_zero(atoms):
    slices = project(*atoms, factors("float64"))
    per_atom = np.array([factor_of_abtem(symbol, 0.0) for symbol in SYMBOLS])
    volts = constants.h**2 / (2 * np.pi * constants.m_e * constants.e) * 1e20
    expected = volts * (atoms[2] @ per_atom) / (EXTENT[0] * EXTENT[1])
    assert slices.mean(axis=(1, 2)) == pytest.approx(expected, rel=1e-5)


def test_potential_does_not_depend_on_where_an_atom_lies_between_grid_points():
    table = factors("float64")
    sums = [
        np.sum(project(np.array([0.5 + d / 60]), np.array([0.5]), [[1, 0, 0]], table) ** 2)
        for d in (0.0, 0.25, 0.5)
    ]
    assert sums == pytest.approx([sums[0]] * 3, rel=1e-12)


def test_a_whole_cell_of_shift_changes_nothing_in_single_precision(atoms):
    x, y, counts = atoms
    table = factors("float32")
    near, far = project(x, y, counts, table), project(x + 1000.0, y - 1000.0, counts, table)
    assert np.linalg.norm(near - far) < 1e-6 * np.linalg.norm(near)


def test_potential_runs_on_any_array_module(atoms):
    x, y, counts = atoms
    strict = project(
        array_api_strict.asarray(x),
        array_api_strict.asarray(y),
        counts,
        array_api_strict.asarray(factors("float32")),
    )
    assert type(strict).__module__.startswith("array_api_strict")
    expected = project(x, y, counts, factors("float32"))
    # Two libraries of transforms: float32 rounds by the largest value.
    assert np.asarray(strict) == pytest.approx(expected, abs=1e-6 * float(expected.max()))
