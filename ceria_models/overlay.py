"""A picture of what was found: the image, and the count of every column on it."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ceria_data.grid import Field
from ceria_data.pictures import scale_bar
from ceria_data.schema import SPECIES

_SMOOTH_A = 0.25
"""Width of the Gaussian that makes the second panel's image readable [Å]."""
_MAPS = {"Ce": "viridis", "O": "plasma"}
_SIZES = {"Ce": 7.0, "O": 5.0}


def draw_overlay(
    image: NDArray[np.floating] | NDArray[np.integer],
    columns: pd.DataFrame,
    sampling: float,
    title: str,
    file: Path,
) -> None:
    """Draw an image, and beside it the columns found for each species.

    Parameters
    ----------
    image : array, shape (y, x)
    columns : DataFrame
        species, x_A, y_A, occupancy and, where it is known, confidence.
    sampling : float
        Å/pixel.
    title : str
    file : Path
        PNG to write.
    """
    field = Field((image.shape[0], image.shape[1]), sampling)
    tall = min(max(image.shape[0] / image.shape[1], 0.3), 3.0)
    figure = Figure(figsize=(15, 4.6 * tall + 0.9), layout="constrained")
    axes = figure.subplots(1, 3)
    smooth = gaussian_filter(np.asarray(image, dtype=float), _SMOOTH_A / sampling)
    show_image(axes[0], np.asarray(image, dtype=float), field)
    axes[0].set_title("as recorded")
    for axis, species in zip(axes[1:], SPECIES, strict=True):
        show_image(axis, smooth, field)
        own = columns[columns["species"] == species]
        _mark(axis, own, species)
        axis.set_title(f"{species}: atoms in each of {len(own)} columns")
        if len(own):
            top = max(int(own["occupancy"].max()), 2)
            colours = ScalarMappable(Normalize(1, top), _MAPS[species])
            ticks = MaxNLocator(integer=True)
            figure.colorbar(colours, ax=axis, shrink=0.8, label=f"{species} atoms", ticks=ticks)
    figure.suptitle(title)
    FigureCanvasAgg(figure)
    figure.savefig(file, dpi=110)


def show_image(axis: Axes, image: NDArray[np.floating], field: Field) -> None:
    """Draw an image as grey values in Å, with a scale bar.

    Parameters
    ----------
    axis : matplotlib.axes.Axes
    image : array of float, shape (y, x)
    field : Field
    """
    low, high = np.percentile(image, (0.5, 99.5))
    step = field.sampling
    ny, nx = image.shape
    extent = (-0.5 * step, (nx - 0.5) * step, (ny - 0.5) * step, -0.5 * step)
    axis.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-9), extent=extent)
    scale_bar(axis, field, fontsize=12)
    axis.set_axis_off()


def _mark(axis: Axes, columns: pd.DataFrame, species: str) -> None:
    """Write the count of every column; columns the net is less sure of are fainter."""
    if not len(columns):
        return
    top = max(int(columns["occupancy"].max()), 2)
    colours = ScalarMappable(Normalize(1, top), _MAPS[species])
    sure = columns["confidence"] if "confidence" in columns else pd.Series(1.0, columns.index)
    for x, y, count, confidence in zip(
        columns["x_A"], columns["y_A"], columns["occupancy"], sure, strict=True
    ):
        colour = colours.to_rgba(count)
        axis.text(
            x,
            y,
            str(count),
            ha="center",
            va="center",
            fontsize=_SIZES[species],
            color="black" if sum(colour[:3]) > 1.4 else "white",
            alpha=0.45 + 0.55 * float(confidence),
            bbox={"boxstyle": "circle,pad=0.18", "facecolor": colour, "edgecolor": "none"},
            clip_on=True,
        )
