"""A dataset of the Hub on this computer: where it was pulled before, or pulled now."""

from pathlib import Path

from ceria_data.address import Address, Kind, address_of
from ceria_data.dataset_pull import pull_dataset
from ceria_data.part import read_part
from ceria_data.pull import OnProgress
from ceria_data.pulled import find_or_pull


def local_copy(repository: str, split: str | None = None, version: str | None = None) -> Path:
    """Find a version of a dataset in the cache, or pull it there.

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
    ceria_data.errors.HubError: 'user/name@1.0.0' names a version, and '2.0.0' is another...
    """

    def is_enough(folder: Path) -> bool:
        part = read_part(folder)
        return part is None or split in part

    def pull(address: Address, on_progress: OnProgress) -> Path:
        return pull_dataset(str(address), on_progress=on_progress).folder

    address = address_of(repository, Kind.DATASET, version)
    return find_or_pull(address, Kind.DATASET, pull, is_enough)
