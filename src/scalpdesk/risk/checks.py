"""One function, one check: the plain ones. Each returns why the order may not go, or None.

What the account may do is asked in :mod:`scalpdesk.risk.checks`, what the flow of orders looks
like in :mod:`scalpdesk.risk.checks`; :data:`CHECKS` holds them all, in the order in which they are
asked.

Checks of what the account may do and how much it may hold.

Checks of the flow of orders: how many, how much, how alike, how often refused.
"""

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal

from scalpdesk.core.enums import Mode
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.contract import Instrument, OptionContract
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.risk.context import EXITS, OPENING, Check, OrderContext, Working

ZERO = Decimal(0)
LEVEL_TO_BUY, LEVEL_TO_WRITE = 2, 3
SHARE_MARGIN = 0.5
"""Initial margin of shares as a fraction of their notional (Regulation T, 12 CFR 220.12)."""


def account_may_trade(context: OrderContext) -> str | None:
    """Nothing goes while the venue says that the account is blocked."""
    account = context.account
    return None if account is None or account.may_trade else "the venue has blocked trading in this account"


def instrument_is_allowed(context: OrderContext) -> str | None:
    """Only underlyings on the list, and their options."""
    allowed = context.limits.allowed_underlyings
    if allowed is None:
        return None
    one = context.instrument
    names = (one.underlying, one.root) if isinstance(one, OptionContract) else (one.symbol,)
    return (
        None if any(name in allowed for name in names) else f"{one.symbol} is not on risk.allowed_underlyings"
    )


def order_type_is_allowed(context: OrderContext) -> str | None:
    """Only order types on the list."""
    kind = context.intent.order_type  # its members are words: no need to ask for the value of one
    if kind in context.limits.allowed_order_types:
        return None
    return f"{kind.value} orders are not on risk.allowed_order_types"


def options_level_allows(context: OrderContext) -> str | None:
    """The account's options level must cover buying, and writing, options."""
    account = context.account
    if account is None or not context.opens or not isinstance(context.instrument, OptionContract):
        return None
    needed = LEVEL_TO_BUY if context.intent.side is Side.BUY else LEVEL_TO_WRITE
    if account.options_level >= needed:
        return None
    return f"the account's options level is {account.options_level}, this order needs {needed}"


def closes_what_is_held(context: OrderContext) -> str | None:
    """An exit may not go through flat, whatever else is still at the venue.

    Where strategies share an account a share may belong to another one, and the sum over the account
    says nothing: what the order's owner holds and has at the venue counts.
    """
    intent = context.intent
    is_shared = context.owner_held is not None
    if intent.purpose not in EXITS or (intent.owner and not is_shared):
        return None
    held = context.held if context.owner_held is None else context.owner_held
    if not held or (held > 0) is (intent.side is Side.BUY):
        return f"an exit to {intent.side.value} lowers nothing: {held} held"
    closing = ZERO
    if context.live_orders:
        closing = sum(
            (
                one.leaves
                for one in context.book.working()
                if one.instrument_id == intent.instrument_id
                and one.side is intent.side
                and (not is_shared or one.owner == intent.owner)
            ),
            ZERO,
        )
    if intent.quantity + closing <= abs(held):
        return None
    return f"an exit of {intent.quantity} beside {closing} at the venue is more than the {abs(held)} held"


def position_within_limits(context: OrderContext) -> str | None:
    """Positions, long and short, counted as if every working order on that side were filled."""
    intent, limits = context.intent, context.limits
    if intent.purpose in EXITS:
        return None
    if type(context.instrument) is not OptionContract:
        worst = abs(_worst(context, intent.side))
        most = limits.position_shares
        if worst > most and worst > abs(context.held):
            return f"position would be {worst} shares, limit {most} (risk.max_position_shares)"
        return None
    worst = _worst(context, intent.side)
    if worst < 0 and intent.side is Side.SELL and -worst > limits.max_short_contracts:
        return (
            f"position would be {-worst} contracts short,"
            f" limit {limits.max_short_contracts} (risk.max_short_contracts)"
        )
    if abs(worst) > limits.option_contracts:
        return (
            f"position would be {abs(worst)} contracts,"
            f" limit {limits.option_contracts} (risk.max_option_contracts)"
        )
    return _chain_within_limits(context, context.instrument, abs(worst))


def _worst(context: OrderContext, side: Side) -> Decimal:
    """Signed position once this order and all others on its side are filled."""
    worst = context.held + context.intent.signed_quantity
    if context.live_orders:
        for one in context.book.working():
            if one.instrument_id == context.intent.instrument_id and one.side is side:
                worst += one.signed_leaves
    return worst


