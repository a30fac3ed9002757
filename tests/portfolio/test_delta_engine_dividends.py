"""The desk with a cash dividend that it knows: forward, volatility, marks and ex-nights."""

import math
from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.core.events import DividendEvent
from scalpdesk.core.units import years_between
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import expiry_instant_ns, session_on
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.explain import PnlExplain
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.positions import Account, PositionManager
from scalpdesk.pricing import greeks
from scalpdesk_testing.kit.bookings import booked
from scalpdesk_testing.kit.instruments import option, share, straddle_book
from scalpdesk_testing.kit.tape import at, quote
from scalpdesk_testing.kit.valuation import learn

D = Decimal
DAY, EX_DAY, EXPIRY = date(2015, 9, 17), date(2015, 9, 18), date(2015, 10, 16)
STRIKES = (190, 195, 200, 205, 210)
AMOUNT = "1.25"
CALL = 1 + 2 * STRIKES.index(200)
PUT = CALL + 1


class Market:
    """SPY and five strikes, quoted at a flat volatility with the dividend before its ex-date."""

    def __init__(self, rate=0.002, **engine):
        self.book = straddle_book(*STRIKES, expiry=EXPIRY)
        self.rate = rate
        self.state = MarketState(self.book)
        self.engine = DeltaEngine(self.book, self.state, ContractPricer(), flat_rate=rate, **engine)
        self.ex_ns = session_on(EX_DAY).open_ns

    def declare(self, now_ns, amount=AMOUNT, ex_ns=None):
        self.state.apply_dividend(DividendEvent(0, now_ns, now_ns, ex_ns or self.ex_ns, D(amount)))

    def price(self, number, spot, vol, now_ns):
        contract = self.book[number]
        ahead = years_between(now_ns, self.ex_ns)
        found = greeks(
            spot,
            float(contract.strike),
            years_between(now_ns, expiry_instant_ns(contract)),
            vol,
            contract.is_call,
            rate=self.rate,
            dividends=[(ahead, float(AMOUNT))],
        )
        return float(found.price)

    def quote(self, now_ns, spot, vol=0.20, half=0.01):
        for number in range(len(self.book)):
            mid = spot if number == 0 else self.price(number, spot, vol, now_ns)
            self.state.apply_quote(quote(number, now_ns, mid - half, mid + half))


def test_volatility_delta_and_forward_are_those_of_the_dividend_and_no_yield_is_left():
    market, now_ns = Market(), at("12:00", DAY)
    market.declare(now_ns)
    market.quote(now_ns, 200.0)
    years = years_between(now_ns, expiry_instant_ns(market.book[CALL]))
    for number in (CALL, PUT):
        found = market.engine.state(number, now_ns)
        exact = greeks(
            200.0,
            200.0,
            years,
            0.20,
            number == CALL,
            rate=0.002,
            dividends=[(years_between(now_ns, market.ex_ns), float(AMOUNT))],
        )
        assert found.vol == pytest.approx(0.20, abs=5e-4)
        assert found.greeks.delta == pytest.approx(float(exact.delta), abs=2e-3)
        assert found.dividend_yield == pytest.approx(0.0, abs=5e-4)
    facts = market.engine.vols.facts(CALL)
    forward = market.engine.vols.forward(facts, 200.0, now_ns)
    assert forward == pytest.approx((200.0 - float(AMOUNT)) * math.exp(0.002 * years), abs=0.02)


def test_call_and_put_of_a_strike_show_one_volatility_only_with_the_dividend():
    now_ns, spread = at("12:00", DAY), []
    for is_known in (True, False):
        market = Market(by_parity=False)
        if is_known:
            market.declare(now_ns)
        market.quote(now_ns, 200.0)
        call, put = (market.engine.state(number, now_ns).vol for number in (CALL, PUT))
        spread.append(abs(call - put))
    assert spread[0] < 2e-3
    assert spread[1] > 0.02


def test_what_becomes_known_is_no_longer_yield_and_the_forward_stands():
    market, now_ns = Market(), at("12:00", DAY)
    market.quote(now_ns, 200.0)
    facts = market.engine.vols.facts(CALL)
    market.engine.follow([CALL], now_ns)
    before = market.engine.vols.forward(facts, 200.0, now_ns)
    measured = facts.carry.dividend_yield
    assert measured == pytest.approx(1.25 / 200.0 / years_between(now_ns, facts.expires_ns), rel=0.05)
    market.declare(now_ns)
    assert facts.carry.dividend_yield == pytest.approx(0.0, abs=0.06 * measured)
    assert market.engine.vols.forward(facts, 200.0, now_ns) == pytest.approx(before, abs=0.03)


def test_nothing_is_known_before_its_event_and_nothing_counts_beyond_the_expiry():
    market, now_ns = Market(), at("12:00", DAY)
    market.quote(now_ns, 200.0)
    facts = market.engine.vols.facts(CALL)
    assert facts.carry.dividends == ()
    market.declare(now_ns, ex_ns=session_on(date(2015, 12, 18)).open_ns)
    assert facts.carry.dividends == ()
    market.declare(now_ns)
    assert [amount for _, amount, _ in facts.carry.dividends] == [1.25]


