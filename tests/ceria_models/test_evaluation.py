"""Injected errors come out as the figures that they are."""

import json

import numpy as np
import pandas as pd
import pytest

from ceria_data.dataset import open_dataset
from ceria_models.efficiency import Efficiency
from ceria_models.errors import TableError
from ceria_models.evaluation import count_spread, evaluate, score_table
from ceria_models.evaluation_plots import vacancies_png
from ceria_models.evaluation_record import read_evaluation
from ceria_models.prior import fit_prior
from ceria_models.strata import choose_rows
from tests.ceria_models.fake_program import FakeProgram

DOSES = (100.0, 300.0, 1000.0)


@pytest.fixture(scope="module")
def test_split():
    return open_dataset("ceria-columns-mini", "test")


@pytest.fixture(scope="module")
def prior():
    return fit_prior(open_dataset("ceria-columns-mini", "train"), n_columns=2000)


@pytest.fixture(scope="module")
def result(test_split, prior):
    fake = FakeProgram(
        test_split, choose_rows(test_split, 20), DOSES, wrong=0.2, missed=0.1, jitter=0.03
    )
    return evaluate(fake, test_split, program="fake", doses=DOSES, images=20, prior=prior)


def truth_table(dataset):
    """Columns of every image as a program that knows them would report."""
    parts = []
    for sample in dataset:
        columns = sample.columns
        own = columns[columns["in_field"] & (columns["occupancy"] > 0)]
        parts.append(own.assign(sample=sample.parameters["sample"]))
    names = ["sample", "species", "x_A", "y_A", "occupancy"]
    return pd.concat(parts, ignore_index=True)[names]


def test_injected_errors_are_measured(result):
    for dose in DOSES:
        figures = {
            name: result.figure(name, "Ce", dose).value
            for name in ("recall", "precision", "exact", "within_one", "position_rms")
        }
        assert figures["recall"] == pytest.approx(0.9, abs=0.04)
        assert figures["precision"] == 1.0
        assert figures["exact"] == pytest.approx(0.9 * 0.8, abs=0.06)
        assert figures["within_one"] == figures["recall"]
        assert figures["position_rms"] == pytest.approx(3.0, rel=0.06)
        assert result.figure("calibration_error", "Ce", dose).value < 0.03
        exact = result.figure("exact", "Ce", dose)
        assert exact.low < exact.value < exact.high


def test_every_stratum_is_there_and_surfaces_have_no_precision(result):
    table = result.frame()
    assert {
        "all",
        "defocus_A",
        "thickness_atoms",
        "mistilt_deg",
        "kind",
        "surface",
        "scope",
    } == set(table["axis"])
    assert set(table["dose_e_per_A2"]) == set(DOSES)
    surface = set(table[table["axis"] == "surface"]["metric"])
    assert "exact" in surface
    assert not surface & {"precision", "f1", "calibration_error", "macro_f1"}
    assert (table["low"].fillna(-9) <= table["high"].fillna(9)).all()


def test_the_strata_of_an_axis_share_the_columns_out(result):
    table = result.frame()
    exact = table[
        (table["metric"] == "exact") & (table["species"] == "O") & (table["dose_e_per_A2"] == 300)
    ]
    whole = exact[exact["axis"] == "all"]["n"].sum()
    for axis in ("surface", "thickness_atoms", "mistilt_deg", "kind"):
        assert exact[exact["axis"] == axis]["n"].sum() == whole


def test_the_curve_of_vacancies_is_kept_with_few_points(result):
    """Its area is the figure beside it, which is computed from bins of the score."""
    for dose in DOSES:
        for species in ("Ce", "O"):
            curve = next(
                one
                for one in result.vacancy_curves
                if (one.species, one.dose_e_per_A2) == (species, dose)
            )
            assert len(curve.false_rate) == len(curve.true_rate) <= 50
            area = np.trapezoid(curve.true_rate, curve.false_rate)
            figure = result.figure("vacancy_auc", species, dose)
            assert area == pytest.approx(figure.value, abs=0.01)
            assert curve.n_vacancies + curve.n_others == figure.n


def test_the_prior_stands_beside(result):
    found = result.figure("prior_exact", "Ce", 300.0)
    assert 0.4 < found.value < 0.95
    assert result.figure("prior_exact", "Ce", 1000.0).value == found.value
    # A program that reports a fifth of the columns one atom short hides vacancies.
    assert 0.5 < result.figure("vacancy_auc", "O", 300.0).value < 0.95


