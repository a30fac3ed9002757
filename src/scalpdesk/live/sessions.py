"""Sessions of a live desk: open, close, deadline of expiring options, daily rollover, orderly stop."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum

from scalpdesk.closing.last_resort import GRACE_SECONDS, STEP_SECONDS
from scalpdesk.core.enums import OperatorAction, OperatorCause, SessionPhase
from scalpdesk.core.errors import ArgumentError, Notify, RetryError
from scalpdesk.core.events import Event, OperatorEvent, PositionChanged, PriceAdjustmentEvent, SessionEvent
from scalpdesk.core.intents import EXITS, VenueCommand
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, NEVER_NS, ZERO, InstrumentId
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.corporate_actions import split, whole_units
from scalpdesk.instruments.deadlines import VenueCutoff, order_cutoff_ns
from scalpdesk.instruments.postings import UNASSIGNED
from scalpdesk.instruments.sessions import (
    COIN_EXPIRY,
    Session,
    coin_session,
    final_close_ns,
    from_ns,
    is_session,
    next_session,
    session_on,
    to_new_york,
    whole_session,
)
from scalpdesk.live.supervision import Supervisor
from scalpdesk.strategies.toolkit.pursuit import sight_of
from scalpdesk.venues.contract import HoldingsView, VenueClock, VenueView

_OWNERS_SHARE = 0.2
"""Part of the margin before the venue's cut-off in which strategies that share a desk leave by themselves."""
MORNING_NS = 10 * MINUTE_NS
"""The daily rollover comes so long before a later session opens."""
Feed = Callable[[Event], list[VenueCommand]]


def deadline_ns(contract: OptionContract, cutoff: VenueCutoff, margin_seconds: float) -> int:
    """Return when closing a holding in an expiring option must begin, UTC nanoseconds.

    The instant from which the venue refuses orders in the contract on its last trading day (half days
    included, an AM-settled option's the day before its expiry), less ``margin_seconds``.
    """
    return order_cutoff_ns(contract, cutoff) - int(margin_seconds * NANOS_PER_SECOND)


def session_of(clock: VenueClock) -> Session:
    """Return the session under way at the venue, or its next one.

    The venue's clock leads (a simulated exchange may be open at night); where the exchange calendar
    has the same session, its bounds are taken.
    """
    if clock.is_open:
        closes = from_ns(clock.next_close_ns)
        if closes.timetz() == COIN_EXPIRY:  # a market that never closes: its day of account
            return coin_session(closes.date() - timedelta(days=1))
        day = to_new_york(clock.next_close_ns - 1).date()  # a close at midnight ends the day before
        known = _on_calendar(day)
        if known is not None and abs(known.close_ns - clock.next_close_ns) < NANOS_PER_SECOND:
            return known
        return Session(day, min(clock.now_ns, clock.next_close_ns - 1), clock.next_close_ns)
    day = to_new_york(clock.next_open_ns).date()
    known = _on_calendar(day)
    if known is not None and abs(known.open_ns - clock.next_open_ns) < NANOS_PER_SECOND:
        return known
    return Session(day, clock.next_open_ns, max(clock.next_close_ns, clock.next_open_ns + 1))


def calendar_clock(now_ns: int, *, is_coin: bool) -> VenueClock:
    """Return what the exchange calendar says of now, in place of a venue that does not tell the time.

    ``is_coin``: Whether it is a market that never closes.
    """
    if is_coin:
        moment = from_ns(now_ns)
        session = coin_session(moment.date() - timedelta(days=moment.hour < COIN_EXPIRY.hour))
        return VenueClock(now_ns, True, session.close_ns, session.close_ns)
    day = to_new_york(now_ns).date()
    today, following = _on_calendar(day), next_session(day)
    if today is None or now_ns >= today.close_ns:
        return VenueClock(now_ns, False, following.open_ns, following.close_ns)
    is_open = now_ns >= today.open_ns
    return VenueClock(now_ns, is_open, following.open_ns if is_open else today.open_ns, today.close_ns)


def _on_calendar(day: date) -> Session | None:
    try:
        return session_on(day) if is_session(day) else None
    except (ArgumentError, ValueError):  # the calendar does not reach so far
        return None


