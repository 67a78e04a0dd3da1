"""What fewer phonon configurations do to images and counts: the same particles, with other numbers.

    python benchmarks/phonons.py config FOLDER        # phonons-4.yaml, phonons-8.yaml
    ceria-data build FOLDER/phonons-4.yaml --out FOLDER/phonons-4
    ceria-data build FOLDER/phonons-8.yaml --out FOLDER/phonons-8
    python benchmarks/phonons.py measure MODEL v1-test FOLDER/phonons-4 FOLDER/phonons-8

The first dataset is what the others are compared with; of each only images that are in all of them
are used, of the split test. Counts are of images recorded anew, at 50 to 90 Å overfocus.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import yaml
from parts import part_of, whole_config

from ceria_data.dataset import Dataset, open_dataset
from ceria_models.evaluation import evaluate
from ceria_models.evaluation_run import program_of
from ceria_models.strata import WINDOW
from ceria_models.weights import from_pretrained

STRUCTURES, CONFIGURATIONS = 40, (4, 8)
DOSES = (100.0, 300.0, 1000.0, 3000.0)


def write_configs(folder):
    """Write a config for each number of configurations."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in CONFIGURATIONS:
        name = f"phonons-{n}"
        facts = {"structures": {"test": STRUCTURES}, "phonons": {"test": n}}
        part = part_of(whole_config(), name, facts)
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(part, sort_keys=False, allow_unicode=True), "utf-8")
        print(file)


def shared(folders):
    """Open the datasets, each with the images that all of them have."""
    opened = [open_dataset(folder, "test") for folder in folders]
    numbers = set.intersection(*(set(one.samples["number"]) for one in opened))
    return [
        Dataset(
            one.folder,
            one.manifest,
            one.samples[one.samples["number"].isin(numbers)].reset_index(drop=True),
        )
        for one in opened
    ]


def image_error(dataset, reference):
    """Median over images: rms difference over the standard deviation of the image."""
    errors = []
    for row in range(len(dataset)):
        best = reference[row].intensity.astype(float)
        difference = dataset[row].intensity.astype(float) - best
        errors.append(np.sqrt(np.mean(difference**2)) / best.std())
    return float(np.median(errors))


def measure(model, folders):
    """Print a row per dataset."""
    datasets = shared(folders)
    images = len(np.unique(datasets[0].samples["structure"]))
    program = program_of(from_pretrained(model))
    print(f"{images} images of {images} particles, {len(datasets[0])} for the error of an image")
    print(f"| dataset | image error | {' | '.join(f'Ce {d:g}' for d in DOSES)} |")
    print("|---" * (2 + len(DOSES)) + "|")
    for folder, dataset in zip(folders, datasets, strict=True):
        found = evaluate(program, dataset, program=model, doses=DOSES, images=images)
        counts = (
            found.figure("exact", "Ce", dose, axis="defocus_A", label=WINDOW).value
            for dose in DOSES
        )
        error = image_error(dataset, datasets[0])
        print(f"| {Path(folder).name} | {error:.3f} | {' | '.join(f'{c:.3f}' for c in counts)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    config = commands.add_parser("config")
    config.add_argument("folder", type=Path)
    config.set_defaults(run=lambda given: write_configs(given.folder))
    one = commands.add_parser("measure")
    one.add_argument("model")
    one.add_argument("folders", nargs="+", metavar="DATASET")
    one.set_defaults(run=lambda given: measure(given.model, given.folders))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
