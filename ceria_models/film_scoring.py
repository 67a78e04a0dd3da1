"""How well a film was followed: events, counts and confidence against the truth."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ceria_models.chains import Chain, smooth
from ceria_models.film_events import NOWHERE

Floats = NDArray[np.float64]

PLACE = 1.5
"""An event is found if one of its kind is reported this near [Å] ..."""
WINDOW = 0.2
"""... and within this time [s]: six frames at 30 frames/s."""
_BINS = 15


@dataclass(frozen=True)
class EventScore:
    """Found events against true ones.

    Attributes
    ----------
    n_true, n_found, n_right : int
        Events in the truth, reported, and matched one to one.
    time_error_s : float
        Root mean square over the matched; NaN without.
    seconds : float
        Length of the film.
    """

    n_true: int
    n_found: int
    n_right: int
    time_error_s: float
    seconds: float

    @property
    def precision(self) -> float:
        """Share of the reported events that are true; NaN without any."""
        return self.n_right / self.n_found if self.n_found else float("nan")

    @property
    def recall(self) -> float:
        """Share of the true events that are reported; NaN without any."""
        return self.n_right / self.n_true if self.n_true else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN where nothing is true or reported."""
        both = self.n_true + self.n_found
        return 2 * self.n_right / both if both else float("nan")

    @property
    def false_per_10s(self) -> float:
        """Reported events that are none, in ten seconds."""
        return 10 * (self.n_found - self.n_right) / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class CountScore:
    """Counts and their confidence against the truth.

    Attributes
    ----------
    exact : float
        Share of columns and frames with the right count.
    confidence : float
        Mean probability of the reported count.
    calibration_error : float
        Expected difference of confidence and share of right ones, over 15 bins.
    n : int
        Columns times frames.
    """

    exact: float
    confidence: float
    calibration_error: float
    n: int


def score_events(
    found: pd.DataFrame,
    truth: pd.DataFrame,
    seconds: float,
    *,
    place: float = PLACE,
    window: float = WINDOW,
) -> EventScore:
    """Match reported events to true ones of the same kind.

    Within each kind the pairs near enough in place and time are as many as possible, and among
    all ways to pair that many the nearest.

    Parameters
    ----------
    found, truth : DataFrame
        kind, time_s, x_A, y_A.
    seconds : float
        Length of the film.
    place : float
        Å.
    window : float
        s.

    Returns
    -------
    EventScore

    Examples
    --------
    >>> truth = pd.DataFrame({"kind": ["arrival"], "time_s": [1.0], "x_A": [5.0], "y_A": [5.0]})
    >>> found = pd.concat([truth.assign(time_s=1.1), truth.assign(kind="departure")])
    >>> score = score_events(found, truth, 10.0)
    >>> score.precision, score.recall, round(score.time_error_s, 3), score.false_per_10s
    (0.5, 1.0, 0.1, 1.0)
    """
    errors: list[float] = []
    for kind in set(truth["kind"]) & set(found["kind"]):
        own, other = truth[truth["kind"] == kind], found[found["kind"] == kind]
        apart = np.hypot(*(
            own[name].to_numpy(float)[:, None] - other[name].to_numpy(float)
            for name in ("x_A", "y_A")
        ))  # fmt: skip
        late = other["time_s"].to_numpy(float) - own["time_s"].to_numpy(float)[:, None]
        good = (apart <= place) & (np.abs(late) <= window)
        # One more pair is worth more than any saving of distance by the others.
        cost = np.where(good, apart / place + np.abs(late) / window, 4.0 * (len(own) + len(other)))
        row, column = linear_sum_assignment(cost)
        errors += [float(late[i, j]) for i, j in zip(row, column, strict=True) if good[i, j]]
    error = float(np.sqrt(np.mean(np.square(errors)))) if errors else float("nan")
    return EventScore(len(truth), len(found), len(errors), error, seconds)


