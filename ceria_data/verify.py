"""Whether a dataset is as its manifest says, and its parts agree with each other."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
    draw_frames,
    draw_image,
    draw_structure,
    film_rows,
    sample_rows,
    structure_entries,
)
from ceria_data.errors import CeriaError
from ceria_data.exposures import draw_drift
from ceria_data.facts import splits_of
from ceria_data.film_checks import film_problems
from ceria_data.parameters import camera_from_row
from ceria_data.randomness import sample_rng
from ceria_data.schema import ARRAYS, SAMPLES, SPECIES
from ceria_data.store import (
    CONFIG,
    MANIFEST,
    PART,
    dataset_files,
    read_manifest,
    read_table,
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
    entries, layout = structure_entries(config), dataset.layout
    missing = {entry["number"] for entry in manifest["missing"]}
    present = [entry for entry in entries if entry.number not in missing]
    problems = []

    def expect(where: str, condition: bool, what: str) -> None:
        if not condition:
            problems.append(Problem(where, what))

    software = manifest["software"]
    if software.get("ceria") == __version__:
        expect(CONFIG, recipe_digest(config) == manifest["recipe_digest"], "has another recipe")
    structures, samples = dataset.structures, dataset.samples
    expect(MANIFEST, layout.particles == len(entries), f"knows {layout.particles} particles")
    images = config.images_per_particle
    expect(MANIFEST, layout.images == images, f"says {layout.images} images, expected {images}")
    if problems:
        return problems
    own = [(entry, layout.structures_of(range(entry.row, entry.row + 1))) for entry in present]
    rows = [row for _, its_rows in own for row in its_rows]
    expect("structures.parquet", structures["structure"].tolist() == rows, "rows do not fit")
    expect(
        "structures.parquet",
        structures["number"].tolist() == [e.number for e, its_rows in own for _ in its_rows],
        "numbers do not follow from the config",
    )
    expected = [i for e in present for i in layout.samples_of(range(e.row, e.row + 1))]
    expect("samples.parquet", samples["sample"].tolist() == expected, "rows do not fit")
    per_particle = structures.groupby("particle")["split"].nunique()
    expect("structures.parquet", bool((per_particle == 1).all()), "a particle is in two splits")
    for array_spec in ARRAYS:
        array, where = dataset.arrays[array_spec.name], f"data.zarr/{array_spec.name}"
        first = layout.shape(array_spec)[0]
        expect(where, str(array.dtype) == array_spec.dtype, f"is {array.dtype}")
        expect(where, array.shape[0] == first, f"has {array.shape[0]} entries")
        expect(where, array.shape[-2:] == config.field.shape, f"has shape {array.shape}")
        blocks = (layout.shard_paths(array_spec, block) for block in range(layout.blocks))
        lost = sum(not (dataset.folder / path).is_file() for paths in blocks for path in paths)
        expect(where, not lost, f"{lost} shards are missing")
    for spec in dataset.tables:
        order = getattr(dataset, spec.name)["structure"].to_numpy()
        expect(f"{spec.name}.parquet", bool((np.diff(order) >= 0).all()), "rows are not in order")
        expect(f"{spec.name}.parquet", set(order) <= set(rows), "names unknown structures")
    facts = {
        "name": config.name,
        "version": config.version,
        "seed": config.seed,
        "sampling_A": config.field.sampling_A,
        "max_count": config.max_count,
        "n_structures": layout.structures,
        "n_samples": len(samples),
        "n_planes": dataset.arrays["volume"].shape[1],
        "splits": splits_of(config, samples, structures),
    }
    for key, value in facts.items():
        expect(MANIFEST, manifest[key] == value, f"{key} is {manifest[key]}, found {value}")
    return problems


def check_structures(dataset: Dataset) -> Iterator[Problem | None]:
    """Check the content of each structure and at last the digests of all; None is right."""
    manifest = dataset.manifest
    config = load_config(str(dataset.folder / CONFIG))
    missing = {entry["number"] for entry in manifest["missing"]}
    labels, content = [], []
    for entry in structure_entries(config):
        if entry.number in missing:
            labels.append(missing_leaf(entry.number))
            content.append(missing_leaf(entry.number))
            continue
        checker = (_FilmCheck if config.film else _StructureCheck)(dataset, entry.row)
        yield from checker.problems(config, entry)
        labels.append(checker.labels)
        content.append(checker.content)
    for name, leaves in (("labels_digest", labels), ("content_digest", content)):
        if root_digest(leaves) != manifest[name]:
            yield Problem(MANIFEST, f"{name} does not follow from the content")


class _StructureCheck:
    """One structure read back from the store."""

    name = "structure"

    def __init__(self, dataset: Dataset, row: int) -> None:
        self.dataset, self.row = dataset, row
        self.own = {spec.name: dataset.rows_of_particle(spec, row) for spec in dataset.tables}
        self.samples, self.structures = self.own["samples"], self.own["structures"]
        self.occupancy, self.volume = self.masks()
        samples = dataset.layout.samples_of(range(row, row + 1))
        self.counts = dataset.read("counts", slice(samples.start, samples.stop))
        self.intensity = dataset.read("intensity", slice(samples.start, samples.stop))
        tables = [(self.own[spec.name], spec) for spec in dataset.tables]
        self.labels = labels_leaf(tables, self.occupancy, self.volume)
        self.content = content_leaf(self.labels, self.counts, self.intensity)

    def masks(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Read class map and volume."""
        return self.dataset.read("occupancy", self.row), self.dataset.read("volume", self.row)

    def problems(self, config: BuildConfig, entry: StructureEntry) -> Iterator[Problem | None]:
        """Yield what is wrong with this structure, or None."""
        checks = (*self._drawn(config, entry), *self._labels(), *self._pixels())
        found = [Problem(f"{self.name} {self.row}", what) for what in checks]
        yield from found
        # As many as the progress counts.
        yield from [None] * (len(self.structures) - len(found))

    def expected_samples(self, config: BuildConfig, entry: StructureEntry) -> pd.DataFrame:
        """Draw the rows of its images again."""
        images = range(config.images_per_structure)
        return sample_rows(config, entry, tuple(draw_image(config, entry, i) for i in images))

    def _drawn(self, config: BuildConfig, entry: StructureEntry) -> Iterator[str]:
        if self.dataset.manifest["software"].get("ceria") != __version__:
            return  # another version may draw other numbers
        expected = self.expected_samples(config, entry)
        if table_bytes(expected, SAMPLES) != table_bytes(self.samples, SAMPLES):
            yield "the samples do not follow from config and seed"
        drawn = asdict(draw_structure(config, entry)) | {"zone_axis": None}
        stored = self.structures.iloc[0].to_dict() | {"zone_axis": None}
        if any(stored[name] != value for name, value in drawn.items()):
            yield "the structure does not follow from config and seed"

    def _labels(self) -> Iterator[str]:
        return self._labels_of(self.own["columns"], self.own["atoms"], self.occupancy, self.volume)

    def _labels_of(
        self,
        columns: pd.DataFrame,
        atoms: pd.DataFrame,
        painted: NDArray[Any],
        planes: NDArray[Any],
    ) -> Iterator[str]:
        """Check the labels of one structure."""
        field, manifest = self.dataset.field, self.dataset.manifest
        counted = atoms.groupby("site_id").size().reindex(columns["site_id"], fill_value=0)
        if columns["site_id"].duplicated().any():
            yield "two columns have the same site_id"
        elif counted.to_numpy().sum() != len(atoms):
            yield "an atom belongs to no column"
        elif (counted.to_numpy() != columns["occupancy"].to_numpy()).any():
            yield "an occupancy differs from the number of atoms in its column"
        balance = columns["sites"] - columns["n_vacancies"] + columns["n_adatoms"]
        if (balance != columns["occupancy"]).any():
            yield "occupancy is not sites - vacancies + adatoms"
        if not set(columns["species"]) <= set(SPECIES):
            yield "unknown species"
        if not np.array_equal(class_map(columns, field, manifest["max_count"]), painted):
            yield "the class map does not follow from the table of columns"
        if not np.array_equal(volume(atoms, columns, len(planes), field), planes):
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


