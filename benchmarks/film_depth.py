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
HEAD = (
    "films", "e⁻/Å²", "species", "columns and intervals", "frames of an interval",
    "top, rms [Å]", "bottom", "stated", "all in the middle", "bound", "whole film",
    "observer on the lattice", "who knows the spread too", "whole film",
)  # fmt: skip
ROWS = (
    "frames", "top", "bottom", "stated", "middle", "bound", "bound_film", "lattice", "both",
    "both_film",
)  # fmt: skip
STEP = 3.826
"""Distance of the atoms of a column along [110] [Å]."""


def depth(arguments):
    """Print the errors of top and bottom of the columns, by dose and species."""
    folders = sorted(
        path for path in arguments.folder.iterdir()
        if path.name.startswith("test") and (path / "track.json").is_file()
    )  # fmt: skip
    splits = sorted({folder.name.rsplit("-", 2)[0] for folder in folders})
    sample = observed(arguments, splits)
    spread = spreads(arguments.dataset, splits)
    print("spread of the middles: " + ", ".join(f"{s} {v:.2f} Å" for s, v in spread.items()))
    found = {}
    for folder in folders:
        split, dose, particle = folder.name.rsplit("-", 2)
        dataset = open_dataset(arguments.dataset, split)
        own = sample[sample["particle"] == int(particle)]
        for species, part in depth_errors(dataset, int(particle), folder).items():
            information = own.loc[own["species"] == species, "information"].to_numpy()
            seen = observer_errors(part, information * float(dose), spread[species])
            both = np.concatenate([part[:-2], seen])
            found.setdefault((float(dose), species), []).append(both)
    print(f"| {' | '.join(HEAD)} |")
    print("|---" * len(HEAD) + "|")
    for (dose, species), parts in sorted(found.items()):
        rows = dict(zip(ROWS, np.concatenate(parts, axis=1), strict=True))
        frames = rows.pop("frames")
        values = [f"{np.sqrt(np.square(errors).mean()):.2f}" for errors in rows.values()]
        row = [len(parts), f"{dose:g}", species, len(frames), f"{np.median(frames):.0f}", *values]
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def observed(arguments, splits):
    """Tabulate the information of a sample of columns once, and say what there is of it."""
    file = arguments.folder / SAMPLE
    if not file.is_file():
        parts = [depth_sample(open_dataset(arguments.dataset, split), arguments.columns)
                 for split in splits]  # fmt: skip
        pd.concat(parts, ignore_index=True).to_parquet(file, index=False)
    sample = pd.read_parquet(file)
    names = ["all_known", "information", "top_count_unknown", "bottom_count_unknown", "per_step"]
    print(f"information of a depth at 1 e⁻/Å² [1/Å²], {len(sample)} columns:")
    print(sample.groupby("species")[names].quantile([0.1, 0.5, 0.9]).to_string(), flush=True)
    return sample


def spreads(address, splits):
    """Give the standard deviation of the middles of all columns of the films, by species."""
    tables = []
    for split in splits:
        dataset = open_dataset(address, split)
        firsts = dataset.samples.groupby("particle")["structure"].min()
        tables += [dataset.columns_of(int(first)) for first in firsts]
    table = pd.concat(tables)
    table = table[table["in_field"] & (table["occupancy"] > 0)]
    middles = (table["z_first_A"] + table["z_last_A"]) / 2
    return {species: float(middles[table["species"] == species].std()) for species in SPECIES}


def observer_errors(part, information, spread):
    """Give the errors of the ideal observer for the same columns and intervals.

    Every column has the information of one of its species in the sample of the film.
    """
    frames, middles, film = part[0], part[-2], part[-1]
    per_frame = np.random.default_rng(len(frames)).choice(information, len(frames))
    errors = [1 / np.sqrt(per_frame * frames), 1 / np.sqrt(per_frame * film)]
    for number, known in ((frames, np.inf), (frames, spread), (film, spread)):
        each = zip(per_frame * number, middles, strict=True)
        errors.append([lattice_error(one, STEP, middle, known) for one, middle in each])
    return np.array(errors)


def depth_errors(dataset, particle, folder):
    """Subtract the truth from top and bottom; the middle of the particle is not known to a film.

    Rows: frames of the interval, top, bottom, stated error, error of all columns put at the
    middle of the particle, true middle, frames of the film.
    """
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
            first, last = column["z_first_A"].to_numpy(), column["z_last_A"].to_numpy()
            parts[species] = np.stack([
                np.full(met.sum(), stop - start),
                rows["top_A"].to_numpy()[met] - first,
                rows["bottom_A"].to_numpy()[met] - last,
                rows["top_sd_A"].to_numpy()[met],
                -(first + last) / 2,
                (first + last) / 2,
                np.full(met.sum(), len(structures)),
            ])  # fmt: skip
        together = np.concatenate(list(parts.values()), axis=1)
        shift, middle = together[1:3].mean(), together[4].mean()
        off = np.array([0.0, shift, shift, 0.0, middle, 0.0, 0.0])
        for species, part in parts.items():
            errors[species].append(part - off[:, None])
    return {species: np.concatenate(own, axis=1) for species, own in errors.items()}
