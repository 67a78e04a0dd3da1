"""Events of a film: what happened, where, when and how surely."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_models.changes import FAINTEST, Change, Moment, moment_of
from ceria_models.hops import Hops, hop_moment, pair_changes
from ceria_models.tracking_settings import MotionSettings

Floats = NDArray[np.float64]

KINDS = {
    "Ce": ("migration", "departure", "arrival"),
    "O": ("vacancy_migration", "vacancy_creation", "vacancy_filling"),
}
"""Names of a hop, a loss and a gain by species, as in datasets of films."""
COLUMNS = (
    "event", "kind", "species", "time_s", "time_low_s", "time_high_s", "frame", "site_from",
    "site_to", "confidence", "kind_confidence", "x_A", "y_A",
)  # fmt: skip
NOWHERE = -1


@dataclass(frozen=True)
class _Found:
    """One event before it is a row."""

    kind: str
    moment: Moment
    source: int
    target: int
    confidence: float
    kind_confidence: float


def film_events(
    changes: list[Change],
    species: str,
    neighbours: list[NDArray[np.int64]],
    times: Floats,
    gain_per_s: float,
    motion: MotionSettings,
    places: Floats,
) -> pd.DataFrame:
    """Tabulate the events of one species, sure or not.

    Every loss is one event, a hop or a departure, whichever is more probable; every gain that
    no listed hop explains is another. So no change is counted twice.

    Parameters
    ----------
    changes : list of Change
        Losses and gains of columns of the species.
    species : str
    neighbours : list of array of int64
        Sites that an atom of each site can hop to.
    times : array of float64, shape (frame,)
        s.
    gain_per_s : float
        Rate under which gains were found.
    motion : MotionSettings
    places : array of float64, shape (site, (x, y))
        Å.

    Returns
    -------
    DataFrame
        As `COLUMNS`, in the order of time; ``frame`` is the position of the frame.
        ``confidence`` is the probability that the event happened, ``kind_confidence`` that of
        its kind and columns. A hop lies halfway between its columns.

    Examples
    --------
    >>> motion = MotionSettings(rate_per_s=0.02, hop_share=0.8, hop_time_s=0.05, reach_A=5.6)
    >>> loss, gain = (Change(s, s == 1, np.array([3]), np.array([0.9])) for s in (0, 1))
    >>> places = np.array([[0.0, 0.0], [3.3, 0.0]])
    >>> beside = [np.array([1]), np.array([0])]
    >>> events = film_events(
    ...     [loss, gain], "Ce", beside, np.arange(9) / 30, 0.02, motion, places
    ... )
    >>> events[["kind", "frame", "site_from", "site_to", "x_A"]].values.tolist()
    [['migration', 4, 0, 1, 1.65]]
    """
    losses = [change for change in changes if not change.gain]
    gains = [change for change in changes if change.gain]
    hops = pair_changes(losses, gains, neighbours, times, gain_per_s, motion)
    hop, departure, arrival = KINDS[species]
    found: list[_Found] = []
    claimed = np.zeros(len(gains))
    for i, loss in enumerate(losses):
        of_loss = np.flatnonzero(hops.pair[:, 0] == i)
        hopped = float(hops.hop[of_loss].sum())
        total = min(hopped + float(hops.loss[i]), 1.0)
        if hopped > hops.loss[i]:
            best = int(of_loss[hops.hop[of_loss].argmax()])
            j, share = int(hops.pair[best, 1]), float(hops.hop[best])
            step, mass = hop_moment(loss, gains[j], times, motion.hop_time_s)
            moment = moment_of(step, mass, times)
            found.append(_Found(hop, moment, loss.site, gains[j].site, total, share))
            claimed[j] += share
        else:
            moment = moment_of(loss.step, loss.mass, times)
            found.append(_Found(departure, moment, loss.site, NOWHERE, total, float(hops.loss[i])))
    for j, gain in enumerate(gains):
        total = _unclaimed(hops, j, float(claimed[j]))
        moment = moment_of(gain.step, gain.mass, times)
        found.append(_Found(arrival, moment, NOWHERE, gain.site, total, float(hops.gain[j])))
    return _table([event for event in found if event.confidence >= FAINTEST], species, places)


def no_events() -> pd.DataFrame:
    """Make a table of events without rows.

    Examples
    --------
    >>> len(no_events()), "confidence" in no_events()
    (0, True)
    """
    return _table([], "Ce", np.zeros((0, 2)))


def _unclaimed(hops: Hops, j: int, claimed: float) -> float:
    """Probability that a gain happened and is not part of a listed hop."""
    of_gain = float(hops.hop[hops.pair[:, 1] == j].sum())
    return float(np.clip(hops.gain[j] + of_gain - claimed, 0.0, 1.0))


def _table(found: list[_Found], species: str, places: Floats) -> pd.DataFrame:
    """Rows in the order of time."""
    rows: list[dict[str, Any]] = []
    for event in sorted(found, key=lambda e: (e.moment.time, e.source, e.target)):
        ends = [site for site in (event.source, event.target) if site != NOWHERE]
        x, y = places[ends].mean(axis=0)
        rows.append({
            "event": len(rows), "kind": event.kind, "species": species,
            "time_s": event.moment.time, "time_low_s": event.moment.low,
            "time_high_s": event.moment.high, "frame": event.moment.frame,
            "site_from": event.source, "site_to": event.target,
            "confidence": event.confidence, "kind_confidence": event.kind_confidence,
            "x_A": float(x), "y_A": float(y),
        })  # fmt: skip
    numbers = dict.fromkeys(("event", "frame", "site_from", "site_to"), "int64")
    words = dict.fromkeys(("kind", "species"), "str")
    floats = dict.fromkeys(set(COLUMNS) - set(numbers) - set(words), "float64")
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(numbers | words | floats)
