from datetime import date
from itertools import pairwise

import numpy as np
import pytest

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.datasets.embedded.market import reconstruct
from scalpdesk.marketdata.state import QUOTES_KEPT, MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.strike_vols import ExpirySmile
from scalpdesk.pricing.svi import SviSmile
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import at, model_price, quote
from scalpdesk_testing.kit.valuation import observed_skew, observed_strike_vol, seen_by

NOON = at("12:00")
SHARE, CALL, PUT = 0, 1, 2
VOL = 0.20


class Market:
    """A share and a straddle; each can be quoted alone."""

    def __init__(self, *, keeps=True):
        self.book = straddle_book()
        self.state = MarketState(self.book)
        self.engine = DeltaEngine(self.book, self.state, ContractPricer())
        self.strike = float(self.book[CALL].strike)
        self.share(self.strike, -1)
        if keeps:
            self.state.keep_quotes(SHARE)

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
        found = observed_strike_vol(self.engine, CALL, self.state.quotes[SHARE].ts_event_ns)
        assert found == observed_strike_vol(self.engine, PUT, self.state.quotes[SHARE].ts_event_ns)
        return None if found is None else found.vol


@pytest.fixture
def market():
    return Market()


def test_a_quote_is_inverted_with_the_spot_of_its_own_instant(market):
    market.share(market.strike - 1.0, 0)
    market.option(CALL, market.strike - 1.0, 0)
    market.share(market.strike - 4.0, 10)  # the spot has moved, the option was not quoted again
    assert market.vol == pytest.approx(VOL, abs=1e-6)
    state = market.engine.state(CALL, NOON + 10 * NANOS_PER_SECOND)
    assert state.vol == pytest.approx(VOL, abs=1e-6)
    assert state.mark_vol == pytest.approx(VOL, abs=1e-6)
    strike, now_ns = market.strike, NOON + 10 * NANOS_PER_SECOND
    carried = model_price(market.book[CALL], strike - 4.0, VOL, now_ns)  # some dollars below its waiting mid
    assert state.mark == pytest.approx(carried, abs=1e-4)


def test_an_option_quoted_before_its_share_at_one_instant_is_inverted_with_it(market):
    market.share(market.strike - 1.0, 0)
    market.option(CALL, market.strike - 2.0, 5)
    market.share(market.strike - 2.0, 5)
    assert market.vol == pytest.approx(VOL, abs=1e-6)


def test_one_volatility_of_a_smile_is_that_of_the_array_to_the_last_digit():
    smile = ExpirySmile(200.0, 0.1, 0.08, SviSmile(-0.0004, 0.02, -0.45, 0.01, 0.06), 9, (-0.3, 0.3))
    k = np.random.default_rng(7).uniform(-0.5, 0.5, 2000)
    assert [smile.vol(each) for each in k.tolist()] == smile.vols(k).tolist()


class Smile:
    """Volatility 0.2 on the variance clock at the forward, and 0.1 more for each unit of ln(strike)."""

    def vol(self, log_moneyness):
        return 0.2 + 0.1 * log_moneyness

    def reaches(self, log_moneyness):
        return abs(log_moneyness) < 0.1


def test_a_strike_without_a_quote_takes_level_and_slope_from_the_smile_renewed_once_a_minute(market):
    asked = []
    market.engine.vols.smile = lambda _, now_ns, **_keeps: asked.append(now_ns) or Smile()
    market.share(market.strike * 1.02)
    level = 0.2 + 0.1 * np.log(1.0 / 1.02)
    contract, later = market.book[CALL], NOON + 60 * NANOS_PER_SECOND - 1
    level /= market.engine.to_clock(contract, NOON)
    assert observed_strike_vol(market.engine, CALL, NOON).vol == pytest.approx(level, abs=1e-12)
    slope = 0.1 / market.engine.to_clock(contract, later)
    assert observed_skew(market.engine, PUT, later) == pytest.approx(slope, abs=1e-9)
    assert asked == [NOON]
    observed_skew(market.engine, PUT, NOON + 60 * NANOS_PER_SECOND)
    assert asked == [NOON, NOON + 60 * NANOS_PER_SECOND]


@pytest.mark.rows("spot_ratio", [1.0, 1.03, 0.96])
def test_the_skew_is_the_slope_of_the_smile_at_the_strike_however_it_bends(market, spot_ratio):
    svi = SviSmile(0.0004, 0.02, -0.45, 0.01, 0.02)  # bends within two percent of the money
    market.engine.vols.smile = lambda *_, **_keeps: ExpirySmile(500.0, 0.1, 0.08, svi, 9, (-0.3, 0.3))
    market.share(market.strike * spot_ratio)
    y = -np.log(spot_ratio) - svi.m  # no rates: the forward is the spot
    variance = svi.a + svi.b * (svi.rho * y + np.sqrt(y * y + svi.s * svi.s))
    slope = svi.b * (svi.rho + y / np.sqrt(y * y + svi.s * svi.s)) / (2.0 * np.sqrt(variance * 0.1))
    assert abs(slope) > 0.03
    slope *= np.sqrt(0.1 / 0.08) / market.engine.to_clock(market.book[CALL], NOON)
    assert observed_skew(market.engine, CALL, NOON) == pytest.approx(slope, rel=2e-3)


