"""A config whose datasets take a second: coarse grid, few atoms, non-square field."""

from pathlib import Path

import yaml

from ceria_data.build import build, in_this_process
from ceria_data.config import (
    BuildConfig,
    config_from_mapping,
    config_from_yaml,
    load_config,
    recipe_digest,
)
from ceria_data.store import checksums, read_manifest, write_manifest

TINY = """
name: tiny
version: 0.1.0
description: for tests
seed: 11
field: {shape: [24, 28], sampling_A: 0.25}
images_per_structure: 2
splits:
  - {name: train, structures: 4, phonons: 1}
  - {name: test, structures: 2, phonons: 2}
structure:
  thickness_atoms: {integers: [2, 3]}
  aspect: 1.5
  shift_x_A: 0
  shift_y_A: 0
scattering: {sampling_A: 0.125, slice_thickness_A: 2.0, padding_A: 3.0}
optics: {aperture_mrad: 15, focal_spread_A: 5}
dose_e_per_A2: 200
"""

# A finer grid than the tiny one, and room around the columns: patches reach 12 Å.
FINE = (
    ("shape: [24, 28]", "shape: [70, 80]"),
    ("sampling_A: 0.125, slice_thickness_A: 2.0, padding_A: 3.0",
     "sampling_A: 0.125, slice_thickness_A: 1.0, padding_A: 6.0"),
    ("structures: 4", "structures: 1"),
    ("structures: 2", "structures: 1"),
    ("aperture_mrad: 15", "aperture_mrad: 25"),
    ("aspect: 1.5", "kind: cube\n  aspect: 2.5\n  mistilt_deg: 0\n  relaxation_A: 0.1"),
    ("integers: [2, 3]", "integers: [4, 4]"),
)  # fmt: skip


def tiny_config(*changes: tuple[str, str]) -> BuildConfig:
    """The tiny config with some of its text replaced."""
    text = TINY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return config_from_yaml(text)


class Here:
    """Workers in this process, as a context."""

    def __enter__(self):
        return in_this_process

    def __exit__(self, *_):
        return None


def reseal(folder: Path) -> None:
    """Make the manifest agree with the bytes again, as a careless or clever hand would."""
    write_manifest(folder, read_manifest(folder) | {"files": checksums(folder)})


def build_tiny(out: Path, config: BuildConfig | None = None, **flags) -> Path:
    """Build the tiny dataset without any workers."""
    build(config or tiny_config(), out, workers=Here, **flags)
    return out


def new_version(folder: Path, version: str) -> Path:
    """Make another version of a dataset, with the same content."""
    config = folder / "config.yaml"
    text = config.read_text(encoding="utf-8")
    old = read_manifest(folder)
    assert f"version: {old['version']}" in text
    config.write_text(text.replace(f"version: {old['version']}", f"version: {version}"))
    facts = {"version": version, "recipe_digest": recipe_digest(load_config(str(config)))}
    write_manifest(folder, old | facts | {"files": checksums(folder)})
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Read every file of a folder."""
    files = (path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


FILM = """
name: tiny-film
version: 0.1.0
description: for tests
seed: 5
field: {shape: [64, 72], sampling_A: 0.25}
film:
  frames: 6
  frame_time_s: 0.1
  cerium_migration_per_s: 0.5
  oxygen_vacancy_creation_per_s: 0.03
  oxygen_vacancy_filling_per_s: 1.0
  oxygen_vacancy_migration_per_s: 1.0
  tilt_per_s: 1.0
  drift_A_per_s: 0.6
  drift_walk_A_per_root_s: 0.2
splits:
  - {name: train, structures: 2, phonons: 1}
  - {name: test, structures: 1, phonons: 2}
structure:
  kind: cube
  thickness_atoms: {integers: [2, 3]}
  aspect: 1.5
  shift_x_A: 0
  shift_y_A: 0
  n_oxygen_adatoms: 0
  cerium_vacancy_fraction: 0
scattering: {sampling_A: 0.125, slice_thickness_A: 2.0, padding_A: 4.0}
optics: {aperture_mrad: 15, focal_spread_A: 5}
dose_e_per_A2: 200
"""


def film_config(film: dict | None = None, **changes) -> BuildConfig:
    """The tiny config of films, with another section film or other top-level keys."""
    content = yaml.safe_load(FILM)
    return config_from_mapping(content | ({"film": film} if film is not None else {}) | changes)
