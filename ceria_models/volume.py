"""The atoms in three dimensions, from counts and depths, against the stored volume."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.dataset import Sample
from ceria_data.grid import Field
from ceria_data.schema import ATOMS, PAINT_RADIUS, SPECIES
from ceria_data.targets import NOWHERE, nearest_column

PLANES_PER_ATOM = 2
"""Along [110] a column has an atom in every other lattice plane: a/√2 apart, 3.826 Å."""


def rebuild_volume(
    found: pd.DataFrame, n_planes: int, spacing: float, first_plane: float, field: Field
) -> NDArray[np.uint8]:
    """Stack the atoms of every found column, and paint them as the stored volume is painted.

    The n atoms of a column stand every other lattice plane, without gaps, their middle at
    its mean depth. Atoms outside the planes of the volume are lost.

    Parameters
    ----------
    found : DataFrame
        species, x_A, y_A, occupancy, z_mean_A (relative to the particle's mean z).
    n_planes : int
    spacing : float
        Of the lattice planes [Å].
    first_plane : float
        Depth of plane 0 [Å].
    field : Field

    Returns
    -------
    array of uint8, shape (plane, y, x)
        0 = none, 1 = Ce, 2 = O, 3 = both, as `schema.ARRAYS` says.

    Examples
    --------
    >>> found = pd.DataFrame(
    ...     {"species": ["O"], "x_A": [0.0], "y_A": [0.0], "occupancy": [2], "z_mean_A": [0.1]}
    ... )
    >>> rebuild_volume(found, 4, 1.913, -1.913, Field((1, 1), 0.2)).ravel()
    array([2, 0, 2, 0], dtype=uint8)
    """
    painted = np.zeros((n_planes, *field.shape), dtype=np.uint8)
    for bit, species in enumerate(SPECIES):
        own = found[found["species"] == species]
        x, y, z = (own[name].to_numpy(dtype=float) for name in ("x_A", "y_A", "z_mean_A"))
        occupancy = own["occupancy"].to_numpy(dtype=np.int64)
        lowest = (z - first_plane) / spacing - PLANES_PER_ATOM * (occupancy - 1) / 2
        column = np.repeat(np.arange(len(own)), occupancy)
        rank = np.arange(len(column)) - np.repeat(np.cumsum(occupancy) - occupancy, occupancy)
        known = np.isfinite(lowest[column])
        plane = np.rint(np.where(known, lowest[column], -np.inf)) + PLANES_PER_ATOM * rank
        inside = known & (plane >= 0) & (plane < n_planes)
        stands = np.zeros((n_planes, len(own) + 1), dtype=np.uint8)
        stands[plane[inside].astype(np.int64), column[inside]] = 1 << bit
        stands[:, NOWHERE] = 0
        owner, _ = nearest_column(x, y, field, PAINT_RADIUS)
        painted |= stands[:, owner]
    return painted


def volume_overlap(found: pd.DataFrame, sample: Sample) -> dict[str, dict[str, int]]:
    """Compare the rebuilt with the stored volume of one image.

    Depth counts from the particle's mean z, as in the labels; where plane 0 lies on that
    scale is read from the structure's atoms. The border belongs to it, and ambiguous columns
    too.

    Parameters
    ----------
    found : DataFrame
        With z_mean_A.
    sample : Sample

    Returns
    -------
    dict
        By species ``intersection`` and ``union`` of the voxels that hold an atom; their
        quotient is the IoU, which adds over images and species.

    Examples
    --------
    >>> from ceria_data.dataset import open_dataset
    >>> sample = open_dataset("ceria-columns-mini", "test")[0]
    >>> volume_overlap(sample.columns.iloc[:0], sample)["Ce"]["intersection"]
    0
    """
    dataset = sample.dataset
    spacing = float(dataset.manifest["plane_spacing_A"])
    atoms = dataset.rows_of(ATOMS, sample.parameters["structure"])
    first = float(np.median(atoms["z_A"] - spacing * atoms["plane"]))
    stored = sample.volume
    rebuilt = rebuild_volume(found, len(stored), spacing, first, dataset.field)
    overlap = {}
    for bit, species in enumerate(SPECIES):
        one, other = (volume & (1 << bit) > 0 for volume in (stored, rebuilt))
        overlap[species] = {
            "intersection": int((one & other).sum()),
            "union": int((one | other).sum()),
        }
    return overlap
