"""Pictures in a dataset's folder, and a page to look at it."""

from base64 import b64encode
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from ceria_data.dataset import Dataset, Sample
from ceria_data.pictures import (
    choose_samples,
    contact_sheet_png,
    histograms_png,
    labels_png,
    splits_of,
)
from ceria_data.thumbnails import write_thumbnails

SHEET, LABELS, HISTOGRAMS = "contact_sheet.png", "labels.png", "histograms.png"
SHEET_SAMPLES = 12


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
        write_thumbnails(_of_split(dataset, split), paths[-1])
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
