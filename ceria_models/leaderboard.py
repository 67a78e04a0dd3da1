"""The leaderboard: programs in the order of their primary figures, beside what is possible."""

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from ceria_models.boards import Board
from ceria_models.card_tables import PLACES, Table, markdown
from ceria_models.evaluation_record import Evaluation, Figure
from ceria_models.evaluation_rows import MISSING, dose_words, in_words
from ceria_models.strata import WINDOW
from ceria_models.submission_reading import Entry

Measured = Sequence[tuple[str, Evaluation]]
"""Names of programs with what was measured of them on one board."""

_DOSES = {"count": 300.0, "depth": 1000.0}
"""Of the primary figures [e-/Å²]."""
_HEADS = {"count": "Ce counts exact", "vacancy": "η, inner O atom", "depth": "3D volume (IoU)"}


def leaderboard(entries: Sequence[Entry], boards: Sequence[Board]) -> str:
    """Write the leaderboard.

    Parameters
    ----------
    entries : sequence of Entry
        That passed the checks.
    boards : sequence of Board

    Returns
    -------
    str
        Markdown.
    """
    template = files("ceria_data.cards") / "templates/leaderboard.md.j2"
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["table"] = lambda table: markdown(table, str)
    shown = []
    for board in boards:
        own = [(e.submission.name, one) for e in entries for b, one in e.measured if b == board]
        tasks = {task: task_table(task, own) for task in _HEADS} if own else {}
        shown.append({"board": board, "tasks": tasks})
    return environment.from_string(template.read_text("utf-8")).render(
        boards=shown, programs=programs_table(entries)
    )


def task_table(task: str, measured: Measured) -> Table:
    """Rank programs by one primary figure.

    Parameters
    ----------
    task : str
        ``count``, ``vacancy`` or ``depth``.
    measured : sequence of (str, Evaluation)
        Of one board.

    Returns
    -------
    list of list of str
        Cells are Markdown. Programs first: equal figures, as shown, share a rank, and those
        without the figure come last, with the reason. Then what they can be compared with.
    """
    known = [row for row in measured if row[1].primary()[task] is not None]
    order = sorted(known, key=lambda row: (-_shown(task, row[1]), row[0].casefold()))
    values = [_shown(task, one) for _, one in order]
    rows = [["rank", "program", _HEADS[task], "measured on", "remark"]]
    for name, one in order:
        rank = 1 + values.index(_shown(task, one))
        amount = _amount(task, one, one.primary_figures()[task])
        rows.append([str(rank), inert(name), _words(task, one), amount, _remark(task, one)])
    for name, one in sorted(measured, key=lambda row: row[0].casefold()):
        if one.primary()[task] is None:
            rows.append([MISSING, inert(name), MISSING, MISSING, missing_reason(task, one)])
    return rows + _references(task, order)


def missing_reason(task: str, evaluation: Evaluation) -> str:
    """Say why a program has no primary figure.

    Parameters
    ----------
    task : str
    evaluation : Evaluation

    Returns
    -------
    str
    """
    doses = {table.dose_e_per_A2 for table in evaluation.tables}
    if doses <= {None}:
        if task == "vacancy":
            return "a table of stored counts has no pairs"
        words = "scored on stored counts, which have no fixed doses"
        metric, species = ("exact", "Ce") if task == "count" else ("volume_iou", "both")
        stored = evaluation.figure(metric, species)
        return words if stored is None else f"{words}; there {in_words(stored)}"
    if task == "vacancy":
        if evaluation.efficiency("O", "inner") is None:
            return "no paired test was run"
        return "all pairs were named rightly, or all wrongly: no η fits"
    if _DOSES[task] not in doses:
        return f"not measured at {dose_words(_DOSES[task])}"
    if task == "depth":
        return "its columns have no depth (`z_mean_A`)"
    return "no image at 50 to 90 Å overfocus was measured"


def programs_table(entries: Sequence[Entry]) -> Table:
    """List who made the programs, and what they have seen; cells are Markdown."""
    rows = [["program", "authors", "address", "licence", "trained on", "submitted", "measured by"]]
    for entry in entries:
        one = entry.submission
        versions = {str(found.settings.get("software", "")) for _, found in entry.measured} - {""}
        rows.append([
            inert(one.name),
            inert(", ".join(one.authors)),
            MISSING if one.url is None else inert(one.url),
            inert(one.licence),
            inert(one.trained_on),
            one.date.isoformat(),
            inert("ceria " + ", ".join(sorted(versions))) if versions else MISSING,
        ])  # fmt: skip
    return rows


