"""A first look at every frame: whether it can be read, and is of the kind the net has seen."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from ceria_data.film import Film
from ceria_models.contrast import apparent_dose
from ceria_models.domain import departures
from ceria_models.errors import DomainError, ImageError
from ceria_models.film_frames import frames_of
from ceria_models.model import DomainFacts
from ceria_models.prediction import trouble_of

_FEW = 0.1
"""Share of a film's frames that may lie far outside and be skipped; of more, the film does."""
_NAMED = 20
"""Frames that a message names, at most."""


@dataclass
class Finding:
    """One way in which frames differ from what a net has seen.

    Attributes
    ----------
    text : str
        Of the first of them.
    frames : list of int
    far : list of int
        Those of them that lie so far outside that a result means nothing.
    """

    text: str
    frames: list[int] = field(default_factory=list)
    far: list[int] = field(default_factory=list)


@dataclass
class Survey:
    """What a first look at the frames of a film shows.

    Attributes
    ----------
    dose : list of float or None
        Apparent dose of every frame [e-/Å²]; None where it cannot be read.
    mean : list of float or None
        In the units of the film.
    findings : dict of str to Finding
        By kind of departure.
    trouble : dict of int to str
        Frames that cannot be read, and why.
    """

    dose: list[float | None] = field(default_factory=list)
    mean: list[float | None] = field(default_factory=list)
    findings: dict[str, Finding] = field(default_factory=dict)
    trouble: dict[int, str] = field(default_factory=dict)

    @property
    def far(self) -> set[int]:
        """Frames that lie far outside."""
        return {frame for finding in self.findings.values() for frame in finding.far}

    def skipped(self, *, force: bool) -> dict[int, str]:
        """List frames that are not predicted, and why."""
        skipped = dict(self.trouble)
        for finding in () if force else self.findings.values():
            skipped |= dict.fromkeys(finding.far, finding.text)
        return dict(sorted(skipped.items()))

    def warnings(self, skipped: dict[int, str]) -> list[str]:
        """Say what was found, in one line for each kind."""
        n = len(self.dose)
        lines = [
            finding.text if n == 1 else f"in {_count(finding.frames, n)}: {finding.text}"
            for finding in self.findings.values()
        ]
        groups: dict[str, list[int]] = {}
        for frame, reason in skipped.items():
            groups.setdefault(re.sub(r"[\d.]+", "#", reason), []).append(frame)
        return lines + [
            f"skipped {_count(frames, n)}: {skipped[frames[0]]}" for frames in groups.values()
        ]

    def refuse(self, source: str, *, is_film: bool) -> None:
        """Refuse a film that lies far outside of what the net has seen.

        Raises
        ------
        DomainError
            If more than a tenth of the frames do, or an image that is not one of a film.
        """
        allowed = _FEW * len(self.dose) if is_film else 0
        if len(self.far) > allowed:
            refuse_far(source, [one.text for one in self.findings.values() if one.far])

    def to_json(self) -> str:
        """Write it as text."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        facts: dict[str, Any] = json.loads(text)
        return cls(
            facts["dose"],
            facts["mean"],
            {kind: Finding(**own) for kind, own in facts["findings"].items()},
            {int(frame): reason for frame, reason in facts["trouble"].items()},
        )


def survey_film(
    film: Film,
    sampling: float,
    domain: DomainFacts,
    *,
    each_lattice: bool,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Survey:
    """Look at every frame of a film.

    Parameters
    ----------
    film : Film
    sampling : float
        Å/pixel.
    domain : DomainFacts
    each_lattice : bool
        Compare the reflections of every frame with those of the crystal; without, of none.
    on_progress : callable
        Told frames done and in all.

    Returns
    -------
    Survey

    Raises
    ------
    ImageError
        If no frame can be read.

    Examples
    --------
    >>> import numpy as np
    >>> from ceria_data.film import film_of_array
    >>> from ceria_models import DEFAULT, from_pretrained
    >>> frames = np.random.default_rng(0).poisson(12.0, (3, 64, 64))
    >>> frames[1] = 0
    >>> domain = from_pretrained(DEFAULT).config.domain
    >>> found = survey_film(film_of_array(frames), 0.2, domain, each_lattice=False)
    >>> found.trouble, found.dose[1]
    ({1: 'every pixel is 0; expected an image'}, None)
    """
    found = Survey()
    first = ""
    for number, image in frames_of(film):
        where = f"frame {number}"
        trouble = trouble_of(image, where)
        if trouble is None:
            try:
                dose = apparent_dose(image, sampling)
            except ImageError as error:
                trouble = str(error)
        if trouble is None:
            found.dose.append(dose)
            found.mean.append(float(image.mean(dtype=float)))
            for one in departures(image, sampling, dose, domain, lattice=each_lattice):
                finding = found.findings.setdefault(one.kind, Finding(one.text))
                finding.frames.append(number)
                if one.far:
                    finding.far.append(number)
        else:
            first = first or trouble
            found.trouble[number] = trouble.replace(f" of {where}", "").replace(where, "it")
            found.dose.append(None)
            found.mean.append(None)
        on_progress(number + 1, len(film))
    if len(found.trouble) == len(film):
        raise ImageError(first)
    return found


def refuse_far(source: str, reasons: list[str]) -> None:
    """Refuse what lies far outside of what a net has seen.

    Raises
    ------
    DomainError
    """
    shown = "; ".join(reasons[:3])
    end = "" if shown.endswith("?") else "."
    raise DomainError(f"{source}: {shown}{end} --force predicts all the same, and says so")


def _count(frames: list[int], n: int) -> str:
    """Say how many frames, and which where they are few."""
    named = ", ".join(str(frame) for frame in frames[:_NAMED])
    if len(frames) > _NAMED:
        named = f"first {frames[0]}, last {frames[-1]}"
    return f"{len(frames):,} of {n:,} frames ({named})" if len(frames) < n else f"all {n:,} frames"
