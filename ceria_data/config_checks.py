"""What no single value of a config decides: checks of values that belong together."""

from itertools import pairwise
from math import hypot, sqrt
from typing import TYPE_CHECKING

from scipy import constants

from ceria_data.crystal import family, view_axes
from ceria_data.distributions import Distribution
from ceria_data.errors import ConfigError
from ceria_data.grid import GRID_BAND, SPLIT_BAND
from ceria_data.shapes import edge_normal

if TYPE_CHECKING:
    from ceria_data.config import BuildConfig, Sections
    from ceria_data.sections import FilmSection

BRIGHTEST = 10.0
"""Intensity [vacuum = 1] that a thick Ce column in focus may reach; the camera must hold it."""
WALK_CUT = 4.0
"""The random part of a drift is cut at this many of its standard deviations at the end."""
DRIFT_MARGIN = 2.0
"""Part of the cell's margin that drift must leave free, at least [Å]."""
ADLAYER = 2.4
"""Surface oxygen and adatoms lie outside a shape by at most a Ce-O bond, 2.34 Å [Å]."""


def check_splits(config: "BuildConfig") -> None:
    """Refuse splits that share a name or a structure, and limits of an unknown split."""
    names = [split.name for split in config.splits]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"splits: the name {name} appears twice; every split has its own")
    ordered = sorted(config.splits, key=lambda split: split.first_number)
    for one, next_one in pairwise(ordered):
        if one.numbers.stop > next_one.first_number:
            raise ValueError(
                f"splits {one.name} and {next_one.name} share the structure numbers from "
                f"{next_one.first_number} on; expected none in common; set first_number of "
                f"{next_one.name} to {one.numbers.stop} or more"
            )
    if config.limits and config.limits.split not in names:
        raise ValueError(
            f"limits.split is {config.limits.split!r}; expected one of {', '.join(names)}"
        )


def check_scattering(config: "BuildConfig") -> None:
    """Refuse what an engine cannot do."""
    chosen = config.scattering
    if chosen.engine == "abtem" and chosen.transmission != "grid":
        raise ValueError(
            f"scattering.transmission is {chosen.transmission!r} with engine abtem; expected "
            "'grid', all that abTEM can do, with a sampling_A of 0.05 or less"
        )
    if chosen.engine != "abtem" and chosen.fft != "numpy":
        raise ValueError(
            f"scattering.fft is {chosen.fft!r} with engine {chosen.engine}; leave fft out, it "
            "chooses the Fourier transform of engine abtem"
        )


def check_film(config: "BuildConfig") -> None:
    """Refuse films that cannot be made, and keys of films in a still dataset."""
    if config.film is None:
        for split in config.splits:
            if split.override.film.model_fields_set:
                raise ValueError(
                    f"splits: {split.name} overrides film, and the dataset has no section film; "
                    "expected one, with the number of frames"
                )
        return
    if config.images_per_structure != 1:
        raise ValueError(
            f"images_per_structure is {config.images_per_structure} in a dataset of films; leave "
            "it out: film.frames says how many images a film has"
        )
    if config.limits:
        raise ValueError(
            "limits of films are not part of a dataset; leave limits out beside film, and call "
            "`ceria-data limits` when it is built"
        )
    for split in config.splits:
        film = config.sections(split).film
        assert film is not None
        _check_script(film, split.name)
        reach = film.duration_s * _high(film.drift_A_per_s)
        reach += WALK_CUT * film.drift_walk_A_per_root_s * sqrt(film.duration_s)
        room = config.scattering.padding_A - DRIFT_MARGIN
        if reach > max(room, 0.0):
            raise ValueError(
                f"film: the drift may reach {reach:.3g} Å in {film.duration_s:.3g} s (split "
                f"{split.name}); expected at most {max(room, 0.0):.3g} Å, so that nothing from "
                "beyond the cell comes into the field; raise scattering.padding_A or lower the "
                "drift or film.frames"
            )


def _check_script(film: "FilmSection", split: str) -> None:
    """Refuse a script beside rates, or after the end of the film."""
    rates = [name for name in type(film).model_fields if name.endswith(("_per_s", "_per_e_A2"))]
    drawn = [name for name in rates if name != "drift_A_per_s" and getattr(film, name)]
    if film.script and drawn:
        raise ValueError(
            f"film: {drawn[0]} and a script (split {split}); expected one of them: events are "
            "drawn at rates, or scripted"
        )
    late = [step for step in film.script if step.time_s >= film.duration_s * (1 - 1e-9)]
    if late:
        raise ValueError(
            f"film.script: an event at {late[0].time_s:g} s (split {split}); expected before the "
            f"end of the film at {film.duration_s:g} s"
        )