def inert(text: str) -> str:
    r"""Write foreign text as code, in which Markdown, HTML, links and mentions mean nothing.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        One line. What could end the code or the cell of a table is replaced by a look-alike,
        characters that do not show are left out.

    Examples
    --------
    >>> print(inert("[a](http://b) | `<b>`\n# c"))
    `[a](http://b) ¦ '<b>' # c`
    """
    line = " ".join(text.split())
    shown = "".join(character for character in line if character.isprintable())
    return "`" + (shown.replace("`", "'").replace("|", "¦").strip() or MISSING) + "`"


def _shown(task: str, evaluation: Evaluation) -> float:
    """Round a primary figure to what is shown of it: only that is ranked."""
    return round(evaluation.primary()[task] or 0.0, PLACES[task])


def _amount(task: str, evaluation: Evaluation, figure: Figure | None) -> str:
    """Say how much a figure was measured on."""
    if figure is None:
        return MISSING
    if task == "vacancy":
        return f"{figure.n:,} pairs"
    what = "columns" if task == "count" else "volumes"
    return f"{figure.n:,} {what}, {evaluation.n_images:,} images"


def _remark(task: str, evaluation: Evaluation) -> str:
    if task != "count":
        return ""
    return f"at any defocus {in_words(evaluation.figure('exact', 'Ce', _DOSES['count']))}"


def _words(task: str, evaluation: Evaluation) -> str:
    inner = evaluation.efficiency("O", "inner")
    if task == "vacancy" and inner is not None:
        return inner.in_words()
    return in_words(evaluation.primary_figures()[task], PLACES[task])


def _references(task: str, order: Measured) -> Table:
    """List what programs can be compared with, where it was measured."""
    evaluations = sorted((one for _, one in order), key=lambda one: -one.n_images)
    if task == "vacancy":
        ends = (("*best possible observer*", "1"), ("*guessing*", "0"))
        rows = [[MISSING, who, value, MISSING, "by definition"] for who, value in ends]
        return rows if order else []
    if task == "depth":
        return _reference(
            task,
            "*true counts and depths*",
            "what a table of columns can say of a volume",
            evaluations,
            lambda one: one.figure("volume_iou_of_truth", "both", _DOSES["depth"]),
        )
    rows = _reference(
        task,
        "*true neighbours alone*",
        "the prior, without a look at the pixels",
        evaluations,
        lambda one: one.figure("prior_exact", "Ce", _DOSES["count"], axis="defocus_A",
                               label=WINDOW),
    )  # fmt: skip
    bounds = [(name, one.bound("Ce", _DOSES["count"], label=WINDOW)) for name, one in order]
    found = [(name, bound) for name, bound in bounds if bound is not None]
    if found:
        name, bound = max(found, key=lambda row: row[1].n)
        error = "" if bound.ceiling_error is None else f" ± {bound.ceiling_error:.3f}"
        remark = f"the Bayes ceiling on some columns, where {inert(name)} has "
        remark += MISSING if bound.program is None else f"{bound.program:.3f}"
        ceiling = f"{bound.ceiling:.3f}{error}"
        rows.append([MISSING, "*best possible*", ceiling, f"{bound.n:,} columns", remark])
    return rows


def _reference(
    task: str,
    name: str,
    remark: str,
    evaluations: Sequence[Evaluation],
    look: Callable[[Evaluation], Figure | None],
) -> Table:
    """Take a figure that is the same for all programs from the evaluation of most images."""
    for one in evaluations:
        found = look(one)
        if found is not None and found.value is not None:
            return [[MISSING, name, in_words(found), _amount(task, one, found), remark]]
    return []


def facts_of(entries: Sequence[Entry], boards: Sequence[Board]) -> dict[str, Any]:
    """Count what passed the checks, for a terminal."""
    counts = {
        f"{board.dataset} {board.version}, {board.split}": sum(
            board == other for entry in entries for other, _ in entry.measured
        )
        for board in boards
    }
    return {"submissions": len(entries), "programs on each board": counts}
