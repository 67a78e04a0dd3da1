"""Where a training runs: device, processes."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

from ceria_data.errors import CeriaError, DeviceError
from ceria_models.errors import TrainingError


@dataclass(frozen=True)
class Machine:
    """Where a training runs; nothing of it changes which crops it sees.

    Attributes
    ----------
    device : torch.device
    workers : int
        Processes that make crops; 0 makes them in the loop.
    rank, world : int
        This process and their number, see `torch.distributed`.
    """

    device: torch.device
    workers: int
    rank: int = 0
    world: int = 1

    def share(self, batch: int) -> int:
        """Count the crops of a batch that fall to each process.

        Parameters
        ----------
        batch : int

        Returns
        -------
        int

        Raises
        ------
        TrainingError
            If the processes cannot share the batch evenly.

        Examples
        --------
        >>> Machine(torch.device("cpu"), workers=0, rank=0, world=2).share(8)
        4
        """
        if batch % self.world:
            raise TrainingError(
                f"schedule.batch is {batch} crops for {self.world} processes; expected a multiple "
                f"of {self.world}: start another number of processes, or change schedule.batch"
            )
        return batch // self.world

    def on_first(self, action: Callable[[], None]) -> None:
        """Do something on the first process only; the others wait, and fail as it does.

        Parameters
        ----------
        action : callable

        Raises
        ------
        CeriaError, OSError
            What the action raised, on every process.

        Examples
        --------
        >>> Machine(torch.device("cpu"), workers=0).on_first(lambda: print("once"))
        once
        """
        failure: list[CeriaError | OSError | None] = [None]
        if self.rank == 0:
            try:
                action()
            except (CeriaError, OSError) as error:
                failure = [error]
        if self.world > 1:
            distributed.broadcast_object_list(failure, src=0)
        if failure[0] is not None:
            raise failure[0]


class _Total(torch.autograd.Function):
    """A sum over processes whose gradient undoes the mean that is taken of gradients later."""

    @staticmethod
    def forward(_context: Any, value: Tensor) -> Tensor:
        total = value.detach().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * distributed.get_world_size()


def total_of(value: Tensor) -> Tensor:
    """Sum a value over the processes that train together.

    A loss that is made of such sums is that of the whole batch, on every process.
    `DistributedDataParallel` takes the mean of the gradients over the processes; that of a sum
    is larger by their number here, so that the mean is the gradient of the whole batch too.

    Parameters
    ----------
    value : Tensor
        Sum over the crops of this process.

    Returns
    -------
    Tensor
        The value itself if this process trains alone.

    Examples
    --------
    >>> total_of(torch.tensor(3.0))
    tensor(3.)
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return value
    total: Tensor = _Total.apply(value)  # type: ignore[no-untyped-call]
    return total


def device_of(name: str) -> torch.device:
    """Find a device by the name that the commands give it.

    Parameters
    ----------
    name : str
        ``cpu`` or ``gpu``.

    Returns
    -------
    torch.device

    Raises
    ------
    DeviceError
        If the name is another one, or there is no GPU.

    Examples
    --------
    >>> device_of("cpu")
    device(type='cpu')
    """
    if name not in ("cpu", "gpu"):
        raise DeviceError(f"--device is {name!r}; expected cpu or gpu")
    if name == "gpu" and not torch.cuda.is_available():
        raise DeviceError("--device gpu: torch finds no GPU; leave it out to use the CPU")
    return torch.device("cuda" if name == "gpu" else "cpu")


def open_machine(device: str, workers: int) -> Machine:
    """Find the place of this process among those that `torchrun` started.

    Parameters
    ----------
    device : str
        ``cpu`` or ``gpu``.
    workers : int
        Processes that make crops, for each process that trains.

    Returns
    -------
    Machine

    Raises
    ------
    DeviceError
        If there is no GPU.
    """
    where = device_of(device)
    world, rank, local = (
        int(os.environ.get(name, default))
        for name, default in (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0"))
    )
    if where.type == "cuda":
        where = torch.device("cuda", local)
        torch.cuda.set_device(where)
    if world > 1 and not distributed.is_initialized():
        # What is said from process to process, not of the GPUs, goes through gloo.
        distributed.init_process_group("cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo")
    return Machine(where, workers, rank, world)
