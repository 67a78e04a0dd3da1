"""The sections of a config: every key with its unit, limits, validated range and default."""

import re
from math import gcd
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    field_validator,
    model_serializer,
)

from ceria_data.distributions import Choice, Distribution, Fixed, Integers, LogUniform, Uniform
from ceria_data.distributions import Normal as NormalDistribution
from ceria_data.quantities import Constant, Quantity, Words
from ceria_data.schema import SAMPLES_PER_STRUCTURE_KEY

KINDS = ("slab_flat", "slab_sawtooth", "slab_stepped", "octahedron", "cube", "rod", "irregular")
"""Shape families of structures."""
ARRANGEMENTS = ("random", "clustered", "surface")
SIDES = ("entrance", "exit")
CAMERAS = ("counting", "integrating")

_MM = "values in mm must be multiplied by 1000"
_NM = "values in nm must be multiplied by 10"
_WHOLE_ANGLE = Uniform(0.0, 360.0)


class Section(BaseModel):
    """A part of a config: immutable, and every key must be known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _fraction(high: float = 1.0, usual: tuple[float, float] | None = None) -> Quantity:
    return Quantity("", 0.0, high, usual)


def _angle() -> Quantity:
    return Quantity("°", -360.0, 360.0)


def _triple(value: Any) -> tuple[int, int, int]:
    whole = isinstance(value, list | tuple) and all(type(i) is int for i in value)
    if not whole or len(value) != 3 or not any(value) or max(map(abs, value)) > 4:
        raise ValueError(
            f"is {value!r}; expected three whole numbers from -4 to 4, such as [1, 1, 0]"
        )
    if (divisor := gcd(*value)) > 1:
        raise ValueError(f"is {value!r}; write it as {[i // divisor for i in value]}")
    return value[0], value[1], value[2]


def _pixels(value: Any) -> tuple[int, int]:
    whole = isinstance(value, list | tuple) and all(type(i) is int for i in value)
    if not whole or len(value) != 2 or min(value) < 16 or max(value) > 4096:
        raise ValueError(f"is {value!r}; expected two whole numbers [y, x], 16 to 4096 pixels each")
    return value[0], value[1]


def _slug(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", value):
        raise ValueError(f"is {value!r}; expected small letters, digits and single hyphens")
    if len(value) > 96:
        raise ValueError(f"has {len(value)} characters; expected at most 96, as the Hub allows")
    return value


def _version(value: Any) -> str:
    number = r"(0|[1-9]\d{0,8})"
    if not isinstance(value, str) or not re.fullmatch(rf"{number}\.{number}\.{number}", value):
        raise ValueError(f"is {value!r}; expected three numbers such as 1.0.0")
    return value


def _split_name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch("[a-z][a-z0-9_]{0,39}", value):
        raise ValueError(
            f"is {value!r}; expected a letter and up to 39 small letters, digits and underscores"
        )
    return value


Slug = Annotated[str, BeforeValidator(_slug)]
Version = Annotated[str, BeforeValidator(_version)]
SplitName = Annotated[str, BeforeValidator(_split_name)]


class FieldSection(Section):
    """The stored pixels."""

    shape: Annotated[tuple[int, int], BeforeValidator(_pixels)]
    sampling_A: Annotated[
        float,
        Constant("Å/pixel", 0.02, 0.5, (0.05, 0.25), "values in pm must be divided by 100"),
    ]


class StructureSection(Section):
    """Distributions of what one structure is; meanings in `parameters.StructureParameters`.

    The order of the keys is the order of the draws: new ones come last.
    """

    kind: Annotated[Distribution, Words(KINDS)] = Choice(KINDS[:5], (1.0,) * 5)
    zone_axis: Annotated[tuple[int, int, int], BeforeValidator(_triple)] = (1, 1, 0)
    lattice_parameter_A: Annotated[Distribution, Quantity("Å", 5.0, 5.9, (5.38, 5.5), _NM)] = Fixed(
        5.411
    )
    thickness_atoms: Annotated[Distribution, Quantity("atoms", 1, 60, (1, 14), whole=True)] = (
        Integers(3, 10)
    )
    thickness_remainder: Annotated[Distribution, _fraction()] = Uniform(0.0, 1.0)
    aspect: Annotated[Distribution, Quantity("", 0.3, 20.0, (0.8, 4.0))] = Uniform(1.0, 2.0)
    elongation: Annotated[Distribution, Quantity("", 1.0, 20.0, (1.0, 5.0))] = Uniform(1.5, 3.0)
    truncation: Annotated[Distribution, _fraction()] = Uniform(0.0, 1.0)
    offset_1: Annotated[Distribution, _fraction()] = Uniform(0.0, 1.0)
    offset_2: Annotated[Distribution, _fraction()] = Uniform(0.0, 1.0)
    offset_3: Annotated[Distribution, _fraction()] = Uniform(0.0, 1.0)
    edge_A: Annotated[Distribution, Quantity("Å", -500.0, 500.0, hint=_NM)] = Uniform(-6.0, 6.0)
    period_A: Annotated[Distribution, Quantity("Å", 4.0, 500.0, (6.0, 60.0), _NM)] = Uniform(
        10.0, 30.0
    )
    n_terraces: Annotated[Distribution, Quantity("terraces", 0, 20, (0, 6), whole=True)] = Integers(
        0, 3
    )
    two_coordinated_oxygen: Annotated[Distribution, _fraction()] = Uniform(0.0, 1.0)
    rotation_deg: Annotated[Distribution, _angle()] = _WHOLE_ANGLE
    shift_x_A: Annotated[Distribution, Quantity("Å", -1000.0, 1000.0, hint=_NM)] = Uniform(
        -3.0, 3.0
    )
    shift_y_A: Annotated[Distribution, Quantity("Å", -1000.0, 1000.0, hint=_NM)] = Uniform(
        -3.0, 3.0
    )
    mistilt_deg: Annotated[
        Distribution,
        Quantity("°", 0.0, 10.0, (0.0, 2.0), "values in mrad must be divided by 17.45"),
    ] = Uniform(0.0, 1.0)
    mistilt_azimuth_deg: Annotated[Distribution, _angle()] = _WHOLE_ANGLE
    oxygen_vacancy_fraction: Annotated[Distribution, _fraction(0.5, (0.0, 0.15))] = Uniform(
        0.0, 0.1
    )
    oxygen_vacancy_arrangement: Annotated[Distribution, Words(ARRANGEMENTS)] = Choice(
        ARRANGEMENTS, (1.0,) * 3
    )
    cerium_vacancy_fraction: Annotated[Distribution, _fraction(0.3, (0.0, 0.05))] = Uniform(
        0.0, 0.03
    )
    n_cerium_adatoms: Annotated[Distribution, Quantity("atoms", 0, 100, (0, 10), whole=True)] = (
        Integers(0, 4)
    )
    n_oxygen_adatoms: Annotated[Distribution, Quantity("atoms", 0, 100, (0, 10), whole=True)] = (
        Integers(0, 4)
    )
    relaxation_A: Annotated[Distribution, Quantity("Å", 0.0, 0.4, (0.0, 0.1))] = Uniform(0.0, 0.1)
    static_displacement_A: Annotated[Distribution, Quantity("Å", 0.0, 0.4, (0.0, 0.1))] = Uniform(
        0.0, 0.05
    )
    rms_Ce_A: Annotated[Distribution, Quantity("Å", 0.0, 0.4, (0.03, 0.12))] = Uniform(0.05, 0.08)
    rms_O_A: Annotated[Distribution, Quantity("Å", 0.0, 0.4, (0.04, 0.16))] = Uniform(0.07, 0.11)
    surface_rms_factor: Annotated[Distribution, Quantity("", 1.0, 3.0, (1.0, 2.0))] = Uniform(
        1.0, 1.6
    )
    support_thickness_A: Annotated[Distribution, Quantity("Å", 0.0, 300.0, (0.0, 50.0), _NM)] = (
        Fixed(0.0)
    )
    support_side: Annotated[Distribution, Words(SIDES)] = Choice(SIDES, (1.0,) * 2)


class ScatteringSection(Section):
    """How exit waves are computed, the same for all structures."""

    engine: Literal["batched", "batched_mkl", "abtem"] = "batched"
    transmission: Literal["split", "grid"] = "split"
    energy_keV: Annotated[
        float, Constant("keV", 60.0, 300.0, (200.0, 300.0), "values in eV must be divided by 1000")
    ] = 300.0
    sampling_A: Annotated[float, Constant("Å", 0.02, 0.2, (0.02, 0.1))] = 0.1
    slice_thickness_A: Annotated[float, Constant("Å", 0.1, 4.0, (0.1, 0.5))] = 0.5
    padding_A: Annotated[float, Constant("Å", 2.0, 200.0, (8.0, 200.0), _NM)] = 8.0
    precision: Literal["float32", "float64"] = "float32"
    fft: Literal["numpy", "fftw"] = "numpy"


class OpticsSection(Section):
    """Distributions of the imaging conditions; meanings in `parameters.ImageParameters`.

    The order of the keys is the order of the draws: new ones come last.
    """

    defocus_A: Annotated[Distribution, Quantity("Å", -20000.0, 20000.0, (-150.0, 100.0), _NM)] = (
        Uniform(-100.0, -10.0)
    )
    A1_A: Annotated[Distribution, Quantity("Å", 0.0, 2000.0, (0.0, 30.0), _NM)] = Uniform(0.0, 20.0)
    A1_azimuth_deg: Annotated[Distribution, _angle()] = _WHOLE_ANGLE
    B2_A: Annotated[Distribution, Quantity("Å", 0.0, 50000.0, (0.0, 300.0), _NM)] = Uniform(
        0.0, 150.0
    )
    B2_azimuth_deg: Annotated[Distribution, _angle()] = _WHOLE_ANGLE
    A2_A: Annotated[Distribution, Quantity("Å", 0.0, 50000.0, (0.0, 600.0), _NM)] = Uniform(
        0.0, 300.0
    )
    A2_azimuth_deg: Annotated[Distribution, _angle()] = _WHOLE_ANGLE
    C30_um: Annotated[Distribution, Quantity("µm", -500.0, 5000.0, (-20.0, 20.0), _MM)] = (
        NormalDistribution(-9.0, 1.0)
    )
    C50_mm: Annotated[
        Distribution,
        Quantity("mm", -200.0, 200.0, (-10.0, 10.0), "values in µm must be divided by 1000"),
    ] = Fixed(5.0)
    focal_spread_A: Annotated[Distribution, Quantity("Å", 0.0, 500.0, (0.0, 60.0), _NM)] = Uniform(
        15.0, 40.0
    )
    angular_spread_mrad: Annotated[Distribution, Quantity("mrad", 0.0, 5.0, (0.0, 0.5))] = Uniform(
        0.05, 0.3
    )
    aperture_mrad: Annotated[Distribution, Quantity("mrad", 5.0, 200.0, (15.0, 50.0))] = Fixed(40.0)


class CameraSection(Section):
    """Distributions of the camera; a counting camera ignores all but `kind`.

    The order of the keys is the order of the draws: new ones come last.
    """

    kind: Annotated[Distribution, Words(CAMERAS)] = Fixed("counting")
    gain: Annotated[Distribution, Quantity("units per electron", 0.001, 10000.0)] = Fixed(10.0)
    offset: Annotated[Distribution, Quantity("units", 0.0, 30000.0)] = Fixed(100.0)
    readout_noise: Annotated[Distribution, Quantity("units", 0.0, 1000.0)] = Fixed(2.0)
    mtf_half: Annotated[Distribution, Quantity("of Nyquist", 0.05, float("inf"))] = Uniform(
        0.4, 0.8
    )
    mtf_power: Annotated[Distribution, Quantity("", 0.5, 10.0)] = Fixed(2.0)
    ntf_half: Annotated[Distribution, Quantity("of Nyquist", 0.05, float("inf"))] = Uniform(
        0.6, 1.0
    )
    ntf_power: Annotated[Distribution, Quantity("", 0.5, 10.0)] = Fixed(2.0)


Dose = Annotated[
    Distribution,
    Quantity("e-/Å²", 0.01, 1e6, (10.0, 10000.0), "a dose is electrons per area in one exposure"),
]
DEFAULT_DOSE = LogUniform(30.0, 3000.0)


EVENT_KINDS = (
    "migration",
    "arrival",
    "departure",
    "vacancy_creation",
    "vacancy_filling",
    "vacancy_migration",
    "tilt",
)
"""What can happen in a film."""


def _rate(unit: str = "1/s") -> Constant:
    return Constant(unit, 0.0, 1000.0, hint="rates count events per second and unit")


class ScriptedEvent(Section):
    """One event at a time of one's own choice."""

    kind: Literal[EVENT_KINDS]  # type: ignore[valid-type]
    time_s: Annotated[float, Constant("s", 0.0, 1e6)]
    nth: Annotated[int, Constant("", 0, 1_000_000, whole=True)] = 0
    """Which of the moves of this kind that the structure allows then, in a fixed order."""


