"""ONNX: recorded from PyTorch, described for people, opened by ONNX Runtime."""

import importlib
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ceria_data.errors import MissingExtraError
from ceria_models.errors import ExportError, NotAModelError

OPSET = 18
_TRACED = (2, 72, 88)
"""Images, y and x of the recording; none of them stays fixed."""


def record(module: nn.Module, channels: int, outputs: tuple[str, ...]) -> Any:
    """Record what a module does to images, of any number and size.

    Parameters
    ----------
    module : Module
        In evaluation mode; from (image, channel, y, x) to tensors whose first axis is the
        image and whose last two are y and x.
    channels : int
        Of the input.
    outputs : tuple of str
        Names of what it returns, in its order.

    Returns
    -------
    onnx.ModelProto
        Its input is ``image``.

    Raises
    ------
    MissingExtraError
        If onnx or onnxscript is not installed.
    """
    onnx_module("onnx"), onnx_module("onnxscript")
    dynamic, (images, y, x) = torch.export.Dim.DYNAMIC, _TRACED
    with warnings.catch_warnings():
        # The exporter warns of calls that it makes itself.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (torch.zeros(images, channels, y, x),),
            dynamo=True,
            dynamic_shapes={"image": {0: dynamic, 2: dynamic, 3: dynamic}},
            input_names=["image"],
            output_names=list(outputs),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    return _without_traces(program.model_proto)


def describe(content: Any, text: str, facts: dict[str, str]) -> None:
    """Say in a graph what it is, and where it comes from.

    Parameters
    ----------
    content : onnx.ModelProto
    text : str
    facts : dict of str to str
        See `onnx_file.metadata`.
    """
    content.graph.doc_string = text
    content.producer_name, content.model_version = "ceria", 1
    onnx_module("onnx").helper.set_model_props(content, facts)


def check_graph(file: Path) -> None:
    """Refuse a file that is not valid ONNX.

    Parameters
    ----------
    file : Path

    Raises
    ------
    ExportError
        If it is not.
    """
    checker = onnx_module("onnx").checker
    try:
        checker.check_model(str(file), full_check=True)
    except checker.ValidationError as error:
        raise ExportError(f"{file} is not valid ONNX: {error}") from error


def open_session(file: Path) -> Any:
    """Open a file in ONNX Runtime; it uses as many threads as torch.

    Parameters
    ----------
    file : Path

    Returns
    -------
    onnxruntime.InferenceSession

    Raises
    ------
    NotAModelError
        If the file cannot be read.
    MissingExtraError
        If onnxruntime is not installed.
    """
    runtime = onnx_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    if not file.is_file():
        raise NotAModelError(f"{file} is no file; make it: ceria-models export MODEL --format onnx")
    try:
        return runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no other base
        raise NotAModelError(f"{file} cannot be read by ONNX Runtime: {error}") from error


def onnx_module(name: str) -> Any:
    """Import a module of the extra ``onnx``.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError("ONNX", "onnx", name) from error


def _without_traces(content: Any) -> Any:
    """Leave out how the recorder came to a graph: its names of sizes, and paths of this machine."""
    graph = content.graph
    for node in graph.node:
        node.ClearField("metadata_props")
    graph.ClearField("metadata_props")
    graph.ClearField("value_info")
    for value in (*graph.input, *graph.output):
        value.ClearField("metadata_props")
        axes = value.type.tensor_type.shape.dim
        for axis, name in ((axes[0], "image"), (axes[-2], "y"), (axes[-1], "x")):
            axis.dim_param = name
    return content
