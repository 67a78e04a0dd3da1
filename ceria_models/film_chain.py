"""The chain of a film's columns: its prior and rates, learned from the film itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ceria_models.chains import Chain, Smoothed, smooth, smooth_levels
from ceria_models.evidence import log_likelihood
from ceria_models.tracking_settings import (
    LEVEL_OFFSETS,
    OFFSETS,
    EvidenceSettings,
    MotionSettings,
)

Floats = NDArray[np.float64]

ROUNDS = 4
"""Times that prior and rates are learned; the first bring nearly all of the gain."""
SLOWEST, FASTEST = 1e-4, 2.0
"""Bounds of the rates [1/s]: what never happened may happen, and noise is no change."""
_BYTES = 2e8
_OFFSET_COLUMNS = 20.0
"""Columns without offset that count beside those of the film when their mean is learned."""
_SMALLEST = 1e-30


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
    level : array of float32, shape (site, frame), optional
        Of all sites [atoms]; NaN where there is none.
    spread : array of float64, shape (site,), optional
        Standard deviation of the levels from frame to frame; NaN where it is not known.
    mean_p : array of float64, shape (site, class), optional
        What the net says of the mean of the film; NaN where it says nothing.
    overlap : int
        Frames that share electrons.
    """

    p: NDArray[np.float32]
    rows: NDArray[np.int64]
    times: Floats
    dose: Floats
    level: NDArray[np.float32] | None = None
    spread: Floats | None = None
    mean_p: Floats | None = None
    overlap: int = 1

    @property
    def leveled(self) -> NDArray[np.bool_]:
        """Columns that are judged by their levels rather than by the net, (column,)."""
        if self.level is None or self.spread is None:
            return np.zeros(len(self.rows), dtype=bool)
        known: NDArray[np.bool_] = np.isfinite(self.spread[self.rows])
        return known


@dataclass(frozen=True)
class FilmChain:
    """What is believed of the columns of a species.

    Attributes
    ----------
    readings : Chain
        With the offsets of a net's readings.
    levels : Chain
        The same prior and rates, with the offsets of levels.
    level_mean : float
        Mean of the levels' offsets [atoms].
    """

    readings: Chain
    levels: Chain
    level_mean: float = 0.0

    def learned(
        self, prior: Floats, gain_per_s: float, loss_per_s: float, level_mean: float
    ) -> "FilmChain":
        """Take another prior, other rates and another mean of the offsets."""
        readings, levels = (
            replace(chain, prior=prior, gain_per_s=gain_per_s, loss_per_s=loss_per_s)
            for chain in (self.readings, self.levels)
        )
        return FilmChain(readings, levels, level_mean)

    @property
    def prior(self) -> Floats:
        """Of the count in the first frame."""
        return self.readings.prior

    @property
    def gain_per_s(self) -> float:
        """Rate at which a column gains an atom."""
        return self.readings.gain_per_s

    @property
    def loss_per_s(self) -> float:
        """Rate at which a column loses an atom."""
        return self.readings.loss_per_s


def first_chain(evidence: EvidenceSettings, motion: MotionSettings) -> FilmChain:
    """Make the chain that is believed before the film is seen.

    Parameters
    ----------
    evidence : EvidenceSettings
    motion : MotionSettings

    Returns
    -------
    FilmChain

    Examples
    --------
    >>> motion = MotionSettings(rate_per_s=0.02, hop_share=0.5, hop_time_s=0.03, reach_A=5.6)
    >>> first_chain(EvidenceSettings(prior=(0.2, 0.8)), motion).readings.offsets
    array([0.])
    """
    likely = np.asarray(evidence.offset) > 0
    offset = np.asarray(evidence.offset)[likely]
    prior = np.asarray(evidence.prior) / sum(evidence.prior)
    rates = motion.rate_per_s, motion.rate_per_s
    level = np.array(LEVEL_OFFSETS)
    return FilmChain(
        Chain(prior, *rates, np.array(OFFSETS)[likely], offset / offset.sum()),
        Chain(prior, *rates, level, np.full(len(level), 1 / len(level))),
    )


def smoothed_blocks(
    columns: Columns, evidence: EvidenceSettings, chain: FilmChain
) -> Iterator[tuple[NDArray[np.int64], Smoothed]]:
    """Smooth the counts of all columns, some columns at a time so that the memory is bounded.

    Parameters
    ----------
    columns : Columns
    evidence : EvidenceSettings
    chain : FilmChain

    Yields
    ------
    array of int64
        Which columns; those with levels come first.
    Smoothed
    """
    leveled = columns.leveled
    for which in _blocks(np.flatnonzero(leveled), columns, chain.levels):
        rows = columns.rows[which]
        assert columns.level is not None
        assert columns.spread is not None
        levels, spread = columns.level[rows].T, columns.spread[rows]
        steady = steady_evidence(columns, rows, evidence, chain)
        yield (
            which,
            smooth_levels(levels, spread, evidence.blank, steady, columns.times, chain.levels),
        )
    for which in _blocks(np.flatnonzero(~leveled), columns, chain.readings):
        p = np.moveaxis(columns.p[columns.rows[which]], 0, 1)
        # Running sums say the same thing so many times.
        log = log_likelihood(p, columns.dose, evidence) / columns.overlap
        yield which, smooth(log, columns.times, chain.readings)


