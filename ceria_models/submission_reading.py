"""Submissions from their folders, each of which has to pass the checks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ceria_data.config_text import read_mapping
from ceria_data.errors import CeriaError, ConfigError
from ceria_models.boards import BOARDS, Board, board_of
from ceria_models.errors import SubmissionError
from ceria_models.evaluation_record import Evaluation, read_evaluation
from ceria_models.model_evaluation import in_one_line
from ceria_models.model_places import bundled_evaluation
from ceria_models.submission import FACTS, Submission
from ceria_models.submission_checks import faults_between, faults_of

LARGEST = 1 << 20
"""Bytes of a file of figures; `submission.reduced` leaves out most of a report."""
_MOST_FAULTS = 5


@dataclass(frozen=True)
class Entry:
    """A submission that passed the checks, with its figures by board.

    Attributes
    ----------
    folder : str
    submission : Submission
    measured : list of (Board, Evaluation)
    """

    folder: str
    submission: Submission
    measured: list[tuple[Board, Evaluation]]


def read_entries(folder: Path, boards: Sequence[Board]) -> list[Entry]:
    """Read and check all submissions.

    Parameters
    ----------
    folder : Path
        A leaderboard, with a folder for each submission.
    boards : sequence of Board

    Returns
    -------
    list of Entry

    Raises
    ------
    SubmissionError
        If one does not pass; the message names it and says what was found and expected.
    """
    strange = [file.name for file in sorted(folder.iterdir()) if not file.is_dir()]
    if strange != [BOARDS]:
        raise SubmissionError(
            f"{folder} holds the files {', '.join(strange)}; expected {BOARDS} and a folder for "
            "each submission"
        )
    entries = [read_entry(one, boards) for one in sorted(folder.iterdir()) if one.is_dir()]
    _refuse_twice(entries)
    for board in boards:
        own = [(e.submission.name, one) for e in entries for b, one in e.measured if b == board]
        _refuse(folder, faults_between(own))
    return entries


def read_entry(folder: Path, boards: Sequence[Board]) -> Entry:
    """Read and check one submission.

    Parameters
    ----------
    folder : Path
    boards : sequence of Board

    Returns
    -------
    Entry

    Raises
    ------
    SubmissionError
        If it does not pass.
    """
    submission = _read_facts(folder)
    if submission.trained_on_test_particles:
        _refuse(folder, [
            "trained_on_test_particles is true; expected false: figures on particles that a "
            "program has learned from say nothing. Train without them and measure again"
        ])  # fmt: skip
    measured: list[tuple[Board, Evaluation]] = []
    faults: list[str] = []
    for file, one in _evaluations(folder, submission, boards):
        board = board_of(one, boards)
        if isinstance(board, str):
            faults.append(f"{file}: {board}")
            continue
        if one.program != submission.name:
            faults.append(
                f"{file} is of the program {one.program}; expected {submission.name}, the name in "
                f"{FACTS}: make them equal"
            )
        if any(board == other for other, _ in measured):
            faults.append(f"{file} is a second evaluation on one board; leave one out")
        faults += [f"{file}: {fault}" for fault in faults_of(one, board)]
        measured.append((board, one))
    _refuse(folder, faults)
    return Entry(folder.name, submission, measured)


def _read_facts(folder: Path) -> Submission:
    file = folder / FACTS
    try:
        content = read_mapping(file.read_text(encoding="utf-8"), str(file))
        return Submission.model_validate(content)
    except OSError as error:
        raise SubmissionError(
            f"{folder} has no {FACTS} that can be read ({error}); `ceria-models submission` "
            "begins one"
        ) from error
    except (ConfigError, ValidationError, UnicodeDecodeError) as error:
        raise SubmissionError(
            f"{file} is not as it should be: {in_one_line(error)}; the fields are described in "
            "docs/leaderboard.md"
        ) from error


def _evaluations(
    folder: Path, submission: Submission, boards: Sequence[Board]
) -> list[tuple[str, Evaluation]]:
    """Read the figures of a submission, from its folder or from a bundled model."""
    files = sorted(path.name for path in folder.iterdir() if path.name != FACTS)
    name = submission.stored_with
    strange = [file for file in files if name is not None or not file.endswith(".json")]
    if strange or not (files or name):
        wanted = "figures as .json" if name is None else f"no figures, which are those of {name}"
        raise SubmissionError(
            f"{folder} holds {', '.join(files) or 'no figures'} beside {FACTS}; expected {wanted}"
        )
    try:
        if name is None:
            return [(file, _read_figures(folder / file)) for file in files]
        stored = bundled_evaluation(name)
    except CeriaError as error:
        raise SubmissionError(f"{folder}: {error}") from error
    own = [one for one in (*stored.own, *stored.beside) if one.program == submission.name]
    found = [(name, one) for one in own if isinstance(board_of(one, boards), Board)]
    found = [(file, one) for file, one in found if not one.recorded_otherwise()]
    if not found:
        raise SubmissionError(
            f"{folder}: {name} has no stored evaluation of {submission.name} on a split that is "
            "ranked; attach one with `ceria-models card`, or leave the submission out"
        )
    return found


def _read_figures(file: Path) -> Evaluation:
    size = file.stat().st_size
    if size > LARGEST:
        raise SubmissionError(
            f"{file.name} has {size} bytes; expected at most {LARGEST}: `ceria-models submission` "
            "keeps what is shown"
        )
    return read_evaluation(file)


def _refuse_twice(entries: Sequence[Entry]) -> None:
    """Refuse two submissions of one program, or of the same figures."""
    names: dict[str, str] = {}
    figures: dict[str, str] = {}
    for entry in entries:
        keys = [(names, entry.submission.name.casefold())]
        keys += [(figures, one.model_copy(update={"program": "", "notes": [], "settings": {}})
                  .model_dump_json()) for _, one in entry.measured]  # fmt: skip
        for seen, key in keys:
            if key in seen:
                what = "the same name" if seen is names else "the same figures"
                raise SubmissionError(
                    f"{entry.folder} and {seen[key]} have {what}; expected one submission of a "
                    "program: leave one out"
                )
            seen[key] = entry.folder


def _refuse(folder: Path, faults: Sequence[str]) -> None:
    if faults:
        more = len(faults) - _MOST_FAULTS
        text = "; ".join(faults[:_MOST_FAULTS]) + (f"; and {more} more" if more > 0 else "")
        raise SubmissionError(f"{folder} does not pass: {text}")
