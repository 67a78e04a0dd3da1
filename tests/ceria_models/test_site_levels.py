"""Levels are unbiased, as sharp as counted electrons allow, and stay with their column."""

import numpy as np
import pandas as pd
import pytest

from ceria_models.atom_images import learn_atom_images
from ceria_models.evidence import level_spread
from ceria_models.film_levels import distinct, film_levels
from ceria_models.frame_reading import FrameReading
from ceria_models.resampling import Resampled
from ceria_models.site_levels import level_reader

SAMPLING, SHAPE = 0.2, (100, 120)
HEIGHTS, WIDTHS = {"Ce": 0.25, "O": 0.12}, {"Ce": 0.45, "O": 0.35}
ELECTRONS = 12.0


def sheet():
    """Ce and O columns in turn, 1.9 Å apart: their images overlap."""
    rows, columns = (v.ravel() for v in np.mgrid[:8, :10])
    at = np.stack([2.5 + 1.9 * rows, 2.5 + 1.9 * columns], axis=1)
    cerium = (rows + columns) % 2 == 0
    places = {"Ce": at[cerium], "O": at[~cerium]}
    rng = np.random.default_rng(3)
    return places, {s: rng.integers(1, 6, len(own)).astype(float) for s, own in places.items()}


def atom(species, place):
    y, x = SAMPLING * np.mgrid[: SHAPE[0], : SHAPE[1]]
    square = (y - place[0]) ** 2 + (x - place[1]) ** 2
    return HEIGHTS[species] * np.exp(-square / (2 * WIDTHS[species] ** 2))


def image_of(places, counts, drift=(0.0, 0.0), loss=0.0):
    image = np.ones(SHAPE)
    for species, own in places.items():
        for place, n in zip(own + np.array(drift), counts[species], strict=True):
            image += (n - loss * n**2) * atom(species, place)
    return image


@pytest.fixture(scope="module")
def known():
    places, counts = sheet()
    mean = image_of(places, counts)
    images = learn_atom_images(mean, SAMPLING, places, counts)
    return places, counts, mean, level_reader(SHAPE, SAMPLING, images, places, counts)


def together(values):
    return np.concatenate([values["Ce"], values["O"]])


def test_levels_are_unbiased_and_reach_the_cramer_rao_bound(known):
    """The Fisher information is made here from the true images of the atoms."""
    places, counts, mean, reader = known
    rng = np.random.default_rng(0)
    electrons = ELECTRONS * mean / mean.mean()
    levels = np.stack([reader.read(rng.poisson(electrons), (0.0, 0.0)) for _ in range(400)])
    atoms = np.stack([
        atom(species, place).ravel() for species, own in places.items() for place in own
    ])  # fmt: skip
    scale = ELECTRONS / mean.mean()
    fisher = (atoms * scale**2 / electrons.ravel()) @ atoms.T
    # Frames are divided by their own mean: one more unknown, the dose.
    dose = (atoms * scale / electrons.ravel()) @ electrons.ravel()
    whole = np.block([[fisher, dose[:, None]], [dose[None], np.array([[electrons.sum()]])]])
    bound = np.sqrt(np.diag(np.linalg.inv(whole)))[:-1]
    spread = levels.std(axis=0)
    assert np.median(spread / bound) == pytest.approx(1.0, abs=0.04)
    assert (spread / bound).max() < 1.25
    # A Gaussian is cut at the reach: it costs a hundredth of an atom.
    error = levels.mean(axis=0) - together(counts)
    assert np.abs(error / (spread / 20)).max() < 4.5
    expected = reader.spread / np.sqrt(ELECTRONS)
    assert np.median(expected / spread) == pytest.approx(1.0, abs=0.06)


def test_a_lost_atom_shows_in_its_column_only(known):
    places, counts, _, reader = known
    less = {"Ce": counts["Ce"].copy(), "O": counts["O"].copy()}
    less["O"][17] -= 1
    change = reader.read(image_of(places, less), (0.0, 0.0)) - together(counts)
    lost = len(places["Ce"]) + 17
    assert change[lost] == pytest.approx(-1.0, abs=0.03)
    assert np.abs(np.delete(change, lost)).max() < 0.03


@pytest.mark.parametrize("drift", [(0.07, -0.11), (0.9, -1.3)])
def test_drift_changes_no_level(known, drift):
    places, counts, _, reader = known
    level = reader.read(image_of(places, counts, drift), drift)
    shown = np.isfinite(level)
    assert shown.mean() > 0.6
    # Without the drift the same columns are wrong by an atom and more.
    np.testing.assert_allclose(level[shown], together(counts)[shown], atol=0.1)
    wrong = reader.read(image_of(places, counts, drift), (0.0, 0.0))
    assert np.nanmax(np.abs(wrong - together(counts))) > 0.15


def test_atoms_of_thick_columns_weigh_less():
    """A column of n atoms is as bright as n - n²/20; the image of its last atom is the rest."""
    places, counts = sheet()
    mean = image_of(places, counts, loss=0.05)
    images = learn_atom_images(mean, SAMPLING, places, counts)
    for n in (1.0, 3.0, 5.0):
        found = images.atom("Ce", np.full(1, n), np.zeros(1))[0] * mean.mean()
        assert found == pytest.approx(HEIGHTS["Ce"] * (1 - 0.05 * (2 * n - 1)), rel=0.06)


