"""How well films are followed, and how much the readings of a film are worth.

    python benchmarks/tracking.py synthetic                 # a minute, one core
    python benchmarks/tracking.py prior                     # what is done with the prior, a minute
    python benchmarks/tracking.py worth DATASET             # frames of a net, minutes
    python benchmarks/tracking.py fit DATASET --out FILE    # settings for a net, minutes

`synthetic` draws films of readings as of the ideal observer, whose d'² of one frame grows with
the dose, with a share of columns misread throughout. `fit` records the still images of two splits
again and again, reads the net at every column and beside the particle, and fits the settings on
one split and measures them on the other; `worth` measures the packaged ones. Films of a dataset:
`benchmarks/films.py`.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ceria_data.dataset import open_dataset
from ceria_data.schema import SPECIES
from ceria_models import DEFAULT
from ceria_models.chains import Chain
from ceria_models.film_chain import Columns, fit_chain, smoothed_blocks
from ceria_models.film_scoring import (
    ideal_smoothing,
    score_counts,
    score_events,
    with_places,
)
from ceria_models.synthetic_film import synthetic_film
from ceria_models.tracking_fit import Film, calm, false_changes, fit_tracking, plain_settings
from ceria_models.tracking_run import run_tracking
from ceria_models.tracking_settings import EvidenceSettings, fit_prior, load_settings

D2_PER_DOSE = {"Ce": 0.040, "O": 0.0042}
"""Median squared d' of the ideal observer per e-/Å² (docs/physics.md)."""
ACTIVE, CALM = (0.01, 0.01, 0.02), (0.0, 0.0, 0.0)
WINDOWS = {"Ce": 0.2, "O": 0.5}
DOSES = (100.0, 300.0, 1000.0)
FRAMES = 24
EMPTY_PLACES = 6


def synthetic(arguments):
    """Print counts before, after and at best, and events, for doses and shares of misreading."""
    print("| dose | misread | film | species | one frame | tracked | ideal | ECE before | ECE | "
          "precision | recall | F1 | time error [s] | false in 10 s |")  # fmt: skip
    print("|---" * 14 + "|")
    for dose in DOSES:
        for biased in (0.0, 0.1):
            for name, rates in (("active", ACTIVE), ("calm", CALM)):
                show_synthetic(dose, biased, name, rates, arguments.frames)


def show_synthetic(dose, biased, name, rates, frames):
    d2 = tuple(D2_PER_DOSE[species] * dose for species in SPECIES)
    film = synthetic_film(
        n_frames=frames, columns=150, dose=dose, d2=d2, rates_per_s=rates, biased=biased, seed=7
    )
    settings = load_settings()
    settings = settings.model_copy(update={"evidence": {
        species: EvidenceSettings(
            prior=tuple(film.prior[species]),
            offset=(0.0, 0.0, biased, 0.0, 1 - 2 * biased, 0.0, biased, 0.0, 0.0),
        )
        for species in SPECIES
    }})  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        folder = film.write(Path(scratch) / "film")
        run_tracking(folder, settings=settings)
        p = probabilities(folder, len(film.sites))
        events = pd.read_parquet(folder / "events.parquet")
    places = film.sites[["x_A", "y_A"]].to_numpy()
    truth = with_places(film.events, places)
    times = film.frames["time_s"].to_numpy()
    seconds = float(times[-1] - times[0])
    for species in SPECIES:
        own = (film.sites["species"] == species).to_numpy()
        before, after = (score_counts(x[own], film.truth[own]) for x in (film.p, p))
        shares = np.bincount(film.truth[own].ravel(), minlength=p.shape[-1]) + 1e-3
        rate = max(sum(rates), 1e-3)
        chain = Chain(shares / shares.sum(), rate, rate, np.zeros(1), np.ones(1))
        ideal = score_counts(
            ideal_smoothing(film.truth[own], film.d2[own], times, chain, seed=0), film.truth[own]
        )
        score = score_events(
            events[events["species"] == species], truth[truth["species"] == species], seconds,
            window=WINDOWS[species],
        )  # fmt: skip
        row = [f"{dose:g}", f"{2 * biased:g}", name, species]
        row += [f"{v:.3f}" for v in (before.exact, after.exact, ideal.exact)]
        row += [f"{v:.3f}" for v in (before.calibration_error, after.calibration_error)]
        row += [f"{v:.2f}" for v in (score.precision, score.recall, score.f1)]
        row += [f"{score.time_error_s:.3f}", f"{score.false_per_10s:.2f}"]
        print(f"| {' | '.join(row)} |", flush=True)


def probabilities(folder, n_sites):
    tracks = pd.read_parquet(folder / "tracks.parquet").sort_values(["site", "frame"])
    names = [name for name in tracks if name.startswith("p_")]
    return tracks[names].to_numpy().reshape(n_sites, -1, len(names))


