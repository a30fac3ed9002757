"""One function, one check: the plain ones. Each returns why the order may not go, or None.

What the account may do is asked in :mod:`scalpdesk.risk.account_checks`, what the flow of orders looks
like in :mod:`scalpdesk.risk.flow_checks`; :data:`CHECKS` holds them all, in the order in which they are
asked.
"""

import math
from collections.abc import Sequence
from decimal import Decimal

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side
from scalpdesk.instruments.contract import Instrument, OptionContract
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.risk import account_checks, flow_checks
from scalpdesk.risk.context import EXITS, OPENING, Check, OrderContext

__all__ = ["CHECKS", "OPENING", "Check", "OrderContext", "count_consecutive_losses", "loss_rule", "risk_of"]

ZERO = Decimal(0)
MARKET = OrderType.MARKET
FINE = frozenset({QuoteVerdict.GOOD, QuoteVerdict.LOCKED})
"""Quotes on which every order may go."""
UNUSABLE = frozenset(
    {QuoteVerdict.ABSENT, QuoteVerdict.CROSSED, QuoteVerdict.NON_FINITE, QuoteVerdict.NEGATIVE}
)
"""Quotes on which no order may go."""
STALE = QuoteVerdict.STALE
LOWERING_MODES = frozenset({"REDUCING", "FLATTENING"})


def mode_allows(context: OrderContext) -> str | None:
    """ACTIVE lets all through, REDUCING and FLATTENING what lowers risk, HALTED nothing."""
    mode = context.mode
    if mode == "ACTIVE":
        return None
    if mode == "HALTED":
        return "the desk is halted"
    if mode not in LOWERING_MODES:
        return f"the mode {mode!r} is not known"
    if context.intent.purpose in OPENING:
        return f"the desk is {mode.lower()}: nothing new is opened"
    return None


def session_is_open(context: OrderContext) -> str | None:
    """No order outside the trading session."""
    return None if context.in_session else "outside the trading session"


def quantity_is_sane(context: OrderContext) -> str | None:
    """Above zero, and not larger than one order may be."""
    quantity = context.intent.quantity
    if not quantity.is_finite() or quantity <= 0:
        return f"order size {quantity} is not above zero"
    if isinstance(context.instrument, OptionContract):
        most, unit = context.limits.max_order_contracts, "contracts"
    else:
        most, unit = context.limits.max_order_shares, "shares"
    return f"order of {quantity} {unit} is above the limit of {most}" if quantity > most else None


def quote_is_good(context: OrderContext) -> str | None:
    """Risk is opened only on a good quote; lowering it needs any usable one."""
    verdict = context.verdict
    if verdict in FINE:
        return None
    if context.intent.purpose in OPENING or verdict in UNUSABLE:
        return f"the quote of {context.instrument.symbol} is {verdict}"
    return None


def underlying_is_good(context: OrderContext) -> str | None:
    """An option is opened only while its underlying is quoted well: its Greeks stand on that price."""
    verdict = context.underlying_verdict
    if verdict in FINE or not isinstance(context.instrument, OptionContract):
        return None
    return f"the quote of {context.instrument.underlying} is {verdict}"


def market_order_is_covered(context: OrderContext) -> str | None:
    """No naked market order on an option: its quote must be fresh, unless everything has to go."""
    if (
        context.verdict is STALE
        and context.intent.order_type is MARKET
        and context.mode != "FLATTENING"
        and not context.is_last_call
        and isinstance(context.instrument, OptionContract)
    ):
        return (
            f"a market order on an option needs a fresh quote; that of {context.instrument.symbol} is stale"
        )
    return None


def price_within_collar(context: OrderContext) -> str | None:
    """A limit price may not be far worse than the quote's far side."""
    intent, quote = context.intent, context.quote
    if intent.order_type is MARKET or quote is None:
        return None
    if intent.limit_price is None or not intent.limit_price.is_finite() or intent.limit_price <= 0:
        return "a limit order needs a limit price above zero"
    price, collar = float(intent.limit_price), context.limits.price_collar_fraction
    if intent.side is Side.BUY and quote.ask > 0 and price > quote.ask * (1 + collar) + 0.01:
        return f"buy limit {price} is more than {collar:.0%} above the ask {quote.ask}"
    if intent.side is Side.SELL and quote.bid > 0 and price < quote.bid * (1 - collar) - 0.01:
        return f"sell limit {price} is more than {collar:.0%} below the bid {quote.bid}"
    return None


def risk_of(intent: OrderIntent, instrument: Instrument, quote: QuoteEvent | None) -> Decimal | None:
    """Return what an opening order puts at risk: all that it pays, in currency; None when not known."""
    price = (
        float(intent.limit_price) if intent.limit_price is not None else (quote.ask if quote else math.nan)
    )
    if not math.isfinite(price):
        return None
    return Decimal(f"{float(intent.quantity) * price * instrument.multiplier:.2f}")


