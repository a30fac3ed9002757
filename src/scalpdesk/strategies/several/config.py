"""What a desk of several strategies is put together from."""

from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal
from typing import Any

import msgspec

from scalpdesk.core.errors import ConfigError, nearest_name
from scalpdesk.strategies.registry import canonical_name, member_names, strategy_names

_GRAIN = Decimal("0.0001")


class SeveralConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Several strategies side by side have no settings of their own: each reads its own section."""


class SharedConfig:
    """The settings of all strategies of a desk, and how the equity is divided among them.

    Parameters
    ----------
    own
        Settings of the whole (a hybrid's thresholds).
    members
        Each strategy's own ``Config`` by name, in their order.
    budgets
        Share of the account's equity by name (``[budgets.fractions]``); those not named share the
        rest equally.
    adopts
        Strategy that what the account holds at the start belongs to; None: nobody.

    Raises
    ------
    ConfigError
        When the budgets do not fit, or ``adopts`` is none of the strategies.
    """

    def __init__(
        self,
        own: Any,
        members: Mapping[str, Any],
        budgets: Mapping[str, Decimal],
        adopts: str | None = None,
    ) -> None:
        self.own = own
        self.members = dict(members)
        self.budgets = divided(tuple(self.members), budgets)
        self.adopts = None if adopts is None else adopts.replace("_", "-")
        if self.adopts is not None and self.adopts not in self.members:
            raise ConfigError(
                "no strategy of this run has this name",
                where="budgets.adopts",
                value=adopts,
                nearest=nearest_name(self.adopts, self.members),
                fix=f"use one of {', '.join(self.members)}, or none",
            )

    @property
    def underlying(self) -> str:
        """The one underlying that all of them trade.

        Raises
        ------
        ConfigError
            When they name different ones.
        """
        named = {
            name: str(config.underlying)
            for name, config in self.members.items()
            if hasattr(config, "underlying")
        }
        if len(set(named.values())) > 1:
            raise ConfigError(
                "the strategies of one desk trade one underlying",
                where="underlying",
                value=", ".join(f"{name}: {symbol}" for name, symbol in named.items()),
                fix=f"--set underlying={next(iter(named.values()))}",
            )
        return next(iter(named.values()), "SPY")

    @property
    def selection(self) -> Any:
        """Settings of the first strategy that selects options by expiry, or None."""
        found = (getattr(config, "selection", None) for config in self.members.values())
        return next((one for one in found if one is not None), None)


def bound_config(
    strategy: str, configs: Mapping[str, Any], budgets: Mapping[str, Decimal], adopts: str | None
) -> Any:
    """Return what a strategy's class is called with: its own ``Config``, or the one of several.

    Parameters
    ----------
    strategy
        Its name.
    configs
        ``Config`` by name, of the strategy and of all of its members.
    budgets, adopts
        As of :class:`SharedConfig`.
    """
    members = member_names(strategy)
    if members == (strategy,):
        return configs[strategy]
    return SharedConfig(configs.get(strategy), {name: configs[name] for name in members}, budgets, adopts)


def divided(names: tuple[str, ...], budgets: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Return each strategy's share of the equity; who has none given shares the rest equally.

    Raises
    ------
    ConfigError
        When a share is not above zero, they sum to more than 1, or no strategy has that name. One that
        is not of this run is passed over: a file may serve several runs.

    Examples
    --------
    >>> {k: str(v) for k, v in divided(("a", "b", "c"), {"b": Decimal("0.5")}).items()}
    {'a': '0.2500', 'b': '0.5', 'c': '0.2500'}
    """
    given = {canonical_name(name): share for name, share in budgets.items()}
    for name, share in given.items():
        if name not in names and name not in strategy_names():
            raise ConfigError(
                "no strategy has this name",
                where=f"budgets.fractions.{name}",
                value=name,
                nearest=nearest_name(name, names),
                fix=f"name one of {', '.join(names)}",
            )
        if not (share.is_finite() and 0 < share <= 1):
            raise ConfigError(
                "a share of the equity is above 0 and at most 1",
                where=f"budgets.fractions.{name}",
                value=str(share),
                fix="write it as a fraction: 0.25",
            )
    known = {name: given[name] for name in names if name in given}
    others = len(names) - len(known)
    rest = 1 - sum(known.values(), Decimal(0))
    even = (rest / others).quantize(_GRAIN, rounding=ROUND_DOWN) if others else Decimal(0)
    shares = {name: known.get(name, even) for name in names}
    if rest < 0 or min(shares.values()) <= 0:
        raise ConfigError(
            "shares of the equity are above 0 and sum to at most 1",
            where="budgets.fractions",
            value=", ".join(f"{name}: {share}" for name, share in shares.items()),
            fix="lower one of them in the section [budgets.fractions]",
        )
    return shares
