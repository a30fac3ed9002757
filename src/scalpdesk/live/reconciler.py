"""The loop that compares the desk with the venue's account: at start, after breaks, on a timer, on doubts.

A difference is acted on only when two views in a row show the same one and the desk's own books did not
move between them: a fill may travel on the stream while the query is answered. The second view must have been
asked for after the first was judged: two that were asked for side by side are one look. Orders that come to
nothing do not count: a desk whose orders are refused because its books are wrong would never correct them.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import NamedTuple

import msgspec

from scalpdesk.closing.last_resort import closing_again
from scalpdesk.core.backoff import BackOff
from scalpdesk.core.enums import ChangeCause, Mode, OperatorAction, OperatorCause
from scalpdesk.core.errors import Notify, RetryError
from scalpdesk.core.events import (
    Event,
    FillBusted,
    OperatorEvent,
    OrderAccepted,
    OrderCancelled,
    PositionChanged,
)
from scalpdesk.core.intents import OPENING, MultiLegOrder, SubmitOrder, VenueCommand
from scalpdesk.core.matching import Matching
from scalpdesk.core.units import (
    DAY_NS,
    MINUTE_NS,
    NANOS_PER_SECOND,
    NEVER_NS,
    ZERO,
    InstrumentId,
    number_text,
)
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.fees import NO_FEES, FeeModel
from scalpdesk.instruments.postings import Origin, Posting
from scalpdesk.instruments.sessions import ex_instant_ns, to_new_york
from scalpdesk.live.core import LiveCore
from scalpdesk.live.differences import (
    NO_GAP,
    AccountPicture,
    BookedFill,
    Difference,
    Differences,
    Explained,
    Gap,
    OpenOrder,
    Tolerance,
    explain,
    first_and_second,
    of_day_fees,
    side_by_side,
)
from scalpdesk.live.doubt import Doubt, Market, fills_shown
from scalpdesk.live.supervision import Supervisor
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.orders.order_manager import command_of
from scalpdesk.venues.contract import Gateway, VenueActivity, VenueFill, VenueView
from scalpdesk.venues.questions import text_of

_MOST_ABSENT = 20
_LATEST_ORDERS = 200
"""Orders whose executions may turn out to have been busted."""


def desk_picture(engine: TradingEngine) -> AccountPicture:
    """Return the desk's side of a reconciliation."""
    desk = engine.desk
    return AccountPicture(
        engine.now_ns,
        desk.cash(),
        {position.instrument_id: position.quantity for position in desk.positions.held()},
        tuple(
            OpenOrder(
                name,
                order.venue_order_id,
                desk.instruments[order.submitted.instrument_id].symbol,
                order.filled,
                order.state is OrderState.UNKNOWN,
            )
            for name, order in desk.orders.live.items()
        ),
    )


class _OwnExecution(NamedTuple):
    """An execution of the desk as its books have it."""

    order: Order
    execution_id: str
    symbol: str
    trade: Posting

    def keys(self) -> tuple[str, str, tuple[str, Decimal], Decimal]:
        """Return what tells it from others."""
        terms = self.symbol, self.trade.units
        return self.execution_id, self.order.venue_order_id, terms, self.trade.price


def _keys(fill: VenueFill) -> tuple[str, str, tuple[str, Decimal], Decimal]:
    terms = fill.symbol, fill.quantity * fill.side.sign
    return fill.execution_id, fill.venue_order_id, terms, fill.price


