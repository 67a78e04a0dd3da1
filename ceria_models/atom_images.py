"""What one atom of each species adds to an image, learned from the mean of a film.

In the weak contrast of one column the others are a nuisance, in the mean of a film they are a
lesson: all were imaged under the same focus, aberrations and tilt. The mean is written as the
sum of round images at the places of the columns, n g₁(r) + n² g₂(r) + n³ g₃(r) for a column of
n atoms, and the functions g are fitted by least squares. The n-th atom then adds the difference
to n - 1 atoms: the higher terms are what thickness does to the brightness of an atom.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ceria_data.schema import SPECIES
from ceria_models.frame_reading import Places

Floats = NDArray[np.float64]

REACH = 2.0
"""Å; what a column adds further away is small, and is left to its neighbours and the background."""
WIDTHS = (0.3, 0.45, 0.7, 1.05, 1.5)
"""Standard deviations of the Gaussians whose sum an atom's image is [Å]."""
_POWERS = np.arange(1, 4)
_USUAL = 6.0
"""Atoms; counts are taken in this unit, so that their powers are of one size."""
_FEWEST = 6
"""Columns of a species from which its image can be learned."""
_PATCH = 288
"""Pixels along an axis of the part of a large image that is learned from."""
_RIDGE = 1e-2
"""Weight of small coefficients, relative to that of the image; powers of n are nearly parallel."""


@dataclass(frozen=True)
class Window:
    """Pixels around places.

    Attributes
    ----------
    pixel : array of int64, shape (entry,)
        Number of the pixel in the flattened image.
    place : array of int64, shape (entry,)
        Number of the place.
    distance : array of float64, shape (entry,)
        Between them [Å].
    """

    pixel: NDArray[np.int64]
    place: NDArray[np.int64]
    distance: Floats


