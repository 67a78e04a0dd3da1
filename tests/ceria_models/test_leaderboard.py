"""The leaderboard: order, ties, gaps and foreign text; the committed one is made from its files."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from ceria_data.dataset import open_dataset
from ceria_models import fitted
from ceria_models.boards import read_boards
from ceria_models.evaluation import score_table
from ceria_models.evaluation_record import read_evaluation
from ceria_models.leaderboard import inert, leaderboard, missing_reason, task_table
from ceria_models.model_places import DEFAULT, bundled_evaluation, bundled_models
from ceria_models.prior import fit_prior
from ceria_models.submission_checks import faults_of
from ceria_models.submission_reading import read_entries
from tests.ceria_models.command import run
from tests.ceria_models.leaderboard_folder import (
    DATASET,
    PAIRS,
    board,
    changed,
    measured,
    write_board,
    write_entry,
)

ROOT = Path(__file__).parents[2]
FOLDER, FILE = ROOT / "cards" / "leaderboard", ROOT / "cards" / "leaderboard.md"
needs_bundle = pytest.mark.skipif(
    DEFAULT not in bundled_models(), reason=f"this checkout has no weights of {DEFAULT}"
)


def with_depth(value):
    return changed(measured(), "volume_iou", "both", 1000.0, value=value, low=0.0, high=1.0)


def without(metric):
    figures = [one for one in measured().figures if one.metric != metric]
    return measured().model_copy(update={"figures": figures})


def made(folder):
    boards = read_boards(folder)
    return leaderboard(read_entries(folder, boards), boards)


@needs_bundle
def test_the_committed_leaderboard_is_made_from_its_files():
    """After a change of the net's figures: the command that the message names."""
    command = "ceria-models leaderboard cards/leaderboard --out cards/leaderboard.md"
    assert FILE.read_text("utf-8") == made(FOLDER), command


@needs_bundle
def test_figures_of_the_bundled_net_stand_on_its_own_board():
    boards = read_boards(FOLDER)
    entries = read_entries(FOLDER, boards)
    assert {entry.submission.name for entry in entries} == {DEFAULT, "classical baseline"}
    text = FILE.read_text("utf-8")
    for part in text.split("\n## ")[1:-1]:
        one = next(b for b in boards if f"`{b.content_digest}`" in part)
        shown = f"`{DEFAULT}`" in part
        own = [e for e in bundled_evaluation(DEFAULT).own
               if (e.content_digest, e.split) == (one.content_digest, one.split)]  # fmt: skip
        assert shown == bool(own)
        assert ("not the whole" in part) == (one.part_of is not None)
        for value in own[0].primary().values() if own else ():
            assert value is None or f"{value:.2f}" in part or f"{value:.3f}" in part


def test_programs_stand_in_the_order_of_what_is_shown_and_share_ranks():
    rows = [("low", with_depth(0.2)), ("b", with_depth(0.50004)), ("A", with_depth(0.49996)),
            ("best", with_depth(0.7)), ("none", without("volume_iou"))]  # fmt: skip
    table = task_table("depth", rows)
    assert [row[:2] for row in table[1:6]] == [
        ["1", "`best`"], ["2", "`A`"], ["2", "`b`"], ["4", "`low`"], ["–", "`none`"],
    ]  # fmt: skip
    assert table[1][2] == "0.700 (0.000 to 1.000)"
    assert table[6][1] == "*true counts and depths*"


def test_a_negative_efficiency_stands_below_others():
    def pairs(value):
        one = replace(PAIRS, efficiency=value, low=value - 0.1, high=value + 0.1)
        return measured().model_copy(update={"efficiencies": [one]})

    table = task_table("vacancy", [("worse", pairs(-0.3)), ("none", pairs(0.0)), ("a", pairs(0.4))])
    assert [row[1] for row in table[1:4]] == ["`a`", "`none`", "`worse`"]
    assert table[3][2:4] == ["-0.30 (-0.40 to -0.20)", "60 pairs"]
    assert [row[2] for row in table[4:]] == ["1", "0"]


