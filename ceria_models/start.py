"""What a training began with, kept beside its checkpoint."""

from pathlib import Path

from pydantic import ValidationError

from ceria_data.store import write_text
from ceria_models.errors import TrainingError
from ceria_models.model import Model, StartFacts
from ceria_models.weights import weights_sha256

START = "start.json"


def start_of(model: Model) -> StartFacts:
    """Describe a model as the beginning of a training.

    Parameters
    ----------
    model : Model

    Returns
    -------
    StartFacts

    Examples
    --------
    >>> from ceria_models import DEFAULT, from_pretrained
    >>> start_of(from_pretrained(DEFAULT)).model
    'residual-unet-base'
    """
    config, training = model.config, model.config.training
    before = 0 if training.start is None else training.start.crops
    return StartFacts(
        model=config.name,
        version=config.version,
        weights_sha256=weights_sha256(model.net),
        dataset=training.dataset,
        dataset_version=training.dataset_version,
        content_digest=training.content_digest,
        crops=training.crops + before,
    )


def write_start(folder: Path, start: StartFacts) -> None:
    """Keep what a training begins with beside its checkpoint."""
    write_text(folder / START, start.model_dump_json(indent=1) + "\n")


def read_start(folder: Path) -> StartFacts | None:
    """Read what a training began with.

    Returns
    -------
    StartFacts or None
        None for random numbers.

    Raises
    ------
    TrainingError
        If the file is damaged.
    """
    file = folder / START
    if not file.is_file():
        return None
    try:
        return StartFacts.model_validate_json(file.read_text(encoding="utf-8"))
    except (ValidationError, ValueError) as error:
        raise TrainingError(
            f"{file} cannot be read ({error}); begin the training again with --overwrite"
        ) from error