class _FilmCheck(_StructureCheck):
    """One film read back from the store: all its structures and frames."""

    name = "film"

    def masks(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Read the class maps and volumes of all structures."""
        rows = self.dataset.layout.structures_of(range(self.row, self.row + 1))
        chosen = slice(rows.start, rows.stop)
        return self.dataset.read("occupancy", chosen), self.dataset.read("volume", chosen)

    def expected_samples(self, config: BuildConfig, entry: StructureEntry) -> pd.DataFrame:
        """Draw the rows of its frames again, but for the structures that they show."""
        film = config.sections(config.split(entry.split)).film
        assert film is not None, "only films are checked as films"
        drift = draw_drift(film, sample_rng(config.seed, entry.number, "drift"))
        structures = self.samples["structure"].tolist()
        return film_rows(config, entry, draw_frames(config, entry), structures, drift.path)

    def _labels(self) -> Iterator[str]:
        columns, atoms = self.own["columns"], self.own["atoms"]
        for i, row in enumerate(self.structures["structure"]):
            for what in self._labels_of(
                columns[columns["structure"] == row].reset_index(drop=True),
                atoms[atoms["structure"] == row].reset_index(drop=True),
                self.occupancy[i],
                self.volume[i],
            ):
                yield f"structure {row}: {what}"
        yield from film_problems(self.own)
