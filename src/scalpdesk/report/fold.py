"""What a run has done so far: one fold of its events and outputs, for all who tell of it.

The backtest, the desk, a replay, the store of runs and the pages take the same steps in the same order, so no
count, order or fill of theirs can differ.
"""

import logging
import weakref
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import chain
from tempfile import SpooledTemporaryFile, gettempdir
from typing import Any, Generic, Self, TypeVar, assert_never, overload

import msgspec

from scalpdesk.core import events
from scalpdesk.core.enums import SessionPhase
from scalpdesk.core.errors import StopError
from scalpdesk.core.events import Event, OrderEvent
from scalpdesk.core.intents import CancelOrder, Decision, Mark, Output, orders_of
from scalpdesk.core.units import ZERO
from scalpdesk.engine.desk import REST, Desk
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.postings import Posting, of_change, of_snapshot
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.journal.codec import DecisionHash, JournalHeader
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.portfolio.book import Book
from scalpdesk.portfolio.sub_books import SubBooks
from scalpdesk.report.session_tables import SessionSums
from scalpdesk.strategies.toolkit.entry_legs import STRADDLE_DELTA
from scalpdesk.volatility.variance_time import US_SESSIONS, VarianceClock, clock_of

_LOG = logging.getLogger(__name__)
_MOST_REFUSALS = 8
"""Kinds of refused entries that are kept."""
PACKED_ROWS, PACKED_BYTES = 1_024, 1 << 20
"""Rows in a pack, and bytes of packs that are kept in memory."""
_ENCODER = msgspec.msgpack.Encoder()
Row = TypeVar("Row", bound=msgspec.Struct)


class _RowLog(Sequence[Row], Generic[Row]):
    """Rows in order, which are read one after the other."""

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> list[Row]: ...
    def __getitem__(self, at: int | slice) -> Row | list[Row]:
        """Return one row, or a list of them; every row is read for it."""
        return list(self)[at]


class PackedLog(_RowLog[Row]):
    """Rows of a run in order: a run of years has half a million marks.

    They are packed, and beyond ``most_bytes`` in a temporary file that ends with the log; 0 keeps all in
    memory, as a pickled log does.
    """

    def __init__(
        self,
        kind: type[Row],
        most_bytes: int | None = None,
        packs: bytes = b"",
        sizes: Sequence[int] = (),
        last: Sequence[Row] = (),
    ) -> None:
        self._kind = kind
        self._decoder = msgspec.msgpack.Decoder(list[kind])  # type: ignore[valid-type]
        most_bytes = PACKED_BYTES if most_bytes is None else most_bytes
        self._file = SpooledTemporaryFile(max_size=most_bytes)  # noqa: SIM115 - open as long as the log lives
        weakref.finalize(self, self._file.close)
        if packs:
            self._file.write(packs)
        self._sizes = list(sizes)
        """Bytes of each pack, one after the other."""
        self._last = list(last)

    def append(self, row: Row) -> None:
        """Add a row.

        Raises StopError when the disk refuses the temporary file.
        """
        self._last.append(row)
        if len(self._last) < PACKED_ROWS:
            return
        packed = zlib.compress(_ENCODER.encode(self._last), level=1)
        try:
            self._file.seek(sum(self._sizes))
            self._file.write(packed)
        except OSError as error:
            raise StopError(
                f"the {self._kind.__name__.lower()}s of the run cannot be kept: {error.strerror}",
                where=gettempdir(),
                value=error.errno,
                fix="free disk space, or name a folder that has some in TMPDIR",
            ) from error
        self._sizes.append(len(packed))
        self._last = []

    def __reduce__(self) -> tuple[Any, ...]:
        self._file.seek(0)
        return PackedLog, (self._kind, 0, self._file.read(), tuple(self._sizes), tuple(self._last))

    def __iter__(self) -> Iterator[Row]:
        start = 0
        for size in self._sizes:
            self._file.seek(start)
            yield from self._decoder.decode(zlib.decompress(self._file.read(size)))
            start += size
        yield from self._last

    def __len__(self) -> int:
        return PACKED_ROWS * len(self._sizes) + len(self._last)


