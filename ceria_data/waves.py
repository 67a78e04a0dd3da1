"""What a multislice calculation takes and gives."""

from dataclasses import dataclass
from functools import cached_property
from math import floor, inf
from typing import Any, Literal

import numpy as np
from abtem.core.energy import energy2wavelength
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from ceria_data.errors import StructureError
from ceria_data.fourier import Library, fft2, ifft2
from ceria_data.grid import Cell
from ceria_data.slices import Slices

SYMBOLS = ("Ce", "O", "C")
"""Scatterers, in the order of their numbers: `schema.SPECIES`, then the carbon of a support."""
LARGEST_OVERHANG = 1.0
"""How far [Å] thermal motion may carry an atom over the edge of the cell, where it wraps."""


@dataclass(frozen=True)
class ScatteringSettings:
    """Everything that decides an exit wave besides the atoms.

    Attributes
    ----------
    engine : str
        ``batched`` (`multislice`), ``batched_mkl`` (the same, with the Fourier transforms of
        `mkl`; on a CPU only) or ``abtem``.
    transmission : str
        How a slice acts on the wave: ``split`` (without aliases, see
        `transmission.split_tables`) or ``grid`` (phase on the grid of the wave, cut at 2/3
        of the Nyquist frequency; the only way of ``abtem``).
    energy_keV : float
        Energy of the beam.
    sampling_A : float
        Largest distance of grid points.
    slice_thickness_A : float
        Largest distance along the beam of two atoms that are projected together.
    padding_A : float
        Smallest margin around the field.
    kept_mrad : float
        Waves that leave at a larger angle are dropped at the end; no aperture lets them
        through.
    precision : str
        ``float32`` or ``float64``.
    fft : str
        Library of the Fourier transforms of ``abtem`` on a CPU: ``numpy`` or ``fftw``.
    """

    engine: Literal["batched", "batched_mkl", "abtem"] = "batched"
    transmission: Literal["split", "grid"] = "split"
    energy_keV: float = 300.0
    sampling_A: float = 0.1
    slice_thickness_A: float = 0.5
    padding_A: float = 8.0
    kept_mrad: float = inf
    precision: Literal["float32", "float64"] = "float32"
    fft: Literal["numpy", "fftw"] = "numpy"

    @property
    def energy_eV(self) -> float:
        """Energy of the beam [eV]."""
        return self.energy_keV * 1e3

    @property
    def wavelength(self) -> float:
        """Wavelength of the electrons [Å]."""
        return float(energy2wavelength(self.energy_eV))

    @property
    def library(self) -> Library:
        """Library of the Fourier transforms of host arrays."""
        return "mkl" if self.engine == "batched_mkl" else "scipy"


@dataclass(frozen=True)
class Specimen:
    """Atoms that scatter, in slices.

    Attributes
    ----------
    positions : array of float64, shape (phonon, atom, 3)
        x, y, z [Å] with the origin of the field, z relative to the particle's mean z.
    numbers : array of uint8, shape (atom,)
        Places in `SYMBOLS`: 0 = Ce, 1 = O, 2 = C.
    slices : Slices
        The same for all phonon configurations.
    """

    positions: NDArray[np.float64]
    numbers: NDArray[np.uint8]
    slices: Slices

    @property
    def phonons(self) -> int:
        """Number of thermal configurations."""
        return len(self.positions)

    def of(self, kept: NDArray[np.bool_]) -> "Specimen":
        """Take some of the atoms, at the same planes."""
        return Specimen(self.positions[:, kept], self.numbers[kept], self.slices.of(kept))

    def fractions(self, cell: Cell) -> NDArray[np.float64]:
        """Express y and x in units of a cell, from its corner.

        Parameters
        ----------
        cell : Cell

        Returns
        -------
        array of float64, shape (phonon, atom, 2)

        Raises
        ------
        StructureError
            If an atom lies outside the cell by more than thermal motion explains: the
            cell is periodic, so it would appear on the other side.
        """
        x_min, x_max, y_min, y_max = cell.bounds
        low, high = np.asarray([y_min, x_min]), np.asarray([y_max, x_max])
        yx = self.positions[..., 1::-1]
        overhang = np.maximum(low - yx, yx - high).max(initial=-inf)
        if overhang > LARGEST_OVERHANG:
            raise StructureError(
                f"an atom lies {overhang:.2f} Å outside the periodic cell "
                f"(x {x_min:.1f} to {x_max:.1f} Å, y {y_min:.1f} to {y_max:.1f} Å) and would "
                f"appear on its other side; crop the structure to the cell or enlarge the padding"
            )
        fractions: NDArray[np.float64] = (yx - low) / (high - low)
        return fractions


