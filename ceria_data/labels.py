"""The tables that say what is in an image: structures, columns, atoms, carbon."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.grid import Field
from ceria_data.phonons import Configurations
from ceria_data.schema import (
    AMBIGUOUS_SMEAR,
    ATOMS,
    COLUMNS,
    COORDINATE_STEP,
    SPECIES,
    STRUCTURES,
    SUPPORT,
)
from ceria_data.store import frame
from ceria_data.structure import Structure

Floats = NDArray[np.float64]
_DECIMALS = round(-np.log10(COORDINATE_STEP))


def column_table(
    structure: Structure, configurations: Configurations, field: Field, row: int
) -> pd.DataFrame:
    """Tabulate the columns of a structure.

    A column's position is the mean over its atoms and over the thermal configurations;
    an empty column has the mean position of its sites.

    Parameters
    ----------
    structure : Structure
    configurations : Configurations
        The ones that scatter.
    field : Field
        Decides on `in_field`.
    row : int
        The structure's row.

    Returns
    -------
    pandas.DataFrame
        As `schema.COLUMNS`, by `site_id`; coordinates in multiples of 1e-4 Å.
    """
    columns = structure.columns
    n = len(columns.site_id)
    column = np.searchsorted(columns.site_id, structure.site_id)
    occupancy = columns.sites - columns.n_vacancies + columns.n_adatoms
    atoms = np.maximum(occupancy, 1)
    mean = configurations.positions.mean(axis=0)
    positions = np.stack([np.bincount(column, mean[:, k], n) / atoms for k in (0, 1)], axis=1)
    x, y = _rounded(np.where(occupancy[:, None] > 0, positions, columns.position)).T

    atom_positions = _rounded(structure.positions)
    z = atom_positions[:, 2]
    first, last = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(first, column, z)
    np.maximum.at(last, column, z)
    filled = occupancy > 0
    return pd.DataFrame(
        {
            "structure": row,
            "site_id": columns.site_id,
            "species": np.array(SPECIES)[columns.species],
            "x_A": x,
            "y_A": y,
            "occupancy": occupancy,
            "sites": columns.sites,
            "n_vacancies": columns.n_vacancies,
            "n_adatoms": columns.n_adatoms,
            "z_first_A": np.where(filled, first, np.nan),
            "z_last_A": np.where(filled, last, np.nan),
            "z_mean_A": np.where(filled, _rounded(np.bincount(column, z, n) / atoms), np.nan),
            "surface": columns.surface,
            "ambiguous": _smear(column, atom_positions[:, :2], n) > AMBIGUOUS_SMEAR,
            "in_field": field.holds(x, y),
        }
    ).astype(COLUMNS.dtypes)


def atom_table(structure: Structure, row: int) -> pd.DataFrame:
    """Tabulate the atoms of a structure.

    Parameters
    ----------
    structure : Structure
    row : int
        The structure's row.

    Returns
    -------
    pandas.DataFrame
        As `schema.ATOMS`, by `site_id` and depth, without thermal displacements.
    """
    x, y, z = _rounded(structure.positions).T
    return pd.DataFrame(
        {
            "structure": row,
            "species": np.array(SPECIES)[structure.species],
            "x_A": x,
            "y_A": y,
            "z_A": z,
            "plane": structure.plane,
            "site_id": structure.site_id,
        }
    ).astype(ATOMS.dtypes)


def structure_row(
    structure: Structure, columns: pd.DataFrame, split: str, row: int, particle: int
) -> pd.DataFrame:
    """Tabulate what was drawn of a structure, and what became of it.

    Parameters
    ----------
    structure : Structure
    columns : pandas.DataFrame
        Its rows, as `schema.COLUMNS`.
    split : str
    row, particle : int
        The structure's row, and the object that it shows.

    Returns
    -------
    pandas.DataFrame
        One row, as `schema.STRUCTURES`.
    """
    facts: dict[str, Any] = {
        "structure": row,
        "particle": particle,
        "split": split,
        "facets": structure.facets,
        "zone_axis": "[" + " ".join(str(i) for i in structure.parameters.zone_axis) + "]",
        "thickness_A": float(np.round(np.ptp(structure.positions[:, 2]), 4)),
    }
    for index, species in enumerate(SPECIES):
        own = columns[columns["species"] == species]
        facts |= {
            f"n_{species}": int((structure.species == index).sum()),
            f"n_{species}_vacancies": int(own["n_vacancies"].sum()),
            f"max_occupancy_{species}": int(own["occupancy"].max() if len(own) else 0),
        }
    return frame([asdict(structure.parameters) | facts], STRUCTURES)


def support_table(structure: Structure, row: int) -> pd.DataFrame:
    """Tabulate the carbon atoms of a structure's support.

    Parameters
    ----------
    structure : Structure
    row : int
        The structure's row.

    Returns
    -------
    pandas.DataFrame
        As `schema.SUPPORT`, without thermal displacements; no rows without a support.
    """
    x, y, z = _rounded(structure.support).T
    carbon = pd.DataFrame({"structure": row, "x_A": x, "y_A": y, "z_A": z})
    return carbon.astype(SUPPORT.dtypes)


def _rounded(coordinates: Floats) -> Floats:
    """Round to the step of all labels; no negative zero."""
    return np.round(coordinates, _DECIMALS) + 0.0


def _smear(column: NDArray[np.intp], points: Floats, n: int) -> Floats:
    """Largest distance in projection between two atoms of the same column [Å]."""
    tallest = int(np.bincount(column, minlength=n).max())
    starts = np.searchsorted(column, np.arange(n))
    rank = np.arange(len(column)) - starts[column]
    table = np.full((n, tallest, 2), np.nan)
    table[column, rank] = points
    gaps = table[:, :, None] - table[:, None]
    largest: Floats = np.nan_to_num((gaps**2).sum(axis=-1)).max(axis=(1, 2))
    return np.sqrt(largest)
