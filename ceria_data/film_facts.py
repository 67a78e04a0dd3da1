"""What a film says about itself: pixel size, dose and the answer of the camera, as measured."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ceria_data.calibration import SamplingEstimate, estimate_sampling
from ceria_data.errors import FilmError
from ceria_data.film import Film, shows_nothing
from ceria_data.noise import apparent_dose

_FRAMES = 32
"""That are read, evenly over the film."""
_COUNTING = 0.1
"""A camera whose gain differs from 1 by less counts electrons one by one."""


@dataclass(frozen=True)
class FilmFacts:
    """Facts of a film, and where each comes from.

    Attributes
    ----------
    sampling : float
        Å/pixel.
    sampling_from : str
        ``given``, ``file`` or ``measured``.
    check : SamplingEstimate or None
        What the reflections say; None if they say nothing.
    dose_e_per_A2 : float
        Of a frame.
    dose_from : str
        ``given``, ``file`` or ``measured``.
    measured_dose : float
        From the noise [e-/Å²]; infinite without noise.
    gain : float or None
        Units per electron as the noise tells, if the values are whole numbers.
    n_dark : int
        Dark frames among those that were read.
    n_read : int
    """

    sampling: float
    sampling_from: str
    check: SamplingEstimate | None
    dose_e_per_A2: float
    dose_from: str
    measured_dose: float
    gain: float | None
    n_dark: int
    n_read: int

    @property
    def doubted(self) -> bool:
        """The reflections speak against the pixel size."""
        return self.check is not None and self.check.doubts(self.sampling)

    @property
    def counting(self) -> bool:
        """The values are electrons that were counted one by one."""
        return self.gain is not None and abs(self.gain - 1) < _COUNTING


def film_facts(
    film: Film,
    sampling: float | None = None,
    dose: float | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> FilmFacts:
    """Measure what a config needs to know of a film.

    Parameters
    ----------
    film : Film
        Zero = no electrons.
    sampling : float, optional
        Pixel size [Å/pixel]; by default what the file says, else what the reflections say.
    dose : float, optional
        Of a frame [e-/Å²]; by default what the file says, else what the noise says.
    on_progress : callable
        Told frames done and in all.

    Returns
    -------
    FilmFacts

    Raises
    ------
    FilmError
        If the pixel size is not known and not clear from the reflections, or all frames are
        dark, or the dose is not known and there is no noise.
    ImageError
        If the mean of the frames is not positive.

    Examples
    --------
    >>> from ceria_data.film import open_film, selected
    >>> facts = film_facts(selected(open_film("ceria-columns-mini"), stop=4))
    >>> facts.sampling, facts.sampling_from, facts.doubted, facts.counting
    (0.2, 'file', False, True)
    """
    known = sampling if sampling is not None else film.sampling
    for name, value in (("pixel size", known), ("dose", dose)):
        if value is not None and not 0 < value < float("inf"):
            raise FilmError(f"the {name} is {value:g}; expected a positive number")
    check = _checked(film, known, on_progress)
    if known is None:
        assert check is not None
        known = check.sampling
    origin = "given" if sampling is not None else "measured" if film.sampling is None else "file"
    doses, gains, n_dark = _noise_of(film, known)
    measured = float(np.median(doses))
    chosen, dose_from = measured, "measured"
    if dose is not None:
        chosen, dose_from = dose, "given"
    elif film.dose_e_per_A2 is not None:
        chosen, dose_from = film.dose_e_per_A2, "file"
    if not np.isfinite(chosen):
        raise FilmError(
            f"the frames of {film.source} have no noise that would tell their dose; give it with "
            "--dose, in e-/Å² a frame"
        )
    return FilmFacts(
        sampling=known,
        sampling_from=origin,
        check=check,
        dose_e_per_A2=chosen,
        dose_from=dose_from,
        measured_dose=measured,
        gain=float(np.median(gains)) if gains else None,
        n_dark=n_dark,
        n_read=n_dark + len(doses),
    )


def _noise_of(film: Film, sampling: float) -> tuple[list[float], list[float], int]:
    """Measure doses, gains where values are whole numbers, and the number of dark frames."""
    rows = np.unique(np.linspace(0, len(film) - 1, min(len(film), _FRAMES)).round().astype(int))
    doses, gains, n_dark = [], [], 0
    for row in rows.tolist():
        frame = film.frames(row, row + 1)[0]
        if shows_nothing(frame):
            n_dark += 1
            continue
        doses.append(apparent_dose(frame, sampling))
        if frame.dtype.kind in "iu" or np.array_equal(frame, np.round(frame)):
            gains.append(float(frame.mean(dtype=np.float64)) / (doses[-1] * sampling**2))
    if not doses:
        raise FilmError(
            f"{film.source} has only frames whose pixels are all equal, or not finite numbers"
        )
    return doses, gains, n_dark


def _checked(
    film: Film, known: float | None, on_progress: Callable[[int, int], None]
) -> SamplingEstimate | None:
    """Ask the reflections; only without a pixel size they have to answer."""
    if known is None:
        return estimate_sampling(film, on_progress=on_progress)
    try:
        return estimate_sampling(film, given=known, on_progress=on_progress)
    except FilmError:
        return None
