"""The chain of a film's columns: its prior and rates, learned from the film itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ceria_models.chains import Chain, Smoothed, smooth
from ceria_models.evidence import log_likelihood
from ceria_models.tracking_settings import OFFSETS, EvidenceSettings, MotionSettings

Floats = NDArray[np.float64]

ROUNDS = 4
"""Times that prior and rates are learned; the first bring nearly all of the gain."""
SLOWEST, FASTEST = 1e-4, 2.0
"""Bounds of the rates [1/s]: what never happened may happen, and noise is no change."""
_BYTES = 2e8


@dataclass(frozen=True)
class Columns:
    """Readings of the columns of one species.

    Attributes
    ----------
    p : array of float32, shape (site, frame, class)
        Of all sites, NaN where there is no reading.
    rows : array of int64, shape (column,)
        Sites that are these columns.
    times : array of float64, shape (frame,)
        s.
    dose : array of float64, shape (frame,)
        e-/Å².
    """

    p: NDArray[np.float32]
    rows: NDArray[np.int64]
    times: Floats
    dose: Floats


def first_chain(evidence: EvidenceSettings, motion: MotionSettings) -> Chain:
    """Make the chain that is believed before the film is seen.

    Parameters
    ----------
    evidence : EvidenceSettings
    motion : MotionSettings

    Returns
    -------
    Chain

    Examples
    --------
    >>> motion = MotionSettings(rate_per_s=0.02, hop_share=0.5, hop_time_s=0.03, reach_A=5.6)
    >>> first_chain(EvidenceSettings(prior=(0.2, 0.8)), motion).offsets
    array([0.])
    """
    likely = np.asarray(evidence.offset) > 0
    offset = np.asarray(evidence.offset)[likely]
    prior = np.asarray(evidence.prior)
    return Chain(
        prior / prior.sum(),
        motion.rate_per_s,
        motion.rate_per_s,
        np.array(OFFSETS)[likely],
        offset / offset.sum(),
    )


def smoothed_blocks(
    columns: Columns, evidence: EvidenceSettings, chain: Chain
) -> Iterator[tuple[slice, Smoothed]]:
    """Smooth the counts of all columns, some columns at a time so that the memory is bounded.

    Parameters
    ----------
    columns : Columns
    evidence : EvidenceSettings
    chain : Chain

    Yields
    ------
    slice
        Of the columns.
    Smoothed
    """
    n_columns, (_, n_frames, classes) = len(columns.rows), columns.p.shape
    each = 4.0 * n_frames * classes * (len(chain.offsets) + 6)
    step = max(1, int(_BYTES / each))
    for start in range(0, n_columns, step):
        part = slice(start, min(start + step, n_columns))
        p = np.moveaxis(columns.p[columns.rows[part]], 0, 1)
        yield part, smooth(log_likelihood(p, columns.dose, evidence), columns.times, chain)


def fit_chain(
    columns: Columns,
    evidence: EvidenceSettings,
    motion: MotionSettings,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Chain:
    """Learn the prior of the counts and the rates from the film, by expectation maximisation.

    The prior of the counts in the film is not that of the net: a film shows one particle. It
    becomes the mean of the columns' probabilities, the net's prior counting as
    `EvidenceSettings.prior_columns` columns more. A rate is the expected number of changes over
    the time, one change in ``1 / rate_per_s`` seconds counting beforehand.

    Parameters
    ----------
    columns : Columns
    evidence : EvidenceSettings
    motion : MotionSettings
    on_progress : callable
        Told columns done and in all, over all rounds.

    Returns
    -------
    Chain

    References
    ----------
    .. [1] Saerens, Latinne and Decaestecker, Neural Computation 14, 21 (2002).
    .. [2] Baum et al., Ann. Math. Statist. 41, 164 (1970).
    """
    start = chain = first_chain(evidence, motion)
    n_columns = len(columns.rows)
    seen_s = n_columns * float(columns.times[-1] - columns.times[0])
    for round_ in range(ROUNDS):
        first = np.zeros(len(chain.prior))
        gains = losses = 0.0
        for part, found in smoothed_blocks(columns, evidence, chain):
            first += found.p[0].sum(axis=0)
            gains += float(found.gain.sum())
            losses += float(found.loss.sum())
            on_progress(round_ * n_columns + part.stop, ROUNDS * n_columns)
        prior = learned_prior(first, n_columns, start.prior, evidence.prior_columns)
        time = seen_s + 1 / motion.rate_per_s
        chain = replace(
            chain,
            prior=prior,
            gain_per_s=float(np.clip((gains + 1) / time, SLOWEST, FASTEST)),
            loss_per_s=float(np.clip((losses + 1) / time, SLOWEST, FASTEST)),
        )
    return chain


def learned_prior(first: Floats, n_columns: int, start: Floats, weight: float) -> Floats:
    """Mix the counts of a film's columns with the prior that was there before.

    Parameters
    ----------
    first : array of float64, shape (count,)
        Sum of the columns' probabilities in the first frame.
    n_columns : int
    start : array of float64, shape (count,)
        The prior before.
    weight : float
        Columns that it counts as.

    Returns
    -------
    array of float64, shape (count,)

    Examples
    --------
    >>> learned_prior(np.array([0.0, 30.0]), 30, np.array([0.5, 0.5]), 10.0)
    array([0.125, 0.875])
    """
    prior: Floats = (first + weight * start) / (n_columns + weight)
    return prior