@dataclass(slots=True, kw_only=True)
class SessionCalendar:
    """Opens and closes sessions and starts the flattening of expiring options at their deadline.

    ``on_kept``: Takes the expiring options at their deadline where they are not to be closed; None: they are.
    ``margin_seconds``: How long before the venue's cut-off the closing of expiring options begins.
    """

    engine: TradingEngine
    feed: Feed
    notify: Notify
    on_close: Callable[[], list[VenueCommand]]
    on_morning: Callable[[], None]
    on_kept: Callable[[Mapping[InstrumentId, OptionContract]], None] | None = None
    margin_seconds: float
    has_closed: bool = False
    """A session of the run is over: the next one is a later one."""
    is_at_end: bool = False
    """The run waits for its last look at the account: no session follows."""
    session: Session | None = None
    """The session under way or the next one, by the venue's clock."""
    _agenda: dict[str, int] = field(default_factory=dict)
    """Appointments by name, each with one instant; none of them reaches the journal."""

    @property
    def due_ns(self) -> int:
        """Instant of the next appointment, UTC nanoseconds."""
        return min(self._agenda.values(), default=NEVER_NS)

    def fire(self, now_ns: int) -> list[VenueCommand]:
        """Carry out the next appointment that is due by ``now_ns``."""
        due_ns = self.due_ns
        if due_ns > now_ns:
            return []
        name = next(name for name, at_ns in self._agenda.items() if at_ns == due_ns)
        del self._agenda[name]
        match name:
            case "open":
                return self._open_session()
            case "close":
                return self._close_session()
            case "morning":
                self.on_morning()
                return []
        return self._at_deadline(due_ns)

    def plan(self, clock: VenueClock, at_ns: int) -> None:
        """Set the session's appointments from the venue's clock, and the deadline of what is held.

        ``at_ns``: When the account was asked for, by the venue's clock, UTC nanoseconds.
        """
        found = session_of(clock)
        current = self.engine.desk.view.session
        if current is not None:
            self._agenda["close"] = current.close_ns + 1
            if at_ns < current.close_ns:
                found = current
        elif self.is_at_end:
            return
        elif self.session is None or self.session.day != found.day or self.session.close_ns < found.close_ns:
            self._agenda["open"] = found.open_ns
            if self.has_closed:
                self._agenda["morning"] = found.open_ns - MORNING_NS
        self.session = found
        self.plan_deadline()

    def _open_session(self) -> list[VenueCommand]:
        session = self.session
        if session is None or self.engine.desk.view.session is not None:
            return []
        # a desk that joins late has a session that begins when it joins
        opens_ns = min(max(session.open_ns, self.engine.now_ns), session.close_ns - 1)
        self._agenda["close"] = session.close_ns + 1  # after what happens at the close itself
        self.notify("info", f"session {session.day} opens")
        commands = []
        for change in self._splits(opens_ns):
            commands += self.feed(change)
        bounds = session.day.isoformat(), SessionPhase.OPEN, opens_ns, session.close_ns
        commands += self.feed(SessionEvent(opens_ns, opens_ns, *bounds))
        self.plan_deadline()
        return commands

    def _splits(self, opens_ns: int) -> Iterator[PositionChanged]:
        """Yield the splits of held shares that go ex with this open and were not booked from the account.

        Between the first price after a split and the account's next view the book would show a false loss or
        gain. Splits that leave a fraction of a share are left to the account: it pays for the fraction.
        """
        desk = self.engine.desk
        for item in desk.market.going_ex(opens_ns):
            number, held = item.instrument_id, desk.positions.quantity(item.instrument_id)
            whole, fraction = whole_units(held * Decimal(item.volume_factor))
            if desk.is_booked(item) or fraction or whole == held:
                continue
            symbol = desk.instruments[number].symbol
            reference = f"split-{symbol}-{to_new_york(item.ts_event_ns).date()}"
            self.notify("info", f"split of {symbol}: {held:f} became {whole:f}")
            yield split(number, whole - held, reference, item.ts_event_ns, opens_ns)

    def _close_session(self) -> list[VenueCommand]:
        session = self.engine.desk.view.session
        if session is None:
            return []
        self.has_closed = True
        self.session = session  # a look before this close may have seen the next one: it is yet to be planned
        at_ns = max(session.close_ns, self.engine.now_ns)
        self.notify("info", f"session {session.day} closes")
        bounds = session.day.isoformat(), SessionPhase.CLOSE, session.open_ns, session.close_ns
        return [*self.feed(SessionEvent(session.close_ns, at_ns, *bounds)), *self.on_close()]

    def _expiring(self) -> dict[InstrumentId, OptionContract]:
        """Held options whose trading ends in the session under way."""
        desk = self.engine.desk
        session = desk.view.session
        if session is None:
            return {}
        held = {
            position.instrument_id: desk.instruments[position.instrument_id]
            for position in desk.positions.held()
        }
        return {
            number: contract
            for number, contract in held.items()
            if contract.is_option and session.open_ns < final_close_ns(contract) <= session.close_ns
        }

    def _deadline_ns(self, contract: OptionContract) -> int:
        return deadline_ns(contract, self.engine.desk.view.cutoff, self.margin_seconds)

    def plan_deadline(self) -> None:
        """Set the deadline of what is held and expires in this session."""
        dates = [self._deadline_ns(contract) for contract in self._expiring().values()]
        if dates and self.engine.desk.gate.mode in ("ACTIVE", "REDUCING"):
            self._agenda["deadline"] = min(dates)

    def _at_deadline(self, due_ns: int) -> list[VenueCommand]:
        expiring = self._expiring()
        if not expiring or self.engine.desk.gate.mode not in ("ACTIVE", "REDUCING"):
            return []
        if self.on_kept is not None:
            self.on_kept(expiring)
            return []
        at_ns = max(due_ns, self.engine.now_ns)
        again_ns = self._left_to_owners_ns(expiring, at_ns)
        if again_ns is not None:
            self._agenda["deadline"] = again_ns
            return []
        names = ", ".join(contract.symbol for contract in expiring.values())
        reason = f"the venue stops taking orders in expiring options soon: {names}"
        self.notify("alarm", f"deadline: {reason}")
        who = OperatorCause.DEADLINE
        return self.feed(OperatorEvent(due_ns, at_ns, OperatorAction.FLATTEN, reason, who.value, who))

    def _left_to_owners_ns(self, expiring: dict[InstrumentId, OptionContract], at_ns: int) -> int | None:
        """Return when to look again at what strategies of a shared desk leave by themselves; None to flatten.

        Flattening stops those, too, that hold nothing of it. A strategy's own deadline may be this instant:
        it has the time that a flattening desk gives it to begin, and then its exits must cover what is held.
        """
        books = self.engine.desk.books
        dates = {number: self._deadline_ns(contract) for number, contract in expiring.items()}
        began_ns = min(dates.values())
        if books is None:
            return None
        if began_ns > at_ns:  # those before it are gone
            return began_ns
        due = [number for number, date_ns in dates.items() if date_ns <= at_ns]
        if any(books.of(UNASSIGNED).quantity(number) for number in due):  # no strategy leaves those
            return None
        margin_ns = int(self.margin_seconds * NANOS_PER_SECOND)
        until_ns = began_ns + int(margin_ns * _OWNERS_SHARE)
        begun_ns = min(began_ns + int(GRACE_SECONDS * NANOS_PER_SECOND), until_ns)
        if at_ns < begun_ns:
            return begun_ns
        for number in due:
            is_tried, is_worthless = self._is_leaving(number), self._is_worthless(number)
            is_late = at_ns >= dates[number] + margin_ns  # the venue takes no order in it any more
            if not (is_tried and (is_worthless or at_ns < until_ns)) and not (is_late and is_worthless):
                return None
        return at_ns + int(STEP_SECONDS * NANOS_PER_SECOND)

    def _is_leaving(self, number: InstrumentId) -> bool:
        """Return whether exits at the venue cover the whole holding."""
        desk = self.engine.desk
        exits = (
            order.signed_leaves
            for order in desk.orders.live.values()
            if order.submitted.instrument_id == number and order.submitted.purpose in EXITS
        )
        return desk.positions.quantity(number) + sum(exits, ZERO) == 0

    def _is_worthless(self, number: InstrumentId) -> bool:
        """Return whether a bought option pays nothing and has no bid: flattening sells it no sooner."""
        desk = self.engine.desk
        return desk.positions.quantity(number) > 0 and sight_of(desk.view, number).holds_up_no_hedge


