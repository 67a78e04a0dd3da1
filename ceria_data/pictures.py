"""Pictures of a dataset, drawn from what is stored: contact sheet, labels, histograms."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray
from PIL import Image

from ceria_data.dataset import Dataset, Sample
from ceria_data.grid import Field
from ceria_data.schema import SPECIES

PANEL_PIXELS = 200
"""Larger images are binned until both sides are at most this long, for the sheet only."""
_GOLDEN_RATIO = (5**0.5 - 1) / 2
_BAR_LENGTHS_NM = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_MARKERS = {"Ce": ("o", 70), "O": ("s", 22)}
# Splits keep their colour in every histogram: Okabe and Ito's palette and two greys.
_SPLIT_COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7",
    "#56B4E9", "#F0E442", "#000000", "#777777", "#BBBBBB",
)  # fmt: skip


def choose_samples(dataset: Dataset, number: int) -> list[Sample]:
    """Choose samples that show as many splits and kinds as possible, always the same ones.

    Splits take turns; within a split the kinds take turns, and within a kind the samples
    are taken in steps of the golden ratio, which spreads them over structures and doses.

    Parameters
    ----------
    dataset : Dataset
    number : int
        Samples wanted; fewer are returned if the dataset has fewer.

    Returns
    -------
    list of Sample
        In the order of the splits, then by dose.
    """
    samples = dataset.samples.reset_index(drop=True)
    rows = samples.merge(dataset.structures[["structure", "kind"]], on="structure", how="left")
    rows["mixed"] = (rows["sample"] * _GOLDEN_RATIO) % 1
    rows["turn"] = rows.sort_values("mixed").groupby(["split", "kind"]).cumcount()
    rows["order"] = rows.sort_values(["turn", "kind"]).groupby("split").cumcount()
    position = {name: i for i, name in enumerate(splits_of(dataset))}
    rows["place"] = rows["split"].map(position)
    chosen = rows.sort_values(["order", "place"]).head(number)
    return [dataset[i] for i in chosen.sort_values(["place", "dose_e_per_A2", "sample"]).index]


def splits_of(dataset: Dataset) -> list[str]:
    """Name the splits that have samples, in the order of the rows, which is the config's."""
    return list(dict.fromkeys(dataset.samples["split"]))


