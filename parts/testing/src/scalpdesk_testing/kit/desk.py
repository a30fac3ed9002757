"""An engine around a strategy: driven by hand, where the test is the venue, or by a tape."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from scalpdesk.backtesting.runner import BacktestRunner
from scalpdesk.core.enums import ChangeCause, DecisionKind, Mode, OperatorAction, OperatorCause, SessionPhase
from scalpdesk.core.events import (
    AccountSnapshot,
    Event,
    HeldPosition,
    OpenInterestEvent,
    OperatorEvent,
    OrderAccepted,
    OrderCancelled,
    OrderEvent,
    OrderFilled,
    OrderRejected,
    PositionChanged,
    QuoteEvent,
    TimerEvent,
)
from scalpdesk.core.intents import (
    CancelOrder,
    Decision,
    Mark,
    MultiLegOrder,
    OrderIntent,
    OrderType,
    Output,
    Purpose,
    Side,
    SubmitOrder,
    orders_of,
)
from scalpdesk.core.mode import AccountMode, ModeEntry
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.engine.desk import Desk
from scalpdesk.engine.timers import LossTimer
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.fees import NO_FEES, FeeSchedule
from scalpdesk.instruments.sessions import Session, session_on
from scalpdesk.margin.regulation_t import SPREADS, UNCOVERED
from scalpdesk.marketdata.state import MarketState
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.orders.order import Order
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.positions import PositionManager
from scalpdesk.report.fold import RunFold
from scalpdesk.risk.gate import RiskGate
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.simulation.assignment import AssignmentTerms
from scalpdesk.simulation.connection import BrokerConnection
from scalpdesk.simulation.faults import FaultPlan
from scalpdesk.simulation.hours import TapeHours
from scalpdesk.strategies import Action, DeskView, EveryQuote, Proposal, SessionEvent, Strategy, Trigger, Wake
from scalpdesk.strategies.several.strategy import Several
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import at, model_price, quote

CASH = Decimal(100_000)


def _build_desk(
    book: Instruments,
    *,
    limits: RiskLimits | None = None,
    dividend_yield: float = 0.0,
    options_level: int = SPREADS,
) -> Desk:
    """Put a desk together; number 0 of the book is the underlying."""
    market = MarketState(book, stale_seconds_underlying=120.0, stale_seconds_option=600.0)
    return Desk(
        book,
        market,
        DeltaEngine(book, market, ContractPricer(), dividend_yield=dividend_yield),
        RiskGate(limits or RiskLimits()),
        OrderManager("t"),
        InstrumentId(0),
        CASH,
        options_level=options_level,
    )


def build_engine(
    strategy: Strategy, book: Instruments, *, mark_seconds: float = 60.0, **desk: Any
) -> TradingEngine:
    """Put an engine together around a strategy; ``desk`` as for :func:`_build_desk`."""
    return TradingEngine(_build_desk(book, **desk), strategy, mark_seconds=mark_seconds)


class Scripted:
    """A strategy that does what a function says on each wake, and remembers the wakes.

    Parameters
    ----------
    think
        Called with the view, the reason of the wake and the event; returns actions.
    triggers
        What wakes it by price.
    """

    name = "scripted"
    is_done = False
    Config = type(None)

    def __init__(
        self,
        think: Callable[[DeskView, Wake, Event], Sequence[Action]] | None = None,
        triggers: Sequence[Trigger] = (),
    ) -> None:
        self.think = think
        self.triggers = triggers
        self.wakes: list[Wake] = []

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """Return the triggers it was given."""
        del view
        return self.triggers

    def on_wake(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        """Remember the wake and do as the function says."""
        self.wakes.append(wake)
        return () if self.think is None else self.think(view, wake, event)


def in_mode(desk: "HandDesk", mode: Mode) -> None:
    """Put a desk's account into a mode, as a person's command of another run did."""
    desk.engine.desk.gate.desk_mode.keep(AccountMode(ModeEntry(mode, "of another run", "ann")))


class HandDesk:
    """Drives one engine event by event. Time stands still until :meth:`wait` or :meth:`go_to` moves it.

    Examples
    --------
    >>> desk = HandDesk(Scripted())
    >>> desk.open()
    >>> outputs = desk.go_to("10:00").market(500.0)
    >>> desk.engine.desk.market.mark(0)
    500.0
    """

    def __init__(self, strategy: Strategy, book: Instruments | None = None, **engine: Any) -> None:
        self.book = straddle_book() if book is None else book
        self.strategy = strategy
        self.engine = build_engine(strategy, self.book, **engine)
        self.session: Session = session_on(DAY)
        self.now_ns = self.session.open_ns
        self.outputs: list[Output] = []
        self.vol = 0.20
        self.unquoted: frozenset[int] = frozenset()
        """Options that :meth:`market` leaves out."""
        self._executions = 0

    # time -------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> "HandDesk":
        """Let time pass."""
        self.now_ns += int(seconds * NANOS_PER_SECOND)
        return self

    def go_to(self, clock_time: str) -> "HandDesk":
        """Let time pass until a New York time of the session's day."""
        self.now_ns = at(clock_time, self.session.day)
        return self

    # events -----------------------------------------------------------------------------------------

    def judge_loss(self) -> tuple[Output, ...]:
        """Judge the session's loss, as the runner of the engine does at each whole second."""
        timer = LossTimer(self.engine.desk)
        timer.plan(self.now_ns - 1)
        event = timer.judge(self.now_ns)
        return () if event is None else self.handle(event)

    def handle(self, event: Event) -> tuple[Output, ...]:
        """Give the engine one event; return (and keep) what follows."""
        outputs = self.engine.handle(event)
        self.outputs.extend(outputs)
        return outputs

    def open(self, session: Session | None = None) -> None:
        """Open the session, after open interest of 1000 on every option."""
        self.session = session or self.session
        self.now_ns = self.session.open_ns
        for number, instrument in enumerate(self.book):
            if instrument.is_option:
                self.handle(OpenInterestEvent(InstrumentId(number), self.now_ns, self.now_ns, 1_000))
        self.handle(self._session_event("open"))

    def close(self) -> tuple[Output, ...]:
        """Close the session."""
        self.now_ns = self.session.close_ns
        return self.handle(self._session_event("close"))

    def _session_event(self, phase: str) -> SessionEvent:
        one = self.session
        return SessionEvent(
            self.now_ns, self.now_ns, one.day.isoformat(), SessionPhase(phase), one.open_ns, one.close_ns
        )

    def adopt(self, positions: dict[int, tuple[int, str]], cash: Decimal = CASH) -> None:
        """Tell the desk what the account holds: quantity and average price by number."""
        lines = tuple(
            HeldPosition(InstrumentId(number), Decimal(quantity), Decimal(price))
            for number, (quantity, price) in positions.items()
        )
        self.handle(AccountSnapshot(self.now_ns, self.now_ns, cash, lines))

    def quote(self, number: int, bid: float, ask: float, **sizes: float) -> tuple[Output, ...]:
        """Quote one instrument."""
        return self.handle(quote(number, self.now_ns, bid, ask, **sizes))

    def market(self, spot: float, *, spread: float = 0.02, option_spread: float = 0.10) -> tuple[Output, ...]:
        """Quote the options at the desk's flat volatility, then the underlying; return what follows."""
        outputs: tuple[Output, ...] = ()
        for number, instrument in enumerate(self.book):
            if instrument.is_option and number not in self.unquoted:
                fair = model_price(instrument, spot, self.vol, self.now_ns)
                bid = max(round(fair - option_spread / 2, 2), 0.01)
                outputs += self.quote(number, bid, round(bid + option_spread, 2))
        return outputs + self.quote(0, round(spot - spread / 2, 2), round(spot + spread / 2, 2))

    def timer(self, name: str = "due") -> tuple[Output, ...]:
        """Let a timer be due now; the scalper asks for one after a rejection."""
        return self.handle(TimerEvent(self.now_ns, self.now_ns, name))

    # the venue's answers ----------------------------------------------------------------------------

    def accept(self, order: SubmitOrder) -> tuple[Output, ...]:
        """Say that the venue has the order."""
        return self.handle(OrderAccepted(order.client_order_id, self.now_ns, self.now_ns, "v"))

    def fill(
        self, order: SubmitOrder, quantity: int | None = None, price: float | None = None
    ) -> tuple[Output, ...]:
        """Fill an order, whole and at the far side unless told otherwise."""
        self._executions += 1
        if price is None:
            known = self.engine.desk.market.quotes[order.instrument_id]
            assert known is not None
            price = known.ask if order.side.sign > 0 else known.bid
        return self.handle(
            OrderFilled(
                order.client_order_id,
                self.now_ns,
                self.now_ns,
                f"x{self._executions}",
                order.quantity if quantity is None else Decimal(quantity),
                Decimal(f"{price:.2f}"),
                Decimal(0),
            )
        )

    def reject(self, order: SubmitOrder, reason: str = "no") -> tuple[Output, ...]:
        """Refuse an order."""
        return self.handle(OrderRejected(order.client_order_id, self.now_ns, self.now_ns, reason))

    def cancelled(self, order_id: str) -> tuple[Output, ...]:
        """Say that an order is off the book."""
        return self.handle(OrderCancelled(order_id, self.now_ns, self.now_ns, "asked"))

    def operate(
        self, action: str, reason: str = "test", cause: OperatorCause = OperatorCause.PERSON
    ) -> tuple[Output, ...]:
        """Say something as the operator: ``halt``, ``resume``, ``reduce``, ``flatten``."""
        now_ns = self.now_ns
        return self.handle(OperatorEvent(now_ns, now_ns, OperatorAction(action), reason, "operator", cause))

    # what came of it --------------------------------------------------------------------------------

    @property
    def positions(self) -> dict[int, int]:
        """Signed quantity by number, of what is held."""
        return {int(one.instrument_id): int(one.quantity) for one in self.engine.desk.positions.held()}


