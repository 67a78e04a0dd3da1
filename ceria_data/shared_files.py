"""Files as a folder, the Hub and a manifest describe them: names, sizes, checksums."""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ceria_data.digest import file_sha256
from ceria_data.errors import TransferError

HUB_FILES = frozenset({".gitattributes"})
"""What the Hub adds to a repository by itself."""
_BLOCK = 1 << 20
# What Windows cannot name, and what a shell or a terminal may misread.
_UNUSABLE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_NOT_OURS = (".cache", ".git")
"""Folders that the client and git keep for themselves."""
_LONGEST = 1024


@dataclass(frozen=True)
class SharedFile:
    """Size and checksums of a file; at least one checksum is known.

    Attributes
    ----------
    size : int
        Bytes.
    sha256 : str or None
        Of the content.
    git_oid : str or None
        Of the content as a git blob; None for files in the large-file storage.
    """

    size: int
    sha256: str | None = None
    git_oid: str | None = None

    def agrees(self, other: "SharedFile") -> bool:
        """Say whether size and every checksum that both know are equal, one at least."""
        pairs = [(self.sha256, other.sha256), (self.git_oid, other.git_oid)]
        known = [mine == theirs for mine, theirs in pairs if mine and theirs]
        return self.size == other.size and bool(known) and all(known)


def measured(path: Path) -> SharedFile:
    """Measure a file: size, sha256, and its name as a git blob.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    size = path.stat().st_size
    sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
            git.update(block)
    return SharedFile(size, sha256.hexdigest(), git.hexdigest())


def holds(path: Path, expected: SharedFile) -> bool:
    """Say whether a file is there, no link, and as expected."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size != expected.size:
        return False
    if expected.sha256:
        return file_sha256(path) == expected.sha256
    return expected.agrees(measured(path))


def measured_folder(
    folder: Path, names: Iterable[str], on_bytes: Callable[[int], None] = lambda size: None
) -> dict[str, SharedFile]:
    """Measure files of a folder; `on_bytes` is told the size of each."""
    files = {}
    for name in names:
        files[name] = measured(folder / name)
        on_bytes(files[name].size)
    return files


def differences(
    found: Mapping[str, SharedFile], expected: Mapping[str, SharedFile]
) -> dict[str, str]:
    """Compare two lists of files, leaving out what the Hub adds by itself.

    Returns
    -------
    dict of str to str
        What is wrong, by name.

    Examples
    --------
    >>> differences({"a": SharedFile(1, "0")}, {"a": SharedFile(1, "f"), "b": SharedFile(2)})
    {'a': 'has another content', 'b': 'is missing'}
    """
    wrong = {}
    for name in sorted((found.keys() | expected.keys()) - HUB_FILES):
        if name not in found:
            wrong[name] = "is missing"
        elif name not in expected:
            wrong[name] = "is not expected"
        elif found[name].size != expected[name].size:
            wrong[name] = f"has {found[name].size} bytes, expected {expected[name].size}"
        elif not found[name].agrees(expected[name]):
            wrong[name] = "has another content"
    return wrong


def summary(wrong: Mapping[str, str], most: int = 3) -> str:
    """Put the first differences into one line.

    Examples
    --------
    >>> summary({"a": "is missing", "b": "is missing"}, most=1)
    "'a' is missing, and 1 more"
    """
    shown = [f"{name!r} {what}" for name, what in list(wrong.items())[:most]]
    more = len(wrong) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")


def check_listing(
    listed: Mapping[str, SharedFile], expected: Mapping[str, SharedFile], source: str, record: str
) -> None:
    """Refuse a version of which the Hub lists other files than the version's own record.

    Parameters
    ----------
    listed : mapping of str to SharedFile
    expected : mapping of str to SharedFile
        What the record says. A checksum is compared where both sides have the same kind of it.
    source, record : str
        For the message.

    Raises
    ------
    TransferError

    Examples
    --------
    >>> check_listing({"a": SharedFile(1, git_oid="0")}, {"a": SharedFile(1, "f")}, "user/name", "")
    >>> check_listing({}, {"a": SharedFile(1, "f")}, "user/name", "manifest")
    Traceback (most recent call last):
    ceria_data.errors.TransferError: user/name does not hold what its manifest lists: 'a' is...
    """
    wrong = {
        name: what
        for name, what in differences(listed, expected).items()
        # A git blob and a sha256 cannot be compared before the file is here.
        if what != "has another content" or listed[name].sha256
    }
    if wrong:
        raise TransferError(
            f"{source} does not hold what its {record} lists: {summary(wrong)}; nothing of it is "
            "used; tell its owner"
        )


def check_names(names: Iterable[str], source: str) -> None:
    """Refuse names from elsewhere that could leave the folder they are meant for.

    Parameters
    ----------
    names : iterable of str
        POSIX paths, as the Hub or a manifest lists them.
    source : str
        Where they come from, for the message.

    Raises
    ------
    TransferError
        If one is absolute, climbs, names a drive or a device, is no portable name, or if
        two of them are one file on a system that ignores case.

    Examples
    --------
    >>> check_names(["data.zarr/counts/c/0/0/0"], "user/name")
    >>> check_names(["../.ssh/config"], "user/name")
    Traceback (most recent call last):
    ceria_data.errors.TransferError: user/name lists a file '../.ssh/config'...
    """
    seen: dict[str, str] = {}
    for name in names:
        if not _is_plain(name):
            raise TransferError(
                f"{source} lists a file {name[:_LONGEST]!r}, which is no plain name inside a "
                "folder; nothing of it was written; tell the owner of the repository"
            )
        key = unicodedata.normalize("NFC", name).casefold()
        other = seen.setdefault(key, name)
        if other != name:
            raise TransferError(
                f"{source} lists {other!r} and {name!r}, which are one file on some systems; tell "
                "the owner of the repository"
            )


def _is_plain(name: str) -> bool:
    """Say whether a name is a relative path that every system can hold as it is written."""
    parts = name.split("/")
    return (
        0 < len(name) <= _LONGEST
        and not _UNUSABLE.search(name)
        and not any(part in ("", ".", "..") or part[-1] in ". " for part in parts)
        and not any(_DEVICES.fullmatch(part) for part in parts)
        and parts[0].casefold() not in _NOT_OURS
    )


def place_of(folder: Path, name: str) -> Path:
    """Name the place of a file inside a folder, and make the folders above it.

    Parameters
    ----------
    folder : Path
    name : str
        Passed by `check_names`.

    Raises
    ------
    TransferError
        If a link on the way would lead out of the folder.
    """
    path = folder
    *above, last = name.split("/")
    for part in above:
        path /= part
        if path.is_symlink():
            raise TransferError(f"{path} is a link; nothing is written through it: remove it")
        path.mkdir(exist_ok=True)
    return path / last
