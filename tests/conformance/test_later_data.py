"""Later data changes no earlier decision: prices after an instant moved, for every strategy."""

from dataclasses import replace
from datetime import date, time
from pathlib import Path

import numpy as np
import pytest

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.intents import Decision
from scalpdesk.datasets.embedded import market
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk.strategies.registry import strategy_names

DAY = date(2016, 3, 11)
CONFIGS = Path(__file__).resolve().parents[2] / "examples" / "validation"
CASES = [
    ("gamma-scalper", ("entry.gate=advise", "hedge.threshold_shares=0.5"), (45, 50), 5),
    ("gamma-scalper", ("entry.forecast_vol=0.60", "hedge.threshold_shares=0.5"), (45, 50), 5),
    ("zero-dte", ("entry.mode=straddle", "entry.max_straddle_delta=none"), (40, 50), 3),
    ("st0cka", (), (5, 10), 20),
    pytest.param("st0ckg", (), (7, 12), 2, marks=pytest.mark.slow),  # draws the chains of weeks
    ("hybrid", (), (5, 10), 20),
    ("ema-scalper", (), (60, 95), 3),
    ("st0cka+gamma-scalper", ("gamma-scalper.entry.gate=advise",), (7, 10), 20),
]
"""Strategy, settings, minutes after the open of the instant and of the end, least decisions before."""
NAMES = [case.values[0] if hasattr(case, "values") else case[0] for case in CASES]


def decisions(tape, loaded, end_ns):
    """Return every decision until an instant with its figures."""
    header, engine = build_backtest(loaded, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    run = assemble_backtest(loaded, tape, header, engine, None)
    made: list[Decision] = []

    def watch(event):
        outputs = handle(event)
        made.extend(one for one in outputs if isinstance(one, Decision))
        return outputs

    handle, engine.handle = engine.handle, watch
    for now_ns in run.runner.steps():
        if now_ns >= end_ns:
            break
    return made


def moved(tape, cut_ns, factor_after):
    """Return a tape whose prices after an instant are higher by a factor."""
    quotes = tape.quotes.whole()
    factor = np.where(quotes.ts_ns > cut_ns, factor_after, 1.0)
    assert 0.2 < (factor > 1.0).mean() < 1.0
    changed = {"quotes": replace(quotes, bid=quotes.bid * factor, ask=quotes.ask * factor)}
    if tape.bars is not None:
        bars = tape.bars.whole()
        factor = np.where(bars.ts_ns > cut_ns, factor_after, 1.0)
        prices = {name: getattr(bars, name) * factor for name in ("open", "high", "low", "close")}
        changed["bars"] = replace(bars, **prices)
    return replace(tape, **changed)


def hold_the_past(tape, loaded, cut_ns, end_ns, least, factor_after=1.03):
    before = decisions(tape, loaded, end_ns)
    after = decisions(moved(tape, cut_ns, factor_after), loaded, end_ns)
    early = [one for one in before if one.ts_ns <= cut_ns]
    assert early == [one for one in after if one.ts_ns <= cut_ns]
    assert len(early) >= least
    assert before != after
    return early


@pytest.mark.parametrize(
    ("strategy", "settings", "minutes", "least"),
    CASES,
    ids=NAMES,
)
@pytest.mark.second
def test_prices_after_an_instant_change_no_decision_before_it(strategy, settings, minutes, least):
    loaded = load_settings(strategy, overrides=settings)
    tape = market.reconstruct(DAY, seed=1)
    cut_ns, end_ns = (tape.sessions[0].open_ns + minute * 60 * 10**9 for minute in minutes)
    # by more, calls and puts contradict the share, and nothing more is decided
    early = hold_the_past(tape, loaded, cut_ns, end_ns, least, factor_after=1.002)
    if strategy == "gamma-scalper":
        assert any("edge_usd" in one.facts for one in early)


def test_no_strategy_is_left_out():
    named = {name for case in NAMES for name in case.split("+")}
    assert named == set(strategy_names()) - {"external"}  # a folder decides in a process of its own


@pytest.mark.recorded
@pytest.mark.parametrize("name", ["spxw-2021-01-04", "goog-2015-12-23"])
def test_nor_on_a_recorded_day(recorded_catalog, name):
    loaded = load_settings(
        "gamma-scalper", config_file=CONFIGS / f"{name}.toml", overrides=(f"data.catalog={recorded_catalog}",)
    )
    day = date.fromisoformat(name[5:])
    underlying = loaded.strategy_config.underlying
    tape = load_market(loaded, "lean", underlying=underlying, start=day, end=day, seed=1)
    hold_the_past(tape, loaded, new_york_ns(day, time(12, 0)), new_york_ns(day, time(13, 0)), 10)


OCTOBER = date(2013, 10, 4), date(2013, 10, 8)
RECORDED = {
    "zero-dte": (
        "SPXW",
        (
            "entry.mode=straddle",
            "entry.max_straddle_delta=none",
            "data.index_source=parity",
            "risk.index_orders=true",
            "simulation.starting_cash=1000000",
        ),
        (date(2021, 1, 4), date(2021, 1, 4)),
        4,
    ),
    "st0cka": ("SPY", (), OCTOBER, 50),
    "hybrid": ("SPY", (), OCTOBER, 50),
    "ema-scalper": ("SPY", (), OCTOBER, 30),
    "st0ckg": ("SPY", ("volume_sessions=3",), (OCTOBER[0], date(2013, 10, 11)), 8),
}
"""Underlying, settings, first and last session, least decisions before eleven on the last day but one."""


@pytest.mark.recorded
@pytest.mark.rows("strategy", RECORDED)
def test_nor_do_other_strategies_on_recorded_days(recorded_catalog, strategy):
    underlying, settings, (first, last), least = RECORDED[strategy]
    overrides = (f"underlying={underlying}", f"data.catalog={recorded_catalog}", *settings)
    loaded = load_settings(strategy, overrides=overrides)
    tape = load_market(loaded, "lean", underlying=underlying, start=first, end=last, seed=1)
    cut = tape.sessions[-2:][0].open_ns + 90 * 60 * 10**9
    hold_the_past(tape, loaded, cut, tape.sessions[-1].open_ns + 120 * 60 * 10**9, least)
