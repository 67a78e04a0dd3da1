"""Files from the Hub into a folder: in parallel, checked one by one, never half."""

import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock

from ceria_data.errors import DiskSpaceError, TransferError
from ceria_data.hub import Hub
from ceria_data.shared_files import SharedFile, check_names, holds, place_of

_TOGETHER = 8
"""Files at a time: enough for small ones, and below what the Hub takes for a flood."""
_ATTEMPTS = 2
_SLACK = 2**20
"""Bytes that may come beyond a file's size, as the client repeats what was cut."""


class _Stopped(Exception):  # noqa: N818 - ends threads, nobody sees it
    pass


class Progress:
    """Bytes that are done, counted by several threads.

    Attributes
    ----------
    total : int
    """

    def __init__(self, total: int, on_progress: Callable[[int, int, int], None]) -> None:
        self.total, self._on_progress = total, on_progress
        self._done = self._reused = 0
        self._lock = Lock()

    def add(self, size: int) -> None:
        """Count bytes that arrived; negative ones were taken back."""
        with self._lock:
            self._done += size
            self._on_progress(self._done, self.total, self._reused)

    def reuse(self, size: int) -> None:
        """Count bytes that were there before."""
        with self._lock:
            self._reused += size
        self.add(size)


def fetch_files(
    hub: Hub,
    commit: str,
    files: Mapping[str, SharedFile],
    folder: Path,
    incoming: Path,
    on_progress: Callable[[int, int, int], None] = lambda done, total, reused: None,
) -> int:
    """Make a folder hold files of a commit; what is right already stays.

    A file appears under its name when all of it is there and its checksum is right, so the
    same call after an interruption goes on where the last one ended.

    Parameters
    ----------
    hub : Hub
    commit : str
    files : mapping of str to SharedFile
        Expected files by name.
    folder : Path
        Where they go.
    incoming : Path
        Scratch folder on the same disk; emptied.
    on_progress : callable
        Told the bytes that are done, of how many, and how many were there before.

    Returns
    -------
    int
        Bytes that were downloaded.

    Raises
    ------
    TransferError
        If a name would leave the folder, or bytes differ from their checksum, twice.
    DiskSpaceError
        If there is too little room.
    HubError
        If the Hub cannot be reached; what has arrived stays for the next call.
    """
    check_names(files, f"the {hub}")
    shutil.rmtree(incoming, ignore_errors=True)
    for path in (folder, incoming):
        path.mkdir(parents=True, exist_ok=True)
    progress = Progress(sum(file.size for file in files.values()), on_progress)
    missing = {}
    for name, expected in files.items():
        if holds(place_of(folder, name), expected):
            progress.reuse(expected.size)
        else:
            missing[name] = expected
    needed = sum(expected.size for expected in missing.values())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskSpaceError(
            f"the disk of {folder} has {free / 1e6:.1f} MB free; the {hub} needs "
            f"{needed / 1e6:.1f} MB more; free some room and repeat the command"
        )
    stop = Event()

    def count(size: int) -> None:
        if stop.is_set():
            raise _Stopped
        progress.add(size)

    def fetch(name: str) -> None:
        if not stop.is_set():
            _fetch_one(hub, commit, name, missing[name], folder, incoming, count)

    with ThreadPoolExecutor(_TOGETHER) as pool:
        try:
            for future in [pool.submit(fetch, name) for name in missing]:
                future.result()
        except BaseException:
            stop.set()  # the others end at their next bytes
            raise
    shutil.rmtree(incoming, ignore_errors=True)
    return needed


def _fetch_one(
    hub: Hub,
    commit: str,
    name: str,
    expected: SharedFile,
    folder: Path,
    incoming: Path,
    on_bytes: Callable[[int], None],
) -> None:
    """Download one file, check it, and move it to its place."""
    counted = 0

    def count(size: int) -> None:
        nonlocal counted
        counted += size
        if counted > _ATTEMPTS * expected.size + _SLACK:
            raise TransferError(
                f"{name} of the {hub} does not end: {counted} bytes arrived, expected "
                f"{expected.size}; tell the owner of the repository"
            )
        on_bytes(size)

    for attempt in range(1, _ATTEMPTS + 1):
        # A folder of its own: the client trusts what it finds of an earlier attempt.
        scratch = incoming / f"{attempt}"
        try:
            arrived = hub.fetch(name, commit, scratch, count)
        except TransferError:
            if attempt == _ATTEMPTS:
                raise
            continue
        if holds(arrived, expected):
            arrived.replace(place_of(folder, name))
            on_bytes(expected.size - counted)
            return
    raise TransferError(
        f"{name} of the {hub} arrived {_ATTEMPTS} times with other bytes than its checksum says; "
        "repeat the command later; if it stays, tell the owner of the repository"
    )
