"""What explains a difference between the desk's account and the venue's: arithmetic alone.

A difference is **explained** by what the venue's history names (a trade by hand, an exercise, an assignment,
a liquidation, a dividend, interest, a fee, a transfer; an execution that is no longer in it) or by what was
**expected** (the end of an option at its expiry, the assignment of a sold one, a declared dividend), when the
account's own units and cash confirm it. It comes back as the events that book it, and booking them leaves
nothing over: reconciling twice changes nothing the second time. The rest is **unexplained**, and is for the
operator.

The books hold the history up to some line. The lines after it are what they lack: the fewest latest lines
that give the difference are booked, and nothing is put together from lines that do not follow one another.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import chain
from typing import NamedTuple

import msgspec

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import DividendEvent, FillBusted, OrderFilled, PositionChanged
from scalpdesk.core.units import CENT, HOUR_NS, ZERO, InstrumentId, number_text
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.corporate_actions import dividend
from scalpdesk.instruments.postings import Origin
from scalpdesk.instruments.sessions import expiry_instant_ns, final_close_ns, from_ns
from scalpdesk.instruments.settlement import delivery, lapse
from scalpdesk.venues.contract import VenueActivity, VenueFill


class OpenOrder(msgspec.Struct, frozen=True):
    """One order that is open on one side."""

    client_order_id: str
    venue_order_id: str
    symbol: str
    filled: Decimal
    is_unknown: bool = False
    is_over: bool = False
    """An order of the desk's own that has ended for it."""


class BookedFill(msgspec.Struct, frozen=True):
    """An execution that the desk has booked; ``quantity`` is signed contracts or shares."""

    client_order_id: str
    execution_id: str
    instrument_id: InstrumentId
    quantity: Decimal
    price: Decimal
    fee: Decimal = ZERO
    corrected: VenueFill | None = None
    """The execution that the venue's history lists in its place."""


class AccountPicture(msgspec.Struct, frozen=True):
    """One side's view of the account, as of ``ts_ns``. Quantities are signed contracts or shares."""

    ts_ns: int
    cash: Decimal
    holdings: dict[InstrumentId, Decimal]
    open_orders: tuple[OpenOrder, ...] = ()


class Explained(msgspec.Struct, frozen=True):
    """A part of a difference with a name, and the event that books it."""

    cause: ChangeCause | None
    """None of an execution of an order of the desk's own."""
    detail: str
    event: PositionChanged | FillBusted | OrderFilled
    instrument_id: InstrumentId
    units: Decimal
    cash: Decimal
    """``units``, ``cash``: What it moves, signed contracts or shares and signed currency."""


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
    """Difference of cash that counts as zero, in currency."""
    uncharged: Decimal = ZERO
    """Fees that the desk has estimated: the venue may have charged them whole, in part, or not at all.

    Where the desk knows several executions by their sum, the venue has rounded up at each: a tenth more.
    """

    def permits(self, cash_left: Decimal) -> bool:
        """Return whether a difference of cash counts as zero."""
        return -self.cash - self.uncharged / 10 <= cash_left <= self.cash + self.uncharged

    def text(self, amount: Decimal) -> str:
        """Return an amount with the decimals that count here."""
        return f"{amount:.{-int(self.cash.as_tuple().exponent)}f}"


class Gap(NamedTuple):
    """Holdings of the venue beyond the desk's: signed units by instrument, and signed cash."""

    units: dict[InstrumentId, Decimal]
    cash: Decimal

    def less(self, other: "Gap") -> "Gap":
        """Return what another gap leaves of it."""
        units = {
            number: self.units.get(number, ZERO) - other.units.get(number, ZERO)
            for number in sorted({*self.units, *other.units})
        }
        return Gap({number: left for number, left in units.items() if left}, self.cash - other.cash)

    def without(self, parts: Iterable[Explained]) -> "Gap":
        """Return what some parts leave of it."""
        left = self
        for part in parts:
            left = left.less(Gap({part.instrument_id: part.units}, part.cash))
        return left


