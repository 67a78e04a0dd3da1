"""Frames of a film for a page: chosen, averaged over neighbours, small enough to send."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from ceria_data.errors import CeriaError
from ceria_data.film import Film
from ceria_models.film_frames import digest_of
from ceria_models.film_source import open_again
from ceria_models.film_tables import MADE_OF
from ceria_models.report_tables import PredictedFilm

MOST_FRAMES = 240
"""Frames of a page; of longer films every 2nd, 3rd, ... one."""
NEIGHBOURS = 4
"""Frames before and after a frame that are averaged with it."""
_LOOKS = (
    (448, 85, 90), (448, 60, 75), (448, 30, 45), (400, 30, 45), (360, 30, 45), (320, 30, 45),
    (288, 30, 45), (256, 30, 45), (224, 30, 45), (192, 30, 45), (160, 30, 45), (128, 30, 45),
)  # fmt: skip
"""Pixels of a frame on the page along its longer side, and the quality of JPEG for frames as
recorded and averaged ones: the first that fits. Of noise, WebP of the same look takes more."""
_EVENT_FRAMES = 60
"""Frames shown besides, before and at events, the most certain ones first."""
_BYTES = 12_000_000
"""Of all pictures of frames; the page holds a third more, as text."""
_PROBES = 4


@dataclass(frozen=True)
class ShownFrames:
    """Frames as JPEG pictures of grey values.

    Attributes
    ----------
    frames : array of int, shape (n,)
    regular : array of bool, shape (n,)
        Those that are shown at equal steps; the others surround events.
    stride : int
        Between regular frames.
    raw : list of bytes
        As recorded.
    averaged : list of bytes
        Mean of a frame and its neighbours, their drift taken off, in the place of the frame.
    neighbours : int
        Frames averaged before and after.
    pixels : tuple of int
        Size of the pictures, (y, x); those of the film may be smaller.
    """

    frames: NDArray[np.int64]
    regular: NDArray[np.bool_]
    stride: int
    raw: list[bytes]
    averaged: list[bytes]
    neighbours: int
    pixels: tuple[int, int]


def film_of_tables(tables: PredictedFilm) -> tuple[Film | None, str]:
    """Open the film that was predicted, if it is still there.

    Parameters
    ----------
    tables : PredictedFilm

    Returns
    -------
    Film or None
    str
        Why there is none; empty otherwise.
    """
    source = str(tables.facts["source"])
    # Relative to where `predict` ran; the folder may have been moved together with the film.
    places = [source, str(tables.folder.parent / Path(source).name)]
    why = ""
    for place in dict.fromkeys(places):
        try:
            film = open_again(place, tables.facts.get("preparation") or {})
            another = _another(film, tables)
        except CeriaError as error:
            why = why or f"the film cannot be opened: {error}"
        else:
            if not another:
                return film, ""
            why = another
    return None, why


def _another(film: Film, tables: PredictedFilm) -> str:
    """Say why a film is not the one that was predicted; empty where it is."""
    if film.shape != tables.field.shape or len(film) < len(tables.frames):
        return (
            f"{tables.name} has {len(film)} frames of {film.shape[0]} × {film.shape[1]} pixels, "
            f"the prediction is of {len(tables.frames)} frames of {tables.field.shape[0]} × "
            f"{tables.field.shape[1]}: it is another film, or was prepared in another way"
        )
    made_of = tables.facts.get(MADE_OF)
    if made_of is None:
        return ""
    _, n_frames, _, digest = made_of["film"]
    if digest_of(film, n_frames) != digest:
        return (
            f"the frames of {film.source} are not those that were predicted: it is another film, "
            "or has been changed"
        )
    return ""


def choose_frames(
    n_frames: int, events: pd.DataFrame, most: int = MOST_FRAMES
) -> tuple[NDArray[np.int64], NDArray[np.bool_], int]:
    """Choose frames at equal steps, and the frames before and at events.

    Parameters
    ----------
    n_frames : int
    events : DataFrame
        frame and confidence.
    most : int
        Frames at equal steps.

    Returns
    -------
    array of int
        Frames in their order.
    array of bool
        Which of them are at equal steps.
    int
        The step.

    Examples
    --------
    >>> events = pd.DataFrame({"frame": [5], "confidence": [0.9]})
    >>> frames, regular, step = choose_frames(12, events, most=4)
    >>> frames.tolist(), regular.astype(int).tolist(), step
    ([0, 3, 4, 5, 6, 9], [1, 1, 0, 0, 1, 1], 3)
    """
    step = max(1, -(-n_frames // most))
    regular = np.arange(0, n_frames, step)
    certain = events.sort_values("confidence", ascending=False)["frame"].to_numpy(dtype=np.int64)
    around = np.stack([certain - 1, certain], axis=1).ravel()
    around = around[(around >= 0) & (around < n_frames)]
    besides = list(dict.fromkeys(int(i) for i in around if i % step))[:_EVENT_FRAMES]
    frames = np.union1d(regular, np.array(besides, dtype=np.int64))
    return frames, frames % step == 0, step


def show_frames(
    film: Film,
    drift: NDArray[np.float64],
    sampling: float,
    events: pd.DataFrame,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    budget: int = _BYTES,
) -> ShownFrames:
    """Make the pictures of a page.

    Parameters
    ----------
    film : Film
    drift : array of float, shape (frame, 2)
        x, y of each frame relative to the reference [Å].
    sampling : float
        Pixel size [Å/pixel].
    events : DataFrame
        frame and confidence; those frames are shown too.
    on_progress : callable
        Told pictures done and in all.
    budget : int
        Bytes of all pictures; they get smaller, then fewer, to fit.

    Returns
    -------
    ShownFrames

    Raises
    ------
    FilmError
        If frames cannot be read.
    """
    n = len(drift)
    frames, regular, step = choose_frames(n, events)
    probes = frames[np.linspace(0, len(frames) - 1, _PROBES).astype(int)]
    steps = np.rint(drift / sampling).astype(int)
    for side, *qualities in _LOOKS:
        look = _Look(film, steps, n, side, tuple(qualities)).with_greys(probes)
        one = max(sum(map(len, look.pictures(int(frame)))) for frame in probes)
        if 1.1 * one * len(frames) <= budget:
            break
    else:
        frames, regular, step = choose_frames(n, events.iloc[:0], int(budget / (1.1 * one)))
    raw, averaged = [], []
    for i, frame in enumerate(frames):
        pair = look.pictures(int(frame))
        raw.append(pair[0])
        averaged.append(pair[1])
        on_progress(i + 1, len(frames))
    return ShownFrames(
        frames, regular, step, raw, averaged, look.neighbours, look.size[::-1]
    )  # fmt: skip


@dataclass(frozen=True)
class _Look:
    """How frames become pictures."""

    film: Film
    steps: NDArray[Any]
    n_frames: int
    side: int
    qualities: tuple[int, ...]
    greys: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 1.0), (0.0, 1.0))

    @property
    def neighbours(self) -> int:
        return min(NEIGHBOURS, self.n_frames - 1)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a picture; never more pixels than the film's."""
        y, x = self.film.shape
        scale = min(1.0, self.side / max(y, x))
        return max(1, round(x * scale)), max(1, round(y * scale))

    def with_greys(self, probes: NDArray[Any]) -> "_Look":
        """Give all pictures the greys of a few frames, so that a film does not flicker."""
        seen = [self._small(int(frame)) for frame in probes]
        raw, averaged = (_greys(np.stack(kind)) for kind in zip(*seen, strict=True))
        return replace(self, greys=(raw, averaged))

    def pictures(self, frame: int) -> tuple[bytes, bytes]:
        raw, averaged = self._small(frame)
        return (
            grey_jpeg(raw, self.greys[0], self.qualities[0]),
            grey_jpeg(averaged, self.greys[1], self.qualities[1]),
        )

    def _small(self, frame: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        first = max(0, frame - self.neighbours)
        last = min(self.n_frames, frame + self.neighbours + 1)
        block = self.film.frames(first, last).astype(np.float32)
        moved = mean_in_place(block, self.steps[first:last] - self.steps[frame])
        return shrunk(block[frame - first], self.size), shrunk(moved, self.size)


def _greys(images: NDArray[np.floating]) -> tuple[float, float]:
    """Values that become black and white."""
    known = images[np.isfinite(images)]
    if not len(known):
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(known, (0.5, 99.7)))
    return low, max(high, low + 1e-9)


