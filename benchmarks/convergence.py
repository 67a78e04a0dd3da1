"""How far an image is from a finer calculation of itself: the table of `docs/physics.md`.

Structures and optics are drawn from a shipped preset. Errors are the rms of the difference
over the standard deviation of the finer image, across the particle.

    python benchmarks/convergence.py --quick     two minutes
    python benchmarks/convergence.py             a quarter of an hour
"""

import argparse
import platform
import sys
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ceria_data import optics
from ceria_data.config import BuildConfig, load_config
from ceria_data.draw import structure_entries
from ceria_data.grid import cell_around
from ceria_data.optics import form_image
from ceria_data.parameters import ImageParameters
from ceria_data.randomness import sample_rng
from ceria_data.scattering import exit_waves
from ceria_data.simulate import field_of, label_structure, settings_of
from ceria_data.slices import lay_slices
from ceria_data.waves import ExitWaves, ScatteringSettings, Specimen

PRESET = "ceria-columns-mini"
FINEST = {"transmission": "grid", "sampling_A": 0.02}
PLANES = 64
"""Room for the labels, which this benchmark does not use."""

Image = NDArray[np.floating]


@dataclass(frozen=True)
class Drawn:
    """One drawn structure with its phonon configurations and image parameters."""

    config: BuildConfig
    positions: NDArray[np.float64]
    numbers: NDArray[np.uint8]
    z: NDArray[np.float64]
    images: tuple[ImageParameters, ...]

    @property
    def settings(self) -> ScatteringSettings:
        """Settings of the preset."""
        return settings_of(self.config)

    def waves(self, settings: ScatteringSettings, positions: NDArray[np.float64]) -> ExitWaves:
        """Scatter with the atoms at some positions."""
        cell = cell_around(field_of(self.config), settings.sampling_A, settings.padding_A)
        slices = lay_slices(self.z, settings.slice_thickness_A)
        (waves,) = exit_waves([Specimen(positions, self.numbers, slices)], cell, settings)
        return waves

    def picture(self, waves: ExitWaves, parameters: ImageParameters) -> Image:
        """Form the image, as the list of its pixels on the particle."""
        field = field_of(self.config)
        pixels = np.indices(field.shape)[::-1].reshape(2, -1).T * field.sampling
        distance, _ = cKDTree(self.positions[0, :, :2]).query(pixels)
        image: Image = np.asarray(form_image(waves, parameters, field)).ravel()
        on_particle: Image = image[distance < 1.5]
        return on_particle


def error(image: Image, reference: Image) -> float:
    return float(np.sqrt(np.mean((image - reference) ** 2)) / np.std(reference))


def of_scattering(drawn: Drawn, coarse: dict[str, Any], fine: dict[str, Any]) -> list[float]:
    """Errors of exit waves with coarse settings against those with fine ones."""
    one = drawn.positions[:1]
    waves = drawn.waves(replace(drawn.settings, **coarse), one)
    reference = drawn.waves(replace(drawn.settings, **fine), one)
    return [
        error(drawn.picture(waves, image), drawn.picture(reference, image))
        for image in drawn.images
    ]


def of_focal_sum(drawn: Drawn) -> list[float]:
    """Errors of the focal sum against one with 121 nodes out to 6 standard deviations."""

    def dense(spread: float, *_: float) -> tuple[Image, Image]:
        steps = np.linspace(-6.0, 6.0, 121)
        weights = np.exp(-0.5 * steps**2)
        return steps * spread / np.sqrt(2), weights / weights.sum()

    waves = drawn.waves(drawn.settings, drawn.positions[:1])
    images = [drawn.picture(waves, image) for image in drawn.images]
    with patch.object(optics, "focal_nodes", dense):
        references = [drawn.picture(waves, image) for image in drawn.images]
    return [error(image, ref) for image, ref in zip(images, references, strict=True)]


def of_angular_spread(drawn: Drawn, spread: float) -> list[float]:
    """Errors of the envelope against a sum over tilted illumination.

    A wave tilted by β sees the atoms sheared by -β z, then is seen by the lens at α + β.
    """
    sigma = spread * 1e-3 / np.sqrt(2)
    tilts = np.linspace(-2.7, 2.7, 7)
    weights = np.exp(-0.5 * tilts**2) / np.exp(-0.5 * tilts**2).sum()
    images = [replace(image, angular_spread_mrad=spread) for image in drawn.images]
    totals = [np.zeros(1)] * len(images)
    for y, weight_y in zip(tilts * sigma, weights, strict=True):
        for x, weight_x in zip(tilts * sigma, weights, strict=True):
            sheared = drawn.positions[:1].copy()
            sheared[..., :2] -= sheared[..., 2:] * np.array([x, y])
            waves = drawn.waves(drawn.settings, sheared)
            for i, image in enumerate(images):
                tilted = _tilted(drawn, waves, image, complex(x, y))
                totals[i] = totals[i] + weight_x * weight_y * tilted
    waves = drawn.waves(drawn.settings, drawn.positions[:1])
    return [
        error(drawn.picture(waves, image), total)
        for image, total in zip(images, totals, strict=True)
    ]


