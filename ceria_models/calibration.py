"""Probabilities that can be believed: temperature and class bias, fitted on held-out images."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ceria_models.contrast import REFERENCE_DOSE
from ceria_models.model import CalibrationFacts

_ITERATIONS = 200
_PRIOR = 1e-3
"""Weight of the squared parameters: a class that never occurs keeps its bias of 0."""


def fit_calibration(
    logits: NDArray[np.floating], truth: NDArray[np.integer], dose: NDArray[np.floating]
) -> CalibrationFacts:
    """Fit slope and class biases so that the truth is most probable.

    Parameters
    ----------
    logits : array of float, shape (case, class)
    truth : array of int, shape (case,)
        Class of every case.
    dose : array of float, shape (case,)
        Apparent dose of its image [e-/Å²].

    Returns
    -------
    CalibrationFacts
        What makes ``softmax(exp(slope + slope_dose s) logits + bias)`` likeliest, where s is
        the logarithm of the dose over 300 e-/Å².

    Raises
    ------
    ValueError
        If there are no cases.

    References
    ----------
    .. [1] Guo et al., arXiv:1706.04599 (2017): temperature and vector scaling.

    Examples
    --------
    Logits that are three times too sure of themselves:

    >>> rng = np.random.default_rng(0)
    >>> honest = rng.normal(size=(20000, 3))
    >>> truth = (honest + rng.gumbel(size=honest.shape)).argmax(axis=1)
    >>> fit = fit_calibration(3 * honest, truth, np.full(20000, 300.0))
    >>> round(float(np.exp(fit.slope)), 1)
    0.3
    """
    if not len(truth):
        raise ValueError("no cases to calibrate with")
    x = torch.from_numpy(np.asarray(logits, dtype=np.float64))
    y = torch.from_numpy(np.asarray(truth, dtype=np.int64))
    s = torch.from_numpy(np.log(np.asarray(dose, dtype=np.float64) / REFERENCE_DOSE))
    slope = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [slope, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe", tolerance_grad=1e-9
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        scaled = torch.exp(slope[0] + slope[1] * s)[:, None] * x + bias
        value = F.cross_entropy(scaled, y) + _PRIOR * bias.square().mean()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return CalibrationFacts(
        slope=float(slope[0].detach()),
        slope_dose=float(slope[1].detach()),
        bias=tuple(float(value) for value in bias.detach()),
    )
