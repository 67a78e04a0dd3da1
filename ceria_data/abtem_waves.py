"""Exit waves with abTEM, one wave at a time."""

from typing import Any

import abtem
import numpy as np

from ceria_data.devices import Place
from ceria_data.fourier import fft2
from ceria_data.grid import GRID_BAND, Cell
from ceria_data.potential import form_factors, project
from ceria_data.waves import (
    SYMBOLS,
    ExitWaves,
    ScatteringSettings,
    Specimen,
    highest_orders,
    keep_orders,
)


def abtem_settings(settings: ScatteringSettings, device: str = "cpu") -> dict[str, Any]:
    """List the settings of abTEM that an exit wave depends on.

    Parameters
    ----------
    settings : ScatteringSettings
        Precision and Fourier transform are taken from it.
    device : str
        ``cpu`` or ``gpu``.

    Returns
    -------
    dict
        For ``abtem.config.set`` and for the record of a dataset. FFTW plans without
        timing (``FFTW_ESTIMATE``): timed plans differ from run to run, and so do the
        last digits of what they compute.

    Examples
    --------
    >>> abtem_settings(ScatteringSettings())["antialias.taper"]
    0.0
    """
    return {
        "precision": settings.precision,
        "device": device,
        "fft": settings.fft,
        "fftw.threads": 1,
        "fftw.planning_effort": "FFTW_ESTIMATE",
        "antialias.cutoff": GRID_BAND,
        "antialias.taper": 0.0,
    }


def abtem_waves(
    specimen: Specimen, cell: Cell, settings: ScatteringSettings, device: str, place: Place
) -> ExitWaves:
    """Send plane waves through the configurations of a specimen with abTEM's multislice.

    abTEM gets the potentials of `potential.project`; its own are less exact.

    Parameters
    ----------
    specimen : Specimen
    cell : Cell
    settings : ScatteringSettings
    device : str
        ``cpu`` or ``gpu``.
    place : Place
        The same as an array module.

    Returns
    -------
    ExitWaves
        Half a slice behind the plane of the last atoms, where abTEM ends.

    References
    ----------
    .. [1] Madsen and Susi, Open Research Europe 1, 24 (2021) (abTEM).
    """
    xp = place.xp
    shape, extent = cell.shape[::-1], cell.extent[::-1]
    edge = settings.kept_mrad * 1e-3 / settings.wavelength + 1 / min(cell.extent)
    orders = highest_orders(edge, cell)
    order = np.lexsort((specimen.numbers, specimen.slices.member))
    counts = np.zeros((len(specimen.slices.z), len(SYMBOLS)), np.int64)
    np.add.at(counts, (specimen.slices.member, specimen.numbers), 1)
    behind = 0.5 * settings.slice_thickness_A
    thicknesses = (*np.diff(specimen.slices.z).tolist(), behind)
    factors = place.put(form_factors(SYMBOLS, shape, extent), getattr(xp, settings.precision))
    spectra = []
    with abtem.config.set(abtem_settings(settings, device)):
        vacuum = abtem.PlaneWave(
            energy=settings.energy_eV, gpts=shape, extent=extent, device=device
        )
        for yx in specimen.fractions(cell)[:, order]:
            wave: Any = vacuum.build(lazy=False)
            if counts.size:
                slices = project(place.put(yx[:, 1]), place.put(yx[:, 0]), counts.tolist(), factors)
                potential = abtem.PotentialArray(slices, thicknesses, extent=extent)
                wave = vacuum.multislice(potential, lazy=False)
            # The one place where abTEM's [x, y] becomes our (y, x).
            waves = xp.matrix_transpose(wave.array)
            spectra.append(keep_orders(fft2(waves + 0.0), orders) / (shape[0] * shape[1]))
    z_exit = float(specimen.slices.z[-1]) + behind if counts.size else 0.0
    return ExitWaves(xp.stack(spectra), z_exit, cell, settings.energy_eV)
