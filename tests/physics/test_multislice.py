from dataclasses import replace

import array_api_strict
import numpy as np
import pytest
from abtem.parametrizations import LobatoParametrization

from ceria_data import fourier, mkl
from ceria_data.abtem_waves import abtem_settings
from ceria_data.devices import Place, place_of
from ceria_data.errors import DeviceError, MissingExtraError, StructureError
from ceria_data.grid import Cell, Field, cell_around
from ceria_data.multislice import batched_waves
from ceria_data.optics import form_image
from ceria_data.scattering import check_engine, exit_waves
from ceria_data.waves import SYMBOLS, ExitWaves, ScatteringSettings
from tests.physics import reference

FIELD = Field((30, 40), 0.2)
CELL = cell_around(FIELD, sampling=0.1, padding=1.5)
GRID = ScatteringSettings(transmission="grid", precision="float64")
ABTEM = replace(GRID, engine="abtem")
SPLIT = ScatteringSettings(precision="float64")
ENERGY = GRID.energy_eV
MKL = replace(SPLIT, engine="batched_mkl")
ENGINES = [GRID, ABTEM, SPLIT, MKL]


def island(phonons=1, half_z=6.0, seed=0):
    positions, numbers = reference.island(2.5, 1.9, half_z)
    positions[:, :2] += FIELD.centre
    return reference.specimen(positions, numbers, phonons, seed)


def one_atom(x=3.0, y=3.0, z=0.0, number=0):
    return reference.specimen(np.array([[x, y, z]]), np.array([number], np.uint8), rms=0.0)


def at_zero(waves: ExitWaves):
    """The waves at z = 0, whatever plane the calculation ended on."""
    spectra = np.fft.fft2(waves.waves) * propagator(-waves.z_exit)
    return np.fft.ifft2(spectra)


def propagator(distance):
    ky, kx = reference.grid(CELL.shape, CELL.sampling)
    return np.exp(-1j * np.pi * reference.wavelength(ENERGY) * distance * (kx**2 + ky**2))


@pytest.fixture(scope="module")
def expected():
    """Slice by slice, with the slices found here once more."""
    specimen = island()
    positions = specimen.positions[0]
    corner = CELL.sampling * np.array(CELL.origin[::-1])

    def factor(symbol, k2):
        return LobatoParametrization().scattering_factor(symbol)(k2)

    potentials, planes = [], []
    for plane in range(specimen.slices.member.max() + 1):
        here = np.flatnonzero(specimen.slices.member == plane)
        symbols = [SYMBOLS[n] for n in specimen.numbers[here]]
        xy = positions[here, :2] + corner
        potentials.append(reference.potential_slice(xy, symbols, CELL.shape, CELL.sampling, factor))
        planes.append(reference.island(2.5, 1.9, 6.0)[0][here, 2].mean())
    wave = reference.multislice(potentials, [*np.diff(planes), 0.0], CELL.sampling, ENERGY)
    return np.fft.ifft2(np.fft.fft2(wave) * propagator(-planes[-1]))


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, 1e-5),
        ({"precision": "float32"}, 1e-4),
        ({"engine": "batched_mkl"}, 1e-5),
        ({"engine": "batched_mkl", "precision": "float32"}, 1e-4),
        ({"engine": "abtem"}, 1e-5),
        ({"engine": "abtem", "precision": "float32"}, 1e-4),
        ({"engine": "abtem", "precision": "float32", "fft": "fftw"}, 1e-4),
    ],
    ids=str,
)
def test_exit_wave_equals_an_independent_multislice(expected, changes, limit):
    settings = replace(GRID, **changes)
    (result,) = exit_waves([island()], CELL, settings)
    complex_of = {"float32": np.complex64, "float64": np.complex128}
    assert result.spectra.dtype == complex_of[settings.precision]
    assert reference.wave_error(at_zero(result)[0], expected) < limit


