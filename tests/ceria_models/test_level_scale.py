"""A scale that all columns share is no event, and an event is no scale."""

import numpy as np
import pytest

from ceria_models.level_scale import level_scale

TIMES = np.arange(300) / 30


def levels_of(scale, n_columns=60, spread=0.3, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 6, n_columns).astype(float)
    level = counts[:, None] * scale + rng.normal(0, spread, (n_columns, len(TIMES)))
    return level, np.full(n_columns, spread)


def test_a_slow_change_of_the_image_is_found():
    scale = 1 + 0.12 * np.sin(2 * np.pi * TIMES / 10)
    level, spread = levels_of(scale)
    found = level_scale(level, spread, TIMES)
    # The mean over a second lags at the ends; the median of a column is not that at scale 1.
    inner = slice(20, -20)
    np.testing.assert_allclose(found[inner], scale[inner], atol=0.02)


def test_noise_makes_no_scale():
    level, spread = levels_of(np.ones(300))
    assert np.abs(level_scale(level, spread, TIMES) - 1).max() < 0.01


@pytest.mark.parametrize("atoms", [1, 5])
def test_columns_that_change_hardly_touch_the_others(atoms):
    level, spread = levels_of(np.ones(300))
    fullest = np.argsort(-level.mean(axis=1))[:3]
    level[fullest, 150:] -= atoms
    assert np.abs(level_scale(level, spread, TIMES) - 1).max() < 0.02


def test_few_columns_have_no_scale():
    level, spread = levels_of(np.linspace(0.8, 1.2, 300), n_columns=11)
    assert (level_scale(level, spread, TIMES) == 1).all()
    level, spread = levels_of(np.linspace(0.8, 1.2, 300), n_columns=30)
    spread[:19] = np.nan
    assert (level_scale(level, spread, TIMES) == 1).all()


def test_missing_levels_and_one_frame():
    level, spread = levels_of(np.linspace(0.9, 1.1, 300))
    level[:, 100:140] = np.nan
    found = level_scale(level, spread, TIMES)
    assert np.isfinite(found).all()
    assert found[250] - found[50] == pytest.approx(0.2 * 200 / 300, abs=0.03)
    assert level_scale(level[:, :1], spread, TIMES[:1]).tolist() == [1.0]