class FilmSection(Section):
    """What a particle does in the time of a film; rates are per second and unit (`moves`)."""

    frames: Annotated[int, Constant("frames", 1, SAMPLES_PER_STRUCTURE_KEY, whole=True)] = 60
    frame_time_s: Annotated[float, Constant("s", 1e-4, 100.0, (1 / 75, 1 / 7.5))] = 0.04
    cerium_migration_per_s: Annotated[float, _rate()] = 0.0
    cerium_arrival_per_s: Annotated[float, _rate()] = 0.0
    cerium_departure_per_s: Annotated[float, _rate()] = 0.0
    oxygen_vacancy_creation_per_s: Annotated[float, _rate()] = 0.0
    oxygen_vacancy_creation_per_e_A2: Annotated[float, _rate("Å²/e-")] = 0.0
    oxygen_vacancy_filling_per_s: Annotated[float, _rate()] = 0.0
    oxygen_vacancy_migration_per_s: Annotated[float, _rate()] = 0.0
    oxygen_sites: Literal["surface", "any"] = "surface"
    tilt_per_s: Annotated[float, _rate()] = 0.0
    tilt_step_deg: Annotated[float, Constant("°", 0.0, 2.0, (0.0, 0.5))] = 0.1
    drift_A_per_s: Annotated[Distribution, Quantity("Å/s", 0.0, 1000.0, (0.0, 5.0), _NM)] = Fixed(
        0.0
    )
    drift_walk_A_per_root_s: Annotated[float, Constant("Å/√s", 0.0, 100.0, (0.0, 1.0), _NM)] = 0.0
    script: tuple[ScriptedEvent, ...] = ()

    @property
    def duration_s(self) -> float:
        """Time from the start of the first to the end of the last exposure."""
        return self.frames * self.frame_time_s