_LOOK_AGAIN_SECONDS = 0.5
"""Between two views of an account that the desk believes to be flat and the venue does not."""


class StopMode(StrEnum):
    """Treatment of orders and positions in an orderly stop."""

    LEAVE = "leave"
    """Leaves both as they are."""
    HOLD = "hold"
    """Cancels the orders, keeps the positions."""
    FLATTEN = "flatten"
    """Cancels the orders, closes the positions."""

    @property
    def action(self) -> str:
        """The operator command for the engine; empty: no command."""
        return {"leave": "", "hold": "halt", "flatten": "flatten"}[self]


class RunPhase(StrEnum):
    """Where a run is, whatever the desk's mode."""

    STARTING = "starting"
    """It does not follow its market yet: nothing is sent."""
    RUNNING = "running"
    STOPPING = "stopping"


class RunEnd(StrEnum):
    """End of a run."""

    STOPPED = "stopped"
    UNCONFIRMED = "unconfirmed"
    """Stopped; the venue has not confirmed every cancel."""
    NOT_FLAT = "not_flat"
    """A flatten was not through in time."""
    ROLLED = "rolled"
    """Another run follows at once."""
    FAILED = "failed"


class OrderlyStop:
    """Follows a stop to its end; owns how and why a run ended."""

    def __init__(self, engine: TradingEngine, request_view: Callable[[float], object]) -> None:
        self._engine = engine
        self._request_view = request_view
        self.mode: StopMode | None = None
        """Set once a stop was asked for."""
        self.reason = ""
        """Why the run ended, in words; empty until it has."""
        self.end = RunEnd.FAILED

    def finish(self, why: str, end: RunEnd = RunEnd.STOPPED) -> None:
        """End the run; the first reason stands."""
        if not self.reason:
            self.reason, self.end = why, end

    def check_left(self, view: HoldingsView, why: str) -> None:
        """Finish a stop that flattens once the venue's positions show nothing, though no comparison came.

        ``why``: What the comparison waits for.
        """
        if self.mode is not StopMode.FLATTEN or self._engine.desk.orders.live:
            return
        if not (view.unread or any(held.quantity for held in view.positions)):
            self.finish(f"stopped: flat by the venue's positions; not compared with the account: {why}")

    def check(self, view: VenueView | None) -> None:
        """Finish once the stop is complete; ``view`` is the latest of the account."""
        if self.mode is None or self.reason:
            return
        desk = self._engine.desk
        if self.mode is StopMode.LEAVE or (self.mode is StopMode.HOLD and not desk.orders.live):
            self.finish(f"stopped: {self.mode}")
        elif self.mode is StopMode.FLATTEN and not desk.orders.live and not desk.positions.held():
            latest = max((order.created_ns for order in desk.orders.orders.values()), default=0)
            if view is None or view.ts_recv_ns < latest:
                self._request_view(0.0)
                return
            is_own = any(order.client_order_id in desk.orders.orders for order in view.open_orders)
            if is_own or any(held.quantity for held in view.positions):
                self._request_view(_LOOK_AGAIN_SECONDS)
                return
            foreign = ", ".join(f"{order.symbol} {order.client_order_id}" for order in view.open_orders)
            left = f"; open orders from elsewhere are left: {foreign}" if foreign else ""
            parts = ", ".join(map(str, view.unsellable))
            left += f"; the API cannot sell {parts}" if parts else ""
            self.finish(f"stopped: flat, and the venue shows it{left}")


