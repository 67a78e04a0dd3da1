"""What is shared on the Hub, named: a repository, a version, and the tag that fixes it."""

import re
from dataclasses import dataclass
from enum import Enum

from ceria_data.errors import HubError

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_NUMBER = r"(?:0|[1-9]\d{0,8})"
_REPOSITORY = re.compile(rf"{_NAME}/{_NAME}")
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}")


class Kind(Enum):
    """Kinds of repositories; the values are the Hub's own words."""

    DATASET = "dataset"
    MODEL = "model"


@dataclass(frozen=True)
class Address:
    """A repository on the Hub, and the version that is meant.

    Attributes
    ----------
    repo_id : str
        ``user/name``.
    version : str or None
        Three numbers such as ``1.0.0``; None stands for the newest.
    """

    repo_id: str
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.repo_id}@{self.version}" if self.version else self.repo_id


def is_repository(text: str) -> bool:
    """Say whether a text has the form ``user/name`` or ``user/name@1.0.0``.

    Examples
    --------
    >>> is_repository("user/name@1.0.0"), is_repository("./name"), is_repository("name")
    (True, False, False)
    """
    return bool(_REPOSITORY.fullmatch(text.split("@", 1)[0]))


def parse_address(text: str, kind: Kind = Kind.DATASET) -> Address:
    """Read ``user/name``, ``user/name@1.0.0`` or ``hf://datasets/user/name@1.0.0``.

    Parameters
    ----------
    text : str
    kind : Kind
        What the repository has to hold.

    Returns
    -------
    Address

    Raises
    ------
    HubError
        If the text is no such address.

    Examples
    --------
    >>> parse_address("hf://datasets/user/name@v1.0.0")
    Address(repo_id='user/name', version='1.0.0')
    """
    scheme = f"hf://{kind.value}s/"
    repo_id, at, version = text.removeprefix(scheme).partition("@")
    version = version.removeprefix("v")
    if not _REPOSITORY.fullmatch(repo_id) or ".." in repo_id or "--" in repo_id:
        raise HubError(
            f"{text!r} is no repository of a {kind.value}; expected user/name, user/name@1.0.0 or "
            f"{scheme}user/name@1.0.0"
        )
    if at and not _VERSION.fullmatch(version):
        raise HubError(
            f"{text!r} names no version; expected three numbers after the @, such as "
            f"{repo_id}@1.0.0"
        )
    return Address(repo_id, version or None)


def address_of(repository: str, kind: Kind, version: str | None) -> Address:
    """Read an address whose version may be given apart from it.

    Parameters
    ----------
    repository : str
        As for `parse_address`.
    kind : Kind
    version : str or None
        ``1.0.0`` or its tag, ``v1.0.0``.

    Returns
    -------
    Address

    Raises
    ------
    HubError
        If one of them is no address or version, or they contradict each other.

    Examples
    --------
    >>> address_of("user/net", Kind.MODEL, "v1.0.0").version
    '1.0.0'
    >>> address_of("user/net@1.0.0", Kind.MODEL, "2.0.0")
    Traceback (most recent call last):
    ceria_data.errors.HubError: 'user/net@1.0.0' names a version, and '2.0.0' is another; give one
    """
    address = parse_address(repository, kind)
    if version is None:
        return address
    wanted = parse_address(f"{address.repo_id}@{version}", kind)
    if address.version not in (None, wanted.version):
        raise HubError(f"{repository!r} names a version, and {version!r} is another; give one")
    return wanted


def is_version(text: str) -> bool:
    """Say whether a text is a version, three numbers.

    Examples
    --------
    >>> is_version("1.0.0"), is_version("1.0")
    (True, False)
    """
    return bool(_VERSION.fullmatch(text))


def tag_of(version: str) -> str:
    """Name the tag that fixes a version.

    Examples
    --------
    >>> tag_of("1.0.0")
    'v1.0.0'
    """
    return f"v{version}"


def version_of(tag: str) -> str | None:
    """Read the version from a tag; None for a tag of somebody else.

    Examples
    --------
    >>> version_of("v1.0.0"), version_of("latest")
    ('1.0.0', None)
    """
    version = tag.removeprefix("v")
    return version if tag.startswith("v") and _VERSION.fullmatch(version) else None


def newest(versions: list[str]) -> str:
    """Choose the highest of some versions, by number.

    Examples
    --------
    >>> newest(["1.9.0", "1.10.0", "0.1.0"])
    '1.10.0'
    """
    return max(versions, key=by_number)


def by_number(version: str) -> list[int]:
    """Give the key by which versions are sorted.

    Examples
    --------
    >>> sorted(["1.10.0", "1.9.0"], key=by_number)
    ['1.9.0', '1.10.0']
    """
    return [int(number) for number in version.split(".")]
