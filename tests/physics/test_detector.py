from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import poisson

from ceria_data import detector
from ceria_data.detector import count, mtf, record, transfer
from ceria_data.parameters import Camera

COUNTING = Camera()
INTEGRATING = Camera(
    kind="integrating",
    gain=8.0,
    offset=100.0,
    readout_noise=3.0,
    mtf_half=0.5,
    mtf_power=2.0,
    ntf_half=0.8,
    ntf_power=2.0,
)


def frames(intensity, dose, camera, n=40, sampling=0.2):
    return np.stack([record(intensity, dose, sampling, camera, seed) for seed in range(n)])


@pytest.mark.parametrize("mean", [0.02, 0.7, 3.0, 25.0, 190.0, 4000.0])
def test_count_inverts_the_cumulative_distribution(mean):
    rng = np.random.default_rng(5)
    electrons = mean * rng.uniform(0.5, 1.5, 20_000)
    uniform = rng.random(20_000)
    uniform[:4] = [1e-12, 1e-6, 1 - 1e-6, 1 - 1e-12]
    assert (count(electrons, uniform) == poisson.ppf(uniform, electrons)).all()


def test_count_of_the_extreme_random_numbers_is_finite():
    extremes = np.array([0.0, 2.0**-53, 1 - 2.0**-53])
    for mean in (0.0, 1e-300, 1e-9, 1.0, 30.0, 5000.0):
        n = count(np.full(3, mean), extremes)
        assert n[0] == poisson.ppf(2.0**-54, mean)
        assert np.floor(mean) <= n[2] <= mean + 10 * np.sqrt(mean) + 40


def test_search_ends_where_rounding_keeps_the_sum_below_its_target():
    n, mean, target = np.array([0.0]), np.array([1.0]), np.array([1 - 2.0**-53])
    detector._climb(n, mean, target, cumulative=np.array([0.9]), term=np.array([1e-3]))
    assert 5 < n[0] < 30


def test_counting_flat_field_has_equal_mean_and_variance():
    for dose in (25.0, 1000.0, 10000.0):
        counts = frames(np.ones((64, 64)), dose, COUNTING).astype(float)
        expected, n = dose * 0.04, counts.size
        assert counts.mean() == pytest.approx(expected, abs=5 * np.sqrt(expected / n))
        spread = np.sqrt((2 * expected**2 + expected) / n)
        assert counts.var() == pytest.approx(expected, abs=5 * spread)


def test_pixels_and_frames_are_uncorrelated():
    counts = frames(np.ones((64, 64)), 400.0, COUNTING).astype(float) - 16.0
    limit = 5 * 16.0 / np.sqrt(counts.size)
    assert abs((counts[:, 1:] * counts[:, :-1]).mean()) < limit
    assert abs((counts[:, :, 1:] * counts[:, :, :-1]).mean()) < limit
    assert abs((counts[1:] * counts[:-1]).mean()) < limit


def test_last_digit_of_one_pixel_changes_that_pixel_at_most():
    intensity = np.random.default_rng(2).uniform(0.2, 3.0, (48, 40))
    counts = record(intensity, 500.0, 0.2, COUNTING, seed=9)
    for change in (np.nextafter(1.5, 2), 2.5, 0.0):
        other = intensity.copy()
        other[17, 23] = change
        differs = record(other, 500.0, 0.2, COUNTING, seed=9) != counts
        differs[17, 23] = False
        assert not differs.any()


def test_counts_depend_on_seed_and_on_nothing_else():
    flat = np.ones((32, 32), np.float32)
    first = record(flat, 1000.0, 0.2, COUNTING, seed=2**62 + 1)
    np.random.default_rng().random(7)
    assert (record(flat, 1000.0, 0.2, COUNTING, seed=2**62 + 1) == first).all()
    assert (record(flat, 1000.0, 0.2, COUNTING, seed=2**62) != first).mean() > 0.5


def test_counts_are_these():
    """Frozen values: stored counts must stay reproducible from the stored intensity."""
    intensity = np.linspace(0.0, 2.0, 6).reshape(2, 3)
    assert record(intensity, 100.0, 0.2, COUNTING, seed=1).tolist() == FROZEN_COUNTING
    assert record(intensity, 100.0, 0.2, INTEGRATING, seed=1).tolist() == FROZEN_INTEGRATING


FROZEN_COUNTING = [[0, 3, 1], [1, 10, 4]]
FROZEN_INTEGRATING = [[108, 130, 118], [115, 150, 137]]


def test_gain_and_offset_scale_the_electrons():
    flat = np.ones((16, 16))
    electrons = record(flat, 400.0, 0.2, COUNTING, seed=3)
    scaled = record(flat, 400.0, 0.2, Camera(gain=20.0, offset=7.0), seed=3)
    assert (scaled == 20 * electrons + 7).all()


def test_dark_frame_is_offset_and_readout_noise():
    dark = np.zeros((64, 64))
    assert (record(dark, 10.0, 0.2, COUNTING, seed=0) == 0).all()
    recorded = frames(dark, 10.0, INTEGRATING, n=20)
    assert recorded.mean() == pytest.approx(100.0, abs=0.05)
    assert recorded.var() == pytest.approx(3.0**2 + 1 / 12, rel=0.02)