ROLLED = "rolled: the next session is a run of its own"
DailyUpdate = Callable[[], Awaitable[tuple[Event, ...]]]
"""Asks the venue for what the desk gets each day: forecast and rates, or splits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyRollover:
    """Before each later session: end the run if flat, otherwise refresh forecast and rates.

    A run knows the contracts that were listed when it began. A desk that holds nothing therefore ends
    here and begins again as a run of its own; one that holds something goes on with what it knows. A desk
    that was taken out of ``ACTIVE`` goes on too: only an operator puts it back to work.
    """

    engine: TradingEngine
    stop: OrderlyStop
    supervisor: Supervisor
    put: Callable[[Event], None]
    update: DailyUpdate | None
    splits: DailyUpdate | None = None
    rolls: bool

    def before_open(self) -> None:
        """Prepare a later session."""
        if self.rolls and self.stop.mode is None:
            why_not = self._why_not()
            if why_not is None:
                self.stop.finish(ROLLED, RunEnd.ROLLED)
                return
            self.supervisor.notify("info", f"this run goes on into the next session: {why_not}")
        self.learn_splits()
        if self.update is not None:
            kept = "forecast and rates stay those of yesterday"
            self.supervisor.spawn("the daily update", self._refresh(self.update, kept))

    def learn_splits(self) -> None:
        """Ask for splits, after a close, too: a desk that sleeps through the morning has them at the open."""
        if self.splits is not None:
            kept = "new dividends and splits are not known, what is remembered keeps its scale"
            self.supervisor.spawn("the query of splits", self._refresh(self.splits, kept))

    def _why_not(self) -> str | None:
        desk = self.engine.desk
        state = desk.gate.desk_mode.state
        if not state.is_free:
            return f"the desk is {state.account.mode}; it knows no contracts listed since it began"
        if desk.positions.held() or desk.orders.live:
            return "it holds positions; it knows no contracts listed since it began"
        return None

    async def _refresh(self, update: DailyUpdate, kept: str) -> None:
        try:
            events = await update()
        except RetryError as error:
            self.supervisor.notify("warning", f"{kept}: {error.what}")
            return
        for event in events:
            if type(event) is PriceAdjustmentEvent:
                self._note_late(event)
            self.put(event)

    def _note_late(self, event: PriceAdjustmentEvent) -> None:
        """Report an adjustment that comes after its open: the engine takes no adjustment then."""
        desk = self.engine.desk
        session = desk.view.session
        known = {(item.instrument_id, item.ts_event_ns) for item in desk.market.adjustments}
        if (
            session is not None
            and event.ts_event_ns == whole_session(session).open_ns
            and (event.instrument_id, event.ts_event_ns) not in known
        ):
            symbol = desk.instruments[event.instrument_id].symbol
            self.supervisor.notify(
                "warning",
                f"the split of {symbol} was learned after the open: what the strategy remembers of earlier"
                " sessions has the old scale until the next run",
            )
