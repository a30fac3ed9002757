"""Walk-forward: folds with purge and embargo, choices of past sessions alone, their tests, figures."""

import math
import sys
from dataclasses import fields, replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from msgspec import structs

from scalpdesk.backtesting.simulate import BacktestConfig, PreparedMarket, simulate
from scalpdesk.config.settings import load_settings
from scalpdesk.core import sockets
from scalpdesk.core.errors import ArgumentError, ConfigError, ScalpdeskError
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import is_session
from scalpdesk.marketdata.tape import LazyQuotes
from scalpdesk.research.folds import FoldPlan
from scalpdesk.research.options import SweepOptions
from scalpdesk.research.overfitting import cross_validate, daily_table, sample_shape
from scalpdesk.research.sweep import ROWS_FILE, SweepFolder
from scalpdesk.research.sweep_plan import SweepPlan
from scalpdesk.research.walk_forward import verdict_lines, walk_forward, window
from scalpdesk_testing.kit.instruments import share
from scalpdesk_testing.kit.tape import TapeBuilder, at

STRATEGY = '''
"""Buys or sells shares at 10:00 and closes at 10:20, each session."""

from decimal import Decimal

import msgspec

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.marketdata.triggers import EveryQuote
from scalpdesk.strategies.contract import Proposal, StrategySpec


class DirectionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    underlying: str = "SPY"
    shares: int = 1
    """Below 0 sold."""
    fails_on: str = ""
    once: bool = False


class Direction:
    name = "direction"
    is_done = False

    def __init__(self, config):
        self.config, self.day, self.count = config, None, 0

    def start(self, view):
        return (EveryQuote(view.underlying),)

    def on_wake(self, view, wake, event):
        if wake != "price" or not self.config.shares:
            return ()
        if self.day != view.session.day:
            self.count = 9 if self.day and self.config.once else 0
            self.day = view.session.day
        if self.config.fails_on == str(self.day):
            raise RuntimeError("planted")
        self.count += 1
        if self.count not in (1, 3):
            return ()
        buys = (self.config.shares > 0) is (self.count == 1)
        side = Side.BUY if buys else Side.SELL
        purpose = Purpose.OPEN if self.count == 1 else Purpose.CLOSE
        order = OrderIntent(view.underlying, side, Decimal(abs(self.config.shares)), purpose, "by the clock")
        return (Proposal(DecisionKind.ENTRY, ("by the clock",), {}, (order,)),)


PLUG = StrategySpec(name="direction", config=DirectionConfig, build=Direction, trades_options=False)
'''


@pytest.fixture(autouse=True)
def direction(tmp_path, monkeypatch):
    (tmp_path / "planted_direction.py").write_text(STRATEGY)
    monkeypatch.syspath_prepend(str(tmp_path))
    # by its module: entry points are looked for in all packages, each time
    monkeypatch.setitem(sockets.STRATEGIES.own.references(), "direction", "planted_direction:PLUG")
    yield
    sys.modules.pop("planted_direction", None)


def days(number):
    found = (date(2024, 3, 4) + timedelta(place) for place in range(2 * number + 10))
    return tuple(day for day in found if is_session(day))[:number]


def market(moves):
    """Return a market with a session for each move (USD from 10:00 to 10:20)."""
    builder = TapeBuilder(Instruments([share()]), days=days(len(moves)))
    for day, move in zip(days(len(moves)), moves, strict=True):
        for minute, mid in ((0, 500.0), (10, 500.0 + move / 2), (20, 500.0 + move), (30, 500.0 + move)):
            builder.spot(at("10:00", day) + minute * 60 * 10**9, mid)
    return PreparedMarket(builder.build())


SELDOM = ("marketdata.mark_seconds=3600",)  # marks of each minute would take most of the time


def loader(*overrides):
    """Return what reads the settings of a sweep."""
    base = (*SELDOM, *overrides)
    return lambda texts: load_settings("direction", overrides=(*base, *texts), environ={}, cwd=Path())


