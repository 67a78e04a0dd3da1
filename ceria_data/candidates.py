"""Candidates of a count: the images of a structure with more or fewer atoms in one column."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ceria_data.config import BuildConfig, config_from_yaml
from ceria_data.crystal import view_axes
from ceria_data.dataset import Dataset
from ceria_data.devices import to_host
from ceria_data.draw import structure_entry
from ceria_data.grid import cell_around
from ceria_data.limits import PHONONS
from ceria_data.optics import form_image
from ceria_data.patch import Patch, patch_around, patch_settings, specimen_in
from ceria_data.randomness import sample_rng
from ceria_data.scattering import exit_waves
from ceria_data.scene import place
from ceria_data.schema import SPECIES
from ceria_data.simulate import (
    LabelledStructure,
    field_of,
    label_structure,
    settings_of,
    specimen_of,
)
from ceria_data.slices import join_slices
from ceria_data.structure import Structure
from ceria_data.waves import ScatteringSettings, Specimen

Floats = NDArray[np.float64]

REACH = 3
"""Candidates have at most so many atoms more or fewer than there are."""
CHANGES = tuple(range(-REACH, REACH + 1))
"""Atoms added by each candidate, in the order of the array."""
SHIFT = 0.05
"""A column is moved so far to either side for the derivative of its image [Å]."""
AXES = ("x", "y")
"""Directions of the shift, in the order of the array."""


@dataclass(frozen=True)
class Target:
    """A column of one image whose candidates are wanted.

    Attributes
    ----------
    row, position : int
        Row of the structure; position of the image among those of the structure.
    site_id : int
        Column.
    """

    row: int
    position: int
    site_id: int


@dataclass(frozen=True)
class CeilingTask:
    """The columns of one structure, for one worker."""

    config: str
    planes: int
    targets: tuple[Target, ...]
    device: str
    memory: int | None = None

    @property
    def row(self) -> int:
        """Row of the structure."""
        return self.targets[0].row


@dataclass(frozen=True)
class ColumnChanges:
    """What other atoms in one column would change in its image.

    Attributes
    ----------
    row : dict
        Its row of `ceiling.parquet`, without the number of the column.
    difference : array of float16, shape (change, y, x)
        Image of each candidate minus the image; 0 for the image itself and where there is
        no candidate.
    gradient : array of float16, shape (axis, y, x)
        Change of intensity per shift of the column along x and along y [1/Å].
    """

    row: dict[str, Any]
    difference: NDArray[np.float16]
    gradient: NDArray[np.float16]


def choose_targets(
    dataset: Dataset, config: BuildConfig, split: str, n_columns: int
) -> list[Target]:
    """Choose columns of a split, one structure after the other, Ce and O in turns.

    Parameters
    ----------
    dataset : Dataset
    config : BuildConfig
    split : str
    n_columns : int
        Fewer are found in a split that has fewer.

    Returns
    -------
    list of Target
        In the order of choice: more columns begin with the same ones. They lie in the
        field, have atoms and are not ambiguous.
    """
    structures = dataset.structures[dataset.structures["split"] == split]
    rows = structures["structure"].tolist()
    numbers = dict(zip(rows, structures["number"], strict=True))
    waiting = {row: _shuffled(dataset, config, row, int(numbers[row])) for row in rows}
    chosen: list[Target] = []
    turn = 0
    while len(chosen) < n_columns and any(any(own) for own in waiting.values()):
        for index, row in enumerate(rows):
            own = waiting[row][(index + turn) % len(SPECIES)]
            if own and len(chosen) < n_columns:
                chosen.append(own.pop())
        turn += 1
    return chosen


def _shuffled(
    dataset: Dataset, config: BuildConfig, row: int, number: int
) -> tuple[list[Target], ...]:
    """Order the usable columns of a structure at random, and give each an image, by species."""
    rng = sample_rng(config.seed, number, "ceiling")
    columns = dataset.columns_of(row)
    usable = columns[columns["in_field"] & (columns["occupancy"] > 0) & ~columns["ambiguous"]]
    targets = []
    for species in SPECIES:
        sites = rng.permutation(usable.loc[usable["species"] == species, "site_id"])
        positions = rng.integers(config.images_per_structure, size=len(sites))
        pairs = zip(positions.tolist(), sites.tolist(), strict=True)
        targets.append([Target(row, position, site) for position, site in pairs])
    return tuple(targets)


def ceiling_tasks(
    config_yaml: str, planes: int, targets: Iterable[Target], device: str, memory: int | None
) -> list[CeilingTask]:
    """Group columns by structure, so that each structure is built once."""
    groups: dict[int, list[Target]] = {}
    for target in targets:
        groups.setdefault(target.row, []).append(target)
    return [CeilingTask(config_yaml, planes, tuple(own), device, memory) for own in groups.values()]


def run_ceiling_task(task: CeilingTask) -> list[ColumnChanges]:
    """Compute the candidates and the gradient of the columns of one structure.

    Parameters
    ----------
    task : CeilingTask

    Returns
    -------
    list of ColumnChanges
        In the order of the targets.
    """
    config = config_from_yaml(task.config)
    labels = label_structure(config, structure_entry(config, task.row), task.planes)
    return [_changes(config, labels, target, task) for target in task.targets]


def _changes(
    config: BuildConfig, labels: LabelledStructure, target: Target, task: CeilingTask
) -> ColumnChanges:
    settings = patch_settings(settings_of(config))
    whole = specimen_of(labels, settings.slice_thickness_A)
    whole = replace(whole, positions=whole.positions[:PHONONS])
    table = labels.columns
    place_in_table = int(np.flatnonzero(table["site_id"] == target.site_id)[0])
    column = {str(name): table[name].iloc[place_in_table] for name in table}
    occupancy = int(column["occupancy"])
    counts = [n for n in (occupancy + c for c in CHANGES) if 0 <= n <= config.max_count]
    patch = patch_around(column["x_A"], column["y_A"], config.field.sampling_A)
    end = _End.of(config, labels, target.site_id, place_in_table)
    specimens = [
        *(end.with_atoms(whole, n - occupancy, settings.slice_thickness_A) for n in counts),
        *(end.shifted(whole, axis, side * SHIFT) for axis in range(len(AXES)) for side in (1, -1)),
    ]
    images = _images(specimens, patch, settings, labels, target, task)
    images[:, ~patch.inside(field_of(config))] = 0.0
    difference = np.zeros((len(CHANGES), *patch.field.shape), np.float16)
    true = counts.index(occupancy)
    for n, image in zip(counts, images, strict=False):
        difference[n - occupancy + REACH] = image - images[true]
    forward, backward = images[len(counts) :: 2], images[len(counts) + 1 :: 2]
    row = {
        "structure": target.row,
        "sample": target.row * config.images_per_structure + target.position,
        **{name: column[name] for name in ("site_id", "species", "x_A", "y_A", "occupancy")},
        "lowest": counts[0],
        "highest": counts[-1],
        "first_y": patch.first_pixel[0],
        "first_x": patch.first_pixel[1],
    }
    gradient = (forward - backward) / (2 * SHIFT)
    return ColumnChanges(row, difference, gradient.astype(np.float16))


def _images(
    specimens: list[Specimen],
    patch: Patch,
    settings: ScatteringSettings,
    labels: LabelledStructure,
    target: Target,
    task: CeilingTask,
) -> Floats:
    """Form one image of each specimen with the optics of the target, (specimen, y, x)."""
    cell = cell_around(patch.field, settings.sampling_A, settings.padding_A)
    near = [specimen_in(patch, each, settings) for each in specimens]
    with threadpool_limits(limits=1):  # as in `simulate`
        waves = exit_waves(near, cell, settings, task.device, task.memory)
    image = labels.images[target.position]
    return np.stack(
        [to_host(form_image(each, image, patch.field)).astype(np.float64) for each in waves]
    )


@dataclass(frozen=True)
class _End:
    """The atoms of a column, entrance face first, and those that could follow at its exit end.

    Attributes
    ----------
    own : array of int, shape (atom,)
        Its atoms in the structure.
    species : int
    places : array of float64, shape (REACH, 3)
        The next sites behind the last atom [Å].
    displacements : array of float64, shape (phonon, REACH, 3)
        Thermal displacements of atoms there [Å].
    """

    own: NDArray[np.intp]
    species: int
    places: Floats
    displacements: Floats

    @classmethod
    def of(
        cls, config: BuildConfig, labels: LabelledStructure, site_id: int, place_in_table: int
    ) -> "_End":
        structure = labels.structure
        own = np.flatnonzero(structure.site_id == site_id)
        own = own[np.argsort(structure.positions[own, 2], kind="stable")]
        species = int(structure.species[own[0]])
        step = column_repeat(structure, species, config)
        positions = structure.positions[own]
        # Vacancies leave gaps; averaging over the atoms takes static disorder out.
        behind = np.rint((positions[:, 2] - positions[-1, 2]) / step[2])
        last_site = (positions - behind[:, None] * step).mean(axis=0)
        # Drawn for every column, so that a column's atoms do not depend on which are chosen.
        rng = sample_rng(config.seed, structure.parameters.number, "added_atoms")
        shape = (len(labels.columns), PHONONS, REACH, 3)
        draw = rng.standard_normal(shape)[place_in_table]
        return cls(
            own=own,
            species=species,
            places=last_site + np.arange(1, REACH + 1)[:, None] * step,
            displacements=structure.rms[own[-1]] * draw,
        )

    def with_atoms(self, whole: Specimen, change: int, thickness: float) -> Specimen:
        """Take atoms from the exit end, or add some."""
        if change <= 0:
            kept = np.ones(len(whole.numbers), bool)
            kept[self.own[len(self.own) + change :]] = False
            return whole.of(kept)
        added = self.places[:change] + self.displacements[: whole.phonons, :change]
        return Specimen(
            positions=np.concatenate([whole.positions, added], axis=1),
            numbers=np.append(whole.numbers, np.full(change, self.species, np.uint8)),
            slices=join_slices(whole.slices, self.places[:change, 2], thickness),
        )

    def shifted(self, whole: Specimen, axis: int, distance: float) -> Specimen:
        """Move the whole column across the beam."""
        positions = whole.positions.copy()
        positions[:, self.own, axis] += distance
        return replace(whole, positions=positions)


def column_repeat(structure: Structure, species: int, config: BuildConfig) -> Floats:
    """Give the step from an atom of a column to the next one, as the mistilt inclines it.

    Parameters
    ----------
    structure : Structure
    species : int
        0 = Ce, 1 = O.
    config : BuildConfig

    Returns
    -------
    array of float64, shape (3,)
        x, y, z [Å]; a/√2 long for a column along ``[110]``.
    """
    parameters = structure.parameters
    axes = view_axes(parameters.zone_axis)
    repeat = (axes.cerium_repeat, axes.oxygen_repeat)[species]
    length = repeat * parameters.lattice_parameter_A / 4 / axes.lengths[2]
    origin, along = place(np.array([[0.0, 0, 0], [0, 0, length]]), parameters, field_of(config))
    step: Floats = along - origin
    return step
