"""Futures at the simulated broker: variation, final settlement, margin, and options that deliver them."""

from datetime import date
from decimal import Decimal
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.core.units import ZERO
from scalpdesk.instruments.contract import Index, Instruments
from scalpdesk.instruments.fees import IBKR_FEES, NO_FEES
from scalpdesk.instruments.futures import final_settlement_ns, future_contract, future_option
from scalpdesk.instruments.sessions import globex_sessions
from scalpdesk.portfolio.positions import Position, balance_of
from scalpdesk.simulation.hours import TapeHours
from scalpdesk.simulation.orders import Booking
from scalpdesk_testing.kit.broker import Market

D = Decimal
ES = future_contract("ES_202103")
WEEKLY = future_option("ES_202103-210105C03700000")
SESSIONS = globex_sessions(date(2021, 1, 4), date(2021, 1, 8))
CASH = D(1_000_000)
ticks = st.integers(14_000, 16_000)
"""Prices in quarters of a point: 3,500 to 4,000."""


class Globex(Market):
    """A broker of futures with one account."""

    def __init__(self, sessions=SESSIONS, *, fees=NO_FEES, instruments=(ES, WEEKLY)):
        super().__init__(
            Instruments(instruments),
            cash=CASH,
            opens_ns=None,
            hours=TapeHours(sessions),
            fills="mid",
            broker={"fees": fees},
        )
        self.sessions = sessions
        self.open(0)

    def open(self, number):
        session = self.sessions[number]
        self.broker.open_session(session.open_ns, session.close_ns)
        self.now_ns = session.open_ns + 10**9

    def quote(self, price, number=0, wide="0.25"):
        half = float(D(wide)) / 2
        super().quote(number, self.now_ns, float(price) - half, float(price) + half, 1e6, 1e6)

    def trade(self, quantity, symbol=ES.symbol):
        self.now_ns += 10**9
        return self.order(self.ledger.instruments.id_of(symbol), quantity)

    def close(self, number):
        self.broker.close_session(self.sessions[number].close_ns)

    @property
    def balance(self):
        return balance_of(self.account, self.account.holdings.values())

    def variations(self):
        return [each.net_amount for each in self.account.activities if each.kind == "VM"]


def test_a_day_brings_the_move_in_cash_and_the_next_goes_on_from_there():
    globex = Globex()
    globex.quote(3700)
    globex.trade(2)
    assert globex.balance == CASH  # a future costs nothing
    globex.quote("3710.25")
    globex.close(0)
    assert globex.variations() == [D("1025.00")]  # 2 x 50 x 10.25
    assert globex.balance == CASH + D("1025.00")
    globex.open(1)
    globex.quote("3690.00")
    globex.close(1)
    assert globex.variations() == [D("1025.00"), D("-2025.00")]
    (held,) = globex.account.holdings.values()
    assert (held.quantity, held.average_price) == (2, D(3690))


@given(st.lists(st.tuples(ticks, st.integers(-5, 5), ticks), min_size=2, max_size=5))
@settings(max_examples=30)
def test_the_cash_is_what_each_trade_made_to_the_settlement_and_in_the_end_to_its_exit(days):
    """Conservation: variation sums to quantity x (exit - entry) x multiplier, exactly."""
    globex, trades = Globex(), []
    for number, (traded, quantity, settled) in enumerate(days):
        globex.open(number)
        globex.quote(D(traded) / 4)
        held = globex.account.quantity(0)
        if quantity and (held * quantity >= 0 or abs(quantity) <= abs(held)):
            globex.trade(quantity)
            trades.append((D(quantity), D(traded) / 4))
        globex.quote(D(settled) / 4)
        globex.close(number)
        made = sum((units * (D(settled) / 4 - price) * 50 for units, price in trades), ZERO)
        assert globex.balance - CASH == made
    held = globex.account.quantity(0)
    globex.quote(exit_price := D(15_000) / 4)
    if held:
        globex.now_ns += 1
        position = globex.account.holdings[0]
        end = position.variation(exit_price)
        assert globex.balance + end == CASH + sum((u * (exit_price - p) * 50 for u, p in trades), ZERO)


@given(st.lists(ticks, min_size=1, max_size=8), st.integers(-9, 9).filter(bool))
@settings(max_examples=30)
def test_the_variations_of_a_position_telescope(settled, quantity):
    prices = [D(each) / 4 for each in settled]
    position = Position(0, ES)
    position.apply(D(quantity), D(3700))
    paid = [position.settle(price) for price in prices]
    assert list(accumulate(paid)) == [quantity * (price - 3700) * 50 for price in prices]
    position.apply(D(-quantity), D("3701.25"))
    assert position.realized == quantity * D("1.25") * 50
    assert position.cost == ZERO


def test_the_last_settlement_ends_the_position():
    friday = globex_sessions(date(2021, 3, 18), date(2021, 3, 19))
    globex = Globex(friday, fees=IBKR_FEES)
    globex.quote("3900.00")
    globex.trade(-3)
    globex.close(0)
    globex.open(1)
    globex.quote("3880.50")
    globex.broker.advance(final_settlement_ns(ES) + 2)
    assert globex.account.holdings == {}
    assert globex.account.cash == CASH + 3 * 50 * D("19.50") - D("6.75")
    causes = [each.change.cause for each in globex.broker.drain() if isinstance(each, Booking)]
    assert causes == [ChangeCause.VARIATION, ChangeCause.CASH_SETTLEMENT]


def test_a_margin_and_not_the_value_is_withheld():
    globex = Globex()
    globex.quote(3800)
    globex.trade(10)
    figures = globex.broker.ledger.figures(globex.account)
    assert (figures.equity, figures.long_value, figures.cash) == (CASH, ZERO, CASH)
    assert figures.initial_margin == D(10 * 50 * 3800) * D("0.0715")
    globex.quote(3700)
    figures = globex.broker.ledger.figures(globex.account)
    assert figures.equity == CASH - 10 * 50 * 100
    assert figures.options_buying_power == figures.equity - D(10 * 50 * 3700) * D("0.0715")


@pytest.mark.parametrize("sign", [1, -1])
def test_more_than_the_margin_allows_is_refused_on_both_sides(sign):
    globex = Globex()
    globex.quote(3800)
    # 1,000,000 / (50 x 3,800 x 7.15 %) = 73.6 contracts
    with pytest.raises(Refused) as refused:
        globex.trade(sign * 74)
    assert refused.value.cause is Cause.BUYING_POWER
    globex.trade(sign * 73)
    assert globex.account.quantity(0) == sign * 73
    with pytest.raises(Refused):
        globex.trade(sign)


def test_a_weekly_option_turns_into_its_future_at_the_close_of_the_stock_exchange():
    globex = Globex()
    globex.quote(3700)
    globex.quote(25, 1)
    globex.trade(4, WEEKLY.symbol)
    globex.close(0)
    globex.open(1)
    globex.now_ns = SESSIONS[1].close_ns - 61 * 60 * 10**9
    globex.quote("3712.75")
    globex.broker.advance(SESSIONS[1].close_ns - 59 * 60 * 10**9)
    (held,) = globex.account.holdings.values()
    assert (held.instrument, held.quantity, held.average_price) == (ES, 4, D(3700))
    assert globex.broker.ledger.figures(globex.account).equity == CASH + 4 * 50 * (D("12.75") - 25)


def test_an_index_beside_it_is_left_alone():
    globex = Globex(instruments=(ES, Index("SPX")))
    globex.quote(3700)
    globex.trade(1)
    globex.quote(3600, 1)
    globex.close(0)
    assert globex.variations() == [ZERO]