def missing_fills(engine: TradingEngine, fills: Sequence[VenueFill], since_ns: int) -> list[BookedFill]:
    """Return the desk's latest executions that the venue's history should list and does not, oldest first.

    An execution inferred from its order's filled sum has no id of the venue and matches no listed execution.
    The execution that a history lists in its place is of the same order, instrument and quantity.

    ``fills``: The account's executions since ``since_ns``.
    ``since_ns``: Executions of orders sent a minute later, or after that, are all among them; UTC
    nanoseconds.
    """
    desk = engine.desk
    booked = [
        _OwnExecution(order, execution_id, desk.instruments[trade.instrument_id].symbol, trade)
        for name, order in islice(reversed(desk.orders.orders.items()), _LATEST_ORDERS)
        if order.created_ns >= since_ns + MINUTE_NS
        for execution_id in reversed(tuple(order.executions))
        if (trade := desk.positions.booking(f"{name}/{execution_id}")) is not None
        and not execution_id.startswith(f"{order.venue_order_id}/")
    ][::-1]
    matching = Matching(fills, booked, lambda fill: fill.ts_event_ns, lambda each: each.trade.ts_ns)
    matching.pair_executions(_keys, _OwnExecution.keys)
    listed = {fill.execution_id for fill in fills}
    instead = {
        (each.order.client_order_id, each.execution_id): fill
        for (fill,), (each,) in matching.found
        if each.execution_id not in listed
    }
    found: list[BookedFill] = []
    for order, execution_id, _, trade in booked:
        if execution_id not in listed:
            name = order.client_order_id
            late = desk.positions.booking(Origin.LATE_FEE + execution_id)
            fee = -trade.income - (ZERO if late is None else late.income)
            known = name, execution_id, trade.instrument_id, trade.units, trade.price, fee
            found.append(BookedFill(*known, instead.get((name, execution_id))))
    return found


def _venue_picture(view: VenueView, known: Mapping[str, Order]) -> AccountPicture:
    """Return the venue's side, without positions in symbols that the run does not know.

    Orders by which the venue liquidates are left out: the margin says what the desk may do beside them.
    An order whose executions are all booked has ended, though the view may still show it open: the venue
    was asked for its orders before the last execution, and for its positions after it.
    """
    holdings: dict[InstrumentId, Decimal] = {}
    for position in view.positions:
        number = position.instrument_id
        if number is not None:
            holdings[number] = holdings.get(number, ZERO) + position.quantity
    orders = []
    for order in view.open_orders:
        mine = known.get(order.client_order_id)
        is_shown = order.is_open and not order.is_liquidation
        if is_shown and (mine is None or mine.state is not OrderState.FILLED):
            names = order.client_order_id, order.venue_order_id, order.symbol
            is_over = mine is not None and not mine.is_live
            orders.append(OpenOrder(*names, order.filled, is_over=is_over))
    return AccountPicture(view.ts_recv_ns, view.account.cash, holdings, tuple(orders))


def account_since(engine: TradingEngine, view: VenueView, since_ns: int) -> Differences:
    """Return what became of an account since a desk saw it last, as a first look of a start finds it.

    ``view``: The account.
    ``since_ns``: Instant since when its executions are listed, UTC nanoseconds.
    """
    pictures = desk_picture(engine), _venue_picture(view, engine.desk.orders.orders)
    return account_differences(engine, view, pictures, since_ns)


def account_differences(
    engine: TradingEngine,
    view: VenueView,
    pictures: tuple[AccountPicture, AccountPicture],
    since_ns: int,
    *,
    accounted: Collection[str] = (),
    day_fees: Sequence[Explained] = (),
    known: Gap = NO_GAP,
    in_doubt: Callable[[Gap], list[Explained]] = lambda _: [],
) -> Differences:
    """Compare a desk's books with a view of its account.

    ``pictures``: Both sides of it.
    ``accounted``: Lines of the venue's history that are booked already.
    ``day_fees``, ``known``, ``in_doubt``: As of :func:`~scalpdesk.live.differences.explain`.
    """
    desk = engine.desk
    own = {order.venue_order_id for order in desk.orders.orders.values()}
    foreign = [
        fill
        for fill in view.fills
        if (fill.venue_order_id not in own or fill.execution_id in desk.orders.left)
        and fill.symbol in desk.instruments
    ]
    changes = [
        activity
        for activity in view.activities
        if activity.activity_id not in accounted
        and (not activity.quantity_change or activity.symbol in desk.instruments)
        and not is_carried(engine, activity)
    ]
    fees = sum((line.fees for line in desk.positions.positions.values()), ZERO)
    found = explain(
        *pictures,
        desk.instruments,
        foreign_fills=foreign,
        changes=changes,
        missing=missing_fills(engine, view.fills, since_ns),
        day_fees=day_fees,
        dividends=desk.market.dividends,
        is_booked=desk.positions.already_applied,
        known=known,
        in_doubt=in_doubt,
        tolerance=Tolerance(desk.attribution.unit, fees if view.estimates_fees else ZERO),
    )
    strangers = tuple(
        Difference(position.symbol, "not in this run's market", number_text(position.quantity))
        for position in view.positions
        if position.instrument_id is None and position.quantity
    )
    return msgspec.structs.replace(found, unexplained=found.unexplained + strangers)


