"""Look-ahead: changed futures keep the past, planted peeks are named, the product's strategies pass."""

import sys
from dataclasses import fields, replace
from datetime import date, time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from scalpdesk import load_data
from scalpdesk.backtesting.simulate import BacktestConfig
from scalpdesk.core.events import ForecastEvent, GammaExposureEvent, ImpliedVolEvent, SessionBarsEvent
from scalpdesk.core.units import InstrumentId
from scalpdesk.datasets.embedded.market import reconstruct
from scalpdesk.instruments.contract import Instruments
from scalpdesk.marketdata.tape import BarColumns, CashDividend, LazyBars, LazyQuotes, Morning, RateCurve
from scalpdesk.research.look_ahead import USUAL_CHANGES, FutureChange, OtherFuture, find_look_ahead
from scalpdesk.strategies.registry import strategy_names
from scalpdesk_testing.kit.instruments import share, straddle_book
from scalpdesk_testing.kit.packages import install_strategies
from scalpdesk_testing.kit.tape import TapeBuilder, at, until

PEEKERS = '''
"""Strategies that decide by what is known only later."""

from decimal import Decimal

import msgspec

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.marketdata.triggers import PriceMove, Trigger, Wake
from scalpdesk.strategies.contract import Proposal, StrategySpec


class PeekConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    underlying: str = "SPY"
    ahead: int = 0
    """Rows; 0 looks at what is known."""


class Trader:
    """Buys a share where it sees a rise, sells where it sees a fall."""

    is_done = False

    def __init__(self, config):
        self.config = config

    def start(self, view):
        return (PriceMove(view.underlying, 0.01, 30.0),)

    def on_wake(self, view, wake, event):
        known = view.market.quotes[view.underlying]
        if wake not in (Wake.PRICE, Wake.HEARTBEAT) or known is None:
            return ()
        seen = self.sees(view, known)
        if seen == known.mid:
            return ()
        side = Side.BUY if seen > known.mid else Side.SELL
        reason = f"{side.value}: {seen:.2f}"
        order = OrderIntent(view.underlying, side, Decimal(1), Purpose.OPEN, reason)
        return (Proposal(DecisionKind.ENTRY, (reason,), {}, (order,)),)


class ReadsRows(Trader):
    """Finds the rows of the session behind the latest quotes."""

    name = "reads-rows"

    def sees(self, view, known):
        rows = view.market.quotes.rows
        own = rows.columns.instrument_id == view.underlying
        mids = 0.5 * (rows.columns.bid[own] + rows.columns.ask[own])
        place = int((rows.columns.ts_ns[own] <= view.now_ns).sum()) - 1
        return float(mids[min(place + self.config.ahead, len(mids) - 1)])


class PeekingTrigger(Trigger):
    """Keeps a mid of the rows that a backtest hands over ahead."""

    def __init__(self, number, ahead):
        super().__init__(number)
        self.ahead, self.seen = ahead, 0.0

    def next_row(self, quotes, first, last):
        if len(quotes) > 1:  # of a backtest
            place = min(first + self.ahead, len(quotes.bid) - 1)
            self.seen = float(0.5 * (quotes.bid[place] + quotes.ask[place]))
        return first


class ReadsTrigger(Trader):
    name = "reads-trigger"

    def start(self, view):
        self.trigger = PeekingTrigger(view.underlying, self.config.ahead)
        return (self.trigger,)

    def sees(self, view, known):
        return self.trigger.seen or known.mid


class CountsRows(ReadsRows):
    """Decides by the number of rows that are to come."""

    name = "counts-rows"

    def sees(self, view, known):
        return known.mid + (len(view.market.quotes.rows) % 2 - 0.5) * self.config.ahead


class Fails(ReadsRows):
    """Fails where a later price is out of a range."""

    name = "fails"

    def sees(self, view, known):
        highest = view.market.quotes.rows.columns.ask[:: self.config.ahead or 1].max()
        assert highest < 510 or not self.config.ahead, "too high"
        return known.mid


PLUGS = {each.name: StrategySpec(name=each.name, config=PeekConfig, build=each, trades_options=False)
         for each in (ReadsRows, ReadsTrigger, CountsRows, Fails)}
READS_ROWS, READS_TRIGGER, COUNTS_ROWS, FAILS = PLUGS.values()
'''


@pytest.fixture
def peekers(tmp_path, monkeypatch):
    """Install a package of strategies that peek."""
    names = ("reads-rows", "reads-trigger", "counts-rows", "fails")
    points = {name: name.replace("-", "_").upper() for name in names}
    install_strategies(tmp_path, "planted_peekers", PEEKERS, points)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("planted_peekers", None)


def wave():
    """Return a market that rises and falls by turns."""
    mids = [500.0 + 2.0 * np.sin(minute / 3.0) for minute in range(30)]
    return TapeBuilder().path("10:00", 60, mids).build()


def ticks(seconds=60):
    """Return a market of shares alone with five quotes a second."""
    mids = [500.0 + 2.0 * np.sin(place / 40.0) for place in range(5 * seconds)]
    return TapeBuilder(Instruments([share()])).path("10:00", 0.2, mids).build()


