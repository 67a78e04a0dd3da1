"""What a build will need, predicted from its config: nothing is simulated or written."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, e, log2, pi
from typing import Any

import numpy as np
from scipy import fft

from ceria_data.config import BuildConfig, Sections
from ceria_data.crystal import n_planes, plane_spacing, view_axes
from ceria_data.distributions import Distribution
from ceria_data.draw import structure_entries
from ceria_data.film_labels import film_history
from ceria_data.grid import Cell
from ceria_data.multislice import bytes_per_wave
from ceria_data.schema import ARRAYS, TABLES, ArraySpec
from ceria_data.sections import Split, StructureSection
from ceria_data.simulate import cell_of, field_of, settings_of
from ceria_data.store import Layout
from ceria_data.waves import highest_orders

SHARD_BYTES = 64_000_000
"""A shard is not meant to be larger than this, uncompressed."""
BLOCK_STRUCTURES = 32
"""Nor does a block hold more structures: they are what one interruption loses."""
FEWEST_BLOCKS, MOST_BLOCKS = 16, 5000
"""Enough for several workers, and few enough for a folder of the Hub."""
OTHER_FILES = 1 + len(ARRAYS) + len(TABLES) + 12
"""Metadata of Zarr, tables, card, config, manifest and previews."""

SLICE_COST, IMAGE_COST = 7.2, 8.5
"""Time of a slice, and of an image, of one phonon configuration, with all that belongs to it,
over that of one Fourier transform of the cell: means of the medians of `ceria-columns-mini` and
`-v1`, by ``benchmarks/scaling.py --costs``. Labels weigh more in the small images of `demo`.
A slice has 2 transforms and 3 real ones, an image one per focus on a smaller grid."""
FRAME_COST = 3.0
"""Time of a frame of a film, its pixels and its noise, over that of one transform."""
SLICES_PER_PLANE = 1.15
"""Slices of the presets over lattice planes: tilt and relaxation spread some planes over two."""
BASE_MEMORY = 490_000_000
"""Memory of a worker with its libraries, and what its allocator does not give back."""
BLOCK_COPIES = 3
"""Copies of the arrays of a block that are alive while it is written."""
COMPRESSED = {"intensity": 0.6, "occupancy": 0.05, "volume": 0.02}
"""Share of the bytes that zstd leaves, measured on `demo` and `ceria-columns-mini`."""
COUNTS_OVER_ENTROPY = 1.5
"""Bytes that zstd leaves of the counts over the entropy of their noise."""
ROW_BYTES = {"columns": 45, "atoms": 25, "samples": 250, "structures": 300}
COLUMNS_PER_A2 = 0.16
"""Columns per area of the cell on [110], where 0.29 per Å² stand in the crystal."""

HUB_FILES, HUB_FOLDER_ENTRIES = 100_000, 10_000
HUB_FILE_BYTES, HUB_BYTES = 20_000_000_000, 300_000_000_000
"""Recommendations of huggingface.co/docs/hub/repositories-recommendations."""


@dataclass(frozen=True)
class Plan:
    """Predicted size and cost of a dataset.

    Attributes
    ----------
    name, version : str
    layout : Layout
        Shapes of the arrays and structures per shard.
    splits : dict of str to int
        Structures by split, or films in a dataset of films.
    plane_spacing_A : float
        Distance of the planes of `volume`, at the median lattice parameter.
    cell : Cell
        Periodic cell of the multislice calculation.
    files : int
    bytes_arrays : int
        Arrays, uncompressed.
    bytes_on_disk : int
        Everything, compressed; an estimate.
    largest_file : int
        Bytes of the largest shard, uncompressed: more than the file will have.
    transforms : float
        Cost, in the time of one Fourier transform of the cell; an estimate.
    memory_per_worker : int
        Bytes; an estimate.
    warnings : tuple of str
        Limits of the Hub that the dataset would pass.
    """

    name: str
    version: str
    layout: Layout
    splits: dict[str, int]
    plane_spacing_A: float
    cell: Cell
    files: int
    bytes_arrays: int
    bytes_on_disk: int
    largest_file: int
    transforms: float
    memory_per_worker: int
    warnings: tuple[str, ...]

    @property
    def samples(self) -> int:
        """Images."""
        return self.layout.particles * self.layout.images


def plan(config: BuildConfig, block: int | None = None) -> Plan:
    """Predict a build.

    Parameters
    ----------
    config : BuildConfig
    block : int, optional
        Structures per shard and task; by default as many as make handy shards. It
        depends on the config only, so that every machine writes the same files.

    Returns
    -------
    Plan

    Examples
    --------
    >>> from ceria_data.config import load_config
    >>> planned = plan(load_config("ceria-columns-v1"))
    >>> planned.layout.structures, planned.samples, planned.layout.block
    (4000, 16000, 32)
    """
    cell = cell_of(config)
    layout = _layout(config, cell, block)
    per_array = {spec.name: _bytes(layout, spec.name) for spec in ARRAYS}
    shards = {spec.name: _shards(layout, spec) for spec in ARRAYS}
    largest = max(ceil(per_array[name] / n) for name, n in shards.items())
    if not layout.starts:
        largest = ceil(max(per_array.values()) * min(layout.block / layout.structures, 1.0))
    files = sum(shards.values()) + OTHER_FILES
    on_disk = _bytes_on_disk(config, layout, cell, per_array)
    return Plan(
        name=config.name,
        version=config.version,
        layout=layout,
        splits={split.name: split.structures for split in config.splits},
        plane_spacing_A=_plane_spacing(config),
        cell=cell,
        files=files,
        bytes_arrays=sum(per_array.values()),
        bytes_on_disk=on_disk,
        largest_file=largest,
        transforms=sum(_transforms(config, split, layout) for split in config.splits),
        memory_per_worker=_memory(config, layout, cell, sum(per_array.values())),
        warnings=tuple(_hub_warnings(files, max(shards.values()), largest, on_disk)),
    )


def plan_facts(
    planned: Plan, workers: int | None = None, seconds_per_transform: float | None = None
) -> dict[str, Any]:
    """Describe a plan for people, with the time that this machine would take.

    Parameters
    ----------
    planned : Plan
    workers : int, optional
        By default one per CPU of this machine.
    seconds_per_transform : float, optional
        Time of one Fourier transform of the cell; by default measured in 0.3 s.

    Returns
    -------
    dict
        Numbers with their unit in the name.
    """
    workers = workers or os.cpu_count() or 1
    each = seconds_per_transform or time_transform(planned.cell.shape)
    layout = planned.layout
    films = {"films": layout.particles, "frames_per_film": layout.images} if layout.starts else {}
    return {
        "dataset": f"{planned.name} {planned.version}",
        **films,
        "structures": layout.structures,
        "images": planned.samples,
        "splits": planned.splits,
        "image_pixels": list(layout.field_shape),
        "cell_points": list(planned.cell.shape),
        "volume_planes": layout.planes,
        "structures_per_shard": 1 if layout.starts else layout.block,
        "tasks": layout.blocks,
        "files": planned.files,
        "uncompressed_GB": round(planned.bytes_arrays / 1e9, 3),
        "on_disk_GB_estimate": round(planned.bytes_on_disk / 1e9, 3),
        "memory_per_worker_GB_estimate": round(planned.memory_per_worker / 1e9, 2),
        "workers": workers,
        "hours_estimate": round(planned.transforms * each / workers / 3600, 3),
        "warnings": list(planned.warnings),
    }


def time_transform(shape: tuple[int, int], seconds: float = 0.3) -> float:
    """Measure a complex64 Fourier transform in two dimensions on this machine.

    Parameters
    ----------
    shape : tuple of int
        Points (y, x).
    seconds : float
        How long to measure.

    Returns
    -------
    float
        Seconds for one transform, the mean over the measurement.
    """
    wave = np.ones(shape, np.complex64)
    fft.fft2(wave, workers=1)
    start, repeats = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < seconds or not repeats:
        fft.fft2(wave, workers=1)
        repeats += 1
    return spent / repeats


def _layout(config: BuildConfig, cell: Cell, block: int | None) -> Layout:
    particles = sum(split.structures for split in config.splits)
    sections = [config.sections(split).structure for split in config.splits]
    planes = n_planes(
        config.structure.zone_axis,
        max(int(section.thickness_atoms.support[-1]) for section in sections),
        adatoms=bool(config.film) or any(_may_have_adatoms(section) for section in sections),
    )
    shape, images = config.field.shape, config.images_per_particle
    if config.film:
        return Layout(particles, images, shape, planes, block or 1, _starts(config, cell))
    one = Layout(particles, images, shape, planes, 1)
    largest = max(_bytes(one, spec.name) for spec in ARRAYS) / particles
    handy = min(int(SHARD_BYTES / largest), BLOCK_STRUCTURES, particles // FEWEST_BLOCKS)
    chosen = block or max(handy, ceil(particles / MOST_BLOCKS), 1)
    return Layout(particles, images, shape, planes, chosen)


def _starts(config: BuildConfig, cell: Cell) -> tuple[int, ...]:
    """Draw what happens in every film, to know where its structures begin."""
    field = field_of(config)
    counts = [
        len(film_history(config, entry, field, cell).states) for entry in structure_entries(config)
    ]
    return tuple(accumulate(counts, initial=0))


def _shards(layout: Layout, spec: ArraySpec) -> int:
    return -(-layout.shape(spec)[0] // layout.shard(spec))


def _structures(config: BuildConfig, split: Split, layout: Layout) -> int:
    """Count the structures of a split, all those of its films."""
    first = 0
    for each in config.splits:
        if each.name == split.name:
            return len(layout.structures_of(range(first, first + split.structures)))
        first += each.structures
    raise ValueError(f"the config has no split {split.name}")


def _may_have_adatoms(section: StructureSection) -> bool:
    return any(
        int(distribution.support[-1]) > 0
        for distribution in (section.n_cerium_adatoms, section.n_oxygen_adatoms)
    )


def _bytes(layout: Layout, name: str) -> int:
    spec = next(spec for spec in ARRAYS if spec.name == name)
    size = np.dtype(spec.dtype).itemsize
    for n in layout.shape(spec):
        size *= n
    return size


def _bytes_on_disk(
    config: BuildConfig, layout: Layout, cell: Cell, per_array: dict[str, int]
) -> int:
    arrays = sum(share * per_array[name] for name, share in COMPRESSED.items())
    arrays += (
        sum(
            COUNTS_OVER_ENTROPY
            * split.structures
            / layout.particles
            * _noise_bits(config, config.sections(split))
            / 16
            for split in config.splits
        )
        * per_array["counts"]
    )
    columns = _columns(cell)
    tables = 0.0
    for split in config.splits:
        thickness = _mean(config.sections(split).structure.thickness_atoms)
        atoms = columns * thickness * ROW_BYTES["atoms"]
        rows = columns * ROW_BYTES["columns"] + ROW_BYTES["structures"]
        images = config.images_per_particle * ROW_BYTES["samples"]
        tables += _structures(config, split, layout) * (atoms + rows)
        tables += split.structures * images
    return ceil(arrays + tables) + 2_000_000


def _noise_bits(config: BuildConfig, sections: Sections) -> float:
    """Entropy of a recorded pixel of vacuum: that of a normal distribution."""
    camera = sections.camera
    integrating = camera.kind.support == ("integrating",)
    gain = _mean(camera.gain) if integrating else 1.0
    read = _mean(camera.readout_noise) if integrating else 0.0
    doses = [float(sections.dose_e_per_A2.at(u)) for u in _QUANTILES]
    variances = [gain**2 * d * config.field.sampling_A**2 + read**2 + 1 / 12 for d in doses]
    return sum(max(0.5 * log2(2 * pi * e * v), 0.5) for v in variances) / len(variances)


def _transforms(config: BuildConfig, split: Split, layout: Layout) -> float:
    """Cost of a split, in the time of one Fourier transform of the cell."""
    thickness = _mean(config.sections(split).structure.thickness_atoms) * _repeat(config)
    planes = thickness / _plane_spacing(config)
    slices = min(SLICES_PER_PLANE * planes, thickness / config.scattering.slice_thickness_A)
    if config.film:
        structures = _structures(config, split, layout)
        frames = FRAME_COST * split.structures * config.film.frames
        return structures * split.phonons * (SLICE_COST * slices + IMAGE_COST) + frames
    images = config.images_per_structure
    return split.structures * split.phonons * (SLICE_COST * slices + IMAGE_COST * images)


def _plane_spacing(config: BuildConfig) -> float:
    """Distance of the planes of `volume`, at the median lattice parameter [Å]."""
    structure = config.structure
    return plane_spacing(structure.zone_axis, float(structure.lattice_parameter_A.at(0.5)))


def _memory(config: BuildConfig, layout: Layout, cell: Cell, arrays: int) -> int:
    """Libraries, waves of one structure, and a block while it is written."""
    settings = settings_of(config)
    phonons = max(split.phonons for split in config.splits)
    hy, hx = highest_orders(settings.kept_mrad * 1e-3 / settings.wavelength, cell)
    width = 8 if settings.precision == "float32" else 16
    spectra = phonons * (2 * hy + 1) * (2 * hx + 1) * width
    block = BLOCK_COPIES * arrays * layout.block // layout.particles
    positions = 24 * layout.block * max(_positions(config, split, cell) for split in config.splits)
    return ceil(BASE_MEMORY + bytes_per_wave(cell, settings) + spectra + block + positions)


def _positions(config: BuildConfig, split: Split, cell: Cell) -> float:
    """Count the atoms of a structure in all its thermal configurations."""
    thickness = _mean(config.sections(split).structure.thickness_atoms)
    return split.phonons * thickness * _columns(cell)


def _columns(cell: Cell) -> float:
    return COLUMNS_PER_A2 * cell.extent[0] * cell.extent[1]


def _repeat(config: BuildConfig) -> float:
    """Distance of neighbours in a Ce column [Å]."""
    axes = view_axes(config.structure.zone_axis)
    lattice_parameter = float(config.structure.lattice_parameter_A.at(0.5))
    return float(axes.cerium_repeat * lattice_parameter / 4 / axes.lengths[2])


_QUANTILES = [(i + 0.5) / 64 for i in range(64)]


def _mean(distribution: Distribution) -> float:
    return sum(float(distribution.at(u)) for u in _QUANTILES) / len(_QUANTILES)


def _hub_warnings(files: int, entries: int, largest: int, total: int) -> Iterator[str]:
    if files > HUB_FILES:
        yield f"{files} files; the Hub advises at most {HUB_FILES} in a repository"
    if entries > HUB_FOLDER_ENTRIES:
        yield f"{entries} shards in a folder; the Hub takes at most {HUB_FOLDER_ENTRIES}"
    if largest > HUB_FILE_BYTES:
        yield f"shards of up to {largest / 1e9:.1f} GB; the Hub advises at most 20 GB a file"
    if total > HUB_BYTES:
        yield f"{total / 1e9:.0f} GB in all; ask the Hub before pushing more than 300 GB"
