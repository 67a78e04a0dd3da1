"""Models on the disk, bundled and on the Hub: strict, and without pickles."""

import hashlib
import json
import re
import shutil
from importlib import resources
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from ceria_data.dataset import open_dataset
from ceria_data.digest import file_sha256
from ceria_data.errors import OutputError
from ceria_data.store import write_text
from ceria_models.contrast import apparent_dose, net_input
from ceria_models.errors import NotAModelError, WeightsError
from ceria_models.model import Model, ModelConfig, config_json, run_net
from ceria_models.model_evaluation import ModelEvaluation, read_model_evaluation
from ceria_models.nets import ColumnNet, create_net

DEFAULT = "residual-unet-base"
"""Name of the bundled single-frame net."""
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
TEST = "test.safetensors"
EVALUATION = "evaluation.json"
CARD = "README.md"
CHECKSUMS = "sha256.json"
_SEALED = (CONFIG, WEIGHTS, TEST, EVALUATION)
"""What programs read. The card is for people, who may add to it; nothing else is looked at."""
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""Of `torch.save`, new and old, and of pickles of protocol 2 to 5."""
_FORMAT_VERSION = ModelConfig.model_fields["format_version"].default
_CONFIG_BYTES = 1 << 20
"""A longer config is none."""
_TEST_SHAPE = (56, 64)
_TOLERANCE = 2e-3
"""Largest difference of probabilities that other machines' rounding may make."""
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def bundled_models() -> list[str]:
    """Name the models that come with the package."""
    return sorted(config.parent.name for config in _bundle().glob(f"*/{CONFIG}"))


def list_models() -> pd.DataFrame:
    """List the bundled models.

    Returns
    -------
    DataFrame
        name, version, architecture, parameters, dataset, default.
    """
    rows = []
    for name in bundled_models():
        config = _read_config(_bundle() / name)
        with torch.device("meta"):
            net = create_net(config.net.settings())
        rows.append(
            {
                "name": name,
                "version": config.version,
                "architecture": config.net.architecture,
                "parameters": sum(p.numel() for p in net.parameters()),
                "dataset": config.training.dataset,
                "default": name == DEFAULT,
            }
        )
    names = ["name", "version", "architecture", "parameters", "dataset", "default"]
    return pd.DataFrame(rows, columns=names)


def from_pretrained(name_or_repo_or_path: str | Path, revision: str | None = None) -> Model:
    """Load a trained net.

    Parameters
    ----------
    name_or_repo_or_path : str or Path
        Name of a bundled model, else a folder, else a repository of the Hugging Face Hub
        (``user/net``).
    revision : str, optional
        Tag or commit on the Hub.

    Returns
    -------
    Model

    Raises
    ------
    NotAModelError
        If nothing of that name is found, or it holds no model that this version can load.
    WeightsError
        If the weights are damaged or do not fit the config.
    """
    return load_model(_folder_of(name_or_repo_or_path, revision))


def load_model(folder: Path) -> Model:
    """Load a model from a folder; every file is compared with its sha256 first.

    Raises
    ------
    NotAModelError, WeightsError
        As `from_pretrained`.
    """
    config = _read_config(folder)
    _check_files(folder)
    # On the meta device a net has shapes but no memory, however large the config makes it.
    with torch.device("meta"):
        shapes = {
            key: tuple(t.shape) for key, t in create_net(config.net.settings()).state_dict().items()
        }
    _check_shapes(folder / WEIGHTS, shapes)
    net = create_net(config.net.settings())
    net.load_state_dict(_floats(_load(folder / WEIGHTS)), strict=True)
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
        save_file(halves, staging / WEIGHTS)
        (staging / CONFIG).write_text(config_json(model.config), encoding="utf-8")
        rounded = create_net(model.config.net.settings()).eval()
        rounded.load_state_dict(_floats(halves))
        save_file(_test_case(Model(model.config, rounded)), staging / TEST)
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
    _read_config(folder)
    _check_files(folder, without=(EVALUATION,))
    partial = folder / f"{EVALUATION}.partial"
    measured.write(partial)
    partial.replace(folder / EVALUATION)
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

    folder = _folder_of(name_or_path, None)
    config = _read_config(folder)
    sums = _check_files(folder)
    if measured is None and (folder / EVALUATION).is_file():
        measured = read_model_evaluation(folder / EVALUATION)
    return model_card(config, sums[WEIGHTS], measured)


