"""The dataset card: facts measured from the store, and texts written by hand."""

from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment, StrictUndefined

from ceria_data.config import PHONON_ERROR, load_config
from ceria_data.dataset import Dataset
from ceria_data.facts import film_facts, parameter_ranges
from ceria_data.pictures import splits_of
from ceria_data.schema import ARRAYS, ATOMS, COLUMNS, EVENTS, SAMPLES, SPECIES, STRUCTURES
from ceria_data.sections import EVENT_KINDS, FilmSection
from ceria_data.store import CONFIG

_TEXTS = ("label_definition", "limits", "intended_use", "maintenance", "citation")
_BY_SPLIT = {
    "dose_e_per_A2": "dose (e⁻/Å²)",
    "defocus_A": "defocus (Å)",
    "thickness_atoms": "atoms in the thickest Ce column allowed",
    "mistilt_deg": "mistilt (°)",
}
_PHONONS_FOR_TRAINING = 4
_SMALL_FIELD_A = 25.0
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))


def dataset_card(dataset: Dataset) -> str:
    """Write the card of a dataset, which is its README on the Hugging Face Hub.

    The text depends on the dataset's tables and manifest only, so that a lost card can
    be written again.

    Parameters
    ----------
    dataset : Dataset
        All splits, with at least one sample.

    Returns
    -------
    str
        Markdown with YAML front matter.

    References
    ----------
    .. [1] Gebru et al., Commun. ACM 64, 86 (2021), for the headings of a datasheet.
    """
    folder = files("ceria_data.cards")
    texts = {name: folder.joinpath(f"{name}.md").read_text("utf-8") for name in _TEXTS}
    template = folder.joinpath("templates/dataset_card.md.j2").read_text("utf-8")
    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    # Markdown, not HTML: cell() keeps foreign text harmless.
    environment.filters["cell"] = cell
    return environment.from_string(template).render(
        front_matter=_front_matter(dataset),
        texts=texts,
        versions=_versions(str(dataset.manifest["name"])),
        **_facts(dataset),
    )


def cell(value: Any) -> str:
    r"""Write a value so that it stays one cell of a Markdown table, or one line of text.

    Examples
    --------
    >>> cell("a | b\n<b>")
    'a &#124; b &lt;b>'
    """
    text = " ".join(str(value).split())
    return text.replace("&", "&amp;").replace("|", "&#124;").replace("<", "&lt;")


def _versions(name: str) -> dict[str, str]:
    """Look up what is written down of the versions of a dataset, oldest first."""
    known = yaml.safe_load(files("ceria_data.cards").joinpath("versions.yaml").read_text("utf-8"))
    return {str(version): str(text) for version, text in known.get(name, {}).items()}


def _front_matter(dataset: Dataset) -> str:
    manifest = dataset.manifest
    tables = (SAMPLES, STRUCTURES, COLUMNS, ATOMS, *((EVENTS,) if dataset.has_films else ()))
    thumbnails = [
        {"split": split, "path": f"preview/{split}.parquet"} for split in splits_of(dataset)
    ]
    head = {
        "license": "cc-by-4.0",
        "pretty_name": f"{manifest['name']} {manifest['version']}",
        "size_categories": [_size_category(len(dataset))],
        "task_categories": ["image-segmentation"],
        "annotations_creators": ["machine-generated"],
        "source_datasets": ["original"],
        "tags": ["HRTEM", "electron-microscopy", "cerium-oxide", "multislice", "synthetic"],
        "configs": [
            {"config_name": "preview", "data_files": thumbnails, "default": True},
            *(
                # One table holds all splits; the viewer needs some name for its rows.
                {
                    "config_name": spec.name,
                    "data_files": [{"split": "rows", "path": f"{spec.name}.parquet"}],
                }
                for spec in tables
            ),
        ],
    }
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=1000)


def _size_category(images: int) -> str:
    return next((name for limit, name in _SIZES if images < limit), "1M<n<10M")


