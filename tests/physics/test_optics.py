from math import pi

import abtem
import array_api_strict
import numpy as np
import pytest

from ceria_data import optics
from ceria_data.aberrations import aberrations_of, ray_displacement, wave_aberration
from ceria_data.grid import Cell, Field, cell_around
from ceria_data.optics import focal_nodes, form_image
from ceria_data.scattering import exit_waves
from ceria_data.waves import ExitWaves, ScatteringSettings
from tests.physics.reference import image_parameters, interaction, island, specimen, wavelength

ENERGY = 300e3
FIELD = Field((40, 60), 0.1)
CELL = Cell((96, 120), 0.1, (10, 14), 1)
LENS = {
    "A1_A": 15.0,
    "A1_azimuth_deg": 25.0,
    "B2_A": 80.0,
    "B2_azimuth_deg": 130.0,
    "A2_A": 250.0,
    "A2_azimuth_deg": -40.0,
}
STILL = {"focal_spread_A": 0.0, "angular_spread_mrad": 0.0}


def random_wave(phonons=1, largest_angle=0.035, strength=0.2):
    """Vacuum and a strong random wave with angles [rad] up to a limit."""
    rng = np.random.default_rng(11)
    ky, kx = np.fft.fftfreq(96, 0.1)[:, None], np.fft.fftfreq(120, 0.1)[None]
    inside = np.hypot(ky, kx) * wavelength(ENERGY) < largest_angle
    noise = np.fft.ifft2(inside * rng.standard_normal((phonons, 96, 120)) * (1 + 0.5j))
    return 1 + strength * noise / noise.std()


def abtem_ctf(**coefficients):
    return abtem.CTF(energy=ENERGY, semiangle_cutoff=np.inf, **coefficients)


AZIMUTHS = {
    "phi12": np.deg2rad(LENS["A1_azimuth_deg"]),
    "phi21": np.deg2rad(LENS["B2_azimuth_deg"]),
    "phi23": np.deg2rad(LENS["A2_azimuth_deg"]),
}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"defocus_A": 70.0}, {"defocus": 70.0}),
        ({"defocus_A": 70.0}, {"C10": -70.0}),
        ({"A1_A": 15.0, "A1_azimuth_deg": 25.0}, {"C12": 15.0, "phi12": np.deg2rad(25)}),
        ({"B2_A": 80.0, "B2_azimuth_deg": 130.0}, {"C21": 240.0, "phi21": np.deg2rad(130)}),
        ({"A2_A": 250.0, "A2_azimuth_deg": -40.0}, {"C23": 250.0, "phi23": np.deg2rad(-40)}),
        ({"C30_um": -9.0}, {"C30": -9e4}),
        ({"C50_mm": 5.0}, {"C50": 5e7}),
        (
            {"defocus_A": -60.0, "C30_um": 1200.0, **LENS},
            {"C10": 60.0, "C30": 1.2e7, "C12": 15.0, "C21": 240.0, "C23": 250.0, **AZIMUTHS},
        ),
    ],
)
def test_every_aberration_is_that_of_abtem(ours, theirs):
    none = {"defocus_A": 0.0, "C30_um": 0.0, "C50_mm": 0.0}
    aberrations = aberrations_of(image_parameters(**{**none, **ours}))
    ky, kx = np.fft.fftfreq(96, 0.3)[:, None], np.fft.fftfreq(120, 0.3)[None]
    lam = wavelength(ENERGY)
    phase = 2 * pi / lam * wave_aberration(lam * (kx + 1j * ky), aberrations)
    with abtem.config.set({"precision": "float64"}):
        ctf = abtem_ctf(gpts=(120, 96), sampling=0.3, **theirs)._evaluate_kernel()
    # Phases reach 3000 rad, and the constants of the two differ by 1e-8.
    assert np.exp(-1j * phase) == pytest.approx(ctf.T, abs=1e-4)


def test_ray_displacement_is_the_gradient_of_the_wave_aberration():
    aberrations = aberrations_of(image_parameters(**LENS))
    angle, step = np.array([0.01 + 0.02j, -0.03 + 0.005j, 0.02j]), 1e-7

    def slope(direction):
        ahead = wave_aberration(angle + step * direction, aberrations)
        behind = wave_aberration(angle - step * direction, aberrations)
        return (ahead - behind) / (2 * step)

    assert ray_displacement(angle, aberrations) == pytest.approx(
        slope(1) + 1j * slope(1j), rel=1e-6
    )


