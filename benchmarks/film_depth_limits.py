"""What the electrons of a film can tell at best about the depths of its columns.

For a sample of columns of each film the whole column is moved along the beam, the images are
computed with the film's own optics (`ceria_data.depth_limits`), and the Fisher information of its
depth follows, with its place in the image unknown. Neighbours and optics are known. `jointly`
does without that: all columns of a film at once, all of them unknown.
"""

from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ceria_data import mkl
from ceria_data.candidates import column_repeat
from ceria_data.config import load_config
from ceria_data.dataset import open_dataset
from ceria_data.depth_limits import column_moves
from ceria_data.devices import to_host
from ceria_data.draw import structure_entry
from ceria_data.film_labels import label_film
from ceria_data.limits import PHONONS
from ceria_data.observer import fisher_information, information_beside
from ceria_data.optics import form_image
from ceria_data.patch import patch_around, patch_settings
from ceria_data.scattering import exit_waves
from ceria_data.schema import SPECIES
from ceria_data.simulate import cell_of, field_of, settings_of


@dataclass(frozen=True)
class FirstStructure:
    """What a film shows first: its columns, the atoms that scatter, its optics."""

    config: object
    structure: object
    columns: pd.DataFrame
    whole: object
    image: object

    @classmethod
    def of(cls, dataset, particle, phonons=PHONONS):
        """Make it again from the config."""
        config = load_config(str(dataset.folder / "config.yaml"))
        first = int(dataset.samples.query("particle == @particle")["structure"].min())
        planes = int(dataset.manifest["n_planes"])
        entry = structure_entry(config, particle)
        labels = label_film(config, entry, first, planes, field_of(config), cell_of(config))
        columns = dataset.columns_of(first)
        made = labels.columns[labels.columns["structure"] == first]
        assert (made["occupancy"].to_numpy() == columns["occupancy"].to_numpy()).all()
        whole = labels.particle.specimen(0, settings_of(config).slice_thickness_A)
        return cls(
            config=config,
            structure=labels.particle.structures[0],
            columns=columns[columns["in_field"] & (columns["occupancy"] > 0)],
            whole=replace(whole, positions=whole.positions[:phonons]),
            image=labels.images[0],
        )

    def step_of(self, species):
        """Give the distance of the atoms of a column along the beam [Å]."""
        return float(column_repeat(self.structure, SPECIES.index(species), self.config)[2])

    def moves_of(self, column):
        """Move a column; what lies outside the field changes nothing."""
        field = field_of(self.config)
        patch = patch_around(column["x_A"], column["y_A"], field.sampling)
        atoms = np.flatnonzero(self.structure.site_id == column["site_id"])
        settings = patch_settings(settings_of(self.config))
        step = self.step_of(column["species"])
        moves = column_moves(self.whole, atoms, step, patch, self.image, settings)
        inside = patch.inside(field)
        parts = ("along", "across", "ends", "steps")
        return patch, replace(moves, **{name: getattr(moves, name) * inside for name in parts})

    def intensity(self):
        """Form the image of the whole field."""
        settings, field = settings_of(self.config), field_of(self.config)
        with mkl.one_thread(settings.library == "mkl"), threadpool_limits(limits=1):
            (wave,) = exit_waves([self.whole], cell_of(self.config), settings)
        return to_host(form_image(wave, self.image, field)).astype(float)


def depth_sample(address, splits, number, file):
    """Tabulate the information of the depth of some columns of each film, at 1 e-/Å².

    The splits take turns, and the table is written after every film, so that it can be stopped
    and gone on with.
    """
    rows = pd.read_parquet(file).to_dict("records") if file.is_file() else []
    datasets = [open_dataset(address, split) for split in splits]
    films = [[(dataset, int(particle)) for particle in dataset.samples["particle"].unique()]
             for dataset in datasets]  # fmt: skip
    for dataset, particle in (film for turn in zip_longest(*films) for film in turn if film):
        if any(row["particle"] == particle for row in rows):
            continue
        film = FirstStructure.of(dataset, particle)
        usable = film.columns[~film.columns["ambiguous"]]
        rng = np.random.default_rng(particle)
        for species in SPECIES:
            there = usable[usable["species"] == species]
            chosen = there.iloc[np.sort(rng.permutation(len(there))[:number])]
            for _, column in chosen.iterrows():
                _, moves = film.moves_of(column)
                sampling = dataset.field.sampling
                rows.append({
                    "particle": particle, "species": species, "site_id": int(column["site_id"]),
                    "occupancy": int(column["occupancy"]), **informations(moves, sampling),
                    "per_step": per_step(moves, sampling, film.step_of(species)),
                })  # fmt: skip
        pd.DataFrame(rows).to_parquet(file, index=False)
        print(f"film {particle}: depths of {len(rows)} columns", flush=True)
    return pd.DataFrame(rows)


