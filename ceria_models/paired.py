"""The paired test: which of two noisy images lacks one atom, measured against the best possible.

`ceria_data.limits` stored for many columns by how much the image changes when one atom is
missing, and the ideal observer's d' per dose. Each pair is recorded here with a d' of 1 to 2,
where guessing and certainty are both far.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray
from scipy.special import log_ndtr

from ceria_data.dataset import Dataset, Sample
from ceria_data.detector import record
from ceria_data.errors import DatasetError
from ceria_data.parameters import camera_from_row
from ceria_data.randomness import sample_rng
from ceria_data.schema import LIMITS
from ceria_data.store import read_table
from ceria_models.matching import REACH
from ceria_models.metrics import resampled

Floats = NDArray[np.float64]
Score = Callable[[Floats, float, tuple[float, float], str], float]
"""From electrons (y, x), sampling [Å/pixel], the place (x, y) [Å] and the species to a number
that is lower the more surely an atom is missing there."""

DETECTABILITY = (1.0, 2.0)
"""Range of d' that the dose of a pair is chosen for."""
DOSES = (10.0, 10_000.0)
"""Pairs that need another dose [e-/Å²] are left out: no benchmark image has it."""

_GOLDEN_RATIO = (5**0.5 - 1) / 2
_LARGEST = 4.0
"""Of sqrt(efficiency): all answers right would fit infinity."""
_STEPS = 60
_DRAWS = 500


@dataclass(frozen=True)
class ImagePair:
    """Two noise-free images that differ by one atom.

    Attributes
    ----------
    facts : dict
        Row of `limits.parquet`, with ``particle``, ``dose_e_per_A2`` and ``d_prime``.
    place : tuple of float
        Middle of the column (x, y) [Å].
    complete, lacking : array of float64, shape (y, x)
        Intensity with and without the atom; 1 = vacuum.
    recorded : tuple of array of float64
        Electrons of both, complete first; the noise of the two is independent.
    """

    facts: dict[str, object]
    place: tuple[float, float]
    complete: Floats
    lacking: Floats
    recorded: tuple[Floats, Floats]


@dataclass(frozen=True)
class Efficiency:
    """How much of what the electrons tell a program uses.

    Attributes
    ----------
    species, case : str
    efficiency, low, high : float or None
        η and its 95 % interval over particles; negative for a program that prefers the
        wrong image.
    pairs : int
    right, best : float
        Share named rightly (a tie is half), and that of the ideal observer.
    """

    species: str
    case: str
    efficiency: float | None
    low: float | None
    high: float | None
    pairs: int
    right: float
    best: float


def limits_rows(dataset: Dataset, n: int | None = None) -> pd.DataFrame:
    """Choose pairs of a split and their doses.

    Parameters
    ----------
    dataset : Dataset
        A split of a dataset with limits.
    n : int, optional
        Pairs of each species and case, evenly over the table; all if None.

    Returns
    -------
    DataFrame
        Rows of `limits.parquet` with ``d_prime``, evenly over `DETECTABILITY`, and the
        ``dose_e_per_A2`` that gives it, for a counting camera exactly so; pairs whose dose
        lies outside `DOSES` are left out.

    Raises
    ------
    DatasetError
        If the dataset has no limits.

    Examples
    --------
    >>> from ceria_data.dataset import open_dataset
    >>> rows = limits_rows(open_dataset("ceria-columns-mini", "test"), 5)
    >>> len(rows), rows["d_prime"].between(1, 2).all().item()
    (30, True)
    """
    file = dataset.folder / f"{LIMITS.name}.parquet"
    if not file.is_file():
        raise DatasetError(
            f"{dataset.folder} has no {file.name}, which the paired test needs; "
            f"make it with `ceria-data limits`"
        )
    rows = read_table(file, LIMITS)
    rows = rows[rows["sample"].isin(dataset.samples["sample"])]
    # A sequence that fills an interval evenly, whatever part of it is taken.
    low, high = DETECTABILITY
    d_prime = low + (high - low) * ((rows["pair"] * _GOLDEN_RATIO) % 1)
    dose = d_prime**2 / rows["d2_per_e_per_A2"].where(rows["d2_per_e_per_A2"] > 0)
    rows = rows.assign(d_prime=d_prime, dose_e_per_A2=dose)[dose.between(*DOSES)]
    if n is not None:
        parts = [part for _, part in rows.groupby(["species", "case"])]
        chosen = [p.iloc[np.unique(np.linspace(0, len(p) - 1, n).astype(int))] for p in parts]
        # A split without limits has no parts.
        rows = pd.concat([rows.iloc[:0], *chosen]).sort_values("pair")
    return rows.reset_index(drop=True)


