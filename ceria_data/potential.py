"""Projected potentials of slices, from exact structure factors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from abtem.core.constants import kappa
from abtem.parametrizations import LobatoParametrization
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from ceria_data.fourier import irfft2


def scattering_factor(symbol: str, frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate the electron scattering factor of a neutral atom.

    Parameters
    ----------
    symbol : str
        Chemical symbol.
    frequency : array of float64
        Spatial frequency [1/Å].

    Returns
    -------
    array of float64
        Scattering factor in the first Born approximation, without the relativistic
        factor of the mass [Å]; of the shape of `frequency`.

    References
    ----------
    .. [1] Lobato and Van Dyck, Acta Cryst. A 70, 636 (2014), eq. 16; coefficients from
       abTEM 1.0.11.

    Examples
    --------
    >>> scattering_factor("O", np.asarray([0.0, 1.0])).round(3)
    array([2.029, 0.543])
    """
    amplitudes, widths = np.asarray(LobatoParametrization().parameters[symbol], dtype=np.float64)
    k2 = np.asarray(frequency)[..., None] ** 2
    return np.asarray((amplitudes * (2 + widths * k2) / (1 + widths * k2) ** 2).sum(-1))


def form_factors(
    symbols: Sequence[str], shape: tuple[int, int], extent: tuple[float, float]
) -> NDArray[np.float64]:
    """Tabulate what one atom of each species adds to the spectrum of a projected potential.

    Parameters
    ----------
    symbols : sequence of str
        Chemical symbols.
    shape : tuple of int
        Grid points (x, y), both even.
    extent : tuple of float
        Size of the periodic cell (x, y) [Å].

    Returns
    -------
    array of float64, shape (species, x, y // 2 + 1)
        Spectrum [V Å], scaled for an inverse real FFT that divides by the number of grid
        points. The highest frequencies (Nyquist) are zero, because a shift by less than
        a grid step cannot be expressed there.

    Examples
    --------
    >>> form_factors(["Ce", "O"], (8, 6), (4.0, 3.0)).shape
    (2, 8, 4)
    """
    (nx, ny), (length_x, length_y) = shape, extent
    kx = np.fft.fftfreq(nx, length_x / nx)[:, None]
    ky = np.fft.rfftfreq(ny, length_y / ny)[None]
    k = np.hypot(kx, ky)
    scale = nx * ny / (length_x * length_y * kappa)
    factors = np.stack([scale * scattering_factor(symbol, k) for symbol in symbols])
    factors[:, nx // 2, :] = 0.0
    factors[:, :, ny // 2] = 0.0
    return factors


def project(x: Any, y: Any, counts: Sequence[Sequence[int]], factors: Any) -> Any:
    """Project the potential of atoms, slice by slice.

    The spectrum of a slice is a sum over its species of the form factor times a product
    of two thin matrices::

        V(kx, ky) = Σ_species f(kx, ky) Σ_atoms exp(-2πi kx x) exp(-2πi ky y)

    Runs where its arrays live, with their array module (NumPy, CuPy or another that
    follows the array API).

    Parameters
    ----------
    x, y : array of float64, shape (atom,)
        Coordinates in units of the cell, sorted by slice and within a slice by species.
    counts : sequence of sequences of int, shape (slice, species)
        Atoms of each species in each slice.
    factors : array of float32 or float64, shape (species, x, y // 2 + 1)
        From `form_factors`; its type is the type of the result.

    Returns
    -------
    array, shape (slice, x, y)
        Potential projected along the beam [V Å], in abTEM's order of the axes.

    References
    ----------
    .. [1] Kirkland, Advanced Computing in Electron Microscopy, 2nd ed. (2010), eq. 5.21.

    Examples
    --------
    An atom in the middle of the cell:

    >>> factors = form_factors(["O"], (16, 12), (4.0, 3.0))
    >>> slices = project(np.asarray([0.5]), np.asarray([0.5]), [[1]], factors)
    >>> slices.shape, [int(i) for i in np.unravel_index(np.argmax(slices), slices.shape)]
    ((1, 16, 12), [0, 8, 6])
    """
    xp = array_namespace(x, y, factors)
    _, nx, half = factors.shape
    ny = 2 * (half - 1)
    waves_x = _waves(x, range(-(nx // 2), nx - nx // 2), factors.dtype)
    waves_x = xp.fft.ifftshift(waves_x, axes=(1,))
    waves_y = _waves(y, range(half), factors.dtype)
    slices, first = [], 0
    for slice_counts in counts:
        spectrum = xp.zeros((nx, half), dtype=waves_x.dtype, device=device(factors))
        for species, count in enumerate(slice_counts):
            if count:
                atoms = slice(first, first + count)
                product = xp.matrix_transpose(waves_x[atoms, :]) @ waves_y[atoms, :]
                spectrum = spectrum + factors[species, :, :] * product
                first += count
        slices.append(irfft2(spectrum, (nx, ny)))
    return xp.stack(slices)


def _waves(fractions: Any, orders: range, dtype: Any) -> Any:
    """Tabulate exp(-2πi n x) as (atom, n)."""
    xp = array_namespace(fractions)
    n = xp.arange(orders.start, orders.stop, dtype=fractions.dtype, device=device(fractions))
    phase = fractions[:, None] * n[None, :]
    # Whole turns go in float64, so that the cast to float32 costs at most 2e-7 rad.
    turns = xp.astype(phase - xp.round(phase), dtype)
    return xp.exp(-2j * np.pi * turns)
