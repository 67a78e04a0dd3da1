"""Versions that were pulled before, in the user's cache folder."""

from pathlib import Path

from ceria_data.address import Address, Kind, newest, version_of
from ceria_data.errors import NotOnHubError
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
