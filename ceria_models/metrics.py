"""Figures of merit of matched columns, with intervals over particles.

Every figure is a function of sums over columns, so that a bootstrap over particles needs the
sums of each particle only. The columns of `matching.match_columns` are assumed; of these the
rows to be scored are the caller's choice (see `strata`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RELIABILITY_BINS = 15
"""Bins of equal width over the confidence, 0 to 1."""
COUNTS = 32
"""Counts in the confusion matrix, 0 (no column) to 31: above any class of a net."""
_SCORE_BINS = 256
"""Bins of equal population that the ROC's score is sorted into for the bootstrap."""
_DRAWS = 1000
_PM_PER_A = 100.0


@dataclass(frozen=True)
class Metric:
    """One figure of merit.

    Attributes
    ----------
    name : str
    unit : str
        Empty for a share.
    sums : callable
        From matched columns, the group of each row and the number of groups to sums of
        shape (group, term).
    value : callable
        From sums (..., term) to figures (...); NaN where there is nothing to measure.
    needs : tuple of str
        Columns without which it is left out: all values missing counts as not there.
    counts_false : bool
        Whether found columns that are none enter; such a figure means nothing for a class of
        true columns.
    """

    name: str
    unit: str
    sums: Callable[[pd.DataFrame, NDArray[np.int64], int], Floats]
    value: Callable[[Floats], Floats]
    needs: tuple[str, ...] = ()
    counts_false: bool = False


@dataclass(frozen=True)
class Measured:
    """A figure with its 95 % interval.

    Attributes
    ----------
    value, low, high : float or None
        None where it cannot be measured; no interval from fewer than two particles.
    n : int
        True columns.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int


def measure(
    metric: Metric, matches: pd.DataFrame, *, draws: int = _DRAWS, seed: int = 0
) -> Measured:
    """Measure a figure and its interval, by resampling particles.

    Parameters
    ----------
    metric : Metric
    matches : DataFrame
        Rows to be scored; with ``particle`` for the interval.
    draws : int
        Bootstrap samples.
    seed : int
        Of the bootstrap.

    Returns
    -------
    Measured
        The interval is that of the percentiles 2.5 and 97.5.

    References
    ----------
    .. [1] Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13.

    Examples
    --------
    >>> matches = pd.DataFrame({"true_count": [5, 5, 4, 3], "count": [5, 4, 4, 0]})
    >>> measure(EXACT, matches).value, measure(RECALL, matches).value
    (0.5, 0.75)
    """
    group, names = pd.factorize(matches.get("particle", pd.Series(0, matches.index)))
    n = int((matches["true_count"] > 0).sum()) if "true_count" in matches else len(matches)
    sums = metric.sums(matches, group.astype(np.int64), len(names))
    value = _number(metric.value(sums.sum(axis=0)))
    if value is None or len(names) < 2 or not draws:
        return Measured(value, None, None, n)
    with np.errstate(invalid="ignore", divide="ignore"):
        many = metric.value(_draws(len(names), draws, seed) @ sums)
    many = many[np.isfinite(many)]
    if not len(many):
        return Measured(value, None, None, n)
    low, high = np.percentile(many, (2.5, 97.5))
    return Measured(value, float(low), float(high), n)


def resampled(n: int, draws: int, seed: int) -> Floats:
    """Draw how often each of n particles is taken when n are taken at random.

    Parameters
    ----------
    n, draws, seed : int

    Returns
    -------
    array of float64, shape (draw, n)
        Each row sums to n.

    Examples
    --------
    >>> resampled(3, 2, seed=1).sum(axis=1)
    array([3., 3.])
    """
    return _draws(n, draws, seed).copy()


@lru_cache(maxsize=16)
def _draws(n: int, draws: int, seed: int) -> Floats:
    """Draw once for all figures of a stratum; nobody may write to it."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)


def confusion(matches: pd.DataFrame, max_count: int) -> NDArray[np.int64]:
    """Count how often each true count was reported as each other.

    Parameters
    ----------
    matches : DataFrame
    max_count : int

    Returns
    -------
    array of int64, shape (true, reported)
        0 to `max_count`; reported 0 = missed, true 0 = no such column.

    Examples
    --------
    >>> matches = pd.DataFrame({"true_count": [2, 2, 0], "count": [2, 0, 1]})
    >>> confusion(matches, 2)
    array([[0, 1, 0],
           [0, 0, 0],
           [1, 0, 1]])
    """
    table = np.zeros((max_count + 1, max_count + 1), dtype=np.int64)
    true, said = (np.minimum(matches[c].to_numpy(), max_count) for c in ("true_count", "count"))
    np.add.at(table, (true, said), 1)
    return table


