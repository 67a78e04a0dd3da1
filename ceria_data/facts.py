"""Facts of a dataset, measured from its store."""

from math import isfinite
from typing import Any

import pandas as pd

from ceria_data.config import BuildConfig
from ceria_data.dataset import Dataset
from ceria_data.schema import SAMPLES, STRUCTURES

_KEYS = {"sample", "structure", "particle", "number", "camera_seed", "frame"}


def dataset_facts(dataset: Dataset) -> dict[str, Any]:
    """Summarise a dataset: name, sizes, splits, parameter ranges, digests, cost.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    dict
        Plain values that JSON can hold.
    """
    manifest = dataset.manifest
    size = sum(facts["size"] for facts in manifest["files"].values())
    return {
        "name": manifest["name"],
        "version": manifest["version"],
        "format_version": manifest["format_version"],
        "structures": manifest["n_structures"],
        "images": manifest["n_samples"],
        "field_shape": manifest["field_shape"],
        "sampling_A": manifest["sampling_A"],
        "bytes": size,
        "splits": manifest["splits"],
        "missing_structures": [entry["structure"] for entry in manifest["missing"]],
        "ranges": parameter_ranges(dataset.samples, dataset.structures),
        "warnings": manifest["warnings"],
        "recipe_digest": manifest["recipe_digest"],
        "labels_digest": manifest["labels_digest"],
        "content_digest": manifest["content_digest"],
        "core_seconds": manifest["cost"]["core_seconds"],
        "software": manifest["software"],
        "machine": manifest["machine"],
    }


def parameter_ranges(samples: pd.DataFrame, structures: pd.DataFrame) -> dict[str, list[Any]]:
    """List the values that every drawn quantity takes in a dataset.

    Parameters
    ----------
    samples, structures : DataFrame

    Returns
    -------
    dict of str to list
        Lowest and highest of a number (infinity as the word ``inf``), the distinct values
        of a word.
    """
    ranges: dict[str, list[Any]] = {}
    for table, spec in ((samples, SAMPLES), (structures, STRUCTURES)):
        for column in spec.columns:
            if column.name in _KEYS or not len(table):
                continue
            values = table[column.name]
            if column.dtype == "str":
                ranges[column.name] = sorted(values.unique())
            else:
                ends = (values.min().item(), values.max().item())
                ranges[column.name] = [end if isfinite(end) else str(end) for end in ends]
    return ranges


def splits_of(config: BuildConfig, samples: pd.DataFrame) -> dict[str, Any]:
    """Count structures and samples of every split, as the manifest holds them."""
    return {
        split.name: {
            "structures": int(samples.loc[samples["split"] == split.name, "structure"].nunique()),
            "samples": int((samples["split"] == split.name).sum()),
            "phonons": split.phonons,
        }
        for split in config.splits
    }
