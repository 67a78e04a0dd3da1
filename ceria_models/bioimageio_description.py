"""What a package of the BioImage Model Zoo says about a model: fields of its format."""

import re
from typing import Any

from ceria_data import __version__
from ceria_models.image_reader import OUTPUTS
from ceria_models.model import Model, ModelConfig
from ceria_models.onnx_graph import OPSET
from ceria_models.weights import weights_sha256

GRAPH, PAGE, COVER = "model.onnx", "README.md", "cover.png"
INPUT = "test_image.npy"
TOLERANCE = 1e-3
"""Largest difference of a confidence between the graph and `predict`: rounding makes 1e-5."""
FLIPPED_PER_MILLION = 1000
"""Pixels whose two most probable counts are as probable as each other, and may change places."""
SMALLEST = 16
"""Pixels along an axis, as for `predict`."""
DATE = (1980, 1, 1, 0, 0, 0)
"""The first that a ZIP file can hold."""
_FORMAT = "0.5.14"
_NAME = re.compile(r"[^A-Za-z0-9_+\-() ]")
_TAGS = (
    "electron-microscopy", "2d", "semantic-segmentation", "unet", "pytorch", "fiji", "imagej",
    "deepimagej", "HRTEM", "cerium-oxide", "atom-counting",
)  # fmt: skip
_SEGDEPTH = {
    "text": "Leibovich, Tan, Marcos Morales, Mohan, Crozier, Fernandez-Granda: Atomic Depth "
    "Estimation From Noisy Electron Microscopy Data Via Deep Learning (SegDepth), 2026. The "
    "closest published work: it poses the same task.",
    "doi": "10.48550/arXiv.2601.17046",
}


def output_file(name: str) -> str:
    """Name the file of a test output.

    Parameters
    ----------
    name : str
        One of `image_reader.OUTPUTS`.

    Examples
    --------
    >>> output_file("atoms")
    'test_atoms.npy'
    """
    return f"test_{name}.npy"


def description(model: Model) -> dict[str, Any]:
    """Describe a model as the zoo's format 0.5 asks.

    Nothing in it is an address on the internet, so that the zoo's validator opens none.

    Parameters
    ----------
    model : Model

    Returns
    -------
    dict
        Content of `rdf.yaml`; the files it names lie beside it.

    References
    ----------
    .. [1] https://bioimage-io.github.io/spec-bioimage-io, format 0.5.
    """
    config = model.config
    return {
        "format_version": _FORMAT,
        "type": "model",
        "name": _NAME.sub("-", f"CeO2 atom counts ({config.name})"),
        "description": "Counts the Ce and O atoms in the columns of CeO2 in HRTEM images, pixel "
        f"by pixel, with a calibrated confidence. Takes images as recorded, {config.sampling_A:g} "
        "Å a pixel, on any linear scale with 0 = no electrons, without preprocessing.",
        "authors": [{"name": "The authors of Ceria"}],
        "cite": [_SEGDEPTH],
        "license": config.license,
        "documentation": {"source": PAGE},
        "covers": [{"source": COVER}],
        "tags": list(_TAGS),
        "timestamp": "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}+00:00".format(*DATE),
        **_version(config),
        "inputs": [_input(config)],
        "outputs": [_output(config, name) for name in OUTPUTS],
        "weights": {"onnx": {"source": GRAPH, "opset_version": OPSET}},
        "config": {"bioimageio": _zoo_facts(model), "ceria": _own_facts(model)},
    }


def _version(config: ModelConfig) -> dict[str, str]:
    """Give the version where it is one that the format can order."""
    ordered = re.fullmatch(r"\d+\.\d+\.\d+", config.version)
    return {"version": config.version} if ordered else {}


def whole_units(sampling: float) -> tuple[str, int]:
    """Write a pixel size as a whole number of some unit.

    The zoo's programs evaluate the size of an output as n * scale / scale, rounded down: with
    a scale of 0.2 that is 90 for n = 91. With whole numbers it is n.

    Parameters
    ----------
    sampling : float
        Å/pixel.

    Returns
    -------
    str
        Unit of the zoo's format.
    int

    Examples
    --------
    >>> whole_units(0.2), whole_units(0.0622)
    (('picometer', 20), ('femtometer', 6220))
    """
    for unit, per_A in (("picometer", 1e2), ("femtometer", 1e5)):
        scaled = sampling * per_A
        if abs(scaled - round(scaled)) < 1e-9 * scaled:
            return unit, round(scaled)
    return "attometer", round(sampling * 1e8)


def _space(axis: str, config: ModelConfig, size: dict[str, Any]) -> dict[str, Any]:
    unit, scale = whole_units(config.sampling_A)
    return {"type": "space", "id": axis, "unit": unit, "scale": float(scale), "size": size}


def _input(config: ModelConfig) -> dict[str, Any]:
    size = {"min": SMALLEST, "step": 1}
    return {
        "id": "image",
        "description": "image as recorded, any linear scale, 0 = no electrons",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": ["electrons"]},
            *(_space(axis, config, size) for axis in "yx"),
        ],
        "data": {"type": "float32"},
        "test_tensor": {"source": INPUT},
    }


def _output(config: ModelConfig, name: str) -> dict[str, Any]:
    counts = name == OUTPUTS[0]
    what = "most probable number of atoms, 0 = no column" if counts else "its probability"
    return {
        "id": name,
        "description": f"{what}, at every pixel",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": list(config.species)},
            *(_space(axis, config, {"tensor_id": "image", "axis_id": axis}) for axis in "yx"),
        ],
        # Float32: Java's reader of ONNX in Fiji knows no unsigned bytes.
        "data": {"type": "float32", "range": [0, config.net.max_count if counts else 1]},
        "test_tensor": {"source": output_file(name)},
    }


def _zoo_facts(model: Model) -> dict[str, Any]:
    return {
        "architecture_type": model.config.net.architecture[:32],
        "modality": "electron microscopy (HRTEM)",
        "target_structure": ["atomic columns of CeO2"],
        "task": "semantic segmentation",
        "model_parameter_count": sum(p.numel() for p in model.net.parameters()),
        "out_of_scope_use": "Images outside of the limits in the documentation; nothing warns.",
        "reproducibility_tolerance": [
            {
                "output_ids": [name],
                "relative_tolerance": 0.0,
                "absolute_tolerance": TOLERANCE,
                "mismatched_elements_per_million": FLIPPED_PER_MILLION if name == "atoms" else 0,
            }
            for name in OUTPUTS
        ],
    }


def _own_facts(model: Model) -> dict[str, Any]:
    """Say what the zoo has no words for: which weights, of which data and parent."""
    config, training = model.config, model.config.training
    return {
        "model": config.name,
        "version": config.version,
        "weights_sha256": weights_sha256(model.net),
        "software": __version__,
        "training_data": {
            "name": training.dataset,
            "version": training.dataset_version,
            "labels_digest": training.labels_digest,
            "content_digest": training.content_digest,
            "crops": training.crops,
        },
        "parent": None if training.start is None else training.start.model_dump(mode="json"),
        "domain": config.domain.model_dump(mode="json"),
    }
