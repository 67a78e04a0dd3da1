"""The pixel size of a film, from the reflections of its own crystal."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates
from scipy.optimize import minimize

from ceria_data.crystal import Vector
from ceria_data.errors import FilmError
from ceria_data.film import Film, film_of_array, shows_nothing
from ceria_data.lattice import reflections
from ceria_data.spectrum import whitened_spectrum

SEARCHED = (0.03, 0.5)
"""Pixel sizes that are searched [Å/pixel]."""
_LONGEST = 24
"""Sum of squared indices of the farthest reflections, {422}: the more, the fewer lattices of
another size have as many."""
_FEWEST_CELLS = 2.5
"""Edges of the cubic cell that a frame has to show."""
_FRAMES = 48
"""That are read, evenly over the film."""
_LARGE = 512
"""Pixels along an axis from which four windows of each frame are used, and fewer frames."""
_APART = 0.04
"""Lattices whose sizes differ by more are others."""
_CLEAR = 2.0
"""Strength from which an estimate is given."""
_DOUBT = 1.0
"""Strength over the given pixel size from which that is doubted."""
_STRONG = 30.0
"""Power, over noise, from which a reflection's weight in the last refinement grows slower: between
their equal weight, right for finding a lattice, and that of their power, right for measuring one
in white noise."""
_NOT_SEEN = 0.815
"""Power beyond the edge of the spectrum: the logarithm is what noise gives on average."""
_LEAST_UNCERTAINTY = 0.003
"""Part of a pixel size: the lattice of a small, warm particle is not known better."""


@dataclass(frozen=True)
class SamplingEstimate:
    """The pixel size that makes the crystal of a film CeO2.

    Attributes
    ----------
    sampling : float
        Å/pixel.
    uncertainty : float
        Standard deviation [Å/pixel], from leaving out each reflection in turn.
    rotation_deg : float
        In-plane rotation of the crystal, 0 to 180.
    strength : float
        Sum over the reflections of the logarithm of the power, above that of the best lattice
        whose size differs by more than 4 %.
    rival : float
        Pixel size of that lattice [Å/pixel].
    gain : float
        As the strength, above the best lattice of the pixel size that was given; 0 without one.
    n_frames : int
        That were used.
    """

    sampling: float
    uncertainty: float
    rotation_deg: float
    strength: float
    rival: float
    gain: float
    n_frames: int

    @property
    def clear(self) -> bool:
        """No other pixel size explains the reflections nearly as well."""
        return self.strength >= _CLEAR

    def doubts(self, sampling: float) -> bool:
        """Say whether the film speaks against the pixel size that the search was told."""
        return self.gain >= _DOUBT and abs(self.sampling / sampling - 1) > _APART


def estimate_sampling(
    frames: Film | ArrayLike,
    zone_axis: Vector = (1, 1, 0),
    lattice_parameter: float = 5.411,
    given: float | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SamplingEstimate:
    """Find the pixel size of a film from the reflections of its crystal.

    The power spectrum, averaged over frames and in units of its noise, is read at the
    reflections of the zone for every pixel size and rotation. The sum of the logarithms of the
    power is largest where all reflections meet.

    Parameters
    ----------
    frames : Film or array, shape (frame, y, x) or (y, x)
    zone_axis : tuple of int
        Direction of the beam in the crystal, Miller indices.
    lattice_parameter : float
        Edge of the cubic cell [Å].
    given : float, optional
        The pixel size as it is believed [Å/pixel]: sizes of 0.65 to 1.5 times this one are
        searched, and the result says how much better than it another one is. By default 0.03
        to 0.5 Å are searched.
    on_progress : callable
        Told frames done and in all.

    Returns
    -------
    SamplingEstimate

    Raises
    ------
    FilmError
        If no pixel size was given and the film does not clearly tell one, or it is too small or
        dark.

    Examples
    --------
    Cosines along two {111} and {200} of [110], in an image whose pixels are 0.21 Å:

    >>> y, x = 0.21 * np.mgrid[:160, :160]
    >>> waves = [np.cos(2 * np.pi * (k[0] * x + k[1] * y)) for k in reflections((1, 1, 0), 5.411)]
    >>> noise = np.random.default_rng(0).normal(size=(160, 160))
    >>> estimate = estimate_sampling(np.sum(waves, axis=0) + noise)
    >>> round(estimate.sampling, 2), estimate.clear
    (0.21, True)
    """
    film = frames if isinstance(frames, Film) else film_of_array(frames)
    low, high = _searched(film, lattice_parameter, given)
    rows = _bright_rows(film)
    spectrum = whitened_spectrum(lambda: _read(film, rows), lambda n: on_progress(n, len(rows)))
    spots = reflections(zone_axis, lattice_parameter, _LONGEST)
    samplings = np.geomspace(low, high, _steps(low, high, film.shape))
    rotations = np.linspace(0, np.pi, _steps(1.0, np.exp(np.pi), film.shape), endpoint=False)
    scores, turned = _search(spectrum, spots, samplings, rotations)
    best = int(scores.argmax())
    start = np.array([np.log(samplings[best]), rotations[turned[best]]])
    found, deviation = _measured(spectrum, spots, start)
    sampling = float(np.exp(found[0]))
    others = np.abs(samplings / sampling - 1) > _APART
    rival = int(np.where(others, scores, -np.inf).argmax())
    as_given = scores[best]
    if given is not None:
        as_given = scores[np.abs(samplings / given - 1) <= _APART].max()
    estimate = SamplingEstimate(
        sampling=sampling,
        uncertainty=sampling * deviation,
        rotation_deg=float(np.rad2deg(found[1]) % 180),
        strength=float(scores[best] - scores[rival]),
        rival=float(samplings[rival]),
        gain=float(scores[best] - as_given),
        n_frames=len(rows),
    )
    if given is None and not estimate.clear:
        raise FilmError(
            f"{film.source} does not clearly tell its pixel size: {estimate.sampling:.4g} Å fits "
            f"best, {estimate.rival:.4g} Å nearly as well; give it with --pixel-size, in Å at "
            "the specimen"
        )
    return estimate


def _searched(film: Film, lattice_parameter: float, given: float | None) -> tuple[float, float]:
    """Choose the range of pixel sizes at which a frame shows enough of the crystal."""
    low, high = SEARCHED if given is None else (0.65 * given, 1.5 * given)
    low = max(low, _FEWEST_CELLS * lattice_parameter / min(film.shape))
    if low >= (high if given is None else given):
        raise FilmError(
            f"{film.source} has frames of {film.shape[1]} × {film.shape[0]} pixels, too few to "
            "find its pixel size; give it with --pixel-size, in Å at the specimen"
        )
    return low, high


def _bright_rows(film: Film) -> list[int]:
    """Choose frames evenly over the film, and leave out those that show nothing."""
    most = _FRAMES if max(film.shape) <= _LARGE else _FRAMES // 4
    rows = np.linspace(0, len(film) - 1, min(len(film), most)).round().astype(int).tolist()
    bright = [row for row in dict.fromkeys(rows) if not shows_nothing(film.frames(row, row + 1)[0])]
    if not bright:
        raise FilmError(
            f"{film.source} has only frames whose pixels are all equal, or not finite numbers"
        )
    return bright


def _read(film: Film, rows: list[int]) -> Iterator[NDArray[Any]]:
    for row in rows:
        yield film.frames(row, row + 1)[0]


def _measured(
    spectrum: NDArray[np.float32], spots: NDArray[np.float64], start: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Refine log pixel size and rotation; the deviation comes from leaving out each reflection."""
    # Twice: the reflections that are strong pull once the others have found the right one.
    found = _refined(spectrum, spots, _refined(spectrum, spots, start, 1.0), _STRONG)
    left_out = [
        _refined(spectrum, np.delete(spots, i, axis=0), found, _STRONG)[0]
        for i in range(len(spots))
    ]
    spread = np.sqrt((len(spots) - 1) * np.var(left_out))
    return found, float(np.hypot(spread, _LEAST_UNCERTAINTY))


