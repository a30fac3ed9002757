"""What each order came to: average cost worked by hand, and the ledger's own sums."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from scalpdesk.core.events import FillBusted, OrderFilled
from scalpdesk.core.intents import Side
from scalpdesk.report.order_results import FillResult, OrderResults
from scalpdesk_testing.kit.desk import HandDesk, Scripted, buy, change

D = Decimal
SHARE, CALL = 0, 1


class Trader:
    """A desk at 500.00 whose orders the test decides and fills, with the results of them."""

    def __init__(self):
        self.desk = HandDesk(Scripted())
        self.results = OrderResults(self.desk.engine.desk)
        self.desk.open()
        self.desk.market(500.0)
        self._number = 0

    def handle(self, event):
        self.desk.handle(event)
        self.results.take(event)
        return event

    def send(self, quantity, number=SHARE):
        side = Side.BUY if quantity > 0 else Side.SELL
        intent = buy(number, abs(quantity), side=side)
        sent = self.desk.engine.desk.orders.submit(intent, self.desk.now_ns)
        self.results.note(sent)
        self.desk.accept(sent)
        return sent

    def fill(self, sent, price, quantity=None, fee="0"):
        self._number += 1
        now_ns, units = self.desk.now_ns, sent.quantity if quantity is None else D(quantity)
        name = f"x{self._number}"
        return self.handle(OrderFilled(sent.client_order_id, now_ns, now_ns, name, units, D(price), D(fee)))

    def trade(self, quantity, price, number=SHARE):
        sent = self.send(quantity, number)
        self.fill(sent, price)
        return self.results.order(sent.client_order_id)

    def bust(self, filled):
        now_ns = self.desk.now_ns
        self.handle(FillBusted(filled.client_order_id, now_ns, now_ns, filled.execution_id, "error"))

    @property
    def ledger(self):
        return sum(each.realized for each in self.desk.engine.desk.positions.positions.values())

    @property
    def told(self):
        return (self.results.total().realised or D(0)) + self.results.elsewhere


@pytest.fixture
def trader():
    return Trader()


def test_a_close_realises_what_it_got_beyond_the_average_cost(trader):
    """10 at 500 and 10 at 502 cost 501.00 on average: 5 at 503 earn 10.00, 20 at 500 lose 15.00 on 15."""
    opened = [trader.trade(10, "500"), trader.trade(10, "502")]
    assert [each.realised for each in opened] == [None, None]
    assert trader.trade(-5, "503").realised == D("10.00")
    assert trader.trade(-20, "500").realised == D("-15.00")
    assert trader.trade(5, "499").realised == D("5.00")
    assert trader.told == trader.ledger == 0


def test_a_close_at_cost_realised_zero_and_not_nothing(trader):
    trader.trade(10, "500")
    assert trader.trade(-10, "500").realised == 0


def test_an_options_result_counts_its_contract_size(trader):
    trader.trade(2, "9.10", CALL)
    assert trader.trade(-2, "9.40", CALL).realised == D("60.00")


def test_the_cost_is_measured_from_the_mid_when_the_order_was_decided(trader):
    """Decided at 500.00; 4 are bought at 500.03 and, after the market rose, 6 at 501.00."""
    sent = trader.send(10)
    trader.fill(sent, "500.03", 4, "0.01")
    trader.desk.wait(30).market(501.0)
    trader.fill(sent, "501.00", 6, "0.02")
    found = trader.results.order(sent.client_order_id)
    assert trader.results.mids[sent.client_order_id] == 500
    assert (found.against_mid, found.fee, found.realised) == (D("-6.12"), D("0.03"), None)
    assert trader.trade(-10, "501.50").against_mid == D("5.00")


def test_an_execution_that_is_reported_twice_counts_once(trader):
    trader.trade(10, "500")
    sent = trader.send(-10)
    filled = trader.fill(sent, "501", fee="0.05")
    trader.handle(structs.replace(filled, ts_recv_ns=trader.desk.now_ns + 1))
    found = trader.results.order(sent.client_order_id)
    assert (found.realised, found.fee) == (D("10"), D("0.05"))


def test_a_bust_takes_back_what_its_execution_came_to(trader):
    trader.trade(10, "500")
    sent = trader.send(-10)
    filled = trader.fill(sent, "501", fee="0.05")
    trader.bust(filled)
    assert trader.results.order(sent.client_order_id) == FillResult()
    assert trader.told == trader.ledger == 0


def test_what_no_order_realised_stands_apart(trader):
    """Two calls bought at 9.10 expire worthless: 1,820.00."""
    trader.trade(2, "9.10", CALL)
    trader.handle(change(trader.desk, "expired_worthless", -2, 0, 0, CALL))
    assert trader.results.total().realised is None
    assert trader.told == trader.ledger == trader.results.elsewhere == D("-1820.00")


QUANTITIES = st.integers(-30, 30).filter(bool)
TRADES = st.lists(st.tuples(QUANTITIES, st.integers(49_000, 51_000)), min_size=1, max_size=25)


@given(TRADES, st.data())
def test_the_orders_sum_to_the_ledger_and_each_to_average_cost_in_fractions(trades, data):
    trader, held, cost = Trader(), Fraction(0), Fraction(0)
    for quantity, cents in trades:
        price = Fraction(cents, 100)
        found = trader.trade(quantity, D(cents) / 100)
        closed = min(abs(quantity), abs(held)) if held * quantity < 0 else Fraction(0)
        sign, average = (1 if held > 0 else -1), cost / held if held else price
        expected = closed * (price - average) * sign
        assert (found.realised is not None) is bool(closed)
        assert float(found.realised or 0) == pytest.approx(float(expected), abs=1e-6)
        opened = abs(quantity) - closed
        cost += opened * price * (1 if quantity > 0 else -1) - closed * average * sign
        held += quantity
        assert trader.told == trader.ledger
    filled = trader.fill(trader.send(data.draw(QUANTITIES)), D(500))
    trader.bust(filled)
    assert trader.told == trader.ledger
