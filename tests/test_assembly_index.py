"""A cash index that a strategy would hedge with, and a data set that has one price for both sides."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from scalpdesk.assembly import require_tradable
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.cli.main import main
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ConfigError
from scalpdesk.instruments.contract import Equity, Index
from scalpdesk.marketdata.tape import with_spread
from scalpdesk_testing.kit.index_hedge import RULES, straddle_market
from scalpdesk_testing.kit.spx_day import NAME, import_spx_day

DAY = date(2018, 2, 9)
MARKET = ("--data", NAME, "--start", str(DAY))
INDEX = ("--set", "underlying=SPX", "--set", "simulation.starting_cash=1000000")
MONTH = (
    *INDEX,
    *("--set", "entry.gate=off", "--set", "selection.min_open_interest=-1"),
    *("--set", "selection.min_expiration_days=0", "--set", "selection.max_expiration_days=0"),
    *("--set", "exits.min_dte=null"),
)
ZERO = (*INDEX, "--set", "entry.mode=straddle")
STUDY = (*ZERO, "--set", "risk.index_orders=true", "--json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spx")
    import_spx_day(folder / "catalog", folder, DAY, "MES_201803")
    return folder


@pytest.fixture
def tell(folder, monkeypatch, capsys):
    """Return a command's exit code and all that it printed."""

    def told(*words):
        monkeypatch.chdir(folder)
        code = main(list(words))
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return told


@pytest.mark.parametrize(
    "asked",
    [
        ("backtest", "gamma-scalper", *MARKET, *MONTH),
        ("backtest", "zero-dte", *MARKET, *ZERO),
        ("backtest", "st0cka", *MARKET, *INDEX),
        ("sweep", "zero-dte", *MARKET, *ZERO, "--param", "entry.straddles=1,2", "--workers", "1"),
        ("bands", *MARKET, *MONTH),
        ("run", "zero-dte", *MARKET, *ZERO),
    ],
    ids=lambda asked: " ".join(asked[:2]),
)
def test_each_door_refuses_to_hedge_with_an_index_before_the_run_begins(asked, folder, tell):
    """The desk traded its options and learned at the first hedge that an index cannot be bought."""
    before = set(folder.glob("runs/*/journal*"))
    code, shown, error = tell(*asked)
    assert code == 2
    assert "hedge.instrument" in shown + error
    assert set(folder.glob("runs/*/journal*")) == before


def settings_of(strategy, *more):
    return load_settings(strategy, overrides=("underlying=SPX", *more), environ={})


@pytest.mark.parametrize(
    ("strategy", "more", "fits"),
    [
        ("gamma-scalper", (), False),
        ("gamma-scalper", ("hedge.instrument=SPY",), True),
        ("gamma-scalper", ("risk.index_orders=true",), True),
        ("zero-dte", (), False),
        ("st0cka", (), False),
        ("hybrid", (), False),
        ("ema-scalper", (), True),  # buys options alone
        ("st0ckg", (), True),
    ],
)
def test_a_strategy_that_trades_options_alone_needs_no_hedge(strategy, more, fits):
    tape = straddle_market(Equity("SPY"), lambda level, _: level / 10)
    data = {"underlying": "SPX", "hedge": "SPY" if "hedge.instrument=SPY" in more else ""}
    if fits:
        require_tradable(settings_of(strategy, *more), tape.instruments, data)
        return
    with pytest.raises(ConfigError) as refused:
        require_tradable(settings_of(strategy, *more), tape.instruments, data)
    assert (refused.value.where, refused.value.value) == ("hedge.instrument", "SPX")


def test_an_index_is_no_hedge_of_another_index_either():
    tape = straddle_market(Index("NDX"), lambda level, _: 4.0 * level)
    chosen = load_settings("gamma-scalper", overrides=(*RULES, "hedge.instrument=NDX"), environ={})
    with pytest.raises(ConfigError) as refused:
        build_backtest(chosen, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    assert refused.value.value == "NDX"


@pytest.mark.second
def test_a_summary_counts_the_hedges_without_a_spread_and_an_assumed_one_costs_its_half(tell):
    """Fills of SPX at its level cost nothing, and no line of the summary gave that away."""
    free, paid = (
        json.loads(
            tell("backtest", "zero-dte", *MARKET, *STUDY, "--set", f"data.assumed_spread_bps={each}")[1]
        )
        for each in (0, 2)
    )
    fills = free["pnl_detail"]["without_spread"]
    assert fills["fills"] == fills["of"] > 50
    assert paid["pnl_detail"]["without_spread"]["fills"] == 0
    assert float(paid["gamma_paying"]["hedging"]) < float(free["gamma_paying"]["hedging"]) == 0
    _, shown, _ = tell("backtest", "zero-dte", *MARKET, *STUDY[:-1])
    assert f"{fills['fills']} of {fills['of']} fills" in " ".join(shown.split())
    code, shown, error = tell("replay", paid["run_id"], "--verify")
    assert code == 0, shown + error


def test_fills_and_the_hedgers_belief_are_of_the_assumed_spread():
    index = replace(straddle_market(Equity("SPY"), lambda level, _: level), hedge="")
    rules = (*RULES, "risk.index_orders=true", "hedge.band=whalley_wilmott")
    chosen = load_settings("gamma-scalper", overrides=rules, environ={})
    widths, costs = [], []
    for basis_points in (0.0, 0.5, 1.0):
        facts = []

        def watch(_event, outputs, facts=facts):
            facts.extend(each.facts for each in outputs if "half_width_shares" in getattr(each, "facts", {}))

        tape = with_spread(index, basis_points)
        header, engine = build_backtest(chosen, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
        made = assemble_backtest(chosen, tape, header, engine, None, watchers=(watch,))
        made.runner.run()
        widths.append(np.mean([each["half_width_shares"] for each in facts]))
        costs.append(float(engine.desk.attribution.sums.hedge_costs))
    assert widths[0] < widths[1] < widths[2]
    assert costs[0] == 0 > costs[1] > costs[2]
    quoted = tape.quotes.take(tape.quotes.instrument_id == 0)
    assert quoted.ask - quoted.bid == pytest.approx(1e-4 * 0.5 * (quoted.ask + quoted.bid), abs=1.1e-4)
