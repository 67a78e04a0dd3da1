"""The paired test: which of two noisy images lacks one atom, measured against the best possible.

`ceria_data.limits` stored for many columns by how much the image changes when one atom is
missing, and the ideal observer's d' per dose. Each pair is recorded here with a d' of 1 to 2,
where guessing and certainty are both far, or all of them at one dose, from which d' follows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray

from ceria_data.dataset import Dataset, Sample
from ceria_data.errors import DatasetError
from ceria_data.observer import detectability
from ceria_data.randomness import sample_rng
from ceria_data.schema import LIMITS
from ceria_data.store import read_table
from ceria_models.matching import REACH
from ceria_models.recording import OWN, Recording

Floats = NDArray[np.float64]
Score = Callable[[Floats, float, tuple[float, float], str], float]
"""From electrons (y, x), sampling [Å/pixel], the place (x, y) [Å] and the species to a number
that is lower the more surely an atom is missing there."""

DETECTABILITY = (1.0, 2.0)
"""Range of d' that the dose of a pair is chosen for."""
DOSES = (10.0, 10_000.0)
"""Pairs that need another dose [e-/Å²] are left out: no benchmark image has it."""

_GOLDEN_RATIO = (5**0.5 - 1) / 2
_MILLI = 1000
_SHIFT = 32
"""Bits for the number of a pair in the key of its noise; the stream is above them."""


@dataclass(frozen=True)
class ImagePair:
    """Two noise-free images that differ by one atom.

    Attributes
    ----------
    facts : dict
        Row of `limits.parquet`, with ``particle``, ``dose_e_per_A2`` and ``d_prime``.
    place : tuple of float
        Middle of the column (x, y) in the recorded images [Å].
    complete, lacking : array of float64, shape (y, x)
        Intensity with and without the atom, on the pixels that record it; 1 = vacuum.
    recorded : tuple of array of float64
        Electrons of both, complete first; the noise of the two is independent.
    """

    facts: dict[str, object]
    place: tuple[float, float]
    complete: Floats
    lacking: Floats
    recorded: tuple[Floats, Floats]


def limits_rows(dataset: Dataset, n: int | None = None, dose: float | None = None) -> pd.DataFrame:
    """Choose pairs of a split and their doses.

    Parameters
    ----------
    dataset : Dataset
        A split of a dataset with limits.
    n : int, optional
        Pairs of each species and case, evenly over the table; all if None.
    dose : float, optional
        Of every pair [e-/Å²]; by default it is chosen for each.

    Returns
    -------
    DataFrame
        Rows of `limits.parquet` with ``d_prime`` and ``dose_e_per_A2``, which belong together
        for a counting camera on the dataset's pixels. Without `dose`, d' lies evenly over
        `DETECTABILITY`, and pairs whose dose lies outside `DOSES` are left out; with it all
        pairs are there. ``stream`` keeps the noise of a pair at one dose apart from that at
        another.

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

    d' grows with the root of the dose:

    >>> some, more = (limits_rows(open_dataset("ceria-columns-mini", "test"), 5, dose)
    ...               for dose in (750.0, 3000.0))
    >>> np.allclose(more["d_prime"], 2 * some["d_prime"])
    True
    """
    file = dataset.folder / f"{LIMITS.name}.parquet"
    if not file.is_file():
        raise DatasetError(
            f"{dataset.folder} has no {file.name}, which the paired test needs; "
            f"make it with `ceria-data limits`"
        )
    rows = read_table(file, LIMITS)
    rows = rows[rows["sample"].isin(dataset.samples["sample"])]
    rows = rows[rows["d2_per_e_per_A2"] > 0]
    if dose is None:
        # A sequence that fills an interval evenly, whatever part of it is taken.
        low, high = DETECTABILITY
        d_prime = low + (high - low) * ((rows["pair"] * _GOLDEN_RATIO) % 1)
        doses = d_prime**2 / rows["d2_per_e_per_A2"]
        rows = rows.assign(d_prime=d_prime, dose_e_per_A2=doses, stream=0)[doses.between(*DOSES)]
    else:
        d_prime = np.sqrt(dose * rows["d2_per_e_per_A2"])
        stream = round(dose * _MILLI)
        rows = rows.assign(d_prime=d_prime, dose_e_per_A2=float(dose), stream=stream)
    if n is not None:
        parts = [part for _, part in rows.groupby(["species", "case"])]
        chosen = [p.iloc[np.unique(np.linspace(0, len(p) - 1, n).astype(int))] for p in parts]
        # A split without limits has no parts.
        rows = pd.concat([rows.iloc[:0], *chosen]).sort_values("pair")
    return rows.reset_index(drop=True)


