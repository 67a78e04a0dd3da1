"""Pictures of an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ceria_data.dataset import Sample
from ceria_data.grid import Field
from ceria_data.schema import SPECIES
from ceria_models.evaluation import CountColumns
from ceria_models.evaluation_record import Evaluation
from ceria_models.matching import match_columns
from ceria_models.overlay import show_image
from ceria_models.strata import WINDOW, record_at

AXES = {
    "defocus_A": "defocus [Å], negative = overfocus",
    "thickness_atoms": "thickness [atoms]",
    "mistilt_deg": "tilt [°]",
    "kind": "shape",
    "surface": "place in the particle",
}
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
"""Okabe and Ito's palette; grey and black are for prior and ceiling."""
_MARKS = {"right": "#009E73", "wrong": "#D55E00", "missed": "#F0E442", "false": "#CC79A7"}
_SMOOTH_A = 0.25
_FEWEST = 20
"""Columns below which a point of the reliability diagram or a row of the confusion matrix is
chance, and is not drawn."""


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


def example_of(count_columns: CountColumns, sample: Sample, dose: float) -> Example:
    """Run a program on one image.

    Parameters
    ----------
    count_columns : callable
        See `evaluation.CountColumns`.
    sample : Sample
    dose : float
        e-/Å².

    Returns
    -------
    Example
    """
    dataset = sample.dataset
    image = record_at(sample, dose)
    found = count_columns(image, dataset.field.sampling).reset_index(drop=True)
    truth = sample.columns
    matches = match_columns(truth, found, dataset.field, int(dataset.manifest["max_count"]))
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
    return Example(image, dataset.field, title, matches)