def reliability(matches: pd.DataFrame) -> pd.DataFrame:
    """Compare the confidence with how often it was right.

    Parameters
    ----------
    matches : DataFrame

    Returns
    -------
    DataFrame
        A row per bin of equal width: ``low``, ``high``, ``n`` reported columns, their mean
        ``confidence`` and the share that is ``right``: there, with that count.

    References
    ----------
    .. [1] Guo et al., arXiv:1706.04599 (2017).

    Examples
    --------
    >>> matches = pd.DataFrame(
    ...     {"true_count": [3, 4, 0, 5], "count": [3, 4, 2, 0], "confidence": [0.9, 0.9, 0.9, None]}
    ... )
    >>> table = reliability(matches)
    >>> table[table["n"] > 0][["n", "confidence", "right"]].round(3).values.tolist()
    [[3.0, 0.9, 0.667]]
    """
    sums = _bin_sums(matches, np.zeros(len(matches), dtype=np.int64), 1)
    n, confidence, right = sums.reshape(3, RELIABILITY_BINS)
    edges = np.linspace(0, 1, RELIABILITY_BINS + 1)
    with np.errstate(invalid="ignore"):
        return pd.DataFrame(
            {
                "low": edges[:-1],
                "high": edges[1:],
                "n": n.astype(np.int64),
                "confidence": confidence / n,
                "right": right / n,
            }
        )


def roc(positive: NDArray[np.bool_], score: Floats) -> tuple[Floats, Floats]:
    """Trace the receiver operating characteristic.

    Parameters
    ----------
    positive : array of bool, shape (case,)
    score : array of float, shape (case,)
        Higher = more surely positive.

    Returns
    -------
    false_rate, true_rate : array of float64
        From (0, 0) to (1, 1), a point per distinct score.

    References
    ----------
    .. [1] Fawcett, Pattern Recognit. Lett. 27, 861 (2006).

    Examples
    --------
    >>> x, y = roc(np.array([True, False, True]), np.array([0.9, 0.5, 0.5]))
    >>> x, y
    (array([0., 0., 1.]), array([0. , 0.5, 1. ]))
    """
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)
    hits, misses = np.cumsum(positive[order])[last], np.cumsum(~positive[order])[last]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.append(0.0, misses / misses[-1]), np.append(0.0, hits / hits[-1])


def _grouped(group: NDArray[np.int64], n: int, *values: NDArray[np.generic]) -> Floats:
    """Sum values by group: (group, value)."""
    return np.stack([np.bincount(group, v.astype(float), n) for v in values], axis=-1)


def _histogram(
    group: NDArray[np.int64], n: int, bins: NDArray[np.int64], n_bins: int, weight: Floats
) -> Floats:
    """Sum weights by group and bin: (group, bin)."""
    flat = np.bincount(group * n_bins + bins, weight, n * n_bins)
    return flat.reshape(n, n_bins).astype(np.float64)


def _number(value: Floats) -> float | None:
    return float(value) if np.isfinite(value) else None