MARKETS = {"reads-rows": wave, "reads-trigger": ticks}


def config_of(strategy, **settings):
    return BacktestConfig.load(strategy, {"underlying": "SPY", "marketdata.mark_seconds": 600, **settings})


@pytest.mark.parametrize("ahead", [1, 5])
@pytest.mark.parametrize("strategy", ["reads-rows", "reads-trigger"])
def test_a_strategy_that_reads_rows_ahead_is_named_with_time_and_both_versions(peekers, strategy, ahead):
    found = find_look_ahead(config_of(strategy, ahead=ahead), MARKETS[strategy](), cuts=2).found
    assert found.change == "prices"
    assert at("10:00") <= found.ts_ns < at("10:30")
    assert found.time <= found.cut
    assert found.before != found.after
    assert {"buy", "sell"} & set(found.before.replace(":", " ").split())


@pytest.mark.parametrize("strategy", ["reads-rows", "reads-trigger", "counts-rows", "fails"])
def test_the_same_strategy_that_looks_at_what_is_known_passes(peekers, strategy):
    report = find_look_ahead(config_of(strategy), wave(), cuts=3)
    assert report.passed
    assert (len(report.cuts), report.runs) == (3, 6)


def test_a_strategy_that_counts_the_rows_to_come_is_found_by_rows_alone(peekers):
    tape = TapeBuilder(straddle_book()).path("10:00", 30, [500.0, 501.0] * 20).build()
    found = find_look_ahead(config_of("counts-rows", ahead=1), tape, cuts=8).found
    assert found is None or found.change == "rows and later sessions"
    assert found is not None


def test_a_strategy_that_fails_at_another_future_has_looked_ahead(peekers):
    found = find_look_ahead(config_of("fails", ahead=1), wave(), cuts=[at("10:10")]).found
    assert "AssertionError" in found.after
    assert found.change == "prices"


def test_cuts_are_half_decisions_and_half_even(peekers):
    report = find_look_ahead(config_of("reads-rows"), wave(), cuts=4)
    assert report.decisions == 0
    assert report.cuts == tuple(sorted(report.cuts))
    assert len(report.cuts) == 4


OWN = {
    "ema-scalper": {"scalp_start_time": "09:31"},
    "gamma-scalper": {"entry.gate": "off", "entry.not_before": "09:31", "exits.edge_gone": False},
    "hybrid": {},
    "st0cka": {},
    "st0ckg": {"marketdata.gex_value": 1e9},
    "zero-dte": {"entry.mode": "straddle"},
}


def test_each_strategy_of_the_product_is_tested():
    assert set(OWN) == set(strategy_names()) - {"external"}


@pytest.mark.parametrize("strategy", OWN)
@pytest.mark.second
def test_the_strategies_of_the_product_pass(strategy):
    day = date(2018, 2, 5) if strategy == "st0ckg" else date(2017, 7, 3)  # quiet days give it no signal
    tape = until(reconstruct(day), time(9, 50))
    config = BacktestConfig.load(strategy, OWN[strategy], seed=1)
    report = find_look_ahead(config, tape, cuts=[at("09:40", day)])
    assert report.found is None
    assert report.decisions > 0


@pytest.mark.second
@pytest.mark.recorded
def test_on_recorded_sessions_only_the_list_of_contracts_is_known_early(recorded_catalog):
    """Contracts of later sessions are counted in the text of a refusal; no choice depends on them."""
    tape = load_data(
        "lean", start="2015-12-23", end="2015-12-24", underlying="GOOG", catalog=recorded_catalog
    )
    keys = {
        "underlying": "GOOG",
        "entry.gate": "off",
        "exits.min_dte": None,
        "data.catalog": recorded_catalog,
    }
    keys |= {"selection.min_expiration_days": 0, "selection.max_expiration_days": 30}
    config = BacktestConfig.load("gamma-scalper", keys)
    cuts = [at("09:49", date(2015, 12, 23))]
    usual = find_look_ahead(config, tape, cuts=cuts)
    assert usual.passed
    assert usual.decisions > 0
    listed = find_look_ahead(config, tape, cuts=cuts, changes=USUAL_CHANGES | {FutureChange.LISTING}).found
    assert listed.change == FutureChange.LISTING
    assert "not taken" in listed.before


# the changed futures -------------------------------------------------------------------------------