NO_GAP = Gap({}, ZERO)
_LIQUIDATION_WINDOW_NS = HOUR_NS
"""Time before the end of trading in which a sale by the venue itself is its liquidation."""


def _booking(event: PositionChanged, detail: str) -> Explained:
    return Explained(
        event.cause, detail, event, event.instrument_id, event.quantity_change, event.cash_change
    )


def of_change(change: VenueActivity, number: InstrumentId, now_ns: int) -> Explained:
    """Return the booking of a line of the venue's history at an instrument."""
    event = PositionChanged(
        number,
        change.ts_event_ns,
        max(now_ns, change.ts_event_ns),
        change.cause,
        change.quantity_change,
        change.price,
        change.cash_change,
        Origin.ACTIVITY + change.activity_id,
    )
    return _booking(event, f"{change.cause}: {change}")


def of_day_fees(day: date, booked: Decimal, charged: Decimal, number: InstrumentId, now_ns: int) -> Explained:
    """Return the booking of what a venue charged otherwise for the trades of a day: back where it was less.

    ``booked``, ``charged``: What the desk has charged, and the venue, both above 0.
    """
    change, reference = booked - charged, f"{Origin.LATE_FEE}{day}"
    event = PositionChanged(number, now_ns, now_ns, ChangeCause.FEE, ZERO, ZERO, change, reference)
    return _booking(event, f"fees of {day}: the venue charged {charged:f} for {booked:f}")


def of_fill(fill: VenueFill, instruments: Instruments, now_ns: int) -> Explained:
    """Return the booking of an execution that belongs to no order of the desk."""
    number = instruments.id_of(fill.symbol)
    instrument, signed = instruments[number], fill.quantity * fill.side.sign
    cause = ChangeCause.AUTO_LIQUIDATION if fill.is_liquidation else ChangeCause.MANUAL_TRADE
    if instrument.is_option:
        end_ns = final_close_ns(instrument)
        if end_ns - _LIQUIDATION_WINDOW_NS <= fill.ts_event_ns <= end_ns:
            cause = ChangeCause.AUTO_LIQUIDATION
    event = PositionChanged(
        number,
        fill.ts_event_ns,
        max(now_ns, fill.ts_event_ns),
        cause,
        signed,
        fill.price,
        instrument.cash_flow(signed, fill.price) - fill.fee,
        Origin.FOREIGN_FILL + fill.execution_id,
    )
    return _booking(event, f"{cause}: {signed:+f} {instrument.symbol} at {fill.price}")


def taken_back(fill: BookedFill, instruments: Instruments, now_ns: int) -> list[Explained]:
    """Return the bust of an execution that the venue's history lists no more, and what it lists instead.

    The event names the execution, so that the venue's own report, should it still come, changes nothing.
    """
    instrument, name = instruments[fill.instrument_id], fill.client_order_id
    cash = fill.fee + instrument.value(fill.quantity, fill.price)
    bust = FillBusted(
        name,
        now_ns,
        now_ns,
        fill.execution_id,
        "not at the venue any more",
        is_corrected=fill.corrected is not None,
    )
    detail = f"bust of {fill.quantity:+f} {instrument.symbol} at {fill.price}"
    found = [Explained(ChangeCause.BUST, detail, bust, fill.instrument_id, -fill.quantity, cash)]
    if fill.corrected is not None:
        again = fill.corrected
        fee = again.fee or fill.fee  # a history without its commission report states no fee
        event = OrderFilled(
            name, again.ts_event_ns, now_ns, again.execution_id, again.quantity, again.price, fee
        )
        cash = instrument.cash_flow(fill.quantity, again.price) - fee
        detail = f"correction to {fill.quantity:+f} {instrument.symbol} at {again.price}"
        found.append(Explained(ChangeCause.BUST, detail, event, fill.instrument_id, fill.quantity, cash))
    return found


