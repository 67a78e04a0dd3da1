"""The model card: facts of the model, figures of its evaluations, and texts written by hand."""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

import torch
import yaml
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, StrictUndefined

from ceria_data.card import cell
from ceria_data.schema import SAMPLES, SPECIES, STRUCTURES
from ceria_models.card_tables import (
    Table,
    counts_table,
    dose_table,
    doses_of,
    efficiency_table,
    identity_table,
    markdown,
    primary_table,
    strata_table,
)
from ceria_models.evaluation_record import Evaluation
from ceria_models.evaluation_rows import images_words, place_words
from ceria_models.model import ModelConfig, StartFacts
from ceria_models.model_evaluation import ModelEvaluation
from ceria_models.nets import create_net

_TEXTS = ("label_definition", "limits")
_TAGS = ("HRTEM", "electron-microscopy", "cerium-oxide", "atom-counting", "u-net", "pytorch")
_TASK = "image-segmentation"
_PLACES = 4
"""Digits of the figures in the front matter."""
_INDEXED = {"exact": ("accuracy", "counts exact"), "f1": ("f1", "detection F1")}
"""Figures of the front matter, with the Hub's name for their kind."""
_PRIMARY = {
    "count": ("accuracy", "Ce counts exact at 300 e-/Å², 50 to 90 Å overfocus"),
    "vacancy": ("efficiency", "efficiency for an inner O atom"),
    "depth": ("volume_iou", "IoU of the 3D volume at 1000 e-/Å²"),
}
_DRAWN = (
    "kind", "thickness_atoms", "max_occupancy_Ce", "max_occupancy_O", "mistilt_deg", "defocus_A",
    "energy_keV", "C30_um", "C50_mm", "A1_A", "B2_A", "A2_A", "focal_spread_A",
    "angular_spread_mrad", "aperture_mrad", "camera", "rms_Ce_A", "rms_O_A",
    "oxygen_vacancy_fraction", "cerium_vacancy_fraction", "relaxation_A", "support_thickness_A",
)  # fmt: skip
"""Quantities of the training data that decide whether a net applies."""


def model_card(
    config: ModelConfig, weights_sha256: str, measured: ModelEvaluation | None = None
) -> str:
    """Write the card of a model, which is its README on the Hugging Face Hub.

    Parameters
    ----------
    config : ModelConfig
    weights_sha256 : str
        Of `model.safetensors`, to tell these weights from others of the name.
    measured : ModelEvaluation, optional
        Without it the card says that nothing was measured.

    Returns
    -------
    str
        Markdown with YAML front matter.

    References
    ----------
    .. [1] Mitchell et al., arXiv:1810.03993 (2019), for the headings.
    """
    folder = files("ceria_data.cards")
    texts = {name: folder.joinpath(f"{name}.md").read_text("utf-8") for name in _TEXTS}
    template = folder.joinpath("templates/model_card.md.j2").read_text("utf-8")
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    # Markdown, not HTML: cell() keeps foreign text harmless.
    environment.filters["cell"] = cell
    environment.filters["table"] = markdown
    return environment.from_string(template).render(
        front_matter=_front_matter(config, measured),
        config=config,
        texts=texts,
        identity=_identity(config, weights_sha256),
        limits=limits_of(config),
        drawn=_drawn(config),
        training=yaml.safe_dump(config.training.config, sort_keys=False, allow_unicode=True),
        measured=None if measured is None else _measured(measured),
    )


def _front_matter(config: ModelConfig, measured: ModelEvaluation | None) -> str:
    results = [] if measured is None else [r for one in measured.own for r in _results(one)]
    head = ModelCardData(
        license=config.license.lower(),
        library_name="ceria",
        pipeline_tag=_TASK,
        tags=list(_TAGS),
        model_name=config.name if results else None,
        eval_results=results or None,
    )
    return head.to_yaml() + "\n"


def _results(evaluation: Evaluation) -> Iterator[EvalResult]:
    """List the figures that the Hub shows."""
    where: dict[str, Any] = {
        "task_type": _TASK,
        "task_name": "counting the atoms of columns",
        # The Hub wants some identifier here; this one is no address of it.
        "dataset_type": evaluation.dataset,
        "dataset_name": f"{evaluation.dataset} {evaluation.version}",
        "dataset_split": images_words(evaluation),
        "dataset_revision": evaluation.content_digest,
        "dataset_args": {
            "version": evaluation.version,
            "content_digest": evaluation.content_digest,
            "images": evaluation.n_images,
            "particles": evaluation.n_particles,
        }
        | evaluation.recorded_otherwise(),
    }
    for name, value in evaluation.primary().items():
        kind, words = _PRIMARY[name]
        if value is not None:
            yield EvalResult(
                metric_type=kind,
                metric_name=f"{name}: {words}",
                metric_value=round(value, _PLACES),
                **where,
            )
    for metric, (kind, words) in _INDEXED.items():
        for species in SPECIES:
            for dose in doses_of(evaluation):
                found = evaluation.figure(metric, species, dose)
                if found is None or found.value is None:
                    continue
                at = "stored counts" if dose is None else f"{dose:g} e-/Å²"
                yield EvalResult(
                    metric_type=kind,
                    metric_name=f"{species} {words}, {at}",
                    metric_value=round(found.value, _PLACES),
                    **where,
                )


