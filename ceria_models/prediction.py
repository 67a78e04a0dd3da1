"""From images to columns: resample, run the net in tiles, decode, calibrate."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.schema import SPECIES
from ceria_models.contrast import apparent_dose
from ceria_models.decoding import calibrated
from ceria_models.domain import departures
from ceria_models.errors import ImageError
from ceria_models.frame_reading import NOWHERE, TILE, Reader, read_view, view_of
from ceria_models.model import Model, PixelOutput
from ceria_models.runtime import open_runtime
from ceria_models.tiles import Tile

_SAMPLING = (0.01, 1.0)
_SCALE = (1e-15, 1e15)
"""Of the largest value; far beyond, its square in float32 is none."""


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
    orientations: bool = False,
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
    orientations : bool
        Average over the eight orientations of every image: counts are a little better, and it
        takes eight times as long.
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
    reader = Reader(model, open_runtime(model, runtime, orientations=orientations), tile)
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
        table = _predict_one(reader, image, sampling, dose, pixels.of_frame(number))
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
    reader: Reader,
    image: NDArray[np.floating] | NDArray[np.integer],
    sampling: float,
    dose: float,
    pixels: _Pixels,
) -> pd.DataFrame:
    """List the columns of one image, in its own coordinates; fill in the classes of its pixels."""
    model, step = reader.model, reader.model.config.sampling_A
    view = view_of(image, sampling, model)
    mean = float(image.mean(dtype=np.float64))
    # For the pixels of the image along each axis, the nearest one that the net sees.
    nearest = [
        np.clip(np.rint((np.arange(n) * sampling - first) / step), 0, m - 1).astype(np.int64)
        for n, first, m in zip(image.shape, view.origin, view.image.shape, strict=True)
    ]

    def fill(part: Tile, output: PixelOutput) -> None:
        _fill(pixels, part, nearest, output, model, dose)

    return read_view(reader, view, mean, dose, NOWHERE, fill).columns


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
    if np.ma.is_masked(images):
        raise ImageError(
            f"{int(np.ma.getmaskarray(images).sum())} pixels are masked; expected a value in each: "
            "fill them, for example with the median of their neighbours"
        )
    array = np.asarray(images)
    array = array.astype(np.uint8) if array.dtype == bool else array
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ImageError(f"images have the shape {array.shape}; expected (y, x) or (frame, y, x)")
    if not np.issubdtype(array.dtype, np.integer) and not np.issubdtype(array.dtype, np.floating):
        raise ImageError(f"images are {array.dtype}; expected real numbers")
    check_sampling(sampling)
    frames = array if array.ndim == 3 else array[None]
    for number, image in enumerate(frames):
        trouble = trouble_of(image, f"frame {number}" if array.ndim == 3 else "the image")
        if trouble:
            raise ImageError(trouble)
    return frames


def check_sampling(sampling: float) -> None:
    """Refuse an impossible pixel size [Å].

    Raises
    ------
    ImageError
    """
    smallest, largest = _SAMPLING
    if not isinstance(sampling, int | float | np.number):
        raise ImageError(f"the pixel size is {sampling!r}; expected a number, in Å at the specimen")
    if not smallest <= sampling <= largest:
        raise ImageError(
            f"the pixel size is {sampling:.4g} Å; expected {smallest} to {largest} Å at the "
            "specimen (0.02 nm is 0.2 Å)"
        )


def trouble_of(image: NDArray[np.floating] | NDArray[np.integer], where: str) -> str | None:
    """Say what makes an image unreadable.

    Parameters
    ----------
    image : array, shape (y, x)
    where : str
        What the image is called.

    Returns
    -------
    str or None

    Examples
    --------
    >>> trouble_of(np.zeros((8, 8)), "frame 3")
    'every pixel of frame 3 is 0.0; expected an image'
    """
    low, high = image.min(), image.max()  # not finite if any pixel is not
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int((~np.isfinite(image)).sum())
        return (
            f"{where} has {bad} pixels that are not finite; replace them, for example with the "
            "median of their neighbours (of a film: --bad-pixels)"
        )
    if low == high:
        return f"every pixel of {where} is {image.flat[0]}; expected an image"
    largest = max(abs(float(low)), abs(float(high)))
    if not _SCALE[0] <= largest <= _SCALE[1]:
        return (
            f"the values of {where} reach {largest:.3g}; expected a scale on which they reach "
            f"{_SCALE[0]:g} to {_SCALE[1]:g}: multiply them by a number"
        )
    return None
