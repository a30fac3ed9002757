from decimal import Decimal

import pytest

from scalpdesk.core.enums import Mode
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.marketdata.quotes import QuoteVerdict, is_stub
from scalpdesk.risk.context import OrderContext, RiskFigures
from scalpdesk.risk.counters import OrderCounters
from scalpdesk.risk.gate import RiskGate
from scalpdesk.risk.limits import RiskLimits
from scalpdesk_testing.kit.instruments import option, share
from scalpdesk_testing.kit.tape import quote


class Facts:
    """Facts about an account that are given; everything in it is marked at one price."""

    equity = Decimal(100_000)
    session_equity = Decimal(100_000)
    cash = Decimal(100_000)
    cash_at_report = Decimal(0)
    consecutive_losses = 0
    risk_before = Decimal(0)
    loss_before = Decimal(0)
    is_late = False
    owner_held = None
    owners_apart = True
    asked = None
    asked_of_book = None
    level = 3
    underlying_verdict = QuoteVerdict.GOOD

    def __init__(self, orders=(), lines=(), mark=10.0):
        self._orders, self._lines, self._mark = orders, lines, mark

    def figures(self):
        return RiskFigures(
            self.equity,
            self.session_equity,
            self.risk_before,
            self.loss_before,
            self.consecutive_losses,
            self.cash,
            self.cash_at_report,
        )

    def written(self):
        return self.asked

    def tied_up(self):
        return self.asked_of_book

    def options_level(self):
        return self.level

    def is_last_call(self):
        return self.is_late

    def working(self):
        return self._orders

    def held(self):
        return self._lines

    def mark(self, instrument_id):
        del instrument_id
        return self._mark

    def held_by(self, owner, instrument_id):
        del owner, instrument_id
        return self.owner_held

    def is_stub(self, quote):
        return is_stub(quote, 0.5)

    def verdict_on(self, symbol):
        del symbol
        return self.underlying_verdict


@pytest.fixture
def book():
    """Build a book of working orders and held lines."""

    def build(*orders, lines=(), mark=10.0):
        return Facts(list(orders), list(lines), mark)

    return build


@pytest.fixture
def context():
    """Build the context of a market buy of one option that passes every check; change what matters."""

    def build(*, limits=None, on_share=False, intent=None, book=None, orders_last_minute=0, **changes):
        limits = RiskLimits(**(limits or {}))
        instrument = changes.pop("instrument", share() if on_share else option("C"))
        facts = Facts() if book is None else book
        for name in [name for name in changes if not callable(getattr(Facts, name, len))]:
            setattr(facts, name, changes.pop(name))
        if "daily_pnl" in changes:
            facts.equity = facts.session_equity + changes.pop("daily_pnl")
        if not isinstance(intent, OrderIntent):
            intent = OrderIntent(0, Side.BUY, Decimal(1), Purpose.OPEN, "", **(intent or {}))
        given = {
            "intent": intent,
            "instrument": instrument,
            "is_option": isinstance(instrument, OptionContract),
            "limits": limits,
            "resolved": limits.resolve(),
            "mode": Mode.ACTIVE,
            "quote": quote(0, 0, 9.9, 10.1),
            "verdict": QuoteVerdict.GOOD,
            "held": Decimal(0),
            "live_orders": 0,
            "orders_before": orders_last_minute,
            "in_session": True,
            "now_ns": 0,
            "counters": OrderCounters(),
            "venue_limits": None,
            "facts": facts,
        }
        given |= changes
        return OrderContext(**given)

    return build


@pytest.fixture
def ask():
    """Ask the gate about one check alone: as it is asked of orders that it concerns, and of no others."""

    def objection(check, context):
        return next(iter(RiskGate(context.limits, (check,)).refusals(context)), None)

    return objection
