"""Exit waves per second on one core: the batched engine beside abTEM and beside its floor.

    python benchmarks/engine.py                # about two minutes

A slab of CeO2 [110], 21 Å thick, turned and tilted as drawn from ceria-columns-v1, fills a cell of
320 and of 480 points: two thermal configurations, 0.1 Å, slices of 0.5 Å, float32. In one process,
one thread, in turns:

* batched, split and grid: the engine of this package; batched_mkl: the same with MKL;
* abTEM, our potentials: its multislice fed with exact potentials of the same slices, with the
  transforms of NumPy and with those of FFTW;
* abTEM alone: its own potentials (``infinite``) of the same atoms, in a cell that ends 0.1 Å
  before and behind them, and FFTW plans measured before the clock starts. Its slices are a
  regular grid of the same thickness, so it has more of them.

The exit wave of `grid` has to equal that of abTEM with our potentials to 1e-4, or the script
ends with exit code 1. Image errors are against the phase on a grid of 0.025 Å, 60 Å overfocus.
The floor is four complex transforms and one real one for each slice of the batched engine, with
SciPy, or MKL for batched_mkl, timed in the same turns. Ratios and shares are taken turn by turn.
"""

import argparse
import platform
import statistics
import sys
import time
from dataclasses import replace
from functools import partial
from math import ceil

import abtem
import ase
import numpy as np
import psutil
import scipy.fft
from threadpoolctl import threadpool_limits

from ceria_data.config import config_from_mapping, load_config
from ceria_data.draw import structure_entries
from ceria_data.fourier import fft2, irfft2
from ceria_data.grid import cell_around
from ceria_data.optics import form_image
from ceria_data.plan import plan
from ceria_data.scattering import exit_waves
from ceria_data.simulate import cell_of, field_of, label_structure, settings_of, specimen_of
from ceria_data.waves import ExitWaves, Specimen

PRESET, STRUCTURE, PHONONS = "ceria-columns-v1", 5, 2
FILLING = {"kind": "slab_flat", "thickness_atoms": 6, "edge_A": 60}
LIMIT, ENDS = 1e-4, 0.1
FLOOR, MKL_FLOOR = "floor", "floor of MKL"


def drawn(pixels):
    """Draw a slab that fills a field of this many pixels; config, labels."""
    content = load_config(PRESET).model_dump(mode="json")
    content["field"]["shape"] = [pixels, pixels]
    content["splits"] = [content["splits"][0] | {"phonons": PHONONS}]
    content["structure"] |= FILLING
    content["limits"] = None
    config = config_from_mapping(content)
    entry = structure_entries(config)[STRUCTURE]
    return config, label_structure(config, entry, plan(config).layout.planes)


def plain_abtem(specimen, cell, settings):
    """Scatter with abTEM as it comes: its own potential of the displaced atoms."""
    x_min, _, y_min, _ = cell.bounds
    low, high = specimen.positions[..., 2].min(), specimen.positions[..., 2].max()
    shift, depth = np.array([-x_min, -y_min, ENDS - low]), high - low + 2 * ENDS
    waves = []
    for positions in specimen.positions:
        atoms = ase.Atoms(
            np.where(specimen.numbers == 0, "Ce", "O"),
            positions + shift,
            cell=(*cell.extent[::-1], depth),
        )
        potential = abtem.Potential(
            atoms,
            gpts=cell.shape[::-1],
            slice_thickness=settings.slice_thickness_A,
            projection="infinite",
            parametrization="lobato",
        )
        wave = abtem.PlaneWave(energy=settings.energy_eV).multislice(potential, lazy=False)
        waves.append(np.asarray(wave.array).T)
    return ExitWaves.from_waves(np.stack(waves), depth - shift[2], cell, settings.energy_eV)


