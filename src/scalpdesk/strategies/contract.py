"""What a strategy is: a class that is woken, looks at the desk and says what it wants.

A strategy reads the :class:`DeskView` and changes only itself. It never sends: it returns actions,
and the risk gate and the order manager do the rest. The same class runs in every mode.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar, Protocol, final, runtime_checkable

import msgspec

from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import Event
from scalpdesk.core.intents import AskFolder, Intent, OrderIntent, SetTimer
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import INDEX_CLASSES, Instruments
from scalpdesk.instruments.sessions import Session
from scalpdesk.marketdata.state import MarketState
from scalpdesk.marketdata.triggers import Trigger, Wake
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.positions import Account, PositionManager
from scalpdesk.portfolio.sub_books import SubBooks


@final
class Proposal(msgspec.Struct, frozen=True, gc=False):
    """Something a strategy decided, with its reasons; ``intents`` empty means it decided not to act.

    Parameters
    ----------
    kind
        What it is about; of a strategy of your own ``ENTRY``, ``HEDGE`` or ``EXIT``.
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

    kind: DecisionKind
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
        instruments: Instruments,
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
        self.mode: Mode = Mode.ACTIVE
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
class UsesSubBooks(Protocol):
    """What several strategies in one desk bring along besides the contract of one."""

    def open_books(self, view: DeskView) -> SubBooks:
        """Return the books that the account is divided into; asked once, before anything happens."""
        ...


@runtime_checkable
class OnSizeCut(Protocol):
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
