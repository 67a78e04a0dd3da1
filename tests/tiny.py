"""A config whose datasets take a second: coarse grid, few atoms, non-square field."""

from pathlib import Path

from ceria_data.build import build, in_this_process
from ceria_data.config import BuildConfig, config_from_yaml
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
