"""What an ideal observer of single frames reads."""

import numpy as np
import pytest

from ceria_models.film_scoring import ideal_readings


def test_probabilities_are_those_of_bayes():
    prior = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    d2 = np.array([4.0, 0.25])
    x, p = ideal_readings(np.array([[1, 2], [0, 1]]), d2, prior, np.random.default_rng(3))
    for column in (0, 1):
        for frame in (0, 1):
            seen = x[column, frame]
            density = [np.exp(-d2[column] / 2 * (seen - n) ** 2) for n in range(3)]
            expected = prior[column] * density
            assert p[column, frame] == pytest.approx(expected / expected.sum(), rel=1e-5)
    assert p.dtype == np.float32


def test_counts_are_seen_with_the_noise_of_d():
    truth = np.full((2, 20_000), 3)
    flat = np.full((2, 8), 1 / 8)
    x, _ = ideal_readings(truth, np.array([4.0, 0.25]), flat, np.random.default_rng(0))
    error = x - truth
    assert error.mean(axis=1) == pytest.approx([0, 0], abs=0.05)
    assert error.std(axis=1) == pytest.approx([0.5, 2.0], rel=0.02)


def test_probabilities_can_be_believed():
    """Of counts that are drawn from the prior, those said with p are right in a share of p."""
    rng = np.random.default_rng(1)
    prior = np.array([0.1, 0.4, 0.3, 0.2])
    truth = rng.choice(4, (50, 2000), p=prior)
    _, p = ideal_readings(truth, np.full(50, 1.0), np.tile(prior, (50, 1)), rng)
    right, sure = p.argmax(-1) == truth, p.max(-1)
    for low in (0.4, 0.5, 0.6, 0.7):
        own = (sure >= low) & (sure < low + 0.1)
        assert own.sum() > 1000
        assert right[own].mean() == pytest.approx(sure[own].mean(), abs=0.02)


def test_what_cannot_be_seen_is_the_prior():
    prior = np.array([[0.25, 0.75]])
    _, p = ideal_readings(np.array([[0]]), np.array([1e-12]), prior, np.random.default_rng(0))
    assert p[0, 0] == pytest.approx([0.25, 0.75])
