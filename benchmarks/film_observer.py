"""Films read by the ideal observer: true counts, seen with the noise that the electrons leave.

For a sample of columns of each film the end atom is taken away, the images with and without it
are computed with the film's own optics, and d'² per e-/Å² follows (`ceria_data.limits` does the
same for datasets of single images). Every column of the film gets the d'² of one of its species in
the sample. In each frame its true count is seen with Gaussian noise of 1 / d' atoms, and the
probabilities that follow are written as readings and tracked as those of a net.

The observer knows where all columns are and everything but the count. It says nothing of depth:
d'² of an atom that is there or not is no measure of where along the beam the others are.
"""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ceria_data import mkl
from ceria_data.config import load_config
from ceria_data.dataset import open_dataset
from ceria_data.devices import to_host
from ceria_data.draw import structure_entry
from ceria_data.film_labels import label_film
from ceria_data.grid import cell_around
from ceria_data.limits import PHONONS
from ceria_data.observer import detectability
from ceria_data.optics import form_image
from ceria_data.parameters import Camera
from ceria_data.patch import patch_around, patch_settings, specimen_in
from ceria_data.scattering import exit_waves
from ceria_data.schema import SPECIES
from ceria_data.simulate import cell_of, field_of, settings_of
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
            end_atoms(open_dataset(arguments.dataset, split), arguments.columns)
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


def end_atoms(dataset, number):
    """Tabulate d'² per e-/Å² of the end atom, for columns of the first structure of each film."""
    config = load_config(str(dataset.folder / "config.yaml"))
    settings = patch_settings(settings_of(config))
    rows = []
    for particle in dataset.samples["particle"].unique().tolist():
        own = dataset.samples[dataset.samples["particle"] == particle]
        first = int(own["structure"].min())
        planes = int(dataset.manifest["n_planes"])
        entry = structure_entry(config, particle)
        labels = label_film(config, entry, first, planes, field_of(config), cell_of(config))
        columns = dataset.columns_of(first)
        made = labels.columns[labels.columns["structure"] == first]
        assert (made["occupancy"].to_numpy() == columns["occupancy"].to_numpy()).all()
        whole = labels.particle.specimen(0, settings.slice_thickness_A)
        whole = replace(whole, positions=whole.positions[:PHONONS])
        usable = columns[columns["in_field"] & (columns["occupancy"] > 0) & ~columns["ambiguous"]]
        rng = np.random.default_rng(particle)
        for species in SPECIES:
            there = usable[usable["species"] == species]
            chosen = there.iloc[np.sort(rng.permutation(len(there))[:number])]
            for _, column in chosen.iterrows():
                d2 = of_end_atom(column, labels, whole, settings, dataset.field.sampling)
                rows.append({
                    "split": str(own["split"].iloc[0]), "particle": particle, "species": species,
                    "site_id": int(column["site_id"]), "occupancy": int(column["occupancy"]),
                    "d2_per_e_per_A2": d2,
                })  # fmt: skip
        print(f"film {particle}: {len(rows)} columns", flush=True)
    return pd.DataFrame(rows)


def of_end_atom(column, labels, whole, settings, sampling):
    """Compute d'² at 1 e-/Å² between a column and the same without its last atom."""
    structure = labels.particle.structures[0]
    own = np.flatnonzero(structure.site_id == column["site_id"])
    kept = np.ones(len(whole.numbers), bool)
    kept[own[np.argmax(structure.positions[own, 2])]] = False
    patch = patch_around(column["x_A"], column["y_A"], sampling)
    cell = cell_around(patch.field, settings.sampling_A, settings.padding_A)
    both = [specimen_in(patch, each, settings) for each in (whole, whole.of(kept))]
    with mkl.one_thread(settings.library == "mkl"), threadpool_limits(limits=1):
        waves = exit_waves(both, cell, settings, "cpu", None)
    images = [
        to_host(form_image(wave, labels.images[0], patch.field)).astype(float) for wave in waves
    ]
    return detectability(*images, 1.0, sampling, Camera())


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
    x = truth + rng.normal(size=truth.shape) / np.sqrt(d2)[:, None]
    priors = {name: np.array(settings.evidence[name].prior) for name in SPECIES}
    log = np.log(np.stack([priors[name] for name in species]))[:, None]
    error = x[..., None] - np.arange(log.shape[-1])
    log = log - 0.5 * d2[:, None, None] * error**2
    p = np.exp(log - log.max(-1, keepdims=True))
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
    p = (p / p.sum(-1, keepdims=True)).astype(np.float32)
    return SyntheticFilm(sites, frames, p, d2, x, z, priors, truth, dataset.events)
