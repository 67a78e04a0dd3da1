"""The command evaluate, from a model or a table to a page."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

from ceria_data.ceiling import open_ceiling
from ceria_data.ceiling_build import build_ceiling
from ceria_data.dataset import open_dataset
from ceria_data.schema import SPECIES
from ceria_models import cli
from ceria_models.bounds import measure_bounds
from ceria_models.evaluation_record import read_evaluation
from ceria_models.prior import Prior, n_features
from tests.ceria_models.fake_program import FakeProgram
from tests.ceria_models.make_model import fresh
from tests.tiny import FINE, Here, build_tiny, tiny_config

MOST = 5


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """One home for all tests: the prior is fitted once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CERIA_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["ceria-models", "evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_a_model_is_measured_from_the_command_line(monkeypatch, capsys, tmp_path):
    fresh().save_pretrained(tmp_path / "net")
    arguments = [tmp_path / "net", "ceria-columns-mini", "--images", 2, "--pairs", 1]
    arguments += ["--dose", 300, "--stability", 0, "--out", tmp_path / "out", "--json"]
    code, text, err = run(monkeypatch, capsys, *arguments)
    assert code == 0, err
    assert json.loads(text)["program"] == "fresh"
    found = read_evaluation(tmp_path / "out" / "evaluation.json")
    assert (found.n_images, found.split) == (2, "test")
    assert {one["species"] for one in found.efficiencies} == set(SPECIES)
    assert any(note.startswith("no ceiling: none was given") for note in found.notes)
    assert (tmp_path / "out" / "evaluation.html").stat().st_size > 50_000
    code, _, err = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert "exists already" in err


def test_the_table_of_any_program_is_scored(monkeypatch, capsys, tmp_path):
    test = open_dataset("ceria-columns-mini", "test")
    rows = [
        test[i].columns.query("in_field and occupancy > 0")[["species", "x_A", "y_A", "occupancy"]]
        .assign(sample=test[i].parameters["sample"])
        for i in range(2)
    ]  # fmt: skip
    file = tmp_path / "columns.csv"
    pd.concat(rows).to_csv(file, index=False)
    arguments = ["another program", "ceria-columns-mini", "--table", file]
    code, _, err = run(monkeypatch, capsys, *arguments, "--out", tmp_path / "out")
    assert code == 0, err
    found = read_evaluation(tmp_path / "out" / "evaluation.json")
    assert found.program == "another program"
    assert found.figure("precision", "Ce").value == 1
    assert found.figure("recall", "Ce").value < 0.5  # most images have no rows


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("species,x_A,y_A,occupancy\nCe,1,1,3\n", "lacks sample"),
        ("sample,species,x_A,y_A\n480,Ce,1,1\n", "occupancy"),
        ("sample,species,x_A,y_A,occupancy\n1,Ce,1,1,3\n", "right split"),
        (None, "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_scored_is_refused(monkeypatch, capsys, tmp_path, content, match):
    file = tmp_path / "columns.csv"
    if content is not None:
        file.write_text(content)
    arguments = ["x", "ceria-columns-mini", "--table", file, "--out", tmp_path / "out"]
    code, _, err = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert match in " ".join(err.split())
    assert not (tmp_path / "out").exists()


def test_what_is_not_there_is_named(monkeypatch, capsys, tmp_path):
    fresh().save_pretrained(tmp_path / "net")
    for arguments, match in (
        ([tmp_path / "net", "ceria-columns-mini", "--split", "tset"], "tset"),
        ([tmp_path / "nothing", "ceria-columns-mini"], "nothing"),
        ([tmp_path / "net", tmp_path / "no-dataset"], "no-dataset"),
    ):
        code, _, err = run(monkeypatch, capsys, *arguments, "--out", tmp_path / "out")
        assert code == 2
        assert match in err
        assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    config = tiny_config(*FINE, ("seed: 11", f"seed: 11\nmax_count: {MOST}"))
    folder = build_tiny(tmp_path_factory.mktemp("fine") / "fine", config)
    dataset = open_dataset(folder, "test")
    out = tmp_path_factory.mktemp("ceiling") / "ceiling"
    build_ceiling(folder, split="test", n_columns=6, out=out, workers=Here)
    return dataset, open_ceiling(out, dataset)


def flat():
    return Prior({name: np.zeros((n_features() + 1, MOST)) for name in SPECIES})


def test_the_truth_is_right_and_so_is_the_ceiling_of_a_bright_image(tiny):
    dataset, ceiling = tiny
    doses = (1e-3, 3e5)
    program = FakeProgram(dataset, range(len(dataset)), doses)
    bounds = measure_bounds(program, dataset, ceiling, flat(), doses)
    everywhere = [one for one in bounds if one.label == "all"]
    assert sum(one.n for one in everywhere) == len(doses) * len(ceiling)
    assert all(one.program == 1 for one in everywhere)
    assert all(one.ceiling > 0.99 for one in everywhere if one.dose_e_per_A2 == 3e5)
    dark = [one.ceiling for one in everywhere if one.dose_e_per_A2 == 1e-3]
    assert max(dark) < 0.7


def test_a_prior_that_knows_needs_no_electrons(tiny):
    dataset, ceiling = tiny

    class Knows(Prior):
        def probabilities(self, columns):
            return np.eye(MOST + 1)[columns["occupancy"].to_numpy()]

    program = FakeProgram(dataset, range(len(dataset)), (1e-3,), missed=1.0)
    bounds = measure_bounds(program, dataset, ceiling, Knows(flat().weights), (1e-3,))
    assert all(one.ceiling == one.prior == 1 for one in bounds)
    assert all(one.program == 0 for one in bounds)
