"""The generator on a GPU: equality with the CPU, images per second, share of the bandwidth, memory.

    python benchmarks/gpu.py                   # on a machine with a GPU and CuPy
    python benchmarks/gpu.py --device cpu      # the same table for a CPU

Structures of ceria-columns-v1, 8 thermal configurations, 4 images each. Equality compares some
structures with the CPU: exit waves as the norm of the difference over that of the scattered wave,
images as rms of the difference over the standard deviation, and the share of counts that differ.
Labels must be equal, or the script ends with exit code 1; the drawing of atoms and labels knows no
device. Memory is the largest that the pool of arrays held, the plans of the transforms included.

The floor of the bandwidth counts what each wave and slice has to move at least, in bytes for N
points of complex64, a transform in two dimensions reading and writing everything twice:

    3 real inverse transforms             3 x 16 N
    transmission: 3 fields, wave in, out  28 N
    transform                             32 N
    propagation in and out                16 N
    inverse transform                     32 N
    ------------------------------------------
                                          156 N

and the images the same way: 32 N for the transform of each configuration and focus, 20 N for the
product before and the sum of squares after it. It is divided by the bandwidth of a copy. Structure
factors are left out: a matrix product is bound by arithmetic. One share is of the whole time, one
of scattering and optics alone, without labels and camera, which are made on the host. On a CPU a
wave stays in the caches, so the memory is no floor there and the share may pass 1.
"""

import argparse
import platform
import statistics
import sys
import time

import numpy as np
from scipy.fft import next_fast_len

from ceria_data import scattering
from ceria_data.config import config_from_mapping, load_config
from ceria_data.devices import place_of, to_host
from ceria_data.draw import structure_entries
from ceria_data.errors import CeriaError
from ceria_data.optics import focal_nodes
from ceria_data.plan import plan
from ceria_data.simulate import (
    cell_of,
    label_structure,
    settings_of,
    simulate_structures,
    specimen_of,
)
from ceria_data.waves import highest_orders

PRESET, PHONONS = "ceria-columns-v1", 8
WAVE_BYTES, IMAGE_BYTES = 156, 52


def part(structures):
    """Take the first structures of the training split."""
    content = load_config(PRESET).model_dump(mode="json")
    content["splits"] = [content["splits"][0] | {"structures": structures, "phonons": PHONONS}]
    content["limits"] = None
    return config_from_mapping(content)


def simulated(config, device, memory=None):
    """Simulate all structures of a config."""
    planes = plan(config).layout.planes
    results = simulate_structures(config, structure_entries(config), planes, device, memory)
    done = list(results)
    for result in done:
        if isinstance(result, Exception):
            raise result
    return done


def wave_error(config, device):
    """Largest error of the exit waves of a structure on a device against the CPU."""
    settings, cell, planes = settings_of(config), cell_of(config), plan(config).layout.planes
    errors = []
    for entry in structure_entries(config):
        labels = label_structure(config, entry, planes)
        specimen = specimen_of(labels, settings.slice_thickness_A)
        here, there = (
            to_host(scattering.exit_waves([specimen], cell, settings, each)[0].spectra)
            for each in ("cpu", device)
        )
        scattered = here.copy()
        scattered[:, 0, 0] -= 1
        errors.append(float(np.linalg.norm(there - here) / np.linalg.norm(scattered)))
    return max(errors)


def equality(config, device):
    """Largest image difference, and share of differing counts, between a device and the CPU."""
    worst, flipped = 0.0, []
    for here, there in zip(simulated(config, "cpu"), simulated(config, device), strict=True):
        if here.labels.digest != there.labels.digest:
            number = here.labels.structure.parameters.number
            sys.exit(f"the labels of structure {number} differ between the CPU and {device}")
        flipped.append(np.mean(here.counts != there.counts))
        for one, other in zip(here.intensity, there.intensity, strict=True):
            expected = one.astype(np.float64)
            rms = np.sqrt(np.mean((other.astype(np.float64) - expected) ** 2))
            worst = max(worst, float(rms / expected.std()))
    return worst, float(np.mean(flipped))