def _latest_lines(
    lines: Sequence[Explained], gap: Gap, within: Tolerance, *, by_cash: bool = True
) -> Sequence[Explained] | None:
    """Return the fewest latest lines of the history that close a gap; None where no number of them does.

    ``lines``: Oldest first.
    ``gap``: What they are to close.
    ``within``: Difference of cash that counts as zero.
    ``by_cash``: Whether the cash must fit, too.
    """
    for start in range(len(lines), -1, -1):
        if start < len(lines):
            gap = gap.without(lines[start : start + 1])
        if not gap.units and (not by_cash or within.permits(gap.cash)):
            return lines[start:]
    return None


def _expired_options(
    desk: AccountPicture, gap: Gap, instruments: Instruments, now_ns: int
) -> list[tuple[InstrumentId, OptionContract]]:
    """Return the options that the desk holds, the venue does not, and whose expiry is over."""
    return [
        (number, contract)
        for number, change in gap.units.items()
        if (contract := instruments[number]).is_option
        and change == -desk.holdings.get(number, ZERO)
        and now_ns >= expiry_instant_ns(contract)
    ]


def _expected_ends(
    desk: AccountPicture, gap: Gap, lines: Sequence[Explained], instruments: Instruments, now_ns: int
) -> list[list[Explained]]:
    """Return what the expiry of the physical options that are gone comes to, by the units of their shares.

    No venue tells a desk the level: the shares show what was delivered (:func:`_outcomes`), and where two
    answers give the same shares, the cash does.
    """
    gone: dict[InstrumentId, list[tuple[InstrumentId, OptionContract]]] = {}
    for number, contract in _expired_options(desk, gap, instruments, now_ns):
        share_id = instruments.find(contract.underlying)
        if contract.delivers and share_id is not None:
            gone.setdefault(share_id, []).append((number, contract))
    ends: list[list[Explained]] = [[]]
    for share_id, options in gone.items():
        moves = [line for line in lines if line.units and line.instrument_id == share_id]
        shares = Gap({n: units for n, units in gap.units.items() if n == share_id}, ZERO)
        held = [(contract, desk.holdings[number]) for number, contract in options]
        fitting = []
        for outcome in dict.fromkeys(_outcomes(held, shares.units.get(share_id, ZERO))):
            parts = [
                part
                for (number, contract), (_, units), exercised in zip(options, held, outcome, strict=True)
                for part in _parted_end(number, contract, units, exercised, now_ns, share_id)
            ]
            delivered = [part for part in parts if part.instrument_id == share_id]
            if _latest_lines(moves, shares.without(delivered), Tolerance(), by_cash=False) is not None:
                fitting.append(parts)
        ends = [[*before, *parts] for before in ends for parts in fitting or [[]]]
    return [parts for parts in ends if parts]


def _outcomes(
    options: Sequence[tuple[OptionContract, Decimal]], shares: Decimal
) -> Iterator[tuple[Decimal, ...]]:
    """Yield how many contracts (signed) of each holding may have been exercised, the likeliest first.

    One level decides the options on an underlying: the calls below it and the puts above it, by a cent or
    more, are exercised, the rest lapses (OCC rule 805). The holders of what was sold may decide an hour and a
    half later, at another level, and not all alike, as an owner may: a part of one holding explains a change
    of ``shares``.
    """
    strikes = sorted({contract.strike for contract, _ in options})
    levels = [strike + step for strike in strikes for step in (-CENT, ZERO, CENT)]
    later = [(level, other) for level in levels for other in levels if level != other]
    found = [
        tuple(
            held if _is_exercised(contract, own if held > 0 else others) else ZERO
            for contract, held in options
        )
        for own, others in [*((level, level) for level in levels), *later]
    ]
    yield from found
    each = [contract.deliverable * (1 if contract.is_call else -1) for contract, _ in options]
    for outcome in dict.fromkeys(found):
        delivered = sum((units * per for units, per in zip(outcome, each, strict=True)), ZERO)
        for place, (_, held) in enumerate(options):
            part = (shares - delivered) / each[place] + outcome[place]
            if part * held > 0 and abs(part) < abs(held) and part == int(part):
                yield *outcome[:place], part, *outcome[place + 1 :]


