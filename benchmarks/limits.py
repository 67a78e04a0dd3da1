"""The ideal observer of `ceria-data limits`: error of patches and of few phonons, and its time.

    python benchmarks/limits.py              # 6 structures of ceria-columns-v1, some minutes

For some columns of the test split, d'^2 from patches of 24 Å is compared with d'^2 from the
whole field with the same thermal configurations, and d'^2 of 8 configurations with that of 32.
One process, one thread.
"""

import argparse
import platform
import time
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ceria_data import limits
from ceria_data.config import config_from_mapping, load_config, resolved_yaml
from ceria_data.detector import Camera
from ceria_data.draw import structure_entries
from ceria_data.limits import LimitsTask, Pair, run_limits_task
from ceria_data.observer import detectability
from ceria_data.optics import form_image
from ceria_data.plan import plan
from ceria_data.randomness import sample_rng
from ceria_data.scattering import exit_waves
from ceria_data.simulate import cell_of, field_of, label_structure, settings_of, specimen_of

PRESET = "ceria-columns-v1"
CASES = ("end", "inner", "inner_relaxed")


def only_test(preset):
    """Reduce a preset to its test split."""
    content = load_config(preset).model_dump(mode="json")
    content["splits"] = [split for split in content["splits"] if split["name"] == "test"]
    content["limits"] = None
    return config_from_mapping(content)


def choose(config, labels, row, columns):
    """Take columns of one structure at random, as many Ce as O, in all cases."""
    rng = sample_rng(config.seed, row, "limits")
    table = labels.columns
    usable = table[table["in_field"] & (table["occupancy"] > 2) & ~table["ambiguous"]]
    pairs = []
    for species in ("Ce", "O"):
        own = usable.loc[usable["species"] == species, "site_id"].to_numpy()
        for site in rng.choice(own, columns // 2, replace=False):
            pairs += [Pair(row, 0, int(site), case) for case in CASES]
    return tuple(pairs)


def of_whole_field(config, labels, rows, task):
    """d'^2 of the pairs from two images of the whole field, and the complete image."""
    settings, cell, field = settings_of(config), cell_of(config), field_of(config)
    whole = specimen_of(labels, settings.slice_thickness_A)
    whole = replace(whole, positions=whole.positions[: limits.PHONONS])
    image = labels.images[0]
    (waves,) = exit_waves([whole], cell, settings)
    complete = form_image(waves, image, field)
    found = []
    for pair in task.pairs:
        atom = limits._missing(labels.structure, pair)
        lacking = limits._lacking(whole, labels.structure, atom, pair.case)
        (waves,) = exit_waves([lacking], cell, settings)
        found.append(d2(complete, form_image(waves, image, field), config))
    return np.array(found), complete


def of_patches(config, rows, differences, complete):
    """d'^2 of the pairs from the whole image and the patches of its change."""
    found = []
    for row, difference in zip(rows, differences, strict=True):
        change = limits._in_image(difference, row["first_y"], row["first_x"], field_of(config))
        found.append(d2(complete, complete + change, config))
    return np.array(found)


def d2(one, other, config):
    """d'^2 per e-/Å² for a counting camera."""
    return detectability(one, other, 1.0, config.field.sampling_A, Camera())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, default=6)
    parser.add_argument("--columns", type=int, default=4, help="columns of each structure")
    arguments = parser.parse_args()
    config = only_test(PRESET)
    planes, seconds, table = plan(config).layout.planes, [], []
    for entry in structure_entries(config)[: arguments.structures]:
        labels = label_structure(config, entry, planes)
        pairs = choose(config, labels, entry.row, arguments.columns)
        task = LimitsTask(resolved_yaml(config), planes, pairs, "cpu")
        start = time.perf_counter()
        rows, differences = run_limits_task(task)
        seconds.append((time.perf_counter() - start) / len(pairs))
        with patch.object(limits, "PHONONS", 32):
            _, converged = run_limits_task(task)
        exact, complete = of_whole_field(config, labels, rows, task)
        few = of_patches(config, rows, differences, complete)
        many = of_patches(config, rows, converged, complete)
        for row, *values in zip(rows, exact, few, many, strict=True):
            table.append((row["species"], row["case"], *values))
    frame = pd.DataFrame(table, columns=["species", "case", "field", "patch", "phonons"])
    frame["patch"] /= frame["field"]
    frame["few"] = frame["patch"] * frame["field"] / frame["phonons"]
    print(f"{platform.machine()}, {platform.processor()}, Python {platform.python_version()}")
    print(f"{PRESET}: {arguments.structures} structures, {len(frame)} pairs\n")
    print("| species | case | pairs | d'^2 patch / whole field | d'^2 8 / 32 configurations |")
    print("|---|---|---|---|---|")
    for (species, case), own in frame.groupby(["species", "case"]):
        columns = (own["patch"], own["few"])
        ratios = (f"{c.median():.3f} ({c.min():.3f} to {c.max():.3f})" for c in columns)
        print(f"| {species} | {case} | {len(own)} | {' | '.join(ratios)} |")
    print(
        f"\n{np.median(seconds):.2f} s a pair ({min(seconds):.2f} to {max(seconds):.2f}), one core"
    )


if __name__ == "__main__":
    with threadpool_limits(limits=1):
        main()
