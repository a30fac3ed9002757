from decimal import Decimal

import pytest

from fakes.instruments import option, share
from fakes.tape import quote
from scalpdesk.core.enums import Mode
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.risk.checks import OrderContext
from scalpdesk.risk.limits import RiskLimits


class Lines:
    """A book of the lines and working orders that it is given; everything is marked at one price."""

    def __init__(self, orders, lines, mark):
        self._orders, self._lines, self._mark = orders, lines, mark

    def working(self):
        return self._orders

    def held(self):
        return self._lines

    def mark(self, number):
        del number
        return self._mark


@pytest.fixture
def book():
    """Build a book of working orders and held lines."""

    def build(*orders, lines=(), mark=10.0):
        return Lines(list(orders), list(lines), mark)

    return build


@pytest.fixture
def context():
    """Build the context of a market buy of one option that passes every check; change what matters."""

    def build(*, limits=None, on_share=False, intent=None, **changes):
        instrument = share() if on_share else option("C")
        given = {
            "intent": OrderIntent(0, Side.BUY, Decimal(1), Purpose.OPEN, "", **(intent or {}))
            if not isinstance(intent, OrderIntent)
            else intent,
            "instrument": instrument,
            "limits": RiskLimits(**(limits or {})),
            "mode": Mode.ACTIVE,
            "quote": quote(0, 0, 9.9, 10.1),
            "verdict": QuoteVerdict.GOOD,
            "held": Decimal(0),
            "equity": Decimal(100_000),
            "session_equity": Decimal(100_000),
            "daily_pnl": Decimal(0),
            "consecutive_losses": 0,
            "live_orders": 0,
            "orders_last_minute": 0,
            "in_session": True,
            "cash": Decimal(100_000),
        }
        return OrderContext(**(given | changes))

    return build
