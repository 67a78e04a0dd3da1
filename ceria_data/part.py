"""A copy of a dataset that holds only some of its splits, and says so."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ceria_data.errors import NotADatasetError
from ceria_data.schema import ARRAYS, SAMPLES
from ceria_data.store import PART, layout_of, read_table, write_text


def read_part(folder: Path) -> list[str] | None:
    """List the splits that a copy holds.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of str or None
        None if it is the whole dataset.

    Raises
    ------
    NotADatasetError
        If the file that says so cannot be read.

    Examples
    --------
    >>> from ceria_data.bundled import dataset_folder
    >>> read_part(dataset_folder("ceria-columns-mini"))
    """
    path = folder / PART
    if not path.exists():
        return None
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))["splits"]
        return [str(split) for split in splits]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise NotADatasetError(
            f"{path} cannot be read ({error}); pull the dataset again"
        ) from error


def write_part(folder: Path, splits: Iterable[str]) -> None:
    """Say which splits a copy holds; call it when all their files are there."""
    write_text(folder / PART, json.dumps({"splits": sorted(splits)}) + "\n")


def files_of_splits(folder: Path, manifest: Mapping[str, Any], splits: Iterable[str]) -> set[str]:
    """Name the files of a dataset that some of its splits need.

    Everything but shards is needed, and the shards with a particle of the splits. A shard
    at the border belongs to two splits.

    Parameters
    ----------
    folder : Path
        With ``samples.parquet`` in it.
    manifest : mapping
    splits : iterable of str

    Returns
    -------
    set of str

    Raises
    ------
    NotADatasetError
        If the dataset has no such split.

    Examples
    --------
    >>> from ceria_data.bundled import dataset_folder
    >>> from ceria_data.store import read_manifest
    >>> mini = dataset_folder("ceria-columns-mini")
    >>> manifest = read_manifest(mini)
    >>> needed = files_of_splits(mini, manifest, ["test"])
    >>> sorted(name for name in manifest["files"].keys() - needed)[:2]
    ['data.zarr/counts/c/0/0/0', 'data.zarr/counts/c/1/0/0']
    """
    samples = read_table(folder / f"{SAMPLES.name}.parquet", SAMPLES)
    wanted = set(splits)
    unknown = sorted(wanted - set(samples["split"]))
    if unknown:
        known = ", ".join(dict.fromkeys(samples["split"]))
        raise NotADatasetError(f"{manifest['name']} has no split {unknown[0]!r}; it has {known}")
    layout = layout_of(manifest)
    particles = samples.loc[samples["split"].isin(wanted), "particle"]
    blocks = set((particles // layout.block).tolist())
    others = {
        path.as_posix()
        for spec in ARRAYS
        for block in range(layout.blocks)
        if block not in blocks
        for path in layout.shard_paths(spec, block)
    }
    return set(manifest["files"]) - others


def check_split(folder: Path, part: list[str], split: str | None) -> None:
    """Refuse to read from a copy what it does not hold: it would be zeros.

    Raises
    ------
    NotADatasetError

    Examples
    --------
    >>> check_split(Path("copy"), ["test"], "test")
    >>> check_split(Path("copy"), ["test"], "train")
    Traceback (most recent call last):
    ceria_data.errors.NotADatasetError: copy holds only the split test, not train; pull it...
    """
    if split not in part:
        held = f"split{'s' if len(part) > 1 else ''} {', '.join(part)}"
        asked = f"not {split}" if split else "and no split was named"
        raise NotADatasetError(
            f"{folder} holds only the {held}, {asked}; pull it again without --split for the "
            "whole dataset, or open it with the name of a split that it holds"
        )