class _KeptLog(_RowLog[Row]):
    """Rows of which the newest may still change, by their keys; what is over is packed."""

    def __init__(self, kind: type[Row], most_bytes: int | None) -> None:
        self.open: dict[Any, Row] = {}
        self._over: PackedLog[Row] = PackedLog(kind, most_bytes)

    def end(self, key: object) -> None:
        """Pack the first open row, whose key this is."""
        self._over.append(self.open.pop(key))

    def __iter__(self) -> Iterator[Row]:
        return chain(self._over, tuple(self.open.values()))

    def __len__(self) -> int:
        return len(self._over) + len(self.open)


class SentOrder(msgspec.Struct, gc=False):
    """One order: what was asked for and how it stands."""

    client_order_id: str
    number: int
    """Position among the run's orders, from 1."""
    created_ns: int
    updated_ns: int
    symbol: str
    side: str
    quantity: Decimal
    order_type: str
    limit_price: Decimal | None
    trigger_price: Decimal | None
    time_in_force: str
    purpose: str
    owner: str
    """Strategy whose it is, where several share the desk; else empty."""
    venue_order_id: str | None = None
    state: str = ""
    filled_quantity: Decimal = ZERO
    average_price: Decimal | None = None
    """Per unit, to ten decimals; None while nothing is filled."""
    reason: str | None = None
    history: list[tuple[int, str, str]] = []
    """Instant (UTC nanoseconds), state and reason of each change, oldest first."""


class Fill(msgspec.Struct, gc=False):
    """One execution, once, however often the venue reported it."""

    number: int
    """Position among the run's executions, from 1."""
    client_order_id: str
    execution_id: str
    ts_event_ns: int
    ts_recv_ns: int
    symbol: str | None
    """None when the desk never sent such an order, as side and purpose are."""
    side: str | None
    purpose: str | None
    quantity: Decimal
    price: Decimal
    fee: Decimal
    busted: bool = False
    """Whether it was taken back."""


class BookMark(msgspec.Struct, gc=False):
    """What one strategy's book moved between two marks of the account, and how it stands."""

    ts_ns: int
    nav_change: Decimal
    parts: dict[str, Decimal]
    spot: float
    """Price of its own underlying."""
    net_delta_shares: float
    implied_vol: float
    """As a mark's; 0 while it holds no option."""


class _StrategyFold:
    """What one of several strategies has earned: its book, read at each mark of the account."""

    def __init__(self, book: Book, clock: VarianceClock, first: date | None, most_bytes: int | None) -> None:
        self._book = book
        self._change = ZERO
        self._totals = dict.fromkeys(book.attribution.totals, ZERO)
        self.marks: PackedLog[BookMark] = PackedLog(BookMark, most_bytes)
        self.sums = SessionSums(clock, first)

    def note(self, mark: Mark) -> None:
        """Take the book's change since the last mark."""
        attribution, last = self._book.attribution, self._book.last_mark
        change, totals = attribution.nav_change, dict(attribution.totals)
        parts = {name: amount - self._totals[name] for name, amount in totals.items()}
        spot, delta, vol = (
            (mark.spot, 0.0, 0.0) if last is None else (last.spot, last.net_delta_shares, last.implied_vol)
        )
        self.marks.append(BookMark(mark.ts_ns, change - self._change, parts, spot, delta, vol))
        self.sums.add(mark.ts_ns, change - self._change, parts, delta)
        self._change, self._totals = change, totals


