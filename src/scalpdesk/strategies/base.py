"""What a strategy is: a class that is woken, looks at the desk and says what it wants.

A strategy reads the :class:`DeskView` and changes only itself. It never sends: it returns actions,
and the risk gate and the order manager do the rest. The same class runs in every mode.
"""

from collections.abc import Sequence
from decimal import Decimal
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import msgspec

import scalpdesk.strategies
from scalpdesk.core.errors import ConfigError, nearest_name
from scalpdesk.core.events import Event
from scalpdesk.core.intents import AskFolder, Intent, OrderIntent, SetTimer
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import INDEX_CLASSES, InstrumentBook
from scalpdesk.instruments.sessions import Session
from scalpdesk.marketdata.state import MarketState
from scalpdesk.marketdata.triggers import Trigger, Wake
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.portfolio.account import Account
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.position_manager import PositionManager
from scalpdesk.portfolio.sub_books import SubBooks

ENTRY_POINT_GROUP = "scalpdesk.strategies"
SEVERAL = "+"
"""Between the names of strategies that share a desk: ``st0cka+gamma-scalper``."""
NO_STRATEGIES = frozenset({"base", "several"})
"""Modules of this package that serve strategies and are none."""

EARLIER_NAMES = {"gamma-scalping": "gamma-scalper"}
"""Names under which earlier programs ran a strategy, and its name here."""


class Proposal(msgspec.Struct, frozen=True):
    """Something a strategy decided, with its reasons; ``intents`` empty means it decided not to act.

    Parameters
    ----------
    kind
        ``entry``, ``hedge`` or ``exit``.
    reasons
        In plain words, with the numbers.
    facts
        The figures behind it, by name (units in the names).
    intents
        What it wants done.
    all_or_none
        When one intent is refused by the gate, none is sent (the legs of a straddle).
    carried_out
        Something of it was done inside the desk already, without an order.
    """

    kind: str
    reasons: tuple[str, ...]
    facts: dict[str, str | float | int] = msgspec.field(default_factory=dict)
    intents: tuple[Intent, ...] = ()
    all_or_none: bool = True
    carried_out: bool = False


Action = Proposal | SetTimer | AskFolder


class DeskView:
    """What a strategy may look at. Parts of the desk, read-only by agreement.

    Attributes
    ----------
    now_ns
        Time of the event under way, UTC nanoseconds.
    session
        The trading session under way, or None outside one.
    instruments, market, delta_engine, positions, orders, account
        The desk's parts.
    underlying
        Number of the run's main underlying.
    nav
        Net asset value at the last mark, in the quote currency.
    mode
        ``ACTIVE``, ``REDUCING``, ``HALTED`` or ``FLATTENING``.
    venue
        Name of the venue that the orders go to.
    """

    __slots__ = (
        "account",
        "delta_engine",
        "instruments",
        "market",
        "mode",
        "nav",
        "now_ns",
        "orders",
        "positions",
        "session",
        "underlying",
        "venue",
    )

    def __init__(
        self,
        instruments: InstrumentBook,
        market: MarketState,
        delta_engine: DeltaEngine,
        positions: PositionManager,
        orders: OrderManager,
        account: Account,
        underlying: InstrumentId,
    ) -> None:
        self.now_ns = 0
        self.session: Session | None = None
        self.instruments = instruments
        self.market = market
        self.delta_engine = delta_engine
        self.positions = positions
        self.orders = orders
        self.account = account
        self.underlying = underlying
        self.nav = account.cash
        self.mode = "ACTIVE"
        self.venue = "simulated"

    def exposure(self, instrument_id: InstrumentId) -> Decimal:
        """Signed contracts or shares held plus what live orders may still fill."""
        return self.positions.quantity(instrument_id) + self.orders.pending(instrument_id)


class Strategy(Protocol):
    """The contract. ``Config`` is a ``msgspec.Struct`` that forbids unknown fields."""

    name: ClassVar[str]
    Config: ClassVar[type[Any]]

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """Look at the instruments and return the triggers to be woken by. Called once."""
        ...

    def on_wake(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        """Return what to do now; an empty sequence for nothing."""
        ...


@runtime_checkable
class DividesTheBook(Protocol):
    """What several strategies in one desk bring along besides the contract of one."""

    def open_books(self, view: DeskView) -> SubBooks:
        """Return the books that the account is divided into; asked once, before anything happens."""
        ...


@runtime_checkable
class HearsCuts(Protocol):
    """What a strategy brings along that wants to know when the risk gate made its trade smaller."""

    def on_cut(self, view: DeskView, sent: Sequence[OrderIntent]) -> None:
        """Take note of what is sent in place of the latest proposal; it counts as pending already."""
        ...


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
    of_class = INDEX_CLASSES.get(configured) if by_class else None
    if symbol == configured or (of_class is not None and symbol == of_class.underlying):
        return symbol
    raise ConfigError(
        "the market of this run has another underlying",
        where=f"strategies.{strategy}.underlying",
        value=configured,
        nearest=symbol,
        fix=f"--set underlying={symbol}",
    )


def strategy_names() -> tuple[str, ...]:
    """Return the names of all strategies, the product's own and installed plug-ins, sorted."""
    own = {_name_of(module.name) for module in iter_modules(scalpdesk.strategies.__path__)} - NO_STRATEGIES
    return tuple(sorted(own | {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}))


def find_strategy(name: str) -> type[Strategy]:
    """Return a strategy's class by its name (``gamma-scalper``; underscores are read as hyphens).

    Names joined by ``+`` give the class that runs all of them in one desk.

    Raises
    ------
    ConfigError
        When there is none; names the nearest.
    """
    wanted = canonical_name(name)
    if SEVERAL in wanted:
        return _find_several(wanted)
    for module in iter_modules(scalpdesk.strategies.__path__):
        if _name_of(module.name) == wanted and module.name not in NO_STRATEGIES:
            return cast("type[Strategy]", import_module(f"scalpdesk.strategies.{module.name}").PLUG)
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if canonical_name(point.name) == wanted:
            return cast("type[Strategy]", point.load())
    known = strategy_names()
    raise ConfigError(
        "there is no strategy of this name",
        where="strategy",
        value=name,
        nearest=nearest_name(name, known),
        fix=f"use one of {', '.join(known)}, or install the package that brings it",
    )


def member_names(name: str) -> tuple[str, ...]:
    """Return the strategies that a run of this name is made of: several where it is of several.

    Raises
    ------
    ConfigError
        When there is no such strategy.
    """
    return getattr(find_strategy(name), "MEMBERS", None) or (canonical_name(name),)


def canonical_name(name: str) -> str:
    """Return the name that a strategy goes by here.

    >>> canonical_name("gamma_scalping"), canonical_name("ST0CKA")
    ('gamma-scalper', 'st0cka')
    """
    words = name.lower().replace("_", "-").split(SEVERAL)
    return SEVERAL.join(EARLIER_NAMES.get(word.strip(), word.strip()) for word in words)


def _find_several(name: str) -> type[Strategy]:
    from scalpdesk.strategies.several.strategy import several_of  # noqa: PLC0415 - it imports this module

    names = name.split(SEVERAL)
    for one in names:
        if names.count(one) > 1 or getattr(find_strategy(one), "MEMBERS", None):
            raise ConfigError(
                "strategies that share a desk are different ones, and none of them is itself several",
                where="strategy",
                value=name,
                fix="name each strategy once",
            )
    return cast("type[Strategy]", several_of(names))


def _name_of(module: str) -> str:
    return module.replace("_", "-")
