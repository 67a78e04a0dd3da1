"""The zoo on equal footing, and what each of its ideas is worth.

    python benchmarks/zoo.py list
    python benchmarks/zoo.py train DATASET [RUN ...] --out FOLDER   # hours; may be stopped
    python benchmarks/zoo.py measure DATASET [RUN ...] --out FOLDER # minutes a run
    python benchmarks/zoo.py table [RUN ...] --out FOLDER [--csv FILE]

Nets of the zoo see 300,000 crops of 64 pixels, one seed; ablations of `residual-unet-tiny` see
60,000, three seeds; `--scale` shortens all. Everything else is that of `residual-unet-tiny`.
Several processes may share FOLDER: each takes the next run that nobody works on. Figures are of the
split validation, images recorded anew at 100, 300 and 1000 e-/Å²; the efficiency is of the pairs of
ceria-columns-mini; images/s are of `predict` on one thread, 160 pixels along an axis.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout

from ceria_data.dataset import open_dataset
from ceria_data.schema import SPECIES
from ceria_models.efficiency import efficiencies
from ceria_models.evaluation import evaluate
from ceria_models.evaluation_record import read_evaluation
from ceria_models.evaluation_run import program_of
from ceria_models.machine import Machine
from ceria_models.model import CalibrationFacts, Model
from ceria_models.paired import limits_rows, mean_count_score, run_pairs
from ceria_models.prediction import predict
from ceria_models.strata import WINDOW
from ceria_models.training_config import TrainingConfig, load_training_config
from ceria_models.training_folder import MODEL
from ceria_models.training_run import Watch, run_training
from ceria_models.weights import from_pretrained

BASE = "residual-unet-tiny"
DOSES = (100.0, 300.0, 1000.0)
IMAGES = 60
STEADY = 3
PAIRS, SIDE, TIMES = "ceria-columns-mini", 160, 20
SEEDS = (1, 2, 3)
ZOO = {
    "plain-unet": {"net": {"architecture": "plain_unet", "width": 32}},
    "residual-unet": {"net": {"architecture": "residual_unet", "width": 32}},
    "attention-unet": {"net": {"architecture": "attention_unet", "width": 32}},
    "mixed-scale": {"net": {"architecture": "mixed_scale", "width": 32, "levels": 10, "blocks": 8}},
    "smp-unet-resnet18": {
        "net": {"architecture": "smp", "decoder": "unet", "encoder": "resnet18", "width": 32}
    },
}
ABLATIONS = {
    "reference": {},
    "no-spatial-weights": {"loss": {"spatial": {"column": 1.0, "balance": 0.0}}},
    "optics": {"loss": {"optics": 0.1}},
    "ranked-probability": {"loss": {"ranked_probability": 0.5}},
    "dice": {"loss": {"dice": 0.5}},
    "hard-targets": {"mask": {"softness_A": 0.0}},
    "soft-0.2": {"mask": {"softness_A": 0.2}},
    "radius-0.3": {"mask": {"radius_A": 0.3}},
    "radius-0.45": {"mask": {"radius_A": 0.45}},
}


def overridden(config, changes):
    """Replace entries of a nested dict; the rest stays."""
    result = dict(config)
    for key, value in changes.items():
        deeper = isinstance(value, dict)
        result[key] = overridden(config[key], value) if deeper else value
    return result


def runs(scale=1.0):
    """Configs of all runs, by name, ablations first."""
    base = load_training_config(BASE).model_dump(mode="json")
    found = {}
    for seed in SEEDS:
        for name, changes in ABLATIONS.items():
            own = overridden(base, changes) | {"name": f"tiny-{name}-{seed}", "seed": seed}
            own["schedule"]["crops"] = max(round(60_000 * scale), 32)
            found[own["name"]] = TrainingConfig.model_validate(own)
    for name, changes in ZOO.items():
        own = overridden(base, changes) | {"name": f"zoo-{name}"}
        own = overridden(own, {"schedule": {"crops": max(round(300_000 * scale), 32)}})
        found[own["name"]] = TrainingConfig.model_validate(own)
    return found


def train(arguments):
    """Train what is not trained, run by run."""
    machine = Machine(torch.device("cpu"), workers=0)
    watch = Watch(count=lambda *facts: None, note=lambda line: None)
    for name, config in chosen(arguments).items():
        folder = arguments.out / name
        if (folder / MODEL).is_dir():
            continue
        arguments.out.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(arguments.out / f"{name}.lock", timeout=0):
                begun, used = time.time(), time.process_time()
                run_training(config, arguments.dataset, folder, machine, watch, resume=True)
                cost = {"cpu_s": time.process_time() - used, "s": time.time() - begun}
                (folder / "cost.json").write_text(json.dumps(cost))
                print(f"{name}: {cost['s']:.0f} s, {cost['cpu_s']:.0f} s of processor", flush=True)
        except Timeout:
            print(f"{name}: another process works on it", flush=True)


def measure(arguments):
    """Evaluate what is trained, with and without its calibration."""
    dataset = open_dataset(arguments.dataset, "validation")
    for name in chosen(arguments):
        folder = arguments.out / name
        if not (folder / MODEL).is_dir():
            continue
        model = from_pretrained(folder / MODEL)
        for label, one, steady in (
            ("evaluation", model, STEADY),
            ("uncalibrated", without_calibration(model), 0),
        ):
            file = folder / f"{label}.json"
            if file.is_file():
                continue
            begun = time.time()
            found = evaluate(
                program_of(one),
                dataset,
                program=name,
                doses=DOSES,
                images=IMAGES,
                stability_images=steady,
            )
            found.write(file)
            print(f"{name}, {label}: {time.time() - begun:.0f} s", flush=True)
        pairs(model, folder / "efficiency.json")


def pairs(model, file):
    """Run the paired test, and time the prediction of one image."""
    if file.is_file():
        return
    dataset = open_dataset(PAIRS, "test")
    answers = run_pairs(dataset, limits_rows(dataset), mean_count_score(program_of(model)))
    found = {f"{e.species} {e.case}": e.efficiency for e in efficiencies(answers)}
    image = np.tile(dataset[0].counts, (2, 2))[:SIDE, :SIDE]
    times = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        predict(model, image, dataset.field.sampling)
        times.append(time.perf_counter() - begun)
    file.write_text(json.dumps({"efficiency": found, "images/s": 1 / float(np.median(times))}))


def without_calibration(model):
    """Leave the logits of a model as they are."""
    none = {species: CalibrationFacts.none(model.config.net.max_count + 1) for species in SPECIES}
    changes = {"column_calibration": none, "pixel_calibration": none}
    return Model(model.config.model_copy(update=changes), model.net)


def table(arguments):
    """Print a row per net and per ablation, mean and spread over seeds."""
    rows = [row_of(name, arguments.out / name) for name in chosen(arguments)]
    rows = pd.DataFrame([row for row in rows if row is not None])
    print(f"{platform.machine()}, PyTorch {torch.__version__}, one thread\n")
    if not len(rows):
        print("nothing is measured yet")
        return
    if arguments.csv is not None:
        rows.to_csv(arguments.csv, index=False, float_format="%.5g")
    names = [name for name in rows.columns if name != "run"]
    print(f"| run | {' | '.join(names)} |")
    print("|---" * (len(names) + 1) + "|")
    for run, own in rows.groupby("run", sort=False):
        cells = []
        for name in names:
            values = own[name].to_numpy(float)
            spread = f" ± {values.std(ddof=1):.2g}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.4g}{spread}")
        print(f"| {run} | {' | '.join(cells)} |")


def row_of(name, folder):
    """Collect the figures of one run; None where it is not measured."""
    if not (folder / "efficiency.json").is_file():
        return None
    found = read_evaluation(folder / "evaluation.json")
    bare = read_evaluation(folder / "uncalibrated.json")
    model = from_pretrained(folder / MODEL)
    parts = name.rsplit("-", 1)

    def value(metric, species, dose, source=found, **where):
        figure = source.figure(metric, species, dose, **where)
        return np.nan if figure is None or figure.value is None else figure.value

    window = {"axis": "defocus_A", "label": WINDOW}
    row = {
        "run": parts[0] if name.startswith("tiny-") else name,
        "crops": model.config.training.crops,
    }
    row["thousand weights"] = sum(p.numel() for p in model.net.parameters()) / 1e3
    cost = folder / "cost.json"
    row["s"] = json.loads(cost.read_text())["cpu_s"] if cost.is_file() else np.nan
    for dose in DOSES:
        row[f"Ce {dose:g}"] = value("exact", "Ce", dose, **window)
    row["O 1000"] = value("exact", "O", 1000.0, **window)
    row["F1 Ce 100"] = value("f1", "Ce", 100.0)
    row["pm Ce 1000"] = value("position_rms", "Ce", 1000.0)
    row["spread Ce 300"] = value("stability", "Ce", 300.0)
    row["ECE Ce 300"] = value("calibration_error", "Ce", 300.0)
    row["uncalibrated"] = value("calibration_error", "Ce", 300.0, bare)
    pairs = json.loads((folder / "efficiency.json").read_text())
    row["η Ce end"] = pairs["efficiency"]["Ce end"] or np.nan
    row["images/s"] = pairs["images/s"]
    return row


def chosen(arguments):
    """Select the runs that were asked for."""
    known = runs(arguments.scale)
    wrong = set(arguments.runs) - set(known)
    if wrong:
        raise SystemExit(f"no such runs: {', '.join(sorted(wrong))}; `list` names them")
    return {name: known[name] for name in arguments.runs or known}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for name, function in (
        ("list", None),
        ("train", train),
        ("measure", measure),
        ("table", table),
    ):
        command = commands.add_parser(name)
        if name in ("train", "measure"):
            command.add_argument("dataset")
        if name != "list":
            command.add_argument("runs", nargs="*", metavar="RUN")
            command.add_argument("--out", type=Path, required=True)
            command.add_argument("--scale", type=float, default=1.0, help="of the crops")
        if name == "table":
            command.add_argument("--csv", type=Path, help="write a row per training too")
        command.set_defaults(run=function)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.run is None:
        print(*runs(), sep="\n")
    else:
        arguments.run(arguments)


if __name__ == "__main__":
    main()
