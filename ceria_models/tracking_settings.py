"""What tracking takes for granted: numbers that were fitted once, and stated ones."""

from importlib import resources
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ceria_data.schema import SPECIES
from ceria_models.errors import TrackingError

SETTINGS = "tracking.json"
OFFSETS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
"""How many atoms more than there are a net may read in a column, in all frames alike; halves
where its reading lies between two counts."""
LEVEL_OFFSETS = tuple(round(0.1 * n, 1) for n in range(-15, 16))
"""How many atoms more than there are the level of a column may show, in all frames alike."""
_SMOOTHING = 0.01

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EvidenceSettings(_Section):
    """What a frame says about a column of one species.

    Attributes
    ----------
    prior : tuple of float
        Share of every class, 0 to K, among the columns for which the net's probabilities are
        calibrated; it is in them and is divided out.
    log_temperature, temperature_dose : float
        The logarithm of a frame's likelihood is divided by
        ``exp(log_temperature + temperature_dose ln(dose / 300 e-/Å²))``.
    blank : float
        Probability that a frame says nothing about a column, whatever the net says.
    offset : tuple of float
        Probability of each of `OFFSETS`.
    prior_columns : float
        The prior counts as this many columns when that of a film is learned.
    level_error, level_error_per_atom : float
        The level of a column of n atoms is off in all frames alike, with the standard deviation
        ``hypot(level_error, n level_error_per_atom)`` [atoms].
    mean_blank : float
        Probability that what the net reads in the mean of a film says nothing about a column.
    mean_weight : float
        Power of the likelihood of that reading: what levels say of it is not independent.
    """

    prior: tuple[Annotated[float, Field(gt=0)], ...]
    log_temperature: float = 0.0
    temperature_dose: float = 0.0
    blank: Annotated[float, Field(ge=0, lt=1)] = 1e-3
    offset: tuple[Share, ...] = (0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    prior_columns: Positive = 10.0
    level_error: Positive = 0.15
    level_error_per_atom: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    mean_blank: Annotated[float, Field(gt=0, lt=1)] = 0.02
    mean_weight: Share = 0.7

    def temperature(self, dose: NDArray[np.floating]) -> NDArray[np.float64]:
        """Give the temperature at doses [e-/Å²]; where the dose is unknown, that of 300."""
        known = np.isfinite(dose) & (dose > 0)
        s = np.log(np.where(known, dose, 300.0) / 300.0)
        factor: NDArray[np.float64] = np.exp(self.log_temperature + self.temperature_dose * s)
        return factor


class MotionSettings(_Section):
    """How often the columns of one species change; the film corrects the rates.

    Attributes
    ----------
    rate_per_s : float
        Expected gains, and losses, of one atom per column and second, before the film is seen.
    hop_share : float
        Share of the losses in which the atom is found again in a column nearby.
    hop_time_s : float
        Time between the loss and the gain of one hop; not below the time of a frame.
    reach_A : float
        Distance of the columns between which atoms hop.
    """

    rate_per_s: Positive
    hop_share: Annotated[float, Field(gt=0, lt=1)]
    hop_time_s: Positive
    reach_A: Positive


class TrackingSettings(_Section):
    """All settings of tracking.

    Attributes
    ----------
    evidence, motion : dict
        By species.
    lattice_parameter_A : float
        Edge of the cubic cell.
    fitted : dict of str to str
        How `evidence` was fitted, in words: on what, with which net, by which command.
    """

    evidence: dict[str, EvidenceSettings]
    motion: dict[str, MotionSettings]
    lattice_parameter_A: Positive = 5.411
    fitted: dict[str, str] = {}


def load_settings(file: Path | None = None) -> TrackingSettings:
    """Read settings; without a file those that come with the package.

    Parameters
    ----------
    file : Path, optional
        JSON.

    Returns
    -------
    TrackingSettings

    Raises
    ------
    TrackingError
        If the file cannot be read as settings.

    Examples
    --------
    >>> sorted(load_settings().evidence)
    ['Ce', 'O']
    """
    try:
        if file is None:
            text = (resources.files("ceria_models") / SETTINGS).read_text("utf-8")
        else:
            text = file.read_text("utf-8")
        return TrackingSettings.model_validate_json(text)
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise TrackingError(f"{file} cannot be read as settings of tracking: {error}") from error


def fit_prior(columns: pd.DataFrame, max_count: int, empty: float) -> dict[str, tuple[float, ...]]:
    """Tabulate how often each count occurs, as prior of calibrated probabilities.

    Parameters
    ----------
    columns : DataFrame
        species and occupancy of columns with atoms, as in the split that a net is trained on.
    max_count : int
        K, the highest class; higher counts are of this class.
    empty : float
        Share of the places read at which there is no column, class 0.

    Returns
    -------
    dict of str to tuple of float
        By species; classes that never occur get a small share of the mean class.

    Examples
    --------
    >>> columns = pd.DataFrame({"species": ["Ce", "Ce", "O"], "occupancy": [1, 2, 2]})
    >>> np.round(fit_prior(columns, 2, empty=0.1)["Ce"], 2).tolist()
    [0.1, 0.45, 0.45]
    """
    priors = {}
    for species in SPECIES:
        own = columns.loc[columns["species"] == species, "occupancy"].to_numpy()
        own = np.minimum(own[own > 0], max_count)
        share = np.bincount(own, minlength=max_count + 1)[1:] / max(len(own), 1)
        if not len(own):
            share = np.full(max_count, 1 / max_count)
        share = (1 - _SMOOTHING) * share + _SMOOTHING / max_count
        priors[species] = (empty, *(float(p) for p in (1 - empty) * share))
    return priors