def _is_exercised(contract: OptionContract, level: Decimal) -> bool:
    return (level - contract.strike) * (1 if contract.is_call else -1) >= CENT


def _parted_end(
    number: InstrumentId,
    contract: OptionContract,
    held: Decimal,
    exercised: Decimal,
    now_ns: int,
    share_id: InstrumentId,
) -> list[Explained]:
    """Return the end of a holding of which so many contracts are exercised and the rest lapses."""
    if not exercised:
        return _end(number, contract, held, now_ns)
    found = _end(number, contract, exercised, now_ns, share_id)
    if exercised != held:
        found += _end(number, contract, held - exercised, now_ns, label=f"expiry-{contract.symbol}-rest")
    return found


def _end(
    number: InstrumentId,
    contract: OptionContract,
    held: Decimal,
    now_ns: int,
    share_id: InstrumentId | None = None,
    label: str = "",
) -> list[Explained]:
    """Return the end of ``held`` contracts (signed): delivery of the share at the strike, or nothing."""
    if share_id is None:
        detail = f"{held:+f} {contract.symbol} expired worthless"
        return [_booking(event, detail) for event in lapse(contract, number, held, now_ns, now_ns, label)]
    events = delivery(contract, number, share_id, held, now_ns, now_ns, label)
    shares = f"{events[-1].quantity_change:+f} {contract.underlying}"
    return [
        _booking(event, f"{events[0].cause} of {held:+f} {contract.symbol}: {shares}") for event in events
    ]


def _expected_assignments(
    desk: AccountPicture, gap: Gap, instruments: Instruments, now_ns: int
) -> list[Explained]:
    """Return the assignment of the sold options that are gone before their expiry.

    A venue may list it the next morning (Alpaca); shares and cash at the strike are its proof.
    """
    found = []
    for number, change in gap.units.items():
        contract, held = instruments[number], desk.holdings.get(number, ZERO)
        if not contract.is_option or not 0 < change <= -held or now_ns >= expiry_instant_ns(contract):
            continue
        share_id = instruments.find(contract.underlying)
        if contract.delivers and share_id is not None:
            label = f"assignment-{contract.symbol}-{from_ns(now_ns):%Y%m%d}-{number_text(held)}"
            found += _end(number, contract, -change, now_ns, share_id, label)
    return found


def expected_lapses(desk: AccountPicture, gap: Gap, instruments: Instruments, now_ns: int) -> list[Explained]:
    """Return the end without a payment of the cash-settled options that are gone: the cash is its proof."""
    return [
        part
        for number, contract in _expired_options(desk, gap, instruments, now_ns)
        if not contract.delivers
        for part in _end(number, contract, desk.holdings[number], now_ns)
    ]


def _expected_dividends(
    desk: AccountPicture, dividends: Sequence[DividendEvent], is_booked: Callable[[str], bool], now_ns: int
) -> list[list[Explained]]:
    """Return the payments of declared dividends that went ex and are not booked, each for itself."""
    found = []
    for paid in dividends:
        number, held = paid.instrument_id, desk.holdings.get(paid.instrument_id, ZERO)
        reference = f"dividend-{number}-{from_ns(paid.ts_ex_ns):%Y-%m-%d}"
        is_history = paid.ts_ex_ns < paid.ts_event_ns  # went ex before this desk knew of it
        if paid.ts_ex_ns > now_ns or is_history or is_booked(reference):
            continue
        found += [
            [_booking(event, f"dividend of {paid.amount} on {held:f}")]
            for event in dividend(number, held, paid.amount, reference, now_ns)
        ]
    return found