def _facts(dataset: Dataset) -> dict[str, Any]:
    """Measure everything that the template shows."""
    inside = dataset.columns[dataset.columns["in_field"]]
    splits = _splits(dataset)
    return {
        "manifest": dataset.manifest,
        "summary": _summary(dataset),
        "splits": splits,
        "cautions": _cautions(dataset, splits),
        "kinds": _kinds(dataset.structures, splits),
        "by_split": _by_split(dataset, splits),
        "occupancy": _occupancies(inside),
        "over_classes": int((inside["occupancy"] > dataset.manifest["max_count"]).sum()),
        "column_facts": _column_facts(inside),
        "ranges": _ranges(dataset),
        "making": _making(dataset.manifest),
        "films": _films(dataset, splits) if dataset.has_films else None,
    }


def _films(dataset: Dataset, splits: list[dict[str, Any]]) -> dict[str, Any]:
    """Tabulate length, rates and events of the films of every split."""
    config = load_config(str(dataset.folder / CONFIG))
    names = [row["name"] for row in splits]
    sections = [config.sections(config.split(name)).film for name in names]
    particles = dataset.structures[["structure", "split"]]
    events = dataset.events.merge(particles, on="structure")
    keys = [
        key
        for key in FilmSection.model_fields
        if key not in ("frames", "script") and any(getattr(film, key) for film in sections)
    ]
    return {
        "frames": dataset.layout.images,
        "settings": {key: [_setting(getattr(film, key)) for film in sections] for key in keys},
        "events": {
            kind: [
                int(((events["kind"] == kind) & (events["split"] == name)).sum()) for name in names
            ]
            for kind in EVENT_KINDS
        },
        "facts": film_facts(dataset),
    }


def _setting(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value.plain() if hasattr(value, "plain") else value)


def _summary(dataset: Dataset) -> dict[str, str]:
    field, samples = dataset.field, dataset.samples
    electrons = samples["dose_e_per_A2"] * samples["sampling_A"] ** 2
    decoded = sum(int(np.prod(a.shape)) * a.dtype.itemsize for a in dataset.arrays.values())
    columns = {name: int((dataset.columns["species"] == name).sum()) for name in SPECIES}
    return {
        "images": f"{len(dataset):,}",
        "structures": f"{len(dataset.structures):,}",
        "labelled columns": ", ".join(f"{n:,} {name}" for name, n in columns.items()),
        "atoms": f"{len(dataset.atoms):,}",
        "field": f"{field.shape[0]} × {field.shape[1]} pixels (y, x) of {field.sampling:g} Å: "
        f"{field.extent[0]:.1f} × {field.extent[1]:.1f} Å",
        "camera": ", ".join(sorted(samples["camera"].unique())),
        "SNR = √(vacuum electrons per pixel)": _range((electrons**0.5).to_numpy()),
        "arrays": ", ".join(spec.name for spec in ARRAYS) + f" ({decoded / 1e6:,.1f} MB decoded)",
    }


def _splits(dataset: Dataset) -> list[dict[str, Any]]:
    """Count structures and images of each split; splits without any come last."""
    samples, planned = dataset.samples, dataset.manifest["splits"]
    present = splits_of(dataset)
    structures = dataset.structures
    rows = []
    for name in present + sorted(set(planned) - set(present)):
        own = samples[samples["split"] == name]
        phonons = planned[name]["phonons"]
        rows.append(
            {
                "name": name,
                "films": own["particle"].nunique(),
                "structures": int((structures["split"] == name).sum()),
                "images": len(own),
                "phonons": phonons,
                "error": f"{100 * PHONON_ERROR / phonons**0.5:.1f} %",
            }
        )
    return rows