def check_together(config: "BuildConfig", sections: "Sections", split: str) -> None:
    """Refuse values of one split that cannot go together."""
    _check_aperture(config, sections, split)
    _check_camera(config, sections, split)
    _check_slabs(sections, split)
    if not config.allow_cropping:
        _check_fit(config, sections, split)


def wavelength(energy: float) -> float:
    """Compute the wavelength of electrons.

    Parameters
    ----------
    energy : float
        Energy [keV].

    Returns
    -------
    float
        Wavelength [Å], with the relativistic mass.

    Examples
    --------
    >>> round(wavelength(300.0), 5)
    0.01969
    """
    kinetic = energy * 1e3 * constants.e
    rest = constants.m_e * constants.c**2
    return float(constants.h * constants.c / sqrt(kinetic * (kinetic + 2 * rest)) * 1e10)


def _check_aperture(config: "BuildConfig", sections: "Sections", split: str) -> None:
    """Refuse an aperture beyond the frequencies that the multislice grid keeps."""
    scattering = config.scattering
    step = min(scattering.sampling_A, config.field.sampling_A)
    band = SPLIT_BAND if scattering.transmission == "split" else GRID_BAND
    limit = band * wavelength(scattering.energy_keV) / (2 * step) * 1e3
    aperture = _high(sections.optics.aperture_mrad)
    if aperture > limit:
        raise ValueError(
            f"optics.aperture_mrad reaches {aperture:.9g} mrad (split {split}); expected at most "
            f"{limit:.3g} mrad, which scattering.sampling_A = {step:g} Å carries at "
            f"{scattering.energy_keV:g} keV; lower the aperture or the sampling"
        )


def _check_camera(config: "BuildConfig", sections: "Sections", split: str) -> None:
    """Refuse more electrons than uint16 holds in the brightest pixel."""
    electrons = _high(sections.dose_e_per_A2) * config.field.sampling_A**2
    brightest = electrons * BRIGHTEST
    if "integrating" in sections.camera.kind.support:
        brightest = brightest * _high(sections.camera.gain) + _high(sections.camera.offset)
    if brightest > 65535:
        raise ValueError(
            f"dose_e_per_A2 reaches {electrons:.4g} electrons per pixel (split {split}), up to "
            f"{brightest:.4g} recorded units in the brightest pixels; expected at most 65535; "
            "lower the dose, the gain or the offset"
        )


def _check_slabs(sections: "Sections", split: str) -> None:
    """Refuse slabs on a zone axis that does not see their surface edge-on."""
    kinds, zone_axis = sections.structure.kind.support, sections.structure.zone_axis
    if "slab_sawtooth" in kinds and zone_axis not in family((1, 1, 0)):
        raise ValueError(
            f"structure.zone_axis is {list(zone_axis)} (split {split}); slab_sawtooth needs two "
            "{111} edge-on; expected a <110> axis such as [1, 1, 0], or structure.kind without it"
        )
    if any(str(kind).startswith("slab") for kind in kinds):
        try:
            edge_normal(zone_axis)
        except ConfigError as error:
            raise ValueError(f"structure.kind and zone_axis (split {split}): {error}") from None


def _check_fit(config: "BuildConfig", sections: "Sections", split: str) -> None:
    """Refuse particles that may leave the field, if they must not."""
    structure = sections.structure
    kinds = [str(kind) for kind in structure.kind.support]
    slabs = [kind for kind in kinds if kind.startswith("slab")]
    if slabs:
        raise ValueError(
            f"structure.kind includes {slabs[0]} (split {split}), which runs out of every field; "
            "with allow_cropping: false expected particles only; leave out slabs or allow cropping"
        )
    axes = view_axes(structure.zone_axis)
    repeat = axes.cerium_repeat * _high(structure.lattice_parameter_A) / 4 / axes.lengths[2]
    across = _high(structure.thickness_atoms) * repeat * _high(structure.aspect)
    length = across * max(_longest(kind, _high(structure.elongation)) for kind in kinds)
    length += 2 * ADLAYER
    shift = hypot(_reach(structure.shift_x_A), _reach(structure.shift_y_A))
    room = min(config.field.shape) * config.field.sampling_A
    if length + 2 * shift > room:
        raise ValueError(
            f"the largest particle of split {split} may be {length:.1f} Å long and shifted by "
            f"{shift:.1f} Å; with allow_cropping: false expected at most {room:.1f} Å in all, the "
            "shorter side of the field; lower thickness_atoms or aspect, enlarge field.shape, or "
            "allow cropping"
        )


def _longest(kind: str, elongation: float) -> float:
    """Diameter of the sphere around a shape over the distance of its faces, at most."""
    if kind == "irregular":
        return 1.2
    return sqrt(3) * (elongation if kind == "rod" else 1.0)


def _high(distribution: Distribution) -> float:
    return float(distribution.support[-1])


def _reach(distribution: Distribution) -> float:
    return max(abs(float(value)) for value in distribution.support)