def accuracy_png(
    evaluation: Evaluation,
    beside: Sequence[Evaluation] = (),
) -> bytes:
    """Draw the share of exact counts against the dose, beside ceiling and prior.

    Parameters
    ----------
    evaluation : Evaluation
    beside : sequence of Evaluation
        Other programs on the same images.

    Returns
    -------
    bytes
        PNG.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    doses: set[float] = set()
    for axis, species in zip(figure.subplots(1, 2, sharey=True), SPECIES, strict=True):
        bounds = [b for b in evaluation.bounds if (b.species, b.label) == (species, "all")]
        if bounds:
            at = [bound.dose_e_per_A2 for bound in bounds]
            best = [bound.ceiling for bound in bounds]
            axis.plot(at, best, "k-", label="ceiling (Bayes)")
        prior = _curve(evaluation, "prior_exact", species)
        if len(prior):
            axis.plot(prior["dose"], prior["value"], "--", c="0.5", label="neighbours alone")
        for colour, one in zip(_COLOURS, (evaluation, *beside), strict=False):
            curve = _curve(one, "exact", species)
            doses.update(curve["dose"])
            axis.plot(curve["dose"], curve["value"], "o-", c=colour, label=one.program)
            axis.fill_between(curve["dose"], curve["low"], curve["high"], color=colour, alpha=0.2)
        _dose_axis(axis, doses)
        axis.set_title(f"{species} columns")
        axis.set_ylim(0, 1)
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("columns with the exact count")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    return _png(figure)


def confusion_png(evaluation: Evaluation, dose: float | None) -> bytes:
    """Draw which counts were reported for each true count, as shares of the true ones.

    Parameters
    ----------
    evaluation : Evaluation
    dose : float or None
        One of its doses.

    Returns
    -------
    bytes
        PNG.
    """
    figure = Figure(figsize=(11, 5), layout="constrained")
    for axis, species in zip(figure.subplots(1, 2), SPECIES, strict=True):
        table = np.array(_table(evaluation, dose, species)["confusion"], dtype=float)
        top = int(np.flatnonzero(table.sum(0) + table.sum(1)).max(initial=1))
        table = table[1 : top + 1, : top + 1]
        n = table.sum(axis=1, keepdims=True)
        share = np.where(n >= _FEWEST, table / np.maximum(n, 1), np.nan)
        picture = axis.imshow(
            share, cmap="Blues", vmin=0, vmax=1, extent=(-0.5, top + 0.5, top + 0.5, 0.5)
        )
        for true, row in enumerate(share, start=1):
            for said, value in enumerate(row):
                if value >= 0.005:
                    axis.text(
                        said, true, f"{100 * value:.0f}", ha="center", va="center", fontsize=7,
                        color="white" if value > 0.6 else "black",
                    )  # fmt: skip
        axis.set_xticks(range(top + 1), ["missed", *map(str, range(1, top + 1))], fontsize=8)
        axis.get_xticklabels()[0].set_rotation(60)
        axis.set_yticks(range(1, top + 1))
        axis.set_xlabel("atoms reported")
        axis.set_ylabel("atoms in the column")
        axis.set_title(f"{species}, {_at(dose)}: % of each row")
        figure.colorbar(picture, ax=axis, shrink=0.75, label="share of the row")
    return _png(figure)


def reliability_png(evaluation: Evaluation) -> bytes:
    """Draw how often columns of each confidence were right.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    bytes
        PNG.
    """
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    doses = sorted({t.dose_e_per_A2 for t in evaluation.tables}, key=lambda dose: dose or 0.0)
    for axis, species in zip(figure.subplots(1, 2, sharey=True), SPECIES, strict=True):
        axis.plot([0, 1], [0, 1], "k:", lw=1)
        for colour, dose in zip(_COLOURS, doses, strict=False):
            bins = pd.DataFrame(_table(evaluation, dose, species)["reliability"])
            bins = bins[bins["n"] >= _FEWEST]
            error = evaluation.figure("calibration_error", species, dose)
            if len(bins) and error is not None:
                label = f"{_at(dose)}: error {error.value:.3f}"
                axis.plot(bins["confidence"], bins["right"], "o-", c=colour, ms=4, label=label)
        axis.set(xlim=(0, 1), ylim=(0, 1), title=f"{species} columns", aspect="equal")
        axis.set_xlabel("confidence of the program")
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False, fontsize=8, loc="upper left")
    figure.axes[0].set_ylabel("share that is right")
    figure.axes[0].text(
        0.97, 0.05, "below the line:\ntoo sure", ha="right", fontsize=8, color="0.4"
    )
    return _png(figure)


def strata_png(
    evaluation: Evaluation, dose: float | None, beside: Sequence[Evaluation] = ()
) -> bytes:
    """Draw the share of exact counts in every part of the test set.

    Parameters
    ----------
    evaluation : Evaluation
    dose : float or None
    beside : sequence of Evaluation

    Returns
    -------
    bytes
        PNG.
    """
    table = evaluation.frame()
    table = table[(table["metric"] == "exact") & table["axis"].isin(AXES)]
    parts = table[["axis", "label"]].drop_duplicates()
    order = [(a, label) for a in AXES for label in parts.loc[parts["axis"] == a, "label"]]
    figure = Figure(figsize=(10, 0.27 * len(order) + 1.8), layout="constrained")
    places, names, place = [], [], 0.0
    for i, (name, label) in enumerate(order):
        place -= 1.9 if i and order[i - 1][0] != name else 1.0
        places.append(place)
        names.append(f"{label} (window)" if label == WINDOW else label)
    for axis, species in zip(figure.subplots(1, 2, sharey=True), SPECIES, strict=True):
        for k, (colour, one) in enumerate(zip(_COLOURS, (evaluation, *beside), strict=False)):
            for y, (name, label) in zip(places, order, strict=True):
                found = one.figure("exact", species, dose, axis=name, label=label)
                if found is not None and found.value is not None:
                    low = found.value if found.low is None else found.low
                    high = found.value if found.high is None else found.high
                    axis.plot([low, high], [y - 0.2 * k] * 2, "-", c=colour, lw=2, alpha=0.5)
                    axis.plot(found.value, y - 0.2 * k, "o", c=colour, ms=5)
        axis.set(xlim=(0, 1), title=f"{species}, {_at(dose)}")
        axis.set_xlabel("columns with the exact count")
        axis.set_yticks(places, names, fontsize=8)
        axis.grid(alpha=0.3)
    for name, text in AXES.items():
        first = next((y for y, (own, _) in zip(places, order, strict=True) if own == name), None)
        if first is not None:
            figure.axes[0].text(0.02, first + 0.65, text, fontsize=8, weight="bold")
    handles = [
        Line2D([], [], marker="o", color=c, label=one.program)
        for c, one in zip(_COLOURS, (evaluation, *beside), strict=False)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return _png(figure)


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
        Line2D([], [], ls="", marker="o", ms=9, color=_MARKS["right"], label="right"),
        Line2D([], [], ls="", marker="o", ms=9, color=_MARKS["wrong"], label="reported | true"),
        Line2D([], [], ls="", marker="o", ms=9, mfc="black", mec=_MARKS["missed"], mew=2,
               label="missed (true count)"),
        Line2D([], [], ls="", marker="X", ms=9, color=_MARKS["false"], label="no such column"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(example.title)
    return _png(figure)


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


def _curve(evaluation: Evaluation, metric: str, species: str) -> pd.DataFrame:
    """Collect a figure against the dose; of stored counts the middle of their ranges."""
    rows = []
    for one in evaluation.figures:
        if (one.metric, one.species) != (metric, species):
            continue
        if one.axis == "all" and one.dose_e_per_A2 is not None:
            rows.append((one.dose_e_per_A2, one.value, one.low, one.high))
        if one.axis == "dose_e_per_A2":
            ends = [float(word) for word in one.label.split() if word[0].isdigit()]
            low, high = ends[0], (ends[1] if len(ends) > 1 else 3 * ends[0])
            rows.append((np.sqrt(max(low, high / 3) * high), one.value, one.low, one.high))
    table = pd.DataFrame(rows, columns=["dose", "value", "low", "high"]).astype(float)
    return table.sort_values("dose")


def _table(evaluation: Evaluation, dose: float | None, species: str) -> dict[str, Any]:
    for one in evaluation.tables:
        if (one.dose_e_per_A2, one.species) == (dose, species):
            return one.model_dump()
    known = sorted({str(t.dose_e_per_A2) for t in evaluation.tables})
    raise ValueError(f"not measured at {dose} e-/Å²; the evaluation has {', '.join(known)}")


def _dose_axis(axis: Axes, doses: set[float]) -> None:
    axis.set_xscale("log")
    axis.set_xlabel("dose of the frame [e⁻/Å²]")
    if doses:
        axis.xaxis.set_major_locator(FixedLocator(sorted(doses)))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    axis.yaxis.set_major_locator(MaxNLocator(6))


def _at(dose: float | None) -> str:
    return "stored counts" if dose is None else f"{dose:g} e⁻/Å²"


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, dpi=110, metadata={"Software": None})
    return buffer.getvalue()
