"""Submissions: what is as it should be passes, and every check finds the fault it is for."""

import json
import re
from dataclasses import replace

import pytest
import yaml

from ceria_data.errors import OutputError
from ceria_models.boards import read_boards
from ceria_models.errors import EvaluationError, SubmissionError
from ceria_models.evaluation_record import read_evaluation
from ceria_models.model_places import DEFAULT
from ceria_models.strata import WINDOW
from ceria_models.submission import reduced, write_submission
from ceria_models.submission_checks import faults_of
from ceria_models.submission_reading import LARGEST, read_entries
from tests.ceria_models.leaderboard_folder import (
    PAIRS,
    board,
    changed,
    facts,
    measured,
    write_board,
    write_entry,
)

IN_WINDOW = {"axis": "defocus_A", "label": WINDOW}


def entries(folder):
    return read_entries(folder, read_boards(folder))


def with_pairs(**values):
    return measured().model_copy(update={"efficiencies": [replace(PAIRS, **values)]})


def with_table(change):
    one = measured()
    table = next(t for t in one.tables if (t.dose_e_per_A2, t.species) == (300.0, "Ce"))
    confusion = [list(row) for row in table.confusion]
    change(confusion)
    other = table.model_copy(update={"confusion": confusion})
    return one.model_copy(update={"tables": [other if t is table else t for t in one.tables]})


def moved(confusion):
    """Somebody makes wrong counts right."""
    row = confusion[5]
    row[5] += row[4]
    row[4] = 0


def more(confusion):
    confusion[3][3] += 1


def negative(confusion):
    confusion[3][3] = -1


def test_a_real_evaluation_passes(tmp_path):
    assert faults_of(measured(), board()) == []
    write_entry(write_board(tmp_path / "board"))
    (entry,) = entries(tmp_path / "board")
    assert (entry.folder, entry.submission.name) == ("fake", "fake")
    assert [one.split for _, one in entry.measured] == ["test"]


def window_figure():
    return measured().primary_figures()["count"]


def beyond():
    """A window in which more columns are wrong than in the whole split."""
    one, whole = window_figure(), measured().figure("exact", "Ce", 300.0)
    wrong = round((1 - whole.value) * whole.n) + 5
    value = (one.n - wrong) / one.n
    return changed(measured(), "exact", **IN_WINDOW, value=value, low=value, high=value)


