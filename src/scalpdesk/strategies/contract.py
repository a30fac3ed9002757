"""The contract between the desk and a strategy: its spec, its view of the desk and its actions.

A strategy reads the :class:`DeskView` and changes only itself. It never sends orders: it returns
actions, and the risk gate and the order manager do the rest. The same class runs in every mode.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol, final, runtime_checkable

import msgspec

from scalpdesk.core.bounds import above
from scalpdesk.core.enums import STRICTNESS, DecisionKind, Mode
from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.core.events import Event, FolderAnswered, is_order_event
from scalpdesk.core.intents import (
    AskFolder,
    CancelIntent,
    Intent,
    LegOrders,
    OrderIntent,
    OrderKind,
    OrderType,
    Purpose,
    SetTimer,
    Side,
    TimeInForce,
)
from scalpdesk.core.mode import DeskMode
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.classes import underlying_of_root
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.deadlines import NO_CUTOFF, VenueCutoff
from scalpdesk.instruments.fees import NO_FEES, FeeModel
from scalpdesk.instruments.sessions import Session
from scalpdesk.marketdata.state import MarketState, MarketView
from scalpdesk.marketdata.triggers import Trigger, Wake
from scalpdesk.orders.order import Order
from scalpdesk.orders.order_manager import OrdersView
from scalpdesk.portfolio.delta_engine import DeltaEngine, OptionValuer
from scalpdesk.portfolio.positions import (
    Account,
    PositionManager,
    PositionsView,
    earned,
    earned_since,
    net_asset_value,
)
from scalpdesk.portfolio.sub_books import SubBooks

Facts = dict[str, str | float | int]
"""Figures behind a decision, by name with the unit in the name."""
TRADE_GAIN = "gain_before_fees_usd"
"""Fact of the exit decision that ends a trade, where trades of one strategy overlap: what it earned."""


@final
class Proposal(msgspec.Struct, frozen=True, gc=False):
    """A decision of a strategy with its reasons; without ``intents`` a decision not to act."""

    kind: DecisionKind
    """Subject of the decision; in a strategy of your own ``ENTRY``, ``HEDGE`` or ``EXIT``."""
    reasons: tuple[str, ...]
    """In plain words, with the numbers."""
    facts: Facts = msgspec.field(default_factory=dict)
    """The figures behind it, by name (units in the names); of a refusal ``refused_by`` names the rule."""
    intents: tuple[Intent, ...] = ()
    """Orders and cancels."""
    all_or_none: bool = True
    """When the gate refuses one intent, none is sent (the legs of a straddle)."""
    carried_out: bool = False
    """Part of it was done inside the desk already, without an order."""
    leg_orders: LegOrders = LegOrders.LEGS
    """Whether its orders, options of equal size, may go as one order of several legs."""


Action = Proposal | SetTimer | AskFolder


def not_an_action(returned: object, strategy: str) -> ArgumentError:
    """Return the refusal of what a strategy returned; a journal that held it could not be read back."""
    return ArgumentError(
        "a strategy returned what is no action",
        where=f"on_wake of {strategy}",
        value=returned,
        fix="return a sequence of Proposal, SetTimer or AskFolder; an OrderIntent goes into Proposal.intents",
    )


def check_sequence(returned: object, strategy: str) -> None:
    """Refuse one action that a strategy returned by itself.

    Raises ArgumentError as it cannot be gone through.
    """
    if isinstance(returned, Proposal | SetTimer | AskFolder):
        raise not_an_action(returned, strategy)


def check_proposal(proposal: Proposal, strategy: str, instruments: int) -> None:
    """Refuse a proposal with fields of other types: by identity "buy" is no ``Side.BUY``, so it was a sale.

    ``instruments``: How many the run has; their ids are 0 and up.
    Raises ArgumentError that names the field.
    """
    if proposal.reasons.__class__ is not tuple:
        raise _wrong_field("reasons", proposal.reasons, strategy, 'write a tuple of texts, as ("why",)')
    intents: object = proposal.intents
    if isinstance(intents, OrderIntent | CancelIntent):
        raise _wrong_field("intents", intents, strategy, "write a tuple of orders, as (order,)")
    for intent in proposal.intents:
        if intent.__class__ is CancelIntent:
            continue
        if intent.__class__ is not OrderIntent:
            raise _wrong_field("intents", intent, strategy, "an order is an OrderIntent")
        number, limit = intent.instrument_id, intent.limit_price
        if number.__class__ is not int or not 0 <= number < instruments:
            fix = "take the id from the view, as view.underlying"
            raise _wrong_field("instrument_id", number, strategy, fix)
        if limit is not None and limit.__class__ is not Decimal:
            raise _wrong_field("limit_price", limit, strategy, 'write Decimal("499.95")')
        for name, value, kind, fix in (
            ("side", intent.side, Side, "write Side.BUY or Side.SELL"),
            ("quantity", intent.quantity, Decimal, "write Decimal(5)"),
            ("purpose", intent.purpose, Purpose, "write Purpose.OPEN, HEDGE, CLOSE or UNWIND_HEDGE"),
            ("time_in_force", intent.time_in_force, TimeInForce, "write a TimeInForce, as TimeInForce.DAY"),
        ):
            if value.__class__ is not kind:
                raise _wrong_field(name, value, strategy, fix)
        if intent.order_type.__class__ is not OrderType:
            _check_order_type(intent.order_type, strategy)


def _check_order_type(order_type: object, strategy: str) -> None:
    """Refuse what is no order type, and a price that is not exact."""
    is_known = isinstance(order_type, OrderKind)
    if not is_known or any(type(value) in (float, int) for value in msgspec.to_builtins(order_type)):
        fix = 'write OrderType.MARKET, OrderType.LIMIT or Stop(Decimal("499.95"))'
        raise _wrong_field("order_type", order_type, strategy, fix)


def _wrong_field(field: str, value: object, strategy: str, fix: str) -> ArgumentError:
    return ArgumentError(
        f"{field} of a strategy's proposal is not usable",
        where=f"on_wake of {strategy}",
        value=repr(value),
        fix=fix,
    )


@final
class TradeStart(msgspec.Struct, frozen=True, gc=False):
    """Start of a trade: its instruments, and what each has earned before it, in currency."""

    earned: dict[InstrumentId, Decimal]


class DeskView(Protocol):
    """The desk as a strategy reads it: every part of it is read-only by type."""

    @property
    def now_ns(self) -> int:
        """Time of the event being handled, UTC nanoseconds."""
        ...

    @property
    def session(self) -> Session | None:
        """The current trading session, None outside of one."""
        ...

    @property
    def instruments(self) -> Instruments:
        """Instruments of the run, by number."""
        ...

    @property
    def market(self) -> MarketView:
        """Latest quotes, bars and forecasts."""
        ...

    @property
    def delta_engine(self) -> OptionValuer:
        """Valuations and Greeks."""
        ...

    @property
    def positions(self) -> PositionsView:
        """Positions of the account (or of the member)."""
        ...

    @property
    def orders(self) -> OrdersView:
        """Orders of the run (or of the member)."""
        ...

    @property
    def underlying(self) -> InstrumentId:
        """Number of the strategy's underlying: of several that it trades the main one."""
        ...

    @property
    def hedge(self) -> InstrumentId:
        """Number of what hedges its delta: the underlying, or another instrument (``hedge.instrument``)."""
        ...

    def hedge_delta(self, quantity: float, price: float) -> float:
        """Return the delta of a quantity of what hedges at a price, in units of the underlying."""
        ...

    @property
    def nav(self) -> Decimal:
        """Net asset value at the current marks, in the quote currency."""
        ...

    @property
    def mode(self) -> Mode:
        """``ACTIVE``, ``REDUCING``, ``HALTED`` or ``FLATTENING``."""
        ...

    @property
    def venue(self) -> str:
        """Name of the venue that receives the orders."""
        ...

    @property
    def cutoff(self) -> VenueCutoff:
        """Its last orders in expiring options."""
        ...

    @property
    def fees(self) -> FeeModel:
        """Fees that the desk's account is charged, by trade date."""
        ...

    @property
    def is_compared(self) -> bool:
        """Whether the account of a resumed run has been compared with the journal; nothing goes before."""
        ...

    def exposure(self, instrument_id: InstrumentId) -> Decimal:
        """Signed contracts or shares held plus the open quantity of live orders."""
        ...

    def is_halted(self, instrument_id: InstrumentId) -> bool:
        """Return whether trading is halted in an instrument, or in the underlying of an option."""
        ...

    def order_of(self, event: Event) -> Order | None:
        """Return the order that an event is about, None for any other event."""
        ...

    def mark(self, instrument_id: InstrumentId) -> float | None:
        """Value of one unit at the latest market, currency per unit; None when never quoted."""
        ...

    def begin_trade(self, instrument_ids: Iterable[InstrumentId]) -> TradeStart:
        """Return where a trade in these instruments starts: what each has earned before it."""
        ...

    def trade_pnl(self, trade: TradeStart) -> Decimal:
        """Return the P&L of a trade at the current marks, fees and dividends included, in currency.

        It comes from the positions' own trades: cash that is moved in or out does not change it.
        """
        ...


