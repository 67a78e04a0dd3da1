"""The command `ceria-models predict`, and the options that it shares with others."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ceria_data import terminal
from ceria_data.errors import ConfigError, FilmError
from ceria_data.film import Film
from ceria_data.terminal import Debug, Json, Quiet

Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads of the net; by default one per core.")
]
_SAME = 1e-3
"""Relative difference of two pixel sizes that are one."""
Device = Annotated[str, typer.Option(help="cpu or gpu.", metavar="DEVICE")]


def predict(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="An image or a film in a file, or a dataset (its stored counts).",
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder for tables and pictures.")],
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Also user/net@1.0.0 on the Hub [bundled].")
    ] = None,
    pixel_size: Annotated[
        float | None,
        typer.Option(
            metavar="A",
            help="Pixel size at the specimen [Å]; where a film says one too, this counts.",
        ),
    ] = None,
    frame_time: Annotated[
        float | None,
        typer.Option(metavar="S", min=1e-9, help="From one frame to the next [s]."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of a dataset.")] = None,
    particle: Annotated[
        int | None, typer.Option(min=0, help="Of a dataset of films, the film of this particle.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Predict the first images only.")] = None,
    first: Annotated[int, typer.Option(min=0, help="Frame to begin with.")] = 0,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames to keep.")] = None,
    bin_: Annotated[
        int, typer.Option("--bin", min=1, help="Pixels along each side that become one.")
    ] = 1,
    sum_: Annotated[int, typer.Option("--sum", min=1, help="Frames that become one.")] = 1,
    running: Annotated[
        int, typer.Option(min=1, help="Frames whose running sum takes the place of each.")
    ] = 1,
    pictures: Annotated[int, typer.Option(min=0, help="Overlays to draw.")] = 8,
    force: Annotated[
        bool, typer.Option("--force", help="Predict also far outside of what the net has seen.")
    ] = False,
    runtime: Annotated[
        str,
        typer.Option(
            metavar="RUNTIME",
            help="What runs the net: float32, bfloat16 (faster where the processor has it, other "
            "last digits), or an .onnx file that `export` made of the model.",
        ),
    ] = "float32",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted prediction.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier prediction in --out.")
    ] = False,
    device: Device = "cpu",
    threads: Threads = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Count the atoms of every column in an image, or in every frame of a film."""
    from ceria_models import DEFAULT
    from ceria_models.film_source import Preparation, open_source
    from ceria_models.prediction_run import PredictionSettings, run_prediction, table_head

    opened = open_source(
        source,
        split=split,
        limit=limit,
        particle=particle,
        frame_time_s=frame_time,
        preparation=Preparation(first, frames, bin_, sum_, running),
    )
    sampling, notes = _sampling(source, opened.film, pixel_size, bin_)
    opened = replace(opened, film=replace(opened.film, notes=(*opened.film.notes, *notes)))
    set_threads(threads)
    settings = PredictionSettings(
        model or DEFAULT, pictures, force, runtime, device, resume, overwrite
    )
    with terminal.progress(quiet=quiet or json) as advance:
        facts, warnings = run_prediction(opened, sampling, out, settings, tell=advance)
    for warning in () if quiet else warnings:
        terminal.warn(warning)
    terminal.show(facts, quiet=quiet, json=json)
    if not (quiet or json):
        typer.echo(f"\n{table_head(Path(facts['table']))}")


def _sampling(
    source: Path, film: Film, pixel_size: float | None, binned: int
) -> tuple[float, list[str]]:
    """Take the pixel size that was given, or that of the film, or estimate it; and what to note.

    Flag and file speak of the pixels of the file; those of the film are binned already.
    """
    if pixel_size is None:
        return _estimated(source, film, binned) if film.sampling is None else (film.sampling, [])
    known = None if film.sampling is None else film.sampling / binned
    if known is None or abs(pixel_size / known - 1) <= _SAME:
        notes = []
    elif film.samples is None:
        notes = [f"{source} says a pixel size of {known:.4g} Å; {pixel_size:g} Å was taken"]
    else:
        raise typer.BadParameter(
            f"--pixel-size {pixel_size}: {source} knows its pixel size, {known:g} Å; leave it out"
        )
    return pixel_size * binned, notes


def _estimated(source: Path, film: Film, binned: int) -> tuple[float, list[str]]:
    """Find a pixel size that nobody says from the crystal, or ask for it; say what was done."""
    from ceria_data.calibration import estimate_sampling

    try:
        found = estimate_sampling(film)
    except FilmError as error:
        raise ConfigError(
            f"{source} does not say its pixel size, and its reflections do not tell it: {error}"
        ) from error
    # As --pixel-size means it: a pixel of the file.
    size = f"{found.sampling / binned:.4g} ± {found.uncertainty / binned:.2g} Å"
    return found.sampling, [
        f"{source} does not say its pixel size; {size} is what makes its reflections those of CeO2 "
        "[110], and was taken; --pixel-size overrides it"
    ]


def set_threads(threads: int | None) -> None:
    """Set how many threads the net takes, if that was said."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def add_predict_command(app: typer.Typer) -> None:
    """Add the command to the program.

    Examples
    --------
    >>> app = typer.Typer()
    >>> add_predict_command(app)
    >>> [command.callback.__name__ for command in app.registered_commands]
    ['predict']
    """
    app.command()(predict)
