"""The card of a model: what it is, what it was trained on, what was measured of it."""

from collections.abc import Sequence
from importlib.resources import files

import yaml
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, StrictUndefined

from ceria_data.schema import SPECIES
from ceria_models.evaluation_plots import AXES
from ceria_models.evaluation_record import Evaluation, Figure
from ceria_models.model import ModelConfig

_MEASURED = {
    "f1": "detection F1",
    "exact": "exact count",
    "within_one": "count within ±1",
    "prior_exact": "exact count from the neighbours' true counts alone",
    "macro_f1": "macro-F1 over counts",
    "position_rms": "position, rms per axis",
    "calibration_error": "calibration error",
    "vacancy_auc": "vacancies told from others (AUC)",
    "stability": "spread of a count over noise draws",
    "volume_iou": "3D volume (IoU)",
}
_SHOWN = 300.0
"""Dose of the strata [e-/Å²]: that of the primary figure."""


def model_card(config: ModelConfig, evaluations: Sequence[Evaluation] = ()) -> str:
    """Write the card of a model, which is its README on the Hugging Face Hub.

    Parameters
    ----------
    config : ModelConfig
    evaluations : sequence of Evaluation
        What was measured, the split of the benchmark first. Every figure of the card is from
        here.

    Returns
    -------
    str
        Markdown with YAML front matter.

    References
    ----------
    .. [1] Mitchell et al., arXiv:1810.03993 (2018): model cards.

    Examples
    --------
    >>> from ceria_models import DEFAULT, from_pretrained
    >>> card = model_card(from_pretrained(DEFAULT).config)
    >>> "No evaluation is attached" in card
    True
    """
    template = files("ceria_data.cards").joinpath("templates/model_card.md.j2").read_text("utf-8")
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.keep_trailing_newline = True
    return environment.from_string(template).render(
        front_matter=_front_matter(config, evaluations),
        config=config,
        training=yaml.safe_dump(config.training.config, sort_keys=False, allow_unicode=True),
        evaluations=[(one, _rows(one), _strata(one)) for one in evaluations],
        shown=f"{_SHOWN:g}",
    )


def _front_matter(config: ModelConfig, evaluations: Sequence[Evaluation]) -> str:
    """Describe the model to the Hub, with the primary figures as its results."""
    results = [
        EvalResult(
            task_type="image-segmentation",
            task_name=f"columns of CeO2, {name}",
            dataset_type=one.dataset,
            dataset_name=f"{one.dataset} {one.version}",
            dataset_split=one.split,
            dataset_revision=one.content_digest,
            metric_type=metric,
            metric_name=words,
            metric_value=round(value, 4),
        )
        for one in evaluations
        for name, metric, words in (
            ("count", "accuracy", "Ce exact count, 300 e-/A2, 50 to 90 A overfocus"),
            ("vacancy", "efficiency", "efficiency for an inner O atom"),
            ("depth", "iou", "3D volume, 1000 e-/A2"),
        )
        if (value := one.primary()[name]) is not None
    ]
    data = ModelCardData(
        license="cc-by-4.0",
        library_name="ceria",
        pipeline_tag="image-segmentation",
        tags=["electron-microscopy", "HRTEM", "CeO2", "atom-counting"],
        model_name=config.name,
        eval_results=results or None,
    )
    text: str = data.to_yaml()
    return text + "\n"


def _rows(evaluation: Evaluation) -> list[tuple[str, str, list[str]]]:
    """Figures of the whole split: species, name, a cell per dose."""
    rows = []
    for species in (*SPECIES, "both"):
        for metric, words in _MEASURED.items():
            found = [evaluation.figure(metric, species, dose) for dose in _doses(evaluation)]
            if any(found):
                unit = next(one.unit for one in found if one is not None)
                name = f"{words} [{unit}]" if unit else words
                rows.append((species, name, [_cell(one) for one in found]))
    return rows


def _strata(evaluation: Evaluation) -> list[tuple[str, str, list[str]]]:
    """Exact counts of Ce and O and the F1 of Ce by part of the split, at one dose."""
    rows = []
    parts = {(f.axis, f.label): None for f in evaluation.figures if f.axis in AXES}
    for axis, label in parts:
        cells = [
            _cell(evaluation.figure(metric, species, _SHOWN, axis=axis, label=label))
            for metric, species in (("exact", "Ce"), ("exact", "O"), ("recall", "Ce"))
        ]
        if any(cell != "–" for cell in cells):
            rows.append((AXES[axis], label, cells))
    return rows


def _doses(evaluation: Evaluation) -> list[float | None]:
    return list(dict.fromkeys(table.dose_e_per_A2 for table in evaluation.tables))


def _cell(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "–"
    places = 1 if figure.unit == "pm" else 3
    text = f"{figure.value:.{places}f}"
    if figure.low is not None and figure.high is not None:
        text += f" ({figure.low:.{places}f} to {figure.high:.{places}f})"
    return text
