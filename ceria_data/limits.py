"""What the counted electrons can tell at best about the atoms of a column."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ceria_data import mkl
from ceria_data.config import BuildConfig, config_from_yaml
from ceria_data.dataset import Dataset
from ceria_data.devices import to_host
from ceria_data.draw import structure_entry
from ceria_data.grid import Field, cell_around
from ceria_data.observer import detectability
from ceria_data.optics import form_image
from ceria_data.parameters import camera_from_row
from ceria_data.patch import Patch, patch_around, patch_settings, specimen_in
from ceria_data.randomness import sample_rng
from ceria_data.scattering import exit_waves
from ceria_data.schema import LIMITS, SPECIES
from ceria_data.simulate import (
    LabelledStructure,
    field_of,
    label_structure,
    settings_of,
    specimen_of,
)
from ceria_data.store import frame
from ceria_data.structure import Structure
from ceria_data.waves import Specimen

PHONONS = 8
"""Thermal configurations, at most: the same ones with and without the atom, so that few give
their difference. By how much d'² then scatters: docs/performance.md, "Limits"."""

_BOND_REACH = 0.55
"""Ce-O bonds are 0.433 lattice parameters long, the next Ce-O distance is 0.829."""
_OXYGEN_REACH = 0.6
"""O-O neighbours are 0.5 lattice parameters apart, the next 0.707."""


@dataclass(frozen=True)
class Pair:
    """A column of one image, and the atom that the second image lacks.

    Attributes
    ----------
    row, position : int
        Row of the structure; position of the image among those of the structure.
    site_id : int
        Column.
    case : str
        ``end`` (last atom along the beam), ``inner`` (a middle atom) or
        ``inner_relaxed`` (its neighbours move as around a vacancy).
    """

    row: int
    position: int
    site_id: int
    case: str


@dataclass(frozen=True)
class LimitsTask:
    """The pairs of one structure, for one worker."""

    config: str
    planes: int
    pairs: tuple[Pair, ...]
    device: str
    memory: int | None = None

    @property
    def row(self) -> int:
        """Row of the structure."""
        return self.pairs[0].row


