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

PAGE = "evaluation.html"
_SHOWN = 300.0
"""Dose of the confusion matrix and the strata [e-/Å²]: that of the primary figure."""
_WORDS = {
    "recall": "columns found (recall)",
    "precision": "reported columns that are there (precision)",
    "f1": "detection F1",
    "exact": "exact count",
    "within_one": "count within ±1",
    "prior_exact": "exact count from the neighbours alone",
    "macro_f1": "macro-F1 over counts",
    "position_rms": "position, rms per axis",
    "depth_rms": "mean depth, rms",
    "calibration_error": "calibration error",
    "vacancy_auc": "columns with a vacancy told from others (AUC)",
    "stability": "spread of a count over noise draws",
    "volume_iou": "3D volume (IoU)",
    "volume_iou_of_truth": "3D volume from true counts and depths (IoU)",
}


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
        table=_rows(evaluation, doses),
        accuracy=_inline(accuracy_png(evaluation, beside)),
        confusion=_inline(confusion_png(evaluation, shown)),
        reliability=_inline(reliability_png(evaluation)) if sure else None,
        strata=_inline(strata_png(evaluation, shown, beside)),
        examples=[_inline(example_png(example)) for example in examples],
    )
    (folder / PAGE).write_text(page, encoding="utf-8")
    return folder / PAGE


def _rows(
    evaluation: Evaluation, doses: Sequence[float | None]
) -> list[tuple[str, str, list[str]]]:
    """Put figures of the whole test set in words: species, name, a cell per dose."""
    rows = []
    for species in (*SPECIES, "both"):
        for metric, words in _WORDS.items():
            found = [evaluation.figure(metric, species, dose) for dose in doses]
            if not any(found):
                continue
            cells = []
            for one in found:
                if one is None or one.value is None:
                    cells.append("–")
                    continue
                places = 1 if one.unit == "pm" else 3
                text = f"{one.value:.{places}f}"
                if one.low is not None and one.high is not None:
                    text += f" ({one.low:.{places}f} to {one.high:.{places}f})"
                cells.append(text)
            unit = next(one.unit for one in found if one is not None)
            rows.append((species, f"{words} [{unit}]" if unit else words, cells))
    return rows


def _inline(png: bytes) -> str:
    return "data:image/png;base64," + b64encode(png).decode("ascii")