def is_carried(engine: TradingEngine, activity: VenueActivity) -> bool:
    """Return whether it is the split of a share that the desk booked at its open."""
    if activity.cause is not ChangeCause.CORPORATE_ACTION or activity.cash_change:
        return False
    day = to_new_york(ex_instant_ns(activity.ts_event_ns)).date()
    return engine.desk.positions.already_applied(f"split-{activity.symbol}-{day}")


def holdings_of(view: VenueView) -> dict[str, Decimal]:
    """Return what a view shows to be held: signed units by symbol."""
    held: dict[str, Decimal] = {}
    for position in view.positions:
        held[position.symbol] = held.get(position.symbol, ZERO) + position.quantity
    return {symbol: units for symbol, units in held.items() if units}


def _comparable(found: Explained) -> tuple[object, ...]:
    """Return what two views of a difference must agree on."""
    event = found.event
    name = event.reference if isinstance(event, PositionChanged) else event.execution_id
    return found.cause, name, found.instrument_id, found.units, found.cash


class Verdict(NamedTuple):
    """Result of judging one view of the account."""

    commands: list[VenueCommand]
    """Commands of the engine in answer to the booked events."""
    query: tuple[str, ...]
    """Orders to ask the venue about."""
    look_again: bool
    """Whether a second view is wanted to make sure."""


