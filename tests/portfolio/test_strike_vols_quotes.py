"""Which quotes a strike's volatility, an expiry's forward and its smile are taken from."""

import math

import numpy as np
import pytest

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.contract import Instruments
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.strike_vols import ExpirySmile, StrikeVols, _is_wide
from scalpdesk.portfolio.time_and_rate import TimeAndRate
from scalpdesk.pricing.svi import SviSmile
from scalpdesk.volatility.variance_time import CALENDAR
from scalpdesk_testing.kit.instruments import EXPIRY, option, share, straddle_book
from scalpdesk_testing.kit.tape import at, model_price, quote

NOON = at("12:00")
S = NANOS_PER_SECOND
STRIKES = (485, 490, 495, 500, 505, 510, 515)
YEARS = 46 / 365


class Chain:
    """The chain of an expiry, of which each option's volatility is its mid over its strike."""

    def __init__(self, *strikes, book=None):
        self.book = straddle_book(*(strikes or STRIKES)) if book is None else book
        self.state = MarketState(self.book)
        self.state.keep_quotes(0)
        self.asked, self.legs, self.vega = [], None, 50.0
        terms = TimeAndRate(self.state, floor_seconds=1.0, flat_rate=0.0, clock=CALENDAR)
        self.vols = StrikeVols(self.book, self.state, terms, self._vol, self._vols)

    def _vol(self, leg, quoted):
        self.asked.append(leg)
        return quoted.mid / 100.0, self.vega

    def _vols(self, contract, legs):
        self.legs = legs
        vega = np.where(legs.mid > 50.0, np.nan, self.vega)
        return 0.2 + 0.001 * np.abs(legs.strike - 500.0), vega

    def quote(self, number, mid, seconds=0, half=0.05):
        self.state.apply_quote(quote(number, NOON + int(seconds * S), mid - half, mid + half))

    def all(self, spot=500.0, seconds=0, half=0.05):
        self.quote(0, spot, seconds, 0.01)
        for number, one in enumerate(self.book):
            if number:
                self.quote(number, round(model_price(one, spot, 0.2, NOON), 2), seconds, half)

    def number(self, strike, right="C"):
        return self.book.id_of(option(right, strike).symbol)

    def forward(self, seconds=0, spot=500.0):
        assert self.vols.has_pairs(self.book[1])  # as the delta engine asks first
        return self.vols.forward(self.book[1], NOON + int(seconds * S), spot, YEARS, 0.0)

    def vol(self, contract, now_ns):
        self.vols.measure(contract, is_assumed=False, keeps=True)
        return self.vols.measured(contract, now_ns)

    def smile(self, seconds=0, forward=500.0):
        return self.vols.smile(self.book[1], NOON + int(seconds * S), forward, YEARS, 0.1)


@pytest.fixture
def chain():
    return Chain()


# strikes --------------------------------------------------------------------------------------------


def test_call_and_put_of_a_strike_know_each_other():
    book = straddle_book(500)
    book.add(option("C", 505))
    chain = Chain(book=book)
    assert [chain.vols.other_leg(book[number]) for number in (1, 2, 3)] == [2, 1, None]
    put = book.add(option("P", 505))
    assert chain.vols.other_leg(book[3]) == put  # what is listed later is learned
    assert chain.vols.other_leg(book[put]) == 3


@pytest.mark.rows(("count", "enough"), [(2, False), (3, True), (4, True)])
def test_a_forward_by_parity_needs_three_strikes(count, enough):
    chain = Chain(*STRIKES[:count])
    assert chain.vols.has_pairs(chain.book[1]) is enough


def test_a_strike_is_measured_by_its_leg_out_of_the_money(chain):
    chain.quote(0, 500.0, half=0.01)
    for right, mid in (("C", 20.0), ("P", 30.0)):
        for strike in (495, 500, 505):
            chain.quote(chain.number(strike, right), mid)
    found = {strike: chain.vol(option("C", strike), NOON).vol for strike in (495, 500, 505)}
    assert found == {495: 0.3, 500: 0.2, 505: 0.2}
    assert chain.asked == [chain.number(495, "P"), chain.number(500), chain.number(505)]
    assert chain.vol(option("P", 505), NOON).vol == 0.2
    assert len(chain.asked) == 3  # a quote is measured once


