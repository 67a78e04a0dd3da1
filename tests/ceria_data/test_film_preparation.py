"""Films made of films: exact sums, scaled facts, and lazily."""

import numpy as np
import pytest

from ceria_data.dataset import open_dataset
from ceria_data.errors import FilmError
from ceria_data.film import Film, film_of_array, selected
from ceria_data.film_pixels import bad_pixels, repaired
from ceria_data.film_preparation import (
    binned,
    cropped,
    dark_frames,
    flat_fielded,
    running,
    summed,
    without_dark,
    without_offset,
)

FRAMES = np.random.default_rng(0).integers(0, 60000, (20, 9, 12)).astype(np.uint16)


def film(frames=FRAMES):
    return Film(
        "test",
        frames.shape[1:],
        len(frames),
        lambda start, stop: frames[start:stop],
        sampling=0.1,
        frame_time_s=0.05,
        dose_e_per_A2=30.0,
        samples=tuple(range(100, 100 + len(frames))),
    )


def facts(one):
    return one.sampling, one.frame_time_s, one.dose_e_per_A2


def test_binning_sums_areas():
    one = binned(film(), 3)
    assert (one.shape, len(one)) == ((3, 4), 20)
    assert facts(one) == (pytest.approx(0.3), 0.05, 30.0)
    expected = FRAMES[2, 3:6, 9:12].astype(int).sum()
    assert one.frames(2, 3)[0, 1, 3] == expected


def test_sums_of_frames():
    one = summed(film(), 6)
    assert len(one) == 3
    assert facts(one) == (0.1, pytest.approx(0.3), pytest.approx(180.0))
    np.testing.assert_array_equal(one.frames(1, 3)[0], FRAMES[6:12].astype(int).sum(0))
    assert "last 2 frames" in one.notes[0]


def test_running_sums():
    one = running(film(), 5)
    assert len(one) == 16
    assert facts(one) == (0.1, 0.05, pytest.approx(150.0))
    for i, frame in enumerate(one.frames(3, 16), start=3):
        np.testing.assert_array_equal(frame, FRAMES[i : i + 5].astype(int).sum(0))


def test_frames_are_chosen():
    one = selected(film(), 4, 15, 5)
    assert (len(one), one.samples) == (3, (104, 109, 114))
    assert one.frame_time_s == pytest.approx(0.25)
    np.testing.assert_array_equal(one.frames(1, 3), FRAMES[[9, 14]])
    with pytest.raises(FilmError, match="no frame is left"):
        selected(film(), 20)


def test_cutting():
    one = cropped(film(), (2, 8), (1, 5))
    np.testing.assert_array_equal(one.frames(0, 2), FRAMES[:2, 2:8, 1:5])
    assert "(2, 1)" in one.notes[0]


def test_references():
    rng = np.random.default_rng(1)
    light = rng.poisson(50.0, (4, 9, 12)).astype(float)
    gain, dark = rng.uniform(0.5, 1.5, (9, 12)), rng.uniform(90, 110, (9, 12))
    recorded = film_of_array(light * gain / gain.mean() + dark)
    one = flat_fielded(without_dark(recorded, dark), 7 * gain)
    np.testing.assert_allclose(one.frames(0, 4), light, rtol=1e-5)
    np.testing.assert_allclose(
        without_offset(film(), 100, 10).frames(0, 1), (FRAMES[:1] - 100.0) / 10
    )
    with pytest.raises(FilmError, match="shape"):
        flat_fielded(film(), gain[:5])
    gain[0, 0] = 0
    assert np.isfinite(flat_fielded(film(), gain).frames(0, 1)).all()


def test_unsigned_counts_below_the_offset_do_not_wrap():
    assert without_offset(film_of_array(np.zeros((2, 2), np.uint16)), 5).frames(0, 1).max() == -5


@pytest.mark.parametrize(
    "make",
    [
        lambda one: binned(one, 10),
        lambda one: binned(one, 0),
        lambda one: summed(one, 21),
        lambda one: running(one, 0),
        lambda one: cropped(one, (3, 3), (0, 4)),
        lambda one: cropped(one, (0, 10), (0, 4)),
        lambda one: without_offset(one, 0, 0),
        lambda one: repaired(one, np.ones((9, 12), bool)),
    ],
)
def test_what_cannot_be_made_is_refused(make):
    with pytest.raises(FilmError, match="expected"):
        make(film())


def test_films_are_lazy():
    asked = []

    def read(start, stop):
        asked.append((start, stop))
        return FRAMES[start:stop]

    one = Film("test", FRAMES.shape[1:], len(FRAMES), read)
    mask = np.zeros(one.shape, bool)
    mask[0, 0] = True
    last = cropped(summed(binned(without_offset(repaired(one, mask), 3), 2), 4), (0, 2), (0, 2))
    assert asked == []
    assert last.frames(2, 3).shape == (1, 2, 2)
    assert asked == [(8, 12)]


def particle(dose, n, row=5):
    """Frames of a particle that stands still."""
    light = open_dataset("ceria-columns-mini", "test")[row].intensity.astype(float)
    return np.random.default_rng(2).poisson(light * dose * 0.04, (n, *light.shape))


@pytest.mark.parametrize("row", [5, 51, 85])
@pytest.mark.parametrize(("dose", "n"), [(3, 20), (30, 1), (300, 20), (3000, 200)])
def test_atoms_are_no_hot_pixels(dose, n, row):
    assert bad_pixels(film_of_array(particle(dose, n, row))).sum() == 0


def test_bad_pixels_are_found_and_repaired():
    frames = particle(100, 60).astype(np.uint16)
    truth = np.zeros(frames.shape[1:], bool)
    spoiled = frames.copy()
    for y, x in ((3, 4), (3, 5), (60, 70), (127, 127)):
        spoiled[:, y, x] += np.random.default_rng(y).poisson(40, len(frames)).astype(np.uint16)
        truth[y, x] = True
    for y, x in ((20, 90), (100, 0)):
        spoiled[:, y, x] = 0
        truth[y, x] = True
    spoiled[:, 50, 50] = 4  # stuck at the mean
    truth[50, 50] = True
    one = film_of_array(spoiled)
    mask = bad_pixels(one)
    np.testing.assert_array_equal(mask, truth)
    better = repaired(one, mask)
    np.testing.assert_array_equal(better.frames(0, 60)[:, ~truth], frames[:, ~truth])
    assert abs(better.frames(0, 60)[:, truth].mean() / frames[:, truth].mean() - 1) < 0.3
    assert "7 bad pixels" in better.notes[0]


def test_a_broken_frame_hides_no_bad_pixel():
    frames = particle(100, 60).astype(np.float32)
    frames[:, 60, 70] += 200
    frames[30, 5, 5] = np.nan
    assert np.argwhere(bad_pixels(film_of_array(frames))).tolist() == [[60, 70]]


def test_dark_frames_are_named():
    frames = FRAMES.copy()
    frames[[0, 17]] = 5
    assert dark_frames(film_of_array(frames)) == [0, 17]
    assert dark_frames(film_of_array(np.zeros((3, 4, 4)))) == [0, 1, 2]
    assert not bad_pixels(film_of_array(np.zeros((3, 8, 8)))).any()