def mean_in_place(block: NDArray[np.float32], steps: NDArray[Any]) -> NDArray[np.float32]:
    """Average frames after moving each back by whole pixels; broken frames are left out.

    Parameters
    ----------
    block : array of float32, shape (frame, y, x)
    steps : array of int, shape (frame, 2)
        Pixels x, y that each has drifted; 0 for one of them.

    Returns
    -------
    array of float32, shape (y, x)

    Examples
    --------
    >>> block = np.zeros((2, 1, 4), np.float32)
    >>> block[0, 0, 1] = block[1, 0, 2] = 6
    >>> mean_in_place(block, np.array([[0, 0], [1, 0]])).tolist()
    [[0.0, 6.0, 0.0, 0.0]]
    """
    total = np.zeros(block.shape[1:], np.float32)
    weight = np.zeros(block.shape[1:], np.float32)
    for image, (x, y) in zip(block, steps, strict=True):
        if not np.isfinite(image).all():
            continue
        (rows, from_rows), (columns, from_columns) = (
            _overlap(n, int(step)) for n, step in zip(image.shape, (y, x), strict=True)
        )
        total[rows, columns] += image[from_rows, from_columns]
        weight[rows, columns] += 1
    return np.asarray(total / np.maximum(weight, 1), dtype=np.float32)


def _overlap(n: int, step: int) -> tuple[slice, slice]:
    """Pixels of an axis before and after it has moved."""
    return slice(max(0, -step), min(n, n - step)), slice(max(0, step), min(n, n + step))


def shrunk(image: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float32]:
    """Average an image onto fewer pixels.

    Parameters
    ----------
    image : array of float, shape (y, x)
    size : tuple of int
        Width and height.
    """
    if image.shape == size[::-1]:
        return image.astype(np.float32)
    picture = Image.fromarray(image.astype(np.float32))
    return np.asarray(picture.resize(size, Image.Resampling.BOX))


def grey_jpeg(
    image: NDArray[np.floating], greys: tuple[float, float] | None = None, quality: int = 85
) -> bytes:
    """Write an image as an 8-bit JPEG picture.

    Parameters
    ----------
    image : array of float, shape (y, x)
    greys : tuple of float, optional
        Values that become black and white; by default nearly the whole range.
    quality : int

    Returns
    -------
    bytes
    """
    low, high = greys or _greys(image)
    known = np.nan_to_num(image, nan=low, posinf=high, neginf=low)
    bits = np.clip(255 * (known - low) / (high - low), 0, 255).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(bits).save(file, format="JPEG", quality=quality, optimize=True)
    return file.getvalue()
