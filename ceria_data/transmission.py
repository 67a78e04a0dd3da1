"""What a slice of atoms does to the phase of the wave."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import pi
from typing import Any

import numpy as np
from abtem.core.constants import kappa
from abtem.core.energy import energy2sigma
from abtem.parametrizations import LobatoParametrization
from array_api_compat import array_namespace, device, is_numpy_array
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import j0, roots_legendre

from ceria_data.fourier import Library, fft2, ifft2, irfft2
from ceria_data.grid import GRID_BAND, SPLIT_BAND, Cell
from ceria_data.potential import form_factors, scattering_factor
from ceria_data.products import weighted_sum, weights
from ceria_data.waves import SYMBOLS, ScatteringSettings, half_spectra, highest_orders

CORE_WIDTH = 0.15
"""Standard deviation [Å] of the Gaussian that takes the core out of an atom's potential:
smooth enough for a grid of 0.1 Å, narrow enough that cores do not touch."""

_RADIUS, _RADII = 6.0, 1200
"""Integrals over the core of an atom: how far [Å], and in how many points."""
_FREQUENCIES = 800
"""Points of the tables over spatial frequency, before cubic interpolation."""


@dataclass(frozen=True)
class SplitTables:
    """Spectra that atoms add to the parts of a transmission function ``(1 + C) exp(i S)``.

    The potential of an atom is split into a smooth part (convolved with a Gaussian) and
    its core. The smooth phases S of all atoms of a slice are summed and exponentiated.
    The cores of different atoms do not overlap, so their ``exp(iσV) - 1`` can be summed
    as they are, from a table without aliases. On a grid of 0.1 Å this is closer to a
    converged calculation than the phase on a grid of 0.05 Å.

    Attributes
    ----------
    parts : array of float, shape (part, species, 2 hy + 1, hx + 1)
        Real and imaginary part of C, then S.
    orders : tuple of int
        hy, hx.
    shape : tuple of int
        Grid points (y, x).
    """

    parts: Any
    orders: tuple[int, int]
    shape: tuple[int, int]

    def transmission(self, structure_factors: Sequence[Any], library: Library = "scipy") -> Any:
        """Evaluate the transmission functions of slices.

        Parameters
        ----------
        structure_factors : sequence of array of complex, shape (wave, 2 hy + 1, hx + 1)
            One for each species.
        library : str
            Of the Fourier transforms of host arrays.

        Returns
        -------
        array of complex, shape (wave, y, x)
        """
        if library == "mkl" and is_numpy_array(self.parts):
            return self._with_complex_cores(structure_factors)
        real, imaginary, phase = (
            irfft2(
                half_spectra(weighted_sum(self._weights[i, ...], structure_factors), self.shape),
                self.shape,
                library,
            )
            for i in range(3)
        )
        xp = array_namespace(phase)
        cosine, sine = xp.cos(phase), xp.sin(phase)
        real += 1.0
        # In place: a core's cache holds few of these arrays.
        product = real * cosine
        product -= imaginary * sine
        real *= sine
        imaginary *= cosine
        real += imaginary
        return _complex(product, real)

    def _with_complex_cores(self, structure_factors: Sequence[Any]) -> Any:
        """Take both parts of C from one complex transform: MKL's cost as much as real ones.

        Wave by wave, so that the products of complex numbers are rounded alike however many
        waves there are.
        """
        ny, nx = self.shape
        result = np.empty((len(structure_factors[0]), ny, nx), structure_factors[0].dtype)
        for wave, own in zip(result, zip(*structure_factors, strict=True), strict=True):
            spectrum = half_spectra(weighted_sum(self._weights[2], own), self.shape)
            phase = irfft2(spectrum, self.shape, "mkl")
            wave.real, wave.imag = np.cos(phase), np.sin(phase)
            cores = ifft2(self._spectrum_of_cores(own), "mkl")
            cores += 1.0
            wave *= cores
        return result

    def _spectrum_of_cores(self, structure_factors: Sequence[Any]) -> Any:
        """Lay the spectrum of C out: the left half belongs to conjugate structure factors."""
        (hy, hx), (ny, nx) = self.orders, self.shape
        laid = np.zeros(self.shape, structure_factors[0].dtype)
        right, left = (
            _sum(self._cores, factors)
            for factors in (structure_factors, [np.conj(each) for each in structure_factors])
        )
        laid[: hy + 1, : hx + 1] = right[: hy + 1]
        laid[ny - hy :, : hx + 1] = right[hy + 1 :]
        mirrored = left[:, :0:-1]
        laid[0, nx - hx :] = mirrored[0]
        laid[1 : hy + 1, nx - hx :] = mirrored[:hy:-1]
        laid[ny - hy :, nx - hx :] = mirrored[hy:0:-1]
        return laid

    @cached_property
    def _cores(self) -> Any:
        return self.parts[0] + 1j * self.parts[1]

    @cached_property
    def _weights(self) -> Any:
        return weights(self.parts)


@dataclass(frozen=True)
class GridTables:
    """Spectra that atoms add to the phase of a transmission function on the grid.

    Attributes
    ----------
    phase : array of float, shape (species, 2 hy + 1, hx + 1)
    band : array of float, shape (y, x)
        1 below the band limit, 0 above.
    orders : tuple of int
        hy, hx.
    shape : tuple of int
        Grid points (y, x).
    """

    phase: Any
    band: Any
    orders: tuple[int, int]
    shape: tuple[int, int]

    def transmission(self, structure_factors: Sequence[Any], library: Library = "scipy") -> Any:
        """Evaluate the transmission functions of slices, as `SplitTables.transmission` does."""
        spectra = half_spectra(weighted_sum(self._weights, structure_factors), self.shape)
        phase = irfft2(spectra, self.shape, library)
        xp = array_namespace(phase)
        transmission = fft2(_complex(xp.cos(phase), xp.sin(phase)), library)
        transmission *= self.band
        return ifft2(transmission, library)

    @cached_property
    def _weights(self) -> Any:
        return weights(self.phase)


@lru_cache(maxsize=4)
def split_tables(cell: Cell, settings: ScatteringSettings) -> SplitTables:
    """Tabulate the transmission functions of single atoms.

    Parameters
    ----------
    cell : Cell
    settings : ScatteringSettings

    Returns
    -------
    SplitTables
        In float64 on the host.

    References
    ----------
    .. [1] Kirkland, Advanced Computing in Electron Microscopy, 2nd ed. (2010), eq. 5.9
       (the transmission of one atom, without its split).
    """
    edge = SPLIT_BAND / (2 * cell.sampling)
    orders = highest_orders(edge, cell)
    k = _frequencies(cell, orders)
    inside = k < edge
    sigma = float(energy2sigma(settings.energy_eV))
    parts = np.zeros((3, len(SYMBOLS), *k.shape))
    for species, symbol in enumerate(SYMBOLS):
        core = _core_spectrum(symbol, sigma, float(k[inside].max()))(k)
        smooth = sigma / kappa * scattering_factor(symbol, k) * _gaussian(k)
        parts[:, species] = np.where(inside, [core.real, core.imag, smooth], 0.0)
    return SplitTables(parts / cell.sampling**2, orders, cell.shape)


@lru_cache(maxsize=4)
def grid_tables(cell: Cell, settings: ScatteringSettings) -> GridTables:
    """Tabulate the phases that single atoms give to the wave.

    Parameters
    ----------
    cell : Cell
    settings : ScatteringSettings

    Returns
    -------
    GridTables
        In float64 on the host.
    """
    orders = highest_orders(np.inf, cell)
    factors = form_factors(SYMBOLS, cell.shape, cell.extent)
    hy, hx = orders
    kept = np.r_[0 : hy + 1, cell.shape[0] - hy : cell.shape[0]]
    phase = float(energy2sigma(settings.energy_eV)) * factors[:, kept, : hx + 1]
    return GridTables(phase, band(cell, GRID_BAND), orders, cell.shape)


def band(cell: Cell, limit: float) -> NDArray[np.float64]:
    """Draw the band limit on the grid of a cell: 1 inside, 0 outside, with a hard edge.

    A tapered edge would act again in every slice, so that empty ones would change the wave.

    Parameters
    ----------
    cell : Cell
    limit : float
        In units of the Nyquist frequency.

    Returns
    -------
    array of float64, shape (y, x)
    """
    ky, kx = (np.fft.fftfreq(n, cell.sampling) for n in cell.shape)
    inside: NDArray[np.bool_] = np.hypot(ky[:, None], kx[None]) < limit / (2 * cell.sampling)
    return inside.astype(np.float64)


def _core_spectrum(symbol: str, sigma: float, highest: float) -> CubicSpline:
    """Transform ``exp(iσV) - 1`` of the core of an atom: complex [Å²] over frequency [1/Å]."""
    # r = s² puts points where the potential diverges, as the logarithm of r.
    nodes, weights = roots_legendre(_RADII)
    s = 0.5 * np.sqrt(_RADIUS) * (nodes + 1)
    r, dr = s**2, 2 * s * 0.5 * np.sqrt(_RADIUS) * weights
    smooth_k, step = np.linspace(0, 8.5 / (2 * pi * CORE_WIDTH), _FREQUENCIES, retstep=True)
    smooth_f = scattering_factor(symbol, smooth_k) * _gaussian(smooth_k) / kappa
    bessel = np.stack([j0(2 * pi * smooth_k * radius) for radius in r])
    smooth = bessel @ (2 * pi * smooth_k * smooth_f) * step
    core = LobatoParametrization().projected_potential(symbol)(r) - smooth
    change = (np.exp(1j * sigma * core) - 1) * 2 * pi * r * dr
    k = np.linspace(0, highest * 1.001, _FREQUENCIES)
    return CubicSpline(k, np.stack([j0(2 * pi * each * r) @ change for each in k]))


def _gaussian(k: NDArray[np.float64]) -> NDArray[np.float64]:
    smooth: NDArray[np.float64] = np.exp(-2 * (pi * CORE_WIDTH * k) ** 2)
    return smooth


def _frequencies(cell: Cell, orders: tuple[int, int]) -> NDArray[np.float64]:
    """Spatial frequency [1/Å] of each order of a half spectrum."""
    hy, hx = orders
    ky = np.r_[0 : hy + 1, -hy:0] / cell.extent[0]
    kx = np.arange(hx + 1) / cell.extent[1]
    k: NDArray[np.float64] = np.hypot(ky[:, None], kx[None])
    return k


def _sum(tables: Any, structure_factors: Sequence[Any]) -> Any:
    total = tables[0] * structure_factors[0]
    for species in range(1, len(structure_factors)):
        total += tables[species] * structure_factors[species]
    return total


def _complex(real: Any, imaginary: Any) -> Any:
    xp = array_namespace(real)
    dtype = xp.complex64 if real.dtype == xp.float32 else xp.complex128
    result = xp.empty(real.shape, dtype=dtype, device=device(real))
    # Arrays of the standard have no such attributes; NumPy and CuPy write the parts in place,
    # where the sum below would read and write every number five times.
    if hasattr(result, "real"):
        result.real, result.imag = real, imaginary
        return result
    return xp.astype(real, dtype) + 1j * xp.astype(imaginary, dtype)
