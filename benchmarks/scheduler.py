"""What the Dask scheduler and the driver cost per task: real orders and receipts, no physics.

    python benchmarks/scheduler.py             # about four minutes

Every task takes an order of ceria-columns-v1 and returns a receipt of the usual size at once, or
after a pause, through the same window of tasks as a build. Then the driver's last steps are timed
on made-up parts of the tables of many blocks.
"""

import argparse
import platform
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import dask
import distributed
import pandas as pd
import psutil

from ceria_data.block import Order, Receipt, part_path
from ceria_data.build import _join_tables
from ceria_data.cluster import local_workers, run_tasks
from ceria_data.config import load_config, resolved_yaml
from ceria_data.draw import structure_entries
from ceria_data.plan import plan
from ceria_data.schema import ARRAYS, TABLES
from ceria_data.simulate import label_structure
from ceria_data.staging import Staging
from ceria_data.store import write_table

PRESET = "ceria-columns-v1"
DIGEST = "0123456789abcdef" * 4


def nothing_but_a_receipt(order, pause=0.0):
    """Stand for `build_block`: the same input, a result of the same size, no work."""
    time.sleep(pause)
    rows = len(order.layout.rows(order.block))
    names = [spec.name for spec in (*ARRAYS, *TABLES)]
    return Receipt(
        key=order.key,
        block=order.block,
        files={f"dataset/data.zarr/{name}/c/{order.block}/0/0": DIGEST for name in names},
        labels=[DIGEST] * rows,
        content=[DIGEST] * rows,
        failures=[],
        seconds={"scattering": 40.0, "optics": 10.0, "structure and labels": 2.0, "camera": 0.6},
        peak_memory=600_000_000,
        made_by={"software": dict.fromkeys(names, "1.0.0"), "machine": {"device": "cpu"}},
    )


def throughput(counts, workers, pause):
    """Print tasks per second for some numbers of tasks."""
    config = load_config(PRESET)
    layout = plan(config).layout
    template = Order("/staging", resolved_yaml(config), layout, 0, "cpu", DIGEST)
    driver = psutil.Process()
    with local_workers(workers) as client:
        run = partial(nothing_but_a_receipt, pause=pause)
        list(run_tasks(client, run, [template] * 20))
        for count in counts:
            orders = (replace(template, block=i % layout.blocks) for i in range(count))
            start, cpu = time.perf_counter(), sum(driver.cpu_times()[:2])
            kept = {i: result for i, (_, result) in enumerate(run_tasks(client, run, orders))}
            taken = time.perf_counter() - start
            spent = sum(driver.cpu_times()[:2]) - cpu
            memory = driver.memory_info().rss / 1e6
            print(f"| {workers} | {pause * 1e3:.0f} | {len(kept)} | {count / taken:.0f} | "
                  f"{spent / count * 1e3:.2f} | {memory:.0f} |", flush=True)  # fmt: skip


def joining(counts):
    """Print the time and memory of joining the tables of many blocks."""
    config = load_config(PRESET)
    planned = plan(config)
    labels = label_structure(config, structure_entries(config)[0], planned.layout.planes)
    with tempfile.TemporaryDirectory() as folder:
        staging = Staging(Path(folder) / "dataset")
        (staging.folder / "parts").mkdir(parents=True)
        for spec in TABLES:
            rows = pd.concat([getattr(labels, spec.name)] * planned.layout.block)
            write_table(rows, staging.folder / part_path(0, spec.name), spec)
        done = 1
        for count in counts:
            for block in range(done, count):
                for spec in TABLES:
                    name = part_path(block, spec.name)
                    shutil.copy(staging.folder / part_path(0, spec.name), staging.folder / name)
            done = count
            layout = replace(planned.layout, structures=count * planned.layout.block)
            times = []
            for _ in range(3):
                start = time.perf_counter()
                tables = _join_tables(staging, layout)
                times.append(time.perf_counter() - start)
            size = sum(int(table.memory_usage(deep=True).sum()) for table in tables.values())
            each = sorted(t / count * 1e3 for t in times)
            print(f"| {count} | {statistics.median(each):.0f} ({each[0]:.0f} to {each[-1]:.0f}) | "
                  f"{size / count / 1e6:.1f} |", flush=True)  # fmt: skip
            del tables


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, nargs="+", default=[1000, 10_000, 30_000])
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}, "
          f"dask {dask.__version__}, distributed {distributed.__version__}\n")  # fmt: skip
    print("| workers | pause, ms | tasks | tasks/s | CPU of driver and scheduler, ms a task | "
          "memory of both, MB |")  # fmt: skip
    print("|---|---|---|---|---|---|")
    throughput(arguments.tasks, 2, 0.0)
    throughput([1000] * 3, 1, 0.0)
    throughput([1000] * 3, 8, 0.02)
    print("\n| blocks | joining tables, ms a block | tables in memory, MB a block |")
    print("|---|---|---|")
    joining([10, 40])


if __name__ == "__main__":
    main()
