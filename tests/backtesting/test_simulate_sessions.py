"""A backtest over days is what the desk would have done on them, session by session.

A live desk that is flat begins each session as a new run, on the contracts listed then. Each session alone is
that run; the span has to do the same in it.
"""

from datetime import date
from functools import lru_cache

import pytest

from scalpdesk.backtesting.simulate import BacktestConfig, PreparedMarket, simulate
from scalpdesk.datasets.embedded.market import reconstruct_span
from scalpdesk.strategies.registry import strategy_names

MONDAY, TUESDAY, WEDNESDAY = date(2018, 2, 5), date(2018, 2, 6), date(2018, 2, 7)
STRADDLES = {"entry.gate": "advise", "exits.edge_gone": False}
DAILY = STRADDLES | {"exits.flat_minutes_before_close": 10}
SIGNALS = {"scoring": "original", "filters.trend_filter": False, "filters.window_until": "15:00"}


@lru_cache(maxsize=4)
def market(first, last):
    return PreparedMarket(reconstruct_span(first, last))


SPANS = [
    pytest.param("gamma-scalper", DAILY, (TUESDAY, WEDNESDAY), 2, id="gamma-scalper"),
    pytest.param("st0ckg", SIGNALS, (TUESDAY, WEDNESDAY), 3, id="st0ckg"),
    pytest.param("st0cka", {}, (TUESDAY, WEDNESDAY), 20, id="st0cka", marks=pytest.mark.second),
    pytest.param("hybrid", DAILY, (TUESDAY, WEDNESDAY), 2, id="hybrid", marks=pytest.mark.second),
    pytest.param(
        "zero-dte",
        {"entry.mode": "straddle"},
        (MONDAY, TUESDAY, WEDNESDAY),
        2,
        id="zero-dte",
        marks=pytest.mark.second,
    ),
    pytest.param(
        "ema-scalper",
        {"min_volume_ratio": 0},
        (TUESDAY, WEDNESDAY),
        2,
        id="ema-scalper",
        marks=pytest.mark.second,
    ),
    pytest.param(
        "st0cka+gamma-scalper",
        {f"gamma-scalper.{name}": value for name, value in DAILY.items()},
        (TUESDAY, WEDNESDAY),
        22,
        id="side by side",
        marks=pytest.mark.second,
    ),
]


def test_each_built_in_strategy_is_held_to_its_sessions():
    """A strategy folder decides by itself what a session is to it."""
    held = {name for span in SPANS for name in span.values[0].split("+")}
    assert held == set(strategy_names()) - {"external"}


@pytest.mark.parametrize(("strategy", "given", "days", "least"), SPANS)
def test_a_span_is_its_sessions(strategy, given, days, least):
    config = BacktestConfig.load(strategy, given, seed=1)
    span = simulate(config, market(days[0], days[-1]))
    alone = {day: simulate(config, market(day, day)) for day in days}
    assert len(span.trades) >= least
    assert span.end_positions == {}
    assert sorted(span.trades) == sorted(trade for one in alone.values() for trade in one.trades)
    totals = span.daily()
    assert [totals[day]["total"] for day in days] == [alone[day].daily()[day]["total"] for day in days]
    for name in ("orders", "fills"):
        assert getattr(span, name) == sum(getattr(one, name) for one in alone.values())


BEFORE_EX, LAST_CUM, EX_DATE = date(2018, 12, 19), date(2018, 12, 20), date(2018, 12, 21)


@pytest.mark.parametrize(
    ("strategy", "given", "trades"),
    [
        pytest.param("zero-dte", {"entry.mode": "straddle"}, 2, id="zero-dte"),
        pytest.param("gamma-scalper", DAILY, 3, id="gamma-scalper"),
        pytest.param("hybrid", DAILY, 3, id="hybrid"),
    ],
)
@pytest.mark.second
def test_a_span_over_an_ex_date_is_its_sessions_to_each_part(strategy, given, trades):
    """The first look of a day values each option's quote at the spot of its own instant, span or not."""
    config = BacktestConfig.load(strategy, given, seed=1)
    days = BEFORE_EX, LAST_CUM, EX_DATE
    span = simulate(config, market(BEFORE_EX, EX_DATE))
    alone = [simulate(config, market(day, day)) for day in days]
    assert len(span.trades) == trades
    assert span.trades == tuple(trade for one in alone for trade in one.trades)
    totals = span.daily()
    assert [totals[day] for day in days] == [one.daily()[day] for day, one in zip(days, alone, strict=True)]


@pytest.mark.second
def test_the_gate_says_in_each_session_what_it_says_in_it_alone():
    """What the day has realised begins with it: the night before is not seen by a desk that begins flat."""
    config = BacktestConfig.load("gamma-scalper", {}, seed=1)
    span = simulate(config, market(TUESDAY, WEDNESDAY))
    alone = [simulate(config, market(day, day)) for day in (TUESDAY, WEDNESDAY)]
    assert span.trades == ()
    assert span.decisions == sum(one.decisions for one in alone) > 10


@pytest.mark.parametrize("given", [{"entry.max_entries": 1}, {"entry.again_after_exit": True}])
def test_what_ends_an_entry_ends_it_for_the_session(given):
    """A stop that any move meets: one entry in each session, or one after another in both."""
    stops = STRADDLES | {"exits.stop_fraction": 0.02, "exits.flat_minutes_before_close": 10}
    config = BacktestConfig.load("gamma-scalper", stops | given, seed=1)
    span = simulate(config, market(TUESDAY, WEDNESDAY))
    alone = [simulate(config, market(day, day)) for day in (TUESDAY, WEDNESDAY)]
    assert [len(one.trades) for one in alone] >= [1, 1]
    assert span.trades == tuple(trade for one in alone for trade in one.trades)


def test_a_straddle_that_is_kept_is_one_trade_and_no_other_is_opened_beside_it():
    config = BacktestConfig.load("gamma-scalper", STRADDLES | {"exits.stop_fraction": None}, seed=1)
    span = simulate(config, market(TUESDAY, WEDNESDAY))
    held = [units for name, units in span.end_positions.items() if name != "SPY"]
    assert (span.trades, held) == ((), [1, 1])


@pytest.mark.second
@pytest.mark.parametrize(
    ("strategy", "given"),
    [("ema-scalper", {"min_volume_ratio": 0}), ("st0ckg", SIGNALS)],
    ids=("ema", "st0ckg"),
)
def test_signals_are_the_same_after_a_session_and_after_its_minutes_as_history(strategy, given):
    """The day before an ex-date the share carries over a dollar of dividend; so do the minutes before it."""
    config = BacktestConfig.load(strategy, given, seed=1)
    span = simulate(config, market(BEFORE_EX, LAST_CUM))
    alone = [simulate(config, market(day, day)) for day in (BEFORE_EX, LAST_CUM)]
    assert span.decisions == sum(one.decisions for one in alone) > 10
    assert span.trades == tuple(trade for one in alone for trade in one.trades)
