"""What stands beside a program: the true neighbours alone, and a classical baseline.

    python benchmarks/prior.py DATASET [--images N]      # some minutes, one core

Both are fitted on the split train and measured on the split test, on images recorded anew at each
dose. Shares of columns with the exact count, with 95 % intervals over particles.
"""

import argparse
import platform

from threadpoolctl import threadpool_limits

from ceria_data.dataset import open_dataset
from ceria_data.schema import SPECIES
from ceria_models.evaluation import evaluate
from ceria_models.evaluation_rows import in_words
from ceria_models.fitted import baseline_of, prior_of
from ceria_models.strata import DOSES, WINDOW

PARTS = (("all", "all"), ("defocus_A", WINDOW))
WHO = (("true neighbours alone", "prior_exact"), ("classical baseline", "exact"))


def show(found):
    """Print a row per part, species and program, and how many columns the baseline finds."""
    print("| who | species | defocus [Å] | " + " | ".join(f"{dose:g}" for dose in DOSES) + " |")
    print("|---" * (3 + len(DOSES)) + "|")
    rows = [*WHO, ("baseline: columns found", "recall"), ("baseline: detection F1", "f1")]
    for axis, label in PARTS:
        for name, metric in rows:
            for species in SPECIES:
                cells = [
                    in_words(found.figure(metric, species, dose, axis=axis, label=label))
                    for dose in DOSES
                ]
                print(f"| {name} | {species} | {label} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--images", type=int, default=200)
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.dataset, "test")
    prior, baseline = prior_of(arguments.dataset), baseline_of(arguments.dataset)
    found = evaluate(baseline, dataset, program="baseline", images=arguments.images, prior=prior)
    print(f"{platform.machine()}, {platform.processor()}, Python {platform.python_version()}")
    print(
        f"{found.dataset} {found.version}, {found.split}: {found.n_images} images of "
        f"{found.n_particles} particles; doses in e-/Å²\n"
    )
    show(found)


if __name__ == "__main__":
    with threadpool_limits(limits=1):
        main()
