"""The command `ceria-data`: parse, call one function, print."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ceria_data import __version__, terminal
from ceria_data.bundled import dataset_folder, refuse_among_bundled
from ceria_data.cli_film import add_film_commands
from ceria_data.cli_hub import add_hub_commands
from ceria_data.errors import CeriaError, MissingExtraError, OutputError
from ceria_data.terminal import Debug, Json, Quiet
from ceria_data.workers import workers_of

app = typer.Typer(
    name="ceria-data",
    help="Build, check and look at simulated HRTEM datasets of CeO2.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DatasetDir = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder of a dataset, or name of a bundled one.")
]
ConfigName = Annotated[str, typer.Argument(metavar="CONFIG", help="YAML file or name of a preset.")]
Device = Annotated[str, typer.Option(help="cpu or gpu.", metavar="DEVICE")]
Workers = Annotated[
    int | None, typer.Option(min=0, help="Worker processes; 0 works in this process.")
]
Scheduler = Annotated[str | None, typer.Option(help="Address of a running Dask scheduler.")]
Split = Annotated[str, typer.Option(help="Split to choose columns from.")]
BatchMemory = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        metavar="GB",
        help="Memory of a worker for the waves that go together; by default 2 on a GPU, and one "
        "wave on a CPU.",
    ),
]


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"ceria {__version__}")
        raise typer.Exit


@app.command()
def build(
    config: ConfigName,
    out: Annotated[Path, typer.Option(help="Folder of the new dataset.")],
    workers: Workers = None,
    scheduler: Scheduler = None,
    cluster: Annotated[str | None, typer.Option(help="slurm.")] = None,
    device: Device = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Continue a build.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Publish without structures that failed.")
    ] = False,
    block: Annotated[
        int | None, typer.Option(min=1, help="Structures per task and shard; changes no value.")
    ] = None,
    batch_memory: BatchMemory = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Build a dataset from a config or a preset."""
    with _generator("building a dataset"):
        from ceria_data.build import Progress
        from ceria_data.build import build as build_dataset
        from ceria_data.config import load_config, warnings_of

    loaded = load_config(config)
    for warning in () if quiet else warnings_of(loaded):
        terminal.warn(warning)
    opened = workers_of(workers, scheduler, cluster, device)
    with terminal.progress(quiet=quiet or json) as advance:

        def show(state: Progress) -> None:
            advance(state.unit, state.done, state.total, state.reused)

        manifest = build_dataset(
            loaded,
            out,
            workers=opened,
            block=block,
            device=device,
            batch_memory=_bytes(batch_memory),
            resume=resume,
            overwrite=overwrite,
            allow_missing=allow_missing,
            on_progress=show,
        )
    terminal.show(
        {
            "dataset": str(out),
            "card": str(out / "README.md"),
            "preview": str(out / "preview"),
            "structures": manifest["n_structures"],
            "images": manifest["n_samples"],
            "missing": len(manifest["missing"]),
            "core_seconds": manifest["cost"]["core_seconds"],
            "labels_digest": manifest["labels_digest"],
            "content_digest": manifest["content_digest"],
        },
        quiet=quiet,
        json=json,
    )


@app.command()
def plan(
    config: ConfigName, quiet: Quiet = False, json: Json = False, debug: Debug = False
) -> None:
    """Predict size, time and memory of a build, without doing it."""
    with _generator("planning a build"):
        from ceria_data.config import load_config, warnings_of
        from ceria_data.plan import plan as plan_build
        from ceria_data.plan import plan_facts

    loaded = load_config(config)
    facts = plan_facts(plan_build(loaded))
    facts["warnings"] = [*warnings_of(loaded), *facts["warnings"]]
    terminal.show(facts, quiet=quiet, json=json)