def test_a_perfect_program_is_perfect(test_split, prior):
    fake = FakeProgram(test_split, choose_rows(test_split, 6), (300.0,))
    found = evaluate(fake, test_split, program="fake", doses=(300.0,), images=6, prior=prior)
    truth = found.figure("volume_iou_of_truth", "both", 300.0).value
    assert found.figure("volume_iou", "both", 300.0).value == pytest.approx(truth, abs=0.02)
    assert found.figure("position_rms", "O", 300.0).value == 0
    table = next(t for t in found.tables if t.species == "Ce")
    confusion = np.array(table.confusion)
    assert (confusion[2:, 2:] == np.diag(np.diagonal(confusion)[2:])).all()
    assert confusion[2:, :].sum() > 100


def test_stability_is_the_spread_over_draws(test_split):
    rows = choose_rows(test_split, 3)
    fake = FakeProgram(test_split, rows, (300.0,), wrong=0.5, missed=0.2, draws=20)
    found = evaluate(fake, test_split, program="fake", doses=(300.0,), images=3, stability_images=3)
    assert found.figure("stability", "Ce", 300.0).value == pytest.approx(0.5, abs=0.03)
    steady = FakeProgram(test_split, rows, (300.0,))
    spread = count_spread([steady.columns(test_split[0])] * 5, test_split[0])
    assert spread["count_variance"].max() == 0


def test_a_table_of_the_truth_scores_full_marks(test_split):
    found = score_table(truth_table(test_split), test_split, program="truth")
    assert found.figure("exact", "O").value == 1.0
    assert found.figure("f1", "Ce").value == 1.0
    assert found.figure("exact", "O", axis="dose_e_per_A2", label="100 to 300").value == 1.0
    assert found.figure("volume_iou", "both") is None
    assert found.figure("calibration_error", "Ce") is None
    assert any("no z_mean_A" in note for note in found.notes)
    assert any("no confidence" in note for note in found.notes)


def test_images_without_rows_are_missed_and_counted(test_split):
    table = truth_table(test_split)
    samples = test_split.samples["sample"].to_numpy()
    half = table[table["sample"].isin(samples[::2])]
    found = score_table(half, test_split, program="half")
    assert found.figure("recall", "Ce").value == pytest.approx(0.5, abs=0.02)
    assert any("60 images have no rows" in note for note in found.notes)
    own = score_table(half, test_split, program="half", samples=samples[::2])
    assert own.figure("recall", "Ce").value == 1.0
    assert own.n_images == 60


def test_a_table_of_another_split_is_refused(test_split):
    table = truth_table(test_split).iloc[:50]
    with pytest.raises(TableError, match="right split"):
        score_table(table.assign(sample=3), test_split, program="wrong")
    with pytest.raises(TableError, match="lacks sample"):
        score_table(table.drop(columns="sample"), test_split, program="wrong")


def test_an_evaluation_survives_the_disk(result, tmp_path):
    one = Efficiency("O", "inner", 0.4, 0.2, 0.6, 100, 0.7, 0.8)
    other = Efficiency("O", "inner", 0.9, 0.5, None, 100, 0.7, 0.8, 1000.0)
    whole = result.with_efficiencies([other]).with_efficiencies([one])
    whole.write(tmp_path / "evaluation.json")
    again = read_evaluation(tmp_path / "evaluation.json")
    assert again == whole
    assert again.primary()["vacancy"] == 0.4
    assert again.efficiency("O", "inner", 1000.0).efficiency == 0.9
    table = again.frame()
    rows = table[table["metric"] == "efficiency"]
    assert rows["axis"].tolist() == ["missing_atom"] * 2
    assert rows["value"].tolist() == [0.9, 0.4]
    assert rows["dose_e_per_A2"].tolist()[0] == 1000.0
    assert rows["dose_e_per_A2"].isna().tolist() == [False, True]
    assert again.primary()["depth"] == result.figure("volume_iou", "both", 1000.0).value
    assert result.primary()["vacancy"] is None


def test_a_record_of_before_is_read(result, tmp_path):
    """Without curves, doses of pairs and pixel size, as the first evaluations were written."""
    record = result.model_dump(mode="json")
    del record["vacancy_curves"], record["settings"]
    record["efficiencies"] = [
        {"species": "O", "case": "inner", "efficiency": 0.4, "low": 0.2, "high": 0.6,
         "pairs": 100, "right": 0.7, "best": 0.8}
    ]  # fmt: skip
    file = tmp_path / "evaluation.json"
    file.write_text(json.dumps(record))
    again = read_evaluation(file)
    assert again.primary()["vacancy"] == 0.4
    assert again.vacancy_curves == []
    assert again.recorded_otherwise() == {}
    assert again.images() == result.images()
    assert vacancies_png(again) is None
