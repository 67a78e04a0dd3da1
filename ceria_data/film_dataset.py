"""Images of a dataset as a film."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceria_data.dataset import Dataset, open_dataset
from ceria_data.detector import electrons
from ceria_data.errors import FilmError
from ceria_data.film import Film
from ceria_data.parameters import camera_from_row


def film_of_dataset(
    source: str | Path,
    split: str | None = None,
    limit: int | None = None,
    particle: int | None = None,
) -> Film:
    """Open the images of a dataset, as electrons.

    Parameters
    ----------
    source : str or Path
        As for `open_dataset`.
    split : str, optional
    limit : int, optional
        The first images only.
    particle : int, optional
        The images of one particle only; in a dataset of films, its film.

    Returns
    -------
    Film
        Its `samples` are the rows of `samples.parquet`.

    Raises
    ------
    FilmError
        If there is no such particle, or there are several films and none is chosen.

    Examples
    --------
    >>> film = film_of_dataset("ceria-columns-mini", split="test")
    >>> len(film), len(film.samples), film.energy_keV
    (120, 120, 300.0)
    """
    return film_of_samples(open_dataset(source, split), limit, particle)


def film_of_samples(
    dataset: Dataset, limit: int | None = None, particle: int | None = None
) -> Film:
    """Take the images of an open dataset for the frames of a film; see `film_of_dataset`.

    Parameters
    ----------
    dataset : Dataset
        Perhaps `Dataset.at_dose`.
    limit, particle : int, optional

    Returns
    -------
    Film

    Raises
    ------
    FilmError
    """
    chosen = _chosen(dataset, particle)[:limit]
    samples = dataset.samples.iloc[chosen]

    def read(start: int, stop: int) -> NDArray[Any]:
        images = np.empty((stop - start, *dataset.field.shape))
        for at, row in enumerate(chosen[start:stop]):
            sample = dataset[int(row)]
            images[at] = electrons(sample.counts, camera_from_row(sample.parameters))
        return images

    steps = np.diff(samples["time_s"].to_numpy(dtype=np.float64))
    timed = dataset.has_films and len(steps)
    return Film(
        source=str(dataset.folder),
        shape=dataset.field.shape,
        n_frames=len(chosen),
        read=read,
        sampling=dataset.field.sampling,
        frame_time_s=float(f"{steps.mean():.7g}") if timed else None,
        dose_e_per_A2=_the_one(samples["dose_e_per_A2"]),
        energy_keV=_the_one(samples["energy_keV"]),
        samples=tuple(int(row) for row in samples["sample"]),
    )


def _chosen(dataset: Dataset, particle: int | None) -> NDArray[np.intp]:
    """Positions of the images in the dataset: of all particles, or of one."""
    particles = dataset.samples["particle"].to_numpy()
    there = np.unique(particles).tolist()
    if particle is None and dataset.has_films and len(there) > 1:
        raise FilmError(
            f"{dataset.folder} holds {len(there)} films, of particles {_listed(there)}; choose one "
            "with --particle"
        )
    if particle is None:
        return np.arange(len(particles))
    if particle not in there:
        raise FilmError(
            f"{dataset.folder} has no particle {particle} there; expected one of {_listed(there)}"
        )
    return np.flatnonzero(particles == particle)


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:12]))
    return shown + (f" … {numbers[-1]}" if len(numbers) > 12 else "")


def _the_one(values: Any) -> float | None:
    """Give the value that all rows share, if they do."""
    known = set(values.tolist())
    return float(known.pop()) if len(known) == 1 else None
