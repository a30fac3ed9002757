"""Compare what the desk believes with what the venue shows, and name every difference. Pure.

A difference is **explained** when the venue's own history, or a known cause, gives exactly its size (a
manual trade, an exercise, an assignment, a worthless expiry, the venue's own liquidation, a dividend,
small interest or fees); it comes back as the events that book it, and booking them leaves nothing over:
reconciling twice changes nothing the second time. Whatever no cause gives is **unexplained**, and is for
a person.
"""

from collections.abc import Collection, Sequence
from decimal import Decimal

import msgspec

from scalpdesk.core.events import DividendEvent, PositionChanged
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import InstrumentBook
from scalpdesk.orders import causes
from scalpdesk.orders.pictures import (
    AccountChange,
    AccountPicture,
    BookedFill,
    Difference,
    Explained,
    ForeignFill,
    OpenOrder,
    Tolerance,
)

__all__ = [
    "AccountChange",
    "AccountPicture",
    "BookedFill",
    "Difference",
    "Explained",
    "ForeignFill",
    "OpenOrder",
    "Reconciliation",
    "Tolerance",
    "reconcile",
    "side_by_side",
]

ZERO = Decimal(0)


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


class _Left:
    """What of the difference is not explained yet, and what explained the rest."""

    def __init__(self, desk: AccountPicture, venue: AccountPicture) -> None:
        changes = {
            number: venue.holdings.get(number, ZERO) - desk.holdings.get(number, ZERO)
            for number in sorted({*desk.holdings, *venue.holdings})
        }
        self.wanted = {number: change for number, change in changes.items() if change}
        self.cash = venue.cash - desk.cash
        self.found: list[Explained] = []

    def take(self, one: Explained) -> None:
        """Count a cause in."""
        event = one.event
        assert isinstance(event, PositionChanged)
        self.found.append(one)
        self.cash -= event.cash_change
        left = self.wanted.get(event.instrument_id, ZERO) - event.quantity_change
        if left:
            self.wanted[event.instrument_id] = left
        else:
            self.wanted.pop(event.instrument_id, None)


def reconcile(
    desk: AccountPicture,
    venue: AccountPicture,
    book: InstrumentBook,
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
        The two views, both after every execution that the venue has told of.
    book
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
    left = _Left(desk, venue)
    told = _told(desk, book, foreign_fills, changes, booked, now_ns)
    for number in dict.fromkeys(event.instrument_id for _, event in told if event.quantity_change):
        moves = [one for one in told if one[1].instrument_id == number and one[1].quantity_change]
        for one, _ in causes.that_give(moves, left.wanted.get(number, ZERO)):
            left.take(one)
    for number in tuple(left.wanted):
        held = desk.holdings.get(number, ZERO)
        for one in causes.ended(number, held, left.wanted, left.cash, book, now_ns):
            left.take(one)
    busts, cash_of_busts = causes.busted(desk, left.wanted, left.cash, book, within, now_ns)
    if busts:
        left.found += busts
        left.cash -= cash_of_busts
        left.wanted.clear()
    if not left.wanted and abs(left.cash) > within.cash:
        for one, _ in causes.that_come_round(told, left.found, left.cash, within):
            left.take(one)
    if not left.wanted and abs(left.cash) > within.cash:
        paid = [one for one in told if not one[1].quantity_change]
        for one, _ in causes.that_pay(paid, left.cash, within):
            left.take(one)
    if not left.wanted and abs(left.cash) > within.cash:
        one_cash = causes.cash_cause(left.cash, desk, dividends, booked, within, now_ns)
        if one_cash is not None:
            left.take(one_cash)
    unexplained = [
        Difference(
            book[number].symbol,
            f"{desk.holdings.get(number, ZERO).normalize():f}",
            f"{venue.holdings.get(number, ZERO).normalize():f}",
        )
        for number in left.wanted
    ]
    if abs(left.cash) > within.cash:
        unexplained.append(Difference("cash", f"{desk.cash:.2f}", f"{venue.cash:.2f}"))
    missing, shown, foreign = _orders(desk, venue)
    return Reconciliation(tuple(left.found), (*unexplained, *foreign), missing, shown)


def _told(
    desk: AccountPicture,
    book: InstrumentBook,
    foreign_fills: Sequence[ForeignFill],
    changes: Sequence[AccountChange],
    booked: Collection[str],
    now_ns: int,
) -> list[causes.Booking]:
    """Return what the venue tells of and the desk has not booked, oldest first."""
    elsewhere = next(iter(sorted(desk.holdings)), InstrumentId(0))
    told = [causes.of_fill(fill, book, now_ns) for fill in foreign_fills]
    told += [causes.of_change(change, elsewhere, now_ns) for change in changes]
    fresh = [one for one in told if one[1].reference not in booked]
    return sorted(fresh, key=lambda one: one[1].ts_event_ns)


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
