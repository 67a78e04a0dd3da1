"""What the results of a paired test have to obey."""

import math
from collections.abc import Iterator, Sequence

from scipy.special import ndtr

from ceria_data.schema import SPECIES
from ceria_models.efficiency import LARGEST, Efficiency
from ceria_models.figure_checks import MOST, ROUNDING
from ceria_models.paired import DETECTABILITY

FEWEST_PAIRS = 50
"""Of a case; an interval from fewer says nothing."""
_FIT = 0.1
"""How far a share of right answers may be from that of the fitted efficiency."""


def efficiency_faults(efficiencies: Sequence[Efficiency]) -> Iterator[str]:
    """Check the results of a paired test.

    Parameters
    ----------
    efficiencies : sequence of Efficiency

    Yields
    ------
    str
        What is wrong, with what was found and expected.

    Examples
    --------
    >>> one = Efficiency("O", "inner", 0.5, 0.3, 0.7, 60, 0.7, 0.84)
    >>> list(efficiency_faults([one]))
    []
    >>> from dataclasses import replace
    >>> print(*efficiency_faults([replace(one, efficiency=1.4, low=1.2, high=1.9)]))
    η of O, inner has an interval from 1.2 on; 1 is the best possible ...
    """
    keys = [(one.species, one.case, one.dose_e_per_A2) for one in efficiencies]
    for one in efficiencies:
        name = f"η of {one.species}, {one.case}"
        if one.dose_e_per_A2 is not None:
            name += f", {one.dose_e_per_A2:g} e⁻/Å²"
        if keys.count((one.species, one.case, one.dose_e_per_A2)) > 1:
            yield f"{name} is there twice"
        if one.species not in SPECIES:
            yield f"{name}: expected {' or '.join(SPECIES)}"
        yield from (f"{name} {fault}" for fault in _faults(one))


def _faults(one: Efficiency) -> Iterator[str]:
    ordered = [value for value in (one.low, one.efficiency, one.high) if value is not None]
    if any(not math.isfinite(value) or abs(value) > LARGEST**2 for value in ordered):
        yield f"is {ordered}; expected numbers between {-(LARGEST**2):g} and {LARGEST**2:g}"
        return
    if ordered != sorted(ordered):
        yield f"is {one.efficiency} with the interval {one.low} to {one.high}; expected it inside"
    if one.low is not None and one.low > 1:
        yield (
            f"has an interval from {one.low:g} on; 1 is the best possible observer: was the "
            "program shown the same images before?"
        )
    if not FEWEST_PAIRS <= one.pairs <= MOST:
        yield f"is of {one.pairs} pairs; expected at least {FEWEST_PAIRS}: leave out --pairs"
        return
    shares = {"right": one.right, "best possible": one.best}
    wrong = {what: value for what, value in shares.items() if not 0 <= value <= 1}
    for what, value in wrong.items():
        yield f"has a share {what} of {value}; expected 0 to 1"
    if wrong:
        return
    answers = 2 * one.right * one.pairs
    if abs(answers - round(answers)) > ROUNDING * one.pairs:
        yield f"has {one.right} of {one.pairs} pairs right; expected a whole number, a tie is half"
    if one.dose_e_per_A2 is None:
        yield from _chosen_faults(one)


def _chosen_faults(one: Efficiency) -> Iterator[str]:
    """Check pairs whose doses were chosen: the range of d' tells what is possible."""
    low, high = (float(ndtr(d / math.sqrt(2))) for d in DETECTABILITY)
    if not low <= one.best <= high:
        yield (
            f"has a best possible share of {one.best:.3f}; expected {low:.3f} to {high:.3f}, as d′ "
            f"is {DETECTABILITY[0]:g} to {DETECTABILITY[1]:g}"
        )
    if one.efficiency is not None:
        root = math.copysign(math.sqrt(abs(one.efficiency)), one.efficiency)
        ends = sorted(float(ndtr(root * d / math.sqrt(2))) for d in DETECTABILITY)
        if not ends[0] - _FIT <= one.right <= ends[1] + _FIT:
            yield (
                f"is {one.efficiency:.3f}, which means {ends[0]:.3f} to {ends[1]:.3f} of the pairs "
                f"right; found {one.right:.3f}"
            )