class RunFold:
    """Counts and keeps what a run did, from each event and each output in order.

    ``instruments``: Of the run.
    ``orders``: Of the desk, or rebuilt from the journal: each event is applied to them before the fold takes
    it.
    ``books``: By strategy, where several share the desk.
    ``clock``, ``first_day``: The run's variance clock, and its first session.
    ``most_bytes``: As for :class:`PackedLog`.

    Attributes
    ----------
    decisions, marks, orders, fills
        All of the run, in order.
    taken, skipped
        Decisions by kind: those that count as a trade, and those that were not taken.
    refusals
        Last five refusals of an entry since the last accepted entry, newest last.
    straddle
        The latest decision to buy a straddle.
    changes
        What moved units or cash without an order, each once; first what the run began with.
    dividends
        As journaled.
    sums
        P&L by session.
    owned
        By strategy, where several share the desk; what belongs to none is ``nobody``'s.
    last_ns
        Instant of the last event, UTC nanoseconds; None before the first.
    """

    def __init__(
        self,
        instruments: Instruments,
        orders: OrderManager,
        *,
        books: SubBooks | None = None,
        clock: VarianceClock = US_SESSIONS,
        first_day: date | None = None,
        most_bytes: int | None = None,
    ) -> None:
        self._instruments, self._manager = instruments, orders
        self.taken: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.last_decision: Decision | None = None
        self.refusals: dict[str, Decision] = {}
        """Last of each kind of refused entry since one was taken, the newest at the end."""
        self.compared: tuple[float, float] | None = None
        """What the entry's gate compared last in this session: the forecast, and the market's level to its
        horizon.
        """
        self.refused_hedges = 0
        """By the risk gate."""
        self.refused_hedge: Decision | None = None
        self.straddle: Decision | None = None
        self.decisions: PackedLog[Decision] = PackedLog(Decision, most_bytes)
        self.marks: PackedLog[Mark] = PackedLog(Mark, most_bytes)
        self.last_mark: Mark | None = None
        self.orders: _KeptLog[SentOrder] = _KeptLog(SentOrder, most_bytes)
        self.fills: _KeptLog[Fill] = _KeptLog(Fill, most_bytes)
        self.changes: list[Posting] = []
        self.dividends: list[events.DividendEvent] = []
        self.sums = SessionSums(clock, first_day)
        self.owned = {
            name or REST: _StrategyFold(book, clock, first_day, most_bytes)
            for name, book in ({} if books is None else books.books).items()
        }
        self.owned_changes: Sequence[Posting] = () if books is None else books.changes
        """What moved units or cash of a strategy without an order of its own."""
        self.hash = DecisionHash()
        self.last_ns: int | None = None
        self._references: set[str] = set()

    @classmethod
    def of_desk(cls, header: JournalHeader, desk: Desk, most_bytes: int | None = None) -> Self:
        """Return the fold of a run that begins on a desk."""
        return cls(
            desk.instruments,
            desk.orders,
            books=desk.books,
            clock=clock_of(header.data),
            first_day=header.sessions[0].day if header.sessions else None,
            most_bytes=most_bytes,
        )

    def see(self, event: Event, outputs: tuple[Output, ...]) -> None:
        """Take an event and its outputs; of quotes those that led to an output are enough."""
        if type(event) is not events.QuoteEvent:
            self.take(event)
        if not outputs:
            return
        self.hash.add(outputs)
        self.last_ns = event.ts_recv_ns
        for output in outputs:
            self.note(output, event.ts_recv_ns)

    def take(self, event: Event) -> None:
        """Take an event that the desk, or what is rebuilt of it, has taken."""
        self.last_ns = event.ts_recv_ns
        match event:
            case events.OrderFilled():
                self._on_fill(event)
            case events.FillBusted():
                self._on_bust(event)
            case (
                events.OrderAccepted()
                | events.OrderRejected()
                | events.OrderCancelled()
                | events.OrderExpired()
                | events.CancelRejected()
                | events.OrderStatusUnknown()
                | events.OrderNotFound()
            ):
                self._on_status(event)
            case events.PositionChanged():
                self._on_change(event)
            case events.AccountSnapshot():
                self._on_snapshot(event)
            case events.DividendEvent():
                self.dividends.append(event)
            case events.SessionEvent():
                self._on_session(event)
            # of these the decisions and marks tell that follow from them
            case (
                events.QuoteEvent()
                | events.TradeEvent()
                | events.BarEvent()
                | events.OpenInterestEvent()
                | events.RateEvent()
                | events.PriceAdjustmentEvent()
                | events.ForecastEvent()
                | events.GammaExposureEvent()
                | events.SessionBarsEvent()
                | events.ImpliedVolEvent()
                | events.TradingHalt()
                | events.AccountLimits()
                | events.AccountComparison()
                | events.HoldingsShown()
                | events.ExerciseNotice()
                | events.VenueWords()
                | events.OrderSettled()
                | events.TimerEvent()
                | events.OperatorEvent()
                | events.ModeKept()
                | events.FolderAnswered()
                | events.UnmatchedOrderEvent()
                | events.FailedEvent()
            ):
                pass
            case _:
                assert_never(event)

    def note(self, output: Output, now_ns: int) -> None:
        """Take an output of the event at ``now_ns`` (UTC nanoseconds)."""
        if isinstance(output, Decision):
            self._on_decision(output)
        elif isinstance(output, Mark):
            self._on_mark(output)
        elif isinstance(output, CancelOrder):
            order = self._manager.orders.get(output.client_order_id)
            for each in () if order is None else self._manager.legs_with(order):
                self._update(each, now_ns, "cancel sent")
        else:
            for sent in orders_of(output):
                known = self._manager.orders.get(sent.client_order_id)
                self._on_sent(known or Order(sent, now_ns))  # a replica of another version may not know it

    @property
    def fill_count(self) -> int:
        """Executions of the desk's own orders that stand."""
        return self._manager.fill_count()

    def fill_of(self, client_order_id: str, execution_id: str) -> Fill | None:
        """Return an execution that may still change; None of one that was not seen, or is long over."""
        return self.fills.open.get((client_order_id, execution_id))

    def _on_decision(self, decision: Decision) -> None:
        self.decisions.append(decision)
        self.last_decision = decision
        if "implied_level" in decision.facts and "forecast_vol" in decision.facts:
            facts = decision.facts
            self.compared = float(facts["forecast_vol"]), float(facts["implied_level"])
        if _LOG.isEnabledFor(logging.DEBUG):
            _LOG.debug("%s", _in_one_line(len(self.decisions), decision))
        if decision.taken:
            self.taken[decision.kind] += decision.is_counted
            if decision.kind == "entry":
                self.refusals = {}
                if STRADDLE_DELTA in decision.facts:
                    self.straddle = decision
            return
        self.skipped[decision.kind] += 1
        if decision.kind == "entry":
            like = decision.likeness
            self.refusals.pop(like, None)
            self.refusals[like] = decision
            if len(self.refusals) > _MOST_REFUSALS:
                del self.refusals[next(iter(self.refusals))]
        elif decision.kind == "hedge" and decision.is_refused:
            self.refused_hedges += 1
            self.refused_hedge = decision

    def _on_mark(self, mark: Mark) -> None:
        self.last_mark = mark
        self.marks.append(mark)
        self.sums.add(mark.ts_ns, mark.nav_change, mark.parts, mark.net_delta_shares)
        for strategy in self.owned.values():
            strategy.note(mark)

    def _on_sent(self, order: Order) -> None:
        sent = order.submitted
        self.orders.open[sent.client_order_id] = SentOrder(
            client_order_id=sent.client_order_id,
            number=len(self.orders) + 1,
            created_ns=order.created_ns,
            updated_ns=order.created_ns,
            symbol=self._instruments[sent.instrument_id].symbol,
            side=sent.side.value,
            quantity=sent.quantity,
            order_type=sent.type_name,
            limit_price=sent.limit_price,
            trigger_price=sent.trigger_price,
            time_in_force=sent.time_in_force.value,
            purpose=sent.purpose.value,
            owner=sent.owner,
        )
        leg_of = f", leg of {order.parent_id}" if order.parent_id else ""
        self._update(order, order.created_ns, sent.purpose.value + leg_of)

    def _update(self, order: Order, now_ns: int, why: str) -> None:
        line = self.orders.open.get(order.client_order_id)
        if line is None:  # long over, or sent by another desk
            return
        line.updated_ns, line.state = now_ns, order.state.value
        line.venue_order_id, line.reason = order.venue_order_id or None, order.reason or None
        line.filled_quantity = order.filled
        line.average_price = shown(order.average_price) if order.filled else None
        if not line.history or line.history[-1][1] != line.state:
            line.history.append((now_ns, line.state, why))

    def _on_status(self, event: OrderEvent) -> None:
        order = self._manager.orders.get(event.client_order_id)
        if order is None:
            return
        concerned = self._manager.legs_with(order) if isinstance(event, events.CancelRejected) else (order,)
        for each in concerned:
            self._update(each, event.ts_recv_ns, getattr(event, "reason", ""))

    def _on_fill(self, event: events.OrderFilled) -> None:
        key = event.client_order_id, event.execution_id
        if key not in self.fills.open:
            order = self._manager.orders.get(event.client_order_id)
            sent = None if order is None else order.submitted
            self.fills.open[key] = Fill(
                number=len(self.fills) + 1,
                client_order_id=event.client_order_id,
                execution_id=event.execution_id,
                ts_event_ns=event.ts_event_ns,
                ts_recv_ns=event.ts_recv_ns,
                symbol=None if sent is None else self._instruments[sent.instrument_id].symbol,
                side=None if sent is None else sent.side.value,
                purpose=None if sent is None else sent.purpose.value,
                quantity=event.quantity,
                price=event.price,
                fee=event.fee,
                busted=order is not None and event.execution_id in order.busted,
            )
        self._on_status(event)

    def _on_bust(self, event: events.FillBusted) -> None:
        fill = self.fill_of(event.client_order_id, event.execution_id)
        if fill is not None:
            fill.busted = True
        self._on_status(event)

    def _on_change(self, event: events.PositionChanged) -> None:
        self._book(of_change(self._instruments[event.instrument_id], event))

    def _on_snapshot(self, event: events.AccountSnapshot) -> None:
        for posting in of_snapshot(event):
            self._book(posting)

    def _book(self, posting: Posting) -> None:
        if posting.reference not in self._references:
            self._references.add(posting.reference)
            self.changes.append(posting)

    def _on_session(self, event: events.SessionEvent) -> None:
        """Pack what the desk has forgotten: nothing can happen to it any more."""
        if event.phase is not SessionPhase.OPEN:
            return
        self.compared = None
        over: list[str] = []
        passed: list[str] = []
        for name, line in self.orders.open.items():
            if name not in self._manager.orders:
                over += [*passed, name]
                passed = []
            elif line.state == OrderState.REJECTED:  # which the desk keeps
                passed.append(name)
            else:
                break
        for name in over:
            self.orders.end(name)
        for key in tuple(self.fills.open) if over else ():
            if key[0] in self.orders.open:
                break
            self.fills.end(key)


def shown(value: Decimal) -> Decimal:
    """Cut what a division left behind the tenth decimal; what is exact up to there stays as it is."""
    exponent = value.as_tuple().exponent
    return round(value, 10) if isinstance(exponent, int) and exponent < -10 else value


def _in_one_line(number: int, decision: Decision) -> str:
    """Return a decision as a log line: New York time, kind, reasons and figures."""
    at = f"{to_new_york(decision.ts_ns):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " ET"
    done = "taken" if decision.taken else "not taken"
    orders = f" [{', '.join(decision.client_order_ids)}]" if decision.client_order_ids else ""
    facts = ", ".join(f"{name}={value}" for name, value in decision.facts.items())
    because = "; ".join(decision.reasons)
    return f"decision {number} at {at}: {decision.kind} {done}{orders}: {because} ({facts})"
