"""Reading a dataset; needs neither abTEM nor Dask."""

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray

from ceria_data.address import is_repository
from ceria_data.bundled import dataset_folder
from ceria_data.errors import CeriaError, DatasetError, HubError, NotADatasetError
from ceria_data.grid import Field
from ceria_data.parameters import camera_from_row
from ceria_data.part import check_split, files_of_splits, read_part
from ceria_data.schema import (
    ARRAYS,
    ATOMS,
    COLUMNS,
    EVENTS,
    EXPOSURES,
    SAMPLES,
    STRUCTURES,
    SUPPORT,
    TableSpec,
    tables_of,
)
from ceria_data.store import (
    PART,
    Layout,
    layout_of,
    open_arrays,
    read_manifest,
    read_table,
    shard_path,
)
from ceria_data.targets import class_map, volume


@dataclass(frozen=True)
class Sample:
    """One image with its labels; arrays are read when asked for.

    Attributes
    ----------
    parameters : dict
        The sample's row of `samples.parquet`.
    columns : DataFrame
        Columns of its structure, shifted by the drift of this image. A frame of a film that
        shows several structures has the one that it shows longest.
    """

    dataset: "Dataset"
    parameters: dict[str, Any]

    @property
    def counts(self) -> NDArray[np.uint16]:
        """Recorded electrons, shape (y, x); drawn anew in a dataset `at_dose`."""
        if not self.dataset.redosed:
            return self.dataset.read("counts", self.parameters["sample"])
        from ceria_data.detector import record  # with scipy, which reading does without

        return record(
            self.intensity.astype(np.float64),
            dose=self.parameters["dose_e_per_A2"],
            sampling=self.parameters["sampling_A"],
            camera=camera_from_row(self.parameters),
            seed=self.parameters["camera_seed"],
        )

    @property
    def intensity(self) -> NDArray[np.float16]:
        """Noise-free image before the camera, shape (y, x); 1 = vacuum."""
        return self.dataset.read("intensity", self.parameters["sample"])

    @property
    def occupancy(self) -> NDArray[np.uint8]:
        """Class of the column at each pixel, shape (species, y, x); species = Ce, O.

        Painted anew where drift has moved the columns.
        """
        if not self._drifted:
            return self.dataset.read("occupancy", self.parameters["structure"])
        return class_map(self.columns, self.dataset.field, self.dataset.manifest["max_count"])

    @property
    def volume(self) -> NDArray[np.uint8]:
        """Atoms by lattice plane along the beam, shape (plane, y, x); drift as `occupancy`."""
        if not self._drifted:
            return self.dataset.read("volume", self.parameters["structure"])
        atoms = self.dataset.rows_of(ATOMS, self.parameters["structure"])
        planes = self.dataset.arrays["volume"].shape[1]
        return volume(atoms, self.columns, planes, self.dataset.field)

    @property
    def columns(self) -> pd.DataFrame:
        """Columns of the structure, in the coordinates of this image."""
        rows = self.dataset.columns_of(self.parameters["structure"]).copy()
        if self._drifted:
            rows["x_A"] += self.parameters["drift_x_A"]
            rows["y_A"] += self.parameters["drift_y_A"]
            rows["in_field"] = self.dataset.field.holds(rows["x_A"], rows["y_A"])
        return rows

    @property
    def _drifted(self) -> bool:
        return bool(self.parameters["drift_x_A"] or self.parameters["drift_y_A"])