def image_pairs(
    dataset: Dataset, rows: pd.DataFrame, recording: Recording = OWN
) -> Iterator[ImagePair]:
    """Make both images of pairs, and record them.

    Parameters
    ----------
    dataset : Dataset
    rows : DataFrame
        As from `limits_rows`.
    recording : Recording
        The dose of a pair stays, and d' is that of its pixels and camera.

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
    field, view = dataset.field, recording.view(dataset.field)
    position = pd.Series(range(len(dataset)), index=dataset.samples["sample"])
    for facts in rows.to_dict("records"):
        sample = dataset[int(position[facts["sample"]])]
        columns = sample.columns
        column = columns[columns["site_id"] == facts["site_id"]].iloc[0]
        complete = sample.intensity.astype(np.float64)
        change = read(int(facts["pair"]))
        lacking = _changed(complete, change, int(facts["first_y"]), int(facts["first_x"]))
        complete, lacking = (
            np.asarray(recording.on_pixels(image, field), dtype=np.float64)
            for image in (complete, lacking)
        )
        dose, camera = float(facts["dose_e_per_A2"]), recording.camera_of(sample)
        own = {str(key): value for key, value in facts.items()}
        own["particle"] = sample.parameters["particle"]
        if view.field != field or camera.kind != "counting":
            d2 = detectability(complete, lacking, dose, view.field.sampling, camera)
            own["d_prime"] = float(np.sqrt(d2))
        yield ImagePair(
            own,
            (float(column["x_A"]) - view.origin[1], float(column["y_A"]) - view.origin[0]),
            complete,
            lacking,
            _recorded(recording, sample, complete, lacking, own),
        )


def run_pairs(
    dataset: Dataset,
    rows: pd.DataFrame,
    score: Score,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    recording: Recording = OWN,
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
    recording : Recording
        What records the images.

    Returns
    -------
    DataFrame
        `rows` with ``particle``, ``d_prime`` of the recording, and ``right``: 1, 0, or 0.5
        where both score the same.

    Examples
    --------
    >>> from ceria_data.dataset import open_dataset
    >>> test = open_dataset("ceria-columns-mini", "test")
    >>> answers = run_pairs(test, limits_rows(test, 1), lambda *image: 0.0)
    >>> set(answers["right"])
    {0.5}
    """
    sampling = recording.view(dataset.field).field.sampling
    particles, d_prime, right = [], [], []
    for done, pair in enumerate(image_pairs(dataset, rows, recording), start=1):
        species = str(pair.facts["species"])
        with_it, without = (score(image, sampling, pair.place, species) for image in pair.recorded)
        particles.append(pair.facts["particle"])
        d_prime.append(pair.facts["d_prime"])
        right.append(0.5 if with_it == without else float(with_it > without))
        on_progress(done, len(rows))
    return rows.assign(particle=np.array(particles), d_prime=np.array(d_prime), right=right)


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
    recording: Recording,
    sample: Sample,
    complete: Floats,
    lacking: Floats,
    facts: dict[str, Any],
) -> tuple[Floats, Floats]:
    """Record both images with noise that no other pair, image or fixed dose has."""
    key = (int(facts["stream"]) << _SHIFT) + int(facts["pair"])
    seeds = sample_rng(key, int(sample.parameters["number"]), "evaluation").integers(2**63, size=2)
    first, second = (
        recording.expose(image, sample, float(facts["dose_e_per_A2"]), int(seed))
        for image, seed in zip((complete, lacking), seeds, strict=True)
    )
    return first, second
