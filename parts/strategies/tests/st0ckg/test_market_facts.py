"""The facts gathered for the signals: what is there, and what stays None."""

from datetime import date
from math import nan

import pytest
from msgspec.structs import replace

from scalpdesk.backtesting.runs import build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import BarEvent, GammaExposureEvent, SessionBarsEvent
from scalpdesk.instruments.sessions import previous_session, session_on
from scalpdesk.signals.base import Scoring
from scalpdesk.signals.opening_drive import OpeningDrive
from scalpdesk_strategies.st0ckg.config import St0ckgConfig
from scalpdesk_strategies.st0ckg.market_facts import FactsCollector
from scalpdesk_testing.kit.desk import HandDesk, Scripted
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder

MINUTE_NS = 60 * 10**9


class Watching:
    """A desk whose market a watch looks at."""

    def __init__(self, earlier=0, volume=1000.0, **settings):
        self.desk = HandDesk(Scripted(), straddle_book(499, 500, 501, expiry=DAY))
        day = DAY
        told = []
        for _ in range(earlier):
            hours = previous_session(day)
            day = hours.day
            told.append(earlier_session(hours, volume))
        for event in reversed(told):
            self.desk.handle(replace(event, ts_recv_ns=self.desk.session.open_ns))
        self.desk.open()
        self.view = self.desk.engine.desk.view
        self.view.now_ns = self.desk.now_ns
        self.watch = FactsCollector(self.view, St0ckgConfig(**settings))
        self.watch.open_session(self.view, self.desk.session)

    def minutes(self, closes, volumes=None, spread=0.02):
        for index, close in enumerate(closes):
            end_ns = self.desk.session.open_ns + (index + 1) * MINUTE_NS
            self.desk.now_ns = self.view.now_ns = end_ns
            self.desk.market(close, spread=spread)
            volume = 1000.0 if volumes is None else volumes[index]
            bar = BarEvent(0, end_ns, end_ns, 60, close, close + 0.05, close - 0.05, close, volume)
            assert self.watch.add(self.view, bar)
        return self

    def facts(self):
        return self.watch.facts(self.view, self.desk.engine.desk.market.mark(0))


def earlier_session(hours, volume, close=500.0):
    count = (hours.close_ns - hours.open_ns) // MINUTE_NS
    ends = tuple(hours.open_ns + (index + 1) * MINUTE_NS for index in range(count))
    flat = (close,) * count
    return SessionBarsEvent(
        0, hours.close_ns, 0, hours.day.isoformat(), hours.open_ns, hours.close_ns, 60, ends,
        flat, (close + 1.0,) * count, (close - 1.0,) * count, flat, (volume,) * count,
    )  # fmt: skip


def test_without_a_past_and_without_minutes_nothing_is_made_up():
    watching = Watching()
    watching.desk.wait(1).market(500.0)
    watching.view.now_ns = watching.desk.now_ns
    facts = watching.facts()
    for name in (
        "volume_ratio", "vwap", "open_price", "prior_high", "prior_low", "overnight_high", "overnight_low",
        "opening_volume_ratio", "minute_vol", "spread", "spread_median", "top_size", "top_size_median",
        "volume_trend", "off_exchange_share_z", "off_exchange_print", "exposure_p90_usd", "own_delta_shares",
    ):  # fmt: skip
        assert getattr(facts, name) is None, name
    assert facts.bars == ()
    assert {row.strike for row in facts.strikes} == {499.0, 500.0, 501.0}
    assert facts.hours_to_expiry == pytest.approx(6.5, abs=0.01)


def test_the_past_gives_levels_and_ratios():
    watching = Watching(earlier=20).minutes([500.0] * 30 + [500.5], [2000.0] * 30 + [3000.0])
    facts = watching.facts()
    assert (facts.prior_high, facts.prior_low) == (501.0, 499.0)
    assert facts.volume_ratio == pytest.approx(3.0)
    assert facts.opening_volume_ratio == pytest.approx(2.0)
    assert facts.open_price == 500.0
    assert facts.vwap == pytest.approx((500.0 * 60_000 + 500.5 * 3000) / 63_000)
    assert facts.bars[-1].vwap == pytest.approx(facts.vwap)
    assert facts.bars[0].vwap == pytest.approx(500.0)


def test_nineteen_sessions_are_too_few_for_a_ratio_of_twenty():
    short = Watching(earlier=19).minutes([500.0] * 31).facts()
    assert (short.volume_ratio, short.opening_volume_ratio) == (None, None)
    assert short.opening_volume_unknown == "the opening was watched in 19 earlier sessions, 20 needed"
    assert short.volume_unknown == "this minute was watched in 19 earlier sessions, 20 needed"
    few = Watching(earlier=3, volume_sessions=3).minutes([500.0] * 31).facts()
    assert few.volume_ratio == pytest.approx(1.0)
    assert few.volume_unknown == ""


def test_the_book_is_compared_with_half_an_hour():
    assert Watching().minutes([500.0] * 29).facts().spread is None
    watching = Watching().minutes([500.0] * 30)
    watching.desk.wait(1).market(500.0, spread=0.10)
    facts = watching.facts()
    assert facts.spread == pytest.approx(0.10)
    assert facts.spread_median == pytest.approx(0.02)
    assert (facts.top_size, facts.top_size_median) == (200.0, 200.0)


