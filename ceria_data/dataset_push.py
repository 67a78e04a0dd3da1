"""A dataset to the Hub: verified before, then published as its version."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ceria_data.address import Kind
from ceria_data.errors import DatasetError
from ceria_data.hub import Hub
from ceria_data.push import Push, Version, destination, push_version
from ceria_data.secret import refuse_token
from ceria_data.shared_files import SharedFile, measured_folder
from ceria_data.store import CARD, MANIFEST, MANIFEST_SHA256, read_manifest
from ceria_data.verify import verify

_OF_THE_BUILD = frozenset({CARD, MANIFEST, MANIFEST_SHA256})
"""Files that tell when and where a dataset was built; another build has others."""


def push_dataset(
    folder: Path,
    repository: str,
    *,
    private: bool = False,
    dry_run: bool = False,
    on_progress: Callable[[str, int, int], None] = lambda unit, done, total: None,
) -> Push:
    """Publish a dataset as one version of a repository on the Hub.

    The dataset is verified first. A version that is there already with the same content
    leaves everything as it is; with other content it is refused, since a tag never moves.

    Parameters
    ----------
    folder : Path
        The dataset.
    repository : str
        ``user/name``. The version is the dataset's own.
    private : bool
        Whether a new repository is to be private.
    dry_run : bool
        Only say what would be done.
    on_progress : callable
        Told what is counted, how much is done, of how much.

    Returns
    -------
    Push

    Raises
    ------
    DatasetError
        If the dataset is not as its manifest says.
    PublishedError, HubError, TransferError
        As `push_version`.

    Examples
    --------
    >>> from ceria_data.bundled import dataset_folder
    >>> push_dataset(dataset_folder("ceria-columns-mini"), "no name")
    Traceback (most recent call last):
    ceria_data.errors.HubError: 'no name' is no repository of a dataset...
    """
    manifest = read_manifest(folder)
    number = str(manifest["version"])
    address = destination(repository, Kind.DATASET, folder, number)
    problems = verify(folder, lambda done, total: on_progress("checks", done, total))
    if problems:
        raise DatasetError(
            f"{folder} is not as it should be ({problems[0]}; {len(problems)} problems), so "
            f"nothing was uploaded; run `ceria-data verify {folder}`"
        )
    names = sorted([*manifest["files"], MANIFEST, MANIFEST_SHA256])
    refuse_token(folder, names)
    files = _measured(folder, names, on_progress)

    def same_note(published: Callable[[str], dict[str, Any]]) -> str | None:
        if published(MANIFEST).get("content_digest") != manifest["content_digest"]:
            return None
        return "the version on the Hub is another build with the same content"

    version = Version(folder, manifest["name"], number, MANIFEST, _OF_THE_BUILD, same_note)
    hub = Hub(address.repo_id, Kind.DATASET)
    return push_version(hub, version, files, private=private, dry_run=dry_run)


def _measured(
    folder: Path,
    names: list[str],
    on_progress: Callable[[str, int, int], None],
) -> dict[str, SharedFile]:
    total = sum((folder / name).stat().st_size for name in names)
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        on_progress("kB", -(-done // 1000), -(-total // 1000))

    return measured_folder(folder, names, count)