class Reconciler:
    """Compares the venue's views with the desk; owns the differences."""

    def __init__(self, core: LiveCore, notify: Notify, fees: FeeModel = NO_FEES) -> None:
        self._core = core
        self._notify = notify
        desk = core.engine.desk
        self.market = Market(desk.instruments, desk.market.quotes, fees)
        """What an order in doubt can have been filled at."""
        self.overdue: Collection[str] = ()
        """Orders in doubt beyond their bound: the comparison waits for them no more."""
        self.absent: deque[str] = deque(maxlen=_MOST_ABSENT)
        """Orders that count as never arrived: the account may show their fills all the same."""
        self.is_settled = False
        """True once a view was equal, or what it showed was acted on."""
        self.is_open = False
        """Whether the latest view shows what was not acted on yet."""
        self.doubted_at = 0.0
        """A view that was asked for before this does not count; the event loop's time."""
        self.last_ns = 0
        """When a view was last found equal or acted on, UTC nanoseconds."""
        self.doubtful: tuple[str, ...] = ()
        """Orders whose ends the latest view waits for."""
        self.unexplained: tuple[Difference, ...] = ()
        self.unwanted: tuple[str, ...] = ()
        """Venue's ids of orders that are still to be cancelled there: second ones under a name of the desk's,
        and those that it holds to be over.
        """
        self.adopted: list[str] = []
        """Differences that were booked, in words."""
        self.begins_ns = 0
        """Executions from before this are the account's past, UTC nanoseconds."""
        self.fills_since_ns = 0
        """Executions are asked for from here on."""
        self._left = NO_GAP
        """Unexplained units and cash that an alarm has named."""
        self._pending: tuple[object, Decimal, dict[InstrumentId, Decimal]] | None = None
        """Difference of the last view, with the desk's cash and holdings."""
        self._pending_since = 0.0
        """When a view showed that difference first, the event loop's time."""
        self._charged: dict[date, dict[str, Decimal]] = {}
        """What the venue's lines charge for the trades of a day, by line."""
        self._accounted: set[str] = set()
        """Activities that equal views showed: the desk's books hold what they did, one way or another."""
        self._shown: set[str] = set()

    @property
    def has_strange_units(self) -> bool:
        """Whether positions of the run's instruments differ from the book, and nothing explains it."""
        return bool(self._left.units)

    def begin(self, since_ns: int) -> None:
        """Set from when on executions are the run's."""
        self.begins_ns = self.fills_since_ns = since_ns

    def doubt(self, now: float) -> None:
        """Forget the last comparison: events may have been missed until now, the event loop's time."""
        self.is_settled, self.doubted_at = False, now

    def judge(
        self, view: VenueView, since_ns: int = 0, *, asked_at: float = math.inf, now: float = 0.0
    ) -> Verdict:
        """Compare a view, with the account's executions since an instant, and book what is explained.

        ``view``, ``since_ns``: The account, and the instant since when its executions are listed, UTC
        nanoseconds.
        ``asked_at``, ``now``: When the view was asked for, and the present, both the event loop's time.
        """
        core, engine = self._core, self._core.engine
        self.is_open = True
        ours, theirs = desk_picture(engine), _venue_picture(view, engine.desk.orders.orders)
        now_ns = max(view.ts_recv_ns, engine.now_ns)
        found = self._compare(view, ours, theirs, since_ns, now_ns)
        commands: list[VenueCommand] = []
        for shown in found.shown_orders:
            commands += core.feed(
                OrderAccepted(shown.client_order_id, view.ts_event_ns, now_ns, shown.venue_order_id)
            )
        query = found.missing_orders
        self.doubtful = tuple(query)
        if self._waits(found, view):
            # what became of them may be the very difference: first their end, then the sums
            self._pending = None
            return Verdict(commands, query, look_again=True)
        if not found.explained and not found.unexplained:
            self._settle(view)
            names = {activity.activity_id for activity in view.activities}
            # a new one may be younger than the positions of this very view
            self._accounted |= names & self._shown
            self._shown |= names
            self.unexplained, self._left = (), NO_GAP
            return Verdict(commands, query, look_again=False)
        day_ns = max(self.begins_ns, view.ts_event_ns - DAY_NS)
        if found.unexplained and since_ns > day_ns:
            # what was taken back may be an execution of hours ago
            self.fills_since_ns = day_ns
            return Verdict(commands, query, look_again=True)
        key = (tuple(_comparable(difference) for difference in found.explained), found.unexplained)
        pending = key, ours.cash, ours.holdings
        if self._pending != pending:
            self._pending, self._pending_since = pending, now
            return Verdict(commands, query, look_again=True)
        if asked_at < self._pending_since:
            return Verdict(commands, query, look_again=True)
        self._pending = None
        commands += self._act(found, ours, theirs, now_ns)
        commands += self._end_rest(view, now_ns)
        self.unwanted = _unwanted(ours, theirs)
        self._settle(view)
        return Verdict(commands, query, look_again=bool(found.explained))

    def _waits(self, found: Differences, view: VenueView) -> bool:
        """Return whether the account is judged only once an order is settled that the venue does not show.

        Not beyond the bound of its doubt, nor where the account shows what the venue counts as filled of it.
        """
        waiting = [name for name in found.missing_orders if name not in self.overdue]
        is_shown = bool(found.explained) and not found.unexplained
        return bool(waiting) and not (is_shown and all(name in view.over for name in waiting))

    def _end_rest(self, view: VenueView, now_ns: int) -> list[VenueCommand]:
        """End the orders that are over at the venue and of which all is booked that it counts."""
        commands: list[VenueCommand] = []
        for name, filled in view.over.items():
            order = self._core.engine.desk.orders.live.get(name)
            if order is not None and order.settled and order.filled >= filled:
                why = "over at the venue, its executions by position and cash"
                commands += self._core.feed(OrderCancelled(name, view.ts_event_ns, now_ns, why))
        return commands

    def _doubts(self, view: VenueView) -> list[Doubt]:
        """Return the orders whose executions the account alone may show."""
        orders = self._core.engine.desk.orders
        found = [
            Doubt(orders.live[name], view.over.get(name))
            for name in dict.fromkeys((*view.over, *self.overdue))
            if name in orders.live
        ]
        return found + [Doubt(orders.orders[name]) for name in self.absent if name in orders.orders]

    def _compare(
        self, view: VenueView, ours: AccountPicture, theirs: AccountPicture, since_ns: int, now_ns: int
    ) -> Differences:
        open_orders = {order.client_order_id for order in theirs.open_orders if not order.is_over}
        doubts = [doubt for doubt in self._doubts(view) if doubt.order.client_order_id not in open_orders]
        return account_differences(
            self._core.engine,
            view,
            (ours, theirs),
            since_ns,
            accounted=self._accounted,
            day_fees=self._day_fees(view) if view.estimates_fees else (),
            known=self._left,
            in_doubt=lambda gap: fills_shown(doubts, gap, self.market, now_ns),
        )

    def _day_fees(self, view: VenueView) -> list[Explained]:
        """Return what the venue's lines charge for trades of a day less what the desk estimated, by day."""
        desk = self._core.engine.desk
        for activity in view.activities:
            if activity.charges_day is not None:
                lines = self._charged.setdefault(activity.charges_day, {})
                lines[activity.activity_id] = -activity.cash_change
        stands = desk.positions.already_applied
        days = [day for day in sorted(self._charged) if not stands(f"{Origin.LATE_FEE}{day}")]
        booked = dict.fromkeys(days, ZERO)
        for name, order in desk.orders.orders.items() if days else ():
            for execution_id in order.executions:
                trade = desk.positions.booking(f"{name}/{execution_id}")
                if trade is not None and (day := to_new_york(trade.ts_ns).date()) in booked:
                    booked[day] -= trade.income
        number = next(iter(sorted(held.instrument_id for held in desk.positions.held())), InstrumentId(0))
        now_ns = max(view.ts_recv_ns, self._core.engine.now_ns)
        charged = {day: sum(self._charged[day].values(), ZERO) for day in days}
        return [
            of_day_fees(day, booked[day], charged[day], number, now_ns)
            for day in days
            if booked[day] and booked[day] != charged[day]
        ]

    def _act(
        self, found: Differences, ours: AccountPicture, theirs: AccountPicture, now_ns: int
    ) -> list[VenueCommand]:
        commands: list[VenueCommand] = []
        for difference in found.explained:
            self.adopted.append(difference.detail)
            self._notify("warning", f"booked from the venue's account: {difference.detail}")
            event: Event = difference.event
            if isinstance(event, PositionChanged | FillBusted) and difference is not found.explained[-1]:
                event = msgspec.structs.replace(event, more_follow=True)
            commands += self._core.feed(event)
        desk = self._core.engine.desk
        known = {difference.what for difference in self.unexplained}
        has_more = _exceeds(found.left, self._left, desk.attribution.unit)
        self.unexplained, self._left = found.unexplained, found.left
        if has_more or any(difference.what not in known for difference in found.unexplained):
            now = desk_picture(self._core.engine)  # what is explained is booked
            ours = msgspec.structs.replace(ours, cash=now.cash, holdings=now.holdings)
            table = side_by_side(ours, theirs, desk.instruments, Tolerance(cash=desk.attribution.unit))
            text = "; ".join(str(difference) for difference in found.unexplained)
            self._notify("alarm", f"the venue's account differs and nothing explains it: {text}\n{table}")
            if desk.gate.desk_mode.state.is_free:
                reason, who = f"unexplained difference: {text}", OperatorCause.RECONCILIATION
                commands += self._core.feed(
                    OperatorEvent(now_ns, now_ns, OperatorAction.REDUCE, reason, who.value, who)
                )
        return commands

    def _settle(self, view: VenueView) -> None:
        self.is_settled, self.is_open = True, False
        self.last_ns = view.ts_recv_ns
        self.fills_since_ns = max(self.fills_since_ns, view.ts_event_ns - MINUTE_NS)


