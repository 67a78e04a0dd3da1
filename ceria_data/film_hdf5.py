"""Films of HyperSpy (.hspy, .zspy) and of the Berkeley .emd format."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceria_data.errors import FilmError
from ceria_data.film import Film, check_frames
from ceria_data.film_axes import Axis, calibrated, plain_unit
from ceria_data.film_rosetta import film_of_velox, reading

_TIMES = {"s", "ms", "µs", "us", "ns", "sec", "second", "min"}
_FRAME_NAMES = {"time", "t", "frame", "z", "stack", "image"}


def film_of_hspy(path: Path) -> Film:
    """Open a .hspy file, lazily."""
    with reading(path, "h5py"):
        import h5py

        return film_of_signal(path, h5py.File(path, "r"))


def film_of_emd(path: Path) -> Film:
    """Open an .emd file: of Velox, or of the Berkeley format."""
    with reading(path, "h5py"):
        import h5py

        file = h5py.File(path, "r")
        if "Data/Image" not in file:
            return _film_of_berkeley(path, file)
    return film_of_velox(path)


def film_of_signal(path: Path, store: Mapping[str, Any]) -> Film:
    """Make a film of the signal in a store of HyperSpy, HDF5 or Zarr.

    Parameters
    ----------
    path : Path
    store : mapping
        The opened file or folder.

    Returns
    -------
    Film

    Raises
    ------
    FilmError
        If it holds no signal, or several.
    """
    signals: Any = store["Experiments"]
    names = list(signals)
    if len(names) != 1:
        raise FilmError(
            f"{path} holds {len(names)} signals ({', '.join(names)}); expected one film: save the "
            "one that is meant"
        )
    signal = signals[names[0]]
    values = signal["data"]
    axes: list[Any] = [signal[f"axis-{i}"].attrs for i in range(len(values.shape))]
    film = film_of_values(path, values)
    steps: list[Axis] = [
        Axis(float(axis.get("scale", 0)), _text(axis.get("units"))) for axis in axes
    ]
    film = calibrated(film, steps[-2], steps[-1], steps[0] if len(steps) == 3 else None)
    place = "metadata/Acquisition_instrument/TEM"
    energy = signal[place].attrs.get("beam_energy") if place in signal else None
    return replace(film, energy_keV=float(energy) if energy else None)


def film_of_values(path: Path, values: Any, order: tuple[int, int, int] = (0, 1, 2)) -> Film:
    """Make a film of an array that is read by slices: HDF5 or Zarr.

    Parameters
    ----------
    path : Path
    values : array of h5py or zarr
        Two or three axes.
    order : tuple of int
        Where frame, y and x are among three axes.

    Returns
    -------
    Film
    """
    check_frames(values.shape, values.dtype, str(path))
    if values.ndim == 2:
        (ny, nx), n = values.shape, 1
    else:
        n, ny, nx = (values.shape[i] for i in order)

    def read(start: int, stop: int) -> NDArray[Any]:
        with reading(path, "h5py"):
            if values.ndim == 2:
                return np.asarray(values[...])[None][start:stop]
            index = [slice(None)] * 3
            index[order[0]] = slice(start, stop)
            return np.asarray(values[tuple(index)]).transpose(order)

    return Film(str(path), (int(ny), int(nx)), int(n), read)


def _film_of_berkeley(path: Path, file: Any) -> Film:
    """Find the one array of images; programs store its axes in either order."""
    groups: list[Any] = []

    def collect(_: str, thing: Any) -> None:
        if "emd_group_type" in thing.attrs and hasattr(thing.get("data"), "ndim"):
            groups.append(thing)

    file.visititems(collect)
    groups = [group for group in groups if group["data"].ndim in (2, 3)] or groups
    if len(groups) != 1:
        names = ", ".join(group.name for group in groups) or "none"
        raise FilmError(f"{path} holds {len(groups)} images or films ({names}); expected one")
    values = groups[0]["data"]
    first = 0 if "dim0" in groups[0] else 1
    dims = [_dimension(groups[0], f"dim{first + i}") for i in range(values.ndim)]
    check_frames(values.shape, values.dtype, str(path))
    order = _order([name for name, _ in dims], [plain_unit(axis.unit) for _, axis in dims])
    film = film_of_values(path, values, order)
    if values.ndim == 2:
        return calibrated(film, dims[0][1], dims[1][1])
    in_order = [dims[i][1] for i in order]
    return calibrated(film, in_order[1], in_order[2], in_order[0])


def _order(names: list[str], units: list[str]) -> tuple[int, int, int]:
    """Find frame, y and x among three axes, by their names and units."""
    if len(names) != 3:
        return 0, 1, 2
    timed = [i for i, unit in enumerate(units) if unit in _TIMES]
    named = [i for i, name in enumerate(names) if name in _FRAME_NAMES]
    frame = (timed or named or [0])[0]
    y, x = (i for i in range(3) if i != frame)
    if (names[y], names[x]) == ("x", "y") or (frame == 2 and names[x] != "x"):
        y, x = x, y
    return frame, y, x


def _dimension(group: Any, name: str) -> tuple[str, Axis]:
    """Name and step of an axis, from the places of its first two pixels."""
    if name not in group:
        return "", Axis(None, "")
    dim = group[name]
    places = np.asarray(dim[:2] if dim.ndim == 1 else [], dtype=np.float64)
    step = float(places[1] - places[0]) if len(places) == 2 else None
    unit = _text(dim.attrs.get("units")).strip("[]").replace("_", "")
    return _text(dim.attrs.get("name")).strip().lower(), Axis(step, unit)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)
