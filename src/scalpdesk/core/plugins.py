"""Plug-ins by name: what an installed package brings under an entry point group, and its settings."""

from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any

import msgspec

from scalpdesk.core.errors import ConfigError, nearest_name


def plug_names(group: str, own: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the product's own names and those of installed plug-ins, sorted."""
    return tuple(sorted({*own, *(point.name for point in entry_points(group=group))}))


def installed_plug(group: str, name: str) -> Any | None:
    """Return what an installed package brings under a name; None when there is none."""
    for point in entry_points(group=group, name=name):
        return point.load()
    return None


def configured(plug: Any, settings: Mapping[str, object], *, kind: str, name: str, where: str) -> Any:
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

    Raises
    ------
    ConfigError
        When a key is unknown, or a value is of the wrong kind or out of range.
    """
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