def _unwanted(ours: AccountPicture, theirs: AccountPicture) -> tuple[str, ...]:
    """Return the venue's ids of open orders under names of the desk's that nobody wants any more."""
    first, seconds = first_and_second(
        theirs.open_orders, {order.client_order_id: order for order in ours.open_orders}
    )
    live = {order.client_order_id for order in ours.open_orders}
    over = {name for name, order in first.items() if order.is_over}
    return tuple(
        order.venue_order_id
        for order in (*seconds, *(first[name] for name in over))
        if order.client_order_id in live | over
    )


def _exceeds(left: Gap, known: Gap, least_cash: Decimal) -> bool:
    """Return whether a gap is wider than the known one in anything."""
    return abs(left.cash) > abs(known.cash) + least_cash or any(
        abs(units) > abs(known.units.get(number, ZERO)) for number, units in left.units.items()
    )


_MOST_PAUSES = 10
"""Queries of one order come at most so many times slower than the first."""
_DOUBT_SECONDS = 10.0
"""An order may be in doubt for so long, or until its absence can be proven where that comes later."""
_PROOF_SECONDS = 2.0
"""Added for the question that proves an absence."""


class UnknownOrders:
    """Spaces the queries of each order whose state is not known.

    ``resolve_seconds``: Between the first two queries of one order.
    ``absent_after_seconds``: Time after which the venue's silence proves that it never had an order.
    """

    def __init__(
        self, live: Mapping[str, Order], resolve_seconds: float, absent_after_seconds: float = 0.0
    ) -> None:
        self._live = live
        self._resolve_seconds = resolve_seconds
        self._absent_after_seconds = absent_after_seconds
        self._queried: dict[str, BackOff] = {}
        self._since: dict[str, float] = {}
        """When the doubt of each began, the event loop's time."""
        self._looked_at = 0.0
        """When they were looked at last."""
        self._may_prove: set[str] = set()
        """Orders that were asked about since their absence could be proven."""
        self.may_prove_absence_at = 0.0
        """Before this time of the event loop, an order without a venue id is not asked about: the venue may
        still accept what the run before sent last."""

    def add(self, client_order_id: str) -> None:
        """Query this order too."""
        pauses = BackOff(self._resolve_seconds, _MOST_PAUSES * self._resolve_seconds)
        self._queried.setdefault(client_order_id, pauses)

    def settle(self, client_order_id: str) -> None:
        """Forget an order for which there was proof, unless its state is still unknown."""
        order = self._live.get(client_order_id)
        if order is None or order.state is not OrderState.UNKNOWN:
            self._forget(client_order_id)

    def _forget(self, client_order_id: str) -> None:
        self._queried.pop(client_order_id, None)
        self._since.pop(client_order_id, None)
        self._may_prove.discard(client_order_id)

    @property
    def bound_seconds(self) -> float:
        """Longest doubt that is an ordinary one: by then the venue could have proven an absence."""
        return max(_DOUBT_SECONDS, self._absent_after_seconds) + _PROOF_SECONDS

    def doubts(self) -> dict[str, float]:
        """Return the orders in doubt and for how long, seconds."""
        return {
            name: self._looked_at - self._since.get(name, self._looked_at)
            for name, order in self._live.items()
            if name in self._since or order.state is OrderState.UNKNOWN
        }

    def times(self, client_order_id: str) -> int:
        """Return how often the venue was asked about an order in doubt."""
        pauses = self._queried.get(client_order_id)
        return 0 if pauses is None else pauses.failures

    def overdue(self, now: float) -> tuple[str, ...]:
        """Return the orders in doubt for longer than the bound; ``now`` is the event loop's time."""
        limit = now - self.bound_seconds
        return tuple(name for name, since in self._since.items() if since <= limit and name in self._live)

    def due(self, now: float) -> Iterator[str]:
        """Yield the orders to query now; ``now`` is the event loop's time."""
        self._looked_at = now
        for name, order in self._live.items():
            if order.state is OrderState.UNKNOWN:
                self.add(name)
        for name in [name for name in self._queried if name not in self._live]:
            self._forget(name)
        now_ns = int(now * NANOS_PER_SECOND)
        for name, pauses in self._queried.items():
            since = self._since.setdefault(name, now)
            has_no_id = not self._live[name].venue_order_id
            horizon = self._absent_after_seconds
            may_prove = bool(horizon) and name not in self._may_prove and now > since + horizon
            is_due = now_ns >= pauses.until_ns or may_prove
            if not is_due or (has_no_id and now < self.may_prove_absence_at):
                continue
            if may_prove:
                self._may_prove.add(name)
            pauses.fail(now_ns)
            yield name


