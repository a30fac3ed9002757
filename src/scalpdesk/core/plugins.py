"""Plug-ins by name: what an installed package brings under an entry point group, and its settings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

import msgspec

from scalpdesk.core.errors import ConfigError, nearest_name

Spec = TypeVar("Spec")
IMPORT_FAULTS = (AttributeError, ImportError, LookupError, NameError, SyntaxError, TypeError, ValueError)
"""Errors that a faulty package may raise on import."""


@dataclass(frozen=True)
class Plugs:
    """Registry of plug-ins by name: the product's own and those of installed packages."""

    kind: str
    """Kind of plug-in, for error messages: ``hedge band``."""
    where: str
    """Key or option that names it, for refusals."""
    group: str = ""
    """Entry point group of installed packages; empty: not extensible."""
    own: Mapping[str, str] = field(default_factory=dict)
    """Where the product's own are, as ``module:attribute``, by name."""

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted."""
        return tuple(sorted({*self.own, *(point.name for point in entry_points(group=self.group))}))

    def find(self, name: str, where: str = "") -> Any:
        """Return what has a name; ``where`` is its key path in the place of the group's.

        Raises
        ------
        ConfigError
            When the name is unknown (names the nearest), or an installed plug-in cannot be loaded.
        """
        if name in self.own:
            module, _, attribute = self.own[name].partition(":")
            return getattr(import_module(module), attribute)
        for point in entry_points(group=self.group, name=name):
            return loaded(point)
        known = self.names()
        ways = [f"use one of {', '.join(known)}"] if known else []
        raise ConfigError(
            f"there is no {self.kind} of this name",
            where=where or self.where,
            value=name,
            nearest=nearest_name(name, known),
            fix=", or ".join([*ways, *(["install the package that brings it"] if self.group else [])]),
        )

    def find_spec(self, kind: type[Spec], name: str, page: str) -> Spec:
        """Return the spec of a name; ``page`` of docs/developing says how to write one.

        Raises
        ------
        ConfigError
            As of :meth:`find`, and when what the package brings is no such spec.
        """
        found = self.find(name)
        if isinstance(found, kind):
            return found
        raise ConfigError(
            f"the entry point is not of the type {kind.__name__}",
            where=f"entry point {name} of {self.group}",
            value=type(found).__qualname__,
            fix=f'{kind.__name__}(name="{name}", …), as in docs/developing/{page}',
        )


def loaded(point: EntryPoint) -> Any:
    """Return what an entry point names.

    Raises
    ------
    ConfigError
        When its module cannot be imported or has no such name.
    """
    try:
        return point.load()
    except IMPORT_FAULTS as problem:
        raise ConfigError(
            f"what the package brings cannot be loaded: {type(problem).__name__}: {problem}",
            where=f"entry point {point.name} of {point.group}",
            value=point.value,
            fix="correct the module or its line in the package's pyproject.toml, and install it again",
        ) from problem


def require(plug: Any, members: Iterable[str], *, kind: str, name: str, where: str) -> None:
    """Refuse a plug that lacks members of its contract: it would end a run in the middle.

    Raises
    ------
    ConfigError
        Names the missing members.
    """
    missing = [member for member in members if not hasattr(plug, member)]
    if missing:
        raise ConfigError(
            f"the {kind} {name} does not keep its contract: it has no {', no '.join(missing)}",
            where=where,
            value=getattr(plug, "__qualname__", type(plug).__qualname__),
            fix=f"write it as the {kind} of docs/developing/add_a_plug_in.md",
        )


def configured(
    plug: Any,
    settings: Mapping[str, object],
    *,
    kind: str,
    name: str,
    where: str,
    contract: Iterable[str] = (),
) -> Any:
    """Make a plug with its ``Config`` from keys and values; the rest keep their defaults.

    Parameters
    ----------
    plug
        A class with a ``Config`` (a ``msgspec.Struct``), made from one.
    settings
        Keys and values of its ``Config``.
    kind, name
        What it is and what it is called, for messages: ``band``, ``fixed``.
    where
        Key path of the settings, for messages.
    contract
        Members that it has to have.

    Raises
    ------
    ConfigError
        When a key is unknown, a value is of the wrong kind or out of range, or a member is missing.
    """
    require(plug, ("Config", *contract), kind=kind, name=name, where=where)
    given, fields = dict(settings), plug.Config.__struct_fields__
    for key in given:
        if key not in fields:
            raise ConfigError(
                f"the {kind} {name} has no setting of this name",
                where=where,
                value=key,
                nearest=nearest_name(key, fields),
                fix=f"use one of {', '.join(fields)}" if fields else "leave it out",
            )
    try:
        # settings of plugs are read as numbers and text: 4.0 is the 4 of a whole number
        config = msgspec.convert(given, type=plug.Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"a setting of the {kind} {name} is wrong: {error}", where=where, value=given
        ) from error
    except ConfigError as error:
        raise ConfigError(
            error.what, where=f"{where}.{error.where}", value=error.value, fix=error.fix
        ) from error
    return plug(config)
