"""What may lie behind a difference between desk and venue: each cause gives the events that book it."""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

from scalpdesk.core.events import DividendEvent, FillBusted, PositionChanged
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import InstrumentBook, OptionContract, Right, Settlement
from scalpdesk.instruments.sessions import expiry_instant_ns, from_ns, last_trading_ns
from scalpdesk.orders.pictures import AccountChange, AccountPicture, Explained, ForeignFill, Tolerance

ZERO = Decimal(0)
Booking = tuple[Explained, PositionChanged]
LIQUIDATION_WINDOW_NS = 60 * 60 * 1_000_000_000
"""Time before the end of trading in which a sale by the venue itself is its liquidation."""


def that_give(bookings: Sequence[Booking], change: Decimal) -> Sequence[Booking]:
    """Return the latest bookings that add up to ``change``; else those that lead towards it."""
    if not change:
        return ()
    total = ZERO
    for start in range(len(bookings) - 1, -1, -1):
        total += bookings[start][1].quantity_change
        if total == change:
            return bookings[start:]
    chosen = []
    left = change
    for one in bookings:
        quantity = one[1].quantity_change
        if left and abs(quantity) <= abs(left) and (quantity > 0) == (left > 0):
            chosen.append(one)
            left -= quantity
    return chosen


def that_come_round(
    bookings: Sequence[Booking], found: Sequence[Explained], cash: Decimal, within: Tolerance
) -> Sequence[Booking]:
    """Return the bookings that moved units there and back again, when all of them give ``cash``.

    A round trip by hand, or two deliveries that offset each other, leave nothing but cash behind.
    """
    taken = {one.event for one in found}
    moves = [one for one in bookings if one[1].quantity_change and one[1] not in taken]
    sums: dict[InstrumentId, Decimal] = {}
    for _, event in moves:
        sums[event.instrument_id] = sums.get(event.instrument_id, ZERO) + event.quantity_change
    round_trips = [one for one in moves if not sums[one[1].instrument_id]]
    given = sum((event.cash_change for _, event in round_trips), ZERO)
    return round_trips if round_trips and abs(cash - given) <= within.cash else ()


def that_pay(bookings: Sequence[Booking], cash: Decimal, within: Tolerance) -> Sequence[Booking]:
    """Return the latest bookings of cash alone that add up to ``cash``.

    When none do to the cent, those that leave least: what is left must be no more than what passes
    for interest anyway.
    """
    total, best = ZERO, 0
    left = abs(cash)
    for count in range(1, len(bookings) + 1):
        total += bookings[-count][1].cash_change
        if abs(cash - total) < left:
            best, left = count, abs(cash - total)
    if not best or left > max(within.cash, within.cash_cause_fraction * abs(within.equity)):
        return ()
    return bookings[-best:]


def of_change(change: AccountChange, elsewhere: InstrumentId, now_ns: int) -> Booking:
    """Return the booking of a line of the venue's history; cash alone is booked at ``elsewhere``."""
    number = elsewhere if change.instrument_id is None else change.instrument_id
    event = PositionChanged(
        number,
        change.ts_event_ns,
        max(now_ns, change.ts_event_ns),
        change.cause,
        change.quantity_change,
        change.price,
        change.cash_change,
        change.reference,
    )
    return Explained(change.cause, f"{change.cause}: {change.detail}", event), event


def of_fill(fill: ForeignFill, book: InstrumentBook, now_ns: int) -> Booking:
    """Return the booking of an execution that belongs to no order of the desk."""
    instrument = book[fill.instrument_id]
    signed = fill.quantity * fill.side.sign
    cause = "manual_trade"
    if isinstance(instrument, OptionContract):
        end_ns = last_trading_ns(instrument)
        if end_ns - LIQUIDATION_WINDOW_NS <= fill.ts_event_ns <= end_ns:
            cause = "auto_liquidation"
    event = PositionChanged(
        fill.instrument_id,
        fill.ts_event_ns,
        max(now_ns, fill.ts_event_ns),
        cause,
        signed,
        fill.price,
        -signed * fill.price * instrument.multiplier,
        f"foreign-{fill.execution_id}",
    )
    detail = f"{cause}: {signed:+f} {instrument.symbol} at {fill.price}"
    return Explained(cause, detail, event), event


