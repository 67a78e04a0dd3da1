"""What no program can beat: the Bayes ceiling of counts, the Cramér-Rao bound of positions."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from ceria_data.ceiling import Ceiling
from ceria_data.counting import count_accuracy
from ceria_data.dataset import Dataset, Sample
from ceria_data.observer import position_bound
from ceria_data.randomness import sample_rng
from ceria_data.schema import SPECIES
from ceria_models.evaluation import CountColumns
from ceria_models.evaluation_record import Bound
from ceria_models.matching import match_columns
from ceria_models.prior import Prior, visible
from ceria_models.strata import WINDOW, record_at

_DRAWS = 100
_MILLI = 1000


def measure_bounds(
    count_columns: CountColumns,
    dataset: Dataset,
    ceiling: Ceiling,
    prior: Prior,
    doses: Sequence[float],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Bound]:
    """Measure ceiling, prior alone and a program on the same columns.

    Parameters
    ----------
    count_columns : callable
        The program, see `evaluation.CountColumns`; it sees the same images as in `evaluate`.
    dataset : Dataset
        The split that the columns of the ceiling are of; others are left out.
    ceiling : Ceiling
        As from `ceria_data.ceiling.open_ceiling`.
    prior : Prior
        Of the count given all other columns.
    doses : sequence of float
        e-/Å².
    on_progress : callable
        Told images done and in all.

    Returns
    -------
    list of Bound
        By species, dose and part of the test set; empty where no column is of the split.

    Raises
    ------
    DatasetError
        If the ceiling is damaged.
    """
    position = pd.Series(range(len(dataset)), index=dataset.samples["sample"])
    own = ceiling.columns[ceiling.columns["sample"].isin(position.index)]
    rows: list[dict[str, float | str | bool]] = []
    groups = list(own.groupby("sample"))
    for done, (number, columns) in enumerate(groups, start=1):
        sample = dataset[int(position[number])]
        indices = [int(i) for i in columns.index]
        rows += _of_image(count_columns, sample, ceiling, indices, prior, doses)
        on_progress(done, len(groups))
    return _summed(pd.DataFrame(rows)) if rows else []


def _of_image(
    count_columns: CountColumns,
    sample: Sample,
    ceiling: Ceiling,
    indices: Sequence[int],
    prior: Prior,
    doses: Sequence[float],
) -> list[dict[str, float | str | bool]]:
    """Measure the columns of one image at every dose."""
    dataset = sample.dataset
    truth = sample.columns
    seen = visible(truth)
    expected = prior.probabilities(seen)
    low, high = (float(end) for end in WINDOW.split(" to "))
    inside = low <= float(sample.parameters["defocus_A"]) < high
    rows: list[dict[str, float | str | bool]] = []
    for dose in doses:
        found = count_columns(record_at(sample, dose), dataset.field.sampling)
        found = found.reset_index(drop=True)
        matches = match_columns(truth, found, dataset.field, int(dataset.manifest["max_count"]))
        real = matches[matches["true_row"] >= 0]
        right = pd.Series(
            (real["count"] == real["true_count"]).to_numpy(),
            index=truth["site_id"].to_numpy()[real["true_row"]],
        )
        for index in indices:
            column = ceiling[index]
            facts = column.parameters
            p = expected[(seen["site_id"] == facts["site_id"]).to_numpy()][0]
            p = p[: int(column.counts.max()) + 1]
            intensity = column.patch_of(sample.intensity)
            rng = sample_rng(round(dose * _MILLI), int(facts["column"]), "evaluation")
            best = count_accuracy(
                intensity,
                column.differences,
                column.counts,
                facts["occupancy"],
                p,
                dose,
                dataset.field.sampling,
                rng,
                _DRAWS,
            )
            bound = position_bound(intensity, column.gradient, dose, dataset.field.sampling)
            rows.append(
                {
                    "species": facts["species"],
                    "dose": dose,
                    "window": inside,
                    "ceiling": best,
                    "prior": float(column.counts[p[column.counts].argmax()] == facts["occupancy"]),
                    "program": float(right.get(facts["site_id"], False)),
                    "position": 100 * float(np.sqrt(np.square(bound).mean())),
                }
            )
    return rows


def _summed(rows: pd.DataFrame) -> list[Bound]:
    """Average over columns, for all of them and for the defocus window."""
    bounds = []
    for label, part in (("all", rows), (WINDOW, rows[rows["window"]])):
        for species in SPECIES:
            of_species = part[part["species"] == species]
            for dose in np.unique(of_species["dose"].to_numpy(float)):
                own = of_species[of_species["dose"] == dose]
                spread = own["ceiling"].std() / np.sqrt(len(own)) if len(own) > 1 else None
                bounds.append(
                    Bound(
                        axis="all" if label == "all" else "defocus_A",
                        label=label,
                        dose_e_per_A2=float(dose),
                        species=species,
                        n=len(own),
                        ceiling=float(own["ceiling"].mean()),
                        ceiling_error=None if spread is None else float(spread),
                        prior=float(own["prior"].mean()),
                        program=float(own["program"].mean()),
                        position_pm=float(own["position"].median()),
                    )
                )
    return bounds
