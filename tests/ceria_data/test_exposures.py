import numpy as np
import pytest

from ceria_data.exposures import Exposure, draw_drift, expose, shown
from ceria_data.sections import FilmSection


@pytest.mark.parametrize("seed", range(5))
def test_exposures_cut_all_of_the_time_once(seed):
    times = np.sort(np.random.default_rng(seed).random(30) * 8)
    parts = expose(times, 8)
    assert parts[0].start == 0
    assert parts[-1].stop == 8
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    for frame in range(8):
        assert sum(p.weight for p in parts if p.frame == frame) == pytest.approx(1, abs=1e-12)
    for part in parts:
        middle = (part.start + part.stop) / 2
        assert part.frame == int(middle)
        assert part.structure == np.searchsorted(times, middle)


def test_a_film_without_events_shows_one_structure():
    parts = expose(np.array([]), 3)
    assert parts == [Exposure(frame, 0, frame, frame + 1) for frame in range(3)]
    assert shown(parts, 3) == [0, 0, 0]


def test_events_at_the_edge_of_a_frame_or_at_once_leave_no_empty_exposure():
    parts = expose(np.array([1.0, 1.5, 1.5]), 2)
    assert [(p.frame, p.structure, p.weight) for p in parts] == [
        (0, 0, 1),
        (1, 1, 0.5),
        (1, 3, 0.5),
    ]
    assert shown(parts, 2) == [0, 1]


def film(**changes):
    return FilmSection.model_validate({"frames": 400, "frame_time_s": 0.04} | changes)


def test_steady_drift_is_a_line_of_the_drawn_speed():
    drift = draw_drift(film(drift_A_per_s=0.5), np.random.default_rng(1))
    steps = np.diff(drift.path, axis=0)
    np.testing.assert_allclose(np.hypot(*steps.T), 0.5 * 0.04, rtol=1e-6)
    np.testing.assert_allclose(steps, np.broadcast_to(drift.velocity, steps.shape), atol=1e-8)
    assert drift.path[0].tolist() == [0, 0]


def test_directions_of_drift_are_even():
    angles = [
        np.arctan2(*draw_drift(film(drift_A_per_s=1), np.random.default_rng(n)).velocity)
        for n in range(200)
    ]
    assert abs(np.mean(np.exp(1j * np.array(angles)))) < 0.2


def test_the_walk_has_the_stated_variance():
    walks = [
        draw_drift(film(drift_walk_A_per_root_s=0.3), np.random.default_rng(n)).path
        for n in range(200)
    ]
    ends = np.array([path[-1] for path in walks]).ravel()
    assert ends.std() == pytest.approx(0.3 * (399 * 0.04) ** 0.5, rel=0.12)
    steps = np.concatenate([np.diff(path, axis=0).ravel() for path in walks])
    assert steps.std() == pytest.approx(0.3 * 0.04**0.5, rel=0.02)


def test_drift_within_an_exposure_follows_the_line():
    drift = draw_drift(film(drift_A_per_s=1, drift_walk_A_per_root_s=0.1), np.random.default_rng(2))
    whole, early = Exposure(7, 0, 7, 8), Exposure(7, 0, 7, 7.25)
    mean, line = drift.during(whole)
    np.testing.assert_allclose(mean, drift.path[7])
    np.testing.assert_allclose(line, drift.velocity)
    mean, line = drift.during(early)
    np.testing.assert_allclose(mean, drift.path[7] - drift.velocity * 0.375)
    np.testing.assert_allclose(line, drift.velocity / 4)