class Override(Section):
    """What one split draws differently; keys that are not set stay as in the dataset."""

    structure: StructureSection = StructureSection()
    optics: OpticsSection = OpticsSection()
    camera: CameraSection = CameraSection()
    film: FilmSection = FilmSection()
    dose_e_per_A2: Dose | None = None

    @field_validator("film")
    @classmethod
    def _one_length(cls, film: FilmSection) -> FilmSection:
        if "frames" in film.model_fields_set:
            raise ValueError(
                "sets frames; all films of a dataset have equally many, because they share "
                "shards of one size; build another dataset for longer films"
            )
        return film

    @field_validator("structure")
    @classmethod
    def _one_zone_axis(cls, structure: StructureSection) -> StructureSection:
        if "zone_axis" in structure.model_fields_set:
            raise ValueError(
                "sets zone_axis; it is the same for the whole dataset, because the planes of "
                "`volume` depend on it; build another dataset for another axis"
            )
        return structure

    @model_serializer
    def _only_what_is_set(self) -> dict[str, Any]:
        content = {
            name: getattr(self, name).model_dump(exclude_unset=True)
            for name in ("structure", "optics", "camera", "film")
        }
        if self.dose_e_per_A2 is not None:
            content["dose_e_per_A2"] = self.dose_e_per_A2.plain()
        return {name: value for name, value in content.items() if value != {}}


class Split(Section):
    """One split: its structures, and what it draws differently."""

    name: SplitName
    structures: Annotated[int, Constant("structures", 1, 1_000_000, whole=True)]
    phonons: Annotated[int, Constant("phonon configurations", 1, 256, whole=True)] = 8
    first_number: Annotated[int, Constant("", 0, 2**46, whole=True)]
    """Number of its first structure: the key of its random streams."""
    override: Override = Override()

    @property
    def numbers(self) -> range:
        """Numbers of its structures."""
        return range(self.first_number, self.first_number + self.structures)


class LimitsSection(Section):
    """Ask for the ideal observer at build time."""

    split: str
    columns: Annotated[int, Constant("columns", 1, 1_000_000, whole=True)] = 2000
