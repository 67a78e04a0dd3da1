"""A dataset to the Hub: verified before, compared with what is there, tagged at the end."""

import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ceria_data.address import Kind, parse_address, tag_of
from ceria_data.download import fetch_files
from ceria_data.errors import DatasetError, HubError
from ceria_data.hub import Hub
from ceria_data.publication import (
    Publication,
    plan_publication,
    publish,
    published_with_other_content,
)
from ceria_data.secret import refuse_token
from ceria_data.shared_files import SharedFile, measured_folder
from ceria_data.store import CARD, MANIFEST, MANIFEST_SHA256, read_manifest
from ceria_data.verify import verify

_OF_THE_BUILD = {CARD, MANIFEST, MANIFEST_SHA256}
"""Files that tell when and where a dataset was built; another build has others."""


@dataclass(frozen=True)
class Push:
    """What a push did, or would do.

    Attributes
    ----------
    repo_id, tag : str
    files : dict of str to SharedFile
        All files of the version.
    planned : Publication
    commit : str or None
        Of the version; None after a dry run that found none.
    card_difference : list of str
        Lines of the card that would change, as a unified diff.
    notes : list of str
    """

    repo_id: str
    tag: str
    files: dict[str, SharedFile]
    planned: Publication
    commit: str | None = None
    card_difference: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def push_dataset(
    folder: Path,
    repository: str,
    *,
    private: bool = False,
    dry_run: bool = False,
    on_progress: Callable[[str, int, int], None] = lambda unit, done, total: None,
) -> Push:
    """Publish a dataset as one version of a repository on the Hub.

    The dataset is verified first. A version that is there already with the same content
    leaves everything as it is; with other content it is refused, since a tag never moves.

    Parameters
    ----------
    folder : Path
        The dataset.
    repository : str
        ``user/name``. The version is the dataset's own.
    private : bool
        Whether a new repository is to be private.
    dry_run : bool
        Only say what would be done.
    on_progress : callable
        Told what is counted, how much is done, of how much.

    Returns
    -------
    Push

    Raises
    ------
    DatasetError
        If the dataset is not as its manifest says.
    PublishedError
        If the version is published with other content.
    HubError
        If the Hub or the token do not allow it, or the repository holds something else.
    TransferError
        If what is on the Hub differs from the folder after the upload.

    Examples
    --------
    >>> from ceria_data.bundled import dataset_folder
    >>> push_dataset(dataset_folder("ceria-columns-mini"), "no name")
    Traceback (most recent call last):
    ceria_data.errors.HubError: 'no name' is no repository of a dataset...
    """
    address = parse_address(repository)
    manifest = read_manifest(folder)
    version = str(manifest["version"])
    if address.version not in (None, version):
        raise HubError(
            f"{folder} is version {version}, not {address.version}; the version of a push is that "
            f"of the dataset: push to {address.repo_id}"
        )
    problems = verify(folder, lambda done, total: on_progress("checks", done, total))
    if problems:
        raise DatasetError(
            f"{folder} is not as it should be ({problems[0]}; {len(problems)} problems), so "
            f"nothing was uploaded; run `ceria-data verify {folder}`"
        )
    names = sorted([*manifest["files"], MANIFEST, MANIFEST_SHA256])
    refuse_token(folder, names)
    files = _measured(folder, names, manifest, on_progress)
    hub = Hub(address.repo_id, Kind.DATASET)
    planned = plan_publication(hub, files, version, private=private)
    notes = _check_repository(hub, manifest, planned)
    pushed = Push(address.repo_id, tag_of(version), files, planned, planned.published, notes=notes)
    if dry_run:
        pushed.card_difference.extend(_card_difference(hub, folder, planned))
        return pushed
    if planned.published:
        return pushed
    commit = publish(hub, folder, files, planned)
    return Push(address.repo_id, tag_of(version), files, planned, commit)


def _measured(
    folder: Path,
    names: list[str],
    manifest: dict[str, Any],
    on_progress: Callable[[str, int, int], None],
) -> dict[str, SharedFile]:
    total = sum(facts["size"] for facts in manifest["files"].values())
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        on_progress("kB", -(-done // 1000), -(-total // 1000))

    return measured_folder(folder, names, count)


def _check_repository(hub: Hub, manifest: dict[str, Any], planned: Publication) -> list[str]:
    """Refuse a repository that holds something else; say what is worth a note."""
    if planned.published and planned.differing:
        if planned.differing.keys() <= _OF_THE_BUILD:
            there = _remote_manifest(hub, planned.published)
            if there.get("content_digest") == manifest["content_digest"]:
                return ["the version on the Hub is another build with the same content"]
        raise published_with_other_content(hub, planned)
    if planned.published or not planned.exists:
        return []
    head = hub.commit("main")
    there = _remote_manifest(hub, head)
    if there and there.get("name") != manifest["name"]:
        raise HubError(
            f"the {hub} holds the dataset {there.get('name')!r}, not {manifest['name']!r}; push "
            "to a repository of its own"
        )
    if planned.delete and not there:
        raise HubError(
            f"the {hub} holds files that are no dataset of ceria, such as {planned.delete[0]!r}, "
            "and a push would remove them; choose another repository, or remove them yourself"
        )
    return []


def _remote_manifest(hub: Hub, commit: str) -> dict[str, Any]:
    """Read the manifest of a commit; empty if it has none."""
    text = _remote_text(hub, commit, MANIFEST)
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _remote_text(hub: Hub, commit: str, name: str) -> str | None:
    file = hub.files(commit).get(name)
    if file is None:
        return None
    with TemporaryDirectory(prefix="ceria-") as scratch:
        fetch_files(hub, commit, {name: file}, Path(scratch, "files"), Path(scratch, "incoming"))
        return Path(scratch, "files", name).read_text(encoding="utf-8", errors="replace")


def _card_difference(hub: Hub, folder: Path, planned: Publication) -> list[str]:
    """Compare the card at the head of the repository with the folder's."""
    old = (_remote_text(hub, hub.commit("main"), CARD) or "") if planned.exists else ""
    new = (folder / CARD).read_text(encoding="utf-8")
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), "on the Hub", "in the folder", lineterm="", n=0
    )
    return list(lines)