def steady_evidence(
    columns: Columns, rows: NDArray[np.int64], evidence: EvidenceSettings, chain: FilmChain
) -> Floats:
    """Give what is known of the counts from the film as a whole.

    That is what the net reads in the mean of the film, and how much a level may be off.

    Parameters
    ----------
    columns : Columns
    rows : array of int64, shape (column,)
        Sites.
    evidence : EvidenceSettings
    chain : FilmChain

    Returns
    -------
    array of float64, shape (column, offset, count)
        Logarithms of likelihoods.
    """
    count, offset = np.arange(len(chain.prior)), chain.levels.offsets[:, None]
    error = np.hypot(evidence.level_error, count * evidence.level_error_per_atom)
    likely = np.exp(-0.5 * ((offset - chain.level_mean) / error) ** 2)
    steady = np.log(np.maximum(likely / likely.sum(axis=0), _SMALLEST))[None]
    if columns.mean_p is None:
        return np.broadcast_to(steady, (len(rows), *steady.shape[1:]))
    p = columns.mean_p[rows]
    once = evidence.model_copy(update={"blank": evidence.mean_blank, "log_temperature": 0.0})
    unknown_dose = np.full(1, np.nan)
    read = evidence.mean_weight * log_likelihood(p[None], unknown_dose, once)[0]
    together: Floats = steady + read[:, None, :]
    return together


def _blocks(
    which: NDArray[np.int64], columns: Columns, chain: Chain
) -> Iterator[NDArray[np.int64]]:
    """Cut columns into blocks of bounded memory."""
    _, n_frames, classes = columns.p.shape
    each = 4.0 * n_frames * classes * (len(chain.offsets) + 6)
    step = max(1, int(_BYTES / each))
    return (which[start : start + step] for start in range(0, len(which), step))


def fit_chain(
    columns: Columns,
    evidence: EvidenceSettings,
    motion: MotionSettings,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> FilmChain:
    """Learn the prior of the counts and the rates from the film, by expectation maximisation.

    The prior of the counts in the film is not that of the net: a film shows one particle. It
    becomes the mean of the columns' probabilities, the net's prior counting as
    `EvidenceSettings.prior_columns` columns more. A rate is the expected number of changes over
    the time, one change in ``1 / rate_per_s`` seconds counting beforehand. Levels of a film are
    off together: the mean of their offsets is learned too.

    Parameters
    ----------
    columns : Columns
    evidence : EvidenceSettings
    motion : MotionSettings
    on_progress : callable
        Told columns done and in all, over all rounds.

    Returns
    -------
    FilmChain

    References
    ----------
    .. [1] Saerens, Latinne and Decaestecker, Neural Computation 14, 21 (2002).
    .. [2] Baum et al., Ann. Math. Statist. 41, 164 (1970).
    """
    start = chain = first_chain(evidence, motion)
    n_columns, leveled = len(columns.rows), columns.leveled
    seen_s = n_columns * float(columns.times[-1] - columns.times[0])
    for round_ in range(ROUNDS):
        first, off = np.zeros(len(chain.prior)), 0.0
        gains = losses = 0.0
        done = 0
        for which, found in smoothed_blocks(columns, evidence, chain):
            first += found.p[0].sum(axis=0)
            gains += float(found.gain.sum())
            losses += float(found.loss.sum())
            if leveled[which].all():
                off += float((found.offset @ chain.levels.offsets).sum())
            done += len(which)
            on_progress(round_ * n_columns + done, ROUNDS * n_columns)
        time = seen_s + 1 / motion.rate_per_s
        chain = chain.learned(
            learned_prior(first, n_columns, start.prior, evidence.prior_columns),
            float(np.clip((gains + 1) / time, SLOWEST, FASTEST)),
            float(np.clip((losses + 1) / time, SLOWEST, FASTEST)),
            off / (float(leveled.sum()) + _OFFSET_COLUMNS),
        )
    return chain


def learned_prior(first: Floats, n_columns: int, start: Floats, weight: float) -> Floats:
    """Mix what is known of a film's columns with the prior that was there before.

    Parameters
    ----------
    first : array of float64, shape (count,)
        Sum of the columns' probabilities.
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