FAULTS = {
    "another pixel size": (
        lambda: measured().model_copy(update={"settings": {"pixel_size_A": 0.1}}),
        "pixels or camera are not the dataset's",
    ),
    "few particles": (
        lambda: measured().model_copy(update={"n_particles": 29}),
        "29 particles were measured; expected all 30",
    ),
    "images of some particles more": (
        lambda: measured().model_copy(update={"n_images": 40}),
        "40 images were measured; expected each of 30 particles equally often",
    ),
    "more images than there are": (
        lambda: measured().model_copy(update={"n_images": 150}),
        "at most 120 images",
    ),
    "accuracy above 1": (
        lambda: changed(measured(), "exact", **IN_WINDOW, value=1.5, high=1.6),
        r"exact of Ce \(-90 to -50, 300 e⁻/Å²\) is 1.5; expected 0 to 1",
    ),
    "no number": (
        lambda: changed(measured(), "f1", value=float("nan")),
        "f1 of Ce .* is nan; expected 0 to 1",
    ),
    "negative error": (
        lambda: changed(measured(), "position_rms", value=-1.0),
        "position_rms of Ce .* is -1.0; expected 0 or more",
    ),
    "interval upside down": (
        lambda: changed(measured(), "macro_f1", low=0.9, high=0.2),
        "interval 0.9 to 0.2; expected low before high",
    ),
    "another metric": (
        lambda: changed(measured(), "macro_f1", metric="score"),
        "score of Ce .* is no figure that",
    ),
    "another unit": (
        lambda: changed(measured(), "position_rms", unit="Å"),
        r"position_rms of Ce .* \[Å\] is no figure that",
    ),
    "no whole number of columns": (
        lambda: changed(measured(), "exact", **IN_WINDOW, value=window_figure().value + 1e-4),
        "expected a whole number",
    ),
    "no columns": (lambda: changed(measured(), "exact", n=0), "is of 0 columns or volumes"),
    "numbers beyond all datasets": (
        lambda: changed(measured(), "exact", n=10**400, value=1e308),
        "columns or volumes; expected 1 to",
    ),
    "a table beyond all datasets": (
        lambda: with_table(lambda rows: rows[2].__setitem__(2, 10**30)),
        "no square of whole numbers",
    ),
    "pairs beyond all datasets": (lambda: with_pairs(pairs=10**400), "expected at least 50"),
    "right answers that are no number": (
        lambda: with_pairs(right=float("nan")),
        "share right of nan",
    ),
    "exact above within one": (
        lambda: changed(measured(), "within_one", **IN_WINDOW, value=0.0, low=0.0),
        "expected exact ≤ within_one of the same columns",
    ),
    "within one above recall": (
        lambda: changed(measured(), "recall", **IN_WINDOW, value=0.0, low=0.0),
        "expected within_one ≤ recall of the same columns",
    ),
    "a figure alone": (
        lambda: changed(measured(), "within_one", **IN_WINDOW, metric="macro_f1"),
        "stands without within_one",
    ),
    "a figure twice": (
        lambda: measured().model_copy(
            update={"figures": [*measured().figures, measured().figures[0]]}
        ),
        "is there 2 times",
    ),
    "counts that the table does not have": (
        lambda: with_table(moved),
        "exact of Ce, 300 e⁻/Å² is .*; the table of counts says",
    ),
    "columns that the dataset does not have": (
        lambda: with_table(more),
        r"true columns; the dataset has \d+ in 30 images",
    ),
    "negative counts": (lambda: with_table(negative), "no square of whole numbers"),
    "an empty row": (lambda: with_table(lambda rows: rows[2].clear()), "no square"),
    "no table": (
        lambda: measured().model_copy(update={"tables": measured().tables[1:]}),
        "3 tables of counts stand beside figures of 2 doses",
    ),
    "no figures": (
        lambda: measured().model_copy(update={"tables": [], "figures": []}),
        "0 tables of counts stand beside figures of 0 doses",
    ),
    "a window worse than the whole": (beyond, "expected no more right and no more wrong ones"),
    "no interval": (
        lambda: changed(measured(), "volume_iou", "both", 1000.0, low=None),
        "the primary figure depth has no interval",
    ),
    "a primary figure outside its interval": (
        lambda: changed(measured(), "exact", **IN_WINDOW, low=0.0, high=0.01),
        "the primary figure count is .* expected it inside",
    ),
    "volumes of other images": (
        lambda: changed(measured(), "volume_iou", "both", 1000.0, n=30),
        "depth is of 30 volumes; expected one of each species in 30 images",
    ),
    "better than the best": (
        lambda: with_pairs(efficiency=1.2, low=1.05, high=1.4),
        "interval from 1.05 on; 1 is the best possible observer",
    ),
    "η beyond any fit": (lambda: with_pairs(efficiency=17.0, high=18.0), "between -16 and 16"),
    "η outside its interval": (
        lambda: with_pairs(low=0.6),
        "η of O, inner is 0.5 with the interval 0.6 to 0.7",
    ),
    "η without an interval": (
        lambda: with_pairs(low=None, high=None),
        "the primary figure vacancy has no interval",
    ),
    "few pairs": (lambda: with_pairs(pairs=20), "is of 20 pairs; expected at least 50"),
    "half a pair": (lambda: with_pairs(right=0.701), "has 0.701 of 60 pairs right"),
    "share right": (lambda: with_pairs(right=1.1), "share right of 1.1; expected 0 to 1"),
    "best possible of other pairs": (
        lambda: with_pairs(best=0.99),
        "best possible share of 0.990; expected 0.760 to 0.921",
    ),
    "η that the answers do not show": (
        lambda: with_pairs(efficiency=0.95, high=1.0, right=0.6),
        "is 0.950, which means .* of the pairs right; found 0.600",
    ),
    "pairs of no species": (lambda: with_pairs(species="Zr"), "expected Ce or O"),
    "pairs twice": (
        lambda: measured().model_copy(update={"efficiencies": [PAIRS, PAIRS]}),
        "η of O, inner is there twice",
    ),
    "a ceiling above 1": (
        lambda: measured().model_copy(
            update={"bounds": [measured().bounds[0].model_copy(update={"ceiling": 1.2})]}
        ),
        "the ceiling's ceiling of Ce is 1.2",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_injected_fault_is_found(fault):
    change, message = FAULTS[fault]
    found = faults_of(change(), board())
    assert any(re.search(message, one) for one in found), found


PLACES = {
    "content_digest": ("f" * 64, "the content digest ffffffffffff…; expected one of ceria-columns"),
    "dataset": ("mine", "it calls its dataset mine 1.0.0, but the digest is that of ceria-columns"),
    "version": ("9.9.9", "calls its dataset ceria-columns-mini 9.9.9"),
    "split": ("train", "on the split train; expected test: measure with --split test"),
}


@pytest.mark.parametrize("key", PLACES)
def test_figures_of_another_dataset_are_refused(tmp_path, key):
    value, message = PLACES[key]
    folder = write_board(tmp_path / "board")
    write_entry(folder, measured().model_copy(update={key: value}))
    with pytest.raises(SubmissionError, match=message):
        entries(folder)


TOLD = {
    "an unknown field": ({"email": "a@example.org"}, "email Extra inputs are not permitted"),
    "no author": ({"authors": []}, "authors List should have at least 1 item"),
    "no licence": ({"licence": " "}, "licence String should have at least 1 character"),
    "no date": ({"date": None}, "date Input should be a valid date"),
    "no address": ({"url": "javascript:alert(1)"}, "url String should match pattern"),
    "a long name": ({"name": "x" * 61}, "name String should have at most 60 characters"),
    "another format": ({"format_version": 2}, "format_version Input should be 1"),
    "test particles not stated": (
        {"trained_on_test_particles": None},
        "trained_on_test_particles Input should be a valid boolean",
    ),
    "test particles": ({"trained_on_test_particles": True}, "expected false: figures on particles"),
}


@pytest.mark.parametrize("fault", TOLD)
def test_what_is_said_of_a_program_is_checked(tmp_path, fault):
    change, message = TOLD[fault]
    folder = write_board(tmp_path / "board")
    one = write_entry(folder)
    (one / "submission.yaml").write_text(yaml.safe_dump(facts(**change)))
    with pytest.raises(SubmissionError, match=message):
        entries(folder)


def test_every_field_has_to_be_there(tmp_path):
    folder = write_board(tmp_path / "board")
    one = write_entry(folder)
    for key in facts():
        left = {name: value for name, value in facts().items() if name != key}
        (one / "submission.yaml").write_text(yaml.safe_dump(left))
        with pytest.raises(SubmissionError, match=f"{key} Field required"):
            entries(folder)


def test_unknown_fields_of_the_figures_are_refused(tmp_path):
    folder = write_board(tmp_path / "board")
    file = write_entry(folder) / "evaluation.json"
    content = json.loads(file.read_text())
    content["figures"][0]["note"] = "<b>"
    file.write_text(json.dumps(content))
    with pytest.raises(SubmissionError, match="is no evaluation of this version"):
        entries(folder)


def test_files_that_do_not_belong_there_are_refused(tmp_path):
    folder = write_board(tmp_path / "board")
    one = write_entry(folder)
    (one / "weights.bin").write_bytes(b"")
    with pytest.raises(SubmissionError, match=r"holds evaluation\.json, weights\.bin"):
        entries(folder)
    (one / "weights.bin").unlink()
    (folder / "notes.txt").write_text("")
    with pytest.raises(SubmissionError, match=r"holds the files boards\.yaml, notes\.txt"):
        entries(folder)
    (folder / "notes.txt").unlink()
    figures = (one / "evaluation.json").read_text()
    (one / "evaluation.json").write_text(figures + " " * LARGEST)
    with pytest.raises(SubmissionError, match=f"expected at most {LARGEST}"):
        entries(folder)
    (one / "evaluation.json").unlink()
    with pytest.raises(SubmissionError, match="holds no figures"):
        entries(folder)
    (one / "submission.yaml").unlink()
    with pytest.raises(SubmissionError, match=r"has no submission\.yaml"):
        entries(folder)


def test_duplicates_are_refused(tmp_path):
    folder = write_board(tmp_path / "board")
    one = write_entry(folder)
    (one / "again.json").write_text((one / "evaluation.json").read_text())
    with pytest.raises(SubmissionError, match="is a second evaluation on one board"):
        entries(folder)
    (one / "again.json").unlink()
    write_entry(folder, with_pairs(efficiency=0.4), slug="other", name="FAKE")
    with pytest.raises(SubmissionError, match="other and fake have the same name"):
        entries(folder)


def test_the_figures_of_another_program_are_refused(tmp_path):
    folder = write_board(tmp_path / "board")
    write_entry(folder)
    write_entry(folder, slug="other", name="other")
    with pytest.raises(SubmissionError, match="other and fake have the same figures"):
        entries(folder)


def test_another_name_in_the_figures_is_refused(tmp_path):
    folder = write_board(tmp_path / "board")
    measured().write(write_entry(folder, name="mine") / "evaluation.json")
    with pytest.raises(SubmissionError, match="is of the program fake; expected mine"):
        entries(folder)


@pytest.mark.parametrize(("metric", "species", "dose"), [
    ("prior_exact", "Ce", 300.0), ("volume_iou_of_truth", "both", 1000.0),
])  # fmt: skip
def test_what_is_the_same_for_all_programs_has_to_be(tmp_path, metric, species, dose):
    folder = write_board(tmp_path / "board")
    write_entry(folder)
    one = measured().figure(metric, species, dose)
    values = {"value": (round(one.value * one.n) - 0.05 * one.n // 1) / one.n}
    write_entry(folder, changed(measured(), metric, species, dose, **values), slug="b", name="b")
    with pytest.raises(SubmissionError, match=f"{metric} of {species} .* have to be equal"):
        entries(folder)


def test_columns_of_the_window_are_those_of_other_programs(tmp_path):
    folder = write_board(tmp_path / "board")
    write_entry(folder)
    other = measured()
    for metric in ("exact", "within_one", "recall", "prior_exact"):
        one = other.figure(metric, "Ce", 300.0, **IN_WINDOW)
        less = {"n": one.n - 1, "value": (round(one.value * one.n) - 1) / (one.n - 1)}
        other = changed(other, metric, **IN_WINDOW, **less)
    assert faults_of(other, board()) == []
    write_entry(folder, other, slug="b", name="b")
    with pytest.raises(SubmissionError, match="the numbers of columns have to be equal"):
        entries(folder)


def test_boards_are_checked(tmp_path):
    with pytest.raises(EvaluationError, match=r"is no leaderboard: it has no boards\.yaml"):
        read_boards(tmp_path)
    for change, message in (
        ({"content_digest": "abc"}, "content_digest String should match pattern"),
        ({"images": 121}, "as many images of each of the 30 particles"),
        ({"columns": {"Ce": 1}}, "expected columns of Ce and O"),
    ):
        with pytest.raises(SubmissionError, match=message):
            read_boards(write_board(tmp_path, board().model_copy(update=change)))
    with pytest.raises(SubmissionError, match="names one split of one dataset twice"):
        read_boards(write_board(tmp_path, board(), board()))


def test_figures_stored_with_a_model_are_found_or_missed(tmp_path):
    folder = write_board(tmp_path / "board")
    one = write_entry(folder, stored_with=DEFAULT)
    with pytest.raises(SubmissionError, match="expected no figures, which are those of"):
        entries(folder)
    (one / "evaluation.json").unlink()
    with pytest.raises(SubmissionError, match="has no stored evaluation of fake"):
        entries(folder)
    (one / "submission.yaml").write_text(yaml.safe_dump(facts(stored_with="no-such-net")))
    with pytest.raises(SubmissionError, match="no-such-net is no bundled model"):
        entries(folder)


def test_a_submission_begins_with_the_figures_that_are_shown(tmp_path):
    report = tmp_path / "report"
    report.mkdir()
    part = measured().figures[0].model_copy(update={"axis": "kind", "label": "cube"})
    whole = measured().model_copy(update={"figures": [*measured().figures, part]})
    whole.write(report / "evaluation.json")
    folder = write_board(tmp_path / "board")
    write_submission(report, folder / "fake")
    assert read_evaluation(folder / "fake" / "evaluation.json") == measured()
    assert reduced(measured()) == measured()
    assert (folder / "fake" / "evaluation.json").stat().st_size < LARGEST / 4
    # What is left blank does not pass.
    with pytest.raises(SubmissionError, match="authors List should have at least 1 item"):
        entries(folder)
    blanks = yaml.safe_load((folder / "fake" / "submission.yaml").read_text())
    assert blanks.keys() == facts().keys()
    filled = {key: value or facts()[key] for key, value in blanks.items()}
    (folder / "fake" / "submission.yaml").write_text(yaml.safe_dump(filled))
    assert [one.submission.name for one in entries(folder)] == ["fake"]
    with pytest.raises(OutputError, match="exists already"):
        write_submission(report, folder / "fake")
