"""The pixel size of a film is found from its reflections, or nothing is said."""

import numpy as np
import pytest
from scipy.ndimage import zoom

from ceria_data.calibration import estimate_sampling
from ceria_data.dataset import open_dataset
from ceria_data.errors import FilmError
from ceria_data.film import film_of_array, open_film
from ceria_data.lattice import reflections


def recorded(row, dose, n, finer=1):
    """Frames of one image of the bundled dataset, and their pixel size [Å]."""
    light = open_dataset("ceria-columns-mini")[row].intensity.astype(float)
    if finer > 1:
        light = zoom(light, finer, order=3).clip(0)
    sampling = 0.2 * 127 / (light.shape[0] - 1)
    rng = np.random.default_rng(row)
    return rng.poisson(light * dose * sampling**2, (n, *light.shape)), sampling


def test_wrong_pixel_sizes_are_noticed_and_right_ones_are_not():
    """Single images of the dataset at their own dose; the benchmark has the figures."""
    film = open_film("ceria-columns-mini")
    found = {error: [] for error in (1.0, 1.1, 0.9)}
    for row in range(0, 600, 15):
        for error, doubts in found.items():
            given = 0.2 * error
            doubts.append(estimate_sampling(film.frames(row, row + 1), given=given).doubts(given))
    assert np.mean(found[1.0]) <= 0.02
    assert np.mean(found[1.1] + found[0.9]) >= 0.95


@pytest.mark.parametrize(("row", "finer"), [(0, 1), (200, 1), (50, 3)])
def test_a_missing_pixel_size_is_found(row, finer):
    frames, sampling = recorded(row, dose=100, n=8, finer=finer)
    estimate = estimate_sampling(frames)
    assert estimate.sampling == pytest.approx(sampling, rel=0.01)
    assert abs(estimate.sampling - sampling) < 3 * estimate.uncertainty
    assert estimate.uncertainty < 0.01 * estimate.sampling
    assert estimate.n_frames == 8


def test_frames_add_up():
    frames, sampling = recorded(0, dose=3, n=60)
    with pytest.raises(FilmError, match="--pixel-size"):
        estimate_sampling(frames[:1])
    assert estimate_sampling(frames).sampling == pytest.approx(sampling, rel=0.01)


def test_frames_that_drift_are_as_good():
    frames, sampling = recorded(0, dose=100, n=8)
    moved = np.stack([np.roll(frame, (2 * i, -3 * i), (0, 1)) for i, frame in enumerate(frames)])
    assert estimate_sampling(moved).sampling == pytest.approx(sampling, rel=0.01)


@pytest.mark.parametrize("n", [1, 30])
def test_noise_has_no_pixel_size(n):
    vacuum = np.random.default_rng(3).poisson(4.0, (n, 128, 160))
    with pytest.raises(FilmError, match="does not clearly tell its pixel size"):
        estimate_sampling(vacuum)
    assert not estimate_sampling(vacuum, given=0.2).doubts(0.2)


def test_dark_frames_are_left_out():
    frames, sampling = recorded(0, dose=100, n=8)
    frames[2:4] = 7
    estimate = estimate_sampling(frames)
    assert estimate.sampling == pytest.approx(sampling, rel=0.01)
    assert estimate.n_frames == 6
    with pytest.raises(FilmError, match="all equal"):
        estimate_sampling(np.zeros((3, 64, 64)))


def test_a_broken_frame_is_left_out():
    frames, sampling = recorded(0, dose=100, n=8)
    frames = frames.astype(np.float32)
    frames[4, 3, 3] = np.nan
    estimate = estimate_sampling(frames)
    assert estimate.sampling == pytest.approx(sampling, rel=0.01)
    assert estimate.n_frames == 7
    assert estimate_sampling(frames, given=1.1 * sampling).doubts(1.1 * sampling)


def test_few_pixels_are_refused():
    with pytest.raises(FilmError, match="too few"):
        estimate_sampling(film_of_array(np.ones((20, 20)), source="small.npy"))


@pytest.mark.parametrize("zone_axis", [(1, 0, 0), (1, 1, 1), (1, 1, 0)])
def test_other_zones(zone_axis):
    y, x = 0.08 * np.mgrid[:300, :300]
    waves = sum(
        np.cos(2 * np.pi * (kx * x + ky * y)) for kx, ky in reflections(zone_axis, 5.411, 24)
    )
    counts = np.random.default_rng(0).poisson(2 + 0.1 * waves)
    assert estimate_sampling(counts, zone_axis).sampling == pytest.approx(0.08, rel=0.01)
