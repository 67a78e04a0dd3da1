"""What a command prints: results, progress, warnings, errors."""

import json as json_module
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells use it."""

_UsageError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
"""Typer carries its own copy of click in some versions and uses the installed one in others."""

_state = {"debug": False}


def set_debug(value: bool) -> bool:
    """Remember that tracebacks are wanted."""
    _state["debug"] = value or _state["debug"]
    return value


Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", callback=set_debug)
]


def run(app: typer.Typer, expected: type[Exception]) -> int:
    """Run a command line and return its exit code.

    Parameters
    ----------
    app : typer.Typer
    expected : type
        Errors with a message for the user and an ``exit_code``.

    Returns
    -------
    int
        0 done, 1 the data is not as it should be, 2 wrong usage or input, 130 interrupted.
    """
    _state["debug"] = False
    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:  # typer turns Ctrl-C into this code
            raise KeyboardInterrupt
    except _UsageError as error:
        error.show()
        return 2
    except (KeyboardInterrupt, typer.Abort):
        _print_error("interrupted; the same command with --resume, where it has one, goes on")
        return INTERRUPTED
    except expected as error:
        if _state["debug"]:
            raise
        _print_error(str(error))
        return int(getattr(error, "exit_code", 2))
    except (OSError, ValueError) as error:
        if _state["debug"]:
            raise
        _print_error(f"{error} (--debug shows where)")
        return 2
    return code if isinstance(code, int) else 0


def warn(text: str) -> None:
    """Print a warning to standard error."""
    Console(stderr=True).print(f"[yellow]warning:[/yellow] {escape(text)}", soft_wrap=True)


def show(facts: dict[str, Any], *, quiet: bool, json: bool) -> None:
    """Print a result: JSON for programs, aligned lines for people."""
    if json:
        typer.echo(json_module.dumps(facts, ensure_ascii=False, indent=1))
    elif not quiet:
        width = max(len(str(key)) for key in facts)
        for key, value in facts.items():
            for i, line in enumerate(_lines(value)):
                typer.echo(f"{key if i == 0 else '':<{width}}  {line}")


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[str, int, int, int], None]]:
    """Show bars with rate and time left on standard error.

    Parameters
    ----------
    quiet : bool
        Show nothing.

    Yields
    ------
    callable
        To be told the unit that is counted, how many are done, of how many, and how many
        of them were there before. Each unit has its own bar.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True, quiet=quiet)) as bar:

        def advance(unit: str, done: int, total: int, reused: int) -> None:
            if unit not in tasks:
                tasks[unit] = bar.add_task(unit, total=total, completed=done)
            bar.update(tasks[unit], completed=done, reused=reused)

        yield advance


class _Rate(ProgressColumn):
    """Work per second since the start, without what was there before."""

    def render(self, task: Task) -> Text:
        elapsed = task.elapsed or 0.0
        new = task.completed - float(task.fields.get("reused", 0))
        rate = f"{new / elapsed:.1f} {task.description}/s" if elapsed > 0 and new > 0 else ""
        return Text(rate)


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{key}: {' '.join(_lines(item))}" for key, item in value.items()] or ["-"]
    if isinstance(value, (list, tuple)):
        if all(isinstance(item, (int, float)) for item in value):
            numbers = (f"{item:.6g}" if isinstance(item, float) else str(item) for item in value)
            value = [", ".join(numbers)] if value else []
        return [str(item) for item in value] or ["none"]
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    return [str(value)]


def _print_error(text: str) -> None:
    Console(stderr=True).print(f"[red]error:[/red] {escape(text)}", soft_wrap=True)
    sys.stderr.flush()
