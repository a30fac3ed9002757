"""Fill models, one a file: found by the file's name or by entry point."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any, cast

from scalpdesk.core.errors import ConfigError, nearest_name
from scalpdesk.core.plugins import installed_plug, plug_names, require
from scalpdesk.simulation.fills.base import FillModel

ENTRY_POINT_GROUP = "scalpdesk.fill_models"


def fill_model_names() -> tuple[str, ...]:
    """Return the names of all fill models, the product's own and those of installed plug-ins, sorted."""
    return plug_names(ENTRY_POINT_GROUP, _own())


def fill_model(name: str) -> FillModel:
    """Return a new fill model by its name.

    Raises
    ------
    ConfigError
        When there is no such model (names the nearest), or an installed one does not keep the contract.
    """
    plug: Any = None
    if name in _own():
        plug = getattr(import_module(f"{__name__}.{name}"), f"{name.capitalize()}Fill")
    else:
        plug = installed_plug(ENTRY_POINT_GROUP, name)
    if plug is None:
        names = fill_model_names()
        raise ConfigError(
            "no such fill model",
            where="simulation.fill_model",
            value=name,
            nearest=nearest_name(name, names),
            fix=f"use one of {', '.join(names)}",
        )
    require(plug, ("match",), kind="fill model", name=name, where="simulation.fill_model")
    try:
        return cast("FillModel", plug())
    except TypeError as problem:
        raise ConfigError(
            f"the fill model {name} cannot be made: {problem}",
            where="simulation.fill_model",
            value=name,
            fix="a fill model is made without arguments",
        ) from problem


def _own() -> set[str]:
    return {module.name for module in iter_modules(__path__) if module.name != "base"}
