"""Exit waves: what the atoms do to the electron wave."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import abtem
import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from ceria_data.errors import DeviceError, MissingExtraError, StructureError
from ceria_data.grid import Cell
from ceria_data.potential import form_factors, project

SYMBOLS = ("Ce", "O", "C")
"""Scatterers, in the order of their numbers: `schema.SPECIES`, then the carbon of a support."""
BAND_LIMIT = 0.66666
"""Kirkland's 2/3 of the Nyquist frequency, and a little less: many grids have points exactly
on 2/3, where rounding would decide."""
LARGEST_OVERHANG = 1.0
"""How far [Å] thermal motion may carry an atom over the edge of the cell, where it wraps."""


@dataclass(frozen=True)
class ScatteringSettings:
    """Everything that decides an exit wave besides the atoms.

    Attributes
    ----------
    energy_keV : float
        Energy of the beam.
    sampling_A : float
        Largest distance of grid points.
    slice_thickness_A : float
        Distance of the planes that atoms are projected on.
    padding_A : float
        Smallest margin around the field.
    precision : str
        ``float32`` or ``float64``.
    fft : str
        Library of the Fourier transforms on a CPU: ``numpy`` or ``fftw``.
    """

    energy_keV: float = 300.0
    sampling_A: float = 0.1
    slice_thickness_A: float = 0.5
    padding_A: float = 8.0
    precision: Literal["float32", "float64"] = "float32"
    fft: Literal["numpy", "fftw"] = "numpy"

    @property
    def energy_eV(self) -> float:
        """Energy of the beam [eV]."""
        return self.energy_keV * 1e3


@dataclass(frozen=True)
class ExitWaves:
    """Waves behind one structure, one for each phonon configuration.

    Attributes
    ----------
    waves : array of complex, shape (phonon, y, x)
        In real space; 1 = vacuum. Lives on the device that computed it.
    z_exit : float
        Plane of the waves along the beam, relative to the particle's mean z [Å].
    cell : Cell
        The periodic cell of the waves.
    energy_eV : float
        Energy of the beam [eV].
    """

    waves: Any
    z_exit: float
    cell: Cell
    energy_eV: float


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
        last digits of what they compute. The band limit has a hard edge: a
        tapered one would act again in every slice, so that empty ones would change the
        wave.

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
        "antialias.cutoff": BAND_LIMIT,
        "antialias.taper": 0.0,
    }


def exit_waves(
    positions: NDArray[np.float64],
    species: NDArray[np.uint8],
    carbon: NDArray[np.float64],
    cell: Cell,
    settings: ScatteringSettings,
    device: str = "cpu",
) -> ExitWaves:
    """Send a plane wave through every phonon configuration of a structure.

    Conventional multislice (abTEM) on the potentials of `potential.project`. Slices are
    centred on multiples of the slice thickness, whatever the extent of the structure; the
    potential of a slice acts at its centre. Slices without atoms become propagation,
    which is exact.

    Parameters
    ----------
    positions : array of float64, shape (phonon, atom, 3)
        x, y, z [Å] with the origin of the field, z relative to the particle's mean z.
    species : array of uint8, shape (atom,)
        0 = Ce, 1 = O.
    carbon : array of float64, shape (phonon, carbon, 3)
        Atoms of the support; may be empty.
    cell : Cell
        Periodic cell, from `grid.cell_around`.
    settings : ScatteringSettings
        Energy, slice thickness, precision, FFT; sampling and padding are in `cell`.
    device : str
        ``cpu`` or ``gpu``.

    Returns
    -------
    ExitWaves
        On the device that computed them.

    Raises
    ------
    StructureError
        If an atom lies outside the cell by more than thermal motion explains: the cell
        is periodic, so it would appear on the other side.
    DeviceError
        If `device` is unknown or there is no GPU.
    MissingExtraError
        If `device` is ``gpu`` and CuPy is not installed.

    References
    ----------
    .. [1] Cowley and Moodie, Acta Cryst. 10, 609 (1957).
    .. [2] Kirkland, Advanced Computing in Electron Microscopy, 2nd ed. (2010), ch. 6.8
       (band limit).
    .. [3] Madsen and Susi, Open Research Europe 1, 24 (2021) (abTEM).

    Examples
    --------
    >>> from ceria_data.grid import Field, cell_around
    >>> cell = cell_around(Field((24, 32), 0.2), sampling=0.1, padding=2.0)
    >>> atom = np.asarray([[[3.0, 2.0, 0.0]]])
    >>> wave = exit_waves(atom, np.zeros(1, np.uint8), atom[:, :0], cell, ScatteringSettings())
    >>> wave.waves.shape, wave.waves.dtype, wave.z_exit
    ((1, 90, 108), dtype('complex64'), 0.25)
    """
    xp = _array_module(device)
    atoms = np.concatenate([positions, carbon], axis=1)
    numbers = np.concatenate([species, np.full(carbon.shape[1], SYMBOLS.index("C"), np.uint8)])
    fractions = _fractions(atoms, cell)
    planes = np.floor(atoms[..., 2] / settings.slice_thickness_A + 0.5).astype(np.int64)
    last = int(planes.max(initial=0))
    z_exit = (last + 0.5) * settings.slice_thickness_A
    shape, extent = cell.shape[::-1], cell.extent[::-1]
    factors = xp.asarray(
        form_factors(SYMBOLS, shape, extent), dtype=getattr(xp, settings.precision)
    )
    waves = []
    with abtem.config.set(abtem_settings(settings, device)):
        vacuum = abtem.PlaneWave(
            energy=settings.energy_eV, gpts=shape, extent=extent, device=device
        )
        for xy, plane in zip(fractions, planes, strict=True):
            order = np.lexsort((numbers, plane))
            occupied, counts = _count_atoms(plane, numbers, last)
            thicknesses = settings.slice_thickness_A * np.diff(occupied, append=last + 0.5)
            x, y = (xp.asarray(xy[order, axis]) for axis in (0, 1))
            potential = abtem.PotentialArray(
                project(x, y, counts.tolist(), factors), tuple(thicknesses), extent=extent
            )
            behind: Any = vacuum.multislice(potential, lazy=False)
            # The one place where abTEM's [x, y] becomes our (y, x).
            waves.append(xp.matrix_transpose(behind.array))
    return ExitWaves(xp.stack(waves), z_exit, cell, settings.energy_eV)


def _count_atoms(
    plane: NDArray[np.int64], numbers: NDArray[np.uint8], last: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List the slices with atoms, and the last one, and the atoms of each species in each."""
    occupied = np.unique(np.append(plane, last))
    counts = np.zeros((len(occupied), len(SYMBOLS)), np.int64)
    np.add.at(counts, (np.searchsorted(occupied, plane), numbers), 1)
    return occupied, counts