def run(shares, over, plan, *overrides, **more):
    """Run a walk-forward test over values of ``shares``."""
    sweep = SweepPlan.read([f"shares={shares}"], SweepOptions(workers=1))
    return walk_forward(sweep, loader(*overrides), over, plan, **more)


def earned(move, shares):
    """Return the P&L of a session: the move less the spread of two cents."""
    return shares * move - 0.02 * abs(shares)


# folds ---------------------------------------------------------------------------------------------


def test_folds_follow_from_the_lengths_that_are_given():
    twenty = days(20)
    plan = FoldPlan(train=8, test=4).divide(twenty)
    assert [(fold.train[0], fold.train[-1]) for fold in plan] == [
        (twenty[0], twenty[7]),
        (twenty[4], twenty[11]),
        (twenty[8], twenty[15]),
    ]
    assert [fold.test for fold in plan] == [twenty[8:12], twenty[12:16], twenty[16:20]]
    usual = FoldPlan().divide(twenty)
    assert [len(fold.test) for fold in usual] == [4] * 4
    assert [len(fold.train) for fold in usual] == [4] * 4
    anchored = FoldPlan(folds=2, test=4, anchored=True, purge=2).divide(twenty)
    assert [fold.train for fold in anchored] == [twenty[:10], twenty[:14]]
    (alone,) = FoldPlan(folds=1, train=5).divide(twenty)
    assert (alone.train, alone.test) == (twenty[:5], twenty[5:])


@given(
    st.integers(8, 60),
    st.integers(1, 6),
    st.one_of(st.none(), st.integers(2, 12)),
    st.one_of(st.none(), st.integers(1, 6)),
    st.booleans(),
    st.integers(0, 3),
    st.integers(0, 3),
)
@examples(max_examples=30)
def test_no_choice_sees_its_test_nor_the_sessions_purged_or_embargoed(
    number, folds, train, test, anchored, purge, embargo
):
    every = days(number)
    try:
        found = FoldPlan(
            folds=folds, train=train, test=test, anchored=anchored, purge=purge, embargo=embargo
        ).divide(every)
    except ArgumentError:
        assume(False)
    assert len(found) == folds
    assert [day for fold in found for day in fold.test] == list(every[-sum(len(f.test) for f in found) :])
    for place, fold in enumerate(found):
        first = every.index(fold.test[0])
        assert len(fold.train) >= 2
        assert set(fold.train) <= set(every[: first - purge])
        for earlier in found[:place]:
            after = every.index(earlier.test[-1]) + 1
            assert not set(fold.train) & set(every[after : after + embargo])
        window = sorted({*fold.train, *fold.embargoed, *fold.purged})
        assert fold.purged == every[first - purge : first]
        assert tuple(window) == every[every.index(window[0]) : first]
        assert len(window) == len(fold.train) + len(fold.embargoed) + len(fold.purged)
        if not embargo and train is not None and not anchored:
            assert len(fold.train) == train


@pytest.mark.parametrize(
    ("plan", "where"),
    [
        (FoldPlan(folds=0), "--folds"),
        (FoldPlan(train=1), "--train"),
        (FoldPlan(test=0), "--test"),
        (FoldPlan(purge=-1), "--purge"),
        (FoldPlan(embargo=-1), "--embargo"),
        (FoldPlan(folds=9, test=2), "--start, --end"),
        (FoldPlan(train=30), "--start, --end"),
        (FoldPlan(train=15, test=9), "--start, --end"),
        (FoldPlan(train=2, test=2, folds=5, embargo=2), "--embargo"),
    ],
)
def test_lengths_that_do_not_fit_are_refused_by_their_option(plan, where):
    with pytest.raises(ArgumentError) as refused:
        plan.divide(days(18))
    assert refused.value.where == where


