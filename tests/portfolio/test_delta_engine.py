import math
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest

from scalpdesk.core.events import DividendEvent
from scalpdesk.core.units import years_between
from scalpdesk.instruments.contract import Equity, Instruments, Style
from scalpdesk.instruments.deribit import deribit_option, perpetual
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.state import MarketState
from scalpdesk.marketdata.tape import RateCurve
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.option_vols import LEAST_DEVIATION
from scalpdesk.portfolio.positions import Position
from scalpdesk.portfolio.vol_filter import VOL_OF_VOL
from scalpdesk.pricing import greeks
from scalpdesk.pricing.base import OptionGreeks
from scalpdesk_testing.kit.instruments import option, share, straddle_book
from scalpdesk_testing.kit.tape import at, model_price, quote
from scalpdesk_testing.kit.valuation import learn, observed_strike_vol

D = Decimal
HUNDRED = Equity("SPY", multiplier=100)
NOON = at("12:00")
CALL, PUT = 1, 2
STRIKES = (480, 490, 500, 510, 520)


class CountingPricer(ContractPricer):
    """The desk's pricer; counts how often it is asked."""

    def __init__(self):
        super().__init__()
        self.solved = 0

    def implied_vol(self, *args):
        self.solved += 1
        return super().implied_vol(*args)


class Market:
    """A share and a straddle, quoted at a flat volatility."""

    def __init__(self, **engine):
        self.book = straddle_book()
        self.state = MarketState(self.book)
        self.pricer = CountingPricer()
        self.engine = DeltaEngine(self.book, self.state, self.pricer, **engine)

    def quote(self, spot, vol=0.20, now_ns=NOON, only=None):
        for number, instrument in enumerate(self.book):
            if only is not None and number not in only:
                continue
            mid = spot if number == 0 else model_price(instrument, spot, vol, now_ns)
            self.state.apply_quote(quote(number, now_ns, mid - 0.01, mid + 0.01))


@pytest.fixture
def market():
    one = Market()
    one.quote(500.0)
    return one


def test_a_lost_quote_is_not_valued_at_its_mid(market):
    now_ns = NOON + market.state.lost_ns[CALL] + 1
    learn(market.engine, NOON, CALL, PUT)
    market.quote(505.0, now_ns=now_ns, only={0, PUT})
    call, put = (market.engine.state(leg, now_ns) for leg in (CALL, PUT))
    assert (call.is_modelled, put.is_modelled) == (True, False)
    assert call.mark == pytest.approx(model_price(market.book[CALL], 505.0, 0.20, now_ns), rel=0.02)


def test_at_the_expiry_an_option_is_its_payoff(market):
    expires_ns = expiry_instant_ns(market.book[CALL])
    market.quote(500.0, now_ns=expires_ns - 1)
    market.state.apply_quote(quote(0, expires_ns - 1, 503.99, 504.01))
    value = market.engine.state(CALL, expires_ns)
    assert (value.years, value.greeks.delta, value.greeks.gamma) == (0.0, 1.0, 0.0)


@pytest.mark.rows(("rate", "dividend_yield"), [(0.05, 0.0), (0.05, 0.02), (0.0, 0.03)])
def test_the_smile_stands_on_the_forward_at_the_carry_of_its_expiry(rate, dividend_yield):
    market = Market(flat_rate=rate, dividend_yield=dividend_yield, by_parity=False)
    market.quote(500.0)
    years = years_between(NOON, expiry_instant_ns(market.book[CALL]))
    smile = market.engine.smile(CALL, NOON)
    assert smile.forward == pytest.approx(500.0 * math.exp((rate - dividend_yield) * years), rel=1e-12)
    assert smile.years == years
    assert smile.variance_years == market.engine.variance_years(NOON, expiry_instant_ns(market.book[CALL]))
    assert market.engine.smile(0, NOON) is None
    assert market.engine.smile(CALL, expiry_instant_ns(market.book[CALL])) is None


def test_a_mid_is_carried_to_the_spot_of_now_at_the_volatility_of_its_quote(market):
    learn(market.engine, NOON, CALL, PUT)
    assert market.engine.state(CALL, NOON).greeks.price == pytest.approx(
        market.state.quotes[CALL].mid, abs=1e-6
    )
    market.quote(504.0, now_ns=NOON + 1, only={0})
    state = market.engine.state(PUT, NOON + 1)
    carried = model_price(market.book[PUT], 504.0, 0.20, NOON + 1)
    assert state.mark == pytest.approx(carried, abs=1e-6)
    assert state.greeks.price == pytest.approx(carried, abs=1e-6)
    assert state.greeks_at(state.mark_vol).price == pytest.approx(state.mark, abs=1e-9)


