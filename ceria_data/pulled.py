"""Versions that were pulled before, in the user's cache folder."""

import sys
from collections.abc import Callable
from pathlib import Path

from ceria_data import terminal
from ceria_data.address import Address, Kind, by_number, is_repository, newest, tag_of, version_of
from ceria_data.errors import HubError, NotOnHubError
from ceria_data.home import home


def pulled_folder(repo_id: str, kind: Kind) -> Path:
    """Name the folder with a folder for each pulled version of a repository.

    Examples
    --------
    >>> pulled_folder("user/name", Kind.DATASET).name
    'user--name'
    """
    return home() / "pulled" / f"{kind.value}s" / repo_id.replace("/", "--")


def pulled_place(repo_id: str, version: str, kind: Kind) -> Path:
    """Name the folder of one version; it may not exist yet.

    Examples
    --------
    >>> pulled_place("user/name", "1.0.0", Kind.DATASET).name
    'v1.0.0'
    """
    return pulled_folder(repo_id, kind) / f"v{version}"


def pulled_versions(repo_id: str, kind: Kind) -> list[str]:
    """List the versions of a repository that are in the cache.

    Examples
    --------
    >>> pulled_versions("nobody/nothing", Kind.DATASET)
    []
    """
    folders = pulled_folder(repo_id, kind).glob("v*")
    return [version for folder in folders if (version := version_of(folder.name))]


def all_pulled(kind: Kind) -> list[tuple[Address, Path]]:
    """List everything of a kind that is in the cache, by repository and version.

    Examples
    --------
    >>> all(folder.is_dir() for _, folder in all_pulled(Kind.MODEL))
    True
    """
    found = []
    for folder in sorted((home() / "pulled" / f"{kind.value}s").glob("*--*")):
        repo_id = folder.name.replace("--", "/")
        versions = pulled_versions(repo_id, kind) if is_repository(repo_id) else []
        found += [
            (Address(repo_id, version), folder / tag_of(version))
            for version in sorted(versions, key=by_number)
        ]
    return found


def from_cache(address: Address, kind: Kind) -> Path:
    """Find a version that was pulled before, without any connection.

    Parameters
    ----------
    address : Address
        Without a version the newest that was pulled is meant.
    kind : Kind

    Returns
    -------
    Path

    Raises
    ------
    NotOnHubError
        If it was not pulled.

    Examples
    --------
    >>> from_cache(Address("nobody/nothing"), Kind.DATASET)
    Traceback (most recent call last):
    ceria_data.errors.NotOnHubError: HF_HUB_OFFLINE is set, and no version of nobody/nothing...
    """
    versions = pulled_versions(address.repo_id, kind)
    if not versions or (address.version and address.version not in versions):
        there = f"there are {', '.join(sorted(versions))}" if versions else "none was pulled"
        wanted = f"version {address.version}" if address.version else "no version"
        raise NotOnHubError(
            f"HF_HUB_OFFLINE is set, and {wanted} of {address.repo_id} is "
            f"{'not ' if address.version else ''}in {pulled_folder(address.repo_id, kind)} "
            f"({there}); unset HF_HUB_OFFLINE and pull it"
        )
    return pulled_place(address.repo_id, address.version or newest(versions), kind)


def find_or_pull(
    address: Address,
    kind: Kind,
    pull: Callable[[Address, Callable[[str, int, int, int], None]], Path],
    is_enough: Callable[[Path], bool] = lambda folder: True,
) -> Path:
    """Find a version in the cache, or pull it there; bars are shown in a terminal.

    Parameters
    ----------
    address : Address
        Without a version the newest on the Hub is meant.
    kind : Kind
    pull : callable
        Pulls an address, tells of its progress (unit, done, total, there before), and names
        the folder.
    is_enough : callable
        Says of the folder in the cache whether it will do.

    Returns
    -------
    Path

    Raises
    ------
    HubError
        If the Hub cannot be reached; it names what was pulled before.

    Examples
    --------
    >>> find_or_pull(Address("nobody/nothing"), Kind.MODEL, lambda address, tell: Path("pulled"))
    PosixPath('pulled')
    """
    known = pulled_versions(address.repo_id, kind)
    if address.version in known:
        place = pulled_place(address.repo_id, str(address.version), kind)
        if is_enough(place):
            return place
    try:
        with terminal.progress(quiet=not sys.stderr.isatty()) as advance:
            return pull(address, advance)
    except NotOnHubError:
        raise
    except HubError as error:
        if not known:
            raise
        raise HubError(
            f"{error}; version {newest(known)} was pulled before: name it, or set HF_HUB_OFFLINE=1"
        ) from error
