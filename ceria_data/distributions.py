"""How a drawn quantity is distributed: one small class per form that a config may use.

Every form is a quantile function: it turns **one** uniform number between 0 and 1 into a
value. Drawing n quantities therefore consumes exactly n uniform numbers, whatever their
forms are, and changing one quantity's distribution leaves the draws of the others alone.
Values and bounds have nine significant digits, which is what the tables keep.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import exp, isfinite, log
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np

Value = float | int | str
CUT = 3.0
"""A normal distribution is cut at this many standard deviations."""


def round_to_9_digits(value: Value) -> Value:
    """Round a float to nine significant digits; integers and text stay as they are.

    Parameters
    ----------
    value : float, int or str

    Returns
    -------
    float, int or str

    Examples
    --------
    >>> round_to_9_digits(1 / 3), round_to_9_digits(7), round_to_9_digits("cube")
    (0.333333333, 7, 'cube')
    """
    return float(f"{value:.9g}") if isinstance(value, float) else value


class Distribution(Protocol):
    """A drawn quantity: its possible values, its quantile function and its form in a config."""

    @property
    def support(self) -> tuple[Value, ...]:
        """Values that bound everything that can be drawn, smallest first; text: every value."""

    def at(self, u: float) -> Value:
        """Value below which the share `u` (0 <= u < 1) of all draws lies."""

    def plain(self) -> Any:
        """Write the distribution as a config does."""


@dataclass(frozen=True)
class Fixed:
    """Always the same value."""

    value: Value

    @property
    def support(self) -> tuple[Value, ...]:
        """The value."""
        return (self.value,)

    def at(self, u: float) -> Value:
        """Return the value, whatever `u` is."""
        return self.value

    def plain(self) -> Any:
        """Write the value itself."""
        return self.value


@dataclass(frozen=True)
class Uniform:
    """Every value between `low` and `high` is equally likely."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _require_range(self.low, self.high)

    @property
    def support(self) -> tuple[Value, ...]:
        """Both ends."""
        return self.low, self.high

    def at(self, u: float) -> Value:
        """Interpolate between the ends."""
        return self.low + u * (self.high - self.low)

    def plain(self) -> Any:
        """Write ``{uniform: [low, high]}``."""
        return {"uniform": [self.low, self.high]}


@dataclass(frozen=True)
class LogUniform:
    """Every factor is equally likely: the logarithm is uniform between `low` and `high`."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _require_range(self.low, self.high)
        if self.low <= 0:
            raise ValueError(f"log_uniform needs bounds above 0, found {self.low:.9g}")

    @property
    def support(self) -> tuple[Value, ...]:
        """Both ends."""
        return self.low, self.high

    def at(self, u: float) -> Value:
        """Interpolate between the logarithms of the ends."""
        return exp(log(self.low) + u * (log(self.high) - log(self.low)))

    def plain(self) -> Any:
        """Write ``{log_uniform: [low, high]}``."""
        return {"log_uniform": [self.low, self.high]}


@dataclass(frozen=True)
class Normal:
    """A normal distribution without its tails: cut at three standard deviations.

    The cut leaves 99.73 % of the normal distribution and lowers the standard deviation
    of the draws to 0.9866 of `deviation`.
    """

    mean: float
    deviation: float

    def __post_init__(self) -> None:
        if not (isfinite(self.mean) and isfinite(self.deviation) and self.deviation > 0):
            raise ValueError(
                "normal needs a finite mean and a standard deviation above 0, "
                f"found {self.mean:.9g} and {self.deviation:.9g}"
            )

    @property
    def support(self) -> tuple[Value, ...]:
        """Where the tails are cut."""
        low, high = self.mean - CUT * self.deviation, self.mean + CUT * self.deviation
        return round_to_9_digits(low), round_to_9_digits(high)

    def at(self, u: float) -> Value:
        """Invert the normal distribution between its cuts."""
        standard = NormalDist()
        tail = standard.cdf(-CUT)
        return self.mean + self.deviation * standard.inv_cdf(tail + u * (1 - 2 * tail))

    def plain(self) -> Any:
        """Write ``{normal: [mean, deviation]}``."""
        return {"normal": [self.mean, self.deviation]}


@dataclass(frozen=True)
class Integers:
    """Every whole number from `low` to `high`, both included, is equally likely."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"the range [{self.low}, {self.high}] is reversed")

    @property
    def support(self) -> tuple[Value, ...]:
        """Both ends."""
        return self.low, self.high

    def at(self, u: float) -> Value:
        """Count up from `low`."""
        return min(self.low + int(u * (self.high - self.low + 1)), self.high)

    def plain(self) -> Any:
        """Write ``{integers: [low, high]}``."""
        return {"integers": [self.low, self.high]}


