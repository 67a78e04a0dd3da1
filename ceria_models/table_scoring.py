"""A table of columns, as any program may write it, from a file to a page and its figures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ceria_data.dataset import Dataset, open_dataset
from ceria_models.column_table import check_table
from ceria_models.errors import TableError
from ceria_models.evaluation import CountColumns, score_table
from ceria_models.evaluation_record import Evaluation
from ceria_models.evaluation_report import write_report
from ceria_models.evaluation_run import (
    BASELINE_NAME,
    Advance,
    Effort,
    counter,
    described,
    prior_or_note,
    staged,
    write_tables,
)
from ceria_models.fitted import baseline_of
from ceria_models.recording import stored_counts

_NUMBERS = ("sample", "x_A", "y_A", "occupancy", "confidence", "z_mean_A")


def run_scoring(
    table: Path,
    program: str,
    data: str | Path,
    split: str,
    out: Path,
    advance: Advance = lambda unit, done, total, reused: None,
    *,
    listed: bool = False,
    baseline: bool = False,
) -> Evaluation:
    """Score a table of columns from any program and write page and figures.

    Parameters
    ----------
    table : Path
        CSV or parquet, see `evaluation.score_table`.
    program : str
        Name for the report.
    data : str or Path
        Dataset, whose stored counts the program was given.
    split : str
    out : Path
        New folder; it appears whole or not at all.
    advance : callable
        Told the progress.
    listed : bool
        Score only the images that have rows, for a program that was given only these.
    baseline : bool
        Score the classical baseline on the same images too.

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
    with staged(out) as staging:
        dataset = open_dataset(data, split)
        columns = read_columns(table)
        if listed and not len(columns):
            raise TableError(f"{table} has no rows, so that --listed leaves no image to score")
        samples = [int(number) for number in columns["sample"].unique()] if listed else None
        prior, notes = prior_or_note(data, dataset, advance)
        if listed:
            notes.append(f"only the {len(samples or ())} images that the table lists are scored")
        found = score_table(columns, dataset, program=program, samples=samples, prior=prior)
        beside = []
        if baseline:
            fitted = baseline_of(data, counter(advance, "fit images"))
            own = table_of(fitted, dataset, samples, advance)
            beside = [
                score_table(own, dataset, program=BASELINE_NAME, samples=samples, prior=prior)
            ]
        found = described(found, None, notes, (), Effort())
        write_report(found, staging, beside=beside)
        write_tables(found, beside, staging)
    return found


def table_of(
    count_columns: CountColumns, dataset: Dataset, samples: list[int] | None, advance: Advance
) -> pd.DataFrame:
    """Run a program on the stored counts of a split.

    Parameters
    ----------
    count_columns : callable
    dataset : Dataset
    samples : list of int or None
        Numbers of the images; all if None.
    advance : callable
        Told the progress.

    Returns
    -------
    DataFrame
        As `evaluation.score_table` takes it.
    """
    known = dataset.samples["sample"].to_numpy()
    rows = np.arange(len(known)) if samples is None else np.flatnonzero(np.isin(known, samples))
    parts = []
    for done, row in enumerate(rows, start=1):
        counts = stored_counts(dataset[int(row)])
        parts.append(count_columns(counts, dataset.field.sampling).assign(sample=int(known[row])))
        advance("baseline images", done, len(rows), 0)
    return pd.concat(parts, ignore_index=True)


def read_columns(file: Path) -> pd.DataFrame:
    """Read a table of columns and check what can be checked without the dataset.

    Parameters
    ----------
    file : Path
        ``.csv``, or else parquet.

    Returns
    -------
    DataFrame

    Raises
    ------
    TableError
        If it cannot be read, lacks a column, or has something else where numbers belong.
    """
    try:
        csv = file.suffix.lower() == ".csv"
        table = pd.read_csv(file) if csv else pd.read_parquet(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise TableError(
            f"{file} cannot be read as a table ({error}); expected CSV (.csv) or parquet"
        ) from error
    if "sample" not in table:
        raise TableError(
            f"{file} has the columns {', '.join(map(str, table.columns)) or 'none'}; it lacks "
            "sample, the number of the image in samples.parquet"
        )
    classes = [str(name) for name in table if str(name).startswith("p_")]
    for name in (*_NUMBERS, *classes):
        if name not in table:
            continue
        numbers = pd.to_numeric(table[name], errors="coerce")
        strange = numbers.isna() & table[name].notna()
        if strange.any():
            raise TableError(
                f"{file}: {name} is {table.loc[strange, name].iloc[0]!r} in one of {strange.sum()} "
                "rows that hold no number there; expected numbers"
            )
        table[name] = numbers
    whole = table["sample"]
    if whole.isna().any() or (whole % 1).any():
        raise TableError(f"{file}: sample must be a whole number in every row")
    check_table(table)
    return table.astype({"sample": "int64"})
