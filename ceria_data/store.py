"""The files of a dataset: Zarr arrays in shards, parquet tables, the manifest."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from ceria_data.digest import file_sha256
from ceria_data.errors import NotADatasetError, OutputError
from ceria_data.schema import ARRAYS, FORMAT_VERSION, SPECIES, ArraySpec, TableSpec

DATA = "data.zarr"
MANIFEST = "manifest.json"
MANIFEST_SHA256 = "manifest.sha256"
PART = "part.json"
"""In a copy that holds only some splits; no dataset as built has it."""
CONFIG = "config.yaml"
CARD = "README.md"

_ARROW = {"int64": pa.int64(), "float64": pa.float64(), "str": pa.string(), "bool": pa.bool_()}


@dataclass(frozen=True)
class Layout:
    """Sizes of the arrays, and what shares a shard.

    A particle is a structure in a still dataset, a film with several in a dataset of films.

    Attributes
    ----------
    particles, images : int
        Particles, and images of each.
    field_shape : tuple of int
        Pixels (y, x).
    planes : int
        Lattice planes of `volume`.
    block : int
        Particles written together by one task; their images share a shard, and so do their
        structures in a still dataset. A structure of a film has a shard of its own.
    starts : tuple of int
        Films: the first structure of each, and at last the number of all. Empty in a still
        dataset, where a particle is a structure.
    """

    particles: int
    images: int
    field_shape: tuple[int, int]
    planes: int
    block: int
    starts: tuple[int, ...] = ()

    @property
    def structures(self) -> int:
        """Number of structures."""
        return self.starts[-1] if self.starts else self.particles

    @property
    def blocks(self) -> int:
        """Number of blocks; the last one may be smaller."""
        return -(-self.particles // self.block)

    def rows(self, block: int) -> range:
        """Particles of one block."""
        first = block * self.block
        return range(first, min(first + self.block, self.particles))

    def structures_of(self, particles: range) -> range:
        """Rows of the structures of consecutive particles."""
        if not self.starts:
            return particles
        return range(self.starts[particles.start], self.starts[particles.stop])

    def samples_of(self, particles: range) -> range:
        """Rows of the images of consecutive particles."""
        return range(particles.start * self.images, particles.stop * self.images)

    def entries(self, spec: ArraySpec, particles: range) -> range:
        """Rows of an array that belong to consecutive particles."""
        by_sample = spec.dims[0] == "sample"
        return self.samples_of(particles) if by_sample else self.structures_of(particles)

    def shape(self, spec: ArraySpec) -> tuple[int, ...]:
        """Shape of an array."""
        sizes = {
            "sample": self.particles * self.images,
            "structure": self.structures,
            "species": len(SPECIES),
            "plane": self.planes,
            "y": self.field_shape[0],
            "x": self.field_shape[1],
        }
        return tuple(sizes[dim] for dim in spec.dims)

    def shard(self, spec: ArraySpec) -> int:
        """Entries of an array that share a shard."""
        if spec.dims[0] == "sample":
            return self.block * self.images
        return 1 if self.starts else self.block

    def shard_paths(self, spec: ArraySpec, block: int) -> list[Path]:
        """Name the files of an array that a block writes, relative to the dataset's folder."""
        rows, size = self.entries(spec, self.rows(block)), self.shard(spec)
        return [shard_path(spec, i) for i in range(rows.start // size, -(-rows.stop // size))]


def layout_of(manifest: Mapping[str, Any]) -> Layout:
    """Read the sizes of the arrays from a manifest."""
    film = manifest.get("film")
    starts = tuple(film["first_structure"]) if film else ()
    ny, nx = manifest["field_shape"]
    return Layout(
        particles=len(starts) - 1 if film else manifest["n_structures"],
        images=film["frames"] if film else manifest["images_per_structure"],
        field_shape=(ny, nx),
        planes=manifest["n_planes"],
        block=manifest["block"],
        starts=starts,
    )


def create_arrays(folder: Path, layout: Layout, attributes: Mapping[str, Any]) -> None:
    """Create the empty arrays of a dataset.

    Every chunk is one entry of the first axis, compressed with zstd and its own
    checksum; a shard holds the entries of one block and its index is checked too.
    Chunks that hold only zeros are written, so that a chunk that is not there is known
    to be lost.

    Parameters
    ----------
    folder : Path
        The dataset's folder.
    layout : Layout
    attributes : mapping
        Attributes of the group.
    """
    root = zarr.open_group(folder / DATA, mode="w", zarr_format=3, attributes=dict(attributes))
    for spec in ARRAYS:
        shape = layout.shape(spec)
        root.create_array(
            spec.name,
            shape=shape,
            dtype=spec.dtype,
            chunks=(1, *shape[1:]),
            shards=(layout.shard(spec), *shape[1:]),
            compressors=ZstdCodec(level=3, checksum=True),
            fill_value=0,
            dimension_names=spec.dims,
            attributes={"description": spec.description},
            config={"write_empty_chunks": True},
        )


def write_block(
    folder: Path, layout: Layout, block: int, arrays: Mapping[str, NDArray[Any]]
) -> list[Path]:
    """Write the shards of one block and bring them to the disk.

    Parameters
    ----------
    folder : Path
        The dataset's folder.
    layout : Layout
    block : int
    arrays : mapping of str to array
        One array per `ArraySpec`, first axis as long as the block.

    Returns
    -------
    list of Path
        The files written, relative to `folder`.
    """
    # zarr takes write_empty_chunks from its configuration when an array is opened.
    with zarr.config.set({"array.write_empty_chunks": True}):
        root = zarr.open_group(folder / DATA, mode="r+")
        for spec in ARRAYS:
            rows = layout.entries(spec, layout.rows(block))
            array = root[spec.name]
            assert isinstance(array, zarr.Array)
            array[rows.start : rows.stop] = arrays[spec.name]
    paths = [path for spec in ARRAYS for path in layout.shard_paths(spec, block)]
    for path in paths:
        fsync(folder / path)
    return paths


def shard_path(spec: ArraySpec, block: int) -> Path:
    """Name the file of one shard, relative to the dataset's folder."""
    tail = "/".join("0" for _ in spec.dims[1:])
    return Path(f"{DATA}/{spec.name}/c/{block}/{tail}")


def open_arrays(folder: Path) -> dict[str, "zarr.Array[Any]"]:
    """Open the arrays of a dataset for reading.

    Raises
    ------
    NotADatasetError
        If an array is missing.
    """
    try:
        root = zarr.open_group(folder / DATA, mode="r")
        arrays = {spec.name: root[spec.name] for spec in ARRAYS}
    except (OSError, KeyError, ValueError) as error:
        raise NotADatasetError(f"{folder / DATA} cannot be opened: {error}") from error
    return {name: array for name, array in arrays.items() if isinstance(array, zarr.Array)}


def frame(rows: list[dict[str, Any]], spec: TableSpec) -> pd.DataFrame:
    """Make a table with the columns and types of its specification."""
    table = pd.DataFrame(rows, columns=list(spec.dtypes))
    return table.astype(spec.dtypes)


def write_table(table: pd.DataFrame, path: Path, spec: TableSpec) -> None:
    """Write a table as parquet, atomically, with units and descriptions of its columns."""
    fields = [
        pa.field(
            column.name,
            _ARROW[column.dtype],
            nullable=column.dtype == "float64",
            metadata={"unit": column.unit, "description": column.description},
        )
        for column in spec.columns
    ]
    content = pa.Table.from_pandas(
        table[list(spec.dtypes)], schema=pa.schema(fields), preserve_index=False, safe=True
    ).replace_schema_metadata({"table": spec.name, "row": spec.row})
    partial = _partial(path)
    pq.write_table(content, partial, compression="zstd")
    fsync(partial)
    partial.replace(path)


def read_table(path: Path, spec: TableSpec) -> pd.DataFrame:
    """Read a parquet table.

    Raises
    ------
    NotADatasetError
        If the file is missing, unreadable or lacks a column.
    """
    try:
        table = pq.read_table(path).to_pandas()
        typed: pd.DataFrame = table[list(spec.dtypes)].astype(spec.dtypes)
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException) as error:
        raise NotADatasetError(f"{path} is not a table of {spec.name}: {error}") from error
    return typed


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or not at all."""
    partial = _partial(path)
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    fsync(path.parent)


def _partial(path: Path) -> Path:
    """Name a temporary file that no other writer uses."""
    return path.with_name(f"{path.name}.{uuid4().hex}.partial")


def fsync(path: Path) -> None:
    """Bring a file or a folder entry to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_inside_dataset(path: Path) -> None:
    """Refuse to write into a dataset, which never changes.

    Raises
    ------
    OutputError
        If a folder above `path` is a dataset.
    """
    for folder in path.resolve().parents:
        if (folder / MANIFEST).is_file():
            raise OutputError(f"{path} lies in the dataset {folder}; choose another --out")


def dataset_files(folder: Path) -> list[str]:
    """List every file of a dataset but the manifest and `PART`, as sorted POSIX paths."""
    paths = (path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    names = (path.relative_to(folder).as_posix() for path in paths)
    return sorted(name for name in names if name not in (MANIFEST, MANIFEST_SHA256, PART))


def checksums(folder: Path) -> dict[str, dict[str, Any]]:
    """Measure size and sha256 of every file of a dataset."""
    return {
        name: {"sha256": file_sha256(folder / name), "size": (folder / name).stat().st_size}
        for name in dataset_files(folder)
    }


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest and the checksum that covers it."""
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_text(folder / MANIFEST, text)
    write_text(folder / MANIFEST_SHA256, _seal_of(folder / MANIFEST).decode())


def _seal_of(manifest: Path) -> bytes:
    """Make the line that `sha256sum --check` reads."""
    return f"{file_sha256(manifest)}  {MANIFEST}\n".encode()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a dataset's manifest.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict
        Content of `manifest.json`.

    Raises
    ------
    NotADatasetError
        If there is no manifest, if it differs from `manifest.sha256`, or if the format
        is newer than this version of the package reads.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise NotADatasetError(
            f"{folder} holds no dataset: {MANIFEST} is missing; expected a folder made by "
            "`ceria-data build`"
        )
    try:
        expected = (folder / MANIFEST_SHA256).read_bytes()
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotADatasetError(f"{path} cannot be read: {error}") from error
    if not isinstance(manifest, dict):
        raise NotADatasetError(f"{path} holds no manifest; rebuild the dataset")
    found = manifest.get("format_version")
    if not isinstance(found, int) or found > FORMAT_VERSION:
        raise NotADatasetError(
            f"{folder} has format version {found}; this version of ceria reads up to "
            f"{FORMAT_VERSION}; install a newer ceria"
        )
    if _seal_of(path) != expected:
        raise NotADatasetError(
            f"{path} differs from {MANIFEST_SHA256}; it was changed or damaged after the build"
        )
    return manifest


def empty_arrays(layout: Layout, block: int) -> dict[str, NDArray[Any]]:
    """Make zero-filled arrays for one block."""
    rows = layout.rows(block)
    return {
        spec.name: np.zeros(
            (len(layout.entries(spec, rows)), *layout.shape(spec)[1:]), dtype=spec.dtype
        )
        for spec in ARRAYS
    }
