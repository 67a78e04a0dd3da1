"""What the average over eight orientations is worth, and what it costs.

    python benchmarks/orientations.py DATASET [--model MODEL] [--split S] [--images N]

The same images and electrons are counted once as they are and once in all orientations: exact
counts at 50 to 90 Å overfocus, detection, position and calibration of all, and seconds of the
processor for an image.
"""

import argparse
import time
from functools import partial

import torch

from ceria_data.dataset import open_dataset
from ceria_data.schema import SPECIES
from ceria_models import DEFAULT, from_pretrained, predict
from ceria_models.evaluation import evaluate
from ceria_models.strata import WINDOW

DOSES = (100.0, 300.0, 1000.0, 3000.0)


def columns_of(model, counts, sampling, *, orientations):
    """Count the columns of an image as `ceria-models evaluate` does."""
    return predict(model, counts, sampling, orientations=orientations).columns


def row(found, species, dose):
    """Write the figures of a species and dose."""
    window = {"axis": "defocus_A", "label": WINDOW}
    figures = [found.figure("exact", species, dose, **window)]
    names = ("f1", "position_rms", "calibration_error")
    figures += [found.figure(name, species, dose) for name in names]
    digits = (3, 3, 1, 3)
    return [f"{figure.value:.{n}f}" for figure, n in zip(figures, digits, strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--images", type=int, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = from_pretrained(arguments.model)
    dataset = open_dataset(arguments.dataset, arguments.split)
    found, seconds = {}, {}
    for number in (1, 8):
        begun = time.process_time()
        found[number] = evaluate(
            partial(columns_of, model, orientations=number == 8),
            dataset,
            program=f"{number} orientations",
            doses=DOSES,
            images=arguments.images,
        )
        seconds[number] = (time.process_time() - begun) / len(DOSES) / arguments.images
    print("| dose | species | orientations | exact | F1 | position, pm | calibration error |")
    print("|---" * 7 + "|")
    for dose in DOSES:
        for species in SPECIES:
            for number, evaluation in found.items():
                cells = [f"{dose:g}", species, str(number), *row(evaluation, species, dose)]
                print(f"| {' | '.join(cells)} |")
    print(f"\nseconds an image: {seconds[1]:.3f} and {seconds[8]:.3f}")


if __name__ == "__main__":
    main()
