"""Keys that are each sane and together are not: refused before anything runs."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from scalpdesk.core.errors import ConfigError
from scalpdesk.risk.limits import RiskLimits

MOST_CASH = 10**12
MOST_UNITS = 10**8


def check_simulated_account(starting_cash: Decimal, positions: Mapping[str, int | Decimal]) -> None:
    """Refuse an account that no market could hold.

    Parameters
    ----------
    starting_cash
        ``simulation.starting_cash``, in currency.
    positions
        Signed shares or contracts by symbol.

    Raises
    ------
    ConfigError
        For an amount that is not above zero or beyond all measure.
    """
    if not (starting_cash.is_finite() and 0 < starting_cash <= MOST_CASH):
        raise ConfigError(
            f"the account starts with more than 0 and at most {MOST_CASH:,}",
            where="simulation.starting_cash",
            value=str(starting_cash),
            fix="set simulation.starting_cash to what the account would have",
        )
    for symbol, quantity in positions.items():
        units = Decimal(quantity)
        if not (units.is_finite() and abs(units) <= MOST_UNITS):
            raise ConfigError(
                f"a position is a number of at most {MOST_UNITS:,} shares or contracts",
                where=f"simulation.positions.{symbol}",
                value=str(quantity),
                fix=f"set simulation.positions.{symbol} to what is held",
            )


def check_account(limits: RiskLimits, starting_cash: Decimal) -> None:
    """Refuse amounts that the account of a simulated run does not have.

    Parameters
    ----------
    limits
        Of the account.
    starting_cash
        ``simulation.starting_cash``, in currency.

    Raises
    ------
    ConfigError
        When a loss or a premium above all there is would be allowed.
    """
    for name in ("max_daily_loss", "max_order_premium"):
        amount = getattr(limits, name)
        if amount is not None and amount > starting_cash:
            raise ConfigError(
                f"more than the whole account: simulation.starting_cash is {starting_cash}",
                where=f"risk.{name}",
                value=str(amount),
                fix=f"set risk.{name} to at most {starting_cash}, or raise simulation.starting_cash",
            )


def check_sizes(limits: RiskLimits, strategy: str, config: Any, source: str) -> None:
    """Refuse a strategy's size that every one of its orders would be refused for.

    Parameters
    ----------
    limits
        Of the account.
    strategy
        Its name.
    config
        Its settings; only ``straddles`` is looked at, where there is such a key.
    source
        Where that key was set.

    Raises
    ------
    ConfigError
        When more straddles are wanted than one order may have contracts.
    """
    wanted = getattr(config, "straddles", None)
    if not isinstance(wanted, int) or wanted <= limits.max_order_contracts:
        return
    raise ConfigError(
        f"more than risk.max_order_contracts = {limits.max_order_contracts}: no leg could be bought",
        where=f"strategies.{strategy}.straddles ({source})",
        value=wanted,
        fix=f"set straddles to at most {limits.max_order_contracts}, or raise risk.max_order_contracts",
    )