def test_what_is_possible_stands_below():
    count = task_table("count", [("fake", measured())])
    figure = measured().primary_figures()["count"]
    assert count[1][2].startswith(f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})")
    assert count[1][3] == f"{figure.n:,} columns, 30 images"
    prior = measured().figure("prior_exact", "Ce", 300.0, axis="defocus_A", label="-90 to -50")
    assert count[2][1:3] == [
        "*true neighbours alone*", f"{prior.value:.3f} ({prior.low:.3f} to {prior.high:.3f})"
    ]  # fmt: skip
    assert count[3][1:4] == ["*best possible*", "0.900 ± 0.030", "31 columns"]
    bare = measured().model_copy(update={"bounds": []})
    assert len(task_table("count", [("fake", bare)])) == len(count) - 1


REASONS = {
    ("vacancy", "no paired test was run"): lambda: measured().model_copy(
        update={"efficiencies": []}
    ),
    ("vacancy", "all pairs were named rightly, or all wrongly: no η fits"): lambda: (
        measured().model_copy(update={"efficiencies": [replace(PAIRS, efficiency=None)]})
    ),
    ("depth", "its columns have no depth (`z_mean_A`)"): lambda: without("volume_iou"),
    ("count", "not measured at 300 e⁻/Å²"): lambda: measured().model_copy(
        update={"tables": [t for t in measured().tables if t.dose_e_per_A2 != 300.0]}
    ),
    ("count", "no image at 50 to 90 Å overfocus was measured"): measured,
}


@pytest.mark.parametrize(("task", "reason"), REASONS)
def test_a_gap_has_its_reason(task, reason):
    assert missing_reason(task, REASONS[task, reason]()) == reason


def test_a_table_of_stored_counts_is_listed_without_primary_figures(tmp_path):
    """The truth of every image, as any program may have written it."""
    test = open_dataset(DATASET, "test")
    parts = [
        test[row].columns.query("in_field and occupancy > 0").assign(sample=int(number))
        for row, number in enumerate(test.samples["sample"])
    ]
    table = pd.concat(parts)[["sample", "species", "x_A", "y_A", "occupancy", "z_mean_A"]]
    found = score_table(table, test, program="table")
    assert faults_of(found, board()) == []
    folder = write_board(tmp_path / "board")
    write_entry(folder, found, slug="table", name="table")
    write_entry(folder)
    text = made(folder)
    for words in (
        "| – | `table` | – | – | scored on stored counts, which have no fixed doses; there 1.000",
        "| – | `table` | – | – | a table of stored counts has no pairs |",
    ):
        assert words in text
    assert text.count("| 1 | `fake` |") == 3


def test_boards_are_ranked_apart(tmp_path):
    other = board().model_copy(update={"content_digest": "e" * 64, "part_of": "all of it"})
    empty = board().model_copy(update={"content_digest": "d" * 64})
    folder = write_board(tmp_path / "board", board(), other, empty)
    write_entry(folder)
    elsewhere = with_depth(0.9).model_copy(update={"content_digest": "e" * 64})
    write_entry(folder, elsewhere, slug="b", name="b")
    text = made(folder)
    first, second, third = text.split("\n## ")[1:4]
    assert "| 1 | `fake` |" in first
    assert "`b`" not in first
    assert "| 1 | `b` |" in second
    assert "A part of all of it, not the whole" in second
    assert "No program has been measured here yet." in third


EVIL = (
    "[click](https://example.org)", "<script>alert(1)</script>", "a | b", "`; </td>",
    "![x](https://example.org/a.png)", "line\n\n# head", "https://example.org", "@somebody",
    "x\u202etxt\u200b", "&lt;b&gt;", "``` ~~~", "\\`[a](b)",
)  # fmt: skip


@pytest.mark.parametrize("text", EVIL)
def test_foreign_text_stays_code_in_its_cell(text):
    shown = inert(text)
    assert re.fullmatch(r"`[^`|\n]+`", shown), shown
    assert shown.isprintable()


