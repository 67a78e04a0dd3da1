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
    bins : array of float64, shape (column, 3, 10)
        Frames, summed confidence and right ones by confidence, of every column that was found.
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
    at = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    inside = known[..., None] & (at[..., None] == np.arange(BINS))
    values = np.stack([np.ones(known.shape), sure, right], axis=1)
    bins = np.einsum("cvf,cfb->cvb", values, inside.astype(np.float64))
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
        bins=bins[met],
    )


def calibration_error(bins: Floats) -> float:
    """Compare confidence and share of right counts, bin by bin.

    Parameters
    ----------
    bins : array of float, shape (column, 3, bin)
        See `ColumnScore`; those of several films one after the other.

    Returns
    -------
    float
        Mean difference over columns and frames; NaN without any.

    Examples
    --------
    Ten frames read with a confidence of 0.8, all of them right:

    >>> bins = np.zeros((1, 3, 10))
    >>> bins[0, :, 7] = 10, 8.0, 10
    >>> round(calibration_error(bins), 3)
    0.2
    """
    number, confidence, right = bins.sum(axis=0)
    if not number.sum():
        return float("nan")
    return float(np.abs(confidence - right).sum() / number.sum())


def calibration_error_by_chance(
    bins: Floats, *, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Say which calibration error columns would show whose confidence is right.

    A column that changes little is right or wrong in all its frames: a film says as much of
    calibration as it has columns, however many frames there are. Columns that are wrong
    together, as those of one film can be, would show more.

    Parameters
    ----------
    bins : array of float, shape (column, 3, bin)
        As for `calibration_error`.
    draws, seed : int
        Of the simulation: a number from 0 to 1 for every column, which is right in those
        frames whose confidence is higher.

    Returns
    -------
    tuple of float
        Median, and the value that is exceeded once in twenty times; NaN without columns.

    Examples
    --------
    >>> bins = np.zeros((50, 3, 10))
    >>> bins[:, :, 7] = 10, 8.0, 10
    >>> usual, rarely = calibration_error_by_chance(bins)
    >>> 0.02 < usual < 0.06 < rarely < 0.14
    True
    """
    number, confidence, _ = bins.transpose(1, 0, 2)
    if not number.sum():
        return float("nan"), float("nan")
    sure = confidence / np.maximum(number, 1)
    rng, found = np.random.default_rng(seed), []
    for _ in range(draws):
        right = number * (rng.random((len(bins), 1)) < sure)
        found.append(calibration_error(np.stack([number, confidence, right], axis=1)))
    return float(np.median(found)), float(np.quantile(found, 0.95))


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
