"""First and last atoms of the columns of a film, against its truth."""

import json

import numpy as np
import pandas as pd
from film_scores import SAME_COLUMN, truth_of

from ceria_data.dataset import open_dataset
from ceria_data.schema import SPECIES


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