def test_wide_quotes_do_not_draw_a_smile_away_from_tight_ones():
    strikes = range(480, 521, 4)
    book = straddle_book(*strikes)
    state = MarketState(book)
    state.apply_quote(quote(SHARE, NOON, 499.99, 500.01))
    for number in range(1, len(book)):
        off = {492: 0.04, 508: -0.03}.get(int(book[number].strike), 0.0)
        mid, half = model_price(book[number], 500.0, VOL + off, NOON), 0.4 if off else 0.01
        state.apply_quote(quote(number, NOON, mid - half, mid + half))
    smile = DeltaEngine(book, state, ContractPricer()).smile(CALL, NOON)
    by_calendar = np.sqrt(smile.variance_years / smile.years)
    assert smile.strikes == len(strikes)
    assert smile.vols(np.log(np.array(strikes) / 500.0)) * by_calendar == pytest.approx(VOL, abs=2e-4)


def test_a_contract_lies_at_the_logarithm_of_its_strike_over_the_forward(market):
    smile = ExpirySmile(market.strike / 1.1, 0.1, 0.1, None, 5, (-0.1, 0.1))
    assert smile.log_moneyness(market.book[CALL]) == pytest.approx(np.log(1.1), rel=1e-12)


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


def test_runs_share_a_smile_where_all_that_it_rests_on_is_equal():
    def fitted(shared, dividend_yield=0.0, keeps=True):
        one = Market(keeps=keeps)
        terms = one.book, one.state, ContractPricer()
        engine = DeltaEngine(*terms, dividend_yield=dividend_yield, smiles=shared)
        for leg in (CALL, PUT):
            one.option(leg, one.strike)
        one.share(one.strike, 0.1)
        engine.follow((CALL,), NOON)
        return engine.smile(CALL, NOON + NANOS_PER_SECOND)

    smiles, runs = {}, [{}, {"dividend_yield": 0.03}, {"keeps": False}]
    for run in runs:
        assert fitted(smiles, **run) == fitted(None, **run)
        assert fitted(smiles, **run) is fitted(smiles, **run)
    assert len(smiles) == len(runs)
    assert fitted(smiles, keeps=False) is None  # the spot of the quotes is not known any more


def at_the_spot_of_now(engine, quoted, now_ns):
    """Return the volatility of a quote's mid, however old, at the spot of now."""
    found = engine.state(quoted.instrument_id, now_ns)
    terms = quoted.mid, found.spot, found.years, found.rate, found.dividend_yield
    return found.pricer.implied_vol(found.contract, *terms)


def minute_vols(day, call, put, *, looks=0.0):
    """Return the mean of the legs' own volatilities and their strike's at each minute, in points.

    ``looks``: Share of the quotes after which somebody looks, too.
    """
    dice = np.random.default_rng(7)
    tape = reconstruct(day, seed=1)
    legs = [0, *(tape.instruments.id_of(symbol) for symbol in (call, put))]
    columns = tape.quotes
    expiry = call[:9]  # with its other strikes, whose smile stands in for quotes that are too wide
    quoted = [0, *(n for n, item in enumerate(tape.instruments) if item.symbol.startswith(expiry))]
    rows = np.flatnonzero(np.isin(columns.instrument_id, quoted))
    names = ("instrument_id", "ts_ns", "bid", "ask", "bid_size", "ask_size")
    lists = [getattr(columns, name)[rows].tolist() for name in names]
    state = MarketState(tape.instruments)
    engine = DeltaEngine(tape.instruments, state, ContractPricer(), flat_rate=0.0)
    state.keep_quotes(0)
    (session,) = tape.sessions
    next_ns, found = session.open_ns + 10 * 60 * NANOS_PER_SECOND, []
    for number, ts_ns, bid, ask, bid_size, ask_size in zip(*lists, strict=True):
        while ts_ns >= next_ns:
            own = [at_the_spot_of_now(engine, state.quotes[leg], next_ns) for leg in legs[1:]]
            found.append((100.0 * np.mean(own), 100.0 * observed_strike_vol(engine, legs[1], next_ns).vol))
            next_ns += 60 * NANOS_PER_SECOND
        state.apply_quote(QuoteEvent(number, ts_ns, ts_ns, bid, ask, bid_size, ask_size))
        if looks and dice.random() < looks:
            seen_by(engine, ts_ns, *legs[1:])
    return np.array(found)


@pytest.mark.parametrize("looks", [0.01, 0.3])
def test_nobody_learns_because_somebody_has_looked(looks):
    asked = date(2018, 2, 5), "SPY180316C00281000", "SPY180316P00281000"
    assert np.array_equal(minute_vols(*asked), minute_vols(*asked, looks=looks))


@pytest.mark.parametrize(
    ("day", "call", "put", "before", "now"),
    [
        ("2018-02-05", "SPY180316C00281000", "SPY180316P00281000", (0.430, -0.354), (0.165, -0.027)),
    ],
)
def test_what_a_volatility_does_in_a_minute_is_no_noise_of_its_quotes(day, call, put, before, now):
    """Deviation in points and autocorrelation of its changes: a leg's own is taken back a minute later."""
    changes = np.diff(minute_vols(date.fromisoformat(day), call, put), axis=0).T
    for moves, (deviation, again) in zip(changes, (before, now), strict=True):
        assert np.std(moves) == pytest.approx(deviation, abs=0.002)
        assert np.corrcoef(moves[1:], moves[:-1])[0, 1] == pytest.approx(again, abs=0.01)
