"""Models on the disk, bundled and on the Hub: strict, and without pickles."""

import hashlib
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from ceria_data.address import is_version
from ceria_data.dataset import open_dataset
from ceria_data.errors import OutputError
from ceria_data.store import write_text
from ceria_models.contrast import apparent_dose, net_input
from ceria_models.errors import NotAModelError, WeightsError
from ceria_models.model import Model, config_json, run_net
from ceria_models.model_evaluation import ModelEvaluation, read_model_evaluation
from ceria_models.model_files import (
    CARD,
    CONFIG,
    EVALUATION,
    ONNX,
    TEST,
    WEIGHTS,
    check_files,
    read_config,
    read_tensors,
    write_checksums,
)
from ceria_models.model_places import model_folder
from ceria_models.nets import ColumnNet, create_net

_TEST_SHAPE = (56, 64)
_TOLERANCE = 2e-3
"""Largest difference of probabilities that other machines' rounding may make."""


def from_pretrained(name_or_repo_or_path: str | Path, revision: str | None = None) -> Model:
    """Load a trained net.

    Parameters
    ----------
    name_or_repo_or_path : str or Path
        Name of a bundled model, else a folder, else a repository of the Hugging Face Hub
        (``user/net``, or ``user/net@1.0.0``). What was fetched from there once stays in the
        cache, and a version in the cache is not asked for again.
    revision : str, optional
        Version, ``1.0.0``, or its tag, ``v1.0.0``; no branch and no commit, since only tags
        are versions that `ceria-models push` checked. Without it the newest on the Hub.

    Returns
    -------
    Model
        Every weight is that of the file: nothing is filled in or left over.

    Raises
    ------
    NotAModelError
        If nothing of that name is found, it holds no model that this version can load, or it
        is another version.
    WeightsError
        If a file is damaged or missing.
    HubError, TransferError
        If the Hub has no such repository or version, cannot be reached, or sends other files
        than the version lists.

    Examples
    --------
    >>> from_pretrained("residual-unet-base").config.sampling_A
    0.2
    """
    return load_model(model_folder(name_or_repo_or_path, revision))


def model_name(name_or_repo_or_path: str | Path) -> str:
    """Read the name that a model has in its config.

    Parameters
    ----------
    name_or_repo_or_path : str or Path
        As for `from_pretrained`.

    Returns
    -------
    str

    Raises
    ------
    NotAModelError
        As `from_pretrained`.

    Examples
    --------
    >>> model_name("residual-unet-base")
    'residual-unet-base'
    """
    return read_config(model_folder(name_or_repo_or_path, None)).name


def load_model(folder: Path) -> Model:
    """Load a model from a folder; every file is compared with its sha256 first.

    Raises
    ------
    NotAModelError, WeightsError
        As `from_pretrained`.
    """
    config = read_config(folder)
    check_files(folder, config)
    net = create_net(config.net.settings())
    net.load_state_dict(_floats(read_tensors(folder / WEIGHTS)), strict=True)
    return Model(config, net.eval())


