"""Counts and vacancies that a film was read to have, column by column, against the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_models.film_truth import FilmTruth, nearest_of

Floats = NDArray[np.float64]

LASTING_S = 1.0
"""Vacancies that are asked for last at least this long."""
FALSE_SHARE = 1e-4
"""Of columns and frames without a vacancy, may be called one."""
BINS = 10


@dataclass(frozen=True)
class ColumnScore:
    """Counts of the columns of one species; sums, so that films can be added.

    Attributes
    ----------
    n : int
        Columns times frames of the field that hold atoms.
    right : int
        Of them with the right count; columns that were not found are wrong.
    missed : int
        Of them without a site.
    false_sites : int
        Sites times frames that say atoms where no column is.
    frames : int
    bins : array of float64, shape (3, 10)
        Number, summed confidence and right ones by confidence, of the columns that were found.
    """

    n: int
    right: int
    missed: int
    false_sites: int
    frames: int
    bins: Floats


def score_columns(
    truth: FilmTruth, p: NDArray[np.floating], sites: pd.DataFrame, species: str
) -> ColumnScore:
    """Compare the counts of a film with the truth.

    Parameters
    ----------
    truth : FilmTruth
    p : array of float, shape (site, frame, class)
        As `film_truth.reading_cube` gives it; the highest class is that many atoms or more.
    sites : DataFrame
        site, species, x_A, y_A; by site from 0.
    species : str

    Returns
    -------
    ColumnScore
    """
    own, mine = truth.of(species), np.flatnonzero((sites["species"] == species).to_numpy())
    there = sites[["x_A", "y_A"]].to_numpy(np.float64)[mine]
    counts = truth.counts[own]
    nearest, met = nearest_of(truth.places[own], there)
    read = np.full((*counts.shape, p.shape[-1]), np.nan, p.dtype)
    read[met] = p[mine[nearest[met]]]
    known: NDArray[np.bool_] = np.asarray(np.isfinite(read).all(axis=-1))
    read = np.where(known[..., None], read, 0.0)
    right = read.argmax(axis=-1) == np.minimum(counts, p.shape[-1] - 1)
    sure = read.max(axis=-1)
    at = np.minimum((sure * BINS).astype(np.int64), BINS - 1)[known]
    bins = [
        np.bincount(at, value[known].astype(float), BINS)
        for value in (np.ones(known.shape), sure, right)
    ]
    # A site at the edge of the field may be a column that is not asked for.
    everywhere = truth.places[truth.of(species, in_field=False)]
    taken = nearest_of(everywhere, there)
    strays = np.setdiff1d(np.arange(len(mine)), taken[0][taken[1]])
    none = np.nan_to_num(p[mine[strays], :, 0], nan=1.0)
    full = counts > 0
    return ColumnScore(
        n=int(full.sum()),
        right=int((right & full).sum()),
        missed=int((full & ~met[:, None]).sum()),
        false_sites=int((none < 0.5).sum()),
        frames=counts.shape[1],
        bins=np.stack(bins),
    )


@dataclass(frozen=True)
class VacancyReadings:
    """P(vacancy) that a film was read to have; see `vacancy_readings`.

    Attributes
    ----------
    quiet : array of float64, shape (n,)
        In columns and frames without a vacancy anywhere near in time.
    lasting : tuple of array of float64, shape (frame,)
        In the frames of every vacancy that lasts.
    """

    quiet: Floats
    lasting: tuple[Floats, ...]


def vacancy_readings(
    truth: FilmTruth,
    p: NDArray[np.floating],
    sites: pd.DataFrame,
    species: str,
    *,
    window_s: float,
    least_s: float = LASTING_S,
) -> VacancyReadings:
    """Collect P(vacancy), the probability of fewer atoms than sites, where there is one or none.

    Frames near the beginning or end of a vacancy, and short vacancies, count as neither: when
    it began is a matter of `film_scoring.score_events`. In a column that was not found P is 0.

    Parameters
    ----------
    truth : FilmTruth
    p : array of float, shape (site, frame, class)
    sites : DataFrame
        site, species, x_A, y_A; by site from 0.
    species : str
    window_s : float
        Frames this near to a vacancy are not quiet [s].
    least_s : float
        A vacancy of so long lasts [s].

    Returns
    -------
    VacancyReadings
    """
    own = truth.of(species)
    own = own[truth.sites[own] > 0]
    mine = np.flatnonzero((sites["species"] == species).to_numpy())
    there = sites[["x_A", "y_A"]].to_numpy(np.float64)[mine]
    nearest, met = nearest_of(truth.places[own], there)
    full, n_frames = truth.sites[own], truth.counts.shape[1]
    said = np.zeros((len(own), n_frames))
    fewer = np.arange(p.shape[-1]) < full[met, None]
    said[met] = np.where(fewer[:, None], np.nan_to_num(p[mine[nearest[met]]]), 0.0).sum(axis=-1)
    lacks = truth.counts[own] < full[:, None]
    step = truth.frame_time_s
    reach = round(window_s / step) if step else 0
    near = np.stack(
        [lacks[:, max(0, i - reach) : i + reach + 1].any(axis=1) for i in range(n_frames)], axis=1
    )
    lasting = []
    for row, line in enumerate(lacks):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]).astype(np.int8)))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            if (stop - start) * step >= least_s - 1e-6:
                lasting.append(said[row, start:stop])
    return VacancyReadings(said[~near], tuple(lasting))


def lasting_vacancies_seen(
    films: Sequence[VacancyReadings], false_share: float = FALSE_SHARE
) -> tuple[int, int]:
    """Count the lasting vacancies that are seen in half of their frames.

    One threshold of P(vacancy) holds for all films: the one that at most `false_share` of their
    quiet columns and frames exceed.

    Parameters
    ----------
    films : sequence of VacancyReadings
    false_share : float

    Returns
    -------
    seen, number : int

    Examples
    --------
    One of the ten quiet readings may be wrong, so those above 0.2 are vacancies:

    >>> quiet = np.array([0.9, 0.2, 0, 0, 0, 0, 0, 0, 0, 0])
    >>> film = VacancyReadings(quiet, (np.array([0.1, 0.8, 0.9]), np.array([0.2, 0.1])))
    >>> lasting_vacancies_seen([film], 0.1), lasting_vacancies_seen([film], 0.0)
    ((1, 2), (0, 2))
    """
    lasting = [own for film in films for own in film.lasting]
    quiet = np.sort(np.concatenate([np.zeros(0), *(film.quiet for film in films)]))[::-1]
    allowed = min(int(false_share * len(quiet)), len(quiet) - 1)
    threshold = float(quiet[allowed]) if len(quiet) else 0.0
    return sum(bool((own > threshold).mean() >= 0.5) for own in lasting), len(lasting)
