"""The commands of `ceria-models` that share models on the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer

from ceria_data import terminal
from ceria_data.cli_hub import DryRun, Private, RepoId, Versioned, push_facts
from ceria_data.terminal import Debug, Json, Quiet


def push(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL_DIR", help="Folder of a model, or name of a bundled one."),
    ],
    repository: RepoId,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Export the net as net.onnx, and publish that too.")
    ] = False,
    dry_run: DryRun = False,
    private: Private = False,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Publish a model on the Hub as one version that never changes."""
    from ceria_data.hub import quiet_client
    from ceria_models.model_push import push_model

    quiet_client(bars=not (quiet or json))
    done = push_model(model, repository, onnx=onnx, private=private, dry_run=dry_run)
    terminal.show(push_facts(done, dry_run=dry_run, json=json), quiet=quiet, json=json)


def pull(
    repository: Versioned,
    out: Annotated[
        Path | None, typer.Option(help="New folder for the model; by default one in the cache.")
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Fetch a version of a model from the Hub and check it; repeat it to go on."""
    from ceria_data.hub import quiet_client
    from ceria_models.model_pull import pull_model

    quiet_client(bars=False)
    with terminal.progress(quiet=quiet or json) as advance:
        done = pull_model(repository, out=out, on_progress=advance)
    facts = {
        "model": str(done.folder),
        "name": done.config.name,
        "repository": done.repo_id,
        "version": done.version,
        "commit": done.commit,
        "bytes fetched": done.downloaded,
        **({"onnx": str(done.onnx)} if done.onnx else {}),
    }
    terminal.show(facts, quiet=quiet, json=json)


def add_hub_commands(app: typer.Typer) -> None:
    """Add the commands to the program.

    Examples
    --------
    >>> app = typer.Typer()
    >>> add_hub_commands(app)
    >>> [command.callback.__name__ for command in app.registered_commands]
    ['push', 'pull']
    """
    for command in (push, pull):
        app.command()(command)
