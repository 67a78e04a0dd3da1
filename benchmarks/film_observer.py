"""Films read by the ideal observer: true counts, seen with the noise that the electrons leave.

For a sample of columns of each film the end atom is taken away, the images with and without it
are computed with the film's own optics, and d'² per e-/Å² follows, as `ceria-data limits` does it.
Every column of the film gets the d'² of one of its species in the sample. In each frame its true
count is seen with Gaussian noise of 1 / d' atoms, and the probabilities that follow are written as
readings and tracked as those of a net.

The observer knows where all columns are and everything but the count. It says nothing of depth:
d'² of an atom that is there or not is no measure of where along the beam the others are.
"""

import json
from contextlib import nullcontext

import numpy as np
import pandas as pd

from ceria_data.build import in_this_process
from ceria_data.dataset import open_dataset
from ceria_data.limits_build import build_limits
from ceria_data.schema import SPECIES
from ceria_models.film_scoring import ideal_readings
from ceria_models.film_tables import FACTS
from ceria_models.synthetic_film import SyntheticFilm
from ceria_models.tracking_run import run_tracking
from ceria_models.tracking_settings import EvidenceSettings, load_settings

SAMPLE = "d2.parquet"


def observe(arguments):
    """Read all films at all doses as the ideal observer does, and track them."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / SAMPLE
    if not file.is_file():
        parts = [
            end_atoms(
                open_dataset(arguments.dataset, split),
                split,
                arguments.columns,
                arguments.out.with_name(f"{arguments.out.name}.limits-{split}"),
            )
            for split in arguments.split
        ]
        pd.concat(parts, ignore_index=True).to_parquet(file, index=False)
    sample = pd.read_parquet(file)
    grouped = sample.groupby(["split", "species"])["d2_per_e_per_A2"]
    print(grouped.describe(percentiles=[0.1, 0.5, 0.9]).to_string(), flush=True)
    usual = load_settings()
    settings = usual.model_copy(update={"evidence": {
        species: EvidenceSettings(prior=usual.evidence[species].prior) for species in SPECIES
    }})  # fmt: skip
    for split in arguments.split:
        dataset = open_dataset(arguments.dataset, split)
        for particle in dataset.samples["particle"].unique().tolist():
            for dose in arguments.dose:
                folder = arguments.out / f"{split}-{dose:g}-{particle}"
                own = sample[sample["particle"] == particle]
                film = ideal_film(dataset, particle, dose, own, settings)
                film.write(folder)
                facts = {
                    "sampling_A": dataset.field.sampling,
                    "shape": list(dataset.field.shape),
                    "frame_time_s": None,
                }
                (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")
                run_tracking(folder, overwrite=True, settings=settings)
                print(folder.name, flush=True)


def end_atoms(dataset, split, number, out):
    """Tabulate d'² per e-/Å² of the end atom, for columns of each species and film of a split."""
    samples = dataset.samples.set_index("sample")
    if not out.is_dir():
        build_limits(
            dataset.folder,
            split=split,
            n_columns=2 * number * samples["particle"].nunique(),
            out=out,
            workers=lambda: nullcontext(in_this_process),
            on_progress=lambda done, total: print(f"{split}: {done} of {total} pairs", flush=True),
        )
    table = pd.read_parquet(out / "limits.parquet")
    table = table[table["case"] == "end"]
    return table.assign(split=split, particle=samples.loc[table["sample"], "particle"].to_numpy())


def ideal_film(dataset, particle, dose, sample, settings):
    """Draw what the ideal observer reads in every frame of a film."""
    samples = dataset.samples[dataset.samples["particle"] == particle].sort_values("frame")
    structures = samples["structure"].to_numpy()
    tables = {int(s): dataset.columns_of(int(s)) for s in np.unique(structures)}
    columns = tables[int(structures[0])]
    names = columns["site_id"].to_numpy()
    counts = {s: t.set_index("site_id").loc[names, "occupancy"] for s, t in tables.items()}
    truth = np.stack([counts[int(s)].to_numpy() for s in structures], axis=1).astype(np.int64)
    rng = np.random.default_rng((particle, round(dose)))
    species = columns["species"].to_numpy()
    d2 = np.zeros(len(columns))
    for name in SPECIES:
        own = species == name
        drawn = sample.loc[sample["species"] == name, "d2_per_e_per_A2"].to_numpy()
        d2[own] = dose * rng.choice(drawn, own.sum())
    priors = {name: np.array(settings.evidence[name].prior) for name in SPECIES}
    x, p = ideal_readings(truth, d2, np.stack([priors[name] for name in species]), rng)
    numbers = np.arange(len(samples))
    step = float(np.diff(samples["time_s"]).mean())
    frames = pd.DataFrame({
        "frame": numbers, "time_s": numbers * step, "dose_e_per_A2": dose,
        "drift_x_A": samples["drift_x_A"].to_numpy(), "drift_y_A": samples["drift_y_A"].to_numpy(),
    })  # fmt: skip
    sites = pd.DataFrame({
        "site": np.arange(len(columns)), "species": species,
        "x_A": columns["x_A"].to_numpy(), "y_A": columns["y_A"].to_numpy(),
        "n_frames_seen": len(samples), "source": "sum",
    })  # fmt: skip
    z = np.zeros(truth.shape, dtype=np.float32)
    return SyntheticFilm(sites, frames, p, d2, x, z, priors, truth, dataset.events)
