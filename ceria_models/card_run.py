"""A card from a model and its evaluations to a file."""

from collections.abc import Sequence
from pathlib import Path

from ceria_data.errors import OutputError
from ceria_data.store import refuse_inside_dataset, write_text
from ceria_models.errors import NotAModelError
from ceria_models.model_evaluation import collect_evaluations
from ceria_models.model_files import CARD
from ceria_models.weights import attach_evaluation, card_of, from_pretrained, give_version


def write_card(
    model: str, evaluations: Sequence[Path], out: Path | None, version: str | None = None
) -> dict[str, object]:
    """Write the card of a model, with the evaluations given or those stored with it.

    Parameters
    ----------
    model : str
        As for `from_pretrained`; a folder where `out` is None.
    evaluations : sequence of Path
        See `model_evaluation.collect_evaluations`.
    out : Path or None
        File to write; None puts card and evaluations into the model's folder.
    version : str, optional
        Another version for the model in the folder.

    Returns
    -------
    dict
        Where the card is, and what it shows.

    Raises
    ------
    NotAModelError
        If `out` is None and the model is no folder.
    OutputError
        If the version is none, or is given together with `out`.
    TableError, EvaluationError
        If the evaluations cannot be read, or are not of this model.
    """
    if out is not None and version is not None:
        raise OutputError("a version is given to the model, not to a card in --out; leave one out")
    name = from_pretrained(model).config.name
    measured = collect_evaluations(name, evaluations) if evaluations else None
    if out is None:
        folder = Path(model)
        if not folder.is_dir():
            raise NotAModelError(
                f"{model} is no folder, whose card could be written; name a file with --out"
            )
        if measured is not None:
            attach_evaluation(folder, measured)
        if version is not None:
            give_version(folder, version)
        out = folder / CARD
        write_text(out, card_of(folder))
    else:
        refuse_inside_dataset(out)
        text = card_of(model, measured)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, text)
    return {
        "card": str(out),
        "model": name,
        "evaluations": "those given" if evaluations else "those stored with the model, if any",
    }