def test_a_measurement_is_good_for_two_minutes_and_then_only_the_last_one(chain):
    contract = option("C", 500)
    assert chain.vol(contract, NOON) is None  # nothing is quoted
    chain.quote(0, 500.0, half=0.01)
    assert (chain.vol(contract, NOON), chain.vols.last(contract, NOON)) == (None, 0.0)
    chain.quote(chain.number(500), 20.0)
    found = chain.vol(contract, NOON + 120 * S)
    assert found.vol == 0.2
    assert found.deviation == pytest.approx(0.1 / (2.0 * math.sqrt(3.0) * 50.0))
    assert chain.vol(contract, NOON + 120 * S + 1) is None
    assert (
        chain.vols.last(contract, NOON + 3600 * S) == found.vol
    )  # by the calendar: it is this chain's clock


@pytest.mark.rows(("vega", "measured"), [(1.5, True), (1.4, False), (0.0, False)])
def test_a_quote_too_wide_for_its_vega_is_no_measurement(chain, vega, measured):
    chain.vega = vega
    chain.quote(0, 500.0, half=0.01)
    chain.quote(chain.number(500), 20.0)  # 0.1 wide: over the root of 12 is 0.029 dollars
    assert (chain.vol(option("C", 500), NOON) is not None) is measured


def test_a_narrow_quote_is_a_measurement_at_any_vega(chain):
    chain.vega = 0.2
    chain.quote(0, 500.0, half=0.01)
    chain.quote(chain.number(500), 20.0, half=0.005)
    assert chain.vol(option("C", 500), NOON).deviation == pytest.approx(0.01 / math.sqrt(12.0) / 0.2)


def test_an_option_that_is_not_listed_lends_no_quote_to_the_smile():
    book = straddle_book(485, 490)
    book.add(option("P", 510))
    book.add(option("C", 480))
    chain = Chain(book=book)
    chain.all()
    assert chain.smile().strikes == 2  # the puts below the money; of 510 the call is missing, of 480 the put
    assert chain.legs.strike.tolist() == [485, 490]


def test_an_older_quote_than_the_last_one_changes_nothing(chain):
    chain.quote(0, 500.0, half=0.01)
    chain.quote(chain.number(500), 20.0, 5)
    first = chain.vol(option("C", 500), NOON + 5 * S)
    chain.state.quotes[chain.number(500)] = quote(chain.number(500), NOON + 4 * S, 25.0, 25.1)
    assert chain.vol(option("C", 500), NOON + 6 * S) == first
    chain.quote(0, 500.0, 3_600, 0.01)
    chain.quote(chain.number(500), 20.4, 3_600)
    assert 0.2 < chain.vol(option("C", 500), NOON + 3_600 * S).vol <= 0.204


@pytest.mark.rows(
    ("bid", "ask", "wide"),
    [
        (0.0, 0.01, True),
        (-0.01, 0.01, True),
        (0.01, 0.01, False),
        (1.0, 0.99, True),
        (0.01, 0.05, False),  # four ticks of a cheap option
        (0.01, 0.06, True),
        (0.875, 1.125, False),  # a quarter of the mid
        (0.87, 1.13, True),
    ],
)
def test_a_quote_is_too_wide_beyond_a_quarter_of_the_mid_and_a_few_ticks(bid, ask, wide):
    assert _is_wide(quote(1, NOON, bid, ask), 0.04) is wide


# the forward ----------------------------------------------------------------------------------------


def test_the_forward_is_taken_of_three_strikes_on_either_side():
    chain = Chain(475, 480, *STRIKES, 520, 525)
    chain.all()
    before = chain.forward().forward
    for strike in (475, 480, 515, 520, 525):  # 485 to 510 are the six around 500
        chain.quote(chain.number(strike), 90.0)
        chain.quote(chain.number(strike, "P"), 90.0)
    assert chain.forward().forward == before
    for strike in (485, 490, 495, 500):
        chain.quote(chain.number(strike, "P"), 1.0, half=0.5)  # too wide
    assert chain.forward() is None