def test_the_volatility_of_a_lost_quote_stays_when_the_spot_of_its_instant_is_no_longer_kept(market):
    learn(market.engine, NOON, CALL)
    lost_ns = NOON + market.state.lost_ns[CALL] + 1
    market.quote(500.0, now_ns=lost_ns, only={0})
    first = market.engine.state(CALL, lost_ns)
    assert first.is_modelled
    for count in range(1, 1_100):
        market.state.apply_quote(quote(0, lost_ns + count, 504.99, 505.01))
    assert market.state.quote_in_force(0, NOON) is None
    solved = market.pricer.solved
    again = market.engine.state(CALL, lost_ns + count)
    assert (again.vol, again.spot) == (pytest.approx(first.vol, rel=1e-9), 505.0)
    assert market.pricer.solved == solved


def test_a_contract_is_valued_at_the_volatility_of_its_mark(market):
    value = market.engine.state(CALL, NOON)
    assert value.vol == pytest.approx(0.20, abs=1e-9)
    assert value.vol_is_fresh
    assert (value.spot, value.rate) == (500.0, 0.0)
    contract = market.book[CALL]
    assert value.years == years_between(NOON, expiry_instant_ns(contract))
    expected = greeks(500.0, 500.0, value.years, 0.20, True)
    for name in OptionGreeks._fields:
        assert getattr(value.greeks, name) == pytest.approx(float(getattr(expected, name)), rel=1e-6), name


def test_what_was_not_quoted_has_no_value(market):
    fresh = Market()
    assert fresh.engine.state(CALL, NOON) is None
    fresh.quote(500.0, only={1})
    assert fresh.engine.state(CALL, NOON) is None  # its underlying is missing
    assert market.engine.state(0, NOON) is None  # a share has no option value
    assert fresh.engine.greeks_at(CALL, NOON, 0.2) is None
    assert market.engine.greeks_at(0, NOON, 0.2) is None


def test_equal_questions_at_one_instant_are_answered_once(market):
    first = market.engine.state(CALL, NOON)
    assert market.engine.state(CALL, NOON) is first
    assert market.pricer.solved == 1
    learn(market.engine, NOON, CALL)
    solved = market.pricer.solved
    for later in (1, 2, 3):
        market.engine.state(CALL, NOON + later)
    assert market.pricer.solved == solved  # of one quote the volatility is solved once


def test_a_quotes_volatility_stands_until_the_option_is_quoted_again(market):
    learn(market.engine, NOON, PUT)
    later = NOON + 10**9
    market.quote(505.0, now_ns=later, only={0})
    state = market.engine.state(PUT, later)
    assert state.vol == pytest.approx(0.20, abs=1e-6)  # a second of the session later
    assert state.spot == 505.0
    assert state.mark_vol == pytest.approx(0.20, abs=1e-6)
    market.quote(505.0, vol=0.25, now_ns=later, only={PUT})
    assert market.engine.state(PUT, later).own_vol == pytest.approx(0.25, abs=1e-9)


def test_a_mark_that_no_volatility_explains_takes_the_last_good_one(market):
    learn(market.engine, NOON, CALL)
    later = NOON + 10**9
    market.state.apply_quote(quote(0, later, 559.99, 560.01))  # the call's mark is below intrinsic now
    value = market.engine.state(CALL, later)
    assert value.vol == pytest.approx(0.20, abs=1e-6)
    assert value.mark == pytest.approx(model_price(market.book[CALL], 560.0, 0.20, later), abs=1e-4)
    fresh = Market()
    fresh.quote(500.0)
    fresh.state.apply_quote(quote(0, later, 559.99, 560.01))
    nothing_known = fresh.engine.state(CALL, later)
    assert (nothing_known.vol, nothing_known.vol_is_fresh) == (0.0, False)
    assert nothing_known.greeks.delta == pytest.approx(1.0)


