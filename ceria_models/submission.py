"""A submission to the leaderboard: a folder with figures of a program, and who made it."""

import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from ceria_data.config_text import write_mapping
from ceria_models.evaluation_record import Evaluation, read_evaluation
from ceria_models.evaluation_run import staged
from ceria_models.model_evaluation import REPORT
from ceria_models.strata import WINDOW

FACTS = "submission.yaml"
_PARTS = (("all", "all"), ("defocus_A", WINDOW))

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
Address = Annotated[str, StringConstraints(pattern=r"^https?://[!-~]+$", max_length=200)]


class Submission(BaseModel):
    """Who made a program, and what it has seen.

    Attributes
    ----------
    format_version : int
    name : str
        Of the program, as in its evaluation.
    authors : list of str
    url : str or None
        Where the program, or a description of it, can be found; None where it is not public.
    licence : str
    trained_on : str
        Data that the program, or its settings, were made with.
    trained_on_test_particles : bool
        Whether a particle of a test split was among them; such figures are refused.
    date : date
    stored_with : str or None
        Bundled model whose stored evaluations hold the figures; None where they lie in the
        folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1]
    name: Name
    authors: list[Line] = Field(min_length=1, max_length=50)
    url: Address | None
    licence: Line
    trained_on: Line
    trained_on_test_particles: StrictBool
    date: datetime.date
    stored_with: str | None = None


def reduced(evaluation: Evaluation) -> Evaluation:
    """Keep what the leaderboard shows and checks of an evaluation.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    Evaluation
        Figures of the whole split and of 50 to 90 Å overfocus, tables, efficiencies, ceiling,
        settings and notes, unchanged; other parts of the split and vacancy curves are left out.
    """
    figures = [one for one in evaluation.figures if (one.axis, one.label) in _PARTS]
    return evaluation.model_copy(update={"figures": figures, "vacancy_curves": []})


def write_submission(report: Path, out: Path) -> dict[str, object]:
    """Begin a submission from what `ceria-models evaluate` wrote.

    Parameters
    ----------
    report : Path
        Folder of a report, or its JSON.
    out : Path
        New folder.

    Returns
    -------
    dict
        Where it is, and what is to be filled in.

    Raises
    ------
    TableError
        If there is no evaluation.
    OutputError
        If the folder is taken.
    """
    found = read_evaluation(report / REPORT if report.is_dir() else report)
    blanks: dict[str, Any] = {"authors": [], "url": None, "licence": "", "trained_on": "",
              "trained_on_test_particles": None, "date": None}  # fmt: skip
    with staged(out) as staging:
        staging.mkdir(parents=True)
        figures = reduced(found).model_dump_json() + "\n"
        (staging / REPORT).write_text(figures, encoding="utf-8")
        facts = write_mapping({"format_version": 1, "name": found.program} | blanks)
        (staging / FACTS).write_text(facts, encoding="utf-8")
    return {"submission": str(out), "program": found.program, "fill in": str(out / FACTS)}
