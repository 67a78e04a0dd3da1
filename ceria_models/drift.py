"""Rigid drift of the frames of a film, from their correlation with the mean of the film."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceria_models.drift_path import smooth_path
from ceria_models.drift_spectra import Place, Spectra, Spectrum

_TYPICAL_STEP = 0.2
"""Drift from one frame to the next [Å]; the lattice repeats itself every 2.2 to 3.3 Å."""
_SEARCH = 0.3
"""Standard deviation of a frame's place around the path of the pass before [Å]."""
_PASSES = 3
_STRENGTH = 4.5
"""Correlations of a frame without structure reach it in one of some thousand frames."""
_FEWEST = 0.1
"""Share of frames that need structure for a drift to be told."""

Frame = tuple[int, NDArray[np.floating] | NDArray[np.integer], float]
"""Number of a frame, its image, and its apparent dose [e-/Å²]."""


@dataclass(frozen=True)
class Drift:
    """Shift of the specimen in each frame, relative to the reference.

    The position of a column in a frame is its position in the reference plus the drift.

    Attributes
    ----------
    y, x : array of float64, shape (frame,)
        Å; the middle between the extremes is 0.
    error : array of float64, shape (frame,)
        Standard deviation along each axis [Å]; 0 where no drift was looked for.
    used : array of bool, shape (frame,)
        Frames whose own image counted; the others follow from their neighbours.
    found : bool
        False if the frames have nothing in common to align; the drift is 0 then.
    """

    y: NDArray[np.float64]
    x: NDArray[np.float64]
    error: NDArray[np.float64]
    used: NDArray[np.bool_]
    found: bool

    @classmethod
    def none(cls, frames: int, *, found: bool = True) -> "Drift":
        """Describe frames that do not drift."""
        return cls(
            np.zeros(frames), np.zeros(frames), np.zeros(frames), np.zeros(frames, bool), found
        )