@pytest.mark.rows(
    ("number", "bid", "ask"),
    [
        (0, math.nan, math.nan),  # a row of the share at the very instant of the options
        (CALL, 0.01, 0.02),  # below its payoff
        (CALL, 0.0, math.nan),
    ],
)
def test_a_volatility_stands_while_later_quotes_show_none(number, bid, ask):
    market = Market()
    market.quote(510.0)
    learn(market.engine, NOON, CALL, PUT)
    market.state.apply_quote(quote(number, NOON, bid, ask))
    learn(market.engine, NOON, CALL, PUT)
    later = NOON + 10**9
    market.state.apply_quote(quote(0, later, 509.99, 510.01))
    for leg in (CALL, PUT):
        market.state.apply_quote(quote(leg, later, math.nan, math.nan))
        state = market.engine.state(leg, later)
        assert state.vol == pytest.approx(0.20, abs=1e-4)
        assert state.mark == pytest.approx(model_price(market.book[leg], 510.0, 0.20, later), abs=0.01)


def test_an_option_is_marked_by_the_model_once_its_quote_is_lost(market):
    learn(market.engine, NOON, CALL)
    lost_ns = market.state.lost_ns[CALL]
    market.quote(499.0, now_ns=NOON + lost_ns, only={0})
    carried = model_price(market.book[CALL], 499.0, 0.20, NOON + lost_ns)
    assert market.engine.mark(CALL) == pytest.approx(carried, rel=0.02)
    market.quote(501.0, now_ns=NOON + lost_ns + 1, only={0})
    now = model_price(market.book[CALL], 501.0, 0.20, NOON + lost_ns + 1)
    # sessions count for more variance than the calendar has: a little of the premium
    assert market.engine.mark(CALL) == pytest.approx(now, rel=0.02)
    assert market.engine.mark(0) == 501.0


@pytest.mark.rows(("off_errors", "moves_errors"), [(1.9, 0.0), (2.5, 0.5), (-2.5, -0.5), (-1.9, 0.0)])
def test_the_forward_of_parity_corrects_the_carry_by_what_exceeds_two_standard_errors(
    market, monkeypatch, off_errors, moves_errors
):
    rate, configured, error = 0.05, 0.02, 0.01
    engine = Market(flat_rate=rate, dividend_yield=configured)
    engine.quote(500.0)
    engine = engine.engine
    contract = market.book[CALL]
    years = engine.terms.years(expiry_instant_ns(contract), NOON)
    forward = 500.0 * math.exp((rate - configured) * years)
    found = SimpleNamespace(forward=forward + off_errors * error, uncertainty=error)
    monkeypatch.setattr(engine.vols.strikes, "forward", lambda *_: found)
    monkeypatch.setattr(engine.vols.strikes, "has_pairs", lambda _contract: True)
    wanted = rate - math.log((forward + moves_errors * error) / 500.0) / years
    engine.follow([CALL], NOON)
    assert engine.state(CALL, NOON).dividend_yield == pytest.approx(wanted, abs=1e-12)


def test_the_carry_is_measured_each_quarter_of_an_hour_and_after_a_minute_where_no_quote_shows_it(
    monkeypatch,
):
    market, minute = Market(), 60 * 10**9
    market.quote(500.0)
    engine, contract, forwards = market.engine, market.book[CALL], [501.0, None, 502.0]

    def forward(*_):
        level = forwards.pop(0)
        return None if level is None else SimpleNamespace(forward=level, uncertainty=0.0)

    monkeypatch.setattr(engine.vols.strikes, "forward", forward)
    monkeypatch.setattr(engine.vols.strikes, "has_pairs", lambda _contract: True)
    found = []
    for after_ns in (0, 15 * minute - 1, 15 * minute, 16 * minute - 1, 16 * minute):
        market.quote(500.0, now_ns=NOON + after_ns, only={0})
        engine.follow([CALL], NOON + after_ns)
        if NOON + after_ns >= engine.vols.carry.due_ns:
            engine.vols.carry.measure_due(NOON + after_ns)
        found.append(engine.state(CALL, NOON + after_ns).dividend_yield)
    first = -math.log(501.0 / 500.0) / engine.terms.years(expiry_instant_ns(contract), NOON)
    last = -math.log(502.0 / 500.0) / engine.terms.years(expiry_instant_ns(contract), NOON + 16 * minute)
    assert found == pytest.approx([first] * 4 + [last], rel=1e-12)


