"""A simulated broker with one account, and a desk's connection to it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.fees import NO_FEES, FeeSchedule
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk.simulation.broker import Broker
from scalpdesk.simulation.connection import BrokerConnection
from scalpdesk.simulation.fills import fill_model
from scalpdesk.simulation.hours import AlwaysOpen, Hours

FOREVER_NS = 2**62


def connect(
    instruments: Instruments,
    *,
    cash: Decimal | int = 100_000,
    positions: Mapping[int, Any] | None = None,
    model: str = "cross",
    hours: Hours | None = None,
    latency_ns: int = 0,
    fees: FeeSchedule = NO_FEES,
    is_open: bool = True,
    **terms: Any,
) -> BrokerConnection:
    """Return the connection; ``positions`` gives units, or units and their mean cost, by instrument."""
    broker = Broker(
        instruments,
        AlwaysOpen() if hours is None else hours,
        fill_model(model),
        fill_model(model),
        fees=fees,
    )
    held = {
        number: value if isinstance(value, tuple) else (Decimal(value), Decimal(0))
        for number, value in (positions or {}).items()
    }
    account = broker.open_account(AccountTerms(cash=Decimal(cash), positions=held, **terms))
    connection = BrokerConnection(broker, account, out_ns=latency_ns, back_ns=latency_ns)
    if is_open:
        connection.open_session(0, FOREVER_NS)
    return connection
