"""A picture of what was found: the image, and the count of every column on it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ceria_data.grid import Field
from ceria_data.pictures import scale_bar
from ceria_data.schema import SPECIES

_SMOOTH_A = 0.25
"""Width of the Gaussian that makes the image under the counts readable [Å]."""
COLOUR_MAPS = {"Ce": "viridis", "O": "plasma"}
"""Colours of counts."""
_SURE = 0.5
"""A count that is as likely wrong as right is drawn hollow."""
_PANEL_INCHES = (4.6, 11.0)
_TALLEST = 3.0
"""Height of a panel over its width."""
_DPI = 110
_INCHES_PER_A = 0.22
"""Gives a disc of a column room for a digit."""
_DIGIT_SIZE = {"Ce": 9.0 / 16, "O": 7.5 / 16}
"""Of the length of 1 Å; discs of neighbouring O columns, 1.9 Å apart, do not touch."""
_SMALLEST_POINTS = 3.0
_SHARE = {1: 1.0, 2: 0.8, 3: 0.6}
"""Of the size of a single digit, by the number of characters."""


def draw_overlay(
    image: NDArray[np.floating] | NDArray[np.integer],
    columns: pd.DataFrame,
    sampling: float,
    title: str,
    file: Path,
    heading: str = "the image as recorded",
) -> None:
    """Draw an image, and beside it the columns found for each species.

    Parameters
    ----------
    image : array, shape (y, x)
    columns : DataFrame
        species, x_A, y_A, occupancy and, where it is known, confidence. An occupancy may be a
        mean, rounded to what is to be written.
    sampling : float
        Å/pixel.
    title : str
    file : Path
        PNG to write.
    heading : str
        Of the image without columns.
    """
    image, field = _for_paper(image, sampling)
    width = min(max(_INCHES_PER_A * field.extent[1], _PANEL_INCHES[0]), _PANEL_INCHES[1])
    tall = min(max(image.shape[0] / image.shape[1], 0.3), _TALLEST)
    points_per_A = 72 * width * min(1 / field.extent[1], tall / field.extent[0])
    figure = Figure(figsize=(3 * width + 1.6, width * tall + 1.1), layout="constrained")
    axes = figure.subplots(1, 3)
    step = field.extent[1] / image.shape[1]
    smooth = gaussian_filter(image, _SMOOTH_A / step)
    show_image(axes[0], image, field)
    axes[0].set_title(heading)
    known = "confidence" in columns
    for axis, species in zip(axes[1:], SPECIES, strict=True):
        # The scale is that of the first panel; a bar would hide columns.
        show_image(axis, smooth, field, bar=False)
        own = columns[columns["species"] == species]
        axis.set_title(_heading(species, own))
        if len(own):
            top = max(int(np.ceil(own["occupancy"].max())), 2)
            colours = ScalarMappable(Normalize(1, top), COLOUR_MAPS[species])
            _mark(axis, own, colours, _DIGIT_SIZE[species] * points_per_A)
            label = f"{species} atoms in a column"
            ticks = MaxNLocator(integer=True)
            figure.colorbar(colours, ax=axis, shrink=0.8, label=label, ticks=ticks)
    figure.suptitle(title)
    if known and len(columns):
        figure.legend(handles=_legend(), loc="outside lower center", ncols=2, frameon=False)
    FigureCanvasAgg(figure)
    figure.savefig(file, dpi=_DPI)


def _for_paper(
    image: NDArray[np.floating] | NDArray[np.integer], sampling: float
) -> tuple[NDArray[np.float64], Field]:
    """Average the pixels that a panel has no dots for; the field is that of the image still."""
    dots = int(_PANEL_INCHES[1] * _DPI)
    block = max(image.shape[1] // dots, int(image.shape[0] / (_TALLEST * dots)), 1)
    y, x = (n // block for n in image.shape)
    parts = image[: y * block, : x * block].reshape(y, block, x, block)
    return parts.mean((1, 3), dtype=np.float64), Field((y * block, x * block), sampling)


def show_image(axis: Axes, image: NDArray[np.floating], field: Field, *, bar: bool = True) -> None:
    """Draw an image as grey values in Å.

    Parameters
    ----------
    axis : matplotlib.axes.Axes
    image : array of float, shape (y, x)
    field : Field
        It covers the image, whose pixels may be larger.
    bar : bool
        With a scale bar.
    """
    low, high = np.percentile(image, (0.5, 99.5))
    step = field.sampling
    ny, nx = field.shape
    extent = (-0.5 * step, (nx - 0.5) * step, (ny - 0.5) * step, -0.5 * step)
    axis.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-9), extent=extent)
    if bar:
        scale_bar(axis, field, fontsize=12)
    axis.set_axis_off()


def _heading(species: str, columns: pd.DataFrame) -> str:
    below = "on the smoothed image"
    if len(columns) and "confidence" in columns:
        below = f"mean confidence {columns['confidence'].mean():.2f}, {below}"
    return f"{species}: atoms in each of {len(columns)} columns\n{below}"


def _mark(axis: Axes, columns: pd.DataFrame, colours: ScalarMappable, points: float) -> None:
    """Write the count of every column on a disc; hollow where it is more likely wrong."""
    sure = columns["confidence"] if "confidence" in columns else pd.Series(1.0, columns.index)
    size = max(points, _SMALLEST_POINTS)
    for x, y, count, confidence in zip(
        columns["x_A"], columns["y_A"], columns["occupancy"], sure, strict=True
    ):
        colour = colours.to_rgba(count)
        full = confidence >= _SURE
        bright = sum(colour[:3]) > 1.4
        text = f"{count:g}"
        axis.text(
            x,
            y,
            text,
            ha="center",
            va="center_baseline",
            fontsize=size * _SHARE.get(len(text), 0.5),
            color="black" if full and bright else "white",
            bbox={
                "boxstyle": "circle,pad=0.15",
                "facecolor": colour if full else "0.15",
                "edgecolor": colour,
                "linewidth": 1.0,
            },
            clip_on=True,
        )


def _legend() -> list[Line2D]:
    style: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 9, "color": "0.4"}
    hollow = f"hollow: below {_SURE:g}, the count may well be another"
    return [
        Line2D([], [], label=f"filled: confidence {_SURE:g} or more", **style),
        Line2D([], [], label=hollow, markerfacecolor="none", **style),
    ]
