"""A simulated broker with one account: driven itself, or over a desk's connection to it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from scalpdesk.base import NO_FEES, ChangeCause, InstrumentId, Instruments, OrderType, Side, TimeInForce
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.units import NEVER_NS
from scalpdesk.exchange import BrokerAccount, BrokerOrder, LegRequest, OrderClass, OrderRequest, OrderUpdate
from scalpdesk.instruments.fees import FeeSchedule
from scalpdesk.instruments.postings import Posting
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk.simulation.assignment import AssignmentTerms
from scalpdesk.simulation.broker import Broker
from scalpdesk.simulation.connection import BrokerConnection
from scalpdesk.simulation.faults import FaultPlan
from scalpdesk.simulation.fills import fill_model
from scalpdesk.simulation.hours import AlwaysOpen, Hours
from scalpdesk.simulation.orders import Booking
from scalpdesk_testing.kit.tape import quote

FOREVER_NS = NEVER_NS - 1


def give(
    account: BrokerAccount,
    number: InstrumentId,
    units: Decimal | int,
    price: Decimal | int,
    cash: Decimal | int = 0,
    cause: ChangeCause = ChangeCause.TRANSFER,
) -> Decimal:
    """Book units and cash on a broker's account; return the holding after it."""
    terms = Decimal(cash), Decimal(0), cause, "", account.created_ns
    account.apply(Posting("", number, Decimal(units), Decimal(price), *terms))
    return account.quantity(number)


def _open_account(
    instruments: Instruments,
    positions: Mapping[int, Any] | None,
    cost: Decimal,
    hours: Hours | None,
    model: str,
    options: Mapping[str, Any],
    **terms: Any,
) -> tuple[Broker, BrokerAccount]:
    """Return a broker and its account; ``cost`` is the mean cost of positions that are given as units."""
    fills = fill_model(model), fill_model(model)
    broker = Broker(instruments, AlwaysOpen() if hours is None else hours, *fills, **options)
    held = {}
    for number, value in (positions or {}).items():
        units, paid = value if isinstance(value, tuple) else (value, cost)
        held[InstrumentId(number)] = Decimal(units), Decimal(paid)
    return broker, broker.open_account(AccountTerms(positions=held, **terms))


def connect(
    instruments: Instruments,
    *,
    cash: Decimal | int = 100_000,
    positions: Mapping[int, Any] | None = None,
    model: str = "cross",
    hours: Hours | None = None,
    latency_ns: int = 0,
    fees: FeeSchedule = NO_FEES,
    faults: FaultPlan | None = None,
    assignment: AssignmentTerms | None = None,
    is_open: bool = True,
    **terms: Any,
) -> BrokerConnection:
    """Return the connection; ``positions`` gives units, or units and their mean cost, by instrument."""
    broker, account = _open_account(
        instruments,
        positions,
        Decimal(0),
        hours,
        model,
        {"fees": fees, "faults": faults, "assignment": assignment},
        cash=Decimal(cash),
        **terms,
    )
    connection = BrokerConnection(broker, account, out_ns=latency_ns, back_ns=latency_ns)
    if is_open:
        connection.open_session(0, FOREVER_NS)
    return connection


class Market:
    """A broker that trades at the far side, with one account, driven without a connection.

    Parameters
    ----------
    instruments
        What is traded.
    positions, cash
        Units held, each bought at 9, or units and their mean cost; and currency.
    opens_ns
        When its session began; None leaves it closed.
    fills
        Fill model; that of the summary unless told.
    broker
        Further arguments of the broker.
    terms
        Further terms of the account.
    """

    def __init__(
        self,
        instruments: Instruments,
        positions: Mapping[int, Any] | None = None,
        *,
        cash: Decimal | int = 100_000,
        opens_ns: int | None = 0,
        hours: Hours | None = None,
        fills: str = "cross",
        broker: Mapping[str, Any] | None = None,
        **terms: Any,
    ) -> None:
        options = {"keeps_history": True} | dict(broker or {})
        self.broker, self.account = _open_account(
            instruments, positions, Decimal(9), hours, fills, options, cash=Decimal(cash), **terms
        )
        self.ledger = self.broker.ledger
        if opens_ns is not None:
            self.broker.open_session(opens_ns, FOREVER_NS)

    def quote(
        self,
        number: int,
        at_ns: int,
        bid: float,
        ask: float,
        bid_size: float = 100.0,
        ask_size: float = 100.0,
    ) -> None:
        """Let the broker see a quote."""
        self.broker.on_quote(quote(number, at_ns, bid, ask, bid_size, ask_size))

    def order(
        self,
        number: int,
        quantity: Any,
        limit: Any = None,
        tif: TimeInForce = TimeInForce.DAY,
        **more: Any,
    ) -> BrokerOrder:
        """Send an order: at a limit where there is one, else of ``kind``, at the market unless told."""
        kind = more.pop("kind", OrderType.MARKET if limit is None else OrderType.LIMIT)
        signed = Decimal(str(quantity))
        converted: dict[str, Any] = {
            name: Decimal(value) if type(value) in (int, str) else value for name, value in more.items()
        }
        request = OrderRequest(
            self.ledger.instruments[InstrumentId(number)].symbol,
            Side.BUY if signed > 0 else Side.SELL,
            kind,
            tif,
            quantity=abs(signed),
            limit_price=None if limit is None else Decimal(str(limit)),
            **converted,
        )
        return self.broker.submit(self.account.name, request)

    def combo(
        self,
        legs: Mapping[int, int],
        limit: Any = None,
        tif: TimeInForce = TimeInForce.DAY,
        units: int = 1,
    ) -> BrokerOrder:
        """Send an order over several contracts; ``legs`` gives the signed ratio by instrument."""
        made = tuple(
            LegRequest(
                self.ledger.instruments[InstrumentId(number)].symbol,
                Decimal(abs(ratio)),
                Side.BUY if ratio > 0 else Side.SELL,
            )
            for number, ratio in legs.items()
        )
        request = OrderRequest(
            "",
            None,
            OrderType.MARKET if limit is None else OrderType.LIMIT,
            tif,
            quantity=Decimal(units),
            limit_price=None if limit is None else Decimal(str(limit)),
            structure=OrderClass.MLEG,
            legs=made,
        )
        return self.broker.submit(self.account.name, request)

    def reports(self) -> list[tuple[str, str]]:
        """Return what was reported since the last time: the order's id and the event, in order."""
        return [
            (update.order.order_id, update.event)
            for update in self.broker.drain()
            if isinstance(update, OrderUpdate)
        ]

    def bookings(self) -> list[PositionChanged]:
        """Return what was booked without an order since the last time."""
        return [update.change for update in self.broker.drain() if isinstance(update, Booking)]

    def units(self) -> dict[int, Decimal]:
        """Return the signed units held by instrument."""
        return {number: held.quantity for number, held in self.account.holdings.items()}
