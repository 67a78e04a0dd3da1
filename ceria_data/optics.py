"""Images: what the objective lens makes of an exit wave."""

from collections.abc import Iterator
from math import ceil, pi, sqrt
from typing import Any

import numpy as np
from abtem.core.energy import energy2wavelength
from array_api_compat import array_namespace, device, is_numpy_array
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from ceria_data import mkl
from ceria_data.aberrations import aberrations_of, ray_displacement, wave_aberration
from ceria_data.fourier import ifft, ifft2
from ceria_data.grid import Field
from ceria_data.image_spectrum import ImageSpectrum, frequencies, spectrum_of
from ceria_data.parameters import ImageParameters
from ceria_data.waves import ExitWaves, highest_orders, keep_orders, widen

FOCAL_RANGE = 3.0
"""The focal sum ends at this many standard deviations."""
FOCAL_MARGIN = 3.0
"""Aliases of the focal sum begin at this many standard deviations of its spectrum."""


def focal_nodes(
    focal_spread_A: float, aperture_mrad: float, energy_keV: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Choose the focus values and weights of an incoherent sum over the focal spread.

    Equal steps (trapezoidal rule). Two beams at the axis and at the edge of the aperture
    beat with ``u = π α² / λ`` per Å of focus, and a step h is exact up to
    ``exp(-(2π / h - u)² σ² / 2)``; so the number of nodes grows linearly with the
    spread, where Gauss-Hermite nodes grow quadratically.

    Parameters
    ----------
    focal_spread_A : float
        1/e width of the distribution of focus [Å], sqrt(2) times its standard deviation.
    aperture_mrad : float
        Semi-angle of the objective aperture [mrad].
    energy_keV : float
        Energy of the beam [keV].

    Returns
    -------
    offsets : array of float64, shape (node,)
        Change of defocus [Å].
    weights : array of float64, shape (node,)
        Their sum is 1.

    References
    ----------
    .. [1] Trefethen and Weideman, SIAM Review 56, 385 (2014) (trapezoidal rule).

    Examples
    --------
    >>> offsets, weights = focal_nodes(20.0, aperture_mrad=40.0, energy_keV=300.0)
    >>> len(offsets), round(float(weights @ offsets**2), 0)
    (7, 198.0)
    """
    if focal_spread_A == 0:
        return np.zeros(1), np.ones(1)
    sigma = focal_spread_A / sqrt(2)
    beat = pi * (aperture_mrad * 1e-3) ** 2 / energy2wavelength(energy_keV * 1e3)
    step = 2 * pi / (beat + FOCAL_MARGIN / sigma)
    count = ceil(2 * FOCAL_RANGE * sigma / step)
    offsets = step * (np.arange(count, dtype=np.float64) - 0.5 * (count - 1))
    weights: NDArray[np.float64] = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights = weights / weights.sum()
    return offsets, weights


def form_image(exit_waves: ExitWaves, parameters: ImageParameters, field: Field) -> Any:
    """Form the image of a structure before the camera.

    Mean over the phonon configurations and over the focal spread (an incoherent sum);
    the spread of illumination angles is an envelope on the transfer function. Pixels
    integrate over their area. Drift, MTF and dose are not part of this step.

    Parameters
    ----------
    exit_waves : ExitWaves
        Waves on any device; all work happens there.
    parameters : ImageParameters
        Defocus (referred to z = 0), aberrations, spreads and aperture.
    field : Field
        The pixels.

    Returns
    -------
    array of float, shape (y, x)
        Intensity, 1 = vacuum, in the precision and on the device of the waves.

    Raises
    ------
    ValueError
        If waves and parameters differ in energy, or the cell was not made for the field.

    References
    ----------
    .. [1] Kirkland, Advanced Computing in Electron Microscopy, 2nd ed. (2010), ch. 3.
    .. [2] Frank, Optik 38, 519 (1973) (envelope of the angular spread).

    Examples
    --------
    >>> from ceria_data.grid import cell_around
    >>> from ceria_data.parameters import ImageParameters
    >>> image = ImageParameters(
    ...     number=0, energy_keV=300.0, defocus_A=-60.0, A1_A=0.0, A1_azimuth_deg=0.0,
    ...     B2_A=0.0, B2_azimuth_deg=0.0, A2_A=0.0, A2_azimuth_deg=0.0, C30_um=-9.0,
    ...     C50_mm=5.0, focal_spread_A=20.0, angular_spread_mrad=0.2, aperture_mrad=40.0,
    ...     dose_e_per_A2=100.0, camera="counting", gain=1.0, offset=0.0, readout_noise=0.0,
    ...     mtf_half=1.0, mtf_power=2.0, ntf_half=1.0, ntf_power=2.0, camera_seed=0,
    ... )
    >>> field = Field((16, 20), 0.2)
    >>> cell = cell_around(field, sampling=0.1, padding=2.0)
    >>> vacuum = ExitWaves.from_waves(np.ones((1, *cell.shape), np.complex64), 0.0, cell, 300e3)
    >>> intensity = form_image(vacuum, image, field)
    >>> intensity.shape, float(abs(intensity - 1).max()) < 1e-6
    ((16, 20), True)
    """
    spectrum = image_spectrum(exit_waves, parameters, field)
    with mkl.one_thread(exit_waves.library == "mkl"):
        return spectrum.pixels(field)


def image_spectrum(
    exit_waves: ExitWaves, parameters: ImageParameters, field: Field
) -> ImageSpectrum:
    """Form an image up to the integration over pixels; see `form_image`.

    Raises
    ------
    ValueError
        If waves and parameters differ in energy, or the cell was not made for the field.
    """
    _check(exit_waves, parameters, field)
    with mkl.one_thread(exit_waves.library == "mkl"):
        return _image_spectrum(exit_waves, parameters)


def _image_spectrum(exit_waves: ExitWaves, parameters: ImageParameters) -> ImageSpectrum:
    spectra, cell, library = exit_waves.spectra, exit_waves.cell, exit_waves.library
    xp = array_namespace(spectra)
    wavelength = energy2wavelength(exit_waves.energy_eV)
    hy, hx = highest_orders(_edge(parameters, exit_waves), cell)
    if (hy, hx) != exit_waves.orders:
        spectra = keep_orders(spectra, (hy, hx))
    # The intensity has twice the frequencies of the wave; this grid holds them all.
    my, mx = next_fast_len(4 * hy + 1), next_fast_len(4 * hx + 1)
    total = xp.zeros((my, mx), dtype=xp.real(spectra).dtype, device=device(spectra))
    ky, kx = (
        frequencies(2 * order + 1, length, xp, spectra)
        for order, length in zip((hy, hx), cell.extent, strict=True)
    )
    angle = wavelength * (kx[None, :] + 1j * ky[:, None])
    laid = xp.zeros((1, my, mx), dtype=spectra.dtype, device=device(spectra))
    # Caches of a CPU like one wave at a time; a GPU likes many.
    together = 1 if is_numpy_array(spectra) else spectra.shape[0]
    for transfer, weight in _transfers(angle, exit_waves, parameters, wavelength):
        transfer = xp.astype(transfer, spectra.dtype)
        for first in range(0, spectra.shape[0], together):
            wave = spectra[first : first + together, :, :] * transfer
            if library == "mkl":
                # It has written nothing into what it transformed last: the zeros are there.
                _place_orders(laid, wave)
                wave = ifft2(laid, library)
            else:
                wave = ifft(widen(wave, hy, my, -2), axis=-2)
                wave = ifft(widen(wave, hx, mx, -1), axis=-1)
            square = xp.real(wave) ** 2
            square += xp.imag(wave) ** 2
            square *= weight
            # In the same order however many there are.
            for i in range(square.shape[0]):
                total += square[i, :, :]
    total = total * ((my * mx) ** 2 / spectra.shape[0])
    return spectrum_of(total, (2 * hy, 2 * hx), cell, library)


def _place_orders(laid: Any, wave: Any) -> None:
    """Write the orders of diffraction of a host array where an inverse FFT wants them."""
    (hy, hx) = ((n - 1) // 2 for n in wave.shape[-2:])
    for rows in (slice(hy + 1), slice(-hy, None)):
        for columns in (slice(hx + 1), slice(-hx, None)):
            laid[..., rows, columns] = wave[..., rows, columns]


def _transfers(
    angle: Any, exit_waves: ExitWaves, parameters: ImageParameters, wavelength: float
) -> Iterator[tuple[Any, float]]:
    """Give the transfer function of the lens and its weight for every focus of the sum."""
    xp = array_namespace(angle)
    lens = _lens(angle, exit_waves, parameters, wavelength)
    offsets, weights = focal_nodes(
        parameters.focal_spread_A, parameters.aperture_mrad, parameters.energy_keV
    )
    phase = (1j * pi / wavelength) * xp.abs(angle) ** 2
    transfer = lens * xp.exp(phase * float(offsets[0]))
    step = xp.exp(phase * float(offsets[-1] - offsets[0]) / max(len(offsets) - 1, 1))
    for weight in weights.tolist():
        yield transfer, weight
        transfer = transfer * step


def _edge(parameters: ImageParameters, exit_waves: ExitWaves) -> float:
    """Highest frequency that the aperture lets through, with its soft edge [1/Å]."""
    wavelength = energy2wavelength(exit_waves.energy_eV)
    return float(parameters.aperture_mrad * 1e-3 / wavelength + 1 / min(exit_waves.cell.extent))


def _check(exit_waves: ExitWaves, parameters: ImageParameters, field: Field) -> None:
    """Refuse waves of another energy or another field."""
    cell = exit_waves.cell
    if abs(exit_waves.energy_eV - parameters.energy_keV * 1e3) > 1e-3:
        raise ValueError(
            f"exit waves of {exit_waves.energy_eV / 1e3} keV cannot give an image at "
            f"{parameters.energy_keV} keV; scatter the structure again"
        )
    wanted = highest_orders(_edge(parameters, exit_waves), cell)
    if any(order > kept for order, kept in zip(wanted, exit_waves.orders, strict=True)):
        raise ValueError(
            f"an aperture of {parameters.aperture_mrad} mrad needs the orders of diffraction up "
            f"to {wanted}, the exit waves have {exit_waves.orders}; keep larger angles"
        )
    needed = [o + n * cell.oversampling for o, n in zip(cell.origin, field.shape, strict=True)]
    if (
        abs(cell.sampling * cell.oversampling - field.sampling) > 1e-9 * field.sampling
        or needed[0] > cell.shape[0]
        or needed[1] > cell.shape[1]
    ):
        raise ValueError(f"{cell} does not hold {field}; make it with grid.cell_around")


def _lens(angle: Any, exit_waves: ExitWaves, parameters: ImageParameters, wavelength: float) -> Any:
    """Transfer function at the mean focus: aberrations, angular spread, aperture."""
    xp = array_namespace(angle)
    aberrations = aberrations_of(parameters, exit_waves.z_exit)
    phase = (2 * pi / wavelength) * wave_aberration(angle, aberrations)
    # Tilted illumination reaches the exit plane displaced, which the way back undoes, so
    # the envelope depends on the defocus of z = 0.
    slope = xp.abs(ray_displacement(angle, aberrations_of(parameters)))
    spread = parameters.angular_spread_mrad * 1e-3
    envelope = xp.exp(-((pi / wavelength * spread * slope) ** 2))
    # An edge one step of the grid wide: a hard one would jump with the size of the cell.
    step = wavelength / min(exit_waves.cell.extent)
    opening = 0.5 + (parameters.aperture_mrad * 1e-3 - xp.abs(angle)) / step
    return xp.exp(-1j * phase) * (envelope * xp.clip(opening, 0.0, 1.0))