def test_time_is_floored_before_the_expiry_instant_and_nothing_from_it_on():
    market = Market(floor_seconds=60.0)
    contract = market.book[CALL]
    end = expiry_instant_ns(contract)
    year = 365 * 86_400
    assert market.engine.terms.years(end, end - 3_600 * 10**9) == pytest.approx(3_600 / year, rel=1e-12)
    assert market.engine.terms.years(end, end - 1) == pytest.approx(60 / year, rel=1e-12)
    assert market.engine.terms.years(end, end) == 0.0
    assert market.engine.terms.years(end, end + 10**9) == 0.0


def test_at_expiry_delta_is_all_or_nothing():
    market = Market()
    end = expiry_instant_ns(market.book[CALL])
    market.state.apply_quote(quote(0, end, 504.99, 505.01))
    market.state.apply_quote(quote(CALL, end, 4.9, 5.1))
    market.state.apply_quote(quote(PUT, end, 0.01, 0.02))
    assert market.engine.state(CALL, end).greeks.delta == 1.0
    assert market.engine.state(PUT, end).greeks.delta == 0.0


def test_the_rate_is_the_curves_unless_one_is_given():
    curve = RateCurve((30.0, 90.0), (0.04, 0.05))
    market = Market()
    market.state.rate_curve = curve
    assert market.engine.rate(60 / 365) == pytest.approx(0.045)
    flat = Market(flat_rate=0.01)
    flat.state.rate_curve = curve
    assert flat.engine.rate(60 / 365) == 0.01


def test_a_rate_is_asked_of_the_curve_in_force_for_each_maturity():
    market = Market()
    first, second = (RateCurve((30.0, 90.0), rates) for rates in ((0.04, 0.05), (0.01, 0.03)))
    rates = []
    for curve, days in ((first, 30), (first, 90), (first, 90), (second, 90), (second, 30), (first, 30)):
        market.state.rate_curve = curve
        rates.append(market.engine.rate(days / 365))
    assert rates == pytest.approx([0.04, 0.05, 0.05, 0.03, 0.01, 0.04])


def test_greeks_can_be_asked_at_another_volatility(market):
    low = market.engine.greeks_at(CALL, NOON, 0.10)
    expected = greeks(
        500.0, 500.0, market.engine.terms.years(expiry_instant_ns(market.book[CALL]), NOON), 0.10, True
    )
    assert low.gamma == pytest.approx(float(expected.gamma), rel=1e-9)


@pytest.mark.parametrize("configured", [0.0, 0.01])
def test_over_an_ex_date_the_forward_stands_before_the_first_option_is_quoted(configured):
    """A yield of the day before would value the dividend a second time: a straddle and 50 shares, 75 USD."""
    paid, close_ns, open_ns = 1.2, at("16:00"), at("16:00") + 63_001 * 10**9
    book = straddle_book(480, 490, 500, 510, 520)
    state = MarketState(book)
    engine = DeltaEngine(book, state, ContractPricer(), dividend_yield=configured)
    state.apply_dividend(DividendEvent(0, close_ns, close_ns, open_ns - 10**9, D("1.2")))
    call = next(number for number, each in enumerate(book) if each.symbol.endswith("C00500000"))
    for number, instrument in enumerate(book):
        mid = 500.0 if number == 0 else model_price(instrument, 500.0 - paid, 0.20, close_ns)
        state.apply_quote(quote(number, close_ns, mid - 0.01, mid + 0.01))
    learn(engine, close_ns, call)
    before = engine.state(call, close_ns)
    assert before.dividend_yield == pytest.approx(0.0, abs=2e-3)
    assert before.vol == pytest.approx(0.20, abs=2e-3)
    engine.vols.carry.measure_due(open_ns - 1)  # without a quote of the session nothing is measured
    state.apply_quote(quote(0, open_ns, 500.0 - paid - 0.01, 500.0 - paid + 0.01))
    engine.vols.carry.measure_due(open_ns)
    found = engine.state(call, open_ns)
    assert found.dividend_yield == pytest.approx(0.0, abs=2e-3)
    assert found.vol == pytest.approx(0.20, abs=0.01)  # that of the quote at its own instant
    aged = model_price(book[call], 500.0 - paid, found.vol, open_ns)
    assert found.greeks.price == pytest.approx(aged, abs=0.03)


def test_a_dividend_yield_lowers_the_calls_delta():
    plain, yielding = Market(), Market(dividend_yield=0.05)
    for one in (plain, yielding):
        one.quote(500.0)
    low = yielding.engine.greeks_at(CALL, NOON, 0.2).delta
    assert low < plain.engine.greeks_at(CALL, NOON, 0.2).delta - 0.02


