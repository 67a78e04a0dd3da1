"""Columns from the probabilities of pixels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import log_softmax

from ceria_data.schema import SPECIES
from ceria_models.contrast import REFERENCE_DOSE
from ceria_models.maxima import distinct, maxima_of
from ceria_models.model import CalibrationFacts, DecodingFacts, PixelOutput

_REFINEMENTS = 3
"""Times that a position is computed from the pixels around the one before."""
_ROUNDING = 1e-12
"""Squares of distances are off by less, relative to them."""


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

    def keep(self, wanted: NDArray[Any] | slice) -> "Peaks":
        """Select some of them by a mask, by positions or by a range."""
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
    nowhere = dict.fromkeys(SPECIES, np.empty((0, 2)))
    return find_and_read(output, nowhere, sampling, decoding)[0]


def find_and_read(
    output: PixelOutput,
    positions: dict[str, NDArray[np.float64]],
    sampling: float,
    decoding: DecodingFacts,
) -> tuple[dict[str, Peaks], dict[str, Peaks]]:
    """Find peaks, and read what the pixels say at given places, with a column there or not.

    A place is described by the pixels that would describe a column found there.

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
        As from `find_peaks`.
    dict of str to Peaks
        One for every place, in the same order.

    Examples
    --------
    A column of seven atoms of oxygen, at a place and beside another one:

    >>> logits = np.zeros((2, 15, 12, 12), dtype=np.float32)
    >>> logits[:, 0], logits[1, 7, 4:7, 5:8] = 8, 16
    >>> output = PixelOutput(logits, 0 * logits[:, 0], 0 * logits[:, 0], 0 * logits[:, :2])
    >>> places = {"Ce": np.array([[1.0, 1.0]]), "O": np.array([[1.0, 1.2], [2.0, 0.2]])}
    >>> found, read = find_and_read(output, places, 0.2, DecodingFacts(mask_radius_A=0.6))
    >>> [len(own) for own in found.values()]
    [0, 1]
    >>> [own.logits.argmax(axis=1).tolist() for own in read.values()]
    [[0], [7, 0]]
    """
    found, read = {}, {}
    for index, species in enumerate(SPECIES):
        atom = atom_probability(output.logits[index])
        maxima = maxima_of(atom, sampling, decoding)
        position = _refined(maxima, atom, output.offset[index], sampling, decoding)
        # Most sites have their column close by: the pixels of both are fetched from memory once.
        together = np.concatenate([position, positions[species]])
        described = _described(together, output, index, sampling, decoding)
        found[species] = described.keep(slice(len(position)))
        read[species] = described.keep(slice(len(position), None))
    return found, read


def atom_probability(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """Evaluate 1 minus the probability of the background.

    Parameters
    ----------
    logits : array of float, shape (class, ...)

    Returns
    -------
    array of float, shape (...)
        In the precision of the logits.

    Examples
    --------
    >>> logits = np.log(np.array([[0.25, 0.8], [0.25, 0.1], [0.5, 0.1]]))
    >>> atom_probability(logits).round(3)
    array([0.75, 0.2 ])
    """
    # One class after the other: no array of all classes is made, and a small probability is
    # not the difference of two large ones.
    odds = np.zeros(logits.shape[1:], dtype=logits.dtype)
    one = np.empty_like(odds)
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        for other in logits[1:]:
            np.subtract(other, logits[0], out=one)
            np.exp(one, out=one)
            odds += one
        # Of infinite odds too.
        np.divide(1, odds, out=one)
        one += 1
        probability: NDArray[np.floating] = np.divide(1, one, out=one)
    return probability


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
    parts, chances = [], []
    for species, own in peaks.items():
        p = calibrated(own.logits, calibration[species], dose)
        there = p[:, 0] < 0.5
        parts.append(own.keep(there))
        chances.append(p[there])
    code = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    own, p = joined_peaks(parts), np.concatenate(chances)
    occupancy = p[:, 1:].argmax(axis=1) + 1
    facts: dict[str, Any] = {
        "species": pd.array(list(peaks), dtype="str").take(code),
        "x_A": own.x,
        "y_A": own.y,
        "occupancy": occupancy.astype(np.int64),
        "confidence": p[np.arange(len(p)), occupancy],
        "z_mean_A": own.z,
        "z_spread_A": own.z_spread,
    }
    return pd.DataFrame(facts | {f"p_{n}": p[:, n] for n in range(p.shape[1])})


def joined_peaks(parts: list[Peaks]) -> Peaks:
    """Join peaks, in the order given."""
    return Peaks(
        *(np.concatenate(values) for values in zip(*(vars(p).values() for p in parts), strict=True))
    )


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


def _refined(
    maxima: NDArray[np.float64],
    atom: NDArray[np.floating],
    offset: NDArray[np.float32],
    sampling: float,
    decoding: DecodingFacts,
) -> NDArray[np.float64]:
    """Let the pixels around every maximum vote for its position (column, (y, x)) [Å]."""
    position = maxima * sampling
    if not len(position):
        return position
    shape = (atom.shape[0], atom.shape[1])
    atom, offset = atom.ravel(), offset.reshape(2, -1)
    # A pixel of a column is at most a radius away from its middle, whatever the net says.
    most = decoding.mask_radius_A
    for _ in range(_REFINEMENTS):
        near = _near(position, shape, sampling, decoding)
        weight, total = near.weighted(atom[near.pixel])
        votes = np.clip(offset.take(near.pixel, axis=1, mode="clip"), -most, most)
        position = near.sums(weight * (near.place + votes)).T
    return position[distinct(position, total, decoding.separation_A / 2)]


@dataclass(frozen=True)
class _Near:
    """Pixels that count for columns: one after the other, those of a column together.

    Attributes
    ----------
    pixel : array of int64, shape (pair,)
        Position in the flattened image.
    place : array of float64, shape ((y, x), pair)
        Their middles [Å].
    first : array of int64, shape (column,)
        The first pair of each column; each has one at least.
    number : array of int64, shape (column,)
        Pairs of each column.
    """

    pixel: NDArray[np.int64]
    place: NDArray[np.float64]
    first: NDArray[np.int64]
    number: NDArray[np.int64]

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over the pixels of each column, (..., pair) to (..., column)."""
        summed: NDArray[np.float64] = np.add.reduceat(values, self.first, axis=-1)
        return summed

    def weighted(
        self, atom: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weight pairs by their probability of an atom; the sum of each column's before."""
        weight = np.maximum(atom.astype(np.float64), 1e-12)
        total = self.sums(weight)
        return weight / np.repeat(total, self.number), total


def _near(
    position: NDArray[np.float64],
    shape: tuple[int, ...],
    sampling: float,
    decoding: DecodingFacts,
) -> _Near:
    """Collect the pixels near positions [Å]."""
    reach = int(decoding.pool_A / sampling) + 1
    span = 2 * reach + 1
    # Rows and columns of the image around each column of atoms.
    at = np.rint(position / sampling).astype(np.int64)[:, :, None] + np.arange(-reach, reach + 1)
    apart = at * sampling - position[:, :, None]
    inside = (at >= 0) & (at < np.array(shape)[:, None])
    near = _within(apart, decoding.pool_A)
    near &= inside[:, 0, :, None] & inside[:, 1, None, :]
    pair = np.flatnonzero(near)
    first = np.searchsorted(pair, np.arange(len(at)) * span**2)
    number = np.diff(first, append=len(pair))
    if not number.all():
        # A position that left the image has no pixel near: the closest ones stand in.
        lost = number == 0
        distance = np.hypot(apart[lost, 0, :, None], apart[lost, 1, None, :])
        near[lost] = distance == distance.min(axis=(1, 2), keepdims=True)
        at = np.clip(at, 0, np.array(shape)[:, None] - 1)
        pair, number = np.flatnonzero(near), near.sum(axis=(1, 2))
        first = np.cumsum(number) - number
    row = pair // span
    y = at[:, 0].ravel()[row]
    x = at[:, 1].ravel()[row // span * span + (pair - row * span)]
    place = np.stack([y, x]) * sampling
    return _Near(y * shape[1] + x, place, first, number)


def _within(apart: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
    """Tell which pixels lie within a radius, from their distances along both axes.

    Squares take a fraction of the time of `numpy.hypot`, which decides where their rounding might.
    """
    square = apart[:, 0, :, None] ** 2 + apart[:, 1, None, :] ** 2
    near: NDArray[np.bool_] = square <= radius**2 * (1 - _ROUNDING)
    doubted = square <= radius**2 * (1 + _ROUNDING)
    if np.count_nonzero(near) < np.count_nonzero(doubted):
        column, i, k = np.nonzero(doubted & ~near)
        near[column, i, k] = np.hypot(apart[column, 0, i], apart[column, 1, k]) <= radius
    return near


def _described(
    position: NDArray[np.float64],
    output: PixelOutput,
    index: int,
    sampling: float,
    decoding: DecodingFacts,
) -> Peaks:
    """Pool classes and depth of one species over the pixels near positions (column, (y, x))."""
    logits = output.logits[index]
    if not len(position):
        none = np.empty(0)
        return Peaks(none, none, np.empty((0, len(logits))), none, none)
    near = _near(position, logits.shape[1:], sampling, decoding)
    there = logits.reshape(len(logits), -1).take(near.pixel, axis=1, mode="clip").astype(np.float64)
    weight, _ = near.weighted(atom_probability(there))
    there *= weight
    # What makes the probabilities of a pixel sum to 1 is the same for all classes.
    pooled = near.sums(there).T
    z, z_spread = (
        near.sums(weight * values[index].ravel()[near.pixel])
        for values in (output.depth, output.depth_spread)
    )
    normalised = pooled - _log_of_sum(pooled)
    return Peaks(position[:, 1], position[:, 0], normalised, z, z_spread)


def _log_of_sum(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the sum of exponentials over classes: (..., class) to (..., 1).

    As `scipy.special.logsumexp` of finite numbers, to the last digit, in a fraction of its time.
    """
    largest = logits.max(axis=-1, keepdims=True)
    others = np.exp(logits - largest)
    is_largest = logits == largest
    others[is_largest] = 0.0
    number = is_largest.sum(axis=-1, keepdims=True, dtype=np.float64)
    total: NDArray[np.float64] = others.sum(axis=-1, keepdims=True)
    logarithm: NDArray[np.float64] = np.log1p(total / number) + np.log(number) + largest
    return logarithm
