"""From images to columns: resample, run the net in tiles, decode, calibrate."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.schema import SPECIES
from ceria_models.contrast import apparent_dose, net_input
from ceria_models.decoding import Peaks, calibrated, column_rows, find_peaks
from ceria_models.domain import departures
from ceria_models.errors import ImageError
from ceria_models.model import Model, PixelOutput
from ceria_models.resampling import resample_counts
from ceria_models.runtime import Runtime, open_runtime
from ceria_models.tiles import Tile, tiles_of

TILE = 512
"""Pixels of a tile's core along each axis."""
_SAMPLING = (0.01, 1.0)
_SAME_PLACE = 0.02
"""Two tiles see the same pixels around a column, and put it at one place but for rounding [Å]."""
_SMALLEST = 16
"""Pixels along an axis: 3 Å show no column with its neighbours."""


@dataclass(frozen=True)
class Prediction:
    """What a net says about some images.

    Attributes
    ----------
    columns : DataFrame
        frame, species, x_A, y_A, occupancy, confidence, z_mean_A, z_spread_A, p_0 to p_K;
        x along the last array axis, origin at the centre of pixel (0, 0). p_0 is the
        probability that there is no column.
    label : array of uint8, shape (frame, species, y, x)
        Most probable class of every pixel; 0 = background.
    confidence : array of float32, shape (frame, species, y, x)
        Its probability.
    probabilities : array of float16, shape (frame, species, class, y, x), or None
    dose_e_per_A2 : array of float64, shape (frame,)
        As the noise of each image tells.
    in_domain : bool
        Whether all images are of the kind that the net has seen.
    far_out : bool
        Whether one lies so far outside that the result means nothing.
    warnings : list of str
        In which way they are not.
    """

    columns: pd.DataFrame
    label: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    probabilities: NDArray[np.float16] | None
    dose_e_per_A2: NDArray[np.float64]
    in_domain: bool
    far_out: bool
    warnings: list[str] = field(default_factory=list)