def test_batched_engine_equals_abtem_on_the_same_potentials():
    specimen = island(phonons=2)
    (ours,), (theirs,) = (exit_waves([specimen], CELL, settings) for settings in (GRID, ABTEM))
    assert reference.wave_error(at_zero(ours), at_zero(theirs)) < 1e-8


@pytest.mark.parametrize("settings", ENGINES, ids=repr)
def test_vacuum_is_one_in_every_point(settings):
    empty = reference.specimen(np.empty((0, 3)), np.empty(0, np.uint8), phonons=2)
    (result,) = exit_waves([empty], CELL, replace(settings, precision="float32"))
    assert result.waves.shape == (2, *CELL.shape)
    assert result.waves == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("settings", ENGINES, ids=repr)
def test_x_runs_along_the_last_axis(settings):
    (wave,) = exit_waves([one_atom(2.0, 4.6)], CELL, settings)
    brightest = np.unravel_index(np.argmax(np.angle(wave.waves[0])), CELL.shape)
    assert brightest == (CELL.origin[0] + 46, CELL.origin[1] + 20)


@pytest.mark.parametrize("settings", ENGINES, ids=repr)
def test_empty_space_is_plain_propagation(settings):
    (one,) = exit_waves([one_atom()], CELL, settings)
    for z in (-30.0, 30.0):
        (moved,) = exit_waves([one_atom(z=z)], CELL, settings)
        assert moved.z_exit == pytest.approx(one.z_exit + z)
        assert reference.wave_error(moved.waves, one.waves) < 1e-8


def test_empty_space_between_slices_is_plain_propagation():
    """Two atoms 40 Å apart and not above each other, in three slices with one in between."""
    pair = reference.specimen(
        np.array([[3.0, 3.0, 0.0], [3.0, 3.0, 11.0], [3.0, 3.0, 40.0]]),
        np.zeros(3, np.uint8),
        rms=0.0,
    )
    (waves,) = exit_waves([pair], CELL, GRID)
    (single,) = exit_waves([one_atom()], CELL, GRID)
    transmission, wave = single.waves[0], 1
    for distance in (11.0, 29.0):
        wave = np.fft.ifft2(np.fft.fft2(wave * transmission) * propagator(distance) * band())
    last = np.fft.ifft2(np.fft.fft2(wave * transmission) * band())
    assert reference.wave_error(waves.waves[0], last) < 1e-7


def band():
    ky, kx = reference.grid(CELL.shape, CELL.sampling)
    return np.hypot(ky, kx) < 0.66666 / (2 * CELL.sampling)


@pytest.mark.parametrize("settings", ENGINES, ids=repr)
def test_carbon_scatters_like_carbon(settings):
    (waves,) = exit_waves([one_atom(number=SYMBOLS.index("C"))], CELL, settings)
    factor = LobatoParametrization().scattering_factor("C")(0.0)
    mean_phase = reference.interaction(ENERGY) * 47.8776 * factor / np.prod(CELL.extent)
    assert waves.spectra[0, 0, 0].imag == pytest.approx(mean_phase, rel=2e-2)


@pytest.mark.parametrize("settings", ENGINES, ids=repr)
def test_thickness_of_slices_does_not_defocus(settings):
    positions, numbers = reference.island(2.5, 1.9, 6.0)
    positions[:, :2] += FIELD.centre
    waves = []
    for thickness in (1.0, 0.125):
        specimen = reference.specimen(positions, numbers, thickness=thickness)
        (result,) = exit_waves([specimen], CELL, replace(settings, slice_thickness_A=thickness))
        waves.append(at_zero(result)[0])
    shifts = np.linspace(-0.5, 0.5, 21)
    spectrum = np.fft.fft2(waves[0])
    errors = [
        reference.wave_error(np.fft.ifft2(spectrum * propagator(shift)), waves[1])
        for shift in shifts
    ]
    # Atoms at the entrance or exit of their slices would be 0.4 Å off.
    assert abs(shifts[np.argmin(errors)]) <= 0.1


