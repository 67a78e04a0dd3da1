"""What moves the weights of a net: Muon for the kernels, AdamW for the rest."""

import math
from typing import Any

from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from ceria_models.nets.blocks import StandardisedConv
from ceria_models.training_config import ScheduleSection


class NetOptimiser:
    """Steps along the schedule: a linear rise, then half a cosine.

    Kernels of `StandardisedConv` are matrices whose length means nothing. Muon turns all
    directions of such a matrix by the same angle, where AdamW lets a few large ones win. Gains,
    biases and the last layers are left to AdamW; kernels of other layers too, with decay.

    Parameters
    ----------
    net : Module
    schedule : ScheduleSection

    References
    ----------
    .. [1] Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024).
    .. [2] Loshchilov and Hutter, arXiv:1711.05101 (2017): AdamW.
    """

    def __init__(self, net: nn.Module, schedule: ScheduleSection) -> None:
        self.schedule = schedule
        kernels = [m.kernels for m in net.modules() if isinstance(m, StandardisedConv)]
        turned = {id(kernel) for kernel in kernels}
        rest = [(name, p) for name, p in net.named_parameters() if id(p) not in turned]
        decaying = [p for name, p in rest if name.endswith("weight")]
        groups = [
            {"params": decaying, "weight_decay": schedule.weight_decay},
            {"params": [p for name, p in rest if not name.endswith("weight")], "weight_decay": 0.0},
        ]
        rates = {"adamw": schedule.learning_rate, "muon": schedule.kernel_learning_rate}
        self._rates = rates
        self._parts: dict[str, Optimizer] = {
            "adamw": AdamW(groups, lr=rates["adamw"], fused=True),
        }
        if kernels:
            self._parts["muon"] = Muon(kernels, lr=rates["muon"], weight_decay=0.0)

    def forget_gradients(self) -> None:
        """Make room for the gradient of the next step."""
        for part in self._parts.values():
            part.zero_grad(set_to_none=True)

    def step(self, number: int) -> float:
        """Make the step of a number; return AdamW's learning rate."""
        share = schedule_share(self.schedule, number)
        for name, part in self._parts.items():
            for group in part.param_groups:
                group["lr"] = share * self._rates[name]
            part.step()
        return share * self._rates["adamw"]

    def state_dict(self) -> dict[str, Any]:
        """Describe the state of both."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        for name, part in self._parts.items():
            part.load_state_dict(state[name])


def schedule_share(schedule: ScheduleSection, step: int) -> float:
    """Evaluate the learning rate of a step as a share of the highest.

    Examples
    --------
    >>> schedule = ScheduleSection(crops=100, batch=1, warm_up=0.1)
    >>> [round(schedule_share(schedule, step), 2) for step in (0, 9, 10, 55, 99)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    warm_up = schedule.warm_up * schedule.steps
    if step < warm_up:
        return (step + 1) / math.ceil(warm_up)
    part = (step - warm_up) / max(schedule.steps - warm_up, 1)
    return 0.5 * (1 + math.cos(math.pi * part))
