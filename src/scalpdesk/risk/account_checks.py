"""Checks of what the account may do and how much it may hold."""

import math
from collections.abc import Iterator
from decimal import Decimal

from scalpdesk.core.intents import Purpose, Side
from scalpdesk.instruments.contract import Instrument, OptionContract
from scalpdesk.risk.context import EXITS, OPENING, OrderContext

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
