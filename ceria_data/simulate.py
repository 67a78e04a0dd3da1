"""The spine: from a config and the row of a structure to its labels and images."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ceria_data import mkl
from ceria_data.config import BuildConfig
from ceria_data.detector import record
from ceria_data.devices import to_host
from ceria_data.digest import content_leaf, labels_leaf
from ceria_data.draw import (
    StructureEntry,
    camera_of,
    draw_image,
    draw_structure,
    sample_rows,
)
from ceria_data.errors import StructureError
from ceria_data.grid import Cell, Field, cell_around
from ceria_data.labels import atom_table, column_table, structure_row, support_table
from ceria_data.optics import form_image
from ceria_data.parameters import ImageParameters
from ceria_data.particle import build_structure
from ceria_data.phonons import Configurations, displace
from ceria_data.scattering import exit_waves, waves_together
from ceria_data.schema import TABLES
from ceria_data.slices import lay_slices
from ceria_data.structure import Structure
from ceria_data.targets import class_map, volume
from ceria_data.waves import SYMBOLS, ExitWaves, ScatteringSettings, Specimen


@dataclass(frozen=True)
class LabelledStructure:
    """A structure, its thermal configurations and all that is known about it.

    Attributes
    ----------
    structure : Structure
    configurations : Configurations
    images : tuple of ImageParameters
        Drawn parameters of its images.
    samples, structures, columns, atoms, support : DataFrame
        Its rows of the tables.
    occupancy : array of uint8, shape (species, y, x)
    volume : array of uint8, shape (plane, y, x)
    """

    structure: Structure
    configurations: Configurations
    images: tuple[ImageParameters, ...]
    samples: pd.DataFrame
    structures: pd.DataFrame
    columns: pd.DataFrame
    atoms: pd.DataFrame
    support: pd.DataFrame
    occupancy: NDArray[np.uint8]
    volume: NDArray[np.uint8]

    @property
    def digest(self) -> str:
        """Digest of the labels."""
        tables = [(getattr(self, spec.name), spec) for spec in TABLES]
        return labels_leaf(tables, self.occupancy, self.volume)


@dataclass(frozen=True)
class SimulatedStructure:
    """A labelled structure and its images.

    Attributes
    ----------
    labels : LabelledStructure
    intensity : array of float16, shape (image, y, x)
    counts : array of uint16, shape (image, y, x)
    seconds : dict of str to float
        Time spent by stage.
    """

    labels: LabelledStructure
    intensity: NDArray[np.float16]
    counts: NDArray[np.uint16]
    seconds: dict[str, float]

    @property
    def digest(self) -> str:
        """Digest of labels and pixels."""
        return content_leaf(self.labels.digest, self.counts, self.intensity)


def field_of(config: BuildConfig) -> Field:
    """Describe the field of a config."""
    return Field(config.field.shape, config.field.sampling_A)


def settings_of(config: BuildConfig) -> ScatteringSettings:
    """Describe the multislice calculation of a config."""
    widest = max(
        float(config.sections(split).optics.aperture_mrad.support[-1]) for split in config.splits
    )
    return ScatteringSettings(**config.scattering.model_dump(), kept_mrad=widest)


def cell_of(config: BuildConfig) -> Cell:
    """Lay the cell of the multislice calculation around the field of a config."""
    return cell_around(field_of(config), config.scattering.sampling_A, config.scattering.padding_A)


def simulate_structures(
    config: BuildConfig,
    entries: Sequence[StructureEntry],
    planes: int,
    device: str = "cpu",
    memory: int | None = None,
) -> Iterator["SimulatedStructure | Exception"]:
    """Simulate structures: their atoms, labels, exit waves and all their images.

    Parameters
    ----------
    config : BuildConfig
    entries : sequence of StructureEntry
        Rows, splits and numbers of the structures.
    planes : int
        Lattice planes of the dataset's volume.
    device : str
        ``cpu`` or ``gpu``.
    memory : int, optional
        For the waves that go together, of several structures if it is enough [bytes]; see
        `scattering.waves_together`.

    Yields
    ------
    SimulatedStructure or Exception
        In the order of `entries`; what went wrong, for a structure that could not be
        simulated.
    """
    batch = waves_together(cell_of(config), settings_of(config), device, memory)
    together = max(1, batch // max(split.phonons for split in config.splits))
    for first in range(0, len(entries), together):
        group = entries[first : first + together]
        try:
            yield from _simulate(config, group, planes, device, memory)
        except Exception as error:
            if len(group) == 1:
                yield error
                continue
            # One structure must not take the others with it.
            for entry in group:
                yield from simulate_structures(config, [entry], planes, device, memory)


def simulate_structure(
    config: BuildConfig, entry: StructureEntry, planes: int, device: str = "cpu"
) -> SimulatedStructure:
    """Simulate one structure; see `simulate_structures`.

    Raises
    ------
    StructureError
        If an image holds a number that is not finite, or an atom leaves the cell.
    """
    (simulated,) = _simulate(config, (entry,), planes, device, None)
    return simulated


def _simulate(
    config: BuildConfig,
    entries: Sequence[StructureEntry],
    planes: int,
    device: str,
    memory: int | None,
) -> list[SimulatedStructure]:
    """Simulate structures whose waves go together."""
    seconds: dict[str, float] = {}
    settings = settings_of(config)
    with timed(seconds, "structure and labels"):
        labels = [label_structure(config, entry, planes) for entry in entries]
        specimens = [specimen_of(each, settings.slice_thickness_A) for each in labels]
    # Sums of a matrix product depend on how many threads share it.
    alone = mkl.one_thread(settings.library == "mkl")
    with timed(seconds, "scattering"), alone, threadpool_limits(limits=1):
        waves = exit_waves(specimens, cell_of(config), settings, device, memory)
    shared = {stage: spent / len(entries) for stage, spent in seconds.items()}
    return [
        _simulate_images(one, behind, field_of(config), dict(shared))
        for one, behind in zip(labels, waves, strict=True)
    ]


def _simulate_images(
    labels: LabelledStructure, waves: ExitWaves, field: Field, seconds: dict[str, float]
) -> SimulatedStructure:
    """Form and record all images of one structure."""
    intensities, records = [], []
    for image in labels.images:
        with timed(seconds, "optics"):
            intensity = to_host(form_image(waves, image, field)).astype(np.float16)
        if not np.isfinite(intensity).all():
            row = labels.structures.iloc[0]
            raise StructureError(
                f"structure {row['structure']} (number {row['number']}): the image of sample "
                f"number {image.number} is not finite; its optics are {image}"
            )
        with timed(seconds, "camera"):
            records.append(record_sample(intensity, image, field))
        intensities.append(intensity)
    return SimulatedStructure(labels, np.stack(intensities), np.stack(records), seconds)


def specimen_of(labels: LabelledStructure, slice_thickness: float) -> Specimen:
    """Take the atoms that scatter, crystal and support, and lay slices on them.

    Parameters
    ----------
    labels : LabelledStructure
    slice_thickness : float
        Å.

    Returns
    -------
    Specimen
        The atoms of the crystal first.
    """
    structure, configurations = labels.structure, labels.configurations
    carbon = np.full(len(structure.support), SYMBOLS.index("C"), np.uint8)
    z = np.concatenate([structure.positions[:, 2], structure.support[:, 2]])
    return Specimen(
        positions=np.concatenate([configurations.positions, configurations.support], axis=1),
        numbers=np.concatenate([structure.species, carbon]),
        slices=lay_slices(z, slice_thickness),
    )


def record_sample(
    intensity: NDArray[np.float16], image: ImageParameters, field: Field
) -> NDArray[np.uint16]:
    """Record a stored intensity with the camera of its sample.

    The counts follow from what is stored, so that a reader can draw them again.
    """
    return record(
        intensity.astype(np.float64),
        dose=image.dose_e_per_A2,
        sampling=field.sampling,
        camera=camera_of(image),
        seed=image.camera_seed,
    )


def label_structure(config: BuildConfig, entry: StructureEntry, planes: int) -> LabelledStructure:
    """Build one structure and everything that is known about it, without any scattering.

    Parameters
    ----------
    config : BuildConfig
    entry : StructureEntry
    planes : int
        Lattice planes of the dataset's volume.

    Returns
    -------
    LabelledStructure
    """
    field, cell = field_of(config), cell_of(config)
    parameters = draw_structure(config, entry)
    structure = build_structure(parameters, field, cell, config.seed)
    configurations = displace(structure, config.seed)
    columns = column_table(structure, configurations, field, entry.row)
    atoms = atom_table(structure, entry.row)
    images = tuple(
        draw_image(config, entry, position) for position in range(config.images_per_structure)
    )
    return LabelledStructure(
        structure=structure,
        configurations=configurations,
        images=images,
        samples=sample_rows(config, entry, images),
        structures=structure_row(structure, columns, entry.split, entry.row, entry.row),
        columns=columns,
        atoms=atoms,
        support=support_table(structure, entry.row),
        occupancy=class_map(columns, field, config.max_count),
        volume=volume(atoms, columns, planes, field),
    )


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the time that is spent inside to a stage [s]."""
    start = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
