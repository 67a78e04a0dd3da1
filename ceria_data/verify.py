"""Whether a dataset is as its manifest says, and its parts agree with each other."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ceria_data import __version__
from ceria_data.config import BuildConfig, load_config, recipe_digest
from ceria_data.dataset import Dataset
from ceria_data.detector import record
from ceria_data.digest import (
    content_leaf,
    file_sha256,
    labels_leaf,
    missing_leaf,
    root_digest,
    table_bytes,
)
from ceria_data.draw import (
    StructureEntry,
    draw_image,
    draw_structure,
    sample_rows,
    structure_entries,
)
from ceria_data.errors import CeriaError
from ceria_data.facts import splits_of
from ceria_data.parameters import camera_from_row
from ceria_data.schema import ARRAYS, SAMPLES, SPECIES, TABLES
from ceria_data.store import (
    CONFIG,
    MANIFEST,
    PART,
    dataset_files,
    read_manifest,
    read_table,
    shard_path,
)
from ceria_data.targets import class_map, volume

_LARGEST_INTENSITY = 100.0


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be, and where."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def verify(
    folder: Path, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Problem]:
    """Check every file, table and array of a dataset.

    First the bytes: every file of the manifest and no other, with its size and sha256.
    If they are right, the content: tables and arrays fit together, masks follow from the
    tables, counts follow from the intensity, the digests follow from all of it.

    Parameters
    ----------
    folder : Path
        An existing folder.
    on_progress : callable
        Told how many checks are done, of how many.

    Returns
    -------
    list of Problem
        Empty if all is as it should be.
    """
    try:
        manifest = read_manifest(folder)
    except CeriaError as error:
        return [Problem(MANIFEST, str(error))]
    total = len(manifest.get("files", {})) + int(manifest.get("n_structures", 0))
    done = 0
    problems = []
    for problem in check_files(folder, manifest):
        done += 1
        on_progress(done, total)
        if problem:
            problems.append(problem)
    if problems:
        return problems
    try:
        dataset = Dataset(folder, manifest, read_table(folder / "samples.parquet", SAMPLES))
        problems += check_tables(dataset)
        if problems:
            return problems
        for problem in check_structures(dataset):
            done += 1
            on_progress(done, total)
            if problem:
                problems.append(problem)
    except (CeriaError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        # Whatever is broken in a dataset is a finding, not a crash.
        problems.append(Problem(str(folder), f"{type(error).__name__}: {error}"))
    return problems


def check_files(folder: Path, manifest: dict[str, Any]) -> Iterator[Problem | None]:
    """Compare every file with the manifest; yield None for each that is right."""
    listed = manifest.get("files")
    if not isinstance(listed, dict):
        yield Problem(MANIFEST, "lists no files")
        return
    present = set(dataset_files(folder))
    if (folder / PART).exists():
        yield Problem(PART, "says that splits were left out; pull the dataset without --split")
    for name in sorted(present - listed.keys()):
        yield Problem(name, "is not in the manifest")
    for name, facts in sorted(listed.items()):
        path = folder / name
        if name not in present:
            yield Problem(name, "is missing")
        elif path.stat().st_size != facts["size"]:
            yield Problem(name, f"has {path.stat().st_size} bytes, expected {facts['size']}")
        elif file_sha256(path) != facts["sha256"]:
            yield Problem(name, f"has another sha256 than the manifest's {facts['sha256'][:12]}…")
        else:
            yield None


def check_tables(dataset: Dataset) -> list[Problem]:
    """Check that tables, arrays, config and manifest describe the same dataset."""
    manifest = dataset.manifest
    config = load_config(str(dataset.folder / CONFIG))
    entries = structure_entries(config)
    missing = {entry["structure"] for entry in manifest["missing"]}
    present = [entry for entry in entries if entry.row not in missing]
    problems = []

    def expect(where: str, condition: bool, what: str) -> None:
        if not condition:
            problems.append(Problem(where, what))

    software = manifest["software"]
    if software.get("ceria") == __version__:
        expect(CONFIG, recipe_digest(config) == manifest["recipe_digest"], "has another recipe")
    structures, samples = dataset.structures, dataset.samples
    rows = [entry.row for entry in present]
    expect("structures.parquet", structures["structure"].tolist() == rows, "rows do not fit")
    expect(
        "structures.parquet",
        structures["number"].tolist() == [entry.number for entry in present],
        "numbers do not follow from the config",
    )
    images = config.images_per_structure
    expected = [row * images + position for row in rows for position in range(images)]
    expect("samples.parquet", samples["sample"].tolist() == expected, "rows do not fit")
    per_particle = structures.groupby("particle")["split"].nunique()
    expect("structures.parquet", bool((per_particle == 1).all()), "a particle is in two splits")
    for array_spec in ARRAYS:
        array, where = dataset.arrays[array_spec.name], f"data.zarr/{array_spec.name}"
        first = len(entries) * (images if array_spec.dims[0] == "sample" else 1)
        expect(where, str(array.dtype) == array_spec.dtype, f"is {array.dtype}")
        expect(where, array.shape[0] == first, f"has {array.shape[0]} entries")
        expect(where, array.shape[-2:] == config.field.shape, f"has shape {array.shape}")
        shards = -(-array.shape[0] // (array.shards or array.chunks)[0])
        paths = [dataset.folder / shard_path(array_spec, block) for block in range(shards)]
        lost = sum(not path.is_file() for path in paths)
        expect(where, not lost, f"{lost} shards are missing")
    for spec in TABLES:
        order = getattr(dataset, spec.name)["structure"].to_numpy()
        expect(f"{spec.name}.parquet", bool((np.diff(order) >= 0).all()), "rows are not in order")
        expect(f"{spec.name}.parquet", set(order) <= set(rows), "names unknown structures")
    facts = {
        "name": config.name,
        "version": config.version,
        "seed": config.seed,
        "sampling_A": config.field.sampling_A,
        "images_per_structure": images,
        "max_count": config.max_count,
        "n_structures": len(entries),
        "n_samples": len(samples),
        "n_planes": dataset.arrays["volume"].shape[1],
        "splits": splits_of(config, samples),
    }
    for key, value in facts.items():
        expect(MANIFEST, manifest[key] == value, f"{key} is {manifest[key]}, found {value}")
    return problems


def check_structures(dataset: Dataset) -> Iterator[Problem | None]:
    """Check the content of each structure and at last the digests of all; None is right."""
    manifest = dataset.manifest
    config = load_config(str(dataset.folder / CONFIG))
    missing = {entry["structure"]: entry["number"] for entry in manifest["missing"]}
    labels, content = [], []
    for entry in structure_entries(config):
        if entry.row in missing:
            labels.append(missing_leaf(entry.number))
            content.append(missing_leaf(entry.number))
            continue
        checker = _StructureCheck(dataset, entry.row, config.images_per_structure)
        yield from checker.problems(config, entry)
        labels.append(checker.labels)
        content.append(checker.content)
    for name, leaves in (("labels_digest", labels), ("content_digest", content)):
        if root_digest(leaves) != manifest[name]:
            yield Problem(MANIFEST, f"{name} does not follow from the content")


class _StructureCheck:
    """One structure read back from the store."""

    def __init__(self, dataset: Dataset, row: int, images: int) -> None:
        self.dataset, self.row = dataset, row
        self.rows = slice(row * images, (row + 1) * images)
        own = {spec.name: dataset.rows_of(spec, row) for spec in TABLES}
        self.samples, self.columns, self.atoms = own["samples"], own["columns"], own["atoms"]
        self.structures = own["structures"]
        self.occupancy = dataset.read("occupancy", row)
        self.volume = dataset.read("volume", row)
        self.counts = dataset.read("counts", self.rows)
        self.intensity = dataset.read("intensity", self.rows)
        self.labels = labels_leaf(
            [(own[spec.name], spec) for spec in TABLES], self.occupancy, self.volume
        )
        self.content = content_leaf(self.labels, self.counts, self.intensity)

    def problems(self, config: BuildConfig, entry: StructureEntry) -> Iterator[Problem | None]:
        """Yield what is wrong with this structure, or None."""
        where = f"structure {self.row}"
        checks = (*self._drawn(config, entry), *self._labels(), *self._pixels())
        found: list[Problem | None] = [Problem(where, what) for what in checks]
        yield from found or [None]

    def _drawn(self, config: BuildConfig, entry: StructureEntry) -> Iterator[str]:
        if self.dataset.manifest["software"].get("ceria") != __version__:
            return  # another version may draw other numbers
        images = range(config.images_per_structure)
        expected = sample_rows(config, entry, tuple(draw_image(config, entry, i) for i in images))
        if table_bytes(expected, SAMPLES) != table_bytes(self.samples, SAMPLES):
            yield "the samples do not follow from config and seed"
        drawn = asdict(draw_structure(config, entry)) | {"zone_axis": None}
        stored = self.structures.iloc[0].to_dict() | {"zone_axis": None}
        if any(stored[name] != value for name, value in drawn.items()):
            yield "the structure does not follow from config and seed"

    def _labels(self) -> Iterator[str]:
        field, manifest = self.dataset.field, self.dataset.manifest
        columns = self.columns
        counted = self.atoms.groupby("site_id").size().reindex(columns["site_id"], fill_value=0)
        if columns["site_id"].duplicated().any():
            yield "two columns have the same site_id"
        elif counted.to_numpy().sum() != len(self.atoms):
            yield "an atom belongs to no column"
        elif (counted.to_numpy() != columns["occupancy"].to_numpy()).any():
            yield "an occupancy differs from the number of atoms in its column"
        balance = columns["sites"] - columns["n_vacancies"] + columns["n_adatoms"]
        if (balance != columns["occupancy"]).any():
            yield "occupancy is not sites - vacancies + adatoms"
        if not set(columns["species"]) <= set(SPECIES):
            yield "unknown species"
        if not np.array_equal(class_map(columns, field, manifest["max_count"]), self.occupancy):
            yield "the class map does not follow from the table of columns"
        planes = self.volume.shape[0]
        if not np.array_equal(volume(self.atoms, columns, planes, field), self.volume):
            yield "the volume does not follow from the table of atoms"

    def _pixels(self) -> Iterator[str]:
        intensity = self.intensity.astype(np.float64)
        if not np.isfinite(intensity).all():
            yield "an intensity is not finite"
            return
        if intensity.min() < 0 or intensity.max() > _LARGEST_INTENSITY:
            yield f"intensities reach from {intensity.min():.3g} to {intensity.max():.3g}"
            return
        for row, image, counts in zip(
            self.samples.to_dict("records"), intensity, self.counts, strict=True
        ):
            again = record(
                image,
                dose=row["dose_e_per_A2"],
                sampling=row["sampling_A"],
                camera=camera_from_row(row),
                seed=row["camera_seed"],
            )
            differing = int((again != counts).sum())
            if differing:
                yield (
                    f"sample {row['sample']}: {differing} counts do not follow from the "
                    "intensity and the camera's seed"
                )
