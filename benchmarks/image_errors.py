"""How far errors of counts are shared by all columns of an image.

    python benchmarks/image_errors.py DATASET [--model MODEL] [--split S] [--images 100]

Images of a split, usually test, 50 to 90 Å overfocus, recorded anew at one dose. For every image:
the share of its Ce columns with the exact count, and the errors of the counts of those that are
found. The shared part of the squared error is what is left of it in the means of the images, beyond
what errors that know nothing of each other would leave there.
"""

import argparse

import numpy as np
import torch

from ceria_data.dataset import open_dataset
from ceria_data.schema import SPECIES
from ceria_models import DEFAULT, from_pretrained, predict
from ceria_models.matching import match_columns
from ceria_models.recording import record_at
from ceria_models.strata import WINDOW

FEWEST = 10
"""Columns below which an image says little."""


def of_image(model, sample, dose):
    """Count one image: share of exact counts, errors of the columns found."""
    field = sample.dataset.field
    found = predict(model, record_at(sample, dose), field.sampling).columns
    matches = match_columns(sample.columns, found, field, sample.dataset.manifest["max_count"])
    own = matches[(matches["true_row"] >= 0) & (matches["species"] == SPECIES[0])]
    error = (own["count"] - own["true_count"])[own["found_row"] >= 0]
    return float((own["count"] == own["true_count"]).mean()), error.to_numpy(float)


def shared_part(errors):
    """Estimate the share of the squared error that all columns of an image have in common."""
    within = np.concatenate([own - own.mean() for own in errors])
    variance = np.square(within).sum() / (len(within) - len(errors))
    means = np.array([own.mean() ** 2 - variance / len(own) for own in errors])
    sizes = np.array([len(own) for own in errors])
    return (sizes * means).sum() / np.square(np.concatenate(errors)).sum()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--split", default="test")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--dose", type=float, default=1000.0, help="e-/Å²")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = from_pretrained(arguments.model)
    dataset = open_dataset(arguments.dataset, arguments.split)
    low, high = (float(end) for end in WINDOW.split(" to "))
    inside = np.flatnonzero(dataset.samples["defocus_A"].between(low, high))
    places = np.linspace(0, len(inside) - 1, min(arguments.images, len(inside))).astype(int)
    rows = [of_image(model, dataset[int(inside[place])], arguments.dose) for place in places]
    rows = [row for row in rows if len(row[1]) >= FEWEST]
    right = np.array([share for share, _ in rows])
    print(f"{len(right)} images of {FEWEST} Ce columns or more, {arguments.dose:g} e-/Å²")
    print(f"exact: {right.mean():.3f} on average, {np.median(right):.3f} in the median image")
    print(f"images with 95 % exact or more: {(right >= 0.95).mean():.2f}")
    print(f"images with half exact or less: {(right <= 0.5).mean():.2f}")
    print(
        f"part of the squared error that an image shares: {shared_part([e for _, e in rows]):.2f}"
    )


if __name__ == "__main__":
    main()
