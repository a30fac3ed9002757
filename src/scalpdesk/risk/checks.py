"""The risk checks: one function each, which returns why the order may not go, or None.

The scope above a check says which orders it concerns; :data:`CHECKS` holds them all, in the order in
which they are asked.
"""

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal

from scalpdesk.core.enums import Mode
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import EXITS, OPENING, OrderIntent, OrderType, Purpose, Side
from scalpdesk.core.order_types import TRAITS
from scalpdesk.core.units import DAY_NS, NANOS_PER_SECOND, ZERO, InstrumentId, money_decimals
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.margin.capital import capital_of, cash_of
from scalpdesk.margin.regulation_t import LONG_OPTIONS
from scalpdesk.marketdata.quotes import TRADABLE, QuoteVerdict, may_trade
from scalpdesk.risk.context import Check, OrderContext, Scope, TradePart, Working, concerns

BUY, OPEN, MARKET = Side.BUY, Purpose.OPEN, OrderType.MARKET
_NO_EXITS = frozenset(Purpose) - EXITS
LOWERING = frozenset({Mode.REDUCING, Mode.FLATTENING})
SPEAKER, LEG = TradePart.SPEAKER, TradePart.LEG
"""Quotes on which no order may go."""


# the desk, the account, the kind of order ---------------------------------------------------------


@concerns(Scope(modes=frozenset(Mode) - {Mode.ACTIVE}))
def mode_allows(context: OrderContext) -> str | None:
    """REDUCING and FLATTENING let through what lowers risk, HALTED nothing."""
    if context.mode not in LOWERING:
        return "the desk is halted"
    if context.intent.purpose in OPENING:
        return f"the desk is {context.mode.lower()}: nothing new is opened"
    return None


def session_is_open(context: OrderContext) -> str | None:
    """No order outside the trading session."""
    return None if context.in_session else "outside the trading session"


@concerns(Scope(needs_halt=True))
def symbol_trades(context: OrderContext) -> str | None:
    """Nothing goes, exits included, while trading in the symbol or in an option's underlying is halted."""
    return f"trading is halted in {context.instrument.symbol}" if context.is_halted else None


@concerns(Scope(venue_limits=True))
def account_may_trade(context: OrderContext) -> str | None:
    """Nothing goes while the venue reports that the account is blocked."""
    limits = context.venue_limits
    return None if limits is None or limits.may_trade else "the venue has blocked trading in this account"


@concerns(Scope(until_compared=True))
def account_is_compared(context: OrderContext) -> str | None:
    """Nothing goes before a resumed run knows what it holds: an exit of what was closed meanwhile opens."""
    return None if context.is_compared else "the account is not yet compared with the journal"


@concerns(Scope(purposes=_NO_EXITS, applies=lambda limits, _: limits.allowed_underlyings is not None))
def instrument_is_allowed(context: OrderContext) -> str | None:
    """Only listed underlyings and their options may be opened; positions in others may be closed."""
    instrument = context.instrument
    names: tuple[str, ...] = (instrument.symbol,)
    if instrument.is_option:
        names = (instrument.underlying, instrument.root)
    if any(name in (context.limits.allowed_underlyings or ()) for name in names):
        return None
    return f"{instrument.symbol} is not on risk.allowed_underlyings"


@concerns(Scope(applies=lambda limits, key: key.is_index and not limits.index_orders))
def is_no_index(context: OrderContext) -> str | None:
    """A cash index cannot be bought or sold."""
    return (
        f"{context.instrument.symbol} is an index, which cannot be bought: name a future or a fund on it in "
        "hedge.instrument, or trade its level in a study (risk.index_orders)"
    )


@concerns(Scope(applies=lambda limits, key: key.order_type not in limits.allowed_order_types))
def order_type_is_allowed(context: OrderContext) -> str | None:
    """Only order types on the list."""
    name = context.intent.type_name
    if name in context.limits.allowed_order_types:
        return None
    return f"{name} orders are not on risk.allowed_order_types"


