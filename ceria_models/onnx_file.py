"""Models as ONNX files: written, compared with PyTorch, run by ONNX Runtime."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ceria_data.errors import OutputError
from ceria_models.contrast import CHANNELS
from ceria_models.errors import ExportError, NotAModelError
from ceria_models.model import Model, PixelOutput
from ceria_models.nets import ColumnNet, fixed_net
from ceria_models.onnx_graph import check_graph, describe, onnx_module, open_session, record
from ceria_models.runtime import Runtime
from ceria_models.weights import weights_sha256

OUTPUTS = ("logits", "depth", "depth_log_spread", "offset")
"""In the order of `NetOutput`."""
TOLERANCE = 1e-4
"""Largest difference from PyTorch over the largest value of an output: both add up the same
thousands of float32 products, each in its own order, which makes some 1e-6; a wrong layer
makes far more."""
_CHECKED = ((1, 37, 61), (3, 130, 45))
"""Images, y and x of the comparison: no multiple of any stride."""
_DESCRIPTION = (
    "Counts the atoms of CeO2 columns in HRTEM images. image: (image, channel, y, x), any y and x, "
    "pixels of sampling_A; channel 0 is the contrast (image / mean - 1), channel 1 "
    "log10(dose / 300 e-/A^2). logits: (image, species, class, y, x), class 0 background, not "
    "calibrated. depth, depth_log_spread: (image, species, y, x), A. offset to the column: "
    "(image, species, (y, x), y, x), A."
)


def export_onnx(model: Model, out: Path) -> dict[str, Any]:
    """Write a model as one ONNX file that takes images of any size, and check it.

    Parameters
    ----------
    model : Model
    out : Path
        File that ends in ``.onnx``, or a folder.

    Returns
    -------
    dict
        The file, its size, what it was made of, and how far it is from PyTorch.

    Raises
    ------
    MissingExtraError
        If onnx, onnxscript or onnxruntime is not installed.
    OutputError
        If the file exists already.
    ExportError
        If the file is not valid ONNX, or says something else than the model; it is not kept.
    """
    onnx = onnx_module("onnx")
    onnx_module("onnxscript"), onnx_module("onnxruntime")
    file = out if out.suffix == ".onnx" else out / f"{file_stem(model)}.onnx"
    if file.exists():
        raise OutputError(f"{file} exists already; choose another --out")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.stem}.{uuid4().hex}.onnx")
    try:
        content = record(_AsTuple(fixed_net(model.net).cpu()).eval(), CHANNELS, OUTPUTS)
        describe(content, _DESCRIPTION, metadata(model))
        onnx.save_model(content, partial)
        difference = check_onnx(partial, model.net)
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        **metadata(model),
        "largest_difference": difference,
    }


def metadata(model: Model) -> dict[str, str]:
    """Describe where a file comes from; it carries these facts.

    Parameters
    ----------
    model : Model

    Returns
    -------
    dict of str to str
        model, version, sampling_A, species (comma-separated), max_count, and the sha256 of the
        model's weights.
    """
    return {
        "model": model.config.name,
        "version": model.config.version,
        "sampling_A": f"{model.config.sampling_A:.9g}",
        "species": ",".join(model.config.species),
        "max_count": str(model.config.net.max_count),
        "weights_sha256": weights_sha256(model.net),
    }


def file_stem(model: Model) -> str:
    """Name the file of an exported model after its name and version.

    Parameters
    ----------
    model : Model

    Returns
    -------
    str
        Holds of the version what a file's name may hold.

    Examples
    --------
    >>> from ceria_models import DEFAULT, from_pretrained
    >>> file_stem(from_pretrained(DEFAULT)).startswith(f"{DEFAULT}-0")
    True
    """
    version = "".join(c if c.isalnum() or c in ".+-" else "-" for c in model.config.version)
    return f"{model.config.name}-{version}"


def check_onnx(file: Path, net: ColumnNet) -> float:
    """Compare a file with a net, on images of odd sizes.

    Parameters
    ----------
    file : Path
    net : ColumnNet

    Returns
    -------
    float
        Largest difference of an output over its largest value.

    Raises
    ------
    ExportError
        If the file is not valid ONNX, or the difference is above `TOLERANCE`.
    """
    check_graph(file)
    session = open_session(file)
    net, random, largest = net.eval(), np.random.default_rng(0), 0.0
    for images, y, x in _CHECKED:
        image = random.normal(size=(images, CHANNELS, y, x)).astype(np.float32)
        with torch.inference_mode():
            expected = net(torch.from_numpy(image))
        for name, found in zip(OUTPUTS, session.run(OUTPUTS, {"image": image}), strict=True):
            value = getattr(expected, name).numpy()
            difference = float(np.abs(found - value).max() / np.abs(value).max())
            if not difference <= TOLERANCE:
                raise ExportError(
                    f"{name} of {file} differs from PyTorch by {difference:.2g} of its largest "
                    f"value, expected at most {TOLERANCE}; the versions of torch and onnxruntime "
                    "that work are in constraints.txt"
                )
            largest = max(largest, difference)
    return largest


def onnx_runtime(model: Model, file: Path) -> Runtime:
    """Prepare ONNX Runtime for many images; it uses as many threads as torch.

    Parameters
    ----------
    model : Model
    file : Path
        Made of this model by `export_onnx`.

    Returns
    -------
    callable
        See `runtime.open_runtime`.

    Raises
    ------
    NotAModelError
        If the file cannot be read, or was not made of this model.
    MissingExtraError
        If onnxruntime is not installed.
    """
    session = open_session(file)
    found = session.get_modelmeta().custom_metadata_map.get("weights_sha256")
    if found != weights_sha256(model.net):
        raise NotAModelError(
            f"{file} was not made of the weights of {model.config.name} {model.config.version}; "
            "make it anew: ceria-models export MODEL --format onnx"
        )

    def run(image: NDArray[np.float32]) -> PixelOutput:
        logits, depth, log_spread, offset = session.run(OUTPUTS, {"image": image[None]})
        return PixelOutput(logits[0], depth[0], np.exp(log_spread[0]), offset[0])

    return run


class _AsTuple(nn.Module):
    """A net whose outputs have an order instead of names."""

    def __init__(self, net: ColumnNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        out = self.net(image)
        return tuple(getattr(out, name) for name in OUTPUTS)
