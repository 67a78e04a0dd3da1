"""One task of a build: a block of structures, their shards, their tables and a receipt."""

import hashlib
import json
import resource
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ceria_data.config import BuildConfig, config_from_yaml
from ceria_data.digest import canonical_json, file_sha256, missing_leaf
from ceria_data.draw import StructureEntry, structure_entries
from ceria_data.schema import TABLES
from ceria_data.simulate import SimulatedStructure, simulate_structure
from ceria_data.store import Layout, empty_arrays, frame, write_block, write_table, write_text


@dataclass(frozen=True)
class Order:
    """What a worker needs to know to build a block: small, plain values only.

    Attributes
    ----------
    staging : str
        Folder of the unfinished build; every worker must see it.
    config : str
        The resolved config as YAML.
    layout : Layout
    block : int
    device : str
        ``cpu`` or ``gpu``.
    """

    staging: str
    config: str
    layout: Layout
    block: int
    device: str


@dataclass(frozen=True)
class Receipt:
    """Proof that a block is complete: what was written, with checksums.

    Attributes
    ----------
    block : int
    files : dict
        Path relative to the staging folder -> sha256.
    labels, content : list of str
        Digest of each structure of the block.
    failures : list of dict
        Structures that could not be simulated: structure, number, error.
    seconds : dict
        Time by stage.
    peak_memory : int
        Largest resident memory of the worker so far [bytes].
    """

    block: int
    files: dict[str, str]
    labels: list[str]
    content: list[str]
    failures: list[dict[str, Any]]
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory: int = 0


def build_block(order: Order) -> Receipt:
    """Simulate a block of structures and write all of it.

    Shards and tables are written first, the receipt last, so that a receipt is only
    ever found beside complete files. Doing a block twice writes the same bytes.

    Parameters
    ----------
    order : Order

    Returns
    -------
    Receipt
    """
    config = config_from_yaml(order.config)
    entries = [structure_entries(config)[row] for row in order.layout.rows(order.block)]
    results: list[SimulatedStructure | dict[str, Any]] = []
    for entry in entries:
        try:
            results.append(simulate_structure(config, entry, order.layout.planes, order.device))
        except Exception as error:
            # One structure must not take the others of a long build with it.
            results.append(failure(entry, error))
    return write_results(order, config, entries, results)


def failure(entry: StructureEntry, error: BaseException) -> dict[str, Any]:
    """Describe a structure that could not be simulated."""
    return {
        "structure": entry.row,
        "number": entry.number,
        "error": f"{type(error).__name__}: {error}",
        "where": "".join(traceback.format_exception(error)[-3:]),
    }


def write_results(
    order: Order,
    config: BuildConfig,
    entries: list[StructureEntry],
    results: list[SimulatedStructure | dict[str, Any]],
) -> Receipt:
    """Write shards, tables and receipt of a block; failed structures stay empty."""
    staging = Path(order.staging)
    arrays = empty_arrays(order.layout, order.block)
    images = config.images_per_structure
    labels, content, failures = [], [], []
    seconds: dict[str, float] = {}
    for i, (entry, result) in enumerate(zip(entries, results, strict=True)):
        if isinstance(result, dict):
            failures.append(result)
            labels.append(missing_leaf(entry.number))
            content.append(missing_leaf(entry.number))
            continue
        labels.append(result.labels.digest)
        content.append(result.digest)
        arrays["counts"][i * images : (i + 1) * images] = result.counts
        arrays["intensity"][i * images : (i + 1) * images] = result.intensity
        arrays["occupancy"][i] = result.labels.occupancy
        arrays["volume"][i] = result.labels.volume
        for stage, spent in result.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    written = [
        Path("dataset") / p
        for p in write_block(staging / "dataset", order.layout, order.block, arrays)
    ]
    done = [result for result in results if isinstance(result, SimulatedStructure)]
    written += _write_parts(staging, order.block, done)
    receipt = Receipt(
        block=order.block,
        files={path.as_posix(): file_sha256(staging / path) for path in written},
        labels=labels,
        content=content,
        failures=failures,
        seconds=seconds,
        peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )
    body = asdict(receipt)
    seal = hashlib.sha256(canonical_json(body)).hexdigest()
    write_text(receipt_path(staging, order.block), json.dumps({"seal": seal, "receipt": body}))
    return receipt


def receipt_path(staging: Path, block: int) -> Path:
    """Name the receipt of a block."""
    return staging / "receipts" / f"block-{block:06d}.json"


def part_path(block: int, table: str) -> Path:
    """Name a block's part of a table, relative to the staging folder."""
    return Path("parts") / f"block-{block:06d}-{table}.parquet"


def read_receipt(staging: Path, block: int) -> Receipt | None:
    """Read the receipt of a block if it and every file it names are intact.

    Parameters
    ----------
    staging : Path
    block : int

    Returns
    -------
    Receipt or None
        None if anything is missing or differs: the block has to be built again.
    """
    try:
        content = json.loads(receipt_path(staging, block).read_text(encoding="utf-8"))
        receipt = Receipt(**content["receipt"])
        if hashlib.sha256(canonical_json(asdict(receipt))).hexdigest() != content["seal"]:
            return None
        intact = all(file_sha256(staging / name) == sha for name, sha in receipt.files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return receipt if intact else None


def _write_parts(staging: Path, block: int, done: list[SimulatedStructure]) -> list[Path]:
    paths = []
    for spec in TABLES:
        tables: list[pd.DataFrame] = [getattr(result.labels, spec.name) for result in done]
        table = pd.concat(tables, ignore_index=True) if tables else frame([], spec)
        path = part_path(block, spec.name)
        write_table(table, staging / path, spec)
        paths.append(path)
    return paths
