"""Pictures in a dataset's folder, and a page to look at it."""

from base64 import b64encode
from importlib.resources import files
from json import dumps
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from jinja2 import Environment, StrictUndefined

from ceria_data.dataset import Dataset, Sample
from ceria_data.pictures import (
    choose_samples,
    contact_sheet_png,
    histograms_png,
    labels_png,
    splits_of,
    thumbnail_png,
)

SHEET, LABELS, HISTOGRAMS = "contact_sheet.png", "labels.png", "histograms.png"
SHEET_SAMPLES = 12
THUMBNAILS = 64
"""Images per split in the tables that the Hub's viewer shows."""

_VALUES = {
    "sample": "int64",
    "structure": "int64",
    "kind": "string",
    "thickness_atoms": "int64",
    "dose_e_per_A2": "float64",
    "defocus_A": "float64",
}


def draw_previews(dataset: Dataset) -> list[Path]:
    """Draw the pictures of the card and the tables of thumbnails into `preview/`.

    Equal datasets give equal bytes.

    Parameters
    ----------
    dataset : Dataset
        With at least one sample.

    Returns
    -------
    list of Path
        The files written.
    """
    folder = dataset.folder / "preview"
    folder.mkdir(exist_ok=True)
    paths = []
    for name, content in _pictures(dataset).items():
        paths.append(folder / name)
        paths[-1].write_bytes(content)
    for split in splits_of(dataset):
        paths.append(folder / f"{split}.parquet")
        _write_thumbnails(_of_split(dataset, split), paths[-1])
    return paths


def contact_sheet(dataset: Dataset, path: Path) -> None:
    """Write a sheet of about twelve images that show splits, kinds and doses.

    Parameters
    ----------
    dataset : Dataset
    path : Path
        PNG file to write.
    """
    path.write_bytes(contact_sheet_png(dataset, choose_samples(dataset, SHEET_SAMPLES)))


def html_page(dataset: Dataset) -> str:
    """Make one page, with its pictures in it, that shows what a dataset holds.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    str
        HTML that needs no other file and loads nothing.
    """
    sheets = {}
    for split in splits_of(dataset):
        own = _of_split(dataset, split)
        sheets[split] = _embedded(contact_sheet_png(own, choose_samples(own, SHEET_SAMPLES)))
    manifest = dataset.manifest
    template = files("ceria_data.cards").joinpath("templates/preview.html.j2").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string(template).render(
        manifest=manifest,
        facts=_facts(dataset),
        sheets=sheets,
        labels=_embedded(labels_png(dataset, _clearest(dataset))),
        histograms=_embedded(histograms_png(dataset)),
    )


def _pictures(dataset: Dataset) -> dict[str, bytes]:
    return {
        SHEET: contact_sheet_png(dataset, choose_samples(dataset, SHEET_SAMPLES)),
        LABELS: labels_png(dataset, _clearest(dataset)),
        HISTOGRAMS: histograms_png(dataset),
    }


def _of_split(dataset: Dataset, split: str) -> Dataset:
    own = dataset.samples[dataset.samples["split"] == split].reset_index(drop=True)
    return Dataset(dataset.folder, dataset.manifest, own)


def _clearest(dataset: Dataset) -> list[Sample]:
    """Choose samples of two structures, of two kinds if there are two."""
    chosen = choose_samples(dataset, SHEET_SAMPLES)
    kinds = dataset.structures.set_index("structure")["kind"]
    first = chosen[0]
    kind = kinds[first.parameters["structure"]]
    others = [sample for sample in chosen if kinds[sample.parameters["structure"]] != kind]
    return [first, *others[:1]]


def _facts(dataset: Dataset) -> dict[str, Any]:
    manifest = dataset.manifest
    ny, nx = dataset.field.shape
    return {
        "images": len(dataset),
        "structures": dataset.samples["structure"].nunique(),
        "field": f"{ny} × {nx} pixels of {dataset.field.sampling:g} Å",
        "splits": ", ".join(splits_of(dataset)),
        "content digest": manifest["content_digest"],
    }


def _embedded(png: bytes) -> str:
    return "data:image/png;base64," + b64encode(png).decode()


def _write_thumbnails(dataset: Dataset, path: Path) -> None:
    """Write a table that the Hub's viewer shows as pictures with their parameters."""
    kinds = dataset.structures.set_index("structure")[["kind", "thickness_atoms"]]
    rows = []
    for sample in choose_samples(dataset, THUMBNAILS):
        row = sample.parameters
        name = f"sample-{row['sample']:06d}.png"
        rows.append(
            {
                "counts": {"bytes": thumbnail_png(sample), "path": name},
                "sample": row["sample"],
                "structure": row["structure"],
                "kind": str(kinds.loc[row["structure"], "kind"]),
                "thickness_atoms": int(kinds.loc[row["structure"], "thickness_atoms"]),
                "dose_e_per_A2": row["dose_e_per_A2"],
                "defocus_A": row["defocus_A"],
            }
        )
    features = {name: {"_type": "Value", "dtype": dtype} for name, dtype in _VALUES.items()}
    # The viewer of the Hugging Face Hub takes a column for pictures if this key says so.
    viewer = {"info": {"features": {"counts": {"_type": "Image"}} | features}}
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"huggingface": dumps(viewer)})
    pq.write_table(table, path, compression="zstd")
