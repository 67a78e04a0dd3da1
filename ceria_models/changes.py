"""Gains and losses of single columns: when, and how surely."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FAINTEST = 0.05
"""Changes less probable than this are left out."""
_FLOOR = 1e-3
_OVER_PRIOR = 2.0
"""A frame belongs to a change if its odds are this many times those of the rate alone."""
_GAP = 4
"""Frames without such probability that part two changes."""
_TWO = 1.3
"""Summed probability from which a peak holds more than one change."""


@dataclass(frozen=True)
class Change:
    """One atom more or less in a column.

    Attributes
    ----------
    site : int
    gain : bool
        False for a loss.
    step : array of int64, shape (step,)
        Frames after which it may have happened.
    mass : array of float64, shape (step,)
        Probability of each.
    """

    site: int
    gain: bool
    step: NDArray[np.int64]
    mass: Floats

    @property
    def probability(self) -> float:
        """That it happened at all."""
        return float(min(self.mass.sum(), 1.0))


@dataclass(frozen=True)
class Moment:
    """When something happened.

    Attributes
    ----------
    time, low, high : float
        Mean and the limits of 90 % [s].
    frame : int
        Position of the first frame that shows it, most probably.
    """

    time: float
    low: float
    high: float
    frame: int


def find_changes(
    flux: NDArray[np.floating], times: Floats, rate_per_s: float, *, gain: bool
) -> list[Change]:
    """Gather the probabilities of change between frames into changes.

    Neighbouring frames whose odds of change lie above what the rate alone says belong together;
    their sum is the probability that the change happened. A sum near two or more is cut into as
    many changes.

    Parameters
    ----------
    flux : array of float, shape (frame - 1, site)
        Probability that the count is higher (or lower) in the next frame.
    times : array of float64, shape (frame,)
        Middles of the exposures [s].
    rate_per_s : float
        Of such changes in a column.
    gain : bool
        What the flux is of.

    Returns
    -------
    list of Change

    Examples
    --------
    >>> flux = np.zeros((9, 1))
    >>> flux[3:6, 0] = 0.2, 0.5, 0.2
    >>> change, = find_changes(flux, np.arange(10.0), 1e-4, gain=True)
    >>> change.step.tolist(), round(change.probability, 3)
    ([3, 4, 5], 0.9)
    """
    changes: list[Change] = []
    if not len(flux):
        return changes
    odds = _OVER_PRIOR * np.expm1(rate_per_s * np.diff(times))
    floor = np.maximum(_FLOOR, odds / (1 + odds))[:, None]
    above = np.asarray(flux) > floor
    for site in np.flatnonzero(above.any(axis=0)):
        steps = np.flatnonzero(above[:, site])
        for peak in np.split(steps, np.flatnonzero(np.diff(steps) > _GAP) + 1):
            mass = np.asarray(flux[peak, site], dtype=float)
            if mass.sum() >= FAINTEST:
                changes += [Change(int(site), gain, s, m) for s, m in _parted(peak, mass)]
    return changes


def moment_of(step: NDArray[np.int64], mass: Floats, times: Floats) -> Moment:
    """Turn probabilities of steps between frames into a time with its interval.

    Within a step every time is as probable.

    Parameters
    ----------
    step : array of int64, shape (step,)
    mass : array of float64, shape (step,)
        In any unit.
    times : array of float64, shape (frame,)
        Middles of the exposures [s].

    Returns
    -------
    Moment

    Examples
    --------
    >>> moment_of(np.array([3]), np.ones(1), np.arange(10.0))
    Moment(time=3.5, low=3.05, high=3.95, frame=4)
    """
    order = np.argsort(step, kind="stable")
    step, mass = step[order], mass[order] / mass.sum()
    start, stop = times[step], times[step + 1]
    edges = np.column_stack([start, stop]).ravel()
    below = np.repeat(np.cumsum(mass) - mass, 2)
    below[1::2] += mass
    low, high = np.interp([0.05, 0.95], below, edges)
    time = float((mass * (start + stop) / 2).sum())
    return Moment(time, round(float(low), 9), round(float(high), 9), int(step[mass.argmax()]) + 1)


def _parted(step: NDArray[np.int64], mass: Floats) -> list[tuple[NDArray[np.int64], Floats]]:
    """Cut a peak of two or more changes at whole numbers of its sum."""
    total = mass.sum()
    if total < _TWO:
        return [(step, mass)]
    number = int(np.ceil(total - (_TWO - 1)))
    upper = np.cumsum(mass)
    lower = upper - mass
    parts = []
    for k in range(number):
        end = np.inf if k == number - 1 else k + 1.0
        share = np.clip(np.minimum(upper, end) - np.maximum(lower, k), 0.0, None)
        own = share > 0
        parts.append((step[own], share[own]))
    return parts