def quantity_is_sane(context: OrderContext) -> str | None:
    """Above zero, and not larger than one order may be."""
    quantity = context.intent.quantity
    if not quantity.is_finite() or quantity <= ZERO:
        return f"order size {quantity} is not above zero"
    most = context.resolved.order_contracts if context.is_option else context.resolved.order_shares
    if quantity <= most:
        return None
    return f"order of {quantity} {_unit(context)} is above the limit of {most}"


def _unit(context: OrderContext) -> str:
    return "contracts" if context.is_option else "shares"


# prices -------------------------------------------------------------------------------------------


def quote_is_good(context: OrderContext) -> str | None:
    """Risk is opened only on a good quote, an option bought on its ask; lowering it needs any usable one."""
    verdict, intent = context.verdict, context.intent
    if may_trade(verdict, intent.side, is_option=context.is_option, opens=intent.purpose in OPENING):
        return None
    return f"the quote of {context.instrument.symbol} is {verdict}"


@concerns(Scope(purposes=OPENING, on_options=True))
def underlying_is_good(context: OrderContext) -> str | None:
    """An option is opened only while its underlying is quoted well: its Greeks stand on that price."""
    option = context.instrument
    assert option.is_option
    verdict = context.facts.verdict_on(option.underlying)
    return None if verdict in TRADABLE else f"the quote of {option.underlying} is {verdict}"


@concerns(
    Scope(
        order_types=frozenset({"market"}),
        modes=frozenset(Mode) - {Mode.FLATTENING},
        on_options=True,
    )
)
def market_order_is_covered(context: OrderContext) -> str | None:
    """No market order on an option without a fresh quote, unless the desk flattens or the option expires."""
    if context.verdict is not QuoteVerdict.STALE or context.facts.is_last_call():
        return None
    symbol = context.instrument.symbol
    return f"a market order on an option needs a fresh quote; that of {symbol} is stale"


@concerns(Scope(order_types=frozenset({"limit"})))
def price_within_collar(context: OrderContext) -> str | None:
    """A limit price may not be far worse than the quote's far side, without a fresh one than the mark."""
    intent, quote = context.intent, context.quote
    if quote is None:
        return None
    if intent.limit_price is None or not intent.limit_price.is_finite() or intent.limit_price <= 0:
        return "a limit order needs a limit price above zero"
    price, collar = float(intent.limit_price), context.limits.price_collar_fraction
    bid, ask, bid_is, ask_is = quote.bid, quote.ask, "bid", "ask"
    if context.verdict is QuoteVerdict.STALE:
        mark = context.facts.mark(intent.instrument_id)
        if mark is not None:
            bid = ask = mark
            bid_is = ask_is = "mark"
    if intent.side is BUY and ask > 0 and price > ask * (1 + collar) + 0.01:
        return f"buy limit {price} is more than {collar:.0%} above the {ask_is} {ask}"
    if intent.side is Side.SELL and bid > 0 and price < bid * (1 - collar) - 0.01:
        return f"sell limit {price} is more than {collar:.0%} below the {bid_is} {bid}"
    return None


@concerns(Scope(on_options=True))
def price_is_shown(context: OrderContext) -> str | None:
    """An option whose quote is a stub is not opened, and not sold for less than a part of its worth."""
    intent, quote = context.intent, context.quote
    if quote is None or not context.facts.is_stub(quote):
        return None
    shown = f"the quote of {context.instrument.symbol}, {quote.bid:g} by {quote.ask:g}, shows no price"
    if intent.purpose in OPENING:
        return shown
    worth, part = context.facts.mark(intent.instrument_id), context.limits.least_sale_fraction
    if intent.side is BUY or worth is None or part is None:
        return None
    price = quote.bid if intent.limit_price is None else float(intent.limit_price)
    least = part * worth
    if price >= least or context.verdict is QuoteVerdict.STALE:
        return None
    return f"{shown}: it is worth {worth:.4g} by the model, and is not sold for less than {least:.4g}"


