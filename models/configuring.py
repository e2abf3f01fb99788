"""Settings in, a frozen configuration out: from text or values, every mistake named by its field."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar, get_type_hints

from features.errors import InvalidInput

Config = TypeVar("Config")


def with_settings(base: Config, settings: Mapping[str, Any], what: str) -> Config:
    """`base`, a dataclass of str, int, float and bool fields, with these set. what: it is a setting of, in words.

    Raises InvalidInput that names the field.
    """
    kind: Any = type(base)
    types = get_type_hints(kind)
    known = {one.name for one in fields(kind)}
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in known:
            raise InvalidInput(name, f"no such setting of {what}; there are {', '.join(sorted(known))}")
        values[name] = _typed(name, value, types[name])
    changed: Config = replace(base, **values)  # type: ignore[type-var]
    return changed


def _typed(name: str, value: Any, kind: type) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False, "1": True, "0": False}[str(value).lower()]
        if isinstance(value, str) or (type(value) in (kind, int) and kind is not str):
            return kind(value)
    except (KeyError, ValueError):
        pass
    raise InvalidInput(name, f"{value!r} was given; it is of type {kind.__name__}")
