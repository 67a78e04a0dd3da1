"""U-Nets: down to coarse grids for the surroundings, up again with the details."""

from abc import abstractmethod
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ceria_models.nets.base import ColumnNet, NetSettings
from ceria_models.nets.blocks import AttentionGate, PlainBlock, ResidualBlock, StandardisedConv

_WIDEST = 4
"""Channels of the coarsest level over those of the finest: more would be weights without
pixels to learn them from."""
_CONVS = 2
"""Convolutions of a block, each of which reaches one pixel farther."""


class UNet(ColumnNet):
    """Encoder, decoder and skip connections; a subclass chooses the blocks.

    References
    ----------
    .. [1] Ronneberger, Fischer and Brox, arXiv:1505.04597 (2015).
    """

    def __init__(self, settings: NetSettings, in_channels: int) -> None:
        super().__init__(settings, in_channels)
        widths = [settings.width * min(2**level, _WIDEST) for level in range(settings.levels)]
        self.stem = StandardisedConv(in_channels * settings.patch**2, settings.width)
        self.encoder = nn.ModuleList(
            self._stage(widths[max(level - 1, 0)], widths[level])
            for level in range(settings.levels)
        )
        self.bottom = nn.Sequential(
            *(self.block(widths[-1], widths[-1]) for _ in range(settings.bottom))
        )
        self.up = nn.ModuleList(
            StandardisedConv(coarse, fine, 1) for fine, coarse in pairwise(widths)
        )
        self.decoder = nn.ModuleList(self._stage(2 * width, width) for width in widths[:-1])

    @staticmethod
    @abstractmethod
    def block(inputs: int, outputs: int) -> nn.Module:
        """Make one block."""

    def merge(self, level: int, skip: Tensor, coarse: Tensor) -> Tensor:
        """Bring a skip connection and what comes from below together."""
        return torch.cat([skip, coarse], dim=1)

    @property
    def coarsest_channels(self) -> int:
        """Features of a pixel of the coarsest grid, which `bottom` gives."""
        return int(self.settings.width * min(2 ** (self.settings.levels - 1), _WIDEST))

    @property
    def stride(self) -> int:
        """Pixels of the coarsest grid."""
        return int(self.settings.patch * 2 ** (self.settings.levels - 1))

    @property
    def reach(self) -> int:
        """Farthest pixel that can change an output: one per convolution, on each grid."""
        patch, coarsest = self.settings.patch, self.stride // self.settings.patch
        per_stage = _CONVS * self.settings.blocks
        down, up = (per_stage * patch * (n - 1) for n in (2 * coarsest, coarsest))
        bottom = _CONVS * self.settings.bottom * self.stride
        return -(-(patch + down + bottom + up) // self.stride) * self.stride + self.stride

    def features(self, patches: Tensor) -> Tensor:
        """Turn patches into features of equal grid."""
        x: Tensor = self.stem(patches)
        skips: list[Tensor] = []
        for level, stage in enumerate(self.encoder):
            x = stage(F.avg_pool2d(x, 2) if level else x)
            skips.append(x)
        x = self.bottom(x)
        for level in reversed(range(len(self.decoder))):
            coarse = F.interpolate(self.up[level](x), scale_factor=2.0, mode="nearest")
            x = self.decoder[level](self.merge(level, skips[level], coarse))
        return x

    def _stage(self, inputs: int, outputs: int) -> nn.Module:
        more = (self.block(outputs, outputs) for _ in range(self.settings.blocks - 1))
        return nn.Sequential(self.block(inputs, outputs), *more)


class PlainUNet(UNet):
    """U-Net of plain blocks."""

    block = staticmethod(PlainBlock)


class ResidualUNet(UNet):
    """U-Net of residual blocks."""

    block = staticmethod(ResidualBlock)


class AttentionUNet(UNet):
    """U-Net of residual blocks whose skip connections are weighed."""

    block = staticmethod(ResidualBlock)

    def __init__(self, settings: NetSettings, in_channels: int) -> None:
        super().__init__(settings, in_channels)
        self.gates = nn.ModuleList(
            AttentionGate(settings.width * min(2**level, _WIDEST))
            for level in range(settings.levels - 1)
        )

    def merge(self, level: int, skip: Tensor, coarse: Tensor) -> Tensor:
        """Weigh the skip connection before it joins."""
        return torch.cat([self.gates[level](skip, coarse), coarse], dim=1)
