"""What a table of found columns has to hold, whoever wrote it."""

import numpy as np
import pandas as pd

from ceria_data.grid import Field
from ceria_data.schema import SPECIES
from ceria_models.errors import TableError

NEEDED = ("species", "x_A", "y_A", "occupancy")
_ROUNDING = 1e-3
_BESIDE = 1.0
"""How far outside of an image a column may be found [Å]."""


def check_table(table: pd.DataFrame) -> None:
    """Refuse a table of columns that cannot be scored.

    Parameters
    ----------
    table : DataFrame

    Raises
    ------
    TableError

    Examples
    --------
    >>> check_table(pd.DataFrame({"species": [], "x_A": [], "y_A": [], "occupancy": []}))
    >>> check_table(pd.DataFrame({"species": ["Ce"], "x": [1.0]}))
    Traceback (most recent call last):
        ...
    ceria_models.errors.TableError: the table of columns has species, x; it lacks x_A, y_A, ...
    """
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise TableError(
            f"the table of columns has {', '.join(map(str, table.columns)) or 'no columns'}; "
            f"it lacks {', '.join(missing)} (x_A and y_A in Å, from the centre of pixel (0, 0))"
        )
    strange = set(table["species"]) - set(SPECIES)
    if strange:
        names = ", ".join(sorted(repr(str(name)) for name in strange))
        raise TableError(
            f"the table of columns has the species {names}; expected {' and '.join(SPECIES)}"
        )
    numbers = table[list(NEEDED[1:])].to_numpy(dtype=float)
    if not np.isfinite(numbers).all():
        raise TableError(
            "x_A, y_A or occupancy is not a finite number in "
            f"{int((~np.isfinite(numbers)).any(axis=1).sum())} of {len(table)} rows; "
            "leave out what is no column"
        )
    counts = numbers[:, -1]
    if len(counts) and (counts.min() < 1 or (counts % 1).any()):
        raise TableError(
            f"occupancy must be a whole number of atoms, at least 1; found values from "
            f"{counts.min():g} to {counts.max():g}; leave out columns without atoms"
        )
    _check_probabilities(table)


def refuse_other_units(table: pd.DataFrame, field: Field) -> None:
    """Refuse places of which most lie outside of the images: they are in pixels, or of others.

    Parameters
    ----------
    table : DataFrame
        x_A, y_A.
    field : Field

    Raises
    ------
    TableError

    Examples
    --------
    >>> places = pd.DataFrame({"x_A": [3.0, 90.0, 100.0], "y_A": [1.0, 2.0, 3.0]})
    >>> refuse_other_units(places, Field((128, 128), 0.2))
    Traceback (most recent call last):
        ...
    ceria_models.errors.TableError: 2 of 3 columns lie outside of the images of 25.6 × 25.6 Å, ...
    """
    height, width = field.extent
    x, y = (table[name].to_numpy(dtype=float) for name in ("x_A", "y_A"))
    outside = (x < -_BESIDE) | (y < -_BESIDE) | (x > width + _BESIDE) | (y > height + _BESIDE)
    if outside.sum() > 0.5 * len(table):
        raise TableError(
            f"{int(outside.sum())} of {len(table)} columns lie outside of the images of "
            f"{width:.4g} × {height:.4g} Å, up to x_A {x.max():.4g}, y_A {y.max():.4g}; expected Å "
            "from the centre of pixel (0, 0), not pixels"
        )


def _check_probabilities(table: pd.DataFrame) -> None:
    """Refuse confidences and probabilities that are none; missing ones are NaN."""
    classes = [name for name in table if str(name).startswith("p_")]
    for name in ("confidence", *classes):
        if name in table:
            values = table[name].to_numpy(dtype=float)
            wrong = values[(values < -_ROUNDING) | (values > 1 + _ROUNDING)]
            if len(wrong):
                raise TableError(
                    f"{name} is {wrong[0]:g} in one of {len(wrong)} rows; expected 0 to 1 (is it "
                    "in percent?)"
                )
    total = table[classes].to_numpy(dtype=float).sum(axis=1)
    if (total > 1 + 10 * _ROUNDING).any():
        raise TableError(
            f"{', '.join(map(str, classes))} of a row sum to {np.nanmax(total):g}; expected "
            "probabilities of the counts"
        )
    if "z_mean_A" in table and np.isinf(table["z_mean_A"].to_numpy(dtype=float)).any():
        raise TableError("z_mean_A is infinite in a row; leave it out where it is not known")