def _tilted(drawn: Drawn, waves: ExitWaves, image: ImageParameters, tilt: complex) -> Image:
    """Image under one direction of illumination; the way back to z = 0 is not tilted."""
    coherent = replace(image, focal_spread_A=0.0, angular_spread_mrad=0.0)
    offsets, weights = optics.focal_nodes(
        image.focal_spread_A, image.aperture_mrad, image.energy_keV
    )
    usual = optics._lens

    def lens(angle: Any, waves: ExitWaves, seen: ImageParameters, wavelength: float) -> Any:
        back = np.exp(1j * np.pi / wavelength * waves.z_exit * np.abs(angle) ** 2)
        return back * usual(angle + tilt, replace(waves, z_exit=0.0), seen, wavelength)

    image_sum = np.zeros(1)
    with patch.object(optics, "_lens", lens):
        for offset, weight in zip(offsets.tolist(), weights.tolist(), strict=True):
            focused = replace(coherent, defocus_A=image.defocus_A + offset)
            image_sum = image_sum + weight * drawn.picture(waves, focused)
    return image_sum


def of_phonons(drawn: Drawn, image: ImageParameters) -> dict[int, float]:
    """Errors of means over few configurations against the mean over the others."""
    waves = drawn.waves(drawn.settings, drawn.positions)
    each = np.stack(
        [
            drawn.picture(replace(waves, spectra=waves.spectra[i : i + 1]), image)
            for i in range(len(drawn.positions))
        ]
    )
    curve = {}
    for count in (n for n in (1, 2, 4, 8, 16) if 2 * n <= len(each)):
        errors = []
        for first in range(0, len(each), count):
            chosen = np.zeros(len(each), bool)
            chosen[first : first + count] = True
            # The reference has noise of its own, known from its number.
            noisy = error(each[chosen].mean(axis=0), each[~chosen].mean(axis=0))
            errors.append(noisy**2 / (1 + count / (len(each) - count)))
        curve[count] = float(np.sqrt(np.mean(errors)))
    return curve


def draw(structures: int, phonons: int) -> list[Drawn]:
    """Draw structures of the preset with many phonon configurations."""
    config = load_config(PRESET)
    chosen = []
    for entry in structure_entries(config)[:structures]:
        labels = label_structure(config, entry, PLANES)
        structure = labels.structure
        draw = sample_rng(config.seed, entry.number, "phonons").standard_normal(
            (phonons, *structure.positions.shape)
        )
        positions = structure.positions + structure.rms[:, None] * draw
        z = structure.positions[:, 2]
        chosen.append(Drawn(config, positions, structure.species, z, labels.images))
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 structures instead of 12")
    quick = parser.parse_args().quick
    chosen = draw(3 if quick else 12, 8 if quick else 32)
    rows: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("slices 0.5 Å, against 0.25 Å", *_settings("slice_thickness_A", 0.5, 0.25)),
        ("slices 0.5 Å, against 0.125 Å", *_settings("slice_thickness_A", 0.5, 0.125)),
        ("split, 0.1 Å, against split, 0.05 Å", *_settings("sampling_A", 0.1, 0.05)),
        ("split, 0.1 Å, against grid, 0.02 Å", {}, FINEST),
        ("grid, 0.1 Å, against grid, 0.02 Å", {"transmission": "grid"}, FINEST),
        ("grid, 0.05 Å, against grid, 0.02 Å", FINEST | {"sampling_A": 0.05}, FINEST),
        ("padding 8 Å, against 16 Å", *_settings("padding_A", 8.0, 16.0)),
        ("float32, against float64", *_settings("precision", "float32", "float64")),
    ]
    print(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}")
    print(f"{PRESET}: {len(chosen)} structures, {len(chosen[0].images)} images each\n")
    print("| what | median | largest |")
    print("|---|---|---|")
    for name, coarse, fine in rows:
        _print_row(name, [e for s in chosen for e in of_scattering(s, coarse, fine)])
    _print_row("focal sum, against 121 nodes", [e for s in chosen for e in of_focal_sum(s)])
    for spread in (0.3,) if quick else (0.1, 0.3, 0.5):
        few = chosen[:1] if quick else chosen[:3]
        name = f"envelope of {spread} mrad, against 49 tilts"
        _print_row(name, [e for s in few for e in of_angular_spread(s, spread)])
    curves = [of_phonons(s, s.images[0]) for s in chosen]
    print("\n| phonon configurations | error | times sqrt |\n|---|---|---|")
    for count in curves[0]:
        mean = float(np.mean([curve[count] for curve in curves]))
        print(f"| {count} | {mean:.1%} | {mean * np.sqrt(count):.3f} |")


def _settings(name: str, coarse: Any, fine: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return {name: coarse}, {name: fine}


def _print_row(name: str, errors: list[float]) -> None:
    print(f"| {name} | {np.median(errors):.2%} | {max(errors):.2%} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
