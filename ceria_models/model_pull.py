"""A model from the Hub: one version, by its tag, checked against its checksums."""

from dataclasses import dataclass
from pathlib import Path

from ceria_data.address import Address, Kind, address_of, parse_address, tag_of
from ceria_data.errors import TransferError
from ceria_data.hub import offline
from ceria_data.pull import (
    Arrival,
    OnProgress,
    Pull,
    arriving,
    damaged_since,
    ignore,
    offline_folder,
)
from ceria_data.pulled import find_or_pull
from ceria_data.shared_files import SharedFile, check_listing
from ceria_models.errors import NotAModelError, WeightsError
from ceria_models.model import ModelConfig
from ceria_models.model_files import (
    CARD,
    CHECKSUMS,
    ONNX,
    SEALED,
    check_files,
    read_checksums,
    read_config,
)

_LARGEST_CHECKSUMS = 1 << 16
"""Bytes; a file of checksums has less than a thousand."""


@dataclass(frozen=True)
class ModelPull(Pull):
    """A version of a model on this computer.

    Attributes
    ----------
    config : ModelConfig
    onnx : Path or None
        The exported net, if the version has one.
    """

    config: ModelConfig
    onnx: Path | None


def pull_model(
    repository: str, *, out: Path | None = None, on_progress: OnProgress = ignore
) -> ModelPull:
    """Fetch one version of a model from the Hub, or find it where it was fetched before.

    Every file is compared with its checksum as it arrives, and nothing but the files of a model
    is fetched. The model appears in its place when all of it is there and fits together; until
    then the files wait beside it, and the same call goes on.

    Parameters
    ----------
    repository : str
        ``user/net`` for the newest version, or ``user/net@1.0.0``.
    out : Path, optional
        New folder for the model; by default one in the cache of ``CERIA_HOME``.
    on_progress : callable
        Told what is counted, how much is done, of how much, and how much was there before.

    Returns
    -------
    ModelPull

    Raises
    ------
    NotOnHubError
        If there is no such repository or version.
    NotAModelError
        If it holds no model, or none that this version can load.
    TransferError, WeightsError
        If the files differ from their checksums.
    HubError
        If the Hub cannot be reached; what has arrived stays for the next call.
    OutputError
        If `out` cannot be used.

    Examples
    --------
    >>> pull_model("user/net@latest")
    Traceback (most recent call last):
    ceria_data.errors.HubError: 'user/net@latest' names no version...
    """
    address = parse_address(repository, Kind.MODEL)
    if offline():
        return _offline(address, out)
    with arriving(address, Kind.MODEL, out, CHECKSUMS) as coming:
        folder, address = coming.folder, coming.address
        expected = _expected(coming)
        downloaded = coming.fetch(expected, on_progress)
        coming.keep_only(expected)
        config = read_config(folder)
        if config.version != address.version:
            raise TransferError(
                f"the tag {tag_of(str(address.version))} of the {coming.hub} leads to version "
                f"{config.version} of the model; tell its owner"
            )
        check_files(folder, config)
        return _pulled(coming.settle(), address, coming.commit, downloaded, config)


def cached_model(repository: str, revision: str | None = None) -> Path:
    """Find a version of a model in the cache, or pull it there.

    A version that was pulled before is not asked for again: it never changes.

    Parameters
    ----------
    repository : str
        ``user/net`` or ``user/net@1.0.0``.
    revision : str, optional
        ``1.0.0`` or ``v1.0.0``, if the address has no version.

    Returns
    -------
    Path
        Folder of the model.

    Raises
    ------
    HubError, TransferError, NotAModelError, WeightsError
        As `pull_model`.

    Examples
    --------
    >>> cached_model("user/net", "main")
    Traceback (most recent call last):
    ceria_data.errors.HubError: 'user/net@main' names no version...
    """
    address = address_of(repository, Kind.MODEL, revision)
    return find_or_pull(
        address,
        Kind.MODEL,
        lambda wanted, advance: pull_model(str(wanted), on_progress=advance).folder,
    )


def _expected(coming: Arrival) -> dict[str, SharedFile]:
    """Fetch the checksums before anything else; the Hub has to list their files and no others."""
    own = coming.listed.get(CHECKSUMS)
    tag = tag_of(str(coming.address.version))
    if own is None:
        raise NotAModelError(
            f"the {coming.hub} holds no model of ceria at {tag}: {CHECKSUMS} is missing"
        )
    if own.size > _LARGEST_CHECKSUMS:
        raise TransferError(
            f"{CHECKSUMS} of the {coming.hub} has {own.size} bytes, expected less than "
            f"{_LARGEST_CHECKSUMS}; it was not fetched"
        )
    coming.fetch({CHECKSUMS: own})
    sums = read_checksums(coming.folder)
    unknown = sorted(sums.keys() - {*SEALED, ONNX})
    if unknown:
        raise TransferError(
            f"{CHECKSUMS} of the {coming.hub} lists {unknown[0][:100]!r}, which is no file of a "
            "model; nothing more of it was fetched; tell its owner, or install a newer ceria"
        )
    missing = SharedFile(-1)
    expected = {
        # The Hub alone knows the sizes; the checksum decides.
        name: SharedFile(coming.listed.get(name, missing).size, sha256)
        for name, sha256 in sums.items()
    }
    for name in (CHECKSUMS, CARD):
        expected[name] = coming.listed.get(name, missing)
    check_listing(coming.listed, expected, f"the {coming.hub}", CHECKSUMS)
    return expected


def _offline(address: Address, out: Path | None) -> ModelPull:
    """Take a version from the cache and check its bytes again."""
    folder = offline_folder(address, Kind.MODEL, out)
    config = read_config(folder)
    try:
        check_files(folder, config)
    except WeightsError as error:
        raise damaged_since(folder, error) from error
    return _pulled(folder, Address(address.repo_id, config.version), None, 0, config)


def _pulled(
    folder: Path, address: Address, commit: str | None, downloaded: int, config: ModelConfig
) -> ModelPull:
    onnx = folder / ONNX if ONNX in read_checksums(folder) else None
    version = str(address.version)
    return ModelPull(folder, address.repo_id, version, commit, downloaded, config, onnx)
