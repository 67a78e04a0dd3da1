"""Training crops: fresh noise and a fresh view of an image every time."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ceria_data.detector import electrons, record
from ceria_data.grid import Field
from ceria_data.parameters import camera_from_row
from ceria_data.randomness import sample_rng
from ceria_models.contrast import apparent_dose, net_input
from ceria_models.decoded import DecodedSplit, StructureColumns
from ceria_models.labels import Mask, PixelLabels, pixel_labels
from ceria_models.optics import optics_of, turned_optics
from ceria_models.resampling import resample_counts, resample_intensity


@dataclass(frozen=True)
class Views:
    """What is drawn anew for every crop.

    Attributes
    ----------
    size : int
        Pixels along each edge of a crop.
    dose : tuple of float
        Range of a log-uniform distribution [e-/Å²].
    other_pixels : float
        Share of crops that a camera with other pixels records.
    sampling : tuple of float
        Range of its pixel size [Å/pixel].
    calibration_error : float
        Its pixel size is wrong by up to this share.
    """

    size: int
    dose: tuple[float, float]
    other_pixels: float
    sampling: tuple[float, float]
    calibration_error: float

    def smallest_image(self, sampling: float) -> int:
        """Count the pixels along an axis that an image needs so that every crop is whole.

        Parameters
        ----------
        sampling : float
            Pixel size of the images [Å/pixel].

        Returns
        -------
        int

        Examples
        --------
        A camera whose pixels are 3 % larger than it says sees more of the specimen, and up to
        a pixel at the edge, of its own and of the net's, is lost:

        >>> Views(64, (30.0, 3000.0), 0.0, (0.09, 0.25), 0.03).smallest_image(0.2)
        64
        >>> Views(64, (30.0, 3000.0), 0.25, (0.09, 0.25), 0.03).smallest_image(0.2)
        69
        """
        if not self.other_pixels:
            return self.size
        lost = 1 + self.sampling[1] / sampling
        return math.ceil((self.size + lost) * (1 + self.calibration_error))


@dataclass(frozen=True)
class Batch:
    """Crops and their labels as tensors, first axis crop; see `PixelLabels` and `OPTICS`."""

    image: Tensor
    occupancy: Tensor
    probability: Tensor
    depth: Tensor
    offset: Tensor
    optics: Tensor

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device."""
        return Batch(*(tensor.to(device) for tensor in vars(self).values()))


class Crops(Dataset[Batch]):
    """Crops by number; crop n is the same whichever process asks for it, and when.

    Parameters
    ----------
    split : DecodedSplit
    views : Views
    mask : Mask
    max_count : int
        Highest class.
    seed : int
        Seed of the training.
    """

    def __init__(
        self, split: DecodedSplit, views: Views, mask: Mask, max_count: int, seed: int
    ) -> None:
        self.split = split
        self.views = views
        self.mask = mask
        self.max_count = max_count
        self.seed = seed
        self._optics = optics_of(split.samples)
        self._cameras = [camera_from_row(row) for row in split.samples.to_dict("records")]

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        """Make the crop of a number from a row of the split.

        Parameters
        ----------
        key : tuple of int
            Number of the crop since the start of the training; row of `split`.
        """
        number, row = key
        rng = sample_rng(self.seed, number, "augmentation")
        low, high = np.log(self.views.dose)
        dose = float(np.exp(rng.uniform(low, high)))
        other = rng.random() < self.views.other_pixels
        image, columns = (self._other_pixels if other else self._own_pixels)(row, dose, rng)
        field = Field(image.shape[1:], self.split.field.sampling)
        labels = pixel_labels(columns, field, self.max_count, self.mask)
        optics = self._optics[row]
        return _turned(image, labels, optics, int(rng.integers(4)), bool(rng.integers(2)))

    def _own_pixels(
        self, row: int, dose: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], StructureColumns]:
        """Cut a crop, then record it."""
        size, step = self.views.size, self.split.field.sampling
        y, x = (int(rng.integers(n - size + 1)) for n in self.split.field.shape)
        intensity = self.split.intensity(row)[y : y + size, x : x + size]
        counts = self._record(intensity, dose, step, row, rng)
        image = net_input(counts, float(counts.mean()), apparent_dose(counts, step))
        return image, _moved(self.split.columns(row), (y * step, x * step), 1.0)

    def _other_pixels(
        self, row: int, dose: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], StructureColumns]:
        """Record a crop on other pixels of a wrong size, then bring it to the net's."""
        size, step = self.views.size, self.split.field.sampling
        sampling = rng.uniform(*self.views.sampling)
        scale = 1 + rng.uniform(-1, 1) * self.views.calibration_error
        true = sampling * scale
        # The field may be too small for a crop of pixels that are larger than they claim.
        room = [int(n * step / true) for n in self.split.field.shape]
        pixels = int(np.ceil((size + 1) * step / sampling)) + 1
        shape = (min(room[0], pixels), min(room[1], pixels))
        origin = [
            rng.uniform(0, max(n * step - m * true, 0.0)) + 0.5 * (true - step)
            for n, m in zip(self.split.field.shape, shape, strict=True)
        ]
        place = (origin[0], origin[1])
        intensity = resample_intensity(self.split.intensity(row), step, true, place, shape)
        counts = self._record(intensity, dose, true, row, rng)
        view = resample_counts(counts, sampling, step)
        image = net_input(view.image, float(counts.mean()), apparent_dose(counts, sampling))
        start = (
            origin[0] + view.origin[0] * scale,
            origin[1] + view.origin[1] * scale,
        )
        return image[:, :size, :size], _moved(self.split.columns(row), start, scale)

    def _record(
        self,
        intensity: NDArray[np.floating],
        dose: float,
        sampling: float,
        row: int,
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Record electrons with the sample's camera; gain and offset are taken off again."""
        camera = self._cameras[row]
        counts = record(intensity, dose, sampling, camera, int(rng.integers(2**63)))
        return electrons(counts, camera)


def collate(crops: list[Batch]) -> Batch:
    """Stack crops to a batch."""
    return Batch(
        *(torch.stack(parts) for parts in zip(*(vars(c).values() for c in crops), strict=True))
    )


def _moved(
    columns: StructureColumns, origin: tuple[float, float], scale: float
) -> StructureColumns:
    """Express columns in the coordinates of a crop whose pixels are larger by a factor."""
    return replace(columns, y=(columns.y - origin[0]) / scale, x=(columns.x - origin[1]) / scale)


def _turned(
    image: NDArray[np.float32],
    labels: PixelLabels,
    optics: NDArray[np.float32],
    quarter: int,
    mirror: bool,
) -> Batch:
    """Turn crop and labels by quarter turns, mirror them, and make them tensors."""

    def turn(array: NDArray[np.generic]) -> Tensor:
        turned = np.rot90(array, quarter, axes=(-2, -1))
        if mirror:
            turned = turned[..., ::-1]
        return torch.from_numpy(np.ascontiguousarray(turned))

    offset = np.moveaxis(labels.offset, 1, 0)
    for _ in range(quarter):  # rot90 takes the axis x to -y, and y to x
        offset = np.stack([-offset[1], offset[0]])
    if mirror:
        offset = np.stack([offset[0], -offset[1]])
    return Batch(
        turn(image),
        turn(labels.occupancy),
        turn(labels.probability),
        turn(labels.depth),
        turn(np.moveaxis(offset, 0, 1)),
        torch.from_numpy(turned_optics(optics, quarter, mirror)),
    )
