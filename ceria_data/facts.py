"""Facts of a dataset, measured from its store."""

from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from ceria_data.config import BuildConfig
from ceria_data.dataset import Dataset
from ceria_data.schema import SAMPLES, STRUCTURES
from ceria_data.sections import EVENT_KINDS

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
        **({"films": film_facts(dataset)} if dataset.has_films else {}),
        "warnings": manifest["warnings"],
        "recipe_digest": manifest["recipe_digest"],
        "labels_digest": manifest["labels_digest"],
        "content_digest": manifest["content_digest"],
        "core_seconds": manifest["cost"]["core_seconds"],
        "software": manifest["software"],
        "machine": manifest["machine"],
    }


def film_facts(dataset: Dataset) -> dict[str, Any]:
    """Summarise the films of a dataset: their number, length and events of each kind.

    Parameters
    ----------
    dataset : Dataset
        Of films.

    Returns
    -------
    dict
    """
    kinds = dataset.events["kind"].value_counts()
    times = dataset.samples["time_s"][dataset.samples["frame"] == 1]
    per_film = dataset.events.groupby("particle").size()
    return {
        "films": int(dataset.samples["particle"].nunique()),
        "frames_per_film": dataset.layout.images,
        "frame_time_s": sorted({float(time) for time in times}),
        "events": {str(kind): int(kinds[kind]) for kind in EVENT_KINDS if kind in kinds},
        "most_events_in_a_film": int(per_film.max()) if len(per_film) else 0,
        "films_without_events": int(
            dataset.samples["particle"].nunique() - dataset.events["particle"].nunique()
        ),
        "largest_drift_A": float(
            np.hypot(dataset.samples["drift_x_A"], dataset.samples["drift_y_A"]).max()
        ),
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


def splits_of(
    config: BuildConfig, samples: pd.DataFrame, structures: pd.DataFrame
) -> dict[str, Any]:
    """Count structures, films and samples of every split, as the manifest holds them."""
    counts = {}
    for split in config.splits:
        own = structures[structures["split"] == split.name]
        counts[split.name] = {
            "structures": len(own),
            "samples": int((samples["split"] == split.name).sum()),
            "phonons": split.phonons,
        }
        if config.film:
            counts[split.name]["films"] = int(own["particle"].nunique())
    return counts
