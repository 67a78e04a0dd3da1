"""A version of anything from the Hub: by its tag, complete and checked before it has its place."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ceria_data.address import Address, Kind, tag_of
from ceria_data.download import fetch_files
from ceria_data.errors import OutputError, TransferError
from ceria_data.hub import Hub
from ceria_data.pulled import from_cache, pulled_place
from ceria_data.shared_files import HUB_FILES, SharedFile, check_names, holds
from ceria_data.staging import Staging, check_place, clear, locked, occupied, publish

OnProgress = Callable[[str, int, int, int], None]
"""Told what is counted, how much is done, of how much, and how much was there before."""


def ignore(unit: str, done: int, total: int, reused: int) -> None:
    """Tell nobody of progress.

    Examples
    --------
    >>> ignore("kB", 1, 2, 0)
    """


@dataclass(frozen=True)
class Pull:
    """A version on this computer.

    Attributes
    ----------
    folder : Path
    repo_id, version : str
    commit : str or None
        None if the Hub was not asked.
    downloaded : int
        Bytes that had to be fetched.
    """

    folder: Path
    repo_id: str
    version: str
    commit: str | None
    downloaded: int


class PullStaging(Staging):
    """The folder of an unfinished pull: its own name, so that it never meets a build's."""

    @property
    def folder(self) -> Path:
        """Where everything waits until the version is complete."""
        return self.out.parent / f".{self.out.name}.pull"

    @property
    def incoming(self) -> Path:
        """Scratch folder of downloads."""
        return self.folder / "incoming"


@dataclass(frozen=True)
class Arrival:
    """A version that comes to its place, which is held for it.

    Attributes
    ----------
    hub : Hub
    address : Address
        With the version.
    commit : str
    listed : dict of str to SharedFile
        What the Hub lists, without what it adds by itself.
    staging : PullStaging
    ready : bool
        Whether the version is in its place already, and only what is damaged has to come.
    """

    hub: Hub
    address: Address
    commit: str
    listed: dict[str, SharedFile]
    staging: PullStaging
    ready: bool

    @property
    def folder(self) -> Path:
        """Where the files go."""
        return self.staging.out if self.ready else self.staging.dataset

    def fetch(self, files: Mapping[str, SharedFile], on_progress: OnProgress = ignore) -> int:
        """Fetch files that are not there yet, each checked; see `download.fetch_files`.

        Returns
        -------
        int
            Bytes that were downloaded.
        """
        return fetch_files(
            self.hub,
            self.commit,
            files,
            self.folder,
            self.staging.incoming,
            lambda *sizes: on_progress("kB", *(-(-size // 1000) for size in sizes)),
        )

    def keep_only(self, names: Collection[str]) -> None:
        """Remove what a pull of another version left here; a version in its place stays."""
        if self.ready:
            return
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder).as_posix()
            if name not in names and (path.is_file() or path.is_symlink()):
                path.unlink()

    def settle(self) -> Path:
        """Give the version its place."""
        clear(self.staging) if self.ready else publish(self.staging)
        return self.staging.out


@contextmanager
def arriving(address: Address, kind: Kind, out: Path | None, record: str) -> Iterator[Arrival]:
    """Find a version on the Hub and hold its place while it is fetched.

    Parameters
    ----------
    address : Address
    kind : Kind
    out : Path or None
        New folder; None for the place in the cache.
    record : str
        File with the checksums of the others, by which a version is known.

    Yields
    ------
    Arrival

    Raises
    ------
    NotOnHubError
        If there is no such repository or version.
    TransferError
        If the Hub lists names that are no plain ones, or the version that is in the cache has
        another content now.
    OutputError
        If `out` cannot be used.
    """
    hub = Hub(address.repo_id, kind)
    number = hub.version(address.version)
    commit = hub.commit(tag_of(number))
    address = Address(address.repo_id, number)
    staging = PullStaging(out or pulled_place(address.repo_id, number, kind))
    if out is None:
        staging.out.parent.mkdir(parents=True, exist_ok=True)
    check_place(staging, resume=False, overwrite=False, record=record)
    # In the cache the other one fetches the same: whoever waits finds it there.
    with locked(staging, wait=out is None):
        listed = {name: file for name, file in hub.files(commit).items() if name not in HUB_FILES}
        check_names(listed, f"the {hub}")
        ready = occupied(staging.out)
        if ready and not holds(staging.out / record, listed.get(record, SharedFile(-1))):
            raise _other_content(hub, address, staging.out)
        yield Arrival(hub, address, commit, listed, staging, ready)


def offline_folder(address: Address, kind: Kind, out: Path | None) -> Path:
    """Find a version in the cache while no connection is allowed.

    Raises
    ------
    NotOnHubError
        If it was not pulled before.
    OutputError
        If it is wanted in a folder of its own.
    """
    folder = from_cache(address, kind)
    if out is not None:
        raise OutputError(f"HF_HUB_OFFLINE is set; copy {folder} to {out} yourself")
    return folder


def damaged_since(folder: Path, what: object) -> TransferError:
    """Say that a version in the cache is no longer what was pulled.

    Examples
    --------
    >>> damaged_since(Path("v1.0.0"), "config.json is missing")
    TransferError('v1.0.0 was damaged after it was pulled: config.json is missing; unset...
    """
    return TransferError(
        f"{folder} was damaged after it was pulled: {what}; unset HF_HUB_OFFLINE and pull again"
    )


def _other_content(hub: Hub, address: Address, folder: Path) -> TransferError | OutputError:
    """Say that what is in the place is not the version that was asked for."""
    if folder == pulled_place(address.repo_id, str(address.version), hub.kind):
        return TransferError(
            f"version {address.version} of the {hub} has another content now than what was pulled "
            f"to {folder}; a published version never changes: ask its owner, and remove {folder} "
            "to take the new content"
        )
    return OutputError(
        f"{folder} holds another {hub.kind.value} than version {address.version} of the {hub}; "
        "choose another --out"
    )
