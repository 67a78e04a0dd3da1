"""The folder of a training: begun, gone on with, replaced or left alone."""

import shutil
from pathlib import Path

from ceria_data.errors import ConfigError, OutputError
from ceria_data.store import refuse_inside_dataset, write_text
from ceria_models.checkpoint import CHECKPOINT
from ceria_models.errors import TrainingError
from ceria_models.model import StartFacts
from ceria_models.start import START, read_start, write_start
from ceria_models.training_config import (
    TrainingConfig,
    load_training_config,
    training_config_yaml,
)
from ceria_models.training_log import CURVE, LOG, TENSORBOARD, VALIDATION

CONFIG = "config.yaml"
MODEL = "model"
_OWN = (CONFIG, START, CHECKPOINT, LOG, VALIDATION, CURVE, TENSORBOARD, MODEL)


def open_training_folder(
    out: Path,
    config: TrainingConfig,
    start: StartFacts | None,
    *,
    overwrite: bool,
    resume: bool,
) -> None:
    """Make the folder of a training, or accept the one that is there.

    Parameters
    ----------
    out : Path
    config : TrainingConfig
    start : StartFacts or None
        The model to begin with; None for random numbers, or whatever it began with.
    overwrite : bool
        Remove an earlier training; what else lies in its folder stays.
    resume : bool
        Go on with one that is there.

    Raises
    ------
    OutputError
        If the folder is taken.
    TrainingError
        If the training that is there began in another way.
    """
    refuse_inside_dataset(out)
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is no folder; choose another --out")
    if out.is_dir() and any(out.iterdir()):
        if not (out / CHECKPOINT).is_file() and not _is_ours(out / CONFIG):
            raise OutputError(f"{out} holds something else than a training; choose another --out")
        if overwrite:
            _remove(out)
        elif not resume:
            raise OutputError(
                f"{out} holds a training; go on with --resume, or replace it with --overwrite"
            )
        else:
            _refuse_another(out, config, start)
    out.mkdir(parents=True, exist_ok=True)
    if start is not None and not (out / CHECKPOINT).is_file():
        write_start(out, start)
    if not (out / CONFIG).is_file():
        write_text(out / CONFIG, training_config_yaml(config))


def _is_ours(file: Path) -> bool:
    """Whether a config is as a training writes it: a person's has comments, or lacks defaults."""
    try:
        written = training_config_yaml(load_training_config(str(file)))
        return written == file.read_text(encoding="utf-8")
    except ConfigError:
        return False


def _remove(out: Path) -> None:
    for name in (*_OWN, *(file.name for file in out.glob(f"{CHECKPOINT}.*.partial"))):
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        else:
            (out / name).unlink(missing_ok=True)


def _refuse_another(out: Path, config: TrainingConfig, start: StartFacts | None) -> None:
    """Go on only with what was begun with the same config and model."""
    begun, stands = read_start(out), (out / CHECKPOINT).is_file()
    if not stands and training_config_yaml(config) != (out / CONFIG).read_text(encoding="utf-8"):
        raise TrainingError(
            f"{out} holds a training with another config; choose another --out or --overwrite"
        )
    other = start is not None and (begun is None or begun.weights_sha256 != start.weights_sha256)
    if other or (start is None and begun is not None and not stands):
        there = "random numbers" if begun is None else f"{begun.model} {begun.version}"
        given = "without --init" if start is None else f"with --init {start.model} {start.version}"
        raise TrainingError(
            f"the training in {out} began with {there}, this is {given}; repeat the command that "
            "started it, choose another --out, or --overwrite"
        )
