"""Places where columns stand during a film, in the coordinates of its reference."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import cKDTree
from scipy.stats import binom

from ceria_data.schema import SPECIES
from ceria_models.frame_reading import Places

SAME_SITE = 0.9
"""Detections of one species closer than this to a site belong to it [Å]."""
_CLUSTER = 0.45
"""Detections of a new site lie within this distance of its middle [Å]."""
_STEP = 0.15
"""Grid on which places that many frames name are looked for [Å]."""
_FALSE_SITES = 0.01
"""Sites of a film, of one species, that chance alone may make."""
_FEWEST = 3
"""Frames that have to show a column before it is a site."""
SUM, FRAMES = "sum", "frames"


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
    places, numbers = {}, {}
    for species in SPECIES:
        own = sites[sites["species"] == species]
        position = own[["y_A", "x_A"]].to_numpy(dtype=np.float64) + drift
        pixel = position / sampling
        inside = ((pixel >= -0.5) & (pixel < np.array(shape) - 0.5)).all(axis=1)
        places[species] = position[inside]
        numbers[species] = own["site"].to_numpy(dtype=np.int64)[inside]
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


@dataclass(frozen=True)
class Strays:
    """Columns of frames that belong to no site, in the coordinates of the reference.

    Attributes
    ----------
    frame : array of int64, shape (column,)
    species : array of str, shape (column,)
    place : array of float64, shape (column, (y, x))
        Å.
    """

    frame: NDArray[np.int64]
    species: NDArray[np.str_]
    place: NDArray[np.float64]

    @classmethod
    def of(cls, parts: Iterable[tuple[pd.DataFrame, NDArray[np.float64]]]) -> "Strays":
        """Collect them from tables of columns and their places."""
        known = [(t["frame"].to_numpy(), t["species"].to_numpy(dtype=str), p) for t, p in parts]
        frames, species, places = zip(*known, strict=True) if known else ((), (), ())
        return cls(
            np.concatenate([np.empty(0, dtype=np.int64), *frames]),
            np.concatenate([np.empty(0, dtype="U2"), *species]),
            np.concatenate([np.empty((0, 2)), *places]),
        )


def sites_of_strays(
    strays: Strays, sites: pd.DataFrame, frames: int, shape: tuple[int, int], sampling: float
) -> pd.DataFrame:
    """Find places where frames show a column more often than chance would have it.

    By chance, the strays of a species lie evenly over the part of the reference that has no
    site, so that a frame shows one within 0.45 Å of a given place with a probability q.
    At least k of n frames do with the binomial probability P(k; n, q); a place is a site if that,
    times the number of places, is below 0.01, and if three frames or more show it.

    Parameters
    ----------
    strays : Strays
    sites : DataFrame
        Those that are known.
    frames : int
        Frames that were predicted.
    shape : tuple of int
        Pixels of the reference (y, x).
    sampling : float
        Å/pixel.

    Returns
    -------
    DataFrame
        Further sites, numbered on, of the source ``frames``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> chance = rng.uniform(0, 20, (30, 2))
    >>> adatom = rng.normal((5, 7), 0.1, (8, 2))
    >>> frame = np.concatenate([rng.integers(0, 100, 30), np.arange(40, 48)])
    >>> strays = Strays(frame, np.full(38, "Ce"), np.concatenate([chance, adatom]))
    >>> none = sites_of_reference(pd.DataFrame({"species": [], "x_A": [], "y_A": []}))
    >>> found = sites_of_strays(strays, none, 100, (100, 100), 0.2)
    >>> len(found), found[["y_A", "x_A"]].round().iloc[0].tolist()
    (1, [5.0, 7.0])
    """
    made = []
    for species in SPECIES:
        own = strays.species == species
        known = sites[sites["species"] == species][["y_A", "x_A"]].to_numpy(dtype=np.float64)
        least = _least_frames(int(own.sum()), len(known), frames, shape, sampling)
        for y, x in _clusters(strays.frame[own], strays.place[own], least):
            made.append((species, x, y))
    first = int(sites["site"].max()) + 1 if len(sites) else 0
    return pd.DataFrame(
        {
            "site": np.arange(first, first + len(made), dtype=np.int64),
            "species": pd.Series([m[0] for m in made], dtype="str"),
            "x_A": np.array([m[1] for m in made], dtype=np.float64),
            "y_A": np.array([m[2] for m in made], dtype=np.float64),
            "source": pd.Series([FRAMES] * len(made), dtype="str"),
        }
    )


def _least_frames(
    strays: int, sites: int, frames: int, shape: tuple[int, int], sampling: float
) -> int:
    """Count the frames that chance does not explain."""
    place = np.pi * _CLUSTER**2
    area = shape[0] * shape[1] * sampling**2
    free = max(area - sites * np.pi * SAME_SITE**2, 0.05 * area)
    q = min(strays / max(frames, 1) * place / free, 1.0)
    least = _FEWEST
    while least <= frames and binom.sf(least - 1, frames, q) * free / place > _FALSE_SITES:
        least += 1
    return least


def _clusters(
    frame: NDArray[np.int64], place: NDArray[np.float64], least: int
) -> list[tuple[float, float]]:
    """Find the middles of places that enough frames name."""
    if len(frame) < least:
        return []
    corner = place.min(axis=0) - SAME_SITE
    cell = np.floor((place - corner) / _STEP).astype(np.int64)
    shape = cell.max(axis=0) + int(SAME_SITE / _STEP) + 1
    often = np.zeros(shape)
    np.add.at(often, (cell[:, 0], cell[:, 1]), 1.0)
    smooth = gaussian_filter(often, 0.5 * _CLUSTER / _STEP, mode="constant")
    span = np.arange(-int(SAME_SITE / _STEP), int(SAME_SITE / _STEP) + 1)
    disk = np.hypot(span[:, None], span) <= SAME_SITE / _STEP
    highest = (smooth == maximum_filter(smooth, footprint=disk)) & (smooth > 0)
    tree = cKDTree(place)
    found: list[tuple[float, float]] = []
    order = np.argsort(-smooth[highest], kind="stable")
    for y, x in (np.argwhere(highest)[order] + 0.5) * _STEP + corner:
        own = tree.query_ball_point((y, x), _CLUSTER)
        if len(np.unique(frame[own])) >= least:
            middle = place[own].mean(axis=0)
            if all(np.hypot(*(middle - other)) > SAME_SITE for other in found):
                found.append((float(middle[0]), float(middle[1])))
    return found