# the test ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("measure", "one_run"), [("pnl", False), ("sharpe", False), ("sharpe", True)])
def test_each_choice_is_the_best_of_its_own_sessions_and_is_tested_on_the_next(measure, one_run):
    moves = [1.0, 2.0, 1.0, 2.0, -1.0, -2.0, -1.0, -2.0, -1.0, -2.0]
    made = run("-3,0,3", market(moves), FoldPlan(train=4, test=2, metric=measure, one_run=one_run))
    report = made.report
    assert [fold.settings for fold in report.folds] == [{"shares": "3"}, {"shares": "0"}, {"shares": "-3"}]
    # the second choice saw as many rises as falls: not to trade costs no spread
    tests = [earned(move, shares) for move, shares in zip(moves[4:], (3, 3, 0, 0, -3, -3), strict=True)]
    assert [fold.test_first for fold in report.folds] == [days(10)[4], days(10)[6], days(10)[8]]
    assert [float(amount) for amount in report.daily.values()] == pytest.approx(tests)
    assert float(report.out_of_sample.total) == pytest.approx(sum(tests))
    inside = [earned(move, 3) for move in moves[:4]] + [0.0] * 4 + [earned(move, -3) for move in moves[4:8]]
    assert float(report.in_sample.total) == pytest.approx(sum(inside))
    assert report.in_sample.sessions == 12
    assert report.degradation == pytest.approx(1.0 - (sum(tests) / 6) / (sum(inside) / 12))
    assert [fold.rank for fold in report.folds] == [0.0, 0.5, 1.0]
    # four sessions that traded carry no ratio
    assert (report.out_of_sample.traded, report.out_of_sample.sharpe_annual) == (4, None)
    assert (report.in_sample.traded, report.sharpe_low) == (8, None)
    assert report.probabilistic_sharpe == sample_shape(tests).probability_above(0.0)
    table = daily_table([row.daily for row in made.rows])
    assert table.shape == (10, 3)
    assert report.overfitting.pbo == cross_validate(table, measure=measure).pbo
    assert report.overfitting.trials == report.combinations == 3
    assert all(str(report.out_of_sample.sessions) in line for line in verdict_lines(report)[:1])


def test_a_gain_in_sample_that_lasts_is_not_degraded():
    made = run("1,2", market([1.0, 1.5] * 5), FoldPlan(folds=3, test=2, metric="pnl"))
    assert {fold.settings["shares"] for fold in made.report.folds} == {"2"}
    assert made.report.degradation == pytest.approx(0.0, abs=1e-9)
    assert made.report.probabilistic_sharpe > 0.99
    report, tests = made.report, [earned(move, 2) for move in [1.0, 1.5] * 3]
    assert report.out_of_sample.traded == report.out_of_sample.sessions == 6
    assert report.out_of_sample.sharpe_annual == pytest.approx(sample_shape(tests).sharpe * math.sqrt(252))
    assert report.sharpe_low < report.out_of_sample.sharpe_annual < report.sharpe_high


def test_a_test_is_a_backtest_of_the_window_alone():
    moves = [1.0, -2.0, 3.0, 1.0, 0.5, 2.0]
    whole, config = market(moves), BacktestConfig.of(loader("shares=4")(()))
    made = run("4", whole, FoldPlan(folds=2, test=2))
    for fold in made.report.folds:
        tape = window(whole.tape, fold.test_first, fold.test_last)
        alone = simulate(config, PreparedMarket(tape)).daily()
        assert [made.report.daily[day.isoformat()] for day in alone] == [
            str(parts["total"]) for parts in alone.values()
        ]
    assert made.report.overfitting.pbo is None
    assert [fold.rank for fold in made.report.folds] == [1.0, 1.0]


@pytest.mark.parametrize("is_lazy", [False, True])
def test_a_window_has_its_sessions_alone(is_lazy):
    tape = market([1.0] * 5).tape
    if is_lazy:
        tape = replace(
            tape, quotes=LazyQuotes(tape.sessions, lambda s, q=tape.quotes: q.between(s.open_ns, s.close_ns))
        )
    part = window(tape, days(5)[1], days(5)[3])
    assert part.sessions == tape.sessions[1:4]
    expected = tape.quotes.between(tape.sessions[1].open_ns, tape.sessions[3].close_ns)
    for field in fields(expected):
        assert (getattr(part.quotes.whole(), field.name) == getattr(expected, field.name)).all()
    assert part.origin is None


