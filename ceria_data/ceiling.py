"""Reading a ceiling: what other atoms in a column would change in its image.

Needs neither abTEM nor Dask.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray

from ceria_data.dataset import Dataset
from ceria_data.errors import DatasetError, NotADatasetError
from ceria_data.schema import CEILING
from ceria_data.store import read_table

TABLE = f"{CEILING.name}.parquet"
ARRAYS = f"{CEILING.name}.zarr"
DATASET = "dataset.txt"
"""Holds the content digest of the dataset."""
CHECKSUMS = "checksums.sha256"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ColumnCeiling:
    """One column of one image, and what other atoms in it would change.

    Attributes
    ----------
    parameters : dict
        Its row of `ceiling.parquet`.
    counts : array of int64, shape (candidate,)
        Atoms in the column, in ascending order; the true number is among them.
    differences : array of float64, shape (candidate, y, x)
        Image of each candidate minus the image; 1 = vacuum.
    gradient : array of float64, shape (axis, y, x)
        Change of intensity per shift of the column along x and y [1/Å].
    """

    parameters: dict[str, Any]
    counts: NDArray[np.int64]
    differences: Floats
    gradient: Floats

    def patch_of(self, image: NDArray[np.floating]) -> Floats:
        """Cut an image to the pixels of the differences.

        Parameters
        ----------
        image : array of float, shape (y, x)
            A whole image of the dataset.

        Returns
        -------
        array of float64, shape (y, x)
            0 outside the image, where the differences are 0 too.
        """
        ny, nx = self.gradient.shape[1:]
        y, x = self.parameters["first_y"], self.parameters["first_x"]
        patch = np.zeros((ny, nx))
        y0, x0 = max(y, 0), max(x, 0)
        y1, x1 = min(y + ny, image.shape[0]), min(x + nx, image.shape[1])
        patch[y0 - y : y1 - y, x0 - x : x1 - x] = image[y0:y1, x0:x1]
        return patch


class Ceiling:
    """Columns whose other possible counts and shifts were simulated.

    Use `open_ceiling` to make one. ``ceiling[i]`` is the i-th column.

    Attributes
    ----------
    folder : Path
    columns : DataFrame
        Rows of `ceiling.parquet`.
    changes : tuple of int
        Atoms added by each entry along the axis ``change``.
    """

    def __init__(self, folder: Path, columns: pd.DataFrame, arrays: dict[str, Any]) -> None:
        self.folder = folder
        self.columns = columns
        self.changes = tuple(int(change) for change in arrays["difference"].attrs["changes"])
        self._arrays = arrays

    def __len__(self) -> int:
        return len(self.columns)

    def __getitem__(self, index: int) -> ColumnCeiling:
        if not 0 <= index < len(self):
            raise IndexError(f"column {index} of {len(self)}")
        row = self.columns.iloc[index]
        parameters = {
            str(name): value.item() if isinstance(value, np.generic) else value
            for name, value in row.items()
        }
        counts = parameters["occupancy"] + np.array(self.changes)
        there = (counts >= parameters["lowest"]) & (counts <= parameters["highest"])
        return ColumnCeiling(
            parameters=parameters,
            counts=counts[there],
            differences=self._read("difference", index)[there],
            gradient=self._read("gradient", index),
        )

    def _read(self, name: str, index: int) -> Floats:
        try:
            return np.asarray(self._arrays[name][index], np.float64)
        except Exception as error:  # codecs raise many types for damaged bytes
            raise DatasetError(
                f"{self.folder}: {name}[{index}] cannot be read ({error}); "
                "make it again with `ceria-data ceiling`"
            ) from error


def open_ceiling(folder: str | Path, dataset: Dataset) -> Ceiling:
    """Open a ceiling for reading.

    Parameters
    ----------
    folder : str or Path
        What `ceria-data ceiling` wrote.
    dataset : Dataset
        The dataset it belongs to.

    Returns
    -------
    Ceiling

    Raises
    ------
    NotADatasetError
        If the folder holds no ceiling.
    DatasetError
        If it belongs to another dataset.
    """
    folder = Path(folder)
    try:
        digest = (folder / DATASET).read_text(encoding="utf-8").strip()
        root = zarr.open_group(folder / ARRAYS, mode="r")
        arrays = {name: root[name] for name in ("difference", "gradient")}
    except (OSError, KeyError, ValueError) as error:
        raise NotADatasetError(
            f"{folder} holds no ceiling ({error}); expected a folder made by `ceria-data ceiling`"
        ) from error
    expected = dataset.manifest["content_digest"]
    if digest != expected:
        raise DatasetError(
            f"{folder} belongs to the dataset with content {digest[:12]}, {dataset.folder} has "
            f"{expected[:12]}; make a ceiling of this dataset with `ceria-data ceiling`"
        )
    return Ceiling(folder, read_table(folder / TABLE, CEILING), arrays)
