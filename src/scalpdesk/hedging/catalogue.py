"""Hedge bands by name: a band is found because its module lies in ``hedging/bands``, or by entry point."""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import Any, cast

import msgspec

from scalpdesk.core.errors import ConfigError, nearest_name
from scalpdesk.hedging import bands
from scalpdesk.hedging.base import HedgeBand

ENTRY_POINT_GROUP = "scalpdesk.hedge_bands"


def band_names() -> tuple[str, ...]:
    """Names of the bands that can be made, the product's own and those of installed plug-ins, sorted."""
    own = {module.name for module in iter_modules(bands.__path__)}
    return tuple(sorted(own | {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}))


def make_band(
    name: str, settings: Mapping[str, object] | None = None, *, where: str = "hedge.band"
) -> HedgeBand:
    """Make a band from its name and the settings of its ``Config``.

    Parameters
    ----------
    name
        One of :func:`band_names`.
    settings
        Keys and values of the band's ``Config``; the rest keep their defaults.
    where
        Key path of the settings, for messages.

    Raises
    ------
    ConfigError
        When the name or a key is unknown, or a value is of the wrong kind or out of range.

    Examples
    --------
    >>> make_band("fixed", {"threshold": 1.7}).name
    'fixed'
    """
    plug = _plug(name, where)
    given = dict(settings or {})
    for key in given:
        if key not in plug.Config.__struct_fields__:
            raise ConfigError(
                f"the band {name} has no setting of this name",
                where=where,
                value=key,
                nearest=nearest_name(key, plug.Config.__struct_fields__),
                fix=f"use one of {', '.join(plug.Config.__struct_fields__)}",
            )
    try:
        config = msgspec.convert(given, type=plug.Config)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"a setting of the band {name} is wrong: {error}", where=where, value=given
        ) from error
    except ConfigError as error:
        raise ConfigError(
            error.what, where=f"{where}.{error.where}", value=error.value, fix=error.fix
        ) from error
    return cast("HedgeBand", plug(config))


def _plug(name: str, where: str) -> Any:
    if name in {module.name for module in iter_modules(bands.__path__)}:
        return import_module(f"{bands.__name__}.{name}").PLUG
    for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        return point.load()
    known = band_names()
    raise ConfigError(
        "there is no hedge band of this name",
        where=where,
        value=name,
        nearest=nearest_name(name, known),
        fix=f"use one of {', '.join(known)}",
    )
