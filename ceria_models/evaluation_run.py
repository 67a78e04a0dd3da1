"""An evaluation from a program and a dataset to a page and its figures."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data import __version__
from ceria_data.ceiling import open_ceiling
from ceria_data.dataset import Dataset, open_dataset
from ceria_data.errors import OutputError
from ceria_data.schema import LIMITS
from ceria_data.store import refuse_inside_dataset
from ceria_models.bounds import measure_bounds
from ceria_models.efficiency import efficiencies
from ceria_models.evaluation import CountColumns, evaluate
from ceria_models.evaluation_record import Evaluation
from ceria_models.evaluation_report import PAGE, write_report
from ceria_models.evaluation_rows import images_words
from ceria_models.example import Example, example_of
from ceria_models.fitted import baseline_of, ceiling_of, prior_of
from ceria_models.model import Model
from ceria_models.model_evaluation import BASELINE
from ceria_models.paired import limits_rows, mean_count_score, run_pairs
from ceria_models.prediction import predict
from ceria_models.prior import Prior
from ceria_models.recording import OWN, Recording
from ceria_models.strata import choose_rows, default_doses

Advance = Callable[[str, int, int, int], None]
"""Told what is counted, how many are done and in all, and how many were there already."""

BASELINE_NAME = "classical baseline"
FIGURES = "figures.csv"
_TRAIN = "train"
_EXAMPLE_DOSES = (100.0, 300.0, 1000.0)


@dataclass(frozen=True)
class Effort:
    """How much of a split is measured, at which doses, and what records it.

    Attributes
    ----------
    doses : tuple of float or None
        e-/Å²; None for `strata.default_doses`.
    images : int or None
        Images without noise to start from; None for all.
    pairs : int or None
        Pairs of each species and case of the paired test; None for all, 0 for no test.
    pair_doses : tuple of float
        e-/Å²: the paired test is run at these too, with all pairs at the same dose.
    stability_images : int
        Images that are recorded 20 times.
    ceiling : Path or None
        What `ceria-data ceiling` wrote for the dataset.
    baseline : bool
        Measure the classical baseline on the same images too.
    recording : Recording
        Pixels and camera; by default those of each sample.
    """

    doses: tuple[float, ...] | None = None
    images: int | None = None
    pairs: int | None = None
    pair_doses: tuple[float, ...] = ()
    stability_images: int = 0
    ceiling: Path | None = None
    baseline: bool = False
    recording: Recording = OWN

    def otherwise(self, dataset: Dataset) -> bool:
        """Tell whether pixels or camera are not those of the dataset."""
        return bool(self.recording.remarks(dataset.field))


class ModelProgram:
    """A model as the program that evaluations call; it remembers what it was shown.

    Attributes
    ----------
    model : Model
    seen, outside, far : int
        Images it was shown, those of them that are not of the kind it has learned, and those
        that lie so far outside that `ceria-models predict` would refuse them.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.seen = self.outside = self.far = 0
        self._reason = ""

    def __call__(self, counts: NDArray[np.float64], sampling: float) -> pd.DataFrame:
        """Count columns, see `evaluation.CountColumns`."""
        prediction = predict(self.model, counts, sampling)
        self.seen += 1
        if not prediction.in_domain:
            self.outside += 1
            self.far += prediction.far_out
            self._reason = self._reason or prediction.warnings[0]
        return prediction.columns

    def remarks(self) -> list[str]:
        """Say how many images lay outside of what the net has seen."""
        if not self.outside:
            return []
        return [
            f"{self.outside} of the {self.seen} images that the program was shown, pairs and "
            f"repetitions included, lie outside of what it has seen in training, {self.far} of "
            f"them far outside; the first: {self._reason}"
        ]

    def facts(self) -> dict[str, Any]:
        """Identify the model, for the record."""
        config = self.model.config
        return {
            "model": config.name,
            "model_version": config.version,
            "trained_on": config.training.dataset,
            "trained_on_content_digest": config.training.content_digest,
        }


def program_of(model: Model) -> ModelProgram:
    """Make the program that evaluations call from a model.

    Parameters
    ----------
    model : Model

    Returns
    -------
    ModelProgram
    """
    return ModelProgram(model)


