"""Limits of a dataset: computed by workers, written beside it or into it."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from ceria_data.config import load_config, resolved_yaml
from ceria_data.dataset import Dataset, open_dataset
from ceria_data.errors import CeriaError, OutputError
from ceria_data.film_limits import choose_film_pairs, film_limits_tasks, run_film_limits_task
from ceria_data.limits import (
    LimitsTask,
    choose_pairs,
    in_order,
    limits_table,
    limits_tasks,
    run_limits_task,
)
from ceria_data.schema import LIMITS
from ceria_data.store import (
    CONFIG,
    checksums,
    refuse_inside_dataset,
    write_manifest,
    write_table,
    write_text,
)

TABLE = f"{LIMITS.name}.parquet"
ARRAYS = f"{LIMITS.name}.zarr"
_PAIRS_PER_SHARD = 1024


def build_limits(
    folder: Path,
    *,
    split: str,
    n_columns: int,
    out: Path | None,
    workers: Callable[[], AbstractContextManager[Any]],
    device: str = "cpu",
    batch_memory: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Compute the ideal observer's d'² for columns of one split.

    Parameters
    ----------
    folder : Path
        The dataset.
    split : str
    n_columns : int
        Columns to evaluate, evenly over the structures of the split, or over its films: there
        each in one frame that shows one structure.
    out : Path, optional
        New folder for the result. None makes it part of the dataset: for a dataset that
        is being built, since a published one never changes.
    workers : callable
        Opens the workers.
    device : str
        ``cpu`` or ``gpu``.
    batch_memory : int, optional
        For the waves that go together [bytes].
    on_progress : callable
        Told pairs done and in all.

    Returns
    -------
    dict
        What was written, and the median d'² per species and case.

    Raises
    ------
    OutputError
        If the place of the result is taken.
    CeriaError
        If the split has no usable columns.
    """
    dataset = open_dataset(folder, split)
    config = load_config(str(folder / CONFIG))
    target = folder if out is None else out
    if out is not None:
        check_new_folder(out)
    run: Callable[[Any], Any]
    tasks: Sequence[LimitsTask]
    if dataset.has_films:
        pairs = choose_film_pairs(dataset, config.seed, n_columns)
        tasks = film_limits_tasks(resolved_yaml(config), dataset, pairs, device, batch_memory)
        run = run_film_limits_task
    else:
        pairs = choose_pairs(dataset, config, split, n_columns)
        planes = int(dataset.manifest["n_planes"])
        tasks = limits_tasks(resolved_yaml(config), planes, pairs, device, batch_memory)
        run = run_limits_task
    if not pairs:
        raise CeriaError(f"split {split!r} of {folder} has no usable columns")
    with workers() as run_all:
        results = unbroken(run_all(run, tasks))
        rows, differences = in_order(results, lambda done: on_progress(done, len(pairs)))
    table = limits_table(dataset, rows, differences)
    staging = target.parent / f".{target.resolve().name}.limits.staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    _write(staging, table, differences, dataset)
    if out is None:
        _add_to_dataset(folder, staging, dataset.manifest)
    else:
        write_text(staging / "dataset.txt", f"{dataset.manifest['content_digest']}\n")
        staging.rename(out)
    return {
        "limits": str(target / TABLE),
        "columns": int(table.groupby(["structure", "site_id"]).ngroups),
        "pairs": len(table),
        "median d2 per e-/A2": {
            f"{species} {case}": float(f"{own['d2_per_e_per_A2'].median():.4g}")
            for (species, case), own in table.groupby(["species", "case"])
        },
    }


def remove_limits(folder: Path) -> None:
    """Remove the limits of a dataset that is being built."""
    (folder / TABLE).unlink(missing_ok=True)
    shutil.rmtree(folder / ARRAYS, ignore_errors=True)


def check_new_folder(out: Path) -> None:
    """Refuse a place where no new folder can be made.

    Raises
    ------
    OutputError
        If it is taken, has no parent or lies in a dataset.
    """
    if out.exists() or out.is_symlink():
        raise OutputError(f"{out} exists already; choose another --out")
    if not out.parent.is_dir():
        raise OutputError(f"{out.parent} is not a folder; make it first")
    refuse_inside_dataset(out)


def unbroken(results: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """Pass results on; a task that lost its worker ends the calculation.

    Raises
    ------
    CeriaError
        If a worker was lost.
    """
    for task, result in results:
        if isinstance(result, BaseException):
            raise CeriaError(
                f"the limits of structure {task.row} took their worker down ({result}); "
                "use fewer workers"
            )
        yield task, result


def _write(
    folder: Path, table: pd.DataFrame, differences: NDArray[np.float16], dataset: Dataset
) -> None:
    write_table(table, folder / TABLE, LIMITS)
    root = zarr.open_group(folder / ARRAYS, mode="w", zarr_format=3)
    array = root.create_array(
        "difference",
        shape=differences.shape,
        dtype=differences.dtype,
        chunks=(1, *differences.shape[1:]),
        shards=(_PAIRS_PER_SHARD, *differences.shape[1:]),
        compressors=ZstdCodec(level=3, checksum=True),
        fill_value=0,
        dimension_names=("pair", "y", "x"),
        attributes={
            "description": "intensity without the atom minus intensity with it; 1 = vacuum",
            "sampling_A": dataset.field.sampling,
        },
        config={"write_empty_chunks": True},
    )
    array[:] = differences


def _add_to_dataset(folder: Path, staging: Path, manifest: dict[str, Any]) -> None:
    """Move the result into a dataset that is being built, and name it in the manifest."""
    added = checksums(staging)
    for name in (TABLE, ARRAYS):
        (staging / name).rename(folder / name)
    staging.rmdir()
    write_manifest(folder, manifest | {"files": manifest["files"] | added})
