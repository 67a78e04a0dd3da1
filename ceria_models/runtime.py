"""What runs a net: PyTorch in float32 or bfloat16, or ONNX Runtime."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ceria_data.errors import ConfigError
from ceria_models.model import Model, PixelOutput, run_net
from ceria_models.nets import ColumnNet, fixed_net
from ceria_models.orientations import over_orientations

Runtime = Callable[[NDArray[np.float32]], PixelOutput]
"""Describes the pixels of one image, (channel, y, x), as from `contrast.net_input`."""
FLOAT32, BFLOAT16 = "float32", "bfloat16"


def open_runtime(model: Model, name: str = FLOAT32, *, orientations: bool = False) -> Runtime:
    """Choose what runs a model's net.

    Parameters
    ----------
    model : Model
    name : str
        ``float32`` or ``bfloat16`` for PyTorch, or an ``.onnx`` file that `onnx_file.export_onnx`
        made of this model.
    orientations : bool
        Average over the eight orientations of every image: eight times the work.

    Returns
    -------
    callable
        From an image, as `contrast.net_input` makes it, to a `PixelOutput`.

    Raises
    ------
    ConfigError
        If the name is none of these.
    NotAModelError
        If the file was not made of this model.
    MissingExtraError
        If the file needs ONNX Runtime and it is not installed.

    Examples
    --------
    >>> from ceria_models import DEFAULT, from_pretrained
    >>> run = open_runtime(from_pretrained(DEFAULT))
    >>> run(np.zeros((2, 32, 48), dtype=np.float32)).logits.shape
    (2, 15, 32, 48)
    """
    run = _open(model, name)
    return over_orientations(run, model.net.stride) if orientations else run


def _open(model: Model, name: str) -> Runtime:
    if name in (FLOAT32, BFLOAT16):
        return torch_runtime(model.net, bfloat16=name == BFLOAT16)
    if name.endswith(".onnx"):
        from ceria_models.onnx_file import onnx_runtime  # which needs an extra

        return onnx_runtime(model, Path(name))
    raise ConfigError(
        f"the runtime is {name!r}; expected {FLOAT32}, {BFLOAT16} or a file that "
        "`ceria-models export MODEL --format onnx` made"
    )


def torch_runtime(net: ColumnNet, *, bfloat16: bool = False) -> Runtime:
    """Prepare a net for many images in PyTorch.

    Parameters
    ----------
    net : ColumnNet
    bfloat16 : bool
        Convolve numbers of 8 significant bits: much faster on processors that have
        instructions for it (AMX, AVX-512 BF16), slower on others.

    Returns
    -------
    callable
        See `open_runtime`.
    """
    ready = fixed_net(net).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    device = next(ready.parameters()).device.type

    def run(image: NDArray[np.float32]) -> PixelOutput:
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            return run_net(ready, image)

    return run
