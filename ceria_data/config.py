"""What a dataset is made of: the config, its checks, its canonical text and its digest.

A config is science only: it decides every value of the dataset. Workers, devices and
places are flags of the commands. Every drawn quantity has a distribution.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    ValidationError,
    model_serializer,
    model_validator,
)

from ceria_data.config_checks import (
    check_film,
    check_scattering,
    check_splits,
    check_together,
)
from ceria_data.config_text import LARGEST, explain, read_mapping, write_mapping
from ceria_data.distributions import Distribution
from ceria_data.errors import ConfigError
from ceria_data.quantities import Constant, Quantity
from ceria_data.schema import SAMPLES_PER_STRUCTURE_KEY
from ceria_data.sections import (
    DEFAULT_DOSE,
    CameraSection,
    Dose,
    FieldSection,
    FilmSection,
    LimitsSection,
    OpticsSection,
    ScatteringSection,
    Section,
    Slug,
    Split,
    StructureSection,
    Version,
)

AnySection = TypeVar("AnySection", bound=Section)
GENERATOR_VERSION = 2
"""Raised whenever the same config would give other values than before."""
FIRST_NUMBERS = 1_000_000
"""Without a `first_number` the structures of split i are numbered from i times this."""
GRID_SAMPLING = 0.05
"""Coarsest grid [Å] on which a transmission function computed there was validated."""
PHONON_ERROR = 0.25
"""Error of an image of one phonon configuration over the image's contrast; it falls with the
root of their number. Measured on the benchmark's structures: docs/physics.md."""


@dataclass(frozen=True)
class Sections:
    """What one split draws from: the dataset's sections with the split's own keys."""

    structure: StructureSection
    optics: OpticsSection
    camera: CameraSection
    dose_e_per_A2: Distribution
    film: FilmSection | None