def test_each_underlying_has_its_own_dividend_yield():
    book = straddle_book()
    other = (book.add(share("QQQ")), book.add(option("C", 500, root="QQQ")))
    state = MarketState(book)
    engine = DeltaEngine(book, state, ContractPricer(), dividend_yield=0.01, dividend_yields={"QQQ": 0.06})
    for number in (0, 1, *other):
        state.apply_quote(
            quote(number, NOON, 500.0, 500.0) if number in (0, other[0]) else quote(number, NOON, 12.0, 12.2)
        )
    for number, expected in ((CALL, 0.01), (other[1], 0.06)):
        found = engine.state(number, NOON)
        contract = book[number]
        terms = (500.0, 500.0, found.years, found.vol, True)
        by_hand = greeks(*terms, rate=found.rate, dividend_yield=expected, style=contract.style.value)
        assert found.greeks.price == pytest.approx(12.1, abs=1e-6)
        assert float(by_hand.delta) == pytest.approx(found.greeks.delta, rel=1e-6)
        assert engine.greeks_at(number, NOON, found.vol) == found.greeks


def test_the_book_sums_options_by_contract_and_multiplier_and_shares_beside_them(market):
    call, put = (market.engine.state(number, NOON).greeks for number in (CALL, PUT))
    held = [Position(0, Equity("SPY"), D(-30)), Position(CALL, HUNDRED, D(3)), Position(PUT, HUNDRED, D(3))]
    total = market.engine.position_greeks(held, NOON)
    assert total.option_delta_shares == pytest.approx(300 * (call.delta + put.delta))
    assert total.owned_shares == -30.0
    assert total.net_delta_shares == pytest.approx(300 * (call.delta + put.delta) - 30)
    assert total.gamma_shares_per_usd == pytest.approx(300 * (call.gamma + put.gamma))
    assert total.theta_usd_per_day == pytest.approx(300 * (call.theta + put.theta) / 365)
    assert total.vega_usd_per_point == pytest.approx(300 * (call.vega + put.vega) / 100)


def test_ten_contracts_at_delta_065_are_650_shares():
    class Fixed(ContractPricer):
        def implied_vol(self, *args):
            return 0.2

        def greeks(self, *args, **carry):
            return OptionGreeks(10.0, 0.65, 0, 0, 0, 0, 0, 0, 0)

    book = straddle_book()
    state = MarketState(book)
    for number in (0, 1):
        state.apply_quote(quote(number, NOON, 9.9, 10.1))
    engine = DeltaEngine(book, state, Fixed())
    assert engine.position_greeks([Position(CALL, HUNDRED, D(10))], NOON).net_delta_shares == 650.0


def test_an_option_that_was_never_quoted_adds_nothing_and_is_no_share():
    market = Market()
    market.quote(500.0, only={0})
    total = market.engine.position_greeks(
        [Position(CALL, HUNDRED, D(1)), Position(0, Equity("SPY"), D(5))], NOON
    )
    assert (total.option_delta_shares, total.owned_shares) == (0.0, 5.0)


def test_an_inverse_perpetual_counts_in_coin_at_its_mark():
    instruments = Instruments([perpetual("BTC"), perpetual("ETH")])
    state = MarketState(instruments)
    state.apply_quote(quote(0, NOON, 59_990.0, 60_010.0))
    engine = DeltaEngine(instruments, state, ContractPricer())
    held = [Position(0, perpetual("BTC"), D(-3_000)), Position(1, perpetual("ETH"), D(5))]
    # 30,000 dollars sold at 60,000; of ether no price is known yet
    assert engine.position_greeks(held, NOON).net_delta_shares == pytest.approx(-0.5)
    state.apply_quote(quote(1, NOON, 2_499.0, 2_501.0))
    assert engine.position_greeks(held, NOON).net_delta_shares == pytest.approx(-0.5 + 5 / 2_500)


@pytest.mark.rows(
    ("style", "root", "american"), [(None, "SPY", True), (None, "XSP", False), (Style.EUROPEAN, "SPY", False)]
)
def test_each_contract_is_priced_in_its_own_style_unless_told_otherwise(style, root, american):
    contract = option("P", 600, root=root)
    got = ContractPricer(style).greeks(contract, 500.0, 0.5, 0.2, 0.08, 0.0)
    kind = "american" if american else "european"
    expected = greeks(500.0, 600.0, 0.5, 0.2, False, rate=0.08, style=kind)
    assert got.price == pytest.approx(float(expected.price), rel=1e-9)
    assert share().multiplier == 1


