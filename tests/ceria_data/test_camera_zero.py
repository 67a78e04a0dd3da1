"""The noise tells where a camera's zero lies."""

import numpy as np
import pytest

from ceria_data.camera_zero import CameraZero, camera_zero
from ceria_data.dataset import open_dataset
from ceria_data.detector import record
from ceria_data.film import film_of_array
from ceria_data.parameters import Camera

FRAMES = 24


def film(camera, dose):
    image = open_dataset("ceria-columns-mini", "test")[78].intensity.astype(np.float64)
    return film_of_array(np.stack([record(image, dose, 0.2, camera, i) for i in range(FRAMES)]))


@pytest.mark.parametrize("dose", [25.0, 100.0])
@pytest.mark.parametrize("blur", [np.inf, 0.6])
def test_an_offset_is_found_whatever_the_gain_and_blur(dose, blur):
    camera = Camera("integrating", gain=10.0, offset=100.0, mtf_half=blur, ntf_half=blur)
    zero = camera_zero(film(camera, dose))
    assert zero.value == pytest.approx(100.0, abs=4 * zero.error + 5.0)
    assert zero.has_offset


@pytest.mark.parametrize("dose", [25.0, 300.0, 3000.0])
def test_none_is_made_up(dose):
    assert not camera_zero(film(Camera(), dose)).has_offset


def test_bad_pixels_and_unequal_gain_do_not_look_like_one():
    rng = np.random.default_rng(0)
    frames = film(Camera(), 100.0).frames(0, FRAMES).astype(float)
    frames *= 1 + 0.1 * rng.standard_normal(frames.shape[1:])
    frames[:, 5, 7] += 5000
    frames[:, 60, 70] = 0
    assert not camera_zero(film_of_array(frames)).has_offset
    # Nor do they hide one.
    assert camera_zero(film_of_array(frames + 10)).value == pytest.approx(10.0, abs=1.5)


def test_uneven_gain_cancels_between_frames():
    rng = np.random.default_rng(0)
    bright = np.tile(np.linspace(2.0, 20.0, 128), (128, 1))
    frames = rng.poisson(bright, (FRAMES, 128, 128)).astype(float)
    frames *= 1 + 0.3 * rng.standard_normal(frames.shape[1:])
    assert not camera_zero(film_of_array(frames)).has_offset


@pytest.mark.parametrize(
    ("value", "error", "clear"), [(5.0, 1.0, False), (20.0, 10.0, False), (20.0, 1.0, True)]
)
def test_an_offset_is_clear_and_matters(value, error, clear):
    assert CameraZero(value, error, mean=100.0).has_offset == clear


def test_nothing_is_said_of_a_flat_or_small_film():
    assert camera_zero(film_of_array(np.full((9, 64, 64), 7.0))) is None
    assert camera_zero(film_of_array(np.random.default_rng(0).poisson(9.0, (9, 12, 12)))) is None