class BuildConfig(Section):
    """The config of a dataset.

    Made by `load_config` or `config_from_yaml`; every key is described in
    `docs/config.md`.
    """

    name: Slug
    version: Version
    description: str = ""
    seed: Annotated[int, Constant("", 0, 2**63 - 1, whole=True)]
    field: FieldSection
    images_per_structure: Annotated[
        int, Constant("images", 1, SAMPLES_PER_STRUCTURE_KEY, whole=True)
    ] = 4
    max_count: Annotated[int, Constant("atoms", 1, 254, whole=True)] = 14
    allow_cropping: StrictBool = True
    splits: Annotated[tuple[Split, ...], Field(min_length=1)]
    structure: StructureSection = StructureSection()
    scattering: ScatteringSection = ScatteringSection()
    optics: OpticsSection = OpticsSection()
    camera: CameraSection = CameraSection()
    dose_e_per_A2: Dose = DEFAULT_DOSE
    limits: LimitsSection | None = None
    film: FilmSection | None = None
    """Makes every entry of a split a film instead of a structure."""

    @property
    def images_per_particle(self) -> int:
        """Images of one structure, or frames of one film."""
        return self.film.frames if self.film else self.images_per_structure

    def split(self, name: str) -> Split:
        """Find a split by its name."""
        return next(split for split in self.splits if split.name == name)

    def sections(self, split: Split) -> Sections:
        """Merge what a split overrides into the sections of the dataset."""
        over = split.override
        return Sections(
            structure=_merged(self.structure, over.structure),
            optics=_merged(self.optics, over.optics),
            camera=_merged(self.camera, over.camera),
            dose_e_per_A2=over.dose_e_per_A2 or self.dose_e_per_A2,
            film=self.film and _merged(self.film, over.film),
        )

    @model_validator(mode="before")
    @classmethod
    def _number_the_splits(cls, content: Any) -> Any:
        if not isinstance(content, dict) or not isinstance(content.get("splits"), list):
            return content
        splits = [
            {"first_number": i * FIRST_NUMBERS, **split} if isinstance(split, dict) else split
            for i, split in enumerate(content["splits"])
        ]
        return {**content, "splits": splits}

    @model_validator(mode="before")
    @classmethod
    def _one_image_per_frame(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("film") is not None:
            return {"images_per_structure": 1, **content}
        return content

    @model_serializer(mode="wrap")
    def _without_empty_film(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave `film` out of still datasets, whose recipes are older than it."""
        content: dict[str, Any] = write(self)
        if self.film is None:
            del content["film"]
        return content

    @model_validator(mode="after")
    def _check_together(self) -> "BuildConfig":
        check_splits(self)
        check_scattering(self)
        check_film(self)
        for split in self.splits:
            check_together(self, self.sections(split), split.name)
        return self


def load_config(path_or_preset: str | os.PathLike[str]) -> BuildConfig:
    """Load a config from a YAML file, or a preset by its name.

    Parameters
    ----------
    path_or_preset : str or path
        A preset's name, or the path of a file; write ``./demo`` for a file named like
        a preset.

    Returns
    -------
    BuildConfig

    Raises
    ------
    ConfigError
        If there is no such file, or its content cannot be built.

    Examples
    --------
    >>> load_config("demo").field.shape
    (96, 96)
    """
    name = os.fspath(path_or_preset)
    if name in preset_names():
        text = (files("ceria_data.presets") / f"{name}.yaml").read_text(encoding="utf-8")
        return config_from_yaml(text, f"preset {name}")
    path = Path(name)
    if not path.is_file():
        near = get_close_matches(name, preset_names(), 1)
        hint = f"did you mean {near[0]}?" if near else f"presets are {', '.join(preset_names())}"
        raise ConfigError(f"there is no preset and no config file called {name!r}; {hint}")
    try:
        if path.stat().st_size > 4 * LARGEST:
            raise ConfigError(f"{name} has {path.stat().st_size} bytes; this is no config")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is not UTF-8 text; expected a YAML config") from None
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}") from None
    return config_from_yaml(text, name)


def preset_names() -> list[str]:
    """Name the presets of the package.

    Examples
    --------
    >>> "demo" in preset_names()
    True
    """
    entries = (entry.name for entry in files("ceria_data.presets").iterdir())
    return sorted(name.removesuffix(".yaml") for name in entries if name.endswith(".yaml"))


def config_from_yaml(text: str, source: str = "config") -> BuildConfig:
    """Read and check a config.

    Parameters
    ----------
    text : str
        YAML.
    source : str
        Where the text comes from, for messages.

    Returns
    -------
    BuildConfig

    Raises
    ------
    ConfigError
        If a key is unknown, a value impossible or a range empty.
    """
    return config_from_mapping(read_mapping(text, source), source)


def config_from_mapping(content: Mapping[str, Any], source: str = "config") -> BuildConfig:
    """Check a config given as plain values; see `config_from_yaml`."""
    try:
        return BuildConfig.model_validate(dict(content))
    except ValidationError as error:
        raise explain(error, BuildConfig, source) from None


def resolved_yaml(config: BuildConfig) -> str:
    """Write a config with every default and every `first_number` spelled out.

    Parameters
    ----------
    config : BuildConfig

    Returns
    -------
    str
        YAML that reads back to an equal config.

    Examples
    --------
    >>> config = load_config("demo")
    >>> config_from_yaml(resolved_yaml(config)) == config
    True
    """
    return write_mapping(config.model_dump(mode="python"))


def recipe_digest(config: BuildConfig) -> str:
    """Name the recipe: sha256 of the complete config and the generator's version.

    Parameters
    ----------
    config : BuildConfig

    Returns
    -------
    str
        64 lowercase hexadecimal digits.
    """
    content = {"generator": GENERATOR_VERSION, "config": config.model_dump(mode="python")}
    # Keys keep the order of the sections; in a choice it belongs to the meaning.
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def warnings_of(config: BuildConfig) -> list[str]:
    """List where a config leaves the range in which the generator was validated.

    Parameters
    ----------
    config : BuildConfig

    Returns
    -------
    list of str
        One line each; the dataset's card records them.
    """
    found: dict[str, list[str]] = {}
    for split in config.splits:
        for text in _split_warnings(config, split):
            found.setdefault(text, []).append(split.name)
    fixed = [*_section_warnings(config.field, "field")]
    fixed += _section_warnings(config.scattering, "scattering")
    if config.scattering.transmission == "grid" and config.scattering.sampling_A > GRID_SAMPLING:
        fixed.append(
            f"scattering.sampling_A is {config.scattering.sampling_A:g} Å with transmission "
            f"grid; validated up to {GRID_SAMPLING:g} Å"
        )
    by_split = [
        text if len(names) == len(config.splits) else f"{text} (in {', '.join(names)})"
        for text, names in found.items()
    ]
    return fixed + by_split


def _split_warnings(config: BuildConfig, split: Split) -> Iterator[str]:
    sections = config.sections(split)
    yield from _section_warnings(sections.structure, "structure")
    yield from _section_warnings(sections.optics, "optics")
    if sections.film:
        yield from _section_warnings(sections.film, "film")
    dose = _marker(config, "dose_e_per_A2")
    if dose and (text := dose.warning(cast(Any, sections.dose_e_per_A2))):
        yield f"dose_e_per_A2 {text}"
    thickest = int(sections.structure.thickness_atoms.support[-1])
    if thickest > config.max_count:
        yield (
            f"structure.thickness_atoms reaches {thickest} atoms; counts above "
            f"max_count = {config.max_count} share one class"
        )
    wanted = 32 if split.name.startswith("test") else 4
    if split.phonons < wanted:
        error = 100 * PHONON_ERROR / split.phonons**0.5
        yield (
            f"phonons is {split.phonons}; {wanted} are advised here; images differ from the "
            f"thermal average by about {error:.0f} % of their contrast"
        )


def _section_warnings(section: Section, path: str) -> Iterator[str]:
    for name in type(section).model_fields:
        marker = _marker(section, name)
        if marker and (text := marker.warning(getattr(section, name))):
            yield f"{path}.{name} {text}"


def _marker(section: Section, name: str) -> Quantity | Constant | None:
    metadata = type(section).model_fields[name].metadata
    return next((m for m in metadata if isinstance(m, Quantity | Constant)), None)


def _merged(base: AnySection, over: AnySection) -> AnySection:
    return base.model_copy(update={name: getattr(over, name) for name in over.model_fields_set})