def test_image_equals_that_of_abtem():
    """Coherent, with all aberrations and with a wave that left the specimen 7 Å later."""
    wave, z_exit = random_wave(), 7.0
    ours = form_image(
        ExitWaves.from_waves(wave, z_exit, CELL, ENERGY),
        image_parameters(aperture_mrad=40.0, **STILL, **LENS),
        FIELD,
    )
    ctf = {"C10": 60.0, "C30": -9e4, "C50": 5e7, "C12": 15.0, "C21": 240.0, "C23": 250.0}
    with abtem.config.set({"precision": "float64", "fft": "numpy"}):
        waves = abtem.Waves(wave[0].T.copy(), energy=ENERGY, sampling=0.1)
        waves = waves.apply_ctf(abtem_ctf(C10=-z_exit)).apply_ctf(abtem_ctf(**ctf, **AZIMUTHS))
        theirs = waves.intensity().array.T
    ky, kx = np.fft.fftfreq(96, 0.1)[:, None], np.fft.fftfreq(120, 0.1)[None]
    theirs = np.fft.ifft2(np.fft.fft2(theirs) * np.sinc(0.1 * kx) * np.sinc(0.1 * ky)).real
    assert ours == pytest.approx(theirs[10:50, 14:74], abs=1e-5)


@pytest.mark.parametrize("defocus", [-60.0, 60.0])
def test_weak_phase_object_has_the_analytic_contrast(defocus):
    """2 σV sin χ, with both spreads, on pixels three grid steps wide."""
    field = Field((20, 32), 0.3)
    cell = Cell((96, 120), 0.1, (10, 14), 3)
    lam, k, amplitude = wavelength(ENERGY), 10 / 12.0, 1e-4
    x = 0.1 * np.arange(120)
    wave = np.exp(1j * amplitude * np.cos(2 * pi * k * x)) * np.ones((1, 96, 1))
    parameters = image_parameters(defocus_A=defocus, focal_spread_A=20.0, angular_spread_mrad=0.5)
    image = form_image(ExitWaves.from_waves(wave, 0.0, cell, ENERGY), parameters, field)
    alpha = lam * k
    chi = 2 * pi / lam * (-defocus * alpha**2 / 2 - 9e4 * alpha**4 / 4 + 5e7 * alpha**6 / 6)
    temporal = np.exp(-((0.5 * pi / lam * 20.0 * alpha**2) ** 2))
    slope = -defocus * alpha - 9e4 * alpha**3 + 5e7 * alpha**5
    angular = np.exp(-((pi / lam * 0.5e-3 * slope) ** 2))
    contrast = 2 * amplitude * np.sin(chi) * temporal * angular * np.sinc(0.3 * k)
    position = 0.1 * 14 + 0.3 * np.arange(32)
    expected = 1 + contrast * np.cos(2 * pi * k * position) * np.ones((20, 1))
    # The truncated focal sum is a little narrower than the distribution.
    assert image == pytest.approx(expected, abs=0.01 * abs(contrast))


@pytest.mark.parametrize("field", [Field((24, 32), 0.2), Field((24, 33), 0.25), Field((9, 7), 0.6)])
def test_vacuum_is_one_in_every_pixel(field):
    cell = cell_around(field, sampling=0.1, padding=2.0)
    vacuum = ExitWaves.from_waves(np.ones((2, *cell.shape), np.complex64), 3.0, cell, ENERGY)
    image = form_image(vacuum, image_parameters(**LENS), field)
    assert image.dtype == np.float32
    assert image.shape == field.shape
    assert image == pytest.approx(1.0, abs=2e-6)


