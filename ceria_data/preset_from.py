"""The config of a dataset that matches a film."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template

from ceria_data.config import BuildConfig, config_from_yaml
from ceria_data.config_checks import wavelength
from ceria_data.film import Film
from ceria_data.film_facts import FilmFacts, film_facts

ENERGY = 300.0
"""Assumed [keV]."""
DEFOCUS = (-100.0, -10.0)
"""Assumed [Å]: overfocus, in which Ce columns are bright with C30 = -9 µm."""
_DEFOCUS_AROUND = 20.0
"""Å to both sides of a defocus that was given."""
_DOSE_FACTOR = 3.0
_FIELD_A = 32.0
"""Å along an axis that an image of the dataset shows, if the film does: enough for a particle's
edge and its inside."""
_FIELD_PIXELS = (128, 512)
_NAME_LENGTH = 60


_TEXT = Template("""\
# A dataset that matches the film $file:
# $frames; $time.
${notes}name: $name
version: 1.0.0
description: $description
seed: 1
# Pixel size $sampling_words
# The images show $extent of the specimen; frames of a film may be larger.
field: {shape: $field, sampling_A: $sampling}
images_per_structure: 4
splits:
  - {name: train, structures: 1000, phonons: 8, first_number: 0}
  - {name: validation, structures: 100, phonons: 8, first_number: 1000000}
  - {name: test, structures: 100, phonons: 32, first_number: 2000000}
# Assumed: the structures of the benchmark, seen along [110].
structure:
  kind: {choice: [slab_flat, slab_sawtooth, slab_stepped, octahedron, cube]}
  zone_axis: [1, 1, 0]
  lattice_parameter_A: {uniform: [5.384, 5.438]}
  thickness_atoms: {integers: [3, 10]}
  mistilt_deg: {uniform: [0, 1]}
# Energy $energy_words
scattering: {energy_keV: $energy, sampling_A: 0.1}
# Assumed: a corrected microscope with negative C30, as in the benchmark.
optics:
  # Positive = underfocus; $defocus_words
  defocus_A: {uniform: $defocus}
  A1_A: {uniform: [0, 20]}
  B2_A: {uniform: [0, 150]}
  A2_A: {uniform: [0, 300]}
  C30_um: {normal: [-9, 1]}
  C50_mm: 5
  focal_spread_A: {uniform: [15, 40]}
  angular_spread_mrad: {uniform: [0.05, 0.3]}
  aperture_mrad: $aperture
