"""What was measured of a model, kept beside its weights."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ceria_models.errors import EvaluationError
from ceria_models.evaluation_record import Evaluation, read_evaluation
from ceria_models.evaluation_rows import place_words

REPORT = "evaluation.json"
BASELINE = "baseline.json"


class ModelEvaluation(BaseModel):
    """Evaluations of one model, and of other programs on the same images.

    Attributes
    ----------
    format_version : int
    own : list of Evaluation
        Of the model; one for each dataset, split, pixel size and camera.
    beside : list of Evaluation
        Of other programs, on datasets and splits of `own`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    own: list[Evaluation] = Field(min_length=1)
    beside: list[Evaluation] = []

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        programs = {one.program for one in self.own}
        if len(programs) > 1:
            raise ValueError(f"the figures are of several programs: {', '.join(sorted(programs))}")
        own = [one.images() for one in self.own]
        beside = [(one.program, *one.images()) for one in self.beside]
        for kind, names in (("own", own), ("beside", beside)):
            if len(set(names)) < len(names):
                raise ValueError(f"{kind} has two evaluations of one program on the same images")
        lone = [one for one in self.beside if not any(one.images() == e.images() for e in self.own)]
        if lone:
            raise ValueError(
                f"{lone[0].program} was measured on {place_words(lone[0])}, where the model was not"
            )
        return self

    def beside_of(self, evaluation: Evaluation) -> list[Evaluation]:
        """Pick the evaluations of other programs on the same images."""
        return [one for one in self.beside if one.images() == evaluation.images()]

    def write(self, file: Path) -> None:
        """Write as JSON, without spaces: there are thousands of figures."""
        file.write_text(self.model_dump_json() + "\n", encoding="utf-8")


def read_model_evaluation(file: Path) -> ModelEvaluation:
    """Read what `ModelEvaluation.write` wrote.

    Parameters
    ----------
    file : Path

    Returns
    -------
    ModelEvaluation

    Raises
    ------
    EvaluationError
        If it cannot be read, or does not hold evaluations that belong together.
    """
    try:
        return ModelEvaluation.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(
            f"{file} holds no evaluations of a model: {in_one_line(error)}"
        ) from error


def collect_evaluations(program: str, sources: Iterable[Path]) -> ModelEvaluation:
    """Join what `ceria-models evaluate` wrote about a model.

    Parameters
    ----------
    program : str
        Name of the model; what was measured of other programs stands beside it.
    sources : iterable of Path
        Folders made by `ceria-models evaluate`, or single JSON files.

    Returns
    -------
    ModelEvaluation

    Raises
    ------
    TableError
        If a file cannot be read or is no evaluation.
    EvaluationError
        If they do not belong together.
    """
    found = [read_evaluation(file) for source in sources for file in _files(source)]
    own = [one for one in found if one.program == program]
    if not own:
        programs = ", ".join(sorted({one.program for one in found})) or "nothing"
        raise EvaluationError(f"no evaluation of {program} among those given, found {programs}")
    try:
        return ModelEvaluation(own=own, beside=[one for one in found if one.program != program])
    except ValidationError as error:
        raise EvaluationError(in_one_line(error)) from error


def _files(source: Path) -> Sequence[Path]:
    if not source.is_dir():
        return [source]
    baseline = source / BASELINE
    return [source / REPORT, *([baseline] if baseline.is_file() else [])]


def in_one_line(error: Exception) -> str:
    """Say what is wrong with values that were refused, the first three faults at most."""
    if not isinstance(error, ValidationError):
        return str(error)
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    shown = "; ".join(f"{'.'.join(map(str, f['loc']))} {f['msg']}".strip() for f in faults[:3])
    return shown.replace("Value error, ", "")