def test_what_cannot_be_read_has_no_level(known):
    places, counts, mean, reader = known
    assert np.isnan(reader.read(np.zeros(SHAPE), (0.0, 0.0))).all()
    gone = reader.read(mean, (0.0, -4.0))
    at = np.concatenate([places["Ce"], places["O"]])
    assert np.isnan(gone[at[:, 1] < 4.9]).all()
    assert np.isfinite(gone[at[:, 1] > 5.1]).all()
    few = {"Ce": places["Ce"], "O": places["O"][:4]}
    less = {"Ce": counts["Ce"], "O": counts["O"][:4]}
    images = learn_atom_images(image_of(few, less), SAMPLING, few, less)
    assert list(images.terms) == ["Ce"]
    only = level_reader(SHAPE, SAMPLING, images, few, less).read(image_of(few, less), (0.0, 0.0))
    assert np.isnan(only[-4:]).all()
    assert np.isfinite(only[:-4]).all()


def test_no_column_at_all_is_no_error():
    none = {"Ce": np.empty((0, 2)), "O": np.empty((0, 2))}
    images = learn_atom_images(
        np.ones(SHAPE), SAMPLING, none, {"Ce": np.empty(0), "O": np.empty(0)}
    )
    reader = level_reader(SHAPE, SAMPLING, images, none, {"Ce": np.empty(0), "O": np.empty(0)})
    assert reader.read(np.ones(SHAPE), (0.0, 0.0)).shape == (0,)


def test_two_sites_in_one_place_share_no_level(known):
    """A site that a part of the film put beside another one would take half of its atoms."""
    places, counts, mean, _ = known
    twice = np.concatenate([places["Ce"], places["Ce"][:1] + 0.7, places["O"]])
    species = ["Ce"] * (len(places["Ce"]) + 1) + ["O"] * len(places["O"])
    sites = pd.DataFrame({"site": np.arange(len(twice)), "species": species})
    sites["y_A"], sites["x_A"] = twice.T
    n = np.concatenate([counts["Ce"], [0.0], counts["O"]])
    p = np.eye(7)[n.astype(int)]
    cerium = np.array(species) == "Ce"
    reading = FrameReading(pd.DataFrame(), {"Ce": p[cerium], "O": p[~cerium]}, {}, {})
    levels = film_levels(Resampled(mean, SAMPLING, (0.0, 0.0)), sites, reading, len(sites))
    level = levels.of_frame(Resampled(mean, SAMPLING, (0.0, 0.0)), (0.0, 0.0))
    extra = len(places["Ce"])
    assert np.isnan(level[extra])
    np.testing.assert_allclose(np.delete(level, extra), np.delete(n, extra), atol=0.05)
    told = levels.told(sites)
    assert np.isnan(told["level_spread"][extra])
    assert told["p_0"][extra] == 1.0


def test_distinct_sites_are_the_fullest():
    at = np.array([[0.0, 0.0], [0.5, 0.0], [1.3, 0.0], [5.0, 5.0]])
    species = np.array(["O", "Ce", "Ce", "O"])
    assert distinct(at, species, np.array([3.0, 1.0, 2.0, 0.0])).tolist() == [
        True, False, True, True,
    ]  # fmt: skip


def test_spread_does_not_feel_changes_and_leans_on_the_expected_one_in_short_films():
    rng = np.random.default_rng(1)
    expected = np.linspace(0.5, 2.0, 40)
    long = rng.normal(size=(40, 4000)) * 0.3 * expected[:, None]
    long[:, 2000:] += 1
    np.testing.assert_allclose(level_spread(long, expected), 0.3 * expected, rtol=0.06)
    short = rng.normal(size=(40, 20)) * 0.3 * expected[:, None]
    alone = level_spread(short, np.full(40, np.nan)) / (0.3 * expected)
    mixed = level_spread(short, expected) / (0.3 * expected)
    assert alone.std() > 2 * mixed.std()
    assert mixed.mean() == pytest.approx(1.0, abs=0.1)


def test_frames_of_a_running_sum_count_once():
    rng = np.random.default_rng(2)
    white = rng.normal(size=(30, 4003))
    running = np.stack([white[:, i : 4000 + i] for i in range(4)]).mean(axis=0)
    spread = level_spread(running, np.full(30, np.nan), overlap=4)
    # One frame has the deviation 1/2; four of the same electrons are to weigh as one.
    np.testing.assert_allclose(spread, 1.0, rtol=0.1)
    assert (level_spread(running, np.full(30, np.nan)) < 0.5).all()


def test_sites_that_are_hardly_read_have_no_spread():
    level = np.full((3, 100), np.nan)
    level[0], level[1, :30] = 1.0, 1.0
    spread = level_spread(level, np.full(3, np.nan))
    assert spread[0] == pytest.approx(0.01)
    assert np.isnan(spread[1:]).all()
