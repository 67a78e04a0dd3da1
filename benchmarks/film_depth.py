"""First and last atoms of the columns of a film, against its truth and the ideal observer."""

import json

import numpy as np
import pandas as pd
from film_depth_limits import depth_sample
from film_scores import SAME_COLUMN, truth_of

from ceria_data.dataset import open_dataset
from ceria_data.depth_limits import lattice_error
from ceria_data.schema import SPECIES

SAMPLE = "depth_limits.parquet"
STEP = 3.826
"""Distance of the atoms of a column along [110] [Å]."""
FRAMES = (1, 30, 150)


def depth(arguments):
    """Print what the electrons can tell, and the errors of the films that are tracked."""
    arguments.folder.mkdir(parents=True, exist_ok=True)
    sample = depth_sample(
        arguments.dataset, arguments.split, arguments.columns, arguments.folder / SAMPLE
    )
    names = ["all_known", "information", "top_count_unknown", "bottom_count_unknown", "per_step"]
    print(f"information of a depth at 1 e⁻/Å² [1/Å²], {len(sample)} columns:")
    print(sample.groupby("species")[names].quantile([0.1, 0.5, 0.9]).to_string(), flush=True)
    middles = true_middles(arguments.dataset, arguments.split)
    spread = middles.groupby("species")["middle_A"].std()
    print_observer(sample, middles, spread, arguments.dose)
    print_measured(arguments, sample, spread)


def true_middles(address, splits):
    """Tabulate the middles of all columns in the field, in the first structure of each film."""
    tables = []
    for split in splits:
        dataset = open_dataset(address, split)
        for particle, first in dataset.samples.groupby("particle")["structure"].min().items():
            table = dataset.columns_of(int(first))
            table = table[table["in_field"] & (table["occupancy"] > 0)]
            middle = (table["z_first_A"] + table["z_last_A"]) / 2
            tables.append(table[["species"]].assign(
                particle=particle, middle_A=middle - middle.mean()
            ))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def print_observer(sample, middles, spread, doses):
    """Print the errors of the ideal observer after some frames."""
    table_head("e⁻/Å²", "species", "columns", "all in the middle [Å]", "frames", "bound [Å]",
               "on the lattice", "who knows the spread too")  # fmt: skip
    for dose in doses:
        for species in SPECIES:
            own = middles.loc[middles["species"] == species, "middle_A"].to_numpy()
            information = dose * sample.loc[sample["species"] == species, "information"].to_numpy()
            for frames in FRAMES:
                many = np.full(len(own), frames)
                errors = observer_errors(information, many, own, spread[species])
                print_row(f"{dose:g}", species, len(own), rms(own), frames, *map(rms, errors))


def print_measured(arguments, sample, spread):
    """Print the errors of tracked films beside those of the observer in the same intervals."""
    found = {}
    for folder in sorted(path for path in arguments.folder.iterdir() if path.is_dir()):
        split, dose, particle = folder.name.rsplit("-", 2)
        if split not in arguments.split or not (folder / "track.json").is_file():
            continue
        own = sample[sample["particle"] == int(particle)]
        errors = depth_errors(open_dataset(arguments.dataset, split), int(particle), folder)
        for species, (frames, middles, *part) in errors.items():
            information = own.loc[own["species"] == species, "information"].to_numpy()
            seen = observer_errors(information * float(dose), frames, middles, spread[species])
            found.setdefault((float(dose), species), []).append([frames, *part, *seen])
    table_head("films", "e⁻/Å²", "species", "columns and intervals", "frames", "top, rms [Å]",
               "bottom", "stated", "all in the middle", "bound", "on the lattice",
               "who knows the spread too")  # fmt: skip
    for (dose, species), parts in sorted(found.items()):
        frames, *errors = np.concatenate(parts, axis=1)
        number = f"{np.median(frames):.0f}"
        print_row(len(parts), f"{dose:g}", species, len(frames), number, *map(rms, errors))


def table_head(*names):
    print(f"\n| {' | '.join(names)} |\n" + "|---" * len(names) + "|")


def print_row(*cells):
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def rms(errors):
    return f"{np.sqrt(np.square(errors).mean()):.2f}"


def observer_errors(information, frames, middles, spread):
    """Give the errors of the ideal observer in columns whose middles are known.

    Every column has the information in a frame of one of its species in the sample. The bound;
    the error of who knows the lattice; and of who knows besides how far middles spread.
    """
    drawn = np.random.default_rng(0).choice(information, len(frames)) * frames
    errors = [1 / np.sqrt(drawn)]
    for known in (np.inf, spread):
        pairs = zip(drawn, middles, strict=True)
        errors.append([lattice_error(each, STEP, middle, known) for each, middle in pairs])
    return np.array(errors)


def depth_errors(dataset, particle, folder):
    """Subtract the truth from top and bottom; the middle of the particle is not known to a film.

    Rows: frames of the interval, true middle, errors of top and bottom, stated error, and error
    of all columns put at the middle of the particle.
    """
    frames, sites = (pd.read_parquet(folder / f"{name}.parquet") for name in ("frames", "sites"))
    interfaces = pd.read_parquet(folder / "interfaces.parquet")
    truth = truth_of(dataset, particle, frames)
    structures = dataset.samples[dataset.samples["particle"] == particle].sort_values("frame")
    intervals = json.loads((folder / "track.json").read_text())["intervals"]
    places = sites.sort_values("site")[["x_A", "y_A"]].to_numpy()
    errors = {species: [] for species in SPECIES}
    for number, (start, final) in enumerate(intervals):
        true = dataset.columns_of(int(structures["structure"].iloc[(start + final) // 2]))
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
            first, last = column["z_first_A"].to_numpy(), column["z_last_A"].to_numpy()
            parts[species] = np.stack([
                np.full(met.sum(), final - start + 1),
                (first + last) / 2,
                rows["top_A"].to_numpy()[met] - first,
                rows["bottom_A"].to_numpy()[met] - last,
                rows["top_sd_A"].to_numpy()[met],
                -(first + last) / 2,
            ])  # fmt: skip
        together = np.concatenate(list(parts.values()), axis=1)
        shift, middle = together[2:4].mean(), together[5].mean()
        off = np.array([0.0, -middle, shift, shift, 0.0, middle])
        for species, part in parts.items():
            errors[species].append(part - off[:, None])
    return {species: np.concatenate(own, axis=1) for species, own in errors.items()}
