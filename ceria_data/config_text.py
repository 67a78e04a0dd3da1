"""The text of a config: YAML in, one clear line out where something is wrong with it."""

from collections.abc import Hashable, Iterator
from difflib import get_close_matches
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from ceria_data.errors import ConfigError

LARGEST = 100_000
"""Characters of YAML that are read; a real config has a few thousand."""
_EXPECTED = {
    "bool_type": "true or false",
    "model_type": "keys with values",
    "string_type": "a text",
    "too_short": "at least one entry",
    "tuple_type": "a list",
}


class _Loader(yaml.SafeLoader):
    """The safe loader, without aliases (which can blow up) and without repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not used in configs; write the value again")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.YAMLError(f"the key {key!r} appears twice {key_node.start_mark}")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """The safe dumper; writes equal values out instead of referring to the first one."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def read_mapping(text: str, source: str) -> dict[str, Any]:
    """Read YAML that holds one mapping.

    Parameters
    ----------
    text : str
    source : str
        Where the text comes from, for messages.

    Returns
    -------
    dict

    Raises
    ------
    ConfigError
        If the text is too large, no YAML, uses aliases, repeats a key or is no mapping.

    Examples
    --------
    >>> read_mapping("field: {shape: [96, 96]}", "example")
    {'field': {'shape': [96, 96]}}
    """
    if len(text) > LARGEST:
        raise ConfigError(f"{source} has {len(text)} characters; expected at most {LARGEST}")
    try:
        # A subclass of the safe loader: plain values only.
        content = yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise ConfigError(f"{source} is nested too deeply to be a config") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{source} is not readable as YAML: {reason}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(
            f"{source} holds {type(content).__name__}; expected keys such as name, field, splits"
        )
    return content


def write_mapping(content: dict[str, Any]) -> str:
    r"""Write a mapping as YAML in its own order.

    Examples
    --------
    >>> write_mapping({"field": {"shape": [96, 96]}})
    'field:\n  shape: [96, 96]\n'
    """
    return yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None
    )


def explain(error: ValidationError, model: type[BaseModel], source: str) -> ConfigError:
    """Turn the first problem that pydantic found into one line for the user.

    Parameters
    ----------
    error : ValidationError
    model : type
        Model of the whole config.
    source : str
        Where the config comes from.

    Returns
    -------
    ConfigError
    """
    # An unknown key is named before the missing one it was probably meant to be.
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    location: tuple[str | int, ...] = first["loc"]
    path = _path(location)
    match first["type"]:
        case "extra_forbidden":
            text = f"{path} is an unknown key; {_suggestion(location, model)}"
        case "missing":
            text = f"{path} is missing; every config has it"
        case "value_error":
            text = f"{path} {first['ctx']['error']}".strip()
        case kind:
            expected = _EXPECTED.get(kind, first.get("ctx", {}).get("expected", first["msg"]))
            text = f"{path} is {_short(first['input'])}; expected {expected}"
    if len(problems) > 1:
        text += f" (and {len(problems) - 1} more)"
    return ConfigError(f"{source}: {text}")


def _path(location: tuple[str | int, ...]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _suggestion(location: tuple[str | int, ...], model: type[BaseModel]) -> str:
    """Name the nearest valid key: in the same section, else anywhere."""
    section: type[BaseModel] | None = model
    for part in location[:-1]:
        if isinstance(part, str) and section is not None:
            section = _section(section, part)
    siblings = list(section.model_fields) if section is not None else []
    wrong = str(location[-1])
    if near := get_close_matches(wrong, siblings, 1, 0.6):
        return f"did you mean {_path((*location[:-1], near[0]))}?"
    paths = list(_all_paths(model, ()))
    leaves = {str(path[-1]): _path(path) for path in sorted(paths, key=len, reverse=True)}
    if near := get_close_matches(wrong, leaves, 1, 0.6):
        return f"did you mean {leaves[near[0]]}?"
    return f"expected one of {', '.join(siblings)}"


def _section(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    if name not in model.model_fields:
        return None
    annotation = model.model_fields[name].annotation
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _all_paths(
    model: type[BaseModel], prefix: tuple[str | int, ...]
) -> Iterator[tuple[str | int, ...]]:
    for name in model.model_fields:
        yield (*prefix, name)
        if section := _section(model, name):
            yield from _all_paths(section, (*prefix, name))
