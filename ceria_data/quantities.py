"""What a value of a config may be: its unit, its physical limits and its validated range.

A marker of this module in ``Annotated[...]`` makes pydantic check the value. Outside the
physical limits a value is an error; outside the validated range it is a warning, which
`config.warnings_of` collects and the dataset's card records.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ceria_data.distributions import (
    Choice,
    Distribution,
    Fixed,
    Integers,
    Mixture,
    Value,
    as_number,
    as_whole_number,
    parse,
    round_to_9_digits,
)


@dataclass(frozen=True)
class Quantity:
    """A drawn number.

    Attributes
    ----------
    unit : str
    low, high : float
        Physical limits.
    usual : tuple of float, optional
        Validated range.
    hint : str
        What to do about a value outside the limits.
    whole : bool
        Whole numbers only.
    """

    unit: str
    low: float
    high: float
    usual: tuple[float, float] | None = None
    hint: str = ""
    whole: bool = False

    def read(self, form: Any) -> Distribution:
        """Read and check a distribution."""
        try:
            distribution = _map_values(parse(form), self._convert, whole=self.whole)
        except ValueError as error:
            raise ValueError(
                f"is {_shown(form)}: {error}; expected {_range(self.low, self.high, self.unit)}"
            ) from None
        for value in distribution.support:
            if not self.low <= float(value) <= self.high:
                found = f"is {_with_unit(value, self.unit)}"
                if not isinstance(distribution, Fixed):
                    found = f"reaches {_with_unit(value, self.unit)} in {_shown(form)}"
                raise ValueError(_refusal(found, self.low, self.high, self.unit, self.hint))
        return distribution

    def warning(self, distribution: Distribution) -> str | None:
        """Say where a distribution leaves the validated range."""
        return _warning(self, distribution.support)

    def _convert(self, value: Value) -> Value:
        return _as_number(value, whole=self.whole)

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return _schema(self.read, lambda distribution: distribution.plain())


@dataclass(frozen=True)
class Words:
    """A drawn word out of a list."""

    values: tuple[str, ...]

    def read(self, form: Any) -> Distribution:
        """Read and check a distribution."""
        try:
            return _map_values(parse(form), self._convert, whole=True)
        except ValueError as error:
            expected = ", ".join(self.values)
            raise ValueError(f"is {_shown(form)}: {error}; expected {expected}") from None

    def _convert(self, value: Value) -> Value:
        if value not in self.values:
            raise ValueError(f"{value!r} is not known")
        return value

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return _schema(self.read, lambda distribution: distribution.plain())


@dataclass(frozen=True)
class Constant:
    """A number that is the same for the whole dataset; attributes as in `Quantity`."""

    unit: str
    low: float
    high: float
    usual: tuple[float, float] | None = None
    hint: str = ""
    whole: bool = False

    def read(self, value: Any) -> Value:
        """Read and check a number."""
        try:
            number = _as_number(value, whole=self.whole)
        except ValueError as error:
            raise ValueError(
                f"is {_shown(value)}: {error}; expected {_range(self.low, self.high, self.unit)}"
            ) from None
        if not self.low <= float(number) <= self.high:
            found = f"is {_with_unit(number, self.unit)}"
            raise ValueError(_refusal(found, self.low, self.high, self.unit, self.hint))
        return round_to_9_digits(number)

    def warning(self, value: Value) -> str | None:
        """Say where a value leaves the validated range."""
        return _warning(self, (value,))

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return _schema(self.read, lambda value: value)


def _schema(read: Callable[[Any], Any], write: Callable[[Any], Any]) -> CoreSchema:
    return core_schema.no_info_plain_validator_function(
        read, serialization=core_schema.plain_serializer_function_ser_schema(write)
    )


def _map_values(
    distribution: Distribution, convert: Callable[[Value], Value], *, whole: bool
) -> Distribution:
    """Convert single values; refuse forms whose values are of the wrong kind."""
    match distribution:
        case Fixed(value):
            return Fixed(convert(value))
        case Choice(values, weights):
            return Choice(tuple(convert(value) for value in values), weights)
        case Mixture(parts):
            return Mixture(tuple(_map_values(part, convert, whole=whole) for part in parts))
        case Integers(low, high) if whole:
            convert(low), convert(high)
            return distribution
        case Integers():
            raise ValueError("integers are for counted things; use uniform or choice")
    if whole:
        raise ValueError("a continuous range fits numbers only; use integers or choice")
    return distribution


def _as_number(value: Any, *, whole: bool) -> float | int:
    if whole:
        return as_whole_number(value)
    # A whole number with more digits than a float keeps here becomes that float.
    return float(round_to_9_digits(float(as_number(value))))


def _warning(quantity: Quantity | Constant, support: tuple[Value, ...]) -> str | None:
    if quantity.usual is None:
        return None
    low, high = quantity.usual
    outside = [value for value in support if not low <= float(value) <= high]
    if not outside:
        return None
    worst = max(outside, key=lambda value: max(low - float(value), float(value) - high))
    found = _with_unit(worst, quantity.unit)
    return f"reaches {found}; validated for {_range(low, high, quantity.unit)}"


def _refusal(found: str, low: float, high: float, unit: str, hint: str) -> str:
    return f"{found}; expected {_range(low, high, unit)}" + (f"; {hint}" if hint else "")


def _range(low: float, high: float, unit: str) -> str:
    if high == float("inf"):
        return f"at least {_with_unit(low, unit)}"
    return f"{low:.9g} to {_with_unit(high, unit)}"


def _with_unit(value: Value, unit: str) -> str:
    number = f"{value:.9g}" if isinstance(value, float) else str(value)
    return f"{number} {unit}".rstrip()


def _shown(form: Any) -> str:
    """Show a value as the config has it, on one line."""
    try:
        text = yaml.safe_dump(form, default_flow_style=True, width=1_000_000, allow_unicode=True)
    except yaml.YAMLError:
        text = repr(form)
    text = " ".join(text.removesuffix("...\n").split())
    return text if len(text) <= 80 else f"{text[:77]}..."
