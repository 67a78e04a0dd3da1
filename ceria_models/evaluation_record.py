"""What was measured of a program: figures by part of the test set, dose and species."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from ceria_models.errors import TableError
from ceria_models.paired import Efficiency
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


class Bound(_Record):
    """What no program can beat, and what this one reaches on the same columns.

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
    prior : float
        Share of exact counts of the prior alone.
    program : float
        Share of exact counts of the program; a missed column is wrong.
    position_pm : float
        Cramér-Rao bound of the position, rms per axis [pm]; median.
    """

    axis: str
    label: str
    dose_e_per_A2: float
    species: str
    n: int
    ceiling: float
    ceiling_error: float | None
    prior: float
    program: float
    position_pm: float


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
    efficiencies : list of dict
        Of the paired test, see `paired.Efficiency`.
    bounds : list of Bound
        The ceiling, where one was given.
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
    efficiencies: list[dict[str, Any]] = []
    bounds: list[Bound] = []
    notes: list[str] = []

    def frame(self) -> pd.DataFrame:
        """Figures as a table, a row each."""
        return pd.DataFrame([figure.model_dump() for figure in self.figures])

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

    def primary(self) -> dict[str, float | None]:
        """Pick the primary figures of the benchmark: count, vacancy, depth.

        Returns
        -------
        dict
            ``count``: exact Ce accuracy at 300 e-/Å², 50 to 90 Å overfocus; ``vacancy``: η
            for an inner O atom; ``depth``: volume IoU at 1000 e-/Å². None where not measured.
        """
        count = self.figure("exact", "Ce", 300.0, axis="defocus_A", label=WINDOW)
        depth = self.figure("volume_iou", "both", 1000.0)
        inner = [
            one["efficiency"]
            for one in self.efficiencies
            if (one["species"], one["case"]) == ("O", "inner")
        ]
        return {
            "count": count.value if count else None,
            "vacancy": inner[0] if inner else None,
            "depth": depth.value if depth else None,
        }

    def with_efficiencies(self, found: Iterable[Efficiency]) -> "Evaluation":
        """Add the result of the paired test."""
        return self.model_copy(update={"efficiencies": [vars(one) for one in found]})

    def bound(self, species: str, dose: float, *, label: str = "all") -> Bound | None:
        """Look a ceiling up; None if it was not measured."""
        for one in self.bounds:
            if (one.species, one.dose_e_per_A2, one.label) == (species, dose, label):
                return one
        return None

    def write(self, file: Path) -> None:
        """Write as JSON."""
        file.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


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
