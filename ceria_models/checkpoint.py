"""Where a training stands, on the disk: whole or not at all."""

import os
import pickle
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
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
    """Replace the checkpoint of a folder: its SHA-256, then what PyTorch writes."""
    file = folder / CHECKPOINT
    partial = file.with_name(f"{file.name}.{uuid4().hex}.partial")
    written = BytesIO()
    torch.save(vars(checkpoint), written)
    try:
        with partial.open("wb") as stream:
            stream.write(sha256(written.getbuffer()).digest())
            stream.write(written.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the checkpoint of a folder, None if it has none.

    Only tensors and plain values are read; a file with other objects is refused. PyTorch reads
    changed bytes without a word, so that the file has a SHA-256 of its own.

    Raises
    ------
    WeightsError
        If the file is damaged or no checkpoint.
    """
    file = folder / CHECKPOINT
    if not file.is_file():
        return None
    content = memoryview(file.read_bytes())
    size = sha256().digest_size
    if sha256(content[size:]).digest() != content[:size]:
        raise WeightsError(f"{file} cannot be read: it is damaged; train again with --overwrite")
    try:
        return Checkpoint(**torch.load(BytesIO(content[size:]), "cpu", weights_only=True))
    except (RuntimeError, TypeError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"{file} cannot be read ({error}); train again with --overwrite"
        ) from error
