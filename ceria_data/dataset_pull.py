"""A dataset from the Hub: one version, by its tag, checked against its manifest."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ceria_data.address import Address, Kind, parse_address, tag_of
from ceria_data.download import fetch_files
from ceria_data.errors import OutputError, TransferError
from ceria_data.hub import Hub, offline
from ceria_data.part import files_of_splits, read_part, write_part
from ceria_data.pulled import from_cache, pulled_place
from ceria_data.remote_manifest import check_digest, fetch_manifest, listed_in
from ceria_data.schema import SAMPLES
from ceria_data.shared_files import HUB_FILES, SharedFile, check_names, holds
from ceria_data.staging import Staging, check_place, clear, locked, occupied, publish
from ceria_data.store import MANIFEST, MANIFEST_SHA256, PART, dataset_files, read_manifest
from ceria_data.verify import check_files, verify

_DIGEST = re.compile("[0-9a-f]{64}")

OnProgress = Callable[[str, int, int, int], None]
"""Told what is counted, how much is done, of how much, and how much was there before."""


def _ignore(unit: str, done: int, total: int, reused: int) -> None:
    return None


@dataclass(frozen=True)
class Pull:
    """A version of a dataset on this computer.

    Attributes
    ----------
    folder : Path
    repo_id, version : str
    commit : str or None
        None if the Hub was not asked.
    downloaded : int
        Bytes that had to be fetched.
    manifest : dict
    splits : list of str or None
        What the copy holds; None if all.
    """

    folder: Path
    repo_id: str
    version: str
    commit: str | None
    downloaded: int
    manifest: dict[str, Any]
    splits: list[str] | None


class _PullStaging(Staging):
    """The folder of an unfinished pull: its own name, so that it never meets a build's."""

    @property
    def folder(self) -> Path:
        return self.out.parent / f".{self.out.name}.pull"

    @property
    def incoming(self) -> Path:
        return self.folder / "incoming"


def pull_dataset(
    repository: str,
    *,
    out: Path | None = None,
    digest: str | None = None,
    splits: Sequence[str] = (),
    on_progress: OnProgress = _ignore,
) -> Pull:
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
    Pull

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
    hub = Hub(address.repo_id, Kind.DATASET)
    version = hub.version(address.version)
    commit = hub.commit(tag_of(version))
    address = Address(address.repo_id, version)
    staging = _PullStaging(out or pulled_place(address.repo_id, version, Kind.DATASET))
    if out is None:
        staging.out.parent.mkdir(parents=True, exist_ok=True)
    check_place(staging, resume=False, overwrite=False)
    with locked(staging):
        return _pull(hub, address, commit, staging, digest, set(splits), on_progress)


def _pull(
    hub: Hub,
    address: Address,
    commit: str,
    staging: _PullStaging,
    digest: str | None,
    splits: set[str],
    on_progress: OnProgress,
) -> Pull:
    listed = {name: file for name, file in hub.files(commit).items() if name not in HUB_FILES}
    check_names(listed, f"the {hub}")
    ready = occupied(staging.out)
    folder = staging.out if ready else staging.dataset
    if ready and not holds(staging.out / MANIFEST, listed.get(MANIFEST, SharedFile(-1))):
        raise _other_content(hub, address, staging.out)
    manifest = fetch_manifest(hub, address, commit, listed, folder, staging.incoming)
    expected = listed_in(manifest, listed, f"the {hub}")
    check_digest(manifest, digest, str(address))
    part = read_part(folder) if ready else None
    if splits and (part is not None or not ready):
        splits |= set(part or ())
        samples = f"{SAMPLES.name}.parquet"
        fetch_files(hub, commit, {samples: expected[samples]}, folder, staging.incoming)
        needed = files_of_splits(folder, manifest, splits) | {MANIFEST, MANIFEST_SHA256}
        expected = {name: file for name, file in expected.items() if name in needed}
    else:
        splits = set()  # what is whole stays whole
    downloaded = fetch_files(
        hub,
        commit,
        expected,
        folder,
        staging.incoming,
        lambda *sizes: on_progress("kB", *(-(-size // 1000) for size in sizes)),
    )
    if splits:
        write_part(folder, splits)
    else:
        (folder / PART).unlink(missing_ok=True)
    if not ready:
        for name in set(dataset_files(folder)) - expected.keys():
            (folder / name).unlink()  # left by a pull of another version
    if digest is not None:
        check_content(folder, str(address), on_progress)
    clear(staging) if ready else publish(staging)
    version = str(address.version)
    held = sorted(splits) or None
    return Pull(staging.out, address.repo_id, version, commit, downloaded, manifest, held)


def check_content(folder: Path, source: str, on_progress: OnProgress = _ignore) -> None:
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


def _other_content(hub: Hub, address: Address, folder: Path) -> TransferError | OutputError:
    """Say that what is in the place is not the version that was asked for."""
    if folder == pulled_place(address.repo_id, str(address.version), Kind.DATASET):
        return TransferError(
            f"version {address.version} of the {hub} has another content now than what was pulled "
            f"to {folder}; a published version never changes: ask its owner, and remove {folder} "
            "to take the new content"
        )
    return OutputError(
        f"{folder} holds another dataset than version {address.version} of the {hub}; choose "
        "another --out"
    )


def _offline(
    address: Address,
    out: Path | None,
    digest: str | None,
    on_progress: OnProgress,
) -> Pull:
    """Take a version from the cache and check its bytes again."""
    folder = from_cache(address, Kind.DATASET)
    if out is not None:
        raise OutputError(f"HF_HUB_OFFLINE is set; copy {folder} to {out} yourself")
    manifest = read_manifest(folder)
    check_digest(manifest, digest, str(address))
    part = read_part(folder)
    held = set(manifest["files"]) if part is None else files_of_splits(folder, manifest, part)
    problems = [each for each in check_files(folder, manifest) if each and each.where in held]
    if digest is not None:
        check_content(folder, str(address), on_progress)
    elif problems:
        raise TransferError(
            f"{folder} was damaged after it was pulled: {problems[0]}; unset HF_HUB_OFFLINE and "
            "pull again"
        )
    return Pull(folder, address.repo_id, str(manifest["version"]), None, 0, manifest, part)
