"""Limits of films: what one frame can tell at best about the atoms of a column in it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ceria_data import mkl
from ceria_data.config import config_from_yaml
from ceria_data.dataset import Dataset
from ceria_data.devices import to_host
from ceria_data.draw import structure_entry
from ceria_data.exposures import Exposure
from ceria_data.film_labels import LabelledFilm, label_film
from ceria_data.grid import cell_around
from ceria_data.limits import PHONONS, LimitsTask, Pair, lacking, missing_atom
from ceria_data.optics import image_spectrum
from ceria_data.patch import Patch, patch_around, patch_settings, specimen_in
from ceria_data.randomness import sample_rng
from ceria_data.scattering import exit_waves
from ceria_data.schema import SPECIES
from ceria_data.simulate import cell_of, field_of, settings_of
from ceria_data.structure import Structure
from ceria_data.waves import Specimen


@dataclass(frozen=True)
class FilmLimitsTask(LimitsTask):
    """The pairs of one film, whose `row` is the film and whose `position` is the frame.

    Attributes
    ----------
    first : int
        Row of the film's first structure.
    """

    first: int = 0


def choose_film_pairs(dataset: Dataset, seed: int, n_columns: int) -> list[Pair]:
    """Choose columns evenly over the films of a split, half Ce and half O, each in one frame.

    A frame that spans an event shows several structures, so that there is no complete column to
    take an atom from: it is left out.

    Parameters
    ----------
    dataset : Dataset
        One split.
    seed : int
        Of the dataset's config.
    n_columns : int

    Returns
    -------
    list of Pair
        Every case of every chosen column, in the order of films.
    """
    rng = sample_rng(seed, 0, "limits")
    shown = dataset.exposures["sample"].value_counts()
    single = np.flatnonzero(dataset.samples["sample"].map(shown).to_numpy() == 1)
    particle = dataset.samples["particle"].to_numpy()
    films = list(dict.fromkeys(particle.tolist()))
    pairs = []
    for index, film in enumerate(films):
        frames = single[particle[single] == film]
        wanted = (index + 1) * n_columns // len(films) - index * n_columns // len(films)
        for species, share in zip(SPECIES, (wanted - wanted // 2, wanted // 2), strict=True):
            for place, column in _columns(dataset, frames, species, share, rng):
                frame = int(dataset.samples["frame"].iloc[place])
                cases = ("end", "inner", "inner_relaxed") if column["occupancy"] > 2 else ("end",)
                pairs += [Pair(film, frame, int(column["site_id"]), case) for case in cases]
    return pairs


def _columns(
    dataset: Dataset, frames: NDArray[np.intp], species: str, share: int, rng: np.random.Generator
) -> Iterator[tuple[int, "pd.Series[Any]"]]:
    """Draw different columns of a film, each in a frame in which it can be used."""
    if not len(frames) or not share:
        return
    columns = dataset[int(frames[0])].columns
    names = columns.loc[columns["species"] == species, "site_id"].to_numpy()
    found = 0
    for name in rng.permutation(names):
        place = int(rng.choice(frames))
        shown = dataset[place].columns
        column = shown[shown["site_id"] == name].iloc[0]
        if column["in_field"] and column["occupancy"] > 0 and not column["ambiguous"]:
            yield place, column
            found += 1
        if found == share:
            return


def film_limits_tasks(
    config_yaml: str, dataset: Dataset, pairs: list[Pair], device: str, memory: int | None
) -> list[FilmLimitsTask]:
    """Group pairs by film, so that each film is drawn once."""
    planes = int(dataset.manifest["n_planes"])
    return [
        FilmLimitsTask(
            config_yaml,
            planes,
            tuple(pair for pair in pairs if pair.row == film),
            device,
            memory,
            first=dataset.layout.structures_of(range(film, film + 1)).start,
        )
        for film in dict.fromkeys(pair.row for pair in pairs)
    ]


@dataclass(frozen=True)
class _Shown:
    """A column of a frame: where the image has it, and the atoms that make the image."""

    part: Exposure
    structure: Structure
    whole: Specimen
    patch: Patch
    facts: dict[str, Any]


def run_film_limits_task(
    task: FilmLimitsTask,
) -> tuple[list[dict[str, Any]], list[NDArray[np.float16]]]:
    """Compute the change of intensity by the missing atom; see `limits.run_limits_task`.

    Parameters
    ----------
    task : FilmLimitsTask

    Returns
    -------
    rows : list of dict
    differences : list of array of float16, shape (y, x)
        With the drift of the frame: where it lies, and how it smears the image.
    """
    config = config_from_yaml(task.config)
    field = field_of(config)
    entry = structure_entry(config, task.row)
    film = label_film(config, entry, task.first, task.planes, field, cell_of(config))
    settings = patch_settings(settings_of(config))
    shown = [
        _show(film, pair, task.first, field.sampling, settings.slice_thickness_A)
        for pair in task.pairs
    ]
    atoms = [missing_atom(one.structure, pair) for one, pair in zip(shown, task.pairs, strict=True)]
    # The cases of a column share its complete image.
    complete = {
        (pair.position, pair.site_id): one for one, pair in zip(shown, task.pairs, strict=True)
    }
    specimens = [
        *(specimen_in(one.patch, one.whole, settings) for one in complete.values()),
        *(
            specimen_in(one.patch, lacking(one.whole, one.structure, atom, pair.case), settings)
            for one, atom, pair in zip(shown, atoms, task.pairs, strict=True)
        ),
    ]
    cell = cell_around(shown[0].patch.field, settings.sampling_A, settings.padding_A)
    with mkl.one_thread(settings.library == "mkl"), threadpool_limits(limits=1):
        waves = exit_waves(specimens, cell, settings, task.device, task.memory)
    with_it = dict(zip(complete, waves, strict=False))
    rows, differences = [], []
    for one, pair, atom, without in zip(
        shown, task.pairs, atoms, waves[len(complete) :], strict=True
    ):
        blur = film.drift.during(one.part)[1]
        images = [
            to_host(
                image_spectrum(each, film.images[pair.position], one.patch.field)
                .moved(np.zeros(2), blur, 1.0)
                .pixels(one.patch.field)
            )
            for each in (without, with_it[pair.position, pair.site_id])
        ]
        difference = images[0] - images[1]
        difference[~one.patch.inside(field)] = 0.0
        rows.append(_row(film, pair, one, atom))
        differences.append(difference.astype(np.float16))
    return rows, differences


def _show(film: LabelledFilm, pair: Pair, first: int, sampling: float, thickness: float) -> _Shown:
    """Find a column in a frame, and put the atoms where the drift has moved them."""
    (part,) = (part for part in film.parts if part.frame == pair.position)
    shift, _ = film.drift.during(part)
    own = film.columns[
        (film.columns["structure"] == first + part.structure)
        & (film.columns["site_id"] == pair.site_id)
    ]
    facts = {str(name): own[name].iloc[0] for name in own}
    whole = film.particle.specimen(part.structure, thickness)
    moved = whole.positions[:PHONONS] + np.array([*shift, 0.0])
    patch = patch_around(facts["x_A"] + shift[0], facts["y_A"] + shift[1], sampling)
    structure = film.particle.structures[part.structure]
    return _Shown(part, structure, replace(whole, positions=moved), patch, facts)


def _row(film: LabelledFilm, pair: Pair, shown: _Shown, atom: int) -> dict[str, Any]:
    return {
        "structure": int(shown.facts["structure"]),
        "sample": int(film.samples["sample"].iloc[pair.position]),
        "site_id": pair.site_id,
        "case": pair.case,
        "species": str(shown.facts["species"]),
        "occupancy": int(shown.facts["occupancy"]),
        "atom_z_A": float(np.round(shown.structure.positions[atom, 2], 4)),
        "first_y": shown.patch.first_pixel[0],
        "first_x": shown.patch.first_pixel[1],
    }