def test_a_choice_has_backtests_of_its_own_unless_it_reads_those_over_all_sessions():
    """A strategy that trades once a run: over all sessions it is flat when the second choice begins."""
    over, plan = market([-1.0, 0.0, 2.0, 0.0, 3.0, 0.0]), FoldPlan(train=2, test=2, metric="pnl")
    own = run("1,-1", over, plan, "once=true").report
    assert [fold.settings["shares"] for fold in own.folds] == ["-1", "1"]
    assert float(own.folds[1].in_sample.total) == pytest.approx(earned(2.0, 1))
    shared = run("1,-1", over, structs.replace(plan, one_run=True), "once=true").report
    assert float(shared.folds[1].in_sample.total) == 0.0
    assert (own.one_run, shared.one_run) == (False, True)


def test_a_combination_that_fails_is_left_out_with_its_reason():
    over, plan = market([1.0, 2.0] * 3), FoldPlan(folds=1, test=2)
    sweep = SweepPlan.read(["shares=1,x", "fails_on=never,2024-03-05"], SweepOptions(workers=1))
    made = walk_forward(sweep, loader(), over, plan)
    assert made.report.combinations == 1
    assert len(made.report.problems) == 3
    assert "planted" in made.report.problems["shares=1, fails_on=2024-03-05"]
    with pytest.raises(ScalpdeskError, match="planted"):
        run("1", over, plan, "fails_on=2024-03-05")
    with pytest.raises(ConfigError, match="no combination"):
        run("x", over, plan)


def test_a_row_in_its_folder_is_not_run_again(tmp_path):
    def folder_of(over):
        return SweepFolder(tmp_path / "rows" / f"{over.tape.sessions[0].day}-{len(over.tape.sessions)}")

    def lines():
        return {file: file.read_bytes() for file in tmp_path.rglob(ROWS_FILE)}

    over, plan, reported = market([1.0, 2.0, -1.0] * 2), FoldPlan(folds=2, test=2), []
    first = run("1,2", over, plan, folder_of=folder_of, report=lambda *facts: reported.append(facts))
    assert {of_all for _, of_all, _ in reported} == {3 * 2 + 2}
    assert max(done for done, *_ in reported) == reported[-1][0] == 8
    assert [done for done, *_ in reported] == sorted(done for done, *_ in reported)
    kept = lines()
    assert len(kept) == 3
    again = run("1,2", over, plan, folder_of=folder_of)
    assert again.report == first.report
    assert lines() == kept
    more = run("1,2", over, structs.replace(plan, earlier_trials=40), folder_of=folder_of)
    assert more.report.overfitting.trials == 42
    assert more.report.overfitting.deflated_sharpe < first.report.overfitting.deflated_sharpe


def test_a_market_that_never_trades_has_no_ratio():
    made = run("0", market([1.0] * 6), FoldPlan(folds=2, test=2))
    report = made.report
    assert (report.out_of_sample.total, report.out_of_sample.sharpe_annual) == ("0.00", None)
    assert (report.sharpe_low, report.degradation, report.probabilistic_sharpe) == (None, None, None)


def test_the_result_is_a_frame_a_picture_and_a_table():
    made = run("1,2", market([1.0, 1.5] * 3), FoldPlan(folds=2, test=2, metric="pnl"))
    frame = made.to_frame()
    assert frame["fold"].tolist() == [1, 1, 2, 2]
    assert frame["total"].iloc[-1] == pytest.approx(float(made.report.out_of_sample.total))
    assert set(frame["shares"]) == {"2"}
    assert len(made.plot().axes) == 2
    table = made._repr_html_()
    assert table.count("<tr>") == 3
    assert "shares=2" in table
