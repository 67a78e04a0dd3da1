"""Cards of models: valid front matter, figures of the evaluation and no others."""

import re
from pathlib import Path

import ceria_data.cards
import pytest
from huggingface_hub import ModelCard

from ceria_data.dataset import open_dataset
from ceria_models.card import model_card
from ceria_models.evaluation import evaluate
from ceria_models.evaluation_record import Bound, read_evaluation
from ceria_models.paired import Efficiency
from ceria_models.strata import choose_rows
from ceria_models.weights import bundled_models, from_pretrained
from tests.ceria_models.fake_program import FakeProgram
from tests.ceria_models.make_model import fresh

CARDS = Path(ceria_data.cards.__path__[0]) / "models"


@pytest.fixture(scope="module")
def evaluation():
    test = open_dataset("ceria-columns-mini", "test")
    program = FakeProgram(test, choose_rows(test, 4), (300.0,), wrong=0.2)
    found = evaluate(program, test, program="fake", doses=(300.0,), images=4)
    bound = Bound(
        axis="all", label="all", dose_e_per_A2=300.0, species="Ce", n=50, ceiling=0.961,
        ceiling_error=0.01, prior=0.753, program=0.722, position_pm=2.34,
    )  # fmt: skip
    found = found.with_efficiencies([Efficiency("O", "inner", 0.41, 0.2, 0.6, 100, 0.7, 0.8)])
    return found.model_copy(update={"bounds": [bound]})


def test_the_front_matter_names_what_was_measured_on_what(evaluation):
    card = ModelCard(model_card(fresh().config, [evaluation]))
    assert card.data.license == "cc-by-4.0"
    results = {one.metric_type: one for one in card.data.eval_results}
    assert results["efficiency"].metric_value == 0.41
    assert results["efficiency"].dataset_revision == evaluation.content_digest
    assert results["efficiency"].dataset_split == "test"


def test_figures_are_those_of_the_evaluation(evaluation):
    card = model_card(fresh().config, [evaluation])
    exact = evaluation.figure("exact", "Ce", 300.0)
    row = next(line for line in card.splitlines() if line.startswith("| Ce | exact count |"))
    assert f"{exact.value:.3f} ({exact.low:.3f} to {exact.high:.3f})" in row
    assert "| Ce | all | 300 | 50 | 0.722 | 0.753 | 0.961 | 2.3 |" in card
    assert "| O | inner | 0.41 (0.20 to 0.60) |" in card
    tables = [line for line in card.splitlines() if line.startswith("|")]
    assert not [line for line in tables if not line.endswith("|")]


def test_a_model_without_evaluation_says_so():
    card = model_card(fresh().config)
    assert "No evaluation is attached" in card
    assert ModelCard(card).data.eval_results is None


@pytest.mark.parametrize("name", bundled_models())
def test_bundled_models_have_their_card(name):
    measured = sorted(CARDS.glob(f"{name}.*.json"))
    assert measured
    evaluations = [read_evaluation(file) for file in measured]
    config = from_pretrained(name).config
    assert (CARDS / f"{name}.md").read_text(encoding="utf-8") == model_card(config, evaluations)
    assert all(one.program == name for one in evaluations)
    same = [one for one in evaluations if one.dataset == config.training.dataset]
    assert same
    assert all(one.content_digest == config.training.content_digest for one in same)
    assert re.search(rf"from_pretrained\(.{name}.\)", (CARDS / f"{name}.md").read_text())
