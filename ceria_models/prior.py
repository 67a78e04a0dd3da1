"""The prior alone: the count of a column from those of its neighbours, without its pixels."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy.optimize import minimize
from scipy.spatial import cKDTree
from scipy.special import log_softmax

from ceria_data.dataset import Dataset
from ceria_data.schema import SPECIES
from ceria_models.errors import NotAModelError

Floats = NDArray[np.float64]

NEIGHBOURS = 8
"""Nearest columns that are asked."""
SHELLS = (0.0, 1.65, 2.1, 2.55, 3.0, 3.9)
"""Edges of the shells of neighbours [Å], between the distances of CeO2 along [110]: 1.35 Å
(Ce-O), 1.91 (O-O), 2.34 (Ce-O), 2.71 (O-O) and 3.31 (Ce-Ce and O-O)."""

_TIE = 0.3
"""As near as the eighth within this [Å]: a Ce column has four Ce neighbours at one distance,
of which chance would choose."""
_PENALTY = 1e-6
_ITERATIONS = 400
_FORMAT = "ceria-prior"


@dataclass(frozen=True)
class Prior:
    """P(count | counts of the other columns), one multinomial regression per species.

    Attributes
    ----------
    weights : dict of str to array of float64, shape (feature + 1, class)
        By species, for `neighbour_features` and 1; class n - 1 stands for n atoms.
    """

    weights: dict[str, Floats]

    @property
    def max_count(self) -> int:
        """Highest count."""
        return int(next(iter(self.weights.values())).shape[1])

    def probabilities(self, columns: pd.DataFrame) -> Floats:
        """Predict the count of every column from the others of one image.

        Parameters
        ----------
        columns : DataFrame
            species, x_A, y_A, occupancy: true ones or what a program found.

        Returns
        -------
        array of float64, shape (column, count)
            0 to `max_count`; 0 has no probability.
        """
        features = neighbour_features(columns)
        species = columns["species"].to_numpy()
        p = np.zeros((len(columns), self.max_count + 1))
        for name, weights in self.weights.items():
            own = species == name
            p[own, 1:] = np.exp(log_softmax(_with_one(features[own]) @ weights, axis=1))
        return p

    def save(self, file: Path) -> None:
        """Write it as safetensors."""
        save_file(
            {name: np.ascontiguousarray(w) for name, w in self.weights.items()},
            file,
            metadata={"format": _FORMAT, "shells": json.dumps(SHELLS)},
        )


def load_prior(file: Path) -> Prior:
    """Read a prior that `Prior.save` wrote.

    Parameters
    ----------
    file : Path

    Returns
    -------
    Prior

    Raises
    ------
    NotAModelError
        If the file is none, or was fitted to other features.

    Examples
    --------
    >>> import tempfile
    >>> flat = Prior({name: np.zeros((n_features() + 1, 14)) for name in SPECIES})
    >>> file = Path(tempfile.mkdtemp()) / "prior.safetensors"
    >>> flat.save(file)
    >>> load_prior(file).max_count
    14
    """
    try:
        with safe_open(file, framework="numpy") as content:
            facts = content.metadata() or {}
            weights = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise NotAModelError(f"{file} cannot be read as a prior: {error}") from error
    shapes = {w.shape for w in weights.values()}
    if (
        facts.get("format") != _FORMAT
        or facts.get("shells") != json.dumps(SHELLS)
        or set(weights) != set(SPECIES)
        or len(shapes) != 1
        or next(iter(shapes))[0] != n_features() + 1
    ):
        raise NotAModelError(
            f"{file} is no prior of this version (found {', '.join(weights) or 'nothing'}, "
            f"{facts}); delete it and fit it anew"
        )
    return Prior({name: w.astype(np.float64) for name, w in weights.items()})


def fit_prior(
    dataset: Dataset,
    *,
    n_columns: int = 100_000,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Prior:
    """Fit the regressions on the true counts of a split.

    Structures are taken in random order until there are enough columns. Only columns in the
    image count, as themselves and as neighbours: no program sees others.

    Parameters
    ----------
    dataset : Dataset
        The training split.
    n_columns : int
        Columns of each species to fit on, at most.
    seed : int
        Of the order.
    on_progress : callable
        Told columns collected and wanted.

    Returns
    -------
    Prior

    References
    ----------
    .. [1] Hastie, Tibshirani and Friedman, The Elements of Statistical Learning (2009),
       ch. 4.4 (multinomial logistic regression).

    Examples
    --------
    >>> from ceria_data.dataset import open_dataset
    >>> train = open_dataset("ceria-columns-mini", "train")
    >>> fit_prior(train, n_columns=200).probabilities(visible(train.columns_of(0))).shape[1]
    15
    """
    max_count = int(dataset.manifest["max_count"])
    structures = np.unique(dataset.samples["structure"].to_numpy())
    order = np.random.default_rng(seed).permutation(structures)
    features: dict[str, list[Floats]] = {name: [] for name in SPECIES}
    counts: dict[str, list[NDArray[np.int64]]] = {name: [] for name in SPECIES}
    collected = dict.fromkeys(SPECIES, 0)
    for structure in order:
        columns = visible(dataset.columns_of(int(structure)))
        described = neighbour_features(columns)
        for name in SPECIES:
            own = (columns["species"] == name).to_numpy()
            features[name].append(described[own])
            counts[name].append(np.minimum(columns["occupancy"].to_numpy()[own], max_count))
            collected[name] += int(own.sum())
        on_progress(min(min(collected.values()), n_columns), n_columns)
        if min(collected.values()) >= n_columns:
            break
    return Prior(
        {
            name: fit_multinomial(
                np.concatenate(features[name])[:n_columns],
                np.concatenate(counts[name])[:n_columns] - 1,
                max_count,
            )
            for name in SPECIES
        }
    )


def visible(columns: pd.DataFrame) -> pd.DataFrame:
    """Keep the columns of a structure that hold an atom and lie in the image."""
    return columns[columns["in_field"] & (columns["occupancy"] > 0)].reset_index(drop=True)


def n_features() -> int:
    """Count the values that describe the neighbours of a column.

    Returns
    -------
    int

    Examples
    --------
    >>> n_features()
    50
    """
    return len(SPECIES) * (len(SHELLS) - 1) * 5


def neighbour_features(columns: pd.DataFrame) -> Floats:
    """Describe the eight nearest columns of every column, and those as near as the eighth.

    By species and shell of distance (`SHELLS`) they give their number, and the mean, the
    smallest, the largest and the mean square of their counts; nought where there is none.
    Nothing else of the geometry enters, so that turned and mirrored images give the same.

    Parameters
    ----------
    columns : DataFrame
        species, x_A, y_A, occupancy; all columns of one image.

    Returns
    -------
    array of float64, shape (column, feature)

    Examples
    --------
    An O column with a Ce neighbour of 5 atoms:

    >>> columns = pd.DataFrame({
    ...     "species": ["O", "Ce"], "x_A": [0.0, 1.35], "y_A": 0.0, "occupancy": [4, 5],
    ... })
    >>> neighbour_features(columns)[0, :5]
    array([ 1.,  5.,  5.,  5., 25.])
    """
    n, shells = len(columns), len(SHELLS) - 1
    features = np.zeros((n, len(SPECIES), shells, 5))
    places = columns[["x_A", "y_A"]].to_numpy(dtype=float)
    if n < 2:
        return features.reshape(n, n_features())
    # Twice as many as asked for, to see all ties of the eighth.
    asked = min(2 * NEIGHBOURS + 1, n)
    distance, index = cKDTree(places).query(places, k=asked, distance_upper_bound=SHELLS[-1])
    itself = index == np.arange(n)[:, None]
    distance[itself] = np.inf
    order = np.argsort(distance, axis=1, kind="stable")
    distance, index = (np.take_along_axis(a, order, axis=1) for a in (distance, index))
    last = distance[:, min(NEIGHBOURS, asked - 1) - 1]
    near = np.isfinite(distance) & (
        distance <= np.where(np.isfinite(last), last, 99)[:, None] + _TIE
    )
    index[~near] = 0
    counts = columns["occupancy"].to_numpy(dtype=float)[index]
    cerium = (columns["species"] == SPECIES[0]).to_numpy()[index]
    shell = np.searchsorted(SHELLS, distance, side="right") - 1
    for s in range(len(SPECIES)):
        of_species = near & (cerium if s == 0 else ~cerium)
        for k in range(shells):
            chosen = of_species & (shell == k)
            number = chosen.sum(axis=1)
            some = np.maximum(number, 1)
            smallest = np.where(chosen, counts, np.inf).min(axis=1)
            features[:, s, k] = np.stack(
                [
                    number,
                    (chosen * counts).sum(axis=1) / some,
                    np.where(number > 0, smallest, 0.0),
                    (chosen * counts).max(axis=1),
                    (chosen * counts**2).sum(axis=1) / some,
                ],
                axis=1,
            )
    return features.reshape(n, n_features())


def fit_multinomial(features: Floats, classes: NDArray[np.int64], n_classes: int) -> Floats:
    """Fit a multinomial logistic regression by maximum likelihood, with L-BFGS.

    Parameters
    ----------
    features : array of float64, shape (case, feature)
    classes : array of int64, shape (case,)
        0 to `n_classes` - 1.
    n_classes : int

    Returns
    -------
    array of float64, shape (feature + 1, class)
        The last row is for the constant.

    Examples
    --------
    The odds of a coin that follows the feature are recovered:

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20000, 1))
    >>> heads = (rng.random(20000) < 1 / (1 + np.exp(-2 * x[:, 0] - 1))).astype(np.int64)
    >>> w = fit_multinomial(x, heads, 2)
    >>> (w[:, 1] - w[:, 0]).round(1)
    array([2., 1.])
    """
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    x = _with_one((features - mean) / scale)
    n, shape = len(x), (x.shape[1], n_classes)
    cases = np.arange(n)

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(shape)
        log = log_softmax(x @ weights, axis=1)
        error = np.exp(log)
        error[cases, classes] -= 1
        value = -log[cases, classes].mean() + _PENALTY * (flat @ flat)
        return float(value), (x.T @ error / n + 2 * _PENALTY * weights).ravel()

    fit: Any = minimize(
        loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B",
        options={"maxiter": _ITERATIONS},
    )  # fmt: skip
    weights = fit.x.reshape(shape)
    # Undo the standardisation, so that the weights apply to the features themselves.
    slopes = weights[:-1] / scale[:, None]
    found: Floats = np.concatenate([slopes, weights[-1:] - mean @ slopes])
    return found


def vacancy_score(prior: Prior, found: pd.DataFrame) -> Floats:
    """Rate how surely a program says that a column has fewer atoms than its sites.

    How many sites a column has is not told to the program. What is expected of the column is
    what the prior makes of its neighbours as the program counted them; the score is the
    probability that the program's count is below that: Σ_n p(n) P(expected > n), where p is
    the program's probability of n atoms given that there is a column. A table without
    probabilities counts as sure of its occupancy.

    Parameters
    ----------
    prior : Prior
    found : DataFrame
        Columns that a program found in one image, with p_1, p_2, … where it knows them.

    Returns
    -------
    array of float64, shape (column,)
        0 to 1.

    Examples
    --------
    Of five atoms where one to fourteen are equally likely, nine larger counts say fewer:

    >>> flat = Prior({name: np.zeros((n_features() + 1, 14)) for name in SPECIES})
    >>> found = pd.DataFrame({"species": ["Ce"], "x_A": [1.0], "y_A": [1.0], "occupancy": [5]})
    >>> bool(np.isclose(vacancy_score(flat, found), 9 / 14).all())
    True
    """
    if not len(found):
        return np.zeros(0)
    expected = prior.probabilities(found)
    k = prior.max_count
    classes = [f"p_{n}" for n in range(1, k + 1)]
    said = np.zeros((len(found), k + 1))
    if all(name in found for name in classes):
        said[:, 1:] = found[classes].to_numpy(dtype=float)
        said /= said.sum(axis=1, keepdims=True)
    else:
        count = np.clip(found["occupancy"].to_numpy(dtype=np.int64), 0, k)
        said[np.arange(len(found)), count] = 1.0
    above = 1 - np.cumsum(expected, axis=1)
    score: Floats = (said * np.clip(above, 0.0, 1.0)).sum(axis=1)
    return score


def _with_one(features: Floats) -> Floats:
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)
