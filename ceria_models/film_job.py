"""A film before the net runs: survey, drift, mean; each stage can be resumed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ceria_data.film import Film
from ceria_models.contrast import apparent_dose
from ceria_models.domain import Departure, departures
from ceria_models.drift import Drift, Frame, estimate_drift
from ceria_models.film_frames import Image, chunks_of, frames_of
from ceria_models.film_mean import Mean
from ceria_models.film_source import Source
from ceria_models.film_staging import FilmStaging
from ceria_models.film_survey import Survey, refuse_far, survey_film
from ceria_models.film_tables import REFERENCE
from ceria_models.frame_reading import Reader

Tell = Callable[[str, int, int, int], None]
"""Told what is counted, how many are done, of how many, and how many were there before."""

_PART_S = 1.0
_FRAMES_OF_PART, _FEWEST_OF_PART = 30, 8
"""Frames of a part where the time is not known; and fewest, so that its mean is no single frame."""
_SURVEY, _DRIFT = "survey.json", "drift.npy"


@dataclass(frozen=True)
class FilmJob:
    """What is to be predicted.

    Attributes
    ----------
    source : Source
    sampling : float
        Å/pixel.
    reader : Reader
    force : bool
        Predict also what lies far outside of what the net has seen.
    tell : callable
    """

    source: Source
    sampling: float
    reader: Reader
    force: bool
    tell: Tell

    @property
    def film(self) -> Film:
        """The frames."""
        return self.source.film

    @property
    def is_film(self) -> bool:
        """Whether the frames show one thing: they have a drift and sites."""
        return self.source.is_film

    def chunks(self) -> list[range]:
        """Frames between two checkpoints."""
        return chunks_of(self.film, self.sampling, self.reader.model.config.sampling_A)

    def parts(self) -> list[range]:
        """Stretches of about a second, whose means show what was there for a part of the film."""
        n = len(self.film)
        step = self.film.frame_time_s
        long = _FRAMES_OF_PART if step is None else round(_PART_S / step)
        number = max(round(n / max(long, _FEWEST_OF_PART)), 1)
        ends = [round(i * n / number) for i in range(number + 1)]
        return [range(*pair) for pair in pairwise(ends)]


@dataclass(frozen=True)
class Found:
    """What is known of a film before its frames are read.

    Attributes
    ----------
    survey : Survey
    skipped : dict of int to str
        Frames that are not predicted, and why.
    drift : Drift
    mean : list of Departure
        How the mean of the film differs from what the net has seen.
    """

    survey: Survey
    skipped: dict[int, str]
    drift: Drift
    mean: list[Departure]

    @property
    def in_domain(self) -> bool:
        """Whether all that is predicted is of the kind that the net has seen."""
        found = self.survey.findings.values()
        return not (self.mean or {n for own in found for n in own.frames} - self.skipped.keys())

    @property
    def far_out(self) -> bool:
        """Whether something that is predicted lies so far outside that it means nothing."""
        return bool(self.survey.far - self.skipped.keys()) or any(one.far for one in self.mean)

    @property
    def warnings(self) -> list[str]:
        """Say in which way frames or film are not."""
        lines = self.survey.warnings(self.skipped)
        if not self.drift.found:
            lines.append(
                "the frames show nothing in common to align; the drift is taken as 0 in all"
            )
        return lines + [f"the mean of the film: {one.text}" for one in self.mean]

    @property
    def shifts(self) -> NDArray[np.float64]:
        """Drift, (frame, (y, x)) [Å]."""
        return np.stack([self.drift.y, self.drift.x], axis=1)


def prepare(job: FilmJob, staging: FilmStaging) -> Found:
    """Look at all frames, align them and average them, before the net runs.

    Parameters
    ----------
    job : FilmJob
    staging : FilmStaging
        Gets `reference.npy` of a film.

    Returns
    -------
    Found

    Raises
    ------
    DomainError
        If the film lies far outside of what the net has seen, without `force`.
    ImageError
        If no frame can be read.
    """
    survey = _surveyed(job, staging)
    if not job.force:
        survey.refuse(job.film.source, is_film=job.is_film)
    skipped = survey.skipped(force=job.force)
    drift = _aligned(job, staging, survey, skipped)
    mean = []
    if job.is_film and len(job.film) > 1:
        mean = _averaged(job, staging, skipped, drift)
    elif job.is_film:
        (_, image), *_ = frames_of(job.film)
        staging.write_array(REFERENCE, np.asarray(image, dtype=np.float32))
    return Found(survey, skipped, drift, mean)


def _surveyed(job: FilmJob, staging: FilmStaging) -> Survey:
    file = staging.file(_SURVEY)
    if file.is_file():
        return Survey.from_json(file.read_text(encoding="utf-8"))
    n = len(job.film)
    survey = survey_film(
        job.film,
        job.sampling,
        job.reader.model.config.domain,
        each_lattice=not job.is_film or n == 1,
        on_progress=lambda done, total: job.tell("frames checked", done, total, 0),
    )
    staging.write_text(_SURVEY, survey.to_json())
    return survey


def _aligned(job: FilmJob, staging: FilmStaging, survey: Survey, skipped: dict[int, str]) -> Drift:
    n = len(job.film)
    if not job.is_film or n == 1:
        return Drift.none(n)
    file = staging.file(_DRIFT)
    if not file.is_file():

        def frames() -> Iterator[Frame]:
            for number, image in usable(job, skipped):
                dose = survey.dose[number]
                assert dose is not None  # those without are skipped
                yield number, image, dose

        drift = estimate_drift(
            frames,
            n,
            job.film.shape,
            job.sampling,
            lambda done, total: job.tell("frames aligned", done, total, 0),
        )
        rows = [drift.y, drift.x, drift.error, drift.used, np.full(n, drift.found)]
        staging.write_array(_DRIFT, np.stack([np.asarray(row, dtype=float) for row in rows]))
    y, x, error, used, found = np.load(file)
    return Drift(y, x, error, used > 0, bool(found[0]))


def _averaged(
    job: FilmJob, staging: FilmStaging, skipped: dict[int, str], drift: Drift
) -> list[Departure]:
    """Write the means of the film and of its parts; list how the first departs from a crystal."""
    if not staging.file(REFERENCE).is_file():
        whole = Mean(job.film.shape, job.sampling)
        parts = job.parts()
        for number, frames in enumerate(parts):
            one = Mean(job.film.shape, job.sampling)
            for frame, image in usable(job, skipped, frames):
                one.add(image, float(drift.y[frame]), float(drift.x[frame]))
                job.tell("frames summed", frame + 1, len(job.film), 0)
            whole.join(one)
            if len(parts) > 1:
                staging.write_array(mean_of_part(number), one.image())
        staging.write_array(REFERENCE, whole.image())
    mean = np.load(staging.file(REFERENCE))
    domain = job.reader.model.config.domain
    own = [
        one
        for one in departures(mean, job.sampling, apparent_dose(mean, job.sampling), domain)
        if one.kind == "reflections"
    ]
    if any(one.far for one in own) and not job.force:
        refuse_far(job.film.source, [one.text for one in own])
    return own


def mean_of_part(number: int) -> str:
    """Name the file of the mean of a part of the film."""
    return f"part-{number:05d}.npy"


def usable(
    job: FilmJob, skipped: dict[int, str], chunk: range | None = None
) -> Iterator[tuple[int, Image]]:
    """Read the frames that are predicted."""
    start, stop = (chunk.start, chunk.stop) if chunk else (0, len(job.film))
    return (own for own in frames_of(job.film, start, stop) if own[0] not in skipped)
