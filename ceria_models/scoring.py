"""Columns of many images, matched one image after the other, and the figures they add up to."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.dataset import Dataset, Sample
from ceria_data.schema import SPECIES
from ceria_models.evaluation_record import CountTable, Evaluation, Figure, VacancyCurve
from ceria_models.matching import BORDER, REACH, match_columns
from ceria_models.merit import Metric, measure
from ceria_models.metrics import (
    COLUMN_METRICS,
    STABILITY,
    VOLUME_IOU,
    confusion,
    reliability,
)
from ceria_models.prior import Prior, vacancy_score, visible
from ceria_models.recording import OWN, Recording
from ceria_models.roc import vacancy_curve
from ceria_models.strata import sample_facts, strata_of
from ceria_models.volume import volume_overlap

_PLACES = 4
"""Digits of a curve: finer than any picture of it."""
TRUTH_IOU = Metric(
    "volume_iou_of_truth",
    "",
    lambda rows, group, n: VOLUME_IOU.sums(
        rows.assign(intersection=rows["truth_intersection"], union=rows["truth_union"]), group, n
    ),
    VOLUME_IOU.value,
    ("truth_intersection",),
)
"""What the labels' own counts and depths reach: gaps inside columns cannot be told by these."""


class Scored:
    """Matched columns of the images so far.

    Attributes
    ----------
    dataset : Dataset
        The split.
    prior : Prior or None
    recording : Recording
        How the images were recorded that the program is given.
    max_count : int
    notes : list of str
        What is to be said beside the rules of scoring.
    """

    def __init__(self, dataset: Dataset, prior: Prior | None, recording: Recording = OWN) -> None:
        self.dataset = dataset
        self.prior = prior
        self.recording = recording
        self.view = recording.view(dataset.field)
        self.max_count = int(dataset.manifest["max_count"])
        self.notes: list[str] = []
        self._matches: list[pd.DataFrame] = []
        self._volumes: list[dict[str, Any]] = []
        self._expected: dict[int, NDArray[np.int64]] = {}
        self._truth_volume: dict[int, dict[str, dict[str, int]]] = {}

    def add(self, sample: Sample, found: pd.DataFrame, dose: float | None) -> None:
        """Match the columns found in one image.

        Parameters
        ----------
        sample : Sample
        found : DataFrame
            In the coordinates of the image as it was recorded.
        dose : float or None
            It was recorded at [e-/Å²]; None for stored counts.

        Raises
        ------
        TableError
            If what was found cannot be scored.
        """
        found = found.reset_index(drop=True)
        truth = self.view.truth(sample.columns)
        facts: dict[str, Any] = dict(sample_facts(sample))
        facts["dose"] = np.nan if dose is None else dose
        if dose is None:
            facts["dose_e_per_A2"] = sample.parameters["dose_e_per_A2"]
        matches = match_columns(truth, found, self.view.field, self.max_count)
        if self.prior is not None:
            score = np.append(vacancy_score(self.prior, found), np.nan)
            matches["vacancy_score"] = score[matches["found_row"]]
            expected = self._prior_counts(sample, sample.columns)
            matches["prior_count"] = expected[matches["true_row"]]
        self._matches.append(matches.assign(**facts))
        if "z_mean_A" in found:
            own = volume_overlap(self.view.to_sample(found), sample)
            ideal = self._ideal_volume(sample, sample.columns)
            for species in SPECIES:
                of_truth = {f"truth_{key}": value for key, value in ideal[species].items()}
                self._volumes.append({**facts, "species": species, **own[species], **of_truth})

    def evaluation(self, program: str, spreads: list[pd.DataFrame]) -> Evaluation:
        """Measure everything.

        Parameters
        ----------
        program : str
            Name for the report.
        spreads : list of DataFrame
            As from `evaluation.count_spread`, with ``dose``.

        Returns
        -------
        Evaluation
        """
        matches = pd.concat(self._matches, ignore_index=True)
        figures, tables, curves = [], [], []
        for number, at_dose in _by_dose(matches):
            figures += _column_figures(at_dose, number)
            clear = at_dose[~(at_dose["border"] | at_dose["ambiguous"])]
            for name in SPECIES:
                own = clear[clear["species"] == name]
                tables.append(_count_table(own, number, name, self.max_count))
                curves += _vacancy_curves(own, number, name)
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
            vacancy_curves=curves,
            settings=self.recording.facts(self.dataset.field),
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
            figures += _figures(own, number, (VOLUME_IOU, TRUTH_IOU), [*SPECIES, "both"])
        return figures

    def _rules(self, matches: pd.DataFrame) -> list[str]:
        notes = [
            *self.recording.remarks(self.dataset.field),
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


def _vacancy_curves(own: pd.DataFrame, dose: float | None, species: str) -> list[VacancyCurve]:
    """Trace the curve of one species at one dose; nothing where it is not known."""
    if "vacancy_score" not in own or not own["vacancy_score"].notna().any():
        return []
    curve = vacancy_curve(own)
    if curve is None:
        return []
    false_rate, true_rate, n_vacancies, n_others = curve
    return [
        VacancyCurve(
            dose_e_per_A2=dose,
            species=species,
            n_vacancies=n_vacancies,
            n_others=n_others,
            false_rate=false_rate.round(_PLACES).tolist(),
            true_rate=true_rate.round(_PLACES).tolist(),
        )
    ]


def _count_table(own: pd.DataFrame, dose: float | None, species: str, max_count: int) -> CountTable:
    bins: list[dict[Any, Any]] = reliability(own).to_dict("records")
    return CountTable(
        dose_e_per_A2=dose,
        species=species,
        confusion=confusion(own, max_count).tolist(),
        reliability=[
            {str(k): float(v) if np.isfinite(v) else None for k, v in row.items()} for row in bins
        ],
    )
