"""The film as pictures with counts on the columns, and as a GIF that any slide or page shows."""

from collections.abc import Iterable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ceria_models.overlay import COLOUR_MAPS
from ceria_models.report_frames import ShownFrames
from ceria_models.report_tables import PredictedFilm
from ceria_models.report_traces import MISSING, Traces
from ceria_models.report_words import decimals

MOST_FRAMES = 120
"""Pictures of a film; of more frames, every 2nd, 3rd, ... one."""
FRAMES_PER_S = 10
"""Pictures shown per second; their own time is written on them."""
_SIDE = 480
_GREYS = 48
"""Fewer greys make a smaller file, and atoms do not need them."""
_RADIUS_A = {"Ce": 0.55, "O": 0.42}
_SURE = 0.5
_BARS_NM = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
Colour = tuple[int, int, int]


def animation_pictures(
    tables: PredictedFilm, traces: Traces, shown: ShownFrames, species: str = "Ce"
) -> Iterator[Image.Image]:
    """Draw the averaged frames of a page, with the counts of one species.

    Parameters
    ----------
    tables : PredictedFilm
    traces : Traces
    shown : ShownFrames
    species : str

    Yields
    ------
    Image
        RGB, all of one size; at most `MOST_FRAMES`.
    """
    chosen = np.flatnonzero(shown.regular)
    chosen = chosen[:: -(-len(chosen) // MOST_FRAMES)]
    return (_draw(tables, traces, shown, int(i), species) for i in chosen)


def animation_gif(pictures: Iterable[Image.Image]) -> bytes:
    """Write pictures as a GIF that repeats.

    Parameters
    ----------
    pictures : iterable of Image
        RGB, at least one, all of one size.

    Returns
    -------
    bytes

    Examples
    --------
    >>> gif = animation_gif([Image.new("RGB", (4, 2)), Image.new("RGB", (4, 2), "red")])
    >>> with Image.open(BytesIO(gif)) as film:
    ...     film.n_frames, film.size, film.info["duration"]
    (2, (4, 2), 100)
    """
    few = [one.quantize(colors=96, dither=Image.Dither.NONE) for one in pictures]
    file = BytesIO()
    few[0].save(
        file, format="GIF", save_all=True, append_images=few[1:],
        duration=1000 // FRAMES_PER_S, loop=0,
    )  # fmt: skip
    return file.getvalue()


def _draw(
    tables: PredictedFilm, traces: Traces, shown: ShownFrames, at: int, species: str
) -> Image.Image:
    frame = int(shown.frames[at])
    grey = np.asarray(Image.open(BytesIO(shown.averaged[at])).convert("L"))
    grey = (grey // (256 // _GREYS)) * (256 // _GREYS)
    scale = _SIDE / max(grey.shape)
    size = (round(grey.shape[1] * scale), round(grey.shape[0] * scale))
    resample = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.BILINEAR
    picture = Image.fromarray(grey).resize(size, resample).convert("RGB")
    pen = ImageDraw.Draw(picture)
    per_A = size[0] / tables.field.extent[1]
    t = int(np.searchsorted(traces.frames, frame))
    own = tables.sites[tables.sites["species"] == species]
    colours = _colours(species, traces.most_of(own["site"].to_numpy()))
    for site, x, y in own[["site", "x_A", "y_A"]].itertuples(index=False):
        count = int(traces.occupancy[site, t])
        if count != MISSING:
            place = np.array([x, y]) + tables.drift[frame] + 0.5 * tables.sampling
            sure = traces.confidence[site, t] / 255 >= _SURE
            _disc(pen, place * per_A, _RADIUS_A[species] * per_A, count, colours, sure=sure)
    seconds = float(tables.frames["time_s"][frame])
    _words(pen, f"{seconds:.{decimals(tables.frame_time_s)}f} s", size, per_A)
    return picture


def _disc(
    pen: ImageDraw.ImageDraw,
    place: NDArray[np.float64],
    radius: float,
    count: int,
    colours: list[Colour],
    *,
    sure: bool,
) -> None:
    x, y = place
    colour = colours[count - 1] if count else (255, 255, 255)
    fill = colour if sure and count else (20, 20, 20)
    box = (x - radius, y - radius, x + radius, y + radius)
    pen.ellipse(box, fill=fill, outline=colour, width=max(1, round(radius / 6)))
    if radius >= 5:
        dark = sum(fill) > 330
        font = _font(round((1.5 if count < 10 else 1.15) * radius))
        pen.text((x, y), str(count), fill="black" if dark else "white", font=font, anchor="mm")


def _words(pen: ImageDraw.ImageDraw, text: str, size: tuple[int, int], per_A: float) -> None:
    """Write the time and a scale bar."""
    font = _font(16)
    fitting = [nm for nm in _BARS_NM if 10 * nm * per_A <= size[0] / 3]
    nm = max(fitting, default=_BARS_NM[0])
    long, low = 10 * nm * per_A, size[1] - 8
    pen.rectangle((0, low - 28, long + 16, size[1]), fill="black")
    pen.rectangle((8, low - 4, 8 + long, low), fill="white")
    pen.text((8 + long / 2, low - 7), f"{nm:g} nm", fill="white", font=font, anchor="ms")
    pen.rectangle((0, 0, pen.textlength(text, font) + 12, 22), fill="black")
    pen.text((6, 3), text, fill="white", font=font)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)


def _colours(species: str, most: int) -> list[Colour]:
    table = colormaps[COLOUR_MAPS[species]](np.linspace(0, 1, max(most, 2)), bytes=True)
    return [(int(r), int(g), int(b)) for r, g, b, _ in table]