# $camera_words
camera: {kind: $camera}
# Dose of a frame $dose_words
# The dataset covers a third of it to three times; raise the upper end to sum frames.
dose_e_per_A2: {log_uniform: [$dose_low, $dose_high]}
""")


@dataclass(frozen=True)
class FilmPreset:
    """A config, and what it was made from.

    Attributes
    ----------
    text : str
        YAML with comments; reads back to `config`.
    config : BuildConfig
    facts : FilmFacts
    warnings : tuple of str
        What a person should look at before building.
    """

    text: str
    config: BuildConfig
    facts: FilmFacts
    warnings: tuple[str, ...]


def preset_from_film(
    film: Film,
    *,
    sampling: float | None = None,
    frame_time_s: float | None = None,
    energy_keV: float | None = None,
    defocus_A: float | None = None,
    dose_e_per_A2: float | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> FilmPreset:
    """Write the config of a dataset whose images look like the frames of a film.

    Parameters
    ----------
    film : Film
    sampling : float, optional
        Pixel size [Å/pixel]; by default that of the file, else from the reflections.
    frame_time_s : float, optional
        Goes into a comment; by default that of the file.
    energy_keV : float, optional
        By default that of the file, else 300 is assumed.
    defocus_A : float, optional
        Positive = underfocus; the dataset covers 20 Å to both sides. By default the
        benchmark's range is assumed.
    dose_e_per_A2 : float, optional
        Of a frame; by default that of the file, else from the noise.
    on_progress : callable
        Told frames done and in all.

    Returns
    -------
    FilmPreset

    Raises
    ------
    FilmError
        If pixel size or dose are not known and cannot be measured.
    ConfigError
        If a value lies outside of what can be built.

    Examples
    --------
    >>> from ceria_data.film import open_film
    >>> preset = preset_from_film(open_film("ceria-columns-mini", limit=4), defocus_A=-60)
    >>> preset.config.field.sampling_A, preset.config.optics.defocus_A.support
    (0.2, (-80.0, -40.0))
    """
    facts = film_facts(film, sampling, dose_e_per_A2, on_progress)
    energy = energy_keV or film.energy_keV or ENERGY
    time = frame_time_s or film.frame_time_s
    defocus = DEFOCUS
    if defocus_A is not None:
        defocus = (defocus_A - _DEFOCUS_AROUND, defocus_A + _DEFOCUS_AROUND)
    ny, nx = (_pixels(n, facts.sampling) for n in film.shape)
    file = _plain(Path(film.source).name)
    text = _TEXT.substitute(
        file=file,
        frames=f"{len(film)} frames of {film.shape[1]} × {film.shape[0]} pixels",
        time=f"{time:.6g} s from one to the next" if time else "their frame time is not known",
        notes="".join(f"# Note: {_plain(note)}.\n" for note in film.notes),
        name=_name(film.source),
        description=json.dumps(f"Simulated to match the film {file}.", ensure_ascii=False),
        sampling_words=_sampling_words(facts),
        extent=f"{nx * facts.sampling:.3g} × {ny * facts.sampling:.3g} Å",
        field=f"[{ny}, {nx}]",
        sampling=_short(facts.sampling, 6),
        energy_words=_energy_words(energy_keV, film.energy_keV),
        energy=_short(energy),
        defocus_words=_defocus_words(defocus_A),
        defocus=f"[{_short(defocus[0])}, {_short(defocus[1])}]",
        aperture=_short(_aperture(energy)),
        camera_words=_camera_words(facts),
        camera="counting" if facts.counting else "{choice: [counting, integrating]}",
        dose_words=_dose_words(facts),
        dose_low=_short(facts.dose_e_per_A2 / _DOSE_FACTOR),
        dose_high=_short(facts.dose_e_per_A2 * _DOSE_FACTOR),
    )
    config = config_from_yaml(text, f"config for {film.source}")
    return FilmPreset(text, config, facts, _warnings(facts))


def _energy_words(given: float | None, file: float | None) -> str:
    if given:
        return "given."
    return "as the file says." if file else "assumed: the file does not say it (--energy-keV)."


def _sampling_words(facts: FilmFacts) -> str:
    check = facts.check
    measured = "" if check is None else f"{check.sampling:.4g} ± {check.uncertainty:.1g} Å"
    if facts.sampling_from == "measured":
        return f"measured from the reflections of CeO2 [110], {measured}."
    words = "given" if facts.sampling_from == "given" else "as the file says"
    if check is None or not (check.clear or facts.doubted):
        return f"{words}; the reflections are too weak to check it."
    if facts.doubted:
        return f"{words}; DOUBTED: the reflections of CeO2 [110] would give {measured}."
    return f"{words}; the reflections of CeO2 [110] give {measured}."


def _dose_words(facts: FilmFacts) -> str:
    measured = f"{facts.measured_dose:.4g} e-/Å²"
    if facts.dose_from == "measured":
        return f"measured from the noise, {measured}."
    words = "given" if facts.dose_from == "given" else "as the file says"
    return f"{words}, {facts.dose_e_per_A2:.4g} e-/Å²; the noise would give {measured}."


def _camera_words(facts: FilmFacts) -> str:
    if facts.gain is None:
        return "Camera assumed: the values are no whole numbers, so their noise does not tell it."
    if facts.counting:
        return f"Measured: a counting camera, {facts.gain:.3g} units per electron."
    return (
        f"Camera assumed: the noise tells {facts.gain:.3g} units per electron, which may be either."
    )


def _defocus_words(defocus_A: float | None) -> str:
    if defocus_A is None:
        return "assumed, the overfocus in which Ce columns are bright (--defocus)."
    return f"{_DEFOCUS_AROUND:g} Å around the {defocus_A:g} Å that were given."


def _warnings(facts: FilmFacts) -> tuple[str, ...]:
    found = []
    if facts.doubted and facts.check is not None:
        found.append(
            f"the pixel size of {facts.sampling:.4g} Å is doubted: the reflections would be those "
            f"of CeO2 [110] at {facts.check.sampling:.4g} Å; check it, or give it with --pixel-size"
        )
    if facts.n_dark:
        found.append(f"{facts.n_dark} of {facts.n_read} frames that were read are dark")
    if facts.dose_from != "measured" and not (
        1 / 2 < facts.measured_dose / facts.dose_e_per_A2 < 2
    ):
        found.append(
            f"the dose is {facts.dose_e_per_A2:.4g} e-/Å², the noise tells "
            f"{facts.measured_dose:.4g}; is there an offset to subtract, or a camera that blurs?"
        )
    return tuple(found)


def _pixels(n: int, sampling: float) -> int:
    """Choose the field along an axis: even, enough of the specimen, and not above the frame."""
    smallest, largest = _FIELD_PIXELS
    wanted = min(max(round(_FIELD_A / sampling), smallest), largest, n)
    return max(wanted - wanted % 2, 16)


def _aperture(energy: float) -> float:
    """Keep the frequencies of 40 mrad at 300 keV, which the grid can carry."""
    return float(round(40.0 * wavelength(energy) / wavelength(ENERGY), 1))


def _name(source: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", Path(source).name.split(".")[0].lower()).strip("-")
    return f"{words[:_NAME_LENGTH].strip('-') or 'film'}-match"


def _plain(text: str) -> str:
    """Keep a comment on its line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _short(value: float, digits: int = 4) -> str:
    return f"{float(value):.{digits}g}"
