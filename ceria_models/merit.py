"""What a figure of merit is: a function of sums over columns, with an interval over particles.

Because it is one of sums, a bootstrap over particles needs the sums of each particle only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DRAWS = 1000


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
    >>> from ceria_models.metrics import EXACT, RECALL
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


def grouped(group: NDArray[np.int64], n: int, *values: NDArray[np.generic]) -> Floats:
    """Sum values by group.

    Parameters
    ----------
    group : array of int64, shape (row,)
    n : int
        Groups.
    *values : array, shape (row,)

    Returns
    -------
    array of float64, shape (group, value)

    Examples
    --------
    >>> grouped(np.array([0, 1, 1]), 2, np.array([1.0, 2.0, 3.0]), np.array([True, True, False]))
    array([[1., 1.],
           [5., 1.]])
    """
    return np.stack([np.bincount(group, v.astype(float), n) for v in values], axis=-1)


def histogram(
    group: NDArray[np.int64], n: int, bins: NDArray[np.int64], n_bins: int, weight: Floats
) -> Floats:
    """Sum weights by group and bin.

    Parameters
    ----------
    group : array of int64, shape (row,)
    n : int
        Groups.
    bins : array of int64, shape (row,)
    n_bins : int
    weight : array of float64, shape (row,)

    Returns
    -------
    array of float64, shape (group, bin)

    Examples
    --------
    >>> histogram(np.array([0, 0, 1]), 2, np.array([1, 1, 0]), 2, np.ones(3))
    array([[0., 2.],
           [1., 0.]])
    """
    flat = np.bincount(group * n_bins + bins, weight, n * n_bins)
    return flat.reshape(n, n_bins).astype(np.float64)


def share(sums: Floats) -> Floats:
    """Divide the first of two sums by the second.

    Parameters
    ----------
    sums : array of float64, shape (..., 2)

    Returns
    -------
    array of float64, shape (...)
        NaN where both are 0.

    Examples
    --------
    >>> share(np.array([[1.0, 4.0], [0.0, 0.0]]))
    array([0.25,  nan])
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: Floats = sums[..., 0] / sums[..., 1]
    return ratio


def _number(value: Floats) -> float | None:
    return float(value) if np.isfinite(value) else None