@pytest.mark.rows("root", ["SPY", "XSP", "BTC"])
def test_the_quotes_of_an_expiry_together_are_each_alone(root):
    is_coin, pricer, carry = root == "BTC", ContractPricer(), (0.08, 0.01)
    calls = deribit_option("BTC-27MAR26-90000-C"), deribit_option("BTC-27MAR26-90000-P")
    sides = calls if is_coin else (option("C", 600, root=root), option("P", 600, root=root))
    strike = float(sides[0].strike)
    prices = [pricer.greeks(side, 0.99 * strike, 0.1, 0.3, *carry).price for side in sides]
    columns = np.outer((0.99 * strike, strike, 0.1, *carry), np.ones(2))
    vols, vegas = pricer.vols_and_vegas(sides[0], np.array(prices), np.array([True, False]), *columns)
    for place, (side, price) in enumerate(zip(sides, prices, strict=True)):
        assert vols[place] == pricer.implied_vol(side, price, 0.99 * strike, 0.1, *carry)
        alone = pricer.greeks(side, 0.99 * strike, 0.1, vols[place], *carry)
        assert vegas[place] == alone.vega
        assert vols[place] == pytest.approx(0.3, rel=1e-9)


def test_a_price_below_intrinsic_has_no_volatility():
    assert ContractPricer().implied_vol(option("C", 400), 50.0, 500.0, 0.1, 0.0, 0.0) is None


def test_the_carry_is_that_of_the_desks_first_look_and_not_of_an_onlookers():
    """A page that asked between two events set when the carry was measured, and the next hedge with it."""
    found = []
    for is_asked in (False, True):
        book = straddle_book(480, 490, 500, 510, 520)
        market = Market()
        market.book, market.state = book, MarketState(book)
        engine = market.engine = DeltaEngine(book, market.state, ContractPricer(), dividend_yield=0.08)
        market.quote(500.0)
        if is_asked:
            assert engine.greeks_at(CALL, NOON, 0.2).price > 0.0
            assert engine.state(CALL, NOON).dividend_yield == pytest.approx(0.0, abs=1e-3)
        later = NOON + 10**9
        market.quote(503.0, now_ns=later)
        market.quote(501.0, now_ns=later + 1, only={0})
        learn(engine, later + 1, CALL)
        state = engine.state(CALL, later + 1)
        found.append((state.dividend_yield, state.strike_vol, state.greeks))
    assert found[0] == found[1]


@pytest.mark.rows(
    ("bid", "ask", "mark"),
    [
        (math.nan, 30.0, None),  # None: what the model says
        (1.0, math.nan, None),
        (1.0, 0.0, None),
        (math.nan, 9.0, 9.0),
        (20.0, math.nan, 20.0),
        (0.0, 9.0, 9.0),  # a vendor's zero
        (0.05, 30.0, None),
        (0.01, 8.5, 8.5),
        (0.0, 0.3, None),  # the put says otherwise
    ],
)
def test_an_option_whose_quote_shows_no_price_is_marked_by_the_model_within_its_sides(market, bid, ask, mark):
    learn(market.engine, NOON, CALL)
    before = market.engine.mark(CALL)
    for minute in range(1, 61):  # the one side is renewed for an hour
        now_ns = NOON + minute * 60 * 10**9
        market.quote(498.0, now_ns=now_ns, only={0, PUT})
        market.state.apply_quote(quote(CALL, now_ns, bid, ask))
        model = model_price(market.book[CALL], 498.0, 0.20, now_ns)
        assert market.engine.mark(CALL) == pytest.approx(model if mark is None else mark, rel=0.01)
        valued = market.engine.state(CALL, now_ns)
        assert valued.mark == pytest.approx(market.engine.mark(CALL), abs=1e-6)
        assert valued.is_modelled
        # three deviations to either side: the width of a quote, and what volatilities move in the time since
        apart = LEAST_DEVIATION + 3.0 * VOL_OF_VOL * math.sqrt(market.engine.variance_years(NOON, now_ns))
        sides = (0.0, math.inf) if ask == 0.3 else (max(0.0, bid), ask if ask > 0.0 else math.inf)
        for end, away in ((valued.low, -apart), (valued.high, apart)):
            price = model_price(market.book[CALL], 498.0, valued.own_vol * math.exp(away), now_ns)
            assert end == pytest.approx(min(max(price, sides[0]), sides[1]), rel=1e-4)
    assert before == pytest.approx(model_price(market.book[CALL], 500.0, 0.20, NOON), abs=1e-6)


