"""Drift of films with known paths."""

import numpy as np
import pytest
from scipy.fft import irfft2, rfft2

from ceria_models.drift import estimate_drift
from ceria_models.drift_path import smooth_path
from ceria_models.drift_spectra import Spectra, _binned
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


def on_the_whole_grid(spectra, cross, near, spread):
    """Best place, mean place and variance of all points of the grid, as `Spectra._on_grid`."""
    sizes, lengths = spectra._grid, [n * spectra.sampling for n in spectra._shape]
    padded = np.zeros((sizes[0], sizes[1] // 2 + 1), dtype=np.complex64)
    padded[spectra._rows_of_grid, : cross.shape[1]] = cross * np.where(spectra.kx > 0, 0.5, 1.0)
    gain = irfft2(padded, s=sizes).astype(np.float64) * (sizes[0] * sizes[1])
    y, x = (
        (np.arange(size) * length / size - middle + length / 2) % length - length / 2
        for size, length, middle in zip(sizes, lengths, near, strict=True)
    )
    score = gain - 0.5 * (y[:, None] ** 2 + x**2) / spread**2
    p = np.exp(score - score.max())
    p /= p.sum()
    row, column = np.unravel_index(score.argmax(), score.shape)
    mean = [float(p.sum(1) @ y), float(p.sum(0) @ x)]
    apart = p.sum(1) @ (y - mean[0]) ** 2 + p.sum(0) @ (x - mean[1]) ** 2
    grid = sum(0.25 * (length / size) ** 2 for size, length in zip(sizes, lengths, strict=True))
    best = (near[0] + y[row], near[1] + x[column])
    return best, (near[0] + mean[0], near[1] + mean[1]), max(float(apart - grid) / 2, 0.0)


@pytest.mark.parametrize(("share", "spread"), [(1.0, 0.3), (1.0, 3.0), (1e-3, 0.3), (1e-3, 5.0)])
def test_rows_that_are_left_out_hold_no_probable_place(share, spread):
    """Of frames that show the lattice clearly, and of such that say so little that all places
    near the expected one are probable."""
    film = film_of(intensity()[:100], walk(5, 0.5, 3), seed=2)
    spectra = Spectra(film[0].shape, SAMPLING)
    frames = [spectra.of_frame(frame) for frame in film]
    reference = np.mean(frames[:3], axis=0)
    for frame in frames[3:]:
        cross = frame * np.conj(reference * spectra._weight) / np.float32(spectra.noise(300.0))
        cross *= np.float32(share)
        found = spectra._on_grid(cross, (0.4, -7.3), spread)
        plainly = on_the_whole_grid(spectra, cross, (0.4, -7.3), spread)
        for value, expected in zip(found, plainly, strict=True):
            np.testing.assert_allclose(value, expected, atol=1e-5)
        if share == 1.0:
            distance = [np.zeros(size) for size in spectra._grid]
            rows, _ = spectra._likely_rows(cross, distance, spread)
            assert len(rows) < 0.5 * spectra._grid[0]  # else nothing is left out


@pytest.mark.parametrize("block", [1, 2, 3, 6])
def test_a_spectrum_is_that_of_the_mean_of_squares_of_pixels(block):
    spectra = Spectra((97, 130), 0.4 / block * 0.999)
    frame = np.random.default_rng(0).gamma(2.0, size=(97, 130)).astype(np.float32)
    ny, nx = 97 // block, 130 // block
    small = frame[: ny * block, : nx * block].reshape(ny, block, nx, block).mean((1, 3))
    np.testing.assert_array_equal(_binned(frame, block, (ny, nx)), small)
    expected = rfft2((small / small.mean() - 1) * spectra._window)
    expected = expected[np.ix_(spectra._rows, spectra._columns)]
    np.testing.assert_array_equal(spectra.of_frame(frame), expected)
