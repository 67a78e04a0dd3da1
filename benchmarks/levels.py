"""How sharp levels are, and how right, beside an observer who knows both images and beside the net.

    python benchmarks/levels.py steps DATASET FOLDER    # films of DATASET predicted in FOLDER
    python benchmarks/levels.py thick DATASET [--images N] [--split NAME]
    ceria-data build benchmarks/focus.yaml --out focus && python benchmarks/levels.py focus focus

`steps`: at each event of the films in FOLDER (benchmarks/films.py predict) the noise-free frames
before and after tell d', of an observer who knows both, and the step of the level in them over
its scatter in the recorded frames. `thick`: still images of all thicknesses, each recorded 24
times at 300 e-/Å², 40 to 95 Å overfocus: counts and confidence of the net, given the mean of the
24, and of tracking with levels; and changes that tracking finds where there are none. `focus`:
levels in two noise-free images of one particle at the least and most defocus, atom images
learned from the mean of both: their difference, and what is left of it when the factor that all
columns of a species have in common is taken off.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from ceria_data.dataset import open_dataset
from ceria_data.detector import record
from ceria_data.parameters import Camera
from ceria_data.schema import SPECIES
from ceria_models import DEFAULT, from_pretrained
from ceria_models.changes import find_changes
from ceria_models.evidence import level_spread
from ceria_models.film_chain import Columns, fit_chain, smoothed_blocks
from ceria_models.film_levels import film_levels
from ceria_models.film_mean import aligned
from ceria_models.film_tables import open_film_tables
from ceria_models.frame_reading import NOWHERE, Reader, read_view, view_of
from ceria_models.runtime import open_runtime
from ceria_models.tracking_settings import load_settings

DOSE, FRAMES, DOSE_OF_MEAN = 300.0, 24, 3000.0
AROUND, SAME_COLUMN = 5, 0.8
NEAR = 1.6
"""Å around a column within which the image of an event between two counts for it."""


def mean_reading(model, reader, mean, sampling, sites, dose):
    """Read the net in a mean at sites, and learn levels from it."""
    view = view_of(mean, sampling, model)
    level = float(mean.mean(dtype=np.float64))
    places = {s: sites.loc[sites["species"] == s, ["y_A", "x_A"]].to_numpy() for s in SPECIES}
    reading = read_view(reader, view, level, dose, places)
    return reading, film_levels(view, sites, reading, len(sites))


def steps(arguments):
    """Compare steps of levels with the best possible."""
    model = from_pretrained(DEFAULT)
    reader = Reader(model, open_runtime(model))
    rows = []
    for folder in sorted(arguments.folder.iterdir()):
        split, dose, particle = folder.name.rsplit("-", 2)
        if float(dose) == DOSE and split.startswith(arguments.split):
            dataset = open_dataset(arguments.dataset, split)
            rows += film_steps(dataset, int(particle), folder, model, reader)
    table = pd.DataFrame(rows, columns=["species", "best", "level", "atoms", "spread"])
    table["ratio"] = table["level"] / table["best"]
    print("| species | changes | best d' | d' of levels | ratio | step [atoms] | scatter [atoms] |")
    print("|---" * 7 + "|")
    for species, own in table.groupby("species"):
        low, middle, high = own["ratio"].quantile([0.25, 0.5, 0.75])
        print(
            f"| {species} | {len(own)} | {own['best'].median():.2f} | {own['level'].median():.2f} "
            f"| {middle:.2f} ({low:.2f} to {high:.2f}) | {own['atoms'].median():.2f} ± "
            f"{own['atoms'].std():.2f} | {own['spread'].median():.2f} |"
        )


def film_steps(dataset, particle, folder, model, reader):
    """Measure every event whose neighbours in time leave frames before and after."""
    tables = open_film_tables(folder)
    sampling = dataset.field.sampling
    at = np.flatnonzero((dataset.samples["particle"] == particle).to_numpy())
    samples = dataset.samples.iloc[at].sort_values("frame")
    order = at[np.argsort(dataset.samples["frame"].to_numpy()[at])]
    drift = tables.frames.sort_values("frame")[["drift_y_A", "drift_x_A"]].to_numpy()
    shift = drift - samples[["drift_y_A", "drift_x_A"]].to_numpy()
    mean = np.load(folder / "reference.npy")
    sites = tables.sites[["site", "species", "x_A", "y_A"]]
    _, levels = mean_reading(model, reader, mean, sampling, sites, DOSE_OF_MEAN)
    frames = [dataset[int(i)].intensity.astype(np.float64) for i in order]
    level = np.stack([
        levels.of_frame(view_of(frame, sampling, model), tuple(place))
        for frame, place in zip(frames, drift, strict=True)
    ])  # fmt: skip
    electrons = DOSE * sampling**2
    spread = levels.told(sites)["level_spread"].to_numpy(float) / np.sqrt(electrons)
    events = dataset.events[dataset.events["particle"] == particle]
    columns = dataset.columns_of(int(samples["structure"].iloc[0])).set_index("site_id")
    happened = np.sort(events["frame"].unique())
    rows = []
    for event in events.itertuples():
        before = happened[happened < event.frame].max(initial=-1) + 1
        after = happened[happened > event.frame].min(initial=len(frames))
        first = range(max(before, event.frame - AROUND), event.frame)
        last = range(event.frame + 1, min(after, event.frame + AROUND + 1))
        if not len(first) or not len(last):
            continue
        images = [mean_of(frames, drift, sampling, own) for own in (first, last)]
        for name, sign in ((event.site_id_from, -1), (event.site_id_to, 1)):
            if name not in columns.index:
                continue
            place = columns.loc[name, ["y_A", "x_A"]].to_numpy(float) - np.median(shift, axis=0)
            mine = sites[sites["species"] == event.species]
            apart = np.hypot(*(mine[["y_A", "x_A"]].to_numpy() - place).T)
            site = int(mine["site"].iloc[apart.argmin()])
            step = sign * (level[last, site].mean() - level[first, site].mean())
            if apart.min() < SAME_COLUMN and np.isfinite(step):
                best = distance(*images, place, sampling, electrons, NEAR)
                rows.append((event.species, best, step / spread[site], step, spread[site]))
    return rows


def mean_of(frames, drift, sampling, numbers):
    """Average noise-free frames in the coordinates of the reference."""
    total, seen = np.zeros(frames[0].shape), np.zeros(frames[0].shape)
    for number in numbers:
        values, into = aligned(frames[number], sampling, *drift[number])
        total[into] += values
        seen[into] += 1
    return np.where(seen > 0, total / np.maximum(seen, 1), np.nan)


def distance(first, last, place, sampling, electrons, reach):
    """Give d' of two images around a place, for counted electrons."""
    y, x = sampling * np.mgrid[: first.shape[0], : first.shape[1]]
    near = np.hypot(y - place[0], x - place[1]) < reach
    square = (last - first) ** 2 / ((last + first) / 2)
    return float(np.sqrt(np.nansum(square[near]) * electrons))


