"""Frames per second of prediction, beside plain PyTorch, another U-Net and the machine's peak.

    python benchmarks/predict.py [MODEL] [--threads N]        # about five minutes, one thread

Needs ceria[onnx,smp]. By default the bundled net. In one process, in turns, for images of 160, 512
and 1024 pixels along an axis:

* the net alone: float32, bfloat16 and ONNX Runtime as `predict --runtime` runs them; eager:
  the same net called as PyTorch comes, float32; smp: the U-Net of segmentation_models_pytorch
  with a ResNet-18, as many outputs, and a decoder of the width at which its FLOPs are
  nearest to ours; eager, float32;
* end to end: `predict`, from the image to the table, for each runtime;
* the floor: FLOPs of the net over those that a large matrix product reaches on this machine.

Ratios are taken turn by turn, and given as median (lowest to highest). Then: how many columns get
another count than in float32, and the peak memory of separate processes: `predict` of a large
image, the net alone on its tiles, and the net on a whole image at once.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch.utils.flop_counter import FlopCounterMode

from ceria_data.dataset import open_dataset
from ceria_data.schema import SPECIES
from ceria_models import DEFAULT, from_pretrained, predict
from ceria_models.contrast import CHANNELS, net_input
from ceria_models.frame_reading import TILE
from ceria_models.model import Model, run_net
from ceria_models.nets.smp_net import _library
from ceria_models.onnx_file import export_onnx
from ceria_models.runtime import open_runtime
from ceria_models.tiles import tiles_of

TURNS = {160: 20, 512: 8, 1024: 4}
MATRIX, SAMPLING = 3072, 0.2
IMAGES = 40
MEMORY = ((4096, "predict"), (4096, "tiles"), (2048, "whole"))
WIDTHS = (8, 12, 16, 20, 24, 32)


def counts_of(size):
    """Repeat an image of the bundled dataset until it is large enough."""
    counts = open_dataset("ceria-columns-mini", "test")[0].counts
    times = -(-size // min(counts.shape))
    return np.tile(counts, (times, times))[:size, :size]


def input_of(counts):
    return net_input(counts, float(counts.mean()), 300.0)


def flops_of(net, size):
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, CHANNELS, size, size))
    return counter.get_total_flops()


def rival(model):
    """Make the U-Net with a ResNet-18 whose FLOPs are nearest to those of a model."""
    outputs = len(SPECIES) * (model.config.net.max_count + 1 + 4)
    ours = flops_of(model.net, 256)
    made = [
        _library()
        .Unet(
            "resnet18",
            encoder_weights=None,
            in_channels=CHANNELS,
            classes=outputs,
            decoder_channels=[width * 2**level for level in reversed(range(5))],
        )
        .eval()
        for width in WIDTHS
    ]
    return min(made, key=lambda net: abs(flops_of(net, 256) - ours))


def run_rival(net, image):
    with torch.inference_mode():
        net(torch.from_numpy(image)[None])


def matrix_product(kind):
    a = torch.ones(MATRIX, MATRIX, dtype=kind)
    return partial(torch.mm, a, a)


def in_turns(cases, turns):
    """Time every case once a turn [s]; the first turn does not count."""
    times = {name: [] for name in cases}
    for _ in range(turns + 1):
        for name, run in cases.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: np.array(own[1:]) for name, own in times.items()}


def spread(values):
    return f"{statistics.median(values):6.2f} ({min(values):.2f} to {max(values):.2f})"


def measure_speed(model, file):
    """Print frames per second and ratios for all sizes."""
    other, runtimes = rival(model), {"float32": "float32", "bfloat16": "bfloat16", "onnx": file}
    for what, net in (("net", model.net), ("smp", other)):
        weights = sum(p.numel() for p in net.parameters())
        flops = flops_of(net, 512) / 1e9
        print(f"{what}: {weights / 1e6:.1f} million weights, {flops:.1f} GFLOP at 512 pixels")
    run = {name: open_runtime(model, runtime) for name, runtime in runtimes.items()}
    for size, turns in TURNS.items():
        counts = counts_of(size)
        image = input_of(counts)
        cases = {name: partial(own, image) for name, own in run.items()}
        cases["eager"] = partial(run_net, model.net, image)
        cases["smp"] = partial(run_rival, other, image)
        for name, runtime in runtimes.items():
            cases[f"end to end, {name}"] = partial(
                predict, model, counts, SAMPLING, runtime=runtime
            )
        cases["peak float32"] = matrix_product(torch.float32)
        cases["peak bfloat16"] = matrix_product(torch.bfloat16)
        times = in_turns(cases, turns)
        show_speed(size, times, flops_of(model.net, size))


def show_speed(size, times, flops):
    """Print a table of one size."""
    print(f"\n{size} pixels, {len(times['eager'])} turns")
    print(f"{'':24}{'frames/s':>10}   over eager")
    peaks = {kind: 2 * MATRIX**3 / times[f"peak {kind}"] for kind in ("float32", "bfloat16")}
    for name, own in times.items():
        if not name.startswith("peak"):
            rate = 1 / statistics.median(own)
            print(f"{name:24}{rate:10.2f}   {spread(times['eager'] / own)}")
    for kind, name in (("float32", "float32"), ("float32", "onnx"), ("bfloat16", "bfloat16")):
        floor = flops / peaks[kind]
        print(
            f"floor of {name:15}{1 / statistics.median(floor):10.2f}   the net reaches "
            f"{spread(floor / times[name])} of {statistics.median(peaks[kind]) / 1e9:.0f} GFLOP/s"
        )


def measure_counts(model, file):
    """Print how many columns get another count than in float32."""
    dataset = open_dataset("ceria-columns-mini", "test")
    images = np.stack([dataset[i].counts for i in range(0, len(dataset), len(dataset) // IMAGES)])
    exact = predict(model, images, SAMPLING).columns
    print(f"\ncolumns of {len(images)} images of ceria-columns-mini in float32: {len(exact)}")
    for name, runtime in (("bfloat16", "bfloat16"), ("onnx", file)):
        found = predict(model, images, SAMPLING, runtime=runtime).columns
        groups = dict(iter(found.groupby(["frame", "species"])))
        other = lost = 0
        for key, own in exact.groupby(["frame", "species"]):
            if key not in groups:
                lost += len(own)
                continue
            place = cKDTree(groups[key][["x_A", "y_A"]])
            distance, nearest = place.query(own[["x_A", "y_A"]])
            there = distance < 0.3
            count = groups[key]["occupancy"].to_numpy()[nearest]
            other += int((own["occupancy"].to_numpy() != count)[there].sum())
            lost += int((~there).sum())
        share = 100 * other / max(len(exact), 1)
        print(f"  {name:9} other count: {other} ({share:.2f} %), lost: {lost}, in all {len(found)}")


def measure_memory(arguments):
    """Print the peak memory of processes that predict large images."""
    print("\npeak memory")
    for size, how in MEMORY:
        command = [sys.executable, __file__, arguments.model]
        command += ["--threads", str(arguments.threads), "--memory", f"{size},{how}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"  {size} pixels, {how:7} {done.stdout.strip()}")


def peak_kib():
    """Read the largest memory of this process; that of `resource` begins with its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def peak_memory(model, size, how):
    """Predict one image, or run the net on its tiles or on all of it; print this process' peak."""
    counts = counts_of(size)
    small = counts_of(160)
    predict(model, small, SAMPLING)
    before = peak_kib()
    start = time.perf_counter()
    if how == "predict":
        predict(model, counts, SAMPLING)
    else:
        run, image = open_runtime(model), input_of(counts)
        for tile in tiles_of(counts.shape, model.net, TILE if how == "tiles" else size):
            run(np.ascontiguousarray(image[:, tile.rows, tile.columns]))
    seconds = time.perf_counter() - start
    peak = peak_kib()
    per_pixel = (peak - before) * 1024 / size**2
    print(
        f"{peak / 2**20:.2f} GiB ({before / 2**20:.2f} GiB before it): {per_pixel:.0f} bytes a "
        f"pixel, {seconds:.0f} s"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", default=DEFAULT, help="name, folder or repository")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model: Model = from_pretrained(arguments.model)
    if arguments.memory:
        size, how = arguments.memory.split(",")
        peak_memory(model, int(size), how)
        return
    facts = model.config
    print(
        f"{platform.processor() or platform.machine()}, {arguments.threads} threads, torch ", end=""
    )
    print(f"{torch.__version__}; {facts.name} {facts.version}, {facts.net.architecture}\n")
    with tempfile.TemporaryDirectory() as folder:
        file = export_onnx(model, Path(folder))["file"]
        measure_speed(model, file)
        measure_counts(model, file)
    measure_memory(arguments)


if __name__ == "__main__":
    main()
