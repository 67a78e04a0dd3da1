"""Measuring any program that counts columns, on a split of a dataset."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.dataset import Dataset, Sample
from ceria_data.schema import SPECIES
from ceria_models.errors import TableError
from ceria_models.evaluation_record import CountTable, Evaluation, Figure
from ceria_models.matching import BORDER, REACH, match_columns
from ceria_models.metrics import (
    COLUMN_METRICS,
    STABILITY,
    VOLUME_IOU,
    Metric,
    confusion,
    measure,
    reliability,
)
from ceria_models.prior import Prior, vacancy_score, visible
from ceria_models.strata import DOSES, choose_rows, record_at, sample_facts, strata_of
from ceria_models.volume import volume_overlap

CountColumns = Callable[[NDArray[np.float64], float], pd.DataFrame]
"""From electrons (y, x) and sampling [Å/pixel] to a table of columns."""
Progress = Callable[[int, int], None]

_DRAWS = 20
_STABILITY_DOSES = (100.0, 300.0, 1000.0)
_TRUTH_IOU = Metric(
    "volume_iou_of_truth",
    "",
    lambda rows, group, n: VOLUME_IOU.sums(
        rows.assign(intersection=rows["truth_intersection"], union=rows["truth_union"]), group, n
    ),
    VOLUME_IOU.value,
    ("truth_intersection",),
)
"""What the labels' own counts and depths reach: gaps inside columns cannot be told by these."""


