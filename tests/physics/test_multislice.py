from dataclasses import replace

import numpy as np
import pytest
from abtem.parametrizations import LobatoParametrization

from ceria_data.errors import DeviceError, MissingExtraError, StructureError
from ceria_data.grid import Field, cell_around
from ceria_data.scattering import SYMBOLS, ScatteringSettings, abtem_settings, exit_waves
from tests.physics import reference

FIELD = Field((30, 40), 0.2)
CELL = cell_around(FIELD, sampling=0.1, padding=1.5)
SETTINGS = ScatteringSettings(precision="float64")
NO_CARBON = np.empty((1, 0, 3))


@pytest.fixture(scope="module")
def atoms():
    positions, species = reference.island(2.5, 1.9, 6.0)
    positions[:, :2] += FIELD.centre
    return reference.rattled(positions, species, phonons=1), species


@pytest.fixture(scope="module")
def expected(atoms):
    """Every slice from the first to the last atom, empty or not, one after the other."""
    positions, numbers = atoms[0][0], atoms[1]
    thickness = SETTINGS.slice_thickness_A
    planes = np.round(positions[:, 2] / thickness).astype(int)
    corner = CELL.sampling * np.array(CELL.origin[::-1])

    def factor(symbol, k2):
        return LobatoParametrization().scattering_factor(symbol)(k2)

    potentials = []
    for plane in range(planes.min(), planes.max() + 1):
        here = np.flatnonzero(planes == plane)
        symbols = [SYMBOLS[n] for n in numbers[here]]
        xy = positions[here, :2] + corner
        potentials.append(reference.potential_slice(xy, symbols, CELL.shape, CELL.sampling, factor))
    # Half a slice behind the centre of the last one.
    distances = [thickness] * (len(potentials) - 1) + [0.5 * thickness]
    wave = reference.multislice(potentials, distances, CELL.sampling, SETTINGS.energy_eV)
    return wave, (planes.max() + 0.5) * thickness


@pytest.mark.parametrize(
    ("precision", "fft", "limit"),
    [("float64", "numpy", 1e-5), ("float32", "numpy", 1e-4), ("float32", "fftw", 1e-4)],
)
def test_exit_wave_equals_an_independent_multislice(atoms, expected, precision, fft, limit):
    settings = ScatteringSettings(precision=precision, fft=fft)
    result = exit_waves(*atoms, NO_CARBON, CELL, settings)
    wave, z_exit = expected
    assert result.waves.dtype == {"float32": np.complex64, "float64": np.complex128}[precision]
    assert result.z_exit == z_exit
    assert reference.wave_error(result.waves[0], wave) < limit


def test_vacuum_is_one_in_every_point():
    result = exit_waves(
        np.empty((2, 0, 3)), np.empty(0, np.uint8), np.empty((2, 0, 3)), CELL, ScatteringSettings()
    )
    assert (result.waves == 1).all()
    assert result.waves.shape == (2, *CELL.shape)


def test_x_runs_along_the_last_axis():
    x, y = 2.0, 4.6
    wave = exit_waves(np.array([[[x, y, 0.0]]]), np.zeros(1, np.uint8), NO_CARBON, CELL, SETTINGS)
    brightest = np.unravel_index(np.argmax(np.angle(wave.waves[0])), CELL.shape)
    assert brightest == (CELL.origin[0] + 46, CELL.origin[1] + 20)


def test_a_second_configuration_with_longer_range_only_moves_the_exit_plane(atoms):
    positions, species = atoms
    far = positions.copy()
    far[0, :, 2] += 40.0
    both = np.concatenate([positions, far])
    alone = exit_waves(positions, species, NO_CARBON, CELL, SETTINGS)
    pair = exit_waves(both, species, np.empty((2, 0, 3)), CELL, SETTINGS)
    assert pair.z_exit == alone.z_exit + 40.0
    back = np.fft.ifft2(np.fft.fft2(pair.waves[0]) * propagator(-40.0))
    assert reference.wave_error(back, alone.waves[0]) < 1e-5


def test_empty_space_is_plain_propagation():
    atom = np.array([[[3.0, 3.0, 0.0]]])
    one = exit_waves(atom, np.zeros(1, np.uint8), NO_CARBON, CELL, SETTINGS)
    for z in (-30.0, 30.0):
        moved = exit_waves(
            atom + np.array([0, 0, z]), np.zeros(1, np.uint8), NO_CARBON, CELL, SETTINGS
        )
        distance = moved.z_exit - z - one.z_exit
        there = np.fft.ifft2(np.fft.fft2(one.waves[0]) * propagator(distance))
        assert reference.wave_error(moved.waves[0], there) < 1e-5


def test_carbon_scatters_like_carbon():
    atom = np.array([[[3.0, 3.0, 0.0]]])
    wave = exit_waves(atom[:, :0], np.empty(0, np.uint8), atom, CELL, SETTINGS).waves[0]
    factor = LobatoParametrization().scattering_factor("C")(0.0)
    mean_phase = reference.interaction(300e3) * 47.8776 * factor / np.prod(CELL.extent)
    assert np.fft.fft2(wave)[0, 0].imag / wave.size == pytest.approx(mean_phase, rel=2e-2)


def test_thickness_of_slices_does_not_defocus(atoms):
    positions, species = atoms
    waves = []
    for thickness in (1.0, 0.125):
        settings = replace(SETTINGS, slice_thickness_A=thickness)
        result = exit_waves(positions, species, NO_CARBON, CELL, settings)
        waves.append(np.fft.ifft2(np.fft.fft2(result.waves[0]) * propagator(-result.z_exit)))
    shifts = np.linspace(-0.5, 0.5, 21)
    spectrum = np.fft.fft2(waves[0])
    errors = [
        reference.wave_error(np.fft.ifft2(spectrum * propagator(shift)), waves[1])
        for shift in shifts
    ]
    # The potential at the entrance or exit of its slice would be 0.44 Å off.
    assert abs(shifts[np.argmin(errors)]) <= 0.1


def test_atoms_outside_the_cell_are_refused(atoms):
    positions, species = atoms
    with pytest.raises(StructureError, match="outside the periodic cell"):
        exit_waves(positions + np.array([CELL.extent[1], 0, 0]), species, NO_CARBON, CELL, SETTINGS)


def test_an_atom_at_the_edge_wraps():
    atom = np.array([[[CELL.bounds[0] - 0.05, 1.0, 0.0]]])
    other_side = atom + np.array([CELL.extent[1], 0, 0])
    waves = [
        exit_waves(a, np.zeros(1, np.uint8), NO_CARBON, CELL, SETTINGS).waves
        for a in (atom, other_side)
    ]
    assert waves[0] == pytest.approx(waves[1], abs=1e-9)


def test_unknown_devices_are_refused(atoms, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    with pytest.raises(DeviceError, match="'tpu'"):
        exit_waves(*atoms, NO_CARBON, CELL, SETTINGS, device="tpu")
    with pytest.raises(MissingExtraError, match=r"pip install 'ceria\[gpu\]'"):
        exit_waves(*atoms, NO_CARBON, CELL, SETTINGS, device="gpu")


def test_settings_of_abtem_name_all_that_changes_the_bytes():
    settings = abtem_settings(ScatteringSettings(precision="float64", fft="fftw"))
    assert settings["precision"] == "float64"
    assert settings["fft"] == "fftw"
    assert settings["fftw.planning_effort"] == "FFTW_ESTIMATE"


def propagator(distance):
    ky, kx = reference.grid(CELL.shape, CELL.sampling)
    return np.exp(-1j * np.pi * reference.wavelength(300e3) * distance * (kx**2 + ky**2))
