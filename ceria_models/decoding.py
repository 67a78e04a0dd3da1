"""Columns from the probabilities of pixels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.special import log_softmax, logsumexp

from ceria_data.schema import SPECIES
from ceria_models.contrast import REFERENCE_DOSE
from ceria_models.model import CalibrationFacts, DecodingFacts, PixelOutput

_REFINEMENTS = 3
"""Times that a position is computed from the pixels around the one before."""


@dataclass(frozen=True)
class Peaks:
    """Places of one species where a column may stand.

    Attributes
    ----------
    x, y : array of float64, shape (column,)
        Position, origin at the centre of pixel (0, 0) [Å].
    logits : array of float64, shape (column, class)
        Pooled logarithms of class probabilities, not calibrated.
    z, z_spread : array of float64, shape (column,)
        Mean depth and its standard deviation [Å].
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    logits: NDArray[np.float64]
    z: NDArray[np.float64]
    z_spread: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x)

    def keep(self, wanted: NDArray[Any]) -> "Peaks":
        """Select some of them by a mask or by positions."""
        return Peaks(*(values[wanted] for values in vars(self).values()))


def find_peaks(output: PixelOutput, sampling: float, decoding: DecodingFacts) -> dict[str, Peaks]:
    """Find where columns may stand, and what the pixels there say.

    The probability of an atom, 1 minus that of the background, is smoothed; its maxima are
    the first positions. Each pixel around a maximum then votes for a position with its
    offset, and describes the column with its classes and depth.

    Parameters
    ----------
    output : PixelOutput
    sampling : float
        Pixel size [Å/pixel].
    decoding : DecodingFacts

    Returns
    -------
    dict of str to Peaks
        By species.

    Examples
    --------
    A disk of oxygen, 7 atoms, whose pixels point at x = 1.3 Å, y = 1 Å:

    >>> y, x = 0.2 * np.mgrid[:12, :12]
    >>> logits = np.zeros((2, 15, 12, 12), dtype=np.float32)
    >>> logits[:, 0], logits[1, 7] = 8, np.where(np.hypot(x - 1.3, y - 1) < 0.6, 16, 0)
    >>> offset = np.stack([np.stack([1 - y, 1.3 - x])] * 2)
    >>> output = PixelOutput(logits, 0 * logits[:, 0], 0 * logits[:, 0], offset)
    >>> oxygen = find_peaks(output, 0.2, DecodingFacts(mask_radius_A=0.6))["O"]
    >>> oxygen.x.round(3), oxygen.y.round(3), int(oxygen.logits[0].argmax())
    (array([1.3]), array([1.]), 7)
    """
    found = {}
    for index, species in enumerate(SPECIES):
        log = log_softmax(output.logits[index].astype(np.float64), axis=0)
        atom = -np.expm1(log[0])
        maxima = _maxima(atom, sampling, decoding)
        position, window = _refined(maxima, atom, output.offset[index], sampling, decoding)
        found[species] = _described(position, window, _at(log, window), output, index)
    return found


def read_sites(
    output: PixelOutput,
    positions: dict[str, NDArray[np.float64]],
    sampling: float,
    decoding: DecodingFacts,
) -> dict[str, Peaks]:
    """Read what the pixels say at given places, whether or not a column was found there.

    The pixels are those that describe a column that `find_peaks` finds at the place.

    Parameters
    ----------
    output : PixelOutput
    positions : dict of str to array of float64, shape (site, (y, x))
        Å, by species.
    sampling : float
        Pixel size [Å/pixel].
    decoding : DecodingFacts

    Returns
    -------
    dict of str to Peaks
        One for every place, in the same order.

    Examples
    --------
    Seven atoms of oxygen everywhere but below y = 1 Å, and nothing of cerium:

    >>> logits = np.zeros((2, 15, 12, 12), dtype=np.float32)
    >>> logits[0, 0], logits[1, 0], logits[1, 7, 5:] = 16, 8, 16
    >>> output = PixelOutput(logits, 0 * logits[:, 0], 0 * logits[:, 0], 0 * logits[:, :2])
    >>> places = {"Ce": np.array([[1.0, 1.0]]), "O": np.array([[0.3, 1.0], [1.8, 1.0]])}
    >>> found = read_sites(output, places, 0.2, DecodingFacts(mask_radius_A=0.6))
    >>> [own.logits.argmax(axis=1).tolist() for own in found.values()]
    [[0], [0, 7]]
    """
    found = {}
    for index, species in enumerate(SPECIES):
        position = positions[species]
        near = _near(position, output.depth[index].shape, sampling, decoding)
        log = log_softmax(_at(output.logits[index], near).astype(np.float64), axis=-1)
        window = _weighted(near, -np.expm1(log[..., 0]))
        found[species] = _described(position, window, log, output, index)
    return found