@given(
    cut=st.integers(0, 40 * 60),
    changes=st.sets(st.sampled_from(FutureChange)),
    rising=st.booleans(),
    is_lazy=st.booleans(),
)
@examples(max_examples=30)
def test_whatever_is_known_by_the_cut_stays(cut, changes, rising, is_lazy):
    tape, cut_ns = wave(), at("09:55") + cut * 10**9
    if is_lazy:
        tape = replace(tape, quotes=LazyQuotes(tape.sessions, lambda _, whole=tape.quotes: whole))
    changed = OtherFuture(cut_ns, frozenset(changes), rising).of(tape).quotes.whole()
    whole = tape.quotes.whole()
    before, after = whole.ts_ns <= cut_ns, changed.ts_ns > cut_ns
    for field in fields(changed):
        assert (getattr(changed, field.name)[~after] == getattr(whole, field.name)[before]).all()
    assert (np.diff(changed.ts_ns) >= 0).all()
    assert (changed.bid <= changed.ask).all()
    assert (changed.bid > 0).all()
    later = whole.take(~before)
    if not len(later):
        return
    if FutureChange.ROWS in changes:
        assert 0 < after.sum() < max(len(later), 4)  # by chance the last three all stay
        assert changed.ts_ns[-1] == whole.ts_ns[-1]
        return
    assert after.sum() == len(later)
    own = (changed.bid[after] != later.bid) & (changed.ask[after] != later.ask)
    assert own.all() if FutureChange.PRICES in changes else not own.any()
    sizes = changed.bid_size[after] != later.bid_size
    assert sizes.all() if FutureChange.SIZES in changes else not sizes.any()


def test_a_rise_after_the_cut_is_tripled_or_becomes_a_fall():
    tape = TapeBuilder(straddle_book()).path("10:00", 60, [500.0, 505.0]).build()
    prices = frozenset({FutureChange.PRICES})
    for rising, move in ((True, 1.01**3 * 1.1), (False, 1.01**-3 / 1.1)):
        changed = OtherFuture(at("10:00"), prices, rising).of(tape)
        _, mids = changed.quotes.mids(InstrumentId(0))
        assert mids.tolist() == pytest.approx([500.0, 500.0 * move])


def bars_of(tape):
    ends = np.array([at("10:10"), at("10:20"), at("10:30")])
    flat = np.full(3, 500.0)
    return BarColumns(
        ends, np.zeros(3, np.int32), np.full(3, 60, np.int32), flat, flat + 2, flat - 1, flat + 1, flat
    )


@pytest.mark.parametrize("is_lazy", [False, True])
def test_bars_that_end_later_have_other_prices_and_volumes(is_lazy):
    tape = wave()
    bars = bars_of(tape)
    tape = replace(tape, bars=LazyBars(tape.sessions, lambda _: bars, {}) if is_lazy else bars)
    changed = (
        OtherFuture(at("10:15"), frozenset({FutureChange.PRICES, FutureChange.SIZES})).of(tape).bars.whole()
    )
    assert changed.close[0] == 501.0
    assert changed.volume.tolist() == [500.0, 1501.0, 1501.0]
    assert changed.close.tolist() == pytest.approx([501.0, 551.1, 551.1])
    assert (changed.high >= np.maximum(changed.open, changed.close)).all()
    assert (changed.low <= np.minimum(changed.open, changed.close)).all()


def test_events_of_later_times_have_other_figures_and_earlier_events_do_not():
    number, cut_ns = InstrumentId(0), at("10:00")
    for seconds, changes in ((0, False), (1, True)):
        ts_ns = cut_ns + seconds
        for event in (
            ForecastEvent(number, ts_ns, ts_ns, "har", 5, 0.2, 0.1, 0.3, 0.01, ""),
            GammaExposureEvent("SPY", ts_ns, ts_ns, 1e9, "chain"),
            ImpliedVolEvent(number, ts_ns, ts_ns, 0.2, (0.1,), "VIX"),
            SessionBarsEvent(
                number, 0, ts_ns, "2024-01-02", 0, 1, 60, (1,), (5.0,), (5.0,), (5.0,), (5.0,), (7.0,)
            ),
        ):
            assert (repr(OtherFuture(cut_ns).event(event)) != repr(event)) is changes
            assert OtherFuture(cut_ns, USUAL_CHANGES - {FutureChange.EVENTS}).event(event) is event


def test_later_sessions_and_what_they_alone_list_are_gone():
    days = (date(2024, 1, 16), date(2024, 1, 17))
    builder = TapeBuilder(straddle_book(500, 510), days=days)
    for number in range(3):
        builder.quote(number, "10:00", 500.0, 500.02)
    for number in range(5):
        builder.quote(number, "10:00", 510.0, 510.02, day=days[1])
    tape = replace(builder.build(), settlement_prices={("SPY", day): 500.0 for day in days})
    known = Morning(RateCurve((1.0,), (0.02,)), {"x": 5}, (CashDividend("SPY", days[1], 1),))
    tape = replace(tape, morning=lambda _: known)
    changed = OtherFuture(at("10:00", days[0])).of(tape)
    assert changed.sessions == tape.sessions[:1]
    assert len(changed.quotes.whole()) == 3
    assert len(changed.instruments) == 5
    fewer = OtherFuture(at("10:00", days[0]), USUAL_CHANGES | {FutureChange.LISTING}).of(tape)
    assert [each.symbol for each in fewer.instruments] == [each.symbol for each in tape.instruments][:3]
    kept = OtherFuture(at("10:00", days[0]), frozenset({FutureChange.EVENTS})).of(tape)
    assert kept.sessions == tape.sessions
    assert kept.morning(tape.sessions[0]) == known
    assert kept.morning(tape.sessions[1]).open_interest == {"x": 11}
    assert all(price > 500.0 for price in kept.settlement_prices.values())