def estimate_drift(
    frames: Callable[[], Iterable[Frame]],
    number: int,
    shape: tuple[int, int],
    sampling: float,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Drift:
    """Measure the drift of a film's frames.

    Each frame is placed on the mean of the frames before it, in the first pass, and on that
    of all others in further passes. The path is then smoothed.

    Parameters
    ----------
    frames : callable
        Gives the frames that can be read, in order, each time it is called.
    number : int
        Frames of the film, those that cannot be read included.
    shape : tuple of int
        Pixels of a frame (y, x).
    sampling : float
        Å/pixel.
    on_progress : callable
        Told frames done and in all, over all passes.

    Returns
    -------
    Drift

    Notes
    -----
    Assumed are a rigid shift, steps between frames that are small beside the lattice (about
    0.4 Å; larger ones need more evidence), and a random walk whose steps have one size through
    the film. A rotation or a magnification that changes is not corrected.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y, x = 0.2 * np.mgrid[:96, :96] - 9
    >>> def expected(d):
    ...     r = np.hypot(x - d, y)
    ...     return 12 * (1 + 0.3 * np.cos(2.0 * (x - d)) * np.cos(1.2 * y) * (r < 6))
    >>> film = [rng.poisson(expected(0.1 * t)) for t in range(9)]
    >>> found = estimate_drift(
    ...     lambda: ((i, image, 300.0) for i, image in enumerate(film)), 9, (96, 96), 0.2
    ... )
    >>> bool(np.abs(np.diff(found.x) - 0.1).max() < 0.05), bool(np.abs(found.y).max() < 0.1)
    (True, True)
    """
    if number == 1:
        return Drift.none(1)
    spectra = Spectra(shape, sampling)
    total = _PASSES * number

    def told(iteration: int) -> Iterable[Frame]:
        for frame in frames():
            yield frame
            on_progress(iteration * number + frame[0] + 1, total)

    first, mean = _followed(told(0), number, spectra)
    if mean.frames < 2:
        return Drift.none(number, found=False)
    # Again against the mean of all: where the lattice led astray, the frames before lead back.
    second, mean = _followed(told(1), number, spectra, (first, mean))
    drift = _placed(told(2), second, mean, spectra)
    on_progress(total, total)
    return drift


@dataclass
class _Mean:
    """Sum of the spectra of aligned frames, and of their noise."""

    total: Spectrum
    noise: float = 0.0
    frames: int = 0

    def add(self, aligned: Spectrum, noise: float) -> None:
        self.total += aligned
        self.noise += noise
        self.frames += 1

    def average(self) -> tuple[Spectrum, float]:
        """Mean of all, and the mean square of its noise."""
        mean: Spectrum = self.total / np.float32(self.frames)
        return mean, self.noise / self.frames**2

    def without(self, aligned: Spectrum, noise: float) -> tuple[Spectrum, float]:
        """Mean of the others, and the mean square of its noise."""
        n = max(self.frames - 1, 1)
        rest: Spectrum = (self.total - aligned) / np.float32(n)
        return rest, max(self.noise - noise, noise) / n**2


def _followed(
    frames: Iterable[Frame],
    number: int,
    spectra: Spectra,
    before: tuple[NDArray[np.float64], _Mean] | None = None,
) -> tuple[NDArray[np.float64], _Mean]:
    """Place each frame from the one before, on the mean of all before it, or of all others.

    Gives the places, (frame, (y, x)), and the mean of the frames that they align.
    """
    places = np.full((number, 2), np.nan)
    again: _Mean | None = None
    at, spread, last = np.zeros(2), _SEARCH**2, 0
    for i, image, dose in frames:
        spectrum, noise = spectra.of_frame(image), spectra.noise(dose)
        if again is None:
            again = _Mean(np.zeros_like(spectrum))
        spread += (i - last) * _TYPICAL_STEP**2
        if before is not None:
            y, x = before[0][i]
            reference = before[1].without(spectra.shifted(spectrum, -y, -x), noise)
        elif again.frames:
            reference = again.average()
        if before is not None or again.frames:
            place = spectra.place(spectrum, *reference, noise, (at[0], at[1]), spread**0.5)
            at, spread = np.array([place.mean_y, place.mean_x]), place.spread
        places[i], last = at, i
        again.add(spectra.shifted(spectrum, -at[0], -at[1]), noise)
    return places, again or _Mean(np.zeros((1, 1), np.complex64))


def _placed(
    frames: Iterable[Frame], before: NDArray[np.float64], mean: _Mean, spectra: Spectra
) -> Drift:
    """Place each frame on the mean of all others, near its place of the pass before."""
    places: list[Place | None] = [None] * len(before)
    for i, image, dose in frames:
        spectrum, noise = spectra.of_frame(image), spectra.noise(dose)
        y, x = (float(v) for v in before[i])
        others = mean.without(spectra.shifted(spectrum, -y, -x), noise)
        places[i] = spectra.place(spectrum, *others, noise, (y, x), _SEARCH)
    return _smoothed(places)


def _smoothed(places: list[Place | None]) -> Drift:
    """Make the path of the frames that show structure."""
    number = len(places)
    clear = np.array([p is not None and p.strength > _STRENGTH for p in places])
    readable = sum(p is not None for p in places)
    if clear.sum() < max(_FEWEST * readable, 2):
        return Drift.none(number, found=False)
    known = np.array([(p.y, p.x, p.variance) if p else (0.0, 0.0, np.inf) for p in places])
    along_y, along_x = (smooth_path(known[:, axis], known[:, 2], clear) for axis in (0, 1))
    error = np.sqrt(0.5 * (along_y.error**2 + along_x.error**2))
    middle = [0.5 * (p.place.min() + p.place.max()) for p in (along_y, along_x)]
    return Drift(
        along_y.place - middle[0],
        along_x.place - middle[1],
        error,
        along_y.used & along_x.used,
        found=True,
    )
