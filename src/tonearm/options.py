"""Options: frozen classes that refuse a name they do not know and a value out of range, from Python as from TOML."""

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, TypeVar, dataclass_transform

from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from tonearm.errors import ConfigError

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, Field))
def options(kind: type[T]) -> type[T]:
    """Make a class of options of a class; what it is given wrong is a ConfigError that says what to do.

    Its docstring has a line or more for each option, `name: meaning`, from which docs/use/configuration.md is made.
    """
    made: Any = dataclass(frozen=True, config={"extra": "forbid"})(kind)
    build: Callable[..., None] = made.__init__

    @wraps(build)
    def init(self: Any, /, *args: Any, **given: Any) -> None:
        check_names(given, made, made.__name__)
        try:
            build(self, *args, **given)
        except ValidationError as error:
            raise ConfigError(f"{made.__name__}: {wrong_value(error)}") from error

    made.__init__ = init
    result: type[T] = made
    return result


def expect(value: object, kind: type, name: str, mend: str) -> None:
    """Raises ConfigError where what is passed under a name is no instance of a class."""
    if not isinstance(value, kind):
        raise ConfigError(f"{name} is of type {type(value).__name__}, not {kind.__name__}. {mend}")


def check_names(given: Mapping[str, Any], kind: Any, where: str, section: str = "") -> None:
    """Refuse a name that a class of options does not have, there or in the sections in it.

    given: values by name; where: what they were given to, for the message

    Raises:
        ConfigError: it names the closest option that there is.
    """
    known = {f.name: f.type for f in dataclasses.fields(kind)}
    for name, value in given.items():
        if name not in known:
            missing = f"[{section}] has no option '{name}'" if section else f"there is no option '{name}'"
            if isinstance(value, dict) and not section:
                missing = f"there is no section [{name}]"
            raise ConfigError(f"{where}: {missing}.{suggest(name, known)}")
        inner = known[name]
        if isinstance(value, dict) and dataclasses.is_dataclass(inner):
            check_names(value, inner, where, name)
        elif dataclasses.is_dataclass(inner) and not isinstance(value, inner):  # type: ignore[arg-type]
            raise ConfigError(f"{where}: '{name}' is a section. Set the options in it, as [{name}] or {name}.option.")


def suggest(name: str, known: Iterable[str]) -> str:
    """What was meant by a name that is not known, as a sentence with a space before it."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f" Did you mean '{close[0]}'?"
    return f" Known: {', '.join(names)}." if names else " There is none."


def wrong_value(error: ValidationError) -> str:
    """The first of the values that will not do, and why."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    try:
        given = repr(first["input"])
    except (ValueError, RecursionError):  # a number of thousands of digits, or values within values
        given = f"{type(first['input']).__name__}(…)"
    return f"{name} = {given} will not do: {first['msg'].lower()}."
