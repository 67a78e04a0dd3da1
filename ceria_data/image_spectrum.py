"""Images before their pixels integrate, as spectra, which add up and shift exactly."""

from dataclasses import dataclass, replace
from math import pi
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from ceria_data.fourier import Library, irfft2, rfft2
from ceria_data.grid import Cell, Field
from ceria_data.waves import widen


@dataclass(frozen=True)
class ImageSpectrum:
    """An image before its pixels integrate, as amplitudes of the orders of the cell.

    Sums of spectra are spectra of sums, and a shift is a phase: frames of a film are made of
    the spectra of its structures.

    Attributes
    ----------
    orders : array of complex, shape (2 by + 1, bx + 1)
        Half of them, since an intensity is real; y in the order of an FFT. On the device of
        the waves.
    points : int
        Of the grid on which the intensity was transformed.
    cell : Cell
    library : str
        Library of the Fourier transforms on the host.
    """

    orders: Any
    points: int
    cell: Cell
    library: Library = "scipy"

    def moved(
        self, shift: NDArray[np.float64], blur: NDArray[np.float64], weight: float
    ) -> "ImageSpectrum":
        """Shift the image and smear it evenly along a line, exactly.

        Parameters
        ----------
        shift, blur : array of float64, shape (2,)
            Mean shift (x, y), and the line from the first to the last place [Å].
        weight : float
            Factor of the intensity.

        Returns
        -------
        ImageSpectrum
        """
        xp = array_namespace(self.orders)
        rows, columns = self.orders.shape
        ky = np.fft.fftfreq(rows, 1 / rows)[:, None] / self.cell.extent[0]
        kx = np.arange(columns)[None, :] / self.cell.extent[1]
        factor = np.exp(-2j * pi * (kx * shift[0] + ky * shift[1]))
        factor *= weight * np.sinc(kx * blur[0] + ky * blur[1])
        phases = xp.asarray(factor, dtype=self.orders.dtype, device=device(self.orders))
        return replace(self, orders=self.orders * phases)

    def __add__(self, other: "ImageSpectrum") -> "ImageSpectrum":
        return replace(self, orders=self.orders + other.orders)

    def pixels(self, field: Field) -> Any:
        """Average the intensity over the area of each pixel, shape (y, x)."""
        spectrum, cell = self.orders, self.cell
        xp = array_namespace(spectrum)
        by, bx = spectrum.shape[0] // 2, spectrum.shape[1] - 1
        (ny, nx), real = cell.shape, xp.real(spectrum).dtype
        spectrum = widen(spectrum, by, ny, -2)
        ky = frequencies(ny, cell.extent[0], xp, spectrum)
        kx = frequencies(nx, cell.extent[1], xp, spectrum)[: bx + 1]
        area = _sinc(ky * field.sampling)[:, None] * _sinc(kx * field.sampling)[None, :]
        spectrum = spectrum * xp.astype(area * (ny * nx / self.points), real)
        fine = irfft2(spectrum, (ny, nx), self.library)
        (y0, x0), step = cell.origin, cell.oversampling
        y1, x1 = y0 + step * field.shape[0], x0 + step * field.shape[1]
        # A square averaged over a pixel is not negative; its rounding error may be.
        return xp.clip(fine[y0:y1:step, x0:x1:step], 0.0, None)


def spectrum_of(
    intensity: Any, orders: tuple[int, int], cell: Cell, library: Library = "scipy"
) -> ImageSpectrum:
    """Transform an intensity, sampled on any grid of the cell.

    Parameters
    ----------
    intensity : array of float, shape (y, x)
        On any device.
    orders : tuple of int
        Highest ones (y, x) that it holds; those beyond the cell's grid are dropped.
    cell : Cell
    library : str
        Library of the Fourier transforms on the host.

    Returns
    -------
    ImageSpectrum
    """
    xp = array_namespace(intensity)
    (my, mx), limits = intensity.shape, [(n - 1) // 2 for n in cell.shape]
    by, bx = (min(order, limit) for order, limit in zip(orders, limits, strict=True))
    half = rfft2(intensity, library)[:, : bx + 1]
    kept = xp.concat([half[: by + 1, :], half[-by:, :]], axis=0)
    return ImageSpectrum(kept, my * mx, cell, library)


def frequencies(size: int, length: float, xp: Any, like: Any) -> Any:
    """Spatial frequencies [1/Å] in the order of an FFT."""
    orders = np.fft.fftfreq(size, 1 / size) / length
    return xp.asarray(orders, dtype=xp.float64, device=device(like))


def _sinc(x: Any) -> Any:
    """Evaluate sin(πx) / (πx)."""
    xp = array_namespace(x)
    nonzero = xp.where(x == 0, xp.ones_like(x), x)
    return xp.where(x == 0, xp.ones_like(x), xp.sin(pi * nonzero) / (pi * nonzero))
