"""The numbers that bound the desk."""

from decimal import Decimal

import msgspec

from scalpdesk.core.errors import ConfigError


class RiskLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of one account. Money in the quote currency.

    Parameters
    ----------
    max_daily_loss
        Loss of a session, realised and unrealised and fees, at which nothing new is opened.
        None takes ``max_daily_loss_fraction``.
    max_daily_loss_fraction
        The same as a fraction of the equity at the session's open.
    max_consecutive_losses
        Losing closed trades in a row after which nothing new is opened.
    max_position_fraction
        Largest share of equity that one new position may put at risk (premium of options,
        notional of shares).
    max_order_contracts, max_order_shares
        Largest single order.
    max_orders_per_minute
        Orders sent in any 60 seconds; exits and hedges included.
    max_live_orders
        Orders at the venue at one time.
    price_collar_fraction
        A limit price may be worse than the far side of the quote by this fraction at most.
    max_net_delta_fraction
        Net delta in currency as a fraction of equity, checked on orders that open or hedge.
        None switches the cap off.
    """

    max_daily_loss: Decimal | None = None
    max_daily_loss_fraction: float = 0.05
    max_consecutive_losses: int = 3
    max_position_fraction: float = 0.25
    max_order_contracts: int = 100
    max_order_shares: int = 20_000
    max_orders_per_minute: int = 120
    max_live_orders: int = 20
    price_collar_fraction: float = 0.10
    max_net_delta_fraction: float | None = None

    def __post_init__(self) -> None:
        """Refuse figures that would switch a limit off by accident."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(
                    "a limit must be above zero",
                    where=f"risk.{name}",
                    value=str(value),
                    fix="set the largest amount you accept; limits cannot be switched off with 0",
                )

    def daily_loss_limit(self, session_equity: Decimal) -> Decimal:
        """Return the loss of a session (currency, positive) at which nothing new is opened."""
        if self.max_daily_loss is not None:
            return self.max_daily_loss
        return session_equity * Decimal(f"{self.max_daily_loss_fraction:.6f}")
