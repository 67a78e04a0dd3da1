"""Models as ONNX files: written, compared with PyTorch, run by ONNX Runtime."""

import importlib
import warnings
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ceria_data.errors import MissingExtraError, OutputError
from ceria_models.contrast import CHANNELS
from ceria_models.errors import ExportError, NotAModelError
from ceria_models.model import Model, PixelOutput
from ceria_models.nets import ColumnNet, fixed_net
from ceria_models.runtime import Runtime
from ceria_models.weights import weights_sha256

OUTPUTS = ("logits", "depth", "depth_log_spread", "offset")
"""In the order of `NetOutput`."""
TOLERANCE = 1e-4
"""Largest difference from PyTorch over the largest value of an output: both add up the same
thousands of float32 products, each in its own order, which makes some 1e-6; a wrong layer
makes far more."""
_OPSET = 18
_TRACED = (2, CHANNELS, 72, 88)
"""Shape of the image that the net is recorded with; none of its sizes stays fixed."""
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
    onnx = _module("onnx")
    _module("onnxscript"), _module("onnxruntime")
    file = out if out.suffix == ".onnx" else out / f"{model.config.name}-{_version(model)}.onnx"
    if file.exists():
        raise OutputError(f"{file} exists already; choose another --out")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.stem}.{uuid4().hex}.onnx")
    try:
        content = _recorded(model.net)
        _describe(content, model)
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
    onnx = _module("onnx")
    try:
        onnx.checker.check_model(str(file), full_check=True)
    except onnx.checker.ValidationError as error:
        raise ExportError(f"{file} is not valid ONNX: {error}") from error
    session = _session(file)
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
    session = _session(file)
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


def _recorded(net: ColumnNet) -> Any:
    """Record what a net does to an image, as an `onnx.ModelProto`."""
    dynamic = torch.export.Dim.DYNAMIC
    with warnings.catch_warnings():
        # The exporter warns of calls that it makes itself.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _AsTuple(fixed_net(net).cpu()).eval(),
            (torch.zeros(_TRACED),),
            dynamo=True,
            dynamic_shapes={"image": {0: dynamic, 2: dynamic, 3: dynamic}},
            input_names=["image"],
            output_names=list(OUTPUTS),
            opset_version=_OPSET,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _describe(content: Any, model: Model) -> None:
    """Name the axes as people do, and say where the file comes from."""
    graph = content.graph
    del graph.value_info[:]  # sizes in the recorder's names
    for value in (*graph.input, *graph.output):
        axes = value.type.tensor_type.shape.dim
        for axis, name in ((axes[0], "image"), (axes[-2], "y"), (axes[-1], "x")):
            axis.dim_param = name
    graph.doc_string = _DESCRIPTION
    content.producer_name, content.model_version = "ceria", 1
    _module("onnx").helper.set_model_props(content, metadata(model))


def _session(file: Path) -> Any:
    runtime = _module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    if not file.is_file():
        raise NotAModelError(f"{file} is no file; make it: ceria-models export MODEL --format onnx")
    try:
        return runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no other base
        raise NotAModelError(f"{file} cannot be read by ONNX Runtime: {error}") from error


def _version(model: Model) -> str:
    """Keep of a version what a file's name may hold."""
    return "".join(c if c.isalnum() or c in ".+-" else "-" for c in model.config.version)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError("ONNX", "onnx", name) from error