def ended(
    number: InstrumentId,
    held: Decimal,
    wanted: Mapping[InstrumentId, Decimal],
    cash_left: Decimal,
    book: InstrumentBook,
    now_ns: int,
) -> list[Explained]:
    """Explain an option position that shrank without a trade: exercise, assignment, expiry."""
    contract = book[number]
    change = wanted.get(number, ZERO)
    if not isinstance(contract, OptionContract) or not change or not held or (change > 0) == (held > 0):
        return []
    if abs(change) > abs(held):
        return []
    ended = -change  # signed contracts that are gone
    has_expired = now_ns >= expiry_instant_ns(contract)
    label = f"{contract.symbol}-{from_ns(now_ns):%Y%m%d}-{ended.normalize():f}-of-{held.normalize():f}"
    if contract.settlement is Settlement.PHYSICAL and contract.underlying in book:
        share_id = book.id_of(contract.underlying)
        delivered = ended * contract.multiplier * (1 if contract.right is Right.CALL else -1)
        share_change = wanted.get(share_id, ZERO)
        same_way = (share_change > 0) == (delivered > 0)
        covers = share_change and same_way and abs(delivered) <= abs(share_change)
        if covers and (has_expired or held < 0):
            cause = "exercise" if held > 0 else "assignment"
            detail = f"{cause} of {ended:+f} {contract.symbol}: {delivered:+f} {contract.underlying}"
            lapse = PositionChanged(number, now_ns, now_ns, cause, change, ZERO, ZERO, f"{cause}-{label}")
            delivery = PositionChanged(
                share_id,
                now_ns,
                now_ns,
                "delivery",
                delivered,
                contract.strike,
                -delivered * contract.strike,
                f"delivery-{label}",
            )
            return [Explained(cause, detail, lapse), Explained("delivery", detail, delivery)]
    if not has_expired:
        return []
    if contract.settlement is not Settlement.PHYSICAL and cash_left and (cash_left > 0) == (ended > 0):
        price = cash_left / (ended * contract.multiplier)
        detail = f"cash settlement of {ended:+f} {contract.symbol} at {price}"
        event = PositionChanged(
            number, now_ns, now_ns, "cash_settlement", change, price, cash_left, f"settled-{label}"
        )
        return [Explained("cash_settlement", detail, event)]
    detail = f"{ended:+f} {contract.symbol} expired worthless"
    event = PositionChanged(
        number, now_ns, now_ns, "expired_worthless", change, ZERO, ZERO, f"expired-{label}"
    )
    return [Explained("expired_worthless", detail, event)]


def busted(
    desk: AccountPicture,
    wanted: Mapping[InstrumentId, Decimal],
    cash_left: Decimal,
    book: InstrumentBook,
    within: Tolerance,
    now_ns: int,
) -> tuple[list[Explained], Decimal]:
    """Explain what is missing by executions taken back, when they give all of it to the cent.

    The latest execution of the very size is taken; the event names it, so that the venue's own word,
    should it still come, changes nothing.
    """
    found: list[Explained] = []
    cash = ZERO
    for number, change in wanted.items():
        gone = next(
            (one for one in reversed(desk.fills) if one.instrument_id == number and one.quantity == -change),
            None,
        )
        if gone is None:
            return [], ZERO
        cash += gone.quantity * gone.price * book[number].multiplier + gone.fee
        detail = f"bust of {gone.quantity:+f} {book[number].symbol} at {gone.price}"
        event = FillBusted(
            gone.client_order_id, now_ns, now_ns, gone.execution_id, "not at the venue any more"
        )
        found.append(Explained("bust", detail, event))
    if not found or abs(cash_left - cash) > within.cash:
        return [], ZERO
    return found, cash


def cash_cause(
    cash_left: Decimal,
    desk: AccountPicture,
    dividends: Sequence[DividendEvent],
    booked: Collection[str],
    within: Tolerance,
    now_ns: int,
) -> Explained | None:
    """Explain a difference of cash alone: a declared dividend, or an amount that passes for interest."""
    for dividend in dividends:
        held = desk.holdings.get(dividend.instrument_id, ZERO)
        reference = f"dividend-{dividend.instrument_id}-{from_ns(dividend.ts_ex_ns):%Y-%m-%d}"
        due = held and dividend.ts_ex_ns <= now_ns and reference not in booked
        if due and abs(held * dividend.amount - cash_left) <= within.cash:
            event = PositionChanged(
                dividend.instrument_id, now_ns, now_ns, "dividend", ZERO, ZERO, cash_left, reference
            )
            return Explained("dividend", f"dividend of {dividend.amount} on {held:f}", event)
    if not abs(cash_left) <= within.cash_cause_fraction * abs(within.equity):
        return None
    number = next(iter(sorted(desk.holdings)), InstrumentId(0))
    reference = f"cash-{now_ns}-{cash_left}"
    event = PositionChanged(number, now_ns, now_ns, "interest", ZERO, ZERO, cash_left, reference)
    return Explained("interest", f"interest, fees or rounding of {cash_left:+.2f}", event)
