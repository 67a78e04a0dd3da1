"""The files of a model: their names and checksums, and what is refused before it is read."""

import json
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ceria_data.digest import file_sha256
from ceria_data.store import write_text
from ceria_models.errors import NotAModelError, WeightsError
from ceria_models.model import ModelConfig
from ceria_models.nets import create_net

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
TEST = "test.safetensors"
EVALUATION = "evaluation.json"
CARD = "README.md"
CHECKSUMS = "sha256.json"
ONNX = "net.onnx"
"""The exported net, for other programs; only models from the Hub have it, on request."""
SEALED = (CONFIG, WEIGHTS, TEST, EVALUATION)
"""What programs read. The card is for people, who may add to it; nothing else is looked at."""
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""Of `torch.save`, new and old, and of pickles of protocol 2 to 5."""
_FORMAT_VERSION = ModelConfig.model_fields["format_version"].default
_CONFIG_BYTES = 1 << 20
"""A longer config is none."""


def read_config(folder: Path) -> ModelConfig:
    """Read the config of a model.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    ModelConfig

    Raises
    ------
    NotAModelError
        If the folder holds no model, one of a newer format, or a config that is none.

    Examples
    --------
    >>> from importlib import resources
    >>> bundle = Path(str(resources.files("ceria_models"))) / "weights"
    >>> read_config(bundle / "residual-unet-base").net.architecture
    'residual_unet'
    """
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


def write_checksums(folder: Path, *, onnx: bool = False) -> dict[str, str]:
    """Write the sha256 of the files of a model that programs read, so that damage is seen.

    Parameters
    ----------
    folder : Path
    onnx : bool
        Seal the exported net too. One that is not sealed is a file of the user's own.

    Returns
    -------
    dict of str to str
        The checksums.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> _ = (folder / CONFIG).write_text("{}")
    >>> list(write_checksums(folder))
    ['config.json']
    """
    names = (*SEALED, ONNX) if onnx else SEALED
    sums = {name: file_sha256(folder / name) for name in names if (folder / name).is_file()}
    write_text(folder / CHECKSUMS, json.dumps(sums, indent=1) + "\n")
    return sums


def check_files(folder: Path, config: ModelConfig, without: tuple[str, ...] = ()) -> dict[str, str]:
    """Refuse a model whose files are damaged, or of another kind, before any is loaded.

    The files are compared with their checksums, and the header of the weights with the net of
    the config; nothing of the size of the net is allocated. Whole files that belong to another
    net, or that are pickles, are no damage, whether their checksums were made anew or not.
    Evaluations may be missing, but must be as they were if they are there; an exported net is
    compared if it was sealed. Names that are not of a model are not looked at.

    Parameters
    ----------
    folder : Path
    config : ModelConfig
        As from `read_config`.
    without : tuple of str
        Files that may be missing or different.

    Returns
    -------
    dict of str to str
        The checksums.

    Raises
    ------
    NotAModelError
        If the weights are a pickle, no safetensors file, or those of another net.
    WeightsError
        If a file is not as its checksum says, or the checksums are missing.

    Examples
    --------
    >>> from importlib import resources
    >>> folder = Path(str(resources.files("ceria_models"))) / "weights" / "residual-unet-base"
    >>> sorted(check_files(folder, read_config(folder)))[0]
    'config.json'
    """
    for name in (WEIGHTS, TEST):
        _refuse_pickle(folder / name)
    sums = read_checksums(folder)
    changed = [
        name
        for name in ((*SEALED, ONNX) if ONNX in sums else SEALED)
        if name not in without
        and not (name == EVALUATION and name not in sums and not (folder / name).exists())
        and not _as_sealed(folder / name, sums.get(name))
    ]
    damaged = WEIGHTS in changed
    try:
        wrong = _misfits(folder / WEIGHTS, config)
    except NotAModelError:
        if not damaged:
            raise
        wrong = []
    # A changed byte in the header renames one weight: one is missing, one too many. Where more
    # differ and the header can be read, somebody put the file of another net here.
    if len(wrong) > (2 if damaged else 0):
        raise NotAModelError(
            f"{folder / WEIGHTS} does not fit the net of {CONFIG}: {len(wrong)} weights differ, "
            f"such as {wrong[0]}; expected the config and the weights of one model"
        )
    if changed:
        raise WeightsError(
            f"{folder / changed[0]} differs from its sha256 in {CHECKSUMS}; it was changed or "
            "damaged: get the model anew"
        )
    return sums


def read_checksums(folder: Path) -> dict[str, str]:
    """Read the checksums of a model; one without them is not whole.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict of str to str

    Raises
    ------
    WeightsError
        If there are none.

    Examples
    --------
    >>> read_checksums(Path("no-such-folder"))
    Traceback (most recent call last):
    ceria_models.errors.WeightsError: no-such-folder/sha256.json cannot be read...
    """
    try:
        sums = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in sums.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"{folder / CHECKSUMS} cannot be read ({error}); get the model anew"
        ) from error


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Parameters
    ----------
    file : Path

    Returns
    -------
    dict of str to Tensor

    Raises
    ------
    NotAModelError
        If it is none.

    Examples
    --------
    >>> from importlib import resources
    >>> folder = Path(str(resources.files("ceria_models"))) / "weights" / "residual-unet-base"
    >>> read_tensors(folder / TEST)["counts"].shape
    torch.Size([56, 64])
    """
    try:
        tensors: dict[str, Tensor] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise NotAModelError(f"{file} is not a safetensors file: {error}") from error
    return tensors


def _as_sealed(file: Path, sha256: str | None) -> bool:
    return sha256 is not None and file.is_file() and file_sha256(file) == sha256


def _refuse_pickle(file: Path) -> None:
    """Refuse a pickle by its first bytes, unless they are the length of a header."""
    if not file.is_file():
        return
    with file.open("rb") as stream:
        start = stream.read(8)
    header = int.from_bytes(start, "little")
    if start.startswith(_PICKLE_STARTS) and header > file.stat().st_size:
        raise NotAModelError(
            f"{file} is not a safetensors file: a pickle, which may run code when read, and is "
            "not read; expected weights that save_pretrained wrote"
        )


def _misfits(file: Path, config: ModelConfig) -> list[str]:
    """List the weights whose name or shape is not that of the config's net, by the header only."""
    # On the meta device a net has shapes but no memory, however large the config makes it.
    with torch.device("meta"):
        state = create_net(config.net.settings()).state_dict()
    expected = {key: tuple(tensor.shape) for key, tensor in state.items()}
    try:
        with safe_open(file, framework="pt") as stored:
            found = {key: tuple(stored.get_slice(key).get_shape()) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise NotAModelError(f"{file} is not a safetensors file: {error}") from error
    return sorted(
        f"{key}: found {found.get(key)}, expected {expected.get(key)}"
        for key in found.keys() | expected.keys()
        if found.get(key) != expected.get(key)
    )
