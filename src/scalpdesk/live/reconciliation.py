"""Holds the desk against the venue's view: at start, after a reconnection, on a timer, in doubt.

A difference is acted on only when two views in a row show the same one and no order event came
between them: a fill may travel on the stream while the query is answered.

Orders whose state is not known: whom to ask about, and when.

How a run meets its account: a new one adopts it, one that goes on holds it against its journal.

Questions for the account, one at a time; the answer comes back through the runner's queue.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

import msgspec

from scalpdesk.core.errors import Notify, RetryError
from scalpdesk.core.events import (
    Event,
    FillBusted,
    OperatorEvent,
    OrderAccepted,
    OrderStatusUnknown,
    PositionChanged,
    QuoteEvent,
)
from scalpdesk.core.intents import VenueCommand
from scalpdesk.core.units import InstrumentId
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.live.core import LiveCore, RunnerState, Start, Viewed
from scalpdesk.live.supervision import Tasks
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.orders.reconcile import (
    AccountChange,
    AccountPicture,
    BookedFill,
    Difference,
    Explained,
    ForeignFill,
    OpenOrder,
    Reconciliation,
    Tolerance,
    reconcile,
    side_by_side,
)
from scalpdesk.venues.contract import Gateway, VenueView

ZERO = Decimal(0)
LATEST_ORDERS = 200
"""Orders whose executions may turn out to have been busted."""


def desk_picture(engine: TradingEngine) -> AccountPicture:
    """Return the desk's side of a reconciliation."""
    desk = engine.desk
    return AccountPicture(
        engine.now_ns,
        desk.account.cash,
        {one.instrument_id: one.quantity for one in desk.positions.held()},
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
        tuple(
            BookedFill(
                name, execution_id, order.submitted.instrument_id, quantity * order.submitted.side.sign, price
            )
            for name, order in islice(reversed(desk.orders.orders.items()), LATEST_ORDERS)
            for execution_id, (quantity, price) in order.executions.items()
        )[::-1],
    )


def venue_picture(view: VenueView) -> AccountPicture:
    """Return the venue's side; positions that the book does not know are left out."""
    holdings: dict[InstrumentId, Decimal] = {}
    for one in view.positions:
        if one.instrument_id is not None:
            holdings[one.instrument_id] = holdings.get(one.instrument_id, ZERO) + one.quantity
    orders = tuple(
        OpenOrder(one.client_order_id, one.venue_order_id, one.symbol, one.filled)
        for one in view.open_orders
        if one.is_open
    )
    return AccountPicture(view.ts_recv_ns, view.account.cash, holdings, orders)


def _same_twice(one: Explained) -> tuple[object, ...]:
    """What of a difference two views must agree on; its reference may hold the time of the view."""
    event = one.event
    if isinstance(event, FillBusted):
        return one.cause, event.client_order_id, event.execution_id
    return one.cause, event.instrument_id, event.quantity_change, event.price, event.cash_change


