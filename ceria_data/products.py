"""Products of complex arrays with real ones, as a CPU likes them.

NumPy makes the real factor complex first. Both parts of a complex number as numbers of their
own give the same bits with half of the work. Arrays of other modules are multiplied as they
are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from array_api_compat import is_numpy_array


def weights(real: Any) -> Any:
    """Lay real numbers out as a factor: twice each in a NumPy array."""
    return np.repeat(real, 2, axis=-1) if is_numpy_array(real) else real


def weighted(spectra: Any, by: Any) -> Any:
    """Multiply complex numbers by real ones, in place where they are NumPy's.

    Parameters
    ----------
    spectra : array of complex
        The rows of a NumPy array are contiguous.
    by : array of float
        From `weights`.

    Returns
    -------
    array of complex

    Examples
    --------
    >>> weighted(np.asarray([1 + 2j, 3j]), weights(np.asarray([2.0, -1.0])))
    array([ 2.+4.j, -0.-3.j])
    """
    if not is_numpy_array(spectra):
        return spectra * by
    parts = spectra.view(by.dtype)
    parts *= by
    return spectra


def weighted_sum(tables: Any, structure_factors: Sequence[Any]) -> Any:
    """Sum real tables times complex structure factors over the species.

    Parameters
    ----------
    tables : array of float, shape (species, 2 hy + 1, hx + 1)
        From `weights`.
    structure_factors : sequence of array of complex, shape (wave, 2 hy + 1, hx + 1)
        One for each species, or for the first of them.

    Returns
    -------
    array of complex, shape (wave, 2 hy + 1, hx + 1)
    """
    host = is_numpy_array(tables)
    parts = [each.view(tables.dtype) if host else each for each in structure_factors]
    total = tables[0, ...] * parts[0]
    for species in range(1, len(parts)):
        total += tables[species, ...] * parts[species]
    return total.view(structure_factors[0].dtype) if host else total
