"""How the cost of a structure grows: exponents fitted over field, thickness, phonons and images.

    python benchmarks/scaling.py               # about three minutes
    python benchmarks/scaling.py --costs       # the constants of `ceria_data.plan`, a minute

Flat slabs drawn from ceria-columns-v1, one of four quantities changed at a time; one thread. The
exponent is the slope of the logarithm of the time over that of the quantity, by least squares.

`--costs` takes training structures of the presets, and divides the time
of a slice, and of an image, of one configuration by that of a transform of the cell with SciPy,
which is timed before each structure. Labels and camera belong to the images.
"""

import argparse
import platform
import statistics

import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from ceria_data.config import config_from_mapping, load_config
from ceria_data.draw import structure_entries
from ceria_data.plan import plan, time_transform
from ceria_data.simulate import cell_of, label_structure, simulate_structure, specimen_of

PRESET = "ceria-columns-v1"
BASE = {"pixels": 96, "thickness": 6, "phonons": 4, "images": 2}
CASES = {
    "pixels": (48, 96, 160, 240),
    "thickness": (3, 6, 9, 14),
    "phonons": (1, 2, 4, 8),
    "images": (1, 2, 4, 8),
}
EXPECTED = {
    ("pixels", "scattering"): "in points: transforms 1.1, structure factors 2",
    ("pixels", "optics"): "in points: 1.1",
    ("thickness", "scattering"): "1",
    ("thickness", "optics"): "0",
    ("phonons", "scattering"): "1",
    ("phonons", "optics"): "1",
    ("images", "scattering"): "0",
    ("images", "optics"): "1",
}


def config_of(pixels, thickness, phonons, images):
    """Write the config of one case."""
    content = load_config(PRESET).model_dump(mode="json")
    content["field"]["shape"] = [pixels, pixels]
    content["images_per_structure"] = images
    content["structure"] |= {"thickness_atoms": thickness, "kind": "slab_flat"}
    content["splits"] = [content["splits"][0] | {"phonons": phonons}]
    content["limits"] = None
    return config_from_mapping(content)


def seconds_of(config, structures, repeats):
    """Median seconds of the stages of a structure."""
    planes, entries = plan(config).layout.planes, structure_entries(config)[:structures]
    simulate_structure(config, entries[0], planes)
    runs = [
        [simulate_structure(config, entry, planes).seconds for entry in entries]
        for _ in range(repeats)
    ]
    return {
        stage: statistics.median(sum(one[stage] for one in run) / structures for run in runs)
        for stage in ("scattering", "optics")
    }


def costs(preset, engine, structures):
    """Print the cost of a slice and of an image in transforms of the cell."""
    content = load_config(preset).model_dump(mode="json")
    content["scattering"]["engine"] = engine
    content["splits"] = [content["splits"][0] | {"structures": structures}]
    content["limits"] = None
    config = config_from_mapping(content)
    planes, entries = plan(config).layout.planes, structure_entries(config)
    simulate_structure(config, entries[0], planes)
    slice_costs, image_costs = [], []
    for entry in entries:
        unit = config.splits[0].phonons * time_transform(cell_of(config).shape)
        labels = label_structure(config, entry, planes)
        slices = len(specimen_of(labels, config.scattering.slice_thickness_A).slices.z)
        seconds = simulate_structure(config, entry, planes).seconds
        slice_costs.append(seconds["scattering"] / unit / slices)
        rest = sum(seconds.values()) - seconds["scattering"]
        image_costs.append(rest / unit / config.images_per_structure)
    print(f"| {preset} | {engine} | {spread(slice_costs)} | {spread(image_costs)} |", flush=True)


def spread(values):
    """Write the median, the smallest and the largest of some values."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--costs", action="store_true")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}, "
          f"NumPy {np.__version__}")  # fmt: skip
    if arguments.costs:
        print("| preset | engine | transforms a slice | transforms an image |\n|---|---|---|---|")
        for preset in ("demo", "ceria-columns-mini", "ceria-columns-v1"):
            for engine in ("batched", "batched_mkl"):
                costs(preset, engine, 8)
        return
    print(f"{PRESET}, flat slabs; if not varied: {BASE}\n")
    print("| quantity | values | stage | ms a structure | exponent | expected |")
    print("|---|---|---|---|---|---|")
    for quantity, values in CASES.items():
        configs = [config_of(**(BASE | {quantity: value})) for value in values]
        times = [seconds_of(each, arguments.structures, arguments.repeats) for each in configs]
        against = values
        if quantity == "pixels":
            against = [np.prod(cell_of(each).shape) for each in configs]
        for stage in ("scattering", "optics"):
            taken = [each[stage] for each in times]
            slope = np.polyfit(np.log(against), np.log(taken), 1)[0]
            listed = ", ".join(f"{1e3 * t:.0f}" for t in taken)
            print(f"| {quantity} | {', '.join(map(str, values))} | {stage} | {listed} | "
                  f"{slope:.2f} | {EXPECTED[quantity, stage]} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    with threadpool_limits(limits=1):
        main()
