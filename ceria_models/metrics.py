"""Figures of merit of matched columns.

The columns of `matching.match_columns` are assumed; of these the rows to be scored are the
caller's choice (see `strata`).
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_models.merit import Metric, grouped, histogram, share
from ceria_models.roc import VACANCY_AUC

Floats = NDArray[np.float64]

RELIABILITY_BINS = 15
"""Bins of equal width over the confidence, 0 to 1."""
COUNTS = 32
"""Counts in the confusion matrix, 0 (no column) to 31: above any class of a net."""
_PM_PER_A = 100.0


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


def _root_mean(sums: Floats) -> Floats:
    root: Floats = np.sqrt(share(sums))
    return root


def _true_and_found(matches: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return matches["true_count"].to_numpy(), matches["count"].to_numpy()


def _detection_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    true, count = _true_and_found(matches)
    return grouped(group, n, (true > 0) & (count > 0), true > 0, count > 0)


def _precision_value(sums: Floats) -> Floats:
    return share(sums[..., [0, 2]])


def _f1_value(sums: Floats) -> Floats:
    return share(np.stack([2 * sums[..., 0], sums[..., 1] + sums[..., 2]], axis=-1))


def _within(reach: int) -> Callable[[pd.DataFrame, NDArray[np.int64], int], Floats]:
    def sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
        true, count = _true_and_found(matches)
        near = (true > 0) & (count > 0) & (np.abs(true - count) <= reach)
        return grouped(group, n, near, true > 0)

    return sums


def _prior_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    true = matches["true_count"].to_numpy()
    return grouped(group, n, (true > 0) & (true == matches["prior_count"].to_numpy()), true > 0)


def _confusion_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    true, count = (np.minimum(values, COUNTS - 1) for values in _true_and_found(matches))
    return histogram(group, n, true * COUNTS + count, COUNTS**2, np.ones(len(matches)))


def _macro_f1_value(sums: Floats) -> Floats:
    """Mean F1 over the counts that occur."""
    table = sums.reshape(*sums.shape[:-1], COUNTS, COUNTS)
    right = np.diagonal(table, axis1=-2, axis2=-1)[..., 1:]
    true, said = table.sum(axis=-1)[..., 1:], table.sum(axis=-2)[..., 1:]
    occurs = true > 0
    f1 = np.where(occurs, 2 * right / np.maximum(true + said, 1), 0.0)
    return share(np.stack([f1.sum(axis=-1), occurs.sum(axis=-1)], axis=-1))


def _position_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    squared = matches["dx_A"].to_numpy() ** 2 + matches["dy_A"].to_numpy() ** 2
    known = np.isfinite(squared)
    return grouped(group, n, np.where(known, squared, 0.0), 2 * known)


def _position_value(sums: Floats) -> Floats:
    return _PM_PER_A * _root_mean(sums)


def _depth_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    error = matches["dz_A"].to_numpy()
    known = np.isfinite(error)
    return grouped(group, n, np.where(known, error**2, 0.0), known)


def _bin_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    """Sum reported columns, confidence and right ones per bin, side by side."""
    confidence = matches["confidence"].to_numpy(float)
    known = np.isfinite(confidence)
    true, count = (values[known] for values in _true_and_found(matches))
    sure, own = confidence[known], group[known]
    bins = np.clip((sure * RELIABILITY_BINS).astype(np.int64), 0, RELIABILITY_BINS - 1)
    weights = (np.ones(len(sure)), sure, (true == count).astype(float))
    return np.concatenate([histogram(own, n, bins, RELIABILITY_BINS, w) for w in weights], axis=1)


def _ece_value(sums: Floats) -> Floats:
    n, confidence, right = np.split(sums, 3, axis=-1)
    return share(np.stack([np.abs(confidence - right).sum(axis=-1), n.sum(axis=-1)], axis=-1))


def _stability_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    variance = matches["count_variance"].to_numpy()
    known = np.isfinite(variance)
    return grouped(group, n, np.where(known, variance, 0.0), known)


def _volume_sums(matches: pd.DataFrame, group: NDArray[np.int64], n: int) -> Floats:
    return grouped(
        group, n, matches["intersection"].to_numpy(), np.maximum(matches["union"].to_numpy(), 0)
    )


def _recall_value(sums: Floats) -> Floats:
    return share(sums[..., [0, 1]])


PRECISION = Metric("precision", "", _detection_sums, _precision_value, counts_false=True)
RECALL = Metric("recall", "", _detection_sums, _recall_value)
F1 = Metric("f1", "", _detection_sums, _f1_value, counts_false=True)
EXACT = Metric("exact", "", _within(0), share)
"""Share of true columns found with exactly their count; a missed column is wrong."""
WITHIN_ONE = Metric("within_one", "", _within(1), share)
PRIOR_EXACT = Metric("prior_exact", "", _prior_sums, share, ("prior_count",))
"""The same for the prior alone, which knows all other columns and no pixel."""
MACRO_F1 = Metric("macro_f1", "", _confusion_sums, _macro_f1_value, counts_false=True)
POSITION = Metric("position_rms", "pm", _position_sums, _position_value)
"""Along one axis, of the columns that were found."""
DEPTH = Metric("depth_rms", "Å", _depth_sums, _root_mean, ("dz_A",))
ECE = Metric("calibration_error", "", _bin_sums, _ece_value, ("confidence",), counts_false=True)
"""Expected calibration error over reported columns, `RELIABILITY_BINS` bins of equal width."""
STABILITY = Metric("stability", "atoms", _stability_sums, _root_mean, ("count_variance",))
"""Standard deviation of a column's count over noise draws, pooled over columns."""
VOLUME_IOU = Metric("volume_iou", "", _volume_sums, share, ("intersection",))
"""Of the rows of `volume.volume_overlap`, one per image."""

COLUMN_METRICS = (
    PRECISION, RECALL, F1, EXACT, WITHIN_ONE, PRIOR_EXACT, MACRO_F1, POSITION, DEPTH, ECE,
    VACANCY_AUC,
)  # fmt: skip