@concerns(Scope(applies=lambda _, key: TRAITS[key.order_type].waits))
def stop_is_sound(context: OrderContext) -> str | None:
    """A stop waits for a price that the market has not reached, its limit is near; an exit need not wait."""
    intent, quote, collar = context.intent, context.quote, context.limits.price_collar_fraction
    trigger, limit = intent.order_type.trigger_price(None, intent.side.sign), intent.limit_price
    if trigger is None:
        return None
    if not trigger.is_finite() or trigger <= 0:
        return "a stop needs a trigger above zero"
    if intent.time_in_force not in TRAITS[intent.type_name].lifetimes:
        return f"a stop lives for the day or until cancelled, not {intent.time_in_force.value}"
    if limit is not None:
        if not limit.is_finite() or limit <= 0:
            return "a stop limit order needs a limit price above zero"
        if float(limit - trigger) * intent.side.sign > float(trigger) * collar + 0.01:
            beyond = "above" if intent.side is BUY else "below"
            return (
                f"{intent.side.value} limit {limit} is more than {collar:.0%} {beyond} the trigger {trigger}"
            )
    if quote is None or intent.purpose in EXITS:
        return None
    if (quote.mid - float(trigger)) * intent.side.sign >= 0:
        return f"a stop to {intent.side.value} at {trigger} would trigger at once: the price is {quote.mid}"
    return None


# the flow of orders: how many, how much, how alike, how often rejected ----------------------------


def throttle_has_room(context: OrderContext) -> str | None:
    """Orders and messages of the last minute, and orders at the venue; entries leave a reserve to exits."""
    counters = context.counters
    most_orders, most_messages, most_live = context.resolved.throttles[context.intent.purpose]
    orders = len(counters.orders_ns) + context.orders_before
    messages = orders + len(counters.cancels_ns)
    if orders >= most_orders or messages >= most_messages:
        counters.advance(context.now_ns)
        orders = len(counters.orders_ns) + context.orders_before
        messages = orders + len(counters.cancels_ns)
        if orders >= most_orders:
            return f"{orders} orders in the last minute, limit {context.limits.max_orders_per_minute}"
        if messages >= most_messages:
            limit = context.resolved.messages_per_minute
            return f"{messages} orders and cancels in the last minute, limit {limit}"
    if context.live_orders >= most_live:
        return f"{context.live_orders} orders at the venue, limit {context.limits.max_live_orders}"
    return None


@concerns(Scope(needs_live_orders=True))
def is_no_duplicate(context: OrderContext) -> str | None:
    """An order equal to a working order, sent within the window, counts as a duplicate."""
    intent, window_seconds = context.intent, context.limits.duplicate_window_seconds
    since_ns = context.now_ns - int(window_seconds * NANOS_PER_SECOND)
    for order in context.facts.working():
        if (
            order.created_ns >= since_ns
            and order.instrument_id == intent.instrument_id
            and order.side is intent.side
            and order.quantity == intent.quantity
            and order.purpose is intent.purpose
            and order.limit_price == intent.limit_price
            and order.order_type == intent.order_type
            and order.owner == intent.owner
        ):
            return f"an equal order was sent less than {window_seconds:g} s ago and still works"
    return None


@concerns(Scope(needs_live_orders=True))
def meets_no_own_order(context: OrderContext) -> str | None:
    """No order that could trade with one of the desk's own."""
    intent = context.intent
    for order in context.facts.working():
        if (
            order.instrument_id == intent.instrument_id
            and order.side is not intent.side
            and order.leaves > 0
            and prices_meet(intent.side, intent.limit_price, order.limit_price)
        ):
            at = "the market" if order.limit_price is None else f"{order.limit_price}"
            whose = "the desk's own" if order.owner == intent.owner else f"{order.owner or 'the desk'}'s"
            return f"would trade with {whose} order to {order.side.value} {order.leaves} at {at}"
    return None


def prices_meet(side: Side, limit_price: Decimal | None, other_price: Decimal | None) -> bool:
    """Return whether an order's limit meets that of one on the other side; None meets every price."""
    if limit_price is None or other_price is None:
        return True
    return limit_price >= other_price if side is BUY else limit_price <= other_price


