"""Parts of a test set are what they say."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ceria_data.dataset import open_dataset
from ceria_models.strata import (
    DOSES,
    choose_rows,
    default_doses,
    sample_facts,
    strata_of,
)


@pytest.fixture(scope="module")
def test_split():
    return open_dataset("ceria-columns-mini", "test")


def test_ranges_classes_and_scope():
    matches = pd.DataFrame(
        {
            "border": [False, False, False, True],
            "ambiguous": [False, False, True, False],
            "defocus_A": [-100.0, -50.0, -60.0, -60.0],
            "thickness_atoms": [3, 10, 11, 12],
            "surface": ["bulk", "edge", "bulk", "bulk"],
        }
    )
    rows = {(p.axis, p.label): np.flatnonzero(p.rows).tolist() for p in strata_of(matches)}
    assert rows == {
        ("all", "all"): [0, 1],
        ("defocus_A", "-100 to -75"): [0],
        ("defocus_A", "-50 to -10"): [1],
        ("thickness_atoms", "3 to 4"): [0],
        ("thickness_atoms", "9 to 10"): [1],
        ("surface", "edge"): [1],
        ("surface", "bulk"): [0],
        ("scope", "with the border"): [0, 1, 3],
        ("scope", "with ambiguous columns"): [0, 1, 2],
    }


def test_facts_are_those_of_the_structure(test_split):
    for i in (0, 50, 119):
        facts = sample_facts(test_split[i])
        structure = test_split.structures.set_index("structure").loc[
            test_split[i].parameters["structure"]
        ]
        assert facts["thickness_atoms"] == structure["thickness_atoms"]
        assert facts["kind"] == structure["kind"]


@pytest.mark.parametrize("n", [1, 7, 30, 45, 60, 119, 120, 500])
def test_a_part_of_a_split_is_spread_over_structures(test_split, n):
    rows = choose_rows(test_split, n)
    assert len(rows) == len(set(rows)) == min(n, 120)
    per_structure = test_split.samples["structure"].iloc[rows].value_counts()
    assert len(per_structure) == min(n, 30)
    assert per_structure.max() - per_structure.min() <= 1
    if n == 30:
        assert len(set(test_split.samples["number"].iloc[rows] % 65536)) > 1


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ([10.0, 1e4, 10.0], (10.0, 1e4)),  # a test out of the range of doses
        ([200.0] * 5, DOSES),  # one dose inside of it: compared at those of everyone
        ([20.0, 25.0, 31.0, 40.0, 50.0, 60.0], DOSES),  # drawn, not fixed
    ],
)
def test_a_split_of_few_extreme_doses_is_measured_at_them(own, expected):
    split = SimpleNamespace(samples=pd.DataFrame({"dose_e_per_A2": own}))
    assert default_doses(split) == expected
