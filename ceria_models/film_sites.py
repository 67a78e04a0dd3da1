"""Places where columns stand during a film, in the coordinates of its reference."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ceria_data.schema import SPECIES
from ceria_models.frame_reading import Places

SAME_SITE = 0.9
"""Detections of one species closer than this to a site belong to it [Å]."""
SUM, PART = "sum", "part"
"""Where a site was found: in the mean of the film, or of a part only."""


def sites_of_reference(columns: pd.DataFrame) -> pd.DataFrame:
    """Make sites of the columns that were found in the mean of a film.

    Parameters
    ----------
    columns : DataFrame
        species, x_A, y_A.

    Returns
    -------
    DataFrame
        site, species, x_A, y_A, source.
    """
    sites = columns[["species", "x_A", "y_A"]].reset_index(drop=True)
    sites.insert(0, "site", np.arange(len(sites), dtype=np.int64))
    return sites.assign(source=pd.Series(SUM, index=sites.index, dtype="str"))


def places_in_frame(
    sites: pd.DataFrame, drift: tuple[float, float], shape: tuple[int, int], sampling: float
) -> tuple[Places, dict[str, NDArray[np.int64]]]:
    """List where the sites are in a frame, without those that have left it.

    Parameters
    ----------
    sites : DataFrame
    drift : tuple of float
        Of the frame (y, x) [Å].
    shape : tuple of int
        Pixels (y, x).
    sampling : float
        Å/pixel.

    Returns
    -------
    dict of str to array of float64, shape (place, (y, x))
        Å, by species.
    dict of str to array of int64, shape (place,)
        Their sites.

    Examples
    --------
    >>> sites = pd.DataFrame({"site": [0, 1], "species": "Ce", "x_A": [1.0, 9.0], "y_A": 1.0})
    >>> places, numbers = places_in_frame(sites, (0.5, 1.0), (50, 50), 0.2)
    >>> places["Ce"], numbers["Ce"]
    (array([[1.5, 2. ]]), array([0]))
    """
    return SitesOfFilm.of_table(sites).in_frame(drift, shape, sampling)


@dataclass(frozen=True)
class SitesOfFilm:
    """Sites by species, made once for all frames: to take a table apart takes milliseconds.

    Attributes
    ----------
    places : dict of str to array of float64, shape (site, (y, x))
        Å, in the reference.
    numbers : dict of str to array of int64, shape (site,)
    """

    places: Places
    numbers: dict[str, NDArray[np.int64]]

    @classmethod
    def of_table(cls, sites: pd.DataFrame) -> "SitesOfFilm":
        """Take the table of sites apart."""
        places, numbers = {}, {}
        for species in SPECIES:
            own = sites[sites["species"] == species]
            places[species] = own[["y_A", "x_A"]].to_numpy(dtype=np.float64)
            numbers[species] = own["site"].to_numpy(dtype=np.int64)
        return cls(places, numbers)

    def in_frame(
        self, drift: tuple[float, float], shape: tuple[int, int], sampling: float
    ) -> tuple[Places, dict[str, NDArray[np.int64]]]:
        """Do what `places_in_frame` does."""
        places, numbers = {}, {}
        for species, own in self.places.items():
            position = own + drift
            pixel = position / sampling
            inside = ((pixel >= -0.5) & (pixel < np.array(shape) - 0.5)).all(axis=1)
            places[species] = position[inside]
            numbers[species] = self.numbers[species][inside]
        return places, numbers


def matched(
    columns: pd.DataFrame, drift: NDArray[np.float64], sites: pd.DataFrame
) -> NDArray[np.int64]:
    """Find the site of every column that was found in a frame.

    Parameters
    ----------
    columns : DataFrame
        frame, species, x_A, y_A in the frame.
    drift : array of float64, shape (frame, (y, x))
        Å.
    sites : DataFrame

    Returns
    -------
    array of int64, shape (column,)
        -1 for those further than 0.9 Å from every site of their species.

    Examples
    --------
    >>> sites = pd.DataFrame({"site": [0, 1], "species": "O", "x_A": [1.0, 3.0], "y_A": 1.0})
    >>> found = pd.DataFrame({"frame": 0, "species": ["O", "O"], "x_A": [3.2, 6.0], "y_A": 1.0})
    >>> matched(found, np.zeros((1, 2)), sites)
    array([ 1, -1])
    """
    site = np.full(len(columns), -1, dtype=np.int64)
    place = in_reference(columns, drift)
    for species in SPECIES:
        own = sites[sites["species"] == species]
        mine = np.flatnonzero(columns["species"] == species)
        if len(own) and len(mine):
            distance, nearest = cKDTree(own[["y_A", "x_A"]]).query(place[mine])
            numbers = own["site"].to_numpy()[nearest]
            site[mine] = np.where(distance <= SAME_SITE, numbers, -1)
    return site


def in_reference(columns: pd.DataFrame, drift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the drift off the positions of columns: (column, (y, x)) [Å]."""
    place = columns[["y_A", "x_A"]].to_numpy(dtype=np.float64)
    moved: NDArray[np.float64] = place - drift[columns["frame"].to_numpy()]
    return moved


def with_sites_of_part(sites: pd.DataFrame, columns: pd.DataFrame) -> pd.DataFrame:
    """Add the columns that only a part of the film shows.

    Parameters
    ----------
    sites : DataFrame
        Those that are known.
    columns : DataFrame
        species, x_A, y_A: found in the mean of the part, in the coordinates of the reference.

    Returns
    -------
    DataFrame
        With further sites, numbered on, of the source ``part``: columns further than 0.9 Å from
        every site of their species.

    Examples
    --------
    >>> columns = pd.DataFrame({"species": "Ce", "x_A": [1.0, 5.0], "y_A": 1.0})
    >>> sites = with_sites_of_part(sites_of_reference(columns[:1]), columns)
    >>> sites["source"].tolist(), sites["x_A"].tolist()
    (['sum', 'part'], [1.0, 5.0])
    """
    found = columns.assign(frame=0)
    new = columns[matched(found, np.zeros((1, 2)), sites) < 0]
    more = new[["species", "x_A", "y_A"]].reset_index(drop=True)
    first = int(sites["site"].max()) + 1 if len(sites) else 0
    more.insert(0, "site", np.arange(first, first + len(more), dtype=np.int64))
    more = more.assign(source=pd.Series(PART, index=more.index, dtype="str"))
    filled = [table for table in (sites, more) if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else sites
