"""The best count: how sure the counted electrons can make the number of atoms in a column."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 200
"""Noisy images on which an accuracy is measured."""
DARKEST = 0.01
"""Lowest intensity of a candidate. A difference is computed with fewer thermal configurations
than the image it is added to; their sum must not make a pixel dark for certain."""


def count_posteriors(
    intensity: NDArray[np.floating],
    differences: NDArray[np.floating],
    prior: Floats,
    dose: float,
    sampling: float,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Floats:
    """Weigh the candidates of a count by noisy images of the true one.

    The electrons k of every pixel are independent Poisson variables (a counting camera).
    For candidate c with expected electrons λ_c, Bayes' rule gives ``P(c | k) ∝ P(c)
    Π λ_c^k exp(-λ_c) / k!``. Everything but the count is known: optics, all other columns,
    the thermal configurations.

    Parameters
    ----------
    intensity : array of float, shape (y, x)
        The true image before the camera; 1 = vacuum.
    differences : array of float, shape (candidate, y, x)
        Image of each candidate minus the true one; 0 for the true one.
    prior : array of float64, shape (candidate,)
        Probability of each candidate before anything is seen; normalised here.
    dose : float
        Electrons per area [e-/Å²]; 0 leaves the prior as it is.
    sampling : float
        Pixel size [Å/pixel].
    rng : numpy.random.Generator
        Of the noise.
    draws : int
        Noisy images.

    Returns
    -------
    array of float64, shape (draw, candidate)
        Probabilities after the image was seen; each row sums to 1.

    Raises
    ------
    ValueError
        If shapes do not belong together, or the prior excludes all candidates.

    References
    ----------
    .. [1] Barrett and Myers, Foundations of Image Science (2004), ch. 13.

    Examples
    --------
    >>> bright = np.array([[[0.0]], [[9.0]]])
    >>> rng = np.random.default_rng(1)
    >>> count_posteriors(np.ones((1, 1)), bright, np.ones(2), 10.0, 1.0, rng, draws=2).round(3)
    array([[1., 0.],
           [1., 0.]])
    """
    if differences.shape[1:] != intensity.shape or prior.shape != differences.shape[:1]:
        raise ValueError(
            f"differences of shape {differences.shape} and a prior of shape {prior.shape} do not "
            f"belong to an image of shape {intensity.shape}; expected (candidate, y, x) and "
            "(candidate,)"
        )
    if not (np.all(prior >= 0) and 0 < prior.sum() < np.inf):
        raise ValueError(
            f"the prior gives the candidates {prior}; expected numbers that are not negative and "
            "not all 0"
        )
    electrons = dose * sampling**2
    true = np.maximum(intensity.astype(np.float64), 0.0).ravel()
    others = true + differences.reshape(len(differences), -1)
    # Pixels that no candidate changes tell nothing.
    told = np.any(differences.reshape(len(differences), -1) != 0, axis=0)
    true, others = np.maximum(true[told], DARKEST), np.maximum(others[:, told], DARKEST)
    counts = rng.poisson(electrons * true, size=(draws, true.size))
    # Relative to the true image, which drops k! and keeps the numbers small.
    log = counts @ np.log(others / true).T - electrons * (others - true).sum(axis=1)
    with np.errstate(divide="ignore"):
        log = log + np.log(prior / prior.sum())
    log -= log.max(axis=1, keepdims=True)
    weights = np.exp(log)
    posteriors: Floats = weights / weights.sum(axis=1, keepdims=True)
    return posteriors


def count_accuracy(
    intensity: NDArray[np.floating],
    differences: NDArray[np.floating],
    counts: NDArray[np.int64],
    occupancy: int,
    prior: Floats,
    dose: float,
    sampling: float,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> float:
    """Measure how often the most probable count is right: the ceiling of any count.

    Only the candidates compete: numbers that were not simulated are left out and the prior
    is normalised over the others. Averaged over columns as the prior describes them, no
    reading of the same image is right more often.

    Parameters
    ----------
    intensity : array of float, shape (y, x)
        The true image before the camera; 1 = vacuum.
    differences : array of float, shape (candidate, y, x)
        Image of each candidate minus the true one.
    counts : array of int64, shape (candidate,)
        Atoms in the column of each candidate.
    occupancy : int
        The true one of them.
    prior : array of float64, shape (K + 1,)
        P(0), ..., P(K) of this column without its pixels, for instance given all other
        columns; ``np.ones(K + 1)`` for a flat one.
    dose : float
        Electrons per area [e-/Å²].
    sampling : float
        Pixel size [Å/pixel].
    rng : numpy.random.Generator
        Of the noise.
    draws : int
        Noisy images.

    Returns
    -------
    float
        0 to 1; candidates that are equally probable share a draw.

    Raises
    ------
    ValueError
        If the true count is not among the candidates or not in the prior, or as
        `count_posteriors`.

    Examples
    --------
    >>> bright = np.array([[[0.0]], [[9.0]]])
    >>> rng = np.random.default_rng(1)
    >>> one_or_two, flat = np.array([1, 2]), np.ones(15)
    >>> count_accuracy(np.ones((1, 1)), bright, one_or_two, 1, flat, 10.0, 1.0, rng)
    1.0
    >>> count_accuracy(np.ones((1, 1)), bright, one_or_two, 1, flat, 0.0, 1.0, rng)
    0.5
    """
    if occupancy not in counts or counts.max() >= len(prior):
        raise ValueError(
            f"candidates {counts} must hold the true count {occupancy}, and the prior, which goes "
            f"to {len(prior) - 1}, must hold them all"
        )
    own = np.asarray(prior, np.float64)[counts]
    posteriors = count_posteriors(intensity, differences, own, dose, sampling, rng, draws)
    best = posteriors == posteriors.max(axis=1, keepdims=True)
    right = best[:, counts == occupancy].any(axis=1) / best.sum(axis=1)
    return float(right.mean())
