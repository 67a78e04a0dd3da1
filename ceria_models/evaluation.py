"""Measuring any program that counts columns, on a split of a dataset."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.dataset import Dataset, Sample
from ceria_models.column_table import check_table, refuse_other_units
from ceria_models.errors import TableError
from ceria_models.evaluation_record import Evaluation
from ceria_models.matching import match_columns
from ceria_models.prior import Prior
from ceria_models.recording import OWN, Recording, View, record_at
from ceria_models.scoring import Scored
from ceria_models.strata import DOSES, choose_rows, sample_facts

CountColumns = Callable[[NDArray[np.float64], float], pd.DataFrame]
"""From electrons (y, x) and sampling [Å/pixel] to a table of columns."""
Progress = Callable[[int, int], None]

_DRAWS = 20
_STABILITY_DOSES = (100.0, 300.0, 1000.0)


def evaluate(
    count_columns: CountColumns,
    dataset: Dataset,
    *,
    program: str,
    doses: Sequence[float] = DOSES,
    images: int | None = None,
    stability_images: int = 0,
    prior: Prior | None = None,
    recording: Recording = OWN,
    on_progress: Progress = lambda done, total: None,
) -> Evaluation:
    """Measure a program on images recorded anew at fixed doses.

    Parameters
    ----------
    count_columns : callable
        The program: from electrons (y, x) and sampling [Å/pixel] to a table of columns with
        species, x_A, y_A, occupancy and, where it knows them, confidence, z_mean_A, p_0 to
        p_K.
    dataset : Dataset
        A split.
    program : str
        Name for the report.
    doses : sequence of float
        e-/Å²; everyone gets the same electrons, see `recording.record_at`.
    images : int, optional
        Images to use, evenly over structures; all if None.
    stability_images : int
        Images that are recorded 20 times at 100, 300 and 1000 e-/Å² for the stability.
    prior : Prior, optional
        For the vacancy ROC and to stand beside the accuracy.
    recording : Recording
        Camera and pixels, by default those of each sample. The program is told the pixel size,
        and its columns are in the coordinates of the image it was given.
    on_progress : callable
        Told images predicted and in all.

    Returns
    -------
    Evaluation

    Raises
    ------
    TableError
        If the program returns a table that cannot be scored.

    Examples
    --------
    A program that sees nothing:

    >>> from ceria_data.dataset import open_dataset
    >>> nothing = pd.DataFrame({"species": [], "x_A": [], "y_A": [], "occupancy": []})
    >>> test = open_dataset("ceria-columns-mini", "test")
    >>> blind = lambda counts, sampling: nothing
    >>> found = evaluate(blind, test, program="blind", doses=(300.0,), images=1)
    >>> found.figure("recall", "Ce", 300.0).value
    0.0
    """
    rows = choose_rows(dataset, images)
    steady = choose_rows(dataset, stability_images) if stability_images else rows[:0]
    repeated = [dose for dose in doses if dose in _STABILITY_DOSES]
    total = len(rows) * len(doses) + len(steady) * len(repeated) * _DRAWS
    scored = Scored(dataset, prior, recording)
    view = recording.view(dataset.field)
    count = _counter(count_columns, recording, total, on_progress)
    for row in rows:
        sample = dataset[int(row)]
        for dose in doses:
            scored.add(sample, count(sample, dose, 0), dose)
    spreads = []
    for row in steady:
        sample = dataset[int(row)]
        for dose in repeated:
            tables = [count(sample, dose, draw) for draw in range(_DRAWS)]
            spreads.append(count_spread(tables, sample, view).assign(dose=dose))
    return scored.evaluation(program, spreads)


def _counter(
    count_columns: CountColumns, recording: Recording, total: int, on_progress: Progress
) -> Callable[[Sample, float, int], pd.DataFrame]:
    """Make a function that shows the program a sample at a dose, and counts what it was shown."""
    done = 0

    def count(sample: Sample, dose: float, draw: int) -> pd.DataFrame:
        nonlocal done
        image = record_at(sample, dose, draw, recording)
        found = count_columns(image, recording.view(sample.dataset.field).field.sampling)
        done += 1
        on_progress(done, total)
        return found

    return count


def score_table(
    table: pd.DataFrame,
    dataset: Dataset,
    *,
    program: str,
    samples: Sequence[int] | None = None,
    prior: Prior | None = None,
) -> Evaluation:
    """Score a table of columns that any program made from the stored counts.

    Parameters
    ----------
    table : DataFrame
        sample (as in `samples.parquet`), species, x_A, y_A, occupancy and, where known,
        confidence, z_mean_A, p_0 to p_K.
    dataset : Dataset
        A split.
    program : str
    samples : sequence of int, optional
        The images it was given; by default all of the split. One without rows counts as an
        image in which nothing was found.
    prior : Prior, optional

    Returns
    -------
    Evaluation
        Without doses: stored counts have doses of their own, which are strata.

    Raises
    ------
    TableError
        If the table lacks a needed column, or names images that are not of this split.

    Examples
    --------
    The truth of one image, as another program might have written it:

    >>> from ceria_data.dataset import open_dataset
    >>> test = open_dataset("ceria-columns-mini", "test")
    >>> columns = test[0].columns.query("in_field and occupancy > 0")
    >>> table = columns[["species", "x_A", "y_A", "occupancy"]].assign(sample=480)
    >>> found = score_table(table, test, program="truth", samples=[480])
    >>> found.figure("exact", "O").value
    1.0
    """
    if "sample" not in table:
        raise TableError(
            f"the table of columns has {', '.join(map(str, table.columns))}; it lacks sample, "
            "the number of the image in samples.parquet"
        )
    known = dataset.samples["sample"].to_numpy()
    wanted = known if samples is None else np.asarray(samples)
    strange = sorted(set(table["sample"]) - set(wanted)) or sorted(set(wanted) - set(known))
    if strange:
        raise TableError(
            f"{len(strange)} images of the table are not among those to be scored, such as sample "
            f"{strange[0]}; expected {len(wanted)} of {known.min()} to {known.max()}: is it the "
            "right split?"
        )
    check_table(table)
    refuse_other_units(table, dataset.field)
    scored = Scored(dataset, prior)
    groups = dict(iter(table.groupby("sample")))
    empty = table.iloc[:0]
    for row in np.flatnonzero(np.isin(known, wanted)):
        sample = dataset[int(row)]
        found = groups.get(int(known[row]), empty).reset_index(drop=True)
        scored.add(sample, found, None)
    missing = len(set(wanted) - set(groups))
    if missing:
        scored.notes.append(f"{missing} images have no rows: all their columns count as missed")
    return scored.evaluation(program, [])


def count_spread(
    tables: Sequence[pd.DataFrame], sample: Sample, view: View | None = None
) -> pd.DataFrame:
    """Measure how the count of a column varies over noise draws of one image.

    Draws in which a column was not found are left out (recall measures those); a column found
    less than twice has no spread.

    Parameters
    ----------
    tables : sequence of DataFrame
        Columns found in each draw, in the coordinates of the image.
    sample : Sample
    view : View, optional
        What the image shows of the sample; by default its field.

    Returns
    -------
    DataFrame
        A row per true column: species, true_count, count_variance (unbiased, NaN where
        unknown), border, ambiguous and what `strata.sample_facts` says.

    Examples
    --------
    >>> from ceria_data.dataset import open_dataset
    >>> sample = open_dataset("ceria-columns-mini", "test")[0]
    >>> right = sample.columns.query("occupancy > 0")
    >>> float(count_spread([right, right], sample)["count_variance"].max())
    0.0
    """
    dataset = sample.dataset
    max_count = int(dataset.manifest["max_count"])
    view = OWN.view(dataset.field) if view is None else view
    truth = view.truth(sample.columns)
    counts = []
    for table in tables:
        found = table.reset_index(drop=True)
        matches = match_columns(truth, found, view.field, max_count)
        real = matches[matches["true_row"] >= 0]
        counts.append(real["count"].where(real["count"] > 0).to_numpy(float))
    many = np.stack(counts)
    n = np.isfinite(many).sum(axis=0)
    mean = np.nansum(many, axis=0) / np.maximum(n, 1)
    squared = np.nansum((many - mean) ** 2, axis=0)
    variance = np.where(n > 1, squared / np.maximum(n - 1, 1), np.nan)
    kept = real[["species", "true_count", "border", "ambiguous"]].reset_index(drop=True)
    return kept.assign(count_variance=variance, **sample_facts(sample))