class Reconciler:
    """Compares views with the desk and says what follows.

    Parameters
    ----------
    core
        What events are fed to.
    say
        Told of what is found.
    """

    def __init__(self, core: LiveCore, say: Notify) -> None:
        self._core = core
        self._say = say
        self.is_settled = False
        """True once a view has been equal, or what it showed has been acted on."""
        self.last_ns = 0
        """When a view was last found equal or acted on, UTC nanoseconds."""
        self.views = 0
        self.unexplained: tuple[Difference, ...] = ()
        self.adopted: list[str] = []
        """Differences that were booked, in words."""
        self.fills_since_ns = 0
        """Executions are asked for from here on."""
        self._pending: tuple[object, int] | None = None
        self._foreign_positions: frozenset[tuple[str, Decimal]] | None = None
        self._accounted: set[str] = set()
        """Activities that equal views showed: the desk's books hold what they did, one way or another."""
        self._shown: set[str] = set()

    def judge(self, view: VenueView, order_events: int) -> tuple[list[VenueCommand], tuple[str, ...], bool]:
        """Take a view in.

        Parameters
        ----------
        view
            The venue's side.
        order_events
            How many order and account events the desk has handled so far: a count that moved says
            that the account was in motion.

        Returns
        -------
        commands
            What the engine answered to what was booked.
        ask_for
            Orders to ask the venue about.
        look_again
            Whether a second view is wanted to make sure.
        """
        self.views += 1
        core, engine = self._core, self._core.engine
        ours, theirs = desk_picture(engine), venue_picture(view)
        self._note_foreign_positions(view)
        found = self._compare(view, ours, theirs)
        commands: list[VenueCommand] = []
        now_ns = max(view.ts_recv_ns, engine.now_ns)
        for shown in found.shown_orders:
            commands += core.feed(
                OrderAccepted(shown.client_order_id, view.ts_event_ns, now_ns, shown.venue_order_id)
            )
        if found.missing_orders:
            # what became of them may be the very difference: first their story, then the sums
            self._pending = None
            return commands, found.missing_orders, True
        if not found.explained and not found.unexplained:
            self._settle(view)
            names = {one.activity_id for one in view.activities}
            # one that is new may be younger than the positions of this very view
            self._accounted |= names & self._shown
            self._shown |= names
            self.unexplained = ()
            return commands, (), False
        key = (tuple(_same_twice(one) for one in found.explained), found.unexplained)
        if self._pending != (key, order_events):
            self._pending = (key, order_events)
            return commands, (), True
        self._pending = None
        commands += self._act(found, ours, theirs, now_ns)
        self._settle(view)
        return commands, (), bool(found.explained)

    def _compare(self, view: VenueView, ours: AccountPicture, theirs: AccountPicture) -> Reconciliation:
        desk = self._core.engine.desk
        own = {order.venue_order_id for order in desk.orders.orders.values()}
        foreign = tuple(
            ForeignFill(
                fill.execution_id,
                desk.instruments.id_of(fill.symbol),
                fill.side,
                fill.quantity,
                fill.price,
                fill.ts_event_ns,
            )
            for fill in view.fills
            if fill.venue_order_id not in own and fill.symbol in desk.instruments
        )
        changes = tuple(
            AccountChange(
                f"activity-{one.activity_id}",
                one.cause,
                desk.instruments.id_of(one.symbol) if one.symbol in desk.instruments else None,
                one.quantity_change,
                one.price,
                one.cash_change,
                one.ts_event_ns,
                str(one),
            )
            for one in view.activities
            if one.activity_id not in self._accounted
            and (not one.quantity_change or one.symbol in desk.instruments)
        )
        names = [f"foreign-{fill.execution_id}" for fill in foreign] + [one.reference for one in changes]
        booked = frozenset(name for name in names if desk.positions.already_applied(name))
        return reconcile(
            ours,
            theirs,
            desk.instruments,
            foreign_fills=foreign,
            changes=changes,
            dividends=desk.market.dividends,
            booked=booked,
            tolerance=Tolerance(equity=view.account.equity),
        )

    def _act(
        self, found: Reconciliation, ours: AccountPicture, theirs: AccountPicture, now_ns: int
    ) -> list[VenueCommand]:
        commands: list[VenueCommand] = []
        for one in found.explained:
            self.adopted.append(one.detail)
            self._say("warning", f"adopted from the venue: {one.detail}")
            event: Event = one.event
            if isinstance(event, PositionChanged) and one is not found.explained[-1]:
                event = msgspec.structs.replace(event, more_follow=True)
            commands += self._core.feed(event)
        known = {one.what for one in self.unexplained}
        self.unexplained = found.unexplained
        if any(one.what not in known for one in found.unexplained):
            table = side_by_side(ours, theirs, self._core.engine.desk.instruments)
            text = "; ".join(str(one) for one in found.unexplained)
            self._say("alarm", f"the venue's account differs and nothing explains it: {text}\n{table}")
            if self._core.engine.desk.gate.mode == "ACTIVE":
                word = OperatorEvent(
                    now_ns, now_ns, "reduce", f"unexplained difference: {text}", "reconciliation"
                )
                commands += self._core.feed(word)
        return commands

    def _settle(self, view: VenueView) -> None:
        self.is_settled = True
        self.last_ns = view.ts_recv_ns
        self.fills_since_ns = max(self.fills_since_ns, view.ts_event_ns - 60_000_000_000)

    def _note_foreign_positions(self, view: VenueView) -> None:
        """Say which holdings of the account the desk leaves alone because they are not its market."""
        foreign = frozenset((one.symbol, one.quantity) for one in view.positions if one.instrument_id is None)
        if foreign != (self._foreign_positions or frozenset()):
            listed = ", ".join(f"{quantity:+f} {symbol}" for symbol, quantity in sorted(foreign)) or "none"
            self._say("warning", f"holdings outside this run's market, left alone: {listed}")
        self._foreign_positions = foreign


SLOWEST = 10
"""Questions about one order come at most so many times slower than the first."""


@dataclass(slots=True)
class _Asked:
    next_at: float = 0.0
    times: int = 0