def column_rows(
    peaks: dict[str, Peaks], calibration: dict[str, CalibrationFacts], dose: float
) -> pd.DataFrame:
    """Make the table of columns: those that are there rather than not.

    Parameters
    ----------
    peaks : dict of str to Peaks
    calibration : dict of str to CalibrationFacts
        By species.
    dose : float
        Apparent dose of the image [e-/Å²].

    Returns
    -------
    DataFrame
        species, x_A, y_A, occupancy, confidence, z_mean_A, z_spread_A, p_0 to p_K, where p_0
        is the probability that no column is there.
    """
    tables = []
    for species, own in peaks.items():
        p = calibrated(own.logits, calibration[species], dose)
        there = p[:, 0] < 0.5
        own, p = own.keep(there), p[there]
        occupancy = p[:, 1:].argmax(axis=1) + 1
        facts: dict[str, Any] = {
            "species": species,
            "x_A": own.x,
            "y_A": own.y,
            "occupancy": occupancy,
            "confidence": p[np.arange(len(p)), occupancy],
            "z_mean_A": own.z,
            "z_spread_A": own.z_spread,
        }
        classes = {f"p_{n}": p[:, n] for n in range(p.shape[1])}
        tables.append(pd.DataFrame(facts | classes))
    table = pd.concat(tables, ignore_index=True)
    return table.astype({"species": "str", "occupancy": "int64"})


def calibrated(
    logits: NDArray[np.floating], calibration: CalibrationFacts, dose: float
) -> NDArray[np.float64]:
    """Turn logits into calibrated probabilities.

    Parameters
    ----------
    logits : array of float, shape (..., class)
    calibration : CalibrationFacts
    dose : float
        Apparent dose [e-/Å²].

    Returns
    -------
    array of float64, shape (..., class)

    Examples
    --------
    >>> half = CalibrationFacts(slope=np.log(0.5), slope_dose=0.0, bias=(0.0, 0.0))
    >>> calibrated(np.array([0.0, 2 * np.log(3)]), half, dose=300.0).round(3)
    array([0.25, 0.75])
    """
    s = np.log(dose / REFERENCE_DOSE) if np.isfinite(dose) else 0.0
    slope = np.exp(calibration.slope + calibration.slope_dose * s)
    scaled = slope * np.asarray(logits, dtype=np.float64) + np.asarray(calibration.bias)
    probability: NDArray[np.float64] = np.exp(log_softmax(scaled, axis=-1))
    return probability


def _maxima(
    atom: NDArray[np.float64], sampling: float, decoding: DecodingFacts
) -> NDArray[np.float64]:
    """Find maxima of the smoothed probability: (column, (y, x)) in pixels."""
    smooth = gaussian_filter(atom, decoding.smoothing_A / sampling, mode="nearest")
    radius = decoding.separation_A / (2 * sampling)
    span = np.arange(-int(radius), int(radius) + 1)
    near = np.hypot(span[:, None], span) <= radius
    highest = maximum_filter(smooth, footprint=near, mode="nearest")
    # A disk reaches the height of its fill factor only; the threshold is relative to it.
    full = 1 - np.exp(-0.5 * (decoding.mask_radius_A / decoding.smoothing_A) ** 2)
    return np.argwhere((smooth == highest) & (smooth > decoding.threshold * full)).astype(float)