def bytes_moved(config, results):
    """Bytes that the waves and images of structures have to move at least."""
    settings, cell = settings_of(config), cell_of(config)
    points = cell.shape[0] * cell.shape[1]
    hy, hx = highest_orders(settings.kept_mrad * 1e-3 / settings.wavelength, cell)
    image_points = next_fast_len(4 * hy + 1) * next_fast_len(4 * hx + 1)
    total = 0
    for result in results:
        slices = len(specimen_of(result.labels, settings.slice_thickness_A).slices.z)
        total += PHONONS * slices * WAVE_BYTES * points
        for image in result.labels.images:
            foci = len(focal_nodes(image.focal_spread_A, image.aperture_mrad, image.energy_keV)[0])
            total += PHONONS * foci * IMAGE_BYTES * image_points
    return total


def bandwidth(device, size=2**28, repeats=10):
    """Bytes per second, read and written, of a copy between arrays of a device."""
    place = place_of(device)
    source = place.xp.ones(size, dtype=place.xp.float32)
    target = place.xp.zeros_like(source)
    times = []
    for repeat in range(repeats + 1):
        finish(device)
        start = time.perf_counter()
        target[:] = source
        finish(device)
        if repeat:  # the first touches the memory
            times.append(time.perf_counter() - start)
    return 2 * source.nbytes / statistics.median(times)


def finish(device):
    """Wait for what a GPU still does."""
    if device == "gpu":
        place_of(device).xp.cuda.Device().synchronize()


def empty_pool(device):
    """Give the memory of a GPU back that no array holds, so that the next peak is seen."""
    if device == "gpu":
        place_of(device).xp.fft.config.get_plan_cache().clear()
        place_of(device).xp.get_default_memory_pool().free_all_blocks()


def peak_memory(device):
    """Memory that the arrays of a GPU have taken since the pool was emptied [GB], as text."""
    if device != "gpu":
        return "-"
    return f"{place_of(device).xp.get_default_memory_pool().total_bytes() / 1e9:.2f}"


def rates(config, device, memories, repeats):
    """Print images per second for several sizes of the batch."""
    copy = bandwidth(device)
    print(f"\nbandwidth of a copy: {copy / 1e9:.0f} GB/s; {repeats} repeats\n")
    print("| memory of a batch, GB | waves | images/s | share of the floor | without labels and "
          "camera | arrays, GB |")  # fmt: skip
    print("|---|---|---|---|---|---|")
    images = sum(split.structures for split in config.splits) * config.images_per_structure
    for memory in memories:
        waves = scattering.waves_together(cell_of(config), settings_of(config), device, memory)
        empty_pool(device)
        results = simulated(config, device, memory)  # makes tables and plans
        floor = bytes_moved(config, results) / copy
        times, on_device = [], []
        for _ in range(repeats):
            start = time.perf_counter()
            results = simulated(config, device, memory)
            finish(device)
            times.append(time.perf_counter() - start)
            on_device.append(
                sum(each.seconds["scattering"] + each.seconds["optics"] for each in results)
            )
        name = "default" if memory is None else f"{memory / 1e9:g}"
        print(
            f"| {name} | {waves} | {spread([images / each for each in times])} | "
            f"{spread([floor / each for each in times])} | "
            f"{spread([floor / each for each in on_device])} | {peak_memory(device)} |",
            flush=True,
        )


def spread(values):
    """Write the median, the smallest and the largest of some values."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="gpu", choices=["gpu", "cpu"])
    parser.add_argument("--structures", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    try:
        place = place_of(arguments.device)
    except CeriaError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    name = platform.processor() or platform.machine()
    if arguments.device == "gpu":
        name = place.xp.cuda.runtime.getDeviceProperties(0)["name"].decode()
    print(f"{name}, Python {platform.python_version()}, {place.xp.__name__}")
    if arguments.device == "gpu":
        waves = wave_error(part(4), arguments.device)
        worst, flipped = equality(part(4), arguments.device)
        print(
            f"against the CPU: exit waves {waves:.1e}, images {worst:.1e} of their contrast, "
            f"{flipped:.1e} of the counts differ, labels are equal"
        )
    memories = (None, 5e8, 8e9) if arguments.device == "gpu" else (None, 1e8)
    memories = [None if memory is None else int(memory) for memory in memories]
    rates(part(arguments.structures), arguments.device, memories, arguments.repeats)


if __name__ == "__main__":
    main()
