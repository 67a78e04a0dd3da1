"""Where models lie: in the package, in a folder, in the cache of the Hub."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ceria_data.address import Kind, is_repository
from ceria_data.errors import HubError
from ceria_data.pulled import all_pulled
from ceria_models.errors import NotAModelError
from ceria_models.model_evaluation import ModelEvaluation, read_model_evaluation
from ceria_models.model_files import CONFIG, EVALUATION, check_files, read_config
from ceria_models.nets import create_net

DEFAULT = "residual-unet-base"
"""Name of the bundled single-frame net."""


def bundled_models() -> list[str]:
    """Name the models that come with the package.

    Examples
    --------
    >>> DEFAULT in bundled_models()
    True
    """
    return sorted(config.parent.name for config in _bundle().glob(f"*/{CONFIG}"))


def list_models() -> pd.DataFrame:
    """List the models that come with the package, and those that were pulled from the Hub.

    Returns
    -------
    DataFrame
        name (as `from_pretrained` takes it), source (``bundled`` or ``Hub``), version,
        architecture, parameters, dataset, default. One that cannot be read is left out.

    Examples
    --------
    >>> models = list_models()
    >>> models[models["default"]]["name"].item() == DEFAULT
    True
    """
    names = ["name", "source", "version", "architecture", "parameters", "dataset", "default"]
    return pd.DataFrame(list(_listed()), columns=names)


def local_model(name_or_path: str | Path) -> Path | None:
    """Find the folder of a model without the Hub: a bundled one by its name, else a folder.

    Examples
    --------
    >>> local_model(DEFAULT).name == DEFAULT
    True
    >>> local_model("user/net")
    """
    name = str(name_or_path)
    if name in bundled_models():
        return _bundle() / name
    return Path(name) if Path(name).is_dir() else None


def model_folder(name_or_repo_or_path: str | Path, revision: str | None = None) -> Path:
    """Find the folder of a model; one on the Hub is fetched.

    Parameters
    ----------
    name_or_repo_or_path : str or Path
    revision : str, optional
        Version or its tag.

    Returns
    -------
    Path

    Raises
    ------
    NotAModelError, HubError, TransferError
        As `weights.from_pretrained`.

    Examples
    --------
    >>> model_folder(DEFAULT, "v0.0.1")
    Traceback (most recent call last):
    ceria_models.errors.NotAModelError: residual-unet-base is version ..., expected v0.0.1; ...
    """
    name = str(name_or_repo_or_path)
    folder = local_model(name)
    if folder is not None:
        found = read_config(folder).version if revision is not None else None
        if found is not None and found != str(revision).removeprefix("v"):
            raise NotAModelError(
                f"{name} is version {found}, expected {revision}; name a repository on the Hub, "
                "or leave the revision out"
            )
        return folder
    if name.startswith("hf://") or is_repository(name):
        from ceria_models.model_pull import cached_model  # the client takes time to import

        try:
            return cached_model(name, revision)
        except HubError as error:
            raise type(error)(f"{name} is no folder here, and on the Hub: {error}") from error
    bundled = ", ".join(bundled_models()) or "none in this version"
    raise NotAModelError(
        f"{name} is neither a bundled model ({bundled}), nor a folder, nor a repository such as "
        "user/net; `ceria-models train` makes a model"
    )


def bundled_evaluation(name: str) -> ModelEvaluation:
    """Read the evaluations that are stored with a bundled model.

    Parameters
    ----------
    name : str

    Returns
    -------
    ModelEvaluation

    Raises
    ------
    NotAModelError
        If no model of this name comes with the package.
    WeightsError
        If the model is damaged.
    EvaluationError
        If no evaluation is stored with it.

    Examples
    --------
    >>> bundled_evaluation(DEFAULT).own[0].split
    'test'
    """
    if name not in bundled_models():
        raise NotAModelError(
            f"{name} is no bundled model; expected {', '.join(bundled_models()) or 'none'}"
        )
    folder = _bundle() / name
    check_files(folder, read_config(folder))
    return read_model_evaluation(folder / EVALUATION)


def _listed() -> Iterator[dict[str, Any]]:
    places = [(name, "bundled", _bundle() / name) for name in bundled_models()]
    places += [(str(address), "Hub", folder) for address, folder in all_pulled(Kind.MODEL)]
    for name, source, folder in places:
        try:
            config = read_config(folder)
            with torch.device("meta"):
                net = create_net(config.net.settings())
        except NotAModelError:  # damaged, or pulled by a newer version of this package
            continue
        yield {
            "name": name,
            "source": source,
            "version": config.version,
            "architecture": config.net.architecture,
            "parameters": sum(p.numel() for p in net.parameters()),
            "dataset": config.training.dataset,
            "default": name == DEFAULT,
        }


def _bundle() -> Path:
    return Path(str(resources.files("ceria_models"))) / "weights"
