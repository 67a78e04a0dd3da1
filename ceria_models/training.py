"""The training of a net: one loop, from crops to averaged weights."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from ceria_data.randomness import sample_rng
from ceria_data.schema import SPECIES
from ceria_models import losses
from ceria_models.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from ceria_models.crops import Batch, Crops, collate
from ceria_models.decoded import DecodedSplit
from ceria_models.errors import TrainingError
from ceria_models.machine import Machine
from ceria_models.nets import ColumnNet, NetOutput, create_net
from ceria_models.optimiser import NetOptimiser
from ceria_models.trainee import Trainee, optics_likelihood
from ceria_models.training_config import (
    LossSection,
    ScheduleSection,
    TrainingConfig,
    training_config_yaml,
)


@dataclass(frozen=True)
class Progress:
    """State of a training, for those who watch.

    Attributes
    ----------
    step, steps : int
    loss : dict of str to float
        Terms of the loss, mean since the last report.
    learning_rate : float
    crops_per_s : float
    waiting : float
        Share of the time in which the loop waited for crops.
    """

    step: int
    steps: int
    loss: dict[str, float]
    learning_rate: float
    crops_per_s: float
    waiting: float


class CropOrder(Sampler[list[tuple[int, int]]]):
    """Numbers and rows of the crops of every step: each pass shuffles the split anew.

    Parameters
    ----------
    rows : int
        Images of the split.
    schedule : ScheduleSection
    seed : int
    machine : Machine
        This process takes every ``world``-th crop of a step.
    start : int
        First step.

    Raises
    ------
    TrainingError
        If the processes cannot share a batch evenly.
    """

    def __init__(
        self, rows: int, schedule: ScheduleSection, seed: int, machine: Machine, start: int
    ) -> None:
        machine.share(schedule.batch)
        self.rows = rows
        self.schedule = schedule
        self.seed = seed
        self.machine = machine
        self.start = start

    def __len__(self) -> int:
        return self.schedule.steps - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order, current = np.empty(0, dtype=np.int64), -1
        for step in range(self.start, self.schedule.steps):
            keys = []
            for number in range(step * self.schedule.batch, (step + 1) * self.schedule.batch):
                turn, position = divmod(number, self.rows)
                if turn != current:
                    order = sample_rng(self.seed, turn, "order").permutation(self.rows)
                    current = turn
                if number % self.machine.world == self.machine.rank:
                    keys.append((number, int(order[position])))
            yield keys


def train(
    config: TrainingConfig,
    split: DecodedSplit,
    folder: Path,
    machine: Machine,
    *,
    content_digest: str,
    max_count: int,
    init: dict[str, Tensor] | None = None,
    every: int = 50,
    checkpoint_every_s: float = 120.0,
    on_progress: Callable[[Progress, nn.Module], None] = lambda progress, average: None,
) -> ColumnNet:
    """Train a net, or go on where a checkpoint stands.

    Parameters
    ----------
    config : TrainingConfig
    split : DecodedSplit
        Training split.
    folder : Path
        For the checkpoint.
    machine : Machine
    content_digest : str
        Of the dataset; a checkpoint of another one is refused.
    max_count : int
        Highest class.
    init : dict of str to Tensor, optional
        Weights to start from.
    every : int
        Steps between reports.
    checkpoint_every_s : float
        Time between checkpoints [s].
    on_progress : callable
        Told the progress, and the averaged net as it is now.

    Returns
    -------
    ColumnNet
        The averaged weights, in evaluation mode.

    Raises
    ------
    TrainingError
        If the checkpoint belongs to another config or dataset, the processes cannot share a
        batch, or the loss is not finite.
    """
    torch.manual_seed(config.seed)
    state = _State(config, content_digest, max_count, machine.device, init)
    state.restore(folder)
    trained: nn.Module = state.trainee
    if machine.world > 1:
        trained = nn.parallel.DistributedDataParallel(state.trainee)
    crops = Crops(split, config.views.views(), config.mask.mask(), max_count, config.seed)
    order = CropOrder(len(split), config.schedule, config.seed, machine, state.step)
    rare = losses.rarity(count_frequency(split, max_count), config.loss.spatial.balance)
    rare = rare.to(machine.device)
    meter = _Meter(config.schedule)
    saved = time.monotonic()

    for batch in _batches(crops, order, machine.workers, meter):
        batch = batch.to(machine.device)
        with torch.autocast(machine.device.type, torch.bfloat16, config.schedule.bfloat16):
            output, named = trained(batch.image)
        terms = loss_terms(output, batch, config.loss, rare)
        if named is not None:
            terms["optics"] = config.loss.optics * optics_likelihood(named, batch.optics)
        rate = state.learn(torch.stack(list(terms.values())).sum())
        meter.add(terms, state.step)
        if machine.rank == 0:
            last = state.step == config.schedule.steps
            if last or time.monotonic() - saved > checkpoint_every_s:
                state.save(folder)
                saved = time.monotonic()
            if state.step % every == 0 or last:
                on_progress(meter.report(state.step, rate), state.average)
    return state.average.eval()


class _State:
    """What changes while a training goes on: weights, their average, the optimiser."""

    def __init__(
        self,
        config: TrainingConfig,
        content_digest: str,
        max_count: int,
        device: torch.device,
        init: dict[str, Tensor] | None,
    ) -> None:
        self.config = config
        self.content_digest = content_digest
        self.step = 0
        self.net = create_net(config.net.settings(max_count)).to(device)
        if init is not None:
            # Blocks that the weights do not know of add nothing at first, see `nets.GROWING`.
            new = {k: v for k, v in self.net.state_dict().items() if k.startswith("bottom.")}
            self.net.load_state_dict(new | init, strict=True)
        self.trainee = Trainee(self.net, bool(config.loss.optics)).to(device)
        self.average = create_net(config.net.settings(max_count)).to(device).eval()
        self.average.load_state_dict(self.net.state_dict())
        self.optimiser = NetOptimiser(self.trainee, config.schedule)

    def learn(self, loss: Tensor) -> float:
        """Make one step against the gradient of a loss; return the learning rate."""
        schedule = self.config.schedule
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} in step {self.step}; lower the learning rates "
                f"({schedule.learning_rate:.3g}, {schedule.kernel_learning_rate:.3g})"
            )
        self.optimiser.forget_gradients()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trainee.parameters(), schedule.clip)
        rate = self.optimiser.step(self.step)
        self._follow(schedule.average)
        self.step += 1
        return rate

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        """Move the average towards the net; faster in the beginning."""
        share = 1 - min(decay, (1 + self.step) / (10 + self.step))
        for mean, weight in zip(self.average.parameters(), self.net.parameters(), strict=True):
            mean.lerp_(weight, share)
        for own, value in zip(self.average.buffers(), self.net.buffers(), strict=True):
            # Statistics of batches belong to the weights; a counter has no mean.
            if own.is_floating_point():
                own.lerp_(value, share)
            else:
                own.copy_(value)

    def restore(self, folder: Path) -> None:
        """Go to where the checkpoint of a folder stands, if it has one."""
        checkpoint = read_checkpoint(folder)
        if checkpoint is None:
            return
        if checkpoint.config != training_config_yaml(self.config):
            raise TrainingError(
                f"{folder} holds a training with another config; choose another --out or "
                "--overwrite"
            )
        if checkpoint.content_digest != self.content_digest:
            raise TrainingError(
                f"{folder} holds a training on the dataset {checkpoint.content_digest[:16]}..., "
                f"this is {self.content_digest[:16]}...; choose another --out or --overwrite"
            )
        self.net.load_state_dict(checkpoint.net, strict=True)
        self.average.load_state_dict(checkpoint.average, strict=True)
        if self.trainee.head is not None:
            self.trainee.head.load_state_dict(checkpoint.head, strict=True)
        self.optimiser.load_state_dict(checkpoint.optimiser)
        self.step = checkpoint.step

    def save(self, folder: Path) -> None:
        """Replace the checkpoint of a folder."""
        write_checkpoint(
            folder,
            Checkpoint(
                training_config_yaml(self.config),
                self.content_digest,
                self.step,
                self.net.state_dict(),
                self.average.state_dict(),
                self.optimiser.state_dict(),
                {} if self.trainee.head is None else self.trainee.head.state_dict(),
            ),
        )


def loss_terms(
    output: NetOutput, batch: Batch, factors: LossSection, rare: Tensor
) -> dict[str, Tensor]:
    """Evaluate the terms of the loss that have a factor, times their factor."""
    terms = {}
    if factors.cross_entropy:
        weight = losses.pixel_weights(batch, factors.spatial.weights(), rare)
        entropy = losses.cross_entropy(output, batch, weight)
        terms["cross_entropy"] = factors.cross_entropy * entropy
    if factors.ranked_probability:
        score = losses.ranked_probability(output, batch)
        terms["ranked_probability"] = factors.ranked_probability * score
    if factors.dice:
        terms["dice"] = factors.dice * losses.dice(output, batch)
    if factors.depth:
        terms["depth"] = factors.depth * losses.depth_likelihood(output, batch)
    if factors.offset:
        terms["offset"] = factors.offset * losses.offset_distance(output, batch)
    return terms


def count_frequency(split: DecodedSplit, max_count: int) -> Tensor:
    """Count the columns of every species and class in a split.

    Returns
    -------
    Tensor, shape (species, class)
    """
    frequency = np.zeros((len(SPECIES), max_count + 1))
    _, first = np.unique(split.samples["structure"].to_numpy(), return_index=True)
    for row in first:
        columns = split.columns(int(row))
        np.add.at(frequency, (columns.species, np.minimum(columns.occupancy, max_count)), 1)
    return torch.from_numpy(frequency).float()


def _batches(crops: Crops, order: CropOrder, workers: int, meter: "_Meter") -> Iterator[Batch]:
    """Yield the batches, and tell the meter how long each was waited for."""
    loader: DataLoader[Batch] = DataLoader(
        crops,
        batch_sampler=order,
        collate_fn=collate,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_one_thread if workers else None,
        prefetch_factor=4 if workers else None,
    )
    batches = iter(loader)
    while True:
        before = time.perf_counter()
        try:
            batch = next(batches)
        except StopIteration:
            return
        meter.waited += time.perf_counter() - before
        yield batch


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


class _Meter:
    """Sums what happened since the last report."""

    def __init__(self, schedule: ScheduleSection) -> None:
        self.schedule = schedule
        self.waited = 0.0
        self._start = time.perf_counter()
        self._first: int | None = None
        self._sums: dict[str, float] = {}

    def add(self, terms: dict[str, Tensor], step: int) -> None:
        """Add the loss of one step."""
        if self._first is None:
            self._first = step - 1
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.item()

    def report(self, step: int, rate: float) -> Progress:
        """Summarise, and begin anew."""
        assert self._first is not None
        steps, elapsed = step - self._first, time.perf_counter() - self._start
        progress = Progress(
            step,
            self.schedule.steps,
            {name: total / steps for name, total in self._sums.items()},
            rate,
            steps * self.schedule.batch / elapsed,
            self.waited / elapsed,
        )
        self.waited, self._start, self._first, self._sums = 0.0, time.perf_counter(), None, {}
        return progress