def prior(_):
    """Print what dividing by the net's prior, and learning that of the film, are worth."""
    films = [
        synthetic_film(
            n_frames=60, columns=50, rates_per_s=(0.02, 0.02, 0.04), d2=(4.0, 0.42), seed=seed
        )
        for seed in range(10)
    ]
    motion = load_settings().motion
    print("| frames | divided by | prior counts as | species | exact | confidence | "
          "mean -ln p(truth) |")  # fmt: skip
    print("|---" * 7 + "|")
    for frames in (1, 60):
        for divided in ("prior of the net", "nothing"):
            for columns in (5.0, 20.0, 1e9):
                for species in SPECIES:
                    own = films[0].prior[species]
                    own = own if divided != "nothing" else np.full(len(own), 1 / len(own))
                    settings = EvidenceSettings(prior=tuple(own), prior_columns=columns)
                    score, surprise = still_score(
                        [still_film(film, species, frames) for film in films],
                        settings, motion[species],
                    )  # fmt: skip
                    print(f"| {frames} | {divided} | {columns:g} | {species} | {score.exact:.3f} | "
                          f"{score.confidence:.3f} | {surprise:.2f} |", flush=True)  # fmt: skip


def still_film(film, species, frames):
    own = (film.sites["species"] == species).to_numpy()
    times, dose = (film.frames[name].to_numpy() for name in ("time_s", "dose_e_per_A2"))
    return Film(film.p[own], film.truth[own], times, dose).first(frames)


def still_score(films, settings, motion):
    """Score the last frames of films, each with a prior of its own."""
    p, truth = [], []
    for film in films:
        columns = Columns(film.p, np.arange(len(film.p)), film.times, film.dose)
        chain = fit_chain(columns, settings, motion)
        for which, found in smoothed_blocks(columns, settings, chain):
            p.append(found.p[-1])
            truth.append(film.truth[which, -1])
    p, truth = np.concatenate(p), np.concatenate(truth)
    own = p[np.arange(len(truth)), np.minimum(truth, p.shape[1] - 1)]
    return score_counts(p, truth), float(-np.log(np.maximum(own, 1e-9)).mean())


def worth(arguments):
    """Measure the packaged settings on the split test."""
    films = recorded(arguments.dataset, "test", arguments.images, arguments.model or DEFAULT)
    show_fit(films, load_settings())
    show_changes(films, load_settings())


def fit(arguments):
    """Fit settings on the split validation, measure them on test, and write them."""
    model = arguments.model or DEFAULT
    films = {
        split: recorded(arguments.dataset, split, arguments.images, model)
        for split in ("validation", "test")
    }
    train = open_dataset(arguments.dataset, "train")
    columns = pd.concat(
        [train.columns_of(int(s)) for s in train.samples["structure"].unique()], ignore_index=True
    )
    usual = load_settings()
    max_count = next(iter(films["validation"]["Ce"]))[1].p.shape[2] - 1
    priors = fit_prior(columns[columns["in_field"]], max_count, arguments.empty)
    evidence = {}
    for species in SPECIES:
        own = [film for _, film in films["validation"][species]]
        start = EvidenceSettings(prior=priors[species])
        found = fit_tracking(own[:: arguments.every], start, usual.motion[species])
        evidence[species] = calm(own, found.settings, usual.motion[species])
        print(f"{species}: {found.before:.3f} -> {found.after:.3f} nats; "
              f"{found.settings.model_dump(exclude={'prior'})}")  # fmt: skip
    manifest = train.manifest
    fitted = {
        "net": model,
        "dataset": f"{manifest['name']} {manifest['version']}, split validation, still images "
        f"recorded {FRAMES} times at {', '.join(f'{d:g}' for d in DOSES)} e-/Å²",
        "command": "python benchmarks/tracking.py fit",
    }
    settings = replace_evidence(usual, evidence, fitted)
    arguments.out.write_text(settings.model_dump_json(indent=1) + "\n", encoding="utf-8")
    show_fit(films["test"], settings)
    show_changes(films["test"], settings)


def replace_evidence(settings, evidence, fitted):
    return settings.model_copy(update={"evidence": evidence, "fitted": fitted})


def show_fit(films, settings):
    """Print exact counts and confidence on the split test, for plain products and as fitted."""
    print("| species | dose | frames | product: exact | confidence | -ln p | fitted: exact | "
          "confidence | -ln p |")  # fmt: skip
    print("|---" * 9 + "|")
    for species in SPECIES:
        fitted, motion = settings.evidence[species], settings.motion[species]
        for dose in DOSES:
            own = [film for d, film in films[species] if d == dose]
            for frames in (1, 4, 8, FRAMES):
                cells = []
                for each in (plain_settings(fitted), fitted):
                    score, surprise = still_score([f.first(frames) for f in own], each, motion)
                    cells += [f"{score.exact:.3f}", f"{score.confidence:.3f}", f"{surprise:.2f}"]
                print(f"| {species} | {dose:g} | {frames} | {' | '.join(cells)} |", flush=True)


