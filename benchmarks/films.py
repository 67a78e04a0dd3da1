"""Films of known truth, predicted and tracked: counts, events, and what is false.

    python benchmarks/films.py predict DATASET --out FOLDER [--split S ...] [--dose D ...]
    python benchmarks/films.py score DATASET FOLDER
    python benchmarks/films.py depth DATASET FOLDER
    python benchmarks/films.py still DATASET FOLDER [--dose D]
    python benchmarks/films.py fit DATASET FOLDER --out SETTINGS [--temperature-only]

`predict` records every film of the splits again at every dose, runs `predict` and `track` as the
command line does, and leaves a folder for each; what is there already is kept. `score` adds up
all films of a split and dose. Columns in the field that were not found count as wrong; events
count as found within 1.5 Å and 0.2 s (Ce) or 0.5 s (O). Brackets are 95 % intervals of a
bootstrap over films. `fit` makes settings of `ceria-models track` from predicted films of known
truth, those of the splits validation; `predict --settings SETTINGS` tracks
again with them. `depth` compares first and last atom of every column that has some, in every
interval between events, with the structure at its middle. `still` counts the changes that are
found where there are none, with the packaged settings and without offsets of a half, on the
splits validation.
"""

import argparse
import json
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ceria_data.dataset import open_dataset
from ceria_data.film_dataset import film_of_samples
from ceria_data.schema import SPECIES
from ceria_models import DEFAULT
from ceria_models.film_scoring import as_changes, score_events, with_places
from ceria_models.film_source import Source
from ceria_models.prediction_run import PredictionSettings, run_prediction
from ceria_models.tracking_fit import Film, calm, false_changes, fit_tracking
from ceria_models.tracking_run import run_tracking
from ceria_models.tracking_settings import load_settings

DOSES = (100.0, 300.0, 1000.0)
WINDOWS = {"Ce": 0.2, "O": 0.5}
SAME_COLUMN = 0.9
BINS = 10
DRAWS = 1000


@dataclass(frozen=True)
class Truth:
    """What a film shows: columns by name, their places in the reference, counts by frame."""

    species: np.ndarray
    places: np.ndarray
    counts: np.ndarray
    in_field: np.ndarray
    events: pd.DataFrame
    seconds: float


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


def depth(arguments):
    """Print the error of top and bottom of the columns, by dose and species."""
    print("| films | e⁻/Å² | species | columns and intervals | top, rms [Å] | bottom | stated |")
    print("|---" * 7 + "|")
    found = {}
    for folder in sorted(path for path in arguments.folder.iterdir() if path.is_dir()):
        if folder.name.startswith("test") and (folder / "track.json").is_file():
            split, dose, particle = folder.name.rsplit("-", 2)
            errors = depth_errors(open_dataset(arguments.dataset, split), int(particle), folder)
            for species, own in errors.items():
                found.setdefault((float(dose), species), []).append(own)
    for (dose, species), parts in sorted(found.items()):
        top, bottom, stated = np.sqrt(np.square(np.concatenate(parts, axis=1)).mean(axis=1))
        number = sum(part.shape[1] for part in parts)
        print(f"| {len(parts)} | {dose:g} | {species} | {number} | {top:.2f} | {bottom:.2f} | "
              f"{stated:.2f} |", flush=True)  # fmt: skip


