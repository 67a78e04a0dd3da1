"""The paired test gives an ideal observer η = 1, a blind one 0, an inverted one less."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

from ceria_data.dataset import open_dataset
from ceria_data.errors import DatasetError
from ceria_data.observer import detectability
from ceria_data.parameters import Camera
from ceria_models.efficiency import efficiencies, fit_efficiency
from ceria_models.paired import (
    image_pairs,
    limits_rows,
    mean_count_score,
    run_pairs,
)
from ceria_models.recording import Recording, typical_camera


@pytest.fixture(scope="module")
def test_split():
    return open_dataset("ceria-columns-mini", "test")


@pytest.fixture(scope="module")
def rows(test_split):
    return limits_rows(test_split).iloc[::2]


@pytest.fixture(scope="module")
def pairs(test_split, rows):
    return list(image_pairs(test_split, rows))


def ideal_observer(known):
    """Score by the logarithm of the likelihood ratio, knowing both noise-free images.

    It asks for the two images of every pair in turn, as `run_pairs` hands them out.
    """
    pairs = iter([pair for pair in known for _ in (0, 1)])

    def score(counts, sampling, place, species):
        pair = next(pairs)
        assert place == pair.place
        lit = (pair.complete > 0) & (pair.lacking > 0)
        ratio = np.log(pair.complete[lit] / pair.lacking[lit])
        dose = pair.facts["dose_e_per_A2"] * sampling**2
        expected = dose * (pair.complete - pair.lacking)[lit].sum()
        return float((counts[lit] * ratio).sum() - expected)

    return score


def all_cases(answers):
    return efficiencies(answers.assign(species="any", case="any"))[0]


def test_the_ideal_observer_has_efficiency_one(test_split, rows, pairs):
    found = all_cases(run_pairs(test_split, rows, ideal_observer(pairs)))
    assert found.low < 1 < found.high
    assert found.efficiency == pytest.approx(1.0, abs=0.4)
    assert found.right == pytest.approx(found.best, abs=0.06)


def test_a_blind_one_has_none_and_an_inverted_one_less(test_split, rows, pairs):
    rng = np.random.default_rng(0)
    blind = all_cases(run_pairs(test_split, rows.iloc[:80], lambda *image: float(rng.random())))
    assert abs(blind.efficiency) < 0.2
    ideal = ideal_observer(pairs)
    inverted = all_cases(run_pairs(test_split, rows.iloc[:80], lambda *image: -ideal(*image)))
    assert inverted.high < -0.1
    constant = all_cases(run_pairs(test_split, rows.iloc[:10], lambda *image: 1.0))
    assert constant.efficiency == pytest.approx(0.0, abs=1e-9)
    assert constant.right == 0.5


@pytest.mark.parametrize("efficiency", [-0.5, 0.0, 0.1, 0.5, 1.0])
def test_the_efficiency_that_made_the_answers_is_fitted(efficiency):
    rng = np.random.default_rng(1)
    d_prime = rng.uniform(1, 2, 100000)
    s = np.sign(efficiency) * np.sqrt(abs(efficiency))
    right = (rng.random(100000) < ndtr(s * d_prime / np.sqrt(2))).astype(float)
    assert fit_efficiency(d_prime, right)[0] == pytest.approx(efficiency, abs=0.03)


def test_all_right_and_all_wrong_stay_finite():
    d_prime = np.full(20, 1.5)
    assert fit_efficiency(d_prime, np.ones(20))[0] == pytest.approx(16)
    assert fit_efficiency(d_prime, np.zeros(20))[0] == pytest.approx(-16)


def test_the_interval_follows_particles_not_pairs():
    """Particles that are all right or all wrong carry far less than their pairs."""
    particle = np.repeat(np.arange(10), 20)
    right = (particle < 7).astype(float)
    answers = pd.DataFrame(
        {"species": "O", "case": "end", "particle": particle, "d_prime": 1.5, "right": right}
    )
    together = efficiencies(answers)[0]
    apart = efficiencies(answers.assign(particle=range(200)))[0]
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_images_and_doses_give_the_detectability_asked_for(pairs):
    for pair in pairs[::10]:
        d2 = detectability(pair.complete, pair.lacking, pair.facts["dose_e_per_A2"], 0.2, Camera())
        assert np.sqrt(d2) == pytest.approx(pair.facts["d_prime"], rel=0.01)
        for image, intensity in zip(pair.recorded, (pair.complete, pair.lacking), strict=True):
            mean = intensity.mean() * pair.facts["dose_e_per_A2"] * 0.04
            assert image.mean() == pytest.approx(mean, rel=5 / np.sqrt(image.sum()))
        noise = [
            image - intensity * pair.facts["dose_e_per_A2"] * 0.04
            for image, intensity in zip(pair.recorded, (pair.complete, pair.lacking), strict=True)
        ]
        assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.04


def test_the_image_changes_where_the_atom_is_missing(pairs):
    for pair in [p for p in pairs if p.facts["species"] == "Ce"][::8]:
        change = np.abs(pair.lacking - pair.complete)
        y, x = np.unravel_index(change.argmax(), change.shape)
        assert np.hypot(0.2 * x - pair.place[0], 0.2 * y - pair.place[1]) < 1.0


def test_the_mean_count_uses_probabilities_where_there_are_some():
    table = pd.DataFrame(
        {"species": ["Ce", "Ce"], "x_A": [1.0, 1.3], "y_A": [1.0, 1.0], "occupancy": [3, 9],
         "p_0": [0.2, 0.0], "p_2": [0.4, 0.0], "p_3": [0.4, 1.0]}
    )  # fmt: skip
    score = mean_count_score(lambda counts, sampling: table)
    assert score(np.ones((9, 9)), 0.2, (1.1, 1.0), "Ce") == pytest.approx(2.0)
    assert score(np.ones((9, 9)), 0.2, (2.0, 1.0), "Ce") == 0.0


def test_a_dataset_without_limits_says_what_to_do(test_split, tmp_path):
    from ceria_data.dataset import Dataset

    bare = Dataset(tmp_path, test_split.manifest, test_split.samples)
    with pytest.raises(DatasetError, match="ceria-data limits"):
        limits_rows(bare)


def test_a_part_keeps_every_species_and_case(test_split):
    some = limits_rows(test_split, 7)
    assert set(some.groupby(["species", "case"]).size()) == {7}


@pytest.mark.parametrize("dose", [1000.0, pytest.param(3000.0, marks=pytest.mark.slow)])
def test_at_one_dose_the_ideal_observer_has_efficiency_one_too(test_split, dose):
    """The d' of the table is that of the images, and the answers are those of Φ(d'/√2)."""
    rows = limits_rows(test_split, 40, dose)
    assert set(rows["dose_e_per_A2"]) == {dose}
    known = list(image_pairs(test_split, rows))
    for pair in known[::20]:
        d2 = detectability(pair.complete, pair.lacking, dose, 0.2, Camera())
        assert np.sqrt(d2) == pytest.approx(pair.facts["d_prime"], rel=0.01)
    answers = run_pairs(test_split, rows, ideal_observer(known))
    found = all_cases(answers)
    assert found.low < 1 < found.high
    assert found.right == pytest.approx(found.best, abs=0.05)
    of_oxygen = efficiencies(answers[answers["species"] == "O"], dose)
    assert {one.dose_e_per_A2 for one in of_oxygen} == {dose}


def test_noise_at_one_dose_is_not_that_at_another(test_split):
    few = [limits_rows(test_split, 1, dose) for dose in (1000.0, 2000.0)]
    for one, other in zip(*(image_pairs(test_split, rows) for rows in few), strict=True):
        noise = [
            (pair.recorded[0] - pair.complete * pair.facts["dose_e_per_A2"] * 0.04).ravel()
            for pair in (one, other)
        ]
        assert abs(np.corrcoef(*noise)[0, 1]) < 0.04


@pytest.mark.parametrize(
    "recording",
    [Recording(0.1), Recording(0.27), Recording(camera=typical_camera("integrating"))],
    ids=["fine", "coarse", "integrating"],
)
def test_pairs_of_another_recording_are_judged_by_its_own_detectability(test_split, recording):
    rows = limits_rows(test_split, 2, 3000.0)
    own = list(image_pairs(test_split, rows))
    view = recording.view(test_split.field)
    other = list(image_pairs(test_split, rows, recording))
    for pair, usual in zip(other, own, strict=True):
        assert pair.recorded[0].shape == pair.complete.shape == view.field.shape
        place = (pair.place[0] + view.origin[1], pair.place[1] + view.origin[0])
        assert place == pytest.approx(usual.place)
        d2 = detectability(
            pair.complete, pair.lacking, 3000.0, view.field.sampling, recording.camera or Camera()
        )
        assert pair.facts["d_prime"] == pytest.approx(np.sqrt(d2))
        # Smaller pixels average less away; larger ones and an MTF more.
        ratio = pair.facts["d_prime"] / usual.facts["d_prime"]
        assert 1 < ratio < 1.15 if recording.sampling == 0.1 else 0.7 < ratio < 1
        # The atom is missing where the place says.
        change = np.abs(pair.lacking - pair.complete)
        y, x = (i * view.field.sampling for i in np.unravel_index(change.argmax(), change.shape))
        if usual.facts["species"] == "Ce":
            assert np.hypot(x - pair.place[0], y - pair.place[1]) < 1.0
    answers = run_pairs(test_split, rows, lambda *image: 0.0, recording=recording)
    assert answers["d_prime"].tolist() == [pair.facts["d_prime"] for pair in other]


def test_where_all_are_right_no_efficiency_is_made_up():
    answers = pd.DataFrame(
        {"species": "Ce", "case": "end", "particle": range(20), "d_prime": 9.0, "right": 1.0}
    )
    one = efficiencies(answers, 3000.0)[0]
    assert (one.efficiency, one.low, one.high, one.right) == (None, None, None, 1.0)
    answers.loc[0, "right"] = 0.0
    some = efficiencies(answers, 3000.0)[0]
    assert some.low < some.efficiency
    assert some.high is None  # draws without the one error fit ever more
