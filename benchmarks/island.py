"""Contrast, and grids of the transmission function, on one island of CeO2 [110].

    python benchmarks/island.py

The grid of the wave is 0.1 Å; the transmission function is computed on that grid or on one
twice as fine and cut, with two band limits. Errors are against 0.04 Å.
"""

import sys
from pathlib import Path

import numpy as np
import scipy.fft

sys.path.insert(0, str(Path(__file__).parents[1]))

from ceria_data.grid import Field, cell_around
from ceria_data.optics import form_image
from ceria_data.potential import form_factors, project
from ceria_data.scattering import ExitWaves, ScatteringSettings, exit_waves
from tests.physics.reference import (
    image_error,
    image_parameters,
    interaction,
    island,
    rattled,
    wavelength,
)

ENERGY, SLICE, FIELD = 300e3, 0.5, Field((96, 96), 0.2)
CASES = (
    ("0.1 Å", 0.1, 1, 2 / 3),
    ("0.1 Å, transmission at 0.05 Å", 0.1, 2, 2 / 3),
    ("0.1 Å, transmission at 0.05 Å, band limit 0.95", 0.1, 2, 0.95),
    ("0.067 Å", 0.067, 1, 2 / 3),
    ("0.05 Å", 0.05, 1, 2 / 3),
)


def waves(atoms, species, sampling, finer, band):
    """Multislice in float64 with the transmission function on a grid `finer` times as fine."""
    cell = cell_around(FIELD, sampling, 8.0)
    n, length = cell.shape[0], cell.extent[0]
    xy = (atoms[:, :2] - np.array(cell.bounds[::2])) / length
    plane = np.floor(atoms[:, 2] / SLICE + 0.5).astype(int)
    order, occupied = np.lexsort((species, plane)), np.unique(plane)
    counts = np.zeros((len(occupied), 2), int)
    np.add.at(counts, (np.searchsorted(occupied, plane), species), 1)
    factors = form_factors(["Ce", "O"], (n * finer,) * 2, (length,) * 2)
    slices = project(xy[order, 0], xy[order, 1], counts.tolist(), factors)
    k = np.fft.fftfreq(n, cell.sampling)
    k2 = k[:, None] ** 2 + k[None] ** 2
    inside = np.sqrt(k2) < band / (2 * cell.sampling)
    kept = np.r_[0 : n // 2, n * finer - n // 2 : n * finer]
    wave = np.ones((n, n), complex)
    for potential, distance in zip(slices, SLICE * np.diff(occupied, append=occupied[-1] + 0.5),
                                   strict=True):  # fmt: skip
        spectrum = scipy.fft.fft2(np.exp(1j * interaction(ENERGY) * potential))
        wave = wave * scipy.fft.ifft2(inside * spectrum[np.ix_(kept, kept)] / finer**2)
        propagator = np.exp(-1j * np.pi * wavelength(ENERGY) * distance * k2)
        wave = scipy.fft.ifft2(inside * propagator * scipy.fft.fft2(wave))
    return ExitWaves(np.ascontiguousarray(wave.T)[None], (occupied[-1] + 0.5) * SLICE, cell, ENERGY)


def grids(positions, species):
    """Print the errors of each way to compute the transmission function."""
    atoms = rattled(positions, species, 1)[0]
    inside = np.zeros(FIELD.shape, bool)
    inside[20:76, 20:76] = True
    reference = waves(atoms, species, 0.04, 1, 2 / 3)
    print("| grid | -90 Å | -60 Å | -30 Å |\n|---|---|---|---|")
    for name, *how in CASES:
        wave, row = waves(atoms, species, *how), []
        for defocus in (-90.0, -60.0, -30.0):
            seen = image_parameters(defocus_A=defocus)
            images = [form_image(each, seen, FIELD) for each in (wave, reference)]
            row.append(f"{image_error(*images, inside):.2%}")
        print(f"| {name} | {' | '.join(row)} |")


def contrast(positions, species):
    """Print the mean intensity at the Ce columns over defocus."""
    settings, atoms = ScatteringSettings(sampling_A=0.067), rattled(positions, species, 4)
    cell = cell_around(FIELD, settings.sampling_A, settings.padding_A)
    wave = exit_waves(atoms, species, np.empty((4, 0, 3)), cell, settings)
    columns = np.rint(positions[species == 0, :2] / FIELD.sampling).astype(int)
    print("\n| defocus_A | Ce columns |\n|---|---|")
    for defocus in (-90.0, -60.0, -30.0, 30.0, 60.0):
        image = form_image(wave, image_parameters(defocus_A=defocus), FIELD)
        print(f"| {defocus:+.0f} | {image[columns[:, 1], columns[:, 0]].mean():.2f} |")


if __name__ == "__main__":
    positions, species = island(9.0, 9.0, 15.0)
    positions[:, :2] += FIELD.centre
    print(f"{len(species)} atoms\n")
    contrast(positions, species)
    grids(positions, species)
