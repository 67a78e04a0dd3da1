"""The best that is possible: the Bayes ceiling of counts, the Cramér-Rao bound of positions.

The bound holds without prior knowledge of the place: a program that knows the lattice can lie below
it, most of all for O columns at low dose.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.ceiling import Ceiling, ColumnCeiling
from ceria_data.counting import DRAWS, count_accuracy
from ceria_data.dataset import Dataset
from ceria_data.observer import position_bound
from ceria_data.randomness import sample_rng
from ceria_data.schema import SPECIES
from ceria_models.evaluation import CountColumns
from ceria_models.evaluation_record import Bound
from ceria_models.matching import match_columns
from ceria_models.merit import resampled
from ceria_models.prior import Prior, visible
from ceria_models.recording import record_at
from ceria_models.strata import WINDOW

COLUMN_BOUNDS = (
    "sample", "particle", "site_id", "species", "defocus_A", "dose", "ceiling", "flat", "prior",
    "position_pm",
)  # fmt: skip
"""Columns of `column_bounds`."""
_MILLI = 1000
_PM_PER_A = 100.0
_BOOTSTRAPS = 1000
_PROGRAM_DRAWS = 5
"""Noise draws of each image; with a single one chance would widen the share of the ceiling."""
_NORMAL = 1.4826
"""Standard deviation of a normal variable over the median of its absolute value."""


def column_bounds(
    dataset: Dataset,
    ceiling: Ceiling,
    prior: Prior,
    doses: Sequence[float],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """Compute what the electrons can tell at best about each column of a ceiling.

    Parameters
    ----------
    dataset : Dataset
        The split that the columns of the ceiling are of; others are left out.
    ceiling : Ceiling
        As from `ceria_data.ceiling.open_ceiling`.
    prior : Prior
        Of the count given the true counts of all other columns.
    doses : sequence of float
        e-/Å².
    on_progress : callable
        Told columns done and in all.

    Returns
    -------
    DataFrame
        A row per column and dose. ``ceiling`` and ``flat``: how often the most probable count
        is right, by the ideal observer with the prior and with a flat one, from the same 200
        noisy images; ``prior``: 1 where the most probable count of the prior alone is right;
        ``position_pm``: Cramér-Rao bound, rms per axis.

    Raises
    ------
    DatasetError
        If the ceiling is damaged.
    """
    position = pd.Series(range(len(dataset)), index=dataset.samples["sample"])
    own = np.flatnonzero(ceiling.columns["sample"].isin(position.index))
    rows: list[dict[str, object]] = []
    for done, index in enumerate(own, start=1):
        column = ceiling[int(index)]
        sample = dataset[int(position[column.parameters["sample"]])]
        seen = visible(sample.columns)
        this = (seen["site_id"] == column.parameters["site_id"]).to_numpy()
        p = prior.probabilities(seen)[this][0]
        intensity = column.patch_of(sample.intensity.astype(np.float64))
        facts = {
            "sample": int(sample.parameters["sample"]),
            "particle": int(sample.parameters["particle"]),
            "site_id": int(column.parameters["site_id"]),
            "species": str(column.parameters["species"]),
            "defocus_A": float(sample.parameters["defocus_A"]),
        }
        rows += [
            facts
            | {"dose": float(dose)}
            | _of_column(column, intensity, p, float(dose), dataset.field.sampling)
            for dose in doses
        ]
        on_progress(done, len(own))
    return pd.DataFrame(rows, columns=list(COLUMN_BOUNDS))


def _of_column(
    column: ColumnCeiling,
    intensity: NDArray[np.float64],
    p: NDArray[np.float64],
    dose: float,
    sampling: float,
) -> dict[str, float]:
    """Compute the bounds of one column at one dose."""
    true = int(column.parameters["occupancy"])

    def share(prior: NDArray[np.float64]) -> float:
        # The same noise for both priors: their difference is that of the priors alone.
        rng = sample_rng(round(dose * _MILLI), int(column.parameters["column"]), "evaluation")
        return count_accuracy(
            intensity, column.differences, column.counts, true, prior, dose, sampling, rng, DRAWS
        )

    classes = max(len(p), int(column.counts.max()) + 1)
    bound = position_bound(intensity, column.gradient, dose, sampling)
    return {
        "ceiling": share(np.pad(p, (0, classes - len(p)))),
        "flat": share(np.ones(classes)),
        "prior": float(p.argmax() == true),
        "position_pm": float(np.sqrt(np.square(bound).mean())),
    }


def measure_bounds(
    count_columns: CountColumns,
    dataset: Dataset,
    best: pd.DataFrame,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Bound]:
    """Measure a program on the columns whose bounds are known.

    Parameters
    ----------
    count_columns : callable
        The program, see `evaluation.CountColumns`. Its first image of a sample and dose is that of
        `evaluate`, which its positions are of; four more draws join in the share of right counts.
    dataset : Dataset
        A split.
    best : DataFrame
        As from `column_bounds`.
    on_progress : callable
        Told images done and in all.

    Returns
    -------
    list of Bound
        By species, dose and part of the test set; empty where no column is of the split.
    """
    position = pd.Series(range(len(dataset)), index=dataset.samples["sample"])
    max_count = int(dataset.manifest["max_count"])
    right = np.zeros(len(best))
    error = np.full((len(best), 2), np.nan)
    groups = [own for _, own in best.reset_index(drop=True).groupby(["sample", "dose"])]
    for done, own in enumerate(groups, start=1):
        sample = dataset[int(position[int(own["sample"].iloc[0])])]
        for draw in range(_PROGRAM_DRAWS):
            image = record_at(sample, float(own["dose"].iloc[0]), draw)
            found = count_columns(image, dataset.field.sampling).reset_index(drop=True)
            matches = match_columns(sample.columns, found, dataset.field, max_count)
            real = matches[matches["true_row"] >= 0]
            sites = sample.columns["site_id"].to_numpy()[real["true_row"]]
            row = pd.Index(sites).get_indexer(pd.Index(own["site_id"]))
            counted = (real["count"] == real["true_count"]).to_numpy()[row]
            right[own.index] += counted / _PROGRAM_DRAWS
            if draw == 0:
                error[own.index] = real[["dx_A", "dy_A"]].to_numpy(float)[row]
        on_progress(done, len(groups))
    return _summed(best.assign(right=right, dx_A=error[:, 0], dy_A=error[:, 1]))


def _summed(rows: pd.DataFrame) -> list[Bound]:
    """Average over columns, for all of them and for the defocus window."""
    low, high = (float(end) for end in WINDOW.split(" to "))
    inside = rows[(rows["defocus_A"] >= low) & (rows["defocus_A"] < high)]
    bounds = []
    for label, part in (("all", rows), (WINDOW, inside)):
        for species in SPECIES:
            of_species = part[part["species"] == species]
            for dose in np.unique(of_species["dose"].to_numpy(float)):
                own = of_species[of_species["dose"] == dose]
                bounds.append(_bound(own, label, species, float(dose)))
    return bounds


def _bound(own: pd.DataFrame, label: str, species: str, dose: float) -> Bound:
    """Sum up columns of one species at one dose, with intervals over particles."""
    group, names = pd.factorize(own["particle"])
    sums = np.stack(
        [
            np.bincount(group, own[name] if name else None, len(names))
            for name in ("right", "ceiling", None)
        ],
        axis=-1,
    )
    program, share = np.full((2, 2), np.nan)
    if len(names) > 1:
        right, ceiling, n = (resampled(len(names), _BOOTSTRAPS, 0) @ sums).T
        program = np.percentile(right / n, (2.5, 97.5))
        if (ceiling > 0).all():
            share = np.percentile(right / ceiling, (2.5, 97.5))
    off = np.abs(own[["dx_A", "dy_A"]].to_numpy(float))
    found = np.isfinite(off).all(axis=1)
    best = float(own["ceiling"].mean())
    return Bound(
        axis="all" if label == "all" else "defocus_A",
        label=label,
        dose_e_per_A2=dose,
        species=species,
        n=len(own),
        ceiling=best,
        ceiling_error=float(own["ceiling"].std() / np.sqrt(len(own))) if len(own) > 1 else None,
        flat=float(own["flat"].mean()),
        prior=float(own["prior"].mean()),
        program=float(own["right"].mean()),
        program_low=_known(program[0]),
        program_high=_known(program[1]),
        share=float(own["right"].mean()) / best if best > 0 else None,
        share_low=_known(share[0]),
        share_high=_known(share[1]),
        position_pm=float(own["position_pm"].median()),
        program_position_pm=(
            float(_PM_PER_A * _NORMAL * np.median(off[found])) if found.any() else None
        ),
    )


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