def show_changes(films, settings):
    """Print false changes of still films, and how many losses are found that were put into them."""
    print("| species | dose | column-seconds | false changes | losses put in | found | others |")
    print("|---" * 7 + "|")
    rng = np.random.default_rng(0)
    for species in SPECIES:
        evidence, motion = settings.evidence[species], settings.motion[species]
        for dose in DOSES:
            own = [film for d, film in films[species] if d == dose]
            false, seconds = false_changes(own, evidence, motion)
            lossy = [spliced(film, rng) for film in own]
            others, _ = false_changes(lossy, evidence, motion)
            there = sum(int((np.diff(film.truth, axis=1) < 0).sum()) for film in lossy)
            # Turned backwards nothing is true: what is then false and was not, was found.
            still = [replace(film, truth=film.truth[:, ::-1]) for film in lossy]
            found = false_changes(still, evidence, motion)[0] - others
            print(f"| {species} | {dose:g} | {seconds:.0f} | {false} | {there} | {found} | "
                  f"{others} |", flush=True)  # fmt: skip


def spliced(film, rng):
    """Let a tenth of the columns lose an atom: go on with another column that has one less."""
    p, truth = film.p.copy(), film.truth.copy()
    middle, counts = p.shape[1] // 2, film.truth[:, 0]
    for site in rng.permutation(len(p))[: max(1, len(p) // 10)]:
        fewer = np.flatnonzero((counts == counts[site] - 1) & (counts > 0))
        if len(fewer):
            p[site, middle:] = film.p[rng.choice(fewer), middle:]
            truth[site, middle:] = counts[site] - 1
    return replace(film, p=p, truth=truth)


def recorded(dataset, split, images, model):
    """Read a net at all columns, and at empty places beside them, of images recorded anew."""
    from ceria_data.detector import record
    from ceria_data.parameters import Camera
    from ceria_models import from_pretrained
    from ceria_models.contrast import apparent_dose
    from ceria_models.frame_reading import Reader, read_frame
    from ceria_models.runtime import open_runtime

    loaded = from_pretrained(model)
    reader = Reader(loaded, open_runtime(loaded))
    opened = open_dataset(dataset, split)
    rng = np.random.default_rng(0)
    defocus = opened.samples["defocus_A"].to_numpy()
    usable = np.flatnonzero((defocus > -95) & (defocus < -40))
    films = {species: [] for species in SPECIES}
    for number in rng.permutation(usable)[:images]:
        sample, field = opened[int(number)], opened.field
        places, truth = places_of(sample.columns, field, rng)
        for dose in DOSES:
            p = {species: [] for species in SPECIES}
            doses = []
            for _ in range(FRAMES):
                seed = int(rng.integers(2**31))
                intensity = sample.intensity.astype(np.float64)
                image = record(intensity, dose, field.sampling, Camera(), seed)
                doses.append(apparent_dose(image, field.sampling))
                said = read_frame(reader, image, field.sampling, doses[-1], places)
                for species in SPECIES:
                    p[species].append(said.p[species])
            for species in SPECIES:
                film = Film(
                    np.stack(p[species], axis=1).astype(np.float32),
                    np.repeat(truth[species][:, None], FRAMES, axis=1),
                    np.arange(FRAMES) / 30,
                    np.array(doses),
                )
                films[species].append((dose, film))
    return films


def places_of(columns, field, rng):
    """Columns in the image, and lattice places of each species where there is none."""
    height, width = (n * field.sampling for n in field.shape)

    def inside(points):
        y, x = points.T
        return (y > 0.4) & (x > 0.4) & (y < height - 0.8) & (x < width - 0.8)

    places, truth = {}, {}
    for species in SPECIES:
        own = columns[columns["species"] == species]
        points = own[["y_A", "x_A"]].to_numpy()
        there = points[own["occupancy"].to_numpy() > 0]
        steps = (there[:, None] - there).reshape(-1, 2)
        length = np.hypot(*steps.T)
        steps = steps[(length > 1.5) & (length < 4)]
        empty = []
        for _ in range(200 if len(steps) else 0):
            place = there[rng.integers(len(there))] + steps[rng.integers(len(steps))]
            near = np.concatenate([there, *(e[None] for e in empty)])
            if inside(place[None])[0] and np.hypot(*(near - place).T).min() > 1.5:
                empty.append(place)
            if len(empty) == EMPTY_PLACES:
                break
        kept = inside(points)
        places[species] = np.concatenate([points[kept], np.reshape(empty, (-1, 2))])
        truth[species] = np.append(own["occupancy"].to_numpy()[kept], np.zeros(len(empty), int))
    return places, truth


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("synthetic")
    one.add_argument("--frames", type=int, default=300)
    one.set_defaults(run=synthetic)
    commands.add_parser("prior").set_defaults(run=prior)
    one = commands.add_parser("worth")
    one.add_argument("dataset")
    one.add_argument("--model")
    one.add_argument("--images", type=int, default=40)
    one.set_defaults(run=worth)
    one = commands.add_parser("fit")
    one.add_argument("dataset")
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--model")
    one.add_argument("--images", type=int, default=60)
    one.add_argument("--every", type=int, default=2, help="Fit on every N-th film.")
    one.add_argument("--empty", type=float, default=0.1, help="Share of sites without a column.")
    one.set_defaults(run=fit)
    arguments = parser.parse_args()
    start = time.time()
    arguments.run(arguments)
    print(json.dumps({"seconds": round(time.time() - start, 1)}))


if __name__ == "__main__":
    main()
