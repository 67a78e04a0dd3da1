"""Parts of a test set that are measured on their own, and its images and doses."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.dataset import Dataset, Sample

DOSES = (30.0, 100.0, 300.0, 1000.0, 3000.0)
"""Of one frame [e-/Å²]."""

WINDOW = "-90 to -50"
"""Defocus [Å] at which Ce columns are bright: 50 to 90 Å overfocus."""


@dataclass(frozen=True)
class Stratum:
    """Some of the rows.

    Attributes
    ----------
    axis : str
        What divides them, such as ``defocus_A``; ``all`` for no division.
    label : str
        Which part.
    rows : array of bool
    true_only : bool
        Whether it is made of classes of true columns, so that a found column that is none
        belongs to no part.
    """

    axis: str
    label: str
    rows: NDArray[np.bool_]
    true_only: bool = False


_RANGES: dict[str, tuple[tuple[float, float], ...]] = {
    # Overlapping on purpose: the window is what the benchmark's figures refer to.
    "defocus_A": (
        (-150.0, -100.0), (-100.0, -75.0), (-75.0, -50.0), (-50.0, -10.0), (0.0, 100.0),
        (-90.0, -50.0),
    ),
    "mistilt_deg": ((0.0, 0.25), (0.25, 0.5), (0.5, 1.0), (1.0, 2.0)),
    "dose_e_per_A2": (
        (0.0, 30.0), (30.0, 100.0), (100.0, 300.0), (300.0, 1000.0), (1000.0, 3000.0),
        (3000.0, np.inf),
    ),
}  # fmt: skip
_WHOLE_RANGES = {"thickness_atoms": ((3, 4), (5, 6), (7, 8), (9, 10), (11, 14))}
_CLASSES = ("kind",)


def strata_of(matches: pd.DataFrame) -> Iterator[Stratum]:
    """Divide matched columns.

    Columns at the border and ambiguous ones belong to none, except to the two strata of the
    axis ``scope`` that are there to show what leaving them out hides.

    Parameters
    ----------
    matches : DataFrame
        As from `match_columns`, with the columns of `sample_facts`; an axis whose column is
        missing is left out.

    Yields
    ------
    Stratum
        Those with rows only; a range includes its lower end and not its upper one, a range
        of thickness includes both.

    Examples
    --------
    >>> matches = pd.DataFrame({
    ...     "border": [False, True], "ambiguous": False, "defocus_A": [-60.0, -20.0],
    ... })
    >>> for part in strata_of(matches):
    ...     print(part.axis, part.label, int(part.rows.sum()))
    all all 1
    defocus_A -75 to -50 1
    defocus_A -90 to -50 1
    scope with the border 2
    """
    clear = ~matches["border"].to_numpy(bool)
    sharp = ~matches["ambiguous"].to_numpy(bool)
    core = clear & sharp
    parts = [Stratum("all", "all", core)]
    for axis, ranges in _RANGES.items():
        if axis in matches:
            values = matches[axis].to_numpy(float)
            for low, high in ranges:
                label = f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} and more"
                parts.append(Stratum(axis, label, core & (values >= low) & (values < high)))
    for axis, whole in _WHOLE_RANGES.items():
        if axis in matches:
            values = matches[axis].to_numpy(float)
            parts += [
                Stratum(axis, f"{low} to {high}", core & (values >= low) & (values <= high))
                for low, high in whole
            ]
    for axis in _CLASSES:
        if axis in matches:
            kinds = matches[axis].to_numpy()
            parts += [Stratum(axis, str(kind), core & (kinds == kind)) for kind in np.unique(kinds)]
    if "surface" in matches:
        surface = matches["surface"].to_numpy()
        parts += [
            Stratum("surface", name, core & (surface == name), true_only=True)
            for name in ("edge", "surface", "subsurface", "bulk")
        ]
    yield from (part for part in parts if part.rows.any())
    # Nothing to show where leaving them out changes nothing.
    if (sharp & ~clear).any():
        yield Stratum("scope", "with the border", sharp)
    if (clear & ~sharp).any():
        yield Stratum("scope", "with ambiguous columns", clear)


def sample_facts(sample: Sample) -> dict[str, float | int | str]:
    """Collect what divides images.

    Parameters
    ----------
    sample : Sample

    Returns
    -------
    dict
        sample, particle, defocus_A, mistilt_deg, thickness_atoms, kind.

    Examples
    --------
    >>> from ceria_data.dataset import open_dataset
    >>> sorted(sample_facts(open_dataset("ceria-columns-mini")[0]))
    ['defocus_A', 'kind', 'mistilt_deg', 'particle', 'sample', 'thickness_atoms']
    """
    row = sample.parameters
    structures = sample.dataset.structures
    structure = structures.iloc[int(structures["structure"].searchsorted(row["structure"]))]
    return {
        "sample": int(row["sample"]),
        "particle": int(row["particle"]),
        "defocus_A": float(row["defocus_A"]),
        "mistilt_deg": float(structure["mistilt_deg"]),
        "thickness_atoms": int(structure["thickness_atoms"]),
        "kind": str(structure["kind"]),
    }


def choose_rows(dataset: Dataset, n: int | None) -> NDArray[np.int64]:
    """Choose images of a split, evenly over its structures.

    Parameters
    ----------
    dataset : Dataset
    n : int or None
        How many; None or more than there are: all.

    Returns
    -------
    array of int64
        Positions in the split.

    Examples
    --------
    >>> from ceria_data.dataset import open_dataset
    >>> ds = open_dataset("ceria-columns-mini", "test")
    >>> ds.samples["structure"].iloc[choose_rows(ds, 30)].nunique()
    30
    """
    if n is None or n >= len(dataset):
        return np.arange(len(dataset))
    order = np.lexsort((dataset.samples["sample"], dataset.samples["structure"]))
    position = dataset.samples.iloc[order].groupby("structure").cumcount().to_numpy()
    structure = pd.factorize(dataset.samples["structure"].to_numpy()[order])[0]
    # Every structure once with one of its images in turn, then every structure again.
    images = int(position.max()) + 1
    turn = (position - structure) % images
    ranked = order[np.lexsort((structure, turn))]
    n_structures = int(structure.max()) + 1
    rounds, left = divmod(n, n_structures)
    whole, rest = np.split(ranked, [rounds * n_structures])
    some = rest[np.linspace(0, min(n_structures, len(rest)) - 1, left).astype(int)]
    return np.sort(np.concatenate([whole, some]))


def default_doses(dataset: Dataset) -> tuple[float, ...]:
    """Choose the doses to measure a split at.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    tuple of float
        e-/Å², ascending: `DOSES`, or those of the split itself where it has a few fixed ones
        that reach beyond them, as a test out of the range of doses has.

    Examples
    --------
    >>> from ceria_data.dataset import open_dataset
    >>> default_doses(open_dataset("ceria-columns-mini", "test"))
    (30.0, 100.0, 300.0, 1000.0, 3000.0)
    """
    own = np.unique(dataset.samples["dose_e_per_A2"].to_numpy(float))
    if 0 < len(own) <= len(DOSES) and (own[0] < DOSES[0] or own[-1] > DOSES[-1]):
        return tuple(float(dose) for dose in own)
    return DOSES
