"""Flags of a command from the fields of a struct of options."""

from collections.abc import Callable, Iterator
from datetime import date
from functools import wraps
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from scalpdesk.cli.command import Body, NumberRange
from scalpdesk.core.flags import Option, options_of, read_date

_DEFAULT = "{default}"


def given_flags(kind: type[msgspec.Struct]) -> list[str]:
    """Return which flags of a struct stand on the command line that is carried out."""
    ctx = click.get_current_context()
    names = {param.name: param.opts[0] for param in ctx.command.params}
    usual = ParameterSource.DEFAULT
    return [names[name] for name in options_of(kind) if ctx.get_parameter_source(name) is not usual]


def options(kind: type[msgspec.Struct], name: str = "options") -> Callable[[Body], Body]:
    """Add the flags of a struct's fields; the function below takes the struct as ``name``."""

    def add(body: Body) -> Body:
        @wraps(body)
        def taking(**given: Any) -> int | None:
            values = {field: given.pop(field) for field in options_of(kind)}
            return body(**{name: kind(**values)}, **given)

        function: Any = taking
        for flag in reversed(tuple(_flags(kind))):
            function = flag(function)
        decorated: Body = function
        return decorated

    return add


def _flags(kind: type[msgspec.Struct]) -> Iterator[Callable[[Any], Any]]:
    """Yield the flag of each field."""
    for field in msgspec.structs.fields(kind):
        option = options_of(kind).get(field.name)
        if option is None:
            continue
        more: dict[str, Any] = {"required": True} if field.required else _default(option, field.default)
        more |= {"metavar": option.flag.metavar, "help": _help(option, field.default), **_values(option)}
        yield click.option(option.flag.name or "--" + field.name.replace("_", "-"), field.name, **more)


def _help(option: Option, default: Any) -> str:
    shown = f"{default:g}" if option.kind in {int, float} and default is not None else str(default)
    return option.flag.help.replace(_DEFAULT, shown)


def _default(option: Option, default: Any) -> dict[str, Any]:
    """Return a flag's default, and whether the help adds it."""
    if option.kind is bool:
        return {"default": default} if _is_pair(option) else {}
    is_shown = option.flag.shows_default and _DEFAULT not in option.flag.help and default not in {None, ()}
    return {"default": default, "show_default": is_shown}


def _is_pair(option: Option) -> bool:
    return "/" in (option.flag.name or "")


def _values(option: Option) -> dict[str, Any]:
    """Return what click is to be told about the values of a flag."""
    if option.kind is bool:
        return {} if _is_pair(option) else {"is_flag": True}
    several = {"multiple": True} if option.may_repeat else {}
    choices, bounds = option.choices, (option.flag.least, option.flag.most)
    if choices is not None:
        return {"type": click.Choice(choices), **several}
    if option.kind is date:
        return {"callback": _day}
    if option.kind in {int, float} and bounds != (None, None):
        ranged: Any = click.IntRange if option.kind is int else NumberRange
        return {"type": ranged(*bounds, min_open=option.flag.above_least), **several}
    return {"type": option.kind, **several}


def _day(_ctx: click.Context, param: click.Parameter, value: Any) -> date | None:
    """Read a day; ArgumentError names the flag."""
    return read_date(value, param.opts[0]) if isinstance(value, str) else value