def contact_sheet_png(dataset: Dataset, samples: Sequence[Sample]) -> bytes:
    """Draw counts as grey values, with scale bar, kind, dose and defocus.

    Parameters
    ----------
    dataset : Dataset
    samples : sequence of Sample
        At least one.

    Returns
    -------
    bytes
        A PNG file; equal input gives equal bytes.
    """
    across = min(4, len(samples))
    down = -(-len(samples) // across)
    ny, nx = dataset.field.shape
    width = 2.4
    figure = Figure(figsize=(across * width, down * (width * ny / nx + 0.55)), layout="tight")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    kinds = dataset.structures.set_index("structure")["kind"]
    for axis in axes:
        axis.set_axis_off()
    for axis, sample in zip(axes, samples, strict=False):
        row = sample.parameters
        counts, binning = binned(sample.counts)
        low, high = np.percentile(counts, (0.5, 99.5))
        field = dataset.field
        axis.imshow(
            counts,
            cmap="gray",
            vmin=low,
            vmax=max(high, low + 1),
            extent=_extent(field),
            interpolation="nearest",
        )
        scale_bar(axis, field)
        note = f", {binning} × {binning} binned" if binning > 1 else ""
        axis.set_title(
            f"{row['split']} · {kinds[row['structure']]}\n"
            f"sample {row['sample']}: {_short(row['dose_e_per_A2'])} e⁻/Å², "
            f"{row['defocus_A']:.0f} Å{note}",
            fontsize=7,
        )
    return _png(figure)


def labels_png(dataset: Dataset, samples: Sequence[Sample]) -> bytes:
    """Draw noise-free images with their columns, and the class map of each species.

    Parameters
    ----------
    dataset : Dataset
    samples : sequence of Sample
        At least one; each gets a row of three panels.

    Returns
    -------
    bytes
        A PNG file; equal input gives equal bytes.
    """
    field = dataset.field
    ratio = field.shape[0] / field.shape[1]
    size = (11.0, len(samples) * (3.3 * ratio + 0.7) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(samples), 3, squeeze=False)
    top = max([1, *(int(n) for sample in samples for n in _inside(sample)["occupancy"])])
    largest = int(dataset.manifest["max_count"])
    clipped = f"; class {largest} = {largest} or more" if top > largest else ""
    colours, norm = class_colours(top)
    painted: Any = None
    for row, sample in zip(axes, samples, strict=True):
        parameters = sample.parameters
        row[0].imshow(sample.intensity.astype(np.float64), cmap="gray", extent=_extent(field))
        _mark_columns(row[0], _inside(sample), colours, norm)
        row[0].set_title(
            f"sample {parameters['sample']}: intensity and columns, "
            f"defocus {parameters['defocus_A']:.0f} Å",
            fontsize=8,
        )
        for axis, species, classes in zip(row[1:], SPECIES, sample.occupancy, strict=True):
            painted = axis.imshow(
                classes, cmap=colours, norm=norm, extent=_extent(field), interpolation="nearest"
            )
            axis.set_title(f"class map, {species}{clipped}", fontsize=8)
        for axis in row:
            axis.set_xlim(-0.5 * field.sampling, field.extent[1] - 0.5 * field.sampling)
            axis.set_ylim(field.extent[0] - 0.5 * field.sampling, -0.5 * field.sampling)
            axis.set_xlabel("x (Å)", fontsize=7)
            axis.set_ylabel("y (Å)", fontsize=7)
            axis.tick_params(labelsize=6)
    bar = figure.colorbar(painted, ax=axes, ticks=range(top + 1), shrink=0.8)
    bar.set_label("atoms in the column (0 = background)", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3, fontsize=8)
    return _png(figure)


def histograms_png(dataset: Dataset) -> bytes:
    """Draw how dose, defocus, SNR, thickness and the occupancies are distributed.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    bytes
        A PNG file; equal input gives equal bytes.
    """
    samples, splits = dataset.samples, splits_of(dataset)
    structures = dataset.structures
    structures = structures[structures["structure"].isin(samples["structure"])]
    columns = dataset.columns[dataset.columns["in_field"]].merge(
        structures[["structure", "split"]], on="structure"
    )
    electrons = samples["dose_e_per_A2"] * samples["sampling_A"] ** 2
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    images = samples["split"]
    of_structures = structures["split"]
    _stack(axes[0], samples["dose_e_per_A2"], images, splits, log=True)
    axes[0].set(xlabel="dose (e⁻/Å²)", ylabel="images")
    _stack(axes[1], samples["defocus_A"], images, splits)
    axes[1].set(xlabel="defocus (Å), positive = underfocus", ylabel="images")
    _stack(axes[2], electrons**0.5, images, splits, log=True)
    axes[2].set(xlabel="SNR = √(vacuum electrons per pixel)", ylabel="images")
    _stack(axes[3], structures["thickness_A"], of_structures, splits)
    axes[3].set(xlabel="thickness (Å)", ylabel="structures")
    for axis, species in zip(axes[4:], SPECIES, strict=True):
        own = columns[columns["species"] == species]
        _stack(axis, own["occupancy"], own["split"], splits, whole=True)
        axis.set(xlabel=f"{species} atoms in the column", ylabel="columns in the field")
    handles = [
        Rectangle((0, 0), 1, 1, color=_SPLIT_COLOURS[i % len(_SPLIT_COLOURS)])
        for i in range(len(splits))
    ]
    figure.legend(handles, splits, loc="outside lower center", ncols=5, fontsize=8)
    for axis in axes:
        axis.tick_params(labelsize=7)
    return _png(figure)


def binned(counts: NDArray[np.integer]) -> tuple[NDArray[np.float64], int]:
    """Sum square groups of pixels until the image fits a panel.

    Parameters
    ----------
    counts : array of int, shape (y, x)

    Returns
    -------
    array of float, shape (y // n, x // n)
    int
        Pixels of the image along a side of a group, n.

    Examples
    --------
    >>> sums, n = binned(np.ones((402, 300), dtype=np.uint16))
    >>> sums.shape, n, float(sums[0, 0])
    ((134, 100), 3, 9.0)
    """
    n = -(-max(counts.shape) // PANEL_PIXELS)
    ny, nx = (size // n for size in counts.shape)
    blocks = counts[: ny * n, : nx * n].astype(np.float64).reshape(ny, n, nx, n)
    return blocks.sum(axis=(1, 3)), n


def _extent(field: Field) -> tuple[float, float, float, float]:
    """Edges of the field, so that the centre of pixel (0, 0) is the origin."""
    half = 0.5 * field.sampling
    return -half, field.extent[1] - half, field.extent[0] - half, -half


def scale_bar(axis: Any, field: Field, fontsize: float = 6) -> None:
    """Draw the longest round length that covers at most a third of the image.

    Parameters
    ----------
    axis : matplotlib.axes.Axes
        With the image drawn in Å.
    field : Field
    fontsize : float
        In points; the bar's box suits 6 in a panel of 2.4 inches.
    """
    height, width = field.extent
    fitting = [nm for nm in _BAR_LENGTHS_NM if 10 * nm <= width / 3]
    length = max(fitting, default=_BAR_LENGTHS_NM[0])
    left, bottom = 0.04 * width, 0.93 * height
    box = (left - 0.02 * width, bottom - 0.13 * height)
    axis.add_patch(
        Rectangle(box, 10 * length + 0.04 * width, 0.17 * height, color="black", alpha=0.6, lw=0)
    )
    axis.plot([left, left + 10 * length], [bottom, bottom], color="white", lw=2.5)
    axis.text(
        left + 5 * length,
        bottom - 0.02 * height,
        f"{length:g} nm",
        color="white",
        fontsize=fontsize,
        ha="center",
        va="bottom",
    )


def _inside(sample: Sample) -> pd.DataFrame:
    columns = sample.columns
    return columns[columns["in_field"]]


def class_colours(top: int) -> tuple[ListedColormap, BoundaryNorm]:
    """Give every class its colour; background is black.

    Parameters
    ----------
    top : int
        The largest class.

    Returns
    -------
    matplotlib.colors.ListedColormap
    matplotlib.colors.BoundaryNorm
        From a class to its colour.
    """
    steps = colormaps["turbo"](np.linspace(0.08, 0.95, top))
    colours = ListedColormap(np.vstack([[0, 0, 0, 1], steps]))
    return colours, BoundaryNorm(np.arange(top + 2) - 0.5, top + 1)


def _mark_columns(
    axis: Any, columns: pd.DataFrame, colours: ListedColormap, norm: BoundaryNorm
) -> None:
    for species, (marker, size) in _MARKERS.items():
        own = columns[(columns["species"] == species) & (columns["occupancy"] > 0)]
        axis.scatter(
            own["x_A"],
            own["y_A"],
            marker=marker,
            s=size,
            linewidths=1.4,
            facecolors="none",
            edgecolors=colours(norm(own["occupancy"].to_numpy())),
        )
    emptied = columns[columns["occupancy"] == 0]
    axis.scatter(emptied["x_A"], emptied["y_A"], c="red", marker="x", s=20, linewidths=1.0)


def _legend() -> list[Line2D]:
    style: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "none"}
    return [
        Line2D([], [], marker="o", color="black", label="Ce column", **style),
        Line2D([], [], marker="s", color="black", markersize=5, label="O column", **style),
        Line2D([], [], marker="x", color="red", label="emptied column", **style),
    ]


def _stack(
    axis: Any,
    values: "pd.Series[Any]",
    split: "pd.Series[Any]",
    splits: list[str],
    *,
    log: bool = False,
    whole: bool = False,
) -> None:
    """Draw one histogram with the splits on top of each other."""
    numbers = values.to_numpy(dtype=np.float64)
    edges = _edges(numbers, log=log, whole=whole)
    below = np.zeros(len(edges) - 1)
    for i, name in enumerate(splits):
        height, _ = np.histogram(numbers[split.to_numpy() == name], bins=edges)
        axis.bar(
            edges[:-1],
            height,
            np.diff(edges),
            bottom=below,
            align="edge",
            color=_SPLIT_COLOURS[i % len(_SPLIT_COLOURS)],
            edgecolor="white",
            linewidth=0.2,
        )
        below = below + height
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    if whole:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if log:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_locator(NullLocator())


def _edges(
    values: NDArray[np.float64], *, log: bool = False, whole: bool = False
) -> NDArray[np.float64]:
    """Edges of the bins; a constant gets one bin around it."""
    if len(values) == 0:
        return np.array([0.0, 1.0]) + 1.0 * log
    low, high = float(values.min()), float(values.max())
    if whole:
        return np.arange(low, high + 2) - 0.5
    if low == high:
        return np.array([low / 1.1, low * 1.1]) if log else np.array([low - 0.5, low + 0.5])
    return np.geomspace(low, high, 25) if log else np.linspace(low, high, 25)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


def _png(figure: Figure) -> bytes:
    """Write a figure as a PNG of at most 128 colours, without any date or version in it."""
    figure.set_dpi(100)
    canvas: Any = FigureCanvasAgg(figure)  # typed only in part
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    reduced = picture.quantize(colors=128, dither=Image.Dither.NONE)
    file = BytesIO()
    reduced.save(file, format="PNG", optimize=True)
    return file.getvalue()
