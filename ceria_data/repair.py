"""Damaged files of a dataset, made again from its config."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from ceria_data.block import Order, build_block
from ceria_data.build import group_attributes
from ceria_data.card import dataset_card
from ceria_data.config import BuildConfig, load_config, resolved_yaml
from ceria_data.croissant import CROISSANT, write_croissant
from ceria_data.dataset import Dataset
from ceria_data.digest import file_sha256
from ceria_data.draw import StructureEntry, structure_entries
from ceria_data.errors import DatasetError
from ceria_data.film_labels import LabelledFilm, label_film
from ceria_data.plan import plan
from ceria_data.preview import draw_previews
from ceria_data.schema import ARRAYS, FILM_TABLES, SAMPLES, TABLES, tables_of
from ceria_data.simulate import LabelledStructure, cell_of, field_of, label_structure
from ceria_data.staging import build_key, seal_staging
from ceria_data.store import (
    CARD,
    CONFIG,
    DATA,
    Layout,
    create_arrays,
    read_manifest,
    read_table,
    write_table,
    write_text,
)
from ceria_data.verify import check_files


def repair(folder: Path) -> list[str]:
    """Make the damaged files of a dataset again and put back those that come out equal.

    A file is replaced only by one with the sha256 of the manifest, so that a repair on
    another class of machine can fail but never changes a dataset. Files that the
    manifest does not know are left where they are.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of str
        Files that were put back.

    Raises
    ------
    NotADatasetError
        If the manifest itself is damaged: nothing says then what is right.
    DatasetError
        If the config is damaged.
    """
    manifest = read_manifest(folder)
    damaged = [
        problem.where
        for problem in check_files(folder, manifest)
        if problem and problem.where in manifest["files"]
    ]
    if CONFIG in damaged:
        raise DatasetError(
            f"{folder / CONFIG} is damaged; put back a copy of it, then repeat the repair"
        )
    config = load_config(str(folder / CONFIG))
    planned = plan(config, block=int(manifest["block"]))
    restored: list[str] = []
    with _scratch(folder) as scratch:
        create_arrays(scratch / "dataset", planned.layout, group_attributes(config, planned))
        device = str(manifest["machine"]["device"])
        _make_shards(config, scratch, planned.layout, damaged, "cpu" if device == "cpu" else "gpu")
        _make_tables(config, scratch / "dataset", planned.layout, damaged, manifest)
        restored += _put_back(scratch / "dataset", folder, damaged, manifest)
        left = [name for name in damaged if name not in restored]
        if left and all(_describes(name) for name in left):
            _make_descriptions(_view(folder, scratch / "whole"), manifest)
            restored += _put_back(scratch / "whole", folder, left, manifest)
    return restored


def _make_shards(
    config: BuildConfig, scratch: Path, layout: Layout, damaged: list[str], device: str
) -> None:
    for name in ("parts", "receipts"):
        (scratch / name).mkdir()
    seal_staging(scratch, {})
    yaml, key = resolved_yaml(config), build_key(scratch)
    for block in range(layout.blocks):
        paths = [path for spec in ARRAYS for path in layout.shard_paths(spec, block)]
        if any(path.as_posix() in damaged for path in paths):
            build_block(Order(str(scratch), yaml, layout, block, device, key))


def _make_tables(
    config: BuildConfig,
    folder: Path,
    layout: Layout,
    damaged: list[str],
    manifest: dict[str, Any],
) -> None:
    specs = tables_of(bool(config.film))
    wanted = [spec for spec in specs if f"{spec.name}.parquet" in damaged]
    if not wanted:
        return
    missing = {entry["number"] for entry in manifest["missing"]}
    labelled = [
        _label(config, entry, layout)
        for entry in structure_entries(config)
        if entry.number not in missing
    ]
    for spec in wanted:
        table = pd.concat([getattr(one, spec.name) for one in labelled], ignore_index=True)
        write_table(table.astype(spec.dtypes), folder / f"{spec.name}.parquet", spec)


def _label(
    config: BuildConfig, entry: StructureEntry, layout: Layout
) -> LabelledStructure | LabelledFilm:
    if config.film is None:
        return label_structure(config, entry, layout.planes)
    first = layout.structures_of(range(entry.row, entry.row + 1)).start
    return label_film(config, entry, first, layout.planes, field_of(config), cell_of(config))


def _make_descriptions(folder: Path, manifest: dict[str, Any]) -> None:
    """Draw pictures and write the card again, as the build did before it had a manifest."""
    facts = {key: value for key, value in manifest.items() if key != "files"}
    dataset = Dataset(folder, facts, read_table(folder / f"{SAMPLES.name}.parquet", SAMPLES))
    draw_previews(dataset)
    write_croissant(dataset)
    write_text(folder / CARD, dataset_card(dataset))


def _describes(name: str) -> bool:
    """Say whether a file is made from arrays and tables, which have to be right first."""
    return name in (CARD, CROISSANT) or name.startswith("preview/")


def _view(folder: Path, view: Path) -> Path:
    """Lay links to the arrays and tables of a dataset into an empty folder."""
    view.mkdir()
    tables = (f"{spec.name}.parquet" for spec in (*TABLES, *FILM_TABLES))
    for name in (DATA, CONFIG, *tables):
        if (folder / name).exists():
            (view / name).symlink_to((folder / name).resolve())
    return view


def _put_back(source: Path, folder: Path, names: list[str], manifest: dict[str, Any]) -> list[str]:
    restored = []
    for name in names:
        made = source / name
        if made.is_file() and file_sha256(made) == manifest["files"][name]["sha256"]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            made.replace(folder / name)
            restored.append(name)
    return restored


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    resolved = folder.resolve()
    with tempfile.TemporaryDirectory(
        prefix=f".{resolved.name}.repair-", dir=resolved.parent
    ) as name:
        (Path(name) / "dataset").mkdir()
        yield Path(name)
