"""A version of anything to the Hub: compared with what is there, uploaded, tagged at the end."""

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ceria_data.address import Address, Kind, parse_address, tag_of
from ceria_data.download import fetch_files
from ceria_data.errors import HubError
from ceria_data.hub import Hub
from ceria_data.publication import (
    Publication,
    plan_publication,
    publish,
    published_with_other_content,
)
from ceria_data.shared_files import SharedFile
from ceria_data.store import CARD


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


@dataclass(frozen=True)
class Version:
    """What is to be published, and how a repository shows that it holds the same.

    Attributes
    ----------
    folder : Path
        Holds the files of the version and no others.
    name, number : str
    record : str
        File of JSON whose ``name`` says what a repository holds.
    incidental : frozenset of str
        Files in which the published version may differ and be the same nevertheless.
    same_note : callable
        Given the JSON files of the published version by name, says why it is the same where
        only incidental files differ; None if it is not.
    """

    folder: Path
    name: str
    number: str
    record: str
    incidental: frozenset[str]
    same_note: Callable[[Callable[[str], dict[str, Any]]], str | None]


def destination(repository: str, kind: Kind, folder: Path, number: str) -> Address:
    """Read where a version is to go.

    Parameters
    ----------
    repository : str
        ``user/name``; a version in it has to be that of the folder.
    kind : Kind
    folder : Path
    number : str
        Version of the folder.

    Returns
    -------
    Address

    Raises
    ------
    HubError
        If the text is no address, or names another version.

    Examples
    --------
    >>> destination("user/name@2.0.0", Kind.DATASET, Path("mine"), "1.0.0")
    Traceback (most recent call last):
    ceria_data.errors.HubError: mine is version 1.0.0, not 2.0.0...
    """
    address = parse_address(repository, kind)
    if address.version not in (None, number):
        raise HubError(
            f"{folder} is version {number}, not {address.version}; the version of a push is that "
            f"of the {kind.value}: push to {address.repo_id}"
        )
    return address


def push_version(
    hub: Hub, version: Version, files: Mapping[str, SharedFile], *, private: bool, dry_run: bool
) -> Push:
    """Publish a version of a folder that was checked before.

    A version that is there already with the same content leaves everything as it is; with
    other content it is refused, since a tag never moves.

    Parameters
    ----------
    hub : Hub
    version : Version
    files : mapping of str to SharedFile
        As measured in the folder.
    private : bool
        Whether a new repository is to be private.
    dry_run : bool
        Only say what would be done.

    Returns
    -------
    Push

    Raises
    ------
    PublishedError
        If the version is published with other content.
    HubError
        If the Hub or the token do not allow it, or the repository holds something else.
    TransferError
        If what is on the Hub differs from the folder after the upload.
    """
    planned = plan_publication(hub, files, version.number, private=private)
    notes = _check_repository(hub, version, planned)
    pushed = Push(
        hub.repo_id,
        tag_of(version.number),
        dict(files),
        planned,
        planned.published,
        _card_difference(hub, version.folder, planned) if dry_run else [],
        notes,
    )
    if dry_run or planned.published:
        return pushed
    return replace(pushed, commit=publish(hub, version.folder, files, planned))


def _check_repository(hub: Hub, version: Version, planned: Publication) -> list[str]:
    """Refuse a repository that holds something else; say what is worth a note."""
    if planned.published and planned.differing:
        commit = planned.published
        if planned.differing.keys() <= version.incidental:
            note = version.same_note(lambda name: _remote_json(hub, commit, name))
            if note:
                return [note]
        raise published_with_other_content(hub, planned)
    if planned.published or not planned.exists:
        return []
    there = _remote_json(hub, hub.commit("main"), version.record)
    if there and there.get("name") != version.name:
        raise HubError(
            f"the {hub} holds the {hub.kind.value} {there.get('name')!r}, not {version.name!r}; "
            "push to a repository of its own"
        )
    if planned.delete and not there:
        raise HubError(
            f"the {hub} holds files that are no {hub.kind.value} of ceria, such as "
            f"{planned.delete[0]!r}, and a push would remove them; choose another repository, or "
            "remove them yourself"
        )
    return []


def _remote_json(hub: Hub, commit: str, name: str) -> dict[str, Any]:
    """Read a file of JSON of a commit; empty if it has none."""
    text = _remote_text(hub, commit, name)
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
