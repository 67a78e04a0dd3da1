"""An evaluation from a program and a dataset to a page and its figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ceria_data.ceiling import open_ceiling
from ceria_data.dataset import open_dataset
from ceria_data.errors import OutputError
from ceria_data.schema import LIMITS
from ceria_data.store import refuse_inside_dataset
from ceria_models.baseline import fit_baseline
from ceria_models.bounds import measure_bounds
from ceria_models.errors import TableError
from ceria_models.evaluation import CountColumns, evaluate, score_table
from ceria_models.evaluation_plots import example_of
from ceria_models.evaluation_record import Evaluation
from ceria_models.evaluation_report import PAGE, write_report
from ceria_models.home import home
from ceria_models.model import Model
from ceria_models.paired import efficiencies, limits_rows, mean_count_score, run_pairs
from ceria_models.prediction import predict
from ceria_models.prior import Prior, fit_prior, load_prior
from ceria_models.strata import choose_rows

Advance = Callable[[str, int, int, int], None]
"""Told what is counted, how many are done and in all, and how many were there already."""

_EXAMPLE_DOSES = (100.0, 300.0, 1000.0)


@dataclass(frozen=True)
class Effort:
    """How much of a split is measured, and at which doses.

    Attributes
    ----------
    doses : tuple of float
        e-/Å².
    images : int or None
        Images without noise to start from; None for all.
    pairs : int or None
        Pairs of each species and case of the paired test; None for all.
    stability_images : int
        Images that are recorded 20 times.
    ceiling : Path or None
        What `ceria-data ceiling` wrote for the dataset.
    baseline : bool
        Measure the classical baseline on the same images too.
    """

    doses: tuple[float, ...]
    images: int | None
    pairs: int | None
    stability_images: int
    ceiling: Path | None
    baseline: bool


def program_of(model: Model) -> CountColumns:
    """Make the program that evaluations call from a model.

    Parameters
    ----------
    model : Model

    Returns
    -------
    callable
        See `evaluation.CountColumns`.
    """

    def count_columns(counts: NDArray[np.float64], sampling: float) -> pd.DataFrame:
        return predict(model, counts, sampling).columns

    return count_columns


def run_evaluation(
    count_columns: CountColumns,
    program: str,
    data: str | Path,
    split: str,
    out: Path,
    effort: Effort,
    advance: Advance = lambda unit, done, total, reused: None,
) -> Evaluation:
    """Measure a program and write `evaluation.html` and `evaluation.json`.

    Parameters
    ----------
    count_columns : callable
        The program.
    program : str
        Name for the report.
    data : str or Path
        Dataset.
    split : str
    out : Path
        New folder.
    effort : Effort
    advance : callable
        Told the progress.

    Returns
    -------
    Evaluation

    Raises
    ------
    OutputError
        If the folder is taken.
    DatasetError
        If the dataset is damaged, or lacks the split.
    """
    _refuse_taken(out)
    dataset = open_dataset(data, split)
    prior = prior_of(data, _counter(advance, "columns of the prior"))

    def measured(one: CountColumns, name: str, steady: int, unit: str) -> Evaluation:
        return evaluate(
            one,
            dataset,
            program=name,
            doses=effort.doses,
            images=effort.images,
            stability_images=steady,
            prior=prior,
            on_progress=_counter(advance, unit),
        )

    found = measured(count_columns, program, effort.stability_images, "images")
    notes = []
    if (dataset.folder / f"{LIMITS.name}.parquet").is_file():
        rows = limits_rows(dataset, effort.pairs)
        score = mean_count_score(count_columns)
        answers = run_pairs(dataset, rows, score, _counter(advance, "pairs"))
        found = found.with_efficiencies(efficiencies(answers))
    else:
        notes.append("no paired test: the dataset has no limits (`ceria-data limits` makes them)")
    if effort.ceiling is not None:
        ceiling = open_ceiling(effort.ceiling, dataset)
        counter = _counter(advance, "images of the ceiling")
        bounds = measure_bounds(count_columns, dataset, ceiling, prior, effort.doses, counter)
        found = found.model_copy(update={"bounds": bounds})
        if not bounds:
            notes.append(f"no ceiling: that of {effort.ceiling} has no column of this split")
    else:
        notes.append("no ceiling: none was given (`ceria-data ceiling` makes one)")
    found = found.model_copy(update={"notes": [*found.notes, *notes]})
    beside = []
    if effort.baseline:
        counter = _counter(advance, "images to fit the baseline")
        fitted = fit_baseline(open_dataset(data, "train"), on_progress=counter)
        beside = [measured(fitted, "classical baseline", 0, "images of the baseline")]
        beside[0].write(_made(out) / "baseline.json")
    sample_rows = choose_rows(dataset, len(_EXAMPLE_DOSES))
    examples = [
        example_of(count_columns, dataset[int(row)], dose)
        for row, dose in zip(sample_rows, _EXAMPLE_DOSES, strict=False)
    ]
    write_report(found, _made(out), examples=examples, beside=beside)
    return found


def run_scoring(
    table: Path, program: str, data: str | Path, split: str, out: Path, advance: Advance
) -> Evaluation:
    """Score a table of columns from any program and write page and figures.

    Parameters
    ----------
    table : Path
        CSV or parquet, see `evaluation.score_table`.
    program : str
        Name for the report.
    data : str or Path
        Dataset.
    split : str
    out : Path
        New folder.
    advance : callable
        Told the progress.

    Returns
    -------
    Evaluation

    Raises
    ------
    TableError
        If the table cannot be read or scored.
    OutputError
        If the folder is taken.
    """
    _refuse_taken(out)
    dataset = open_dataset(data, split)
    columns = _read_table(table)
    prior = prior_of(data, _counter(advance, "columns of the prior"))
    found = score_table(columns, dataset, program=program, prior=prior)
    write_report(found, _made(out))
    return found


def prior_of(
    data: str | Path, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Prior:
    """Fit the prior of a dataset, or take the one that was fitted before.

    Parameters
    ----------
    data : str or Path
        Dataset with the split train.
    on_progress : callable
        Told columns collected and wanted.

    Returns
    -------
    Prior
    """
    dataset = open_dataset(data, "train")
    file = home() / "priors" / f"{dataset.manifest['labels_digest']}.safetensors"
    if file.is_file():
        return load_prior(file)
    prior = fit_prior(dataset, on_progress=on_progress)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{uuid4().hex}.partial")
    try:
        prior.save(partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return prior


def shown_figures(found: Evaluation, out: Path, doses: Sequence[float | None]) -> dict[str, object]:
    """Pick what a terminal shows of an evaluation."""
    shown: dict[str, object] = {"report": str(out / PAGE), "program": found.program}
    shown |= {
        f"primary_{name}": None if value is None else round(value, 3)
        for name, value in found.primary().items()
    }
    for metric in ("exact", "f1", "position_rms", "calibration_error"):
        for species in ("Ce", "O"):
            values = [found.figure(metric, species, dose) for dose in doses]
            text = ", ".join(
                "–" if v is None or v.value is None else f"{v.value:.3g}" for v in values
            )
            shown[f"{metric}_{species}"] = text
    shown["doses_e_per_A2"] = ", ".join("stored" if d is None else f"{d:g}" for d in doses)
    return shown


def _read_table(file: Path) -> pd.DataFrame:
    try:
        if file.suffix == ".csv":
            return pd.read_csv(file)
        return pd.read_parquet(file)
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        raise TableError(
            f"{file} cannot be read as a table ({error}); expected CSV (.csv) or parquet"
        ) from error


def _refuse_taken(out: Path) -> None:
    refuse_inside_dataset(out)
    if out.exists():
        raise OutputError(f"{out} exists already; choose another --out")


def _made(out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    return out


def _counter(advance: Advance, unit: str) -> Callable[[int, int], None]:
    return lambda done, total: advance(unit, done, total, 0)
