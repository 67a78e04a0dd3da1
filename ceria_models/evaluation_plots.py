"""Pictures of an evaluation."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, StrMethodFormatter

from ceria_data.schema import SPECIES
from ceria_models.evaluation_record import Evaluation
from ceria_models.evaluation_rows import dose_words, in_words
from ceria_models.strata import WINDOW

AXES = {
    "defocus_A": "defocus [Å], negative = overfocus",
    "thickness_atoms": "thickness [atoms]",
    "mistilt_deg": "tilt [°]",
    "kind": "shape",
    "surface": "place in the particle",
}
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
"""Okabe and Ito's palette; grey and black are for prior and ceiling."""
_CEILING = "best possible (Bayes ceiling)"
_FLAT = "best possible from the pixels alone"
_PRIOR = "true neighbours alone, without the image"
_LINES = {_CEILING: 0, _FLAT: 1, _PRIOR: 2}
"""What stands beside programs, in the order of the legend."""
_VACANCY_DOSES = (1000.0, 3000.0)
"""One frame of less shows no O vacancy even to the best observer [e-/Å²]."""
_FEWEST = 20
"""Columns below which a point of the reliability diagram or a row of the confusion matrix is
chance, and is not drawn."""


def accuracy_png(
    evaluation: Evaluation,
    beside: Sequence[Evaluation] = (),
) -> bytes:
    """Draw the share of exact counts against the dose, beside ceiling and prior.

    All images above, those of the benchmark's window of defocus below.

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
    parts = [("all", "all", "all images")]
    if len(_curve(evaluation, "exact", SPECIES[0], ("defocus_A", WINDOW))):
        low, high = (abs(float(end)) for end in WINDOW.split(" to "))
        parts.append(("defocus_A", WINDOW, f"{high:.0f} to {low:.0f} Å overfocus"))
    figure = Figure(figsize=(10, 3.9 * len(parts) + 0.5), layout="constrained")
    axes = figure.subplots(len(parts), len(SPECIES), sharex=True, sharey=True, squeeze=False)
    for i, (axis, label, words) in enumerate(parts):
        for panel, species in zip(axes[i], SPECIES, strict=True):
            _accuracy(panel, evaluation, beside, species, (axis, label))
            panel.set_title(f"{species} columns, {words}")
            panel.xaxis.label.set_visible(i == len(parts) - 1)
        axes[i, 0].set_ylabel("columns with the exact count")
    # The ceiling may be known for one part only.
    entries = {text: line for panel in axes.flat for line, text in
               zip(*panel.get_legend_handles_labels(), strict=True)}  # fmt: skip
    order = sorted(entries, key=lambda text: (text not in _LINES, _LINES.get(text, 0)))
    figure.legend(
        [entries[text] for text in order], order, loc="outside lower center", ncols=3, frameon=False
    )
    return png_of(figure)


def _accuracy(
    panel: Axes,
    evaluation: Evaluation,
    beside: Sequence[Evaluation],
    species: str,
    part: tuple[str, str],
) -> None:
    """Draw one species of one part of the test set."""
    doses: set[float] = set()
    bounds = [b for b in evaluation.bounds if (b.species, b.axis, b.label) == (species, *part)]
    if bounds:
        at = [bound.dose_e_per_A2 for bound in bounds]
        panel.errorbar(
            at,
            [bound.ceiling for bound in bounds],
            [1.96 * (bound.ceiling_error or 0.0) for bound in bounds],
            color="k",
            capsize=2,
            label=_CEILING,
        )
        flat = [np.nan if bound.flat is None else bound.flat for bound in bounds]
        if np.isfinite(flat).any():
            panel.plot(at, flat, "k:", label=_FLAT)
    prior = _curve(evaluation, "prior_exact", species, part)
    if bounds:
        # On the columns of the ceiling, which others could lie above.
        panel.plot(at, [bound.prior for bound in bounds], "--", c="0.5", label=_PRIOR)
    elif len(prior):
        panel.plot(prior["dose"], prior["value"], "--", c="0.5", label=_PRIOR)
    for colour, one in zip(_COLOURS, (evaluation, *beside), strict=False):
        curve = _curve(one, "exact", species, part)
        doses.update(curve["dose"])
        panel.plot(curve["dose"], curve["value"], "o-", c=colour, label=one.program)
        panel.fill_between(curve["dose"], curve["low"], curve["high"], color=colour, alpha=0.2)
    _dose_axis(panel, doses)
    panel.set_ylim(0, 1)
    panel.grid(alpha=0.3)


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
        axis.set_title(f"{species}, {dose_words(dose)}: % of each row")
        figure.colorbar(picture, ax=axis, shrink=0.75, label="share of the row")
    return png_of(figure)


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
                label = f"{dose_words(dose)}: error {error.value:.3f}"
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
    return png_of(figure)


def vacancies_png(evaluation: Evaluation, beside: Sequence[Evaluation] = ()) -> bytes | None:
    """Draw how many columns with a vacancy are found at the price of how many false alarms.

    At 1000 and 3000 e-/Å², or the highest dose there is; other programs are dashed.

    Parameters
    ----------
    evaluation : Evaluation
    beside : sequence of Evaluation
        Other programs on the same images.

    Returns
    -------
    bytes or None
        PNG; None if no curve was measured.
    """
    known = {curve.dose_e_per_A2: None for curve in evaluation.vacancy_curves}
    if not known:
        return None
    doses = [dose for dose in known if dose in _VACANCY_DOSES] or list(known)[-1:]
    programs = list(zip(("-", "--"), (evaluation, *beside), strict=False))
    figure = Figure(figsize=(10, 5.4 + 0.4 * len(programs)), layout="constrained")
    for axis, species in zip(figure.subplots(1, 2, sharey=True), SPECIES, strict=True):
        axis.plot([0, 1], [0, 1], "k:", lw=1)
        axis.set(xlim=(0, 1), ylim=(0, 1), title=f"{species}: not measured", aspect="equal")
        axis.set_anchor("N")
        for style, one in programs:
            _vacancies(axis, one, species, doses, style)
        axis.set_xlabel("false alarms: share of the columns without one")
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            # Below: within the axes there is no corner that no curve crosses.
            axis.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    figure.axes[0].set_ylabel("share of the columns with a vacancy that are found")
    return png_of(figure)


def _vacancies(
    axis: Axes, evaluation: Evaluation, species: str, doses: Sequence[float | None], style: str
) -> None:
    """Draw the curves of one program for one species."""
    for curve in evaluation.vacancy_curves:
        if curve.species != species or curve.dose_e_per_A2 not in doses:
            continue
        area = evaluation.figure("vacancy_auc", species, curve.dose_e_per_A2)
        label = f"{evaluation.program}, {dose_words(curve.dose_e_per_A2)}: AUC {in_words(area, 2)}"
        colour = _COLOURS[doses.index(curve.dose_e_per_A2)]
        axis.plot(curve.false_rate, curve.true_rate, style, c=colour, label=label)
        axis.set_title(
            f"{species}: {curve.n_vacancies} columns with a vacancy, {curve.n_others} without"
        )


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
        names.append(f"{label} (window)" if label == WINDOW else label.replace("_", " "))
    for axis, species in zip(figure.subplots(1, 2, sharey=True), SPECIES, strict=True):
        for k, (colour, one) in enumerate(zip(_COLOURS, (evaluation, *beside), strict=False)):
            for y, (name, label) in zip(places, order, strict=True):
                found = one.figure("exact", species, dose, axis=name, label=label)
                if found is not None and found.value is not None:
                    low = found.value if found.low is None else found.low
                    high = found.value if found.high is None else found.high
                    axis.plot([low, high], [y - 0.2 * k] * 2, "-", c=colour, lw=2, alpha=0.5)
                    axis.plot(found.value, y - 0.2 * k, "o", c=colour, ms=5)
        axis.set(xlim=(0, 1), title=f"{species}, {dose_words(dose)}")
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
    return png_of(figure)


def _curve(
    evaluation: Evaluation, metric: str, species: str, part: tuple[str, str] = ("all", "all")
) -> pd.DataFrame:
    """Collect a figure against the dose; of stored counts the middle of their ranges."""
    rows = []
    for one in evaluation.figures:
        if (one.metric, one.species) != (metric, species):
            continue
        if (one.axis, one.label) == part and one.dose_e_per_A2 is not None:
            rows.append((one.dose_e_per_A2, one.value, one.low, one.high))
        if part[0] == "all" and one.axis == "dose_e_per_A2":
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


def png_of(figure: Figure) -> bytes:
    """Render a figure, to the same bytes every time.

    Parameters
    ----------
    figure : Figure

    Returns
    -------
    bytes
        PNG.
    """
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, dpi=110, metadata={"Software": None})
    return buffer.getvalue()
