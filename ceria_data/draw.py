"""Every random choice of a structure and of an image, drawn in one place.

Method: a structure has one random stream, and so has every image. Its fields are drawn in
the order of the config's sections, each with exactly one uniform number that the field's
distribution turns into a value (`distributions.draw`). Field n therefore always sees the
n-th number of its stream: another distribution of one field leaves all others unchanged,
and other structures, images or splits play no part.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.config import BuildConfig
from ceria_data.distributions import draw
from ceria_data.parameters import Camera, ImageParameters, StructureParameters, camera_from_row
from ceria_data.randomness import sample_rng
from ceria_data.schema import SAMPLES, SAMPLES_PER_STRUCTURE_KEY
from ceria_data.sections import Section
from ceria_data.store import frame

_COUNTING = Camera(kind="counting")


@dataclass(frozen=True)
class StructureEntry:
    """Place of a structure in a still dataset, or of a film in a dataset of films.

    Attributes
    ----------
    row : int
        The particle: row of `structures.parquet` in a still dataset.
    split : str
        Name of its split.
    number : int
        Key of its random streams.
    """

    row: int
    split: str
    number: int


def structure_entries(config: BuildConfig) -> list[StructureEntry]:
    """List the structures of a dataset, split by split.

    Parameters
    ----------
    config : BuildConfig

    Returns
    -------
    list of StructureEntry
        In the order of their rows.

    Examples
    --------
    >>> from ceria_data.config import load_config
    >>> structure_entries(load_config("demo"))[16]
    StructureEntry(row=16, split='validation', number=1000000)
    """
    pairs = ((split.name, number) for split in config.splits for number in split.numbers)
    return [StructureEntry(row, split, number) for row, (split, number) in enumerate(pairs)]


def structure_entry(config: BuildConfig, row: int) -> StructureEntry:
    """Find one structure of a dataset, without listing the others.

    Parameters
    ----------
    config : BuildConfig
    row : int

    Returns
    -------
    StructureEntry

    Raises
    ------
    IndexError
        If the dataset has no such row.

    Examples
    --------
    >>> from ceria_data.config import load_config
    >>> structure_entry(load_config("demo"), 16)
    StructureEntry(row=16, split='validation', number=1000000)
    """
    place = row
    for split in config.splits:
        if 0 <= place < split.structures:
            return StructureEntry(row, split.name, split.numbers[place])
        place -= split.structures
    raise IndexError(f"the dataset has no structure {row}")


def sample_number(structure_number: int, position: int) -> int:
    """Give an image its number: the key of its random streams.

    Parameters
    ----------
    structure_number : int
    position : int
        Among the images of its structure, from 0.

    Returns
    -------
    int

    Examples
    --------
    >>> sample_number(2, 3)
    131075
    """
    return structure_number * SAMPLES_PER_STRUCTURE_KEY + position


def draw_structure(config: BuildConfig, entry: StructureEntry) -> StructureParameters:
    """Draw all parameters of a structure.

    Parameters
    ----------
    config : BuildConfig
    entry : StructureEntry

    Returns
    -------
    StructureParameters

    Examples
    --------
    >>> from ceria_data.config import load_config
    >>> config = load_config("demo")
    >>> 3 <= draw_structure(config, structure_entries(config)[0]).thickness_atoms <= 8
    True
    """
    split = config.split(entry.split)
    section = config.sections(split).structure
    rng = sample_rng(config.seed, entry.number, "structure")
    return StructureParameters(
        number=entry.number,
        zone_axis=section.zone_axis,
        n_phonons=split.phonons,
        **_draw_section(section, rng, skip="zone_axis"),
    )


def draw_image(config: BuildConfig, entry: StructureEntry, position: int) -> ImageParameters:
    """Draw all parameters of an image: optics, dose and camera.

    Parameters
    ----------
    config : BuildConfig
    entry : StructureEntry
        The structure that it shows.
    position : int
        Among the images of the structure, from 0.

    Returns
    -------
    ImageParameters
        A counting camera is ideal, whatever the config says of integrating ones.

    Raises
    ------
    ValueError
        If the structure has no image at this position.

    Examples
    --------
    >>> from ceria_data.config import load_config
    >>> config = load_config("demo")
    >>> image = draw_image(config, structure_entries(config)[0], position=0)
    >>> -90 <= image.defocus_A <= -45, image.camera
    (True, 'counting')
    """
    if not 0 <= position < config.images_per_structure:
        raise ValueError(f"position is {position}; expected 0 to {config.images_per_structure - 1}")
    sections = config.sections(config.split(entry.split))
    number = sample_number(entry.number, position)
    rng = sample_rng(config.seed, number, "image")
    dose = float(draw(sections.dose_e_per_A2, rng))
    camera = Camera(**_draw_section(sections.camera, rng))
    if camera.kind == "counting":
        camera = _COUNTING
    return ImageParameters(
        number=number,
        energy_keV=config.scattering.energy_keV,
        dose_e_per_A2=dose,
        camera=camera.kind,
        gain=camera.gain,
        offset=camera.offset,
        readout_noise=camera.readout_noise,
        mtf_half=camera.mtf_half,
        mtf_power=camera.mtf_power,
        ntf_half=camera.ntf_half,
        ntf_power=camera.ntf_power,
        camera_seed=_camera_seed(config, number),
        **_draw_section(sections.optics, rng),
    )


def draw_frames(config: BuildConfig, entry: StructureEntry) -> tuple[ImageParameters, ...]:
    """Draw the frames of a film: optics, dose and camera of one image, noise of each.

    Parameters
    ----------
    config : BuildConfig
        Of films.
    entry : StructureEntry

    Returns
    -------
    tuple of ImageParameters
        They differ in number and camera seed only.
    """
    first = draw_image(config, entry, 0)
    numbers = [sample_number(entry.number, i) for i in range(config.images_per_particle)]
    return tuple(
        replace(first, number=number, camera_seed=_camera_seed(config, number))
        for number in numbers
    )


def _camera_seed(config: BuildConfig, number: int) -> int:
    seeds = sample_rng(config.seed, number, "camera")
    return int(seeds.integers(2**63, dtype=np.uint64))


def camera_of(parameters: ImageParameters) -> Camera:
    """Describe the camera of an image.

    Parameters
    ----------
    parameters : ImageParameters

    Returns
    -------
    Camera

    Examples
    --------
    >>> from ceria_data.config import load_config
    >>> config = load_config("demo")
    >>> camera_of(draw_image(config, structure_entries(config)[0], 0)) == Camera()
    True
    """
    return camera_from_row(vars(parameters))


def sample_rows(
    config: BuildConfig, entry: StructureEntry, images: tuple[ImageParameters, ...]
) -> pd.DataFrame:
    """Make the rows of `samples.parquet` for the images of one structure."""
    rows: list[dict[str, Any]] = [
        asdict(image)
        | {
            "sample": entry.row * config.images_per_structure + position,
            "structure": entry.row,
            "particle": entry.row,
            "split": entry.split,
            "frame": 0,
            "time_s": 0.0,
            "sampling_A": config.field.sampling_A,
            "drift_x_A": 0.0,
            "drift_y_A": 0.0,
        }
        for position, image in enumerate(images)
    ]
    return frame(rows, SAMPLES)


def film_rows(
    config: BuildConfig,
    entry: StructureEntry,
    images: tuple[ImageParameters, ...],
    structures: Sequence[int],
    drift: NDArray[np.float64],
) -> pd.DataFrame:
    """Make the rows of `samples.parquet` for the frames of one film.

    Parameters
    ----------
    config : BuildConfig
    entry : StructureEntry
    images : tuple of ImageParameters
    structures : sequence of int
        Row of the structure that each frame shows longest.
    drift : array of float64, shape (frame, 2)
        Shift (x, y) of each frame [Å].

    Returns
    -------
    pandas.DataFrame
    """
    film = config.sections(config.split(entry.split)).film
    assert film is not None, "only a config with a section film has films"
    rows: list[dict[str, Any]] = [
        asdict(image)
        | {
            "sample": entry.row * film.frames + i,
            "structure": structures[i],
            "particle": entry.row,
            "split": entry.split,
            "frame": i,
            "time_s": float(f"{i * film.frame_time_s:.9g}"),
            "sampling_A": config.field.sampling_A,
            "drift_x_A": float(drift[i, 0]),
            "drift_y_A": float(drift[i, 1]),
        }
        for i, image in enumerate(images)
    ]
    return frame(rows, SAMPLES)


def _draw_section(section: Section, rng: np.random.Generator, skip: str = "") -> dict[str, Any]:
    names = [name for name in type(section).model_fields if name != skip]
    return {name: draw(getattr(section, name), rng) for name in names}
