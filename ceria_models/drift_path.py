"""The path of a drifting specimen from noisy places: a random walk, smoothed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEPS = np.geomspace(1e-7, 1.0, 29)
"""Variances of the step from frame to frame that are tried [Å²]."""
_DOUBTS = (1.0, 2.0, 4.0, 8.0)
"""Factors by which the variances of the places may be too small."""
_OUTLIER = 5.0
"""Places further from the path than this many standard deviations are left out."""
_ROUNDS = 3
_KNOWN = 1e4
"""Variance of the first place before anything is seen [Å²]."""


@dataclass(frozen=True)
class Path:
    """Shift of every frame along one axis.

    Attributes
    ----------
    place, error : array of float64, shape (frame,)
        Å; the error is the standard deviation.
    used : array of bool, shape (frame,)
        Frames whose own place counted.
    """

    place: NDArray[np.float64]
    error: NDArray[np.float64]
    used: NDArray[np.bool_]


def smooth_path(
    places: NDArray[np.float64], variances: NDArray[np.float64], used: NDArray[np.bool_]
) -> Path:
    """Smooth places of frames, on the assumption that the drift is a random walk.

    The variance of the steps, and a factor on the variances of the places, are the most probable
    ones; both are estimated from the places. Outliers are found from the path that the
    others make, and left out.

    Parameters
    ----------
    places, variances : array of float64, shape (frame,)
        Å and Å².
    used : array of bool, shape (frame,)
        Frames that have a place.

    Returns
    -------
    Path

    References
    ----------
    .. [1] Rauch, Tung, Striebel, AIAA J. 3, 1445 (1965).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = np.linspace(0, 5, 200)
    >>> seen = truth + rng.normal(0, 0.2, 200)
    >>> seen[50] = 40.0
    >>> path = smooth_path(seen, np.full(200, 0.04), np.ones(200, dtype=bool))
    >>> bool(np.sqrt(np.mean((path.place - truth) ** 2)) < 0.1), bool(path.used[50])
    (True, False)
    """
    used = used & np.isfinite(variances)
    if not used.any():
        n = len(places)
        return Path(np.zeros(n), np.full(n, np.inf), used)
    for _ in range(_ROUNDS):
        step, doubt = _likeliest(places, variances, used)
        place, variance = _smoothed(places, doubt * variances, used, step)
        # The distance from the path that the others make: its own share is taken off.
        own = np.where(used, variance / (doubt * variances), 0.0)
        share = np.maximum(1 - own, 1e-6)
        apart = np.abs(places - place) / share
        allowed = _OUTLIER * np.sqrt(doubt * variances / share)
        outlier = used & (apart > allowed)
        if not outlier.any():
            break
        used = used & ~outlier
    return Path(place, np.sqrt(variance), used)


def _likeliest(
    places: NDArray[np.float64], variances: NDArray[np.float64], used: NDArray[np.bool_]
) -> tuple[float, float]:
    """Choose the variance of a step and the factor on the variances of the places."""
    step, doubt = (v.ravel() for v in np.meshgrid(_STEPS, _DOUBTS, indexing="ij"))
    first = int(used.argmax())
    mean = np.full(len(step), places[first])
    variance = doubt * variances[first]
    score = np.zeros(len(step))
    for i in range(first + 1, len(places)):
        variance = variance + step
        if used[i]:
            total = variance + doubt * variances[i]
            off = places[i] - mean
            # Student's t of 4 degrees of freedom: an outlier must not make the steps large.
            score -= 0.5 * np.log(total) + 2.5 * np.log1p(off**2 / (4 * total))
            gain = variance / total * np.where(off**2 < _OUTLIER**2 * total, 1.0, 0.0)
            mean, variance = mean + gain * off, variance * (1 - gain)
    best = int(score.argmax())
    return float(step[best]), float(doubt[best])


def _smoothed(
    places: NDArray[np.float64],
    variances: NDArray[np.float64],
    used: NDArray[np.bool_],
    step: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Run the filter forwards and the smoother backwards."""
    n = len(places)
    mean, variance = np.empty(n), np.empty(n)
    m, v = float(places[used][0]), _KNOWN
    for i in range(n):
        v += step if i else 0.0
        if used[i]:
            gain = v / (v + variances[i])
            m, v = m + gain * (places[i] - m), v * (1 - gain)
        mean[i], variance[i] = m, v
    for i in range(n - 2, -1, -1):
        gain = variance[i] / (variance[i] + step)
        mean[i] += gain * (mean[i + 1] - mean[i])
        variance[i] += gain**2 * (variance[i + 1] - variance[i] - step)
    return mean, variance
