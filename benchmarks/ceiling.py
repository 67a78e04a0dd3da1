"""What a count and a position can reach at best, from the product of `ceria-data ceiling`.

    python benchmarks/ceiling.py DATASET CEILING         # some minutes, one core

For every column and dose: how often the most probable count is right with a flat prior over
the candidates (200 noisy images), what the formula 1 - 2 Φ(-d'/2) says with d' of one atom less,
and the Cramér-Rao bound of the position. Shares are means over columns with their standard error.
"""

import argparse
import platform

import numpy as np
import pandas as pd
from scipy.special import ndtr
from threadpoolctl import threadpool_limits

from ceria_data.ceiling import open_ceiling
from ceria_data.counting import count_accuracy
from ceria_data.dataset import open_dataset
from ceria_data.observer import detectability, position_bound
from ceria_data.parameters import Camera

DOSES = (30.0, 100.0, 300.0, 1000.0, 3000.0)
WINDOW = (-90.0, -50.0)
"""Defocus at which Ce columns are bright [Å]; negative is overfocus."""


def measure(dataset, ceiling, seed):
    """Tabulate accuracy, formula and bound of every column and dose."""
    defocus = dataset.samples.set_index("sample")["defocus_A"]
    rows = []
    for column in (ceiling[i] for i in range(len(ceiling))):
        parameters = column.parameters
        intensity = column.patch_of(dataset.read("intensity", parameters["sample"]))
        sampling = dataset.field.sampling
        less = column.differences[column.counts == parameters["occupancy"] - 1][0]
        flat = np.ones(column.counts.max() + 1)
        for dose in DOSES:
            rng = np.random.default_rng([seed, parameters["column"], round(dose)])
            d2 = detectability(intensity, intensity + less, dose, sampling, Camera())
            accuracy = count_accuracy(
                intensity,
                column.differences,
                column.counts,
                parameters["occupancy"],
                flat,
                dose,
                sampling,
                rng,
            )
            x, y = position_bound(intensity, column.gradient, dose, sampling)
            rows.append(
                {
                    "species": parameters["species"],
                    "window": WINDOW[0] <= defocus[parameters["sample"]] <= WINDOW[1],
                    "dose": dose,
                    "accuracy": accuracy,
                    "formula": 1 - 2 * ndtr(-np.sqrt(d2) / 2),
                    "d2_per_dose": d2 / dose,
                    "x_pm": x,
                    "y_pm": y,
                    "rms_pm": np.hypot(x, y),
                }
            )
    return pd.DataFrame(rows)


def show(table):
    """Print a row per species, selection and dose."""
    print("| species | defocus | columns | dose | flat-prior accuracy | formula | pm along x |")
    print("|---|---|---|---|---|---|---|")
    notes = []
    for species in ("Ce", "O"):
        own = table[table["species"] == species]
        for name, chosen in (("all", own), ("-90 to -50 Å", own[own["window"]])):
            for dose, at in chosen.groupby("dose"):
                error = at["accuracy"].std() / np.sqrt(len(at))
                print(
                    f"| {species} | {name} | {len(at)} | {dose:.0f} | "
                    f"{at['accuracy'].mean():.2f} ± {error:.2f} | {at['formula'].mean():.2f} | "
                    f"{at['x_pm'].median():.1f} ({at['x_pm'].quantile(0.1):.1f} to "
                    f"{at['x_pm'].quantile(0.9):.1f}) |"
                )
            notes.append(
                f"{species}, {name}: median d'^2 of one atom less {at['d2_per_dose'].median():.4f} "
                f"per e-/Å²; median rms distance at 1000 e-/Å² "
                f"{chosen.loc[chosen['dose'] == 1000, 'rms_pm'].median():.2f} pm"
            )
    print()
    print(*notes, sep="\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("ceiling")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.dataset)
    ceiling = open_ceiling(arguments.ceiling, dataset)
    print(f"{platform.machine()}, {platform.processor()}, Python {platform.python_version()}")
    print(f"{len(ceiling)} columns of {ceiling.columns['structure'].nunique()} structures\n")
    show(measure(dataset, ceiling, arguments.seed))


if __name__ == "__main__":
    with threadpool_limits(limits=1):
        main()