def with_places(events: pd.DataFrame, places: Floats) -> pd.DataFrame:
    """Put events at their columns: halfway between two, as `film_events` does.

    Parameters
    ----------
    events : DataFrame
        site_from, site_to: rows of `places`, -1 for none.
    places : array of float64, shape (site, (x, y))
        Å.

    Returns
    -------
    DataFrame
        With x_A and y_A.

    Examples
    --------
    >>> events = pd.DataFrame({"site_from": [0, -1], "site_to": [1, 1]})
    >>> with_places(events, np.array([[0.0, 0.0], [2.0, 4.0]]))["y_A"].tolist()
    [2.0, 4.0]
    """
    padded = np.concatenate([places, np.full((1, 2), np.nan)])
    ends = padded[events[["site_from", "site_to"]].to_numpy(np.int64)]
    known = np.isfinite(ends[..., :1])
    middle = np.where(known, ends, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return events.assign(x_A=middle[:, 0], y_A=middle[:, 1])


def as_changes(events: pd.DataFrame, places: Floats) -> pd.DataFrame:
    """Take events apart into losses and gains of columns, whatever explains them.

    Parameters
    ----------
    events : DataFrame
        species, time_s, site_from, site_to.
    places : array of float64, shape (site, (x, y))
        Å.

    Returns
    -------
    DataFrame
        kind ("Ce loss", "O gain", ...), time_s, x_A, y_A.

    Examples
    --------
    >>> hop = pd.DataFrame({"species": ["Ce"], "time_s": [1.0], "site_from": [0], "site_to": [1]})
    >>> as_changes(hop, np.zeros((2, 2)))["kind"].tolist()
    ['Ce loss', 'Ce gain']
    """
    parts = []
    for end, word in (("site_from", "loss"), ("site_to", "gain")):
        own = events[events[end] != NOWHERE]
        at = places[own[end].to_numpy(np.int64)]
        parts.append(
            pd.DataFrame({
                "kind": own["species"] + f" {word}", "time_s": own["time_s"],
                "x_A": at[:, 0], "y_A": at[:, 1],
            })
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def lasting(events: pd.DataFrame, stop_s: float, least_s: float) -> pd.DataFrame:
    """Keep the changes after which a column stays as it is for a time.

    Parameters
    ----------
    events : DataFrame
        time_s, site_from, site_to; -1 for no site.
    stop_s : float
        Time of the last frame [s].
    least_s : float
        How long the column has to stay as it is [s].

    Returns
    -------
    DataFrame
        The same events; sites whose next change, or the end of the film, comes sooner are -1.

    Examples
    --------
    Site 1 gains an atom and loses it after half a second:

    >>> events = pd.DataFrame({"time_s": [1.0, 1.5], "site_from": [0, 1], "site_to": [1, -1]})
    >>> kept = lasting(events, 10.0, 1.0)
    >>> kept["site_from"].tolist(), kept["site_to"].tolist()
    ([0, 1], [-1, -1])
    >>> lasting(events, 2.0, 1.0)["site_from"].tolist()
    [0, -1]
    """
    times = events["time_s"].to_numpy(float)
    ends = {name: events[name].to_numpy(np.int64) for name in ("site_from", "site_to")}
    kept = {}
    for name, sites in ends.items():
        stays = np.empty(len(sites), dtype=bool)
        for row, (site, time) in enumerate(zip(sites, times, strict=True)):
            touched = (ends["site_from"] == site) | (ends["site_to"] == site)
            later = times[touched & (times > time)]
            stays[row] = later.min(initial=stop_s) - time >= least_s
        kept[name] = np.where(stays, sites, NOWHERE)
    return events.assign(**kept)


def score_counts(p: NDArray[np.floating], truth: NDArray[np.integer]) -> CountScore:
    """Compare counts and their confidence with the truth.

    Parameters
    ----------
    p : array of float, shape (..., class)
        Rows with NaN are left out.
    truth : array of int, shape (...)
        More than the highest class counts as that.

    Returns
    -------
    CountScore

    References
    ----------
    .. [1] Guo et al., arXiv:1706.04599 (2017).

    Examples
    --------
    >>> score_counts(np.array([[0.2, 0.8], [0.3, 0.7]]), np.array([1, 0]))
    CountScore(exact=0.5, confidence=0.75, calibration_error=0.45, n=2)
    """
    flat, true = p.reshape(-1, p.shape[-1]), np.minimum(truth.ravel(), p.shape[-1] - 1)
    known = np.isfinite(flat).all(axis=1)
    flat, true = flat[known], true[known]
    if not len(true):
        return CountScore(float("nan"), float("nan"), float("nan"), 0)
    right = flat.argmax(axis=1) == true
    sure = flat.max(axis=1).astype(np.float64)
    bins = np.minimum((sure * _BINS).astype(np.int64), _BINS - 1)
    gap = np.abs(np.bincount(bins, right - sure, _BINS))
    return CountScore(
        float(right.mean()), round(float(sure.mean()), 12),
        round(float(gap.sum() / len(true)), 12), len(true),
    )  # fmt: skip


def ideal_readings(
    truth: NDArray[np.integer], d2: Floats, priors: Floats, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.float32]]:
    """Read the counts of columns as an ideal observer of every single frame.

    Somebody who knows everything but the count of one column sees it with Gaussian noise of
    1 / d' atoms.

    Parameters
    ----------
    truth : array of int, shape (column, frame)
    d2 : array of float64, shape (column,)
        Squared d' of one frame.
    priors : array of float64, shape (column, count)
        P(count) before a column is seen; above 0.
    rng : numpy.random.Generator
        Of the noise.

    Returns
    -------
    x : array of float64, shape (column, frame)
        Counts as seen.
    p : array of float32, shape (column, frame, count)
        Probabilities of the counts by Bayes' rule.

    Examples
    --------
    >>> flat = np.full((1, 6), 1 / 6)
    >>> x, p = ideal_readings(np.array([[3, 5]]), np.array([400.0]), flat, np.random.default_rng(0))
    >>> x.round().tolist(), p.argmax(axis=-1).tolist(), bool(p.max() > 0.99)
    ([[3.0, 5.0]], [[3, 5]], True)
    """
    x = truth + rng.normal(size=truth.shape) / np.sqrt(d2)[:, None]
    error = x[..., None] - np.arange(priors.shape[-1])
    log = np.log(priors)[:, None] - 0.5 * d2[:, None, None] * error**2
    p = np.exp(log - log.max(axis=-1, keepdims=True))
    return x, (p / p.sum(axis=-1, keepdims=True)).astype(np.float32)


def ideal_smoothing(
    truth: NDArray[np.integer], d2: Floats, times: Floats, chain: Chain, seed: int
) -> NDArray[np.float32]:
    """Smooth what an ideal observer of every frame would say about a film.

    Somebody who knows everything but the count of one column sees it with Gaussian noise of
    1 / d' atoms in each frame. With the true prior and rates in the chain nobody can do better.

    Parameters
    ----------
    truth : array of int, shape (column, frame)
    d2 : array of float64, shape (column,) or (column, frame)
        Squared d' of one frame.
    times : array of float64, shape (frame,)
        s.
    chain : Chain
    seed : int
        Of the noise.

    Returns
    -------
    array of float32, shape (column, frame, count)

    Examples
    --------
    >>> flat = Chain(np.full(6, 1 / 6), 0.01, 0.01, np.zeros(1), np.ones(1))
    >>> truth = np.full((1, 50), 3)
    >>> p = ideal_smoothing(truth, np.array([4.0]), np.arange(50) / 30, flat, seed=0)
    >>> int(p[0, 25].argmax()), bool(p[0, 25].max() > 0.99)
    (3, True)
    """
    rng = np.random.default_rng(seed)
    squared = np.broadcast_to(d2 if d2.ndim == 2 else d2[:, None], truth.shape)
    x = truth + rng.normal(size=truth.shape) / np.sqrt(squared)
    error = x[..., None] - np.arange(len(chain.prior))
    log = -0.5 * squared[..., None] * error**2
    log -= log.max(axis=-1, keepdims=True)
    found = smooth(np.moveaxis(log, 0, 1), times, chain)
    return np.moveaxis(found.p, 0, 1)
