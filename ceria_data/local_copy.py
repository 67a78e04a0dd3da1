"""A dataset of the Hub on this computer: where it was pulled before, or pulled now."""

import sys
from pathlib import Path

from ceria_data import terminal
from ceria_data.address import Kind, newest, parse_address
from ceria_data.dataset_pull import pull_dataset
from ceria_data.errors import HubError, NotOnHubError
from ceria_data.part import read_part
from ceria_data.pulled import pulled_place, pulled_versions


def local_copy(repository: str, split: str | None = None, version: str | None = None) -> Path:
    """Find a version in the cache, or pull it there.

    A version that was pulled before is not asked for again: it never changes.

    Parameters
    ----------
    repository : str
        ``user/name``, ``user/name@1.0.0`` or the same after ``hf://datasets/``.
    split : str, optional
        The split that is needed, if one is enough.
    version : str, optional
        The version, if the address has none.

    Returns
    -------
    Path
        Folder of the dataset.

    Raises
    ------
    HubError
        As `pull_dataset`.
    TransferError
        As `pull_dataset`.

    Examples
    --------
    >>> local_copy("user/name@1.0.0", version="2.0.0")
    Traceback (most recent call last):
    ceria_data.errors.HubError: 'user/name@1.0.0' names a version, and version='2.0.0' another...
    """
    address = parse_address(repository)
    if version is not None:
        wanted = parse_address(f"{address.repo_id}@{version}")
        if address.version not in (None, wanted.version):
            raise HubError(f"{repository!r} names a version, and {version=} another; give one")
        address = wanted
    known = pulled_versions(address.repo_id, Kind.DATASET)
    if address.version in known:
        place = pulled_place(address.repo_id, str(address.version), Kind.DATASET)
        part = read_part(place)
        if part is None or split in part:
            return place
    try:
        with terminal.progress(quiet=not sys.stderr.isatty()) as advance:
            return pull_dataset(str(address), on_progress=advance).folder
    except NotOnHubError:
        raise
    except HubError as error:
        if not known:
            raise
        raise HubError(
            f"{error}; version {newest(known)} was pulled before: name it, or set HF_HUB_OFFLINE=1"
        ) from error
