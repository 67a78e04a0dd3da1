"""The leaderboard from its folder to a file."""

from importlib.resources import files
from pathlib import Path

from ceria_data.store import refuse_inside_dataset, write_text
from ceria_models.boards import read_boards
from ceria_models.errors import SubmissionError
from ceria_models.leaderboard import facts_of, leaderboard
from ceria_models.submission_reading import read_entries


def run_leaderboard(
    folder: Path | None, out: Path | None, *, check: bool = False
) -> dict[str, object]:
    """Check all submissions, and write the leaderboard or compare it.

    Parameters
    ----------
    folder : Path or None
        Where the submissions are; None for those that come with the package.
    out : Path or None
        File of the leaderboard; None checks the submissions only.
    check : bool
        Compare the file with one made anew, and write nothing.

    Returns
    -------
    dict
        What was found.

    Raises
    ------
    EvaluationError
        If the folder is no leaderboard.
    SubmissionError
        If a submission does not pass, or the file is not the leaderboard of the submissions.
    """
    if folder is None:
        folder = Path(str(files("ceria_data.cards"))) / "leaderboard"
    boards = read_boards(folder)
    entries = read_entries(folder, boards)
    facts: dict[str, object] = facts_of(entries, boards)
    if out is None:
        return facts
    text = leaderboard(entries, boards)
    if check:
        if not out.is_file() or out.read_text(encoding="utf-8") != text:
            raise SubmissionError(
                f"{out} is not the leaderboard of the submissions in {folder}; make it anew with "
                f"`ceria-models leaderboard {folder} --out {out}`"
            )
    else:
        refuse_inside_dataset(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, text)
    return {"leaderboard": str(out)} | facts
