from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from ceria_data.crystal import CERIUM, OXYGEN
from ceria_data.draw import draw_structure, structure_entries
from ceria_data.dynamics import draw_history, finders, rates_of
from ceria_data.errors import ConfigError
from ceria_data.moves import NOWHERE, Surroundings
from ceria_data.randomness import sample_rng
from ceria_data.scene import set_scene, share
from ceria_data.sections import FilmSection
from ceria_data.simulate import cell_of, field_of
from tests.tiny import film_config

BUSY = FilmSection(
    frames=10,
    frame_time_s=0.1,
    cerium_migration_per_s=0.4,
    cerium_arrival_per_s=0.3,
    cerium_departure_per_s=0.05,
    oxygen_vacancy_creation_per_s=0.05,
    oxygen_vacancy_creation_per_e_A2=1e-5,
    oxygen_vacancy_filling_per_s=0.5,
    oxygen_vacancy_migration_per_s=0.5,
    tilt_per_s=2.0,
)
DOSE = 300.0


@pytest.fixture(scope="module")
def scene():
    return scene_of(film_config())


def scene_of(config):
    entry = structure_entries(config)[0]
    return set_scene(draw_structure(config, entry), field_of(config), cell_of(config), config.seed)


@pytest.fixture(scope="module")
def around(scene):
    return Surroundings(scene, share(scene, scene.present), "surface")


@pytest.fixture(scope="module")
def histories(scene):
    return [draw_history(scene, BUSY, DOSE, sample_rng(1, n, "dynamics")) for n in range(40)]


def hazards(history, around, kind, film=BUSY):
    """Integrated rate of one kind from the start to every event and to the end of the film."""
    rate = rates_of(film, DOSE)[kind]
    find = finders(around)
    edges = [0.0, *(event.time_s for event in history.events), film.duration_s]
    units = [find[kind](s.present).units if kind != "tilt" else 1.0 for s in history.states]
    steps = [rate * n * (b - a) for n, (a, b) in zip(units, pairwise(edges), strict=True)]
    return np.cumsum(steps)


@pytest.mark.parametrize("kind", rates_of(BUSY, DOSE))
def test_events_happen_at_their_rates(histories, around, kind):
    # Counts minus integrated rates are a martingale whose variance is the integrated rate.
    expected = sum(hazards(history, around, kind)[-1] for history in histories)
    found = sum(event.kind == kind for history in histories for event in history.events)
    assert expected > 40
    assert abs(found - expected) < 4 * expected**0.5


def test_waiting_times_are_exponential(histories, around):
    # On the clock of the integrated total rate events are a Poisson process of rate 1.
    waits = []
    for history in histories:
        clock = sum(hazards(history, around, kind) for kind in rates_of(BUSY, DOSE))
        waits += np.diff(clock[:-1], prepend=0.0).tolist()
    # The last wait of each film is cut, which favours short ones a little.
    assert stats.kstest(waits, "expon").pvalue > 1e-3


def test_the_number_of_tilts_is_poisson(scene):
    film = FilmSection(frames=20, frame_time_s=0.1, tilt_per_s=1.5)
    counts = [
        len(draw_history(scene, film, DOSE, sample_rng(2, n, "dynamics")).events)
        for n in range(400)
    ]
    assert np.mean(counts) == pytest.approx(3.0, abs=4 * (3 / 400) ** 0.5)
    assert np.var(counts) == pytest.approx(3.0, rel=0.3)


def test_every_event_moves_the_atoms_that_its_kind_says(histories, scene):
    species, crystal = scene.lattice.species, scene.filled
    seen = set()
    for history in histories:
        for (before, after), event in zip(pairwise(history.states), history.events, strict=True):
            lost = np.flatnonzero(before.present & ~after.present).tolist()
            gained = np.flatnonzero(~before.present & after.present).tolist()
            assert lost == [event.source] * (event.source != NOWHERE)
            assert gained == [event.target] * (event.target != NOWHERE)
            of = CERIUM if event.kind in ("migration", "arrival", "departure") else OXYGEN
            assert all(species[site] == of for site in lost + gained)
            assert (len(lost), len(gained)) == {
                "migration": (1, 1),
                "arrival": (0, 1),
                "departure": (1, 0),
                "vacancy_creation": (1, 0),
                "vacancy_filling": (0, 1),
                "vacancy_migration": (1, 1),
                "tilt": (0, 0),
            }[event.kind]
            if of == OXYGEN:
                assert crystal[lost + gained].all()
            seen.add(event.kind)
    assert seen == set(rates_of(BUSY, DOSE))


def test_atoms_stay_chemically_sane(histories, scene, around):
    """No O without a Ce, no Ce without an O, moved Ce beside three Ce of the crystal."""
    lattice = scene.lattice
    room = scene.parameters.thickness_atoms
    lonely_first = lonely(scene.present, around)
    for history in histories:
        for state, event in zip(history.states[1:], history.events, strict=True):
            present = state.present
            assert not (lonely(present, around) & ~lonely_first).any()
            if event.kind in ("migration", "arrival"):
                beside = around.cerium_around[event.target]
                held = beside[beside != NOWHERE]
                assert (present & scene.filled)[held].sum() >= 3
            if event.kind == "migration":
                step = lattice.sites[event.target] - lattice.sites[event.source]
                assert sorted(np.abs(step)) == [0, 2, 2]
                assert around.column[event.source] != around.column[event.target]
            cerium = present & (lattice.species == CERIUM)
            assert np.bincount(around.column[cerium]).max() <= room