def test_a_put_in_the_money_whose_bid_is_lost_is_marked_by_its_strikes_call_and_not_below_its_payoff(market):
    """Its bid was counted as zero: half of the premium was lost in an instant."""
    state = market.state
    later = NOON + 60 * 10**9
    for spot in (480.0, 440.0):
        market.quote(spot, now_ns=later, only={0, CALL})
        put = model_price(market.book[PUT], spot, 0.20, later)
        state.apply_quote(quote(PUT, later, math.nan, put + 0.05))
        assert market.engine.mark(PUT) == pytest.approx(put, abs=0.02)
        assert market.engine.mark(PUT) >= 500.0 - spot
        assert market.engine.state(PUT, later).low >= 500.0 - spot
    told = Market(flat_rate=0.08)  # a model that knows no early exercise
    told.engine = DeltaEngine(told.book, told.state, ContractPricer(Style.EUROPEAN), flat_rate=0.08)
    told.quote(420.0)
    told.state.apply_quote(quote(PUT, later, math.nan, 99.0))
    assert told.engine.state(PUT, later).low == told.engine.mark(PUT) == 80.0


def test_a_lost_leg_is_marked_at_the_volatility_that_its_hedge_was_sized_with():
    """Its strike had 20 % when it was quoted; the smile that hedges go by has moved to 28 % since."""
    book = Instruments([share(), *(option(side, strike=strike) for strike in STRIKES for side in "CP")])
    market = Market()
    market.book, market.state = book, MarketState(book)
    market.engine = DeltaEngine(book, market.state, ContractPricer())
    market.quote(500.0)
    lost = next(n for n, one in enumerate(book) if n and one.strike == 500 and one.is_call)
    both = {lost, lost + 1}
    for minute in range(1, 11):
        now_ns = NOON + minute * 60 * 10**9
        market.quote(499.5, vol=0.28, now_ns=now_ns, only=set(range(len(book))) - both)
        hedged = observed_strike_vol(market.engine, lost, now_ns)
    assert hedged.vol == pytest.approx(0.28, abs=0.01)
    valued = market.engine.state(lost, now_ns)
    assert valued.is_modelled
    assert valued.vol == pytest.approx(hedged.vol, abs=1e-9)
    price = model_price(book[lost], 499.5, hedged.vol, now_ns)
    assert market.engine.mark(lost) == pytest.approx(price, abs=0.01)
    later = now_ns + 3_600 * 10**9  # nor is the rest of the expiry quoted now: the smile may have moved
    market.quote(499.5, now_ns=later, only={0})
    valued = market.engine.state(lost, later)
    apart = LEAST_DEVIATION + 3.0 * VOL_OF_VOL * math.sqrt(market.engine.variance_years(now_ns, later))
    for end, away in ((valued.low, -apart), (valued.high, apart)):
        price = model_price(book[lost], 499.5, valued.vol * math.exp(away), later)
        assert end == pytest.approx(price, rel=1e-4)


@pytest.mark.rows("move", [0.5, -0.5])
@pytest.mark.rows(("side", "away"), [(PUT, -12.0), (PUT, -14.0), (CALL, 13.0)])
def test_a_move_of_the_spot_is_no_volatility_of_a_leg_in_the_money_whose_quote_waits(side, away, move):
    market, now_ns = Market(), NOON + 10**9
    market.quote(500.0 + away)
    learn(market.engine, NOON, CALL, PUT)
    market.quote(500.0 + away + move, now_ns=now_ns, only={0})
    state = market.engine.state(side, now_ns)
    exact = greeks(state.spot, 500.0, state.years, 0.20, side == CALL)
    assert state.vol == pytest.approx(0.20, abs=2e-4)
    assert state.greeks.delta == pytest.approx(float(exact.delta), abs=5e-4)
    assert state.mark == pytest.approx(float(exact.price), abs=2e-4)
    assert state.greeks_at(state.mark_vol).price == pytest.approx(state.mark, abs=1e-6)
