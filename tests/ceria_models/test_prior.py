"""The prior knows what the neighbours tell, and nothing else."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ceria_models.errors import NotAModelError
from ceria_models.prior import (
    Prior,
    fit_prior,
    load_prior,
    n_features,
    neighbour_features,
    vacancy_score,
)


def pairs_of(rng, n=400, more=0.3):
    """Ce-O pairs far from each other: Ce has the count of O, or one more with probability 0.3."""
    oxygen = rng.integers(2, 9, n)
    cerium = oxygen + (rng.random(n) < more)
    x = 20.0 * np.arange(n)
    angle = rng.uniform(0, 2 * np.pi, n)
    return pd.DataFrame(
        {
            "species": ["Ce"] * n + ["O"] * n,
            "x_A": np.concatenate([x, x + 1.353 * np.cos(angle)]),
            "y_A": np.concatenate([0 * x, 1.353 * np.sin(angle)]),
            "occupancy": np.concatenate([cerium, oxygen]),
            "in_field": True,
        }
    )


@pytest.fixture(scope="module")
def prior():
    rng = np.random.default_rng(1)
    tables = [pairs_of(rng) for _ in range(50)]
    dataset = SimpleNamespace(
        manifest={"max_count": 14},
        samples=pd.DataFrame({"structure": range(50)}),
        columns_of=lambda structure: tables[structure],
    )
    return fit_prior(dataset, n_columns=20000)


def test_the_rule_that_made_the_counts_is_recovered(prior):
    """By Bayes P(Ce = n | O = n) = 0.7 and P(Ce = n + 1 | O = n) = 0.3 for every n."""
    columns = pairs_of(np.random.default_rng(2))
    p = prior.probabilities(columns)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    oxygen = columns["occupancy"].to_numpy()[400:]
    same = p[np.arange(400), oxygen]
    one_more = p[np.arange(400), oxygen + 1]
    np.testing.assert_allclose(same, 0.7, atol=0.04)
    np.testing.assert_allclose(one_more, 0.3, atol=0.04)


def test_the_own_count_does_not_enter():
    columns = pairs_of(np.random.default_rng(3))
    changed = columns.copy()
    changed.loc[5, "occupancy"] = 14
    before, after = neighbour_features(columns), neighbour_features(changed)
    np.testing.assert_array_equal(before[5], after[5])
    assert (before[405] != after[405]).any()


def test_turning_and_mirroring_changes_nothing():
    from ceria_data.dataset import open_dataset

    columns = open_dataset("ceria-columns-mini", "test")[0].columns
    columns = columns[columns["occupancy"] > 0].reset_index(drop=True)
    angle = 0.7
    turned = columns.assign(
        x_A=np.cos(angle) * columns["x_A"] + np.sin(angle) * columns["y_A"],
        y_A=np.sin(angle) * columns["x_A"] - np.cos(angle) * columns["y_A"],
    )
    np.testing.assert_allclose(neighbour_features(columns), neighbour_features(turned))


def test_eight_neighbours_and_the_ties_of_the_eighth():
    """Twelve on a ring count all; two of a ring farther out do not."""
    angle = 2 * np.pi * np.arange(12) / 12
    ring = 2.34 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    places = np.concatenate([[[0, 0]], ring, [[3.3, 0], [-3.3, 0]]])
    columns = pd.DataFrame(
        {"species": "O", "x_A": places[:, 0], "y_A": places[:, 1], "occupancy": 3}
    )
    features = neighbour_features(columns).reshape(-1, 2, 5, 5)[0]
    assert features[1, :, 0].tolist() == [0, 0, 12, 0, 0]


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_columns_are_no_special_case(prior, n):
    columns = pairs_of(np.random.default_rng(3)).iloc[:n]
    assert prior.probabilities(columns).shape == (n, 15)


def test_a_count_below_what_neighbours_suggest_scores_high(prior):
    columns = pairs_of(np.random.default_rng(4), more=0.0)
    columns.loc[3, "occupancy"] -= 1
    score = vacancy_score(prior, columns)
    assert score[3] > 0.97
    assert np.delete(score[:400], 3).max() < 0.4
    unsure = pd.DataFrame({f"p_{n}": 0.0 for n in range(15)}, index=columns.index)
    for row, count in enumerate(columns["occupancy"]):
        unsure.loc[row, [f"p_{count}", f"p_{count + 1}"]] = 0.5
    assert 0.4 < vacancy_score(prior, pd.concat([columns, unsure], axis=1))[3] < score[3]


def test_a_prior_survives_the_disk_and_other_files_are_refused(prior, tmp_path):
    file = tmp_path / "prior.safetensors"
    prior.save(file)
    for name, weights in load_prior(file).weights.items():
        np.testing.assert_array_equal(weights, prior.weights[name])
    Prior({"Ce": np.zeros((3, 14)), "O": np.zeros((3, 14))}).save(file)
    with pytest.raises(NotAModelError, match="no prior of this version"):
        load_prior(file)
    file.write_bytes(b"nonsense")
    with pytest.raises(NotAModelError, match="cannot be read"):
        load_prior(file)
    assert n_features() == 50