def _cautions(dataset: Dataset, splits: list[dict[str, Any]]) -> list[str]:
    """Say what a user has to know before anything else."""
    manifest = dataset.manifest
    texts = []
    few = [row for row in splits if row["phonons"] < _PHONONS_FOR_TRAINING]
    if few:
        texts.append(
            "Reduced physics: fewer than "
            f"{_PHONONS_FOR_TRAINING} phonon configurations in {', '.join(r['name'] for r in few)}."
            " Good for a look and for testing programs, not for training."
        )
    if min(dataset.field.extent) < _SMALL_FIELD_A:
        ny, nx = dataset.field.extent
        outside = 1 - dataset.columns["in_field"].mean()
        texts.append(
            f"Small field of {ny:.1f} × {nx:.1f} Å: {outside:.0%} of the simulated columns lie "
            "outside it."
        )
    present = {row["name"] for row in splits if row["images"]}
    if "test" not in present:
        texts.append("There is no test split: scores on this dataset cannot be compared.")
    texts += [
        f"Missing: {'the film that begins with ' if dataset.has_films else ''}structure "
        f"{entry['structure']} (number {entry['number']}) could not be "
        f"simulated ({entry['error']}). Its rows of the arrays are zero and no table lists it."
        for entry in manifest["missing"]
    ]
    return texts + list(manifest["warnings"])


def _kinds(structures: pd.DataFrame, splits: list[dict[str, Any]]) -> dict[str, list[int]]:
    return {
        str(kind): [int((own["split"] == row["name"]).sum()) for row in splits]
        for kind, own in structures.groupby("kind")
    }


def _by_split(dataset: Dataset, splits: list[dict[str, Any]]) -> dict[str, list[str]]:
    table = {}
    for name, title in _BY_SPLIT.items():
        source = dataset.samples if name in dataset.samples else dataset.structures
        table[title] = [
            _range(source.loc[source["split"] == row["name"], name].to_numpy()) for row in splits
        ]
    return table


def _occupancies(inside: pd.DataFrame) -> list[dict[str, int]]:
    """Count columns of each species by their occupancy, from 0 to the largest."""
    by_species = {
        name: np.bincount(inside.loc[inside["species"] == name, "occupancy"].to_numpy())
        for name in SPECIES
    }
    top = max(len(counts) for counts in by_species.values())
    return [
        {"occupancy": n} | {name: int(c[n]) if n < len(c) else 0 for name, c in by_species.items()}
        for n in range(top)
    ]


def _column_facts(inside: pd.DataFrame) -> dict[str, list[str]]:
    chosen = {
        "all": inside["occupancy"] >= 0,
        "with vacancies": inside["n_vacancies"] > 0,
        "emptied": (inside["occupancy"] == 0) & (inside["sites"] > 0),
        "with adatoms": inside["n_adatoms"] > 0,
        "ambiguous": inside["ambiguous"],
        "edge or surface, seen along the beam": inside["surface"].isin(["edge", "surface"]),
    }
    return {
        name: [f"{int((mask & (inside['species'] == species)).sum()):,}" for species in SPECIES]
        for name, mask in chosen.items()
    }


def _taken(values: list[Any], dtype: str) -> str:
    """Describe a range: its words, its only number, or its ends."""
    if dtype == "str":
        return ", ".join(values)
    low, high = (f"{float(value):.6g}" for value in values)
    return low if low == high else f"{low} to {high}"


def _ranges(dataset: Dataset) -> list[dict[str, str]]:
    """List every drawn or measured quantity with its unit, its values and its meaning."""
    values = parameter_ranges(dataset.samples, dataset.structures)
    meanings = {column.name: column for spec in (SAMPLES, STRUCTURES) for column in spec.columns}
    return [
        {
            "name": name,
            "unit": meanings[name].unit,
            "taken": _taken(taken, meanings[name].dtype),
            "description": meanings[name].description,
        }
        for name, taken in values.items()
        if name != "split"
    ]


def _making(manifest: dict[str, Any]) -> dict[str, str]:
    cost = manifest["cost"]
    stages = ", ".join(f"{name} {spent:,.1f} s" for name, spent in sorted(cost["by_stage"].items()))
    return {
        "machine": _pairs(manifest["machine"]),
        "software": _pairs(manifest["software"]),
        "engine": _pairs(manifest["engine"]),
        "cost": f"{cost['core_seconds']:,.1f} core seconds ({stages})",
        "speed": f"{cost['images_per_core_second']:.3g} images per core second",
    }


def _pairs(content: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in sorted(content.items()))


def _range(values: "np.ndarray[Any, Any]") -> str:
    if len(values) == 0:
        return "-"
    low, high = values.min(), values.max()
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