def losses_allow(context: OrderContext) -> str | None:
    """The loss rules of section G, for what opens risk."""
    if context.intent.purpose not in OPENING:
        return None
    if not (
        context.equity.is_finite() and context.session_equity.is_finite() and context.daily_pnl.is_finite()
    ):
        return "the equity of the account is not known"
    risk = risk_of(context.intent, context.instrument, context.quote)
    if risk is None:
        return "the risk of the order is not known: no ask"
    at_risk = risk + context.risk_before
    stopped = context.intent.loss_at_stop
    if stopped is None or not stopped.is_finite() or stopped < 0:  # no stop, or none to be believed
        stopped = risk
    may_lose = min(stopped, risk) + context.risk_before
    limit = context.limits.daily_loss_limit(context.session_equity)
    rule = loss_rule(
        limit,
        context.limits.max_consecutive_losses,
        context.limits.max_position_fraction,
        daily_pnl=context.daily_pnl,
        consecutive_losses=context.consecutive_losses,
        proposed_risk=at_risk,
        proposed_loss=may_lose,
        equity=context.equity,
    )
    figures = {
        "daily_loss": f"P&L of the day {context.daily_pnl:.2f}, limit {-limit:.2f}",
        "consecutive_losses": f"{context.consecutive_losses} losing trades in a row",
        "would_breach_daily_loss": f"{may_lose} at risk, P&L of the day {context.daily_pnl:.2f},"
        f" limit {-limit:.2f} (risk.max_daily_loss)",
        "position_size": f"{at_risk} at risk is more than {context.limits.max_position_fraction:.0%}"
        f" of {context.equity:.2f} (risk.max_position_fraction)",
    }
    return None if rule is None else f"{rule}: {figures[rule]}"


def premium_within_limit(context: OrderContext) -> str | None:
    """An opening order may not pay more premium than the limit of one order."""
    most = context.limits.max_order_premium
    if most is None or context.intent.purpose is not Purpose.OPEN:
        return None
    premium = risk_of(context.intent, context.instrument, context.quote)
    if premium is None:
        return "the premium of the order is not known: no ask"
    return (
        f"order of {premium} is above the limit of {most} (risk.max_order_premium)"
        if premium > most
        else None
    )


CHECKS: Sequence[Check] = (
    mode_allows,
    session_is_open,
    account_checks.account_may_trade,
    account_checks.instrument_is_allowed,
    account_checks.order_type_is_allowed,
    quantity_is_sane,
    quote_is_good,
    underlying_is_good,
    market_order_is_covered,
    price_within_collar,
    flow_checks.throttle_has_room,
    flow_checks.is_no_duplicate,
    flow_checks.meets_no_own_order,
    flow_checks.moving_size_has_room,
    flow_checks.refusals_are_few,
    losses_allow,
    premium_within_limit,
    account_checks.options_level_allows,
    account_checks.closes_what_is_held,
    account_checks.position_within_limits,
    account_checks.buying_power_covers,
    account_checks.capital_within_threshold,
)
"""All checks, in the order in which they are asked."""

ASKED_OF: dict[Check, frozenset[Purpose]] = {
    **dict.fromkeys(
        (
            underlying_is_good,
            flow_checks.refusals_are_few,
            losses_allow,
            premium_within_limit,
            account_checks.options_level_allows,
            account_checks.capital_within_threshold,
        ),
        OPENING,
    ),
    **dict.fromkeys(
        (
            flow_checks.moving_size_has_room,
            account_checks.position_within_limits,
            account_checks.buying_power_covers,
        ),
        frozenset(Purpose) - EXITS,
    ),
    account_checks.closes_what_is_held: EXITS,
}
"""Checks that have nothing to say of other purposes; a hedge is the order that cannot wait."""


def loss_rule(
    max_daily_loss: Decimal,
    max_consecutive_losses: int,
    max_position_fraction: float,
    *,
    daily_pnl: Decimal,
    consecutive_losses: int,
    proposed_risk: Decimal = ZERO,
    proposed_loss: Decimal | None = None,
    equity: Decimal | None = None,
) -> str | None:
    """Return the first loss rule that forbids a new position, or None.

    In order: ``daily_loss`` (at or below the limit), ``consecutive_losses``,
    ``would_breach_daily_loss`` (the new risk lost: ``proposed_loss`` where a stop makes it less than
    ``proposed_risk``, which is all that is paid), ``position_size`` (of all that is paid).
    """
    if daily_pnl <= -max_daily_loss:
        return "daily_loss"
    if consecutive_losses >= max_consecutive_losses:
        return "consecutive_losses"
    may_lose = proposed_risk if proposed_loss is None else proposed_loss
    if daily_pnl - may_lose < -max_daily_loss:
        return "would_breach_daily_loss"
    if equity is not None and float(proposed_risk) > max_position_fraction * float(equity):
        return "position_size"
    return None


def count_consecutive_losses(closed_trades: Sequence[float | Decimal]) -> int:
    """Losing trades in a row at the end; a trade of exactly zero neither counts nor resets.

    >>> count_consecutive_losses([-10, -20, 0, -5])
    3
    """
    count = 0
    for pnl in closed_trades:
        if pnl < 0:
            count += 1
        elif pnl > 0:
            count = 0
    return count
