"""Columns are matched one to one, nearest first, and what is not scored is marked."""

import numpy as np
import pandas as pd
import pytest

from ceria_data.grid import Field
from ceria_models.errors import TableError
from ceria_models.matching import REACH, match_columns

FIELD = Field((100, 120), 0.2)


def truth_of(places, species="Ce", **values):
    x, y = np.array(places, dtype=float).T
    facts = {
        "species": species, "x_A": x, "y_A": y, "z_mean_A": 0.0, "occupancy": 4,
        "n_vacancies": 0, "surface": "bulk", "ambiguous": False, "in_field": True,
    }  # fmt: skip
    return pd.DataFrame(facts | values)


def found_of(places, species="Ce", count=4):
    x, y = np.array(places, dtype=float).reshape(-1, 2).T
    return pd.DataFrame({"species": species, "x_A": x, "y_A": y, "occupancy": count})


def match(truth, found):
    return match_columns(truth, found, FIELD, 14)


def test_the_reach_ends_at_half_an_angstrom_in_any_direction():
    truth = truth_of([(5, 5), (10, 5), (15, 5)])
    found = found_of([(5 + 0.35, 5 + 0.35), (10, 5 + 0.501), (15 - 0.499, 5)])
    matches = match(truth, found)
    assert matches["count"].tolist() == [4, 0, 4, 4]
    assert matches["true_count"].tolist() == [4, 4, 4, 0]
    assert matches["dx_A"][2] == pytest.approx(-0.499)
    assert REACH == 0.5


def test_other_species_are_never_matched():
    matches = match(truth_of([(5, 5)]), found_of([(5, 5)], "O"))
    assert matches[["species", "true_count", "count"]].values.tolist() == [
        ["Ce", 4, 0],
        ["O", 0, 4],
    ]


def test_two_reports_of_one_column_are_one_hit_and_one_false_column():
    matches = match(truth_of([(5, 5)]), found_of([(5.3, 5), (5.1, 5)], count=[3, 4]))
    assert matches[["true_count", "count"]].values.tolist() == [[4, 4], [0, 3]]


def test_as_many_pairs_as_possible_come_before_short_distances():
    """Greedy matching would give the middle report to the nearer column and lose the other."""
    truth = truth_of([(5.0, 5), (5.6, 5)])
    found = found_of([(5.25, 5), (4.7, 5)])
    matches = match(truth, found)
    assert matches["found_row"].tolist() == [1, 0]


def test_matching_equals_trying_every_assignment():
    from itertools import permutations

    rng = np.random.default_rng(4)
    for _ in range(40):
        there, said = 5 + rng.random((4, 2)), 5 + rng.random((4, 2))
        distance = np.hypot(*(there[:, None] - said).transpose(2, 0, 1))
        best = min(
            (
                (-(near := distance[range(4), p] <= REACH).sum(), distance[range(4), p][near].sum())
                for p in permutations(range(4))
            ),
        )
        matches = match(truth_of(there), found_of(said))
        hit = matches[(matches["true_count"] > 0) & (matches["count"] > 0)]
        assert len(hit) == -best[0]
        assert np.hypot(hit["dx_A"], hit["dy_A"]).sum() == pytest.approx(best[1])


def test_an_emptied_column_is_none_and_one_beyond_the_edge_is_left_out():
    truth = truth_of([(5, 5), (-0.3, 5)], occupancy=[0, 4], in_field=[True, False])
    matches = match(truth, found_of([(5, 5), (-0.05, 5)]))
    assert matches[["true_count", "count"]].values.tolist() == [[0, 4]]


def test_what_is_near_the_edge_or_ambiguous_is_marked():
    """The image ends half a pixel beyond the middle of its last pixel."""
    truth = truth_of(
        [(0.49, 5), (0.51, 5), (23.29, 5), (23.31, 5)], ambiguous=[False, True, False, False]
    )
    matches = match(truth, found_of([(8.0, 0.4)]))
    assert matches["border"].tolist() == [True, False, False, True, True]
    assert matches["ambiguous"].tolist() == [False, True, False, False, False]


def test_more_than_the_highest_class_is_the_highest_class():
    matches = match(truth_of([(5, 5)], occupancy=16), found_of([(5, 5)], count=14))
    assert matches[["true_count", "count"]].values.tolist() == [[14, 14]]


def test_nothing_found_is_everything_missed():
    matches = match(truth_of([(5, 5), (9, 5)]), found_of([]))
    assert matches["count"].tolist() == [0, 0]
    assert matches["confidence"].isna().all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"species": "Zr"}, "species 'Zr'"),
        ({"x_A": np.nan}, "not a finite number in 1 of 1"),
        ({"occupancy": 2.5}, "whole number"),
        ({"occupancy": 0}, "at least 1"),
        ({"confidence": 95.0}, "confidence is 95 in one of 1 rows; expected 0 to 1"),
        ({"confidence": -0.5}, "confidence is -0.5"),
        ({"p_2": 40.0}, "p_2 is 40"),
        ({"p_2": 0.8, "p_3": 0.8}, "sum to 1.6"),
        ({"z_mean_A": np.inf}, "z_mean_A is infinite"),
    ],
)
def test_a_table_that_cannot_be_scored_is_refused(change, words):
    found = found_of([(5, 5)]).assign(**change)
    with pytest.raises(TableError, match=words):
        match(truth_of([(5, 5)]), found)


def test_what_is_not_known_may_be_missing():
    found = found_of([(5, 5)]).assign(confidence=np.nan, p_1=np.nan, z_mean_A=np.nan)
    assert match(truth_of([(5, 5)]), found)["count"].notna().all()


def test_a_missing_column_is_named():
    with pytest.raises(TableError, match="it lacks occupancy"):
        match(truth_of([(5, 5)]), found_of([(5, 5)]).drop(columns="occupancy"))
