"""Columns with a vacancy told from the others: the curve, and the area under it."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_models.merit import Metric, histogram, share

Floats = NDArray[np.float64]

POINTS = 48
"""Of a curve that is kept."""
_SCORE_BINS = 256
"""Bins of equal population that the score is sorted into for the bootstrap."""


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


def vacancy_curve(
    matches: pd.DataFrame, points: int = POINTS
) -> tuple[Floats, Floats, int, int] | None:
    """Trace how surely columns with a vacancy are told from the others.

    Parameters
    ----------
    matches : DataFrame
        Rows to be scored, with ``vacancy_score``.
    points : int
        See `thinned`.

    Returns
    -------
    false_rate, true_rate : array of float64, shape (point,)
        Share of the columns without and with a vacancy that raise an alarm.
    n_vacancies, n_others : int
        Columns with and without.
    None
        If there are none of either kind.

    Examples
    --------
    >>> matches = pd.DataFrame({
    ...     "true_count": [4, 5, 5], "n_vacancies": [1, 0, 0], "vacancy_score": [0.9, 0.2, None],
    ... })
    >>> false_rate, true_rate, *n = vacancy_curve(matches)
    >>> false_rate, true_rate, n
    (array([0. , 0. , 0.5, 1. ]), array([0., 1., 1., 1.]), [1, 2])
    """
    lacks, score = _alarms(matches)
    n = int(lacks.sum())
    if n in (0, len(lacks)):
        return None
    return *thinned(*roc(lacks, score), points), n, len(lacks) - n


def thinned(false_rate: Floats, true_rate: Floats, points: int) -> tuple[Floats, Floats]:
    """Keep some points of a curve that rises from (0, 0) to (1, 1), evenly along its way.

    Parameters
    ----------
    false_rate, true_rate : array of float64, shape (point,)
    points : int
        At most; at least 2.

    Returns
    -------
    false_rate, true_rate : array of float64
        Points of the curve, both ends among them.

    Examples
    --------
    >>> x = np.linspace(0, 1, 1000)
    >>> thinned(x, np.sqrt(x), 3)[0].round(1)
    array([0. , 0.4, 1. ])
    """
    way = false_rate + true_rate
    wanted = np.linspace(0.0, way[-1], points)
    kept = np.unique(np.minimum(np.searchsorted(way, wanted), len(way) - 1))
    kept[-1] = len(way) - 1
    return false_rate[kept], true_rate[kept]


def _alarms(matches: pd.DataFrame) -> tuple[NDArray[np.bool_], Floats]:
    """Tell of each true column whether it has a vacancy, and how surely the program says so."""
    real = matches["true_count"].to_numpy() > 0
    # Who says nothing about a column raises no alarm about it.
    score = np.nan_to_num(matches["vacancy_score"].to_numpy(float)[real], nan=-1.0)
    return matches["n_vacancies"].to_numpy()[real] > 0, score


def _vacancy_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    """Columns with and without vacancies per bin of the score, side by side."""
    lacks, score = _alarms(matches)
    levels = np.unique(score)
    if len(levels) > _SCORE_BINS:
        levels = np.unique(np.quantile(score, np.arange(_SCORE_BINS) / _SCORE_BINS))
    bins = np.clip(np.searchsorted(levels, score, side="right") - 1, 0, None)
    own = group[matches["true_count"].to_numpy() > 0]
    return np.concatenate(
        [
            histogram(own, n, bins, max(len(levels), 1), one.astype(float))
            for one in (lacks, ~lacks)
        ],
        axis=1,
    )


def _auc_value(sums: Floats) -> Floats:
    """Probability that a column with a vacancy scores higher than one without."""
    positive, negative = np.split(sums, 2, axis=-1)
    below = np.cumsum(negative, axis=-1) - negative
    won = (positive * (below + 0.5 * negative)).sum(axis=-1)
    return share(np.stack([won, positive.sum(axis=-1) * negative.sum(axis=-1)], axis=-1))


VACANCY_AUC = Metric("vacancy_auc", "", _vacancy_sums, _auc_value, ("vacancy_score",))
"""Probability that a column with a vacancy raises a louder alarm than one without."""