def predict(
    model: Model,
    images: NDArray[np.floating] | NDArray[np.integer],
    sampling: float,
    *,
    probabilities: bool = False,
    tile: int = TILE,
    runtime: str = "float32",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Prediction:
    """Count the atoms of every column in one image or several.

    Parameters
    ----------
    model : Model
        As from `from_pretrained`.
    images : array, shape (y, x) or (frame, y, x)
        Counts, or any linear scale with zero = no electrons.
    sampling : float
        Pixel size at the specimen [Å/pixel]; images are brought to that of the net.
    probabilities : bool
        Keep the probabilities of all classes of every pixel.
    tile : int
        Pixels of a tile's core along each axis.
    runtime : str
        What runs the net, see `runtime.open_runtime`: ``float32``, ``bfloat16`` or an ONNX file.
    on_progress : callable
        Told frames done and in all.

    Returns
    -------
    Prediction
        Outside of what the net has seen it carries warnings, and `in_domain` is False.

    Raises
    ------
    ImageError
        If the images have another number of dimensions, are too small, constant or not
        finite, or the sampling is impossible.
    ConfigError, NotAModelError, MissingExtraError
        If the runtime cannot be used.
    """
    frames = checked_images(images, sampling)
    run = open_runtime(model, runtime)
    shape = (len(frames), len(SPECIES), *frames.shape[1:])
    classes = model.config.net.max_count + 1
    # Made once and filled tile by tile: everything else of an image is gone with its tile.
    pixels = _Pixels(
        np.empty(shape, dtype=np.uint8),
        np.empty(shape, dtype=np.float32),
        np.empty((*shape[:2], classes, *shape[2:]), dtype=np.float16) if probabilities else None,
    )
    tables, doses = [], []
    warnings: dict[str, bool] = {}
    for number, image in enumerate(frames):
        dose = apparent_dose(image, sampling)
        for departure in departures(image, sampling, dose, model.config.domain):
            text = departure.text if len(frames) == 1 else f"frame {number}: {departure.text}"
            warnings[text] = departure.far
        table = _predict_one(model, run, image, sampling, dose, tile, pixels.of_frame(number))
        table.insert(0, "frame", number)
        tables.append(table)
        doses.append(dose)
        on_progress(number + 1, len(frames))
    return Prediction(
        pd.concat(tables, ignore_index=True),
        pixels.label,
        pixels.confidence,
        pixels.probabilities,
        np.array(doses),
        in_domain=not warnings,
        far_out=any(warnings.values()),
        warnings=list(warnings),
    )


@dataclass(frozen=True)
class _Pixels:
    """Classes of pixels, shape (frame, species, y, x), or (species, y, x) for one image."""

    label: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    probabilities: NDArray[np.float16] | None

    def of_frame(self, number: int) -> "_Pixels":
        """View the pixels of one frame."""
        kept = self.probabilities
        return _Pixels(
            self.label[number], self.confidence[number], None if kept is None else kept[number]
        )


def _predict_one(
    model: Model,
    run: Runtime,
    image: NDArray[np.floating] | NDArray[np.integer],
    sampling: float,
    dose: float,
    tile: int,
    pixels: _Pixels,
) -> pd.DataFrame:
    """List the columns of one image, in its own coordinates; fill in the classes of its pixels."""
    step = model.config.sampling_A
    view = resample_counts(image, sampling, step)
    if min(view.image.shape) < _SMALLEST:
        raise ImageError(
            f"the image shows {image.shape[0] * sampling:.3g} × {image.shape[1] * sampling:.3g} Å; "
            f"expected at least {_SMALLEST * step:.3g} Å along each axis: is the pixel size of "
            f"{sampling:.4g} Å right?"
        )
    mean = float(image.mean(dtype=np.float64))
    # For the pixels of the image along each axis, the nearest one that the net sees.
    nearest = [
        np.clip(np.rint((np.arange(n) * sampling - first) / step), 0, m - 1).astype(np.int64)
        for n, first, m in zip(image.shape, view.origin, view.image.shape, strict=True)
    ]
    parts: list[dict[str, Peaks]] = []
    for part in tiles_of(view.image.shape, model.net, tile):
        output = run(net_input(view.image[part.rows, part.columns], mean, dose))
        _fill(pixels, part, nearest, output, model, dose)
        parts.append(_peaks_of(part, view.image.shape, output, model))
    together = {species: _united([part[species] for part in parts]) for species in SPECIES}
    table = column_rows(together, model.config.column_calibration, dose)
    table["y_A"] += view.origin[0]
    table["x_A"] += view.origin[1]
    return table


def _fill(
    pixels: _Pixels,
    part: Tile,
    nearest: list[NDArray[np.int64]],
    output: PixelOutput,
    model: Model,
    dose: float,
) -> None:
    """Write the calibrated classes of a tile's core to the pixels of the image there."""
    rows, columns = (
        slice(*np.searchsorted(near, (core.start, core.stop)))
        for near, core in zip(nearest, (part.core_rows, part.core_columns), strict=True)
    )
    of_core = np.ix_(
        nearest[0][rows] - part.core_rows.start, nearest[1][columns] - part.core_columns.start
    )
    for index, species in enumerate(SPECIES):
        logits = np.moveaxis(output.logits[index][:, *part.core], 0, -1)
        p = calibrated(logits, model.config.pixel_calibration[species], dose)
        pixels.label[index, rows, columns] = p.argmax(-1)[of_core]
        pixels.confidence[index, rows, columns] = p.max(-1)[of_core]
        if pixels.probabilities is not None:
            pixels.probabilities[index, :, rows, columns] = np.moveaxis(p[of_core], -1, 0)


def _peaks_of(
    part: Tile, shape: tuple[int, ...], output: PixelOutput, model: Model
) -> dict[str, Peaks]:
    """Find the peaks in a tile's core, and a little beyond, in the image's coordinates."""
    step, beyond = model.config.sampling_A, model.config.decoding.separation_A / 4
    found = {}
    for species, own in find_peaks(output, step, model.config.decoding).items():
        x, y = own.x + part.columns.start * step, own.y + part.rows.start * step
        inside = np.ones(len(own), dtype=bool)
        for at, core, n in ((y, part.core_rows, shape[0]), (x, part.core_columns, shape[1])):
            inside &= (at > (core.start - 0.5) * step - beyond) | (core.start == 0)
            inside &= (at < (core.stop - 0.5) * step + beyond) | (core.stop == n)
        moved = Peaks(x, y, own.logits, own.z, own.z_spread)
        found[species] = moved.keep(inside)
    return found


def _united(parts: list[Peaks]) -> Peaks:
    """Join the peaks of all tiles; one that two tiles found counts once."""
    if len(parts) == 1:
        return parts[0]
    together = Peaks(
        *(np.concatenate(values) for values in zip(*(vars(p).values() for p in parts), strict=True))
    )
    keep = np.ones(len(together), dtype=bool)
    order = np.argsort(together.y, kind="stable")
    for rank, i in enumerate(order):
        for j in order[rank + 1 :]:
            if together.y[j] - together.y[i] > _SAME_PLACE:
                break
            if abs(together.x[j] - together.x[i]) < _SAME_PLACE:
                keep[j] = False
    return together.keep(keep)


def checked_images(
    images: NDArray[np.floating] | NDArray[np.integer], sampling: float
) -> NDArray[np.floating] | NDArray[np.integer]:
    """Refuse what no net can read.

    Parameters
    ----------
    images : array, shape (y, x) or (frame, y, x)
    sampling : float
        Å/pixel.

    Returns
    -------
    array, shape (frame, y, x)

    Raises
    ------
    ImageError
        As `predict`.
    """
    array = np.asarray(images)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ImageError(f"images have the shape {array.shape}; expected (y, x) or (frame, y, x)")
    if not np.issubdtype(array.dtype, np.integer) and not np.issubdtype(array.dtype, np.floating):
        raise ImageError(f"images are {array.dtype}; expected real numbers")
    smallest, largest = _SAMPLING
    if not smallest <= sampling <= largest:
        raise ImageError(
            f"the pixel size is {sampling:.4g} Å; expected {smallest} to {largest} Å at the "
            "specimen (0.02 nm is 0.2 Å)"
        )
    frames = array if array.ndim == 3 else array[None]
    for number, image in enumerate(frames):
        where = f"frame {number}" if array.ndim == 3 else "the image"
        low, high = image.min(), image.max()  # not finite if any pixel is not
        if not (np.isfinite(low) and np.isfinite(high)):
            bad = int((~np.isfinite(image)).sum())
            raise ImageError(f"{where} has {bad} pixels that are not finite; mask or replace them")
        if low == high:
            raise ImageError(f"every pixel of {where} is {image.flat[0]}; expected an image")
    return frames
