"""Counts that rarely change: hidden Markov chains over the counts of columns.

The state of a column is its count n, 0 to K. It gains or loses one atom at constant rates, a
birth and death process; from frame to frame its transition matrix is the exponential of the
generator times the time between them. A net may read a column with the same offset o in all
frames: the frames then speak of n + o, and all evidence for n stays limited by the
probability of the offsets, while a change of n is seen as clearly as before. With an offset of
a half it reads now the one and now the other of two counts, and such a frame is as likely as
the mean of both makes it: to and fro between them is no change. Levels are off in the same way,
by parts of an atom.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Chain:
    """Prior and motion of the counts of all columns of one species.

    Attributes
    ----------
    prior : array of float64, shape (count,)
        Of the count in the first frame.
    gain_per_s, loss_per_s : float
        Rates at which a column gains and loses an atom.
    offsets : array of float64, shape (offset,)
        Atoms; of readings multiples of 1/2.
    offset_prior : array of float64, shape (offset,)
    """

    prior: Floats
    gain_per_s: float
    loss_per_s: float
    offsets: Floats
    offset_prior: Floats

    @property
    def read(self) -> NDArray[np.int64]:
        """What is read of each count, shape (2, offset, count); no atoms are read as none."""
        highest = len(self.prior) - 1
        count = np.arange(highest + 1)
        between = count + self.offsets[:, None]
        both = np.stack([np.floor(between), np.ceil(between)]).astype(np.int64)
        read = np.clip(both, 1, max(highest, 1))
        return np.where(count == 0, 0, np.minimum(read, highest))

    def transition(self, seconds: float) -> Floats:
        """Give the probabilities (from, to) of counts after a time.

        Examples
        --------
        >>> zero = np.zeros(1)
        >>> chain = Chain(np.full(3, 1 / 3), 0.1, 0.0, zero, np.ones(1))
        >>> chain.transition(1.0)[0].round(4)
        array([0.9048, 0.0905, 0.0047])
        """
        n = len(self.prior)
        generator = np.diag(np.full(n - 1, self.gain_per_s), 1)
        generator += np.diag(np.full(n - 1, self.loss_per_s), -1)
        generator -= np.diag(generator.sum(axis=1))
        matrix: Floats = np.maximum(expm(generator * seconds), 0.0)
        return matrix


@dataclass(frozen=True)
class Smoothed:
    """What all frames together say.

    Attributes
    ----------
    p : array of float32, shape (frame, column, count)
        Probability of each count.
    gain, loss : array of float32, shape (frame - 1, column)
        Probability that a column has more, or fewer, atoms in the next frame.
    offset : array of float64, shape (column, offset)
        Probability of each offset.
    log_evidence : array of float64, shape (column,)
        Logarithm of the probability of the readings, up to a constant of the readings.
    """

    p: NDArray[np.float32]
    gain: NDArray[np.float32]
    loss: NDArray[np.float32]
    offset: Floats
    log_evidence: Floats


def smooth(log_likelihood: NDArray[np.floating], times: Floats, chain: Chain) -> Smoothed:
    """Compute the probability of every count in every frame from all frames.

    Parameters
    ----------
    log_likelihood : array of float, shape (frame, column, count)
        As from `evidence.log_likelihood`.
    times : array of float64, shape (frame,)
        Of the frames [s], increasing.
    chain : Chain

    Returns
    -------
    Smoothed
        Exact by the forward and backward recursions; the memory is that of the input times
        the number of offsets.

    References
    ----------
    .. [1] Rabiner, Proc. IEEE 77, 257 (1989).

    Examples
    --------
    Two frames that say 1 and a last that says 2, of a column that may change:

    >>> chain = Chain(np.array([0.2, 0.4, 0.4]), 0.1, 0.1, np.zeros(1), np.ones(1))
    >>> frames = np.log([[[0.1, 0.8, 0.1]], [[0.1, 0.8, 0.1]], [[0.01, 0.1, 0.9]]])
    >>> smooth(frames, np.arange(3.0), chain).p[:, 0].round(2)
    array([[0.01, 0.91, 0.09],
           [0.  , 0.87, 0.13],
           [0.01, 0.45, 0.55]], dtype=float32)
    """
    likelihood = np.exp(log_likelihood, dtype=np.float64).astype(np.float32)
    read = chain.read
    return smooth_under(
        likelihood.shape[:2], lambda frame: _gathered(likelihood[frame], read), times, chain
    )


def smooth_levels(
    levels: NDArray[np.floating],
    spread: Floats,
    blank: float,
    steady: Floats,
    times: Floats,
    chain: Chain,
) -> Smoothed:
    """Compute the same from levels, which are normally distributed about count and offset.

    Parameters
    ----------
    levels : array of float, shape (frame, column)
        Atoms, as from `site_levels`; NaN where there is none, which is no evidence.
    spread : array of float64, shape (column,)
        Standard deviation of a level from frame to frame [atoms].
    blank : float
        Probability that a frame says nothing about a column, whatever its level.
    steady : array of float64, shape (column, offset, count)
        Logarithm of a likelihood of the counts that is of the film as a whole. Each frame bears
        an equal part of it: for a column that does not change it counts once, and one that
        changes is judged by its counts in proportion to their time.
    times : array of float64, shape (frame,)
        Of the frames [s], increasing.
    chain : Chain

    Returns
    -------
    Smoothed

    Examples
    --------
    A column that loses an atom, and whose levels are 0.3 atoms too high:

    >>> chain = Chain(np.full(5, 0.2), 0.1, 0.1, np.array([-0.3, 0.0, 0.3]), np.full(3, 1 / 3))
    >>> levels = np.array([[3.2], [3.4], [3.3], [2.3], [2.4], [2.2]])
    >>> steady = np.zeros((1, 3, 5))
    >>> found = smooth_levels(levels, np.array([0.1]), 1e-3, steady, np.arange(6.0), chain)
    >>> found.p[:, 0].argmax(axis=1).tolist(), found.loss[:, 0].round(2).tolist()
    ([3, 3, 3, 2, 2, 2], [0.0, 0.0, 1.0, 0.0, 0.0])
    """
    known = np.isfinite(levels)
    filled = np.where(known, levels, 0.0)
    count = np.arange(len(chain.prior))
    expected = count + chain.offsets[:, None]
    share = np.exp((steady - steady.max(axis=(1, 2), keepdims=True)) / len(levels))

    def under(frame: int) -> Floats:
        off = (filled[frame][:, None, None] - expected) / spread[:, None, None]
        likely = (1 - blank) * np.exp(-0.5 * off**2) + blank
        likely[~known[frame]] = 1.0
        evidence: Floats = (likely * share).reshape(-1, len(count))
        return evidence

    return smooth_under(levels.shape[:2], under, times, chain)


def smooth_under(
    shape: tuple[int, ...], under: Callable[[int], Floats], times: Floats, chain: Chain
) -> Smoothed:
    """Compute the same from the likelihood of the counts under each offset.

    Parameters
    ----------
    shape : tuple of int
        Frames, columns.
    under : callable
        Gives that of a frame, (column × offset, count).
    times : array of float64, shape (frame,)
        Of the frames [s], increasing.
    chain : Chain

    Returns
    -------
    Smoothed
    """
    steps = _Steps(times, chain)
    filtered, log_norm = _forward(shape, under, steps, chain)
    with np.errstate(divide="ignore"):
        joint = log_norm.reshape(shape[1], len(chain.offsets)) + np.log(chain.offset_prior)
    highest = joint.max(axis=1, keepdims=True)
    weight = np.exp(joint - highest)
    total = weight.sum(axis=1, keepdims=True)
    weight /= total
    p, gain, loss = _backward(under, filtered, steps, weight)
    return Smoothed(p, gain, loss, weight, (highest + np.log(total))[:, 0])


class _Steps:
    """Transition matrices of the steps between frames, each made once."""

    def __init__(self, times: Floats, chain: Chain) -> None:
        # Times that differ in the fourth digit make the same matrix.
        seconds = [float(f"{dt:.3e}") for dt in np.diff(times)]
        known = {dt: chain.transition(dt) for dt in set(seconds)}
        self._known = {dt: (m, np.triu(m, 1), np.tril(m, -1)) for dt, m in known.items()}
        self._seconds = seconds

    def __getitem__(self, step: int) -> tuple[Floats, Floats, Floats]:
        """Give the matrix of a step, its part that gains, and its part that loses."""
        return self._known[self._seconds[step]]


def _gathered(likelihood: NDArray[np.float32], read: NDArray[np.int64]) -> Floats:
    """Likelihood of each count under each offset, shape (column × offset, count)."""
    low, high = read
    under: Floats = 0.5 * (likelihood[:, low].astype(np.float64) + likelihood[:, high])
    return under.reshape(-1, read.shape[2])


def _forward(
    shape: tuple[int, ...], under: Callable[[int], Floats], steps: _Steps, chain: Chain
) -> tuple[NDArray[np.float32], Floats]:
    """Probabilities of counts given the frames so far, and of the frames."""
    n_frames, n_columns = shape
    n_rows = n_columns * len(chain.offsets)
    filtered = np.empty((n_frames, n_rows, len(chain.prior)), dtype=np.float32)
    log_norm = np.zeros(n_rows)
    state = np.broadcast_to(chain.prior, filtered.shape[1:])
    for frame in range(n_frames):
        if frame:
            state = state @ steps[frame - 1][0]
        state = state * under(frame)
        norm = state.sum(axis=1)
        state /= norm[:, None]
        log_norm += np.log(norm)
        filtered[frame] = state
    return filtered, log_norm


def _backward(
    under: Callable[[int], Floats], filtered: NDArray[np.float32], steps: _Steps, weight: Floats
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities given all frames, mixed over the offsets with their weights."""
    n_frames, n_rows, n_counts = filtered.shape
    n_columns = len(weight)
    p = np.empty((n_frames, n_columns, n_counts), dtype=np.float32)
    gain = np.zeros((max(n_frames - 1, 0), n_columns), dtype=np.float32)
    loss = np.zeros_like(gain)
    later = np.ones((n_rows, n_counts))
    for frame in range(n_frames - 1, -1, -1):
        given_all = filtered[frame] * later
        given_all /= given_all.sum(axis=1, keepdims=True)
        mixed = (given_all.reshape(*weight.shape, n_counts) * weight[..., None]).sum(axis=1)
        p[frame] = mixed
        if not frame:
            break
        matrix, up, down = steps[frame - 1]
        ahead = under(frame) * later
        later = ahead @ matrix.T
        before = filtered[frame - 1]
        norm = (before * later).sum(axis=1)
        gained = (before * (ahead @ up.T)).sum(axis=1) / norm
        lost = (before * (ahead @ down.T)).sum(axis=1) / norm
        gain[frame - 1] = (gained.reshape(weight.shape) * weight).sum(axis=1)
        loss[frame - 1] = (lost.reshape(weight.shape) * weight).sum(axis=1)
        later /= norm[:, None]
    return p, gain, loss
