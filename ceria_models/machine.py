"""Where a training runs: device, processes."""

import os
from dataclasses import dataclass

import torch
from torch import distributed

from ceria_data.errors import DeviceError


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
    if device == "gpu" and not torch.cuda.is_available():
        raise DeviceError("--device gpu: torch finds no GPU; leave it out to train on the CPU")
    world, rank, local = (
        int(os.environ.get(name, default))
        for name, default in (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0"))
    )
    if world > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if device == "gpu" else "gloo")
    where = torch.device("cuda", local) if device == "gpu" else torch.device("cpu")
    return Machine(where, workers, rank, world)
