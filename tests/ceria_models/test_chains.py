"""Smoothed counts are those of the sum over all histories."""

from itertools import product

import numpy as np
import pytest

from ceria_models.chains import Chain, smooth, smooth_levels
from ceria_models.evidence import log_likelihood
from ceria_models.film_chain import Columns, first_chain, fit_chain, smoothed_blocks
from ceria_models.tracking_settings import EvidenceSettings, MotionSettings

MOTION = MotionSettings(rate_per_s=0.02, hop_share=0.5, hop_time_s=0.03, reach_A=5.6)


def chain_of(prior, rate=0.3, offsets=(0,), offset_prior=(1.0,)):
    return Chain(
        np.asarray(prior), rate, 2 * rate, np.array(offsets), np.asarray(offset_prior, float)
    )


def by_histories(log, times, chain):
    """Sum over every history of counts and every offset, one column."""
    n_frames, n = log.shape
    p, gain, loss = np.zeros((n_frames, n)), np.zeros(n_frames - 1), np.zeros(n_frames - 1)
    offset, total = np.zeros(len(chain.offsets)), 0.0
    steps = [chain.transition(dt) for dt in np.diff(times)]
    for o, (low, high) in enumerate(zip(*chain.read, strict=True)):
        for counts in product(range(n), repeat=n_frames):
            w = chain.offset_prior[o] * chain.prior[counts[0]]
            w *= np.prod([s[i, j] for s, i, j in zip(steps, counts[:-1], counts[1:], strict=True)])
            for t, c in enumerate(counts):
                w *= (np.exp(log[t, low[c]]) + np.exp(log[t, high[c]])) / 2
            total += w
            offset[o] += w
            for t, c in enumerate(counts):
                p[t, c] += w
            for t in range(n_frames - 1):
                gain[t] += w * (counts[t + 1] > counts[t])
                loss[t] += w * (counts[t + 1] < counts[t])
    return p / total, gain / total, loss / total, offset / total, np.log(total)


@pytest.mark.parametrize("offsets", [((0,), (1.0,)), ((-1, 0, 0.5, 1), (0.2, 0.6, 0.1, 0.1))])
def test_smoothing_equals_the_sum_over_all_histories(offsets):
    rng = np.random.default_rng(1)
    log = rng.normal(scale=2, size=(5, 3, 4))
    log[2, 1] = 0  # a frame without a reading
    log -= log.max(axis=-1, keepdims=True)
    times = np.array([0.0, 0.1, 0.4, 0.5, 2.0])
    chain = chain_of([0.1, 0.2, 0.3, 0.4], 0.3, *offsets)
    found = smooth(log, times, chain)
    for column in range(3):
        p, gain, loss, offset, evidence = by_histories(log[:, column], times, chain)
        np.testing.assert_allclose(found.p[:, column], p, atol=1e-6)
        np.testing.assert_allclose(found.gain[:, column], gain, atol=1e-6)
        np.testing.assert_allclose(found.loss[:, column], loss, atol=1e-6)
        np.testing.assert_allclose(found.offset[column], offset, atol=1e-6)
        assert found.log_evidence[column] == pytest.approx(evidence, abs=1e-5)


def test_smoothing_of_levels_equals_the_sum_over_all_histories():
    rng = np.random.default_rng(4)
    levels, spread, blank = rng.normal(1.5, 1.0, (4, 2)), np.array([0.4, 0.8]), 0.01
    levels[1, 0] = np.nan
    offsets, times = np.array([-0.4, 0.0, 0.3]), np.array([0.0, 0.1, 0.4, 0.5])
    chain = chain_of([0.2, 0.3, 0.4, 0.1], 0.3, offsets, (0.3, 0.5, 0.2))
    steady = rng.normal(size=(2, 3, 4))
    found = smooth_levels(levels, spread, blank, steady, times, chain)
    steps = [chain.transition(dt) for dt in np.diff(times)]
    for column in range(2):
        p, gain, off, total = np.zeros((4, 4)), np.zeros(3), np.zeros(3), 0.0
        for o, counts in product(range(3), product(range(4), repeat=4)):
            w = chain.offset_prior[o] * chain.prior[counts[0]]
            w *= np.prod([s[i, j] for s, i, j in zip(steps, counts[:-1], counts[1:], strict=True)])
            for t, n in enumerate(counts):
                far = (levels[t, column] - n - offsets[o]) / spread[column]
                seen = 1.0 if np.isnan(far) else (1 - blank) * np.exp(-0.5 * far**2) + blank
                w *= seen * np.exp(steady[column, o, n] / 4)
            total, off[o] = total + w, off[o] + w
            p[np.arange(4), counts] += w
            gain += w * (np.diff(counts) > 0)
        np.testing.assert_allclose(found.p[:, column], p / total, atol=1e-6)
        np.testing.assert_allclose(found.gain[:, column], gain / total, atol=1e-6)
        np.testing.assert_allclose(found.offset[column], off / total, atol=1e-6)