def apply_to(manager: OrderManager, event: OrderEvent) -> Order:
    """Apply an order's event as the engine does; return the order."""
    order = manager.order(event.client_order_id)
    if isinstance(event, OrderFilled):
        manager.fill(order, event)
        return order
    return manager.apply(event)


def orders(outputs: Sequence[Output]) -> list[SubmitOrder]:
    """Return the orders among the outputs, legs of combos among them."""
    return [order for one in outputs for order in orders_of(one)]


def combos(outputs: Sequence[Output]) -> list[MultiLegOrder]:
    """Return the orders of several legs among the outputs."""
    return [one for one in outputs if isinstance(one, MultiLegOrder)]


def cancels(outputs: Sequence[Output]) -> list[str]:
    """Return the ids of the cancels among the outputs."""
    return [one.client_order_id for one in outputs if isinstance(one, CancelOrder)]


def decisions(outputs: Sequence[Output]) -> list[Decision]:
    """Return the decisions among the outputs."""
    return [one for one in outputs if isinstance(one, Decision)]


def marks(outputs: Sequence[Output]) -> list[Mark]:
    """Return the marks among the outputs."""
    return [one for one in outputs if isinstance(one, Mark)]


class _RecordedEngine(TradingEngine):
    """An engine that keeps what reached it, and what followed."""

    def __init__(self, desk: Desk, strategy: Strategy, **options: Any) -> None:
        super().__init__(desk, strategy, **options)
        self.events: list[Event] = []
        self.outputs: list[Output] = []

    def handle(self, event: Event) -> tuple[Output, ...]:
        """Handle an event as ever, and keep it."""
        self.events.append(event)
        outputs = super().handle(event)
        self.outputs.extend(outputs)
        return outputs


