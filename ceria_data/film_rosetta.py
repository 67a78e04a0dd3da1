"""Films of DigitalMicrograph (.dm3, .dm4) and Velox (.emd), read by RosettaSciIO."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceria_data.errors import FilmError, MissingExtraError
from ceria_data.film import Film, check_frames
from ceria_data.film_axes import Axis, calibrated


def film_of_dm(path: Path) -> Film:
    """Open a file of DigitalMicrograph."""
    with reading(path, "rosettasciio"):
        from rsciio.digitalmicrograph import file_reader

        try:
            signals = file_reader(str(path), lazy=True)
        except ValueError as error:
            if "RGBA" in str(error):
                raise FilmError(f"{path} is in colour; expected grey values") from error
            raise
    return _film(path, signals)


def film_of_velox(path: Path) -> Film:
    """Open the images of a Velox file."""
    with reading(path, "rosettasciio"):
        from rsciio.emd import file_reader

        signals = file_reader(str(path), lazy=True, select_type="images")
    return _film(path, signals)


@contextmanager
def reading(path: Path, module: str) -> Iterator[None]:
    """Turn what a library raises about a file into one clear error."""
    loud = logging.getLogger("rsciio")
    level = loud.level
    loud.setLevel(logging.ERROR)
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(f"reading {path}", "em", error.name or module) from error
    except FilmError:
        raise
    except Exception as error:  # libraries raise many types for damaged files
        what = str(error) or type(error).__name__
        raise FilmError(f"{path} cannot be read: {what}; is it whole?") from error
    finally:
        loud.setLevel(level)


def _film(path: Path, signals: list[dict[str, Any]]) -> Film:
    """Make a film of the one signal that is a series of frames, or of the only one."""
    films = [signal for signal in signals if len(signal["data"].shape) == 3]
    chosen = signals if len(signals) == 1 else films
    if len(chosen) != 1:
        shapes = ", ".join(str(tuple(signal["data"].shape)) for signal in signals) or "none"
        raise FilmError(
            f"{path} holds {len(signals)} images or spectra ({shapes}); expected one film: export "
            "the one that is meant"
        )
    values = chosen[0]["data"]
    check_frames(values.shape, values.dtype, str(path))
    stack = values if values.ndim == 3 else values[None]
    *frames, y, x = sorted(chosen[0]["axes"], key=lambda axis: int(axis.get("index_in_array", 0)))

    def read(start: int, stop: int) -> NDArray[Any]:
        with reading(path, "dask"):
            return np.asarray(stack[start:stop].compute(scheduler="synchronous"))

    film = Film(str(path), (stack.shape[1], stack.shape[2]), len(stack), read)
    if "eV" in str(frames[0].get("units", "") if frames else ""):
        raise FilmError(f"{path} is a spectrum image; expected a series of frames")
    film = calibrated(film, _axis(y), _axis(x), _axis(frames[0]) if frames else None)
    return replace(film, energy_keV=_energy(chosen[0]))


def _axis(facts: dict[str, Any]) -> Axis:
    return Axis(float(facts.get("scale") or 0), str(facts.get("units") or ""))


def _energy(signal: dict[str, Any]) -> float | None:
    """Find the energy [keV], where RosettaSciIO says that it would be mapped to."""
    for place, (target, *convert) in signal.get("mapping", {}).items():
        if not target.endswith("TEM.beam_energy"):
            continue
        value: Any = signal["original_metadata"]
        for name in place.split("."):
            value = value.get(name) if hasattr(value, "get") else None
        if value:
            energy = float(convert[0](value) if convert and convert[0] else value)
            return energy if energy > 0 else None
    return None
