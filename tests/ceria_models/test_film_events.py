"""Changes become events once, with the right kind and an honest confidence."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from ceria_models.changes import Change, find_changes, moment_of
from ceria_models.event_rates import event_rates
from ceria_models.film_events import film_events, no_events
from ceria_models.film_scoring import as_changes, score_counts, score_events, with_places
from ceria_models.hops import _matched, pair_changes
from ceria_models.tracking_settings import MotionSettings

TIMES = np.arange(600) / 30
MOTION = MotionSettings(rate_per_s=0.02, hop_share=0.5, hop_time_s=0.05, reach_A=5.6)
RATE = 0.02


def change(site, frame, probability=0.99, *, gain=False, width=1):
    return Change(site, gain, np.arange(frame, frame + width), np.full(width, probability / width))


def line(n):
    """n sites in a row, each with its neighbours on both sides."""
    places = np.stack([3.3 * np.arange(n), np.zeros(n)], axis=1)
    near = [np.array([j for j in (i - 1, i + 1) if 0 <= j < n]) for i in range(n)]
    return places, near


def events_of(changes, n=6):
    places, near = line(n)
    return film_events(changes, "Ce", near, TIMES, RATE, MOTION, places)


def kinds(events, confidence=0.5):
    return sorted(events.loc[events["confidence"] >= confidence, "kind"])


def test_a_loss_and_a_gain_next_to_it_at_once_are_a_migration():
    events = events_of([change(1, 100), change(2, 100, gain=True)])
    assert kinds(events) == ["migration"]
    row = events.iloc[0]
    assert (row["site_from"], row["site_to"]) == (1, 2)
    assert row["confidence"] > 0.98
    assert row["kind_confidence"] > 0.98
    assert row["time_low_s"] < row["time_s"] < row["time_high_s"]


@pytest.mark.parametrize("other", [(2, 300), (5, 100)])
def test_far_apart_in_time_or_place_they_are_a_departure_and_an_arrival(other):
    site, frame = other
    events = events_of([change(1, 100), change(site, frame, gain=True)])
    assert kinds(events) == ["arrival", "departure"]


def test_the_decision_is_that_of_the_bayes_factor():
    """Between sure migrations and sure pairs of events the odds follow the formula."""
    odds = []
    for apart in (1, 5, 9, 13):
        hops = pair_changes(
            [change(1, 100, 1 - 1e-6)], [change(2, 100 + apart, 1 - 1e-6, gain=True)],
            line(6)[1], TIMES, RATE, MOTION,
        )  # fmt: skip
        odds.append(float(hops.hop[0] / (hops.loss[0] * hops.gain[0])))
        density = np.exp(-apart / 30 / 0.05) / (2 * 0.05)
        expected = 0.5 / 2 * density / RATE / (1 - 0.5) ** 2
        # Where a hop is excluded both happened alone: odds of whole explanations.
        p = expected / (1 + expected)
        assert hops.hop[0] == pytest.approx(p, rel=1e-3)
    assert odds[0] > 10 * odds[-1]


def test_weak_changes_support_each_other():
    """Two halves that fit together are more than either alone."""
    alone = events_of([change(1, 100, 0.4)])["confidence"].max()
    together = events_of([change(1, 100, 0.4), change(2, 100, 0.4, gain=True)])
    best = together.iloc[together["confidence"].argmax()]
    assert best["kind"] == "migration"
    assert best["confidence"] > 0.9 > 0.4 > alone


def test_no_change_is_counted_twice():
    """Two losses compete for one gain: the sum of all confidences is that of the changes."""
    changes = [change(1, 100), change(3, 100), change(2, 100, gain=True)]
    events = events_of(changes)
    assert kinds(events) == ["departure", "migration"] or kinds(events) == ["migration"] * 2
    losses = events[events["site_from"] >= 0]["confidence"].sum()
    arrivals = events[events["kind"] == "arrival"]["confidence"].sum()
    hopped = events[events["kind"] == "migration"]["kind_confidence"].sum()
    assert losses == pytest.approx(2, abs=0.05)
    assert arrivals + hopped == pytest.approx(1, abs=0.05)


def test_matchings_are_summed_exactly():
    rng = np.random.default_rng(0)
    pair = np.array([(i, j) for i in range(4) for j in range(4) if rng.random() < 0.7])
    weight = rng.lognormal(1, 2, len(pair))
    total, marginal = 0.0, np.zeros(len(pair))
    for size in range(5):
        for chosen in combinations(range(len(pair)), size):
            rows, columns = pair[list(chosen), 0], pair[list(chosen), 1]
            if len(set(rows.tolist())) == size == len(set(columns.tolist())):
                w = np.prod(weight[list(chosen)])
                total += w
                marginal[list(chosen)] += w
    np.testing.assert_allclose(_matched(pair, weight), marginal / total, rtol=1e-9)


def test_crowded_groups_end():
    """Every column of a row of forty changes at once: pairs are cut until groups are small."""
    changes = [change(i, 100, 0.9, gain=bool(i % 2)) for i in range(40)]
    events = events_of(changes, 40)
    assert np.isfinite(events["confidence"]).all()
    assert len(events) <= 40
    assert (events["kind"] == "migration").sum() >= 15


def test_a_peak_is_one_change_and_two_in_a_row_are_two():
    flux = np.zeros((599, 1))
    flux[100:103, 0] = 0.3, 0.4, 0.3
    flux[300:302, 0] = 1.0, 1.0
    flux[500, 0] = 0.03  # fainter than what is kept
    found = find_changes(flux, TIMES, 1e-4, gain=True)
    assert [round(c.probability, 3) for c in found] == [1.0, 1.0, 1.0]
    assert [int(c.step[0]) for c in found] == [100, 300, 301]


def test_what_the_prior_rate_alone_says_is_no_change():
    """A column without any evidence has the probability of its rate in every frame."""
    flux = np.full((599, 3), 1.5 / 30)
    assert find_changes(flux, TIMES, 1.5, gain=False) == []


def test_the_interval_holds_ninety_percent():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(300):
        true = rng.uniform(5, 15)
        steps = np.arange(60, 540)
        middle = (TIMES[steps] + TIMES[steps + 1]) / 2
        observed = true + 0.3 * rng.normal()
        mass = np.exp(-0.5 * ((middle - observed) / 0.3) ** 2)
        moment = moment_of(steps, mass, TIMES)
        inside += moment.low <= true <= moment.high
    assert 0.85 < inside / 300 < 0.95


def test_rates_hold_the_truth_and_unsure_events_widen_them():
    rng = np.random.default_rng(1)
    sites = pd.DataFrame({"species": ["Ce"], "surface": ["edge"], "facet": ["111"]})
    inside = 0
    for _ in range(200):
        n = rng.poisson(6)
        events = pd.DataFrame({
            "kind": "arrival", "species": "Ce", "site_from": -1, "site_to": 0,
            "confidence": np.ones(n),
        })  # fmt: skip
        row = event_rates(events, sites, np.array([20.0]), 0.5).set_index("kind").loc["arrival"]
        inside += row["rate_low"] <= 0.3 <= row["rate_high"]
    assert inside / 200 > 0.9
    one = {"kind": "arrival", "species": "Ce", "site_from": -1, "site_to": 0}
    sure = pd.DataFrame([one | {"confidence": 1.0}] * 4)
    unsure = pd.DataFrame([one | {"confidence": 1.0}] * 4 + [one | {"confidence": 0.4}] * 5)
    nine = pd.DataFrame([one | {"confidence": 1.0}] * 9)
    narrow, wide, more = (
        event_rates(table, sites, np.array([20.0]), 0.5).set_index("kind").loc["arrival"]
        for table in (sure, unsure, nine)
    )
    assert narrow["n_events"] == wide["n_events"] == 4
    assert narrow["rate_high"] < wide["rate_high"] < more["rate_high"]
    calm = event_rates(no_events(), sites, np.array([20.0]), 0.5)
    assert (calm["n_events"] == 0).all()
    assert (calm["rate_high"] > 0).all()


def test_scores_of_events_and_counts():
    places, _ = line(6)
    truth = pd.DataFrame({
        "kind": ["migration", "departure"], "species": "Ce", "time_s": [1.0, 5.0],
        "site_from": [1, 4], "site_to": [2, -1],
    })  # fmt: skip
    truth = with_places(truth, places)
    assert score_events(truth, truth, 10.0).f1 == 1
    shifted = truth.assign(time_s=truth["time_s"] + 0.1)
    assert score_events(shifted, truth, 10.0).time_error_s == pytest.approx(0.1)
    assert score_events(truth.assign(time_s=truth["time_s"] + 0.3), truth, 10.0).n_right == 0
    far = truth.assign(x_A=truth["x_A"] + 1.6)
    assert score_events(far, truth, 10.0).false_per_10s == 2
    # A migration that is told as two events is wrong as such, but its changes are right.
    told = pd.DataFrame({
        "kind": ["departure", "arrival", "departure"], "species": "Ce", "time_s": [1.0, 1.0, 5.0],
        "site_from": [1, -1, 4], "site_to": [-1, 2, -1],
    })  # fmt: skip
    assert score_events(with_places(told, places), truth, 10.0).n_right == 1
    changes = score_events(as_changes(told, places), as_changes(truth, places), 10.0)
    assert changes.precision == changes.recall == 1
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 20000)
    honest = (rng.random(20000)[:, None] > p.cumsum(axis=1)).sum(axis=1)
    assert score_counts(p, honest).calibration_error < 0.02
    assert score_counts(p, np.zeros(20000, int)).calibration_error > 0.2