def _steps(low: float, high: float, shape: tuple[int, int]) -> int:
    """Choose how many lattices are tried: peaks at half of the Nyquist frequency are not missed."""
    width = 1.2 / min(*shape, 512)
    return max(int(np.log(high / low) * 0.3 / (0.5 * width)), 32)


def _search(
    spectrum: NDArray[np.float32],
    spots: NDArray[np.float64],
    samplings: NDArray[np.float64],
    rotations: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Evaluate the best score of every pixel size, and the rotation that has it."""
    scores = np.empty(len(samplings))
    turned = np.empty(len(samplings), dtype=np.int64)
    for i, sampling in enumerate(samplings):
        score = _score(spectrum, spots, np.log(sampling), rotations)
        turned[i] = score.argmax()
        scores[i] = score[turned[i]]
    return scores, turned


def _score(
    spectrum: NDArray[np.float32],
    spots: NDArray[np.float64],
    log_sampling: float,
    rotation: NDArray[np.float64],
    strong: float = 1.0,
) -> NDArray[np.float64]:
    """Sum the logarithm of ``1 + power / strong`` over the reflections, for every rotation."""
    cos, sin = np.cos(rotation)[:, None], np.sin(rotation)[:, None]
    size = np.exp(log_sampling)
    x = (spots[:, 0] * cos - spots[:, 1] * sin) * size
    y = (spots[:, 0] * sin + spots[:, 1] * cos) * size
    # Only half of the spectrum is there: the other one is the same turned by 180°.
    half = np.where(x < 0, -1.0, 1.0)
    side = len(spectrum)
    at = [y * half * side + side // 2, x * half * side]
    read = map_coordinates(spectrum, at, order=1, mode="constant", cval=_NOT_SEEN)
    total: NDArray[np.float64] = np.log1p(read / strong).sum(axis=-1)
    return total


def _refined(
    spectrum: NDArray[np.float32],
    spots: NDArray[np.float64],
    start: NDArray[np.float64],
    strong: float,
) -> NDArray[np.float64]:
    """Climb from a logarithm of the pixel size and a rotation to the next maximum."""
    step = 0.004
    fit = minimize(
        lambda v: -float(_score(spectrum, spots, float(v[0]), np.array([v[1]]), strong)[0]),
        start,
        method="Nelder-Mead",
        options={
            "initial_simplex": start + step * np.array([[0, 0], [1, 0], [0, 1]]),
            "xatol": 1e-5,
            "fatol": 1e-6,
        },
    )
    found: NDArray[np.float64] = fit.x
    return found
