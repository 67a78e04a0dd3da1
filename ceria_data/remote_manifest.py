"""The manifest of a dataset on the Hub: fetched first, and held against what the Hub lists."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ceria_data.address import Address, tag_of
from ceria_data.download import fetch_files
from ceria_data.errors import NotADatasetError, TransferError
from ceria_data.hub import Hub
from ceria_data.shared_files import SharedFile, check_listing, check_names
from ceria_data.store import MANIFEST, MANIFEST_SHA256, read_manifest

_SHA256 = re.compile("[0-9a-f]{64}")
_LARGEST_MANIFEST = 64 * 2**20
"""Bytes; room for some 300,000 files."""


def fetch_manifest(
    hub: Hub,
    address: Address,
    commit: str,
    listed: Mapping[str, SharedFile],
    folder: Path,
    incoming: Path,
) -> dict[str, Any]:
    """Fetch the manifest before anything else, and see that it is that of the version.

    Parameters
    ----------
    hub : Hub
    address : Address
        With the version that is meant.
    commit : str
    listed : mapping of str to SharedFile
        What the Hub lists at the commit.
    folder, incoming : Path
        Where it goes, and a scratch folder.

    Returns
    -------
    dict

    Raises
    ------
    NotADatasetError
        If there is none, or it has a newer format.
    TransferError
        If it is damaged, or that of another version.
    """
    first = {name: listed[name] for name in (MANIFEST, MANIFEST_SHA256) if name in listed}
    if len(first) < 2:
        raise NotADatasetError(
            f"the {hub} holds no dataset of ceria at {tag_of(str(address.version))}: {MANIFEST} "
            f"or {MANIFEST_SHA256} is missing"
        )
    if first[MANIFEST].size > _LARGEST_MANIFEST:
        raise TransferError(
            f"{MANIFEST} of the {hub} has {first[MANIFEST].size} bytes, expected less than "
            f"{_LARGEST_MANIFEST}; it was not fetched"
        )
    fetch_files(hub, commit, first, folder, incoming)
    manifest = read_manifest(folder)
    if manifest.get("version") != address.version:
        raise TransferError(
            f"the tag {tag_of(str(address.version))} of the {hub} leads to version "
            f"{manifest.get('version')} of the dataset; tell its owner"
        )
    return manifest


def listed_in(
    manifest: Mapping[str, Any], listed: Mapping[str, SharedFile], source: str
) -> dict[str, SharedFile]:
    """Take the expected files from a manifest; the Hub has to list the same ones.

    Parameters
    ----------
    manifest : mapping
    listed : mapping of str to SharedFile
        What the Hub lists, the manifest and its checksum among it.
    source : str
        Where it comes from, for the message.

    Returns
    -------
    dict of str to SharedFile
        All files with their sha256; the manifest and its checksum as the Hub lists them.

    Raises
    ------
    TransferError
        If the lists differ, or the manifest's is none.
    """
    try:
        expected = {
            str(name): SharedFile(int(facts["size"]), str(facts["sha256"]))
            for name, facts in manifest["files"].items()
        }
        if not all(_SHA256.fullmatch(str(file.sha256)) for file in expected.values()):
            raise ValueError("a sha256 is none")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TransferError(
            f"{MANIFEST} of {source} lists no files with sizes and checksums ({error}); tell its "
            "owner"
        ) from error
    check_names(expected, source)
    for name in (MANIFEST, MANIFEST_SHA256):
        # As the Hub has them: the manifest cannot hold its own checksum.
        expected[name] = listed[name]
    check_listing(listed, expected, source, "manifest")
    return expected


def check_digest(manifest: Mapping[str, Any], digest: str | None, source: str) -> None:
    """Refuse a dataset with another content digest than the demanded one.

    Raises
    ------
    TransferError

    Examples
    --------
    >>> check_digest({"content_digest": "ab"}, "cd", "user/name@1.0.0")
    Traceback (most recent call last):
    ceria_data.errors.TransferError: user/name@1.0.0 has the content digest ab, expected cd...
    """
    found = manifest.get("content_digest")
    if digest is not None and found != digest:
        raise TransferError(
            f"{source} has the content digest {found}, expected {digest}; it is another dataset, "
            "or another version"
        )
