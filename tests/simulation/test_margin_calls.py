"""Margin calls in dollars, worked by hand: who is called, what is closed, and how much of it."""

from decimal import Decimal

import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import OrderCancelled, PositionChanged
from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import MINUTE_NS
from scalpdesk.margin.regulation_t import UNCOVERED
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import quote

D = Decimal
SHARE, CALL, PUT, FAR_CALL, FAR_PUT = range(5)


class Trial:
    """A broker with one account on SPY at strikes 500 and 540; minutes pass one by one."""

    def __init__(self, cash, positions, **terms):
        terms = {"options_level": UNCOVERED, **terms}
        self.connection = connect(straddle_book(500, 540), cash=cash, positions=positions, **terms)
        self.account, self.now_ns = self.connection.account, 1

    def market(self, spot, **prices):
        """Quote the share within a cent and options a tenth to each side."""
        for number, mid in ((SHARE, spot), *((globals()[name], mid) for name, mid in prices.items())):
            half = 0.01 if number == SHARE else 0.1
            self.connection.on_quote(quote(number, self.now_ns, mid - half, mid + half))
        return self

    def minute(self):
        """Let a minute pass; return what the desk is told."""
        self.now_ns += MINUTE_NS
        return self.connection.take_due(self.now_ns)

    @property
    def held(self):
        return {number: int(held.quantity) for number, held in self.account.holdings.items()}

    @property
    def excess(self):
        return self.connection.broker.ledger.figures(self.account).excess


def test_a_writer_is_called_where_the_margin_exceeds_his_cash_and_loses_what_restores_it():
    """Two calls sold at 10: 25,000 and 2,000 received; each asks for 20 % of the price and its premium."""
    trial = Trial(27_000, {CALL: (-2, 10)}).market(500, CALL=10)
    assert trial.excess == 27_000 - 2 * 100 * (100 + 10)
    assert trial.minute() == []
    trial.market(520, CALL=26)
    assert trial.excess == 27_000 - 2 * 100 * (104 + 26) == 1_000
    assert trial.minute() == []
    trial.market(530, CALL=34)
    assert trial.excess == 27_000 - 2 * 100 * (106 + 34) == -1_000
    (closed,) = trial.minute()
    # one is bought back at 34.10: 3,410 are paid, 14,000 of margin are free
    assert type(closed) is PositionChanged
    assert (closed.instrument_id, closed.cause) == (CALL, ChangeCause.AUTO_LIQUIDATION)
    assert (closed.quantity_change, closed.price, closed.cash_change) == (1, D("34.1"), -3_410)
    assert (trial.held, trial.account.cash, trial.excess) == ({CALL: -1}, 23_590, 23_590 - 14_000)
    assert trial.minute() == []


def test_sold_options_go_before_bought_ones_and_no_more_of_these_than_needed():
    """A put 100 in the money asks for 100 * (80 + 100); bought calls have no loan value."""
    trial = Trial(9_000, {PUT: (-1, 20), FAR_CALL: (3, 10)}).market(400, PUT=100, FAR_CALL=12)
    assert trial.excess == 9_000 - 18_000
    changes = trial.minute()
    assert [(each.instrument_id, each.quantity_change, each.price) for each in changes] == [
        (PUT, 1, D("100.1")),
        (FAR_CALL, -1, D("11.9")),
    ]
    assert trial.account.cash == 9_000 - 10_010 + 1_190 == trial.excess
    assert trial.held == {FAR_CALL: 2}


def test_of_two_sold_options_the_one_that_frees_more_is_closed_first():
    trial = Trial(22_000, {CALL: (-1, 10), FAR_CALL: (-1, 10)}).market(600, CALL=101, FAR_CALL=62)
    # 100 * (120 + 101) and 100 * (120 + 62): both ask for 40,300; buying back frees 120 a share of either
    assert trial.excess == 22_000 - 22_100 - 18_200
    assert [each.instrument_id for each in trial.minute()] == [CALL, FAR_CALL]
    assert trial.account.cash == 22_000 - 10_110 - 6_210
    small = Trial(27_000, {CALL: (-1, 10), FAR_PUT: (-1, 10)}).market(600, CALL=101, FAR_PUT=60)
    # a straddle: the greater side, 22,100, and the other's premium, 6,000
    assert small.excess == 27_000 - 28_100
    small.minute()
    assert small.held in ({FAR_PUT: -1}, {CALL: -1})
    assert small.excess >= 0


def test_a_spread_needs_no_more_than_its_width_however_far_the_price_goes():
    trial = Trial(5_000, {CALL: (-1, 10), FAR_CALL: (1, 2)}).market(700, CALL=200, FAR_CALL=160)
    assert trial.excess == 5_000 - 4_000
    assert trial.minute() == []


def test_the_accounts_orders_that_open_go_first():
    trial = Trial(27_000, {CALL: (-2, 10)}).market(500, CALL=10, FAR_PUT=40)
    order = SubmitOrder(
        "mine", FAR_PUT, Side.BUY, D(1), OrderType.LIMIT, D("30"), TimeInForce.DAY, Purpose.OPEN
    )
    trial.connection.send(order, trial.now_ns)
    trial.minute()
    trial.market(530, CALL=34)
    told = trial.minute()
    assert [type(each) for each in told] == [OrderCancelled, PositionChanged]
    assert trial.account.open_orders() == []


def test_what_cannot_be_quoted_or_is_halted_is_closed_later_and_only_once():
    trial = Trial(27_000, {CALL: (-2, 10)}).market(530, CALL=34)
    broker = trial.connection.broker
    broker.halt(SHARE)
    for _ in range(3):
        assert trial.minute() == []
    assert len(trial.account.open_orders()) == 1
    broker.resume(SHARE)
    trial.market(530, CALL=34)
    told = trial.minute()
    assert [each.quantity_change for each in told] == [1]


@pytest.mark.rows(
    ("terms", "called"),
    [({}, True), ({"multiplier": 2}, True), ({"multiplier": 1}, False), ({"currency": "EUR"}, False)],
)
def test_margin_accounts_in_dollars_are_called(terms, called):
    trial = Trial(27_000, {CALL: (-2, 10)}, **terms).market(530, CALL=34)
    assert bool(trial.minute()) is called


def test_an_account_without_sold_options_is_never_looked_at():
    trial = Trial(1_000, {SHARE: (-100, 100)}).market(500)
    assert trial.excess < 0
    assert trial.connection.due_ns > 10**18
    assert trial.minute() == []