def image_pairs(dataset: Dataset, rows: pd.DataFrame) -> Iterator[ImagePair]:
    """Make both images of pairs, and record them.

    Parameters
    ----------
    dataset : Dataset
    rows : DataFrame
        As from `limits_rows`.

    Yields
    ------
    ImagePair

    Raises
    ------
    DatasetError
        If an image or a difference cannot be read.

    Examples
    --------
    >>> from ceria_data.dataset import open_dataset
    >>> test = open_dataset("ceria-columns-mini", "test")
    >>> pair = next(image_pairs(test, limits_rows(test, 1)))
    >>> pair.complete.shape == pair.lacking.shape == pair.recorded[0].shape
    True
    """
    read = _differences(dataset)
    position = pd.Series(range(len(dataset)), index=dataset.samples["sample"])
    for facts in rows.to_dict("records"):
        sample = dataset[int(position[facts["sample"]])]
        columns = sample.columns
        column = columns[columns["site_id"] == facts["site_id"]].iloc[0]
        complete = sample.intensity.astype(np.float64)
        change = read(int(facts["pair"]))
        lacking = _changed(complete, change, int(facts["first_y"]), int(facts["first_x"]))
        yield ImagePair(
            {str(key): value for key, value in facts.items()}
            | {"particle": sample.parameters["particle"]},
            (float(column["x_A"]), float(column["y_A"])),
            complete,
            lacking,
            _recorded(sample, complete, lacking, facts["dose_e_per_A2"], int(facts["pair"])),
        )


