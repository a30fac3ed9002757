"""Reconciliation of the desk's account with the venue's: every difference gets a cause, or is unexplained.

A difference is **explained** when the venue's own history, or a known cause, gives exactly its size (a
manual trade, an exercise, an assignment, a worthless expiry, the venue's own liquidation, a dividend,
small interest or fees); it comes back as the events that book it, and booking them leaves nothing over:
reconciling twice changes nothing the second time. Whatever no cause gives is **unexplained**, and is for
the operator.
"""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from itertools import combinations, islice, product
from typing import NamedTuple

import msgspec

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import DividendEvent, FillBusted, PositionChanged
from scalpdesk.core.intents import Side
from scalpdesk.core.units import CENT, HOUR_NS, ZERO, InstrumentId, number_text
from scalpdesk.instruments.contract import Instruments, Right, Settlement
from scalpdesk.instruments.sessions import expiry_instant_ns, from_ns, last_trading_ns, to_new_york


class OpenOrder(msgspec.Struct, frozen=True):
    """One order that is open on one side."""

    client_order_id: str
    venue_order_id: str
    symbol: str
    filled: Decimal
    is_unknown: bool = False


class ForeignFill(msgspec.Struct, frozen=True):
    """An execution at the venue that belongs to no order of the desk."""

    execution_id: str
    instrument_id: InstrumentId
    side: Side
    quantity: Decimal
    price: Decimal
    ts_event_ns: int
    fee: Decimal = ZERO
    """Where the venue's message states one, in the account's currency."""


class AccountChange(msgspec.Struct, frozen=True):
    """A line of the venue's history that is no trade: exercise, assignment, dividend, fee, transfer."""

    reference: str
    """Unique; booked once."""
    cause: ChangeCause
    """As in :class:`scalpdesk.core.events.PositionChanged`."""
    instrument_id: InstrumentId | None
    """What it moved; None when it moved cash alone."""
    quantity_change: Decimal
    price: Decimal
    cash_change: Decimal
    """``quantity_change``, ``price``, ``cash_change``: Signed contracts or shares, what a unit is booked at,
    and signed currency.
    """
    ts_event_ns: int
    """When it happened, UTC nanoseconds."""
    detail: str = ""
    """For people."""


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

    cause: ChangeCause
    detail: str
    event: PositionChanged | FillBusted


class Difference(msgspec.Struct, frozen=True):
    """A difference without an explanation; ``what`` is a symbol, ``cash`` or ``order ID``."""

    what: str
    desk: str
    venue: str

    def __str__(self) -> str:
        return f"{self.what}: desk {self.desk}, venue {self.venue}"


class Tolerance(msgspec.Struct, frozen=True):
    """Differences too small to report."""

    cash: Decimal = CENT
    """Difference of cash that is none, in currency."""
    cash_cause_fraction: Decimal = Decimal("0.0005")
    """Share of ``equity`` up to which a difference of cash alone is booked as interest or fees, once a day.
    """
    equity: Decimal = ZERO
    """Net asset value in currency."""
    uncharged: Decimal = ZERO
    """Fees that the desk has estimated: the venue may have charged them, a part of them, or none."""

    def permits(self, cash_left: Decimal) -> bool:
        """Return whether a difference of cash is none."""
        return -self.cash <= cash_left <= self.cash + self.uncharged

    def text(self, amount: Decimal, sign: str = "") -> str:
        """Return an amount with the decimals that count here; ``sign`` is ``+`` to show it always."""
        return f"{amount:{sign}.{-int(self.cash.as_tuple().exponent)}f}"


Booking = tuple[Explained, PositionChanged]
LIQUIDATION_WINDOW_NS = HOUR_NS
"""Time before the end of trading in which a sale by the venue itself is its liquidation."""


def matching_bookings(bookings: Sequence[Booking], change: Decimal) -> Sequence[Booking]:
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
    for booking in bookings:
        quantity = booking[1].quantity_change
        if left and abs(quantity) <= abs(left) and (quantity > 0) == (left > 0):
            chosen.append(booking)
            left -= quantity
    return chosen


MOST_SETS = 4_096
"""Sets of bookings that are tried against a difference of cash."""