def still_wanted(engine: TradingEngine, order: Order, since_ns: int) -> SubmitOrder | MultiLegOrder | None:
    """Return what the venue may get again of an order in doubt that it does not show; None lets it go.

    Only what lowers risk and was not cancelled, while the desk may send and the instrument trades. A
    flattening desk wants what closes a holding, whenever it was sent: another order would come beside it.

    ``since_ns``: Orders sent earlier are those of a life before this one: without a flatten they are out of
    date.
    """
    desk = engine.desk
    legs, mode = desk.orders.legs_with(order), desk.gate.mode
    if (
        order.state is not OrderState.UNKNOWN
        or mode is Mode.HALTED
        or not desk.gate.is_compared
        or desk.view.session is None
        or any(
            leg.submitted.purpose in OPENING or desk.view.is_halted(leg.submitted.instrument_id)
            for leg in legs
        )
    ):
        return None
    if mode is Mode.FLATTENING:
        return closing_again(legs, desk.positions.quantity, desk.orders.live.values())
    return command_of(legs) if order.created_ns >= since_ns and not order.is_unwanted else None


_RETRY_SECONDS = 2.0
"""After a query without an answer."""


@dataclass(slots=True)
class Viewed:
    """The account as the venue showed it, on its way through the runner's queue."""

    view: VenueView
    since_ns: int = NEVER_NS
    """Its executions are those since this instant, UTC nanoseconds."""
    asked_at: float = math.inf
    """When it was asked for, the event loop's time."""