def depth_errors(dataset, particle, folder):
    """Subtract the truth from top and bottom; the middle of the particle is not known to a film."""
    frames, sites = (pd.read_parquet(folder / f"{name}.parquet") for name in ("frames", "sites"))
    interfaces = pd.read_parquet(folder / "interfaces.parquet")
    truth = truth_of(dataset, particle, frames)
    structures = dataset.samples[dataset.samples["particle"] == particle].sort_values("frame")
    intervals = json.loads((folder / "track.json").read_text())["intervals"]
    places = sites.sort_values("site")[["x_A", "y_A"]].to_numpy()
    errors = {species: [] for species in SPECIES}
    for number, (start, stop) in enumerate(intervals):
        true = dataset.columns_of(int(structures["structure"].iloc[(start + stop) // 2]))
        own = interfaces[(interfaces["interval"] == number) & interfaces["top_A"].notna()]
        parts = {}
        for species in SPECIES:
            rows = own[sites.sort_values("site")["species"].to_numpy()[own["site"]] == species]
            mine = np.flatnonzero((true["species"] == species) & (true["occupancy"] > 0))
            at = places[rows["site"].to_numpy()]
            there = truth.places[mine]
            apart = np.hypot(*(at[:, None, i] - there[None, :, i] for i in (0, 1)))
            met = apart.min(1) < SAME_COLUMN
            column = true.iloc[mine[apart.argmin(1)[met]]]
            parts[species] = np.stack([
                rows["top_A"].to_numpy()[met] - column["z_first_A"].to_numpy(),
                rows["bottom_A"].to_numpy()[met] - column["z_last_A"].to_numpy(),
                rows["top_sd_A"].to_numpy()[met],
            ])  # fmt: skip
        shift = np.mean(np.concatenate([part[:2] for part in parts.values()], axis=1))
        for species, part in parts.items():
            errors[species].append(part - np.array([[shift], [shift], [0.0]]))
    return {species: np.concatenate(own, axis=1) for species, own in errors.items()}


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
        "calibration error before", "after", "false columns", "events", "found", "precision",
        "recall", "F1", "changes F1", "time error [s]", "false in 10 s",
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


def cells(films):
    """Add up the films of a row."""
    rng = np.random.default_rng(0)
    draws = rng.integers(len(films), size=(DRAWS, len(films)))
    total = {key: np.array([film[key] for film in films], dtype=float) for key in films[0]}

    def share(top, bottom):
        values, low_high = ratio(total, top, bottom, slice(None)), []
        if np.isfinite(values):
            drawn = [ratio(total, top, bottom, draw) for draw in draws]
            low_high = np.nanpercentile(drawn, (2.5, 97.5))
        return f"{values:.3f} ({low_high[0]:.3f}–{low_high[1]:.3f})" if len(low_high) else "–"

    errors = {
        name: np.abs((total[f"bins_{name}_confidence"] - total[f"bins_{name}_right"]).sum(0)).sum()
        / max(total[f"bins_{name}_n"].sum(), 1)
        for name in ("before", "after")
    }
    squares = total["time_squares"].sum() / max(total["right"].sum(), 1)
    return [
        share("before_right", "n"),
        share("after_right", "n"),
        share("missed", "n"),
        f"{errors['before']:.3f}",
        f"{errors['after']:.3f}",
        f"{(total['extra'].sum() / total['frames'].sum()):.2f} a frame",
        f"{total['true'].sum():.0f}",
        f"{total['found'].sum():.0f}",
        share("right", "found"),
        share("right", "true"),
        share("both", "true_and_found"),
        share("changes_both", "changes_true_and_found"),
        f"{np.sqrt(squares):.3f}" if total["right"].sum() else "–",
        f"{10 * (total['found'] - total['right']).sum() / total['seconds'].sum():.2f}",
    ]


def ratio(total, top, bottom, draw):
    below = total[bottom][draw].sum()
    return total[top][draw].sum() / below if below else np.nan


def film_scores(dataset, particle, folder):
    """Compare one film with its truth: sums, by species."""
    frames, sites = (pd.read_parquet(folder / f"{name}.parquet") for name in ("frames", "sites"))
    truth = truth_of(dataset, particle, frames)
    sides = {
        name: cube(pd.read_parquet(folder / f"{file}.parquet"), len(sites), len(frames))
        for name, file in (("before", "readings"), ("after", "tracks"))
    }
    found = pd.read_parquet(folder / "events.parquet")
    site_places = sites.sort_values("site")[["x_A", "y_A"]].to_numpy()
    return {
        species: count_sums(truth, sides, sites, site_places, species)
        | event_sums(truth, found, site_places, species)
        for species in SPECIES
    }


def truth_of(dataset, particle, frames):
    samples = dataset.samples[dataset.samples["particle"] == particle].sort_values("frame")
    both = samples.merge(frames, on="frame", suffixes=("", "_found"))
    # The reference lies where its drift is 0, the truth where that of the film is.
    shift = [
        float((both[f"drift_{axis}_A_found"] - both[f"drift_{axis}_A"]).median()) for axis in "xy"
    ]
    tables = {int(s): dataset.columns_of(int(s)) for s in samples["structure"].unique()}
    first = tables[int(samples["structure"].iloc[0])]
    names = first["site_id"].to_numpy()
    of_structure = {s: t.set_index("site_id").loc[names] for s, t in tables.items()}
    counts = np.stack(
        [of_structure[int(s)]["occupancy"].to_numpy() for s in samples["structure"]], axis=1
    )
    places = first[["x_A", "y_A"]].to_numpy() - np.array(shift)
    height, width = dataset.field.extent
    x, y = places.T
    in_field = (x > 1) & (y > 1) & (x < width - 1) & (y < height - 1)
    row = {int(name): i for i, name in enumerate(names)}
    events = dataset.events[dataset.events["particle"] == particle]
    events = events.assign(
        site_from=[row.get(int(i), -1) for i in events["site_id_from"]],
        site_to=[row.get(int(i), -1) for i in events["site_id_to"]],
    )
    events = events[(events["site_from"] >= 0) | (events["site_to"] >= 0)]
    seconds = float(samples["time_s"].max() - samples["time_s"].min())
    species = first["species"].to_numpy()
    return Truth(species, places, counts, in_field, events, seconds)


def cube(table, n_sites, n_frames):
    """Probabilities (site, frame, class); not a number where nothing was read."""
    classes = [name for name in table if name.startswith("p_")]
    p = np.full((n_sites, n_frames, len(classes)), np.nan, dtype=np.float32)
    p[table["site"], table["frame"]] = table[classes].to_numpy()
    return p


def count_sums(truth, sides, sites, site_places, species):
    """Count what is right, over all columns and frames of the field."""
    own = np.flatnonzero((truth.species == species) & truth.in_field)
    numbers = sites.sort_values("site")
    mine = np.flatnonzero((numbers["species"] == species).to_numpy())
    counts = truth.counts[own]
    there = counts > 0
    apart = np.hypot(
        *(truth.places[own, None, axis] - site_places[None, mine, axis] for axis in (0, 1))
    )
    nearest = apart.argmin(1) if len(mine) else np.zeros(len(own), int)
    met = apart.min(1) < SAME_COLUMN if len(mine) else np.zeros(len(own), bool)
    sums = {"n": there.sum(), "missed": (there & ~met[:, None]).sum(), "frames": counts.shape[1]}
    for name, p in sides.items():
        read = p[mine[nearest]] if len(mine) else np.zeros((*counts.shape, 2), np.float32)
        known = met[:, None] & np.isfinite(read[..., 0])
        said = np.nan_to_num(read).argmax(-1)
        right = known & (said == np.minimum(counts, read.shape[-1] - 1))
        sums[f"{name}_right_all"] = (right & there).sum()
        confidence = np.nan_to_num(read).max(-1)
        at = np.minimum((confidence * BINS).astype(int), BINS - 1)
        for key, values in (("n", known), ("confidence", confidence * known), ("right", right)):
            sums[f"{name}_{key}_bins"] = np.bincount(
                at[known], values[known].astype(float), minlength=BINS
            )
    strays = np.setdiff1d(np.arange(len(mine)), nearest[met])
    extra = sides["after"][mine[strays]] if len(strays) else np.zeros((0, 1, 1))
    sums["extra"] = (np.nan_to_num(extra, nan=1.0)[..., 0] < 0.5).sum()
    renamed = {f"{side}_right": sums.pop(f"{side}_right_all") for side in sides}
    errors = {
        f"{side}_{key}": sums.pop(f"{side}_{key}_bins")
        for side in sides
        for key in ("n", "confidence", "right")
    }
    return sums | {f"bins_{key}": value for key, value in errors.items()} | renamed


def event_sums(truth, found, site_places, species):
    mine = found[found["species"] == species]
    told = truth.events[truth.events["species"] == species]
    window = WINDOWS[species]
    events = score_events(mine, with_places(told, truth.places), truth.seconds, window=window)
    changes = score_events(
        as_changes(mine, site_places),
        as_changes(told, truth.places),
        truth.seconds,
        window=window,
    )
    error = 0.0 if np.isnan(events.time_error_s) else events.time_error_s
    return {
        "true": events.n_true,
        "found": events.n_found,
        "right": events.n_right,
        "both": 2 * events.n_right,
        "true_and_found": events.n_true + events.n_found,
        "changes_both": 2 * changes.n_right,
        "changes_true_and_found": changes.n_true + changes.n_found,
        "time_squares": events.n_right * error**2,
        "seconds": truth.seconds,
    }


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
    one = commands.add_parser("score")
    one.add_argument("dataset")
    one.add_argument("folder", type=Path)
    one.set_defaults(run=score)
    one = commands.add_parser("depth")
    one.add_argument("dataset")
    one.add_argument("folder", type=Path)
    one.set_defaults(run=depth)
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
