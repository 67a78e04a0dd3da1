"""Scores of films made by hand, whose answer is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ceria_models.column_scoring import (
    calibration_error,
    calibration_error_by_chance,
    lasting_vacancies_seen,
    score_columns,
    vacancy_readings,
)
from ceria_models.film_truth import FilmTruth, reading_cube

FRAMES, STEP = 101, 0.1
PLACES = np.array([[5.0, 5.0], [8.8, 5.0], [12.6, 5.0], [5.0, 8.8]])
CLASSES = 5


def film(changes=(), species="O"):
    """Four columns of three atoms for ten seconds; (column, from s, to s, atoms) are changes."""
    counts = np.full((4, FRAMES), 3)
    for column, start, stop, atoms in changes:
        counts[column, round(start / STEP) : round(stop / STEP)] = atoms
    return FilmTruth(
        species=np.array([species] * 4, object), places=PLACES, counts=counts,
        sites=np.full(4, 3), in_field=np.ones(4, bool), events=pd.DataFrame(),
        seconds=(FRAMES - 1) * STEP,
    )  # fmt: skip


def sites_at(places, species="O"):
    places = np.asarray(places)
    return pd.DataFrame({"site": range(len(places)), "species": species, "x_A": places[:, 0],
                         "y_A": places[:, 1]})  # fmt: skip


def reader(counts, sure=0.9):
    """P of a reader who gives each count this probability and spreads the rest evenly."""
    p = np.full((*np.shape(counts), CLASSES), (1 - sure) / (CLASSES - 1))
    np.put_along_axis(p, np.asarray(counts)[..., None], sure, axis=-1)
    return p


SITES = sites_at(PLACES + 0.3)


def readings(truth, p, **changes):
    return vacancy_readings(truth, p, SITES, "O", **{"window_s": 0.5} | changes)


def test_a_vacancy_of_two_seconds_is_asked_for_and_one_of_half_a_second_is_not():
    truth = film([(1, 2.0, 4.0, 2), (2, 6.0, 6.5, 2)])
    found = readings(truth, reader(truth.counts))
    (only,) = found.lasting
    assert only == pytest.approx(np.full(20, 0.9 + 2 * 0.025))
    # Around each, half a second on both sides is neither; both vacancies are.
    assert len(found.quiet) == 4 * FRAMES - (20 + 10) - (5 + 10)
    assert found.quiet == pytest.approx(np.full(len(found.quiet), 3 * 0.025))
    assert lasting_vacancies_seen([found]) == (1, 1)
    assert len(readings(truth, reader(truth.counts), least_s=0.5).lasting) == 2


@pytest.mark.parametrize(("seconds", "number"), [(1.0, 1), (0.9, 0)])
def test_a_second_is_the_least(seconds, number):
    truth = film([(0, 3.0, 3.0 + seconds, 2)])
    assert len(readings(truth, reader(truth.counts)).lasting) == number


@pytest.mark.parametrize(("start", "stop", "near"), [(0.0, 3.0, 5), (8.0, 10.1, 5)])
def test_a_vacancy_may_begin_before_the_film_and_outlast_it(start, stop, near):
    truth = film([(0, start, stop, 1)])
    found = readings(truth, reader(truth.counts))
    assert [len(own) for own in found.lasting] == [round((stop - start) / STEP)]
    assert len(found.quiet) == 4 * FRAMES - len(found.lasting[0]) - near


def test_a_false_vacancy_counts_once_for_each_frame():
    truth = film([(1, 2.0, 4.0, 2)])
    said = truth.counts.copy()
    said[3, 50] = 2
    found = readings(truth, reader(said))
    assert (found.quiet > 0.5).sum() == 1
    # Nothing may be false: the threshold is at the false one, which the vacancy does not exceed.
    assert lasting_vacancies_seen([found]) == (0, 1)
    assert lasting_vacancies_seen([found], false_share=1.5 / len(found.quiet)) == (1, 1)
    # Films share the threshold: a long quiet one makes room for one false reading.
    calm = readings(film(), reader(np.full((4, FRAMES), 3)))
    assert lasting_vacancies_seen([found] + 30 * [calm]) == (1, 1)


def test_a_column_misread_throughout_uses_up_the_false_ones():
    truth = film([(1, 2.0, 4.0, 2)])
    said = truth.counts.copy()
    said[3] = 2
    found = readings(truth, reader(said))
    assert (found.quiet > 0.5).sum() == FRAMES
    calm = readings(film(), reader(np.full((4, FRAMES), 3)))
    assert lasting_vacancies_seen([found] + 30 * [calm]) == (0, 1)


def test_a_vacancy_has_to_be_seen_in_half_of_its_frames():
    truth = film([(1, 2.0, 4.0, 2)])
    said = truth.counts.copy()
    said[1, 20:30] = 3
    assert lasting_vacancies_seen([readings(truth, reader(said))]) == (1, 1)
    said[1, 30] = 3
    assert lasting_vacancies_seen([readings(truth, reader(said))]) == (0, 1)


def test_a_vacancy_of_a_column_that_was_not_found_is_not_seen():
    truth = film([(1, 2.0, 4.0, 2)])
    others = np.delete(np.arange(4), 1)
    found = vacancy_readings(
        truth, reader(truth.counts[others]), sites_at(PLACES[others]), "O", window_s=0.5
    )
    assert found.lasting[0].tolist() == [0.0] * 20
    assert lasting_vacancies_seen([found]) == (0, 1)


def test_nothing_was_found_or_nothing_is_there():
    truth = film([(1, 2.0, 4.0, 2)])
    none = vacancy_readings(truth, np.zeros((0, FRAMES, CLASSES)), SITES[:0], "O", window_s=0.5)
    assert (none.quiet.max(), lasting_vacancies_seen([none])) == (0.0, (0, 1))
    cerium = vacancy_readings(truth, reader(truth.counts), SITES, "Ce", window_s=0.2)
    assert (len(cerium.quiet), lasting_vacancies_seen([cerium])) == (0, (0, 0))
    assert lasting_vacancies_seen([]) == (0, 0)


def test_an_adatom_is_no_site_and_a_frame_no_film():
    truth = film([(0, 0.0, 10.1, 1)])
    adatom = replace(truth, sites=np.array([0, 3, 3, 3]))
    found = readings(adatom, reader(truth.counts))
    assert (found.lasting, len(found.quiet)) == ((), 3 * FRAMES)
    single = replace(truth, counts=truth.counts[:, :1], seconds=0.0)
    found = readings(single, reader(single.counts))
    assert (found.lasting, len(found.quiet)) == ((), 3)


def test_counts_that_are_right_wrong_and_missed():
    truth = film([(0, 0.0, 10.1, 0)])
    said = truth.counts.copy()
    said[1, :10] = 4
    said[2, 90:] = 2
    score = score_columns(truth, reader(said), SITES, "O")
    assert (score.n, score.right, score.missed) == (3 * FRAMES, 3 * FRAMES - 10 - 11, 0)
    assert (score.false_sites, score.frames) == (0, FRAMES)
    number, confidence, right = score.bins.sum(0)[:, 9]
    assert (number, right) == (4 * FRAMES, 4 * FRAMES - 21)
    assert confidence == pytest.approx(0.9 * 4 * FRAMES)


def test_every_column_has_bins_of_its_own():
    truth = film()
    said = truth.counts.copy()
    said[2] = 2
    bins = score_columns(truth, reader(said), SITES, "O").bins
    assert bins.shape == (4, 3, 10)
    assert bins[:, 0, 9].tolist() == [FRAMES] * 4
    assert bins[:, 2, 9].tolist() == [FRAMES, FRAMES, 0, FRAMES]


def test_calibration_error_weighs_bins_by_their_frames():
    bins = np.zeros((2, 3, 10))
    bins[0, :, 9] = 30, 28.5, 30
    bins[1, :, 5] = 10, 5.5, 2
    assert calibration_error(bins) == pytest.approx((1.5 + 3.5) / 40)
    assert np.isnan(calibration_error(bins[:0]))


def test_chance_leaves_a_calibration_error_that_falls_with_columns_not_with_frames():
    def of(columns, frames):
        bins = np.zeros((columns, 3, 10))
        bins[:, :, 8] = frames, 0.85 * frames, 0
        return calibration_error_by_chance(bins)

    # The mean of columns that are right or wrong: its spread is known.
    spread = (0.85 * 0.15 / 400) ** 0.5
    median, rarely = of(400, 1)
    assert median == pytest.approx(0.674 * spread, rel=0.15)
    assert rarely == pytest.approx(1.96 * spread, rel=0.15)
    assert of(400, 100) == pytest.approx((median, rarely))
    assert of(100, 100)[1] == pytest.approx(2 * rarely, rel=0.2)
    assert np.isnan(of(0, 1)).all()


def test_a_column_of_two_confidences_is_right_first_where_it_is_surer():
    bins = np.zeros((1, 3, 10))
    bins[0, :, 9] = 10, 9.99, 0
    bins[0, :, 0] = 10, 0.01, 0
    assert calibration_error_by_chance(bins, draws=50)[0] == pytest.approx(0.001, abs=2e-4)


def test_one_number_decides_about_a_column_in_all_its_bins():
    """With 0.65 it is below all four confidences; four numbers would all be with 0.39 only."""
    bins = np.zeros((1, 3, 10))
    bins[0, 0, 6:] = 1
    bins[0, 1, 6:] = 0.65, 0.75, 0.85, 0.95
    assert calibration_error_by_chance(bins)[0] == pytest.approx(0.2)


def test_a_column_that_was_not_found_is_wrong_whatever_is_read_beside_it():
    truth = film()
    score = score_columns(truth, reader(truth.counts[:3]), SITES[:3], "O")
    assert (score.n, score.right, score.missed) == (4 * FRAMES, 3 * FRAMES, FRAMES)
    assert score.bins[:, 0].sum() == 3 * FRAMES
    assert len(score.bins) == 3


def test_a_column_misread_throughout_is_wrong_in_every_frame():
    truth = film()
    said = truth.counts.copy()
    said[2] = 2
    assert score_columns(truth, reader(said), SITES, "O").right == 3 * FRAMES


def test_frames_without_a_reading_are_wrong_and_have_no_confidence():
    truth = film()
    p = reader(truth.counts)
    p[1, 7] = np.nan
    score = score_columns(truth, p, SITES, "O")
    assert score.right == score.n - 1 == score.bins[:, 0].sum()


def test_more_than_the_highest_class_is_that_class():
    truth = film([(0, 0.0, 10.1, 9)])
    said = np.minimum(truth.counts, CLASSES - 1)
    assert score_columns(truth, reader(said), SITES, "O").right == 4 * FRAMES


def test_false_sites_say_atoms_where_no_column_is():
    truth = film()
    here = sites_at([*PLACES, (20.0, 20.0), PLACES[0] + 0.8, PLACES[1] + 2.0])
    said = np.concatenate([truth.counts, np.full((3, FRAMES), 1)])
    said[4, 3:] = 0  # atoms in three frames only
    score = score_columns(truth, reader(said), here, "O")
    # The second site at a column is false too; the fourth was told in no frame but three.
    assert score.false_sites == 3 + FRAMES + FRAMES
    assert score.right == 4 * FRAMES


def test_a_column_at_the_edge_is_neither_asked_for_nor_false():
    truth = replace(film(), in_field=np.array([True, True, False, True]))
    score = score_columns(truth, reader(truth.counts), SITES, "O")
    assert (score.n, score.right, score.false_sites) == (3 * FRAMES, 3 * FRAMES, 0)


def test_a_cube_has_nothing_where_nothing_was_read():
    table = pd.DataFrame({"frame": [0, 2], "site": [1, 0], "p_0": [0.2, 1.0], "p_1": [0.8, 0.0]})
    p = reading_cube(table, 2, 3)
    assert p[1, 0].tolist() == pytest.approx([0.2, 0.8])
    assert p[0, 2].tolist() == [1.0, 0.0]
    assert np.isnan(p).sum() == 2 * 4
