"""The classical baseline: blobs, Gaussian fits, and a regression of counts on intensity.

What a microscopist without a net would do with the libraries at hand. Everything is fitted once
on the training split, for all doses and defocus values together, so that it needs to know no
more about an image than a net does.

1. Smooth, divide by the mean, and see by the skewness whether atoms are bright or dark.
2. `skimage.feature.blob_log` finds blobs; the threshold grows with the noise that the mean
   number of electrons implies.
3. A round 2D Gaussian on a flat background is fitted to the pixels around each.
4. Ce and O are told apart by a logistic regression on what the fits say: how strong a blob is,
   in itself, beside its neighbours and beside the whole image, and how far they are. Ce scatters
   more, and an O column stands 1.35 Å beside it; the lattice is not used beyond that.
5. The count is a quadratic regression on the same values, integrated intensity first, rounded.
   The spread of its residuals, which depends on the dose, gives the probabilities. The values of
   the whole image stand for the defocus, which nobody tells.

It knows no depth.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.optimize import least_squares
from scipy.spatial import cKDTree
from scipy.special import ndtr
from skimage.feature import blob_log

from ceria_data.dataset import Dataset
from ceria_data.schema import SPECIES
from ceria_models.contrast import apparent_dose
from ceria_models.matching import match_columns
from ceria_models.prior import fit_multinomial
from ceria_models.recording import record_at
from ceria_models.strata import DOSES, choose_rows

Floats = NDArray[np.float64]

SMOOTHING = 0.35
"""Width (sigma) of the Gaussian that tames the noise before blobs are sought [Å]."""
BLOB = 0.45
"""Width (sigma) of the blobs sought [Å]: an atomic column of these images."""
WINDOW = 0.7
"""Pixels within this distance of a blob are fitted [Å]; Ce-O is 1.353 Å."""

_NEIGHBOURHOOD = 4.0
"""Within this distance the strongest blob is the standard [Å]; Ce-Ce is 3.3 Å."""
_THRESHOLDS = (0.02, 0.05, 0.1)
_NOISES = (2.0, 3.0, 4.0, 5.5)
"""Thresholds tried: a contrast, and a number of standard deviations of the noise."""
_MOST = 2000
"""Blobs of one image at most: a lower threshold than the noise would fit every speck."""
_RIDGE = 1e-5
_ASKED = 16
_VALUES = 13
"""Of a blob: nine of itself and its neighbours, four of the image."""


@dataclass(frozen=True)
class Baseline:
    """The fitted baseline; call it with electrons (y, x) and sampling [Å/pixel].

    Attributes
    ----------
    threshold, noise : float
        A blob must exceed `threshold` in contrast, and `noise` standard deviations.
    species : array of float64, shape (feature + 1, 2)
        Logits of Ce and O.
    count : dict of str to array of float64, shape (feature + 1,)
        By species.
    spread : dict of str to array of float64, shape (dose,)
        Standard deviation of the residuals at `doses`, by species.
    doses : tuple of float
        e-/Å².
    max_count : int
    """

    threshold: float
    noise: float
    species: Floats
    count: dict[str, Floats]
    spread: dict[str, Floats]
    doses: tuple[float, ...]
    max_count: int

    def __call__(self, counts: Floats, sampling: float) -> pd.DataFrame:
        """Count the atoms of the columns in an image.

        Parameters
        ----------
        counts : array of float, shape (y, x)
            Electrons, or any linear scale.
        sampling : float
            Å/pixel.

        Returns
        -------
        DataFrame
            species, x_A, y_A, occupancy, confidence, p_0 to p_K; p_0 is 0.
        """
        blobs = fit_blobs(counts, sampling, self.threshold, self.noise)
        described = _described(blobs)
        blobs = blobs.iloc[: len(described)]
        logits = _with_one(described) @ self.species
        species = np.array(SPECIES)[logits.argmax(axis=1)]
        dose = float(np.log(apparent_dose(counts, sampling)))
        p = np.zeros((len(blobs), self.max_count + 1))
        for name in SPECIES:
            own = species == name
            mean = _with_one(described[own]) @ self.count[name]
            width = float(np.interp(dose, np.log(self.doses), self.spread[name]))
            # Rounding cells of the counts; the first and the last reach to infinity.
            edges = np.arange(1.5, self.max_count)
            below = ndtr((edges - mean[:, None]) / width)
            low, high = np.zeros((len(mean), 1)), np.ones((len(mean), 1))
            p[own, 1:] = np.diff(np.concatenate([low, below, high], axis=1), axis=1)
        occupancy = p.argmax(axis=1)
        facts = {
            "species": species,
            "x_A": blobs["x_A"],
            "y_A": blobs["y_A"],
            "occupancy": occupancy,
            "confidence": p.max(axis=1),
        }
        classes = {f"p_{n}": p[:, n] for n in range(p.shape[1])}
        table = pd.DataFrame(facts | classes)
        return table.astype({"species": "str", "occupancy": "int64"}).reset_index(drop=True)


def fit_baseline(
    dataset: Dataset,
    *,
    images: int = 60,
    doses: Sequence[float] = DOSES,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Baseline:
    """Fit thresholds and regressions on the training split.

    The thresholds are those with the best F1 of Ce and O together on a fifth of the images.

    Parameters
    ----------
    dataset : Dataset
        The training split.
    images : int
        Images to use, evenly over structures; each is recorded at every dose.
    doses : sequence of float
        e-/Å², ascending.
    on_progress : callable
        Told images done and in all.

    Returns
    -------
    Baseline
    """
    max_count = int(dataset.manifest["max_count"])
    rows = choose_rows(dataset, images)
    threshold, noise = _best_thresholds(dataset, rows[::5], doses)
    parts = []
    for done, row in enumerate(rows, start=1):
        sample = dataset[int(row)]
        for dose in doses:
            counts = record_at(sample, dose)
            blobs = fit_blobs(counts, dataset.field.sampling, threshold, noise)
            described = pd.DataFrame(_described(blobs))
            blobs = blobs.iloc[: len(described)]
            for name in SPECIES:
                # Matched as if all were of this species: what a blob is, its place tells.
                said = blobs[["x_A", "y_A"]].assign(species=name, occupancy=1)
                matches = match_columns(sample.columns, said, dataset.field, max_count)
                hit = matches[
                    (matches["species"] == name)
                    & (matches["true_count"] > 0)
                    & (matches["count"] > 0)
                    & ~matches["border"]
                ]
                own = described.iloc[hit["found_row"]].reset_index(drop=True)
                own = own.assign(species=name, count=hit["true_count"].to_numpy(), dose=dose)
                parts.append(own)
        on_progress(done, len(rows))
    return _regressed(pd.concat(parts, ignore_index=True), threshold, noise, doses, max_count)


def _regressed(
    cases: pd.DataFrame, threshold: float, noise: float, doses: Sequence[float], max_count: int
) -> Baseline:
    """Fit species and counts to blobs that belong to columns."""
    facts = ["species", "count", "dose"]
    features = cases.drop(columns=facts).to_numpy(dtype=float)
    is_oxygen = (cases["species"] == SPECIES[1]).to_numpy().astype(np.int64)
    count, spread = {}, {}
    for name in SPECIES:
        own = (cases["species"] == name).to_numpy()
        x = _with_one(features[own])
        y = cases["count"].to_numpy(dtype=float)[own]
        scale = np.sqrt((x**2).mean(axis=0)) + 1e-12
        z = x / scale
        solved = np.linalg.solve(z.T @ z + _RIDGE * len(z) * np.eye(z.shape[1]), z.T @ y)
        count[name] = solved / scale
        error = y - x @ count[name]
        at = cases["dose"].to_numpy(dtype=float)[own]
        spread[name] = np.array(
            [np.sqrt(np.square(error[at == d]).mean()) if (at == d).any() else 1.0 for d in doses]
        )
    return Baseline(
        threshold,
        noise,
        fit_multinomial(features, is_oxygen, len(SPECIES)),
        count,
        spread,
        tuple(float(dose) for dose in doses),
        max_count,
    )


def fit_blobs(counts: Floats, sampling: float, threshold: float, noise: float) -> pd.DataFrame:
    """Find blobs and fit a Gaussian to each.

    Parameters
    ----------
    counts : array of float, shape (y, x)
        Electrons, or any linear scale.
    sampling : float
        Å/pixel.
    threshold : float
        Smallest response of the Laplacian of a Gaussian, in contrast (mean of the image = 1).
    noise : float
        The same in standard deviations of the response to the noise.

    Returns
    -------
    DataFrame
        x_A, y_A, height, sigma_A, background (contrast; negative height = dark) and the
        integrated intensity 2π σ² height [Å²].

    Examples
    --------
    >>> y, x = 0.2 * np.mgrid[:40, :40]
    >>> image = 100 * (1 + np.exp(-((x - 4.1) ** 2 + (y - 3.9) ** 2) / (2 * 0.45**2)))
    >>> fit_blobs(image, 0.2, 0.1, 0.0)[["x_A", "y_A", "sigma_A"]].round(2).values.tolist()
    [[4.1, 3.9, 0.45]]
    """
    contrast, sign, found = _blobs(counts, sampling, threshold, noise)
    rows = [_gaussian(contrast, y, x, sampling, sign) for y, x in found[:_MOST]]
    names = ["x_A", "y_A", "height", "sigma_A", "background"]
    table = pd.DataFrame(np.array(rows, dtype=float).reshape(-1, 5), columns=names)
    return table.assign(integral=2 * np.pi * table["sigma_A"] ** 2 * table["height"])


def _blobs(
    counts: Floats, sampling: float, threshold: float, noise: float
) -> tuple[Floats, float, Floats]:
    """Find blobs: the contrast, 1 for bright atoms or -1, and places (blob, (y, x)) in pixels."""
    contrast: Floats = counts / counts.mean() - 1
    smooth = gaussian_filter(contrast, SMOOTHING / sampling, mode="nearest")
    sign = 1.0 if ((smooth - smooth.mean()) ** 3).mean() >= 0 else -1.0
    sigma = BLOB / sampling
    # White noise of variance v, smoothed by s: the response σ² ∇² G has variance
    # v σ⁴ / (2π (σ² + s²)³), from the integral of k⁴ exp(-k² (σ² + s²)) / (2π).
    total = sigma**2 + (SMOOTHING / sampling) ** 2
    electrons = max(apparent_dose(counts, sampling) * sampling**2, 1e-9)
    deviation = np.sqrt(sigma**4 / (2 * np.pi * total**3) / electrons)
    found: Floats = blob_log(  # type: ignore[no-untyped-call]
        sign * smooth,
        min_sigma=sigma,
        max_sigma=sigma,
        num_sigma=1,
        threshold=max(threshold, noise * deviation),
        overlap=0.7,
    )
    return contrast, sign, found[:, :2]


def _gaussian(contrast: Floats, y: float, x: float, sampling: float, sign: float) -> Floats:
    """Fit x, y, height, width and background to the pixels around a blob."""
    reach = int(np.ceil(WINDOW / sampling))
    rows = np.arange(max(int(y) - reach, 0), min(int(y) + reach + 1, contrast.shape[0]))
    columns = np.arange(max(int(x) - reach, 0), min(int(x) + reach + 1, contrast.shape[1]))
    dy, dx = np.meshgrid((rows - y) * sampling, (columns - x) * sampling, indexing="ij")
    near = np.hypot(dy, dx) <= WINDOW
    dy, dx = dy[near], dx[near]
    values = sign * contrast[rows[:, None], columns][near]

    def model(p: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        ox, oy = dx - p[0], dy - p[1]
        shape = np.exp(-(ox**2 + oy**2) / (2 * p[3] ** 2))
        return ox, oy, shape, p[2] * shape + p[4]

    def error(p: Floats) -> Floats:
        return model(p)[3] - values

    def slope(p: Floats) -> Floats:
        ox, oy, shape, _ = model(p)
        high = p[2] * shape / p[3] ** 2
        return np.stack(
            [high * ox, high * oy, shape, high * (ox**2 + oy**2) / p[3], np.ones(len(ox))], axis=1
        )

    low = float(np.percentile(values, 20))
    start = np.array([0.0, 0.0, max(float(values.max()) - low, 1e-3), BLOB, low])
    bounds = ([-0.3, -0.3, 0.0, 0.2, -5.0], [0.3, 0.3, 50.0, 0.9, 50.0])
    start = np.clip(start, np.array(bounds[0]) + 1e-6, np.array(bounds[1]) - 1e-6)
    p = least_squares(error, start, slope, bounds, max_nfev=12, ftol=1e-3, xtol=1e-3).x
    return np.array([x * sampling + p[0], y * sampling + p[1], sign * p[2], p[3], sign * p[4]])


def _described(blobs: pd.DataFrame) -> Floats:
    """Describe every blob, in itself and beside the others: (blob, term), all products of two."""
    strength = np.abs(blobs["integral"].to_numpy(dtype=float))
    places = blobs[["x_A", "y_A"]].to_numpy(dtype=float)
    n = len(places)
    if n < 2:
        return np.zeros((0, len(_products(np.ones((1, _VALUES)))[0])))
    distance, index = cKDTree(places).query(places, k=min(_ASKED, n))
    near = distance <= _NEIGHBOURHOOD
    others = np.where(near, strength[index], 0.0)
    stronger = np.where(others > strength[:, None], distance, _NEIGHBOURHOOD).min(axis=1)
    own = np.stack(
        [
            strength,
            np.abs(blobs["height"].to_numpy(dtype=float)),
            blobs["sigma_A"].to_numpy(dtype=float),
            blobs["background"].to_numpy(dtype=float),
            strength / np.maximum(others.max(axis=1), 1e-9),
            others.max(axis=1),
            others.sum(axis=1) / np.maximum(near.sum(axis=1), 1),
            np.minimum(stronger, _NEIGHBOURHOOD),
            np.minimum(distance[:, 1], _NEIGHBOURHOOD),
        ],
        axis=1,
    )
    image = np.concatenate(
        [np.quantile(strength, (0.25, 0.75)), blobs[["background", "sigma_A"]].median().to_numpy()]
    )
    return _products(np.concatenate([own, np.broadcast_to(image, (n, len(image)))], axis=1))


def _products(values: Floats) -> Floats:
    first, second = np.triu_indices(values.shape[1])
    return np.concatenate([values, values[:, first] * values[:, second]], axis=1)


def _with_one(features: Floats) -> Floats:
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)


def _best_thresholds(
    dataset: Dataset, rows: NDArray[np.int64], doses: Sequence[float]
) -> tuple[float, float]:
    """Choose thresholds by the F1 of detection, species aside."""
    score: dict[tuple[float, float], NDArray[np.int64]] = {}
    sampling = dataset.field.sampling
    for row in rows:
        sample = dataset[int(row)]
        truth = sample.columns
        truth = truth[truth["in_field"] & (truth["occupancy"] > 0)]
        there = cKDTree(truth[["x_A", "y_A"]].to_numpy(dtype=float))
        for dose in doses:
            counts = record_at(sample, dose)
            for threshold in _THRESHOLDS:
                for noise in _NOISES:
                    _, _, found = _blobs(counts, sampling, threshold, noise)
                    places = sampling * found[:, ::-1]
                    distance, _ = there.query(places, distance_upper_bound=0.5)
                    hits = int(np.isfinite(distance).sum())
                    sums = np.array([2 * hits, len(places) + len(truth)])
                    key = (threshold, noise)
                    score[key] = score.get(key, np.zeros(2, dtype=np.int64)) + sums
    return max(score, key=lambda key: score[key][0] / max(score[key][1], 1))
