"""One page that shows an evaluation to a reader."""

from base64 import b64encode
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from ceria_data.schema import SPECIES
from ceria_models.evaluation_plots import (
    Example,
    accuracy_png,
    confusion_png,
    example_png,
    reliability_png,
    strata_png,
)
from ceria_models.evaluation_record import Evaluation
from ceria_models.evaluation_rows import rows_by_dose

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
        If one of `beside` was measured on another dataset or split.
    """
    for other in beside:
        if (other.content_digest, other.split) != (evaluation.content_digest, evaluation.split):
            raise ValueError(
                f"{other.program} was measured on {other.dataset} {other.version}, {other.split}; "
                f"expected {evaluation.dataset} {evaluation.version}, {evaluation.split}"
            )
    folder.mkdir(parents=True, exist_ok=True)
    evaluation.write(folder / "evaluation.json")
    doses = list(dict.fromkeys(table.dose_e_per_A2 for table in evaluation.tables))
    shown = min(doses, key=lambda dose: abs((dose or _SHOWN) - _SHOWN))
    sure = evaluation.figure("calibration_error", SPECIES[0], shown) is not None
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = files("ceria_models.templates") / "evaluation.html.j2"
    page = environment.from_string(template.read_text(encoding="utf-8")).render(
        evaluation=evaluation,
        primary=evaluation.primary(),
        doses=[None if dose is None else f"{dose:g}" for dose in doses],
        table=rows_by_dose(evaluation, doses),
        accuracy=_inline(accuracy_png(evaluation, beside)),
        confusion=_inline(confusion_png(evaluation, shown)),
        reliability=_inline(reliability_png(evaluation)) if sure else None,
        strata=_inline(strata_png(evaluation, shown, beside)),
        examples=[_inline(example_png(example)) for example in examples],
    )
    (folder / PAGE).write_text(page, encoding="utf-8")
    return folder / PAGE


def _inline(png: bytes) -> str:
    return "data:image/png;base64," + b64encode(png).decode("ascii")