def thick(arguments):
    """Compare tracking with the net on still images of all thicknesses."""
    model = from_pretrained(DEFAULT)
    reader = Reader(model, open_runtime(model))
    dataset, settings = open_dataset(arguments.dataset, arguments.split), load_settings()
    found, changes, seconds = [], dict.fromkeys(SPECIES, 0), dict.fromkeys(SPECIES, 0.0)
    over = dataset.samples["defocus_A"].between(-95, -40).to_numpy()
    for row in np.flatnonzero(over)[: arguments.images]:
        sample = dataset[int(row)]
        sampling = sample.parameters["sampling_A"]
        frames = np.stack([
            record(sample.intensity.astype(float), DOSE, sampling, Camera(), number)
            for number in range(FRAMES)
        ]).astype(np.float32)  # fmt: skip
        mean = frames.mean(0)
        view = view_of(mean, sampling, model)
        listed = read_view(reader, view, float(mean.mean()), DOSE_OF_MEAN, NOWHERE).columns
        sites = listed[["species", "x_A", "y_A"]].reset_index(drop=True)
        sites.insert(0, "site", np.arange(len(sites)))
        reading, levels = mean_reading(model, reader, mean, sampling, sites, DOSE_OF_MEAN)
        level = np.stack(
            [levels.of_frame(view_of(frame, sampling, model), (0.0, 0.0)) for frame in frames], 1
        )
        told = levels.told(sites)
        spread = level_spread(level, told["level_spread"].to_numpy(float))
        for species in SPECIES:
            own = np.flatnonzero(sites["species"] == species)
            truth = true_counts(sample.columns, sites.iloc[own], species)
            times = np.arange(FRAMES) / 30
            p = np.full((len(sites), FRAMES, model.config.net.max_count + 1), np.nan, np.float32)
            net = np.full((len(sites), p.shape[2]), np.nan)
            net[own] = reading.p[species]
            columns = Columns(p, own, times, np.full(FRAMES, DOSE), level, spread, net)
            evidence, motion = settings.evidence[species], settings.motion[species]
            chain = fit_chain(columns, evidence, motion)
            seconds[species] += columns.leveled.sum() * times[-1]
            for which, smoothed in smoothed_blocks(columns, evidence, chain):
                if not columns.leveled[which].all():
                    continue
                tracked, read = smoothed.p[-1], reading.p[species][which]
                found.append(
                    pd.DataFrame({
                        "species": species, "n": truth[which],
                        "tracked": tracked.argmax(1), "confidence": tracked.max(1),
                        "net": read.argmax(1), "net_confidence": read.max(1),
                    })
                )  # fmt: skip
                for flux, rate, gain in (
                    (smoothed.gain, chain.gain_per_s, True),
                    (smoothed.loss, chain.loss_per_s, False),
                ):
                    changes[species] += sum(
                        change.probability > 0.5
                        for change in find_changes(flux, times, rate, gain=gain)
                    )
    show(pd.concat(found), changes, seconds)


