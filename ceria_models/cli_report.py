"""The commands of `ceria-models` that show a predicted film, and hand it to other programs."""

from pathlib import Path
from typing import Annotated

import typer

from ceria_data import terminal
from ceria_data.terminal import Debug, Json, Quiet

Folder = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="What `predict`, and perhaps `track`, made of a film."),
]


def report(
    folder: Folder,
    frame: Annotated[
        list[int] | None,
        typer.Option(help="Draw this frame with its counts; may be repeated [four, evenly]."),
    ] = None,
    row: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B",
            help="Draw the columns from column A to column B over time; may be repeated.",
        ),
    ] = None,
    no_gif: Annotated[bool, typer.Option("--no-gif", help="Leave out the film as a GIF.")] = False,
    mp4: Annotated[
        bool, typer.Option("--mp4", help="Write the film as an mp4 (H.264) too.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier report.")
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a page to look at a predicted film, and pictures of it."""
    from ceria_models.report_run import Wishes, run_report

    wishes = Wishes(tuple(frame or ()), tuple(map(_row, row or ())), not no_gif, mp4)
    with terminal.progress(quiet=quiet or json) as advance:
        facts = run_report(
            folder,
            wishes,
            overwrite=overwrite,
            on_progress=lambda done, total: advance("frames", done, total, 0),
        )
    terminal.show(facts, quiet=quiet, json=json)


def convert(
    folder: Folder,
    to: Annotated[
        str,
        typer.Option(metavar="FORMAT", help="csv, ome-zarr, imagej or hyperspy."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="New folder; by default in DIR, named after the format.")
    ] = None,
    every: Annotated[
        int, typer.Option(min=1, metavar="N", help="Every Nth frame only, for images.")
    ] = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier conversion.")
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a predicted film for another program: tables, or frames with counts."""
    from ceria_models.export_run import FORMATS, run_conversion

    if to not in FORMATS:
        raise typer.BadParameter(f"--to {to}: expected one of {', '.join(FORMATS)}")
    unit = "tables" if to == "csv" else "images"
    with terminal.progress(quiet=quiet or json) as advance:
        facts = run_conversion(
            folder,
            to,
            out,
            every=every,
            overwrite=overwrite,
            on_progress=lambda done, total: advance(unit, done, total, 0),
        )
    terminal.show(facts, quiet=quiet, json=json)


def _row(text: str) -> tuple[int, int]:
    try:
        first, last = (int(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"--row {text}: expected two columns, as in 12,40") from error
    return first, last


def add_report_commands(app: typer.Typer) -> None:
    """Add the commands to the program.

    Examples
    --------
    >>> app = typer.Typer()
    >>> add_report_commands(app)
    >>> [command.callback.__name__ for command in app.registered_commands]
    ['report', 'convert']
    """
    for command in (report, convert):
        app.command()(command)