@pytest.mark.parametrize("n_frames", [5, 500])
def test_what_the_whole_film_says_counts_once_however_many_frames(n_frames):
    """Levels that say nothing: the answer is Bayes' rule with the likelihood of the film."""
    prior, likely = np.array([0.2, 0.5, 0.3]), np.array([1.0, 0.1, 0.6])
    steady = np.log(likely)[None, None]
    levels = np.full((n_frames, 1), np.nan)
    found = smooth_levels(
        levels, np.ones(1), 0.01, steady, np.arange(n_frames) * 1e-7, chain_of(prior, 1e-6)
    )
    np.testing.assert_allclose(found.p[-1, 0], prior * likely / (prior @ likely), atol=1e-4)


def film_of_levels(off, n_columns=60, n_frames=50, spread=0.4):
    """Levels of still columns, all of them off by the same; and what the net says of the mean."""
    rng = np.random.default_rng(5)
    counts = rng.integers(1, 6, n_columns)
    own = rng.normal(0, 0.1, n_columns)[:, None]
    level = counts[:, None] + off + own + rng.normal(0, spread, (n_columns, n_frames))
    flat = np.full((n_columns, n_frames, 8), 1 / 8, dtype=np.float32)
    times = np.arange(n_frames) / 30
    columns = Columns(
        flat, np.arange(n_columns), times, np.full(n_frames, 300.0), level.astype(np.float32),
        np.full(n_columns, spread), np.full((n_columns, 8), 1 / 8),
    )  # fmt: skip
    return columns, counts


def test_levels_that_are_off_together_are_set_right():
    columns, counts = film_of_levels(off=0.35)
    evidence = EvidenceSettings(prior=(1 / 8,) * 8, level_error=0.3, level_error_per_atom=0.0)
    chain = fit_chain(columns, evidence, MOTION)
    assert chain.level_mean == pytest.approx(0.35 * 60 / 80, abs=0.1)
    found = np.empty(60, dtype=int)
    for which, smoothed in smoothed_blocks(columns, evidence, chain):
        found[which] = smoothed.p[-1].argmax(axis=1)
    assert (found == counts).mean() > 0.95


def test_columns_without_levels_are_judged_by_the_net():
    columns, counts = film_of_levels(off=0.0)
    columns.spread[:20] = np.nan
    columns.p[:20] = np.eye(8)[counts[:20]][:, None]
    columns.level[:20] += 1
    evidence = EvidenceSettings(prior=(1 / 8,) * 8)
    assert columns.leveled.tolist() == [False] * 20 + [True] * 40
    found, seen = np.empty(60, dtype=int), []
    for which, smoothed in smoothed_blocks(columns, evidence, first_chain(evidence, MOTION)):
        found[which] = smoothed.p[-1].argmax(axis=1)
        seen += which.tolist()
    assert sorted(seen) == list(range(60))
    np.testing.assert_array_equal(found, counts)


def test_the_mean_of_the_film_decides_where_levels_do_not():
    """A level of 3.5 says three or four; the net says four."""
    columns, _ = film_of_levels(off=0.0, n_columns=4)
    columns.level[:] += 3.5 - columns.level.mean(axis=1, keepdims=True)
    columns.mean_p[:2] = np.eye(8)[4] * 0.9 + 0.1 / 8
    columns.mean_p[2:] = np.eye(8)[3] * 0.9 + 0.1 / 8
    evidence = EvidenceSettings(prior=(1 / 8,) * 8, level_error=0.4)
    found = np.empty(4, dtype=int)
    for which, smoothed in smoothed_blocks(columns, evidence, first_chain(evidence, MOTION)):
        found[which] = smoothed.p[-1].argmax(axis=1)
    assert found.tolist() == [4, 4, 3, 3]


def test_frames_of_a_still_column_multiply_and_the_prior_counts_once():
    """T calibrated posteriors of one count have the posterior of all their electrons."""
    rng = np.random.default_rng(2)
    prior, d2, n_frames = np.array([0.05, 0.5, 0.25, 0.15, 0.05]), 0.4, 40
    truth = np.array([1, 2, 3, 4])
    x = truth + rng.normal(size=(n_frames, 4)) / np.sqrt(d2)
    log = -0.5 * d2 * (x[..., None] - np.arange(5)) ** 2
    posterior = prior * np.exp(log)
    posterior /= posterior.sum(axis=-1, keepdims=True)
    exact = prior * np.exp(log.sum(axis=0) - log.sum(axis=0).max(axis=-1, keepdims=True))
    exact /= exact.sum(axis=-1, keepdims=True)
    settings = EvidenceSettings(prior=tuple(prior), blank=0.0)
    evidence = log_likelihood(posterior, np.full(n_frames, 300.0), settings)
    found = smooth(evidence, np.arange(n_frames) * 1e-6, chain_of(prior, 1e-6))
    np.testing.assert_allclose(found.p[-1], exact, atol=1e-4)
    # Counting the prior in every frame would be far off: the test can tell.
    thrice = EvidenceSettings(prior=(0.2,) * 5, blank=0.0)
    wrong = smooth(
        log_likelihood(posterior, np.full(n_frames, 300.0), thrice),
        np.arange(n_frames) * 1e-6,
        chain_of(prior, 1e-6),
    )
    assert np.abs(wrong.p[-1] - exact).max() > 0.3