def lonely(present, around):
    from ceria_data.crystal import count

    return present & (count(present, around.bonds) == 0)


def test_only_ends_of_columns_lose_and_gain_cerium(histories, around):
    for history in histories:
        for before, event in zip(history.states, history.events, strict=False):
            for site, sign in ((event.source, 0), (event.target, 1)):
                if event.kind not in ("migration", "arrival", "departure") or site == NOWHERE:
                    continue
                own = np.flatnonzero(before.present & (around.column == around.column[site]))
                depths = around.depth[own]
                if sign == 0:
                    assert around.depth[site] in (depths.min(), depths.max())
                elif len(depths):
                    assert not depths.min() < around.depth[site] < depths.max()


def test_no_cerium_falls_into_a_crystal():
    holes = {"kind": "cube", "thickness_atoms": 6, "cerium_vacancy_fraction": 0.2}
    scene = scene_of(film_config(structure=holes))
    around = Surroundings(scene, share(scene, scene.present), "surface")
    targets = around.arrivals(scene.present).target
    assert len(targets)
    for site in targets:
        own = np.flatnonzero(scene.present & (around.column == around.column[site]))
        depths = around.depth[own]
        assert not len(own) or not depths.min() < around.depth[site] < depths.max()


def test_events_stay_in_the_field(histories, around):
    sites = {
        site for h in histories for e in h.events for site in (e.source, e.target) if site != -1
    }
    assert around.open[list(sites)].all()


def test_vacancies_are_made_at_the_surface_or_anywhere():
    scene = scene_of(film_config(structure={"kind": "cube", "thickness_atoms": 6, "aspect": 1.5}))
    shared = share(scene, scene.present)
    surface, anywhere = (
        Surroundings(scene, shared, where).vacancy_creations(scene.present)
        for where in ("surface", "any")
    )
    assert set(surface.source.tolist()) < set(anywhere.source.tolist())


def test_the_beam_makes_vacancies_in_proportion_to_the_dose():
    film = FilmSection(frame_time_s=0.05, oxygen_vacancy_creation_per_e_A2=2e-6)
    assert rates_of(film, 100.0) == {"vacancy_creation": pytest.approx(2e-6 * 100 / 0.05)}
    both = film.model_copy(update={"oxygen_vacancy_creation_per_s": 0.5})
    assert rates_of(both, 100.0)["vacancy_creation"] == pytest.approx(0.504)


def test_tilts_do_not_wander(scene):
    film = FilmSection(frames=1000, frame_time_s=0.1, tilt_per_s=2.0, tilt_step_deg=0.1)
    poses = [e.pose for e in draw_history(scene, film, DOSE, sample_rng(3, 0, "dynamics")).events]
    p = scene.parameters
    angles = np.radians([q.mistilt_azimuth_deg for q in poses])
    sizes = np.array([q.mistilt_deg for q in poses])
    first = np.radians(p.mistilt_azimuth_deg)
    for axis in (np.cos, np.sin):
        steps = sizes * axis(angles) - p.mistilt_deg * axis(first)
        assert steps.std() == pytest.approx(0.1, rel=0.2)
        assert np.abs(steps).max() <= 0.3 + 1e-9


def test_a_script_is_followed_in_the_order_of_its_times(scene):
    script = [
        {"kind": "vacancy_creation", "time_s": 0.5, "nth": 2},
        {"kind": "migration", "time_s": 0.1, "nth": 1},
        {"kind": "tilt", "time_s": 0.3},
    ]
    film = FilmSection.model_validate({"frames": 10, "frame_time_s": 0.1, "script": script})
    events = draw_history(scene, film, DOSE, sample_rng(0, 0, "dynamics")).events
    assert [(e.kind, e.time_s) for e in events] == [
        ("migration", 0.1),
        ("tilt", 0.3),
        ("vacancy_creation", 0.5),
    ]


def test_a_script_that_does_not_fit_is_refused(scene):
    script = [{"kind": "migration", "time_s": 0.0, "nth": 5000}]
    film = FilmSection.model_validate({"script": script})
    with pytest.raises(ConfigError, match=r"takes move 5000, and film number 0 has \d+ of them"):
        draw_history(scene, film, DOSE, sample_rng(0, 0, "dynamics"))


def test_rates_that_no_film_can_hold_are_refused(scene, monkeypatch):
    monkeypatch.setattr("ceria_data.dynamics.MOST_EVENTS", 20)
    film = FilmSection(frames=1000, tilt_per_s=1000.0)
    with pytest.raises(ConfigError, match=r"more than 20 events, the last at 0\.0"):
        draw_history(scene, film, DOSE, sample_rng(0, 0, "dynamics"))
