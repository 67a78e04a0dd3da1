"""The command of `ceria-data` that reads films."""

from pathlib import Path
from typing import Annotated

import typer

from ceria_data import terminal
from ceria_data.errors import OutputError
from ceria_data.terminal import Debug, Json, Quiet


def preset_from(
    movie: Annotated[
        Path,
        typer.Argument(metavar="MOVIE", help="A film: dm3, dm4, emd, hspy, mrc, tif, npy, zarr."),
    ],
    pixel_size: Annotated[
        float | None,
        typer.Option(metavar="A", help="Pixel size at the specimen [Å]; else file or reflections."),
    ] = None,
    frame_time: Annotated[
        float | None, typer.Option(metavar="S", help="From one frame to the next [s].")
    ] = None,
    energy: Annotated[
        float | None, typer.Option("--energy-keV", metavar="KEV", help="Of the beam [300].")
    ] = None,
    defocus: Annotated[
        float | None, typer.Option(metavar="A", help="Å, positive = underfocus [-100 to -10].")
    ] = None,
    dose: Annotated[
        float | None, typer.Option(metavar="E", help="e-/Å² of a frame; else from the noise.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Config to write [./NAME.yaml after the film].")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the config of a dataset that matches a film."""
    from ceria_data.film import open_film
    from ceria_data.preset_from import preset_from_film
    from ceria_data.store import write_text

    for flag, value in (("--pixel-size", pixel_size), ("--frame-time", frame_time),
                        ("--energy-keV", energy), ("--dose", dose)):  # fmt: skip
        if value is not None and not 0 < value < float("inf"):
            raise typer.BadParameter(f"{flag} {value:g}: expected a positive number")
    film = open_film(movie)
    with terminal.progress(quiet=quiet or json) as advance:
        preset = preset_from_film(
            film,
            sampling=pixel_size,
            frame_time_s=frame_time,
            energy_keV=energy,
            defocus_A=defocus,
            dose_e_per_A2=dose,
            on_progress=lambda done, total: advance("frames", done, total, 0),
        )
    path = out or Path(f"{preset.config.name}.yaml")
    if path.is_dir() or not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written; expected the name of a new .yaml file")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists; choose another --out, or replace it with --overwrite")
    write_text(path, preset.text)
    for warning in () if quiet else (*film.notes, *preset.warnings):
        terminal.warn(warning)
    facts, check = preset.facts, preset.facts.check
    shown = {
        "config": str(path),
        "film": film.source,
        "frames": len(film),
        "frame_time_s": frame_time or film.frame_time_s,
        "sampling_A": facts.sampling,
        "sampling from": facts.sampling_from,
        "reflections tell": None if check is None or not check.clear else check.sampling,
        "doubted": facts.doubted,
        "dose_e_per_A2": facts.dose_e_per_A2,
        "dose from": facts.dose_from,
        "next": f"ceria-data plan {path}",
    }
    if not json:
        shown = {key: _in_words(value) for key, value in shown.items()}
    terminal.show(shown, quiet=quiet, json=json)


def _in_words(value: object) -> object:
    if value is None:
        return "not known"
    return f"{value:.5g}" if isinstance(value, float) else value


def add_film_commands(app: typer.Typer) -> None:
    """Add the command to the program.

    Examples
    --------
    >>> app = typer.Typer()
    >>> add_film_commands(app)
    >>> [command.name for command in app.registered_commands]
    ['preset-from']
    """
    app.command("preset-from")(preset_from)
