"""The command `ceria-models`: parse, call one function, print."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ceria_data import __version__, terminal
from ceria_data.errors import CeriaError
from ceria_data.terminal import Debug, Json, Quiet
from ceria_models.cli_evaluate import ModelName, add_evaluate_command
from ceria_models.cli_hub import add_hub_commands
from ceria_models.cli_predict import Device, Threads, add_predict_command, set_threads
from ceria_models.cli_report import add_report_commands
from ceria_models.cli_track import add_track_command

app = typer.Typer(
    name="ceria-models",
    help="Train, measure and use nets that count the atoms of CeO2 columns.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"ceria {__version__}")
        raise typer.Exit


@app.command("list")
def list_(quiet: Quiet = False, json: Json = False, debug: Debug = False) -> None:
    """List the models that come with the package, and those that were pulled from the Hub."""
    from ceria_models.model_places import list_models

    table = list_models()
    facts: dict[str, Any] = {
        row["name"]: (
            f"{row['source']}, {row['architecture']}, {row['parameters'] / 1e6:.2g} million "
            f"weights, trained on {row['dataset']}" + (" (default)" if row["default"] else "")
        )
        for row in table.to_dict("records")
    }
    if json:
        facts = {"models": table.to_dict("records")}
    terminal.show(facts or {"models": "none"}, quiet=quiet, json=json)


@app.command()
def train(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="YAML file or name of a bundled config.")
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Dataset with the splits train and validation [ceria-columns-v1, here or in "
            "CERIA_HOME].",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for log, checkpoint and model [./CONFIG-training]."),
    ] = None,
    init: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Model to start from (fine-tuning).")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make crops.")] = 1,
    threads: Threads = None,
    device: Device = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write for TensorBoard too.")
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a net, calibrate it, and save it as a model.

    Several processes or GPUs: torchrun --nproc-per-node N -m ceria_models train ...
    """
    from ceria_models.machine import open_machine
    from ceria_models.training_config import load_training_config
    from ceria_models.training_run import Watch, benchmark_folder, print_note, run_training

    if resume and overwrite:
        raise typer.BadParameter("--resume and --overwrite contradict each other")
    loaded = load_training_config(config)
    set_threads(threads)
    machine = open_machine(device, workers)
    silent = quiet or json or machine.rank > 0
    with terminal.progress(quiet=silent) as advance:
        facts = run_training(
            loaded,
            data or benchmark_folder(),
            out or Path(f"{loaded.name}-training"),
            machine,
            Watch(advance, (lambda line: None) if silent else print_note),
            init=init,
            overwrite=overwrite,
            resume=resume,
            tensorboard=tensorboard,
        )
    if machine.rank == 0:
        terminal.show(facts, quiet=quiet, json=json)


@app.command()
def card(
    model: ModelName,
    evaluation: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="What `evaluate` wrote about the model, once for each split; by default what "
            "is stored with it.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File for the card; by default card and figures go into MODEL."),
    ] = None,
    version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Give MODEL this version, as in 1.1.0.")
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the card of a model: what it is, how well it counts, where it does not apply."""
    from ceria_models.card_run import write_card

    facts = write_card(model, evaluation or [], out, version)
    terminal.show(facts, quiet=quiet, json=json)


@app.command()
def leaderboard(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR", help="Folder of submissions; by default that of the package."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File for the table; without it submissions are checked.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare --out with a table made anew; write nothing.")
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Check submissions to the leaderboard and write its table; exit code 1 if one is wrong."""
    from ceria_models.leaderboard_run import run_leaderboard

    if check and out is None:
        raise typer.BadParameter("--check needs --out, the file to compare")
    terminal.show(run_leaderboard(folder, out, check=check), quiet=quiet, json=json)


@app.command()
def submission(
    report: Annotated[
        Path, typer.Argument(metavar="REPORT", help="What `evaluate` wrote about a program.")
    ],
    out: Annotated[Path, typer.Option(help="New folder, in that of the leaderboard.")],
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Begin a submission to the leaderboard: its figures, and a file to fill in."""
    from ceria_models.submission import write_submission

    terminal.show(write_submission(report, out), quiet=quiet, json=json)


@app.command()
def export(
    model: ModelName,
    out: Annotated[
        Path | None,
        typer.Option(help="New file, or a folder for it [./MODEL.onnx or ./MODEL.zip]."),
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="onnx, or bioimageio: a package of the BioImage Model Zoo for Fiji and napari.",
        ),
    ] = "onnx",
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a model for other programs, and compare what the file says with the model."""
    from ceria_models.weights import from_pretrained

    if format == "onnx":
        from ceria_models.onnx_file import export_onnx as write

        suffix = ".onnx"
    elif format == "bioimageio":
        from ceria_models.bioimageio_package import export_bioimageio as write

        suffix = ".zip"
    else:
        raise typer.BadParameter(f"--format is {format!r}; expected onnx or bioimageio")
    loaded = from_pretrained(model)
    facts = write(loaded, out or Path(f"{loaded.config.name}{suffix}"))
    terminal.show(facts, quiet=quiet, json=json)


@app.command()
def verify(
    model: ModelName, quiet: Quiet = False, json: Json = False, debug: Debug = False
) -> None:
    """Load a model and run its stored test input again; exit code 1 if the result differs."""
    from ceria_models.weights import verify_model

    terminal.show(verify_model(model), quiet=quiet, json=json)


add_evaluate_command(app)
add_predict_command(app)
add_hub_commands(app)
add_report_commands(app)
add_track_command(app)


def main() -> None:
    """Run the command and end with its exit code."""
    sys.exit(terminal.run(app, CeriaError))
