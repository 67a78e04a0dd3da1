"""Films of known truth, predicted and tracked: counts, events, and what is false.

    python benchmarks/films.py predict DATASET --out FOLDER [--split S ...] [--dose D ...]
    python benchmarks/films.py score DATASET FOLDER
    python benchmarks/films.py depth DATASET FOLDER [--columns N] [--split S ...] [--dose D ...]
    python benchmarks/films.py jointly DATASET [--split S] [--films N] [--dose D] [--frames N]
    python benchmarks/films.py observer DATASET --out FOLDER [--split S ...] [--dose D ...]
    python benchmarks/films.py still DATASET FOLDER [--dose D]
    python benchmarks/films.py fit DATASET FOLDER --out SETTINGS [--temperature-only]

`predict` records every film of the splits again at every dose, runs `predict` and `track` as the
command line does, and leaves a folder for each; what is there already is kept. `score` adds up all
films of a split and dose. Columns in the field that were not found count as wrong; events count as
found within 1.5 Å and 0.2 s (Ce) or 0.5 s (O). "By chance" is the calibration error, median and
what 19 in 20 stay below, of as many columns with right confidence. Brackets are 95 % intervals of a
bootstrap over films. `fit` makes settings of `ceria-models track` from predicted films of known
truth, those of the splits validation; `predict --settings SETTINGS` tracks again with them. `depth`
compares first and last atom of every column that has some, in every interval between events, with
the structure at its middle, beside the ideal observer, of whom it tells without predicted films
too; `jointly` computes the observer's bound for all columns of a film at once. `still` counts the
changes that are found where there are none, with the packaged settings and without offsets of a
half, on the splits validation. `observer` writes a folder for each film as `predict` does, read by
the ideal observer instead of a net; `score` takes them too.
"""

import argparse
import platform
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from film_depth import depth
from film_depth_limits import jointly
from film_observer import observe
from film_scores import SAME_COLUMN, cells, cube, film_scores, truth_of

from ceria_data.dataset import open_dataset
from ceria_data.film_dataset import film_of_samples
from ceria_data.schema import SPECIES
from ceria_models import DEFAULT
from ceria_models.film_source import Source
from ceria_models.prediction_run import PredictionSettings, run_prediction
from ceria_models.tracking_fit import Film, calm, false_changes, fit_tracking
from ceria_models.tracking_run import run_tracking
from ceria_models.tracking_settings import load_settings

DOSES = (100.0, 300.0, 1000.0)


def predict(arguments):
    """Predict and track all films at all doses."""
    for split in arguments.split:
        dataset = open_dataset(arguments.dataset, split)
        for dose in arguments.dose:
            for particle in dataset.samples["particle"].unique():
                folder = arguments.out / f"{split}-{dose:g}-{particle}"
                if not (folder / "prediction.json").is_file():
                    film = film_of_samples(dataset.at_dose(dose), particle=int(particle))
                    times = np.arange(len(film)) * film.frame_time_s
                    record = {"split": split, "particle": int(particle), "dose": dose}
                    settings = PredictionSettings(arguments.model, pictures=0, resume=True)
                    source = Source(film, times, True, record)
                    run_prediction(source, film.sampling, folder, settings)
                settings = load_settings(arguments.settings)
                run_tracking(folder, overwrite=True, settings=settings)
                print(folder.name, flush=True)


def still(arguments):
    """Print false changes with and without offsets of a half."""
    films, settings = validation_films(arguments, arguments.dose), load_settings()
    print("| species | offsets | films | column-seconds | true changes | false changes |")
    print("|---" * 6 + "|")
    for species, own in films.items():
        true = sum(int((np.diff(film.truth, axis=1) != 0).sum()) for film in own)
        evidence = settings.evidence[species]
        whole = np.array(evidence.offset) * (np.arange(len(evidence.offset)) % 2 == 0)
        only_whole = evidence.model_copy(update={"offset": tuple(whole / whole.sum())})
        for name, each in (("halves too", evidence), ("whole", only_whole)):
            number, seconds = false_changes(own, each, settings.motion[species])
            row = [species, name, len(own), f"{seconds:.0f}", true, number]
            print(f"| {' | '.join(map(str, row))} |", flush=True)


def validation_films(arguments, dose=None):
    """Collect predicted films of the splits validation, by species."""
    films = {species: [] for species in SPECIES}
    for folder in sorted(path for path in arguments.folder.iterdir() if path.is_dir()):
        split, recorded, particle = folder.name.rsplit("-", 2)
        if split.startswith("validation") and dose in (None, float(recorded)):
            dataset = open_dataset(arguments.dataset, split)
            for species, film in fitted_films(dataset, int(particle), folder).items():
                films[species].append(film)
    return films