def choose_pairs(dataset: Dataset, config: BuildConfig, split: str, n_columns: int) -> list[Pair]:
    """Choose columns of a split evenly over its structures, half Ce and half O.

    Parameters
    ----------
    dataset : Dataset
    config : BuildConfig
    split : str
    n_columns : int

    Returns
    -------
    list of Pair
        Every case of every chosen column, in the order of structures.
    """
    rng = sample_rng(config.seed, 0, "limits")
    structures = dataset.structures
    rows = structures.loc[structures["split"] == split, "structure"].tolist()
    pairs = []
    for index, row in enumerate(rows):
        columns = dataset.columns_of(row)
        usable = columns[columns["in_field"] & (columns["occupancy"] > 0) & ~columns["ambiguous"]]
        wanted = (index + 1) * n_columns // len(rows) - index * n_columns // len(rows)
        for species, share in zip(SPECIES, (wanted - wanted // 2, wanted // 2), strict=True):
            own = usable[usable["species"] == species]
            chosen = rng.permutation(len(own))[:share]
            for _, column in own.iloc[np.sort(chosen)].iterrows():
                position = int(rng.integers(config.images_per_structure))
                cases = ("end", "inner", "inner_relaxed") if column["occupancy"] > 2 else ("end",)
                pairs += [Pair(row, position, int(column["site_id"]), case) for case in cases]
    return pairs


def limits_tasks(
    config_yaml: str, planes: int, pairs: list[Pair], device: str, memory: int | None
) -> list[LimitsTask]:
    """Group pairs by structure, so that each structure is built once."""
    rows = list(dict.fromkeys(pair.row for pair in pairs))
    return [
        LimitsTask(config_yaml, planes, tuple(p for p in pairs if p.row == row), device, memory)
        for row in rows
    ]


def run_limits_task(task: LimitsTask) -> tuple[list[dict[str, Any]], list[NDArray[np.float16]]]:
    """Compute the change of intensity by the missing atom for the pairs of one structure.

    Parameters
    ----------
    task : LimitsTask

    Returns
    -------
    rows : list of dict
        Rows of `limits.parquet` without the number of the pair and d'².
    differences : list of array of float16, shape (y, x)
        Intensity with the atom missing minus intensity, per pair.
    """
    config = config_from_yaml(task.config)
    labels = label_structure(config, structure_entry(config, task.pairs[0].row), task.planes)
    settings = patch_settings(settings_of(config))
    whole = specimen_of(labels, settings.slice_thickness_A)
    whole = replace(whole, positions=whole.positions[:PHONONS])
    patches = [_patch_around(config, labels, pair) for pair in task.pairs]
    missing = [missing_atom(labels.structure, pair) for pair in task.pairs]
    # The cases of a column share its complete image.
    columns = {pair.site_id: patch for pair, patch in zip(task.pairs, patches, strict=True)}
    specimens = [
        *(specimen_in(patch, whole, settings) for patch in columns.values()),
        *(
            specimen_in(patch, lacking(whole, labels.structure, atom, pair.case), settings)
            for patch, atom, pair in zip(patches, missing, task.pairs, strict=True)
        ),
    ]
    cell = cell_around(patches[0].field, settings.sampling_A, settings.padding_A)
    alone = mkl.one_thread(settings.library == "mkl")
    with alone, threadpool_limits(limits=1):  # as in `simulate`
        waves = exit_waves(specimens, cell, settings, task.device, task.memory)
    complete = dict(zip(columns, waves, strict=False))
    rows, differences = [], []
    for pair, patch, atom, wave in zip(
        task.pairs, patches, missing, waves[len(columns) :], strict=True
    ):
        image = labels.images[pair.position]
        without, with_it = (
            to_host(form_image(each, image, patch.field)) for each in (wave, complete[pair.site_id])
        )
        difference = without - with_it
        difference[~patch.inside(field_of(config))] = 0.0
        rows.append(_row(pair, config, labels, patch, atom))
        differences.append(difference.astype(np.float16))
    return rows, differences


def _patch_around(config: BuildConfig, labels: LabelledStructure, pair: Pair) -> Patch:
    column = _column(labels, pair)
    return patch_around(column["x_A"], column["y_A"], config.field.sampling_A)


def missing_atom(structure: Structure, pair: Pair) -> int:
    """Choose the atom that the second image lacks, by its row in the structure."""
    own = np.flatnonzero(structure.site_id == pair.site_id)
    own = own[np.argsort(structure.positions[own, 2], kind="stable")]
    return int(own[-1] if pair.case == "end" else own[len(own) // 2])


def lacking(whole: Specimen, structure: Structure, atom: int, case: str) -> Specimen:
    """Take one atom away, and let its neighbours go where they are without it.

    Parameters
    ----------
    whole : Specimen
        The atoms of the structure first.
    structure : Structure
    atom : int
        Row in the structure.
    case : str
        See `Pair`.

    Returns
    -------
    Specimen
    """
    kept = np.ones(len(whole.numbers), bool)
    kept[atom] = False
    if case != "inner_relaxed":
        return whole.of(kept)
    moved = whole.positions.copy()
    moved[:, : len(structure.positions)] += _relaxation(structure, atom)
    return replace(whole, positions=moved).of(kept)


def _relaxation(structure: Structure, atom: int) -> NDArray[np.float64]:
    """Displace the neighbours of one missing atom as `defects.relax` does for a vacancy."""
    amplitude = structure.parameters.relaxation_A
    unit = structure.parameters.lattice_parameter_A
    away = structure.positions - structure.positions[atom]
    distance = np.linalg.norm(away, axis=1)
    distance[atom] = np.inf
    other = structure.species != structure.species[atom]
    bonded = other & (distance < _BOND_REACH * unit)
    pulled = ~other & (distance < _OXYGEN_REACH * unit) & (structure.species == SPECIES.index("O"))
    sign = bonded.astype(float) - pulled
    return np.asarray(amplitude * sign[:, None] * away / distance[:, None])


def _column(labels: LabelledStructure, pair: Pair) -> dict[str, Any]:
    own = labels.columns[labels.columns["site_id"] == pair.site_id]
    return {str(name): own[name].iloc[0] for name in own}


def _row(
    pair: Pair,
    config: BuildConfig,
    labels: LabelledStructure,
    patch: Patch,
    atom: int,
) -> dict[str, Any]:
    column = _column(labels, pair)
    return {
        "structure": pair.row,
        "sample": pair.row * config.images_per_structure + pair.position,
        "site_id": pair.site_id,
        "case": pair.case,
        "species": str(column["species"]),
        "occupancy": int(column["occupancy"]),
        "atom_z_A": float(np.round(labels.structure.positions[atom, 2], 4)),
        "first_y": patch.first_pixel[0],
        "first_x": patch.first_pixel[1],
    }


def in_order(
    results: Iterable[tuple[LimitsTask, tuple[list[dict[str, Any]], list[NDArray[np.float16]]]]],
    on_pair: Callable[[int], None] = lambda done: None,
) -> tuple[list[dict[str, Any]], NDArray[np.float16]]:
    """Order the results of all tasks by structure, whatever order they came in."""
    done = 0
    collected = []
    for task, (rows, differences) in results:
        collected.append((task.pairs[0].row, rows, differences))
        done += len(rows)
        on_pair(done)
    collected.sort(key=lambda item: item[0])
    all_rows = [row for _, rows, _ in collected for row in rows]
    return all_rows, np.stack([one for _, _, many in collected for one in many])


def limits_table(
    dataset: Dataset, rows: list[dict[str, Any]], differences: NDArray[np.float16]
) -> pd.DataFrame:
    """Give numbers to the pairs and compute d'² from stored intensity and change of intensity.

    Parameters
    ----------
    dataset : Dataset
    rows : list of dict
    differences : array of float16, shape (pair, y, x)

    Returns
    -------
    DataFrame
        As `schema.LIMITS` describes it.
    """
    parameters = {sample.parameters["sample"]: sample.parameters for sample in dataset}
    for pair, (row, difference) in enumerate(zip(rows, differences, strict=True)):
        image = parameters[row["sample"]]
        change = _in_image(difference, row["first_y"], row["first_x"], dataset.field)
        intensity = dataset.read("intensity", row["sample"]).astype(np.float64)
        d2 = detectability(
            intensity,
            intensity + change,
            image["dose_e_per_A2"],
            dataset.field.sampling,
            camera_from_row(image),
        )
        row |= {"pair": pair, "d2_per_e_per_A2": d2 / image["dose_e_per_A2"]}
    return frame(rows, LIMITS)


def _in_image(
    difference: NDArray[np.float16], first_y: int, first_x: int, field: Field
) -> NDArray[np.float64]:
    """Lay a patch into an empty image; what lies outside is cut off."""
    image = np.zeros(field.shape)
    ny, nx = difference.shape
    y0, x0 = max(first_y, 0), max(first_x, 0)
    y1, x1 = min(first_y + ny, field.shape[0]), min(first_x + nx, field.shape[1])
    image[y0:y1, x0:x1] = difference[y0 - first_y : y1 - first_y, x0 - first_x : x1 - first_x]
    return image
