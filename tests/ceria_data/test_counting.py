import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import poisson

from ceria_data.counting import count_accuracy, count_posteriors

FLAT = np.ones(15)


def rng():
    return np.random.default_rng(5)


def accuracy(dim, bright, prior, dose, draws=40000, occupancy=2):
    """One pixel; the column has 2 atoms or 3."""
    differences = np.array([[[0.0]], [[bright - dim]]])
    counts = np.array([2, 3])
    image = np.array([[dim]])
    if occupancy == 3:
        image, differences = image + bright - dim, differences - (bright - dim)
    return count_accuracy(image, differences, counts, occupancy, prior, dose, 0.5, rng(), draws)


def test_one_pixel_is_read_by_the_likelihood_ratio():
    """With 12 or 20 electrons expected, more than 8 / ln(20/12) say 20."""
    threshold = 8 / np.log(20 / 12)
    right = poisson.cdf(np.floor(threshold), 12)
    assert accuracy(1.2, 2.0, FLAT, 40.0) == pytest.approx(right, abs=0.01)
    right = poisson.sf(np.floor(threshold), 20)
    assert accuracy(1.2, 2.0, FLAT, 40.0, occupancy=3) == pytest.approx(right, abs=0.01)


def test_a_prior_moves_the_threshold():
    prior = np.zeros(15)
    prior[2], prior[3] = 0.1, 0.4
    threshold = (8 - np.log(4)) / np.log(20 / 12)
    right = poisson.cdf(np.floor(threshold), 12)
    assert right != pytest.approx(poisson.cdf(np.floor(8 / np.log(20 / 12)), 12), abs=0.05)
    assert accuracy(1.2, 2.0, prior, 40.0) == pytest.approx(right, abs=0.01)


def test_a_certain_prior_needs_no_electrons():
    certain = np.zeros(15)
    certain[2] = 1.0
    assert accuracy(1.2, 2.0, certain, 40.0) == 1.0
    assert accuracy(1.2, 2.0, certain, 0.0) == 1.0
    certain[[2, 3]] = 0.0, 1.0
    assert accuracy(1.2, 2.0, certain, 1e6) == 0.0


def test_without_electrons_the_prior_decides():
    prior = np.full(15, 0.1)
    prior[2] = 0.2
    assert accuracy(1.2, 2.0, prior, 0.0) == 1.0
    assert accuracy(1.2, 2.0, prior, 0.0, occupancy=3) == 0.0
    posteriors = count_posteriors(
        np.ones((1, 1)), np.array([[[0.0]], [[1.0]]]), prior[2:4], 0.0, 1.0, rng()
    )
    assert posteriors == pytest.approx(np.tile([2 / 3, 1 / 3], (200, 1)))


def test_many_weak_pixels_give_the_formula_of_the_ideal_observer():
    """Inside a flat range of counts 1 - 2 Φ(-d'/2), at its ends 1 - Φ(-d'/2)."""
    dose, sampling = 1000.0, 0.2
    signal = np.random.default_rng(3).normal(size=(60, 60))
    signal *= 0.0035
    d = np.sqrt(dose * sampling**2 * (signal**2).sum())
    assert 1 < d < 2
    image = np.ones((60, 60))
    for occupancy, right in ((5, 1 - 2 * ndtr(-d / 2)), (2, 1 - ndtr(-d / 2))):
        counts = np.arange(2, 9)
        differences = (counts - occupancy)[:, None, None] * signal
        # The same expected electrons for all: the bent sum over candidates is left out.
        found = count_accuracy(
            image, differences, counts, occupancy, FLAT, dose, sampling, rng(), 8000
        )
        assert found == pytest.approx(right, abs=0.02)


def test_posteriors_are_calibrated():
    """Of all draws with probability p for a candidate, a share p comes from it."""
    differences = np.array([[[0.0]], [[0.8]]])
    first = count_posteriors(np.array([[1.2]]), differences, np.ones(2), 10.0, 1.0, rng(), 40000)
    second = count_posteriors(
        np.array([[2.0]]), differences - 0.8, np.ones(2), 10.0, 1.0, rng(), 40000
    )
    assert 0.1 < first[:, 1].mean() < 0.4
    assert first[:, 1].mean() == pytest.approx(second[:, 0].mean(), abs=0.01)


def test_a_candidate_darker_than_nothing_is_not_excluded_for_certain():
    differences = np.array([[[0.0]], [[-1.5]]])
    found = count_posteriors(np.ones((1, 1)), differences, np.ones(2), 1.0, 0.1, rng(), 50)
    assert np.isfinite(found).all()
    assert (found > 0).all()


@pytest.mark.parametrize(
    ("prior", "counts", "message"),
    [
        (np.zeros(15), [2, 3], "not all 0"),
        (np.full(15, -1.0), [2, 3], "not negative"),
        (FLAT, [3, 4], "true count 2"),
        (np.ones(3), [2, 3], "goes to 2"),
    ],
)
def test_what_makes_no_sense_is_refused(prior, counts, message):
    differences = np.array([[[0.0]], [[0.8]]])
    with pytest.raises(ValueError, match=message):
        count_accuracy(np.ones((1, 1)), differences, np.array(counts), 2, prior, 1.0, 1.0, rng())


def test_shapes_must_belong_together():
    with pytest.raises(ValueError, match="do not belong"):
        count_posteriors(np.ones((2, 2)), np.zeros((2, 1, 1)), np.ones(2), 1.0, 1.0, rng())
