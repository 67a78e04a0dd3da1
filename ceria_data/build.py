"""The driver of a build: plan the blocks, have them made, join, check, publish."""

import errno
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pandas as pd
import pyarrow.parquet as pq

from ceria_data.block import (
    Order,
    Probe,
    Receipt,
    build_block,
    part_path,
    probe_structure,
    read_receipt,
)
from ceria_data.config import BuildConfig, recipe_digest, resolved_yaml
from ceria_data.errors import (
    ClusterError,
    DatasetError,
    DiskSpaceError,
    OutputError,
    StructureError,
)
from ceria_data.finish import finish_dataset
from ceria_data.limits_build import build_limits, remove_limits
from ceria_data.plan import Plan, plan
from ceria_data.provenance import software
from ceria_data.scattering import check_engine, waves_together
from ceria_data.schema import FORMAT_VERSION, SPECIES, TableSpec, tables_of
from ceria_data.simulate import cell_of, settings_of
from ceria_data.staging import (
    Staging,
    build_key,
    check_disk,
    check_place,
    clear,
    disk_message,
    locked,
    nothing_left_to_do,
    open_staging,
    publish,
    seal_staging,
    staged_block_size,
    staged_bytes,
    sweep,
)
from ceria_data.store import Layout, create_arrays, read_manifest
from ceria_data.verify import verify

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Workers(Protocol):
    """Whoever runs tasks: yields each task with its result, in any order."""

    def __call__(
        self, run: Callable[[Any], Any], tasks: Iterable[Any], in_flight: int | None = None
    ) -> Iterator[tuple[Any, Any]]:
        """Run all tasks, at most `in_flight` at a time."""
        ...


@dataclass(frozen=True)
class Progress:
    """State of a build, told after every block.

    Attributes
    ----------
    done, total : int
        Images written and to be written, or pairs of the limits.
    reused : int
        Images found complete when the build was continued.
    unit : str
        ``images`` or ``pairs``.
    """

    done: int
    total: int
    reused: int
    unit: str = "images"


def in_this_process(
    run: Callable[[Any], Any], tasks: Iterable[Any], in_flight: int | None = None
) -> Iterator[tuple[Any, Any]]:
    """Run tasks one after the other without any workers."""
    for task in tasks:
        yield task, run(task)