def focus(arguments):
    """Compare the levels of particles between two values of defocus."""
    model = from_pretrained(DEFAULT)
    reader = Reader(model, open_runtime(model))
    dataset = open_dataset(arguments.dataset, "train")
    print("| particle | focus [Å] | species | atoms | difference, rms | factor | left, rms |")
    print("|---" * 7 + "|")
    for particle, own in dataset.samples.groupby("structure"):
        rows = [
            int(dataset.samples.index.get_loc(at)) for at in own["defocus_A"].sort_values().index
        ]
        for inward in (0, 2, 4):
            ends = [dataset[row] for row in (rows[inward], rows[-1 - inward])]
            far = ends[1].parameters["defocus_A"] - ends[0].parameters["defocus_A"]
            sampling = ends[0].parameters["sampling_A"]
            images = [DOSE * sampling**2 * end.intensity.astype(np.float32) for end in ends]
            mean = (images[0] + images[1]) / 2
            view = view_of(mean, sampling, model)
            listed = read_view(reader, view, float(mean.mean()), DOSE_OF_MEAN, NOWHERE).columns
            sites = listed[["species", "x_A", "y_A"]].reset_index(drop=True)
            sites.insert(0, "site", np.arange(len(sites)))
            reading, levels = mean_reading(model, reader, mean, sampling, sites, DOSE_OF_MEAN)
            first, last = (
                levels.of_frame(view_of(image, sampling, model), (0.0, 0.0)) for image in images
            )
            for species in SPECIES:
                mine = (sites["species"] == species).to_numpy()
                n = reading.p[species] @ np.arange(reading.p[species].shape[1])
                change = (last - first)[mine]
                n, change = n[np.isfinite(change)], change[np.isfinite(change)]
                factor = (change @ n) / (n @ n)
                print(
                    f"| {particle} | {far:.1f} | {species} | {n.mean():.1f} | "
                    f"{np.sqrt(np.mean(change**2)):.2f} | {factor:+.3f} | "
                    f"{np.sqrt(np.mean((change - factor * n) ** 2)):.2f} |"
                )


def true_counts(columns, sites, species):
    """Give the true counts at sites; none where no column of the species stands."""
    own = columns[columns["species"] == species]
    apart = np.hypot(*(sites[c].to_numpy()[:, None] - own[c].to_numpy() for c in ("x_A", "y_A")))
    return np.where(apart.min(1) < SAME_COLUMN, own["occupancy"].to_numpy()[apart.argmin(1)], 0)


def show(table, changes, seconds):
    print("| species | atoms | columns | net, of the mean | confidence | tracked | confidence |")
    print("|---" * 7 + "|")
    for species, own in table.groupby("species"):
        for low, high in ((1, 3), (4, 6), (7, 10), (0, 99)):
            part = own[own["n"].between(low, high)]
            name = f"{low} to {high}" if high < 99 else "all"
            print(
                f"| {species} | {name} | {len(part)} | {(part['net'] == part['n']).mean():.3f} | "
                f"{part['net_confidence'].mean():.3f} | {(part['tracked'] == part['n']).mean():.3f}"
                f" | {part['confidence'].mean():.3f} |"
            )
    for species in SPECIES:
        print(f"{species}: {changes[species]} false changes in {seconds[species]:.0f} column-s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("steps")
    one.add_argument("dataset")
    one.add_argument("folder", type=Path)
    one.add_argument("--split", default="validation", help="beginning of the splits' names")
    one.set_defaults(run=steps)
    one = commands.add_parser("thick")
    one.add_argument("dataset")
    one.add_argument("--images", type=int, default=40)
    one.add_argument("--split", default="validation")
    one.set_defaults(run=thick)
    one = commands.add_parser("focus")
    one.add_argument("dataset")
    one.set_defaults(run=focus)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
