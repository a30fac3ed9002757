"""The broker's accounts in coin: trades, fees, funding, delivery, and the standard margin."""

from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.core.events import PositionChanged
from scalpdesk.core.intents import OrderType, Side
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.contract import Instruments, LinearPerpetual, Right
from scalpdesk.instruments.deribit import (
    DERIBIT_FEES,
    deribit_option,
    funding,
    perpetual,
    perpetual_margin,
    short_option_margin,
)
from scalpdesk.instruments.sessions import coin_session, expiry_instant_ns
from scalpdesk.instruments.settlement import settle_option
from scalpdesk.instruments.ticks import TickRule
from scalpdesk.margin.coin import CoinMargin, coin_requirement
from scalpdesk.margin.holdings import Holding
from scalpdesk.marketdata.tape import FundingRate
from scalpdesk.simulation.faults import Fault
from scalpdesk.simulation.hours import TapeHours
from scalpdesk.simulation.orders import OrderRequest
from scalpdesk_testing.kit.broker import Market

D = Decimal
HALF_SATOSHI = D("5e-9")
DAY = date(2026, 3, 5)
SESSION = coin_session(DAY)
CALL, PUT = deribit_option("BTC-6MAR26-90000-C"), deribit_option("BTC-6MAR26-90000-P")
SWAP = 0
LINEAR = LinearPerpetual("BTC_USDC-PERPETUAL", TickRule(D("0.5")))


class Venue(Market):
    """A broker with one account in coin, and its market by hand."""

    def __init__(self, cash="2", coin="BTC"):
        options = (deribit_option(each.symbol.replace("BTC", coin)) for each in (CALL, PUT))
        super().__init__(
            Instruments([perpetual(coin), *options]),
            cash=D(cash),
            opens_ns=None,
            hours=TapeHours([SESSION]),
            broker={"margin": CoinMargin(), "fees": DERIBIT_FEES},
            currency=coin,
        )
        self.broker.open_session(SESSION.open_ns, SESSION.close_ns)
        self.now_ns = SESSION.open_ns

    def quote(self, number, bid, ask):
        super().quote(number, self.now_ns, bid, ask, 1e6, 1e6)

    def market(self, spot, call=0.02, put=0.02):
        self.quote(0, spot - 0.25, spot + 0.25)
        self.quote(1, call - 0.0005, call + 0.0005)
        self.quote(2, put - 0.0005, put + 0.0005)

    @property
    def figures(self):
        return self.broker.ledger.figures(self.account)


@pytest.mark.parametrize(("coins", "initial", "kept"), [("25", 53_125, 28_125), ("350", 1_312_500, 962_500)])
def test_a_linear_perpetual_asks_for_its_coins_margin_in_dollars(coins, initial, kept):
    """The venue's own examples ("Linear Perpetual"); it asked for nothing."""
    held = Holding(LINEAR, D(coins), D(100_000))
    assert coin_requirement([held], lambda _name: D(100_000)) == (initial, kept)


def test_a_linear_perpetual_pays_its_funding_in_dollars():
    (paid,) = funding(LINEAR, SWAP, D("0.5"), D(90_000), D("0.0008"), D(1), "hour", 1)
    assert paid.cash_change == D("-4.5")  # 0.5 coins at 90,000, an eighth of 0.08 %


def test_less_than_one_coin_of_a_bought_option_asks_for_no_margin():
    assert coin_requirement([Holding(CALL, D("0.5"), D("0.02"))], lambda _name: D(90_000)).initial == 0
    assert coin_requirement([Holding(CALL, D("-0.5"), D("0.02"))], lambda _name: D(90_000)).initial > 0


@pytest.fixture
def venue():
    made = Venue()
    made.market(90_000.0)
    return made


def test_a_tenth_of_a_coin_is_bought_in_coin_with_its_fee(venue):
    venue.order(1, 0.3)
    paid = D("0.3") * D("0.0205")
    assert (venue.account.cash, venue.account.others) == (D(2) - paid - D("0.3") * D("0.0003"), {})
    assert venue.account.quantity(1) == D("0.3")


