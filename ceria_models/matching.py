"""Which found column is which true one."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ceria_data.grid import Field
from ceria_data.schema import SPECIES
from ceria_models.column_table import check_table

REACH = 0.5
"""A column is found if one of its species was reported within this distance [Å]; the nearest
other column of the same species is 1.9 Å away."""
BORDER = 0.6
"""Columns whose middle is closer to the edge of the image are not scored [Å]: the disk of such
a column is cut, and a program may see it or not."""
_NOBODY = -1


def match_columns(
    truth: pd.DataFrame, found: pd.DataFrame, field: Field, max_count: int
) -> pd.DataFrame:
    """Match found columns to true ones, and mark what is not to be scored.

    Within each species the pairs closer than `REACH` are as many as possible, and among all
    ways to pair that many their summed distance is smallest. Emptied columns are no
    columns: reporting one is an error. A found column that belongs to a true one beyond the
    edge of the image is left out.

    Parameters
    ----------
    truth : DataFrame
        All columns of the structure as `schema.COLUMNS`, in coordinates of the image.
    found : DataFrame
        species, x_A, y_A, occupancy and, where known, confidence and z_mean_A.
    field : Field
    max_count : int
        Highest count that can be told; larger ones count as this one.

    Returns
    -------
    DataFrame
        A row per true column in the image and per found column that is none. ``species``;
        ``true_count`` (0: there is no such column) and ``count`` (0: not found); ``dx_A``,
        ``dy_A``, ``dz_A`` (found minus true) and ``confidence``, NaN where unknown;
        ``surface``, ``n_vacancies``; ``border`` and ``ambiguous``, which are not scored
        unless a stratum says so; ``true_row``, ``found_row`` (positions in the tables, -1 for
        none).

    Raises
    ------
    TableError
        If `found` lacks a needed column or holds values that are no columns.

    Examples
    --------
    One column is found 0.1 Å beside its place with an atom too few, one is invented:

    >>> truth = pd.DataFrame({
    ...     "species": ["Ce"], "x_A": [2.0], "y_A": [2.0], "z_mean_A": [0.0], "occupancy": [5],
    ...     "n_vacancies": [0], "surface": ["bulk"], "ambiguous": [False], "in_field": [True],
    ... })
    >>> found = pd.DataFrame(
    ...     {"species": ["Ce", "O"], "x_A": [2.1, 3.0], "y_A": [2.0, 3.0], "occupancy": [4, 2]}
    ... )
    >>> matches = match_columns(truth, found, Field((20, 20), 0.2), max_count=14)
    >>> matches[["species", "true_count", "count", "dx_A"]].round(2).values.tolist()
    [['Ce', 5, 4, 0.1], ['O', 0, 2, nan]]
    """
    check_table(found)
    parts = []
    real = np.flatnonzero(truth["occupancy"].to_numpy() > 0)
    for species in SPECIES:
        there = real[truth["species"].to_numpy()[real] == species]
        said = np.flatnonzero(found["species"].to_numpy() == species)
        partner = _pairs(_places(truth, there), _places(found, said))
        shown = truth["in_field"].to_numpy(bool)[there]
        alone = np.ones(len(said), dtype=bool)
        alone[partner[partner != _NOBODY]] = False
        found_row = np.where(partner == _NOBODY, _NOBODY, np.append(said, _NOBODY)[partner])
        parts.append((species, there[shown], found_row[shown]))
        parts.append((species, np.full(alone.sum(), _NOBODY), said[alone]))
    true_row = np.concatenate([rows for _, rows, _ in parts]).astype(np.int64)
    found_row = np.concatenate([rows for _, _, rows in parts]).astype(np.int64)
    species_of = np.repeat([name for name, _, _ in parts], [len(rows) for _, rows, _ in parts])
    return _table(truth, found, field, max_count, species_of, true_row, found_row)


def _places(table: pd.DataFrame, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return table[["x_A", "y_A"]].to_numpy(dtype=float)[rows]


def _pairs(there: NDArray[np.float64], said: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each true place the position of its partner, or -1."""
    partner = np.full(len(there), _NOBODY, dtype=np.int64)
    if not len(there) or not len(said):
        return partner
    near = cKDTree(there).query_ball_tree(cKDTree(said), REACH)
    first = np.repeat(np.arange(len(there)), [len(ones) for ones in near])
    second = np.array([j for ones in near for j in ones], dtype=np.int64)
    # Only places that share a neighbour compete: small problems, mostly of one pair.
    n = len(there) + len(said)
    graph = csr_array((np.ones(len(first)), (first, second + len(there))), shape=(n, n))
    _, group = connected_components(graph, directed=False)
    order = np.argsort(group[first], kind="stable")
    starts = np.flatnonzero(np.diff(group[first][order], prepend=-1))
    for edges in np.split(order, starts[1:]):
        own, other = np.unique(first[edges]), np.unique(second[edges])
        distance = np.hypot(*(there[own][:, None] - said[other]).transpose(2, 0, 1))
        # One more pair is worth more than any saving of distance by the others.
        cost = np.where(distance <= REACH, distance, REACH * (n + 1))
        row, column = linear_sum_assignment(cost)
        good = distance[row, column] <= REACH
        partner[own[row[good]]] = other[column[good]]
    return partner


def _table(
    truth: pd.DataFrame,
    found: pd.DataFrame,
    field: Field,
    max_count: int,
    species: NDArray[np.str_],
    true_row: NDArray[np.int64],
    found_row: NDArray[np.int64],
) -> pd.DataFrame:
    """Put values of both tables side by side."""
    real, said = true_row != _NOBODY, found_row != _NOBODY

    def of_truth(name: str, otherwise: Any) -> NDArray[Any]:
        return _taken(truth, name, true_row, otherwise)

    def of_found(name: str, otherwise: Any) -> NDArray[Any]:
        return _taken(found, name, found_row, otherwise)

    x, y = (np.where(real, of_truth(n, np.nan), of_found(n, np.nan)) for n in ("x_A", "y_A"))
    ny, nx = field.shape
    half = 0.5 * field.sampling
    inner = [
        np.minimum(place + half, (n - 0.5) * field.sampling - place) >= BORDER
        for place, n in ((x, nx), (y, ny))
    ]
    return pd.DataFrame(
        {
            "species": species,
            "true_count": np.where(real, np.minimum(of_truth("occupancy", 0), max_count), 0),
            "count": np.where(said, np.minimum(of_found("occupancy", 0), max_count), 0),
            "dx_A": of_found("x_A", np.nan) - of_truth("x_A", np.nan),
            "dy_A": of_found("y_A", np.nan) - of_truth("y_A", np.nan),
            "dz_A": of_found("z_mean_A", np.nan) - of_truth("z_mean_A", np.nan),
            "confidence": of_found("confidence", np.nan),
            "surface": of_truth("surface", ""),
            "n_vacancies": of_truth("n_vacancies", 0),
            "border": ~(inner[0] & inner[1]),
            "ambiguous": of_truth("ambiguous", False),
            "true_row": true_row,
            "found_row": found_row,
        }
    ).astype({"species": "str", "surface": "str", "true_count": "int64", "count": "int64"})


def _taken(table: pd.DataFrame, name: str, rows: NDArray[np.int64], otherwise: Any) -> NDArray[Any]:
    """Take values of rows; another value where there is no row or no such column."""
    if name not in table or not len(table):
        return np.full(len(rows), otherwise)
    values = table[name].to_numpy()
    if isinstance(otherwise, float):
        values = values.astype(float)
    return np.where(rows == _NOBODY, otherwise, values[rows])