def test_the_spread_of_minutes_leaves_the_last_one_out():
    calm = Watching().minutes([500.0 + 0.1 * (index % 2) for index in range(20)])
    before = calm.facts().minute_vol
    wild = Watching().minutes([500.0 + 0.1 * (index % 2) for index in range(19)] + [510.0])
    assert wild.facts().minute_vol == pytest.approx(before, rel=0.05)
    assert wild.facts().last_return == pytest.approx(0.0199, abs=0.0003)
    assert Watching().minutes([500.0] * 11).facts().minute_vol is None


@pytest.mark.parametrize(
    ("last", "trend"), [(1200.0, "increasing"), (1050.0, "neutral"), (800.0, "decreasing")]
)
def test_the_trend_of_the_volume(last, trend):
    volumes = [1000.0] * 5 + [last] * 5
    assert Watching().minutes([500.0] * 10, volumes).facts().volume_trend == trend


def test_a_watch_that_begins_in_mid_session_lacks_the_opening_and_not_the_earlier_sessions():
    watching = Watching(earlier=20)
    end_ns = watching.desk.session.open_ns + 91 * MINUTE_NS
    watching.desk.now_ns = watching.view.now_ns = end_ns
    watching.desk.market(500.0)
    watching.watch.add(watching.view, BarEvent(0, end_ns, end_ns, 60, 500.0, 500.05, 499.95, 500.0, 2000.0))
    facts = watching.facts()
    assert facts.volume_ratio == 2.0
    assert facts.opening_volume_ratio is None
    assert OpeningDrive().measured(facts).reasons == ("the session's first minutes were not watched",)


def test_the_trend_of_the_price_counts_earlier_sessions():
    assert Watching().minutes([500.0] * 60).watch.trend(20, 50) is None
    rising = Watching(earlier=3).minutes([500.0 + 0.1 * index for index in range(60)])
    assert rising.watch.trend(20, 50) == 1
    falling = Watching(earlier=3).minutes([500.0 - 0.1 * index for index in range(60)])
    assert falling.watch.trend(20, 50) == -1
    assert Watching(earlier=3).minutes([500.0] * 60).watch.trend(20, 50) == 0


def test_another_session_begins_with_no_minutes_of_its_own():
    watching = Watching().minutes([500.0] * 12)
    watching.watch.close_session()
    watching.watch.open_session(watching.view, session_on(date(2024, 3, 5)))
    assert watching.facts().bars == ()
    assert watching.facts().prior_high == pytest.approx(500.05)


def test_the_desks_word_on_dealer_gamma_goes_first_while_it_is_fresh():
    watching = Watching().minutes([500.0] * 5)
    now_ns = watching.view.now_ns
    own = watching.facts()
    assert own.exposure_usd is not None  # summed from the chain
    market = watching.desk.engine.desk.market
    market.apply_gamma_exposure(GammaExposureEvent("SPY", now_ns, now_ns, -7e8, "chain", "", -2e8, 9e8, 3e8))
    told = watching.facts()
    assert (told.exposure_usd, told.near_exposure_usd) == (-7e8, -2e8)
    assert (told.exposure_p90_usd, told.near_exposure_p90_usd) == (9e8, 3e8)
    watching.view.now_ns = now_ns + 901 * 10**9
    stale = watching.facts()
    assert stale.exposure_usd == pytest.approx(own.exposure_usd, abs=1e4)  # USD, of a gross of millions
    assert stale.exposure_p90_usd == 9e8  # what is usual does not age within a session
    market.max_exposure_seconds = 3_600.0
    assert watching.facts().exposure_usd == -7e8


def test_dealer_gamma_may_be_as_old_as_the_configuration_says(tmp_path):
    settings = load_settings("st0ckg", overrides=("gex.max_age_seconds=3600",), cwd=tmp_path)
    tape = TapeBuilder().spot("09:40", 500.0).build()
    _, engine = build_backtest(settings, tape, run_id="x", mode="backtest", started_ns=0, seed=1)
    assert engine.desk.view.market.max_exposure_seconds == 3_600.0


def test_a_quantile_set_by_hand_goes_before_what_the_event_says():
    watching = Watching(exposure_p90_usd=1e9, near_exposure_p90_usd=4e8).minutes([500.0] * 3)
    now_ns = watching.view.now_ns
    word = GammaExposureEvent("SPY", now_ns, now_ns, -7e8, "chain", "", nan, 9e8, 3e8)
    watching.desk.engine.desk.market.apply_gamma_exposure(word)
    facts = watching.facts()
    assert (facts.exposure_p90_usd, facts.near_exposure_p90_usd) == (1e9, 4e8)
    assert facts.near_exposure_usd is not None  # the event has no strike near the price: the chain does


def test_an_unknown_exposure_says_why():
    watching = Watching().minutes([500.0] * 3)
    watching.desk.engine.desk.market.open_interest.clear()
    facts = watching.facts()
    assert facts.exposure_usd is None
    assert "coverage" in facts.exposure_unknown
    assert facts.strikes is None


def test_original_scoring_looks_at_the_own_book_and_prices_no_chain():
    watching = Watching(scoring=Scoring.ORIGINAL).minutes([500.0] * 3)
    facts = watching.facts()
    assert facts.own_delta_shares == 0.0
    assert facts.exposure_usd is None
