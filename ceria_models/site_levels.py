"""Levels: how many atoms the contrast of a column amounts to, judged by the film's other columns.

A net reads frames of all kinds of microscopes, and reads a column of this film with the same
mistake in each of them. What *changes* in a column is seen far better by comparing the frames
of the film with each other: least squares over all columns at once, with the images of one
atom that the mean of the film shows. For counted electrons the estimate has the smallest
variance of all linear ones.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, eye_array
from scipy.sparse.linalg import SuperLU, splu

from ceria_data.schema import SPECIES
from ceria_models.atom_images import AtomImages, window_of
from ceria_models.film_mean import aligned
from ceria_models.frame_reading import Places

Floats = NDArray[np.float64]

EDGE = 1.0
"""Columns closer than this to the border of a frame have no level in it [Å]."""
_RIDGE = 1e-3
_COLUMNS = 256
_DARKEST = 0.1
"""Pixels are weighted by the inverse of their mean, in units of the image's; not below this."""


@dataclass(frozen=True)
class LevelReader:
    """Reads the levels of all sites in the frames of one film.

    Attributes
    ----------
    places : array of float64, shape (site, (y, x))
        In the view of the reference [Å].
    known : array of bool, shape (site,)
        Whose species has an atom image.
    counts : array of float64, shape (site,)
        Atoms that the model of the mean has there.
    sampling : float
        Of the view [Å/pixel].
    model : array of float32, shape (y, x)
        The mean as sum of all columns, in units of its mean.
    design : csr_array, shape (site, pixel)
        Images of one atom, transposed and weighted.
    solver : SuperLU
        Of the normal equations.
    spread : array of float64, shape (site,)
        Standard deviation of the level in a frame with one counted electron a pixel [atoms]; it
        goes with the inverse root of the electrons. NaN without an atom image.

    References
    ----------
    .. [1] Van den Bos and den Dekker, Adv. Imaging Electron Phys. 117, 241 (2001): weighted least
       squares of counted electrons, and the Cramér-Rao bound that it reaches.
    """

    places: Floats
    known: NDArray[np.bool_]
    counts: Floats
    sampling: float
    model: NDArray[np.float32]
    design: csr_array
    solver: SuperLU
    spread: Floats

    def read(self, view: NDArray[np.floating], drift: tuple[float, float]) -> NDArray[np.float32]:
        """Read the levels of a frame.

        Parameters
        ----------
        view : array of float, shape (y, x)
            The frame on the pixels of the model, any linear scale with 0 = no electrons.
        drift : tuple of float
            Of the frame (y, x) [Å].

        Returns
        -------
        array of float32, shape (site,)
            Atoms; NaN of sites that are near the border of the frame, or outside, and of a
            species whose atom image could not be learned.
        """
        values, into = aligned(view, self.sampling, *drift)
        model = self.model[into]
        total = float(values.sum(dtype=np.float64))
        if not total > 0:
            return np.full(len(self.places), np.nan, dtype=np.float32)
        # The share of the electrons that is lost or counted twice is the same for all columns.
        scale = float(model.sum(dtype=np.float64)) / total
        rest = np.zeros(self.model.shape, dtype=np.float32)
        rest[into] = values * scale - model
        seen = self.design @ rest.ravel().astype(np.float64)
        level: Floats = self.counts + self.solver.solve(seen)
        level[~self._shown(view.shape, drift)] = np.nan
        return level.astype(np.float32)

    def _shown(self, shape: tuple[int, ...], drift: tuple[float, float]) -> NDArray[np.bool_]:
        at = self.places + drift
        last = (np.array(shape) - 1) * self.sampling
        shown: NDArray[np.bool_] = self.known & ((at >= EDGE) & (at <= last - EDGE)).all(axis=1)
        return shown


def level_reader(
    shape: tuple[int, int],
    sampling: float,
    images: AtomImages,
    places: Places,
    counts: dict[str, Floats],
) -> LevelReader:
    """Prepare the reading of levels.

    Parameters
    ----------
    shape : tuple of int
        Pixels of a view (y, x).
    sampling : float
        Å/pixel.
    images : AtomImages
    places : dict of str to array of float64, shape (site, (y, x))
        Å, by species.
    counts : dict of str to array of float64, shape (site,)
        As `images` were learned with.

    Returns
    -------
    LevelReader
        Sites in the order Ce, O.

    Examples
    --------
    A film whose third frame lacks an atom in one of 36 columns:

    >>> from ceria_models.atom_images import learn_atom_images
    >>> at = 3.0 * np.argwhere(np.ones((6, 6))) + 3
    >>> n = 1.0 + np.arange(36) % 4
    >>> y, x = 0.2 * np.mgrid[:110, :110]
    >>> atom = np.array([
    ...     0.2 * np.exp(-((y - v)**2 + (x - u)**2) / (2 * 0.45**2)) for v, u in at
    ... ])
    >>> frame = lambda counts: 1 + np.tensordot(counts, atom, 1)
    >>> places, counts = {"Ce": at, "O": np.empty((0, 2))}, {"Ce": n, "O": np.empty(0)}
    >>> images = learn_atom_images(frame(n), 0.2, places, counts)
    >>> reader = level_reader((110, 110), 0.2, images, places, counts)
    >>> lost = np.eye(36)[14]
    >>> (reader.read(7.0 * frame(n - lost), (0.0, 0.0)) - n)[13:16].round(1) + 0.0
    array([ 0., -1.,  0.])
    """
    size = shape[0] * shape[1]
    model = np.full(size, images.background)
    pixel, site, value = [], [], []
    first = 0
    for species in SPECIES:
        own, n = places[species], counts[species]
        if species in images.terms:
            window = window_of(own, shape, sampling)
            of_site = n[window.place]
            column = images.column(species, of_site, window.distance)
            np.add.at(model, window.pixel, column)
            pixel.append(window.pixel)
            site.append(window.place + first)
            value.append(images.atom(species, of_site, window.distance))
        first += len(own)
    known = np.concatenate([np.full(len(places[s]), s in images.terms) for s in SPECIES])
    atoms = csr_array(
        (np.concatenate(value), (np.concatenate(site), np.concatenate(pixel))), shape=(first, size)
    ) if value else csr_array((first, size))  # fmt: skip
    weighted = csr_array(atoms @ diags_array(1 / np.maximum(model, _DARKEST)))
    normal = weighted @ atoms.T
    diagonal = normal.diagonal()
    # Sites that no pixel speaks of keep their count; all else hardly feels this.
    floor = _RIDGE * (float(diagonal.mean()) if diagonal.any() else 1.0)
    solver = splu((normal + floor * eye_array(first)).tocsc())
    together = np.concatenate([counts[species] for species in SPECIES])
    return LevelReader(
        np.concatenate([places[species] for species in SPECIES]),
        known,
        together,
        sampling,
        model.reshape(shape).astype(np.float32),
        weighted,
        solver,
        np.where(known, _spread_of(solver, first), np.nan),
    )


def _spread_of(solver: SuperLU, n: int) -> Floats:
    """Roots of the diagonal of the inverse, some columns at a time."""
    variance = np.empty(n)
    for start in range(0, n, _COLUMNS):
        own = np.arange(start, min(start + _COLUMNS, n))
        unit = np.zeros((n, len(own)))
        unit[own, np.arange(len(own))] = 1.0
        variance[own] = solver.solve(unit)[own, np.arange(len(own))]
    spread: Floats = np.sqrt(variance)
    return spread