def test_asking_between_two_events_changes_no_answer():
    asked, silent = Market(), Market()
    now_ns = at("12:00", DAY)
    for market in (asked, silent):
        market.declare(now_ns)
        market.quote(now_ns, 200.0)
    for number in range(1, len(asked.book)):
        asked.engine.state(number, now_ns)
        asked.engine.smile(number, now_ns)
        asked.engine.greeks_at(number, now_ns, 0.31)
    for market in (asked, silent):
        learn(market.engine, now_ns, CALL, PUT)
    for number in (CALL, PUT):
        first, second = (market.engine.state(number, now_ns) for market in (asked, silent))
        assert (first.vol, first.greeks) == (second.vol, second.greeks)


def test_a_deep_put_is_marked_within_its_own_quote():
    """At the volatility of its strike's call: one yield at the money put it 35 cents below its bid."""
    market, start_ns = Market(), at("12:00", DAY)
    market.declare(start_ns)
    market.quote(start_ns, 200.0)
    market.engine.state(PUT, start_ns)
    for step, spot in enumerate((197.0, 194.0, 191.0, 188.0, 185.0)):
        now_ns = start_ns + (step + 1) * 60 * 10**9
        market.quote(now_ns, spot, vol=0.20 + 0.01 * step)
        mark = market.engine.state(PUT, now_ns).mark
        seen = market.state.quotes[PUT]
        assert seen.bid - 0.005 <= mark <= seen.ask + 0.005


@pytest.mark.rows("spot", [200.0, 193.0, 207.0])
def test_over_an_ex_night_a_held_straddle_has_neither_carry_nor_vega(spot):
    """Four straddles and the shares that hedge them; the share falls by the dividend, nothing else moves."""
    market = Market()
    close_ns, open_ns = session_on(DAY).close_ns, session_on(EX_DAY).open_ns
    account, positions = Account(D(500_000)), PositionManager(market.book)
    explain = PnlExplain(market.book, market.state, market.engine, account, positions, 0)
    market.declare(at("09:30", DAY))
    market.quote(close_ns, spot)
    held = {0: -48, CALL: 4, PUT: 4}
    for number, quantity in held.items():
        price = D(str(round(market.engine.mark(number), 4)))
        booked(positions, number, D(quantity), price, f"x{number}")
        account.cash -= market.book[number].value(D(quantity), price)
    explain.begin(close_ns)
    explain.mark(close_ns, is_anchor=True)
    start = {name: float(amount) for name, amount in explain.totals.items()}
    market.state.open_session(open_ns)
    explain.legs.open_session()
    paid = D(AMOUNT) * D(held[0])
    account.cash += paid
    explain.note_carry(paid)
    after = spot - float(AMOUNT)
    by_clock = market.engine.variance_years
    expires_ns = expiry_instant_ns(market.book[CALL])
    # the same volatility by the clock of variance that theta goes by: another by the calendar
    then = by_clock(close_ns, expires_ns) / years_between(close_ns, expires_ns)
    now = by_clock(open_ns, expires_ns) / years_between(open_ns, expires_ns)
    explain.mark(open_ns)  # before the first quote of the session
    market.quote(open_ns + 10**9, after, vol=0.20 * math.sqrt(now / then))
    explain.mark(open_ns + 10**9)
    part = {name: float(amount) - start[name] for name, amount in explain.totals.items()}
    assert part["carry"] == pytest.approx(0.0, abs=2.0)
    assert part["vega"] == pytest.approx(0.0, abs=2.0)
    assert part["delta"] == pytest.approx(0.0, abs=2.0)
    assert abs(part["residual"]) < 2.0


def test_a_quote_of_before_the_ex_date_is_valued_at_the_spot_of_then():
    market = Market()
    close_ns, open_ns = session_on(DAY).close_ns, session_on(EX_DAY).open_ns
    market.declare(at("09:30", DAY))
    market.quote(close_ns, 200.0)
    learn(market.engine, close_ns, CALL)
    market.state.open_session(open_ns)
    assert market.state.mark(0) == pytest.approx(200.0 - float(AMOUNT))
    assert market.state.quote_in_force(0, close_ns).mid == pytest.approx(200.0)
    assert market.state.quote_in_force(0, open_ns).mid == pytest.approx(200.0 - float(AMOUNT))
    assert market.engine.state(CALL, open_ns).vol == pytest.approx(0.20, abs=1e-3)


def test_dividends_of_another_share_change_nothing():
    book = Instruments([share(), share("QQQ")])
    for each in STRIKES:
        for side in ("C", "P"):
            book.add(option(side, each, expiry=EXPIRY))
    state = MarketState(book)
    engine = DeltaEngine(book, state, ContractPricer())
    number, now_ns = book.id_of(option("C", 200, expiry=EXPIRY).symbol), at("12:00", DAY)
    state.apply_dividend(DividendEvent(1, now_ns, now_ns, session_on(EX_DAY).open_ns, D("2")))
    assert engine.vols.facts(number).carry.dividends == ()