@pytest.mark.rows(("coin", "step", "off"), [("BTC", 0.1, 0.25), ("ETH", 1, 0.1), ("ETH", 1, 1.5)])
def test_an_amount_off_the_step_of_its_coin_is_refused(coin, step, off):
    venue = Venue(cash="20", coin=coin)
    venue.market(87_000.0)
    with pytest.raises(Refused) as refused:
        venue.order(1, off)
    assert refused.value.cause is Cause.MALFORMED
    assert venue.order(1, step).filled == D(str(step))


def test_a_perpetual_moves_no_equity_but_its_spread_and_fee(venue):
    venue.order(0, 9_000)
    coins = D(90_000) / D("90000.25")
    assert abs(venue.account.cash - (D(2) + coins - coins * D("0.0005"))) < HALF_SATOSHI
    assert venue.figures.equity == venue.account.cash - D(90_000) / D(90_000)
    venue.market(100_000.0)
    assert venue.figures.equity == venue.account.cash - D("0.9")


@pytest.mark.parametrize(("limit", "later", "rate"), [(90_001, 90_000, "0.0005"), (89_990, 89_989, "0")])
def test_an_order_in_the_perpetual_that_rested_pays_no_taker_fee(venue, limit, later, rate):
    request = OrderRequest("BTC-PERPETUAL", Side.BUY, OrderType.LIMIT, quantity=D(100), limit_price=D(limit))
    venue.broker.submit(venue.account.name, request)
    venue.market(float(later))
    (execution,) = venue.account.executions
    assert execution.is_maker is (rate == "0")
    assert abs(execution.fee - D(1_000) / execution.price * D(rate)) < HALF_SATOSHI


@pytest.mark.rows(("number", "quantity"), [(0, 500), (0, -500), (1, 0.5), (2, -0.5)])
def test_a_busted_trade_leaves_the_coin_of_before_it(venue, number, quantity):
    venue.order(number, quantity)
    (execution,) = venue.account.executions
    assert venue.broker.staged.bust(execution)
    assert abs(venue.account.cash - 2) < HALF_SATOSHI
    assert venue.account.holdings == {}


def test_a_corrected_perpetual_is_booked_at_its_new_price(venue):
    venue.order(0, 500)
    (execution,) = venue.account.executions
    assert venue.broker.staged.correct(execution, D(80_000))
    assert venue.account.cash == D(2) + D("0.0625") - D("0.00003125")
    assert venue.account.quantity(SWAP) == 500


@pytest.mark.rows(("coins", "part"), [(0.5, "0.2"), (1, "0.4"), (0.1, "0.1")])
def test_a_fault_fills_a_part_of_less_than_one_coin(venue, coins, part):
    venue.broker.ledger.faults.inject(Fault("partial_fill", fraction=0.4, seconds=1.0))
    order = venue.order(1, coins)
    assert order.filled == D(part)
    venue.broker.advance(venue.now_ns + 2 * NANOS_PER_SECOND)
    assert order.filled == D(str(coins))


def test_a_european_option_is_neither_exercised_nor_assigned_before_its_end(venue):
    venue.order(1, 0.5)
    venue.order(2, -0.5)
    cash = venue.account.cash
    with pytest.raises(Refused):
        venue.broker.expiry.exercise(venue.account.name, 1)
    assert venue.broker.expiry.assign(venue.account.name, 2, D(1)) is False
    assert (venue.account.cash, venue.account.quantity(SWAP)) == (cash, 0)


def test_funding_is_paid_by_longs_on_each_account(venue):
    venue.order(0, 5_000)
    venue.bookings()
    before = venue.account.cash
    rate = FundingRate("BTC-PERPETUAL", venue.now_ns, D("0.00075"), D(100_000), hours=D(8))
    venue.broker.actions.pay_funding(rate)
    (change,) = venue.bookings()
    assert isinstance(change, PositionChanged)
    assert (change.cause, change.quantity_change) == ("funding", 0)
    assert change.cash_change == venue.account.cash - before == D("-0.000375")