def evaluate(
    count_columns: CountColumns,
    dataset: Dataset,
    *,
    program: str,
    doses: Sequence[float] = DOSES,
    images: int | None = None,
    stability_images: int = 0,
    prior: Prior | None = None,
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
        e-/Å²; everyone gets the same electrons, see `strata.record_at`.
    images : int, optional
        Images to use, evenly over structures; all if None.
    stability_images : int
        Images that are recorded 20 times at 100, 300 and 1000 e-/Å² for the stability.
    prior : Prior, optional
        For the vacancy ROC and to stand beside the accuracy.
    on_progress : callable
        Told images predicted and in all.

    Returns
    -------
    Evaluation

    Raises
    ------
    TableError
        If the program returns a table that cannot be scored.
    """
    rows = choose_rows(dataset, images)
    steady = choose_rows(dataset, stability_images) if stability_images else rows[:0]
    repeated = [dose for dose in doses if dose in _STABILITY_DOSES]
    total = len(rows) * len(doses) + len(steady) * len(repeated) * _DRAWS
    scored = _Scored(dataset, prior)
    sampling = dataset.field.sampling
    done = 0
    for row in rows:
        sample = dataset[int(row)]
        for dose in doses:
            scored.add(sample, count_columns(record_at(sample, dose), sampling), dose)
            done += 1
            on_progress(done, total)
    spreads = []
    for row in steady:
        sample = dataset[int(row)]
        for dose in repeated:
            tables = []
            for draw in range(_DRAWS):
                tables.append(count_columns(record_at(sample, dose, draw), sampling))
                done += 1
                on_progress(done, total)
            spreads.append(count_spread(tables, sample).assign(dose=dose))
    return scored.evaluation(program, spreads)


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
    scored = _Scored(dataset, prior)
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


def count_spread(tables: Sequence[pd.DataFrame], sample: Sample) -> pd.DataFrame:
    """Measure how the count of a column varies over noise draws of one image.

    Draws in which a column was not found are left out (recall measures those); a column found
    less than twice has no spread.

    Parameters
    ----------
    tables : sequence of DataFrame
        Columns found in each draw.
    sample : Sample

    Returns
    -------
    DataFrame
        A row per true column: species, true_count, count_variance (unbiased, NaN where
        unknown), border, ambiguous and what `strata.sample_facts` says.
    """
    dataset = sample.dataset
    max_count = int(dataset.manifest["max_count"])
    counts = []
    for table in tables:
        found = table.reset_index(drop=True)
        matches = match_columns(sample.columns, found, dataset.field, max_count)
        real = matches[matches["true_row"] >= 0]
        counts.append(real["count"].where(real["count"] > 0).to_numpy(float))
    many = np.stack(counts)
    n = np.isfinite(many).sum(axis=0)
    mean = np.nansum(many, axis=0) / np.maximum(n, 1)
    squared = np.nansum((many - mean) ** 2, axis=0)
    variance = np.where(n > 1, squared / np.maximum(n - 1, 1), np.nan)
    kept = real[["species", "true_count", "border", "ambiguous"]].reset_index(drop=True)
    return kept.assign(count_variance=variance, **sample_facts(sample))


class _Scored:
    """Matched columns of the images so far."""

    def __init__(self, dataset: Dataset, prior: Prior | None) -> None:
        self.dataset = dataset
        self.prior = prior
        self.max_count = int(dataset.manifest["max_count"])
        self.notes: list[str] = []
        self._matches: list[pd.DataFrame] = []
        self._volumes: list[dict[str, Any]] = []
        self._expected: dict[int, NDArray[np.int64]] = {}
        self._truth_volume: dict[int, dict[str, dict[str, int]]] = {}

    def add(self, sample: Sample, found: pd.DataFrame, dose: float | None) -> None:
        """Match the columns found in one image."""
        found = found.reset_index(drop=True)
        truth = sample.columns
        facts: dict[str, Any] = dict(sample_facts(sample))
        facts["dose"] = np.nan if dose is None else dose
        if dose is None:
            facts["dose_e_per_A2"] = sample.parameters["dose_e_per_A2"]
        matches = match_columns(truth, found, self.dataset.field, self.max_count)
        if self.prior is not None:
            score = np.append(vacancy_score(self.prior, found), np.nan)
            matches["vacancy_score"] = score[matches["found_row"]]
            matches["prior_count"] = self._prior_counts(sample, truth)[matches["true_row"]]
        self._matches.append(matches.assign(**facts))
        if "z_mean_A" in found:
            own, ideal = volume_overlap(found, sample), self._ideal_volume(sample, truth)
            for species in SPECIES:
                of_truth = {f"truth_{key}": value for key, value in ideal[species].items()}
                self._volumes.append({**facts, "species": species, **own[species], **of_truth})

    def evaluation(self, program: str, spreads: list[pd.DataFrame]) -> Evaluation:
        """Measure everything."""
        matches = pd.concat(self._matches, ignore_index=True)
        figures, tables = [], []
        for number, at_dose in _by_dose(matches):
            figures += _column_figures(at_dose, number)
            tables += [_count_table(at_dose, number, name, self.max_count) for name in SPECIES]
        figures += self._volume_figures()
        for number, spread in _by_dose(pd.concat(spreads, ignore_index=True)) if spreads else ():
            figures += _figures(spread, number, (STABILITY,))
        manifest = self.dataset.manifest
        samples = matches.drop_duplicates("sample")
        return Evaluation(
            program=program,
            dataset=str(manifest["name"]),
            version=str(manifest["version"]),
            content_digest=str(manifest["content_digest"]),
            split=", ".join(dict.fromkeys(self.dataset.samples["split"])),
            n_images=len(samples),
            n_particles=int(samples["particle"].nunique()),
            figures=figures,
            tables=tables,
            notes=self._rules(matches) + self.notes,
        )

    def _prior_counts(self, sample: Sample, truth: pd.DataFrame) -> NDArray[np.int64]:
        """Most probable count of every true column by the prior alone; a last 0 for none."""
        structure = int(sample.parameters["structure"])
        if structure not in self._expected and self.prior is not None:
            counts = np.zeros(len(truth) + 1, dtype=np.int64)
            seen = (truth["in_field"] & (truth["occupancy"] > 0)).to_numpy()
            p = self.prior.probabilities(visible(truth))
            counts[:-1][seen] = p.argmax(axis=1)
            self._expected[structure] = counts
        return self._expected[structure]

    def _ideal_volume(self, sample: Sample, truth: pd.DataFrame) -> dict[str, dict[str, int]]:
        number = int(sample.parameters["sample"])
        if number not in self._truth_volume:
            self._truth_volume[number] = volume_overlap(truth[truth["occupancy"] > 0], sample)
        return self._truth_volume[number]

    def _volume_figures(self) -> list[Figure]:
        if not self._volumes:
            return []
        volumes = pd.DataFrame(self._volumes).assign(border=False, ambiguous=False)
        figures = []
        for number, own in _by_dose(volumes):
            figures += _figures(own, number, (VOLUME_IOU, _TRUTH_IOU), [*SPECIES, "both"])
        return figures

    def _rules(self, matches: pd.DataFrame) -> list[str]:
        notes = [
            f"a column is found within {REACH} Å of its place, one to one and by species",
            f"columns closer than {BORDER} Å to the edge of the image, and ambiguous ones, are "
            "not scored; the axis 'scope' shows the figures with them",
        ]
        if matches["confidence"].isna().all():
            notes.append("no calibration error: the table has no confidence")
        if not self._volumes:
            notes.append("no volume and no depth: the table has no z_mean_A")
        if self.prior is None:
            notes.append("no vacancy ROC and no prior alone: no prior was given")
        return notes


def _by_dose(rows: pd.DataFrame) -> Iterator[tuple[float | None, pd.DataFrame]]:
    """Divide rows by the dose they were recorded at; None for stored counts."""
    doses = rows["dose"].to_numpy(dtype=float)
    if np.isnan(doses).any():
        yield None, rows[np.isnan(doses)]
    for dose in np.unique(doses[~np.isnan(doses)]):
        yield float(dose), rows[doses == dose]


def _column_figures(matches: pd.DataFrame, dose: float | None) -> list[Figure]:
    metrics = tuple(
        metric
        for metric in COLUMN_METRICS
        if all(name in matches and matches[name].notna().any() for name in metric.needs)
    )
    return _figures(matches, dose, metrics)


def _figures(
    rows: pd.DataFrame,
    dose: float | None,
    metrics: Sequence[Metric],
    species: Sequence[str] = SPECIES,
) -> list[Figure]:
    """Measure every metric for every stratum and species; what has no value is left out."""
    figures = []
    for part in strata_of(rows):
        inside = rows[part.rows]
        for name in species:
            own = inside if name == "both" else inside[inside["species"] == name]
            for metric in metrics:
                if not len(own) or (part.true_only and metric.counts_false):
                    continue
                found = measure(metric, own)
                if found.value is not None:
                    figures.append(
                        Figure(
                            axis=part.axis,
                            label=part.label,
                            dose_e_per_A2=dose,
                            species=name,
                            metric=metric.name,
                            unit=metric.unit,
                            **vars(found),
                        )
                    )
    return figures


def _count_table(
    matches: pd.DataFrame, dose: float | None, species: str, max_count: int
) -> CountTable:
    clear = ~(matches["border"] | matches["ambiguous"])
    own = matches[clear & (matches["species"] == species)]
    bins: list[dict[Any, Any]] = reliability(own).to_dict("records")
    return CountTable(
        dose_e_per_A2=dose,
        species=species,
        confusion=confusion(own, max_count).tolist(),
        reliability=[
            {str(k): float(v) if np.isfinite(v) else None for k, v in row.items()} for row in bins
        ],
    )
