"""Layers that the nets are made of; none looks at other images or at distant pixels."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_TINY = 1e-8
_SILU_GAIN = 1.676
"""Makes up for the variance that SiLU takes from normal numbers."""


class StandardisedConv(nn.Module):
    """A convolution whose kernels have zero mean and unit norm, times a learned gain.

    It keeps activations in bounds without looking at them, so that an image's result
    depends neither on the batch nor on the size of the image.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    size : int
        Pixels of a kernel along each axis, an odd number.
    dilation : int
        Pixels from one of its pixels to the next.

    Attributes
    ----------
    kernels : Parameter, shape (output, input * size * size)
        A row for each output: a matrix, as `optimiser.NetOptimiser` wants it.

    References
    ----------
    .. [1] Brock, De and Smith, arXiv:2101.08692 (2021): scaled weight standardisation.
    """

    def __init__(self, inputs: int, outputs: int, size: int = 3, dilation: int = 1) -> None:
        super().__init__()
        self.shape = (outputs, inputs, size, size)
        self.padding, self.dilation = dilation * (size // 2), dilation
        fan_in = inputs * size**2
        # Rows of norm 1. Their length means nothing to the result, but the longer they are
        # the less an optimiser turns them.
        self.kernels = nn.Parameter(torch.randn(outputs, fan_in) / fan_in**0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.gain = nn.Parameter(torch.full((outputs, 1), _SILU_GAIN))

    def kernel(self) -> Tensor:
        """Standardise the kernels and multiply them by the gain: (output, input, y, x)."""
        centred = self.kernels - self.kernels.mean(1, keepdim=True)
        norm = centred.square().sum(1, keepdim=True)
        return (centred * (self.gain * torch.rsqrt(norm + _TINY))).view(self.shape)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve; zero padding keeps the grid."""
        if self.dilation == 1:
            return F.conv2d(x, self.kernel(), self.bias, 1, self.padding)
        # The gradient of dilated kernels in bfloat16 is NaN on processors with AVX512-BF16,
        # PyTorch 2.13.0, for channels last whose number is no multiple of 16.
        with torch.autocast(x.device.type, enabled=False):
            return F.conv2d(x.float(), self.kernel(), self.bias, 1, self.padding, self.dilation)

    def fixed(self) -> nn.Conv2d:
        """Make a convolution that has the kernels as they are now, for use without training."""
        outputs, inputs, size, _ = self.shape
        # Weights on the meta device take no memory, and these are not kept.
        made = nn.Conv2d(
            inputs, outputs, size, padding=self.padding, dilation=self.dilation, device="meta"
        )
        made.weight, made.bias = nn.Parameter(self.kernel().detach()), self.bias
        return made


class PlainBlock(nn.Module):
    """Two convolutions, each followed by SiLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = StandardisedConv(inputs, outputs)
        self.second = StandardisedConv(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the grid, change the channels."""
        return F.silu(self.second(F.silu(self.first(x))))


class ResidualBlock(nn.Module):
    """Two convolutions that add to their input; at first they add nothing.

    References
    ----------
    .. [1] De and Smith, arXiv:2002.10444 (2020): a learned scale that starts at 0 takes
       the place of normalisation.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = StandardisedConv(inputs, outputs)
        self.second = StandardisedConv(outputs, outputs)
        self.across = StandardisedConv(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Keep the grid, change the channels."""
        added = self.second(F.silu(self.first(F.silu(x))))
        total: Tensor = self.across(x) + self.scale * added
        return total


class AttentionGate(nn.Module):
    """Weighs every pixel of a skip connection by what the coarser level found there.

    References
    ----------
    .. [1] Oktay et al., arXiv:1804.03999 (2018): Attention U-Net.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.of_skip = StandardisedConv(channels, channels // 2, 1)
        self.of_coarse = StandardisedConv(channels, channels // 2, 1)
        self.weigh = nn.Conv2d(channels // 2, 1, 1)

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        """Weigh the skip connection; both have the same shape."""
        weight = torch.sigmoid(self.weigh(F.silu(self.of_skip(skip) + self.of_coarse(coarse))))
        return skip * weight
