"""Images to predict: files of the usual kinds, and datasets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceria_data.bundled import bundled_datasets
from ceria_data.dataset import open_dataset
from ceria_data.detector import electrons
from ceria_data.parameters import camera_from_row
from ceria_data.store import MANIFEST
from ceria_models.errors import ImageError

_SUFFIXES = (".npy", ".tif", ".tiff", ".png")


@dataclass(frozen=True)
class Images:
    """Images to predict.

    Attributes
    ----------
    frames : array, shape (frame, y, x)
        Zero = no electrons.
    sampling : float or None
        Pixel size [Å/pixel], where the source knows it.
    samples : list of int or None
        For images of a dataset, their rows of `samples.parquet`.
    """

    frames: NDArray[np.floating] | NDArray[np.integer]
    sampling: float | None
    samples: list[int] | None = None


def read_images(source: Path, split: str | None = None, limit: int | None = None) -> Images:
    """Read images from a file, or the stored counts of a dataset.

    Parameters
    ----------
    source : Path
        A .npy, .tif or .png file of shape (y, x) or (frame, y, x), a dataset's folder, or
        the name of a bundled dataset.
    split : str, optional
        Of a dataset.
    limit : int, optional
        Read the first images only.

    Returns
    -------
    Images

    Raises
    ------
    ImageError
        If there is no such source, or it holds no images.
    """
    if (source / MANIFEST).is_file() or (not source.exists() and str(source) in bundled_datasets()):
        return _of_dataset(source, split, limit)
    if not source.is_file():
        raise ImageError(
            f"{source} is neither a file nor a dataset; expected {', '.join(_SUFFIXES)}, a "
            f"dataset's folder, or a bundled dataset: {', '.join(bundled_datasets())}"
        )
    if split is not None:
        raise ImageError(f"{source} is a file and has no splits; leave out --split")
    frames = _of_file(source)
    if frames.ndim not in (2, 3):
        raise ImageError(f"{source} has the shape {frames.shape}; expected (y, x) or (frame, y, x)")
    frames = frames[None] if frames.ndim == 2 else frames
    return Images(frames[:limit], None)


def _of_dataset(source: Path, split: str | None, limit: int | None) -> Images:
    dataset = open_dataset(source, split)
    rows = range(len(dataset) if limit is None else min(limit, len(dataset)))
    frames, samples = [], []
    for row in rows:
        sample = dataset[row]
        frames.append(electrons(sample.counts, camera_from_row(sample.parameters)))
        samples.append(int(sample.parameters["sample"]))
    return Images(np.stack(frames), dataset.field.sampling, samples)


def _of_file(source: Path) -> NDArray[Any]:
    suffix = source.suffix.lower()
    try:
        if suffix == ".npy":
            # Mapped, so that a header cannot ask for more memory than the file has bytes.
            values: NDArray[Any] = np.load(source, mmap_mode="r", allow_pickle=False)
        elif suffix in (".tif", ".tiff"):
            import tifffile

            values = tifffile.imread(source)
        elif suffix == ".png":
            from PIL import Image

            with Image.open(source) as picture:
                if picture.mode not in ("L", "I", "I;16", "F"):
                    raise ImageError(
                        f"{source} is a picture in colour ({picture.mode}); expected grey values"
                    )
                values = np.asarray(picture)
        else:
            raise ImageError(
                f"{source} is a {suffix or 'nameless'} file; expected {', '.join(_SUFFIXES)}"
            )
    except (OSError, ValueError) as error:
        raise ImageError(f"{source} cannot be read: {error}") from error
    return values
