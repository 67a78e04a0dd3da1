"""A film without its images: the events, all structures, their labels and the exposures."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.config import BuildConfig
from ceria_data.digest import labels_leaf
from ceria_data.draw import (
    StructureEntry,
    draw_frames,
    draw_image,
    draw_structure,
    film_rows,
)
from ceria_data.dynamics import Event, History, draw_history
from ceria_data.exposures import Drift, Exposure, draw_drift, expose, shown
from ceria_data.grid import Cell, Field
from ceria_data.labels import atom_table, column_table, structure_row, support_table
from ceria_data.moves import NOWHERE
from ceria_data.parameters import ImageParameters
from ceria_data.phonons import RMS_CARBON, Configurations, thermal_draws
from ceria_data.randomness import sample_rng
from ceria_data.scene import Shared, arrange, positions_of, set_scene, share
from ceria_data.schema import EVENTS, EXPOSURES, SPECIES, tables_of
from ceria_data.slices import Slices, lay_slices
from ceria_data.store import frame
from ceria_data.structure import Structure
from ceria_data.targets import class_map, volume
from ceria_data.waves import SYMBOLS, Specimen

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Particle:
    """A particle over the time of a film: its sites, its structures, its thermal motion.

    Attributes
    ----------
    history : History
    shared : Shared
    structures : tuple of Structure
        One more than there are events.
    thermal : array of float64, shape (phonon, site, 3)
        Displacements in units of the rms of each kept site: an atom that stays where it is
        is displaced alike in all structures.
    carbon : array of float64, shape (phonon, carbon, 3)
        The same of the support.
    """

    history: History
    shared: Shared
    structures: tuple[Structure, ...]
    thermal: Floats
    carbon: Floats

    def occupied(self, index: int) -> NDArray[np.bool_]:
        """Say which of the kept sites hold an atom in a structure."""
        occupied: NDArray[np.bool_] = self.history.states[index].present[self.shared.kept]
        return occupied

    def configurations(self, index: int) -> Configurations:
        """Displace the atoms of a structure."""
        structure = self.structures[index]
        draws = self.thermal[:, self.occupied(index)]
        return Configurations(
            structure.positions + structure.rms[:, None] * draws,
            structure.support + RMS_CARBON * self.carbon,
        )

    def specimen(self, index: int, slice_thickness: float) -> Specimen:
        """Take the atoms of a structure that scatter, crystal and support, in slices.

        The slices are laid on all sites that are ever visited, so that an event moves no
        other atom to another plane.

        Parameters
        ----------
        index : int
        slice_thickness : float
            Å.

        Returns
        -------
        Specimen
        """
        structure, moved = self.structures[index], self.configurations(index)
        occupied = self.occupied(index)
        state = self.history.states[index]
        placed = positions_of(self.history.scene, state.present, state.pose)
        z = placed[self.shared.kept, 2] - self.shared.middle
        chosen = np.concatenate([occupied, np.ones(len(structure.support), np.bool_)])
        visited = self.history.visited[self.shared.kept]
        listed = np.concatenate([visited, chosen[len(occupied) :]])
        depths = np.concatenate([z, structure.support[:, 2]])[listed]
        slices: Slices = lay_slices(depths, slice_thickness).of(chosen[listed])
        carbon = np.full(len(structure.support), SYMBOLS.index("C"), np.uint8)
        return Specimen(
            positions=np.concatenate([moved.positions, moved.support], axis=1),
            numbers=np.concatenate([structure.species, carbon]),
            slices=slices,
        )


@dataclass(frozen=True)
class LabelledFilm:
    """A film and all that is known about it, before its images.

    Attributes
    ----------
    particle : Particle
    images : tuple of ImageParameters
        One of each frame; they differ in their noise only.
    parts : tuple of Exposure
        What each frame shows, by time.
    drift : Drift
    samples, structures, columns, atoms, support, events, exposures : DataFrame
        Its rows of the tables.
    occupancy : array of uint8, shape (structure, species, y, x)
    volume : array of uint8, shape (structure, plane, y, x)
    """

    particle: Particle
    images: tuple[ImageParameters, ...]
    parts: tuple[Exposure, ...]
    drift: Drift
    samples: pd.DataFrame
    structures: pd.DataFrame
    columns: pd.DataFrame
    atoms: pd.DataFrame
    support: pd.DataFrame
    events: pd.DataFrame
    exposures: pd.DataFrame
    occupancy: NDArray[np.uint8]
    volume: NDArray[np.uint8]

    @property
    def digest(self) -> str:
        """Digest of the labels."""
        tables = [(getattr(self, spec.name), spec) for spec in tables_of(films=True)]
        return labels_leaf(tables, self.occupancy, self.volume)


def film_history(config: BuildConfig, entry: StructureEntry, field: Field, cell: Cell) -> History:
    """Draw the particle of a film and what happens to it, without labels or images.

    Parameters
    ----------
    config : BuildConfig
    entry : StructureEntry
        The film.
    field : Field
    cell : Cell

    Returns
    -------
    History
    """
    film = config.sections(config.split(entry.split)).film
    assert film is not None, "only a config with a section film has films"
    scene = set_scene(draw_structure(config, entry), field, cell, config.seed)
    dose = draw_image(config, entry, 0).dose_e_per_A2
    return draw_history(scene, film, dose, sample_rng(config.seed, entry.number, "dynamics"))


def label_film(
    config: BuildConfig,
    entry: StructureEntry,
    first_structure: int,
    planes: int,
    field: Field,
    cell: Cell,
) -> LabelledFilm:
    """Build all structures of a film and everything that is known about them.

    Parameters
    ----------
    config : BuildConfig
    entry : StructureEntry
        The film.
    first_structure : int
        Row of its first structure.
    planes : int
        Lattice planes of the dataset's volume.
    field : Field
    cell : Cell

    Returns
    -------
    LabelledFilm
    """
    film = config.sections(config.split(entry.split)).film
    assert film is not None, "only a config with a section film has films"
    particle = _particle(film_history(config, entry, field, cell))
    images = draw_frames(config, entry)
    events = particle.history.events
    # Rounded, so that an event at the border of two frames is in one of them.
    times = np.round([event.time_s / film.frame_time_s for event in events], 9)
    parts = expose(times, film.frames)
    drift = draw_drift(film, sample_rng(config.seed, entry.number, "drift"))
    rows = [first_structure + i for i in range(len(particle.structures))]
    labelled = [_label(particle, i, entry, row, field) for i, row in enumerate(rows)]
    columns, atoms, support, structures = (list(tables) for tables in zip(*labelled, strict=True))
    pairs = list(zip(atoms, columns, strict=True))
    first_sample = entry.row * film.frames
    longest = [rows[index] for index in shown(parts, film.frames)]
    return LabelledFilm(
        particle=particle,
        images=images,
        parts=tuple(parts),
        drift=drift,
        samples=film_rows(config, entry, images, longest, drift.path),
        structures=pd.concat(structures, ignore_index=True),
        columns=pd.concat(columns, ignore_index=True),
        atoms=pd.concat(atoms, ignore_index=True),
        support=pd.concat(support, ignore_index=True),
        events=_event_rows(particle, entry.row, rows, np.minimum(times, film.frames - 1)),
        exposures=_exposure_rows(parts, rows, first_sample),
        occupancy=np.stack([class_map(own, field, config.max_count) for own in columns]),
        volume=np.stack([volume(own, beside, planes, field) for own, beside in pairs]),
    )


def _particle(history: History) -> Particle:
    """Arrange all structures of a film."""
    scene = history.scene
    p, shared = scene.parameters, share(scene, history.visited)
    structures = tuple(
        arrange(scene, shared, state.present, state.pose) for state in history.states
    )
    shape = (p.n_phonons, len(shared.kept), len(shared.support))
    return Particle(history, shared, structures, *thermal_draws(*shape, p.number, scene.seed))


def _label(
    particle: Particle, index: int, entry: StructureEntry, row: int, field: Field
) -> tuple[pd.DataFrame, ...]:
    """Tabulate columns, atoms, support and facts of one structure."""
    structure = particle.structures[index]
    columns = column_table(structure, particle.configurations(index), field, row)
    return (
        columns,
        atom_table(structure, row),
        support_table(structure, row),
        structure_row(structure, columns, entry.split, row, entry.row),
    )


def _event_rows(particle: Particle, film: int, rows: list[int], times: Floats) -> pd.DataFrame:
    """Make the rows of `events.parquet`; their numbers begin at 0 in every film."""
    lattice, shared = particle.history.scene.lattice, particle.shared
    depth = lattice.projected[:, 2]
    plane = (depth - depth[shared.kept].min()) // lattice.axes.plane_step

    def end(site: int) -> tuple[int, int]:
        return (
            (NOWHERE, NOWHERE) if site == NOWHERE else (int(shared.names[site]), int(plane[site]))
        )

    def species(event: Event) -> str:
        sites = [site for site in (event.source, event.target) if site != NOWHERE]
        return SPECIES[lattice.species[sites[0]]] if sites else ""

    table: list[dict[str, Any]] = []
    for number, event in enumerate(particle.history.events):
        (id_from, plane_from), (id_to, plane_to) = end(event.source), end(event.target)
        table.append(
            {
                "event": number,
                "particle": film,
                "structure": rows[number + 1],
                "time_s": event.time_s,
                "frame": int(times[number]),
                "kind": event.kind,
                "species": species(event),
                "site_id_from": id_from,
                "site_id_to": id_to,
                "plane_from": plane_from,
                "plane_to": plane_to,
            }
        )
    return frame(table, EVENTS)


def _exposure_rows(parts: Iterable[Exposure], rows: list[int], first: int) -> pd.DataFrame:
    """Make the rows of `exposures.parquet` for the frames of one film."""
    table: list[dict[str, Any]] = [
        {"sample": first + part.frame, "structure": rows[part.structure], "weight": part.weight}
        for part in parts
    ]
    return frame(table, EXPOSURES)