def test_missing_frames_and_blank_ones_say_nothing():
    settings = EvidenceSettings(prior=(0.2, 0.4, 0.4), blank=0.01)
    p = np.full((30, 2, 3), np.nan)
    p[3, 0] = 0.01, 0.98, 0.01
    found = smooth(
        log_likelihood(p, np.full(30, 300.0), settings),
        np.arange(30) / 30,
        chain_of([0.2, 0.4, 0.4], 1e-6),
    )
    np.testing.assert_allclose(found.p[:, 1], np.tile([0.2, 0.4, 0.4], (30, 1)), atol=1e-4)
    assert (found.p[:, 0, 1] > 0.9).all()
    assert np.isfinite(found.p).all()
    # One frame, however sure of nonsense, is blank with 1 % and cannot decide alone.
    p = np.tile([1e-9, 1 - 2e-9, 1e-9], (30, 1, 1))
    p[17] = 1e-9, 1e-9, 1 - 2e-9
    found = smooth(
        log_likelihood(p, np.full(30, 300.0), settings),
        np.arange(30) / 30,
        chain_of([0.2, 0.4, 0.4], 0.02),
    )
    assert found.p[17, 0, 1] > 0.9


def test_offsets_limit_what_a_count_can_be_known_but_not_a_change():
    """A net that always reads one too many: the count stays open, the step is seen."""
    prior = np.full(7, 1 / 7)
    chain = chain_of(prior, 0.05, (-1, 0, 1), (0.1, 0.8, 0.1))
    settings = EvidenceSettings(prior=tuple(prior), blank=0.0)
    p = np.full((200, 1, 7), 0.01)
    p[:100, :, 4] = p[100:, :, 3] = 0.94
    found = smooth(log_likelihood(p, np.full(200, 300.0), settings), np.arange(200) / 30, chain)
    assert found.p[50, 0, 4] == pytest.approx(0.8, abs=0.02)
    assert found.p[150, 0, 3] == pytest.approx(0.8, abs=0.02)
    assert found.loss.sum() == pytest.approx(1, abs=0.02)
    assert found.loss[99, 0] > 0.9


def test_an_offset_is_what_is_read_too_many():
    """A net that reads one too many reads 4 of 3; nothing is never read as something."""
    chain = chain_of(np.full(5, 0.2), 0.1, (-1, 0, 0.5, 1), (0.3, 0.4, 0.1, 0.2))
    low, high = chain.read.tolist()
    assert low == [[0, 1, 1, 2, 3], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [0, 2, 3, 4, 4]]
    assert high == [[0, 1, 1, 2, 3], [0, 1, 2, 3, 4], [0, 2, 3, 4, 4], [0, 2, 3, 4, 4]]


def test_the_films_own_prior_and_rates_are_learned():
    """The net learned from thin columns, the film shows thick ones that change often."""
    rng = np.random.default_rng(3)
    times = np.arange(600) / 30
    truth = np.empty((200, 600), dtype=int)
    counts = rng.choice([7, 8, 9], 200)
    for frame in range(600):
        step = rng.random(200)
        counts = counts + (step < 0.2 / 30) - (step > 1 - 0.4 / 30)
        counts = np.clip(counts, 1, 14)
        truth[:, frame] = counts
    net = np.append(0.1, 0.9 * np.exp(-0.3 * np.arange(1, 15)))
    net /= net.sum()
    x = truth + rng.normal(size=truth.shape) / 1.5
    p = net * np.exp(-0.5 * 2.25 * (x[..., None] - np.arange(15)) ** 2)
    p /= p.sum(axis=-1, keepdims=True)
    columns = Columns(p.astype(np.float32), np.arange(200), times, np.full(600, 300.0))
    chain = fit_chain(columns, EvidenceSettings(prior=tuple(net), blank=1e-6), MOTION)
    # No column starts with fewer; the net's prior weighs as 20 of 220 columns.
    assert chain.prior[7:10].sum() > 0.85
    assert chain.gain_per_s == pytest.approx(0.2, rel=0.15)
    assert chain.loss_per_s == pytest.approx(0.4, rel=0.15)


def test_one_frame_and_no_offset_is_bayes_rule():
    settings = EvidenceSettings(prior=(0.2, 0.4, 0.4), blank=0.0)
    p = np.array([[[0.1, 0.7, 0.2]]])
    found = smooth(
        log_likelihood(p, np.array([np.nan]), settings),
        np.zeros(1),
        first_chain(settings, MOTION).readings,
    )
    np.testing.assert_allclose(found.p[0, 0], [0.1, 0.7, 0.2], atol=1e-6)
    assert found.gain.shape == (0, 1)


def test_the_temperature_follows_the_dose():
    settings = EvidenceSettings(prior=(0.5, 0.5), temperature_dose=1.0, blank=0.0)
    p = np.tile([0.2, 0.8], (2, 1, 1))
    log = log_likelihood(p, np.array([300.0, 600.0]), settings)[:, 0, 0]
    assert log[0] == pytest.approx(2 * log[1])