def run_pairs(
    dataset: Dataset,
    rows: pd.DataFrame,
    score: Score,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """Let a program say which image of each pair lacks the atom.

    Parameters
    ----------
    dataset : Dataset
    rows : DataFrame
        As from `limits_rows`.
    score : callable
        Lower where an atom is missing; for a net the mean count at the column.
    on_progress : callable
        Told pairs done and in all.

    Returns
    -------
    DataFrame
        `rows` with ``particle`` and ``right``: 1, 0, or 0.5 where both score the same.

    Examples
    --------
    >>> from ceria_data.dataset import open_dataset
    >>> test = open_dataset("ceria-columns-mini", "test")
    >>> answers = run_pairs(test, limits_rows(test, 1), lambda *image: 0.0)
    >>> set(answers["right"])
    {0.5}
    """
    sampling = dataset.field.sampling
    particles, right = [], []
    for done, pair in enumerate(image_pairs(dataset, rows), start=1):
        species = str(pair.facts["species"])
        with_it, without = (score(image, sampling, pair.place, species) for image in pair.recorded)
        particles.append(pair.facts["particle"])
        right.append(0.5 if with_it == without else float(with_it > without))
        on_progress(done, len(rows))
    return rows.assign(particle=np.array(particles), right=right)


def mean_count_score(count_columns: Callable[[Floats, float], pd.DataFrame]) -> Score:
    """Make the score of a program that counts columns: its mean count at the place.

    Parameters
    ----------
    count_columns : callable
        From electrons (y, x) and sampling to a table of columns.

    Returns
    -------
    callable
        Σ n p_n of the nearest column of the species within `REACH`; its occupancy where the
        table has no probabilities, 0 where there is no such column.

    Examples
    --------
    >>> table = pd.DataFrame({"species": ["O"], "x_A": [1.0], "y_A": [2.0], "occupancy": [3]})
    >>> score = mean_count_score(lambda counts, sampling: table)
    >>> image = np.ones((4, 4))
    >>> score(image, 0.2, (1.1, 2.0), "O"), score(image, 0.2, (1.1, 2.0), "Ce")
    (3.0, 0.0)
    """

    def score(counts: Floats, sampling: float, place: tuple[float, float], species: str) -> float:
        found = count_columns(counts, sampling)
        found = found[(found["species"] == species).to_numpy()]
        distance = np.hypot(*(found[["x_A", "y_A"]].to_numpy(float) - place).T)
        if not len(found) or distance.min() > REACH:
            return 0.0
        nearest = found.iloc[int(distance.argmin())]
        classes = [str(name) for name in found if str(name).startswith("p_")]
        if not classes:
            return float(nearest["occupancy"])
        return float(sum(int(name.removeprefix("p_")) * nearest[name] for name in classes))

    return score


def fit_efficiency(d_prime: Floats, right: Floats, weights: Floats | None = None) -> Floats:
    """Fit the efficiency η of ``p = Φ(√η d'/√2)`` by maximum likelihood.

    With s = √η, negative for an observer worse than chance, the logarithm of the likelihood
    is concave in s, and where its slope vanishes is found by bisection.

    Parameters
    ----------
    d_prime : array of float64, shape (pair,)
        Of the ideal observer.
    right : array of float64, shape (pair,)
        1 named rightly, 0 wrongly, 0.5 a tie.
    weights : array of float64, shape (draw, pair), optional
        How often each pair counts; by default once.

    Returns
    -------
    array of float64, shape (draw,)
        η with the sign of s; -16 to 16.

    References
    ----------
    .. [1] Barlow, Vision Res. 18, 637 (1978): efficiency as the squared ratio of d'.
    .. [2] Green and Swets, Signal Detection Theory (1966): Φ(d'/√2) of two alternatives.

    Examples
    --------
    76 % are right where the ideal observer has Φ(1.414 / 1.414) = 84 %:

    >>> right = np.repeat([1.0, 0.0], [76, 24])
    >>> fit_efficiency(np.full(100, 2**0.5), right).round(2)
    array([0.5])
    """
    x = d_prime / np.sqrt(2)
    weights = np.ones((1, len(x))) if weights is None else weights
    low = np.full(len(weights), -_LARGEST)
    high = -low
    for _ in range(_STEPS):
        s = 0.5 * (low + high)
        at = s[:, None] * x
        # φ/Φ from logarithms, which do not underflow far out.
        density = -0.5 * at**2 - 0.5 * np.log(2 * np.pi)
        up = right * np.exp(density - log_ndtr(at))
        down = (1 - right) * np.exp(density - log_ndtr(-at))
        slope = (weights * x * (up - down)).sum(axis=1)
        low, high = np.where(slope > 0, s, low), np.where(slope > 0, high, s)
    s = 0.5 * (low + high)
    found: Floats = s * np.abs(s)
    return found


def efficiencies(answers: pd.DataFrame, *, draws: int = _DRAWS, seed: int = 0) -> list[Efficiency]:
    """Fit the efficiency of each species and case, with intervals over particles.

    Parameters
    ----------
    answers : DataFrame
        As from `run_pairs`.
    draws, seed : int
        Of the bootstrap.

    Returns
    -------
    list of Efficiency

    Examples
    --------
    >>> answers = pd.DataFrame({"species": "O", "case": "end", "particle": range(100),
    ...     "d_prime": 2**0.5, "right": [1.0] * 76 + [0.0] * 24})
    >>> one = efficiencies(answers)[0]
    >>> round(one.efficiency, 2), round(one.best, 2), one.low < 0.5 < one.high
    (0.5, 0.84, True)
    """
    found = []
    for (species, case), own in answers.groupby(["species", "case"]):
        d_prime, right = own["d_prime"].to_numpy(float), own["right"].to_numpy(float)
        group, names = pd.factorize(own["particle"])
        low = high = None
        if len(names) > 1 and draws:
            many = fit_efficiency(d_prime, right, resampled(len(names), draws, seed)[:, group])
            low, high = (float(value) for value in np.percentile(many, (2.5, 97.5)))
        found.append(
            Efficiency(
                str(species),
                str(case),
                float(fit_efficiency(d_prime, right)[0]),
                low,
                high,
                len(own),
                float(right.mean()),
                float(np.exp(log_ndtr(d_prime / np.sqrt(2))).mean()),
            )
        )
    return found


def _differences(dataset: Dataset) -> Callable[[int], Floats]:
    """Open the stored differences; what cannot be read is damage, whatever the codec says."""
    folder = dataset.folder / f"{LIMITS.name}.zarr"

    def damaged(error: Exception) -> DatasetError:
        return DatasetError(
            f"{folder}: the differences cannot be read ({error}); "
            f"run `ceria-data verify {dataset.folder}`"
        )

    try:
        stored: Any = zarr.open_group(folder, mode="r")["difference"]
    except (OSError, KeyError, ValueError) as error:
        raise damaged(error) from error

    def read(pair: int) -> Floats:
        try:
            return np.asarray(stored[pair], dtype=np.float64)
        except Exception as error:  # codecs raise many types for damaged bytes
            raise damaged(error) from error

    return read


def _changed(image: Floats, change: Floats, first_y: int, first_x: int) -> Floats:
    """Add a patch to a copy of an image; what lies outside is cut off."""
    ny, nx = change.shape
    y0, x0 = max(first_y, 0), max(first_x, 0)
    y1, x1 = min(first_y + ny, image.shape[0]), min(first_x + nx, image.shape[1])
    changed = image.copy()
    changed[y0:y1, x0:x1] += change[y0 - first_y : y1 - first_y, x0 - first_x : x1 - first_x]
    # Intensity and change are rounded apart from each other.
    return np.maximum(changed, 0.0)


def _recorded(
    sample: Sample, complete: Floats, lacking: Floats, dose: float, pair: int
) -> tuple[Floats, Floats]:
    camera = camera_from_row(sample.parameters)
    seeds = sample_rng(pair, int(sample.parameters["number"]), "evaluation").integers(2**63, size=2)
    first, second = (
        record(image, dose, sample.dataset.field.sampling, camera, int(seed))
        for image, seed in zip((complete, lacking), seeds, strict=True)
    )
    scaled = np.subtract([first, second], camera.offset, dtype=np.float64) / camera.gain
    return scaled[0], scaled[1]
