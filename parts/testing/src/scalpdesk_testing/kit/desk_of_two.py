"""A desk with two scripted strategies, and helpers to say what they want."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import Event
from scalpdesk.core.intents import OrderIntent, OrderType, Output, Purpose, Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.marketdata.triggers import EveryQuote, Wake
from scalpdesk.portfolio.positions import PositionManager
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.contract import Action, DeskView, Proposal
from scalpdesk.strategies.several.strategy import Several
from scalpdesk_testing.kit.desk import HandDesk, Scripted, orders

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
