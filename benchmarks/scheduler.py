"""What scheduler and driver cost per task, without physics, and what follows for 10^8 images.

    python benchmarks/scheduler.py                          # all, about ten minutes
    python benchmarks/scheduler.py tasks [--tasks 100000]   # tasks that only return a receipt
    python benchmarks/scheduler.py driver                   # made-up blocks, read and joined

Tasks take an order of ceria-columns-v1 and return a receipt of the usual size, at once or after a
pause, through the window of tasks of a build. The scheduler is a process of its own, as with
`--scheduler`, so that its processor time and memory can be told from the driver's. Each worker is
a process; those of the rows with a pause only sleep and share two processes.

Made-up blocks hold true labels, tables and counts of made-up images; the driver then does with
them all that it does in a build, and `verify` has to find them right.

The plan is arithmetic: it scales these figures to 10^6 and 10^8 images. Nothing of that size was
run, and no rate of a GPU goes in but the assumed ones.
"""

import argparse
import asyncio
import math
import multiprocessing
import os
import pickle
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from hashlib import sha256
from importlib import import_module
from pathlib import Path

import dask
import distributed
import numpy as np
import psutil
from distributed import Client, Worker
from scipy.ndimage import gaussian_filter

from ceria_data.block import Order, Receipt, part_path, read_receipt, write_results
from ceria_data.build import _join_tables, _open, _template
from ceria_data.cluster import LOOPBACK, existing_workers, local_workers, run_tasks
from ceria_data.config import config_from_mapping, load_config, resolved_yaml
from ceria_data.digest import root_digest
from ceria_data.draw import structure_entries
from ceria_data.finish import finish_dataset
from ceria_data.plan import plan
from ceria_data.provenance import machine, software
from ceria_data.schema import ARRAYS, TABLES
from ceria_data.simulate import SimulatedStructure, field_of, label_structure, record_sample
from ceria_data.staging import Staging, publish
from ceria_data.store import checksums, shard_path
from ceria_data.verify import verify

PRESET = "ceria-columns-v1"
ENVIRONMENT = {"DASK_LOGGING__DISTRIBUTED": "critical"} | dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
"""Of all processes that are started."""
ONLY_SLEEPS = {
    # Of hundreds of workers in one process they would take all of its time.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "20s",
}
PART_IMAGES = 1_000_000
"""Images of one dataset of the plan."""
HUB_COMMITS_PER_HOUR, HUB_FILES_PER_COMMIT = 128, 250
"""Seen in a refusal of the Hub (braindecode#947); where huggingface_hub 2.4 starts."""


def part_of(structures):
    """Take the preset with this many structures in one split, without its limits."""
    content = load_config(PRESET).model_dump(mode="json")
    split = content["splits"][0] | {"structures": structures}
    return config_from_mapping(content | {"splits": [split], "limits": None})


def spread(values, form=".2f"):
    """Write the median, the smallest and the largest of some values."""
    values = [format(v, form) for v in (statistics.median(values), min(values), max(values))]
    return "{} ({} to {})".format(*values)


def digest_of(text):
    return sha256(text.encode()).hexdigest()


def nothing_but_a_receipt(order, pause=0.0):
    """Stand for `build_block`: the same input, a result of the same size, no work."""
    time.sleep(pause)
    paths = [Path("dataset") / shard_path(spec, order.block) for spec in ARRAYS]
    paths += [part_path(order.block, spec.name) for spec in TABLES]
    rows = order.layout.rows(order.block)
    return Receipt(
        key=order.key,
        block=order.block,
        files={path.as_posix(): digest_of(str(path)) for path in paths},
        # All different: pickle writes equal strings once.
        labels=[digest_of(f"labels {row}") for row in rows],
        content=[digest_of(f"content {row}") for row in rows],
        failures=[],
        seconds={"structure and labels": 2.0, "scattering": 40.0, "optics": 10.0, "camera": 0.6},
        peak_memory=600_000_000,
        made_by=made_by(),
    )


@cache
def made_by():
    """Name software and machine once a process: it takes longer than all else in these tasks."""
    return {"software": software(), "machine": machine("cpu")}


def serve_workers(scheduler_file, count, folder):
    """Be some single-threaded workers until the process is ended."""

    async def serve():
        workers = [
            Worker(scheduler_file=scheduler_file, nthreads=1, memory_limit=0, host=LOOPBACK,
                   dashboard=False, local_directory=folder)
            for _ in range(count)
        ]  # fmt: skip
        await asyncio.gather(*workers)
        await asyncio.gather(*(worker.finished() for worker in workers))

    with dask.config.set(ONLY_SLEEPS if count > 1 else {}):
        asyncio.run(serve())


