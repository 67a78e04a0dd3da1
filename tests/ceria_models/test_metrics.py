"""Figures of merit on tables whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from ceria_models import metrics, roc
from ceria_models.merit import measure
from ceria_models.metrics import (
    DEPTH,
    ECE,
    EXACT,
    F1,
    MACRO_F1,
    POSITION,
    PRECISION,
    RECALL,
    VACANCY_AUC,
    VOLUME_IOU,
    WITHIN_ONE,
)


def value(metric, **columns):
    return measure(metric, pd.DataFrame(columns)).value


def test_detection_and_counts_by_hand():
    """Four columns: right, one off, two off, missed; two false columns."""
    true, count = [5, 5, 5, 5, 0, 0], [5, 4, 7, 0, 3, 1]
    figures = {m.name: value(m, true_count=true, count=count) for m in (PRECISION, RECALL, F1)}
    assert figures == {"precision": 0.6, "recall": 0.75, "f1": pytest.approx(2 * 3 / (4 + 5))}
    assert value(EXACT, true_count=true, count=count) == 0.25
    assert value(WITHIN_ONE, true_count=true, count=count) == 0.5


def test_macro_f1_by_hand_weighs_rare_counts_like_common_ones():
    true, count = [2] * 8 + [3, 3], [2] * 8 + [2, 3]
    f1 = [2 * 8 / (8 + 9), 2 * 1 / (2 + 1)]
    assert value(MACRO_F1, true_count=true, count=count) == pytest.approx(np.mean(f1))


def test_position_is_the_error_along_one_axis_in_pm():
    rng = np.random.default_rng(0)
    dx, dy = 0.05 * rng.standard_normal((2, 40000))
    found = value(POSITION, true_count=np.full(40000, 3), count=3, dx_A=dx, dy_A=dy)
    assert found == pytest.approx(5.0, rel=0.02)


def test_depth_ignores_what_was_not_found():
    assert value(DEPTH, true_count=[1, 1, 1], count=1, dz_A=[3.0, -4.0, np.nan]) == pytest.approx(
        np.sqrt(12.5)
    )


def test_calibration_error_is_nought_for_honest_and_known_for_boastful_confidence():
    rng = np.random.default_rng(1)
    sure = rng.uniform(0.3, 1.0, 200000)
    right = rng.random(200000) < sure
    # Wrong by one more and by one less, at any confidence.
    count = np.where(right, 4, np.where(rng.random(200000) < 0.5, 3, 5))
    assert value(ECE, true_count=np.full(200000, 4), count=count, confidence=sure) < 0.005
    boast = np.minimum(sure + 0.1, 1)
    honest = measure(ECE, pd.DataFrame({"true_count": 4, "count": count, "confidence": boast}))
    assert honest.value == pytest.approx(np.mean(boast - sure), abs=0.005)


def test_a_false_column_makes_confidence_wrong_and_a_missed_one_does_not():
    assert value(
        ECE, true_count=[4, 0, 4], count=[4, 4, 0], confidence=[1.0, 1.0, np.nan]
    ) == pytest.approx(0.5)


def test_auc_of_two_normal_scores_is_the_textbook_value():
    from scipy.special import ndtr

    rng = np.random.default_rng(2)
    lacks = rng.random(100000) < 0.2
    score = rng.standard_normal(100000) + 1.3 * lacks
    found = value(
        VACANCY_AUC, true_count=np.full(100000, 3), n_vacancies=lacks.astype(int),
        vacancy_score=score,
    )  # fmt: skip
    assert found == pytest.approx(ndtr(1.3 / np.sqrt(2)), abs=0.005)
    x, y = roc.roc(lacks, score)
    assert np.trapezoid(y, x) == pytest.approx(found, abs=1e-3)


def test_auc_of_an_uninformative_score_is_a_half_whatever_its_ties():
    lacks = np.arange(1000) % 5 == 0
    for score in (np.zeros(1000), np.full(1000, np.nan)):
        assert value(
            VACANCY_AUC, true_count=np.full(1000, 3), n_vacancies=lacks.astype(int),
            vacancy_score=score,
        ) == pytest.approx(0.5)  # fmt: skip


def test_a_missed_column_raises_no_alarm():
    """Of the four comparisons the missed column with a vacancy loses both, the other wins both."""
    found = value(
        VACANCY_AUC, true_count=[3] * 4, n_vacancies=[1, 1, 0, 0],
        vacancy_score=[np.nan, 0.9, 0.5, 0.1],
    )  # fmt: skip
    assert found == 0.5


def test_volumes_are_pooled_over_images():
    assert value(VOLUME_IOU, intersection=[1, 9], union=[10, 10]) == 0.5


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """Particles differ in quality: the spread of particles, not that of columns, counts."""
    rng = np.random.default_rng(3)
    covered, widths = 0, []
    for trial in range(200):
        quality = rng.beta(8, 2, 30)
        particle = np.repeat(np.arange(30), 50)
        right = rng.random(1500) < quality[particle]
        matches = pd.DataFrame(
            {"particle": particle, "true_count": 4, "count": np.where(right, 4, 3)}
        )
        found = measure(EXACT, matches, draws=300, seed=trial)
        covered += found.low <= 0.8 <= found.high
        widths.append(found.high - found.low)
    assert 0.88 <= covered / 200 <= 0.99
    assert np.mean(widths) > 0.06  # columns as if independent would give 0.04


def test_one_particle_gives_no_interval_and_nothing_gives_nothing():
    one = measure(EXACT, pd.DataFrame({"particle": [1, 1], "true_count": [3, 3], "count": [3, 2]}))
    assert (one.value, one.low, one.n) == (0.5, None, 2)
    nothing = measure(EXACT, pd.DataFrame({"particle": [1], "true_count": [0], "count": [2]}))
    assert nothing.value is None


def test_confusion_counts_missed_and_false_columns():
    table = metrics.confusion(pd.DataFrame({"true_count": [3, 3, 0], "count": [2, 0, 1]}), 4)
    assert table[3, 2] == table[3, 0] == table[0, 1] == 1
    assert table.sum() == 3
