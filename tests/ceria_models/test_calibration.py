"""Calibration finds how far logits can be believed, at every dose."""

import numpy as np
import pytest

from ceria_models.calibration import fit_calibration
from ceria_models.decoding import calibrated
from ceria_models.model import CalibrationFacts


def cases(facts, n=60_000, classes=4, seed=0):
    """Cases whose truth follows a known calibration."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2.0, size=(n, classes))
    dose = np.exp(rng.uniform(np.log(30), np.log(3000), n))
    p = np.stack([calibrated(one, facts, d) for one, d in zip(logits, dose, strict=True)])
    truth = (p.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1)
    return logits, truth, dose


def test_a_known_calibration_is_found():
    facts = CalibrationFacts(slope=-0.5, slope_dose=0.25, bias=(0.6, -0.2, -0.2, -0.2))
    found = fit_calibration(*cases(facts))
    assert found.slope == pytest.approx(facts.slope, abs=0.03)
    assert found.slope_dose == pytest.approx(facts.slope_dose, abs=0.02)
    bias = np.array(found.bias) - np.mean(found.bias)
    np.testing.assert_allclose(bias, facts.bias, atol=0.05)


def test_calibrated_confidence_is_the_share_that_is_right():
    facts = CalibrationFacts(slope=-0.7, slope_dose=-0.1, bias=(0.0, 0.5, -0.5, 0.0))
    logits, truth, dose = cases(facts, seed=1)
    found = fit_calibration(logits[::2], truth[::2], dose[::2])
    rows = zip(logits[1::2], dose[1::2], strict=True)
    p = np.stack([calibrated(one, found, d) for one, d in rows])
    confidence, right = p.max(axis=1), p.argmax(axis=1) == truth[1::2]
    for low in np.arange(0.3, 1.0, 0.1):
        own = (confidence >= low) & (confidence < low + 0.1)
        if own.sum() > 300:
            assert right[own].mean() == pytest.approx(confidence[own].mean(), abs=0.03)


def test_a_class_that_never_occurs_keeps_its_bias():
    facts = CalibrationFacts(slope=0.0, slope_dose=0.0, bias=(0.0, 0.0, 0.0, 0.0))
    logits, truth, dose = cases(facts, n=5000)
    logits = np.column_stack([logits, np.full(len(logits), -30.0)])
    assert abs(fit_calibration(logits, truth, dose).bias[-1]) < 0.01


def test_nothing_cannot_be_calibrated_with():
    with pytest.raises(ValueError, match="no cases"):
        fit_calibration(np.zeros((0, 3)), np.zeros(0, int), np.zeros(0))