def _refined(
    maxima: NDArray[np.float64],
    atom: NDArray[np.float64],
    offset: NDArray[np.float32],
    sampling: float,
    decoding: DecodingFacts,
) -> tuple[NDArray[np.float64], "_Window"]:
    """Let the pixels around every maximum vote for its position (column, (y, x)) [Å]."""
    position = maxima * sampling
    # A pixel of a column is at most a radius away from its middle, whatever the net says.
    offset = np.clip(offset, -decoding.mask_radius_A, decoding.mask_radius_A)
    for _ in range(_REFINEMENTS):
        window = _window(position, atom, sampling, decoding)
        y, x = window.y, window.x
        votes = np.stack([y * sampling + offset[0, y, x], x * sampling + offset[1, y, x]], axis=-1)
        position = (window.weight[..., None] * votes).sum(1)
    order = np.argsort(-window.weight_sum, kind="stable")
    kept: list[int] = []
    for i in order:
        apart = np.hypot(*(position[kept] - position[i]).T)
        if not (apart < decoding.separation_A / 2).any():
            kept.append(int(i))
    kept.sort()
    return position[kept], _window(position[kept], atom, sampling, decoding)


@dataclass(frozen=True)
class _Near:
    """Pixels around columns: indices (column, pixel), and which of them count."""

    y: NDArray[np.int64]
    x: NDArray[np.int64]
    counts: NDArray[np.bool_]


@dataclass(frozen=True)
class _Window:
    """Pixels around columns: indices (column, pixel), and weights that sum to 1."""

    y: NDArray[np.int64]
    x: NDArray[np.int64]
    weight: NDArray[np.float64]
    weight_sum: NDArray[np.float64]


def _window(
    position: NDArray[np.float64],
    atom: NDArray[np.float64],
    sampling: float,
    decoding: DecodingFacts,
) -> _Window:
    """Collect the pixels near positions [Å], weighted by the probability of an atom."""
    near = _near(position, atom.shape, sampling, decoding)
    return _weighted(near, atom[near.y, near.x])


def _near(
    position: NDArray[np.float64],
    shape: tuple[int, ...],
    sampling: float,
    decoding: DecodingFacts,
) -> _Near:
    """Collect the pixels near positions [Å]."""
    reach = int(decoding.pool_A / sampling) + 1
    span = np.arange(-reach, reach + 1)
    dy, dx = (grid.ravel() for grid in np.meshgrid(span, span, indexing="ij"))
    middle = np.rint(position / sampling).astype(np.int64)
    y, x = middle[:, :1] + dy, middle[:, 1:] + dx
    distance = np.hypot(y * sampling - position[:, :1], x * sampling - position[:, 1:])
    inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
    y, x = np.clip(y, 0, shape[0] - 1), np.clip(x, 0, shape[1] - 1)
    near = inside & (distance <= decoding.pool_A)
    # A position that left the image has no pixel near: the closest ones stand in.
    lost = ~near.any(axis=1)
    near[lost] = distance[lost] == distance[lost].min(axis=1, keepdims=True)
    return _Near(y, x, near)


def _weighted(near: _Near, atom: NDArray[np.float64]) -> _Window:
    """Weight pixels by their probability of an atom (column, pixel)."""
    weight = near.counts * np.maximum(atom, 1e-12)
    total = weight.sum(axis=1)
    return _Window(near.y, near.x, weight / total[:, None], total)


def _at(values: NDArray[Any], near: _Near | _Window) -> NDArray[Any]:
    """Take the classes of the pixels around columns, (column, pixel, class)."""
    taken: NDArray[Any] = np.moveaxis(values, 0, -1)[near.y, near.x]
    return taken


def _described(
    position: NDArray[np.float64],
    window: _Window,
    log: NDArray[np.float64],
    output: PixelOutput,
    index: int,
) -> Peaks:
    """Pool classes, (column, pixel, class), and depth over the pixels of every column."""
    y, x, weight = window.y, window.x, window.weight
    pooled = (weight[..., None] * log).sum(1)
    logits = pooled - logsumexp(pooled, axis=1, keepdims=True)
    return Peaks(
        position[:, 1],
        position[:, 0],
        logits,
        (weight * output.depth[index][y, x]).sum(1).astype(np.float64),
        (weight * output.depth_spread[index][y, x]).sum(1).astype(np.float64),
    )
