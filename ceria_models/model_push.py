"""A model to the Hub: verified before, then published as its version."""

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from huggingface_hub import ModelCard

from ceria_data.address import Kind, is_version
from ceria_data.hub import Hub
from ceria_data.push import Push, Version, destination, push_version
from ceria_data.secret import refuse_token
from ceria_data.shared_files import measured_folder
from ceria_models.errors import NotAModelError, WeightsError
from ceria_models.model import ModelConfig
from ceria_models.model_files import (
    CARD,
    CHECKSUMS,
    CONFIG,
    ONNX,
    WEIGHTS,
    check_files,
    read_config,
    write_checksums,
)
from ceria_models.model_places import local_model
from ceria_models.weights import load_model, verify_model


def push_model(
    name_or_path: str | Path,
    repository: str,
    *,
    onnx: bool = False,
    private: bool = False,
    dry_run: bool = False,
) -> Push:
    """Publish a model as one version of a repository on the Hub.

    The model is verified first, and its stored test input run again. What goes up is a copy of
    the sealed files, with the card; other files of the folder stay where they are. A version
    that is there already with the same content leaves everything as it is; with other content
    it is refused, since a tag never moves.

    Parameters
    ----------
    name_or_path : str or Path
        A folder, or the name of a bundled model.
    repository : str
        ``user/net``. The version is the model's own.
    onnx : bool
        Export the net as `net.onnx`, and publish that with it.
    private : bool
        Whether a new repository is to be private.
    dry_run : bool
        Only say what would be done.

    Returns
    -------
    Push

    Raises
    ------
    NotAModelError
        If there is no such model, its version is none, or it lacks a card of its own.
    WeightsError
        If it is damaged, or says something else than it did.
    PublishedError, HubError, TransferError
        As `push_version`.
    MissingExtraError, ExportError
        As `onnx_file.export_onnx`.

    Examples
    --------
    >>> push_model("residual-unet-base", "no name")
    Traceback (most recent call last):
    ceria_data.errors.HubError: 'no name' is no repository of a model...
    """
    source = local_model(name_or_path)
    if source is None:
        raise NotAModelError(
            f"{name_or_path} is neither a bundled model nor a folder; `ceria-models train` makes a "
            "model"
        )
    config = read_config(source)
    if not is_version(config.version):
        raise NotAModelError(
            f"{source} is version {config.version!r}, expected three numbers such as 1.0.0; give "
            "it one: ceria-models card MODEL --version 1.0.0"
        )
    address = destination(repository, Kind.MODEL, source, config.version)
    verify_model(source)
    sums = {name: sha256 for name, sha256 in check_files(source, config).items() if name != ONNX}
    _check_card(source, config, sums[WEIGHTS])
    refuse_token(source, [*sums, CARD])
    with TemporaryDirectory(prefix="ceria-") as scratch:
        folder = Path(scratch)
        for name in (*sums, CARD):
            shutil.copyfile(source / name, folder / name)
        if onnx:
            from ceria_models.onnx_file import export_onnx

            export_onnx(load_model(source), folder / ONNX)
        sealed = write_checksums(folder, onnx=onnx)
        if sums.items() - sealed.items():
            raise WeightsError(f"{source} was changed while it was copied; repeat the command")
        files = measured_folder(folder, sorted([*sealed, CHECKSUMS, CARD]))

        def same_note(published: Callable[[str], dict[str, Any]]) -> str | None:
            there = published(CHECKSUMS)
            if there.pop(ONNX, None) is None or there != sums:
                return None
            made = "another export" if onnx else "an export"
            return f"the version on the Hub is the same model, with {made} of it"

        incidental = frozenset({ONNX, CHECKSUMS})
        version = Version(folder, config.name, config.version, CONFIG, incidental, same_note)
        hub = Hub(address.repo_id, Kind.MODEL)
        return push_version(hub, version, files, private=private, dry_run=dry_run)


def _check_card(folder: Path, config: ModelConfig, weights_sha256: str) -> None:
    """Refuse a card that the Hub cannot read, or that is of another model."""
    file = folder / CARD
    try:
        text = file.read_text(encoding="utf-8")
        head = ModelCard(text).data
    except (OSError, ValueError, TypeError, AttributeError, KeyError, yaml.YAMLError) as error:
        raise _no_card(file, str(error).splitlines()[0]) from error
    expected = {"license": config.license.lower(), "library_name": "ceria"}
    for key, value in expected.items():
        found = head.get(key)
        if found != value:
            raise _no_card(file, f"its {key} is {found}, expected {value}")
    if weights_sha256 not in text:
        raise _no_card(file, f"it does not name the sha256 of {WEIGHTS}, {weights_sha256}")


def _no_card(file: Path, what: str) -> NotAModelError:
    return NotAModelError(
        f"{file} is not the card of this model ({what}); write it anew: ceria-models card MODEL"
    )
