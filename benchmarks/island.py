"""Contrast, and ways to compute the transmission function, on one island of CeO2 [110].

    python benchmarks/island.py

Errors are the rms of the difference to the phase on a grid of 0.02 Å, over the standard
deviation of that image across the island.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from ceria_data.grid import Field, cell_around
from ceria_data.optics import form_image
from ceria_data.scattering import exit_waves
from ceria_data.waves import ScatteringSettings
from tests.physics.reference import image_error, image_parameters, island, specimen

FIELD = Field((96, 96), 0.2)
SPLIT = ScatteringSettings(kept_mrad=40.0)
GRID = replace(SPLIT, transmission="grid")
SLICES = (0.03, 0.25, 0.5, 1.0, 2.0)


def waves(atoms, settings):
    """Scatter with slices of the thickness in the settings."""
    cell = cell_around(FIELD, settings.sampling_A, settings.padding_A)
    (result,) = exit_waves([specimen(*atoms, thickness=settings.slice_thickness_A)], cell, settings)
    return result


def errors(atoms, cases, reference):
    """Print the errors of some settings against reference settings."""
    inside = np.zeros(FIELD.shape, bool)
    inside[20:76, 20:76] = True
    best = waves(atoms, reference)
    print("\n| how | -90 Å | -60 Å | -30 Å |\n|---|---|---|---|")
    for name, settings in cases:
        result, row = waves(atoms, settings), []
        for defocus in (-90.0, -60.0, -30.0):
            seen = image_parameters(defocus_A=defocus)
            images = [form_image(each, seen, FIELD) for each in (result, best)]
            row.append(f"{image_error(*images, inside):.2%}")
        print(f"| {name} | {' | '.join(row)} |", flush=True)


def contrast(atoms):
    """Print the mean intensity at the Ce columns over defocus."""
    positions, numbers = atoms
    cell = cell_around(FIELD, SPLIT.sampling_A, SPLIT.padding_A)
    (result,) = exit_waves([specimen(*atoms, phonons=4)], cell, SPLIT)
    columns = np.rint(positions[numbers == 0, :2] / FIELD.sampling).astype(int)
    print("\n| defocus_A | Ce columns |\n|---|---|")
    for defocus in (-90.0, -60.0, -30.0, 30.0, 60.0):
        image = form_image(result, image_parameters(defocus_A=defocus), FIELD)
        print(f"| {defocus:+.0f} | {image[columns[:, 1], columns[:, 0]].mean():.2f} |")


def tilted(atoms, degrees):
    """Turn the island about x."""
    positions, numbers = atoms
    turn = np.deg2rad(degrees)
    y, z = positions[:, 1] - FIELD.centre[1], positions[:, 2]
    turned = positions.copy()
    turned[:, 1] = FIELD.centre[1] + np.cos(turn) * y - np.sin(turn) * z
    turned[:, 2] = np.sin(turn) * y + np.cos(turn) * z
    return turned, numbers


def main():
    positions, numbers = island(9.0, 9.0, 15.0)
    positions[:, :2] += FIELD.centre
    atoms = positions, numbers
    print(f"{len(numbers)} atoms")
    contrast(atoms)
    samplings = (0.1, 0.05)
    cases = [(f"split, {s} Å", replace(SPLIT, sampling_A=s)) for s in samplings]
    samplings = (0.1, 0.067, 0.05, 0.04)
    cases += [(f"grid, {s} Å", replace(GRID, sampling_A=s)) for s in samplings]
    errors(atoms, cases, replace(GRID, sampling_A=0.02))
    for degrees in (0.0, 2.0):
        thin, *coarser = (replace(SPLIT, slice_thickness_A=t) for t in SLICES)
        names = (f"slices of {s.slice_thickness_A} Å, tilt {degrees}°" for s in coarser)
        errors(tilted(atoms, degrees), zip(names, coarser, strict=True), thin)


if __name__ == "__main__":
    main()
