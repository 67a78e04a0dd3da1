"""One image of a test set, with what a program found in it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ceria_data.dataset import Sample
from ceria_data.grid import Field
from ceria_data.schema import SPECIES
from ceria_models.evaluation import CountColumns
from ceria_models.evaluation_plots import png_of
from ceria_models.matching import match_columns
from ceria_models.overlay import show_image
from ceria_models.recording import OWN, Recording, record_at

_MARKS = {"right": "#009E73", "wrong": "#D55E00", "missed": "#F0E442", "false": "#CC79A7"}
_SMOOTH_A = 0.25


@dataclass(frozen=True)
class Example:
    """One image with what a program found in it.

    Attributes
    ----------
    image : array of float, shape (y, x)
        Electrons.
    field : Field
    title : str
    matches : DataFrame
        As from `match_columns`, with x_A and y_A of the true column or, where there is none,
        of the found one.
    """

    image: NDArray[np.float64]
    field: Field
    title: str
    matches: pd.DataFrame


def example_of(
    count_columns: CountColumns, sample: Sample, dose: float, recording: Recording = OWN
) -> Example:
    """Run a program on one image.

    Parameters
    ----------
    count_columns : callable
        See `evaluation.CountColumns`.
    sample : Sample
    dose : float
        e-/Å².
    recording : Recording

    Returns
    -------
    Example
    """
    dataset = sample.dataset
    view = recording.view(dataset.field)
    image = record_at(sample, dose, recording=recording)
    found = count_columns(image, view.field.sampling).reset_index(drop=True)
    truth = view.truth(sample.columns)
    matches = match_columns(truth, found, view.field, int(dataset.manifest["max_count"]))
    real = matches["true_row"].to_numpy() >= 0
    for name in ("x_A", "y_A"):
        of_truth = truth[name].to_numpy(float)[matches["true_row"]]
        of_found = np.append(found[name].to_numpy(float), np.nan)[matches["found_row"]]
        matches[name] = np.where(real, of_truth, of_found)
    defocus = sample.parameters["defocus_A"]
    title = (
        f"sample {sample.parameters['sample']}: {dose:g} e⁻/Å², "
        f"{abs(defocus):.0f} Å {'overfocus' if defocus < 0 else 'underfocus'}"
    )
    return Example(image, view.field, title, matches)


def example_png(example: Example) -> bytes:
    """Draw an image, and beside it what was reported of each species, right and wrong.

    Parameters
    ----------
    example : Example

    Returns
    -------
    bytes
        PNG.
    """
    figure = Figure(figsize=(15, 5.8), layout="constrained")
    axes = figure.subplots(1, 3)
    smooth = gaussian_filter(example.image, _SMOOTH_A / example.field.sampling)
    for axis, image in zip(axes, (example.image, smooth, smooth), strict=True):
        show_image(axis, image, example.field)
    axes[0].set_title("as recorded")
    for axis, species in zip(axes[1:], SPECIES, strict=True):
        own = example.matches[example.matches["species"] == species]
        clear = own[~own["border"] & ~own["ambiguous"]]
        _mark(axis, clear, 8.0 if species == SPECIES[0] else 6.5)
        true = clear["true_count"] > 0
        right = (clear["count"] == clear["true_count"]) & true
        axis.set_title(f"{species}: {right.sum()} of {true.sum()} columns right")
    handles = [
        Line2D([], [], ls="", marker="o", ms=9, color=_MARKS["right"], label="right (count)"),
        Line2D([], [], ls="", marker="o", ms=9, color=_MARKS["wrong"],
               label="wrong (reported | true)"),
        Line2D([], [], ls="", marker="o", ms=9, mfc="black", mec=_MARKS["missed"], mew=2,
               label="not found (true count)"),
        Line2D([], [], ls="", marker="X", ms=9, color=_MARKS["false"],
               label="reported where no column is"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(example.title)
    return png_of(figure)


def _mark(axis: Axes, matches: pd.DataFrame, size: float) -> None:
    for row in matches.to_dict("records"):
        true, said = int(row["true_count"]), int(row["count"])
        if true == 0:
            axis.plot(row["x_A"], row["y_A"], "X", c=_MARKS["false"], ms=size, mec="black", mew=0.5)
            continue
        kind = "missed" if said == 0 else "right" if said == true else "wrong"
        text = f"{said}|{true}" if kind == "wrong" else str(true)
        box = {
            "boxstyle": "round,pad=0.12,rounding_size=0.5",
            "facecolor": "black" if kind == "missed" else _MARKS[kind],
            "edgecolor": _MARKS[kind],
        }
        axis.text(
            row["x_A"], row["y_A"], text, ha="center", va="center", fontsize=size,
            color=_MARKS["missed"] if kind == "missed" else "white", bbox=box, clip_on=True,
        )  # fmt: skip
