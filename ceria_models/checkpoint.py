"""Where a training stands, on the disk: whole or not at all."""

import os
import pickle
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

from ceria_models.errors import WeightsError

CHECKPOINT = "checkpoint.pt"


@dataclass
class Checkpoint:
    """All that a training needs to go on as if it had not stopped.

    Attributes
    ----------
    config : str
        The training's config as YAML.
    content_digest : str
        Of the dataset.
    step : int
        Steps done.
    net, average, optimiser : dict
        Their states.
    head : dict
        State of what the net is asked beside the counts; empty if nothing is.
    """

    config: str
    content_digest: str
    step: int
    net: dict[str, Any]
    average: dict[str, Any]
    optimiser: dict[str, Any]
    head: dict[str, Any] = field(default_factory=dict)


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint of a folder."""
    file = folder / CHECKPOINT
    partial = file.with_name(f"{file.name}.{uuid4().hex}.partial")
    try:
        with partial.open("wb") as stream:
            torch.save(vars(checkpoint), stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the checkpoint of a folder, None if it has none.

    Only tensors and plain values are read; a file with other objects is refused. PyTorch does
    not look at the checksums that its files hold: they are checked here.

    Raises
    ------
    WeightsError
        If the file is damaged or no checkpoint.
    """
    file = folder / CHECKPOINT
    if not file.is_file():
        return None
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
        return Checkpoint(**torch.load(file, map_location="cpu", weights_only=True))
    except (
        zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError, EOFError,
        TypeError, pickle.UnpicklingError,
    ) as error:  # fmt: skip
        raise WeightsError(
            f"{file} cannot be read ({error}); train again with --overwrite"
        ) from error
