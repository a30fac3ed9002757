"""Compare what the desk believes with what the venue shows, and name every difference. Pure.

A difference is **explained** when a known cause gives exactly its size (a manual trade, an exercise,
an assignment, a worthless expiry, the venue's own liquidation, a dividend, small interest or fees);
it comes back as the events that book it, and booking them leaves nothing over: reconciling twice
changes nothing the second time. Whatever no cause gives is **unexplained**, and is for a person.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from scalpdesk.core.events import DividendEvent, FillBusted, PositionChanged
from scalpdesk.core.intents import Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import InstrumentBook, OptionContract, Right, Settlement
from scalpdesk.instruments.sessions import expiry_instant_ns, from_ns, last_trading_ns

ZERO = Decimal(0)
CENT = Decimal("0.01")
LIQUIDATION_WINDOW_NS = 60 * 60 * 1_000_000_000
"""Time before the end of trading in which a sale by the venue itself is its liquidation."""


class OpenOrder(msgspec.Struct, frozen=True):
    """One order that is open on one side."""

    client_order_id: str
    venue_order_id: str
    symbol: str
    filled: Decimal
    is_doubted: bool = False


class ForeignFill(msgspec.Struct, frozen=True):
    """An execution at the venue that belongs to no order of the desk."""

    execution_id: str
    instrument_id: InstrumentId
    side: Side
    quantity: Decimal
    price: Decimal
    ts_event_ns: int


class BookedFill(msgspec.Struct, frozen=True):
    """An execution that the desk has booked; ``quantity`` is signed contracts or shares."""

    client_order_id: str
    execution_id: str
    instrument_id: InstrumentId
    quantity: Decimal
    price: Decimal
    fee: Decimal = ZERO


class AccountPicture(msgspec.Struct, frozen=True):
    """One side's view of the account, as of ``ts_ns``. Quantities are signed contracts or shares."""

    ts_ns: int
    cash: Decimal
    holdings: dict[InstrumentId, Decimal]
    open_orders: tuple[OpenOrder, ...] = ()
    fills: tuple[BookedFill, ...] = ()
    """Of the desk: its latest executions, oldest first; what of them is gone at the venue was busted."""


class Explained(msgspec.Struct, frozen=True):
    """A difference with a name, and the event that books it."""

    cause: str
    detail: str
    event: PositionChanged | FillBusted


class Difference(msgspec.Struct, frozen=True):
    """A difference without an explanation; ``what`` is a symbol, ``cash`` or ``order ID``."""

    what: str
    desk: str
    venue: str

    def __str__(self) -> str:
        return f"{self.what}: desk {self.desk}, venue {self.venue}"


class Reconciliation(msgspec.Struct, frozen=True):
    """What a comparison found.

    Parameters
    ----------
    explained
        Differences with a cause, in the order in which they are to be booked.
    unexplained
        Differences for a person.
    missing_orders
        Orders that the desk holds for live and the venue does not show: ask for each.
    shown_orders
        Orders that the desk doubts and the venue shows as open: proof that it has them.
    """

    explained: tuple[Explained, ...] = ()
    unexplained: tuple[Difference, ...] = ()
    missing_orders: tuple[str, ...] = ()
    shown_orders: tuple[OpenOrder, ...] = ()

    @property
    def is_equal(self) -> bool:
        """True when both sides say the same."""
        return not (self.explained or self.unexplained or self.missing_orders or self.shown_orders)


class Tolerance(msgspec.Struct, frozen=True):
    """What is not worth a person's time.

    Parameters
    ----------
    cash
        Difference of cash that is none, in currency.
    cash_cause_fraction
        Share of ``equity`` up to which a difference of cash alone is booked as interest or fees.
    equity
        Net asset value in currency.
    """

    cash: Decimal = CENT
    cash_cause_fraction: Decimal = Decimal("0.0005")
    equity: Decimal = ZERO


