"""The exposures of a film: which structures each of them shows, for how long, and where."""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil, cos, floor, pi, sin, sqrt

import numpy as np
from numpy.typing import NDArray

from ceria_data.config_checks import WALK_CUT
from ceria_data.distributions import draw
from ceria_data.sections import FilmSection

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Exposure:
    """The part of one frame that shows one structure.

    Attributes
    ----------
    frame, structure : int
        From 0 in their film.
    start, stop : float
        Times from the start of the first exposure, in frames.
    """

    frame: int
    structure: int
    start: float
    stop: float

    @property
    def weight(self) -> float:
        """Share of the frame's time."""
        return self.stop - self.start


def expose(times: Floats, frames: int) -> list[Exposure]:
    """Cut the time of a film at every frame and every event.

    Parameters
    ----------
    times : array of float64, shape (event,)
        Ascending, in frames from the start of the first exposure, below `frames`.
    frames : int
        Exposures, one after the other without a gap.

    Returns
    -------
    list of Exposure
        By time; a structure of no duration is in none.

    Examples
    --------
    >>> [(e.frame, e.structure, e.weight) for e in expose(np.array([1.25]), 2)]
    [(0, 0, 1.0), (1, 0, 0.25), (1, 1, 0.75)]
    """
    edges = [0.0, *times.tolist(), float(frames)]
    return [
        Exposure(frame, structure, max(start, frame), min(stop, frame + 1))
        for structure, (start, stop) in enumerate(pairwise(edges))
        for frame in range(floor(start), ceil(stop))
        if start < stop
    ]


def shown(exposures: list[Exposure], frames: int) -> list[int]:
    """Name the structure that each frame shows longest, the first of equal ones.

    Examples
    --------
    >>> shown(expose(np.array([0.5, 1.25]), 2), 2)
    [0, 2]
    """
    longest: dict[int, Exposure] = {}
    for exposure in exposures:
        best = longest.get(exposure.frame)
        if best is None or exposure.weight > best.weight:
            longest[exposure.frame] = exposure
    return [longest[frame].structure for frame in range(frames)]


@dataclass(frozen=True)
class Drift:
    """Rigid motion of the particle in the image.

    Attributes
    ----------
    path : array of float64, shape (frame, 2)
        Shift (x, y) in the middle of every exposure from the middle of the first [Å].
    velocity : array of float64, shape (2,)
        Of the steady part (x, y) [Å/frame].
    """

    path: Floats
    velocity: Floats

    def during(self, exposure: Exposure) -> tuple[Floats, Floats]:
        """Mean shift during an exposure, and how far the particle moves in it [Å].

        The steady drift is followed exactly; the random walk makes its steps between
        frames.
        """
        middle = (exposure.start + exposure.stop) / 2 - (exposure.frame + 0.5)
        mean: Floats = self.path[exposure.frame] + self.velocity * middle
        return mean, self.velocity * exposure.weight


def draw_drift(film: FilmSection, rng: np.random.Generator) -> Drift:
    """Draw the drift of a film.

    Parameters
    ----------
    film : FilmSection
        Speed of a steady drift in a random direction, and the rms step of a random walk on
        top of it, per axis and root of time.
    rng : numpy.random.Generator
        Generator of the stage ``drift``.

    Returns
    -------
    Drift
        The walk is cut at `WALK_CUT` of its final standard deviations.

    Examples
    --------
    >>> still = draw_drift(FilmSection(frames=3), np.random.default_rng(0))
    >>> still.path.tolist()
    [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    """
    speed, angle = float(draw(film.drift_A_per_s, rng)), 2 * pi * rng.random()
    velocity = speed * film.frame_time_s * np.array((cos(angle), sin(angle)))
    step = film.drift_walk_A_per_root_s * sqrt(film.frame_time_s)
    steps = step * rng.standard_normal((film.frames, 2))
    steps[0] = 0
    farthest = WALK_CUT * film.drift_walk_A_per_root_s * sqrt(film.duration_s)
    walk = np.clip(steps.cumsum(axis=0), -farthest, farthest)
    path = walk + velocity * np.arange(film.frames)[:, None]
    digits = [float(f"{value:.9g}") + 0.0 for value in path.ravel()]
    return Drift(np.array(digits).reshape(path.shape), velocity)