def seconds_of(call):
    """Seconds that a call takes, and what it returns."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def floor(shape, times, library):
    """Do the transforms of some slices: four complex ones and a real one each."""
    wave = np.zeros(shape, np.complex64)
    half = np.zeros((shape[0], shape[1] // 2 + 1), np.complex64)
    for _ in range(times):
        for _ in range(4):
            fft2(wave, library)
        irfft2(half, shape, library)


def at_zero(waves):
    """Spectra at z = 0, whatever plane the calculation ended on."""
    ky, kx = (
        np.r_[0 : order + 1, -order:0] / length
        for order, length in zip(waves.orders, waves.cell.extent, strict=True)
    )
    wavelength = abtem.core.energy.energy2wavelength(waves.energy_eV)
    phase = np.pi * wavelength * waves.z_exit * (ky[:, None] ** 2 + kx[None] ** 2)
    return waves.spectra * np.exp(1j * phase)


def wave_error(waves, reference):
    """Norm of the difference over the norm of the scattered wave."""
    ours, theirs = at_zero(waves), at_zero(reference)
    scattered = theirs.copy()
    scattered[:, 0, 0] -= 1
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(scattered))


def image_error(waves, reference, image, field):
    """Rms of the difference of two images over the standard deviation of the reference."""
    one, other = (form_image(each, image, field) for each in (waves, reference))
    return float(np.sqrt(np.mean((one - other) ** 2)) / np.std(other))


def compare(pixels, repeats):
    """Print the table of one size; say whether the engines agree."""
    config, labels = drawn(pixels)
    cell, field = cell_of(config), field_of(config)
    split = settings_of(config)
    grid = replace(split, transmission="grid")
    fed = replace(grid, engine="abtem", fft="fftw")
    specimen = specimen_of(labels, split.slice_thickness_A)
    plain_settings = {
        "device": "cpu", "precision": "float32", "fft": "fftw", "fftw.threads": 1,
        "fftw.planning_effort": "FFTW_MEASURE",
    }  # fmt: skip
    slices = len(specimen.slices.z)
    ways = {
        "batched, split": partial(exit_waves, [specimen], cell, split),
        "batched, grid": partial(exit_waves, [specimen], cell, grid),
        "batched_mkl, split": partial(
            exit_waves, [specimen], cell, replace(split, engine="batched_mkl")
        ),
        "abTEM (NumPy), our potentials": partial(
            exit_waves, [specimen], cell, replace(fed, fft="numpy")
        ),
        "abTEM (FFTW), our potentials": partial(exit_waves, [specimen], cell, fed),
        "abTEM alone (FFTW)": partial(plain_abtem, specimen, cell, grid),
        FLOOR: partial(floor, cell.shape, slices * PHONONS, "scipy"),
        MKL_FLOOR: partial(floor, cell.shape, slices * PHONONS, "mkl"),
    }
    times = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            with abtem.config.set(plain_settings):
                taken, _ = seconds_of(way)
            if repeat:  # the first makes tables and plans
                times[name].append(taken)
    depth = np.ptp(specimen.positions[..., 2])
    regular = ceil((depth + 2 * ENDS) / split.slice_thickness_A)
    print(
        f"\n{cell.shape[0]} points, {len(specimen.numbers)} atoms over {depth:.1f} Å, {slices} "
        f"slices (abTEM alone: {regular})\n"
    )
    show(times, image_errors(specimen, config, cell, field, labels.images[0], plain_settings))
    (ours,), (theirs,) = (
        exit_waves([specimen], cell, replace(each, kept_mrad=np.inf)) for each in (grid, fed)
    )
    error = wave_error(ours, theirs)
    print(f"\nexit wave of grid against abTEM with our potentials: {error:.1e} (limit {LIMIT:.0e})")
    return error < LIMIT


def image_errors(specimen, config, cell, field, image, plain_settings):
    """Image errors of all ways but the floors, with one thermal configuration."""
    one = Specimen(specimen.positions[:1], specimen.numbers, specimen.slices)
    split = settings_of(config)
    grid = replace(split, transmission="grid")
    fine = cell_around(field, 0.025, split.padding_A)
    image = replace(image, defocus_A=-60.0)
    (reference,) = exit_waves([one], fine, grid)
    (by_split,), (by_grid,), (by_mkl,), (fed,) = (
        exit_waves([one], cell, each)
        for each in (
            split,
            grid,
            replace(split, engine="batched_mkl"),
            replace(grid, engine="abtem", fft="fftw"),
        )
    )
    with abtem.config.set(plain_settings):
        plain = plain_abtem(one, cell, grid)
    # The library of its transforms is no matter for an image of abTEM.
    ways = (by_split, by_grid, by_mkl, fed, fed, plain)
    return [image_error(way, reference, image, field) for way in ways]


def show(times, errors):
    """Print rates, how much faster the batched engine is, and shares of the floor."""
    floors = {name: times.pop(name) for name in (FLOOR, MKL_FLOOR)}
    print("| way | exit waves/s | split is faster by | grid is faster by | share of the floor | "
          "image error |")  # fmt: skip
    print("|---|---|---|---|---|---|")
    for (name, taken), error in zip(times.items(), errors, strict=True):
        cells = [
            spread([PHONONS / each for each in taken]),
            *(spread(np.divide(taken, times[f"batched, {own}"])) for own in ("split", "grid")),
            spread(np.divide(floors[MKL_FLOOR if "mkl" in name else FLOOR], taken)),
        ]
        print(f"| {name} | {' | '.join(cells)} | {error:.2%} |", flush=True)


def spread(values):
    """Write the median, the smallest and the largest of some values."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    versions = f"NumPy {np.__version__}, SciPy {scipy.__version__}, abTEM {abtem.__version__}"
    print(f"{platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}, "
          f"{versions}; {repeats} turns")  # fmt: skip
    agreed = [compare(pixels, repeats) for pixels in (80, 160)]
    sys.exit(0 if all(agreed) else 1)


if __name__ == "__main__":
    with threadpool_limits(limits=1):
        main()