def cash_only_bookings(
    bookings: Sequence[Booking], found: Sequence[Explained], cash: Decimal, within: Tolerance
) -> Sequence[Booking]:
    """Return the fewest bookings that give ``cash`` to the cent; else those that do but for uncharged fees.

    They are payments, one alone or the latest with and without fees (the desk may have charged them already),
    and of each instrument its latest bookings that add up to no units: a round trip by hand, a contract sold
    and assigned between two views, two deliveries that offset each other.
    """
    taken = {explained.event for explained in found}
    payments: list[Booking] = []
    moves: dict[InstrumentId, list[Booking]] = {}
    for booking in bookings:
        event = booking[1]
        if event not in taken:
            (moves.setdefault(event.instrument_id, []) if event.quantity_change else payments).append(booking)
    free = [payment for payment in payments if payment[1].cause is not ChangeCause.FEE]
    choices = [_latest(payments) + _latest(free) + [[each] for each in payments]]
    choices += [_latest(line) for line in moves.values()]

    def left(some: Sequence[Booking]) -> Decimal:
        return cash - sum(event.cash_change for _, event in some)

    sets = islice(product(*choices), MOST_SETS)
    together = [[booking for part in chosen for booking in part] for chosen in sets]
    fitting = [some for some in together if within.permits(left(some))]
    return min(fitting, key=lambda some: (abs(left(some)) > within.cash, len(some)), default=())


def _latest(bookings: Sequence[Booking]) -> list[Sequence[Booking]]:
    """Return none of the bookings, the latest one, the latest two and so on, where they move no units."""
    parts = [bookings[len(bookings) - count :] for count in range(len(bookings) + 1)]
    return [part for part in parts if not sum(event.quantity_change for _, event in part)]


def cash_bookings(bookings: Sequence[Booking], cash: Decimal, within: Tolerance) -> Sequence[Booking]:
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
    instrument_id = elsewhere if change.instrument_id is None else change.instrument_id
    event = PositionChanged(
        instrument_id,
        change.ts_event_ns,
        max(now_ns, change.ts_event_ns),
        change.cause,
        change.quantity_change,
        change.price,
        change.cash_change,
        change.reference,
    )
    return Explained(change.cause, f"{change.cause}: {change.detail}", event), event


def of_fill(fill: ForeignFill, instruments: Instruments, now_ns: int) -> Booking:
    """Return the booking of an execution that belongs to no order of the desk."""
    instrument = instruments[fill.instrument_id]
    signed = fill.quantity * fill.side.sign
    cause = ChangeCause.MANUAL_TRADE
    if instrument.is_option:
        end_ns = last_trading_ns(instrument)
        if end_ns - LIQUIDATION_WINDOW_NS <= fill.ts_event_ns <= end_ns:
            cause = ChangeCause.AUTO_LIQUIDATION
    event = PositionChanged(
        fill.instrument_id,
        fill.ts_event_ns,
        max(now_ns, fill.ts_event_ns),
        cause,
        signed,
        fill.price,
        instrument.cash_flow(signed, fill.price) - fill.fee,
        f"foreign-{fill.execution_id}",
    )
    detail = f"{cause}: {signed:+f} {instrument.symbol} at {fill.price}"
    return Explained(cause, detail, event), event


def ended(
    instrument_id: InstrumentId,
    held: Decimal,
    wanted: Mapping[InstrumentId, Decimal],
    cash_left: Decimal,
    instruments: Instruments,
    now_ns: int,
) -> list[Explained]:
    """Explain an option position that shrank without a trade: exercise, assignment, expiry."""
    contract = instruments[instrument_id]
    change = wanted.get(instrument_id, ZERO)
    if not contract.is_option or not change or not held or (change > 0) == (held > 0):
        return []
    if abs(change) > abs(held):
        return []
    ended = -change  # signed contracts that are gone
    has_expired = now_ns >= expiry_instant_ns(contract)
    label = f"{contract.symbol}-{from_ns(now_ns):%Y%m%d}-{number_text(ended)}-of-{number_text(held)}"
    if contract.settlement is Settlement.PHYSICAL and contract.underlying in instruments:
        share_id = instruments.id_of(contract.underlying)
        delivered = ended * contract.multiplier * (1 if contract.right is Right.CALL else -1)
        share_change = wanted.get(share_id, ZERO)
        same_way = (share_change > 0) == (delivered > 0)
        covers = share_change and same_way and abs(delivered) <= abs(share_change)
        if covers and (has_expired or held < 0):
            cause = ChangeCause.EXERCISE if held > 0 else ChangeCause.ASSIGNMENT
            detail = f"{cause} of {ended:+f} {contract.symbol}: {delivered:+f} {contract.underlying}"
            lapse = PositionChanged(
                instrument_id, now_ns, now_ns, cause, change, ZERO, ZERO, f"{cause}-{label}"
            )
            delivery = PositionChanged(
                share_id,
                now_ns,
                now_ns,
                ChangeCause.DELIVERY,
                delivered,
                contract.strike,
                -delivered * contract.strike,
                f"delivery-{label}",
            )
            return [Explained(cause, detail, lapse), Explained(ChangeCause.DELIVERY, detail, delivery)]
    if not has_expired:
        return []
    if contract.settlement is not Settlement.PHYSICAL and cash_left and (cash_left > 0) == (ended > 0):
        price = cash_left / (ended * contract.multiplier)
        detail = f"cash settlement of {ended:+f} {contract.symbol} at {price}"
        event = PositionChanged(
            instrument_id,
            now_ns,
            now_ns,
            ChangeCause.CASH_SETTLEMENT,
            change,
            price,
            cash_left,
            f"settled-{label}",
        )
        return [Explained(ChangeCause.CASH_SETTLEMENT, detail, event)]
    detail = f"{ended:+f} {contract.symbol} expired worthless"
    event = PositionChanged(
        instrument_id, now_ns, now_ns, ChangeCause.EXPIRED_WORTHLESS, change, ZERO, ZERO, f"expired-{label}"
    )
    return [Explained(ChangeCause.EXPIRED_WORTHLESS, detail, event)]