@pytest.mark.parametrize("transmission", ["grid", "split"])
@pytest.mark.parametrize("engine", ["batched", "batched_mkl"])
@pytest.mark.parametrize("batch", [2, 3, 4, 16])
def test_a_wave_does_not_depend_on_what_goes_with_it(transmission, engine, batch):
    """Bit for bit, with specimens of different depth, one empty, and an odd cell."""
    cell = cell_around(FIELD, sampling=0.1, padding=0.9)
    odd = Cell((cell.shape[0] - 1, cell.shape[1] - 1), cell.sampling, cell.origin, 2)
    specimens = [
        island(phonons=3),
        one_atom(number=1),
        reference.specimen(np.empty((0, 3)), np.empty(0, np.uint8), phonons=2),
        island(phonons=4, half_z=3.0, seed=1),
        island(phonons=1, half_z=9.0, seed=2),
    ]
    settings = ScatteringSettings(engine, transmission, kept_mrad=40.0)
    for each in (cell, odd):
        together = batched_waves(specimens, each, settings, place_of("cpu"), batch)
        for specimen, waves in zip(specimens, together, strict=True):
            (alone,) = batched_waves([specimen], each, settings, place_of("cpu"), 1)
            assert (waves.spectra == alone.spectra).all()
            assert waves.z_exit == alone.z_exit


@pytest.mark.parametrize("transmission", ["grid", "split"])
def test_mkl_changes_waves_and_images_by_rounding_only(transmission):
    plain = ScatteringSettings(transmission=transmission, kept_mrad=40.0)
    for precision, limit in (("float32", 2e-6), ("float64", 1e-14)):
        pair = (
            replace(plain, precision=precision),
            replace(plain, precision=precision, engine="batched_mkl"),
        )
        waves = [exit_waves([island(phonons=2)], CELL, settings)[0] for settings in pair]
        largest = np.abs(waves[0].spectra).max()
        assert 0 < np.abs(waves[0].spectra - waves[1].spectra).max() < limit * largest
        assert waves[1].waves == pytest.approx(waves[0].waves, abs=20 * limit)
        images = [form_image(each, reference.image_parameters(), FIELD) for each in waves]
        assert 0 < np.abs(images[0] - images[1]).max() < 50 * limit


def test_mkl_gives_the_same_bits_again_and_leaves_the_threads_of_pytorch():
    import torch

    settings = replace(MKL, precision="float32")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        runs = [exit_waves([island(phonons=2)], CELL, settings)[0] for _ in range(3)]
        images = [form_image(each, reference.image_parameters(), FIELD) for each in runs]
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)
        runs.append(exit_waves([island(phonons=2)], CELL, settings)[0])
        images.append(form_image(runs[-1], reference.image_parameters(), FIELD))
    finally:
        torch.set_num_threads(before)
    assert all((run.spectra == runs[0].spectra).all() for run in runs)
    assert all((image == images[0]).all() for image in images)


@pytest.mark.parametrize("name", ["fft2", "ifft2", "rfft2", "irfft2"])
def test_transforms_of_mkl_are_those_of_scipy(name):
    rng = np.random.default_rng(1)
    real = rng.standard_normal((2, 3, 20, 27))
    arrays = {
        "rfft2": real,
        "irfft2": np.fft.rfft2(real),
        "fft2": real + 1j,
        "ifft2": real + 1j,
    }
    more = ((20, 27),) if name == "irfft2" else ()
    ours, theirs = (
        getattr(fourier, name)(arrays[name].copy(), *more, library=library)
        for library in ("mkl", "scipy")
    )
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert ours == pytest.approx(theirs, abs=1e-12)
    (one,) = getattr(fourier, name)(arrays[name][1:, 2:3].copy(), *more, library="mkl")
    assert (one[0] == ours[1, 2]).all()


