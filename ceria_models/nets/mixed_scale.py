"""Mixed-scale dense net: one grid, growing gaps in the kernels, every layer sees all before."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ceria_models.nets.base import ColumnNet, NetSettings
from ceria_models.nets.blocks import StandardisedConv

_DILATIONS = (1, 2, 4, 8)


class MixedScaleNet(ColumnNet):
    """Dilated convolutions, densely connected, without a coarser grid.

    It has far fewer weights than a U-Net: each layer adds few channels and may use all
    earlier ones.

    References
    ----------
    .. [1] Pelt and Sethian, PNAS 115, 254 (2018), doi:10.1073/pnas.1715832114.
    """

    def __init__(self, settings: NetSettings, in_channels: int) -> None:
        super().__init__(settings, in_channels)
        first = in_channels * settings.patch**2
        self.layers = nn.ModuleList(
            StandardisedConv(
                first + i * settings.blocks,
                settings.blocks,
                dilation=_DILATIONS[i % len(_DILATIONS)],
            )
            for i in range(settings.levels)
        )
        self.mix = StandardisedConv(first + settings.levels * settings.blocks, settings.width, 1)

    @property
    def stride(self) -> int:
        """Pixels of a patch: there is no coarser grid."""
        return self.settings.patch

    @property
    def reach(self) -> int:
        """Farthest pixel that can change an output: the sum of the dilations."""
        reach = sum(_DILATIONS[i % len(_DILATIONS)] for i in range(self.settings.levels))
        return self.settings.patch * (reach + 1)

    def features(self, patches: Tensor) -> Tensor:
        """Turn patches into features of equal grid."""
        seen = patches
        for layer in self.layers:
            seen = torch.cat([seen, F.silu(layer(seen))], dim=1)
        return F.silu(self.mix(seen))
