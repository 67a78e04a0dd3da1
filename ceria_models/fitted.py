"""What is fitted or computed once for a dataset and kept: prior, baseline, ceiling."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa

from ceria_data.ceiling import CHECKSUMS, Ceiling
from ceria_data.dataset import Dataset, open_dataset
from ceria_models.baseline import Baseline, fit_baseline
from ceria_models.bounds import COLUMN_BOUNDS, column_bounds
from ceria_models.errors import NotAModelError
from ceria_models.home import home
from ceria_models.prior import SHELLS, Prior, fit_prior, load_prior

Counter = Callable[[int, int], None]
"""Told how much is done and in all."""
_Kept = TypeVar("_Kept")

_BASELINE = "ceria-baseline 1"
"""Changes with what the baseline's numbers mean."""


def prior_of(data: str | Path, on_progress: Counter = lambda done, total: None) -> Prior:
    """Fit the prior of a dataset, or take the one that was fitted before.

    It is kept in `home` under the digest of the dataset's content. A kept file that cannot
    be read, or is of another version, is made anew.

    Parameters
    ----------
    data : str or Path
        Dataset with the split train.
    on_progress : callable
        Told columns collected and wanted.

    Returns
    -------
    Prior

    Raises
    ------
    ValueError
        If the dataset has no split train.
    """
    dataset = open_dataset(data, "train")
    return _kept(
        folder_of(dataset) / "prior.safetensors",
        load_prior,
        lambda: fit_prior(dataset, on_progress=on_progress),
        Prior.save,
    )


def baseline_of(data: str | Path, on_progress: Counter = lambda done, total: None) -> Baseline:
    """Fit the classical baseline to a dataset, or take the one that was fitted before.

    Parameters
    ----------
    data : str or Path
        Dataset with the split train.
    on_progress : callable
        Told images done and in all.

    Returns
    -------
    Baseline

    Raises
    ------
    ValueError
        If the dataset has no split train.
    """
    dataset = open_dataset(data, "train")
    return _kept(
        folder_of(dataset) / "baseline.json",
        load_baseline,
        lambda: fit_baseline(dataset, on_progress=on_progress),
        save_baseline,
    )


def ceiling_of(
    ceiling: Ceiling,
    dataset: Dataset,
    prior: Prior,
    doses: Sequence[float],
    on_progress: Counter = lambda done, total: None,
) -> pd.DataFrame:
    """Compute the best that is possible, or take what was computed before.

    Parameters
    ----------
    ceiling : Ceiling
    dataset : Dataset
        The split that the columns of the ceiling are of.
    prior : Prior
    doses : sequence of float
        e-/Å².
    on_progress : callable
        Told columns done and in all.

    Returns
    -------
    DataFrame
        As from `bounds.column_bounds`.
    """
    # All that decides the figures: which ceiling, prior and doses, and which columns of it.
    parts = [json.dumps([SHELLS, *map(float, doses), sorted(set(dataset.samples["split"]))])]
    parts += [weights.tobytes().hex() for _, weights in sorted(prior.weights.items())]
    checksums = ceiling.folder / CHECKSUMS
    parts.append(checksums.read_text("utf-8") if checksums.is_file() else str(ceiling.folder))
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return _kept(
        folder_of(dataset) / f"ceiling-{key}.parquet",
        _load_bounds,
        lambda: column_bounds(dataset, ceiling, prior, doses, on_progress),
        lambda table, file: table.to_parquet(file, index=False),
    )


def folder_of(dataset: Dataset) -> Path:
    """Name the folder in `home` for what belongs to the content of a dataset.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    Path
        It may not exist yet.

    Examples
    --------
    >>> folder_of(open_dataset("ceria-columns-mini")).parent.name
    'fitted'
    """
    manifest = dataset.manifest
    return home() / "fitted" / f"{manifest['name']}-{manifest['content_digest'][:16]}"


def save_baseline(baseline: Baseline, file: Path) -> None:
    """Write a baseline as JSON, every digit of its numbers."""
    content = {
        "format": _BASELINE,
        "threshold": baseline.threshold,
        "noise": baseline.noise,
        "species": baseline.species.tolist(),
        "count": {name: values.tolist() for name, values in baseline.count.items()},
        "spread": {name: values.tolist() for name, values in baseline.spread.items()},
        "doses": list(baseline.doses),
        "max_count": baseline.max_count,
    }
    file.write_text(json.dumps(content) + "\n", encoding="utf-8")


def load_baseline(file: Path) -> Baseline:
    """Read a baseline that `save_baseline` wrote.

    Parameters
    ----------
    file : Path

    Returns
    -------
    Baseline

    Raises
    ------
    NotAModelError
        If the file is none of this version.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != _BASELINE:
            raise ValueError(f"it has the format {content['format']}, expected {_BASELINE}")
        return Baseline(
            threshold=float(content["threshold"]),
            noise=float(content["noise"]),
            species=np.array(content["species"], dtype=np.float64),
            count={name: np.array(v, dtype=np.float64) for name, v in content["count"].items()},
            spread={name: np.array(v, dtype=np.float64) for name, v in content["spread"].items()},
            doses=tuple(float(dose) for dose in content["doses"]),
            max_count=int(content["max_count"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAModelError(f"{file} cannot be read as a baseline: {error}") from error


def _load_bounds(file: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise NotAModelError(f"{file} cannot be read: {error}") from error
    if tuple(table.columns) != COLUMN_BOUNDS:
        raise NotAModelError(f"{file} is of another version: it has {', '.join(table.columns)}")
    return table


def _kept(
    file: Path,
    load: Callable[[Path], _Kept],
    make: Callable[[], _Kept],
    save: Callable[[_Kept, Path], None],
) -> _Kept:
    """Read what is kept in a file; make and keep it where there is none that can be read."""
    if file.is_file():
        try:
            return load(file)
        except NotAModelError:
            pass  # damaged, or of an older version: it can be made again
    made = make()
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{uuid4().hex}.partial")
    try:
        save(made, partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return made
