"""A net while it learns: asked for the optics too, which only the surroundings tell.

How bright a column of n atoms is depends on defocus, focal spread and astigmatism. A net that has
to name them learns to see them; what names them is dropped when the training is over.
"""

import torch
from torch import Tensor, nn

from ceria_models.losses import student
from ceria_models.machine import total_of
from ceria_models.nets import ColumnNet, NetOutput
from ceria_models.nets.unet import UNet
from ceria_models.optics import OPTICS

_UNIT = 10.0
"""The head's unit of all of `OPTICS` [Å]."""


class Trainee(nn.Module):
    """A net and, where it is asked for the optics, the layer that names them.

    Parameters
    ----------
    net : ColumnNet
    asks_optics : bool
        For U-Nets only: they are read from the features of the coarsest grid.
    """

    def __init__(self, net: ColumnNet, asks_optics: bool) -> None:
        super().__init__()
        self.net = net
        self.head: nn.Conv2d | None = None
        if asks_optics:
            if not isinstance(net, UNet):
                raise TypeError(f"{type(net).__name__} has no coarsest grid to read optics from")
            self.head = nn.Conv2d(net.coarsest_channels, 2 * len(OPTICS), 1)

    def forward(self, image: Tensor) -> tuple[NetOutput, Tensor | None]:
        """Describe every pixel, and the optics at every pixel of the coarsest grid.

        Parameters
        ----------
        image : Tensor, shape (image, channel, y, x)

        Returns
        -------
        NetOutput
        Tensor, shape (image, 2, quantity, y / stride, x / stride), or None
            Values in 10 Å, and natural logarithms of their spreads in 10 Å.
        """
        if self.head is None:
            return self.net(image), None
        # A hook: nets, their files and their exports need not know of what a training asks.
        seen: list[Tensor] = []
        hook = self.net.get_submodule("bottom").register_forward_hook(
            lambda _module, _inputs, found: seen.append(found)
        )
        try:
            output = self.net(image)
        finally:
            hook.remove()
        return output, self.head(seen[0]).float().unflatten(1, (2, len(OPTICS)))


def optics_likelihood(named: Tensor, optics: Tensor) -> Tensor:
    """Compare the optics that a net names with those of the images.

    Parameters
    ----------
    named : Tensor, shape (image, 2, quantity, y, x)
        As from `Trainee`.
    optics : Tensor, shape (image, quantity)
        See `OPTICS` [Å].

    Returns
    -------
    Tensor, scalar
        Negative logarithm of the likelihood, mean over pixels and quantities [nat].
    """
    score = student(named[:, 0] - optics[:, :, None, None] / _UNIT, named[:, 1])
    return total_of(score.sum()) / total_of(torch.ones_like(score).sum())