def write_checksums(folder: Path) -> None:
    """Write the sha256 of the files of a model that programs read, so that damage is seen."""
    sums = {name: file_sha256(folder / name) for name in _SEALED if (folder / name).is_file()}
    write_text(folder / CHECKSUMS, json.dumps(sums, indent=1) + "\n")


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
    folder = _folder_of(name_or_repo_or_path, revision)
    model = load_model(folder)
    stored = _load(folder / TEST)
    difference = float((_test_case(model)["probability"] - stored["probability"]).abs().max())
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


def _folder_of(name_or_repo_or_path: str | Path, revision: str | None) -> Path:
    """Find the folder of a model; one on the Hub is fetched."""
    name = str(name_or_repo_or_path)
    if name in bundled_models():
        return _bundle() / name
    if Path(name).is_dir():
        return Path(name)
    if _REPOSITORY.fullmatch(name):
        return _download(name, revision)
    bundled = ", ".join(bundled_models()) or "none in this version"
    raise NotAModelError(
        f"{name} is neither a bundled model ({bundled}), nor a folder, nor a repository such as "
        "user/net; `ceria-models train` makes a model"
    )


def _bundle() -> Path:
    return Path(str(resources.files("ceria_models"))) / "weights"


def _read_config(folder: Path) -> ModelConfig:
    file = folder / CONFIG
    if not file.is_file() or not (folder / WEIGHTS).is_file():
        pickles = [p.name for p in folder.iterdir() if p.suffix in _PICKLES]
        found = f"; {', '.join(pickles)} may run code when read, and is not" if pickles else ""
        raise NotAModelError(
            f"{folder} holds no model: expected {CONFIG} and {WEIGHTS}{found}; expected a folder "
            "made by `ceria-models train` or save_pretrained"
        )
    try:
        if file.stat().st_size > _CONFIG_BYTES:
            raise ValueError(
                f"it has {file.stat().st_size} bytes, expected at most {_CONFIG_BYTES}"
            )
        content = json.loads(file.read_text(encoding="utf-8"))
        version = content.get("format_version") if isinstance(content, dict) else None
        if isinstance(version, int) and version > _FORMAT_VERSION:
            raise NotAModelError(
                f"{folder} has format version {version}; this version of ceria reads up to "
                f"{_FORMAT_VERSION}; install a newer ceria"
            )
        return ModelConfig.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_context=False)
        )
        raise NotAModelError(f"{file} is no config of a model: {faults}") from error
    except (OSError, ValueError) as error:
        raise NotAModelError(f"{file} cannot be read: {error}") from error


def _check_files(folder: Path, without: tuple[str, ...] = ()) -> dict[str, str]:
    """Compare files with the checksums, and return these; a model without them is not whole.

    Evaluations may be missing, but must be as they were if they are there. Names that are not
    of a model are not looked at.
    """
    try:
        sums = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
        named = {str(name): str(value) for name, value in sums.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"{folder / CHECKSUMS} cannot be read ({error}); get the model anew"
        ) from error
    for name in _SEALED:
        file = folder / name
        if name in without or (name == EVALUATION and name not in named and not file.exists()):
            continue
        if name not in named or not file.is_file() or file_sha256(file) != named[name]:
            raise WeightsError(
                f"{file} differs from its sha256 in {CHECKSUMS}; it was changed or damaged: get "
                "the model anew"
            )
    return named


def _check_shapes(file: Path, expected: dict[str, tuple[int, ...]]) -> None:
    """Compare names and shapes of the weights with the net, reading the header only."""
    try:
        with safe_open(file, framework="pt") as stored:
            found = {key: tuple(stored.get_slice(key).get_shape()) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(_not_safetensors(file, error)) from error
    wrong = sorted(
        key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)
    )
    if wrong:
        key = wrong[0]
        raise WeightsError(
            f"{file} does not fit the net of {CONFIG}: {len(wrong)} weights differ, such as {key}: "
            f"found {found.get(key)}, expected {expected.get(key)}"
        )


def _load(file: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise WeightsError(_not_safetensors(file, error)) from error
    return tensors


def _not_safetensors(file: Path, error: Exception) -> str:
    with file.open("rb") as stream:
        pickled = stream.read(4).startswith(_PICKLE_STARTS)
    what = "a pickle, which may run code when read, and is not read" if pickled else str(error)
    return f"{file} is not a safetensors file: {what}"


def _download(repository: str, revision: str | None) -> Path:
    """Fetch the files of a model, and none of another kind, into the Hub's cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=[*_SEALED, CHECKSUMS, CARD],
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        at = f" at {revision}" if revision else ""
        raise NotAModelError(
            f"{repository}{at} is neither bundled nor a folder, and could not be fetched from the "
            f"Hugging Face Hub: {error}"
        ) from error
