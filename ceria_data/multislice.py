"""Multislice for many waves at once: thermal configurations and structures of one cell."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, pi
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from ceria_data.devices import Place
from ceria_data.errors import DeviceError
from ceria_data.fourier import Library, fft2, ifft2
from ceria_data.grid import GRID_BAND, SPLIT_BAND, Cell
from ceria_data.products import weighted, weights
from ceria_data.transmission import (
    GridTables,
    SplitTables,
    band,
    grid_tables,
    split_tables,
)
from ceria_data.waves import (
    SYMBOLS,
    ExitWaves,
    ScatteringSettings,
    Specimen,
    highest_orders,
    keep_orders,
)

_LOW_ORDERS = 16
"""Phase factors of high orders are products of two short tables of this period."""
_ARRAYS_PER_WAVE = 9
"""Complex arrays of the size of the cell that are alive at once for every wave."""


@dataclass(frozen=True)
class _Part:
    """Consecutive thermal configurations of one specimen."""

    specimen: int
    first: int
    last: int

    @property
    def waves(self) -> int:
        return self.last - self.first


def batched_waves(
    specimens: Sequence[Specimen],
    cell: Cell,
    settings: ScatteringSettings,
    place: Place,
    batch: int = 1,
) -> list[ExitWaves]:
    """Send plane waves through many configurations of many specimens together.

    Conventional multislice. Each wave goes through the slices of its own specimen, one in
    each step; a wave that is through goes on empty until its batch ends, so that all
    arrays keep their shape. What is computed for a wave does not depend on the others.

    Parameters
    ----------
    specimens : sequence of Specimen
    cell : Cell
        Periodic cell of all of them.
    settings : ScatteringSettings
    place : Place
        Where the work is done and the result stays.
    batch : int
        Waves that go together.

    Returns
    -------
    list of ExitWaves
        In the order of the specimens.

    Raises
    ------
    StructureError
        If an atom lies outside the cell.

    References
    ----------
    .. [1] Cowley and Moodie, Acta Cryst. 10, 609 (1957).
    .. [2] Kirkland, Advanced Computing in Electron Microscopy, 2nd ed. (2010), ch. 6.

    Examples
    --------
    >>> from ceria_data.devices import place_of
    >>> from ceria_data.grid import Field, cell_around
    >>> from ceria_data.slices import lay_slices
    >>> atom = np.asarray([[[3.0, 2.0, 0.0]]])
    >>> one = Specimen(atom, np.zeros(1, np.uint8), lay_slices(atom[0, :, 2], 0.5))
    >>> cell = cell_around(Field((24, 32), 0.2), sampling=0.1, padding=2.0)
    >>> wave, = batched_waves([one], cell, ScatteringSettings(kept_mrad=40.0), place_of("cpu"))
    >>> wave.spectra.shape, wave.spectra.dtype, wave.z_exit
    ((1, 39, 47), dtype('complex64'), 0.0)
    """
    xp = place.xp
    carbon = any((specimen.numbers == SYMBOLS.index("C")).any() for specimen in specimens)
    calculation = _Calculation.of(cell, settings, place, len(SYMBOLS) if carbon else 2)
    edge = settings.kept_mrad * 1e-3 / settings.wavelength + 1 / min(cell.extent)
    orders = highest_orders(edge, cell)
    done: list[list[Any]] = [[] for _ in specimens]
    for parts in _batches(specimens, batch):
        atoms = [_Atoms.of(specimens[part.specimen], cell, part, place) for part in parts]
        for part, spectra in calculation.run(atoms, orders):
            done[part.specimen].append(spectra)
    return [
        ExitWaves(
            xp.concat(spectra, axis=0),
            float(specimen.slices.z[-1]) if len(specimen.slices.z) else 0.0,
            cell,
            settings.energy_eV,
            settings.library,
        )
        for specimen, spectra in zip(specimens, done, strict=True)
    ]


def waves_in(memory: int, cell: Cell, settings: ScatteringSettings) -> int:
    """Count the waves that may go together in some memory.

    Parameters
    ----------
    memory : int
        Bytes.
    cell : Cell
    settings : ScatteringSettings

    Returns
    -------
    int

    Raises
    ------
    DeviceError
        If one wave needs more.

    Examples
    --------
    >>> from ceria_data.grid import Field, cell_around
    >>> cell = cell_around(Field((160, 160), 0.2), sampling=0.1, padding=8.0)
    >>> waves_in(2_000_000_000, cell, ScatteringSettings())
    120
    """
    each = bytes_per_wave(cell, settings)
    if each > memory:
        raise DeviceError(
            f"a wave on {cell.shape[0]} x {cell.shape[1]} points needs {each / 1e6:.0f} MB and "
            f"may have {memory / 1e6:.0f} MB; allow a batch more memory"
        )
    return memory // each


def bytes_per_wave(cell: Cell, settings: ScatteringSettings) -> int:
    """Estimate the memory that a wave needs while it goes through the slices [bytes]."""
    width = 8 if settings.precision == "float32" else 16
    return _ARRAYS_PER_WAVE * width * cell.shape[0] * cell.shape[1]


def _batches(specimens: Sequence[Specimen], batch: int) -> Iterator[list[_Part]]:
    """Fill batches, with specimens of similar depth together; only the last is not full."""
    deepest_first = sorted(range(len(specimens)), key=lambda i: -len(specimens[i].slices.z))
    parts: list[_Part] = []
    room = batch
    for specimen in deepest_first:
        first = 0
        while first < specimens[specimen].phonons:
            last = min(first + room, specimens[specimen].phonons)
            parts.append(_Part(specimen, first, last))
            room -= last - first
            first = last
            if room == 0:
                yield parts
                parts, room = [], batch
    if parts:
        yield parts


@dataclass(frozen=True)
class _Calculation:
    """All that does not depend on the atoms, where the work is done."""

    tables: SplitTables | GridTables
    band: Any
    squares: tuple[Any, Any]
    low: Any
    high: Any
    species: int
    cell: Cell
    wavelength: float
    place: Place
    dtype: Any
    library: Library

    @classmethod
    def of(
        cls, cell: Cell, settings: ScatteringSettings, place: Place, species: int
    ) -> "_Calculation":
        real = getattr(place.xp, settings.precision)
        tables: SplitTables | GridTables
        if settings.transmission == "split":
            split = split_tables(cell, settings)
            tables, limit = replace(split, parts=place.put(split.parts, real)), SPLIT_BAND
        else:
            grid = grid_tables(cell, settings)
            tables = replace(
                grid, phase=place.put(grid.phase, real), band=place.put(grid.band, real)
            )
            limit = GRID_BAND
        wide = place.xp.complex128
        squares = [np.fft.fftfreq(n, cell.sampling) ** 2 for n in cell.shape]
        return cls(
            tables=tables,
            band=weights(place.put(band(cell, limit), real)),
            squares=(place.put(squares[0], wide), place.put(squares[1], wide)),
            low=place.put(np.arange(_LOW_ORDERS), wide),
            high=place.put(np.arange(0, max(cell.shape), _LOW_ORDERS), wide),
            species=species,
            cell=cell,
            wavelength=settings.wavelength,
            place=place,
            dtype=place.xp.complex64 if settings.precision == "float32" else wide,
            library=settings.library,
        )

    def run(
        self, atoms: Sequence["_Atoms"], orders: tuple[int, int]
    ) -> Iterator[tuple[_Part, Any]]:
        """Send the waves of one batch through; yield the spectra of each part when it is done."""
        xp, (ny, nx) = self.place.xp, self.cell.shape
        steps = max(each.depth for each in atoms)
        waves = xp.ones(
            (sum(each.part.waves for each in atoms), ny, nx),
            dtype=self.dtype,
            device=self.place.device,
        )
        for step in range(steps):
            parts = [self._structure_factors(each, step) for each in atoms]
            factors = [_joined(same) for same in zip(*parts, strict=True)]
            # In place: NumPy rounds a product of complex numbers otherwise where it makes a
            # new array, and it decides that by the size of the batch.
            waves *= self.tables.transmission(factors, self.library)
            spectra = fft2(waves, self.library)
            first = 0
            for each in atoms:
                if step == each.depth - 1:
                    own = spectra[first : first + each.part.waves, :, :]
                    yield each.part, keep_orders(weighted(own, self.band), orders) / (ny * nx)
                first += each.part.waves
            if step < steps - 1:
                spectra *= _joined([self._propagators(each, step) for each in atoms])
                waves = ifft2(spectra, self.library)

    def _propagators(self, atoms: "_Atoms", step: int) -> Any:
        """Free space up to the next slice, with the band limit."""
        z, xp = atoms.z, self.place.xp
        distance = float(z[step + 1] - z[step]) if step + 1 < len(z) else 0.0
        phase = -1j * pi * self.wavelength * distance
        rows, columns = (xp.astype(xp.exp(phase * k2), self.dtype) for k2 in self.squares)
        propagator = weighted(rows[:, None] * columns[None, :], self.band)
        return xp.broadcast_to(propagator[None, :, :], (atoms.part.waves, *self.cell.shape))

    def _structure_factors(self, atoms: "_Atoms", step: int) -> list[Any]:
        """Sum ``exp(-2πi k r)`` over the atoms of each species in a slice."""
        xp, (hy, hx) = self.place.xp, self.tables.orders
        sums = []
        for number in range(self.species):
            here = atoms.slots(step, number)
            if here.start == here.stop:
                shape = (atoms.part.waves, 2 * hy + 1, hx + 1)
                sums.append(xp.zeros(shape, dtype=self.dtype, device=self.place.device))
                continue
            positive = self._phase_factors(atoms.yx[:, here, 0], hy)
            negative = xp.conj(xp.flip(positive[:, :, 1:], axis=-1))
            rows = xp.matrix_transpose(xp.concat([positive, negative], axis=-1))
            sums.append(rows @ self._phase_factors(atoms.yx[:, here, 1], hx))
        return sums

    def _phase_factors(self, fractions: Any, order: int) -> Any:
        """Tabulate exp(-2πi n x) as (wave, atom, n) for n up to `order`."""
        xp = self.place.xp
        waves, atoms = fractions.shape
        periods = ceil((order + 1) / _LOW_ORDERS)
        low, high = (
            xp.astype(xp.exp((-2j * pi) * (fractions[:, :, None] * n[None, None, :])), self.dtype)
            for n in (self.low, self.high[:periods])
        )
        products = high[:, :, :, None] * low[:, :, None, :]
        return xp.reshape(products, (waves, atoms, periods * _LOW_ORDERS))[:, :, : order + 1]


@dataclass(frozen=True)
class _Atoms:
    """The atoms of one part of a batch, ordered by slice and species, where the work is done.

    `bounds` tells where the atoms of (slice, species) begin; the first and last atoms of a
    slice that the part does not have are none.
    """

    part: _Part
    yx: Any
    bounds: NDArray[np.int64]
    z: NDArray[np.float64]

    @classmethod
    def of(cls, specimen: Specimen, cell: Cell, part: _Part, place: Place) -> "_Atoms":
        slots = specimen.slices.member * len(SYMBOLS) + specimen.numbers
        order = np.argsort(slots, kind="stable")
        ends = np.arange(len(specimen.slices.z) * len(SYMBOLS) + 1)
        fractions = specimen.fractions(cell)[part.first : part.last, order]
        # Complex, as the exponential of i times it is what is wanted.
        return cls(
            part,
            place.put(fractions, place.xp.complex128),
            np.searchsorted(slots[order], ends),
            specimen.slices.z,
        )

    @property
    def depth(self) -> int:
        """Steps that its waves take: one even without any atom."""
        return max(1, len(self.z))

    def slots(self, step: int, number: int) -> slice:
        """Find the atoms of a species in a slice; there are none behind the last slice."""
        if step >= len(self.z):
            return slice(0, 0)
        slot = step * len(SYMBOLS) + number
        return slice(int(self.bounds[slot]), int(self.bounds[slot + 1]))


def _joined(arrays: Sequence[Any]) -> Any:
    """Join the arrays of the parts of a batch, without a copy if there is one part."""
    return arrays[0] if len(arrays) == 1 else array_namespace(*arrays).concat(arrays, axis=0)
