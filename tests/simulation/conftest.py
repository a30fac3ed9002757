from decimal import Decimal

import pytest

from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.instruments import straddle_book


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
    """Build a broker of a share and a straddle with 100 000 in cash, and connect to it."""

    def build(model="cross", positions=None, **how):
        return connect(straddle_book(), model=model, positions=positions, **how)

    return build
