"""A training from config and dataset to a model in a folder."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from ceria_data.dataset import Dataset, open_dataset
from ceria_data.errors import NotADatasetError
from ceria_data.store import MANIFEST
from ceria_models.checkpoint import read_checkpoint
from ceria_models.decoded import DecodedSplit, decode_split
from ceria_models.errors import TrainingError
from ceria_models.finishing import finish_model
from ceria_models.home import home
from ceria_models.machine import Machine
from ceria_models.model import Model
from ceria_models.nets import GROWING, ColumnNet, NetSettings
from ceria_models.start import read_start, start_of
from ceria_models.training import Progress, train
from ceria_models.training_config import TrainingConfig
from ceria_models.training_folder import MODEL, open_training_folder
from ceria_models.training_log import TrainingLog
from ceria_models.validation import validate, validation_images
from ceria_models.weights import from_pretrained, save_model

BENCHMARK = "ceria-columns-v1"
"""The dataset of a training that names none."""
_ELECTRONS = 30.0
"""Of a crop, so that none is dark."""


@dataclass(frozen=True)
class Watch:
    """Who is told what, while a training runs.

    Attributes
    ----------
    count : callable
        Told a unit, how many are done, of how many, and how many were there before.
    note : callable
        Told a line for people.
    validate_every : int
        Steps between validations.
    validation_images : int
        Images looked at.
    """

    count: Callable[[str, int, int, int], None]
    note: Callable[[str], None]
    validate_every: int = 1000
    validation_images: int = 40


def run_training(
    config: TrainingConfig,
    data: str | Path,
    out: Path,
    machine: Machine,
    watch: Watch,
    *,
    init: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    tensorboard: bool = False,
) -> dict[str, Any]:
    """Train a net on a dataset, calibrate it, and save it as a model.

    Parameters
    ----------
    config : TrainingConfig
    data : str or Path
        Dataset, as for `open_dataset`; its splits train and validation are used.
    out : Path
        Folder for config, log, checkpoint and, in the end, the model.
    machine : Machine
    watch : Watch
    init : str, optional
        Model to start from, as for `from_pretrained`.
    overwrite, resume : bool
        What to do with a folder that holds a training.
    tensorboard : bool

    Returns
    -------
    dict
        Where things are, and the last validation figures.

    Raises
    ------
    OutputError
        If the folder is taken.
    TrainingError
        If `init` is another net than the config's, but for blocks at the bottom that add
        nothing at first, or not what the training began with, or see `train`.
    """
    dataset = open_dataset(data)
    _check_dataset(dataset, data)
    _check_sizes(config, dataset, machine)
    max_count = int(dataset.manifest["max_count"])
    initial = _initial(init, config.net.settings(max_count))
    begin = None if initial is None else start_of(initial)
    # Nobody reads a checkpoint before the folder is as it shall be.
    machine.on_first(
        lambda: open_training_folder(out, config, begin, overwrite=overwrite, resume=resume)
    )
    splits = _decoded(data, watch)
    checkpoint = read_checkpoint(out)
    start = checkpoint.step if checkpoint else 0
    log = TrainingLog(out, start, tensorboard=tensorboard) if machine.rank == 0 else None
    figures = {} if log is None else log.last_validation()
    net = train(
        config,
        splits[0],
        out,
        machine,
        content_digest=dataset.manifest["content_digest"],
        max_count=max_count,
        init=None if initial is None else initial.net.state_dict(),
        on_progress=_reporter(watch, log, splits[1], start, figures),
    )
    if log is None:
        return {}
    log.close()
    _save(net, config, dataset, splits, out, watch)
    return {
        "model": str(out / MODEL),
        "log": str(out),
        "data": str(dataset.folder),
        "validation": figures,
    }


def benchmark_folder() -> Path:
    """Find the benchmark dataset: in this folder, or in `CERIA_HOME`.

    Returns
    -------
    Path

    Raises
    ------
    NotADatasetError
        If it is in neither place.
    """
    places = (Path(BENCHMARK), home() / BENCHMARK)
    for place in places:
        if (place / MANIFEST).is_file():
            return place
    raise NotADatasetError(
        f"without --data the dataset {BENCHMARK} is used, and neither ./{places[0]} nor "
        f"{places[1]} is one; make it (`ceria-data build {BENCHMARK} --out {BENCHMARK}`), or name "
        "a dataset with --data DIR"
    )


def _check_dataset(dataset: Dataset, data: str | Path) -> None:
    """Refuse a dataset without a needed split or table before a folder is made."""
    for split in ("train", "validation"):
        open_dataset(data, split)
    # Reading is the check: both tables are read when they are first asked for.
    _ = dataset.columns, dataset.structures


def _check_sizes(config: TrainingConfig, dataset: Dataset, machine: Machine) -> None:
    """Refuse crops that do not fit the images, and batches that do not fit the processes."""
    machine.share(config.schedule.batch)
    views = config.views.views()
    needed = views.smallest_image(dataset.field.sampling)
    if needed > min(dataset.field.shape):
        raise TrainingError(
            f"views.crop of {views.size} pixels needs images of {needed} pixels along each axis "
            f"with these views.sampling_A and views.calibration_error, those of "
            f"{dataset.folder} have {dataset.field.shape}; lower views.crop"
        )
    lowest = views.dose[0]
    electrons = lowest * (views.size * dataset.field.sampling) ** 2
    if electrons < _ELECTRONS:
        raise TrainingError(
            f"views.dose_e_per_A2 begins with {lowest:g}, {electrons:.3g} electrons in a crop; "
            f"expected {_ELECTRONS:g} or more: raise it, or views.crop"
        )


def _decoded(data: str | Path, watch: Watch) -> tuple[DecodedSplit, DecodedSplit]:
    """Decode the splits train and validation."""
    cache = home() / "decoded"
    return (
        decode_split(data, "train", cache, _counter(watch, "training images")),
        decode_split(data, "validation", cache, _counter(watch, "validation images")),
    )


def _reporter(
    watch: Watch,
    log: TrainingLog | None,
    validation: DecodedSplit,
    start: int,
    figures: dict[str, float],
) -> Callable[[Progress, nn.Module], None]:
    """Make what is told the progress: it logs, validates now and then, and keeps the figures."""
    cases = validation_images(validation, watch.validation_images)

    def report(progress: Progress, average: nn.Module) -> None:
        assert log is not None
        watch.count("steps", progress.step, progress.steps, start)
        log.add_progress(progress)
        last = progress.step == progress.steps
        if progress.step % watch.validate_every == 0 or last:
            assert isinstance(average, ColumnNet)
            figures.update(validate(average.eval(), cases, validation.field.sampling))
            log.add_validation(progress.step, figures)
            accuracies = [f"{k.removeprefix('accuracy/')} {v:.3f}" for k, v in figures.items()][:6]
            watch.note(f"step {progress.step}: exact counts {', '.join(accuracies)}")

    return report


def _save(
    net: ColumnNet,
    config: TrainingConfig,
    dataset: Dataset,
    splits: tuple[DecodedSplit, DecodedSplit],
    out: Path,
    watch: Watch,
) -> None:
    if (out / MODEL).is_dir():
        return
    counter = _counter(watch, "calibration images")
    model = finish_model(net, config, dataset, *splits, read_start(out), counter)
    save_model(model, out / MODEL)


def _counter(watch: Watch, unit: str) -> Callable[[int, int], None]:
    return lambda done, total: watch.count(unit, done, total, 0)


def _initial(init: str | None, settings: NetSettings) -> Model | None:
    """Load the model to start from; the net may have more blocks at the bottom than it."""
    if init is None:
        return None
    model = from_pretrained(init)
    net = model.net
    grows = isinstance(net, GROWING) and net.settings.bottom <= settings.bottom
    if net.settings != (replace(settings, bottom=net.settings.bottom) if grows else settings):
        raise TrainingError(
            f"{init} is {net.settings}, the config asks for {settings}; take over its net section, "
            "and a dataset of the same highest count"
        )
    return model


def print_note(line: str) -> None:
    """Print a line for people beside the progress bar."""
    print(line, file=sys.stderr)
