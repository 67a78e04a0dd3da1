import numpy as np
import pytest
from scipy.stats import norm

from ceria_data.detector import record
from ceria_data.observer import detectability, position_bound
from ceria_data.parameters import Camera

SHAPE, SAMPLING, DRAWS = (20, 24), 0.5, 1500
INTEGRATING = Camera(
    "integrating", gain=8.0, offset=300.0, readout_noise=6.0, mtf_half=0.5, ntf_half=0.8
)


def images():
    """A bright column with 4 and with 3 atoms, on a fringe."""
    y, x = np.indices(SHAPE)
    column = np.exp(-((y - 9) ** 2 + (x - 12) ** 2) / 6.0)
    fringe = 1.0 + 0.2 * np.cos(x / 2.0)
    return fringe + 0.8 * column, fringe + 0.55 * column


def draws(image, dose, camera, first_seed):
    return np.stack(
        [record(image, dose, SAMPLING, camera, seed=first_seed + i) for i in range(DRAWS)]
    ).astype(np.float64)


def named_rightly(score_with, score_without):
    """Share of pairs in which the higher score belongs to the complete column."""
    wins = (score_with > score_without).mean() + 0.5 * (score_with == score_without).mean()
    return wins, np.sqrt(wins * (1 - wins) / DRAWS)


@pytest.mark.parametrize("dose", [20.0, 60.0, 200.0])
def test_a_counting_camera_reaches_the_predicted_share_in_the_paired_test(dose):
    with_atom, without = images()
    d2 = detectability(with_atom, without, dose, SAMPLING, Camera())
    one, two = (electrons * dose * SAMPLING**2 for electrons in (with_atom, without))
    # Logarithm of the likelihood ratio of two Poisson images.
    weights, offset = np.log(one / two), (one - two).sum()
    ratios = [
        (draws(image, dose, Camera(), seed) * weights).sum(axis=(1, 2)) - offset
        for image, seed in ((with_atom, 0), (without, 10_000))
    ]
    share, error = named_rightly(*ratios)
    assert abs(share - norm.cdf(np.sqrt(d2 / 2))) < 4 * error + 0.005


def test_an_integrating_camera_reaches_the_predicted_share_in_the_paired_test():
    with_atom, without = images()
    dose = 60.0
    d2 = detectability(with_atom, without, dose, SAMPLING, INTEGRATING)
    one, two = (draws(image, dose, INTEGRATING, seed) for image, seed in
                ((with_atom, 0), (without, 10_000)))  # fmt: skip
    # Hotelling's observer, its covariance estimated from noise of other seeds.
    middle = 0.5 * (with_atom + without)
    noise = np.concatenate([draws(middle, dose, INTEGRATING, 20_000 + i * DRAWS) for i in range(4)])
    noise = (noise - noise.mean(axis=0)).reshape(len(noise), -1)
    covariance = noise.T @ noise / (len(noise) - 1)
    difference = (one.mean(axis=0) - two.mean(axis=0)).ravel()
    model = np.linalg.solve(covariance, difference)
    share, error = named_rightly(one.reshape(DRAWS, -1) @ model, two.reshape(DRAWS, -1) @ model)
    # A template estimated from the same draws is a little worse on average, not better.
    assert share - norm.cdf(np.sqrt(d2 / 2)) < 4 * error + 0.02
    assert share - norm.cdf(np.sqrt(d2 / 2)) > -4 * error - 0.04


def test_d2_grows_linearly_with_dose_on_a_counting_camera():
    one, two = images()
    low, high = (detectability(one, two, dose, SAMPLING, Camera()) for dose in (10.0, 1000.0))
    assert high == pytest.approx(100 * low)


def test_a_perfect_integrating_camera_is_a_counting_one():
    ideal = Camera("integrating", gain=1e4)
    one, two = images()
    assert detectability(one, two, 100.0, SAMPLING, ideal) == pytest.approx(
        detectability(one, two, 100.0, SAMPLING, Camera()), rel=1e-4
    )