def _share(sums: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: Floats = sums[..., 0] / sums[..., 1]
    return ratio


def _root_mean(sums: Floats) -> Floats:
    root: Floats = np.sqrt(_share(sums))
    return root


def _true_and_found(matches: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return matches["true_count"].to_numpy(), matches["count"].to_numpy()


def _detection_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    true, count = _true_and_found(matches)
    return _grouped(group, n, (true > 0) & (count > 0), true > 0, count > 0)


def _precision_value(sums: Floats) -> Floats:
    return _share(sums[..., [0, 2]])


def _f1_value(sums: Floats) -> Floats:
    return _share(np.stack([2 * sums[..., 0], sums[..., 1] + sums[..., 2]], axis=-1))


def _within(reach: int) -> Callable[[pd.DataFrame, NDArray[np.int64], int], Floats]:
    def sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
        true, count = _true_and_found(matches)
        near = (true > 0) & (count > 0) & (np.abs(true - count) <= reach)
        return _grouped(group, n, near, true > 0)

    return sums


def _prior_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    true = matches["true_count"].to_numpy()
    return _grouped(group, n, (true > 0) & (true == matches["prior_count"].to_numpy()), true > 0)


def _confusion_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    true, count = (np.minimum(values, COUNTS - 1) for values in _true_and_found(matches))
    return _histogram(group, n, true * COUNTS + count, COUNTS**2, np.ones(len(matches)))


def _macro_f1_value(sums: Floats) -> Floats:
    """Mean F1 over the counts that occur."""
    table = sums.reshape(*sums.shape[:-1], COUNTS, COUNTS)
    right = np.diagonal(table, axis1=-2, axis2=-1)[..., 1:]
    true, said = table.sum(axis=-1)[..., 1:], table.sum(axis=-2)[..., 1:]
    occurs = true > 0
    f1 = np.where(occurs, 2 * right / np.maximum(true + said, 1), 0.0)
    return _share(np.stack([f1.sum(axis=-1), occurs.sum(axis=-1)], axis=-1))


def _position_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    squared = matches["dx_A"].to_numpy() ** 2 + matches["dy_A"].to_numpy() ** 2
    known = np.isfinite(squared)
    return _grouped(group, n, np.where(known, squared, 0.0), 2 * known)


def _position_value(sums: Floats) -> Floats:
    return _PM_PER_A * _root_mean(sums)


def _depth_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    error = matches["dz_A"].to_numpy()
    known = np.isfinite(error)
    return _grouped(group, n, np.where(known, error**2, 0.0), known)


def _bin_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    """Sum reported columns, confidence and right ones per bin, side by side."""
    confidence = matches["confidence"].to_numpy(float)
    known = np.isfinite(confidence)
    true, count = (values[known] for values in _true_and_found(matches))
    sure, own = confidence[known], group[known]
    bins = np.clip((sure * RELIABILITY_BINS).astype(np.int64), 0, RELIABILITY_BINS - 1)
    weights = (np.ones(len(sure)), sure, (true == count).astype(float))
    return np.concatenate([_histogram(own, n, bins, RELIABILITY_BINS, w) for w in weights], axis=1)


def _ece_value(sums: Floats) -> Floats:
    n, confidence, right = np.split(sums, 3, axis=-1)
    return _share(np.stack([np.abs(confidence - right).sum(axis=-1), n.sum(axis=-1)], axis=-1))


def _vacancy_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    """Columns with and without vacancies per bin of the score, side by side."""
    real = matches["true_count"].to_numpy() > 0
    score = matches["vacancy_score"].to_numpy()[real]
    # Who says nothing about a column raises no alarm about it.
    score = np.nan_to_num(score, nan=-1.0)
    levels = np.unique(score)
    if len(levels) > _SCORE_BINS:
        levels = np.unique(np.quantile(score, np.arange(_SCORE_BINS) / _SCORE_BINS))
    bins = np.clip(np.searchsorted(levels, score, side="right") - 1, 0, None)
    lacks = (matches["n_vacancies"].to_numpy()[real] > 0).astype(float)
    own = group[real]
    return np.concatenate(
        [_histogram(own, n, bins, max(len(levels), 1), w) for w in (lacks, 1 - lacks)], axis=1
    )


def _auc_value(sums: Floats) -> Floats:
    """Probability that a column with a vacancy scores higher than one without."""
    positive, negative = np.split(sums, 2, axis=-1)
    below = np.cumsum(negative, axis=-1) - negative
    won = (positive * (below + 0.5 * negative)).sum(axis=-1)
    return _share(np.stack([won, positive.sum(axis=-1) * negative.sum(axis=-1)], axis=-1))


def _stability_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    variance = matches["count_variance"].to_numpy()
    known = np.isfinite(variance)
    return _grouped(group, n, np.where(known, variance, 0.0), known)


def _volume_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    return _grouped(
        group, n, matches["intersection"].to_numpy(), np.maximum(matches["union"].to_numpy(), 0)
    )


def _recall_value(sums: Floats) -> Floats:
    return _share(sums[..., [0, 1]])


PRECISION = Metric("precision", "", _detection_sums, _precision_value, counts_false=True)
RECALL = Metric("recall", "", _detection_sums, _recall_value)
F1 = Metric("f1", "", _detection_sums, _f1_value, counts_false=True)
EXACT = Metric("exact", "", _within(0), _share)
"""Share of true columns found with exactly their count; a missed column is wrong."""
WITHIN_ONE = Metric("within_one", "", _within(1), _share)
PRIOR_EXACT = Metric("prior_exact", "", _prior_sums, _share, ("prior_count",))
"""The same for the prior alone, which knows all other columns and no pixel."""
MACRO_F1 = Metric("macro_f1", "", _confusion_sums, _macro_f1_value, counts_false=True)
POSITION = Metric("position_rms", "pm", _position_sums, _position_value)
"""Along one axis, of the columns that were found."""
DEPTH = Metric("depth_rms", "Å", _depth_sums, _root_mean, ("dz_A",))
ECE = Metric("calibration_error", "", _bin_sums, _ece_value, ("confidence",), counts_false=True)
"""Expected calibration error over reported columns, `RELIABILITY_BINS` bins of equal width."""
VACANCY_AUC = Metric("vacancy_auc", "", _vacancy_sums, _auc_value, ("vacancy_score",))
STABILITY = Metric("stability", "atoms", _stability_sums, _root_mean, ("count_variance",))
"""Standard deviation of a column's count over noise draws, pooled over columns."""
VOLUME_IOU = Metric("volume_iou", "", _volume_sums, _share, ("intersection",))
"""Of the rows of `volume.volume_overlap`, one per image."""

COLUMN_METRICS = (
    PRECISION, RECALL, F1, EXACT, WITHIN_ONE, PRIOR_EXACT, MACRO_F1, POSITION, DEPTH, ECE,
    VACANCY_AUC,
)  # fmt: skip