@concerns(Scope(purposes=_NO_EXITS))
def moving_size_has_room(context: OrderContext) -> str | None:
    """Quantity ordered within the moving window; exits are not held back."""
    resolved, counters, quantity = context.resolved, context.counters, context.intent.quantity
    most = resolved.window_contracts if context.is_option else resolved.window_shares
    ordered = counters.contracts if context.is_option else counters.shares
    if ordered + quantity <= most:
        return None
    counters.advance(context.now_ns)
    ordered = counters.contracts if context.is_option else counters.shares
    if ordered + quantity <= most:
        return None
    unit, seconds = _unit(context), context.limits.size_window_seconds
    return (
        f"{ordered} {unit} ordered within {seconds:g} s and {quantity} more"
        f" are above the limit of {most} (risk.max_window_{unit})"
    )


@concerns(Scope(purposes=OPENING))
def rejections_are_few(context: OrderContext) -> str | None:
    """Nothing new is opened while the venue rejects most of what it is sent."""
    context.counters.advance(context.now_ns)
    fraction, most = context.counters.rejected_fraction(), context.limits.max_reject_fraction
    if fraction is None or fraction < most:
        return None
    return f"the venue refused {fraction:.0%} of the last orders, limit {most:.0%} (risk.max_reject_fraction)"


# losses -------------------------------------------------------------------------------------------


def _stated_price(order: OrderIntent | Working) -> Decimal | None:
    """Return the price that an order names: its limit, or its trigger; None for one at the market."""
    if order.limit_price is not None or order.order_type is MARKET:
        return order.limit_price
    return order.order_type.trigger_price(None, order.side.sign)


def risk_of(intent: OrderIntent, instrument: Instrument, quote: QuoteEvent | None) -> Decimal | None:
    """Return all that an opening order pays, in currency; None if unknown. One that sells receives it.

    An inverse perpetual is paid in dollars; its amount is converted to coin.
    """
    stated = _stated_price(intent)
    price = float(stated) if stated is not None else (quote.ask if quote else math.nan)
    if not math.isfinite(price):
        return None
    if instrument.is_inverse_future and price <= 0.0:
        return None
    decimals = money_decimals(instrument.currency)
    return Decimal(f"{instrument.notional(float(intent.quantity), price):.{decimals}f}")


def day_loss_of(intent: OrderIntent, instrument: Instrument, risk: Decimal, now_ns: int) -> Decimal:
    """Return the largest loss within a day of an opening order that pays ``risk``, in currency.

    The loss at the stop if the order has a credible stop; without a stop the whole amount, but 0 for a bought
    option that lives longer than a day: its premium is lost over its life.
    """
    stopped = intent.loss_at_stop
    if stopped is not None and stopped.is_finite() and stopped >= 0:
        return min(stopped, risk)
    lives_on = instrument.is_option and expiry_instant_ns(instrument) - now_ns > DAY_NS
    return ZERO if lives_on and intent.side is BUY else risk


