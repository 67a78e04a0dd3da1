"""The command `ceria-models evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from ceria_data import terminal
from ceria_data.terminal import Debug, Json, Quiet
from ceria_models.cli_predict import Threads, set_threads

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Name of a bundled model, a folder, or user/net@1.0.0 on the Hub.",
    ),
]
DatasetName = Annotated[str, typer.Argument(metavar="DATASET", help="Dataset to measure on.")]
Out = Annotated[
    Path | None,
    typer.Option(help="New folder for the page and the figures [./MODEL-DATASET-SPLIT]."),
]
Doses = Annotated[
    list[float] | None,
    typer.Option(min=1e-3, help="e-/Å², may be repeated [30, 100, 300, 1000, 3000]."),
]
Images = Annotated[int | None, typer.Option(min=1, help="Images; by default all.")]
Pairs = Annotated[
    int | None,
    typer.Option(min=0, help="Pairs of every case of the paired test; 0 for none [all]."),
]
PairDoses = Annotated[
    list[float] | None,
    typer.Option(min=1e-3, help="Run the pairs at this dose too, e-/Å²; may be repeated."),
]
Stability = Annotated[int | None, typer.Option(min=0, help="Images recorded 20 times each [10].")]
PixelSize = Annotated[
    float | None,
    typer.Option(metavar="A", help="Record the images on pixels of this size [Å]."),
]
CameraName = Annotated[
    str | None,
    typer.Option(metavar="CAMERA", help="Record with a typical one: integrating or counting."),
]
Ceiling = Annotated[
    Path | None, typer.Option(metavar="DIR", help="What `ceria-data ceiling` wrote.")
]
Baseline = Annotated[bool, typer.Option("--baseline", help="Measure the classical baseline too.")]
Table = Annotated[
    Path | None,
    typer.Option(help="Score this table of columns (CSV, parquet); MODEL names the program."),
]
Listed = Annotated[
    bool, typer.Option("--listed", help="Of --table: only images that have rows were given.")
]


def evaluate(
    model: ModelName,
    dataset: DatasetName,
    out: Out = None,
    split: Annotated[str, typer.Option(help="Split of the dataset.")] = "test",
    dose: Doses = None,
    images: Images = None,
    pairs: Pairs = None,
    pair_dose: PairDoses = None,
    stability: Stability = None,
    pixel_size: PixelSize = None,
    camera: CameraName = None,
    ceiling: Ceiling = None,
    baseline: Baseline = False,
    table: Table = None,
    listed: Listed = False,
    threads: Threads = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure a model, or the table of any program, on a split of a dataset."""
    from ceria_models.evaluation_run import Effort, program_of, run_evaluation, shown_figures
    from ceria_models.recording import Recording, typical_camera
    from ceria_models.table_scoring import run_scoring
    from ceria_models.weights import from_pretrained

    if table is not None:
        _refuse_with_table({
            "dose": dose, "images": images, "pairs": pairs, "pair-dose": pair_dose,
            "stability": stability, "pixel-size": pixel_size, "camera": camera,
            "ceiling": ceiling,
        })  # fmt: skip
    if listed and table is None:
        raise typer.BadParameter("--listed belongs to --table")
    set_threads(threads)
    out = out or _evaluation_folder(model, dataset, split, is_program=table is not None)
    with terminal.progress(quiet=quiet or json) as advance:
        if table is not None:
            found = run_scoring(
                table, model, dataset, split, out, advance, listed=listed, baseline=baseline
            )
        else:
            recording = Recording(pixel_size, None if camera is None else typical_camera(camera))
            effort = Effort(
                tuple(sorted(set(dose))) if dose else None, images, pairs,
                tuple(sorted(set(pair_dose or ()))), 10 if stability is None else stability,
                ceiling, baseline, recording,
            )  # fmt: skip
            program = program_of(from_pretrained(model))
            name = program.model.config.name
            found = run_evaluation(program, name, dataset, split, out, effort, advance)
    terminal.show(shown_figures(found, out), quiet=quiet, json=json)


def _refuse_with_table(options: dict[str, object]) -> None:
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise typer.BadParameter(
            f"{', '.join(given)} and --table: a table is of the stored counts, nothing is "
            "recorded anew; leave them out"
        )


def _evaluation_folder(model: str, dataset: str, split: str, *, is_program: bool) -> Path:
    """Name the folder of an evaluation after what is measured, on what."""
    from ceria_models.weights import model_name

    name = model if is_program else model_name(model)
    parts = (name, Path(dataset).resolve().name, split)
    allowed = ("".join(c if c.isalnum() or c in "._" else "-" for c in part) for part in parts)
    return Path("-".join(allowed))


def add_evaluate_command(app: typer.Typer) -> None:
    """Add the command to the program.

    Examples
    --------
    >>> app = typer.Typer()
    >>> add_evaluate_command(app)
    >>> [command.callback.__name__ for command in app.registered_commands]
    ['evaluate']
    """
    app.command()(evaluate)