@dataclass
class _TapeRun:
    """A tape run to its end."""

    engine: _RecordedEngine
    broker: BrokerConnection
    runner: BacktestRunner
    fold: RunFold

    @property
    def events(self) -> list[Event]:
        """Every event that reached the engine, in order."""
        return self.engine.events

    @property
    def outputs(self) -> list[Output]:
        """All that followed, in order."""
        return self.engine.outputs

    def kinds(self) -> list[str]:
        """Return the names of the events that are no quotes, in order."""
        return [type(event).__name__ for event in self.events if type(event) is not QuoteEvent]


def run_tape(
    tape: MarketTape,
    strategy: Strategy,
    *,
    fills: str = "cross",
    fees: FeeSchedule = NO_FEES,
    latency_ms: float = 0.0,
    positions: dict[int, int] | None = None,
    known_at_open: tuple[Event, ...] = (),
    every_quote: bool = True,
    faults: FaultPlan | None = None,
    assignment: AssignmentTerms | None = None,
    mark_seconds: float = 60.0,
    **desk: Any,
) -> _TapeRun:
    """Run a tape through a strategy and the simulated broker; the engine sees every quote unless told."""
    made = _RecordedEngine(_build_desk(tape.instruments, **desk), strategy, mark_seconds=mark_seconds)
    held: dict[int, Decimal] = {number: Decimal(quantity) for number, quantity in (positions or {}).items()}
    broker = connect(
        tape.instruments,
        cash=CASH,
        positions=held,
        model=fills,
        hours=TapeHours(tape.sessions),
        fees=fees,
        latency_ns=int(latency_ms * 1_000_000),
        is_open=False,
        options_level=UNCOVERED,
        faults=faults,
        assignment=assignment,
    )
    fold = RunFold(made.desk.instruments, made.desk.orders, books=made.desk.books)
    opening = known_at_open
    if held:
        at_ns = tape.sessions[0].open_ns
        lines = tuple(
            HeldPosition(InstrumentId(number), quantity, Decimal(1)) for number, quantity in held.items()
        )
        opening = (AccountSnapshot(at_ns, at_ns, CASH, lines), *known_at_open)
    runner = BacktestRunner(
        tape, made, broker, None, known_at_open=opening, every_quote=every_quote, fold=fold.see
    )
    runner.run()
    return _TapeRun(made, broker, runner, fold)


