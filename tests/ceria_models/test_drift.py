"""Drift of films with known paths."""

import numpy as np
import pytest

from ceria_models.drift import estimate_drift
from ceria_models.drift_path import smooth_path
from ceria_models.film_mean import Mean
from tests.ceria_models.make_film import SAMPLING, film_of, intensity, line


def found_in(film, dose=300.0, left_out=()):
    def frames():
        return ((i, image, dose) for i, image in enumerate(film) if i not in left_out)

    return estimate_drift(frames, len(film), film.shape[1:], SAMPLING)


def rms(drift, path):
    """Error of a drift whose origin is free [Å]."""
    off = np.stack([drift.y, drift.x], axis=1) - path
    return float(np.sqrt(np.mean((off - off.mean(axis=0)) ** 2)))


def averaged(film, path):
    mean = Mean(film[0].shape, SAMPLING)
    for image, place in zip(film, path, strict=True):
        mean.add(image, *place)
    return mean.image()


def walk(frames, step, seed=0):
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.normal(0, step, (frames, 2)), axis=0)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_random_walk_is_followed_to_a_tenth_of_an_angstrom(seed):
    path = walk(24, 0.1, seed)
    drift = found_in(film_of(intensity(), path, 300.0, seed))
    assert drift.found
    assert rms(drift, path) < 0.1
    assert np.sqrt(np.mean(drift.error**2)) < 0.1


def test_a_drift_of_several_lattice_spacings_is_not_folded_back():
    """11 Å along y, 7 Å along x; the lattice repeats itself every 2.2 to 3.3 Å."""
    path = line(48, 11.0, -7.0)
    drift = found_in(film_of(intensity(border=32), path))
    assert rms(drift, path) < 0.1
    assert np.ptp(drift.y) == pytest.approx(11.0, abs=0.2)
    assert np.ptp(drift.x) == pytest.approx(7.0, abs=0.2)


def test_few_electrons_are_enough_for_a_slow_drift():
    path = line(40, 1.5, 1.0)
    assert rms(found_in(film_of(intensity(), path, 50.0), 50.0), path) < 0.15


def test_frames_of_other_height_than_width():
    path = line(16, 0.9, -1.3)
    film = film_of(intensity(), path)[:, 10:, :83]
    assert film.shape[1] != film.shape[2]
    assert rms(found_in(film), path) < 0.1


def test_a_frame_that_is_left_out_takes_its_place_from_its_neighbours():
    path = line(16, 1.2, 0.6)
    drift = found_in(film_of(intensity(), path), left_out={5})
    assert not drift.used[5]
    assert rms(drift, path) < 0.1


def test_a_frame_of_noise_does_not_lead_the_path_astray():
    path = line(16, 1.2, 0.6)
    film = film_of(intensity(), path)
    film[7] = np.random.default_rng(0).poisson(film[7].mean(), film[7].shape)
    drift = found_in(film)
    assert not drift.used[7]
    assert rms(drift, path) < 0.1


def test_noise_has_no_drift():
    film = np.random.default_rng(0).poisson(12, (12, 96, 96))
    drift = found_in(film)
    assert not drift.found
    assert not drift.y.any()
    assert not drift.x.any()


def test_a_film_of_one_frame_does_not_move():
    drift = found_in(film_of(intensity(), line(1, 0, 0)))
    assert drift.found
    assert drift.y.tolist() == drift.x.tolist() == [0.0]


def test_the_extremes_of_a_drift_lie_evenly_around_zero():
    drift = found_in(film_of(intensity(), line(12, 1.5, 0.0)))
    assert drift.y.min() == pytest.approx(-drift.y.max(), abs=1e-9)


def test_the_mean_of_a_moving_film_is_as_sharp_as_the_image():
    image, path = intensity(), line(12, 1.5, -1.1)
    film = film_of(image, path, 3000.0)
    per_pixel = 3000.0 * SAMPLING**2
    mean = averaged(film, path)
    inner = np.s_[12:-12, 12:-12]
    off = (mean / per_pixel - image)[inner]
    blurred = (film.mean(axis=0) / per_pixel - image)[inner]
    noise = 1 / np.sqrt(per_pixel * len(film))
    assert off.std() < 1.3 * noise
    assert blurred.std() > 2 * noise


def test_pixels_that_few_frames_show_are_the_mean_of_these():
    image = np.full((12, 12), 4.0)
    mean = averaged([image, 3 * image], [(0.0, 0.0), (1.0, 0.0)])
    assert mean[:7].tolist() == np.full((7, 12), 8.0).tolist()
    assert mean[7:].tolist() == np.full((5, 12), 4.0).tolist()


def test_places_far_from_the_path_are_left_out():
    rng = np.random.default_rng(3)
    truth = np.cumsum(rng.normal(0, 0.05, 80))
    places = truth + rng.normal(0, 0.1, 80)
    places[[10, 40]] += 2.7  # a lattice vector
    path = smooth_path(places, np.full(80, 0.01), np.ones(80, dtype=bool))
    assert not path.used[[10, 40]].any()
    assert (~path.used).sum() <= 4  # an innocent neighbour of each, at most
    assert np.abs(path.place - truth).max() < 0.25
