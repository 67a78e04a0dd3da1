"""What every figure of an evaluation has to obey, by itself and beside the others."""

import math
from collections import Counter
from collections.abc import Iterator

from ceria_data.schema import SPECIES
from ceria_models.evaluation_record import Evaluation, Figure
from ceria_models.evaluation_rows import dose_words
from ceria_models.metrics import COLUMN_METRICS, STABILITY, VOLUME_IOU
from ceria_models.scoring import TRUTH_IOU

ROUNDING = 1e-6
MOST = 1 << 40
"""Of anything that is counted; no dataset is near it."""
_UNITS = {one.name: one.unit for one in (*COLUMN_METRICS, STABILITY, VOLUME_IOU, TRUTH_IOU)}
_WHOLE = ("exact", "within_one", "recall", "prior_exact")
"""Shares of true columns: value times columns is a whole number."""


def figure_faults(evaluation: Evaluation) -> Iterator[str]:
    """Check the figures of an evaluation, and those of the ceiling.

    Parameters
    ----------
    evaluation : Evaluation

    Yields
    ------
    str
        What is wrong, with what was found and expected.
    """
    for one in evaluation.figures:
        yield from _own_faults(one)
    yield from _order_faults(evaluation)
    yield from _primary_faults(evaluation)
    yield from _bound_faults(evaluation)


def _own_faults(one: Figure) -> Iterator[str]:
    """Check one figure by itself."""
    unit = _UNITS.get(one.metric)
    if unit is None or one.unit != unit or one.species not in (*SPECIES, "both"):
        yield f"{named(one)} [{one.unit}] is no figure that `ceria-models evaluate` writes"
        return
    highest = math.inf if unit else 1.0
    for value in (one.value, one.low, one.high):
        if value is not None and not (math.isfinite(value) and 0 <= value <= highest):
            yield f"{named(one)} is {value}; expected 0 " + ("or more" if unit else "to 1")
    if one.low is not None and one.high is not None and one.low > one.high:
        yield f"{named(one)} has the interval {one.low} to {one.high}; expected low before high"
    if not 1 <= one.n <= MOST:
        yield f"{named(one)} is of {one.n} columns or volumes; expected 1 to {MOST}"
    elif one.metric in _WHOLE and one.value is not None and 0 <= one.value <= 1:
        columns = one.value * one.n
        if abs(columns - round(columns)) > ROUNDING * one.n:
            yield (
                f"{named(one)} is {one.value} of {one.n} columns, which is {columns:.3f} columns; "
                "expected a whole number"
            )


def _order_faults(evaluation: Evaluation) -> Iterator[str]:
    """Check what holds between figures of one part, and that none is there twice."""
    keys = [(f.axis, f.label, f.dose_e_per_A2, f.species, f.metric) for f in evaluation.figures]
    for key, n in Counter(keys).items():
        if n > 1:
            yield f"{key[-1]} of {key[3]} ({key[1]}, {dose_words(key[2])}) is there {n} times"
    for one in evaluation.figures:
        for lower, upper in (("exact", "within_one"), ("within_one", "recall")):
            if one.metric != lower:
                continue
            other = evaluation.figure(
                upper, one.species, one.dose_e_per_A2, axis=one.axis, label=one.label
            )
            if other is None:
                yield f"{named(one)} stands without {upper}; expected both"
            elif (one.value or 0) > (other.value or 0) + ROUNDING or one.n != other.n:
                yield (
                    f"{named(one)} is {one.value} of {one.n}, {upper} {other.value} of {other.n}; "
                    f"expected {lower} ≤ {upper} of the same columns"
                )


def _primary_faults(evaluation: Evaluation) -> Iterator[str]:
    """Check that primary figures have an interval, and lie in it."""
    for name, one in evaluation.primary_figures().items():
        if one is None or one.value is None:
            continue
        ends = [end for end in (one.low, one.high) if end is not None]
        needed = 1 if name == "vacancy" else 2
        if len(ends) < needed:
            yield f"the primary figure {name} has no interval; expected one over particles"
        elif (ordered := [low for low in (one.low, one.value, one.high) if low is not None]) != (
            sorted(ordered)
        ):
            yield (
                f"the primary figure {name} is {one.value} with the interval {one.low} to "
                f"{one.high}; expected it inside"
            )
        if name == "depth" and one.n != 2 * evaluation.n_images:
            yield (
                f"the primary figure depth is of {one.n} volumes; expected one of each species in "
                f"{evaluation.n_images} images"
            )


def _bound_faults(evaluation: Evaluation) -> Iterator[str]:
    for one in evaluation.bounds:
        for what in ("ceiling", "flat", "prior", "program"):
            value = getattr(one, what)
            if value is not None and not 0 <= value <= 1:
                yield f"the ceiling's {what} of {one.species} is {value}; expected 0 to 1"


def near(one: float | None, other: float | None, reach: float) -> bool:
    """Tell whether two figures are equal, but for rounding; both may be missing."""
    if one is None or other is None:
        return one is other
    return abs(one - other) <= reach


def named(one: Figure) -> str:
    """Name a figure with its part and dose."""
    return f"{one.metric} of {one.species} ({one.label}, {dose_words(one.dose_e_per_A2)})"
