"""What was measured of a program: figures by part of the test set, dose and species."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from ceria_models.efficiency import Efficiency
from ceria_models.errors import TableError
from ceria_models.strata import WINDOW


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Figure(_Record):
    """One figure of merit of one part of the test set.

    Attributes
    ----------
    axis, label : str
        The part, see `strata.strata_of`.
    dose_e_per_A2 : float or None
        Dose it was recorded at; None for stored counts, whose doses differ.
    species : str
        Ce, O, or both.
    metric, unit : str
        See `metrics`.
    value, low, high : float or None
        With the 95 % interval over particles.
    n : int
        True columns, or images for volumes.
    """

    axis: str
    label: str
    dose_e_per_A2: float | None
    species: str
    metric: str
    unit: str
    value: float | None
    low: float | None
    high: float | None
    n: int


class CountTable(_Record):
    """Confusion and reliability of one species at one dose, all clear columns.

    Attributes
    ----------
    confusion : list of list of int
        (true, reported) counts; 0 = no column.
    reliability : list of dict
        Rows of `metrics.reliability`.
    """

    dose_e_per_A2: float | None
    species: str
    confusion: list[list[int]]
    reliability: list[dict[str, float | None]]


class VacancyCurve(_Record):
    """How surely columns with a vacancy are told from the others, all clear columns.

    Attributes
    ----------
    dose_e_per_A2 : float or None
    species : str
    n_vacancies, n_others : int
        Columns with a vacancy and without.
    false_rate, true_rate : list of float
        Share of the columns without and with a vacancy that raise an alarm, from (0, 0) to
        (1, 1); at most `roc.POINTS` points of the curve.
    """

    dose_e_per_A2: float | None
    species: str
    n_vacancies: int
    n_others: int
    false_rate: list[float]
    true_rate: list[float]


class Bound(_Record):
    """The best that is possible, and what a program reaches on the same columns.

    Attributes
    ----------
    axis, label : str
        The part of the test set, as in `Figure`.
    dose_e_per_A2 : float
    species : str
    n : int
        Columns whose other possible counts were simulated.
    ceiling, ceiling_error : float
        Share of exact counts of the ideal observer who knows all but this one count, and the
        prior; its standard error.
    flat : float or None
        The same of the ideal observer to whom all simulated counts are equally probable: what
        the pixels alone tell. No ceiling, for neighbours tell more.
    prior : float
        Share of exact counts of the prior alone.
    program, program_low, program_high : float or None
        Share of exact counts of the program, a missed column is wrong; 95 % interval over
        particles.
    share, share_low, share_high : float or None
        Program over ceiling, both on these columns.
    position_pm : float
        Cramér-Rao bound of the position, rms per axis [pm]; median over columns. Knowledge of the
        lattice is not in it, and can do better.
    program_position_pm : float or None
        Error of the program, of the columns it found: median along one axis, as the standard
        deviation of normal errors with this median [pm].
    """

    axis: str
    label: str
    dose_e_per_A2: float
    species: str
    n: int
    ceiling: float
    ceiling_error: float | None
    flat: float | None = None
    prior: float
    program: float
    program_low: float | None = None
    program_high: float | None = None
    share: float | None = None
    share_low: float | None = None
    share_high: float | None = None
    position_pm: float
    program_position_pm: float | None = None


class Evaluation(_Record):
    """All that was measured of one program on one split.

    Attributes
    ----------
    program : str
    dataset, version, content_digest, split : str
        What it was measured on.
    n_images, n_particles : int
    figures : list of Figure
    tables : list of CountTable
    vacancy_curves : list of VacancyCurve
    efficiencies : list of Efficiency
        Of the paired test; those without a dose had that of each pair chosen.
    bounds : list of Bound
        The ceiling, where one was given.
    settings : dict
        How it was measured: versions, doses, how many images.
    notes : list of str
        Rules of scoring, and what could not be measured and why.
    """

    program: str
    dataset: str
    version: str
    content_digest: str
    split: str
    n_images: int
    n_particles: int
    figures: list[Figure]
    tables: list[CountTable]
    vacancy_curves: list[VacancyCurve] = []
    efficiencies: list[Efficiency] = []
    bounds: list[Bound] = []
    settings: dict[str, Any] = {}
    notes: list[str] = []

    def frame(self) -> pd.DataFrame:
        """List figures and efficiencies as a table, a row each.

        Returns
        -------
        DataFrame
            Columns as the attributes of `Figure`. An efficiency has the axis ``missing_atom``,
            its case as the label, and the number of pairs as ``n``.
        """
        efficiencies = [_as_figure(one) for one in self.efficiencies]
        return pd.DataFrame([one.model_dump() for one in (*self.figures, *efficiencies)])

    def figure(
        self,
        metric: str,
        species: str,
        dose: float | None = None,
        *,
        axis: str = "all",
        label: str = "all",
    ) -> Figure | None:
        """Look one figure up; None if it was not measured."""
        wanted = (metric, species, dose, axis, label)
        for one in self.figures:
            if (one.metric, one.species, one.dose_e_per_A2, one.axis, one.label) == wanted:
                return one
        return None

    def recorded_otherwise(self) -> dict[str, Any]:
        """Pick what the images were recorded with, where it is not that of the dataset.

        Returns
        -------
        dict
            ``pixel_size_A`` and ``camera``, each if it differs.
        """
        pixel, own = (self.settings.get(f"{of}pixel_size_A") for of in ("", "dataset_"))
        camera = self.settings.get("camera")
        return ({} if pixel == own else {"pixel_size_A": pixel}) | (
            {} if camera is None else {"camera": camera}
        )

    def images(self) -> tuple[str, str, str]:
        """Identify the images: by their content, the split, and what recorded them."""
        otherwise = json.dumps(self.recorded_otherwise(), sort_keys=True)
        return self.content_digest, self.split, otherwise

    def primary(self) -> dict[str, float | None]:
        """Pick the primary figures of the benchmark: count, vacancy, depth.

        Returns
        -------
        dict
            ``count``: exact Ce accuracy at 300 e-/Å², 50 to 90 Å overfocus; ``vacancy``: η
            for an inner O atom, the dose of each pair chosen for it; ``depth``: volume IoU at
            1000 e-/Å². None where not measured.
        """
        return {
            name: None if figure is None else figure.value
            for name, figure in self.primary_figures().items()
        }

    def primary_figures(self) -> dict[str, Figure | None]:
        """Pick the primary figures with their intervals.

        Returns
        -------
        dict
            Keys as of `primary`; None where not measured.
        """
        inner = self.efficiency("O", "inner")
        return {
            "count": self.figure("exact", "Ce", 300.0, axis="defocus_A", label=WINDOW),
            "vacancy": None if inner is None else _as_figure(inner),
            "depth": self.figure("volume_iou", "both", 1000.0),
        }

    def with_efficiencies(self, found: Iterable[Efficiency]) -> "Evaluation":
        """Add the result of the paired test."""
        return self.model_copy(update={"efficiencies": [*self.efficiencies, *found]})

    def efficiency(self, species: str, case: str, dose: float | None = None) -> Efficiency | None:
        """Look an efficiency up; None if it was not measured."""
        for one in self.efficiencies:
            if (one.species, one.case, one.dose_e_per_A2) == (species, case, dose):
                return one
        return None

    def bound(self, species: str, dose: float, *, label: str = "all") -> Bound | None:
        """Look a ceiling up; None if it was not measured."""
        for one in self.bounds:
            if (one.species, one.dose_e_per_A2, one.label) == (species, dose, label):
                return one
        return None

    def write(self, file: Path) -> None:
        """Write as JSON."""
        file.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _as_figure(one: Efficiency) -> Figure:
    return Figure(
        axis="missing_atom",
        label=one.case,
        dose_e_per_A2=one.dose_e_per_A2,
        species=one.species,
        metric="efficiency",
        unit="",
        value=one.efficiency,
        low=one.low,
        high=one.high,
        n=one.pairs,
    )


def read_evaluation(file: Path) -> Evaluation:
    """Read what `Evaluation.write` wrote.

    Parameters
    ----------
    file : Path

    Returns
    -------
    Evaluation

    Raises
    ------
    TableError
        If the file cannot be read or is no evaluation.
    """
    try:
        return Evaluation.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{file} cannot be read: {error}") from error
    except ValidationError as error:
        raise TableError(
            f"{file} is no evaluation of this version ({error.error_count()} faults); make it "
            "again with `ceria-models evaluate`"
        ) from error