class Differences(msgspec.Struct, frozen=True):
    """Result of a comparison."""

    explained: tuple[Explained, ...] = ()
    """Differences with a cause, in the order in which they are to be booked."""
    unexplained: tuple[Difference, ...] = ()
    """Differences for the operator."""
    missing_orders: tuple[str, ...] = ()
    """Orders that the desk holds for live and the venue does not show: ask for each."""
    shown_orders: tuple[OpenOrder, ...] = ()
    """Orders of unknown state that the venue shows as open: proof that it has them."""
    left: Gap = NO_GAP
    """The unexplained units and cash."""


def explain(
    desk: AccountPicture,
    venue: AccountPicture,
    instruments: Instruments,
    *,
    foreign_fills: Sequence[VenueFill] = (),
    changes: Sequence[VenueActivity] = (),
    missing: Sequence[BookedFill] = (),
    day_fees: Sequence[Explained] = (),
    dividends: Sequence[DividendEvent] = (),
    is_booked: Callable[[str], bool] = lambda _: False,
    known: Gap = NO_GAP,
    in_doubt: Callable[[Gap], list[Explained]] = lambda _: [],
    tolerance: Tolerance | None = None,
) -> Differences:
    """Compare the two sides.

    ``desk``, ``venue``: The two views, both after every execution that the venue has reported.
    ``instruments``: All instruments of the run.
    ``foreign_fills``: Executions of the account that belong to no order of the desk, oldest first.
    ``changes``: Other lines of the venue's history, oldest first; cash alone is booked at what is held.
    ``missing``: Executions of the desk that the venue's history should list and does not.
    ``day_fees``: What the venue's lines charge for the trades of a day less what the desk has charged, oldest
    first: the cash is their proof.
    ``dividends``: Declared dividends that the desk knows.
    ``is_booked``: Whether the desk has booked a reference before: it explains nothing a second time.
    ``known``: Gap that an alarm has named: what happens beside it still finds its cause.
    ``in_doubt``: Returns what orders in doubt have filled, if that is all that a gap shows: asked last.
    ``tolerance``: What counts as equal.
    """
    within = tolerance or Tolerance()
    now_ns = venue.ts_ns
    gap = Gap(venue.holdings, venue.cash).less(Gap(desk.holdings, desk.cash))
    lines = _lines(desk, instruments, foreign_fills, changes, is_booked, now_ns)

    def parts_of(wanted: Gap) -> list[Explained]:
        ends = _expected_ends(desk, wanted, lines, instruments, now_ns)
        lapses = expected_lapses(desk, wanted, instruments, now_ns)
        busts = list(chain.from_iterable(taken_back(fill, instruments, now_ns) for fill in missing))
        confirmed = [[*parts, *lapses] for parts in ends or [[]]]
        confirmed.append(_expected_assignments(desk, wanted, instruments, now_ns))
        confirmed += [[*day_fees[start:]] for start in range(len(day_fees))]
        confirmed += [*_expected_dividends(desk, dividends, is_booked, now_ns), busts]
        return _explanation(wanted, lines, ends, confirmed, within)

    found = parts_of(gap)
    left = gap.without(found)
    if (left.units or not within.permits(left.cash)) and known != NO_GAP:
        beyond = gap.less(known)
        others = parts_of(beyond)
        rest = beyond.without(others)
        if not rest.units and within.permits(rest.cash):
            found, left = others, gap.without(others)
    for wanted in (left, left.less(known)) if left.units else ():
        if settled := in_doubt(wanted):
            found, left = [*found, *settled], left.without(settled)
            break
    unexplained = [
        Difference(
            instruments[instrument_id].symbol,
            number_text(venue.holdings.get(instrument_id, ZERO) - units),
            number_text(venue.holdings.get(instrument_id, ZERO)),
        )
        for instrument_id, units in left.units.items()
    ]
    if not within.permits(left.cash):
        ours = within.text(venue.cash - left.cash)  # once what is explained is booked
        unexplained.append(Difference("cash", ours, within.text(venue.cash)))
    missing_orders, shown, foreign = _orders(desk, venue)
    return Differences(
        tuple(found), (*unexplained, *foreign), missing_orders, shown, left if unexplained else NO_GAP
    )


