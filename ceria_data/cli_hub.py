"""The commands of `ceria-data` that share datasets on the Hugging Face Hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ceria_data import terminal
from ceria_data.bundled import dataset_folder, refuse_among_bundled
from ceria_data.terminal import Debug, Json, Quiet

if TYPE_CHECKING:  # the client of the Hub takes time to import
    from ceria_data.push import Push

_FILES_SHOWN = 40

RepoId = Annotated[str, typer.Argument(metavar="REPO_ID", help="user/name on the Hub.")]
Versioned = Annotated[
    str, typer.Argument(metavar="REPO_ID[@VERSION]", help="user/name or user/name@1.0.0.")
]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]
Private = Annotated[bool, typer.Option("--private", help="Make a new repository private.")]


def push(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of a dataset, or name of a bundled one.")
    ],
    repository: RepoId,
    dry_run: DryRun = False,
    private: Private = False,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Publish a dataset on the Hub as one version that never changes."""
    from ceria_data.dataset_push import push_dataset
    from ceria_data.hub import quiet_client

    folder = dataset_folder(folder)
    quiet_client(bars=not (quiet or json))
    with terminal.progress(quiet=quiet or json) as advance:
        done = push_dataset(
            folder,
            repository,
            private=private,
            dry_run=dry_run,
            on_progress=lambda unit, n, total: advance(unit, n, total, 0),
        )
    terminal.show(push_facts(done, dry_run=dry_run, json=json), quiet=quiet, json=json)


def pull(
    repository: Versioned,
    out: Annotated[
        Path | None, typer.Option(help="New folder for the dataset; by default one in the cache.")
    ] = None,
    digest: Annotated[
        str | None, typer.Option(help="Content digest that the dataset must have.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="Fetch this split only; give it again for more of them."),
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Fetch a version of a dataset from the Hub and check it; repeat it to go on."""
    from ceria_data.dataset_pull import pull_dataset
    from ceria_data.hub import quiet_client

    if out is not None:
        refuse_among_bundled(out, "choose another --out")
    quiet_client(bars=False)
    with terminal.progress(quiet=quiet or json) as advance:
        done = pull_dataset(
            repository, out=out, digest=digest, splits=split or (), on_progress=advance
        )
    facts = {
        "dataset": str(done.folder),
        "repository": done.repo_id,
        "version": done.version,
        "commit": done.commit,
        "images": done.manifest["n_samples"],
        "splits": done.splits or "all",
        "bytes fetched": done.downloaded,
        "labels_digest": done.manifest["labels_digest"],
        "content_digest": done.manifest["content_digest"],
        "checked": "bytes and content" if digest else "bytes",
    }
    terminal.show(facts, quiet=quiet, json=json)


def peek(
    repository: Annotated[
        str, typer.Argument(metavar="hf://datasets/REPO_ID[@VERSION]", help="On the Hub.")
    ],
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what a dataset on the Hub holds, as `info` does, without fetching its arrays."""
    from ceria_data.glance import peek_dataset
    from ceria_data.hub import quiet_client

    quiet_client(bars=False)
    terminal.show(peek_dataset(repository), quiet=quiet, json=json)


def push_facts(done: "Push", *, dry_run: bool, json: bool) -> dict[str, Any]:
    """Say what a push did, or would do.

    Parameters
    ----------
    done : Push
    dry_run : bool
    json : bool
        For programs: long lists are given as a whole.

    Returns
    -------
    dict

    Examples
    --------
    >>> from ceria_data.publication import Publication
    >>> from ceria_data.push import Push
    >>> there = Publication("1.0.0", True, False, "c0ffee", {}, [], {})
    >>> push_facts(Push("user/name", "v1.0.0", {}, there), dry_run=False, json=True)["state"]
    'there already, nothing done'
    """
    planned = done.planned
    state = "there already, nothing done"
    if not planned.published:
        state = "would be published" if dry_run else "published"
    facts: dict[str, Any] = {
        "repository": done.repo_id,
        "new repository": not planned.exists,
        "private": planned.private,
        "version": planned.version,
        "tag": done.tag,
        "commit": done.commit,
        "state": state,
        "files": len(done.files),
        "bytes": sum(file.size for file in done.files.values()),
        **({"notes": done.notes} if done.notes else {}),
    }
    if dry_run and not planned.published:
        sizes = {name: file.size for name, file in planned.upload.items()}
        facts |= {
            "bytes to upload": planned.upload_bytes,
            "commits": planned.commits,
            "to upload": sizes if json else _shortened([f"{n}  {s}" for n, s in sizes.items()]),
            "to remove from the head": planned.delete if json else _shortened(planned.delete),
            "card": done.card_difference if json else _shortened(done.card_difference),
        }
    return facts


def _shortened(lines: list[str]) -> list[str]:
    """Keep the first lines for people; ``--json`` has all of them."""
    more = len(lines) - _FILES_SHOWN
    return lines if more <= 0 else [*lines[:_FILES_SHOWN], f"and {more} more (--json lists all)"]


def add_hub_commands(app: typer.Typer) -> None:
    """Add the commands to the program.

    Examples
    --------
    >>> app = typer.Typer()
    >>> add_hub_commands(app)
    >>> [command.callback.__name__ for command in app.registered_commands]
    ['push', 'pull', 'peek']
    """
    for command in (push, pull, peek):
        app.command()(command)