def save_model(model: Model, folder: Path, measured: ModelEvaluation | None = None) -> None:
    """Write a model: weights as float16, config, a test input with its output, checksums, card.

    The folder appears whole or not at all.

    Parameters
    ----------
    model : Model
    folder : Path
        New or empty folder.
    measured : ModelEvaluation, optional
        Of these weights.

    Raises
    ------
    OutputError
        If the folder holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} exists already; choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(f".{folder.name}.{uuid4().hex}.staging")
    staging.mkdir()
    try:
        halves = _halves(model.net)
        # Not save_file: its files are for their owner only, however a user sets the umask.
        (staging / WEIGHTS).write_bytes(save(halves))
        (staging / CONFIG).write_text(config_json(model.config), encoding="utf-8")
        rounded = create_net(model.config.net.settings()).eval()
        rounded.load_state_dict(_floats(halves))
        (staging / TEST).write_bytes(save(_test_case(Model(model.config, rounded))))
        if measured is not None:
            measured.write(staging / EVALUATION)
        write_checksums(staging)
        write_text(staging / CARD, card_of(staging))
        if folder.exists():
            folder.rmdir()
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def attach_evaluation(folder: Path, measured: ModelEvaluation) -> None:
    """Put evaluations beside the weights they were measured of, and write the card anew.

    Parameters
    ----------
    folder : Path
        A model; evaluations that are there are replaced.
    measured : ModelEvaluation

    Raises
    ------
    NotAModelError, WeightsError
        As `from_pretrained`.
    """
    sealed = check_files(folder, read_config(folder), without=(EVALUATION,))
    partial = folder / f"{EVALUATION}.partial"
    measured.write(partial)
    partial.replace(folder / EVALUATION)
    write_checksums(folder, onnx=ONNX in sealed)
    write_text(folder / CARD, card_of(folder))


def give_version(folder: Path, version: str) -> None:
    """Give a model another version, and write the card anew.

    An exported net in the folder names the old version, and is no longer sealed.

    Parameters
    ----------
    folder : Path
    version : str
        Three numbers.

    Raises
    ------
    OutputError
        If it is no version.
    NotAModelError, WeightsError
        As `from_pretrained`.

    Examples
    --------
    >>> give_version(Path("my-model"), "newest")
    Traceback (most recent call last):
    ceria_data.errors.OutputError: 'newest' is no version; expected three numbers such as 1.0.0
    """
    if not is_version(version):
        raise OutputError(f"{version!r} is no version; expected three numbers such as 1.0.0")
    config = read_config(folder)
    check_files(folder, config)
    write_text(folder / CONFIG, config_json(config.model_copy(update={"version": version})))
    write_checksums(folder)
    write_text(folder / CARD, card_of(folder))


def card_of(name_or_path: str | Path, measured: ModelEvaluation | None = None) -> str:
    """Write the card of a model on the disk.

    Parameters
    ----------
    name_or_path : str or Path
        As for `from_pretrained`.
    measured : ModelEvaluation, optional
        Instead of the evaluations that are stored with the model.

    Returns
    -------
    str
        Markdown, see `card.model_card`.

    Raises
    ------
    NotAModelError, WeightsError, EvaluationError
        If the model or its evaluations cannot be read.
    """
    from ceria_models.card import model_card  # slow to import, and not needed to predict

    folder = model_folder(name_or_path, None)
    config = read_config(folder)
    sums = check_files(folder, config)
    if measured is None and (folder / EVALUATION).is_file():
        measured = read_model_evaluation(folder / EVALUATION)
    return model_card(config, sums[WEIGHTS], measured)


def verify_model(name_or_repo_or_path: str | Path, revision: str | None = None) -> dict[str, Any]:
    """Load a model and run its stored test input again.

    Returns
    -------
    dict
        name, version, and the largest difference of the probabilities.

    Raises
    ------
    WeightsError
        If the difference is larger than rounding explains.
    NotAModelError
        As `from_pretrained`.
    """
    folder = model_folder(name_or_repo_or_path, revision)
    model = load_model(folder)
    stored = read_tensors(folder / TEST)
    again = _test_case(model)["probability"]
    found = stored.get("probability", torch.empty(0))
    if found.shape != again.shape:
        raise NotAModelError(
            f"{folder / TEST} holds probabilities of shape {tuple(found.shape)}, expected "
            f"{tuple(again.shape)}; expected the test input that save_pretrained wrote"
        )
    difference = float((again - found).abs().max())
    if not difference <= _TOLERANCE:
        raise WeightsError(
            f"{folder}: the stored test input gives probabilities that differ by {difference:.2g}, "
            f"expected at most {_TOLERANCE}; get the model anew"
        )
    return {
        "model": model.config.name,
        "version": model.config.version,
        "largest_difference": difference,
    }


def weights_sha256(net: ColumnNet) -> str:
    """Evaluate the sha256 that the file of a net's weights has; it names the weights.

    Examples
    --------
    >>> from ceria_models.nets import NetSettings
    >>> net = create_net(NetSettings("plain_unet", 4, levels=2, blocks=1, patch=2, max_count=3))
    >>> len(weights_sha256(net))
    64
    """
    return hashlib.sha256(save(_halves(net))).hexdigest()


def _halves(net: ColumnNet) -> dict[str, Tensor]:
    """Round weights to float16; statistics that are no weights stay as they are."""
    learned = {name for name, _ in net.named_parameters()}
    return {
        key: (value.half() if key in learned else value).detach().cpu().contiguous()
        for key, value in net.state_dict().items()
    }


def _floats(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}


def _test_case(model: Model) -> dict[str, Tensor]:
    """Run a crop of a bundled image: an input that every installation has."""
    sample = open_dataset("ceria-columns-mini", "test")[0]
    counts = sample.counts[: _TEST_SHAPE[0], : _TEST_SHAPE[1]].astype(np.int32)
    dose = apparent_dose(counts, model.config.sampling_A)
    output = run_net(model.net, net_input(counts, float(counts.mean()), dose))
    probability = torch.softmax(torch.from_numpy(output.logits), dim=1)
    return {"counts": torch.from_numpy(counts), "probability": probability.contiguous()}