def test_mkl_is_for_a_cpu_and_may_be_missing(monkeypatch):
    with pytest.raises(DeviceError, match=r"use --device cpu, or scattering\.engine: batched"):
        check_engine(MKL, "gpu")
    monkeypatch.setattr("torch.backends.mkl.is_available", lambda: False)
    mkl.library.cache_clear()
    with pytest.raises(DeviceError, match=r"needs a PyTorch with MKL.*engine: batched"):
        exit_waves([one_atom()], CELL, MKL)


@pytest.mark.parametrize("transmission", ["grid", "split"])
def test_engine_and_optics_run_on_a_strict_module_with_its_own_device(transmission):
    """That module refuses to mix arrays of two devices and all that is not in the standard."""
    place = Place(array_api_strict, array_api_strict.Device("device1"))
    specimens = [island(phonons=2), island(phonons=1, half_z=3.0)]
    settings = ScatteringSettings(transmission=transmission, kept_mrad=40.0)
    strict = batched_waves(specimens, CELL, settings, place, batch=3)
    plain = batched_waves(specimens, CELL, settings, place_of("cpu"), batch=3)
    for there, here in zip(strict, plain, strict=True):
        assert there.spectra.device == place.device
        moved = array_api_strict.asarray(
            there.spectra, device=array_api_strict.Device("CPU_DEVICE"), copy=True
        )
        assert there.spectra.dtype == array_api_strict.complex64
        assert np.asarray(moved) == pytest.approx(here.spectra, abs=1e-6)
        image = form_image(there, reference.image_parameters(), FIELD)
        assert image.device == place.device
        on_host = np.asarray(image.to_device(array_api_strict.Device("CPU_DEVICE")))
        expected = form_image(here, reference.image_parameters(), FIELD)
        assert on_host == pytest.approx(expected, abs=1e-4)


def test_only_angles_that_an_aperture_may_let_through_are_kept():
    (kept,) = exit_waves([island()], CELL, replace(SPLIT, kept_mrad=30.0))
    (whole,) = exit_waves([island()], CELL, SPLIT)
    ky, kx = (order / length for order, length in zip(kept.orders, CELL.extent, strict=True))
    assert 30.0 < 1e3 * SPLIT.wavelength * min(ky, kx) < 36.0
    seen = reference.image_parameters(aperture_mrad=30.0)
    images = [form_image(waves, seen, FIELD) for waves in (kept, whole)]
    assert images[0] == pytest.approx(images[1], abs=1e-9)
    with pytest.raises(ValueError, match="keep larger angles"):
        form_image(kept, reference.image_parameters(aperture_mrad=45.0), FIELD)


@pytest.mark.parametrize("settings", ENGINES, ids=repr)
def test_atoms_outside_the_cell_are_refused(settings):
    with pytest.raises(StructureError, match="outside the periodic cell"):
        exit_waves([one_atom(x=CELL.bounds[1] + 1.5)], CELL, settings)


@pytest.mark.parametrize("settings", ENGINES, ids=repr)
def test_an_atom_at_the_edge_wraps(settings):
    x = CELL.bounds[0] - 0.05
    waves = [
        exit_waves([one_atom(x, 1.0)], CELL, settings)[0].waves for x in (x, x + CELL.extent[1])
    ]
    assert waves[0] == pytest.approx(waves[1], abs=1e-9)


def test_unknown_devices_are_refused(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    with pytest.raises(DeviceError, match="'tpu'"):
        exit_waves([one_atom()], CELL, GRID, device="tpu")
    with pytest.raises(MissingExtraError, match=r"pip install 'ceria\[gpu\]'"):
        exit_waves([one_atom()], CELL, GRID, device="gpu")


def test_settings_of_abtem_name_all_that_changes_the_bytes():
    settings = abtem_settings(ScatteringSettings(precision="float64", fft="fftw"))
    assert settings["precision"] == "float64"
    assert settings["fft"] == "fftw"
    assert settings["fftw.planning_effort"] == "FFTW_ESTIMATE"
