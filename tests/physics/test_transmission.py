"""The split transmission function against calculations on fine grids, written apart from it."""

from dataclasses import replace

import numpy as np
import pytest
from abtem.parametrizations import LobatoParametrization

from ceria_data.grid import Cell, Field, cell_around
from ceria_data.optics import form_image
from ceria_data.scattering import exit_waves
from ceria_data.transmission import split_tables
from ceria_data.waves import SYMBOLS, ExitWaves, ScatteringSettings
from tests.physics import reference

CELL = Cell((60, 72), 0.1, (0, 0), 1)
SPLIT = ScatteringSettings(precision="float64")
PHASE = reference.interaction(SPLIT.energy_eV)


def transmission_of(atoms, library="scipy"):
    """Transmission function of atoms (symbol, x, y) from the tables."""
    tables = split_tables(CELL, SPLIT)
    hy, hx = tables.orders
    ky = np.r_[0 : hy + 1, -hy:0][:, None] / CELL.extent[0]
    kx = np.arange(hx + 1)[None] / CELL.extent[1]
    factors = np.zeros((len(SYMBOLS), 1, 2 * hy + 1, hx + 1), complex)
    for symbol, x, y in atoms:
        factors[SYMBOLS.index(symbol), 0] += np.exp(-2j * np.pi * (ky * y + kx * x))
    return tables.transmission(list(factors), library)[0]


def transmission_on_fine_grid(atoms, fineness=8):
    """exp(iσV) from the potential in real space on a fine grid, as a spectrum."""
    step = CELL.sampling / fineness
    y, x = (step * np.arange(n * fineness) for n in CELL.shape)
    radii = np.geomspace(1e-3, 20, 20_000)
    potential = np.zeros((len(y), len(x)))
    for symbol, x0, y0 in atoms:
        radial = LobatoParametrization().projected_potential(symbol)(radii)
        for image in np.ndindex(3, 3):
            y1, x1 = np.array([y0, x0]) + (np.array(image) - 1) * CELL.extent
            r = np.hypot(y[:, None] - y1, x[None] - x1)
            potential += np.interp(np.log(np.maximum(r, 1e-3)), np.log(radii), radial)
    return np.fft.fft2(np.exp(1j * PHASE * potential)) / potential.size


@pytest.mark.parametrize(
    "atoms",
    [
        [("Ce", 3.013, 2.517)],
        [("O", 3.013, 2.517)],
        [("C", 3.013, 2.517)],
        [("Ce", 3.013, 2.517), ("O", 4.366, 2.517), ("O", 1.66, 2.517), ("Ce", 3.013, 5.2)],
    ],
    ids=lambda atoms: "".join(symbol for symbol, *_ in atoms),
)
@pytest.mark.parametrize("library", ["scipy", "mkl"])
def test_spectrum_is_that_of_the_exponential_on_a_fine_grid(atoms, library):
    ours = np.fft.fft2(transmission_of(atoms, library)) / np.prod(CELL.shape)
    exact = transmission_on_fine_grid(atoms)
    hy, hx = 18, 21  # 60 mrad: what reaches an image
    rows, columns = np.r_[0 : hy + 1, -hy:0], np.r_[0 : hx + 1, -hx:0]
    ours, exact = (spectrum[np.ix_(rows, columns)] for spectrum in (ours, exact))
    exact[0, 0] -= 1
    ours[0, 0] -= 1
    assert np.linalg.norm(ours - exact) < 5e-3 * np.linalg.norm(exact)


@pytest.mark.parametrize("library", ["scipy", "mkl"])
def test_it_is_unitary_where_the_atoms_are_smooth(library):
    """Far from the core nothing is absorbed."""
    transmission = transmission_of([("Ce", 3.0, 3.0)], library)
    y, x = CELL.sampling * np.indices(CELL.shape)
    far = np.hypot(x - 3.0, y - 3.0) > 1.0
    assert np.abs(transmission[far]) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("engine", ["batched", "batched_mkl"])
@pytest.mark.parametrize("defocus", [-90.0, -60.0, -30.0])
def test_images_are_those_of_an_independent_multislice_on_a_fine_grid(fine, defocus, engine):
    specimen, field, reference_waves = fine
    cell = cell_around(field, 0.1, 2.0)
    (waves,) = exit_waves([specimen], cell, replace(SPLIT, precision="float32", engine=engine))
    seen = reference.image_parameters(defocus_A=defocus)
    (coarse,) = exit_waves([specimen], cell, replace(SPLIT, transmission="grid"))
    image, exact, on_grid = (
        form_image(each, seen, field) for each in (waves, reference_waves, coarse)
    )
    everywhere = np.ones(field.shape, bool)
    error = reference.image_error(image, exact, everywhere)
    assert error < 0.01
    assert error < 0.6 * reference.image_error(on_grid, exact, everywhere)


@pytest.fixture(scope="module")
def fine():
    """A small island, its field, and its waves at the last slice from a grid of 0.025 Å."""
    field = Field((30, 40), 0.2)
    positions, numbers = reference.island(2.5, 1.9, 6.0)
    positions[:, :2] += field.centre
    specimen = reference.specimen(positions, numbers, rms=1.0)
    coarse = cell_around(field, 0.1, 2.0)
    shape = (4 * coarse.shape[0], 4 * coarse.shape[1])
    cell = Cell(shape, 0.025, (4 * coarse.origin[0], 4 * coarse.origin[1]), 8)
    corner = cell.sampling * np.array(cell.origin[::-1])

    def factor(symbol, k2):
        return LobatoParametrization().scattering_factor(symbol)(k2)

    potentials = []
    for plane in range(len(specimen.slices.z)):
        here = np.flatnonzero(specimen.slices.member == plane)
        symbols = [SYMBOLS[n] for n in specimen.numbers[here]]
        xy = specimen.positions[0, here, :2] + corner
        potentials.append(reference.potential_slice(xy, symbols, shape, cell.sampling, factor))
    distances = [*np.diff(specimen.slices.z), 0.0]
    wave = reference.multislice(potentials, distances, cell.sampling, SPLIT.energy_eV)
    waves = ExitWaves.from_waves(wave[None], specimen.slices.z[-1], cell, SPLIT.energy_eV)
    return specimen, field, waves