def _fractions(atoms: NDArray[np.float64], cell: Cell) -> NDArray[np.float64]:
    """Express x and y in units of the cell, from its corner."""
    x_min, x_max, y_min, y_max = cell.bounds
    low, high = np.asarray([x_min, y_min]), np.asarray([x_max, y_max])
    overhang = np.maximum(low - atoms[..., :2], atoms[..., :2] - high).max(initial=-np.inf)
    if overhang > LARGEST_OVERHANG:
        raise StructureError(
            f"an atom lies {overhang:.2f} Å outside the periodic cell "
            f"(x {x_min:.1f} to {x_max:.1f} Å, y {y_min:.1f} to {y_max:.1f} Å) and would "
            f"appear on its other side; crop the structure to the cell or enlarge the padding"
        )
    fractions: NDArray[np.float64] = (atoms[..., :2] - low) / (high - low)
    return fractions


def _array_module(device: str) -> Any:
    """Find the array module of a device, or say why there is none."""
    if device == "cpu":
        return array_namespace(np.empty(0))
    if device != "gpu":
        raise DeviceError(f"unknown device {device!r}; the devices are 'cpu' and 'gpu'")
    try:
        cupy = import_module("cupy")
    except ImportError as error:
        raise MissingExtraError("--device gpu", "gpu", "cupy") from error
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(f"no usable GPU ({error}); use --device cpu") from error
    return array_namespace(cupy.empty(0))
