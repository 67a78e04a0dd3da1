"""What the leaderboard ranks on: datasets of known content, and what is scored in them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ceria_data.config_text import read_mapping
from ceria_data.errors import ConfigError
from ceria_models.errors import EvaluationError, SubmissionError
from ceria_models.evaluation_record import Evaluation
from ceria_models.model_evaluation import in_one_line

BOARDS = "boards.yaml"


class Board(BaseModel):
    """One split of one dataset; only figures of the same board are ranked together.

    Attributes
    ----------
    dataset, version, content_digest, split : str
    part_of : str or None
        The dataset that this one is the first structures of; None for a whole one.
    images, particles : int
        Of the whole split; every particle has as many images.
    columns : dict of str to int
        Columns of each species that are scored where every particle is shown once. Columns at
        the border of the image and ambiguous ones are not, see `matching.match_columns`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    version: str
    content_digest: str = Field(pattern="^[0-9a-f]{64}$")
    split: str
    part_of: str | None
    images: int = Field(gt=0)
    particles: int = Field(gt=0)
    columns: dict[str, int]

    @model_validator(mode="after")
    def _whole_rounds(self) -> Self:
        if set(self.columns) != {"Ce", "O"} or self.images % self.particles:
            raise ValueError(
                f"{self.dataset}: expected columns of Ce and O, and as many images of each of the "
                f"{self.particles} particles; found {', '.join(self.columns)}, {self.images} images"
            )
        return self


class _Boards(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1]
    boards: list[Board] = Field(min_length=1)


def read_boards(folder: Path) -> list[Board]:
    """Read `boards.yaml` of a leaderboard.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of Board

    Raises
    ------
    EvaluationError
        If the folder has none.
    SubmissionError
        If it is not as it should be.

    Examples
    --------
    >>> from importlib.resources import files
    >>> [one.dataset for one in read_boards(Path(str(files("ceria_data.cards"))) / "leaderboard")]
    ['ceria-columns-v1', 'v1-test']
    """
    file = folder / BOARDS
    if not file.is_file():
        raise EvaluationError(
            f"{folder} is no leaderboard: it has no {BOARDS}; expected a folder such as "
            "cards/leaderboard"
        )
    try:
        content = read_mapping(file.read_text(encoding="utf-8"), str(file))
        boards = _Boards.model_validate(content).boards
    except (ConfigError, ValidationError, UnicodeDecodeError) as error:
        raise SubmissionError(f"{file} is not as it should be: {in_one_line(error)}") from error
    places = [(one.content_digest, one.split) for one in boards]
    if len(set(places)) < len(places):
        raise SubmissionError(f"{file} names one split of one dataset twice; leave one out")
    return boards


def board_of(evaluation: Evaluation, boards: Sequence[Board]) -> Board | str:
    """Find the board of an evaluation.

    Parameters
    ----------
    evaluation : Evaluation
    boards : sequence of Board

    Returns
    -------
    Board or str
        What is wrong where there is none.
    """
    known = [one for one in boards if one.content_digest == evaluation.content_digest]
    if not known:
        names = ", ".join(f"{b.dataset} {b.version} ({b.content_digest[:12]}…)" for b in boards)
        return (
            f"it was measured on {evaluation.dataset} {evaluation.version} with the content digest "
            f"{evaluation.content_digest[:12]}…; expected one of {names}: measure on one of these"
        )
    named = [b for b in known if (b.dataset, b.version) == (evaluation.dataset, evaluation.version)]
    if not named:
        return (
            f"it calls its dataset {evaluation.dataset} {evaluation.version}, but the digest is "
            f"that of {known[0].dataset} {known[0].version}; make the evaluation again"
        )
    for board in named:
        if board.split == evaluation.split:
            return board
    return (
        f"it was measured on the split {evaluation.split}; expected "
        f"{' or '.join(b.split for b in named)}: measure with --split {named[0].split}"
    )
