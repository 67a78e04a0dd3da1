"""Tables of a model card: each is a list of rows of cells, the first one its head."""

from collections.abc import Callable, Sequence

from ceria_data.card import cell
from ceria_data.schema import SPECIES
from ceria_models.evaluation_record import Evaluation
from ceria_models.evaluation_rows import (
    MISSING,
    dose_words,
    efficiency_rows,
    images_words,
    in_words,
    place_words,
    rows_by_dose,
)
from ceria_models.model_evaluation import ModelEvaluation

Table = list[list[str]]

_STRATA_DOSE = 300.0
"""Strata are shown at the dose nearest to that of the primary figure [e-/Å²]."""
_AXES = {
    "defocus_A": "defocus (Å, negative = overfocus)",
    "thickness_atoms": "thickness (atoms)",
    "mistilt_deg": "mistilt (°)",
    "surface": "where the column stands, seen along the beam",
    "kind": "kind of structure",
    "dose_e_per_A2": "dose (e⁻/Å²)",
    "scope": "columns otherwise left out",
}
PLACES = {"count": 3, "vacancy": 2, "depth": 3}
"""Behind the point, of the primary figures."""


def primary_table(measured: ModelEvaluation) -> Table:
    """Compare the primary figures of the model, and of other programs, on every split."""
    rows = [["measured on", "program", "Ce counts exact", "η, inner O atom", "3D volume (IoU)"]]
    for one in measured.own:
        for program in (one, *measured.beside_of(one)):
            values = program.primary()
            cells = [
                MISSING if values[name] is None else f"{values[name]:.{places}f}"
                for name, places in PLACES.items()
            ]
            rows.append([place_words(one), program.program, *cells])
    return rows


def identity_table(measured: ModelEvaluation) -> Table:
    """List on what was measured, and how much."""
    rows = [["dataset", "version", "split", "images", "particles", "`content_digest`"]]
    rows += [
        [one.dataset, one.version, images_words(one), str(one.n_images), str(one.n_particles),
         f"`{one.content_digest}`"]
        for one in measured.own
    ]  # fmt: skip
    return rows


def counts_table(evaluation: Evaluation, beside: Sequence[Evaluation]) -> Table:
    """Compare exact counts at each dose with other programs, the prior and the ceiling."""
    doses = doses_of(evaluation)
    rows = [["species", "who", *map(dose_words, doses)]]
    for species in SPECIES:
        for program in (evaluation, *beside):
            cells = [in_words(program.figure("exact", species, dose)) for dose in doses]
            rows.append([species, program.program, *cells])
        prior = [in_words(evaluation.figure("prior_exact", species, dose)) for dose in doses]
        rows.append([species, "neighbours alone", *prior])
        bounds = [None if dose is None else evaluation.bound(species, dose) for dose in doses]
        if any(bounds):
            n = next(one.n for one in bounds if one is not None)
            for who, name in (("ceiling", "ceiling"), ("this net", "program")):
                cells = [MISSING if b is None else f"{getattr(b, name):.3f}" for b in bounds]
                rows.append([species, f"{who} on {n} of the columns", *cells])
    return [row for row in rows if set(row[2:]) != {MISSING}]


def dose_table(evaluation: Evaluation) -> Table:
    """List every figure of the whole split by dose."""
    doses = doses_of(evaluation)
    rows = [["species", "figure", *map(dose_words, doses)]]
    return rows + [[species, name, *cells] for species, name, cells in rows_by_dose(
        evaluation, doses)]  # fmt: skip


def strata_table(evaluation: Evaluation) -> tuple[str, Table]:
    """List counts and detection by part of the split.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    str
        The dose it is shown at.
    table : list of list of str
        Axes with one part only are left out: that part is the whole split.
    """
    dose = min(doses_of(evaluation), key=lambda one: abs((one or _STRATA_DOSE) - _STRATA_DOSE))
    head = ["part", "range", *(f"{s} exact" for s in SPECIES), *(f"{s} F1" for s in SPECIES)]
    rows = [head]
    for axis, words in _AXES.items():
        own = [f for f in evaluation.figures if (f.axis, f.dose_e_per_A2) == (axis, dose)]
        labels = list(dict.fromkeys(figure.label for figure in own))
        if len(labels) < 2 and axis != "scope":
            continue
        rows += [
            [words, label, *(
                in_words(evaluation.figure(metric, species, dose, axis=axis, label=label))
                for metric in ("exact", "f1") for species in SPECIES
            )]
            for label in labels
        ]  # fmt: skip
    return dose_words(dose), rows


def efficiency_table(evaluation: Evaluation) -> Table:
    """List the results of the paired test."""
    rows = [["species", "atom", "dose", "efficiency η", "named rightly", "best possible", "pairs"]]
    return rows + efficiency_rows(evaluation)


def doses_of(evaluation: Evaluation) -> list[float | None]:
    """List the doses of an evaluation [e-/Å²]; None for stored counts."""
    return list(dict.fromkeys(table.dose_e_per_A2 for table in evaluation.tables))


def markdown(table: Table, escape: Callable[[str], str] = cell) -> str:
    """Write a table as Markdown.

    Parameters
    ----------
    table : list of list of str
        The first row is its head.
    escape : callable
        Keeps a text in its cell; `str` for cells that are Markdown already.

    Returns
    -------
    str

    Examples
    --------
    >>> print(markdown([["what", "value"], ["a | b", "1"]]))
    | what | value |
    | --- | --- |
    | a &#124; b | 1 |
    """
    head, *rows = ([escape(value) for value in row] for row in table)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