@app.command()
def verify(
    folder: DatasetDir,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make damaged files again from the config.")
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Check every file, table and array of a dataset; exit code 1 if anything is wrong."""
    folder = dataset_folder(folder)
    from ceria_data.verify import verify as verify_dataset

    with terminal.progress(quiet=quiet or json) as advance:
        problems = verify_dataset(folder, lambda done, total: advance("checks", done, total, 0))
    repaired: list[str] = []
    if problems and repair:
        with _generator("repairing a dataset"):
            from ceria_data.repair import repair as repair_dataset
        try:
            refuse_among_bundled(folder, "install the package again, or repair a copy")
            repaired = repair_dataset(folder)
            problems = verify_dataset(folder)
        except CeriaError as error:
            terminal.warn(f"no repair: {error}")
    lines = [str(problem) for problem in problems]
    terminal.show(
        {
            "dataset": str(folder),
            "as it should be": not problems,
            "problems": lines,
            **({"made again": repaired} if repair else {}),
        },
        quiet=quiet,
        json=json,
    )
    if problems:
        raise typer.Exit(1)


@app.command()
def info(
    folder: DatasetDir, quiet: Quiet = False, json: Json = False, debug: Debug = False
) -> None:
    """Say what a dataset holds: sizes, splits, ranges, digests, cost."""
    from ceria_data.dataset import open_dataset
    from ceria_data.facts import dataset_facts

    terminal.show(dataset_facts(open_dataset(folder)), quiet=quiet, json=json)


@app.command()
def compare(
    dir_a: DatasetDir,
    dir_b: DatasetDir,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare two datasets; exit code 1 if their labels differ."""
    with _generator("comparing datasets"):
        from ceria_data.compare import compare as compare_datasets

    result = compare_datasets(dataset_folder(dir_a), dataset_folder(dir_b))
    terminal.show(asdict(result), quiet=quiet, json=json)
    if not result.labels_equal:
        raise typer.Exit(1)


@app.command()
def regenerate(
    folder: DatasetDir,
    sample: Annotated[int, typer.Option(help="Row of the sample.")],
    device: Device = "cpu",
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make one sample again; exit code 1 if it differs from the stored one."""
    with _generator("regenerating a sample"):
        from ceria_data.compare import regenerate as regenerate_sample

    result = regenerate_sample(dataset_folder(folder), sample, device)
    terminal.show(asdict(result) | {"equal": result.equal}, quiet=quiet, json=json)
    if not result.equal:
        raise typer.Exit(1)


@app.command()
def limits(
    folder: DatasetDir,
    split: Split = "test",
    columns: Annotated[int, typer.Option(min=2, help="Columns to evaluate.")] = 2000,
    out: Annotated[
        Path | None, typer.Option(help="New folder for the result; by default DIR.limits.")
    ] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    device: Device = "cpu",
    batch_memory: BatchMemory = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Compute the ideal observer's d' for columns of a dataset, which stays as it is."""
    with _generator("computing limits"):
        from ceria_data.limits_build import build_limits

    out = out or folder.with_name(f"{folder.resolve().name}.limits")
    refuse_among_bundled(out, "choose another folder with --out")
    with terminal.progress(quiet=quiet or json) as advance:
        facts = build_limits(
            dataset_folder(folder),
            split=split,
            n_columns=columns,
            out=out,
            workers=workers_of(workers, scheduler, None, device),
            device=device,
            batch_memory=_bytes(batch_memory),
            on_progress=lambda done, total: advance("pairs", done, total, 0),
        )
    terminal.show(facts, quiet=quiet, json=json)


@app.command()
def ceiling(
    folder: DatasetDir,
    split: Split = "test",
    columns: Annotated[int, typer.Option(min=2, help="Columns to evaluate.")] = 400,
    out: Annotated[
        Path | None, typer.Option(help="New folder for the result; by default DIR.ceiling.")
    ] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    device: Device = "cpu",
    batch_memory: BatchMemory = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Simulate columns with other counts: what a count or a position can reach at best."""
    with _generator("computing a ceiling"):
        from ceria_data.ceiling_build import build_ceiling

    out = out or folder.with_name(f"{folder.resolve().name}.ceiling")
    refuse_among_bundled(out, "choose another folder with --out")
    with terminal.progress(quiet=quiet or json) as advance:
        facts = build_ceiling(
            dataset_folder(folder),
            split=split,
            n_columns=columns,
            out=out,
            workers=workers_of(workers, scheduler, None, device),
            device=device,
            batch_memory=_bytes(batch_memory),
            on_progress=lambda done, total: advance("columns", done, total, 0),
        )
    terminal.show(facts, quiet=quiet, json=json)


@app.command()
def preview(
    folder: DatasetDir,
    html: Annotated[bool, typer.Option("--html", help="Write a page to look at.")] = False,
    out: Annotated[Path | None, typer.Option(help="File to write.")] = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a contact sheet, or a page to look at, into the current folder."""
    from ceria_data.dataset import open_dataset
    from ceria_data.preview import contact_sheet, html_page
    from ceria_data.store import refuse_inside_dataset

    dataset = open_dataset(folder)
    name = f"{folder.resolve().name}-preview"
    path = out or Path(f"{name}.html" if html else f"{name}.png")
    suffix = ".html" if html else ".png"
    if path.suffix != suffix or path.is_dir() or not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written; expected the name of a new {suffix} file")
    refuse_inside_dataset(path)
    if html:
        path.write_text(html_page(dataset), encoding="utf-8")
    else:
        contact_sheet(dataset, path)
    terminal.show({"preview": str(path)}, quiet=quiet, json=json)


add_film_commands(app)
add_hub_commands(app)


def _bytes(gigabytes: float | None) -> int | None:
    return None if gigabytes is None else round(gigabytes * 1e9)


@contextmanager
def _generator(what: str) -> Iterator[None]:
    """Turn a missing module of the generator into the line that installs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        module = error.name or ""
        if module.startswith("ceria"):
            raise
        raise MissingExtraError(what, "generate", module) from error


def main() -> None:
    """Run the command and end with its exit code."""
    sys.exit(terminal.run(app, CeriaError))
