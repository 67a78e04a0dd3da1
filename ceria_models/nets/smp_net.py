"""Nets of segmentation_models_pytorch behind the promises of this package."""

import math
import sys
import warnings
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ceria_data.errors import MissingExtraError
from ceria_models.nets.base import ColumnNet, NetSettings

DECODERS = {
    "unet": "Unet",
    "unetplusplus": "UnetPlusPlus",
    "linknet": "Linknet",
}
"""Architectures by their name in a config. An output of the others depends on where the image
or its tile ends: they average over all of it (PSPNet, DeepLabV3, DeepLabV3Plus, PAN, UPerNet: by
pooling; MAnet and DPT: by attention; FPN: by group normalisation), or stretch a coarse grid from
corner to corner (Segformer, bilinear with aligned corners)."""
ENCODERS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "densenet121",
    "densenet169",
    "densenet201",
    "mobilenet_v2",
    "vgg11_bn",
    "vgg13_bn",
    "vgg16_bn",
    "vgg19_bn",
    "xception",
    "dpn68",
)
"""Encoders without squeeze-and-excitation and attention, which see the whole image."""
DEPTHS = (3, 5)
"""Fewest and most levels."""
_MODULE = "segmentation_models_pytorch"


class SmpNet(ColumnNet):
    """Any of `DECODERS` on any of `ENCODERS`, with fresh weights and batch normalisation.

    In evaluation the normalisation has fixed statistics, so that an image's result depends
    neither on the batch nor on the image's size; in training it depends on the batch.

    Raises
    ------
    MissingExtraError
        If segmentation_models_pytorch is not installed.
    """

    def __init__(self, settings: NetSettings, in_channels: int) -> None:
        super().__init__(settings, in_channels)
        library, channels = _library(), in_channels * settings.patch**2
        self.body = _body(library, settings, channels)
        with torch.device("meta"):
            shapes = _body(library, settings, channels).eval()
        self._grid_reach, called = _traced(shapes, channels, 2**settings.levels)
        # A coarser level that is not asked for stays in some encoders, and would never learn.
        for name, module in list(self.body.named_modules()):
            if name not in called and not list(module.children()) and list(module.parameters()):
                self.body.set_submodule(name, nn.Identity())

    @property
    def stride(self) -> int:
        """Pixels of the coarsest grid."""
        return int(self.settings.patch * 2**self.settings.levels)

    @property
    def reach(self) -> int:
        """Farthest pixel that can change an output, at most: all layers in a row."""
        pixels = self.settings.patch * self._grid_reach
        return math.ceil(pixels / self.stride) * self.stride

    def features(self, patches: Tensor) -> Tensor:
        """Turn patches into features of equal grid."""
        return F.silu(self.body(patches))


def _body(library: Any, settings: NetSettings, channels: int) -> nn.Module:
    """Make the net itself; nothing is downloaded."""
    levels, width = settings.levels, settings.width
    more: dict[str, Any] = {}
    if settings.decoder in ("unet", "unetplusplus"):
        more["decoder_channels"] = [width * 2**level for level in reversed(range(levels))]
    made: nn.Module = getattr(library, DECODERS[settings.decoder])(
        settings.encoder,
        encoder_depth=levels,
        encoder_weights=None,
        in_channels=channels,
        classes=width,
        **more,
    )
    return made


def _traced(body: nn.Module, channels: int, coarsest: int) -> tuple[int, set[str]]:
    """Bound how far a net on the meta device sees, in pixels of its input, and say what it calls.

    Every layer adds the farthest pixel that it reads, on its own grid, as if all stood in a
    row. Bringing a coarse grid to a fine one adds less than twice the coarsest pixel.
    """
    size, reach, called = 4 * coarsest, 2 * coarsest, set[str]()
    names = {module: name for name, module in body.named_modules()}

    def watch(layer: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        nonlocal reach
        called.add(names[layer])
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.ConvTranspose2d)):
            kernel, dilation, padding = (
                _largest(getattr(layer, name, 1)) for name in ("kernel_size", "dilation", "padding")
            )
            # A transposed convolution reads on the grid that it writes.
            grid = output if isinstance(layer, nn.ConvTranspose2d) else inputs[0]
            span = dilation * (kernel - 1)
            reach += max(padding, span - padding) * size // grid.shape[-1]

    for module in body.modules():
        module.register_forward_hook(watch)
    body(torch.empty(1, channels, size, size, device="meta"))
    return reach, called


def _largest(value: Any) -> int:
    """Read a size that layers hold as a number or as a pair."""
    return int(max(value)) if isinstance(value, tuple) else int(value)


def _library() -> Any:
    """Import segmentation_models_pytorch, which takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision misses codecs for pictures: none are read
        try:
            try:
                return import_module(_MODULE)
            except RuntimeError as error:
                if "torchvision::" not in str(error):
                    raise
                _declare_operators()
                return import_module(_MODULE)
        except ImportError as error:
            raise MissingExtraError("architecture smp", "smp", error.name or _MODULE) from error


def _declare_operators() -> None:
    """Let torchvision be imported without its compiled part.

    Its wheel on PyPI is compiled for CUDA. Beside a torch for processors only, its operators
    do not load, and the import ends where it describes them. No encoder uses them.
    """
    for name in [n for n in sys.modules if n.split(".")[0] in ("torchvision", "timm", _MODULE)]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(schema)  # type: ignore[no-untyped-call]
    _declared.append(library)


_declared: list[Any] = []
"""Declarations end with the object that made them."""
