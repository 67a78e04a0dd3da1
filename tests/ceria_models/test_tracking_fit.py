"""Settings of tracking are learned from films of known truth."""

import numpy as np
import pytest

from ceria_models.errors import TrackingError
from ceria_models.tracking_fit import Film, calm, false_changes, fit_tracking
from ceria_models.tracking_settings import (
    OFFSETS,
    EvidenceSettings,
    MotionSettings,
    load_settings,
)

MOTION = MotionSettings(rate_per_s=0.01, hop_share=0.5, hop_time_s=0.03, reach_A=5.6)


def film_of(rng, columns, frames, biased):
    """Columns of 2 to 6 atoms, of which shares are read one too many or too few throughout."""
    truth = np.repeat(rng.integers(2, 7, columns)[:, None], frames, axis=1)
    offset = rng.choice([-1, 0, 1], columns, p=[biased, 1 - 2 * biased, biased])
    x = truth + offset[:, None] + rng.normal(size=truth.shape) / 2
    p = np.exp(-0.5 * 4 * (x[..., None] - np.arange(9)) ** 2) * ([0.01] + [1] * 8)
    p /= p.sum(axis=-1, keepdims=True)
    return Film(p.astype(np.float32), truth, np.arange(frames) / 30, np.full(frames, 300.0))


def test_constant_misreading_is_found(monkeypatch):
    monkeypatch.setattr("ceria_models.tracking_fit._STEPS", 70)
    rng = np.random.default_rng(0)
    films = [film_of(rng, 150, 8, biased=0.1) for _ in range(2)]
    prior = np.array([0.01] + [1] * 8) / 8.01
    fitted = fit_tracking(films, EvidenceSettings(prior=tuple(prior)), MOTION)
    assert fitted.after < fitted.before - 0.2
    offset = dict(zip(OFFSETS, fitted.settings.offset, strict=True))
    assert offset[-1] + offset[1] == pytest.approx(0.2, abs=0.07)
    assert sum(offset.values()) == pytest.approx(1)
    assert fitted.settings.temperature_dose == 0  # one dose says nothing about others


def test_no_film_is_refused():
    with pytest.raises(ValueError, match="no films to fit"):
        fit_tracking([], EvidenceSettings(prior=(0.5, 0.5)), MOTION)


def test_the_settings_of_the_package_say_where_they_come_from(tmp_path):
    settings = load_settings()
    assert set(settings.fitted) == {"net", "dataset", "command", "films", "levels"}
    for species, evidence in settings.evidence.items():
        assert sum(evidence.prior) == pytest.approx(1, abs=1e-6)
        assert len(evidence.prior) == 15
        assert sum(evidence.offset) == pytest.approx(1, abs=1e-6)
        assert evidence.temperature(np.array([100.0, np.nan]))[1] > 0
        assert settings.motion[species].reach_A > 3
    (tmp_path / "own.json").write_text(settings.model_dump_json())
    assert load_settings(tmp_path / "own.json") == settings
    (tmp_path / "own.json").write_text('{"evidence": {}}')
    with pytest.raises(TrackingError, match=r"own\.json cannot be read as settings"):
        load_settings(tmp_path / "own.json")


def flickering(rng, columns, frames):
    """Readings that fall to one side for some frames on end, of columns that never change."""
    truth = np.full((columns, frames), 4)
    noise = rng.normal(size=(columns, frames))
    for frame in range(1, frames):
        noise[:, frame] = 0.9 * noise[:, frame - 1] + np.sqrt(0.19) * noise[:, frame]
    x = truth + 0.45 * noise
    p = np.exp(-0.5 / 0.45**2 * (x[..., None] - np.arange(9)) ** 2) * ([0.01] + [1] * 8)
    p /= p.sum(axis=-1, keepdims=True)
    return Film(p.astype(np.float32), truth, np.arange(frames) / 30, np.full(frames, 300.0))


def test_still_films_raise_the_temperature_until_they_stay_still():
    rng = np.random.default_rng(0)
    films = [flickering(rng, 40, 100)]
    start = EvidenceSettings(prior=tuple(np.array([0.01] + [1] * 8) / 8.01))
    number, seconds = false_changes(films, start, MOTION)
    assert number > 10
    assert seconds == pytest.approx(40 * 99 / 30)
    calmer = calm(films, start, MOTION, most=10.0)
    assert calmer.log_temperature > 0.4
    assert false_changes(films, calmer, MOTION)[0] <= 10 * seconds / 1000
    assert calm(films, calmer, MOTION, most=10.0) == calmer


def test_true_changes_are_not_false():
    film = film_of(np.random.default_rng(1), 30, 60, biased=0.0)
    p, truth = film.p.copy(), film.truth.copy()
    for column in range(15):
        other = np.flatnonzero(truth[:, 0] == truth[column, 0] - 1)
        if len(other):
            p[column, 30:] = film.p[other[0], 30:]
            truth[column, 30:] -= 1
    changed = Film(p, truth, film.times, film.dose)
    told = Film(p, film.truth, film.times, film.dose)  # as if nothing had changed
    settings = EvidenceSettings(prior=tuple(np.array([0.01] + [1] * 8) / 8.01))
    real = int((np.diff(truth, axis=1) < 0).sum())
    assert real >= 8
    assert false_changes([changed], settings, MOTION)[0] == 0
    assert false_changes([told], settings, MOTION)[0] >= real - 1