def buy(
    number: int = 0, quantity: int = 10, purpose: Purpose = Purpose.HEDGE, side: Side = Side.BUY
) -> OrderIntent:
    """Return an intent at the market."""
    return OrderIntent(InstrumentId(number), side, Decimal(quantity), purpose, "test")


def wanting(*intents: Any, on: Wake = Wake.PRICE, times: int = 1, all_or_none: bool = True) -> Scripted:
    """Build a strategy that proposes these intents on its first wakes of a kind."""
    left = times

    def think(_view: DeskView, wake: Wake, _event: Any) -> Sequence[Action]:
        nonlocal left
        if wake is not on or not left:
            return ()
        left -= 1
        return (Proposal(DecisionKind.ENTRY, ("because",), {"n": 1}, tuple(intents), all_or_none),)

    return Scripted(think, [EveryQuote(InstrumentId(0))])


def working(one: HandDesk, number: int = 0, side: Side = Side.BUY, quantity: int = 10) -> str:
    """Send an order past the strategy and let the venue take it."""
    sent = one.engine.desk.orders.submit(buy(number, quantity, Purpose.HEDGE, side), one.now_ns)
    one.accept(sent)
    return sent.client_order_id


def change(
    one: HandDesk,
    cause: str,
    quantity: Any = 0,
    price: Any = 0,
    cash: Any = 0,
    number: int = 0,
    reference: str = "r",
) -> PositionChanged:
    """Return a change of a position as of now."""
    return PositionChanged(
        InstrumentId(number),
        one.now_ns,
        one.now_ns,
        ChangeCause(cause),
        Decimal(quantity),
        Decimal(price),
        Decimal(cash),
        reference,
    )


# two strategies on one desk ----------------------------------------------------------------------------

D = Decimal
BUY, SELL = Side.BUY, Side.SELL
OPEN, HEDGE, CLOSE = Purpose.OPEN, Purpose.HEDGE, Purpose.CLOSE