def fit(arguments):
    """Fit what frames are worth, and raise the temperature until still columns stay still."""
    films = validation_films(arguments)
    usual, evidence = load_settings(), {}
    for species in SPECIES:
        start, motion = usual.evidence[species], usual.motion[species]
        if not arguments.temperature_only:
            found = fit_tracking(films[species], start, motion)
            print(f"{species}: {found.before:.3f} -> {found.after:.3f} nats", flush=True)
            start = found.settings
        evidence[species] = calm(films[species], start, motion, most=arguments.false_changes)
        number, seconds = false_changes(films[species], evidence[species], motion)
        shown = evidence[species].model_dump(exclude={"prior"})
        print(f"{species}: {shown}; {number} false in {seconds:.0f} column-seconds", flush=True)
    how = "temperature of the settings before" if arguments.temperature_only else "all"
    fitted = dict(usual.fitted) | {
        "films": f"{len(films['Ce'])} films of {open_dataset(arguments.dataset).manifest['name']}, "
        f"splits validation; {how}, at most {arguments.false_changes:g} false changes in 1,000 "
        "column-seconds; python benchmarks/films.py fit",
    }
    settings = usual.model_copy(update={"evidence": evidence, "fitted": fitted})
    arguments.out.write_text(settings.model_dump_json(indent=1) + "\n", encoding="utf-8")


def fitted_films(dataset, particle, folder):
    """Pair the readings of the sites of a film with the true counts; a false site has 0."""
    frames, sites = (pd.read_parquet(folder / f"{name}.parquet") for name in ("frames", "sites"))
    truth = truth_of(dataset, particle, frames)
    sites = sites.sort_values("site")
    p = cube(pd.read_parquet(folder / "readings.parquet"), len(sites), len(frames))
    films = {}
    for species in SPECIES:
        own = np.flatnonzero(truth.species == species)
        mine = np.flatnonzero((sites["species"] == species).to_numpy())
        places = sites[["x_A", "y_A"]].to_numpy()[mine]
        apart = np.hypot(*(places[:, None, i] - truth.places[None, own, i] for i in (0, 1)))
        counts = np.where(
            (apart.min(1) < SAME_COLUMN)[:, None], truth.counts[own[apart.argmin(1)]], 0
        )
        times, dose = (frames[name].to_numpy() for name in ("time_s", "dose_e_per_A2"))
        films[species] = Film(p[mine], counts, times, dose)
    return films


def score(arguments):
    """Print a row for each split, dose and species."""
    print(f"{platform.machine()}, PyTorch {torch.__version__}\n")
    head = (
        "films", "e⁻/Å²", "species", "one frame", "tracked", "not found",
        "calibration error before", "after", "by chance, 19 of 20 below", "stated, right",
        "false columns", "events", "found", "precision", "recall", "F1", "changes F1",
        "time error [s]", "false in 10 s", "lasting changes found",
        "false changes in 1,000 column-frames", "lasting vacancies",
    )  # fmt: skip
    print(f"| {' | '.join(head)} |")
    print("|---" * len(head) + "|")
    found = {}
    for folder in sorted(path for path in arguments.folder.iterdir() if path.is_dir()):
        if (folder / "track.json").is_file():
            split, dose, particle = folder.name.rsplit("-", 2)
            of_film = film_scores(open_dataset(arguments.dataset, split), int(particle), folder)
            for species, own in of_film.items():
                found.setdefault((split, float(dose), species), []).append(own)
    for (split, dose, species), films in sorted(found.items()):
        print(f"| {split} ({len(films)}) | {dose:g} | {species} | {' | '.join(cells(films))} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("predict")
    one.add_argument("dataset")
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--split", nargs="+", default=["test", "test_calm", "test_vacancies"])
    one.add_argument("--dose", type=float, nargs="+", default=DOSES)
    one.add_argument("--model", default=DEFAULT)
    one.add_argument("--settings", type=Path, help="of tracking")
    one.set_defaults(run=predict)
    one = commands.add_parser("observer")
    one.add_argument("dataset")
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--split", nargs="+", default=["test", "test_calm", "test_vacancies"])
    one.add_argument("--dose", type=float, nargs="+", default=DOSES)
    one.add_argument("--columns", type=int, default=12, help="of each species and film")
    one.set_defaults(run=observe)
    one = commands.add_parser("score")
    one.add_argument("dataset")
    one.add_argument("folder", type=Path)
    one.set_defaults(run=score)
    one = commands.add_parser("depth")
    one.add_argument("dataset")
    one.add_argument("folder", type=Path)
    one.add_argument("--columns", type=int, default=1, help="of each species and film, observed")
    one.add_argument("--split", nargs="+", default=["test", "test_calm", "test_vacancies"])
    one.add_argument("--dose", type=float, nargs="+", default=DOSES)
    one.set_defaults(run=depth)
    one = commands.add_parser("jointly")
    one.add_argument("dataset")
    one.add_argument("--split", default="test")
    one.add_argument("--films", type=int, default=2, help="the smallest particles")
    one.add_argument("--dose", type=float, default=300.0)
    one.add_argument("--frames", type=int, default=150)
    one.add_argument("--phonons", type=int, default=8, help="thermal configurations, at most")
    one.set_defaults(run=jointly)
    one = commands.add_parser("still")
    one.add_argument("dataset")
    one.add_argument("folder", type=Path)
    one.add_argument("--dose", type=float, default=300.0)
    one.set_defaults(run=still)
    one = commands.add_parser("fit")
    one.add_argument("dataset")
    one.add_argument("folder", type=Path)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--temperature-only", action="store_true")
    one.add_argument("--false-changes", type=float, default=0.3, help="in 1,000 column-seconds")
    one.set_defaults(run=fit)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
