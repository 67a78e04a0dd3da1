"""A version of a folder on the Hub: what would change, the upload, the tag at the very end."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ceria_data.address import tag_of
from ceria_data.errors import HubError, PublishedError, TransferError
from ceria_data.hub import Hub
from ceria_data.shared_files import HUB_FILES, SharedFile, differences, summary

_FILES_PER_COMMIT = 250
_GIT_BYTES_PER_COMMIT = 100 * 2**20
"""What the client puts into one commit at most, to begin with."""


@dataclass(frozen=True)
class Publication:
    """What it takes to publish a version.

    Attributes
    ----------
    version : str
    exists : bool
        Whether the repository is there.
    private : bool
        Whether it is, or would be, private.
    published : str or None
        The commit of the version's tag, if there is one.
    upload : dict of str to SharedFile
        Files that the head of the repository lacks.
    delete : list of str
        Files at its head that the version has not.
    differing : dict of str to str
        How the published version differs from the folder; empty if it does not.
    """

    version: str
    exists: bool
    private: bool
    published: str | None
    upload: dict[str, SharedFile]
    delete: list[str]
    differing: dict[str, str]

    @property
    def upload_bytes(self) -> int:
        """Bytes to send at most; the Hub may have some of them already."""
        return sum(file.size for file in self.upload.values())

    @property
    def commits(self) -> int:
        """Number of commits that the client will make, about."""
        if not self.upload and not self.delete:
            return 0
        # The Hub alone knows which files go into git; the estimate takes all of them.
        by_size = math.ceil(self.upload_bytes / _GIT_BYTES_PER_COMMIT)
        return max(1, math.ceil(len(self.upload) / _FILES_PER_COMMIT), by_size)


def plan_publication(
    hub: Hub, files: Mapping[str, SharedFile], version: str, *, private: bool
) -> Publication:
    """Compare a folder with what is on the Hub; nothing is written.

    Parameters
    ----------
    hub : Hub
    files : mapping of str to SharedFile
        All files of the version.
    version : str
    private : bool
        Whether a new repository is to be private.

    Returns
    -------
    Publication

    Raises
    ------
    HubError
        If the Hub cannot be reached, or a public repository is there and a private one was
        asked for.
    """
    found = hub.privacy()
    if found is None:
        return Publication(version, False, private, None, dict(files), [], {})
    if private and not found:
        raise HubError(
            f"the {hub} is there and public; --private makes new repositories only; change it on "
            "the Hub, or push without --private"
        )
    published = hub.commit(tag_of(version)) if version in hub.versions() else None
    differing = differences(hub.files(published), files) if published else {}
    head = hub.files("main")
    upload = {
        name: file
        for name, file in files.items()
        if name not in head or not head[name].agrees(file)
    }
    delete = sorted(head.keys() - files.keys() - HUB_FILES)
    return Publication(version, True, found, published, upload, delete, differing)


def publish(hub: Hub, folder: Path, files: Mapping[str, SharedFile], planned: Publication) -> str:
    """Upload a version and fix it with a tag, after the Hub lists exactly its files.

    Repeating the call after an interruption goes on with the upload. Nobody sees a version
    before it is complete, since readers take versions by their tags.

    Parameters
    ----------
    hub : Hub
    folder : Path
        Holds the files and no others.
    files : mapping of str to SharedFile
    planned : Publication
        From `plan_publication`.

    Returns
    -------
    str
        The commit of the version.

    Raises
    ------
    PublishedError
        If the version is there with other content.
    TransferError
        If what is on the Hub then differs from the folder; there is no tag then.
    HubError
        If the Hub cannot be reached.
    """
    version = planned.version
    if planned.published:
        if planned.differing:
            raise published_with_other_content(hub, planned)
        return planned.published
    if not planned.exists:
        hub.create(private=planned.private)
    commit = hub.upload(folder, f"Version {version}")
    wrong = differences(hub.files(commit), files)
    if wrong:
        raise TransferError(
            f"after the upload the {hub} is not as the folder: {summary(wrong)}; no version was "
            "made; repeat the command, and see whether somebody else writes there"
        )
    try:
        hub.tag(version, commit)
    except PublishedError:
        # Somebody made the tag meanwhile, or the answer to our own request was lost.
        wrong = differences(hub.files(hub.commit(tag_of(version))), files)
        if wrong:
            raise
    tagged = hub.commit(tag_of(version))
    wrong = {} if tagged == commit else differences(hub.files(tagged), files)
    if wrong:
        raise TransferError(
            f"the tag {tag_of(version)} of the {hub} leads to {tagged[:12]}, which is not what "
            f"was uploaded: {summary(wrong)}; look at the repository before anybody uses the "
            "version"
        )
    return tagged


def published_with_other_content(hub: Hub, planned: Publication) -> PublishedError:
    """Say that a version is there with other content."""
    return PublishedError(
        f"the {hub} has version {planned.version} already, with other content: "
        f"{summary(planned.differing)}; a published version never changes: give yours a higher one"
    )