@contextmanager
def cluster_apart(processes, workers):
    """Start a scheduler and workers in processes of their own; a client and the scheduler."""
    spawn = multiprocessing.get_context("spawn")
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard",
               "--host", LOOPBACK, "--port", "0", "--scheduler-file"]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "scheduler.json")
        # The scheduler unpacks the tasks too, so it has to find this file.
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
        scheduler = subprocess.Popen([*command, file], env=environment)
        served = [
            spawn.Process(target=serve_workers, args=(file, workers // processes, folder))
            for _ in range(processes)
        ]
        for process in served:
            process.start()
        try:
            with Client(scheduler_file=file) as client:
                client.wait_for_workers(workers, timeout=120)
                address = client.scheduler.address
            with existing_workers(address) as client:
                yield client, psutil.Process(scheduler.pid)
        finally:
            for process in (*served, scheduler):
                process.terminate()
            for process in served:
                process.join()
            scheduler.wait()


def measured(client, processes, count, pause):
    """Run tasks; tasks/s, then processor time [ms a task] and memory [MB] of each process."""
    config = load_config(PRESET)
    layout = replace(plan(config).layout, particles=count * plan(config).layout.block)
    template = Order("/staging", resolved_yaml(config), layout, 0, "cpu", digest_of("key"))
    run = partial(nothing_but_a_receipt, pause=pause)
    # Every worker imports and unpacks on its first task.
    list(run_tasks(client, nothing_but_a_receipt, [template] * 2 * len(client.nthreads())))
    orders = [replace(template, block=block) for block in range(count)]
    before = [sum(process.cpu_times()[:2]) for process in processes]
    start = time.perf_counter()
    kept = {order.block: receipt for order, receipt in run_tasks(client, run, orders)}
    rate = len(kept) / (time.perf_counter() - start)
    after = [sum(process.cpu_times()[:2]) for process in processes]
    spent = [(b - a) / count * 1e3 for a, b in zip(before, after, strict=True)]
    return rate, spent, [process.memory_info().rss / 1e6 for process in processes]


def tasks(more):
    """Print what a task costs; ms of scheduler and driver with the most workers."""
    order = Order("", "", plan(load_config(PRESET)).layout, 0, "cpu", digest_of("key"))
    print(f"\nreceipt {len(pickle.dumps(nothing_but_a_receipt(order))) / 1e3:.1f} kB\n")
    print("| workers | pause, s | tasks | tasks/s | scheduler, CPU ms a task | "
          "driver, CPU ms a task | scheduler, MB | driver, MB |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    rows = [(2, 2, 0.0, more)] if more else [
        (1, 1, 0.0, 1000), (2, 2, 0.0, 1000), (2, 2, 0.0, 10_000),
        (2, 64, 0.5, 1000), (2, 512, 4.0, 2000),
    ]  # fmt: skip
    for processes, workers, pause, count in rows:
        with cluster_apart(processes, workers) as (client, scheduler):
            both = scheduler, psutil.Process()
            repeats = 1 if more else 2 if count > 2000 else 3
            runs = [measured(client, both, count, pause) for _ in range(repeats)]
        spent = [[run[1][i] for run in runs] for i in (0, 1)]
        memory = [[run[2][i] for run in runs] for i in (0, 1)]
        print(f"| {workers} | {pause:g} | {count} | {spread([run[0] for run in runs], '.0f')} | "
              f"{spread(spent[0])} | {spread(spent[1])} | {spread(memory[0], '.0f')} | "
              f"{spread(memory[1], '.0f')} |", flush=True)  # fmt: skip
    if not more:
        with local_workers(2) as client:
            runs = [measured(client, [psutil.Process()], 1000, 0.0) for _ in range(3)]
        print(f"\nscheduler in the driver's process, 2 workers, 1000 tasks: "
              f"{spread([run[0] for run in runs], '.0f')} tasks/s, "
              f"{spread([run[1][0] for run in runs])} CPU ms a task", flush=True)  # fmt: skip
    return {"scheduler": statistics.median(spent[0]), "driver": statistics.median(spent[1])}


def made_up(config, entry, planes, seconds):
    """Label a structure and record images of grain, about as hard to compress as true ones."""
    rng, field = np.random.default_rng(entry.number), field_of(config)
    with timed(seconds, "labels"):
        labels = label_structure(config, entry, planes)
    grain = gaussian_filter(rng.normal(size=(len(labels.images), *field.shape)), (0, 2.5, 2.5))
    intensity = (1 + 0.05 * grain / grain.std()).astype(np.float16)
    with timed(seconds, "camera"):
        pairs = zip(intensity, labels.images, strict=True)
        counts = np.stack([record_sample(one, image, field) for one, image in pairs])
    return SimulatedStructure(labels, intensity, counts, {"scattering": 1.0})


@contextmanager
def timed(seconds, step):
    """Add the time of a step."""
    start = time.perf_counter()
    yield
    seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - start


def make_blocks(out, blocks):
    """Write blocks as workers would; seconds of a worker, and bytes, per structure."""
    size = plan(load_config(PRESET)).layout.block
    config = part_of(blocks * size)
    staging, planned, seconds = Staging(out), plan(config, size), {}
    _open(staging, config, planned, overwrite=False)
    template = _template(config, staging, planned.layout, "cpu", None)
    entries = structure_entries(config)
    for block in range(blocks):
        own = [entries[row] for row in planned.layout.rows(block)]
        results = [made_up(config, entry, planned.layout.planes, seconds) for entry in own]
        with timed(seconds, "writing"):
            write_results(replace(template, block=block), config, own, results)
    stored = sum(f.stat().st_size for f in staging.dataset.rglob("*") if f.is_file())
    each = {step: spent / planned.layout.structures for step, spent in seconds.items()}
    return each, stored / planned.layout.structures, planned.bytes_on_disk / len(entries)


def finish_blocks(out, blocks):
    """Do what the driver does with blocks; seconds of its steps and its memory [bytes]."""
    size = plan(load_config(PRESET)).layout.block
    config = part_of(blocks * size)
    staging, planned, seconds = Staging(out), plan(config, size), {}
    key = _template(config, staging, planned.layout, "cpu", None).key
    with timed(seconds, "receipts read, their files hashed"):
        receipts = [read_receipt(staging.folder, block, key) for block in range(blocks)]
    with timed(seconds, "tables joined"):
        tables = _join_tables(staging, planned.layout)
    with timed(seconds, "tables, pictures, card, manifest written"):
        finish_dataset(config, planned, staging.dataset, tables, receipts, "cpu", None)
    with timed(seconds, "- of it: checksums of all files"):
        checksums(staging.dataset)
    with timed(seconds, "- of it: digest over all structures"):
        root_digest(leaf for receipt in receipts for leaf in receipt.content)
    with timed(seconds, "verified"):
        problems = verify(staging.dataset)
    assert not problems, problems[0]
    with timed(seconds, "brought to the disk, renamed"):
        publish(staging)
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def apart(call, *arguments):
    """Call in a fresh process, whose peak of memory is the call's own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(call, *arguments).result()


def driver(sizes, repeats):
    """Print what blocks cost the driver; seconds and bytes per structure."""
    steps, peaks, own = {}, {}, {}
    for blocks in sizes:
        with tempfile.TemporaryDirectory() as folder:
            first = Path(folder) / "first"
            worker, stored, expected = apart(make_blocks, first, blocks)
            for step, spent in worker.items():
                own.setdefault(step, []).append(spent)
            for repeat in range(repeats):
                copy = Staging(Path(folder) / f"copy{repeat}")
                shutil.copytree(Staging(first).folder, copy.folder)
                os.sync()
                seconds, peak = apart(finish_blocks, copy.out, blocks)
                peaks.setdefault(blocks, []).append(peak / 1e6)
                for step, spent in seconds.items():
                    steps.setdefault(step, {}).setdefault(blocks, []).append(spent)
    size, images = plan(load_config(PRESET)).layout.block, load_config(PRESET).images_per_structure
    print(f"\nmade-up blocks of {size} structures: {stored / images / 1e3:.0f} kB an image; "
          f"the plan expects {expected / images / 1e3:.0f}\n")  # fmt: skip
    print(f"| step of the driver | {' | '.join(f'{n} blocks, s' for n in sizes)} | "
          f"ms a structure |\n|{'---|' * (len(sizes) + 2)}")  # fmt: skip
    slopes = {}
    for step, taken in [*steps.items(), ("peak memory, MB (last column: kB)", peaks)]:
        medians = [statistics.median(taken[n]) for n in sizes]
        slopes[step] = np.polyfit([n * size for n in sizes], medians, 1)[0]
        form = ".0f" if taken is peaks else ".2f"
        cells = " | ".join(spread(taken[n], form) for n in sizes)
        print(f"| {step} | {cells} | {1e3 * slopes[step]:.3g} |")
    print(f"\na worker without physics, ms an image ({len(sizes)} sizes): " + ", ".join(
        f"{step} {spread([1e3 * v / images for v in spent], '.1f')}"
        for step, spent in own.items()
    ), flush=True)  # fmt: skip
    memory = slopes.pop("peak memory, MB (last column: kB)") * 1e6
    receipts = slopes.pop("receipts read, their files hashed")
    last = sum(spent for step, spent in slopes.items() if not step.startswith("-"))
    idle = sum(statistics.median(spent) for spent in own.values()) / images
    return {"receipts": receipts, "last": last, "memory": memory, "worker": idle}


def on_paper(costs):
    """Print the plan for 10^6 and 10^8 images."""
    config = part_of(PART_IMAGES // load_config(PRESET).images_per_structure)
    planned, layout = plan(config), plan(config).layout
    print("\n| images | datasets | structures | tasks and receipts | structures a task | files | "
          "entries in a folder | GB | MB a shard, at most | hours of commits on the Hub |\n"
          f"|{'---|' * 10}")  # fmt: skip
    for parts in (1, 100):
        hours = math.ceil(planned.files / HUB_FILES_PER_COMMIT) * parts / HUB_COMMITS_PER_HOUR
        print(f"| {planned.samples * parts:.0e} | {parts} | {layout.structures * parts} | "
              f"{layout.blocks * parts} | {layout.block} | {planned.files * parts} | "
              f"{layout.blocks} | {planned.bytes_on_disk * parts / 1e9:.0f} | "
              f"{planned.largest_file / 1e6:.0f} | {hours:.1f} |")  # fmt: skip
    print("\nwarnings of the plan:", "; ".join(planned.warnings) or "none")
    images = layout.block * layout.images
    files = len(ARRAYS) + len(TABLES) + 1
    receipt = costs["driver"] / 1e3 + costs["receipts"] * layout.block
    print("\n| GPUs | r | images/s | 1e6 images, h | 1e8 images, days | tasks/s | scheduler | "
          f"driver | files/s | MB/s |\n|{'---|' * 10}")  # fmt: skip
    for gpus in (1, 8, 512):
        for r in (10, 100):
            rate = gpus * r
            print(f"| {gpus} | {r} | {rate} | {1e6 / rate / 3600:.2g} | {1e8 / rate / 86400:.2g} "
                  f"| {rate / images:.2g} | {rate / images * costs['scheduler'] / 1e3:.1%} | "
                  f"{rate / images * receipt:.1%} | {rate / images * files:.2g} | "
                  f"{rate * planned.bytes_on_disk / planned.samples / 1e6:.2g} |")  # fmt: skip
    print(f"\nlast steps of one dataset of {planned.samples:.0e} images: "
          f"{costs['last'] * layout.structures / 3600:.1f} h on one core, "
          f"{costs['memory'] * layout.structures / 1e9:.0f} GB; of 100: "
          f"{costs['last'] * layout.structures / 36:.0f} core-hours\n"
          f"driver of one build: {1 / receipt:.0f} tasks/s, {images / receipt:.0f} images/s; "
          f"last steps {layout.images / costs['last']:.0f} images/s\n"
          f"a worker without physics: {1 / costs['worker']:.0f} images/s")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=["tasks", "driver"])
    parser.add_argument("--tasks", type=int, help="one run of so many, with two workers")
    parser.add_argument("--blocks", type=int, nargs="+", default=[4, 12, 24])
    parser.add_argument("--repeats", type=int, default=3, help="of the driver's steps")
    arguments = parser.parse_args()
    os.environ |= ENVIRONMENT
    print(f"{cpu_model()}, {psutil.cpu_count()} cores, Python {platform.python_version()}, "
          f"dask {dask.__version__}, distributed {distributed.__version__}",
          flush=True)  # fmt: skip
    costs = {}
    if arguments.part != "driver":
        costs |= tasks(arguments.tasks)
    if arguments.part != "tasks":
        costs |= driver(arguments.blocks, arguments.repeats)
    if not arguments.part:
        on_paper(costs)


def cpu_model():
    """Name the processor as Linux does; its architecture elsewhere."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    # Under the name that the workers import it by: a function of __main__ would travel with
    # every task.
    import_module(Path(__file__).stem).main()
