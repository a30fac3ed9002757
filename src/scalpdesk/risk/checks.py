"""One function, one check. Each returns why the order may not go, or None."""

import math
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side
from scalpdesk.instruments.contract import Instrument, OptionContract
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.risk.limits import RiskLimits

ZERO = Decimal(0)
MARKET = OrderType.MARKET
FINE = frozenset({QuoteVerdict.GOOD, QuoteVerdict.LOCKED})
"""Quotes on which every order may go."""
OPENING = frozenset({Purpose.OPEN})
"""Purposes that add risk. A hedge, a close and an unwind lower it and pass most checks."""


class OrderContext(msgspec.Struct):
    """What the checks see of one intent, at one instant."""

    intent: OrderIntent
    instrument: Instrument
    limits: RiskLimits
    mode: str
    quote: QuoteEvent | None
    verdict: QuoteVerdict
    held: Decimal
    """Signed contracts or shares held of the instrument."""
    pending: Decimal
    """Signed quantity that live orders may still fill."""
    equity: Decimal
    session_equity: Decimal
    """Equity at the session's open."""
    daily_pnl: Decimal
    consecutive_losses: int
    live_orders: int
    orders_last_minute: int
    in_session: bool
    net_delta_shares: float
    spot: float
    risk_before: Decimal = ZERO
    """Currency put at risk by the intents of the same proposal that were judged before."""


Check = Callable[[OrderContext], str | None]


def mode_allows(context: OrderContext) -> str | None:
    """ACTIVE lets all through, REDUCING and FLATTENING what lowers risk, HALTED nothing."""
    if context.mode == "HALTED":
        return "the desk is halted"
    if context.mode in ("REDUCING", "FLATTENING") and context.intent.purpose in OPENING:
        return f"the desk is {context.mode.lower()}: nothing new is opened"
    return None


def session_is_open(context: OrderContext) -> str | None:
    """No order outside the trading session."""
    return None if context.in_session else "outside the trading session"


def quantity_is_sane(context: OrderContext) -> str | None:
    """Above zero, and not larger than one order may be."""
    quantity = context.intent.quantity
    if quantity <= 0:
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
    if context.intent.purpose in OPENING:
        return f"the quote of {context.instrument.symbol} is {verdict}"
    if verdict in (QuoteVerdict.ABSENT, QuoteVerdict.CROSSED, QuoteVerdict.NON_FINITE):
        return f"the quote of {context.instrument.symbol} is {verdict}"
    return None


def price_within_collar(context: OrderContext) -> str | None:
    """A limit price may not be far worse than the quote's far side."""
    intent, quote = context.intent, context.quote
    if intent.order_type is MARKET or quote is None:
        return None
    if intent.limit_price is None or intent.limit_price <= 0:
        return "a limit order needs a limit price above zero"
    price, collar = float(intent.limit_price), context.limits.price_collar_fraction
    if intent.side is Side.BUY and quote.ask > 0 and price > quote.ask * (1 + collar) + 0.01:
        return f"buy limit {price} is more than {collar:.0%} above the ask {quote.ask}"
    if intent.side is Side.SELL and quote.bid > 0 and price < quote.bid * (1 - collar) - 0.01:
        return f"sell limit {price} is more than {collar:.0%} below the bid {quote.bid}"
    return None


def throttle_has_room(context: OrderContext) -> str | None:
    """Orders in the last minute and orders at the venue; a fifth is kept back for exits and hedges."""
    limits = context.limits
    reserve = limits.max_orders_per_minute // 5 if context.intent.purpose in OPENING else 0
    if context.orders_last_minute >= limits.max_orders_per_minute - reserve:
        return f"{context.orders_last_minute} orders in the last minute, limit {limits.max_orders_per_minute}"
    if context.live_orders >= limits.max_live_orders:
        return f"{context.live_orders} orders at the venue, limit {limits.max_live_orders}"
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
    risk = risk_of(context.intent, context.instrument, context.quote)
    if risk is None:
        return "the risk of the order is not known: no ask"
    at_risk = risk + context.risk_before
    limit = context.limits.daily_loss_limit(context.session_equity)
    rule = loss_rule(
        limit,
        context.limits.max_consecutive_losses,
        context.limits.max_position_fraction,
        daily_pnl=context.daily_pnl,
        consecutive_losses=context.consecutive_losses,
        proposed_risk=at_risk,
        equity=context.equity,
    )
    figures = {
        "daily_loss": f"P&L of the day {context.daily_pnl:.2f}, limit {-limit:.2f}",
        "consecutive_losses": f"{context.consecutive_losses} losing trades in a row",
        "would_breach_daily_loss": f"{at_risk} at risk, P&L of the day {context.daily_pnl:.2f},"
        f" limit {-limit:.2f} (risk.max_daily_loss)",
        "position_size": f"{at_risk} at risk is more than {context.limits.max_position_fraction:.0%}"
        f" of {context.equity:.2f} (risk.max_position_fraction)",
    }
    return None if rule is None else f"{rule}: {figures[rule]}"


def net_delta_within_cap(context: OrderContext) -> str | None:
    """Net delta after the order may not exceed its share of equity, unless the order lowers it."""
    cap = context.limits.max_net_delta_fraction
    if cap is None or isinstance(context.instrument, OptionContract) or not context.spot:
        return None
    before = context.net_delta_shares
    after = before + float(context.intent.signed_quantity)
    most = cap * float(context.equity) / context.spot
    if abs(after) > most and abs(after) > abs(before):
        return f"net delta would be {after:.1f} shares, cap {most:.1f}"
    return None


CHECKS: Sequence[Check] = (
    mode_allows,
    session_is_open,
    quantity_is_sane,
    quote_is_good,
    price_within_collar,
    throttle_has_room,
    losses_allow,
    net_delta_within_cap,
)


def loss_rule(
    max_daily_loss: Decimal,
    max_consecutive_losses: int,
    max_position_fraction: float,
    *,
    daily_pnl: Decimal,
    consecutive_losses: int,
    proposed_risk: Decimal = ZERO,
    equity: Decimal | None = None,
) -> str | None:
    """Return the first loss rule that forbids a new position, or None.

    In order: ``daily_loss`` (at or below the limit), ``consecutive_losses``,
    ``would_breach_daily_loss`` (the whole of the new risk lost), ``position_size``.
    """
    if daily_pnl <= -max_daily_loss:
        return "daily_loss"
    if consecutive_losses >= max_consecutive_losses:
        return "consecutive_losses"
    if daily_pnl - proposed_risk < -max_daily_loss:
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
