"""What a film of a dataset shows, in the coordinates in which it was predicted."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.dataset import Dataset

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SAME_COLUMN = 0.9
"""A site nearer to a column than this [Å] is that column; neighbours are 1.35 Å apart or more."""
_RIM = 1.0
"""Columns nearer to the edge than this [Å] are not asked for: drift takes them out of sight."""


@dataclass(frozen=True)
class FilmTruth:
    """The columns of a film over time.

    Attributes
    ----------
    species : array of str, shape (column,)
    places : array of float64, shape (column, (x, y))
        In the reference of the prediction [Å].
    counts : array of int64, shape (column, frame)
    sites : array of int64, shape (column,)
        Lattice sites, so atoms of a column without vacancies.
    in_field : array of bool, shape (column,)
        Well inside the reference.
    events : DataFrame
        kind, species, time_s, frame, site_from and site_to: rows of `places`, -1 for none.
    seconds : float
        From the first frame to the last.
    """

    species: NDArray[np.object_]
    places: Floats
    counts: Ints
    sites: Ints
    in_field: NDArray[np.bool_]
    events: pd.DataFrame
    seconds: float

    @property
    def frame_time_s(self) -> float:
        """Time from frame to frame [s]; 0 of a single one."""
        return self.seconds / max(int(self.counts.shape[1]) - 1, 1)

    def of(self, species: str, *, in_field: bool = True) -> NDArray[np.intp]:
        """Rows of the columns of a species, in the field or everywhere."""
        return np.flatnonzero((self.species == species) & (self.in_field | (not in_field)))


def film_truth(dataset: Dataset, particle: int, frames: pd.DataFrame) -> FilmTruth:
    """Tabulate what a film shows, where its prediction would see it.

    Parameters
    ----------
    dataset : Dataset
        Of films.
    particle : int
        The film.
    frames : DataFrame
        frame, drift_x_A and drift_y_A of the prediction: its reference lies where its drift is
        0, the truth where that of the film is.

    Returns
    -------
    FilmTruth

    Raises
    ------
    ValueError
        If the dataset has no such film.
    """
    samples = dataset.samples[dataset.samples["particle"] == particle].sort_values("frame")
    if samples.empty:
        raise ValueError(f"{dataset!r} has no film {particle}")
    both = samples.merge(frames, on="frame", suffixes=("", "_found"))
    shift = [
        float((both[f"drift_{axis}_A_found"] - both[f"drift_{axis}_A"]).median()) for axis in "xy"
    ]
    shown = samples["structure"].to_numpy()
    tables = {int(s): dataset.columns_of(int(s)) for s in np.unique(shown)}
    first = tables[int(shown[0])]
    names = first["site_id"].to_numpy()
    counts = {s: table.set_index("site_id")["occupancy"].loc[names] for s, table in tables.items()}
    places = first[["x_A", "y_A"]].to_numpy(np.float64) - np.array(shift)
    height, width = dataset.field.extent
    x, y = places.T
    row = {int(name): i for i, name in enumerate(names)}
    events = dataset.events[dataset.events["particle"] == particle]
    events = events.assign(
        site_from=[row.get(int(i), -1) for i in events["site_id_from"]],
        site_to=[row.get(int(i), -1) for i in events["site_id_to"]],
    )
    return FilmTruth(
        species=first["species"].to_numpy(dtype=object),
        places=places,
        counts=np.stack([counts[int(s)].to_numpy(np.int64) for s in shown], axis=1),
        sites=first["sites"].to_numpy(np.int64),
        in_field=(x > _RIM) & (y > _RIM) & (x < width - _RIM) & (y < height - _RIM),
        events=events[(events["site_from"] >= 0) | (events["site_to"] >= 0)],
        seconds=float(samples["time_s"].max() - samples["time_s"].min()),
    )


def nearest_of(places: Floats, others: Floats) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Find the nearest of other places, and whether it is the same column.

    Parameters
    ----------
    places : array of float64, shape (n, (x, y))
        Å.
    others : array of float64, shape (m, (x, y))
        Å; may be none.

    Returns
    -------
    nearest : array of int, shape (n,)
    same : array of bool, shape (n,)
        False everywhere without others.

    Examples
    --------
    >>> nearest, same = nearest_of(np.array([[0.0, 0], [5, 0]]), np.array([[5.5, 0], [2, 0]]))
    >>> nearest.tolist(), same.tolist()
    ([1, 0], [False, True])
    """
    if not len(others):
        return np.zeros(len(places), np.intp), np.zeros(len(places), np.bool_)
    apart = np.hypot(*(places[:, None, axis] - others[None, :, axis] for axis in (0, 1)))
    return apart.argmin(axis=1), apart.min(axis=1, initial=np.inf) < SAME_COLUMN


def reading_cube(table: pd.DataFrame, n_sites: int, n_frames: int) -> NDArray[np.float32]:
    """Arrange the probabilities of `readings.parquet` or `tracks.parquet` by site and frame.

    Parameters
    ----------
    table : DataFrame
        site, frame, p_0, p_1, ...
    n_sites, n_frames : int

    Returns
    -------
    array of float32, shape (site, frame, class)
        NaN where nothing was read.

    Examples
    --------
    >>> table = pd.DataFrame({"site": [1], "frame": [0], "p_0": [0.25], "p_1": [0.75]})
    >>> reading_cube(table, 2, 1).tolist()
    [[[nan, nan]], [[0.25, 0.75]]]
    """
    classes = [name for name in table if str(name).startswith("p_")]
    p = np.full((n_sites, n_frames, len(classes)), np.nan, dtype=np.float32)
    p[table["site"], table["frame"]] = table[classes].to_numpy()
    return p
