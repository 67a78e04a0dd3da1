"""The field that is stored, and the periodic cell in which it is computed."""

from dataclasses import dataclass
from math import ceil
from typing import Any

GRID_BAND, SPLIT_BAND = 0.66666, 0.95
"""Highest frequency of the wave over the Nyquist frequency. Kirkland's 2/3 for a transmission
function that is computed on the grid, and a little less: many grids have points exactly on
2/3, where rounding would decide. One without aliases can use nearly all of the grid."""


@dataclass(frozen=True)
class Field:
    """Pixels of the stored images.

    The origin of specimen coordinates is the centre of pixel (0, 0); x runs along
    the last axis.

    Attributes
    ----------
    shape : tuple of int
        Pixels (y, x).
    sampling : float
        Pixel size at the specimen [Å/pixel].
    """

    shape: tuple[int, int]
    sampling: float

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the field (x, y) [Å]."""
        ny, nx = self.shape
        return 0.5 * (nx - 1) * self.sampling, 0.5 * (ny - 1) * self.sampling

    @property
    def extent(self) -> tuple[float, float]:
        """Size of the field (y, x) [Å]."""
        return self.shape[0] * self.sampling, self.shape[1] * self.sampling

    def holds(self, x: Any, y: Any) -> Any:
        """Say which points (x, y) [Å] lie in a pixel."""
        half, (height, width) = self.sampling / 2, self.extent
        return (x >= -half) & (x < width - half) & (y >= -half) & (y < height - half)


@dataclass(frozen=True)
class Cell:
    """Periodic cell of the multislice calculation: the field and a margin around it.

    Attributes
    ----------
    shape : tuple of int
        Grid points (y, x).
    sampling : float
        Distance of grid points [Å], a whole fraction of the field's sampling.
    origin : tuple of int
        Grid point (y, x) that coincides with the centre of the field's pixel (0, 0).
    oversampling : int
        Grid points per pixel along one axis.
    """

    shape: tuple[int, int]
    sampling: float
    origin: tuple[int, int]
    oversampling: int

    @property
    def extent(self) -> tuple[float, float]:
        """Size of the cell (y, x) [Å]."""
        return self.shape[0] * self.sampling, self.shape[1] * self.sampling

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Range of specimen coordinates in the cell: x_min, x_max, y_min, y_max [Å]."""
        y0, x0 = (-n * self.sampling for n in self.origin)
        return x0, x0 + self.extent[1], y0, y0 + self.extent[0]


def cell_around(field: Field, sampling: float, padding: float) -> Cell:
    """Lay a periodic cell around a field.

    Parameters
    ----------
    field : Field
        The field of the stored images.
    sampling : float
        Largest distance of grid points allowed [Å]; the cell takes the largest whole
        fraction of the field's sampling that does not exceed it.
    padding : float
        Smallest margin on each side [Å].

    Returns
    -------
    Cell
        Its grid has even, 7-smooth sizes, which fast Fourier transforms like.

    Examples
    --------
    >>> cell_around(Field((160, 160), 0.2), sampling=0.1, padding=8.0)
    Cell(shape=(480, 480), sampling=0.1, origin=(80, 80), oversampling=2)
    """
    oversampling = ceil(field.sampling / sampling - 1e-9)
    step = field.sampling / oversampling
    margin = ceil(padding / step - 1e-9)
    sizes = [_even_smooth(n * oversampling + 2 * margin) for n in field.shape]
    origin = [(size - n * oversampling) // 2 for size, n in zip(sizes, field.shape, strict=True)]
    return Cell((sizes[0], sizes[1]), step, (origin[0], origin[1]), oversampling)


def _even_smooth(n: int) -> int:
    while n % 2 or not _is_7_smooth(n):
        n += 1
    return n


def _is_7_smooth(n: int) -> bool:
    for prime in (2, 3, 5, 7):
        while n % prime == 0:
            n //= prime
    return n == 1
