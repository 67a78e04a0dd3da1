"""The spine of films: from a config and the number of a film to its labels and frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ceria_data import mkl
from ceria_data.config import BuildConfig
from ceria_data.devices import to_host
from ceria_data.digest import content_leaf
from ceria_data.draw import StructureEntry
from ceria_data.errors import StructureError
from ceria_data.exposures import Exposure
from ceria_data.film_labels import LabelledFilm, label_film
from ceria_data.image_spectrum import ImageSpectrum
from ceria_data.optics import image_spectrum
from ceria_data.scattering import exit_waves, waves_together
from ceria_data.simulate import cell_of, field_of, record_sample, settings_of, timed
from ceria_data.store import Layout


@dataclass(frozen=True)
class SimulatedFilm:
    """A labelled film and its frames.

    Attributes
    ----------
    labels : LabelledFilm
    intensity : array of float16, shape (frame, y, x)
    counts : array of uint16, shape (frame, y, x)
    seconds : dict of str to float
        Time spent by stage.
    """

    labels: LabelledFilm
    intensity: NDArray[np.float16]
    counts: NDArray[np.uint16]
    seconds: dict[str, float]

    @property
    def digest(self) -> str:
        """Digest of labels and pixels."""
        return content_leaf(self.labels.digest, self.counts, self.intensity)


def simulate_films(
    config: BuildConfig,
    entries: Sequence[StructureEntry],
    layout: Layout,
    device: str = "cpu",
    memory: int | None = None,
) -> Iterator[SimulatedFilm | Exception]:
    """Simulate films: their events, structures, labels and frames.

    Parameters
    ----------
    config : BuildConfig
        With a section `film`.
    entries : sequence of StructureEntry
        The films.
    layout : Layout
        Says where the structures of each film stand.
    device : str
        ``cpu`` or ``gpu``.
    memory : int, optional
        For the waves that go together [bytes]; see `scattering.waves_together`.

    Yields
    ------
    SimulatedFilm or Exception
        In the order of `entries`; what went wrong, for a film that could not be simulated.
    """
    for entry in entries:
        try:
            yield simulate_film(config, entry, layout, device, memory)
        except Exception as error:  # one film must not take the others with it
            yield error


def simulate_film(
    config: BuildConfig,
    entry: StructureEntry,
    layout: Layout,
    device: str = "cpu",
    memory: int | None = None,
    frames: range | None = None,
) -> SimulatedFilm:
    """Simulate one film, or some frames of it; see `simulate_films`.

    Parameters
    ----------
    frames : range, optional
        The only ones to make images of; labels are always those of the whole film.

    Returns
    -------
    SimulatedFilm

    Raises
    ------
    ConfigError
        If the film has too many events, or its script does not fit.
    StructureError
        If an image holds a number that is not finite, or an atom leaves the cell.
    """
    seconds: dict[str, float] = {}
    field, cell = field_of(config), cell_of(config)
    with timed(seconds, "structure and labels"):
        first = layout.structures_of(range(entry.row, entry.row + 1)).start
        labels = label_film(config, entry, first, layout.planes, field, cell)
    chosen = range(len(labels.images)) if frames is None else frames
    intensities, records = [], []
    for number, spectrum in _frames(config, labels, chosen, device, memory, seconds):
        with timed(seconds, "optics"):
            intensity = to_host(spectrum.pixels(field)).astype(np.float16)
        if not np.isfinite(intensity).all():
            raise StructureError(
                f"film {entry.row} (number {entry.number}): frame {number} is not finite; its "
                f"optics are {labels.images[number]}"
            )
        with timed(seconds, "camera"):
            records.append(record_sample(intensity, labels.images[number], field))
        intensities.append(intensity)
    return SimulatedFilm(labels, np.stack(intensities), np.stack(records), seconds)


def _frames(
    config: BuildConfig,
    labels: LabelledFilm,
    frames: range,
    device: str,
    memory: int | None,
    seconds: dict[str, float],
) -> Iterator[tuple[int, ImageSpectrum]]:
    """Sum what each frame shows, by time; a structure scatters once, however many show it."""
    parts = [part for part in labels.parts if part.frame in frames]
    total: ImageSpectrum | None = None
    number = frames.start
    for part, image in _shown(config, labels, parts, device, memory, seconds):
        if total is not None and part.frame != number:
            yield number, total
            total = None
        with timed(seconds, "optics"):
            shift, blur = labels.drift.during(part)
            moved = image.moved(shift, blur, part.weight)
            total = moved if total is None else total + moved
        number = part.frame
    assert total is not None, "a film has a frame"
    yield number, total


def _shown(
    config: BuildConfig,
    labels: LabelledFilm,
    parts: Sequence[Exposure],
    device: str,
    memory: int | None,
    seconds: dict[str, float],
) -> Iterator[tuple[Exposure, ImageSpectrum]]:
    """Pair each part of an exposure with the image of the structure that it shows."""
    cell, settings = cell_of(config), settings_of(config)
    structures = list(dict.fromkeys(part.structure for part in parts))
    phonons = len(labels.particle.thermal)
    together = max(1, waves_together(cell, settings, device, memory) // phonons)
    optics: Any = labels.images[0]
    for first in range(0, len(structures), together):
        group = structures[first : first + together]
        # Sums of a matrix product depend on how many threads share it.
        alone = mkl.one_thread(settings.library == "mkl")
        with timed(seconds, "scattering"), alone, threadpool_limits(limits=1):
            specimens = [
                labels.particle.specimen(index, settings.slice_thickness_A) for index in group
            ]
            waves = exit_waves(specimens, cell, settings, device, memory)
        for index, behind in zip(group, waves, strict=True):
            with timed(seconds, "optics"):
                image = image_spectrum(behind, optics, field_of(config))
            yield from ((part, image) for part in parts if part.structure == index)