def test_pixels_conserve_the_electrons_of_the_wave():
    """All pixels of the cell together hold the mean intensity of the waves."""
    wave = random_wave(phonons=3)
    for width in (1, 2, 4):
        field = Field((96 // width, 120 // width), 0.1 * width)
        waves = ExitWaves.from_waves(wave, 0.0, Cell((96, 120), 0.1, (0, 0), width), ENERGY)
        image = form_image(waves, image_parameters(angular_spread_mrad=0.0), field)
        assert image.mean() == pytest.approx(np.mean(np.abs(wave) ** 2), rel=1e-9)


def test_image_is_the_mean_over_phonon_configurations():
    wave = random_wave(phonons=3)
    images = [
        form_image(ExitWaves.from_waves(w, 0.0, CELL, ENERGY), image_parameters(), FIELD)
        for w in (wave, wave[:1], wave[1:2], wave[2:])
    ]
    assert images[0] == pytest.approx(np.mean(images[1:], axis=0), rel=1e-9)


@pytest.mark.parametrize("spread", [5.0, 15.0, 30.0, 40.0, 80.0])
@pytest.mark.parametrize("energy", [80.0, 300.0])
def test_focal_sum_is_converged_for_a_strong_object(monkeypatch, spread, energy):
    waves = ExitWaves.from_waves(
        random_wave(largest_angle=0.04, strength=0.4), 0.0, CELL, energy * 1e3
    )
    parameters = image_parameters(focal_spread_A=spread, energy_keV=energy)
    image = form_image(waves, parameters, FIELD)
    sigma = spread / np.sqrt(2)
    offsets = np.linspace(-6, 6, 301) * sigma
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    monkeypatch.setattr(optics, "focal_nodes", lambda *_: (offsets, weights / weights.sum()))
    exact = form_image(waves, parameters, FIELD)
    assert np.std(image - exact) < 0.01 * np.std(exact)


def test_focal_nodes_have_the_width_of_the_spread():
    for spread in (0.0, 15.0, 40.0):
        offsets, weights = focal_nodes(spread, 40.0, 300.0)
        assert weights.sum() == pytest.approx(1.0)
        assert weights @ offsets == pytest.approx(0.0, abs=1e-9)
        assert np.sqrt(weights @ offsets**2) == pytest.approx(spread / np.sqrt(2), rel=0.03)


def test_aperture_removes_what_lies_outside():
    x = 0.1 * np.arange(120)
    for order, seen in ((11, True), (14, False)):
        wave = (1 + 0.1 * np.cos(2 * pi * order * x / 12.0)) * np.ones((1, 96, 1), complex)
        angle = wavelength(ENERGY) * order / 12.0
        assert (angle < 0.02) == seen
        parameters = image_parameters(aperture_mrad=20.0, **STILL)
        image = form_image(ExitWaves.from_waves(wave, 0.0, CELL, ENERGY), parameters, FIELD)
        assert np.abs(image - 1).max() > 0.01 if seen else np.allclose(image, 1)


def test_column_is_bright_in_overfocus_and_dark_in_underfocus():
    positions, species = island(6.0, 6.0, 8.0)
    field = Field((80, 90), 0.2)
    positions[:, :2] += field.centre
    cell = cell_around(field, sampling=0.1, padding=8.0)
    (waves,) = exit_waves([specimen(positions, species, phonons=2)], cell, ScatteringSettings())
    # The mean over the particle, and over the pixels of its cerium columns.
    columns = np.unique(np.round(positions[species == 0, :2], 3), axis=0)
    pixels = np.round(columns / field.sampling).astype(int)
    x, y = (field.sampling * np.indices(field.shape)[axis] for axis in (1, 0))
    inside = (abs(x - field.centre[0]) < 6) & (abs(y - field.centre[1]) < 6)
    ratio = {}
    for defocus in (-60.0, 60.0):
        image = form_image(waves, image_parameters(defocus_A=defocus), field)
        ratio[defocus] = image[pixels[:, 1], pixels[:, 0]].mean() / image[inside].mean()
    assert ratio[-60.0] > 1.5
    assert ratio[60.0] < 0.7


def test_an_atom_appears_at_its_coordinates():
    field, x, y = Field((50, 70), 0.2), 9.4, 2.2
    cell = cell_around(field, sampling=0.1, padding=3.0)
    atom = specimen(np.array([[x, y, 0.0]]), np.zeros(1, np.uint8), rms=0.0)
    (waves,) = exit_waves([atom], cell, ScatteringSettings())
    image = form_image(waves, image_parameters(), field)
    assert np.unravel_index(np.argmax(image), image.shape) == (11, 47)


def test_defocus_refers_to_the_atoms_whatever_lies_behind_them():
    field = Field((50, 50), 0.2)
    cell = cell_around(field, sampling=0.1, padding=3.0)
    near, far = (
        specimen(np.array([[5.0, 5.0, z]]), np.zeros(1, np.uint8), rms=0.0) for z in (0.0, 40.0)
    )
    images = [
        form_image(
            exit_waves([atom], cell, ScatteringSettings())[0],
            image_parameters(defocus_A=defocus),
            field,
        )
        # Overfocus looks at a plane down the beam: at z = 60 Å, and 40 Å further.
        for atom, defocus in ((near, -60.0), (far, -100.0), (far, -60.0))
    ]
    assert images[1] == pytest.approx(images[0], abs=5e-4)
    assert np.abs(images[2] - images[0]).max() > 0.05


def test_image_runs_on_any_array_module():
    wave = random_wave(phonons=2).astype(np.complex64)
    parameters = image_parameters(**LENS)
    strict = ExitWaves.from_waves(array_api_strict.asarray(wave), 2.0, CELL, ENERGY)
    image = form_image(strict, parameters, FIELD)
    assert type(image).__module__.startswith("array_api_strict")
    assert image.dtype == array_api_strict.float32
    expected = form_image(ExitWaves.from_waves(wave, 2.0, CELL, ENERGY), parameters, FIELD)
    assert np.asarray(image) == pytest.approx(expected, rel=1e-5)


def test_waves_of_another_energy_or_field_are_refused():
    waves = ExitWaves.from_waves(random_wave(), 0.0, CELL, ENERGY)
    with pytest.raises(ValueError, match=r"300\.0 keV .* 200\.0 keV"):
        form_image(waves, image_parameters(energy_keV=200.0), FIELD)
    with pytest.raises(ValueError, match="does not hold"):
        form_image(waves, image_parameters(), Field((40, 60), 0.2))
    for shape in ((87, 60), (40, 107)):
        with pytest.raises(ValueError, match="does not hold"):
            form_image(waves, image_parameters(), Field(shape, 0.1))


def test_constants_agree_with_those_of_abtem():
    assert abtem.core.energy.energy2wavelength(ENERGY) == pytest.approx(
        wavelength(ENERGY), rel=1e-7
    )
    assert abtem.core.energy.energy2sigma(ENERGY) == pytest.approx(interaction(ENERGY), rel=1e-7)
