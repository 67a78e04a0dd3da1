"""The scale of levels over time: what focus does to all columns of a species alike."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

Floats = NDArray[np.float64]

WINDOW_S = 1.0
"""Over which the scale is averaged [s]: focus drifts slowly, and noise is not to be followed."""
FEWEST = 12
"""Columns that tell a scale; of fewer, one that changes would speak for the others."""
_CLIP = 0.5
"""Atoms that a column may say it is off by: one that changes by more says no more."""


def level_scale(level: NDArray[np.floating], spread: Floats, times: Floats) -> Floats:
    """Estimate by which factor all levels of a species are too large in each frame.

    A level is written as n (1 + s), n being its median over the film and s the same for all
    columns of a frame; s is fitted by least squares and averaged over a second.

    Parameters
    ----------
    level : array of float, shape (column, frame)
        Atoms; NaN where there is none.
    spread : array of float64, shape (column,)
        Standard deviation of the levels; columns where it is NaN are left out.
    times : array of float64, shape (frame,)
        s.

    Returns
    -------
    array of float64, shape (frame,)
        1 + s; 1 everywhere for fewer than 12 columns.

    Examples
    --------
    Thirty columns whose image gets stronger by a tenth:

    >>> times = np.arange(200) / 30
    >>> count = 1.0 + np.arange(30) % 4
    >>> level = count[:, None] * np.linspace(0.95, 1.05, 200)
    >>> level_scale(level, np.full(30, 0.3), times)[[20, 100, 180]].round(2)
    array([0.96, 1.  , 1.04])
    """
    n_frames = level.shape[1]
    used = np.flatnonzero(np.isfinite(spread))
    if len(used) < FEWEST or n_frames < 2:
        return np.ones(n_frames)
    top, bottom = np.zeros(n_frames), np.zeros(n_frames)
    for column in used:
        own = level[column].astype(np.float64)
        known = np.isfinite(own)
        n = float(np.median(own[known]))
        most = _CLIP + spread[column]
        off = np.clip(np.where(known, own - n, 0.0), -most, most)
        weight = 1 / spread[column] ** 2
        top += weight * n * off
        bottom += weight * n**2 * known
    step = float(np.median(np.diff(times)))
    width = int(np.clip(round(WINDOW_S / step), 1, n_frames))
    sums = [uniform_filter1d(values, width, mode="nearest") for values in (top, bottom)]
    scale: Floats = 1 + np.where(sums[1] > 0, sums[0] / np.maximum(sums[1], 1e-12), 0.0)
    return scale