def window_of(places: Floats, shape: tuple[int, int], sampling: float) -> Window:
    """List the pixels within reach of places.

    Parameters
    ----------
    places : array of float64, shape (place, (y, x))
        Å; the centre of pixel (0, 0) is the origin.
    shape : tuple of int
        Pixels (y, x).
    sampling : float
        Å/pixel.

    Returns
    -------
    Window

    Examples
    --------
    >>> window = window_of(np.array([[0.0, 0.0]]), (40, 50), 1.0)
    >>> window.pixel.tolist(), window.distance.round(2).tolist()
    ([0, 1, 2, 50, 51, 100], [0.0, 1.0, 2.0, 1.0, 1.41, 2.0])
    """
    span = np.arange(-int(REACH / sampling) - 1, int(REACH / sampling) + 2)
    dy, dx = (grid.ravel() for grid in np.meshgrid(span, span, indexing="ij"))
    middle = np.rint(places / sampling).astype(np.int64)
    y, x = middle[:, :1] + dy, middle[:, 1:] + dx
    distance = np.hypot(y * sampling - places[:, :1], x * sampling - places[:, 1:])
    near = (distance <= REACH) & (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
    place = np.broadcast_to(np.arange(len(places))[:, None], near.shape)
    return Window((y * shape[1] + x)[near], place[near], distance[near])


@dataclass(frozen=True)
class AtomImages:
    """Images of the atoms of a film.

    Attributes
    ----------
    background : float
        Without columns, in units of the mean of the image.
    terms : dict of str to array of float64, shape (3, width)
        Weights of Gaussians of `WIDTHS` in g₁ to g₃, by species that could be learned.
    """

    background: float
    terms: dict[str, Floats]

    def column(self, species: str, count: Floats, distance: Floats) -> Floats:
        """Give what columns add to an image, in units of its mean.

        Parameters
        ----------
        species : str
            One that could be learned.
        count : array of float64, shape (entry,)
            Atoms of the column.
        distance : array of float64, shape (entry,)
            From its middle [Å].

        Returns
        -------
        array of float64, shape (entry,)
        """
        radial = self.terms[species] @ _gaussians(distance).T
        value: Floats = (_powers(count).T * radial).sum(axis=0)
        return value

    def atom(self, species: str, count: Floats, distance: Floats) -> Floats:
        """Give what the last atoms of columns add to an image, in units of its mean.

        Parameters
        ----------
        species : str
            One that could be learned.
        count : array of float64, shape (entry,)
            Atoms of the column; of less than one, as of one.
        distance : array of float64, shape (entry,)
            From its middle [Å].

        Returns
        -------
        array of float64, shape (entry,)
        """
        last = np.maximum(count, 1.0)
        return self.column(species, last, distance) - self.column(species, last - 1, distance)


def learn_atom_images(
    mean: NDArray[np.floating], sampling: float, places: Places, counts: dict[str, Floats]
) -> AtomImages:
    """Fit the images of one atom to the mean of a film.

    Parameters
    ----------
    mean : array of float, shape (y, x)
        Any linear scale with 0 = no electrons.
    sampling : float
        Å/pixel.
    places : dict of str to array of float64, shape (place, (y, x))
        Of the columns [Å], by species.
    counts : dict of str to array of float64, shape (place,)
        Atoms there, as expected.

    Returns
    -------
    AtomImages
        Without a species that has fewer than 6 columns with atoms.

    Examples
    --------
    Columns of 1 to 4 atoms, each atom a Gaussian of height 0.2:

    >>> rng = np.random.default_rng(0)
    >>> at = 3.0 * np.argwhere(np.ones((6, 6))) + 3
    >>> n = rng.integers(1, 5, len(at)).astype(float)
    >>> y, x = 0.2 * np.mgrid[:110, :110]
    >>> image = np.ones((110, 110))
    >>> for (v, u), atoms in zip(at, n):
    ...     image += 0.2 * atoms * np.exp(-((y - v)**2 + (x - u)**2) / (2 * 0.45**2))
    >>> none = {"O": np.empty((0, 2))}
    >>> found = learn_atom_images(image, 0.2, {"Ce": at} | none, {"Ce": n, "O": np.empty(0)})
    >>> (found.atom("Ce", np.full(2, 2.0), np.array([0.0, 0.6])) * image.mean()).round(2)
    array([0.2 , 0.08])
    """
    part = _part_around(np.concatenate([places[s] for s in SPECIES]), mean.shape, sampling)
    own = np.asarray(mean[part], dtype=np.float64)
    corner = np.array([p.start for p in part]) * sampling
    scale = float(own.mean())
    image = own.ravel() / scale
    blocks, known = [], []
    for species in SPECIES:
        window = window_of(places[species] - corner, own.shape, sampling)
        if (counts[species][np.unique(window.place)] > 0.5).sum() >= _FEWEST:
            blocks.append(_regressors(window, counts[species], image.size))
            known.append(species)
    matrix = np.column_stack([*blocks, np.ones(image.size)])
    # Electrons are counted: the variance of a pixel goes with its mean.
    weight = 1 / np.sqrt(np.maximum(image, 0.1))
    weighted = matrix * weight[:, None]
    length = np.sqrt((weighted**2).sum(axis=0))
    weighted /= length
    ridge = np.eye(weighted.shape[1])[:-1] * _RIDGE
    target = np.concatenate([image * weight, np.zeros(len(ridge))])
    solved = np.linalg.lstsq(np.concatenate([weighted, ridge]), target, rcond=None)[0] / length
    terms = solved[:-1].reshape(len(known), len(_POWERS), len(WIDTHS))
    # In units of the mean of the whole image, which frames are divided by.
    to_mean = scale / float(mean.mean(dtype=np.float64))
    images = dict(zip(known, terms * to_mean, strict=True))
    return AtomImages(float(solved[-1]) * to_mean, images)


def _gaussians(distance: Floats) -> Floats:
    """Gaussians of all widths, (entry, width)."""
    values: Floats = np.exp(-0.5 * (distance[:, None] / np.array(WIDTHS)) ** 2)
    return values


def _powers(counts: Floats) -> Floats:
    """Powers of counts, (column, power)."""
    powers: Floats = (counts[:, None] / _USUAL) ** _POWERS
    return powers


def _regressors(window: Window, counts: Floats, size: int) -> Floats:
    """Image of all columns of a species for a unit weight of each Gaussian, (pixel, term)."""
    shape = (size, len(counts))
    parts = [
        csr_array((values, (window.pixel, window.place)), shape=shape) @ _powers(counts)
        for values in _gaussians(window.distance).T
    ]
    together: Floats = np.stack(parts, axis=2).reshape(size, -1)
    return together


def _part_around(places: Floats, shape: tuple[int, ...], sampling: float) -> tuple[slice, slice]:
    """Cut the part of a large image that lies around the middle of its columns."""
    middle = np.median(places, axis=0) / sampling if len(places) else np.array(shape) / 2
    parts = []
    for at, n in zip(middle, shape, strict=True):
        start = int(np.clip(at - _PATCH / 2, 0, max(n - _PATCH, 0)))
        parts.append(slice(start, min(start + _PATCH, n)))
    return parts[0], parts[1]