MOST_CANDIDATES, MOST_SEARCHED = 8, 3
"""Latest executions of an instrument among which the busted ones are looked for, in so many instruments."""


class _Busts(NamedTuple):
    """Executions that may have been taken back together, and the cash that they had cost."""

    fills: tuple[BookedFill, ...]
    paid: Decimal | int


def busted(
    desk: AccountPicture,
    wanted: Mapping[InstrumentId, Decimal],
    cash_left: Decimal,
    instruments: Instruments,
    within: Tolerance,
    now_ns: int,
) -> tuple[list[Explained], Decimal]:
    """Explain what is missing by executions taken back, when they give all of it to the cent, fees included.

    Of several of the very size those are taken whose cash fits best, of equal ones the latest; where none
    fit, several of an instrument that give its size together, the fewest first. The event names the
    execution, so that the venue's own report, should it still come, changes nothing.
    """
    is_searched = len(wanted) <= MOST_SEARCHED
    latest, most = desk.fills[::-1], MOST_CANDIDATES if is_searched else 1

    def paid(fill: BookedFill) -> Decimal:
        return fill.fee + instruments[fill.instrument_id].value(fill.quantity, fill.price)

    def best(candidates: Sequence[Sequence[_Busts]]) -> _Busts | None:
        """Return one candidate of each instrument, together, whose cash fits to the cent."""
        together = [
            _Busts(tuple(fill for part in chosen for fill in part.fills), sum(part.paid for part in chosen))
            for chosen in islice(product(*candidates), MOST_SETS)
        ]
        found = min(together, key=lambda busts: abs(cash_left - busts.paid), default=None)
        return None if found is None or not within.permits(cash_left - found.paid) else found

    own = {number: [fill for fill in latest if fill.instrument_id == number] for number in wanted}
    gone = best(
        [
            [_Busts((fill,), paid(fill)) for fill in own[number] if fill.quantity == -change][:most]
            for number, change in wanted.items()
        ]
    )
    if gone is None and is_searched:
        gone = best(
            [
                [
                    _Busts(some, sum(map(paid, some)))
                    for count in range(1, MOST_CANDIDATES + 1)
                    for some in combinations(own[number][:MOST_CANDIDATES], count)
                    if sum(fill.quantity for fill in some) == -change
                ]
                for number, change in wanted.items()
            ]
        )
    if gone is None or not gone.fills:
        return [], ZERO
    found = []
    for fill in gone.fills:
        detail = f"bust of {fill.quantity:+f} {instruments[fill.instrument_id].symbol} at {fill.price}"
        event = FillBusted(
            fill.client_order_id, now_ns, now_ns, fill.execution_id, "not at the venue any more"
        )
        found.append(Explained(ChangeCause.BUST, detail, event))
    return found, Decimal(gone.paid)


UNEXPLAINED_CASH = "cash-"
"""Begins the references of cash that was booked for its smallness alone; its instant follows."""
MOST_DAYS_A_WEEK = 2
"""Days within a week on which cash may pass for interest: what comes on a third is something else."""