@pytest.mark.parametrize("dose", [50.0, 2000.0])
def test_integrating_flat_field_has_the_mean_and_variance_of_its_ntf(dose):
    recorded = frames(np.ones((64, 64)), dose, INTEGRATING, n=60)
    electrons = dose * 0.04
    ky, kx = np.fft.fftfreq(64)[:, None] / 0.5, np.fft.fftfreq(64)[None] / 0.5
    ntf = 1 / (1 + (np.hypot(ky, kx) / 0.8) ** 2)
    variance = 8.0**2 * electrons * np.mean(ntf**2) + 3.0**2 + 1 / 12
    assert recorded.mean() == pytest.approx(8.0 * electrons + 100.0, rel=2e-3)
    assert recorded.var() == pytest.approx(variance, rel=0.02)


def test_integrating_noise_has_the_spectrum_of_its_ntf():
    camera = replace(INTEGRATING, readout_noise=0.0)
    noise = frames(np.ones((64, 64)), 5000.0, camera, n=150) - (8.0 * 200.0 + 100.0)
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=0) / 64**2
    ntf = 1 / (1 + (np.arange(33) / 32 / 0.8) ** 2)
    expected = 8.0**2 * 200.0 * ntf**2 + 1 / 12
    along_x, along_y = power[0, :33], power[:33, 0]
    mean_of_four = (along_x + along_y + power[0, -np.arange(33)] + power[-np.arange(33), 0]) / 4
    assert mean_of_four[1:] == pytest.approx(expected[1:], rel=0.45)
    assert np.mean(mean_of_four[1:] / expected[1:]) == pytest.approx(1.0, abs=0.04)


def test_edge_has_the_mtf_of_the_camera():
    """Fourier transform of the derivative of an edge, against the formula."""
    edge = np.zeros((32, 128))
    edge[:, 64:] = 1.0
    camera = replace(INTEGRATING, gain=1.0, readout_noise=0.0, offset=0.0)
    profile = frames(edge, 1e6, camera, n=30, sampling=0.2).mean(axis=(0, 1)) / (1e6 * 0.04)
    measured = np.abs(np.fft.fft(np.diff(profile)))
    frequency = np.fft.fftfreq(127) / 0.5
    expected = 1 / (1 + (frequency / 0.5) ** 2)
    low = np.abs(frequency) < 0.9
    assert measured[low] == pytest.approx(expected[low], abs=0.02)


def test_edge_does_not_reach_the_opposite_border():
    ramp = np.linspace(0.5, 2.0, 64) * np.ones((64, 1))
    recorded = frames(ramp, 1e5, replace(INTEGRATING, gain=1.0, offset=0.0), n=30)
    profile = recorded.mean(axis=(0, 1)) / (1e5 * 0.04)
    assert profile[[0, -1]] == pytest.approx([0.5, 2.0], abs=0.03)


def test_mtf_is_one_half_at_half_and_one_without_limit():
    frequency = np.array([0.0, 0.3, 1.0])
    assert mtf(frequency, 0.3, 4.0)[:2].tolist() == [1.0, 0.5]
    assert mtf(frequency, np.inf, 2.0).tolist() == [1.0, 1.0, 1.0]
    assert transfer((6, 8), np.inf, 2.0).tolist() == np.ones((6, 5)).tolist()


def test_impossible_input_is_refused():
    flat = np.ones((8, 8))
    for bad in (np.nan, np.inf, -1e-3):
        broken = flat.copy()
        broken[3, 4] = bad
        with pytest.raises(ValueError, match="finite and not negative"):
            record(broken, 10.0, 0.2, COUNTING, seed=0)
    for dose, sampling in ((0.0, 0.2), (-1.0, 0.2), (10.0, 0.0), (np.nan, 0.2), (np.inf, 0.2)):
        with pytest.raises(ValueError, match="must be positive"):
            record(flat, dose, sampling, COUNTING, seed=0)
    with pytest.raises(ValueError, match="unknown camera 'film'"):
        record(flat, 10.0, 0.2, Camera(kind="film"), seed=0)
    for impure in (Camera(mtf_half=0.5), Camera(ntf_half=0.5), Camera(readout_noise=1.0)):
        with pytest.raises(ValueError, match="counting camera has no MTF"):
            record(flat, 10.0, 0.2, impure, seed=0)


def test_counts_beyond_the_format_are_refused():
    with pytest.raises(OverflowError, match="lower the dose"):
        record(np.ones((4, 4)), 2e6, 0.2, COUNTING, seed=0)
    with pytest.raises(OverflowError, match="holds 65535"):
        record(np.ones((4, 4)), 1e4, 0.2, Camera(gain=1000.0), seed=0)


def test_readout_noise_below_zero_is_recorded_as_zero():
    camera = replace(INTEGRATING, offset=0.0)
    recorded = record(np.zeros((32, 32)), 1.0, 0.2, camera, seed=0)
    assert 0.4 < (recorded == 0).mean() < 0.7