@pytest.mark.rows("spoilt", [0, 4, 5])
def test_with_fewer_than_three_usable_pairs_there_is_no_forward(chain, spoilt):
    chain.all()
    for strike in (485, 490, 495, 500, 505)[:spoilt]:
        chain.quote(chain.number(strike, "P" if strike % 10 else "C"), 2.0, half=0.5)
    found = chain.forward()
    assert (found is not None) is (spoilt < 4)


def test_a_stub_quote_of_the_share_shows_no_forward(chain):
    """No call has a volatility 5 % above the spot that it is quoted at: the last forward stands."""
    chain.quote(0, 525.0, 0, 0.01)
    for number, one in enumerate(chain.book):
        if number:
            chain.quote(number, round(model_price(one, 500.0, 0.2, NOON), 2), 1)
    assert chain.forward(1, 525.0) is None
    chain.all(seconds=2)
    assert chain.forward(2).forward == pytest.approx(500.0, abs=0.05)


@pytest.mark.rows("right", ["C", "P"])
@pytest.mark.rows("is_listed", [True, False])
def test_a_pair_needs_both_legs_listed_and_quoted(right, is_listed):
    other = "P" if right == "C" else "C"
    legs = [(one, strike) for strike in (495, 500) for one in "CP"] + [(right, 505)]
    book = Instruments([share(), *(option(*leg) for leg in legs + [(other, 505)] * is_listed)])
    chain = Chain(book=book)
    chain.quote(0, 500.0, half=0.01)
    for leg, strike in legs:
        chain.quote(chain.number(strike, leg), round(model_price(option(leg, strike), 500.0, 0.2, NOON), 2))
    assert chain.forward() is None
    if is_listed:
        last = option(other, 505)
        chain.quote(chain.number(505, other), round(model_price(last, 500.0, 0.2, NOON), 2))
        assert chain.forward().forward == pytest.approx(500.0, abs=0.05)


def test_the_forward_follows_the_spot_since_the_quotes(chain):
    chain.all()
    chain.quote(0, 501.0, 1, 0.01)
    assert chain.forward(1, 501.0).forward == pytest.approx(501.0, abs=0.1)


def test_a_stale_pair_gives_no_forward(chain):
    chain.all()
    chain.quote(0, 500.0, 7_200, 0.01)
    assert chain.forward(7_200) is None


# the smile ------------------------------------------------------------------------------------------


def test_the_smile_is_fitted_to_the_legs_out_of_the_money(chain):
    chain.all()
    found = chain.smile()
    assert chain.legs.strike.tolist() == list(STRIKES)
    assert chain.legs.is_call.tolist() == [False] * 3 + [True] * 4
    assert chain.legs.spot.tolist() == [500.0] * 7
    assert chain.legs.ts_event_ns == [NOON] * 7
    assert chain.legs.mid[3] == pytest.approx(
        model_price(chain.book[chain.number(500)], 500.0, 0.2, NOON), abs=0.01
    )
    assert (found.strikes, found.forward, found.years, found.variance_years) == (7, 500.0, YEARS, 0.1)
    assert found.reach == (math.log(485 / 500), math.log(515 / 500))
    # the same total variance by either clock
    assert found.vol(0.0) * math.sqrt(0.1 / YEARS) == pytest.approx(0.2, abs=0.005)


def test_one_quote_gives_a_flat_smile(chain):
    chain.quote(0, 500.0, half=0.01)
    chain.quote(chain.number(505), 9.0)
    chain.quote(chain.number(505, "P"), 14.0)
    found = chain.smile()
    assert (found.strikes, found.reach) == (1, (math.log(1.01), math.log(1.01)))
    assert found.vol(-0.3) == found.vol(0.3) == pytest.approx(0.205 * math.sqrt(YEARS / 0.1))
    later = chain.smile(1, forward=506.0)  # then the put is out of the money
    assert (later.strikes, chain.legs.is_call.tolist()) == (1, [False])


