"""A glance at a dataset on the Hub: its facts, without its arrays."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ceria_data.address import Address, Kind, parse_address, tag_of
from ceria_data.dataset import Dataset, open_dataset
from ceria_data.download import fetch_files
from ceria_data.facts import dataset_facts
from ceria_data.hub import Hub, offline
from ceria_data.pulled import from_cache
from ceria_data.remote_manifest import fetch_manifest, listed_in
from ceria_data.schema import EVENTS, SAMPLES, STRUCTURES
from ceria_data.store import read_table


def peek_dataset(repository: str) -> dict[str, Any]:
    """Say what a version of a dataset holds, without fetching its arrays.

    Manifest and a few small tables are fetched and checked; the list of all files has to
    agree with the manifest.

    Parameters
    ----------
    repository : str
        ``hf://datasets/user/name@1.0.0``, or without the beginning, or without the version.

    Returns
    -------
    dict
        As `dataset_facts`, and where it comes from.

    Raises
    ------
    HubError
        As `pull_dataset`.
    TransferError
        As `pull_dataset`.

    Examples
    --------
    >>> peek_dataset("hf://spaces/user/name")
    Traceback (most recent call last):
    ceria_data.errors.HubError: 'hf://spaces/user/name' is no repository of a dataset...
    """
    address = parse_address(repository)
    if offline():
        folder = from_cache(address, Kind.DATASET)
        facts = dataset_facts(open_dataset(folder))
        return {"repository": address.repo_id, "commit": None} | facts
    hub = Hub(address.repo_id, Kind.DATASET)
    version = hub.version(address.version)
    commit = hub.commit(tag_of(version))
    listed = hub.files(commit)
    with TemporaryDirectory(prefix="ceria-") as scratch:
        folder, incoming = Path(scratch, "dataset"), Path(scratch, "incoming")
        address = Address(address.repo_id, version)
        manifest = fetch_manifest(hub, address, commit, listed, folder, incoming)
        expected = listed_in(manifest, listed, f"the {hub}")
        tables = {f"{spec.name}.parquet" for spec in (SAMPLES, STRUCTURES, EVENTS)}
        wanted = {name: file for name, file in expected.items() if name in tables}
        fetch_files(hub, commit, wanted, folder, incoming)
        samples = read_table(folder / f"{SAMPLES.name}.parquet", SAMPLES)
        facts = dataset_facts(Dataset(folder, manifest, samples))
    return {"repository": address.repo_id, "commit": commit} | facts