def informations(moves, sampling):
    """Information of the depth with all else known, then more and more unknown [1/Å²]."""
    changes = np.concatenate([moves.along[None], moves.across, moves.ends])
    matrix = fisher_information(moves.intensity, changes, sampling)
    unknown = {
        "all_known": [0],
        "information": [0, 1, 2],
        # Whoever knows the first atom but not the count does not know the last one.
        "top_count_unknown": [0, 1, 2, 4],
        "bottom_count_unknown": [0, 1, 2, 3],
    }
    return {
        name: float(information_beside(matrix[np.ix_(own, own)], [0])[0, 0])
        for name, own in unknown.items()
    }


def per_step(moves, sampling, step):
    """Compute `information` from a whole step of the lattice instead of the derivative."""
    values = []
    for change in moves.steps:
        changes = np.concatenate([change[None] / step, moves.across])
        matrix = fisher_information(moves.intensity, changes, sampling)
        values.append(float(information_beside(matrix, [0])[0, 0]))
    return float(np.mean(values))


def jointly(arguments):
    """Print how much worse the bounds are if nothing of any column of the film is known."""
    print("| film | species | columns | alone, all else known [Å] | place unknown | "
          "places, depths of all unknown | counts too | height of the particle |")  # fmt: skip
    print("|---" * 8 + "|")
    dataset = open_dataset(arguments.dataset, arguments.split)
    numbers = dataset.samples.groupby("particle")["structure"].min()
    sizes = {particle: len(dataset.columns_of(int(first))) for particle, first in numbers.items()}
    for particle in sorted(sizes, key=sizes.get)[: arguments.films]:
        film = FirstStructure.of(dataset, int(particle), arguments.phonons)
        bounds = joint_bounds(film, dataset.field.sampling, arguments.dose * arguments.frames)
        for species in SPECIES:
            own = bounds[bounds["species"] == species]
            values = [f"{np.sqrt((own[name] ** 2).mean()):.2f}" for name in bounds.columns[1:]]
            row = [int(particle), species, len(own), *values]
            print(f"| {' | '.join(map(str, row))} |", flush=True)


def joint_bounds(film, sampling, dose):
    """Compute the bounds of the depths of all columns at once, less what they share [Å]."""
    intensity = film.intensity()
    number, kinds = len(film.columns), 4
    slopes = np.zeros((kinds, number, *intensity.shape), np.float32)
    for i, (_, column) in enumerate(film.columns.iterrows()):
        patch, moves = film.moves_of(column)
        inside = patch.inside(field_of(film.config))
        y, x = np.indices(patch.field.shape) + np.array(patch.first_pixel)[:, None, None]
        for kind, change in enumerate([moves.along, *moves.across, moves.ends[1]]):
            slopes[kind, i, y[inside], x[inside]] = change[inside]
    matrix = dose * fisher_information(intensity, slopes.reshape(-1, *intensity.shape), sampling)
    depths, own = np.arange(number), np.arange(number)[:, None] + number * np.arange(3)
    centred = np.eye(number) - 1 / number

    def together(parameters):
        covariance = np.linalg.inv(information_beside(matrix[:parameters, :parameters], depths))
        return np.sqrt(np.diag(centred @ covariance @ centred)), np.sqrt(covariance.mean())

    counts_known, height = together(3 * number)
    counts_unknown, _ = together(4 * number)
    alone = [information_beside(matrix[np.ix_(one, one)], [0])[0, 0] for one in own]
    return pd.DataFrame({
        "species": film.columns["species"].to_numpy(),
        "all_known": 1 / np.sqrt(np.diag(matrix)[:number]), "alone": 1 / np.sqrt(alone),
        "counts_known": counts_known, "counts_unknown": counts_unknown, "height": height,
    })  # fmt: skip