def test_nothing_that_a_submission_says_becomes_markdown(tmp_path):
    folder = write_board(tmp_path / "board")
    evil = " ".join(EVIL)
    plain = made_with(folder, "plain", "plain")
    assert plain.count("|") == made_with(folder, EVIL[1] + " | `a`", evil).count("|")
    text = made_with(folder, EVIL[0] + EVIL[1], evil)
    outside = re.sub(r"`[^`\n]*`", "", text)
    for word in ("example.org", "script", "@somebody", "alert", "click"):
        assert word in text
        assert word not in outside
    assert len(text.splitlines()) == len(plain.splitlines())


def made_with(folder, name, words):
    """Write a submission that says these words wherever it can, and the leaderboard."""
    file = folder / "fake"
    if file.exists():
        for one in file.iterdir():
            one.unlink()
        file.rmdir()
    more = {"authors": [words, words], "licence": words, "trained_on": words}
    write_entry(
        folder, measured().model_copy(update={"settings": {"software": words}}), name=name,
        url="https://example.org/`|<b>[a](b)", **more,
    )  # fmt: skip
    return made(folder)


def test_the_command_writes_checks_and_compares(monkeypatch, capsys, tmp_path):
    folder, out = write_board(tmp_path / "board"), tmp_path / "cards" / "leaderboard.md"
    write_entry(folder)
    code, text, _ = run(monkeypatch, capsys, "leaderboard", folder, "--json")
    assert (code, json.loads(text)["submissions"]) == (0, 1)
    assert run(monkeypatch, capsys, "leaderboard", folder, "--out", out)[0] == 0
    assert out.read_text("utf-8") == made(folder)
    assert run(monkeypatch, capsys, "leaderboard", folder, "--out", out, "--check")[0] == 0
    out.write_text(out.read_text("utf-8").replace("0.5", "0.9"), "utf-8")
    before = out.read_bytes()
    code, _, err = run(monkeypatch, capsys, "leaderboard", folder, "--out", out, "--check")
    assert (code, out.read_bytes()) == (1, before)
    assert "make it anew with" in err
    (folder / "fake" / "submission.yaml").write_text("name: fake")
    code, _, err = run(monkeypatch, capsys, "leaderboard", folder)
    assert code == 1
    assert "authors Field required" in err
    assert run(monkeypatch, capsys, "leaderboard", tmp_path)[0] == 2
    assert run(monkeypatch, capsys, "leaderboard", folder, "--check")[0] == 2


def test_the_command_begins_a_submission(monkeypatch, capsys, tmp_path):
    measured().write(tmp_path / "evaluation.json")
    arguments = ["submission", tmp_path, "--out", tmp_path / "mine"]
    code, text, _ = run(monkeypatch, capsys, *arguments, "--json")
    assert (code, json.loads(text)["program"]) == (0, "fake")
    assert {file.name for file in (tmp_path / "mine").iterdir()} == {
        "evaluation.json", "submission.yaml"
    }  # fmt: skip
    assert run(monkeypatch, capsys, *arguments)[0] == 2
    assert run(monkeypatch, capsys, "submission", tmp_path / "no", "--out", tmp_path / "x")[0] == 2


PROGRAM = """import sys
open(sys.argv[3], "w").write("species,x_A,y_A,occupancy\\nCe,2.0,2.0,3\\n")
assert float(sys.argv[2]) == 0.2
"""


def test_the_program_of_the_document_is_measured(monkeypatch, tmp_path):
    """A program of another kind, which is called for every image and sees one column."""
    text = (ROOT / "docs" / "leaderboard.md").read_text("utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.S).group(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CERIA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(fitted, "fit_prior", lambda d, **how: fit_prior(d, n_columns=300, **how))
    Path("program.py").write_text(PROGRAM)
    for old, new in {
        '"my-program"': f"{sys.executable!r}, '-I', '-S', 'program.py'",
        '"v1-test"': f"{DATASET!r}",
        "images=150": "images=1, pairs=1, doses=(300.0, 1000.0)",
    }.items():
        assert old in code
        code = code.replace(old, new)
    exec(code, {})
    found = read_evaluation(tmp_path / "report" / "evaluation.json")
    assert found.program == "my program"
    assert found.figure("exact", "Ce", 300.0) is not None
    assert found.efficiency("O", "inner").pairs == 1