@dataclass(frozen=True)
class ExitWaves:
    """Waves behind one structure, one for each phonon configuration.

    Attributes
    ----------
    spectra : array of complex, shape (phonon, 2 hy + 1, 2 hx + 1)
        Amplitudes of the orders of diffraction of the cell up to hy and hx, in the order
        of an FFT; vacuum is 1 in order (0, 0). Lives on the device that computed it.
    z_exit : float
        Plane of the waves along the beam, relative to the particle's mean z [Å].
    cell : Cell
        The periodic cell of the waves.
    energy_eV : float
        Energy of the beam [eV].
    library : str
        Library of the Fourier transforms that make images of them on the host.
    """

    spectra: Any
    z_exit: float
    cell: Cell
    energy_eV: float
    library: Library = "scipy"

    @classmethod
    def from_waves(cls, waves: Any, z_exit: float, cell: Cell, energy_eV: float) -> "ExitWaves":
        """Take waves in real space, (phonon, y, x)."""
        orders = highest_orders(inf, cell)
        spectra = keep_orders(fft2(waves + 0.0), orders) / (cell.shape[0] * cell.shape[1])
        return cls(spectra, z_exit, cell, energy_eV)

    @property
    def orders(self) -> tuple[int, int]:
        """Highest orders (y, x) of diffraction that are kept."""
        return (self.spectra.shape[-2] - 1) // 2, (self.spectra.shape[-1] - 1) // 2

    @cached_property
    def waves(self) -> Any:
        """The waves in real space, (phonon, y, x), 1 = vacuum."""
        ny, nx = self.cell.shape
        return ifft2(lay_out(self.spectra, self.orders, self.cell.shape)) * (ny * nx)


def highest_orders(edge: float, cell: Cell) -> tuple[int, int]:
    """Find the highest orders of diffraction (y, x) up to a frequency, below Nyquist.

    Parameters
    ----------
    edge : float
        Frequency [1/Å].
    cell : Cell

    Returns
    -------
    tuple of int
        At least 1 each.
    """
    limits = [(n - 1) // 2 for n in cell.shape]
    wanted = [min(edge * length, inf) for length in cell.extent]
    hy, hx = (
        max(1, limit if order >= limit else floor(order))
        for order, limit in zip(wanted, limits, strict=True)
    )
    return hy, hx


def keep_orders(spectra: Any, orders: tuple[int, int]) -> Any:
    """Keep the orders of diffraction (y, x) up to `orders` of spectra in FFT order."""
    xp = array_namespace(spectra)
    hy, hx = orders
    rows = xp.concat([spectra[..., : hy + 1, :], spectra[..., -hy:, :]], axis=-2)
    return xp.concat([rows[..., : hx + 1], rows[..., -hx:]], axis=-1)


def lay_out(spectra: Any, orders: tuple[int, int], shape: tuple[int, int]) -> Any:
    """Lay the orders of diffraction out on a grid for an inverse FFT."""
    return widen(widen(spectra, orders[0], shape[0], -2), orders[1], shape[1], -1)


def widen(spectra: Any, order: int, size: int, axis: int) -> Any:
    """Put zeros between the positive and the negative orders along one of two last axes."""
    xp = array_namespace(spectra)
    shape = list(spectra.shape)
    shape[axis] = size - 2 * order - 1
    gap = xp.zeros(tuple(shape), dtype=spectra.dtype, device=device(spectra))
    rows = axis == -2
    low = spectra[..., : order + 1, :] if rows else spectra[..., : order + 1]
    high = spectra[..., -order:, :] if rows else spectra[..., -order:]
    return xp.concat([low, gap, high], axis=axis)


def half_spectra(spectra: Any, shape: tuple[int, int]) -> Any:
    """Lay half spectra, (..., 2 hy + 1, hx + 1), out on a grid for an inverse real FFT."""
    xp = array_namespace(spectra)
    ny, nx = shape
    low, columns = spectra.shape[-2] // 2 + 1, spectra.shape[-1]
    laid = xp.zeros(
        (*spectra.shape[:-2], ny, nx // 2 + 1), dtype=spectra.dtype, device=device(spectra)
    )
    laid[..., :low, :columns] = spectra[..., :low, :]
    laid[..., ny - low + 1 :, :columns] = spectra[..., low:, :]
    return laid