@dataclass(slots=True, eq=False)
class WritableDeskView:
    """The desk's own side of :class:`DeskView`: the engine writes it, strategies read it."""

    instruments: Instruments
    market: MarketState
    delta_engine: DeltaEngine
    positions: PositionManager
    orders: OrdersView
    account: Account
    underlying: InstrumentId
    now_ns: int = 0
    session: Session | None = None
    hedge: InstrumentId = field(init=False)
    desk_mode: DeskMode = field(default_factory=DeskMode)
    least_mode: Mode = Mode.ACTIVE
    """The least strict mode of this view: one strategy of several may be stopped alone."""
    venue: str = "simulated"
    cutoff: VenueCutoff = NO_CUTOFF
    fees: FeeModel = NO_FEES
    is_compared: bool = True
    halted: Mapping[InstrumentId, int] = field(default_factory=dict)
    """Instruments in which trading is halted, and since when, UTC nanoseconds."""

    def __post_init__(self) -> None:
        """Hedge with another instrument where one stands for the underlying."""
        proxies = self.delta_engine.proxies.values()
        own = (each.instrument_id for each in proxies if each.underlying_id == self.underlying)
        self.hedge = next(own, self.underlying)

    @property
    def mode(self) -> Mode:
        """The stricter of the desk's mode and the view's own."""
        if self.least_mode is Mode.ACTIVE:
            return self.desk_mode.mode
        return max(self.desk_mode.mode, self.least_mode, key=STRICTNESS.index)

    def hedge_delta(self, quantity: float, price: float) -> float:
        """Return the delta of a quantity of what hedges at a price, in units of the underlying."""
        instrument = self.instruments.by_id[self.hedge]
        proxy = self.delta_engine.proxies.get(self.hedge)
        spot = None if proxy is None else self.market.mark(self.underlying)
        if proxy is None or spot is None:  # before its first quote: as if it hedged itself
            return instrument.delta(quantity, price)
        return proxy.delta(instrument, quantity, price, spot)

    def mark(self, instrument_id: InstrumentId) -> float | None:
        """Value of one unit at the latest market, currency per unit; None when never quoted."""
        return self.delta_engine.mark(instrument_id)

    @property
    def nav(self) -> Decimal:
        """Net asset value at the current marks, in the quote currency."""
        return net_asset_value(self.account, self.positions.held(), self.delta_engine)

    def begin_trade(self, instrument_ids: Iterable[InstrumentId]) -> TradeStart:
        """Return where a trade in these instruments starts: what each has earned before it."""
        held = self.positions.positions
        return TradeStart({number: earned(number, held, self.delta_engine) for number in instrument_ids})

    def trade_pnl(self, trade: TradeStart) -> Decimal:
        """Return the P&L of a trade at the current marks, fees and dividends included, in currency."""
        return earned_since(trade.earned, self.positions.positions, self.delta_engine)

    def exposure(self, instrument_id: InstrumentId) -> Decimal:
        """Signed contracts or shares held plus the open quantity of live orders."""
        return self.positions.quantity(instrument_id) + self.orders.pending(instrument_id)

    def is_halted(self, instrument_id: InstrumentId) -> bool:
        """Return whether trading is halted in an instrument, or in the underlying of an option."""
        if not self.halted:
            return False
        option, instruments = self.instruments[instrument_id], self.instruments
        return instrument_id in self.halted or (
            option.is_option
            and option.underlying in instruments
            and instruments.id_of(option.underlying) in self.halted
        )

    def order_of(self, event: Event) -> Order | None:
        """Return the order that an event is about, None for any other event."""
        return self.orders.orders.get(event.client_order_id) if is_order_event(event) else None


