"""The zoo: a closed registry of nets, and their sizes."""

from copy import deepcopy

from ceria_models.contrast import CHANNELS
from ceria_models.errors import NotAModelError
from ceria_models.nets.base import ColumnNet, NetOutput, NetSettings, written_settings
from ceria_models.nets.blocks import StandardisedConv
from ceria_models.nets.mixed_scale import MixedScaleNet
from ceria_models.nets.smp_net import DECODERS, DEPTHS, ENCODERS, SmpNet
from ceria_models.nets.unet import AttentionUNet, PlainUNet, ResidualUNet, UNet

ARCHITECTURES: dict[str, type[ColumnNet]] = {
    "plain_unet": PlainUNet,
    "residual_unet": ResidualUNet,
    "attention_unet": AttentionUNet,
    "mixed_scale": MixedScaleNet,
    "smp": SmpNet,
}
"""Every architecture by name."""

BOUNDS = {
    "width": (1, 512),
    "levels": (1, 64),
    "blocks": (1, 32),
    "patch": (1, 8),
    "max_count": (1, 64),
    "bottom": (0, 32),
}
"""Smallest and largest value of every size."""
GROWING = (ResidualUNet, AttentionUNet)
"""Nets to which blocks at the bottom can be added without changing what they say."""

__all__ = [
    "ARCHITECTURES",
    "GROWING",
    "ColumnNet",
    "NetOutput",
    "NetSettings",
    "check_settings",
    "create_net",
    "fixed_net",
    "written_settings",
]


def create_net(settings: NetSettings) -> ColumnNet:
    """Make a net with fresh weights.

    Parameters
    ----------
    settings : NetSettings

    Returns
    -------
    ColumnNet

    Raises
    ------
    NotAModelError
        If the architecture is unknown or a size is not within its bounds; nothing is
        allocated before.

    Examples
    --------
    >>> net = create_net(NetSettings("plain_unet", 8, levels=3, blocks=1, patch=2, max_count=14))
    >>> net.stride
    8
    """
    check_settings(settings)
    return ARCHITECTURES[settings.architecture](settings, CHANNELS)


def check_settings(settings: NetSettings) -> None:
    """Refuse a net that does not exist, or is larger than any should be.

    Parameters
    ----------
    settings : NetSettings

    Raises
    ------
    NotAModelError
        As `create_net`.
    """
    _check_name("architecture", settings.architecture, tuple(ARCHITECTURES))
    for name, (low, high) in BOUNDS.items():
        value = getattr(settings, name)
        if not (isinstance(value, int) and low <= value <= high):
            raise NotAModelError(
                f"{name} is {value!r}; expected a whole number from {low} to {high}"
            )
    if settings.bottom and not issubclass(ARCHITECTURES[settings.architecture], UNet):
        raise NotAModelError(
            f"architecture {settings.architecture} takes no bottom; it belongs to the U-Nets of "
            "this package"
        )
    if settings.architecture == "smp":
        _check_name("decoder", settings.decoder, tuple(DECODERS))
        _check_name("encoder", settings.encoder, ENCODERS)
        fewest, most = DEPTHS
        if not fewest <= settings.levels <= most or settings.blocks != 1:
            raise NotAModelError(
                f"architecture smp with levels {settings.levels} and blocks {settings.blocks}; "
                f"expected {fewest} to {most} levels and 1 block"
            )
    elif settings.decoder or settings.encoder:
        raise NotAModelError(
            f"architecture {settings.architecture} takes no decoder and no encoder; they belong "
            "to the architecture smp"
        )


def _check_name(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise NotAModelError(f"unknown {what} {name!r}; expected one of {', '.join(known)}")


def fixed_net(net: ColumnNet) -> ColumnNet:
    """Copy a net for use without training: kernels are standardised once, not in every run.

    Parameters
    ----------
    net : ColumnNet
        Stays as it is.

    Returns
    -------
    ColumnNet
        In evaluation mode, equal in what it says; its weights have other names.
    """
    copy = deepcopy(net).eval().requires_grad_(False)
    for module in list(copy.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, StandardisedConv):
                setattr(module, name, child.fixed().requires_grad_(False))
    return copy
