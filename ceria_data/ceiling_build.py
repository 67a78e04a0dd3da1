"""The ceiling of a dataset: computed by workers, written beside it."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from ceria_data.candidates import (
    AXES,
    CHANGES,
    SHIFT,
    ColumnChanges,
    Target,
    ceiling_tasks,
    choose_targets,
    run_ceiling_task,
)
from ceria_data.ceiling import ARRAYS, CHECKSUMS, DATASET, TABLE
from ceria_data.config import load_config, resolved_yaml
from ceria_data.dataset import Dataset, open_dataset
from ceria_data.errors import CeriaError, DatasetError
from ceria_data.limits_build import check_new_folder, unbroken
from ceria_data.schema import CEILING
from ceria_data.store import CONFIG, checksums, frame, write_table, write_text

_COLUMNS_PER_SHARD = 128


def build_ceiling(
    folder: Path,
    *,
    split: str,
    n_columns: int,
    out: Path,
    workers: Callable[[], AbstractContextManager[Any]],
    device: str = "cpu",
    batch_memory: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Simulate columns of one split with more and fewer atoms, and a little shifted.

    Parameters
    ----------
    folder : Path
        The dataset, which stays as it is.
    split : str
    n_columns : int
        Columns, evenly over the structures of the split, half Ce and half O.
    out : Path
        New folder for the result.
    workers : callable
        Opens the workers.
    device : str
        ``cpu`` or ``gpu``.
    batch_memory : int, optional
        For the waves that go together [bytes].
    on_progress : callable
        Told columns done and in all.

    Returns
    -------
    dict
        What was written.

    Raises
    ------
    OutputError
        If the place of the result is taken.
    CeriaError
        If the split has no usable columns.
    DatasetError
        If the structures made again are not those of the dataset.
    """
    dataset = open_dataset(folder, split)
    config = load_config(str(dataset.folder / CONFIG))
    dataset.refuse_films("a ceiling")
    check_new_folder(out)
    targets = choose_targets(dataset, config, split, n_columns)
    if not targets:
        raise CeriaError(f"split {split!r} of {folder} has no usable columns")
    planes = int(dataset.manifest["n_planes"])
    tasks = ceiling_tasks(resolved_yaml(config), planes, targets, device, batch_memory)
    changes: dict[Target, ColumnChanges] = {}
    with workers() as run_all:
        for task, result in unbroken(run_all(run_ceiling_task, tasks)):
            changes |= zip(task.targets, result, strict=True)
            on_progress(len(changes), len(targets))
    # In the order of choice, whatever order they came in.
    ordered = [changes[target] for target in targets]
    table = _table(ordered, dataset)
    staging = out.parent / f".{out.resolve().name}.ceiling.staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    write_table(table, staging / TABLE, CEILING)
    _write_arrays(staging, ordered, dataset)
    write_text(staging / DATASET, f"{dataset.manifest['content_digest']}\n")
    lines = (f"{facts['sha256']}  {name}\n" for name, facts in checksums(staging).items())
    write_text(staging / CHECKSUMS, "".join(lines))
    staging.rename(out)
    return {
        "ceiling": str(out / TABLE),
        "columns": {species: len(own) for species, own in table.groupby("species")},
        "structures": int(table["structure"].nunique()),
        "candidates": int((table["highest"] - table["lowest"] + 1).sum()),
    }


def _table(changes: list[ColumnChanges], dataset: Dataset) -> pd.DataFrame:
    """Tabulate the columns, and see that each is the one of the dataset."""
    table = frame([one.row | {"column": i} for i, one in enumerate(changes)], CEILING)
    named = ["structure", "site_id"]
    stored = table[named].merge(dataset.columns, on=named, how="left")
    for name in ("species", "x_A", "y_A", "occupancy"):
        differs = np.flatnonzero(stored[name].to_numpy() != table[name].to_numpy())
        if len(differs):
            row = table.iloc[differs[0]]
            raise DatasetError(
                f"column {row['site_id']} of structure {row['structure']} made again has {name} "
                f"{row[name]}, the dataset says {stored[name].iloc[differs[0]]}; use the version "
                f"of ceria that built it: {dataset.manifest['software']['ceria']}"
            )
    return table


def _write_arrays(folder: Path, changes: list[ColumnChanges], dataset: Dataset) -> None:
    root = zarr.open_group(folder / ARRAYS, mode="w", zarr_format=3)
    sampling = {"sampling_A": dataset.field.sampling}
    _write_array(
        root,
        "difference",
        np.stack([one.difference for one in changes]),
        ("column", "change", "y", "x"),
        {
            "description": "intensity with more or fewer atoms minus intensity; 1 = vacuum",
            "changes": list(CHANGES),
        }
        | sampling,
    )
    _write_array(
        root,
        "gradient",
        np.stack([one.gradient for one in changes]),
        ("column", "axis", "y", "x"),
        {
            "description": "change of intensity per shift of the column; 1 = vacuum",
            "unit": "1/Å",
            "axes": list(AXES),
            "shift_A": SHIFT,
        }
        | sampling,
    )


def _write_array(
    root: "zarr.Group",
    name: str,
    values: NDArray[np.float16],
    dims: tuple[str, ...],
    attributes: dict[str, Any],
) -> None:
    array = root.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(1, *values.shape[1:]),
        shards=(_COLUMNS_PER_SHARD, *values.shape[1:]),
        compressors=ZstdCodec(level=3, checksum=True),
        fill_value=0,
        dimension_names=dims,
        attributes=attributes,
        config={"write_empty_chunks": True},
    )
    array[:] = values