def _chain_within_limits(context: OrderContext, mine: OptionContract, worst: Decimal) -> str | None:
    """Contracts of this expiry and of this underlying together; ``worst`` are those of this contract."""
    expiry = underlying = worst
    seen = {context.intent.instrument_id}
    for number, one, quantity in _worst_lines(context):
        if number in seen or not isinstance(one, OptionContract) or one.underlying != mine.underlying:
            continue
        underlying += quantity
        if one.expiry == mine.expiry:
            expiry += quantity
    limits = context.limits
    if expiry > limits.expiry_contracts:
        return (
            f"{expiry} contracts of {mine.expiry} would be held,"
            f" limit {limits.expiry_contracts} (risk.max_expiry_contracts)"
        )
    if underlying > limits.underlying_contracts:
        return (
            f"{underlying} contracts on {mine.underlying} would be held,"
            f" limit {limits.underlying_contracts} (risk.max_underlying_contracts)"
        )
    return None


def _worst_lines(context: OrderContext) -> Iterator[tuple[int, Instrument, Decimal]]:
    """Each instrument with the largest quantity, unsigned, that its working orders can lead to."""
    lines: dict[int, tuple[Instrument, Decimal, Decimal]] = {
        one.instrument_id: (one.instrument, one.quantity, one.quantity) for one in context.book.held()
    }
    for order in context.book.working():
        instrument, low, high = lines.get(order.instrument_id, (order.instrument, ZERO, ZERO))
        if order.side is Side.BUY:
            high += order.leaves
        else:
            low -= order.leaves
        lines[order.instrument_id] = (instrument, low, high)
    for number, (instrument, low, high) in lines.items():
        yield number, instrument, max(abs(low), abs(high))


def buying_power_covers(context: OrderContext) -> str | None:
    """What an order pays must be there: by the venue's word, else in cash."""
    intent, one = context.intent, context.instrument
    if intent.purpose in EXITS or (context.account is None and intent.purpose is not Purpose.OPEN):
        return None
    added = _added_units(context)
    if not added:
        return None
    price = _price(context)
    if price is None:  # of an opening order the loss rules say it already
        return None if context.opens else "the cost of the order is not known: no price"
    cost = Decimal(f"{float(added) * price * one.multiplier:.2f}")
    source = "cash"
    available = context.cash
    told_ns = -1
    account = context.account
    if account is not None:
        is_option = isinstance(one, OptionContract)
        source = "options buying power" if is_option else "buying power"
        told = account.options_buying_power if is_option else account.buying_power
        available = told + min(context.cash - context.cash_when_told, ZERO)
        told_ns = account.ts_recv_ns
    if not available.is_finite():
        return f"the {source} of the account is not known"
    if context.live_orders:
        available -= _committed(context, told_ns)
    return None if cost <= available else f"the order costs {cost}, {source} left {available:.2f}"


def _added_units(context: OrderContext) -> Decimal:
    """Units of the order that are not covered by what is held the other way round."""
    intent, held = context.intent, context.held
    if isinstance(context.instrument, OptionContract):
        return intent.quantity if intent.side is Side.BUY else ZERO
    covered = abs(held) if held and (held > 0) is (intent.side is Side.SELL) else ZERO
    return max(intent.quantity - covered, ZERO)


def _price(context: OrderContext) -> float | None:
    intent, quote = context.intent, context.quote
    if intent.limit_price is not None:
        return float(intent.limit_price)
    if quote is None:
        return None
    price = quote.ask if intent.side is Side.BUY else quote.bid
    return price if math.isfinite(price) else None


def _committed(context: OrderContext, told_ns: int) -> Decimal:
    """Cost of opening and hedging orders at the venue that its last word does not know yet."""
    total = ZERO
    for one in context.book.working():
        if one.created_ns <= told_ns or one.purpose in EXITS:
            continue
        if one.side is Side.SELL and isinstance(one.instrument, OptionContract):
            continue
        price = one.limit_price
        if price is None:
            mark = context.book.mark(one.instrument_id)
            price = ZERO if mark is None else Decimal(f"{mark:.4f}")
        total += one.leaves * price * one.instrument.multiplier
    return total


def capital_within_threshold(context: OrderContext) -> str | None:
    """The worst case of the whole book: premium of all options, margin of all shares, once all is filled."""
    if context.intent.purpose not in OPENING:
        return None
    price = _price(context)
    if price is None:  # the loss rules say it already
        return None
    total = _capital(context.instrument, context.intent.quantity, price)
    for number, one, quantity in _worst_lines(context):
        if not quantity:
            continue
        mark = context.book.mark(number)  # type: ignore[arg-type]
        if mark is None or not math.isfinite(mark):
            return f"the capital at risk is not known: {one.symbol} has no price"
        total += _capital(one, quantity, mark)
    most = context.limits.max_capital_fraction * float(context.equity)
    if total <= most:
        return None
    return (
        f"{total:.2f} of capital would be tied up, limit {context.limits.max_capital_fraction:.0%}"
        f" of {context.equity:.2f} (risk.max_capital_fraction)"
    )


def _capital(one: Instrument, quantity: Decimal, price: float) -> float:
    margin = 1.0 if isinstance(one, OptionContract) else SHARE_MARGIN
    return margin * float(quantity) * price * one.multiplier


MARKET = OrderType.MARKET


