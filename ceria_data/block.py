"""One task of a build: a block of structures, their shards, their tables and a receipt."""

import hashlib
import json
import resource
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ceria_data.config import BuildConfig, config_from_yaml
from ceria_data.digest import canonical_json, file_sha256, missing_leaf
from ceria_data.draw import StructureEntry, structure_entry
from ceria_data.errors import OutputError
from ceria_data.film_simulation import SimulatedFilm, simulate_film, simulate_films
from ceria_data.provenance import machine, software
from ceria_data.schema import ARRAYS, TableSpec, tables_of
from ceria_data.simulate import SimulatedStructure, simulate_structure, simulate_structures
from ceria_data.staging import build_key
from ceria_data.store import Layout, empty_arrays, frame, write_block, write_table, write_text

Simulated = SimulatedStructure | SimulatedFilm


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
    key : str
        Of the build: a worker that comes late must not write into another one.
    memory : int, optional
        For the waves that go together [bytes].
    lost : dict of int to str
        Rows that are not to be tried, because they took their workers down.
    """

    staging: str
    config: str
    layout: Layout
    block: int
    device: str
    key: str
    memory: int | None = None
    lost: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Probe:
    """One structure of a block, to be tried alone."""

    order: Order
    row: int


@dataclass(frozen=True)
class Receipt:
    """Proof that a block is complete: what was written, with checksums.

    Attributes
    ----------
    key : str
        Of the build.
    block : int
    files : dict
        Path relative to the staging folder -> sha256.
    labels, content : list of str
        Digest of each structure, or film, of the block.
    failures : list of dict
        Structures that could not be simulated: structure (of a film the first), number, error.
    seconds : dict
        Time by stage.
    peak_memory : int
        Largest resident memory of the worker so far [bytes].
    made_by : dict
        Software and class of machine of the worker.
    """

    key: str
    block: int
    files: dict[str, str]
    labels: list[str]
    content: list[str]
    failures: list[dict[str, Any]]
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory: int = 0
    made_by: dict[str, dict[str, str]] = field(default_factory=dict)


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

    Raises
    ------
    OutputError
        If the staging folder belongs to another build by now.
    """
    config = config_from_yaml(order.config)
    entries = [structure_entry(config, row) for row in order.layout.rows(order.block)]
    tried = [entry for entry in entries if entry.row not in order.lost]
    simulated = _simulated(config, tried, order)
    results: list[Simulated | dict[str, Any]] = []
    for entry in entries:
        if entry.row in order.lost:
            results.append(failure(order, entry, RuntimeError(order.lost[entry.row])))
            continue
        result = next(simulated)
        results.append(failure(order, entry, result) if isinstance(result, Exception) else result)
    return write_results(order, config, entries, results)


def _simulated(
    config: BuildConfig, entries: list[StructureEntry], order: Order
) -> Iterator[Simulated | Exception]:
    if config.film:
        return simulate_films(config, entries, order.layout, order.device, order.memory)
    return simulate_structures(config, entries, order.layout.planes, order.device, order.memory)


def failure(order: Order, entry: StructureEntry, error: BaseException) -> dict[str, Any]:
    """Describe a structure that could not be simulated, or the first one of a film."""
    return {
        "structure": order.layout.structures_of(range(entry.row, entry.row + 1)).start,
        "number": entry.number,
        "error": f"{type(error).__name__}: {error}",
    }


def write_results(
    order: Order,
    config: BuildConfig,
    entries: list[StructureEntry],
    results: list[Simulated | dict[str, Any]],
) -> Receipt:
    """Write shards, tables and receipt of a block; failed structures stay empty."""
    staging = Path(order.staging)
    _check_key(order)
    arrays = empty_arrays(order.layout, order.block)
    labels, content, failures = [], [], []
    seconds: dict[str, float] = {}
    for entry, result in zip(entries, results, strict=True):
        if isinstance(result, dict):
            failures.append(result)
            labels.append(missing_leaf(entry.number))
            content.append(missing_leaf(entry.number))
            continue
        labels.append(result.labels.digest)
        content.append(result.digest)
        made = {
            "counts": result.counts,
            "intensity": result.intensity,
            "occupancy": result.labels.occupancy,
            "volume": result.labels.volume,
        }
        for spec in ARRAYS:
            first = order.layout.entries(spec, order.layout.rows(order.block)).start
            rows = order.layout.entries(spec, range(entry.row, entry.row + 1))
            arrays[spec.name][rows.start - first : rows.stop - first] = made[spec.name]
        for stage, spent in result.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    written = [
        Path("dataset") / p
        for p in write_block(staging / "dataset", order.layout, order.block, arrays)
    ]
    done = [result for result in results if not isinstance(result, dict)]
    written += _write_parts(staging, order.block, done, tables_of(bool(config.film)))
    _check_key(order)
    engine = config.scattering.engine
    receipt = Receipt(
        key=order.key,
        block=order.block,
        files={path.as_posix(): file_sha256(staging / path) for path in written},
        labels=labels,
        content=content,
        failures=failures,
        seconds=seconds,
        peak_memory=_peak_memory(),
        made_by={"software": software(engine), "machine": machine(order.device, engine)},
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


def read_receipt(staging: Path, block: int, key: str) -> Receipt | None:
    """Read the receipt of a block if it and every file it names are intact.

    Parameters
    ----------
    staging : Path
    block : int
    key : str
        Of the build that the block has to belong to.

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
        if (receipt.key, receipt.block) != (key, block):
            return None
        intact = all(file_sha256(staging / name) == sha for name, sha in receipt.files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return receipt if intact else None


def probe_structure(probe: Probe) -> str:
    """Simulate one structure and keep nothing, to see whether it takes its worker down."""
    config = config_from_yaml(probe.order.config)
    entry = structure_entry(config, probe.row)
    try:
        if config.film:
            simulate_film(config, entry, probe.order.layout, probe.order.device)
        else:
            simulate_structure(config, entry, probe.order.layout.planes, probe.order.device)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _check_key(order: Order) -> None:
    try:
        found = build_key(Path(order.staging))
    except OSError:
        found = ""
    if found != order.key:
        raise OutputError(
            f"{order.staging} belongs to another build by now; block {order.block} was not written"
        )


def _peak_memory() -> int:
    """Largest resident memory of this process [bytes]; Linux counts it in KiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _write_parts(
    staging: Path, block: int, done: Sequence[Simulated], specs: tuple[TableSpec, ...]
) -> list[Path]:
    paths = []
    for spec in specs:
        tables: list[pd.DataFrame] = [getattr(result.labels, spec.name) for result in done]
        table = pd.concat(tables, ignore_index=True) if tables else frame([], spec)
        path = part_path(block, spec.name)
        write_table(table, staging / path, spec)
        paths.append(path)
    return paths