class Strategy(Protocol):
    """A trading strategy of one run."""

    @property
    def name(self) -> str:
        """The name of its spec."""
        ...

    @property
    def is_done(self) -> bool:
        """Whether it opens nothing more in this run."""
        ...

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """Inspect the instruments and return the triggers that wake the strategy. Called once.

        Raises
        ------
        ConfigError
            When the run's underlying is not the one that the strategy is configured for.
        """
        ...

    def on_wake(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        """Return the actions to take now; an empty sequence to do nothing."""
        ...


def triggers_of(strategy: Strategy, view: DeskView) -> Sequence[Trigger]:
    """Start a strategy and return its triggers.

    Raises ArgumentError when it returned no sequence of triggers, such as None or one trigger by itself.
    """
    triggers: object = strategy.start(view)
    given: list[object] = list(triggers) if isinstance(triggers, Iterable) else [None]
    found = [each for each in given if isinstance(each, Trigger)]
    if len(found) < len(given):
        raise ArgumentError(
            "a strategy returned no sequence of triggers",
            where=f"start of {strategy.name}",
            value=repr(triggers),
            fix="return a tuple, as (PriceMove(view.underlying, 0.01, 5.0),), or (); "
            "a trigger of your own derives from Trigger and gives next_row",
        )
    return found


@runtime_checkable
class TakesOver(Protocol):
    """A strategy that goes on with what the account holds, where another build led the run so far."""

    def take_over(self, view: DeskView) -> None:
        """Forget every trade, and begin with the account as it is once it has been compared."""
        ...


@runtime_checkable
class UsesSubBooks(Protocol):
    """A strategy made of members, each with a book of its own."""

    strategies: Sequence[Strategy]

    def open_books(self, view: WritableDeskView) -> SubBooks:
        """Return the books that the account is divided into. Called once, before the first event."""
        ...


@runtime_checkable
class OnSizeCut(Protocol):
    """A strategy that is notified when the risk gate reduces its order."""

    def on_cut(self, view: DeskView, sent: Sequence[OrderIntent]) -> None:
        """Note the orders sent in place of the last proposal; they count as pending already."""
        ...


@runtime_checkable
class ReportsPhase(Protocol):
    """A strategy that reports its phase to ``status``."""

    @property
    def phase(self) -> str:
        """Its phase, as one line."""
        ...


@runtime_checkable
class ReportsHedges(Protocol):
    """A strategy that adds its hedging costs to the run's summary."""

    def hedge_summary(self) -> dict[str, str | int]:
        """Return the totals of the run's hedges."""
        ...


@runtime_checkable
class AsksFolders(Protocol):
    """A strategy that sends requests to a strategy folder."""

    @property
    def open_request(self) -> int | None:
        """Number of the request without an answer so far."""
        ...

    def folder_summary(self) -> dict[str, Any]:
        """Return the counts and times of the folder's answers, for the run's summary."""
        ...


def members_of(strategy: Strategy) -> Sequence[Strategy]:
    """Return the strategies that a desk runs: the members of a combined one, else the one itself."""
    return strategy.strategies if isinstance(strategy, UsesSubBooks) else (strategy,)


def phase_of(strategy: Strategy) -> str:
    """Return the phase that a strategy reports; empty where it does not report its phase."""
    return str(strategy.phase) if isinstance(strategy, ReportsPhase) else ""


Beta = Annotated[float, above(0, 10, "the underlying's return for one of the hedge, 1 on one index")]


class HedgeTerms(NamedTuple):
    """Instrument that hedges in the underlying's place."""

    symbol: str
    """Share, future's root or contract."""
    beta: float
    """Return of the underlying for one of it."""

    @classmethod
    def of(cls, symbol: str | None, beta: float) -> "HedgeTerms | None":
        """Return the terms of a configured hedge; None where the underlying hedges."""
        return None if symbol is None else cls(symbol.upper(), beta)


class Answerer(Protocol):
    """Answers the requests of one run's strategy, one after the other."""

    def answer(self, ask: AskFolder, now_ns: int) -> FolderAnswered:
        """Return the answer, stamped ``now_ns`` (UTC nanoseconds); a failure is an answer too."""
        ...

    def abort(self) -> None:
        """Cut short an answer under way in another thread."""
        ...

    def close(self) -> None:
        """End what answers."""
        ...


class Helper(Protocol):
    """Starts what a strategy asks while it runs, such as code of other people in a process of its own."""

    def facts(self, config: Any) -> dict[str, str]:
        """Return what the run's header says of it, such as a digest of its code.

        Raises ConfigError when it cannot be read.
        """
        ...

    def start(self, config: Any, runs_dir: Path) -> Answerer:
        """Start it; it does not reach ``runs_dir``, the folder of the runs.

        Raises ConfigError when it cannot be started.
        """
        ...


class OfferedOption(NamedTuple):
    """An option as a strategy may pick it; prices and Greeks a share, theta a year, volatility a year."""

    contract: OptionContract
    spot: float
    bid: float
    ask: float
    """NaN without a quote."""
    delta: float
    gamma: float
    theta: float
    vol: float
    open_interest: int
    volume: float | None
    """Contracts of this session; None where it is not known."""
    now_ns: int
    """UTC nanoseconds."""


class Pick(NamedTuple):
    """What a strategy says of an option that it may pick."""

    score: float | None
    """0 to 100; None for an option that it refuses."""
    why: str
    """Why it is refused; empty with a score."""


class StrikePicker(Protocol):
    """Says which options a strategy would take."""

    def __call__(self, config: Any, offered: OfferedOption) -> Pick:
        """Return the score of an option by the strategy's settings, or why it is refused."""
        ...


class Showcase(NamedTuple):
    """Embedded session that shows what a strategy is for, with settings it is traded by."""

    day: date
    settings: tuple[str, ...]


class StrategySpec(msgspec.Struct, frozen=True, kw_only=True):
    """All that the host asks of a strategy before it runs; a plug-in exports one as ``PLUG``."""

    name: str
    """Name on the command line and of its section ``[strategies.NAME]``."""
    config: type[msgspec.Struct]
    """Type of its settings, a ``msgspec.Struct`` that forbids unknown fields."""
    build: Callable[[Any], Strategy]
    """Makes the strategy from its settings (from the shared settings where it has ``members``)."""
    summary: str = ""
    """One line on what it trades."""
    aliases: tuple[str, ...] = ()
    """Other names for it."""
    trades_options: bool = True
    """Whether a live run has to load an option chain."""
    reads_dealer_gamma: bool | Callable[[Any], bool] = False
    """Whether it reads dealer gamma exposure; a function says so from its settings."""
    reads_option_volume: bool = False
    """Whether recorded trades of the options are loaded with their quotes."""
    reads_iv_rank: bool = False
    """Whether it reads the rank of the underlying's implied volatility."""
    history_sessions: Callable[[Any], int] = lambda _: 0
    """Sessions before the first one whose minute bars it reads, from its settings."""
    expiry_days: Callable[[Any], tuple[int, int]] | None = None
    """Nearest and farthest days to expiry of its options, from its settings; None for no selection."""
    takes_over: Callable[[OptionContract, date], bool] = lambda _contract, _day: True
    """Whether it hedges and closes an option of its underlying that the account holds when a run begins on a
    day; a run that finds another one does not begin, for it would trade the hedge shares alone.
    """
    hedge_of: Callable[[Any], HedgeTerms | None] = lambda _: None
    """Instrument that it hedges with, from its settings; None for the underlying."""
    trades_underlying: Callable[[Any], bool] = lambda _: False
    """Whether it buys and sells the underlying itself, from its settings: on a cash index that is refused
    before the run begins. Without it an order in an index is refused when it is sent.
    """
    sells_contracts: Callable[[Any], int] = lambda _: 0
    """Most contracts of one option that it sells to open, from its settings; 0 where it sells no option."""
    options_level: Callable[[Any], int] = lambda _: 0
    """Options level that an account needs for what it opens, from its settings; 0 where that is not known."""
    chosen_expiry: Callable[[Any], date | None] = lambda _: None
    """Expiry that its settings name; None where it chooses."""
    members: tuple[str, ...] = ()
    """Names of the strategies that it combines."""
    flags: Mapping[str, tuple[str, ...]] = {}
    """Settings (``KEY=VALUE``) by the command-line flag that stands for them."""
    demo_settings: tuple[str, ...] = ()
    """Settings of a demo, overridden by the user's."""
    showcase: Showcase | None = None
    """Session and settings of a demo that is given neither."""
    helper: str = ""
    """``module:attribute`` of the :class:`Helper` whose answers it asks for; empty without requests."""
    diagnosis: str = ""
    """``module:attribute`` of a function from its section of the settings to a
    :class:`~scalpdesk.core.diagnosis.Diagnosis`, which ``scalpdesk doctor`` shows; empty without one.
    """
    picker: str = ""
    """``module:attribute`` of the :class:`StrikePicker` that shows a chain on the dashboard, or empty."""
    environment: Mapping[str, tuple[str, ...]] = {}
    """Keys of its own settings that an environment name of an earlier program sets while it runs."""
    credentials: tuple[str, str] | None = None
    """Fields of ``[credentials]`` with the key and the secret of its own account; None for the desk's."""

    def wants_dealer_gamma(self, config: Any) -> bool:
        """Return whether it reads dealer gamma exposure with these settings."""
        reads = self.reads_dealer_gamma
        return reads if isinstance(reads, bool) else reads(config)


def as_spec(plug: Any) -> Any:
    """Return the spec of a strategy class with a ``name`` and a ``Config``; anything else as it is."""
    if not isinstance(plug, type) or not (hasattr(plug, "name") and hasattr(plug, "Config")):
        return plug
    made: Any = plug
    return StrategySpec(name=made.name, config=made.Config, build=made)


@runtime_checkable
class HasUnderlying(Protocol):
    """Settings that name their underlying."""

    @property
    def underlying(self) -> str:
        """Symbol of the underlying; several with commas between them, where the strategy trades several."""
        ...


def configured_underlyings(config: object) -> tuple[str, ...]:
    """Return the underlyings that a strategy's settings name, the main one first; SPY without a name.

    Raises
    ------
    ConfigError
        When a name is empty or stands twice.
    """
    if not isinstance(config, HasUnderlying):
        return ("SPY",)
    symbols = tuple(config.underlying.split(","))
    if "" in symbols or len(set(symbols)) < len(symbols):
        rest = ",".join(dict.fromkeys(filter(None, symbols))) or "SPY"
        raise ConfigError(
            "an underlying is named twice" if "" not in symbols else "an underlying has no name",
            where="underlying",
            value=config.underlying,
            fix=f"name each once: {rest}",
        )
    return symbols


def underlying_number(view: DeskView, configured: str) -> InstrumentId:
    """Return the number of a configured underlying; a class of index options (``SPXW``) names its index."""
    return view.instruments.id_of(underlying_of_root(configured))


def traded_symbol(view: DeskView, configured: str, strategy: str, *, by_class: bool = True) -> str:
    """Return the symbol of the run's underlying, once it is the one a strategy is configured for.

    Parameters
    ----------
    view
        The desk at its start.
    configured
        The strategy's key ``underlying``.
    strategy
        Its name, for the refusal.
    by_class
        Whether the key may name a class of index options too (``SPXW`` on SPX).

    Raises
    ------
    ConfigError
        When the market of the run has another underlying.
    """
    symbol = view.instruments[view.underlying].symbol
    if symbol == configured or (by_class and symbol == underlying_of_root(configured)):
        return symbol
    if symbol.startswith(f"{configured}_"):  # a future's root
        return symbol
    raise ConfigError(
        "the market of this run has another underlying",
        where=f"strategies.{strategy}.underlying",
        value=configured,
        nearest=symbol,
        fix=f"--set underlying={symbol}",
    )