def build(
    config: BuildConfig,
    out: Path,
    *,
    workers: Callable[[], AbstractContextManager[Workers]],
    block: int | None = None,
    device: str = "cpu",
    batch_memory: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    allow_missing: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> dict[str, Any]:
    """Build a dataset, or continue an interrupted build.

    Everything is written into a staging folder beside `out`, verified there and moved
    to `out` with one rename: what lies at `out` is complete.

    Parameters
    ----------
    config : BuildConfig
    out : Path
        Folder of the dataset.
    workers : callable
        Opens the workers; called only after all checks have passed.
    block : int, optional
        Structures per shard and task; by default the plan chooses. It changes no value.
    device : str
        ``cpu`` or ``gpu``.
    batch_memory : int, optional
        For the waves that a worker takes through the slices together [bytes]; by default one
        wave on a CPU and `scattering.GPU_MEMORY` on a GPU. It changes no value on a CPU.
    resume, overwrite : bool
        Continue an unfinished build, or replace what is there.
    allow_missing : bool
        Publish although structures could not be simulated; the card names them.
    on_progress : callable
        Told after every block.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    OutputError
        If `out` cannot be used with these flags.
    DiskSpaceError
        If the disk is or becomes too small; nothing is lost.
    DeviceError
        If `batch_memory` is less than one wave needs, or the engine cannot run here.
    StructureError
        If structures could not be simulated and `allow_missing` is not set.
    DatasetError
        If the finished dataset does not pass `verify`.
    """
    check_engine(settings_of(config), device)
    waves_together(cell_of(config), settings_of(config), device, batch_memory)
    staging = Staging(out)
    check_place(staging, resume=resume, overwrite=overwrite)
    with locked(staging):
        if nothing_left_to_do(staging, resume=resume, overwrite=overwrite):
            return _complete(staging, config)
        planned = plan(config, block=block or (staged_block_size(staging) if resume else None))
        needed = planned.bytes_on_disk
        check_disk(out.parent, needed - (staged_bytes(staging) if resume else 0))
        try:
            _open(staging, config, planned, overwrite=overwrite)
            receipts = _build_blocks(
                _template(config, staging, planned.layout, device, batch_memory),
                workers,
                allow_missing,
                on_progress,
            )
            _refuse_failures(receipts, staging, allow_missing, bool(config.film))
            sweep(staging)
            _finish(config, planned, staging, receipts, workers, device, batch_memory, on_progress)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            free = shutil.disk_usage(out.parent).free
            raise DiskSpaceError(disk_message(out.parent, needed, free)) from error
        problems = verify(staging.dataset)
        if problems:
            raise DatasetError(
                f"the finished dataset in {staging.dataset} is not as it should be: {problems[0]}; "
                "it was not published; repeat with --overwrite"
            )
        publish(staging)
        return read_manifest(out)


def _open(staging: Staging, config: BuildConfig, planned: Plan, *, overwrite: bool) -> None:
    """Start the staging folder, or check that it can be continued."""
    layout = planned.layout
    fingerprint = {
        "recipe": recipe_digest(config),
        "layout": asdict(layout)
        | {"field_shape": list(layout.field_shape), "starts": list(layout.starts)},
        "software": software(config.scattering.engine),
    }
    if open_staging(staging, fingerprint, overwrite=overwrite):
        create_arrays(staging.dataset, layout, group_attributes(config, planned))
        seal_staging(staging.folder, fingerprint | {"token": uuid4().hex})


def _finish(
    config: BuildConfig,
    planned: Plan,
    staging: Staging,
    receipts: list[Receipt],
    workers: Callable[[], AbstractContextManager[Workers]],
    device: str,
    batch_memory: int | None,
    on_progress: Callable[[Progress], None],
) -> None:
    """Complete the staged dataset, with its limits if the config asks for them."""
    remove_limits(staging.dataset)  # of a run that was interrupted after them
    tables = _join_tables(staging, planned.layout, tables_of(bool(config.film)))
    finish_dataset(config, planned, staging.dataset, tables, receipts, device, batch_memory)
    if config.limits:
        build_limits(
            staging.dataset,
            split=config.limits.split,
            n_columns=config.limits.columns,
            out=None,
            workers=workers,
            device=device,
            batch_memory=batch_memory,
            on_progress=lambda done, n: on_progress(Progress(done, n, 0, "pairs")),
        )


def group_attributes(config: BuildConfig, planned: Plan) -> dict[str, Any]:
    """Attributes of `data.zarr`, so that the arrays explain themselves alone."""
    return {
        "format_version": FORMAT_VERSION,
        "name": config.name,
        "version": config.version,
        "sampling_A": config.field.sampling_A,
        "species": list(SPECIES),
        "plane_spacing_A": planned.plane_spacing_A,
        "max_count": config.max_count,
    }


def _template(
    config: BuildConfig, staging: Staging, layout: Layout, device: str, batch_memory: int | None
) -> Order:
    """Write the order that differs from block to block by its number only."""
    folder, key = str(staging.folder.resolve()), build_key(staging.folder)
    return Order(folder, resolved_yaml(config), layout, 0, device, key, batch_memory)


def _build_blocks(
    template: Order,
    workers: Callable[[], AbstractContextManager[Workers]],
    allow_missing: bool,
    on_progress: Callable[[Progress], None],
) -> list[Receipt]:
    """Have every block made that has no valid receipt yet."""
    layout = template.layout
    receipts: dict[int, Receipt] = {}
    for number in range(layout.blocks):
        receipt = read_receipt(Path(template.staging), number, template.key)
        if receipt and (allow_missing or not receipt.failures):
            receipts[number] = receipt
    images = layout.images
    reused = sum(len(layout.rows(number)) for number in receipts) * images
    total = layout.particles * images
    on_progress(Progress(reused, total, reused))
    orders = [replace(template, block=n) for n in range(layout.blocks) if n not in receipts]
    if orders:
        done = reused
        with workers() as run_all:
            for order, result in _run_blocks(run_all, orders):
                receipts[order.block] = _received(order, result)
                done += len(layout.rows(order.block)) * images
                on_progress(Progress(done, total, reused))
    return _made_alike([receipts[number] for number in range(layout.blocks)])


def _run_blocks(run_all: Workers, orders: list[Order]) -> Iterator[tuple[Order, Receipt]]:
    """Run blocks; where one takes its workers down, find the structure that does it."""
    suspects = []
    for order, result in run_all(build_block, orders):
        if isinstance(result, BaseException):
            suspects.append(order)
        else:
            yield order, result
    for order in suspects:
        probes = [Probe(order, row) for row in order.layout.rows(order.block)]
        # One at a time: a worker that dies must not make others look guilty.
        lost = {
            probe.row: f"took its worker down: {result}"
            for probe, result in run_all(probe_structure, probes, in_flight=1)
            if isinstance(result, BaseException)
        }
        for again, result in run_all(build_block, [replace(order, lost=lost)], in_flight=1):
            if isinstance(result, BaseException):
                raise ClusterError(
                    f"block {order.block} takes its workers down although each of its structures "
                    f"can be simulated alone ({result}); continue with --resume and fewer --workers"
                )
            yield again, result


def _received(order: Order, receipt: Receipt) -> Receipt:
    """Accept a block if it lies where the driver looks for it."""
    if read_receipt(Path(order.staging), order.block, order.key) is None:
        raise OutputError(
            f"a worker says that block {order.block} is written, but {order.staging} does not "
            "hold it; workers and driver must see the same folder under the same path"
        )
    return receipt


def _made_alike(receipts: list[Receipt]) -> list[Receipt]:
    """Refuse blocks from different software or machines: no class of machine could be named."""
    first = receipts[0].made_by
    for receipt in receipts:
        if receipt.made_by != first:
            raise OutputError(
                f"block {receipt.block} was made by {receipt.made_by}, block "
                f"{receipts[0].block} by {first}; use workers of one kind and --overwrite"
            )
    return receipts


def _refuse_failures(
    receipts: list[Receipt], staging: Staging, allow_missing: bool, films: bool
) -> None:
    kind = "film" if films else "structure"
    failures = [entry for receipt in receipts for entry in receipt.failures]
    total = sum(len(receipt.labels) for receipt in receipts)
    if len(failures) == total:
        raise StructureError(
            f"no {kind} could be simulated; the first error was {failures[0]['error']}"
        )
    if failures and not allow_missing:
        first = failures[0]
        raise StructureError(
            f"{len(failures)} of {total} {kind}s could not be simulated; structure "
            f"{first['structure']} (number {first['number']}): {first['error']}; the others are "
            f"kept in {staging.folder}; --resume tries these again, "
            "--resume --allow-missing publishes without them"
        )


def _join_tables(
    staging: Staging, layout: Layout, specs: tuple[TableSpec, ...]
) -> dict[str, pd.DataFrame]:
    """Join the parts of every table, in the order of the blocks."""
    tables = {}
    for spec in specs:
        parts = [
            pq.read_table(staging.folder / part_path(block, spec.name)).to_pandas()
            for block in range(layout.blocks)
        ]
        tables[spec.name] = pd.concat(parts, ignore_index=True).astype(spec.dtypes)
    return tables


def _complete(staging: Staging, config: BuildConfig) -> dict[str, Any]:
    """Accept a dataset that is there already, if it is of this config."""
    manifest = read_manifest(staging.out)
    if manifest["recipe_digest"] != recipe_digest(config):
        raise OutputError(
            f"{staging.out} was built from another config (recipe "
            f"{manifest['recipe_digest'][:12]}, now {recipe_digest(config)[:12]}); "
            "choose another --out, or --overwrite"
        )
    clear(staging)
    return manifest