def _explanation(
    gap: Gap,
    lines: Sequence[Explained],
    ends: Sequence[list[Explained]],
    confirmed: Sequence[list[Explained]],
    within: Tolerance,
) -> list[Explained]:
    """Return what closes a gap by units and cash, or else by units, or else in single instruments.

    Every cause that closes it to the cent goes before any that leaves fees open which may not be charged yet.
    ``ends`` need the units for their proof, ``confirmed`` the cash, too.
    """
    # a fee that the desk has charged by its schedule is a line of the history, too, and nothing more
    trades = [line for line in lines if line.cause is not ChangeCause.FEE]
    to_the_cent = Tolerance(within.cash)
    for by_cash, tolerance in ((True, to_the_cent), (True, within), (False, within)):
        for some in (trades, lines):
            for causes in ([], *ends, *(confirmed if by_cash else ())):
                chosen = _latest_lines(some, gap.without(causes), tolerance, by_cash=by_cash)
                if chosen is None:
                    continue
                explained = [*chosen, *causes]
                # charged fees may turn a gap of a cent into one of estimates still open: no explanation
                if gap.units or abs(gap.without(explained).cash) <= abs(gap.cash):
                    return explained
    found: list[Explained] = []
    for number, change in gap.units.items():
        own = [line for line in lines if line.units and line.instrument_id == number]
        found += _latest_lines(own, Gap({number: change}, ZERO), within, by_cash=False) or ()
    return found


def _lines(
    desk: AccountPicture,
    instruments: Instruments,
    foreign_fills: Sequence[VenueFill],
    changes: Sequence[VenueActivity],
    is_booked: Callable[[str], bool],
    now_ns: int,
) -> list[Explained]:
    """Return what the venue reports and the desk has not booked, oldest first."""
    elsewhere = next(iter(sorted(desk.holdings)), InstrumentId(0))
    lines = [of_fill(fill, instruments, now_ns) for fill in foreign_fills]
    for change in changes:
        number = instruments.find(change.symbol)
        lines.append(of_change(change, elsewhere if number is None else number, now_ns))
    fresh = [
        line
        for line in lines
        if isinstance(line.event, PositionChanged) and not is_booked(line.event.reference)
    ]
    return sorted(fresh, key=lambda line: line.event.ts_event_ns)


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
    theirs_open = first_and_second(venue.open_orders, ours_open)[0]
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
    theirs, seconds = first_and_second(venue.open_orders, ours)
    missing = tuple(name for name in ours if name not in theirs)
    shown = tuple(theirs[name] for name, order in ours.items() if order.is_unknown and name in theirs)
    foreign = tuple(
        Difference(
            f"order {name}",
            "over" if order.is_over else "never sent by this desk",
            f"open, {order.symbol}",
        )
        for name, order in theirs.items()
        if name not in ours
    )
    twice = tuple(
        Difference(
            f"order {order.client_order_id}",
            "one order",
            f"a second one, {order.venue_order_id}, {order.symbol}",
        )
        for order in seconds
    )
    return missing, shown, foreign + twice


def first_and_second(
    shown: Sequence[OpenOrder], ours: Mapping[str, OpenOrder]
) -> tuple[dict[str, OpenOrder], list[OpenOrder]]:
    """Return the venue's open orders by their names, and those that have the name of another one.

    A request that was sent twice, or changed while the connection broke, may come to two real orders under
    one reference (nautechsystems/nautilus_trader 4564): the desk follows the one whose id it knows. An order
    without a name of its sender goes by the venue's.
    """
    first: dict[str, OpenOrder] = {}
    seconds = []
    for order in shown:
        name = order.client_order_id or order.venue_order_id
        known, mine = first.get(name), ours.get(name)
        if known is None or known.symbol != order.symbol:
            first[name] = order
        elif mine is not None and mine.venue_order_id == order.venue_order_id:
            first[name] = order
            seconds.append(known)
        elif known.venue_order_id != order.venue_order_id:
            seconds.append(order)
    return first, seconds
