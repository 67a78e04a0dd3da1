"""Whether the calibration of a model makes its confidence truer, on images it never saw.

    python benchmarks/calibrated.py DATASET [--model MODEL] [--images N] [--dose D ...]

Both rows are of the same images and noise, of the split test; in the second, the logits of columns
and pixels are taken as the net gives them. Brackets are 95 % intervals over particles.
"""

import argparse
import platform

import torch
from zoo import without_calibration

from ceria_data.dataset import open_dataset
from ceria_data.schema import SPECIES
from ceria_models import DEFAULT, from_pretrained
from ceria_models.evaluation import evaluate
from ceria_models.evaluation_run import program_of
from ceria_models.strata import WINDOW

WHERE = {"all images": ("all", "all"), "50 to 90 Å overfocus": ("defocus_A", WINDOW)}


def shown(figure):
    """Write a figure with its interval."""
    if figure is None or figure.value is None:
        return "–"
    interval = "" if figure.low is None else f" ({figure.low:.3f} to {figure.high:.3f})"
    return f"{figure.value:.3f}{interval}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--dose", type=float, nargs="*", default=[100.0, 300.0, 1000.0, 3000.0])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, dataset = from_pretrained(arguments.model), open_dataset(arguments.dataset, "test")
    found = {
        name: evaluate(
            program_of(one),
            dataset,
            program=name,
            doses=arguments.dose,
            images=arguments.images,
            stability_images=0,
        )
        for name, one in (("calibrated", model), ("without", without_calibration(model)))
    }
    print(f"{arguments.model}, {platform.machine()}, PyTorch {torch.__version__}\n")
    print("| images | species | e⁻/Å² | | calibration error | exact |")
    print("|---" * 6 + "|")
    for where, (axis, label) in WHERE.items():
        for species in SPECIES:
            for dose in arguments.dose:
                for name, own in found.items():
                    cells = [
                        shown(own.figure(metric, species, dose, axis=axis, label=label))
                        for metric in ("calibration_error", "exact")
                    ]
                    print(f"| {where} | {species} | {dose:g} | {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
