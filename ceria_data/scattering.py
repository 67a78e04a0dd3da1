"""Exit waves: what the atoms do to the electron wave."""

from collections.abc import Sequence

from ceria_data import mkl
from ceria_data.abtem_waves import abtem_waves
from ceria_data.devices import place_of
from ceria_data.errors import DeviceError
from ceria_data.grid import Cell
from ceria_data.multislice import batched_waves, waves_in
from ceria_data.waves import ExitWaves, ScatteringSettings, Specimen

GPU_MEMORY = 2_000_000_000
"""Memory for the waves of a batch on a GPU [bytes]: enough for its arithmetic to be busy."""


def check_engine(settings: ScatteringSettings, device: str = "cpu") -> None:
    """See whether the engine can run here, before anything is written.

    Parameters
    ----------
    settings : ScatteringSettings
    device : str
        ``cpu`` or ``gpu``.

    Raises
    ------
    DeviceError
        If it needs MKL and there is none, or there cannot be one.
    """
    if settings.library != "mkl":
        return
    if device != "cpu":
        raise DeviceError(
            f"engine {settings.engine} computes on the CPU, where MKL is, and the device is "
            f"{device!r}; use --device cpu, or scattering.engine: batched"
        )
    mkl.library()


def waves_together(
    cell: Cell, settings: ScatteringSettings, device: str = "cpu", memory: int | None = None
) -> int:
    """Count the waves of a batch.

    Parameters
    ----------
    cell : Cell
    settings : ScatteringSettings
    device : str
        ``cpu`` or ``gpu``.
    memory : int, optional
        What the waves may take [bytes]; by default `GPU_MEMORY` on a GPU. On a CPU one wave
        goes alone by default, which its caches like.

    Returns
    -------
    int

    Raises
    ------
    DeviceError
        If one wave needs more.
    """
    if settings.engine == "abtem" or (device == "cpu" and memory is None):
        return 1
    return waves_in(GPU_MEMORY if memory is None else memory, cell, settings)


def exit_waves(
    specimens: Sequence[Specimen],
    cell: Cell,
    settings: ScatteringSettings,
    device: str = "cpu",
    memory: int | None = None,
) -> list[ExitWaves]:
    """Send a plane wave through every phonon configuration of every specimen.

    Conventional multislice on exact structure factors.

    Parameters
    ----------
    specimens : sequence of Specimen
    cell : Cell
        Periodic cell, from `grid.cell_around`.
    settings : ScatteringSettings
        Engine, energy, slices, precision; sampling and padding are in `cell`.
    device : str
        ``cpu`` or ``gpu``.
    memory : int, optional
        For the waves that go together; see `waves_together`. Changes no value on a CPU.

    Returns
    -------
    list of ExitWaves
        On the device that computed them, in the order of the specimens.

    Raises
    ------
    StructureError
        If an atom lies outside the cell by more than thermal motion explains.
    DeviceError
        If `device` is unknown, there is no GPU, `memory` is less than a wave needs, or the
        engine cannot run here.
    MissingExtraError
        If `device` is ``gpu`` and CuPy is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from ceria_data.grid import Field, cell_around
    >>> from ceria_data.slices import lay_slices
    >>> cell = cell_around(Field((24, 32), 0.2), sampling=0.1, padding=2.0)
    >>> atom = np.asarray([[[3.0, 2.0, 0.0]]])
    >>> one = Specimen(atom, np.zeros(1, np.uint8), lay_slices(atom[0, :, 2], 0.5))
    >>> wave, = exit_waves([one], cell, ScatteringSettings())
    >>> wave.waves.shape, wave.waves.dtype, wave.z_exit
    ((1, 90, 108), dtype('complex64'), 0.0)
    """
    place = place_of(device)
    check_engine(settings, device)
    if settings.engine == "abtem":
        return [abtem_waves(each, cell, settings, device, place) for each in specimens]
    batch = waves_together(cell, settings, device, memory)
    with mkl.one_thread(settings.library == "mkl"):
        return batched_waves(specimens, cell, settings, place, batch)