class UnknownOrders:
    """Keeps the doubted orders and spaces the questions about each.

    Parameters
    ----------
    live
        The desk's live orders by client order id.
    resolve_seconds
        Between the first two questions about one order.
    """

    def __init__(self, live: dict[str, Order], resolve_seconds: float) -> None:
        self._live = live
        self._resolve_seconds = resolve_seconds
        self._asked: dict[str, _Asked] = {}
        self.may_prove_absence_at = 0.0
        """Before this time of the event loop, an order without the venue's name is not asked about: the
        venue could still come to accept what the run before sent last."""

    def add(self, client_order_id: str) -> None:
        """Ask about this order too."""
        self._asked.setdefault(client_order_id, _Asked())

    def settle(self, client_order_id: str) -> None:
        """There was proof; the order is forgotten unless it is still in doubt."""
        order = self._live.get(client_order_id)
        if order is None or order.state is not OrderState.UNKNOWN:
            self._asked.pop(client_order_id, None)

    def due(self, now: float) -> Iterator[str]:
        """Yield the orders to ask about now; ``now`` is the event loop's time."""
        for name, order in self._live.items():
            if order.state is OrderState.UNKNOWN:
                self.add(name)
        for name in [name for name in self._asked if name not in self._live]:
            del self._asked[name]
        for name, one in self._asked.items():
            unnamed = not self._live[name].venue_order_id
            if now < one.next_at or (unnamed and now < self.may_prove_absence_at):
                continue
            one.times += 1
            one.next_at = now + self._resolve_seconds * min(one.times, SLOWEST)
            yield name


async def quotes_of_holdings(gateway: Gateway, view: VenueView) -> tuple[QuoteEvent, ...]:
    """Return the latest quotes of what the account holds.

    An account is adopted at market: at the prices once paid, all that was gained or lost since would
    count as this session's, and might be taken for its daily loss. Without an answer there are none.
    """
    held = [one.instrument_id for one in view.positions if one.instrument_id is not None and one.quantity]
    if not held:
        return ()
    try:
        return await gateway.quotes(held)
    except RetryError:
        return ()


def adoption(start: Start, view: VenueView, marks: tuple[QuoteEvent, ...], now_ns: int) -> Iterator[Event]:
    """Yield what a new run is told: its market, the prices of what is held, and the account itself."""
    for event in (*start.opening, *marks, view.as_event()):
        yield msgspec.structs.replace(event, ts_recv_ns=now_ns)


def continuation(engine: TradingEngine, start: Start, now_ns: int) -> Iterator[Event]:
    """Yield what a run that goes on is told.

    Orders that were journaled and never acknowledged may have left or not: they are doubted. A halt that
    an orderly stop left behind is lifted.
    """
    for name, order in tuple(engine.desk.orders.live.items()):
        if order.state is OrderState.PENDING_NEW and not order.venue_order_id:
            yield OrderStatusUnknown(name, now_ns, now_ns, "the desk ended before the venue answered")
    if start.lapsed_stop and engine.desk.gate.mode == "HALTED":
        yield OperatorEvent(now_ns, now_ns, "resume", "the run goes on after its stop", start.who)


AGAIN_SECONDS = 2.0
"""After a question without an answer."""


class AccountQueries:
    """Asks the venue for the account.

    Parameters
    ----------
    gateway, reconciler
        Whom to ask, and from when on the reconciler wants the executions.
    tasks, state
        Where the question runs, and what counts it.
    put
        Puts the answer into the queue.
    say
        Told what a person should know.
    """

    def __init__(
        self,
        gateway: Gateway,
        reconciler: Reconciler,
        tasks: Tasks,
        state: RunnerState,
        put: Callable[[Viewed], None],
        say: Notify,
    ) -> None:
        self._gateway = gateway
        self._reconciler = reconciler
        self._tasks = tasks
        self._state = state
        self._put = put
        self._say = say
        self.is_asking = False
        """A question is under way: another one would bring the same."""
        self.last_at = 0.0
        """When a view arrived last, or was asked for by the timer; the event loop's time."""

    async def first(self, since_ns: int | None) -> VenueView:
        """Ask now, and wait for it; raises RetryError when the venue does not answer."""
        view = await self._gateway.snapshot(fills_since_ns=since_ns)
        self.last_at = asyncio.get_running_loop().time()
        return view

    def ask(self, why: str, wait_seconds: float = 0.0) -> None:
        """Ask, after a while, unless a question is under way."""
        if not self.is_asking:
            self.is_asking = True
            self._tasks.spawn(self._look(why, wait_seconds))

    def take(self, view: VenueView) -> None:
        """Note a view that has come out of the queue."""
        self._state.last_view = view
        self.last_at = asyncio.get_running_loop().time()

    async def _look(self, why: str, wait_seconds: float) -> None:
        try:
            if wait_seconds:
                await asyncio.sleep(wait_seconds)
            view = await self._gateway.snapshot(fills_since_ns=self._reconciler.fills_since_ns)
        except RetryError as error:
            self._state.counters["no_view"] += 1
            self._say("warning", f"the venue shows no account: {error.what}; asking again")
            self._tasks.spawn(self._look(why, AGAIN_SECONDS))
            return
        for _ in range(3):  # what the question brought to light is in the queue before the view
            await asyncio.sleep(0)
        self.is_asking = False
        self._put(Viewed(view, why))
