"""The table of pictures that the viewer of the Hugging Face Hub shows."""

from io import BytesIO
from json import dumps
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from ceria_data.dataset import Dataset, Sample
from ceria_data.pictures import binned, choose_samples, class_colours
from ceria_data.schema import SPECIES

THUMBNAILS = 64
"""Images per split."""

_PICTURES = ("counts", *(f"{species}_classes" for species in SPECIES))
_VALUES = {
    "sample": "int64",
    "structure": "int64",
    "kind": "string",
    "thickness_atoms": "int64",
    "dose_e_per_A2": "float64",
    "defocus_A": "float64",
}


def write_thumbnails(dataset: Dataset, path: Path) -> None:
    """Write samples as pictures of counts and class maps, with their main parameters.

    Large images are binned as on the contact sheet, and their class maps thinned likewise.

    Parameters
    ----------
    dataset : Dataset
        One split; :data:`THUMBNAILS` samples of it are shown.
    path : Path
        Parquet file to write; equal input gives equal bytes.
    """
    kinds = dataset.structures.set_index("structure")[["kind", "thickness_atoms"]]
    # Of the whole dataset: a count has the same colour in every split.
    highest = max([1, *dataset.columns["occupancy"].unique()])
    classes = min(int(highest), int(dataset.manifest["max_count"]))
    rows = []
    for sample in choose_samples(dataset, THUMBNAILS):
        facts = sample.parameters | kinds.loc[sample.parameters["structure"]].to_dict()
        pictures = (_counts(sample), *(_classes(own, classes) for own in sample.occupancy))
        rows.append(
            {
                name: {"bytes": _png(pixels), "path": f"{name}-{facts['sample']:06d}.png"}
                for name, pixels in zip(_PICTURES, pictures, strict=True)
            }
            | {name: facts[name] for name in _VALUES}
        )
    features = {name: {"_type": "Image"} for name in _PICTURES} | {
        name: {"_type": "Value", "dtype": dtype} for name, dtype in _VALUES.items()
    }
    # The viewer takes a column for pictures if this key says so.
    viewer = {"info": {"features": features}}
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"huggingface": dumps(viewer)})
    pq.write_table(table, path, compression="zstd")


def _counts(sample: Sample) -> NDArray[np.uint8]:
    counts, _ = binned(sample.counts)
    low, high = np.percentile(counts, (0.5, 99.5))
    grey: NDArray[np.float64] = np.clip((counts - low) / max(high - low, 1.0), 0, 1) * 255
    return grey.round().astype(np.uint8)


def _classes(classes: NDArray[np.uint8], largest: int) -> NDArray[np.uint8]:
    pixels, n = binned(classes)
    ny, nx = pixels.shape
    middle = classes[n // 2 :: n, n // 2 :: n][:ny, :nx]
    colours, norm = class_colours(largest)
    painted: NDArray[np.uint8] = colours(norm(middle), bytes=True)[..., :3]
    return painted


def _png(pixels: NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return file.getvalue()
