"""How an order meets a quote; one model a file, found by the file's name."""

from importlib import import_module
from pkgutil import iter_modules
from typing import cast

from scalpdesk.core.errors import ConfigError, nearest_name
from scalpdesk.simulation.fills.base import FillModel


def fill_model_names() -> tuple[str, ...]:
    """Return the names of all fill models."""
    return tuple(sorted(module.name for module in iter_modules(__path__) if module.name != "base"))


def fill_model(name: str) -> FillModel:
    """Return a new fill model by its name.

    Raises
    ------
    ConfigError
        When there is no such model; names the nearest.
    """
    names = fill_model_names()
    if name not in names:
        raise ConfigError(
            "no such fill model",
            where="simulation.fill_model",
            value=name,
            nearest=nearest_name(name, names),
            fix=f"use one of {', '.join(names)}",
        )
    module = import_module(f"{__name__}.{name}")
    return cast("FillModel", getattr(module, f"{name.capitalize()}Fill")())
