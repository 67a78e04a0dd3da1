"""Images of a dataset as a film."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.dataset import open_dataset
from ceria_data.detector import electrons
from ceria_data.film import Film
from ceria_data.parameters import camera_from_row


def film_of_dataset(source: str | Path, split: str | None = None, limit: int | None = None) -> Film:
    """Open the images of a dataset, as electrons.

    Parameters
    ----------
    source : str or Path
        As for `open_dataset`.
    split : str, optional
    limit : int, optional
        The first images only.

    Returns
    -------
    Film
        Its `samples` are the rows of `samples.parquet`.

    Examples
    --------
    >>> film = film_of_dataset("ceria-columns-mini", split="test")
    >>> len(film), len(film.samples), film.energy_keV
    (120, 120, 300.0)
    """
    dataset = open_dataset(source, split)
    n = len(dataset) if limit is None else min(limit, len(dataset))

    def read(start: int, stop: int) -> NDArray[Any]:
        images = np.empty((stop - start, *dataset.field.shape))
        for at, row in enumerate(range(start, stop)):
            sample = dataset[row]
            images[at] = electrons(sample.counts, camera_from_row(sample.parameters))
        return images

    frame_time, notes = _timing(dataset.samples[:n])
    return Film(
        source=str(source),
        shape=dataset.field.shape,
        n_frames=n,
        read=read,
        sampling=dataset.field.sampling,
        frame_time_s=frame_time,
        dose_e_per_A2=_the_one(dataset.samples["dose_e_per_A2"][:n]),
        energy_keV=_the_one(dataset.samples["energy_keV"][:n]),
        notes=notes,
        samples=tuple(int(row) for row in dataset.samples["sample"][:n]),
    )


def _timing(samples: pd.DataFrame) -> tuple[float | None, tuple[str, ...]]:
    """Find the time between frames of a particle, the same for all of them."""
    follows = (samples["particle"].diff() == 0) & (samples["frame"].diff() == 1)
    steps = samples["time_s"].diff()[follows]
    if len(steps) == 0 or not steps.min() > 0 or steps.max() > 1.001 * steps.min():
        return None, ()
    films = int((~follows).sum())
    note = f"it holds {films} films, one after the other; choose one by its split or its frames"
    return float(f"{steps.mean():.7g}"), (note,) if films > 1 else ()


def _the_one(values: Any) -> float | None:
    """Give the value that all rows share, if they do."""
    known = set(values.tolist())
    return float(known.pop()) if len(known) == 1 else None
