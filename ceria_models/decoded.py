"""Images of a split decoded once, so that training reads them in any order."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.dataset import Dataset, open_dataset
from ceria_data.digest import file_sha256
from ceria_data.errors import DatasetError
from ceria_data.schema import SPECIES
from ceria_data.store import write_text

_SEAL = ".json"
"""Of the file beside the decoded images that tells damage."""
_ROWS = 256
"""Images decoded at a time, at least; a multiple of what shards usually hold."""


@dataclass(frozen=True)
class StructureColumns:
    """Columns of one structure as plain arrays, emptied ones left out.

    Attributes
    ----------
    species : array of int, shape (column,)
        Position in `schema.SPECIES`.
    x, y, z : array of float, shape (column,)
        Position and mean depth of the atoms [Å].
    occupancy : array of int, shape (column,)
    """

    species: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64]
    occupancy: NDArray[np.int64]


class DecodedSplit:
    """The noise-free images of one split, memory-mapped, and the columns in them.

    An instance can be sent to another process: it carries paths and tables, and maps the
    file anew there.

    Attributes
    ----------
    field : Field
    samples : pandas.DataFrame
        Rows of `samples.parquet` of this split.
    """

    def __init__(self, file: Path, dataset: Dataset) -> None:
        self.file = file
        self.field = dataset.field
        self.samples = dataset.samples
        wanted = np.unique(dataset.samples["structure"].to_numpy())
        columns = dataset.columns[dataset.columns["structure"].isin(wanted)]
        columns = columns[columns["occupancy"] > 0]
        self._bounds = np.searchsorted(columns["structure"].to_numpy(), [wanted, wanted + 1])
        self._row_of = {int(structure): row for row, structure in enumerate(wanted)}
        self._species = pd.Index(SPECIES).get_indexer(pd.Index(columns["species"]))
        self._x, self._y, self._z = (
            columns[name].to_numpy(float) for name in ("x_A", "y_A", "z_mean_A")
        )
        self._occupancy = columns["occupancy"].to_numpy()
        self._structure = dataset.samples["structure"].to_numpy()
        self._drift = dataset.samples[["drift_x_A", "drift_y_A"]].to_numpy(float)
        self._images: NDArray[np.float16] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_images": None}

    def intensity(self, row: int) -> NDArray[np.float16]:
        """Noise-free image of a row of `samples`, shape (y, x); 1 = vacuum."""
        if self._images is None:
            # As a plain array on the same mapping: np.memmap takes three times as long per image.
            self._images = np.asarray(np.load(self.file, mmap_mode="r"))
        image: NDArray[np.float16] = self._images[row]
        return image

    def columns(self, row: int) -> StructureColumns:
        """Columns in the image of a row of `samples`."""
        entry = self._row_of[int(self._structure[row])]
        of = slice(self._bounds[0, entry], self._bounds[1, entry])
        drift_x, drift_y = self._drift[row]
        return StructureColumns(
            self._species[of],
            self._x[of] + drift_x,
            self._y[of] + drift_y,
            self._z[of],
            self._occupancy[of],
        )


def decode_split(
    path: str | Path,
    split: str,
    cache: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> DecodedSplit:
    """Decode the noise-free images of a split into one file that can be memory-mapped.

    Every shard is compared with its sha256 in the manifest when it is read. The file is
    made once for a dataset's content digest. It is used again as long as it has the shape of
    the split and the sha256 that was written beside it, and is made anew otherwise.

    Parameters
    ----------
    path : str or Path
        Dataset, as for `open_dataset`.
    split : str
    cache : Path
        Folder for the decoded files.
    on_progress : callable
        Told images done and in all.

    Returns
    -------
    DecodedSplit

    Raises
    ------
    DatasetError
        If a shard is damaged or an image is missing.
    """
    dataset = open_dataset(path, split)
    folder = cache / f"{dataset.manifest['name']}-{dataset.manifest['content_digest'][:16]}"
    file = folder / f"{split}.intensity.npy"
    if not _is_whole(file, (len(dataset), *dataset.field.shape)):
        folder.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.{uuid4().hex}.partial")
        try:
            _decode(dataset, partial, on_progress)
            seal = json.dumps(_seal_of(partial)) + "\n"
            partial.replace(file)
            # Last: a file without its seal is made anew. Processes that come here together
            # write the same bytes.
            write_text(file.with_suffix(_SEAL), seal)
        finally:
            partial.unlink(missing_ok=True)
    return DecodedSplit(file, dataset)


def _is_whole(file: Path, shape: tuple[int, ...]) -> bool:
    """Whether a decoded file is as it was written, and of the split as it is now."""
    try:
        seal = json.loads(file.with_suffix(_SEAL).read_text(encoding="utf-8"))
        images = np.lib.format.open_memmap(file, mode="r")
    except (OSError, ValueError):
        return False
    fits = (images.shape, images.dtype) == (shape, np.dtype(np.float16))
    # The digest reads all of the file, a second for a gigabyte: next to nothing of a training.
    return fits and bool(seal == _seal_of(file))


def _seal_of(file: Path) -> dict[str, str | int]:
    return {"bytes": file.stat().st_size, "sha256": file_sha256(file)}


def _decode(dataset: Dataset, file: Path, on_progress: Callable[[int, int], None]) -> None:
    rows = dataset.samples["sample"].to_numpy()
    _verify_shards(dataset, rows)
    images = np.lib.format.open_memmap(
        file, mode="w+", dtype=np.float16, shape=(len(rows), *dataset.field.shape)
    )
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        block = dataset.read("intensity", slice(int(some[0]), int(some[-1]) + 1))
        images[start : start + len(some)] = block[some - some[0]]
        on_progress(start + len(some), len(rows))
    images.flush()


def _verify_shards(dataset: Dataset, rows: NDArray[np.int64]) -> None:
    """Compare the shards that hold the rows with the manifest."""
    shards = dataset.arrays["intensity"].shards
    assert shards is not None
    for shard in np.unique(rows // shards[0]):
        name = f"data.zarr/intensity/c/{shard}/0/0"
        facts = dataset.manifest["files"].get(name)
        if facts is None or file_sha256(dataset.folder / name) != facts["sha256"]:
            raise DatasetError(
                f"{dataset.folder}: {name} differs from the manifest; "
                f"run `ceria-data verify {dataset.folder}`"
            )