def run_evaluation(
    count_columns: CountColumns,
    program: str,
    data: str | Path,
    split: str,
    out: Path,
    effort: Effort,
    advance: Advance = lambda unit, done, total, reused: None,
) -> Evaluation:
    """Measure a program and write `evaluation.html`, `evaluation.json` and `figures.csv`.

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
        New folder; it appears whole or not at all.
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
    NotADatasetError
        If dataset or ceiling are none.
    DatasetError
        If they are damaged, or the ceiling is that of another dataset.
    ValueError
        If there is no such split.
    """
    with staged(out) as staging:
        dataset = open_dataset(data, split)
        doses = effort.doses or default_doses(dataset)
        ceiling = None if effort.ceiling is None else open_ceiling(effort.ceiling, dataset)
        prior, notes = prior_or_note(data, dataset, advance)
        on_fit = counter(advance, "fit images")
        fitted = baseline_of(data, on_fit) if effort.baseline else None
        best = None
        if ceiling is not None and prior is not None and not effort.otherwise(dataset):
            on_column = counter(advance, "ceiling columns")
            best = ceiling_of(ceiling, dataset, prior, doses, on_column)

        def measured(one: CountColumns, name: str, unit: str, steady: int = 0) -> Evaluation:
            return evaluate(
                one,
                dataset,
                program=name,
                doses=doses,
                images=effort.images,
                stability_images=steady,
                prior=prior,
                recording=effort.recording,
                on_progress=counter(advance, unit),
            )

        found = measured(count_columns, program, "images", effort.stability_images)
        found = _bounded(count_columns, dataset, found, best, advance)
        found, more = _paired(count_columns, dataset, found, effort, advance)
        notes += [*more, *_ceiling_notes(effort, dataset, best, split)]
        if isinstance(count_columns, ModelProgram):
            notes += count_columns.remarks()
        found = described(found, count_columns, notes, doses, effort)
        others = [] if fitted is None else [(fitted, BASELINE_NAME)]
        beside = [measured(one, name, "baseline images") for one, name in others]
        examples = _examples(count_columns, dataset, doses, effort.recording)
        write_report(found, staging, examples=examples, beside=beside)
        write_tables(found, beside, staging)
    return found


def described(
    found: Evaluation,
    count_columns: object,
    notes: list[str],
    doses: tuple[float, ...],
    effort: Effort,
) -> Evaluation:
    """Add to an evaluation how it was made, and what could not be measured."""
    settings: dict[str, Any] = {
        "software": __version__,
        "doses_e_per_A2": list(doses),
        "images": effort.images,
        "pairs": effort.pairs,
        "pair_doses_e_per_A2": list(effort.pair_doses),
        "stability_images": effort.stability_images,
    }
    if isinstance(count_columns, ModelProgram):
        settings |= count_columns.facts()
    settings = found.settings | settings
    return found.model_copy(update={"notes": [*found.notes, *notes], "settings": settings})


def _bounded(
    count_columns: CountColumns,
    dataset: Dataset,
    found: Evaluation,
    best: pd.DataFrame | None,
    advance: Advance,
) -> Evaluation:
    """Measure a program on the columns of the ceiling, where there are some."""
    if best is None or not len(best):
        return found
    counted = counter(advance, "ceiling images")
    bounds = measure_bounds(count_columns, dataset, best, counted)
    return found.model_copy(update={"bounds": bounds})


def _paired(
    count_columns: CountColumns,
    dataset: Dataset,
    found: Evaluation,
    effort: Effort,
    advance: Advance,
) -> tuple[Evaluation, list[str]]:
    """Run the paired test, or say why not."""
    if effort.pairs == 0:
        return found, ["no paired test: 0 pairs were asked for"]
    if not (dataset.folder / f"{LIMITS.name}.parquet").is_file():
        return found, ["no paired test: the dataset has no limits (`ceria-data limits` makes them)"]
    score = mean_count_score(count_columns)
    for dose in (None, *effort.pair_doses):
        rows = limits_rows(dataset, effort.pairs, dose)
        if not len(rows):
            return found, ["no paired test: the limits of the dataset have no pair of this split"]
        counted = counter(advance, "pairs" if dose is None else f"pairs at {dose:g} e-/Å²")
        answers = run_pairs(dataset, rows, score, counted, effort.recording)
        found = found.with_efficiencies(efficiencies(answers, dose))
    notes = []
    if effort.otherwise(dataset):
        notes.append(
            "of the paired test: the dose of each pair is the one chosen for the dataset's own "
            "pixels and camera, and the best observer sees the images as the program does"
        )
    return found, notes


