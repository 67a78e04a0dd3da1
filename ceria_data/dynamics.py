"""What happens to a particle in the time of a film: events, drawn at their rates or scripted.

Method: kinetic Monte Carlo in continuous time. Every unit that can make a move (an atom, a
vacancy, a free site) makes it at the rate of its kind, so the waiting time for the next event
is exponential with the sum of all rates, and the event is one of the possible ones in
proportion to their rates. Times have nine significant digits, which is what tables keep.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import atan2, cos, degrees, hypot, log1p, radians, sin

import numpy as np
from numpy.typing import NDArray

from ceria_data.distributions import round_to_9_digits
from ceria_data.errors import ConfigError
from ceria_data.moves import NOWHERE, Moves, Surroundings
from ceria_data.parameters import StructureParameters
from ceria_data.scene import Scene, share
from ceria_data.sections import FilmSection

Bools = NDArray[np.bool_]

MOST_EVENTS = 5_000
"""Each event of a film is a structure with exit waves of its own."""
TILT = "tilt"
_TILT_CUT = 3.0
"""Steps of tilt are cut at this many standard deviations."""


@dataclass(frozen=True)
class Event:
    """One event of a film.

    Attributes
    ----------
    time_s : float
        From the start of the first exposure.
    kind : str
    source, target : int
        Sites of the scene's lattice that an atom leaves and comes to; -1 = none.
    pose : StructureParameters, optional
        With the new mistilt, after a tilt.
    """

    time_s: float
    kind: str
    source: int = NOWHERE
    target: int = NOWHERE
    pose: StructureParameters | None = None


@dataclass(frozen=True)
class State:
    """One structure of a film.

    Attributes
    ----------
    present : array of bool, shape (site,)
        Sites that hold an atom.
    pose : StructureParameters
    """

    present: Bools
    pose: StructureParameters


@dataclass(frozen=True)
class History:
    """A particle over the time of a film.

    Attributes
    ----------
    scene : Scene
        With the first structure.
    events : tuple of Event
        By time; each makes the next structure.
    """

    scene: Scene
    events: tuple[Event, ...]

    @cached_property
    def states(self) -> tuple[State, ...]:
        """Every structure of the film, the first one before the first event."""
        states = [State(self.scene.present, self.scene.parameters)]
        for event in self.events:
            last = states[-1]
            states.append(State(_after(last.present, event), event.pose or last.pose))
        return tuple(states)

    @cached_property
    def visited(self) -> Bools:
        """Sites that hold an atom in one of the structures."""
        visited = self.scene.present.copy()
        visited[[event.target for event in self.events if event.target != NOWHERE]] = True
        return visited


def draw_history(
    scene: Scene, film: FilmSection, dose_e_per_A2: float, rng: np.random.Generator
) -> History:
    """Draw the events of a film, or follow its script.

    Parameters
    ----------
    scene : Scene
        The particle at the start.
    film : FilmSection
        Rates, or a script.
    dose_e_per_A2 : float
        Of one exposure: the beam creates vacancies in proportion to it.
    rng : numpy.random.Generator
        Generator of the stage ``dynamics``.

    Returns
    -------
    History

    Raises
    ------
    ConfigError
        If the script asks for something that the particle does not allow, or the rates
        give more than `MOST_EVENTS` events.

    References
    ----------
    .. [1] Gillespie, J. Phys. Chem. 81, 2340 (1977).
    """
    around = Surroundings(scene, share(scene, scene.present), film.oxygen_sites)
    if film.script:
        return History(scene, tuple(_scripted(scene, film, around, rng)))
    return History(scene, tuple(_drawn(scene, film, around, rates_of(film, dose_e_per_A2), rng)))


def rates_of(film: FilmSection, dose_e_per_A2: float) -> dict[str, float]:
    """List the rate of every kind of event that can happen.

    Parameters
    ----------
    film : FilmSection
    dose_e_per_A2 : float
        Of one exposure.

    Returns
    -------
    dict of str to float
        Events per second and unit; kinds that never happen are left out.

    Examples
    --------
    >>> rates_of(FilmSection(oxygen_vacancy_creation_per_e_A2=1e-6, frame_time_s=0.1), 300.0)
    {'vacancy_creation': 0.003}
    """
    by_beam = film.oxygen_vacancy_creation_per_e_A2 * dose_e_per_A2 / film.frame_time_s
    rates = {
        "migration": film.cerium_migration_per_s,
        "arrival": film.cerium_arrival_per_s,
        "departure": film.cerium_departure_per_s,
        "vacancy_creation": film.oxygen_vacancy_creation_per_s + by_beam,
        "vacancy_filling": film.oxygen_vacancy_filling_per_s,
        "vacancy_migration": film.oxygen_vacancy_migration_per_s,
        TILT: film.tilt_per_s,
    }
    return {kind: float(round_to_9_digits(rate)) for kind, rate in rates.items() if rate > 0}


def finders(around: Surroundings) -> Mapping[str, Callable[[Bools], Moves]]:
    """Name who finds the moves of each kind of event, but tilts."""
    return {
        "migration": around.migrations,
        "arrival": around.arrivals,
        "departure": around.departures,
        "vacancy_creation": around.vacancy_creations,
        "vacancy_filling": around.vacancy_fillings,
        "vacancy_migration": around.vacancy_migrations,
    }


def _drawn(
    scene: Scene,
    film: FilmSection,
    around: Surroundings,
    rates: Mapping[str, float],
    rng: np.random.Generator,
) -> Iterator[Event]:
    """Draw one event after the other until the film is over."""
    present, time, duration = scene.present, 0.0, film.duration_s
    find = finders(around)
    for number in range(MOST_EVENTS + 1):
        moves = {kind: find[kind](present) for kind in rates if kind != TILT}
        totals = [rates[kind] * (moves[kind].units if kind in moves else 1.0) for kind in rates]
        if not sum(totals):
            return
        time = float(round_to_9_digits(time - log1p(-rng.random()) / sum(totals)))
        if time >= duration:
            return
        if number == MOST_EVENTS:
            break
        kind = list(rates)[_pick(totals, rng)]
        event = (
            _tilted(scene, film, time, rng)
            if kind == TILT
            else _moved(kind, time, moves[kind], _pick(moves[kind].weight, rng))
        )
        yield event
        present = _after(present, event)
    raise ConfigError(
        f"film number {scene.parameters.number} has more than {MOST_EVENTS} events, the last at "
        f"{time:.3g} of {duration:.3g} s; each needs exit waves of its own: lower the rates of "
        "film, or frames"
    )


def _scripted(
    scene: Scene, film: FilmSection, around: Surroundings, rng: np.random.Generator
) -> Iterator[Event]:
    """Let the events of a script happen, in the order of their times."""
    present, find = scene.present, finders(around)
    for step in sorted(film.script, key=lambda step: step.time_s):
        if step.kind == TILT:
            event = _tilted(scene, film, step.time_s, rng)
        else:
            moves = find[step.kind](present)
            if step.nth >= len(moves.source):
                raise ConfigError(
                    f"film.script: the {step.kind} at {step.time_s:g} s takes move {step.nth}, and "
                    f"film number {scene.parameters.number} has {len(moves.source)} of them there "
                    "(counted from 0); expected a lower nth, or a particle that allows more"
                )
            event = _moved(step.kind, step.time_s, moves, step.nth)
        yield event
        present = _after(present, event)


def _moved(kind: str, time: float, moves: Moves, nth: int) -> Event:
    return Event(time, kind, int(moves.source[nth]), int(moves.target[nth]))


def _tilted(scene: Scene, film: FilmSection, time: float, rng: np.random.Generator) -> Event:
    """Turn the particle by a random step away from the pose it was drawn in."""
    p = scene.parameters
    azimuth = radians(p.mistilt_azimuth_deg)
    step = np.clip(rng.standard_normal(2), -_TILT_CUT, _TILT_CUT) * film.tilt_step_deg
    x, y = p.mistilt_deg * cos(azimuth) + step[0], p.mistilt_deg * sin(azimuth) + step[1]
    pose = replace(
        p,
        mistilt_deg=float(f"{hypot(x, y):.9g}"),
        mistilt_azimuth_deg=float(f"{degrees(atan2(y, x)) % 360.0:.9g}"),
    )
    return Event(time, TILT, pose=pose)


def _after(present: Bools, event: Event) -> Bools:
    """Take the atom from where it was to where it goes."""
    after = present.copy()
    if event.source != NOWHERE:
        after[event.source] = False
    if event.target != NOWHERE:
        after[event.target] = True
    return after


def _pick(weights: "list[float] | NDArray[np.float64]", rng: np.random.Generator) -> int:
    """Choose one of several in proportion to their weights."""
    total = np.cumsum(weights)
    return min(int(np.searchsorted(total, rng.random() * total[-1], side="right")), len(total) - 1)