class Puppet(Scripted):
    """A strategy that wants, at its next wake by price, what the test has put on its list."""

    def __init__(self, name: str) -> None:
        super().__init__(self._do, [EveryQuote(InstrumentId(0))])
        self.name = name
        self.wants: list[Action] = []
        self.views: list[DeskView] = []
        self.events: list[Event] = []

    def _do(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        self.views = [view]
        self.events.append(event)
        if wake is not Wake.PRICE:
            return ()
        actions, self.wants = self.wants, []
        return actions

    def want(
        self, *intents: OrderIntent, kind: DecisionKind = DecisionKind.ENTRY, all_or_none: bool = True
    ) -> None:
        """Want these orders at the next wake."""
        self.wants.append(Proposal(kind, ("because",), {}, intents, all_or_none))

    @property
    def view(self) -> DeskView:
        """Its own view of the desk."""
        return self.views[-1]


def order(
    side: Side,
    quantity: int,
    limit: str | None = None,
    purpose: Purpose = OPEN,
    number: int = 0,
) -> OrderIntent:
    """Return an intent, at the market without a limit."""
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    return OrderIntent(
        InstrumentId(number), side, D(quantity), purpose, "test", kind, None if limit is None else D(limit)
    )


def fees_of(positions: PositionManager) -> Decimal:
    """Fees of all positions held or closed, USD."""
    return sum((one.fees for one in positions.positions.values()), Decimal(0))


class DeskOfTwo:
    """A desk shared by strategies ``a`` and ``b``, open at 10:00 with a quote 499.99 by 500.01."""

    def __init__(
        self, budgets: dict[str, str] | None = None, adopts: str | None = None, **engine: Any
    ) -> None:
        self.a, self.b = Puppet("a"), Puppet("b")
        shares = budgets or {"a": "0.5", "b": "0.5"}
        owners = () if adopts is None else (adopts,)
        self.several = Several([self.a, self.b], {k: D(v) for k, v in shares.items()}, owners)
        limits = RiskLimits(  # far away: these tests are about what happens before the risk gate
            max_daily_loss=D(90_000),
            max_position_fraction=1.0,
            max_short_contracts=100,
            max_orders_per_minute=1_000,
            max_net_delta_fraction=None,
            max_bought_delta_fraction=None,
            max_gamma_fraction=None,
            max_bought_gamma_fraction=None,
            max_vega_fraction=None,
            max_theta_fraction=None,
        )
        self.desk = HandDesk(self.several, **({"limits": limits} | engine))

    def open(self) -> "DeskOfTwo":
        """Open the session and quote."""
        self.desk.open()
        self.desk.go_to("10:00")
        self.tick()
        return self

    def tick(self, bid: float = 499.99, ask: float = 500.01) -> tuple[Output, ...]:
        """Quote the share a second later."""
        self.desk.wait(1)
        return self.desk.quote(0, bid, ask)

    def filled(self, name: str, intent: OrderIntent) -> None:
        """Let a strategy send an order that is filled at once."""
        getattr(self, name).want(intent)
        for one in orders(self.tick()):
            self.desk.fill(one)

    def bought(self, name: str, quantity: int, number: int = 0) -> None:
        """Let a strategy buy at the market."""
        self.filled(name, order(BUY, quantity, number=number))

    @property
    def books(self) -> Any:
        """The divided books."""
        return self.desk.engine.desk.books

    def held(self, name: str, number: int = 0) -> int:
        """Units that a strategy holds."""
        return int(self.books.of(name).quantity(number))

    def check_sums(self) -> None:
        """The books sum to the account in every unit and cent."""
        account = self.desk.engine.desk
        books = self.books.books.values()
        assert sum(book.account.cash for book in books) == account.account.cash
        assert sum(fees_of(book.positions) for book in books) == fees_of(account.positions)
        for number in range(len(self.desk.book)):
            held = account.positions.quantity(InstrumentId(number))
            assert sum(book.quantity(number) for book in books) == held
        assert sum(self.books.nav(name) for name in self.books.books) == account.attribution.current_nav()

    def check_no_wash(self) -> None:
        """No two live orders of different strategies could meet at the venue."""
        live = [one.submitted for one in self.desk.engine.desk.orders.live.values()]
        for one in live:
            for other in live:
                if one.owner >= other.owner or one.instrument_id != other.instrument_id:
                    continue
                if one.side is other.side:
                    continue
                buy, sell = (one, other) if one.side is BUY else (other, one)
                assert buy.limit_price is not None, (one, other)
                assert sell.limit_price is not None, (one, other)
                assert buy.limit_price < sell.limit_price, (one, other)
