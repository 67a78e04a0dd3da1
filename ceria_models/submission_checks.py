"""What figures of a submission have to obey: images and columns of the dataset, and each other.

These checks find slips and impossible figures. They cannot tell a figure that was invented with
care: that takes running the program.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ceria_data.schema import SPECIES
from ceria_models.boards import Board
from ceria_models.efficiency_checks import efficiency_faults
from ceria_models.evaluation_record import CountTable, Evaluation, Figure
from ceria_models.evaluation_rows import dose_words
from ceria_models.figure_checks import MOST, ROUNDING, figure_faults, named, near
from ceria_models.strata import WINDOW

_OTHER_FITS = 0.01
"""How far a prior that was fitted on another machine may be off."""


def faults_of(evaluation: Evaluation, board: Board) -> list[str]:
    """Check the figures of one evaluation.

    Parameters
    ----------
    evaluation : Evaluation
    board : Board
        That of its dataset and split.

    Returns
    -------
    list of str
        What is wrong, with what was found and expected; empty if nothing is.
    """
    alone = list(figure_faults(evaluation))
    return [
        *_image_faults(evaluation, board),
        *alone,
        # Sums over figures that are impossible by themselves say nothing.
        *(() if alone else _total_faults(evaluation, board)),
        *efficiency_faults(evaluation.efficiencies),
    ]


def faults_between(measured: Sequence[tuple[str, Evaluation]]) -> list[str]:
    """Compare what does not depend on the program in evaluations of one board.

    Parameters
    ----------
    measured : sequence of (str, Evaluation)
        With the name of the program.

    Returns
    -------
    list of str
        What differs on the same images: columns in the window of defocus, the prior alone, the
        volume of true counts.
    """
    faults = []
    first: dict[tuple[object, ...], tuple[str, Figure]] = {}
    for name, evaluation in measured:
        for one in evaluation.figures:
            if one.metric not in ("exact", "prior_exact", "volume_iou_of_truth"):
                continue
            part = (one.axis, one.label, one.dose_e_per_A2, one.species, one.metric)
            other, known = first.setdefault((evaluation.n_images, *part), (name, one))
            same = one.metric == "exact" or near(one.value, known.value, _OTHER_FITS)
            if one.n != known.n or not same:
                faults.append(
                    f"{named(one)} is {one.value} of {one.n} for {name}, {known.value} of "
                    f"{known.n} for {other}; on the same images "
                    + ("the numbers of columns" if one.metric == "exact" else "these")
                    + " have to be equal"
                )
    return faults


def _image_faults(evaluation: Evaluation, board: Board) -> Iterator[str]:
    if evaluation.recorded_otherwise():
        yield "pixels or camera are not the dataset's; expected its own: leave out the options"
    if evaluation.n_particles != board.particles:
        yield (
            f"{evaluation.n_particles} particles were measured; expected all {board.particles} of "
            f"the split: measure at least {board.particles} images"
        )
    images = evaluation.n_images
    if images % board.particles or not 0 < images <= board.images:
        yield (
            f"{images} images were measured; expected each of {board.particles} particles equally "
            f"often, in at most {board.images} images: choose --images {board.particles}, a "
            "multiple of it, or leave it out"
        )


def _total_faults(evaluation: Evaluation, board: Board) -> Iterator[str]:
    """Check the tables of counts against the dataset, and the figures against the tables."""
    doses = dict.fromkeys(one.dose_e_per_A2 for one in evaluation.figures)
    tables = {(one.dose_e_per_A2, one.species): one for one in evaluation.tables}
    wanted = {(dose, species) for dose in doses for species in SPECIES}
    if not wanted or set(tables) != wanted or len(tables) != len(evaluation.tables):
        yield (
            f"{len(evaluation.tables)} tables of counts stand beside figures of {len(doses)} doses;"
            f" expected one for each dose and each of {' and '.join(SPECIES)}"
        )
        return
    for (dose, species), table in tables.items():
        counts = _counted(table)
        where = f"{species}, {dose_words(dose)}"
        if counts is None:
            yield f"the table of counts ({where}) is no square of whole numbers of columns"
            continue
        scored = board.columns[species] * evaluation.n_images // board.particles
        if counts[1:].sum() != scored:
            yield (
                f"the table of counts ({where}) has {counts[1:].sum()} true columns; the dataset "
                f"has {scored} in {evaluation.n_images} images"
            )
        for metric, value in _from_table(counts).items():
            one = evaluation.figure(metric, species, dose)
            if one is None or one.n != counts[1:].sum() or not near(one.value, value, ROUNDING):
                found = "missing" if one is None else f"{one.value} of {one.n}"
                yield (
                    f"{metric} of {where} is {found}; the table of counts says "
                    f"{value} of {counts[1:].sum()}"
                )
        yield from _window_faults(evaluation, dose, species)


def _window_faults(evaluation: Evaluation, dose: float | None, species: str) -> Iterator[str]:
    """Check that the window of defocus has no more right or wrong columns than the split."""
    whole = evaluation.figure("exact", species, dose)
    part = evaluation.figure("exact", species, dose, axis="defocus_A", label=WINDOW)
    if whole is None or part is None or whole.value is None or part.value is None:
        return
    right, all_right = part.value * part.n, whole.value * whole.n
    if right > all_right + 0.5 or part.n - right > whole.n - all_right + 0.5:
        yield (
            f"{named(part)} makes {right:.0f} of {part.n} columns right, the whole split has "
            f"{all_right:.0f} of {whole.n}; expected no more right and no more wrong ones"
        )


def _counted(table: CountTable) -> NDArray[np.int64] | None:
    rows = table.confusion
    if len(rows) < 2 or any(
        len(row) != len(rows) or min(row) < 0 or max(row) > MOST for row in rows
    ):
        return None
    return np.array(rows, dtype=np.int64)


def _from_table(counts: NDArray[np.int64]) -> dict[str, float | None]:
    """Compute shares from a table of counts; None where there is nothing to share."""
    size = len(counts)
    true, found = counts[1:].sum(), counts[:, 1:].sum()
    both = counts[1:, 1:].sum()
    offset = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))[1:, 1:]
    close = {reach: counts[1:, 1:][offset <= reach].sum() for reach in (0, 1)}
    shares = {
        "precision": (both, found),
        "recall": (both, true),
        "f1": (2 * both, true + found),
        "exact": (close[0], true),
        "within_one": (close[1], true),
    }
    return {
        name: float(part / whole) if whole else None
        for name, (part, whole) in shares.items()
    }  # fmt: skip
