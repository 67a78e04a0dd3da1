from dataclasses import replace

import numpy as np
import pytest

from ceria_data.config import load_config
from ceria_data.grid import Field, cell_around
from ceria_data.optics import form_image
from ceria_data.scattering import exit_waves
from ceria_data.simulate import settings_of
from tests.physics.reference import image_error, image_parameters, island, specimen

PRESETS = ("demo", "ceria-columns-mini", "ceria-columns-v1", "ceria-particles-large")
FIELD = Field((80, 90), 0.2)
SETTINGS = sorted({settings_of(load_config(preset)) for preset in PRESETS}, key=repr)
WITH_MKL = replace(SETTINGS[0], engine="batched_mkl")


@pytest.fixture(scope="module")
def particle():
    """An island off its zone axis, so that its planes are as thick as those of a large one."""
    positions, species = island(5.5, 5.0, 10.0)
    tilt = np.deg2rad(4.0)
    turn = [[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]
    positions = positions @ np.array(turn)
    positions[:, :2] += FIELD.centre
    return positions, species


def waves_of(particle, settings, phonons=1, seed=0):
    atoms = specimen(*particle, phonons, seed, thickness=settings.slice_thickness_A)
    cell = cell_around(FIELD, settings.sampling_A, settings.padding_A)
    (waves,) = exit_waves([atoms], cell, settings)
    return waves


def image_of(particle, settings, seed=0):
    return form_image(waves_of(particle, settings, seed=seed), image_parameters(), FIELD)


def inside():
    y, x = FIELD.sampling * np.indices(FIELD.shape)
    return (abs(x - FIELD.centre[0]) < 6.5) & (abs(y - FIELD.centre[1]) < 6.0)


@pytest.mark.parametrize("settings", [*SETTINGS, WITH_MKL], ids=repr)
@pytest.mark.parametrize(
    "finer",
    [
        {"slice_thickness_A": 0.5},
        {"sampling_A": 0.5},
        {"padding_A": 2.0},
    ],
    ids=str,
)
def test_shipped_settings_are_within_two_percent_of_finer_ones(particle, settings, finer):
    (name, factor), *_ = finer.items()
    better = replace(settings, **{name: factor * getattr(settings, name)})
    waves, finer_waves = waves_of(particle, settings), waves_of(particle, better)
    for defocus in (-90.0, -60.0, -45.0):
        seen = image_parameters(defocus_A=defocus)
        image, reference = (form_image(each, seen, FIELD) for each in (waves, finer_waves))
        assert 1e-6 < image_error(image, reference, inside()) < 0.02, defocus


def test_coarse_settings_are_not(particle):
    """The measure of the test above sees what it should see."""
    good = replace(SETTINGS[0], sampling_A=0.05)
    image = image_of(particle, good)
    for change in ({"slice_thickness_A": 4.0}, {"sampling_A": 0.2, "transmission": "grid"}):
        assert image_error(image_of(particle, replace(good, **change)), image, inside()) > 0.02


@pytest.mark.parametrize("settings", [SETTINGS[0], WITH_MKL], ids=repr)
def test_single_precision_is_enough(particle, settings):
    single, double = (
        image_of(particle, replace(settings, precision=precision))
        for precision in ("float32", "float64")
    )
    assert double.dtype == np.float64
    assert image_error(single, double, inside()) < 5e-4


@pytest.mark.slow
def test_error_falls_with_the_root_of_the_phonon_configurations(particle):
    settings = replace(SETTINGS[0], sampling_A=0.1, padding_A=4.0)
    images = np.stack([image_of(particle, settings, seed=seed) for seed in range(48)])
    scaled = []
    for count in (1, 2, 4, 8):
        errors = []
        for first in range(0, 48, count):
            chosen = np.zeros(48, bool)
            chosen[first : first + count] = True
            noisy = image_error(images[chosen].mean(0), images[~chosen].mean(0), inside())
            errors.append(noisy**2 / (1 + count / (48 - count)))
        scaled.append(np.sqrt(count * np.mean(errors)))
    assert scaled == pytest.approx([scaled[0]] * 4, rel=0.1)
    assert 0.08 < scaled[0] < 0.3
