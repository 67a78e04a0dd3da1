"""A dataset from the Hub: one version, by its tag, checked against its manifest."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ceria_data.address import Address, Kind, parse_address
from ceria_data.errors import OutputError, TransferError
from ceria_data.hub import offline
from ceria_data.part import files_of_splits, read_part, write_part
from ceria_data.pull import (
    Arrival,
    OnProgress,
    Pull,
    arriving,
    damaged_since,
    ignore,
    offline_folder,
)
from ceria_data.remote_manifest import check_digest, fetch_manifest, listed_in
from ceria_data.schema import SAMPLES
from ceria_data.store import MANIFEST, MANIFEST_SHA256, PART, read_manifest
from ceria_data.verify import check_files, verify

_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class DatasetPull(Pull):
    """A version of a dataset on this computer.

    Attributes
    ----------
    manifest : dict
    splits : list of str or None
        What the copy holds; None if all.
    """

    manifest: dict[str, Any]
    splits: list[str] | None


def pull_dataset(
    repository: str,
    *,
    out: Path | None = None,
    digest: str | None = None,
    splits: Sequence[str] = (),
    on_progress: OnProgress = ignore,
) -> DatasetPull:
    """Fetch one version of a dataset from the Hub, or find it where it was fetched before.

    Every file is compared with its checksum as it arrives. The dataset appears in its place
    when all of it is there; until then the files wait beside it, and the same call goes on.

    Parameters
    ----------
    repository : str
        ``user/name`` for the newest version, or ``user/name@1.0.0``.
    out : Path, optional
        New folder for the dataset; by default one in the cache of ``CERIA_HOME``.
    digest : str, optional
        Content digest that the dataset must have. The decoded content is checked then, not
        only the bytes.
    splits : sequence of str
        Splits that are enough; the copy says that it holds no others. A later call adds
        splits, or without any the rest.
    on_progress : callable
        Told what is counted, how much is done, of how much, and how much was there before.

    Returns
    -------
    DatasetPull

    Raises
    ------
    NotOnHubError
        If there is no such repository or version.
    TransferError
        If the files differ from their checksums, or the dataset has another digest.
    HubError
        If the Hub cannot be reached; what has arrived stays for the next call.
    OutputError
        If `out` cannot be used.

    Examples
    --------
    >>> pull_dataset("user/name@latest")
    Traceback (most recent call last):
    ceria_data.errors.HubError: 'user/name@latest' names no version...
    """
    address = parse_address(repository)
    if digest is not None and not _DIGEST.fullmatch(digest):
        raise OutputError(f"{digest!r} is no digest; expected 64 small hexadecimal digits")
    if digest is not None and splits:
        raise OutputError("a digest is that of all splits; give --digest or --split")
    if offline():
        return _offline(address, out, digest, on_progress)
    with arriving(address, Kind.DATASET, out, MANIFEST) as coming:
        return _pull(coming, digest, set(splits), on_progress)


def _pull(
    coming: Arrival, digest: str | None, splits: set[str], on_progress: OnProgress
) -> DatasetPull:
    hub, address, listed, folder = coming.hub, coming.address, coming.listed, coming.folder
    manifest = fetch_manifest(hub, address, coming.commit, listed, folder, coming.staging.incoming)
    expected = listed_in(manifest, listed, f"the {hub}")
    check_digest(manifest, digest, str(address))
    part = read_part(folder) if coming.ready else None
    if splits and (part is not None or not coming.ready):
        splits |= set(part or ())
        samples = f"{SAMPLES.name}.parquet"
        coming.fetch({samples: expected[samples]})
        needed = files_of_splits(folder, manifest, splits) | {MANIFEST, MANIFEST_SHA256}
        expected = {name: file for name, file in expected.items() if name in needed}
    else:
        splits = set()  # what is whole stays whole
    downloaded = coming.fetch(expected, on_progress)
    coming.keep_only(expected)
    if splits:
        write_part(folder, splits)
    else:
        (folder / PART).unlink(missing_ok=True)
    if digest is not None:
        check_content(folder, str(address), on_progress)
    out, version = coming.settle(), str(address.version)
    held = sorted(splits) or None
    return DatasetPull(out, address.repo_id, version, coming.commit, downloaded, manifest, held)


def check_content(folder: Path, source: str, on_progress: OnProgress = ignore) -> None:
    """See that the digests of a manifest follow from the decoded content.

    Raises
    ------
    TransferError
        With the first problem.
    """
    problems = verify(folder, lambda done, total: on_progress("checks", done, total, 0))
    if problems:
        raise TransferError(
            f"{source} is not as its manifest says: {problems[0]}; {len(problems)} problems; it "
            f"is not used; look at it with `ceria-data verify {folder}`"
        )


def _offline(
    address: Address,
    out: Path | None,
    digest: str | None,
    on_progress: OnProgress,
) -> DatasetPull:
    """Take a version from the cache and check its bytes again."""
    folder = offline_folder(address, Kind.DATASET, out)
    manifest = read_manifest(folder)
    check_digest(manifest, digest, str(address))
    part = read_part(folder)
    held = set(manifest["files"]) if part is None else files_of_splits(folder, manifest, part)
    problems = [each for each in check_files(folder, manifest) if each and each.where in held]
    if digest is not None:
        check_content(folder, str(address), on_progress)
    elif problems:
        raise damaged_since(folder, problems[0])
    return DatasetPull(folder, address.repo_id, str(manifest["version"]), None, 0, manifest, part)