@pytest.mark.rows(
    ("option", "held", "level", "payoff", "fee"),
    [
        (CALL, "1.5", "112500", "0.3", "0.000225"),  # 1.5 x 0.2, and 1.5 x 0.00015
        (CALL, "-1", "112500", "-0.2", "0.00015"),
        (PUT, "1", "45000", "1", "0.00015"),
        (CALL, "1", "90030", "0.000333222259", "0.0000416527824"),  # an eighth of the payoff
    ],
)
def test_an_inverse_option_pays_coin_at_the_delivery_price_less_its_fee(option, held, level, payoff, fee):
    (paid,) = settle_option(option, 1, 0, D(held), D(level), 99, fees=DERIBIT_FEES)
    assert (paid.cause, paid.quantity_change) == ("cash_settlement", -D(held))
    # the venue's ledger has eight decimals, of the payoff and of the fee
    assert abs(paid.cash_change - (D(payoff) - D(fee))) <= 2 * HALF_SATOSHI
    assert abs(-paid.quantity_change * paid.price - D(payoff)) <= HALF_SATOSHI


def test_out_of_the_money_nothing_is_paid_and_nothing_charged():
    (change,) = settle_option(PUT, 2, 0, D(1), D(90_000), 99, fees=DERIBIT_FEES)
    assert (change.cause, change.cash_change) == ("expired_worthless", 0)


def test_the_delivery_price_of_the_market_settles_a_holding_at_eight_utc(venue):
    venue.order(1, 1)
    venue.order(2, 1)
    venue.bookings()
    before = venue.account.cash
    venue.broker.expiry.settlement_of = lambda symbol, day: (
        D(100_000) if (symbol, day) == ("BTC-PERPETUAL", date(2026, 3, 6)) else None
    )
    venue.now_ns = expiry_instant_ns(CALL)
    venue.market(101_000.0)
    venue.broker.advance(venue.now_ns)
    venue.broker.expiry.close_session(venue.now_ns)
    assert venue.account.cash - before == D("0.1") - D("0.00015")
    assert not venue.account.holdings


# margin -------------------------------------------------------------------------------------------------


def test_bought_options_are_paid_and_ask_for_no_margin(venue):
    venue.order(1, 1)
    assert (venue.figures.initial_margin, venue.figures.maintenance_margin) == (0, 0)
    assert venue.figures.options_buying_power == venue.account.cash


def test_more_premium_than_there_is_coin_is_refused(venue):
    with pytest.raises(Refused) as refused:
        venue.order(1, 98)
    assert refused.value.cause is Cause.BUYING_POWER
    assert refused.value.facts["buying_power"] == "2.00000000"


def test_a_sold_option_is_margined_at_its_mark(venue):
    venue.order(1, -1)
    asked = short_option_margin(Right.CALL, D(90_000), D(90_000), D("0.02"))
    assert (
        (venue.figures.initial_margin, venue.figures.maintenance_margin) == asked == (D("0.17"), D("0.095"))
    )


def test_a_perpetual_is_refused_beyond_fifty_times_the_coin(venue):
    venue.order(0, 9_000 * 10)
    coins = D(900_000) / D(90_000)
    assert venue.figures.initial_margin == perpetual_margin("BTC", coins).initial == coins * D("0.0205")
    with pytest.raises(Refused):
        venue.order(0, 9_000 * 90)


def test_every_execution_and_booking_leaves_cash_and_value_in_step(venue):
    """The balance is what was brought, less premiums and fees, with what inverse contracts exchanged."""
    venue.order(1, 0.7)
    venue.order(0, -500)
    venue.now_ns += NANOS_PER_SECOND
    venue.market(91_000.0, call=0.025)
    venue.order(0, 500)
    venue.order(1, -0.7)
    moved = D(0)
    for execution in venue.account.executions:
        size = D(10) if execution.instrument_id == SWAP else D(1)
        signed = execution.side.sign * execution.quantity * size
        moved += signed / execution.price if execution.instrument_id == SWAP else -signed * execution.price
        moved -= execution.fee
    assert venue.account.cash == D(2) + moved
    assert venue.figures.equity == venue.account.cash