class Dataset:
    """A dataset on disk, or one split of it.

    Use `open_dataset` to make one. ``dataset[i]`` is the i-th sample of the split,
    ``len(dataset)`` the number of its samples.

    Attributes
    ----------
    folder : Path
    manifest : dict
    samples : DataFrame
        Rows of `samples.parquet` of this split.
    redosed : bool
        Whether counts are drawn at another dose than that of the store.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], samples: pd.DataFrame) -> None:
        self.folder = folder
        self.manifest = manifest
        self.samples = samples
        self.redosed = False

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        name, version = self.manifest["name"], self.manifest["version"]
        return f"<Dataset {name} {version}: {len(self)} samples in {self.folder}>"

    def __getitem__(self, index: int) -> Sample:
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        row = self.samples.iloc[index]
        return Sample(self, {str(name): _plain(value) for name, value in row.items()})

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def at_dose(self, dose_e_per_A2: float) -> "Dataset":
        """Record all images again at another dose, each with its own camera and seed.

        Parameters
        ----------
        dose_e_per_A2 : float
            Of every image, or frame of a film [e-/Å²].

        Returns
        -------
        Dataset
            The same samples; their counts are drawn from the stored intensity when asked for.

        Raises
        ------
        ValueError
            If the dose is not above 0.

        Examples
        --------
        >>> ds = open_dataset("ceria-columns-mini", split="test")
        >>> sample = ds.at_dose(1000.0)[0]
        >>> sample.parameters["dose_e_per_A2"], 30 < sample.counts.mean() < 50
        (1000.0, np.True_)
        """
        if not 0 < dose_e_per_A2 < np.inf:
            raise ValueError(f"dose_e_per_A2 is {dose_e_per_A2:g} e-/Å²; expected more than 0")
        samples = self.samples.assign(dose_e_per_A2=float(dose_e_per_A2))
        again = Dataset(self.folder, self.manifest, samples)
        again.redosed = True
        return again

    @property
    def field(self) -> Field:
        """Pixels of the images."""
        ny, nx = self.arrays["counts"].shape[1:]
        return Field((ny, nx), float(self.manifest["sampling_A"]))

    @cached_property
    def arrays(self) -> dict[str, "zarr.Array[Any]"]:
        """Arrays of `data.zarr` by name."""
        return open_arrays(self.folder)

    @cached_property
    def structures(self) -> pd.DataFrame:
        """Rows of `structures.parquet`, all splits."""
        return self._table(STRUCTURES)

    @cached_property
    def columns(self) -> pd.DataFrame:
        """Rows of `columns.parquet`, all splits."""
        return self._table(COLUMNS)

    @cached_property
    def atoms(self) -> pd.DataFrame:
        """Rows of `atoms.parquet`, all splits."""
        return self._table(ATOMS)

    @cached_property
    def support(self) -> pd.DataFrame:
        """Rows of `support.parquet`, all splits."""
        return self._table(SUPPORT)

    @cached_property
    def events(self) -> pd.DataFrame:
        """Rows of `events.parquet`, all splits; a dataset of films has it."""
        return self._table(EVENTS)

    @cached_property
    def exposures(self) -> pd.DataFrame:
        """Rows of `exposures.parquet`, all splits; a dataset of films has it."""
        return self._table(EXPOSURES)

    @property
    def has_films(self) -> bool:
        """Whether its particles are films; else each is one structure."""
        return "film" in self.manifest

    @property
    def tables(self) -> tuple[TableSpec, ...]:
        """Specifications of its tables."""
        return tables_of(self.has_films)

    def refuse_films(self, what: str) -> None:
        """Refuse to compute something of films that is known for still images only.

        Raises
        ------
        CeriaError
        """
        if self.has_films:
            raise CeriaError(
                f"{self.folder} holds films, and {what} can be computed of still images only; "
                "build a still dataset with the same structures, optics and doses"
            )

    @cached_property
    def layout(self) -> Layout:
        """Which structures and samples belong to each particle."""
        return layout_of(self.manifest)

    def columns_of(self, structure: int) -> pd.DataFrame:
        """Columns of one structure."""
        return self.rows_of(COLUMNS, structure)

    def rows_of(self, spec: TableSpec, structure: int) -> pd.DataFrame:
        """Rows of one structure in any table; tables are sorted by structure."""
        return self._rows_of(spec, range(structure, structure + 1))

    def rows_of_particle(self, spec: TableSpec, particle: int) -> pd.DataFrame:
        """Rows of one particle in any table: of a film, those of all its structures."""
        return self._rows_of(spec, self.layout.structures_of(range(particle, particle + 1)))

    def _rows_of(self, spec: TableSpec, structures: range) -> pd.DataFrame:
        table: pd.DataFrame = getattr(self, spec.name)
        order = table["structure"].to_numpy()
        lo, hi = np.searchsorted(order, [structures.start, structures.stop])
        return table.iloc[lo:hi].reset_index(drop=True)

    def read(self, array: str, row: int | slice) -> NDArray[Any]:
        """Read one entry of an array, or several.

        Raises
        ------
        DatasetError
            If the stored bytes are damaged or missing.
        """
        if (self.folder / PART).exists():
            self._refuse_lost_rows(array, row)
        try:
            return np.asarray(self.arrays[array][row])
        except Exception as error:  # codecs raise many types for damaged bytes
            raise DatasetError(
                f"{self.folder}: {array}[{row}] cannot be read ({error}); "
                f"run `ceria-data verify {self.folder}`"
            ) from error

    def _refuse_lost_rows(self, array: str, row: int | slice) -> None:
        """Refuse rows of a copy that holds some splits only; zarr would read zeros."""
        values = self.arrays[array]
        first, last = (row.start or 0, row.stop - 1) if isinstance(row, slice) else (row, row)
        size = (values.shards or values.chunks)[0]
        spec = next(spec for spec in ARRAYS if spec.name == array)
        for block in range(first // size, last // size + 1):
            if not (self.folder / shard_path(spec, block)).is_file():
                raise DatasetError(
                    f"{self.folder}: {array}[{row}] is not in this copy, which holds some splits "
                    "only; pull it without --split"
                )

    def _table(self, spec: TableSpec) -> pd.DataFrame:
        return read_table(self.folder / f"{spec.name}.parquet", spec)


def open_dataset(path: str | Path, split: str | None = None, version: str | None = None) -> Dataset:
    """Open a dataset for reading.

    The manifest is checked against its checksum, and the size of every file against the
    manifest; chunks are checked by their own checksums when they are read.

    Parameters
    ----------
    path : str or Path
        Folder of the dataset, the name of one that comes with the package, or ``user/name``
        of one on the Hugging Face Hub. The last is pulled to the cache of ``CERIA_HOME``
        first; what is there by name and version is opened without any connection. A folder
        of that name wins.
    split : str, optional
        Keep only the samples of this split.
    version : str, optional
        The version that the dataset must have, such as ``1.0.0``; by default the newest on
        the Hub.

    Returns
    -------
    Dataset

    Raises
    ------
    NotADatasetError
        If there is no such folder, or it holds no dataset, or one of a newer format or of
        another version.
    HubError
        If it is to come from the Hub, and the repository or version is not there or the Hub
        cannot be reached.
    DatasetError
        If a file is missing or has another size than the manifest says.
    ValueError
        If there is no such split.

    Examples
    --------
    >>> ds = open_dataset("ceria-columns-mini", split="test")
    >>> len(ds), ds[0].counts.shape, ds[0].occupancy.shape
    (120, (128, 128), (2, 128, 128))
    """
    folder = _folder(path, split, version)
    manifest = read_manifest(folder)
    if version is not None and manifest.get("version") != version.removeprefix("v"):
        raise NotADatasetError(
            f"{folder} holds version {manifest.get('version')}, expected {version}; name another "
            "folder, or user/name of a repository on the Hub"
        )
    part = read_part(folder)
    needed = set(manifest["files"])
    if part is not None:
        check_split(folder, part, split)
        needed = files_of_splits(folder, manifest, part)
    for name in needed:
        file, facts = folder / name, manifest["files"][name]
        if not file.is_file() or file.stat().st_size != facts["size"]:
            found = f"{file.stat().st_size} bytes" if file.is_file() else "no file"
            raise DatasetError(
                f"{folder}: {name} should have {facts['size']} bytes, found {found}; "
                f"run `ceria-data verify {folder}`"
            )
    samples = read_table(folder / f"{SAMPLES.name}.parquet", SAMPLES)
    if split is not None:
        known = list(dict.fromkeys(samples["split"]))
        if split not in known:
            raise ValueError(f"{folder} has no split {split!r}; it has {', '.join(known)}")
        samples = samples[samples["split"] == split].reset_index(drop=True)
    return Dataset(folder, manifest, samples)


def _folder(path: str | Path, split: str | None, version: str | None) -> Path:
    """Find the folder of a dataset, on the Hub if it is neither here nor in the package."""
    remote = isinstance(path, str) and (path.startswith("hf://") or is_repository(path))
    if not remote or Path(path).is_dir():
        return dataset_folder(path)
    from ceria_data.local_copy import local_copy  # the client of the Hub takes time to import

    try:
        return local_copy(str(path), split, version)
    except HubError as error:
        raise type(error)(f"{path} is no folder here, and on the Hub: {error}") from error


def _plain(value: Any) -> Any:
    """Turn a numpy scalar into the Python number it is."""
    return value.item() if isinstance(value, np.generic) else value
