from itertools import pairwise

import pytest

from fakes.instruments import straddle_book
from fakes.tape import at, model_price, quote
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.marketdata.state import QUOTES_KEPT, MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.option_pricer import ContractPricer

NOON = at("12:00")
SHARE, CALL, PUT = 0, 1, 2
VOL = 0.20


class Market:
    """A share and a straddle; each can be quoted alone."""

    def __init__(self):
        self.book = straddle_book()
        self.state = MarketState(self.book)
        self.engine = DeltaEngine(self.book, self.state, ContractPricer())
        self.strike = float(self.book[CALL].strike)
        self.share(self.strike, -1)
        self.state.quote_in_force(SHARE, NOON)  # from here on the share's quotes are kept

    def share(self, spot, seconds=0.0):
        self._quote(SHARE, spot, seconds, 0.01)

    def option(self, leg, spot, seconds=0.0, vol=VOL, half=0.01):
        now_ns = NOON + round(seconds * NANOS_PER_SECOND)
        self._quote(leg, model_price(self.book[leg], spot, vol, now_ns), seconds, half)

    def _quote(self, number, mid, seconds, half):
        now_ns = NOON + round(seconds * NANOS_PER_SECOND)
        self.state.apply_quote(quote(number, now_ns, mid - half, mid + half))

    @property
    def vol(self):
        found = self.engine.strike_vol(CALL, self.state.quotes[SHARE].ts_event_ns)
        assert found == self.engine.strike_vol(PUT, self.state.quotes[SHARE].ts_event_ns)
        return None if found is None else found.vol


@pytest.fixture
def market():
    return Market()


def test_call_and_put_of_a_strike_have_one_volatility(market):
    assert market.vol is None
    market.share(market.strike)
    for leg in (CALL, PUT):
        market.option(leg, market.strike)
    assert market.vol == pytest.approx(VOL, abs=1e-6)


def test_a_quote_is_inverted_with_the_spot_of_its_own_instant(market):
    market.share(market.strike - 1.0, 0)
    market.option(CALL, market.strike - 1.0, 0)
    market.share(market.strike - 4.0, 10)  # the spot has moved, the option was not quoted again
    assert market.vol == pytest.approx(VOL, abs=1e-6)
    own = market.engine.value(CALL, NOON + 10 * NANOS_PER_SECOND).vol
    assert abs(own - VOL) > 0.01


def test_an_option_quoted_before_its_share_at_one_instant_is_inverted_with_it(market):
    market.share(market.strike - 1.0, 0)
    market.option(CALL, market.strike - 2.0, 5)
    market.share(market.strike - 2.0, 5)
    assert market.vol == pytest.approx(VOL, abs=1e-6)


def test_the_in_the_money_leg_is_not_listened_to(market):
    market.share(market.strike + 3.0)
    market.option(PUT, market.strike + 3.0)
    market.option(CALL, market.strike + 3.0, vol=0.3)
    assert market.vol == pytest.approx(VOL, abs=1e-6)


def test_a_quote_is_measured_once(market):
    market.share(market.strike)
    market.option(CALL, market.strike)
    first = market.engine.strike_vol(CALL, market.state.quotes[SHARE].ts_event_ns)
    market.share(market.strike + 0.02, 1)
    market.share(market.strike, 2)
    assert market.engine.strike_vol(CALL, market.state.quotes[SHARE].ts_event_ns) == first


@pytest.mark.parametrize("half", [1.5, 0.5])
def test_a_wide_quote_is_no_measurement(market, half):
    market.share(market.strike)
    market.option(CALL, market.strike, half=0.01)
    before = market.engine.strike_vol(CALL, market.state.quotes[SHARE].ts_event_ns)
    market.option(CALL, market.strike, 60, vol=0.28, half=half)
    after = market.engine.strike_vol(CALL, market.state.quotes[SHARE].ts_event_ns)
    assert abs(after.vol - before.vol) < 0.01


def test_the_noise_of_the_quotes_stays_out_of_the_delta(market):
    market.share(market.strike)
    seen = []
    for turn in range(60):
        seconds = 60.0 * turn
        market.share(market.strike, seconds)
        market.option(CALL, market.strike, seconds, vol=VOL + (0.001 if turn % 2 else -0.001), half=0.1)
        seen.append(market.vol)
    steps = [abs(after - before) for before, after in pairwise(seen[20:])]
    assert max(steps) < 0.0012  # of 0.002 in the quotes
    assert sum(seen[20:]) / len(seen[20:]) == pytest.approx(VOL, abs=5e-4)


def test_a_spot_longer_ago_than_is_kept_measures_nothing(market):
    market.option(CALL, market.strike, 0)
    for second in range(1, QUOTES_KEPT + 1):
        market.share(market.strike, second)
    assert market.vol is None
    market.option(CALL, market.strike, 2000)
    assert market.vol is not None


def test_an_average_takes_every_quote_by_its_age_and_none_by_its_width(market):
    market.engine = DeltaEngine(market.book, market.state, ContractPricer(), vol_half_life_seconds=60.0)
    market.share(market.strike)
    market.option(CALL, market.strike, 0, vol=0.20)
    assert market.vol == pytest.approx(0.20, abs=1e-6)
    market.share(market.strike, 60)
    market.option(CALL, market.strike, 60, vol=0.24, half=0.02)
    assert market.vol == pytest.approx(0.22, abs=1e-5)
    market.share(market.strike, 75)
    market.option(CALL, market.strike, 75, vol=0.22, half=0.01)
    assert market.vol == pytest.approx(0.22, abs=1e-5)
    first, second = market.engine.strike_vol(CALL, NOON), market.engine.observer().strike_vol(CALL, NOON)
    assert second.vol == pytest.approx(0.22, abs=1e-5)  # an observer averages, too: from here on
    assert first.deviation < second.deviation