def _ceiling_notes(
    effort: Effort, dataset: Dataset, best: pd.DataFrame | None, split: str
) -> list[str]:
    folder = effort.ceiling
    if effort.otherwise(dataset):
        return ["no ceiling: it is known for the dataset's own pixels and camera only"]
    if folder is None:
        return [
            "no ceiling: none was given; `ceria-data ceiling DATASET --out DIR` makes one, and "
            "`ceria-models evaluate` takes it with --ceiling DIR"
        ]
    if best is None:
        return ["no ceiling: it needs the prior"]
    if not len(best):
        return [f"no ceiling: that of {folder} has no column of the split {split}"]
    return [
        "the ceiling knows defocus, aberrations, all other columns and their counts; its prior is "
        "a regression on the true counts of the eight nearest columns"
    ]


def prior_or_note(
    data: str | Path, dataset: Dataset, advance: Advance
) -> tuple[Prior | None, list[str]]:
    """Take the prior of a dataset; None and why where it has no training split."""
    if _TRAIN not in dataset.manifest["splits"]:
        return None, [f"no prior: the dataset has no split {_TRAIN} to fit it on"]
    return prior_of(data, counter(advance, "prior columns")), []


def write_tables(found: Evaluation, beside: list[Evaluation], folder: Path) -> None:
    """Write every figure as CSV, and the baseline as JSON beside the program."""
    tables = [one.frame().assign(program=one.program) for one in (found, *beside)]
    pd.concat(tables, ignore_index=True).to_csv(folder / FIGURES, index=False)
    for one in beside:
        one.write(folder / BASELINE)


def shown_figures(found: Evaluation, out: Path) -> dict[str, object]:
    """Pick what a terminal shows of an evaluation.

    Parameters
    ----------
    found : Evaluation
    out : Path
        Where its page lies.

    Returns
    -------
    dict
    """
    shown: dict[str, object] = {"report": str(out / PAGE), "program": found.program}
    shown |= {
        f"primary_{name}": None if value is None else round(value, 3)
        for name, value in found.primary().items()
    }
    if found.recorded_otherwise():
        shown["images"] = images_words(found)
    doses = list(dict.fromkeys(table.dose_e_per_A2 for table in found.tables))
    shown["doses_e_per_A2"] = ", ".join("stored" if d is None else f"{d:g}" for d in doses)
    for metric in ("exact", "f1", "position_rms", "calibration_error"):
        for species in ("Ce", "O"):
            values = [found.figure(metric, species, dose) for dose in doses]
            text = ", ".join(
                "–" if v is None or v.value is None else f"{v.value:.3g}" for v in values
            )
            shown[f"{metric}_{species}"] = text
    return shown


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give a folder to write into that takes its place when all went well.

    Raises
    ------
    OutputError
        If the place is taken, or lies in a dataset.
    """
    refuse_inside_dataset(out)
    if out.exists():
        raise OutputError(f"{out} exists already; choose another --out")
    # Made when there is something to write: what is refused leaves no folder behind.
    staging = out.with_name(f".{out.name}.{uuid4().hex}.staging")
    try:
        yield staging
        staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def counter(advance: Advance, unit: str) -> Callable[[int, int], None]:
    """Make a counter of one unit for a function that is told nothing else."""
    return lambda done, total: advance(unit, done, total, 0)


def _examples(
    count_columns: CountColumns,
    dataset: Dataset,
    doses: tuple[float, ...],
    recording: Recording,
) -> list[Example]:
    """Show the program some images, at doses that were measured."""
    shown = tuple(dose for dose in _EXAMPLE_DOSES if dose in doses) or doses
    shown = shown[: len(_EXAMPLE_DOSES)]
    rows = choose_rows(dataset, len(shown))
    return [
        example_of(count_columns, dataset[int(row)], dose, recording)
        for row, dose in zip(rows, shown, strict=False)
    ]
