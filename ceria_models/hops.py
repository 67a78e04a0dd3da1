"""Which losses and gains are one atom that moved from column to column.

A loss in one column and a gain in a neighbour at nearly the same time are either one hop or two
events that met by chance. With the odds ``o = P / (1 - P)`` of each change alone, found under
the rates λ of losses and gains, every way to explain the changes has a weight:

- nothing happened: 1; a loss alone: ``(1 - h) o_loss``; a gain alone: ``(1 - h) o_gain``;
- a hop to one of m neighbours: ``h / m · o_loss · o_gain · D / λ_gain``,

where h is the share of losses that are hops and D [1/s] the density with which the two times
agree, ``∫∫ f_loss(t) f_gain(t') k(t - t')``, k being the distribution of the time between.
The weights of whole explanations multiply, every change is explained once, and the sum over
all explanations of a group of changes gives probabilities.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from ceria_models.changes import Change
from ceria_models.tracking_settings import MotionSettings

Floats = NDArray[np.float64]
_SUREST = 1 - 1e-9
_FAR = 12.0
"""Times between, in units of the hop's, beyond which a pair is not looked at."""
_WEAKEST = 1e-3
"""Pairs whose weight over that of two separate events is smaller are left out."""
_GROUP = 10
"""Gains in one group whose explanations are all summed; in larger ones weak pairs are cut."""


@dataclass(frozen=True)
class Hops:
    """Probabilities of all explanations.

    Attributes
    ----------
    pair : array of int64, shape (pair, 2)
        Position of a loss, and of a gain, in the lists.
    hop : array of float64, shape (pair,)
        Probability that the two are one hop.
    loss, gain : array of float64
        Probability that each loss, and each gain, happened alone.
    """

    pair: NDArray[np.int64]
    hop: Floats
    loss: Floats
    gain: Floats


def pair_changes(
    losses: list[Change],
    gains: list[Change],
    neighbours: list[NDArray[np.int64]],
    times: Floats,
    gain_per_s: float,
    motion: MotionSettings,
) -> Hops:
    """Decide between hops and separate losses and gains.

    Parameters
    ----------
    losses, gains : list of Change
        Of one species.
    neighbours : list of array of int64
        Sites that an atom of each site can hop to.
    times : array of float64, shape (frame,)
        s.
    gain_per_s : float
        Rate under which the gains were found.
    motion : MotionSettings

    Returns
    -------
    Hops

    Examples
    --------
    One atom is lost and one gained next to it, between the same two frames:

    >>> motion = MotionSettings(rate_per_s=0.02, hop_share=0.8, hop_time_s=0.05, reach_A=5.6)
    >>> loss, gain = (Change(s, s == 1, np.array([3]), np.array([0.9])) for s in (0, 1))
    >>> beside = [np.array([1]), np.array([0])]
    >>> hops = pair_changes([loss], [gain], beside, np.arange(9) / 30, 0.02, motion)
    >>> hops.hop.round(2), hops.loss.round(2)
    (array([1.]), array([0.]))
    """
    odds_loss, odds_gain = _odds(losses), _odds(gains)
    share = motion.hop_share
    pairs, weights = [], []
    by_site: dict[int, list[int]] = {}
    scale = _scale(times, motion.hop_time_s) if len(times) > 1 else motion.hop_time_s
    for number, gain in enumerate(gains):
        by_site.setdefault(gain.site, []).append(number)
    for i, loss in enumerate(losses):
        near = neighbours[loss.site]
        for j in (j for site in near.tolist() for j in by_site.get(site, [])):
            density = _agreement(loss, gains[j], times, scale)
            ratio = share / len(near) * density / gain_per_s
            if ratio > _WEAKEST:
                pairs.append((i, j))
                weights.append(ratio * odds_loss[i] * odds_gain[j])
    alone_loss, alone_gain = (1 - share) * odds_loss, (1 - share) * odds_gain
    pair = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    weight = np.array(weights)
    # Only what is not paired counts: an unpaired change either happened alone or not at all.
    relative = weight / (1 + alone_loss[pair[:, 0]]) / (1 + alone_gain[pair[:, 1]])
    hop = _probabilities(pair, relative, len(losses), len(gains))
    free_loss = 1 - np.bincount(pair[:, 0], hop, len(losses))
    free_gain = 1 - np.bincount(pair[:, 1], hop, len(gains))
    return Hops(
        pair,
        hop,
        np.clip(free_loss, 0, 1) * alone_loss / (1 + alone_loss),
        np.clip(free_gain, 0, 1) * alone_gain / (1 + alone_gain),
    )


def hop_moment(
    loss: Change, gain: Change, times: Floats, hop_time_s: float
) -> tuple[NDArray[np.int64], Floats]:
    """Give the probabilities of the steps between frames in which a hop happened.

    Parameters
    ----------
    loss, gain : Change
    times : array of float64, shape (frame,)
        s.
    hop_time_s : float

    Returns
    -------
    step : array of int64, shape (step,)
    mass : array of float64, shape (step,)
        Sums to 1.

    Examples
    --------
    >>> loss = Change(0, False, np.array([3, 4]), np.array([0.5, 0.5]))
    >>> gain = Change(1, True, np.array([4, 5]), np.array([0.9, 0.1]))
    >>> step, mass = hop_moment(loss, gain, np.arange(9.0), 0.05)
    >>> step[mass.argmax()]
    np.int64(4)
    """
    joint = _joint(loss, gain, times, _scale(times, hop_time_s))
    # Half of the weight at the loss, half at the gain: a hop is both.
    step = np.concatenate([loss.step, gain.step])
    mass = 0.5 * np.concatenate([joint.sum(axis=1), joint.sum(axis=0)])
    unique, index = np.unique(step, return_inverse=True)
    summed = np.bincount(index, mass)
    return unique, summed / summed.sum()


