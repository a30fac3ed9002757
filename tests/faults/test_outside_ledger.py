"""The ledger that the trials hold the desk to, against figures worked out by hand."""

from decimal import Decimal

import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import FillBusted, OrderFilled, PositionChanged
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.core.units import InstrumentId
from scalpdesk_testing.kit.desk import HandDesk, Scripted
from scalpdesk_testing.outside_ledger import Figures, OutsideLedger

D = Decimal
SHARE = InstrumentId(0)


class Books:
    """A desk by hand and the ledger beside it."""

    def __init__(self):
        self.hand = HandDesk(Scripted())
        self.hand.open()
        self.desk = self.hand.engine.desk
        self.ledger = OutsideLedger(self.desk)
        self.ledger.cash = self.desk.account.cash

    def feed(self, event):
        self.hand.engine.handle(event)
        self.ledger.follow(event)
        return event

    def trade(self, quantity, price, fee="0"):
        side = Side.BUY if quantity > 0 else Side.SELL
        intent = OrderIntent(SHARE, side, D(abs(quantity)), Purpose.HEDGE, "test")
        name = self.desk.orders.submit(intent, self.hand.now_ns).client_order_id
        now_ns = self.hand.now_ns
        return self.feed(OrderFilled(name, now_ns, now_ns, name, D(abs(quantity)), D(price), D(fee)))


@pytest.fixture
def books():
    return Books()


def test_a_holding_that_crosses_zero_begins_again_at_its_price(books):
    books.trade(10, "500")
    event = books.trade(-25, "502", fee="0.35")
    assert books.ledger.figures(SHARE) == Figures(D(-15), D(-7530), D(20), D("0.35"), D(0), D(20))
    assert books.ledger.differs(event) is None


def test_a_trade_that_is_taken_back_was_never_there(books):
    first = books.trade(10, "500", fee="0.10")
    books.trade(10, "504")
    books.trade(-5, "506", fee="0.20")
    at_ns = books.hand.now_ns
    bust = books.feed(FillBusted(first.client_order_id, at_ns, at_ns, first.execution_id, "test"))
    assert books.ledger.figures(SHARE) == Figures(D(5), D(2520), D(10), D("0.20"), D(0), D(10))
    assert books.ledger.cash == D(100_000) - 10 * 504 + 5 * 506 - D("0.20")
    assert books.ledger.differs(bust) is None


def test_a_fill_beyond_its_order_is_not_booked(books):
    event = books.trade(10, "500")
    books.ledger.follow(
        OrderFilled(event.client_order_id, books.hand.now_ns, books.hand.now_ns, "more", D(1), D(1), D(0))
    )
    assert books.ledger.figures(SHARE).quantity == D(10)
    assert books.ledger.cash == D(95_000)


def test_a_dividend_is_income_and_a_transfer_is_not(books):
    books.trade(10, "500")
    at_ns, zero = books.hand.now_ns, D(0)
    for cause, cash in ((ChangeCause.DIVIDEND, "5.00"), (ChangeCause.TRANSFER, "900.00")):
        books.feed(PositionChanged(SHARE, at_ns, at_ns, cause, zero, zero, D(cash), f"test-{cause}"))
    assert books.ledger.figures(SHARE).income == D("5.00")
    assert books.ledger.cash == D(100_000) - 5000 + 905


def test_a_desk_that_keeps_the_price_of_before_zero_is_noticed(books):
    books.trade(10, "500")
    event = books.trade(-25, "502")
    books.desk.positions.positions[SHARE]._cost = D(-7500)
    assert "cost -7500, outside -7530" in books.ledger.differs(event)