@dataclass(slots=True, kw_only=True)
class AccountQueries:
    """Asks the venue for the account, once at a time; the answer comes through the runner's queue."""

    gateway: Gateway
    reconciler: Reconciler
    supervisor: Supervisor
    put: Callable[[Viewed], None]
    is_asking: bool = False
    """A query is under way: another one would bring the same."""
    _ask_again: bool = False
    """Something happened that the query under way may not have seen."""
    last_at: float = 0.0
    """When a view arrived last, or was asked for by the timer; the event loop's time."""
    latest: VenueView | None = None
    """The view that came out of the queue last."""
    wanted_at: float | None = None
    """Since when a view is wanted that has not come, the event loop's time."""
    failure: str = ""
    """The question that failed last, and what came in place of its answer; empty once a view comes."""

    async def first(self, since_ns: int | None) -> VenueView:
        """Ask now, and wait for it; raises RetryError when the venue does not answer."""
        view = await self.gateway.snapshot(fills_since_ns=since_ns)
        self.last_at = asyncio.get_running_loop().time()
        return view

    def ask_anew(self) -> None:
        """Ask now, and once more after a query that is under way: it may have begun too early."""
        self._ask_again = self.is_asking
        self.ask()

    def ask(self, wait_seconds: float = 0.0) -> None:
        """Ask, after a while, unless a query is under way."""
        if not self.is_asking:
            self.is_asking = True
            if self.wanted_at is None:
                self.wanted_at = asyncio.get_running_loop().time() + wait_seconds
            self.supervisor.spawn("the query of the account", self._query(wait_seconds))

    def take(self, view: VenueView) -> None:
        """Keep a view that has come out of the queue."""
        self.latest = view
        self.wanted_at, self.failure = None, ""
        self.last_at = asyncio.get_running_loop().time()

    async def _query(self, wait_seconds: float) -> None:
        try:
            viewed = await self._answered(wait_seconds)
        finally:  # the timer asks again after a failure
            self.is_asking = False
        self.put(viewed)
        if self._ask_again:
            self.ask_anew()

    async def _answered(self, wait_seconds: float) -> Viewed:
        while True:
            if wait_seconds:
                await asyncio.sleep(wait_seconds)
            since_ns, asked_at = self.reconciler.fills_since_ns, asyncio.get_running_loop().time()
            try:
                view = await self.gateway.snapshot(fills_since_ns=since_ns)
            except RetryError as error:
                self.supervisor.counters["no_view"] += 1
                self.failure = text_of(error)
                now, detail = asyncio.get_running_loop().time(), f"{self.failure}; asking again"
                self.supervisor.throttle.warn("the venue shows no account:", detail, now)
                wait_seconds = _RETRY_SECONDS
            else:
                await settle_queue()
                return Viewed(view, since_ns, asked_at)


async def settle_queue() -> None:
    """Let what a query brought to light reach the runner's queue before its answer."""
    for _ in range(3):
        await asyncio.sleep(0)