def _odds(changes: list[Change]) -> Floats:
    p = np.minimum([change.probability for change in changes], _SUREST)
    odds: Floats = np.asarray(p / (1 - p), dtype=float).reshape(-1)
    return odds


def _scale(times: Floats, hop_time_s: float) -> float:
    """Time between the loss and the gain of a hop, not below that of a frame [s]."""
    return max(hop_time_s, float(np.median(np.diff(times))))


def _joint(loss: Change, gain: Change, times: Floats, scale: float) -> Floats:
    """Weights f_loss(t) f_gain(t') k(t - t'), shape (step of loss, step of gain) [1/s]."""
    of_loss, of_gain = (
        0.5 * (times[change.step] + times[change.step + 1]) for change in (loss, gain)
    )
    kernel = np.exp(-np.abs(of_loss[:, None] - of_gain) / scale) / (2 * scale)
    joint: Floats = (loss.mass / loss.mass.sum())[:, None] * (gain.mass / gain.mass.sum()) * kernel
    return joint + 1e-300


def _agreement(loss: Change, gain: Change, times: Floats, scale: float) -> float:
    """Density D with which the times agree [1/s]."""
    apart = max(
        times[gain.step[0]] - times[loss.step[-1]], times[loss.step[0]] - times[gain.step[-1]]
    )
    if apart > _FAR * scale:
        return 0.0
    return float(_joint(loss, gain, times, scale).sum())


def _probabilities(pair: NDArray[np.int64], weight: Floats, n_losses: int, n_gains: int) -> Floats:
    """Probability of each pair, from the sum over all matchings of its group."""
    hop = np.zeros(len(pair))
    kept = np.arange(len(pair))
    while len(kept):
        nodes = n_losses + n_gains
        edges = pair[kept]
        graph = csr_array(
            (np.ones(len(kept)), (edges[:, 0], n_losses + edges[:, 1])), shape=(nodes, nodes)
        )
        _, label = connected_components(graph, directed=False)
        again: list[NDArray[np.int64]] = []
        for group in np.unique(label[edges[:, 0]]):
            own = kept[label[edges[:, 0]] == group]
            if len(np.unique(pair[own, 1])) <= _GROUP:
                hop[own] = _matched(pair[own], weight[own])
            else:
                again.append(own[~_weakest(pair[own], weight[own])])
        kept = np.concatenate(again) if again else np.zeros(0, dtype=np.int64)
    return hop


def _weakest(pair: NDArray[np.int64], weight: Floats) -> NDArray[np.bool_]:
    """Mark a quarter of the pairs outside of the best matching, the weakest."""
    losses, loss = np.unique(pair[:, 0], return_inverse=True)
    gains, gain = np.unique(pair[:, 1], return_inverse=True)
    worth = np.zeros((len(losses), len(gains)))
    worth[loss, gain] = np.log1p(weight)
    row, column = linear_sum_assignment(worth, maximize=True)
    best = np.zeros(worth.shape, dtype=bool)
    best[row, column] = True
    outside = np.flatnonzero(~best[loss, gain])
    cut = outside[np.argsort(weight[outside], kind="stable")][: -(-len(outside) // 4)]
    marked = np.zeros(len(pair), dtype=bool)
    marked[cut] = True
    return marked


def _matched(pair: NDArray[np.int64], weight: Floats) -> Floats:
    """Probabilities of pairs by forward and backward sums over the gains that are taken."""
    losses, loss = np.unique(pair[:, 0], return_inverse=True)
    gains, gain = np.unique(pair[:, 1], return_inverse=True)
    n_sets = 1 << len(gains)
    sets = np.arange(n_sets)
    forward = [np.zeros(n_sets) for _ in range(len(losses) + 1)]
    backward = [np.ones(n_sets) for _ in range(len(losses) + 1)]
    forward[0][0] = 1.0

    def of(row: int) -> list[tuple[int, int, float]]:
        return [(int(k), 1 << int(gain[k]), float(weight[k])) for k in np.flatnonzero(loss == row)]

    for row in range(len(losses)):
        forward[row + 1] = forward[row].copy()
        for _, bit, w in of(row):
            free = sets[(sets & bit) == 0]
            forward[row + 1][free | bit] += w * forward[row][free]
        forward[row + 1] /= forward[row + 1].max()
    probability = np.zeros(len(pair))
    for row in range(len(losses) - 1, -1, -1):
        backward[row] = backward[row + 1].copy()
        for _, bit, w in of(row):
            free = sets[(sets & bit) == 0]
            backward[row][free] += w * backward[row + 1][free | bit]
        total = float((forward[row] * backward[row]).sum())
        for k, bit, w in of(row):
            free = sets[(sets & bit) == 0]
            taken = (forward[row][free] * backward[row + 1][free | bit]).sum()
            probability[k] = w * float(taken) / total
        backward[row] /= backward[row].max()
    return probability
