"""What one frame says about the counts of a column, without what was believed before."""

import numpy as np
from numpy.typing import NDArray

from ceria_models.tracking_settings import EvidenceSettings

Floats = NDArray[np.float64]
_SMALLEST = 1e-30
_FEWEST_DIFFERENCES = 8
_EXPECTED_FRAMES = 60.0
"""Differences that the spread expected of counted electrons weighs as."""
_LEAST_SHARE = 0.5
_SMALLEST_SPREAD = 0.01


def log_likelihood(
    p: NDArray[np.floating], dose: NDArray[np.floating], settings: EvidenceSettings
) -> Floats:
    """Turn calibrated probabilities of frames into logarithms of likelihoods.

    A calibrated probability is a posterior under the prior π of the columns for which it is
    calibrated. With the probability ε that a frame is blank, its likelihood, relative to that
    of the reading itself, is ``(1 - ε) p(n) / π(n) + ε``; the logarithm is divided by the
    temperature at the dose of the frame.

    Parameters
    ----------
    p : array of float, shape (frame, column, class)
        NaN where there is no reading.
    dose : array of float, shape (frame,)
        e-/Å²; NaN where unknown.
    settings : EvidenceSettings

    Returns
    -------
    array of float64, shape (frame, column, class)
        Highest value 0; all 0 where there is no reading, which is no evidence.

    References
    ----------
    .. [1] Bourlard and Morgan, Connectionist Speech Recognition (1994): posteriors over priors
       as scaled likelihoods of a hidden Markov model.

    Examples
    --------
    What equals the prior says nothing, and so does a missing reading:

    >>> settings = EvidenceSettings(prior=(0.5, 0.25, 0.25), blank=0.0)
    >>> p = np.array([[[0.5, 0.25, 0.25]], [[np.nan] * 3], [[0.5, 0.4, 0.1]]])
    >>> np.exp(log_likelihood(p, np.full(3, 300.0), settings)[:, 0]).round(3)
    array([[1.   , 1.   , 1.   ],
           [1.   , 1.   , 1.   ],
           [0.625, 1.   , 0.25 ]])
    """
    prior = np.asarray(settings.prior)
    known = np.isfinite(p).all(axis=-1)
    ratio = np.where(known[..., None], p, prior) / prior
    ratio = (1 - settings.blank) * ratio + settings.blank
    log = np.log(np.maximum(ratio, _SMALLEST))
    log /= settings.temperature(np.asarray(dose, dtype=float))[:, None, None]
    highest: Floats = log - log.max(axis=-1, keepdims=True)
    return highest


def level_spread(level: NDArray[np.floating], expected: Floats, overlap: int = 1) -> Floats:
    """Estimate how much levels scatter from frame to frame, from differences of frames.

    Changes of the count are rare: the median of the differences does not feel them. In a short
    film that of one site is uncertain, and is mixed with what is expected of the site,
    multiplied by what the film's noise is on average over the expected one.

    Parameters
    ----------
    level : array of float, shape (site, frame)
        Atoms; NaN where there is none.
    expected : array of float64, shape (site,)
        Standard deviation if electrons are counted, up to a factor of all sites; NaN where it is
        not known.
    overlap : int
        Frames that share electrons, of a running sum. They are compared at that distance, and
        count once together.

    Returns
    -------
    array of float64, shape (site,)
        Standard deviation [atoms]; NaN for sites without a level in half of the frames.

    Examples
    --------
    >>> level = np.random.default_rng(0).normal(3.0, 0.4, (1, 2000))
    >>> level[0, 1000:] -= 1
    >>> level_spread(level, np.array([0.1])).round(1)
    array([0.4])
    """
    spread, number = np.full(len(level), np.nan), np.zeros(len(level))
    for site, own in enumerate(level):
        known = np.isfinite(own)
        apart = np.abs(own[overlap:] - own[:-overlap]) if len(own) > overlap else own[:0]
        apart = apart[np.isfinite(apart)]
        if known.mean() >= _LEAST_SHARE and len(apart) >= _FEWEST_DIFFERENCES:
            # The median of |x|, x normal, is 0.6745 standard deviations.
            one = float(np.median(apart)) / (0.6745 * np.sqrt(2))
            spread[site], number[site] = max(one, _SMALLEST_SPREAD), len(apart)
    both = np.isfinite(spread) & (expected > 0)
    if both.any():
        usual = float(np.median(spread[both] / expected[both])) * expected[both]
        weight = number[both] / (number[both] + _EXPECTED_FRAMES)
        mixed = weight * spread[both] ** 2 + (1 - weight) * usual**2
        spread[both] = np.sqrt(mixed)
    widened: Floats = spread * np.sqrt(overlap)
    return widened