def _repeats(booked: Collection[str], now_ns: int) -> bool:
    """Return whether cash passed for interest on this day already, or on two of the six days before."""
    today = to_new_york(now_ns).date()
    days = {
        to_new_york(int(reference.split("-", 2)[1])).date()
        for reference in booked
        if reference.startswith(UNEXPLAINED_CASH)
    }
    return today in days or sum(0 < (today - day).days < 7 for day in days) >= MOST_DAYS_A_WEEK


def _is_left_over(booked: Collection[str], cash_left: Decimal, within: Tolerance, now_ns: int) -> bool:
    """Return whether a difference of cash undoes what passed for interest today, and was not undone yet."""
    today = to_new_york(now_ns).date()
    passed = [reference.split("-", 2)[1:] for reference in booked if reference.startswith(UNEXPLAINED_CASH)]
    amounts = [Decimal(amount) for at_ns, amount in passed if to_new_york(int(at_ns)).date() == today]
    undone = sum(abs(amount - cash_left) <= within.cash for amount in amounts)
    return sum(abs(amount + cash_left) <= within.cash for amount in amounts) > undone


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
                dividend.instrument_id, now_ns, now_ns, ChangeCause.DIVIDEND, ZERO, ZERO, cash_left, reference
            )
            return Explained(ChangeCause.DIVIDEND, f"dividend of {dividend.amount} on {held:f}", event)
    # the account shows a correction before the order stream does: its cash passed for interest meanwhile
    is_left_over = _is_left_over(booked, cash_left, within, now_ns)
    is_small = abs(cash_left) <= within.cash_cause_fraction * abs(within.equity)
    if not is_left_over and (not is_small or _repeats(booked, now_ns)):
        return None
    instrument_id = next(iter(sorted(desk.holdings)), InstrumentId(0))
    reference = f"{UNEXPLAINED_CASH}{now_ns}-{cash_left}"
    event = PositionChanged(
        instrument_id, now_ns, now_ns, ChangeCause.INTEREST, ZERO, ZERO, cash_left, reference
    )
    what = f"interest, fees or rounding of {within.text(cash_left, '+')}"
    if is_left_over:
        back = within.text(-cash_left, "+")
        what = f"{back} that passed for interest today, taken back: its cause is booked"
    return Explained(ChangeCause.INTEREST, what, event)


class Reconciliation(msgspec.Struct, frozen=True):
    """What a comparison found."""

    explained: tuple[Explained, ...] = ()
    """Differences with a cause, in the order in which they are to be booked."""
    unexplained: tuple[Difference, ...] = ()
    """Differences for the operator."""
    missing_orders: tuple[str, ...] = ()
    """Orders that the desk holds for live and the venue does not show: ask for each."""
    shown_orders: tuple[OpenOrder, ...] = ()
    """Orders of unknown state that the venue shows as open: proof that it has them."""


class _Remainder:
    """The part of the difference that is not explained yet, and what explained the rest."""

    def __init__(self, desk: AccountPicture, venue: AccountPicture) -> None:
        changes = {
            instrument_id: venue.holdings.get(instrument_id, ZERO) - desk.holdings.get(instrument_id, ZERO)
            for instrument_id in sorted({*desk.holdings, *venue.holdings})
        }
        self.wanted = {instrument_id: change for instrument_id, change in changes.items() if change}
        self.cash = venue.cash - desk.cash
        self.found: list[Explained] = []

    def take(self, explained: Explained) -> None:
        """Take a cause off the difference."""
        event = explained.event
        assert isinstance(event, PositionChanged)
        self.found.append(explained)
        self.cash -= event.cash_change
        left = self.wanted.get(event.instrument_id, ZERO) - event.quantity_change
        if left:
            self.wanted[event.instrument_id] = left
        else:
            self.wanted.pop(event.instrument_id, None)


