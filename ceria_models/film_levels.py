"""Levels of a film's sites: atom images from the mean of the film, levels from its frames."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ceria_data.schema import SPECIES
from ceria_models.atom_images import learn_atom_images
from ceria_models.frame_reading import FrameReading
from ceria_models.resampling import Resampled
from ceria_models.site_levels import LevelReader, level_reader

Floats = NDArray[np.float64]

FEWEST_FRAMES = 10
"""Frames from which a film has levels: a mean of fewer is too noisy to learn from."""
SAME_COLUMN = 1.2
"""Sites of one species closer than this are one column [Å] ..."""
SAME_PLACE = 0.8
"""... and of both species, of which only one can be there."""
_ROUNDING = 1e-6
"""Å; pairs are looked for a little further than they are told apart."""


@dataclass(frozen=True)
class FilmLevels:
    """Reads the levels of a film.

    Attributes
    ----------
    reader : LevelReader
    sites : array of int64, shape (place,)
        Numbers of the sites that it reads.
    mean_p : array of float64, shape (site, class)
        What the net says about the mean of the film; NaN at sites that it does not show.
    """

    reader: LevelReader
    sites: NDArray[np.int64]
    mean_p: Floats

    def of_frame(self, view: Resampled, drift: tuple[float, float]) -> NDArray[np.float32]:
        """Read a frame.

        Parameters
        ----------
        view : Resampled
            The frame on the pixels of the net.
        drift : tuple of float
            Of the frame (y, x) [Å].

        Returns
        -------
        array of float32, shape (site,)
            Atoms; NaN where there is no level.
        """
        level = np.full(len(self.mean_p), np.nan, dtype=np.float32)
        level[self.sites] = self.reader.read(view.image, drift)
        return level

    def told(self, sites: pd.DataFrame) -> pd.DataFrame:
        """Add what is known of the sites from the mean of the film to their table.

        Parameters
        ----------
        sites : DataFrame

        Returns
        -------
        DataFrame
            With level_spread, the standard deviation of the level with one electron a pixel
            [atoms], and p_0 to p_K, what the net says; NaN where there is none.
        """
        spread = np.full(len(sites), np.nan)
        spread[self.sites] = self.reader.spread
        p = {f"p_{n}": own.astype(np.float32) for n, own in enumerate(self.mean_p.T)}
        return sites.assign(level_spread=spread.astype(np.float32), **p)


def film_levels(
    view: Resampled, sites: pd.DataFrame, reading: FrameReading, n_sites: int
) -> FilmLevels:
    """Learn from the mean of a film.

    Parameters
    ----------
    view : Resampled
        The mean on the pixels of the net.
    sites : DataFrame
        site, species, x_A, y_A, of those that the mean shows.
    reading : FrameReading
        What the net says at these sites about the mean of the film.
    n_sites : int
        Of the film.

    Returns
    -------
    FilmLevels
    """
    species = sites["species"].to_numpy()
    p = np.zeros((len(sites), reading.p[SPECIES[0]].shape[1]))
    for name in SPECIES:
        p[species == name] = reading.p[name]
    expected = p @ np.arange(p.shape[1])
    at = sites[["y_A", "x_A"]].to_numpy(dtype=np.float64) - view.origin
    kept = distinct(at, species, expected)
    rows = {name: np.flatnonzero((species == name) & kept) for name in SPECIES}
    places = {name: at[own] for name, own in rows.items()}
    counts = {name: expected[own] for name, own in rows.items()}
    images = learn_atom_images(view.image, view.sampling, places, counts)
    shape = (view.image.shape[0], view.image.shape[1])
    reader = level_reader(shape, view.sampling, images, places, counts)
    numbers = sites["site"].to_numpy(dtype=np.int64)
    mean_p = np.full((n_sites, p.shape[1]), np.nan)
    mean_p[numbers] = p
    return FilmLevels(reader, numbers[np.concatenate(list(rows.values()))], mean_p)


def distinct(places: Floats, species: NDArray[np.str_], expected: Floats) -> NDArray[np.bool_]:
    """Choose sites that can be told from each other: of those too close, the one with more atoms.

    Parameters
    ----------
    places : array of float64, shape (site, (y, x))
        Å.
    species : array of str, shape (site,)
    expected : array of float64, shape (site,)
        Atoms.

    Returns
    -------
    array of bool, shape (site,)

    Examples
    --------
    >>> at = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 1.6], [9.0, 9.0]])
    >>> distinct(at, np.array(["Ce", "Ce", "O", "O"]), np.array([1.0, 3.0, 2.0, 2.0])).tolist()
    [False, True, False, True]
    """
    closest = max(SAME_COLUMN, SAME_PLACE)
    pairs = cKDTree(places).query_pairs(closest + _ROUNDING, output_type="ndarray")
    apart = np.hypot(*(places[pairs[:, 0]] - places[pairs[:, 1]]).T)
    same = species[pairs[:, 0]] == species[pairs[:, 1]]
    rivals: list[list[int]] = [[] for _ in places]
    for one, other in pairs[apart < np.where(same, SAME_COLUMN, SAME_PLACE)].tolist():
        rivals[one].append(other)
        rivals[other].append(one)
    kept = np.zeros(len(places), dtype=bool)
    for site in np.argsort(-expected, kind="stable").tolist():
        kept[site] = not kept[rivals[site]].any()
    return kept
