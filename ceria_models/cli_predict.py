"""The command `ceria-models predict`, and the options that it shares with others."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ceria_data import terminal
from ceria_data.errors import ConfigError, FilmError
from ceria_data.film import Film
from ceria_data.terminal import Debug, Json, Quiet

if TYPE_CHECKING:
    from ceria_data.calibration import SamplingEstimate
    from ceria_data.film_references import CameraReferences
    from ceria_models.film_source import Origins, Source

Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads of the net; by default one per core.")
]
_SAME = 1e-3
"""Relative difference of two pixel sizes that are one."""
Device = Annotated[str, typer.Option(help="cpu or gpu.", metavar="DEVICE")]

Dark = Annotated[Path | None, typer.Option(help="Frames without electrons, of the same camera.")]
Flat = Annotated[Path | None, typer.Option(help="Evenly lit frames as recorded, offset included.")]
Offset = Annotated[
    float | None,
    typer.Option(metavar="COUNTS", help="Counts without electrons, in place of --dark."),
]
Gain = Annotated[float, typer.Option(metavar="COUNTS", help="Counts per electron.")]
BadPixels = Annotated[
    Path | None, typer.Option(help="Image: not 0 where a pixel is to be repaired.")
]
Input = Annotated[
    Path,
    typer.Argument(
        metavar="INPUT",
        help="An image or a film in a file, or a dataset (its stored counts).",
    ),
]
PixelSize = Annotated[
    float | None,
    typer.Option(
        metavar="A",
        help="Pixel size at the specimen [Å]; where a film says one too, this counts.",
    ),
]
FrameTime = Annotated[
    float | None,
    typer.Option(metavar="S", min=1e-9, help="From one frame to the next [s]."),
]
RuntimeName = Annotated[
    str,
    typer.Option(
        metavar="RUNTIME",
        help="What runs the net: float32, bfloat16 (faster where the processor has it, other "
        "last digits), or an .onnx file that `export` made of the model.",
    ),
]
Orientations = Annotated[
    bool,
    typer.Option(
        "--orientations",
        help="Average over turned and mirrored images: a little better, 8 times as long.",
    ),
]
Particle = Annotated[
    int | None, typer.Option(min=0, help="Of a dataset of films, the film of this particle.")
]


def predict(
    source: Input,
    out: Annotated[Path, typer.Option(help="New folder for tables and pictures.")],
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Also user/net@1.0.0 on the Hub [bundled].")
    ] = None,
    pixel_size: PixelSize = None,
    frame_time: FrameTime = None,
    split: Annotated[str | None, typer.Option(help="Split of a dataset.")] = None,
    particle: Particle = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Predict the first images only.")] = None,
    first: Annotated[int, typer.Option(min=0, help="Frame to begin with.")] = 0,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames to keep.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Keep each N-th frame.", metavar="N")] = 1,
    bin_: Annotated[
        int, typer.Option("--bin", min=1, help="Pixels along each side that become one.")
    ] = 1,
    sum_: Annotated[int, typer.Option("--sum", min=1, help="Frames that become one.")] = 1,
    running: Annotated[
        int, typer.Option(min=1, help="Frames whose running sum takes the place of each.")
    ] = 1,
    dark: Dark = None,
    flat: Flat = None,
    offset: Offset = None,
    gain: Gain = 1.0,
    bad_pixels: BadPixels = None,
    pictures: Annotated[int, typer.Option(min=0, help="Overlays to draw.")] = 8,
    force: Annotated[
        bool, typer.Option("--force", help="Predict also far outside of what the net has seen.")
    ] = False,
    runtime: RuntimeName = "float32",
    orientations: Orientations = False,
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

    references = _references(dark, flat, offset, gain, bad_pixels)
    opened = open_source(
        source,
        split=split,
        limit=limit,
        particle=particle,
        frame_time_s=frame_time,
        preparation=Preparation(first, frames, every, bin_, sum_, running, references),
    )
    sampling, notes, origins = _sampling(source, opened, pixel_size, bin_)
    film = replace(opened.film, notes=(*opened.film.notes, *notes))
    opened = replace(opened, film=film, origins=origins)
    set_threads(threads)
    settings = PredictionSettings(
        model or DEFAULT, pictures, force, runtime, orientations, device, resume, overwrite
    )
    with terminal.progress(quiet=quiet or json) as advance:
        facts, warnings = run_prediction(opened, sampling, out, settings, tell=advance)
    for warning in () if quiet else warnings:
        terminal.warn(warning)
    terminal.show(facts, quiet=quiet, json=json)
    if not (quiet or json):
        typer.echo(f"\n{table_head(Path(facts['table']))}")


def _references(
    dark: Path | None, flat: Path | None, offset: float | None, gain: float, bad_pixels: Path | None
) -> "CameraReferences":
    """Read the references that were named."""
    from ceria_data.film_references import CameraReferences, read_reference

    files = {"dark": dark, "flat": flat, "bad_pixels": bad_pixels}
    read = {}
    for name, file in files.items():
        try:
            read[name] = None if file is None else read_reference(file)
        except FilmError as error:
            raise FilmError(f"--{name.replace('_', '-')}: {error}") from error
    return CameraReferences(read["dark"], offset, read["flat"], gain, read["bad_pixels"])


def _sampling(
    source: Path, opened: "Source", pixel_size: float | None, binned: int
) -> tuple[float, list[str], "Origins"]:
    """Take the pixel size that was given, or that of the film, or estimate it; and what to note.

    Flag and file speak of the pixels of the file; those of the film are binned already.
    """
    film, origins = opened.film, opened.origins
    if pixel_size is None:
        if film.sampling is not None:
            return film.sampling, [], origins
        found = _estimated(source, film)
        # As --pixel-size means it: a pixel of the file.
        size = f"{found.sampling / binned:.4g} ± {found.uncertainty / binned:.2g} Å"
        note = (
            f"{source} does not say its pixel size; {size} is what makes its reflections those of "
            "CeO2 [110], and was taken; --pixel-size overrides it"
        )
        told = replace(origins, sampling="estimated", sampling_uncertainty=found.uncertainty)
        return found.sampling, [note], told
    known = None if film.sampling is None else film.sampling / binned
    notes = []
    if known is not None and abs(pixel_size / known - 1) > _SAME:
        if film.samples is not None:
            raise typer.BadParameter(
                f"--pixel-size {pixel_size}: {source} knows its pixel size, {known:g} Å; leave it "
                "out"
            )
        notes = [f"{source} says a pixel size of {known:.4g} Å; {pixel_size:g} Å was taken"]
    return pixel_size * binned, notes, replace(origins, sampling="flag")


def _estimated(source: Path, film: Film) -> "SamplingEstimate":
    """Find a pixel size that nobody says from the crystal, or ask for it."""
    from ceria_data.calibration import estimate_sampling

    try:
        return estimate_sampling(film)
    except FilmError as error:
        raise ConfigError(
            f"{source} does not say its pixel size, and its reflections do not tell it: {error}"
        ) from error


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
