"""Curves of vacancies are those of known distributions, with few points."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr, ndtri

from ceria_models.merit import measure
from ceria_models.roc import POINTS, VACANCY_AUC, thinned, vacancy_curve


def binormal(separation, n=40000, **more):
    """Alarms that are normal numbers, of columns with a vacancy higher by `separation`."""
    rng = np.random.default_rng(2)
    lacks = rng.random(n) < 0.3
    return pd.DataFrame(
        {
            "true_count": 5,
            "n_vacancies": lacks.astype(int),
            "vacancy_score": ndtr(rng.normal(size=n) + separation * lacks),
        }
        | more
    )


@pytest.mark.parametrize("separation", [0.5, 1.0, 2.5])
def test_the_curve_of_two_normal_distributions(separation):
    """True rate Φ(separation + Φ⁻¹(false rate)), area Φ(separation / √2)."""
    matches = binormal(separation)
    false_rate, true_rate, n_vacancies, n_others = vacancy_curve(matches)
    assert n_vacancies + n_others == len(matches)
    assert n_vacancies == (matches["n_vacancies"] > 0).sum()
    sure = (false_rate > 0.005) & (true_rate < 0.995)
    found = ndtri(true_rate[sure]) - ndtri(false_rate[sure])
    np.testing.assert_allclose(found, separation, atol=0.12)
    area = ndtr(separation / np.sqrt(2))
    assert np.trapezoid(true_rate, false_rate) == pytest.approx(area, abs=0.006)
    assert measure(VACANCY_AUC, matches).value == pytest.approx(area, abs=0.006)


def test_a_thinned_curve_keeps_its_ends_and_its_area():
    rng = np.random.default_rng(1)
    x, y = (np.concatenate([[0], np.sort(rng.random(5000) ** p), [1]]) for p in (1.0, 0.3))
    few_x, few_y = thinned(x, y, POINTS)
    assert len(few_x) <= POINTS <= 50
    assert (few_x[0], few_y[0], few_x[-1], few_y[-1]) == (0, 0, 1, 1)
    assert set(zip(few_x, few_y, strict=True)) <= set(zip(x, y, strict=True))
    assert np.trapezoid(few_y, few_x) == pytest.approx(np.trapezoid(y, x), abs=2e-3)
    assert max(np.diff(few_x).max(), np.diff(few_y).max()) < 4 / POINTS


def test_columns_that_were_not_found_come_last():
    """Half of them were found, and told apart without an error."""
    matches = binormal(20.0)
    matches.loc[::2, "vacancy_score"] = np.nan
    matches.loc[len(matches)] = [0, 0, 1.0]  # one that is no column does not enter
    false_rate, true_rate, *_ = vacancy_curve(matches)
    corner = true_rate[false_rate == 0].max()
    assert corner == pytest.approx(0.5, abs=0.02)
    # From there a straight line to the end.
    rest = false_rate > 0.5
    slope = (1 - corner) / (1 - false_rate[true_rate <= corner + 1e-9].max())
    np.testing.assert_allclose(true_rate[rest], 1 - slope * (1 - false_rate[rest]), atol=0.02)


def test_without_both_kinds_there_is_no_curve():
    assert vacancy_curve(binormal(1.0, n_vacancies=0)) is None
    assert vacancy_curve(binormal(1.0, n_vacancies=1)) is None