def reconcile(
    desk: AccountPicture,
    venue: AccountPicture,
    book: InstrumentBook,
    *,
    foreign_fills: Sequence[ForeignFill] = (),
    dividends: Sequence[DividendEvent] = (),
    booked: Mapping[str, bool] | frozenset[str] = frozenset(),
    tolerance: Tolerance | None = None,
) -> Reconciliation:
    """Compare the two sides.

    Parameters
    ----------
    desk, venue
        The two views, both after every execution that the venue has told of.
    book
        All instruments of the run.
    foreign_fills
        Executions of the account that belong to no order of the desk, oldest first.
    dividends
        Declared dividends that the desk knows.
    booked
        References that the desk has booked before; they explain nothing a second time.
    tolerance
        What counts as equal.

    Returns
    -------
    Reconciliation
    """
    within = tolerance or Tolerance()
    wanted = {
        number: venue.holdings.get(number, ZERO) - desk.holdings.get(number, ZERO)
        for number in sorted({*desk.holdings, *venue.holdings})
    }
    wanted = {number: change for number, change in wanted.items() if change}
    cash_left = venue.cash - desk.cash
    found: list[Explained] = []

    def take(one: Explained) -> None:
        nonlocal cash_left
        found.append(one)
        event = one.event
        assert isinstance(event, PositionChanged)
        cash_left -= event.cash_change
        left = wanted.get(event.instrument_id, ZERO) - event.quantity_change
        if left:
            wanted[event.instrument_id] = left
        else:
            wanted.pop(event.instrument_id, None)

    now_ns = venue.ts_ns
    strange: dict[InstrumentId, list[tuple[Explained, PositionChanged]]] = {}
    for fill in foreign_fills:
        booking = _foreign(fill, book, now_ns)
        if booking[1].reference not in booked:
            strange.setdefault(fill.instrument_id, []).append(booking)
    for number, bookings in strange.items():
        for one, _ in _that_give(bookings, wanted.get(number, ZERO)):
            take(one)
    for number in tuple(wanted):
        for one in _ended(number, desk.holdings.get(number, ZERO), wanted, cash_left, book, now_ns):
            take(one)
    busts, cash_of_busts = _busted(desk, wanted, cash_left, book, within, now_ns)
    if busts:
        found += busts
        cash_left -= cash_of_busts
        wanted.clear()
    if not wanted and abs(cash_left) > within.cash:
        one_cash = _cash_cause(cash_left, desk, dividends, booked, within, now_ns)
        if one_cash is not None:
            take(one_cash)
    unexplained = [
        Difference(
            book[number].symbol,
            f"{desk.holdings.get(number, ZERO).normalize():f}",
            f"{venue.holdings.get(number, ZERO).normalize():f}",
        )
        for number in wanted
    ]
    if abs(cash_left) > within.cash:
        unexplained.append(Difference("cash", f"{desk.cash:.2f}", f"{venue.cash:.2f}"))
    missing, shown, foreign = _orders(desk, venue)
    return Reconciliation(tuple(found), (*unexplained, *foreign), missing, shown)


def side_by_side(desk: AccountPicture, venue: AccountPicture, book: InstrumentBook) -> str:
    """Return both views as lines of a table, for a person."""
    rows = [("", "desk", "venue"), ("cash", f"{desk.cash:.2f}", f"{venue.cash:.2f}")]
    for number in sorted({*desk.holdings, *venue.holdings}):
        ours, theirs = desk.holdings.get(number, ZERO), venue.holdings.get(number, ZERO)
        if ours or theirs:
            rows.append((book[number].symbol, f"{ours.normalize():f}", f"{theirs.normalize():f}"))
    ours_open = {one.client_order_id: one for one in desk.open_orders}
    theirs_open = {one.client_order_id: one for one in venue.open_orders}
    rows += [
        (f"order {name}", _shown(ours_open.get(name)), _shown(theirs_open.get(name)))
        for name in sorted({*ours_open, *theirs_open})
    ]
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{name:<{width}}  {ours:>18}  {theirs:>18}" for name, ours, theirs in rows)


def _shown(order: OpenOrder | None) -> str:
    return "none" if order is None else f"open, filled {order.filled.normalize():f}"


def _that_give(
    bookings: Sequence[tuple[Explained, PositionChanged]], change: Decimal
) -> Sequence[tuple[Explained, PositionChanged]]:
    """Return the latest executions that add up to ``change``; else those that lead towards it."""
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


def _foreign(fill: ForeignFill, book: InstrumentBook, now_ns: int) -> tuple[Explained, PositionChanged]:
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


def _ended(
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


def _busted(
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


def _cash_cause(
    cash_left: Decimal,
    desk: AccountPicture,
    dividends: Sequence[DividendEvent],
    booked: Mapping[str, bool] | frozenset[str],
    within: Tolerance,
    now_ns: int,
) -> Explained | None:
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


def _orders(
    desk: AccountPicture, venue: AccountPicture
) -> tuple[tuple[str, ...], tuple[OpenOrder, ...], tuple[Difference, ...]]:
    ours = {one.client_order_id: one for one in desk.open_orders}
    theirs = {one.client_order_id: one for one in venue.open_orders}
    missing = tuple(name for name in ours if name not in theirs)
    shown = tuple(theirs[name] for name, one in ours.items() if one.is_doubted and name in theirs)
    foreign = tuple(
        Difference(f"order {name or one.venue_order_id}", "never sent by this desk", f"open, {one.symbol}")
        for name, one in theirs.items()
        if name not in ours
    )
    return missing, shown, foreign