def test_what_has_no_two_sides_no_volatility_or_is_too_wide_is_left_out(chain):
    chain.all()
    chain.quote(chain.number(485, "P"), 2.0, half=0.5)
    chain.quote(chain.number(510), 60.0)  # no volatility, says the pricer
    found = chain.smile()
    assert chain.legs.strike.tolist() == [490, 495, 500, 505, 510, 515]
    assert (found.strikes, found.reach[0]) == (5, math.log(490 / 500))
    for strike in (500, 505, 515):
        chain.quote(chain.number(strike), 60.0)
    for strike in (490, 495):
        chain.quote(chain.number(strike, "P"), 60.0)
    assert chain.smile(1) is None


@pytest.mark.rows(("ask", "fitted"), [(0.04, [505, 515]), (0.05, [505, 515]), (0.06, [505])])
def test_a_cheap_option_may_be_quoted_four_ticks_wide(chain, ask, fitted):
    chain.quote(0, 500.0, half=0.01)
    chain.quote(chain.number(505), 9.0)
    chain.state.apply_quote(quote(chain.number(515), NOON, 0.01, ask))
    chain.smile()
    assert chain.legs.strike.tolist() == fitted


def test_quotes_from_before_the_first_spot_are_left_out(chain):
    chain.quote(chain.number(505), 9.0, -1)
    chain.quote(0, 500.0, 0, 0.01)
    assert chain.smile(0) is None
    chain.quote(chain.number(510), 7.0)
    assert chain.smile(1).strikes == 1
    assert chain.legs.strike.tolist() == [510]


@pytest.mark.rows(("count", "used"), [(25, 25), (26, 25), (40, 25)])
def test_a_smile_is_fitted_to_twenty_five_quotes_at_most(count, used):
    chain = Chain(*range(480, 480 + count))
    chain.all()
    found = chain.smile()
    assert found.strikes == used
    assert chain.legs.strike.tolist()[0] == 480
    assert chain.legs.strike.tolist()[-1] == 479 + count


def test_a_smile_shows_its_level_only_between_quotes_on_both_sides_of_the_money():
    def spans(low, high):
        svi = SviSmile(0.04, 0.0, 0.0, 0.0, 0.1)  # a total variance of 0.04: moves of 0.2
        return ExpirySmile(500.0, 0.1, 0.1, svi, 5, (low, high)).spans_money

    assert spans(-0.05, 0.05) is True
    assert spans(-0.0499, 0.05) is False
    assert spans(-0.05, 0.0499) is False
    assert spans(0.1, 0.2) is False


def test_no_expiry_is_known_to_be_silent_while_quotes_may_still_come(chain):
    contract = chain.book[1]
    assert contract.expiry == EXPIRY
    assert chain.vols.is_silent(contract) is False
    chain.all()
    assert chain.vols.is_silent(contract) is False


def test_a_quote_that_leaves_its_volatility_open_is_uncertain_by_nine_tenths_of_it():
    """Beyond that a smaller vega changes nothing: the volatility of its bid stays above zero."""
    vols = np.array([0.215, 0.21, 0.205, 0.20, 0.205, 0.21, 0.35])  # the last is far off the others

    def at_the_last(uncertainty):
        chain = Chain()
        vega = np.full(len(vols), 0.05 / 0.02)
        vega[-1] = 0.05 / (uncertainty * vols[-1])
        chain.vols = StrikeVols(
            chain.book, chain.state, chain.vols._terms, chain._vol, lambda *_: (vols, vega)
        )
        chain.all()
        return chain.smile().vol(math.log(STRIKES[-1] / 500.0))

    widest = at_the_last(0.9)
    assert at_the_last(0.5) > at_the_last(0.85) > widest + 1e-5
    assert [at_the_last(more) for more in (0.95, 1.5, 40.0)] == [pytest.approx(widest, abs=1e-9)] * 3