@concerns(Scope(purposes=OPENING))
def losses_allow(context: OrderContext) -> str | None:
    """The loss rules, for what opens risk."""
    limits = context.limits
    account = context.facts.figures()
    equity, session_equity, before = account.equity, account.session_equity, account.risk_before
    if not (equity.is_finite() and session_equity.is_finite()):
        return "the equity of the account is not known"
    if context.trade is LEG:
        return None
    if context.trade is SPEAKER:
        written = context.facts.written()
        if written.day_loss is None:
            return "the risk of the order is not known: an option of the book has no value"
        at_risk, may_lose = written.need, written.day_loss
    else:
        risk = risk_of(context.intent, context.instrument, context.quote)
        if risk is None:
            return "the risk of the order is not known: no ask"
        at_risk = risk + before
        may_lose = account.loss_before + day_loss_of(context.intent, context.instrument, risk, context.now_ns)
    daily_pnl = equity - session_equity
    limit = limits.daily_loss_limit(session_equity)
    rule = loss_rule(
        limit,
        limits.max_consecutive_losses,
        limits.max_position_fraction,
        daily_pnl=daily_pnl,
        consecutive_losses=account.consecutive_losses,
        proposed_risk=at_risk,
        proposed_loss=may_lose,
        equity=equity,
    )
    if rule is None:
        return None
    places = money_decimals(context.instrument.currency)
    day = f"P&L of the day {daily_pnl:.{places}f}, limit {-limit:.{places}f}"
    figures = {
        "daily_loss": day,
        "consecutive_losses": f"{account.consecutive_losses} losing trades in a row",
        "would_breach_daily_loss": f"{may_lose} may be lost within a day, {day} (risk.max_daily_loss)",
        "position_size": f"{at_risk} at risk is more than {limits.max_position_fraction:.0%}"
        f" of {equity:.{places}f} (risk.max_position_fraction)",
    }
    return f"{rule}: {figures[rule]}"


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
    ``would_breach_daily_loss`` (the new risk lost: ``proposed_loss`` where the day can lose less than
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


@concerns(Scope(purposes=OPENING, applies=lambda limits, _: limits.max_order_premium is not None))
def premium_within_limit(context: OrderContext) -> str | None:
    """An opening order may not pay more premium than the limit of one order."""
    most = context.limits.max_order_premium
    premium = risk_of(context.intent, context.instrument, context.quote)
    if premium is None:
        return "the premium of the order is not known: no ask"
    if most is None or premium <= most:
        return None
    return f"order of {premium} is above the limit of {most} (risk.max_order_premium)"


# what the account may do and hold -----------------------------------------------------------------


@concerns(Scope(purposes=OPENING, on_options=True))
def options_level_allows(context: OrderContext) -> str | None:
    """The account's options level must cover buying options; what it may write the margin model says."""
    if context.intent.side is not BUY:
        return None
    level = context.facts.options_level()
    if level >= LONG_OPTIONS:
        return None
    return f"the account's options level is {level}, this order needs {LONG_OPTIONS}"


@concerns(Scope(purposes=_NO_EXITS, on_options=True))
def margin_covers(context: OrderContext) -> str | None:
    """The account must be allowed to hold what is written, and have the margin for all legs together."""
    if context.trade is not SPEAKER:
        return None
    written, places = context.facts.written(), money_decimals(context.instrument.currency)
    if written.refusal is not None:
        return written.refusal
    if not written.need or written.need <= written.free:
        return None
    return f"the trade ties up {written.need:.{places}f}, own funds left {written.free:.{places}f}"


@concerns(Scope(purposes=EXITS))
def closes_what_is_held(context: OrderContext) -> str | None:
    """An exit may not go through flat, whatever else is still at the venue.

    Where strategies share an account, the account's position may belong to another strategy: the check
    counts the positions and working orders of the order's own strategy. A desk that leaves by what the venue
    shows counts those of all.
    """
    intent = context.intent
    owned = context.facts.held_by(intent.owner, intent.instrument_id)
    if intent.owner and owned is None:
        return None
    held = context.held if owned is None else owned
    if not held or (held > 0) is (intent.side is BUY):
        return f"an exit to {intent.side.value} lowers nothing: {held} held"
    closing = ZERO
    if context.live_orders:
        closing = sum(
            (
                order.leaves
                for order in context.facts.working()
                if order.instrument_id == intent.instrument_id
                and order.side is intent.side
                and (not context.facts.owners_apart or order.owner == intent.owner)
            ),
            ZERO,
        )
    if intent.quantity + closing <= abs(held):
        return None
    return f"an exit of {intent.quantity} beside {closing} at the venue is more than the {abs(held)} held"


@concerns(Scope(purposes=_NO_EXITS))
def position_within_limits(context: OrderContext) -> str | None:
    """Positions, long and short, counted as if every working order on that side were filled."""
    intent, resolved, held = context.intent, context.resolved, context.held
    side = intent.side
    worst = held + intent.quantity if side is BUY else held - intent.quantity
    if context.live_orders:
        for order in context.facts.working():
            if order.instrument_id == intent.instrument_id and order.side is side:
                worst += order.signed_leaves
    size = abs(worst)
    if not context.is_option:
        most = resolved.position_shares
        if size <= most or size <= abs(held):
            return None
        return f"position would be {size} shares, limit {most} (risk.max_position_shares)"
    short = context.limits.max_short_contracts
    if side is Side.SELL and -worst > short:
        return f"position would be {size} contracts short, limit {short} (risk.max_short_contracts)"
    most = resolved.option_contracts
    if size > most:
        return f"position would be {size} contracts, limit {most} (risk.max_option_contracts)"
    return _chain_within_limits(context, size)


def _chain_within_limits(context: OrderContext, size: Decimal) -> str | None:
    """Contracts of this expiry and of this underlying together; ``size`` are those of this contract."""
    mine, resolved = context.instrument, context.resolved
    assert mine.is_option
    of_expiry = of_underlying = size
    for instrument_id, other, quantity in _largest_positions(context):
        if instrument_id == context.intent.instrument_id or not other.is_option:
            continue
        if other.underlying == mine.underlying:
            of_underlying += quantity
            if other.expiry == mine.expiry:
                of_expiry += quantity
    if of_expiry > resolved.expiry_contracts:
        return (
            f"{of_expiry} contracts of {mine.expiry} would be held,"
            f" limit {resolved.expiry_contracts} (risk.max_expiry_contracts)"
        )
    if of_underlying > resolved.underlying_contracts:
        return (
            f"{of_underlying} contracts on {mine.underlying} would be held,"
            f" limit {resolved.underlying_contracts} (risk.max_underlying_contracts)"
        )
    return None


def _largest_positions(
    context: OrderContext, *, longs: bool = False
) -> Iterator[tuple[InstrumentId, Instrument, Decimal]]:
    """Each instrument with the largest quantity, unsigned, that its working orders can lead to.

    ``longs`` leaves out the quantities that are sold short.
    """
    ranges: dict[InstrumentId, tuple[Instrument, Decimal, Decimal]] = {
        line.instrument_id: (line.instrument, line.quantity, line.quantity) for line in context.facts.held()
    }
    for order in context.facts.working():
        instrument, low, high = ranges.get(order.instrument_id, (order.instrument, ZERO, ZERO))
        if order.side is BUY:
            high += order.leaves
        else:
            low -= order.leaves
        ranges[order.instrument_id] = (instrument, low, high)
    for instrument_id, (instrument, low, high) in ranges.items():
        yield instrument_id, instrument, max(high, ZERO) if longs else max(abs(low), abs(high))


@concerns(Scope(purposes=OPENING, venue_limits=False))
def cash_covers(context: OrderContext) -> str | None:
    """Refuse an opening order beyond the cash, where the venue reports no buying power."""
    added = _added_units(context)
    return _is_covered(context, added, "cash", context.facts.figures().cash, known_ns=-1) if added else None


@concerns(Scope(purposes=_NO_EXITS, venue_limits=True))
def buying_power_covers(context: OrderContext) -> str | None:
    """Refuse an order beyond the reported buying power less the cash spent since the report."""
    added, limits = _added_units(context), context.venue_limits
    if not added:
        return None
    assert limits is not None
    figures = context.facts.figures()
    source = "options buying power" if context.is_option else "buying power"
    reported = limits.options_buying_power if context.is_option else limits.buying_power
    available = reported + min(figures.cash - figures.cash_at_report, ZERO)
    return _is_covered(context, added, source, available, known_ns=limits.ts_recv_ns)


def _is_covered(
    context: OrderContext, added: Decimal, source: str, available: Decimal, known_ns: int
) -> str | None:
    """Compare the cost of ``added`` units with what is available; orders sent after ``known_ns`` count."""
    price = _price(context)
    if price is None:  # of an opening order the loss rules report it already
        return None if context.intent.purpose is OPEN else "the cost of the order is not known: no price"
    if not available.is_finite():
        return f"the {source} of the account is not known"
    cost, places = cash_of(context.instrument, added, price), money_decimals(context.instrument.currency)
    if context.live_orders:
        available -= _committed(context, known_ns)
    return None if cost <= available else f"the order costs {cost}, {source} left {available:.{places}f}"


def _added_units(context: OrderContext) -> Decimal:
    """Units of the order that are not covered by what is held the other way round."""
    intent, held = context.intent, context.held
    if context.is_option:
        return intent.quantity if intent.side is BUY else ZERO
    covered = abs(held) if held and (held > 0) is (intent.side is Side.SELL) else ZERO
    return max(intent.quantity - covered, ZERO)


def _price(context: OrderContext) -> float | None:
    intent, quote = context.intent, context.quote
    if intent.limit_price is not None:
        return float(intent.limit_price)
    trigger = None if intent.order_type is MARKET else _stated_price(intent)
    if trigger is not None:
        return float(trigger)
    if quote is None:
        return None
    price = quote.ask if intent.side is BUY else quote.bid
    return price if math.isfinite(price) else None


def _committed(context: OrderContext, known_ns: int) -> Decimal:
    """Cost of opening and hedging orders at the venue that were sent after ``known_ns``."""
    total = ZERO
    for order in context.facts.working():
        if order.created_ns <= known_ns or order.purpose in EXITS:
            continue
        if order.side is Side.SELL and order.instrument.is_option:
            continue
        price = _stated_price(order) or context.facts.mark(order.instrument_id)
        if price:
            total += cash_of(order.instrument, order.leaves, float(price))
    return total


@concerns(Scope(purposes=OPENING))
def capital_within_threshold(context: OrderContext) -> str | None:
    """Capital of the whole book once every order is filled, and the premium of options in it."""
    price = _price(context)
    if price is None:  # the loss rules report it already
        return None
    facts, limits = context.facts, context.limits
    tied_up = facts.tied_up()
    total = capital_of(context.instrument, context.intent.quantity, price)
    premium = total if context.is_option and context.trade is not SPEAKER else 0.0
    for instrument_id, instrument, quantity in _largest_positions(context, longs=tied_up is not None):
        if not quantity:
            continue
        mark = facts.mark(instrument_id)
        if mark is None or not math.isfinite(mark):
            return f"the capital at risk is not known: {instrument.symbol} has no price"
        capital = capital_of(instrument, quantity, mark)
        total += capital
        premium += capital if instrument.is_option else 0.0
    total = total if tied_up is None else float(tied_up)
    equity, places = facts.figures().equity, money_decimals(context.instrument.currency)
    for amount, what, fraction, key in (
        (total, "of capital would be tied up", limits.max_capital_fraction, "max_capital_fraction"),
        (
            premium if context.is_option else 0.0,
            "of premium would be at risk",
            limits.max_premium_fraction,
            "max_premium_fraction",
        ),
    ):
        if amount > fraction * float(equity):
            return f"{amount:.{places}f} {what}, limit {fraction:.0%} of {equity:.{places}f} (risk.{key})"
    return None


@concerns(Scope(purposes=OPENING))
def margin_has_room(context: OrderContext) -> str | None:
    """Nothing is opened while much of the equity is maintenance margin, or would be with what is written."""
    used, most = context.facts.figures().margin_fraction, context.limits.max_margin_fraction
    if context.trade is SPEAKER:  # the venue's word stands beside what the model says of the trade
        after = context.facts.written().margin_fraction
        used = after if used is None or (after is not None and after > used) else used
    if used is None or most is None or used <= most:
        return None
    return f"maintenance margin is {used:.0%} of collateral, limit {most:.0%} (risk.max_margin_fraction)"


CHECKS: Sequence[Check] = (
    mode_allows,
    session_is_open,
    symbol_trades,
    account_may_trade,
    account_is_compared,
    instrument_is_allowed,
    is_no_index,
    order_type_is_allowed,
    quantity_is_sane,
    quote_is_good,
    underlying_is_good,
    market_order_is_covered,
    price_within_collar,
    price_is_shown,
    stop_is_sound,
    throttle_has_room,
    is_no_duplicate,
    meets_no_own_order,
    moving_size_has_room,
    rejections_are_few,
    losses_allow,
    premium_within_limit,
    options_level_allows,
    margin_covers,
    closes_what_is_held,
    position_within_limits,
    cash_covers,
    buying_power_covers,
    capital_within_threshold,
    margin_has_room,
)
"""All checks, in the order in which they are asked."""
