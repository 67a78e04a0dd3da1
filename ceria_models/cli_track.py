"""The command of `ceria-models` that follows the atoms of a predicted film."""

from pathlib import Path
from typing import Annotated

import typer

from ceria_data import terminal
from ceria_data.terminal import Debug, Json, Quiet


def track(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `predict` wrote of a film.")],
    confidence: Annotated[
        float, typer.Option(help="List events that are at least this probable.")
    ] = 0.5,
    frames: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Write the atoms of these frames; by default of every interval between events.",
        ),
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings fitted for another net (JSON).")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier tracking in DIR.")
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Follow the columns of a predicted film: smoothed counts, events, rates, atoms in 3D."""
    from ceria_models.tracking_run import run_tracking
    from ceria_models.tracking_settings import load_settings

    numbers = None if frames is None else _numbers(frames)
    with terminal.progress(quiet=quiet or json) as advance:
        facts, warnings = run_tracking(
            folder,
            confidence=confidence,
            frames=numbers,
            settings=load_settings(settings),
            overwrite=overwrite,
            on_progress=lambda unit, done, total: advance(unit, done, total, 0),
        )
    for warning in () if quiet else warnings:
        terminal.warn(warning)
    terminal.show(facts, quiet=quiet, json=json)


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"--frames is {text!r}; expected numbers of frames, as in 0,100,200"
        ) from None


def add_track_command(app: typer.Typer) -> None:
    """Add the command to the program.

    Examples
    --------
    >>> app = typer.Typer()
    >>> add_track_command(app)
    >>> [command.callback.__name__ for command in app.registered_commands]
    ['track']
    """
    app.command()(track)
