"""Training: whether the loop waits for data, and what the parts of the data side cost.

    OMP_NUM_THREADS=1 python benchmarks/train.py [DATASET]           # about two minutes
    OMP_NUM_THREADS=1 python benchmarks/train.py --processes 1 2     # about five

Prints tables, each cell median (lowest to highest) over turns in which every row has its turn:

* the loop of `ceria-models train`, as it is: one thread for the net, processes that make crops
  beside it; how fast it is, and the share of the time in which it waits for crops;
* batches in the order of the training, in this process: decoded images as the crops read them,
  the same bytes through a plain np.memmap, the images of the dataset through zarr, and complete
  crops. Ratios are taken turn by turn; files are in the page cache;
* the stages of a crop, on the pixels of the dataset and on those of another camera.

Crops are those of the config; where the images are too small for them, as large as fits.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import zarr
from threadpoolctl import threadpool_limits

from ceria_data.dataset import open_dataset
from ceria_models import crops as crops_module
from ceria_models.crops import Crops, collate
from ceria_models.decoded import decode_split
from ceria_models.machine import Machine, open_machine
from ceria_models.training import CropOrder, train
from ceria_models.training_config import load_training_config

REPORTS = 2
TAIL = 5
"""Steps after the last report: the loader is ahead by four, and would be idle."""
SECONDS = 0.5
STAGES = {
    "noise": ("record",),
    "labels": ("pixel_labels",),
    "resampling": ("resample_intensity", "resample_counts"),
    "input": ("net_input", "apparent_dose"),
}
STAGE_CROPS = 96


def changed(config, section, **values):
    """Replace entries of one section of a config."""
    own = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: own})


def fitting(config, field):
    """Make the crops of a config so small that every view of a field can hold them."""
    # Pixels that are larger than they claim show less of the field, and both resamplings leave
    # some of it over. Nets halve a multiple of 16 pixels without a rest.
    views = config.views
    lost = 1 + views.sampling_A[1] / field.sampling
    largest = int(min(field.shape) / (1 + views.calibration_error) - lost) // 16 * 16
    return changed(config, "views", crop=min(views.crop, largest))


def run_loop(config, dataset, split, steps, machine):
    """Train for some steps; return crops/s and the share of waiting, without the warm-up."""
    crops = config.schedule.batch * (steps * (1 + REPORTS) + TAIL)
    facts = {"content_digest": dataset.manifest["content_digest"]}
    facts["max_count"] = int(dataset.manifest["max_count"])
    reports = []

    def note(progress, _average):
        reports.append((progress.crops_per_s, progress.waiting))

    short = changed(config, "schedule", crops=crops)
    with tempfile.TemporaryDirectory() as folder:
        train(short, split, Path(folder), machine, every=steps, on_progress=note, **facts)
    return reports[1 : 1 + REPORTS]


def run_processes(arguments, cache, processes, workers):
    """Run the loop in several processes, as `torchrun` starts them."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", __file__, arguments.dataset]
    command += ["--config", arguments.config, "--steps", str(arguments.steps)]
    command += ["--inside", str(cache), "--workers", str(workers)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def measure_loop(arguments, config, dataset, split, cache):
    """Print the speed of the loop for all numbers of processes and workers."""
    cases = {(p, w): [] for p in arguments.processes for w in arguments.workers}
    for _ in range(arguments.turns):
        for (processes, workers), reports in cases.items():
            if processes == 1:
                machine = Machine(torch.device("cpu"), workers)
                reports += run_loop(config, dataset, split, arguments.steps, machine)
            else:
                reports += run_processes(arguments, cache, processes, workers)
    print(f"\n{arguments.turns} × {REPORTS} × {arguments.steps} steps after a warm-up\n")
    print("| processes | loader workers each | crops/s | waiting for crops, % (target: below 5) |")
    print("|---|---|---|---|")
    for (processes, workers), reports in cases.items():
        rates, waiting = np.array(reports).T
        print(f"| {processes} | {workers} | {spread(rates)} | {spread(100 * waiting)} |")


def rate_of(read, batches):
    """Read batches for a while; return how many in a second."""
    start, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < SECONDS:
        read(batches[done % len(batches)])
        done += 1
    return done / elapsed


def ways_of(dataset, split, crops):
    """Name the ways to get a batch; all but the last give the same images."""
    shape = (len(split), *split.field.shape)
    nbytes = np.dtype(np.float16).itemsize * int(np.prod(shape))
    header = split.file.stat().st_size - nbytes
    plain = np.memmap(split.file, np.float16, "r", offset=header, shape=shape)
    stored, samples = dataset.arrays["intensity"], dataset.samples["sample"].to_numpy()
    return {
        "np.memmap, a batch at once": lambda keys: np.asarray(plain[[row for _, row in keys]]),
        "np.memmap, image by image": lambda keys: np.stack([plain[row] for _, row in keys]),
        "DecodedSplit": lambda keys: np.stack([split.intensity(row) for _, row in keys]),
        "zarr, image by image": lambda keys: np.stack([stored[samples[row]] for _, row in keys]),
        "complete crops": lambda keys: collate([crops[key] for key in keys]),
    }


def measure_reading(arguments, config, dataset, split, crops):
    """Print batches in a second of every way, and their ratios."""
    one = Machine(torch.device("cpu"), 0)
    order = CropOrder(len(split), config.schedule, config.seed, one, 0)
    batches = list(islice(order, -(-len(split) // config.schedule.batch)))
    ways = ways_of(dataset, split, crops)
    first, *others = (read(batches[0]) for read in list(ways.values())[:-1])
    if not all(np.array_equal(first, other) for other in others):
        raise SystemExit("the ways do not give the same images; no figure would mean anything")
    rates = {name: [] for name in ways}
    for _ in range(arguments.turns + 1):
        for name, read in ways.items():
            rates[name].append(rate_of(read, batches))
    rates = {name: np.array(own[1:]) for name, own in rates.items()}
    megabytes = first.nbytes / 1e6
    print(f"\nBatches of {len(batches[0])} images, {megabytes:.2f} MB each\n")
    print("| way | batches/s | MB/s | over memmap at once | over memmap image by image |")
    print("|---|---|---|---|---|")
    at_once, singly = list(rates.values())[:2]
    for name, own in rates.items():
        speed = "" if name == "complete crops" else spread(megabytes * own)
        ratios = f"{spread(own / at_once)} | {spread(own / singly)}"
        print(f"| {name} | {spread(own)} | {speed} | {ratios} |")


@contextmanager
def timed():
    """Add up the time of every stage while crops are made [s]."""
    seconds = dict.fromkeys(STAGES, 0.0)

    def metered(stage, function):
        def run(*values):
            start = time.perf_counter()
            result = function(*values)
            seconds[stage] += time.perf_counter() - start
            return result

        return run

    with ExitStack() as stack:
        for stage, names in STAGES.items():
            for name in names:
                own = metered(stage, getattr(crops_module, name))
                stack.enter_context(mock.patch.object(crops_module, name, own))
        yield seconds


def measure_stages(arguments, crops):
    """Print what a crop spends where."""
    kinds, views, times = {"own pixels": 0.0, "other pixels": 1.0}, crops.views, {}
    for _ in range(arguments.turns + 1):
        for kind, share in kinds.items():
            crops.views = replace(views, other_pixels=share)
            with timed() as seconds:
                start = time.perf_counter()
                collate([crops[number, number % len(crops.split)] for number in range(STAGE_CROPS)])
                whole = time.perf_counter() - start
            rest = whole - sum(seconds.values())
            for stage, own in (seconds | {"all else": rest, "together": whole}).items():
                times.setdefault(stage, {}).setdefault(kind, []).append(1e3 * own / STAGE_CROPS)
    crops.views = views
    print(f"\n| stage | {', ms a crop | '.join(kinds)}, ms a crop |\n|---|---|---|")
    for stage, own in times.items():
        print(f"| {stage} | {' | '.join(spread(own[kind][1:]) for kind in kinds)} |")


def spread(values):
    """Write the median, the smallest and the largest of some values."""
    middle, low, high = (
        f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        for value in (statistics.median(values), min(values), max(values))
    )
    return f"{middle} ({low} to {high})"


def processor():
    """Name the processor, as far as the system says it."""
    facts = Path("/proc/cpuinfo")
    for line in facts.read_text().splitlines() if facts.is_file() else []:
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


def measure(arguments, config, dataset, cache):
    """Print all tables."""
    print(f"{processor()}, {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}; Python "
          f"{platform.python_version()}, NumPy {np.__version__}, PyTorch {torch.__version__}, zarr "
          f"{zarr.__version__}")  # fmt: skip
    start = time.perf_counter()
    split = decode_split(arguments.dataset, "train", cache)
    seconds, megabytes = time.perf_counter() - start, split.file.stat().st_size / 1e6
    print(f"{dataset.manifest['name']}: {len(split)} images of {split.field.shape} pixels")
    print(f"decoding, once, with the manifest's checksums: {megabytes / seconds:.0f} MB/s")
    print(f"{config.name}: {config.schedule.batch} crops of {config.views.crop} pixels a step")
    measure_loop(arguments, config, dataset, split, cache)
    max_count = int(dataset.manifest["max_count"])
    crops = Crops(split, config.views.views(), config.mask.mask(), max_count, config.seed)
    measure_reading(arguments, config, dataset, split, crops)
    measure_stages(arguments, crops)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", nargs="?", default="ceria-columns-mini", help="name or folder")
    parser.add_argument("--config", default="residual-unet-base", help="name or YAML file")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="between two reports of the loop")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1], help="make crops")
    parser.add_argument("--processes", type=int, nargs="+", default=[1], help="train together")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset = open_dataset(arguments.dataset, "train")
    config = fitting(load_training_config(arguments.config), dataset.field)
    if arguments.inside:
        machine = open_machine("cpu", arguments.workers[0])
        split = decode_split(arguments.dataset, "train", arguments.inside)
        reports = run_loop(config, dataset, split, arguments.steps, machine)
        if machine.rank == 0:
            print(json.dumps(reports))
        return
    with tempfile.TemporaryDirectory() as cache:
        measure(arguments, config, dataset, Path(cache))


if __name__ == "__main__":
    with threadpool_limits(limits=1):
        main()
