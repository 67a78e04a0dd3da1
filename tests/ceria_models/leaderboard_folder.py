"""A leaderboard with one board, on which a program was measured that gets a stated share wrong."""

from dataclasses import replace
from functools import cache

import yaml

from ceria_data.dataset import open_dataset
from ceria_models.boards import Board
from ceria_models.efficiency import Efficiency
from ceria_models.evaluation import evaluate
from ceria_models.evaluation_record import Bound
from ceria_models.prior import fit_prior
from ceria_models.strata import WINDOW, choose_rows
from ceria_models.submission import reduced
from tests.ceria_models.fake_program import FakeProgram

DATASET = "ceria-columns-mini"
DOSES = (300.0, 1000.0)
PAIRS = Efficiency("O", "inner", 0.5, 0.3, 0.7, 60, 0.7, 0.84)


@cache
def measured():
    """Measure the program on every particle once; pairs and ceiling are made up."""
    test = open_dataset(DATASET, "test")
    images = test.samples["particle"].nunique()
    program = FakeProgram(test, choose_rows(test, images), DOSES, wrong=0.2, missed=0.05)
    prior = fit_prior(open_dataset(DATASET, "train"), n_columns=300)
    found = evaluate(
        program, test, program="fake", doses=DOSES, images=int(images), prior=prior
    ).with_efficiencies([PAIRS, replace(PAIRS, case="end", dose_e_per_A2=1000.0, best=0.99)])
    bound = Bound(
        axis="defocus_A", label=WINDOW, dose_e_per_A2=300.0, species="Ce", n=31, ceiling=0.9,
        ceiling_error=0.03, prior=0.7, program=0.8, position_pm=2.0,
    )  # fmt: skip
    return reduced(found.model_copy(update={"bounds": [bound]}))


@cache
def board():
    """Describe the split by the dataset itself, not by what was measured."""
    test = open_dataset(DATASET, "test")
    ny, nx = test.field.shape
    step = test.field.sampling
    columns = {"Ce": 0, "O": 0}
    for structure in test.samples["structure"].unique():
        own = test[int((test.samples["structure"] == structure).to_numpy().argmax())].columns
        # The edge of the image is half a pixel beyond the middle of its last one.
        inside = (own[["x_A", "y_A"]].min(axis=1) + step / 2 >= 0.6) & (
            (nx - 0.5) * step - own["x_A"] >= 0.6
        ) & ((ny - 0.5) * step - own["y_A"] >= 0.6)  # fmt: skip
        scored = own[inside & own["in_field"] & ~own["ambiguous"] & (own["occupancy"] > 0)]
        for species in columns:
            columns[species] += int((scored["species"] == species).sum())
    return Board(
        dataset=DATASET, version=test.manifest["version"], split="test", part_of=None,
        content_digest=test.manifest["content_digest"], images=len(test),
        particles=test.samples["particle"].nunique(), columns=columns,
    )  # fmt: skip


def facts(**more):
    """Fill in what a submission says of a program."""
    return {
        "format_version": 1, "name": "fake", "authors": ["A. Author"],
        "url": "https://example.org/fake", "licence": "MIT", "trained_on": "split train",
        "trained_on_test_particles": False, "date": "2026-11-01",
    } | more  # fmt: skip


def write_board(folder, *boards):
    """Begin a leaderboard."""
    folder.mkdir(exist_ok=True)
    content = {"format_version": 1, "boards": [b.model_dump() for b in boards or (board(),)]}
    (folder / "boards.yaml").write_text(yaml.safe_dump(content))
    return folder


def write_entry(folder, evaluation=None, *, slug="fake", **more):
    """Add a submission."""
    one = folder / slug
    one.mkdir()
    (one / "submission.yaml").write_text(yaml.safe_dump(facts(**more), allow_unicode=True))
    evaluation = measured() if evaluation is None else evaluation
    name = facts(**more)["name"]
    evaluation.model_copy(update={"program": name}).write(one / "evaluation.json")
    return one


def changed(evaluation, name, species="Ce", dose=300.0, axis="all", label="all", **values):
    """Change one figure."""
    key = (name, species, dose, axis, label)
    figures = [
        one.model_copy(update=values)
        if (one.metric, one.species, one.dose_e_per_A2, one.axis, one.label) == key
        else one
        for one in evaluation.figures
    ]
    assert figures != evaluation.figures, key
    return evaluation.model_copy(update={"figures": figures})
