"""What every net promises: its settings, its input, its output."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from math import log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ceria_data.schema import SPECIES

DEPTH_SCALE = 10.0
"""The nets' unit of depth [Å]."""
_GEOMETRY = 4
"""Outputs per species and pixel beside the classes: depth, its spread, offset in y and x."""


@dataclass(frozen=True)
class NetSettings:
    """Size of a net.

    Attributes
    ----------
    architecture : str
        Name in the registry.
    width : int
        Channels at the finest level.
    levels : int
        Levels of a U-Net, each with half the pixels along an axis of the one before; layers
        of the mixed-scale net.
    blocks : int
        Blocks of a level; channels that a layer of the mixed-scale net adds.
    patch : int
        Pixels (along each axis) that the first layer takes together.
    max_count : int
        Highest class K.
    decoder, encoder : str
        Names in `smp_net`, for its architecture; empty for the others.
    bottom : int
        Further blocks on the coarsest grid of a U-Net.
    """

    architecture: str
    width: int
    levels: int
    blocks: int
    patch: int
    max_count: int
    decoder: str = ""
    encoder: str = ""
    bottom: int = 0


_LATER = {
    field.name: field.default for field in fields(NetSettings) if field.default is not MISSING
}
"""Settings that came later than the first models, and what they are without them."""


def written_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out later settings that a net does without: files of before stay as they were.

    Parameters
    ----------
    values : mapping
        Settings by name.

    Returns
    -------
    dict

    Examples
    --------
    >>> written_settings({"width": 8, "blocks": 0, "encoder": "", "bottom": 0})
    {'width': 8, 'blocks': 0}
    """
    return {k: v for k, v in values.items() if k not in _LATER or v != _LATER[k]}


@dataclass(frozen=True)
class NetOutput:
    """What a net says about every pixel; species are in the order of `schema.SPECIES`.

    Attributes
    ----------
    logits : Tensor, shape (image, species, class, y, x)
        Logarithms of class probabilities, up to a constant; class 0 is background.
    depth : Tensor, shape (image, species, y, x)
        Mean depth of the column's atoms [Å].
    depth_log_spread : Tensor, shape (image, species, y, x)
        Natural logarithm of the depth's standard deviation [Å].
    offset : Tensor, shape (image, species, 2, y, x)
        From the pixel to the column's position (y, x) [Å].
    """

    logits: Tensor
    depth: Tensor
    depth_log_spread: Tensor
    offset: Tensor


class ColumnNet(nn.Module, ABC):
    """A net that says for every pixel how many atoms stand there.

    A subclass turns patches into features of `NetSettings.width` channels; this class
    cuts the patches, adds the last layer and puts the pixels together again. Nothing in it
    depends on the other images of a batch or on the size of the image.

    Parameters
    ----------
    settings : NetSettings
    in_channels : int
        Channels of the input, see `contrast.net_input`.
    """

    def __init__(self, settings: NetSettings, in_channels: int) -> None:
        super().__init__()
        self.settings = settings
        self.in_channels = in_channels
        self.classes = self._head(settings.max_count + 1)
        self.geometry = self._head(_GEOMETRY)

    @property
    @abstractmethod
    def stride(self) -> int:
        """Pixels of the coarsest grid; a tile that starts at a multiple sees the same grids."""

    @property
    @abstractmethod
    def reach(self) -> int:
        """Farthest pixel that can change an output, along one axis; a multiple of `stride`."""

    @abstractmethod
    def features(self, patches: Tensor) -> Tensor:
        """Turn patches (image, channel, y / patch, x / patch) into features of equal grid."""

    def forward(self, image: Tensor) -> NetOutput:
        """Describe every pixel of some images.

        Parameters
        ----------
        image : Tensor, shape (image, channel, y, x)
            See `contrast.net_input`.

        Returns
        -------
        NetOutput
        """
        y, x = image.shape[-2:]
        image = F.pad(image, (0, -x % self.stride, 0, -y % self.stride))
        patches = F.pixel_unshuffle(image, self.settings.patch)
        features = self.features(patches.contiguous(memory_format=torch.channels_last))
        logits = self._pixels(self.classes(features))[..., :y, :x]
        geometry = self._pixels(self.geometry(features))[..., :y, :x]
        return NetOutput(
            logits,
            geometry[:, :, 0] * DEPTH_SCALE,
            geometry[:, :, 1] + log(DEPTH_SCALE),
            geometry[:, :, 2:],
        )

    def _head(self, outputs: int) -> nn.Conv2d:
        """Make the last layer for some outputs per species and pixel."""
        head = nn.Conv2d(self.settings.width, len(SPECIES) * outputs * self.settings.patch**2, 1)
        nn.init.normal_(head.weight, std=0.01)
        assert head.bias is not None
        nn.init.zeros_(head.bias)
        return head

    def _pixels(self, patches: Tensor) -> Tensor:
        """Put the pixels of the patches side by side: (image, species, output, y, x)."""
        # Classes as planes: a softmax over planes runs along the pixels, many at a time. One copy
        # from the channels of a patch takes a third of the time of pixel_shuffle, which other
        # programs have as one operator.
        n, size = patches.shape[0], self.settings.patch
        y, x = patches.shape[-2:]
        if torch.compiler.is_exporting():
            planes = F.pixel_shuffle(patches, size)
            return planes.reshape(n, len(SPECIES), -1, y * size, x * size).float()
        split = patches.reshape(n, -1, size, size, y, x).permute(0, 1, 4, 2, 5, 3)
        return split.reshape(n, len(SPECIES), -1, y * size, x * size).float()
