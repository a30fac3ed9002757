"""Strategies by name: the product's own, installed plug-ins, and several joined by ``+``."""

from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import cast

import scalpdesk.strategies
from scalpdesk.core.errors import ConfigError, nearest_name
from scalpdesk.strategies.contract import Strategy

ENTRY_POINT_GROUP = "scalpdesk.strategies"
SEVERAL = "+"
"""Between the names of strategies that share a desk: ``st0cka+gamma-scalper``."""
NO_STRATEGIES = frozenset({"contract", "registry", "several"})
"""Modules of this package that serve strategies and are none."""

EARLIER_NAMES = {"gamma-scalping": "gamma-scalper"}
"""Names under which earlier programs ran a strategy, and its name here."""


def strategy_names() -> tuple[str, ...]:
    """Return the names of all strategies, the product's own and installed plug-ins, sorted."""
    own = {_name_of(module.name) for module in iter_modules(scalpdesk.strategies.__path__)} - NO_STRATEGIES
    return tuple(sorted(own | {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}))


def find_strategy(name: str) -> type[Strategy]:
    """Return a strategy's class by its name (``gamma-scalper``; underscores are read as hyphens).

    Names joined by ``+`` give the class that runs all of them in one desk.

    Raises
    ------
    ConfigError
        When there is none; names the nearest.
    """
    wanted = canonical_name(name)
    if SEVERAL in wanted:
        return _find_several(wanted)
    for module in iter_modules(scalpdesk.strategies.__path__):
        if _name_of(module.name) == wanted and module.name not in NO_STRATEGIES:
            return cast("type[Strategy]", import_module(f"scalpdesk.strategies.{module.name}").PLUG)
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if canonical_name(point.name) == wanted:
            return cast("type[Strategy]", point.load())
    known = strategy_names()
    raise ConfigError(
        "there is no strategy of this name",
        where="strategy",
        value=name,
        nearest=nearest_name(name, known),
        fix=f"use one of {', '.join(known)}, or install the package that brings it",
    )


def member_names(name: str) -> tuple[str, ...]:
    """Return the strategies that a run of this name is made of: several where it is of several.

    Raises
    ------
    ConfigError
        When there is no such strategy.
    """
    return getattr(find_strategy(name), "MEMBERS", None) or (canonical_name(name),)


def canonical_name(name: str) -> str:
    """Return the name that a strategy goes by here.

    >>> canonical_name("gamma_scalping"), canonical_name("ST0CKA")
    ('gamma-scalper', 'st0cka')
    """
    words = name.lower().replace("_", "-").split(SEVERAL)
    return SEVERAL.join(EARLIER_NAMES.get(word.strip(), word.strip()) for word in words)


def _find_several(name: str) -> type[Strategy]:
    from scalpdesk.strategies.several.strategy import several_of  # noqa: PLC0415 - it imports this module

    names = name.split(SEVERAL)
    for one in names:
        if names.count(one) > 1 or getattr(find_strategy(one), "MEMBERS", None):
            raise ConfigError(
                "strategies that share a desk are different ones, and none of them is itself several",
                where="strategy",
                value=name,
                fix="name each strategy once",
            )
    return cast("type[Strategy]", several_of(names))


def _name_of(module: str) -> str:
    return module.replace("_", "-")
