"""The numbers that bound the desk.

Keys that are each sane and together are not: refused before anything runs.
"""

from decimal import Decimal
from typing import Annotated, Any, ClassVar, NamedTuple

import msgspec

from scalpdesk.core.bounds import BoundedSettings, above, at_least
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.intents import Purpose
from scalpdesk.core.order_types import WORKING_AT_ONCE, OrderTypeName

_Money = Annotated[Decimal, above(0, 10**9, "an amount in the account's currency")]
Fraction = Annotated[float, above(0, 1, "a fraction of equity: 0.05 is 5 %")]
_MarginFraction = Annotated[float, above(0, 1, "maintenance margin over collateral: 0.6 is 60 %")]
_PerMinute = Annotated[int, above(0, 1_000_000, "a number a minute")]
Beta = Annotated[float, above(0, 10, "the move for a move of 1 of the index")]


class RiskLimits(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of one account. Money in the quote currency; fractions are of equity."""

    section = "risk"
    max_daily_loss: _Money | None = None
    """Loss of a session, realised and unrealised and fees, at which nothing new is opened and all is closed.
    A new order counts with what it may lose within the day: at its stop; without one all that it pays, of a
    bought option only where it expires within a day. None takes ``max_daily_loss_fraction``.
    """
    max_daily_loss_fraction: Fraction = 0.05
    """The same as a fraction of the equity at the session's open."""
    max_consecutive_losses: Annotated[int, above(0, 1_000, "a number of losing trades")] = 3
    """Losing closed trades in a row after which nothing new is opened."""
    max_position_fraction: Fraction = 0.25
    """Largest share of equity that one new position may put at risk (premium of options, notional of shares).
    """
    max_premium_fraction: Fraction = 0.5
    """Largest share of equity that the premium of options may be, of those held at their marks and of all
    that works: capital at risk over their lives. A roll holds two straddles for a moment.
    """
    max_capital_fraction: Annotated[float, above(0, 4, "a multiple of equity: 1.0 is all of it")] = 1.0
    """Largest share of equity that the book may tie up should everything that works be filled: premium of
    options, half the notional of shares.
    """
    max_order_contracts: Annotated[int, above(0, 10_000, "contracts of one order")] = 100
    max_order_shares: Annotated[int, above(0, 10_000_000, "shares of one order")] = 20_000
    """``max_order_contracts``, ``max_order_shares``: Largest single order."""
    max_order_premium: _Money | None = None
    """Largest premium of a single opening order; None leaves it to ``max_position_fraction``."""
    max_option_contracts: Annotated[int, above(0, 100_000, "contracts")] | None = None
    max_expiry_contracts: Annotated[int, above(0, 100_000, "contracts")] | None = None
    max_underlying_contracts: Annotated[int, above(0, 1_000_000, "contracts")] | None = None
    """``max_option_contracts``, ``max_expiry_contracts``, ``max_underlying_contracts``: Largest position in
    one contract, in all contracts of one expiry, and of one underlying, long or short, counted as if every
    working order were filled. None takes 5, 10 and 20 times ``max_order_contracts``.
    """
    max_short_contracts: Annotated[int, at_least(0, 100_000, "contracts; 0: no short positions")] = 0
    """Largest short position in one contract; 0 sells only what is held."""
    max_position_shares: Annotated[int, above(0, 100_000_000, "shares")] | None = None
    """Largest position in shares, long or short. None takes 5 times ``max_order_shares``."""
    max_orders_per_minute: _PerMinute = 120
    """Orders sent in any 60 seconds; exits and hedges included."""
    max_messages_per_minute: Annotated[int, above(0, 10_000_000, "a number a minute")] | None = None
    """Orders and cancels sent in any 60 seconds; a cancel is counted and never held back. None takes 1.5
    times ``max_orders_per_minute``.
    """
    throttle_reserve_fraction: ClassVar[float] = 0.2
    """Share of both, and of ``max_live_orders``, that entries leave free; hedges leave half of it to exits.
    """
    max_live_orders: Annotated[int, above(0, 10_000, "orders")] = 20
    """Orders at the venue at one time."""
    price_collar_fraction: Annotated[float, above(0, 1, "a fraction of the price: 0.10 is 10 %")] = 0.10
    """A limit price may be worse than the far side of the quote by this fraction at most."""
    least_sale_fraction: Fraction | None = 0.5
    """Least part of its worth that an option is sold for while its quote shows no price; None: any part."""
    max_net_delta_fraction: Fraction | None = 0.20
    """Net delta, beta-weighted, after an order in shares or of written options. None switches the cap off."""
    max_bought_delta_fraction: Annotated[float, above(0, 100, "a multiple of equity")] | None = 5.0
    """The same after an order that buys options, whose loss ends at the premium."""
    betas: dict[str, Beta] = msgspec.field(default_factory=dict)
    """Beta of an underlying by symbol, the move for a move of 1 of the index; QQQ 1.14 and all others 1 where
    it is not named.
    """
    max_underlying_fraction: (
        Annotated[float, above(0, 1, "a fraction of the caps: 0.5 is half of each")] | None
    ) = 1.0
    """Largest share of each Greeks cap that one underlying may take, however others offset it. None leaves
    the caps on the sum alone.
    """
    max_gamma_fraction: Annotated[float, above(0, 10, "a multiple of equity")] | None = 0.10
    """Change of the net delta (currency) for a move of 1 %, after an order that leaves it short."""
    max_bought_gamma_fraction: Annotated[float, above(0, 1_000, "a multiple of equity")] | None = 10.0
    """The same after an order that leaves the book long gamma."""
    max_vega_fraction: Fraction | None = 0.02
    max_theta_fraction: Fraction | None = 0.01
    """``max_vega_fraction``, ``max_theta_fraction``: Vega of one point of 30-day volatility
    (an expiry of a week moves by two points then, by the root of time), and theta of one calendar
    day, at most what time value is left.
    """
    max_margin_fraction: _MarginFraction | None = 0.5
    reduce_margin_fraction: _MarginFraction | None = 0.6
    flatten_margin_fraction: _MarginFraction | None = 0.8
    """``max_margin_fraction``, ``reduce_margin_fraction``, ``flatten_margin_fraction``: Maintenance margin
    over collateral (the smaller of equity and margin balance) at which nothing is opened, the desk goes to
    reducing, and it closes everything: of accounts in coin, and where a venue closes positions by it. None
    switches a stage off.
    """
    target_vol: Annotated[float, above(0, 2, "a fraction a year: 0.15 is 15 %")] | None = None
    """Opening orders are scaled by ``target_vol`` over the forecast volatility, between a quarter and one.
    None leaves sizes to the strategy.
    """
    allowed_underlyings: tuple[str, ...] | None = None
    """Symbols that may be traded, with their options; None takes all of the run."""
    index_orders: bool = False
    """Whether a study may trade a cash index at its level, without a spread."""
    allowed_order_types: tuple[OrderTypeName, ...] = ("market", "limit")
    """Order types that may be sent; ``stop`` and ``stop_limit`` wait at the venue for their trigger."""
    duplicate_window_seconds: ClassVar[float] = 0.5
    """An order equal to a working order is refused within this time."""
    size_window_seconds: ClassVar[float] = 60.0
    max_window_contracts: Annotated[int, above(0, 1_000_000, "contracts")] | None = None
    max_window_shares: Annotated[int, above(0, 1_000_000_000, "shares")] | None = None
    """``max_window_contracts``, ``max_window_shares``: Quantity ordered in any ``size_window_seconds``, exits
    aside. None takes 10 times the largest order.
    """
    max_repeats_per_minute: _PerMinute | None = None
    max_flips_per_minute: _PerMinute | None = None
    """``max_repeats_per_minute``, ``max_flips_per_minute``: Executions on one side of an instrument in a row,
    and departures from flat, in any 60 seconds, after which the desk only reduces until a person resumes it.
    None takes a half and a sixth of ``max_orders_per_minute``.
    """
    reject_window_seconds: ClassVar[float] = 300.0
    max_reject_fraction: Annotated[float, above(0, 1, "a fraction of the answered orders")] = 0.5
    """Nothing new is opened while the venue refused this share of ten or more orders that it answered within
    ``reject_window_seconds``.
    """

    def __post_init__(self) -> None:
        """Refuse figures that would switch a limit off by accident, and pairs that contradict."""
        super().__post_init__()
        if WORKING_AT_ONCE.isdisjoint(self.allowed_order_types):
            raise ConfigError(
                "neither market nor limit orders are allowed: the desk could not even exit",
                where="risk.allowed_order_types",
                value=self.allowed_order_types,
                fix="allow market, limit, or both",
            )
        if self.allowed_underlyings is not None and not self.allowed_underlyings:
            raise ConfigError(
                "an empty list allows nothing",
                where="risk.allowed_underlyings",
                value=(),
                fix="name the symbols, or leave the key out for all symbols of the run",
            )
        for smaller, larger in _ORDERED:
            low, high = getattr(self, smaller), getattr(self, larger)
            if low is not None and high is not None and low > high:
                raise ConfigError(
                    f"contradicts risk.{smaller} = {low}, which may not be the larger one",
                    where=f"risk.{larger}",
                    value=high,
                    fix=f"set risk.{larger} to at least {low}, or lower risk.{smaller}",
                )

    def resolve(self) -> "ResolvedLimits":
        """Return the limits of which None stands for a multiple of another one."""
        orders, reserve = self.max_orders_per_minute, self.throttle_reserve_fraction
        messages = self.max_messages_per_minute or orders * 3 // 2
        kept_back = {Purpose.OPEN: reserve, Purpose.HEDGE: 0.5 * reserve}
        throttles = {}
        for purpose in Purpose:
            kept = kept_back.get(purpose, 0.0)
            throttles[purpose] = _Throttle(
                *[most - int(most * kept) for most in (orders, messages, self.max_live_orders)]
            )
        return ResolvedLimits(
            order_contracts=Decimal(self.max_order_contracts),
            order_shares=Decimal(self.max_order_shares),
            option_contracts=Decimal(self.max_option_contracts or 5 * self.max_order_contracts),
            expiry_contracts=Decimal(self.max_expiry_contracts or 10 * self.max_order_contracts),
            underlying_contracts=Decimal(self.max_underlying_contracts or 20 * self.max_order_contracts),
            position_shares=Decimal(self.max_position_shares or 5 * self.max_order_shares),
            messages_per_minute=messages,
            window_contracts=Decimal(self.max_window_contracts or 10 * self.max_order_contracts),
            window_shares=Decimal(self.max_window_shares or 10 * self.max_order_shares),
            repeats_per_minute=self.max_repeats_per_minute or max(orders // 2, 1),
            flips_per_minute=self.max_flips_per_minute or max(orders // 6, 1),
            throttles=throttles,
        )

    def daily_loss_limit(self, session_equity: Decimal) -> Decimal:
        """Return the loss of a session (currency, positive) at which nothing new is opened."""
        if self.max_daily_loss is not None:
            return self.max_daily_loss
        return session_equity * Decimal(f"{self.max_daily_loss_fraction:.6f}")


class _Throttle(NamedTuple):
    """Counts from which orders of one purpose are refused: entries leave a reserve to hedges and exits."""

    orders: int
    messages: int
    live_orders: int


class ResolvedLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits with their defaults worked out, see :class:`RiskLimits` for each.

    Sizes are unsigned, and ``Decimal`` as the quantities that they bound: an int costs twice as much.
    """

    order_contracts: Decimal
    order_shares: Decimal
    option_contracts: Decimal
    expiry_contracts: Decimal
    underlying_contracts: Decimal
    position_shares: Decimal
    messages_per_minute: int
    window_contracts: Decimal
    window_shares: Decimal
    repeats_per_minute: int
    flips_per_minute: int
    throttles: dict[Purpose, _Throttle]


_ORDERED = (
    ("max_margin_fraction", "reduce_margin_fraction"),
    ("reduce_margin_fraction", "flatten_margin_fraction"),
    ("max_option_contracts", "max_expiry_contracts"),
    ("max_expiry_contracts", "max_underlying_contracts"),
    ("max_short_contracts", "max_option_contracts"),
    ("max_orders_per_minute", "max_messages_per_minute"),
    ("max_net_delta_fraction", "max_bought_delta_fraction"),
    ("max_gamma_fraction", "max_bought_gamma_fraction"),
)
"""Pairs of which the first may not be above the second."""


def check_account(limits: RiskLimits, equity: Decimal, what: str) -> None:
    """Refuse amounts that the account in use does not have.

    ``equity``: What the account is worth, in currency.
    ``what``: Name of that amount: ``simulation.starting_cash``, or the account's equity at the venue.

    Raises ConfigError when a loss or a premium above all there is would be allowed.
    """
    for name in ("max_daily_loss", "max_order_premium"):
        amount = getattr(limits, name)
        if amount is not None and amount > equity:
            more = f", or raise {what}" if what.startswith("simulation.") else ""
            raise ConfigError(
                f"more than the whole account: {what} is {equity}",
                where=f"risk.{name}",
                value=str(amount),
                fix=f"set risk.{name} to at most {equity}{more}",
            )


def check_sizes(limits: RiskLimits, strategy: str, config: Any, source: str) -> None:
    """Refuse a strategy's size for which the limits would refuse every order.

    ``config``: Its settings; only ``straddles`` is looked at, where there is such a key.
    ``source``: Where that key was set.

    Raises ConfigError when more straddles are wanted than one order may have contracts.
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
