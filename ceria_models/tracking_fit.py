"""What frames of a net are worth: fitted where the true counts are known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ceria_models.chains import smooth
from ceria_models.changes import find_changes, moment_of
from ceria_models.evidence import log_likelihood
from ceria_models.film_chain import (
    Columns,
    first_chain,
    fit_chain,
    learned_prior,
    smoothed_blocks,
)
from ceria_models.tracking_settings import EvidenceSettings, MotionSettings

Floats = NDArray[np.float64]

LENGTHS = (1, 4, 16, 64, 256)
"""Frames of the stretches on which the settings are judged, beside whole films: a temperature
that suits one frame does not suit a hundred."""
FALSE_CHANGES = 1.0
"""In 1,000 seconds of one column that stays as it is."""
_RAISE, _RAISES = 1.25, 12
_NEAR_S = 0.2
_SMALLEST = 1e-12
_STEPS = 300
_ROUNDS = 2
_NARROW = 3.0
"""Weight of the squared parameters over the number of columns: what the films do not say
stays as it was."""


@dataclass(frozen=True)
class Film:
    """Readings of the columns of one species in one film, and the truth.

    Attributes
    ----------
    p : array of float32, shape (column, frame, class)
        Calibrated probabilities, NaN where there is no reading.
    truth : array of int64, shape (column, frame)
        Atoms; more than the highest class count as that.
    times : array of float64, shape (frame,)
        s.
    dose : array of float64, shape (frame,)
        e-/Å².
    """

    p: NDArray[np.float32]
    truth: NDArray[np.int64]
    times: Floats
    dose: Floats

    def first(self, frames: int) -> "Film":
        """Keep the first frames."""
        return Film(
            self.p[:, :frames], self.truth[:, :frames], self.times[:frames], self.dose[:frames]
        )


@dataclass(frozen=True)
class FittedEvidence:
    """Settings, and how well they do on the films they were fitted to.

    Attributes
    ----------
    settings : EvidenceSettings
    before, after : float
        Mean negative logarithm of the probability of the true count of the last frame, with
        plain products of likelihoods and with the settings.
    """

    settings: EvidenceSettings
    before: float
    after: float


def fit_tracking(
    films: Sequence[Film],
    start: EvidenceSettings,
    motion: MotionSettings,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> FittedEvidence:
    """Fit temperature, blank frames and offsets so that the true counts are most probable.

    Errors of a net are alike from frame to frame: the same column, neighbours and optics. Films
    of known truth say how much: stretches of one to hundreds of frames are smoothed, and the
    probability of the true count in the last frame of each is made as large as possible.

    Parameters
    ----------
    films : sequence of Film
        Films that the net has not learned from.
    start : EvidenceSettings
        Its `prior` is kept.
    motion : MotionSettings
    on_progress : callable
        Told evaluations done and at most.

    Returns
    -------
    FittedEvidence

    Raises
    ------
    ValueError
        If there is no film.

    Examples
    --------
    A net that is twice as sure as it should be has the temperature 2:

    >>> rng = np.random.default_rng(0)
    >>> truth = np.repeat(rng.integers(1, 5, 400), 10).reshape(400, 10)
    >>> x = truth + rng.normal(size=truth.shape)
    >>> p = np.exp(-((x[..., None] - np.arange(5)) ** 2))  # twice the exponent
    >>> p[..., 0] = 1e-9
    >>> p = (p / p.sum(-1, keepdims=True)).astype(np.float32)
    >>> film = Film(p, truth, np.arange(10) / 30, np.full(10, 300.0))
    >>> flat = EvidenceSettings(prior=(1e-9, 0.25, 0.25, 0.25, 0.25))
    >>> motion = MotionSettings(rate_per_s=0.01, hop_share=0.5, hop_time_s=0.03, reach_A=5.6)
    >>> fitted = fit_tracking([film], flat, motion)
    >>> bool(1.5 < fitted.settings.temperature(np.array([300.0]))[0] < 2.4)
    True
    """
    if not films:
        raise ValueError("no films to fit the tracking with; expected at least one")
    pieces = _pieces(films)
    done = [0]

    def loss(free: Floats) -> float:
        done[0] += 1
        on_progress(min(done[0], _STEPS), _STEPS)
        settings = _settings(free, start)
        columns = sum(len(film.p) for film in films)
        return _surprise(pieces, settings, motion) + _NARROW * float(free @ free) / columns

    # One temperature for all doses where the films have but one.
    doses = np.concatenate([film.dose for film in films])
    spread = float(np.nanstd(np.log(doses))) if np.isfinite(doses).any() else 0.0
    free = np.array([1.0, 1.0 if spread > 0.1 else 0.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    simplex = np.vstack([np.zeros(7), np.diag([0.7, 0.3, 1.0, 1.5, 1.5, 1.5, 2.0])])
    found = minimize(
        lambda v: loss(v * free),
        np.zeros(7),
        method="Nelder-Mead",
        options={"maxfev": _STEPS, "initial_simplex": simplex, "xatol": 0.02, "fatol": 1e-5},
    )
    settings = _settings(np.asarray(found.x) * free, start)
    plain = plain_settings(start)
    before, after = (_surprise(pieces, each, motion) for each in (plain, settings))
    on_progress(_STEPS, _STEPS)
    return FittedEvidence(settings, before, after)


def calm(
    films: Sequence[Film],
    settings: EvidenceSettings,
    motion: MotionSettings,
    most: float = FALSE_CHANGES,
) -> EvidenceSettings:
    """Raise the temperature until columns that stay as they are seem to change rarely.

    The probability of true counts hardly depends on rare false changes, the list of events does:
    a net whose reading sits between two counts falls to one side for some frames.

    Parameters
    ----------
    films : sequence of Film
    settings : EvidenceSettings
        As from `fit_tracking`.
    motion : MotionSettings
    most : float
        False changes allowed in 1,000 seconds of one column.

    Returns
    -------
    EvidenceSettings
    """
    for _ in range(_RAISES):
        number, seconds = false_changes(films, settings, motion)
        if number <= most * seconds / 1000:
            break
        higher = settings.log_temperature + float(np.log(_RAISE))
        settings = settings.model_copy(update={"log_temperature": higher})
    return settings


def false_changes(
    films: Sequence[Film], settings: EvidenceSettings, motion: MotionSettings
) -> tuple[int, float]:
    """Count changes that tracking finds and the truth has not.

    Parameters
    ----------
    films : sequence of Film
    settings : EvidenceSettings
    motion : MotionSettings

    Returns
    -------
    number : int
        Changes more probable than not, without a true one of the same sign within 0.2 s.
    seconds : float
        Length of the films times their columns.
    """
    number, seconds = 0, 0.0
    for film in films:
        columns = Columns(film.p, np.arange(len(film.p)), film.times, film.dose)
        chain = fit_chain(columns, settings, motion)
        steps = np.diff(film.truth, axis=1)
        seconds += len(film.p) * float(film.times[-1] - film.times[0])
        for which, found in smoothed_blocks(columns, settings, chain):
            for flux, rate, sign in (
                (found.gain, chain.gain_per_s, 1), (found.loss, chain.loss_per_s, -1),
            ):  # fmt: skip
                for change in find_changes(flux, film.times, rate, gain=sign > 0):
                    at = moment_of(change.step, change.mass, film.times).time
                    true = np.flatnonzero(sign * steps[which[change.site]] > 0)
                    near = np.abs(film.times[true + 1] - at) <= _NEAR_S
                    number += change.probability > 0.5 and not near.any()
    return number, seconds


def plain_settings(settings: EvidenceSettings) -> EvidenceSettings:
    """Give the settings of plain products of likelihoods: every frame counts fully.

    Examples
    --------
    >>> plain_settings(EvidenceSettings(prior=(0.5, 0.5), log_temperature=1.0)).log_temperature
    0.0
    """
    return EvidenceSettings(prior=settings.prior, blank=1e-6, prior_columns=settings.prior_columns)


def _settings(free: Floats, start: EvidenceSettings) -> EvidenceSettings:
    """Make settings of free numbers, all 0 at a temperature of 1 and few blanks and offsets."""
    log_temperature, slope, blank, half, one, two, columns = (
        float(v) for v in np.clip(free, -6, 6)
    )
    far = [-5.0 + one + two, -5.0 + 0.5 * (half + one), -3.0 + one, -3.0 + half]
    weight = np.exp([*far, 0.0, *far[::-1]])
    offset = weight / weight.sum()
    return start.model_copy(
        update={
            "log_temperature": log_temperature,
            "temperature_dose": slope,
            "blank": float(1 / (1 + np.exp(6.0 - blank))),
            "offset": tuple(float(v) for v in offset),
            "prior_columns": float(20 * np.exp(columns)),
        }
    )


def _pieces(films: Sequence[Film]) -> list[Film]:
    """First stretches of all films, of every length."""
    return [
        film.first(length)
        for film in films
        for length in sorted({*(n for n in LENGTHS if n < film.p.shape[1]), film.p.shape[1]})
    ]


def _surprise(pieces: Sequence[Film], settings: EvidenceSettings, motion: MotionSettings) -> float:
    """Mean negative logarithm of the probability of the true counts of last frames."""
    total, number = 0.0, 0
    for piece in pieces:
        p = np.moveaxis(piece.p, 0, 1)
        chain = first_chain(settings, motion).readings
        evidence = log_likelihood(p, piece.dose, settings)
        start = chain.prior
        for _ in range(_ROUNDS):  # the film's own prior is learned as in tracking
            found = smooth(evidence, piece.times, chain)
            first = found.p[0].sum(axis=0)
            prior = learned_prior(first, len(piece.p), start, settings.prior_columns)
            chain = replace(chain, prior=prior)
        found = smooth(evidence, piece.times, chain)
        truth = np.minimum(piece.truth[:, -1], piece.p.shape[-1] - 1)
        own = found.p[-1][np.arange(len(truth)), truth]
        total -= float(np.log(np.maximum(own, _SMALLEST)).sum())
        number += len(truth)
    return total / max(number, 1)
