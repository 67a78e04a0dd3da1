"""One page that shows an evaluation to a reader."""

from base64 import b64encode
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from ceria_data.schema import SPECIES
from ceria_models.evaluation_plots import (
    accuracy_png,
    confusion_png,
    reliability_png,
    strata_png,
    vacancies_png,
)
from ceria_models.evaluation_record import Evaluation
from ceria_models.evaluation_rows import (
    MISSING,
    dose_words,
    efficiency_rows,
    in_words,
    place_words,
    rows_by_dose,
)
from ceria_models.example import Example, example_png

PAGE = "evaluation.html"
_SHOWN = 300.0
"""Dose of the confusion matrix and the strata [e-/Å²]: that of the primary figure."""


def write_report(
    evaluation: Evaluation,
    folder: Path,
    *,
    examples: Sequence[Example] = (),
    beside: Sequence[Evaluation] = (),
) -> Path:
    """Write `evaluation.html`, which holds all its pictures, and `evaluation.json`.

    Parameters
    ----------
    evaluation : Evaluation
    folder : Path
        Made if it is not there; files in it are replaced.
    examples : sequence of Example
    beside : sequence of Evaluation
        Other programs on the same images, such as the classical baseline.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ValueError
        If one of `beside` was measured on other images.
    """
    for other in beside:
        if other.images() != evaluation.images():
            raise ValueError(
                f"{other.program} was measured on {place_words(other)}; "
                f"expected {place_words(evaluation)}"
            )
    folder.mkdir(parents=True, exist_ok=True)
    evaluation.write(folder / "evaluation.json")
    doses = list(dict.fromkeys(table.dose_e_per_A2 for table in evaluation.tables))
    shown = min(doses, key=lambda dose: abs((dose or _SHOWN) - _SHOWN))
    sure = evaluation.figure("calibration_error", SPECIES[0], shown) is not None
    vacancies = vacancies_png(evaluation, beside)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = files("ceria_models.templates") / "evaluation.html.j2"
    page = environment.from_string(template.read_text(encoding="utf-8")).render(
        evaluation=evaluation,
        primary=_primary(evaluation),
        between=_between,
        place=place_words(evaluation),
        doses=[dose_words(dose) for dose in doses],
        table=rows_by_dose(evaluation, doses),
        pairs=efficiency_rows(evaluation),
        vacancies=None if vacancies is None else _inline(vacancies),
        accuracy=_inline(accuracy_png(evaluation, beside)),
        confusion=_inline(confusion_png(evaluation, shown)),
        reliability=_inline(reliability_png(evaluation)) if sure else None,
        strata=_inline(strata_png(evaluation, shown, beside)),
        examples=[_inline(example_png(example)) for example in examples],
    )
    (folder / PAGE).write_text(page, encoding="utf-8")
    return folder / PAGE


def _primary(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Put the primary figures in words with their intervals; nothing where none was measured."""
    measured = evaluation.primary()
    if all(value is None for value in measured.values()):
        return []
    figures = evaluation.primary_figures()
    vacancy = evaluation.efficiency(SPECIES[1], "inner")
    return [
        ("Ce counts exact, 300 e⁻/Å², 50 to 90 Å overfocus", _said(in_words(figures["count"]))),
        ("efficiency η for an inner O atom", _said(vacancy.in_words() if vacancy else "")),
        ("3D volume (IoU), 1000 e⁻/Å²", _said(in_words(figures["depth"]))),
    ]


def _said(text: str) -> str:
    return "not measured" if text in ("", MISSING) else text


def _between(low: float | None, high: float | None, places: int = 3) -> str:
    """Write an interval in brackets; nothing where there is none."""
    if low is None or high is None:
        return ""
    return f" ({low:.{places}f} to {high:.{places}f})"


def _inline(png: bytes) -> str:
    return "data:image/png;base64," + b64encode(png).decode("ascii")