def throttle_has_room(context: OrderContext) -> str | None:
    """Orders and messages of the last minute, and orders at the venue; entries leave a reserve to exits."""
    limits, purpose = context.limits, context.intent.purpose
    kept_back = 0.0
    if purpose in OPENING:
        kept_back = limits.throttle_reserve_fraction
    elif purpose not in EXITS:
        kept_back = 0.5 * limits.throttle_reserve_fraction
    most = limits.max_orders_per_minute
    if context.orders_last_minute >= most - int(most * kept_back):
        return f"{context.orders_last_minute} orders in the last minute, limit {most}"
    if context.tallies is not None:
        cancels = context.tallies.cancels_last_minute(context.now_ns)
        messages, most = context.orders_last_minute + cancels, limits.messages_per_minute
        if messages >= most - int(most * kept_back):
            return f"{messages} orders and cancels in the last minute, limit {most}"
    most = limits.max_live_orders
    if context.live_orders >= most - int(most * kept_back):
        return f"{context.live_orders} orders at the venue, limit {most}"
    return None


def is_no_duplicate(context: OrderContext) -> str | None:
    """An order equal to one that still works, so soon after it, is the same one sent twice."""
    if not context.live_orders:
        return None
    intent = context.intent
    since_ns = context.now_ns - int(context.limits.duplicate_window_seconds * NANOS_PER_SECOND)
    for one in context.book.working():
        if (
            one.created_ns >= since_ns
            and one.instrument_id == intent.instrument_id
            and one.side is intent.side
            and one.quantity == intent.quantity
            and one.purpose is intent.purpose
            and one.limit_price == intent.limit_price
            and one.owner == intent.owner
        ):
            return (
                f"an equal order was sent less than {context.limits.duplicate_window_seconds:g} s ago"
                " and still works (risk.duplicate_window_seconds)"
            )
    return None


def meets_no_own_order(context: OrderContext) -> str | None:
    """No order that could trade with one of the desk's own."""
    if not context.live_orders:
        return None
    intent = context.intent
    for one in context.book.working():
        if (
            one.instrument_id == intent.instrument_id
            and one.side is not intent.side
            and one.leaves > 0
            and _cross(intent.side, intent.limit_price, one)
        ):
            at = "the market" if one.limit_price is None else f"{one.limit_price}"
            return f"would trade with the desk's own order to {one.side.value} {one.leaves} at {at}"
    return None


def _cross(side: Side, limit_price: Decimal | None, other: Working) -> bool:
    """Whether prices of two orders on opposite sides meet; a market order meets every price."""
    if limit_price is None or other.limit_price is None:
        return True
    return limit_price >= other.limit_price if side is Side.BUY else limit_price <= other.limit_price


def moving_size_has_room(context: OrderContext) -> str | None:
    """Quantity ordered within the moving window; exits are not held back."""
    if context.tallies is None or context.intent.purpose in EXITS:
        return None
    limits = context.limits
    is_option = isinstance(context.instrument, OptionContract)
    most = limits.window_contracts if is_option else limits.window_shares
    ordered = context.tallies.ordered_lately(context.now_ns, options=is_option)
    if ordered + context.intent.quantity <= most:
        return None
    unit = "contracts" if is_option else "shares"
    return (
        f"{ordered} {unit} ordered within {limits.size_window_seconds:g} s and {context.intent.quantity} more"
        f" are above the limit of {most} (risk.max_window_{unit})"
    )


def refusals_are_few(context: OrderContext) -> str | None:
    """Nothing new is opened while the venue refuses most of what it is sent."""
    if context.tallies is None or context.intent.purpose not in OPENING:
        return None
    share = context.tallies.refused_share(context.now_ns)
    if share is None or share < context.limits.max_reject_fraction:
        return None
    return (
        f"the venue refused {share:.0%} of the last orders,"
        f" limit {context.limits.max_reject_fraction:.0%} (risk.max_reject_fraction)"
    )


__all__ = ["CHECKS", "OPENING", "Check", "OrderContext", "count_consecutive_losses", "loss_rule", "risk_of"]

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
    if mode is Mode.ACTIVE:
        return None
    if mode is Mode.HALTED:
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
        and context.mode is not Mode.FLATTENING
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
    account_may_trade,
    instrument_is_allowed,
    order_type_is_allowed,
    quantity_is_sane,
    quote_is_good,
    underlying_is_good,
    market_order_is_covered,
    price_within_collar,
    throttle_has_room,
    is_no_duplicate,
    meets_no_own_order,
    moving_size_has_room,
    refusals_are_few,
    losses_allow,
    premium_within_limit,
    options_level_allows,
    closes_what_is_held,
    position_within_limits,
    buying_power_covers,
    capital_within_threshold,
)
"""All checks, in the order in which they are asked."""

ASKED_OF: dict[Check, frozenset[Purpose]] = {
    **dict.fromkeys(
        (
            underlying_is_good,
            refusals_are_few,
            losses_allow,
            premium_within_limit,
            options_level_allows,
            capital_within_threshold,
        ),
        OPENING,
    ),
    **dict.fromkeys(
        (
            moving_size_has_room,
            position_within_limits,
            buying_power_covers,
        ),
        frozenset(Purpose) - EXITS,
    ),
    closes_what_is_held: EXITS,
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