def _beginning(start: StartFacts | None) -> Table:
    """Say what a training began with, where these were no random numbers."""
    if start is None:
        return []
    data = f"{start.dataset} {start.dataset_version} (`content_digest` `{start.content_digest}`)"
    return [
        ["began with", f"{start.model} {start.version}: {start.crops:,} crops, the last of {data}"],
        ["sha256 of the weights it began with", f"`{start.weights_sha256}`"],
    ]


def _identity(config: ModelConfig, weights_sha256: str) -> Table:
    with torch.device("meta"):
        net = create_net(config.net.settings())
    weights = sum(parameter.numel() for parameter in net.parameters())
    size, training = config.net, config.training
    shape = f"width {size.width}, {size.levels} levels, blocks a level: {size.blocks}"
    if size.bottom:
        shape += f", {size.bottom} more on the coarsest grid"
    return [
        ["what", "value"],
        ["version", config.version],
        ["net", f"`{size.architecture}`, {shape}, {weights:,} weights"],
        ["sha256 of `model.safetensors`", f"`{weights_sha256}`"],
        ["pixels it works on", f"{config.sampling_A:g} Å; other images are brought to it"],
        ["counts", f"1 to {size.max_count} atoms; more are reported as {size.max_count}"],
        ["training data", f"{training.dataset} {training.dataset_version}, split train"],
        ["`labels_digest` of the data", f"`{training.labels_digest}`"],
        ["`content_digest` of the data", f"`{training.content_digest}`"],
        ["training", f"{training.crops:,} crops, each with fresh noise"],
        *_beginning(training.start),
        ["calibration", "temperature by dose and a bias for each count, fitted on the split "
         "validation"],
        ["licence of the weights", config.license],
    ]  # fmt: skip


def limits_of(config: ModelConfig) -> list[str]:
    """Say what the net has seen, and what the program cannot tell by itself.

    Parameters
    ----------
    config : ModelConfig

    Returns
    -------
    list of str
        Sentences.
    """
    domain = config.domain
    zone = "".join(str(index) for index in domain.zone_axis)
    lattice = _between(domain.lattice_parameter_A)
    limits = [
        f"CeO2 seen along [{zone}], lattice parameter {lattice} Å.",
        f"Dose of one image {_between(domain.dose_e_per_A2)} e⁻/Å².",
        f"Pixel size {_between(domain.sampling_A)} Å.",
        f"Contrast (rms without noise, over the mean) {_between(domain.contrast)}.",
    ]
    ranges = config.training.ranges
    most = [
        f"{float(ranges[name][-1]):g} {species}"
        for species in SPECIES
        if (name := f"max_occupancy_{species}") in ranges
    ]
    if most:
        limits.append(f"Columns of at most {' and '.join(most)} atoms; no warning tells of more.")
    return limits


def _drawn(config: ModelConfig) -> Table:
    """List what the training data had; empty if it was not recorded."""
    ranges = config.training.ranges
    meanings = {column.name: column for spec in (SAMPLES, STRUCTURES) for column in spec.columns}
    rows = [["quantity", "unit", "values", "meaning"]]
    for name in _DRAWN:
        if name in ranges:
            column = meanings[name]
            words = ", ".join(str(v) for v in ranges[name]) if column.dtype == "str" else ""
            taken = words or _between(ranges[name], digits=3)
            rows.append([f"`{name}`", column.unit, taken, column.description])
    return rows if len(rows) > 1 else []


def _measured(measured: ModelEvaluation) -> dict[str, Any]:
    return {
        "primary": primary_table(measured),
        "identity": identity_table(measured),
        "splits": [
            {
                "title": place_words(one),
                "counts": counts_table(one, measured.beside_of(one)),
                "doses": dose_table(one),
                "strata": strata_table(one),
                "pairs": efficiency_table(one),
                "bounds": bool(one.bounds),
                "notes": one.notes,
            }
            for one in measured.own
        ],
    }


def _between(ends: Sequence[int | float | str], digits: int = 4) -> str:
    low, high = (f"{float(end):.{digits}g}" for end in ends)
    return low if low == high else f"{low} to {high}"
