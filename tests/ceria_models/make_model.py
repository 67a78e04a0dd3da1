"""A model with fresh weights, for tests of everything around it."""

from dataclasses import replace
from pathlib import Path

import torch

from ceria_data.dataset import open_dataset
from ceria_data.schema import SPECIES
from ceria_models.model import (
    CalibrationFacts,
    DecodingFacts,
    DomainFacts,
    Model,
    ModelConfig,
    NetFacts,
    TrainingFacts,
    fresh_model,
)


def fresh(**net) -> Model:
    """Make a small model; its answers mean nothing, but depend on the image."""
    manifest = open_dataset("ceria-columns-mini").manifest
    size = {"architecture": "residual_unet", "width": 8, "levels": 3, "blocks": 1, "patch": 2}
    classes = (size | {"max_count": 14} | net)["max_count"] + 1
    torch.manual_seed(7)
    model = fresh_model(
        ModelConfig(
            name="fresh",
            version="0.0.0",
            net=NetFacts(**(size | {"max_count": 14} | net)),
            sampling_A=0.2,
            decoding=DecodingFacts(mask_radius_A=0.6),
            pixel_calibration={s: CalibrationFacts.none(classes) for s in SPECIES},
            column_calibration={s: CalibrationFacts.none(classes) for s in SPECIES},
            domain=DomainFacts(
                dose_e_per_A2=(30, 3000),
                sampling_A=(0.09, 0.25),
                contrast=(0.01, 2.0),
                zone_axis=(1, 1, 0),
                lattice_parameter_A=(5.384, 5.438),
            ),
            training=TrainingFacts(
                dataset=manifest["name"],
                dataset_version=manifest["version"],
                labels_digest=manifest["labels_digest"],
                content_digest=manifest["content_digest"],
                crops=0,
                config={},
            ),
        )
    )
    with torch.no_grad():
        for name, parameter in model.net.named_parameters():
            if name == "classes.weight":
                parameter.mul_(100)
            if name.endswith("scale"):
                parameter.fill_(0.3)
    return model


def saved(folder: Path, **facts) -> Path:
    """Save a small model whose config has other facts, such as its version."""
    model = fresh()
    replace(model, config=model.config.model_copy(update=facts)).save_pretrained(folder)
    return folder
