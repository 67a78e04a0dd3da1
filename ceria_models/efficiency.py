"""The efficiency of a program: how much of what the electrons tell it uses."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import log_ndtr

from ceria_models.merit import resampled

Floats = NDArray[np.float64]

LARGEST = 4.0
"""Of sqrt(efficiency): all answers right would fit infinity."""
_END = LARGEST**2 * (1 - 1e-9)
_STEPS = 60
_DRAWS = 500


@dataclass(frozen=True)
class Efficiency:
    """How much of what the electrons tell a program uses.

    Attributes
    ----------
    species, case : str
    efficiency, low, high : float or None
        η and its 95 % interval over particles; negative for a program that prefers the
        wrong image. None where no number fits, since all pairs were named rightly, or wrongly.
    pairs : int
    right, best : float
        Share named rightly (a tie is half), and that of the ideal observer.
    dose_e_per_A2 : float or None
        Of every pair; None where the dose of each pair was chosen so that d' is 1 to 2.
    """

    species: str
    case: str
    efficiency: float | None
    low: float | None
    high: float | None
    pairs: int
    right: float
    best: float
    dose_e_per_A2: float | None = None

    def in_words(self) -> str:
        """Write η with its 95 % interval.

        Returns
        -------
        str
            A dash where no number fits.

        Examples
        --------
        >>> Efficiency("O", "inner", 0.412, 0.2, 0.6, 100, 0.7, 0.8).in_words()
        '0.41 (0.20 to 0.60)'
        >>> Efficiency("O", "inner", 1.3, 0.4, None, 50, 0.98, 0.99).in_words()
        '1.30 (0.40 and more)'
        >>> Efficiency("O", "inner", None, None, None, 20, 1.0, 0.99).in_words()
        '–'
        """
        if self.efficiency is None:
            return "–"
        low, high = self.low, self.high
        ends = [f"{end:.2f}" for end in (low, high) if end is not None]
        if len(ends) == 1:
            ends.append("more" if high is None else "less")
        joined = (" to " if None not in (low, high) else " and ").join(ends)
        return f"{self.efficiency:.2f}" + (f" ({joined})" if ends else "")


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
    low = np.full(len(weights), -LARGEST)
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


def efficiencies(
    answers: pd.DataFrame,
    dose: float | None = None,
    *,
    draws: int = _DRAWS,
    seed: int = 0,
) -> list[Efficiency]:
    """Fit the efficiency of each species and case, with intervals over particles.

    Parameters
    ----------
    answers : DataFrame
        As from `paired.run_pairs`.
    dose : float, optional
        That of all pairs, where it was given [e-/Å²].
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
            low, high = (_fitted(value) for value in np.percentile(many, (2.5, 97.5)))
        found.append(
            Efficiency(
                str(species),
                str(case),
                _fitted(fit_efficiency(d_prime, right)[0]),
                low,
                high,
                len(own),
                float(right.mean()),
                float(np.exp(log_ndtr(d_prime / np.sqrt(2))).mean()),
                dose,
            )
        )
    return found


def _fitted(efficiency: float) -> float | None:
    """Tell a fit from the end of its range, where more would fit better."""
    return float(efficiency) if abs(efficiency) < _END else None
