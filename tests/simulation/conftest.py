from decimal import Decimal

import pytest

from fakes.instruments import straddle_book
from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.simulation.exchange import SimulatedAccount, SimulatedExchange
from scalpdesk.simulation.fills import fill_model


@pytest.fixture
def order():
    """Build a command: a market buy of ten shares unless told otherwise."""
    count = 0

    def build(number=0, side=Side.BUY, quantity=10, limit=None, tif=TimeInForce.DAY):
        nonlocal count
        count += 1
        return SubmitOrder(
            f"o-{count}",
            number,
            side,
            Decimal(quantity),
            OrderType.MARKET if limit is None else OrderType.LIMIT,
            None if limit is None else Decimal(limit),
            tif,
            Purpose.HEDGE,
        )

    return build


@pytest.fixture
def exchange():
    """Build an exchange of a share and a straddle with 100 000 in cash."""

    def build(model="cross", positions=None, **how):
        held = {number: Decimal(quantity) for number, quantity in (positions or {}).items()}
        return SimulatedExchange(
            straddle_book(),
            SimulatedAccount(Decimal(100_000), held),
            fill_model(model),
            fill_model(model),
            **how,
        )

    return build