def test_blur_with_the_same_ntf_costs_nothing_and_readout_noise_does():
    one, two = images()
    sharp = Camera("integrating", gain=1e3, mtf_half=0.5, ntf_half=0.5)
    noisy = Camera("integrating", gain=1e3, mtf_half=0.5, ntf_half=0.5, readout_noise=1e4)
    ideal, blurred, read = (
        detectability(one, two, 100.0, SAMPLING, camera) for camera in (Camera(), sharp, noisy)
    )
    assert blurred == pytest.approx(ideal, rel=0.05)
    assert read < 0.5 * blurred


def test_dark_pixels_tell_nothing():
    dark = np.zeros((4, 4))
    assert detectability(dark, dark, 100.0, 0.2, Camera()) == 0.0


def test_images_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="cannot be compared"):
        detectability(np.ones((2, 2)), np.ones((2, 3)), 1.0, 1.0, Camera())


def peak(width, sampling=0.1, half=8.0):
    """A Gaussian of volume 1, and its change per shift along x and y."""
    axis = np.arange(-half, half + sampling / 2, sampling)
    y, x = axis[:, None], axis[None]
    value = np.exp(-0.5 * (x**2 + y**2) / width**2) / (2 * np.pi * width**2)
    return value, np.stack([value * x, value * y]) / width**2


@pytest.mark.parametrize(("width", "dose"), [(0.5, 100.0), (1.0, 2500.0)])
def test_a_peak_alone_is_placed_as_well_as_its_electrons_allow(width, dose):
    """σ/√N for a Gaussian of N electrons, the textbook case."""
    value, gradient = peak(width)
    found = position_bound(value, gradient, dose, 0.1)
    assert found == pytest.approx(100 * width / np.sqrt(dose), rel=1e-3)


def test_a_faint_peak_on_a_background_is_placed_as_its_slope_allows():
    """F = dose A²/(8πσ⁴b), from ∫(A/(2πσ²) x/σ² exp(-r²/2σ²))² / b over the plane."""
    width, faint, background, dose = 0.8, 1e-3, 1.3, 400.0
    value, gradient = peak(width)
    found = position_bound(background + faint * value, faint * gradient, dose, 0.1)
    information = dose * faint**2 / (8 * np.pi * width**4 * background)
    assert found == pytest.approx(100 / np.sqrt(information), rel=1e-3)


def test_directions_that_are_alike_cost_each_other():
    """Two pixels with F = [[2, 1], [1, 1]] have the inverse [[1, -1], [-1, 2]]."""
    gradient = np.array([[[1.0, 1.0]], [[1.0, 0.0]]])
    found = position_bound(np.ones((1, 2)), gradient, 1.0, 1.0)
    assert found == pytest.approx([100.0, 100 * np.sqrt(2)])


def test_no_slope_tells_no_position():
    flat = np.ones((3, 3))
    assert np.isinf(position_bound(flat, np.zeros((2, 3, 3)), 1.0, 1.0)).all()
    value, gradient = peak(0.5)
    assert np.isinf(position_bound(value, gradient, 0.0, 0.1)).all()
    with pytest.raises(ValueError, match="does not belong"):
        position_bound(flat, np.zeros((2, 3, 4)), 1.0, 1.0)


def test_the_best_fit_reaches_the_bound():
    """Maximum likelihood by one Newton step from the truth, on many noisy peaks."""
    value, gradient = peak(0.6, sampling=0.2, half=2.0)
    image, slope, dose = 1 + 2 * value, 2 * gradient, 3000.0
    electrons = dose * 0.2**2
    counts = np.random.default_rng(2).poisson(electrons * image, size=(4000, *image.shape))
    score = np.tensordot(counts - electrons * image, (slope / image), axes=([1, 2], [1, 2]))
    information = electrons * np.einsum("ayx,byx->ab", slope / image, slope)
    scatter = 100 * (score @ np.linalg.inv(information)).std(axis=0)
    assert scatter == pytest.approx(position_bound(image, slope, dose, 0.2), rel=0.04)
