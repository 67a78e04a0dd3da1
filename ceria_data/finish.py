"""From complete blocks to a complete dataset: tables, config, pictures, card, manifest."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from ceria_data.abtem_waves import abtem_settings
from ceria_data.block import Receipt
from ceria_data.card import dataset_card
from ceria_data.config import (
    BuildConfig,
    recipe_digest,
    resolved_yaml,
    warnings_of,
)
from ceria_data.croissant import write_croissant
from ceria_data.dataset import Dataset
from ceria_data.digest import canonical_json, root_digest
from ceria_data.facts import splits_of
from ceria_data.plan import Plan
from ceria_data.preview import draw_previews
from ceria_data.scattering import waves_together
from ceria_data.schema import FORMAT_VERSION, SPECIES, tables_of
from ceria_data.simulate import cell_of, settings_of
from ceria_data.store import (
    CARD,
    CONFIG,
    Layout,
    checksums,
    write_manifest,
    write_table,
    write_text,
)


def finish_dataset(
    config: BuildConfig,
    planned: Plan,
    folder: Path,
    tables: dict[str, pd.DataFrame],
    receipts: list[Receipt],
    device: str,
    batch_memory: int | None,
) -> dict[str, Any]:
    """Write all that makes shards a dataset; the manifest comes last.

    Parameters
    ----------
    config : BuildConfig
    planned : Plan
    folder : Path
        The staged dataset, whose shards are complete.
    tables : dict of str to DataFrame
        Joined tables by name.
    receipts : list of Receipt
        Of all blocks, in order.
    device : str
        ``cpu`` or ``gpu``.
    batch_memory : int, optional
        For the waves that went together [bytes].

    Returns
    -------
    dict
        The manifest.
    """
    for spec in tables_of(bool(config.film)):
        write_table(tables[spec.name], folder / f"{spec.name}.parquet", spec)
    write_text(folder / CONFIG, resolved_yaml(config))
    manifest: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "name": config.name,
        "version": config.version,
        "description": config.description,
        "seed": config.seed,
        "sampling_A": config.field.sampling_A,
        "field_shape": list(config.field.shape),
        **_images(config, planned.layout),
        "max_count": config.max_count,
        "species": list(SPECIES),
        "n_structures": planned.layout.structures,
        "n_samples": len(tables["samples"]),
        "n_planes": planned.layout.planes,
        "block": planned.layout.block,
        "plane_spacing_A": planned.plane_spacing_A,
        "splits": splits_of(config, tables["samples"], tables["structures"]),
        "recipe_digest": recipe_digest(config),
        "labels_digest": root_digest(leaf for receipt in receipts for leaf in receipt.labels),
        "content_digest": root_digest(leaf for receipt in receipts for leaf in receipt.content),
        "software": receipts[0].made_by["software"],
        "machine": receipts[0].made_by["machine"],
        "engine": _engine(config, device, batch_memory),
        "cost": _cost(receipts, tables["samples"]),
        "missing": [
            {key: entry[key] for key in ("structure", "number", "error")}
            for receipt in receipts
            for entry in receipt.failures
        ],
        "warnings": warnings_of(config),
    }
    # As it will be read back, so that card and pictures can be made again from the file.
    manifest = json.loads(canonical_json(manifest))
    dataset = Dataset(folder, manifest, tables["samples"])
    draw_previews(dataset)
    write_croissant(dataset)
    write_text(folder / CARD, dataset_card(dataset))
    manifest["files"] = checksums(folder)
    write_manifest(folder, manifest)
    return manifest


def _images(config: BuildConfig, layout: Layout) -> dict[str, Any]:
    """Say how many images belong to a structure, or to a film."""
    if config.film is None:
        return {"images_per_structure": config.images_per_structure}
    return {"film": {"frames": layout.images, "first_structure": list(layout.starts)}}


def _engine(config: BuildConfig, device: str, batch_memory: int | None) -> dict[str, Any]:
    settings = settings_of(config)
    record = asdict(settings)
    # On a GPU its libraries may round otherwise for another size of the batch.
    record["waves_together"] = waves_together(cell_of(config), settings, device, batch_memory)
    if settings.engine == "abtem":
        record["abtem"] = abtem_settings(settings, device)
    return record


def _cost(receipts: list[Receipt], samples: pd.DataFrame) -> dict[str, Any]:
    by_stage: Counter[str] = Counter()
    for receipt in receipts:
        by_stage.update(receipt.seconds)
    total = sum(by_stage.values())
    return {
        "core_seconds": round(total, 2),
        "by_stage": {stage: round(seconds, 2) for stage, seconds in by_stage.items()},
        "images_per_core_second": round(len(samples) / total, 3) if total else 0.0,
        "peak_memory_bytes": max(receipt.peak_memory for receipt in receipts),
    }