def reconcile(
    desk: AccountPicture,
    venue: AccountPicture,
    instruments: Instruments,
    *,
    foreign_fills: Sequence[ForeignFill] = (),
    changes: Sequence[AccountChange] = (),
    dividends: Sequence[DividendEvent] = (),
    booked: Collection[str] = frozenset(),
    tolerance: Tolerance | None = None,
) -> Reconciliation:
    """Compare the two sides.

    Parameters
    ----------
    desk, venue
        The two views, both after every execution that the venue has reported.
    instruments
        All instruments of the run.
    foreign_fills
        Executions of the account that belong to no order of the desk, oldest first.
    changes
        Other lines of the venue's history, oldest first.
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
    now_ns = venue.ts_ns
    left = _Remainder(desk, venue)
    history = _bookings(desk, instruments, foreign_fills, changes, booked, now_ns)
    moves: dict[InstrumentId, list[Booking]] = {}
    for why, event in history:
        if event.quantity_change:
            moves.setdefault(event.instrument_id, []).append((why, event))
    for instrument_id, bookings in moves.items():
        for explained, _ in matching_bookings(bookings, left.wanted.get(instrument_id, ZERO)):
            left.take(explained)
    for instrument_id in tuple(left.wanted):
        held = desk.holdings.get(instrument_id, ZERO)
        for explained in ended(instrument_id, held, left.wanted, left.cash, instruments, now_ns):
            left.take(explained)
    busts, cash_of_busts = busted(desk, left.wanted, left.cash, instruments, within, now_ns)
    if busts:
        left.found += busts
        left.cash -= cash_of_busts
        left.wanted.clear()
    if not left.wanted and not within.permits(left.cash):
        for explained, _ in cash_only_bookings(history, left.found, left.cash, within):
            left.take(explained)
    if not left.wanted and not within.permits(left.cash):
        paid = [(why, event) for why, event in history if not event.quantity_change]
        for explained, _ in cash_bookings(paid, left.cash, within):
            left.take(explained)
    if not left.wanted and not within.permits(left.cash):
        cash = cash_cause(left.cash, desk, dividends, booked, within, now_ns)
        if cash is not None:
            left.take(cash)
    unexplained = [
        Difference(
            instruments[instrument_id].symbol,
            number_text(desk.holdings.get(instrument_id, ZERO)),
            number_text(venue.holdings.get(instrument_id, ZERO)),
        )
        for instrument_id in left.wanted
    ]
    if not within.permits(left.cash):
        unexplained.append(Difference("cash", within.text(desk.cash), within.text(venue.cash)))
    missing, shown, foreign = _orders(desk, venue)
    return Reconciliation(tuple(left.found), (*unexplained, *foreign), missing, shown)


def _bookings(
    desk: AccountPicture,
    instruments: Instruments,
    foreign_fills: Sequence[ForeignFill],
    changes: Sequence[AccountChange],
    booked: Collection[str],
    now_ns: int,
) -> list[Booking]:
    """Return what the venue reports and the desk has not booked, oldest first."""
    elsewhere = next(iter(sorted(desk.holdings)), InstrumentId(0))
    reported = [of_fill(fill, instruments, now_ns) for fill in foreign_fills]
    reported += [of_change(change, elsewhere, now_ns) for change in changes]
    fresh = [(why, event) for why, event in reported if event.reference not in booked]
    return sorted(fresh, key=lambda booking: booking[1].ts_event_ns)


def side_by_side(
    desk: AccountPicture, venue: AccountPicture, instruments: Instruments, within: Tolerance
) -> str:
    """Return both views as lines of a table, for the operator."""
    rows = [("", "desk", "venue"), ("cash", within.text(desk.cash), within.text(venue.cash))]
    for instrument_id in sorted({*desk.holdings, *venue.holdings}):
        ours, theirs = desk.holdings.get(instrument_id, ZERO), venue.holdings.get(instrument_id, ZERO)
        if ours or theirs:
            rows.append((instruments[instrument_id].symbol, number_text(ours), number_text(theirs)))
    ours_open = {order.client_order_id: order for order in desk.open_orders}
    theirs_open = {order.client_order_id: order for order in venue.open_orders}
    rows += [
        (f"order {name}", _shown(ours_open.get(name)), _shown(theirs_open.get(name)))
        for name in sorted({*ours_open, *theirs_open})
    ]
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{name:<{width}}  {ours:>18}  {theirs:>18}" for name, ours, theirs in rows)


def _shown(order: OpenOrder | None) -> str:
    return "none" if order is None else f"open, filled {number_text(order.filled)}"


def _orders(
    desk: AccountPicture, venue: AccountPicture
) -> tuple[tuple[str, ...], tuple[OpenOrder, ...], tuple[Difference, ...]]:
    ours = {order.client_order_id: order for order in desk.open_orders}
    theirs = {order.client_order_id: order for order in venue.open_orders}
    missing = tuple(name for name in ours if name not in theirs)
    shown = tuple(theirs[name] for name, order in ours.items() if order.is_unknown and name in theirs)
    foreign = tuple(
        Difference(
            f"order {name or order.venue_order_id}", "never sent by this desk", f"open, {order.symbol}"
        )
        for name, order in theirs.items()
        if name not in ours
    )
    return missing, shown, foreign
