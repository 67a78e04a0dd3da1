"""A reader for napari: drop the folder of a predicted film into its window.

Neither napari nor Qt is needed to import this module; napari calls it by `napari.yaml`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.film import Film
from ceria_models.export_stack import species_of
from ceria_models.film_tables import COLUMNS, FACTS, SITES, TRACKS, open_long_table
from ceria_models.overlay import COLOUR_MAPS
from ceria_models.report_frames import film_of_tables
from ceria_models.report_tables import (
    PredictedFilm,
    read_predicted_film,
)

Layer = tuple[Any, dict[str, Any], str]
_SIZE_A = {"Ce": 1.1, "O": 0.84}
"""Diameter of a point."""


@dataclass(frozen=True)
class LazyFrames:
    """Frames of a film as napari takes arrays: read when they are looked at.

    Attributes
    ----------
    film : Film
    n_frames : int
    """

    film: Film
    n_frames: int

    ndim = 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sizes of (frame, y, x)."""
        return self.n_frames, *self.film.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored."""
        return self.film.frames(0, 1).dtype

    def __len__(self) -> int:
        return self.n_frames

    def __getitem__(self, key: Any) -> NDArray[Any]:
        first, *rest = (key if isinstance(key, tuple) else (key,)) or (slice(None),)
        numbers = np.arange(self.n_frames)[first]
        found = [self.film.frames(i, i + 1)[0] for i in numbers.ravel().tolist()]
        block = np.stack(found) if found else np.empty((0, *self.film.shape), self.dtype)
        return block[(slice(None), *rest)] if numbers.ndim else block[0][tuple(rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.film.frames(0, self.n_frames), dtype=dtype)


def napari_get_reader(path: str | list[str]) -> Callable[[Any], list[Layer]] | None:
    """Say who reads a path: this module, if it is the folder of a predicted film.

    Parameters
    ----------
    path : str or list of str

    Returns
    -------
    callable or None

    Examples
    --------
    >>> napari_get_reader("picture.png") is None
    True
    """
    if isinstance(path, list):
        return napari_get_reader(path[0]) if len(path) == 1 else None
    folder = Path(path)
    there = (folder / FACTS).is_file() and (folder / SITES).is_file()
    return read_layers if there else None


def read_layers(path: str | list[str]) -> list[Layer]:
    """Make the layers of a predicted film: frames, counts of each species, events.

    Parameters
    ----------
    path : str or list of str

    Returns
    -------
    list of tuple
        What a layer holds, its options, and its type. Axes are time, y, x; points are in pixels.

    Raises
    ------
    FilmFolderError, FilmTableError
        If the folder holds no predicted film, or one of its files is damaged.
    """
    tables = read_predicted_film(Path(path[0] if isinstance(path, list) else path))
    step = tables.frame_time_s
    shared: dict[str, Any] = {
        "scale": (step or 1.0, tables.sampling, tables.sampling),
        "units": ("s" if step else "pixel", "angstrom", "angstrom"),
        "axis_labels": ("time", "y", "x"),
    }
    film, _ = film_of_tables(tables)
    layers: list[Layer] = []
    if film is not None:
        options = {"name": tables.name, "colormap": "gray", **shared}
        layers.append((LazyFrames(film, len(tables.frames)), options, "image"))
    else:
        options = {"name": f"mean of {tables.name}", "colormap": "gray", **shared}
        layers.append((tables.reference[None], options, "image"))
    found = _counted(tables)
    layers += [
        _points(tables, found[found["species"] == name], name, shared)
        for name in species_of(tables)
    ]
    if len(tables.events):
        layers.append(_events(tables, shared))
    return layers


def _counted(tables: PredictedFilm) -> pd.DataFrame:
    """List columns with their counts, tracked ones where `track` has run, at places in frames."""
    if not tables.tracked:
        names = ["frame", "species", "x_A", "y_A", "occupancy", "confidence"]
        open_long_table(tables.folder / COLUMNS, names)
        return pd.DataFrame(pd.read_parquet(tables.folder / COLUMNS, columns=names))
    names = ["site", "frame", "occupancy", "confidence"]
    open_long_table(tables.folder / TRACKS, names)
    table = pd.DataFrame(pd.read_parquet(tables.folder / TRACKS, columns=names))
    table = table[table["occupancy"] > 0].reset_index(drop=True)
    sites, drift = tables.sites, tables.drift[table["frame"].to_numpy()]
    of_site = table["site"].to_numpy()
    return table.assign(
        species=sites["species"].to_numpy()[of_site],
        x_A=sites["x_A"].to_numpy()[of_site] + drift[:, 0],
        y_A=sites["y_A"].to_numpy()[of_site] + drift[:, 1],
    )


def _points(
    tables: PredictedFilm, found: pd.DataFrame, species: str, shared: dict[str, Any]
) -> Layer:
    # As floats: napari takes few different integers for names, and colours them at random.
    features = {
        name: found[name].to_numpy(dtype=np.int64 if name == "site" else np.float64)
        for name in ("site", "occupancy", "confidence")
        if name in found
    }
    options = {
        "name": f"{species} atoms",
        "features": features,
        "text": {"string": "{occupancy:.0f}", "size": 8, "color": "black"},
        "face_color": "occupancy",
        "face_colormap": COLOUR_MAPS[species],
        "border_width": 0,
        "size": _SIZE_A[species] / tables.sampling,
        # Discs that span frames would show columns of other times.
        "out_of_slice_display": False,
        "visible": species == "Ce",
        **shared,
    }
    return _in_pixels(tables, found), options, "points"


def _events(tables: PredictedFilm, shared: dict[str, Any]) -> Layer:
    events = tables.events.sort_values("time_s", ignore_index=True)
    frame = events["frame"].to_numpy(dtype=np.int64).clip(0, len(tables.frames) - 1)
    drift = tables.drift[frame]
    places = events.assign(
        frame=frame, x_A=events["x_A"] + drift[:, 0], y_A=events["y_A"] + drift[:, 1]
    )
    options = {
        "name": "events",
        "features": {
            name: events[name].to_numpy()
            for name in ("kind", "species", "time_s", "site_from", "site_to", "confidence")
        },
        "text": {"string": "{kind}", "size": 9, "color": "white", "anchor": "upper_left"},
        "face_color": "transparent",
        "border_color": "white",
        "size": 2.4 / tables.sampling,
        **shared,
    }
    return _in_pixels(tables, places), options, "points"


def _in_pixels(tables: PredictedFilm, table: pd.DataFrame) -> NDArray[np.float64]:
    """Places as frame, y, x."""
    at = table[["frame", "y_A", "x_A"]].to_numpy(dtype=np.float64)
    at[:, 1:] /= tables.sampling
    return at