@dataclass(frozen=True)
class Choice:
    """One of several values, each with its weight."""

    values: tuple[Value, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("choice is empty")
        if len(set(self.values)) < len(self.values):
            raise ValueError("choice names a value twice; use weights: {choice: {a: 2, b: 1}}")
        if not all(isfinite(weight) and weight > 0 for weight in self.weights):
            raise ValueError(f"weights must be above 0, found {list(self.weights)}")

    @property
    def support(self) -> tuple[Value, ...]:
        """Every value."""
        return tuple(sorted(self.values, key=lambda v: (isinstance(v, str), v)))

    def at(self, u: float) -> Value:
        """Walk along the weights."""
        return self.values[_step(self.weights, u)[0]]

    def plain(self) -> Any:
        """Write ``{choice: [...]}``, or ``{choice: {value: weight}}`` if a weight is not 1."""
        if set(self.weights) == {1.0}:
            return {"choice": list(self.values)}
        return {"choice": dict(zip(self.values, self.weights, strict=True))}


@dataclass(frozen=True)
class Mixture:
    """One of several distributions, each equally likely."""

    parts: tuple[Distribution, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("mixture is empty")

    @property
    def support(self) -> tuple[Value, ...]:
        """Bounds of all parts."""
        values = {value for part in self.parts for value in part.support}
        return tuple(sorted(values, key=lambda v: (isinstance(v, str), v)))

    def at(self, u: float) -> Value:
        """Choose the part by `u`, and the value in it by what `u` leaves."""
        i, rest = _step((1.0,) * len(self.parts), u)
        return self.parts[i].at(rest)

    def plain(self) -> Any:
        """Write ``{mixture: [...]}``."""
        return {"mixture": [part.plain() for part in self.parts]}


def draw(distribution: Distribution, rng: np.random.Generator) -> Value:
    """Draw a value with one uniform number of the generator.

    Parameters
    ----------
    distribution : Distribution
    rng : numpy.random.Generator
        Its next `random` number is used, and no more.

    Returns
    -------
    float, int or str
        Floats have nine significant digits.

    Examples
    --------
    >>> rng = np.random.Generator(np.random.Philox(7))
    >>> draw(Integers(4, 4), rng), draw(Fixed("cube"), rng), draw(Uniform(0.0, 1e-9), rng) < 1e-9
    (4, 'cube', True)
    """
    return round_to_9_digits(distribution.at(float(rng.random())))


def parse(form: Any) -> Distribution:
    """Read a distribution as a config writes it.

    Parameters
    ----------
    form : number, str or mapping with one key
        A plain value is fixed. The keys are uniform, log_uniform, normal, integers,
        choice and mixture.

    Returns
    -------
    Distribution

    Raises
    ------
    ValueError
        If the form is unknown, or its range is empty or reversed.

    Examples
    --------
    >>> parse({"uniform": [-100, -10]}).support
    (-100.0, -10.0)
    >>> parse({"choice": {"slab_flat": 2, "cube": 1}}).at(0.5)
    'slab_flat'
    """
    if not isinstance(form, Mapping):
        return Fixed(_value(form))
    if len(form) != 1:
        raise ValueError(f"a distribution has one key, one of {', '.join(_FORMS)}")
    ((name, content),) = form.items()
    if name not in _FORMS:
        raise ValueError(f"{name!r} is no distribution; expected one of {', '.join(_FORMS)}")
    return _FORMS[name](content)


def _value(value: Any) -> Value:
    return value if isinstance(value, str) else round_to_9_digits(as_number(value))


def as_number(value: Any) -> float | int:
    """Accept a number, but neither true, false nor a text that looks like one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = "; YAML reads 1e3 as text, write 1.0e+3" if isinstance(value, str) else ""
        raise ValueError(f"{value!r} is not a number{hint}")
    if value != value:
        raise ValueError("found .nan, which is no number")
    if isinstance(value, int) and value.bit_length() > 64:
        raise ValueError(f"a whole number of {value.bit_length()} bits is too large")
    return value


def as_whole_number(value: Any) -> int:
    """Accept a whole number written as one."""
    number = as_number(value)
    if not isinstance(number, int):
        raise ValueError(f"{number!r} is not a whole number")
    return number


def _number(value: Any) -> float:
    return float(f"{as_number(value):.9g}")


def _pair(content: Any) -> tuple[Any, Any]:
    if not isinstance(content, list | tuple) or len(content) != 2:
        raise ValueError(f"expected a pair of numbers, found {content!r}")
    return content[0], content[1]


def _two_numbers(content: Any) -> tuple[float, float]:
    first, second = _pair(content)
    return _number(first), _number(second)


def _integers(content: Any) -> Distribution:
    low, high = _pair(content)
    return Integers(as_whole_number(low), as_whole_number(high))


def _choice(content: Any) -> Distribution:
    if isinstance(content, Mapping):
        weights = tuple(_number(weight) for weight in content.values())
    elif isinstance(content, list | tuple):
        weights = (1.0,) * len(content)
    else:
        raise ValueError(f"expected a list of values or {{value: weight}}, found {content!r}")
    return Choice(tuple(_value(value) for value in content), weights)


def _mixture(content: Any) -> Distribution:
    if not isinstance(content, list | tuple):
        raise ValueError(f"expected a list of distributions, found {content!r}")
    return Mixture(tuple(parse(part) for part in content))


def _require_range(low: float, high: float) -> None:
    if not (isfinite(low) and isfinite(high) and low < high):
        state = "reversed" if low > high else "empty or not finite"
        raise ValueError(f"the range [{low:.9g}, {high:.9g}] is {state}")


def _step(weights: tuple[float, ...], u: float) -> tuple[int, float]:
    """Find the part of the weights in which `u` falls, and how far into it (0 to 1)."""
    ends = list(accumulate(weights))
    target = u * ends[-1]
    i = min(bisect_right(ends, target), len(weights) - 1)
    into = (target - (ends[i] - weights[i])) / weights[i]
    return i, min(max(into, 0.0), 1.0)


_FORMS: dict[str, Callable[[Any], Distribution]] = {
    "uniform": lambda content: Uniform(*_two_numbers(content)),
    "log_uniform": lambda content: LogUniform(*_two_numbers(content)),
    "normal": lambda content: Normal(*_two_numbers(content)),
    "integers": _integers,
    "choice": _choice,
    "mixture": _mixture,
}
