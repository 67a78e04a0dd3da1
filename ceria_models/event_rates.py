"""Rates of events by kind, surface class and facet, with what is not sure about them."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_models.film_events import KINDS, NOWHERE

Floats = NDArray[np.float64]
_DRAWS = 4000
_SEED = 0
COLUMNS = (
    "kind", "species", "surface", "facet", "n_events", "column_seconds", "rate_per_s", "rate_low",
    "rate_high",
)  # fmt: skip


def event_rates(
    events: pd.DataFrame,
    sites: pd.DataFrame,
    exposure_s: Floats,
    confidence: float,
) -> pd.DataFrame:
    """Count events of every kind over the time that columns of every class were watched.

    An event belongs to the column that the atom leaves, or else to the one that it joins. The
    number of events is the sum of the confidences of those listed. Its interval holds 95 % of
    the rates that go with the events: each event, also one too unsure to be listed, did happen
    with its confidence, and given N events in a time T the rate has the distribution
    Gamma(N + 1/2, 1 / T), Jeffreys' for a Poisson process.

    Parameters
    ----------
    events : DataFrame
        As from `film_events`, sure or not.
    sites : DataFrame
        species, surface, facet.
    exposure_s : array of float64, shape (site,)
        Time for which each site was read [s].
    confidence : float
        Events at least this sure are listed, and make `n_events`.

    Returns
    -------
    DataFrame
        kind, species, surface, facet, n_events, column_seconds, and per column and second
        rate_per_s, rate_low and rate_high; a row for every class that occurs, with and
        without events.

    Examples
    --------
    Three sure departures from one column in ten seconds:

    >>> events = pd.DataFrame({
    ...     "kind": "departure", "species": "Ce", "site_from": 0, "site_to": -1,
    ...     "confidence": [1.0, 1.0, 1.0],
    ... })
    >>> sites = pd.DataFrame({"species": ["Ce"], "surface": ["edge"], "facet": ["111"]})
    >>> rates = event_rates(events, sites, np.array([10.0]), 0.5).set_index("kind")
    >>> rates.loc["departure", ["n_events", "rate_per_s"]].tolist()
    [3.0, 0.3]
    >>> bool(rates.loc["departure", "rate_low"] < 0.3 < rates.loc["departure", "rate_high"])
    True
    """
    rng = np.random.default_rng(_SEED)
    source = events["site_from"].to_numpy()
    where = np.where(source != NOWHERE, source, events["site_to"].to_numpy()).astype(np.int64)
    sure = events["confidence"].to_numpy(dtype=float)
    rows = []
    classes = sites.assign(exposure=exposure_s).groupby(["species", "surface", "facet"], sort=True)
    for (species, surface, facet), own in classes:
        here = np.isin(where, own.index.to_numpy())
        seconds = float(own["exposure"].sum())
        for kind in KINDS[str(species)]:
            p = sure[here & (events["kind"] == kind).to_numpy()]
            expected = float(p[p >= confidence].sum())
            low, high = _interval(p, seconds, rng)
            rate = expected / seconds if seconds > 0 else 0.0
            rows.append((
                kind, species, surface, facet, expected, seconds, rate, min(low, rate),
                max(high, rate),
            ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _interval(p: Floats, seconds: float, rng: np.random.Generator) -> tuple[float, float]:
    """Limits of 95 % of the rate [1/s]; without any time nothing is known, 0 to 0."""
    if seconds <= 0:
        return 0.0, 0.0
    happened = (rng.random((_DRAWS, len(p))) < p).sum(axis=1)
    low, high = np.quantile(rng.gamma(happened + 0.5) / seconds, [0.025, 0.975])
    return float(low), float(high)
