"""The gamma scalper on SPY and QQQ: a straddle in each, hedged with its own shares, on one account."""

from dataclasses import replace
from datetime import date, time
from decimal import Decimal
from functools import cache

import msgspec
import pytest

from scalpdesk import assembly
from scalpdesk.backtesting.runs import replay, run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import ArgumentError, ConfigError, DataError
from scalpdesk.core.intents import Decision, Purpose, orders_of
from scalpdesk.core.units import to_cents
from scalpdesk.datasets.embedded.days import NASDAQ_CORRELATION
from scalpdesk.instruments.contract import Instruments, underlying_of
from scalpdesk.journal.reader import JournalReader
from scalpdesk.research.stored_run import read_stored
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.registry import find_strategy
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.tape import until

pytestmark = pytest.mark.second

DAY = date(2018, 2, 5)
SYMBOLS = ("SPY", "QQQ")
BUYS = ("entry.gate=advise", "exits.edge_gone=false", "exits.flat_minutes_before_close=10")


@cache
def market(symbols):
    settings = load_settings("gamma-scalper", overrides=(f"underlying={symbols}",))
    return assembly.load_market(settings, "embedded", underlying=symbols, start=DAY, end=DAY, seed=1)


class Run:
    """A run with its desk, and all that its engine gave out."""

    def __init__(self, folder, symbols, *overrides, strategy="gamma-scalper", rules=BUYS, last=None):
        settings = load_settings(strategy, overrides=(f"underlying={symbols}", *rules, *overrides))
        tape = market(symbols) if last is None else until(market(symbols), last)
        seen = []
        made = run_backtest(
            settings,
            tape,
            ManualClock(),
            seed=1,
            runs_dir=folder,
            observer=lambda run, _: seen.append(run) if not seen else None,
            step_seconds=3600.0,
        )
        self.desk, self.summary, self.run_dir = seen[0].engine.desk, made.summary, made.run_dir
        reader = JournalReader(made.run_dir)
        self.outputs = [each for _, outputs in reader.steps() for each in outputs]
        (self.account,) = seen[0].runner.broker.broker.ledger.accounts.values()

    def decisions(self, strategy=None):
        """Return what was decided, without the strategy's name: of one strategy, or of a run of one."""
        found = []
        for each in self.outputs:
            if type(each) is Decision and each.facts.get("strategy") == strategy:
                facts = {name: each.facts[name] for name in each.facts if name not in {"strategy", "order"}}
                found.append((each.ts_ns, each.kind, each.taken, each.reasons, facts))
        return found

    def sent(self):
        """Return owner, underlying and purpose of each order."""
        instruments = self.desk.instruments
        return [
            (each.owner, underlying_of(instruments[each.instrument_id]), each.purpose)
            for output in self.outputs
            for each in orders_of(output)
        ]


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """Return the run of the whole day with these underlyings."""
    return cache(lambda symbols: Run(tmp_path_factory.mktemp("day"), symbols))


@pytest.fixture(scope="module")
def both(day):
    return day("SPY,QQQ")


@pytest.fixture
def morning(tmp_path):
    """Run both until half past ten, when each has its straddle."""
    return lambda *overrides, **more: Run(tmp_path, "SPY,QQQ", *overrides, last=time(10, 30), **more)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_each_decides_as_it_does_alone(both, day, symbol):
    alone = day(symbol)
    assert len(alone.decisions()) > 10
    assert both.decisions(f"gamma-scalper:{symbol}") == alone.decisions()
    row = both.summary["strategies"][f"gamma-scalper:{symbol}"]
    assert row["pnl"]["total"] == alone.summary["nav_change"] != "0.00"


def test_the_scalper_of_options_that_expire_today_does_so_too(tmp_path):
    rules = {"strategy": "zero-dte", "rules": ("entry.mode=straddle",), "last": time(11)}
    both = Run(tmp_path, "SPY,QQQ", **rules)
    for symbol in SYMBOLS:
        assert both.decisions(f"zero-dte:{symbol}") == Run(tmp_path, symbol, **rules).decisions() != []
    assert {pair[:2] for pair in both.sent()} == {(f"zero-dte:{each}", each) for each in SYMBOLS}


def test_each_straddle_is_hedged_with_its_own_shares(both):
    sent = both.sent()
    assert {(owner, symbol) for owner, symbol, _ in sent} == {
        (f"gamma-scalper:{each}", each) for each in SYMBOLS
    }
    for symbol in SYMBOLS:
        purposes = [purpose for _, each, purpose in sent if each == symbol]
        assert purposes.count(Purpose.OPEN) == purposes.count(Purpose.CLOSE) == 2
        assert Purpose.HEDGE in purposes


def test_the_parts_sum_to_the_one_account(both):
    desk, whole = both.desk, both.summary["pnl"]
    assert not desk.positions.held()
    assert both.account.cash == desk.account.cash
    assert to_cents(desk.account.cash - 100_000) == Decimal(whole["total"])
    members, shares = both.summary["strategies"], both.summary["underlyings"]
    for rows in (members, shares):
        assert sum(Decimal(row["pnl"]["total"]) for row in rows.values()) == Decimal(whole["total"])
    for name, amount in whole.items():
        parts = sum(Decimal(row["pnl"][name]) for row in shares.values())
        assert abs(parts - Decimal(amount)) <= Decimal("0.02"), name  # of two roundings to the cent
    for symbol in SYMBOLS:
        assert members[f"gamma-scalper:{symbol}"]["pnl"]["total"] == shares[symbol]["pnl"]["total"]
        assert Decimal(shares[symbol]["pnl"]["gamma"]) > 10


def test_the_correlation_is_that_of_the_generated_market(both):
    """Minutes of one day, with the rounding of their quotes: a hundredth or two below that of the paths."""
    found = both.summary["exposure"]["correlations"]
    assert found["SPY/QQQ"] == pytest.approx(NASDAQ_CORRELATION, abs=0.04)
    assert both.desk.correlation.observations > 350


def test_one_underlying_is_the_scalper_itself():
    spec = find_strategy("gamma-scalper")
    assert type(spec.build(spec.config(underlying="QQQ"))) is GammaScalper


def bought(run):
    """Return the underlyings whose options were bought."""
    return {symbol for _, symbol, purpose in run.sent() if purpose is Purpose.OPEN}


def test_a_limit_of_the_account_counts_both(both, morning):
    """A straddle costs 1,300 and 2,050 USD: within 1,500 of premium there is room for the cheaper alone."""
    assert bought(both) == set(SYMBOLS)
    capped = morning("risk.max_premium_fraction=0.015")
    assert bought(capped) == {"QQQ"}
    refused = [text for each in capped.decisions("gamma-scalper:SPY") for text in each[3] if not each[2]]
    assert any("risk.max_premium_fraction" in text for text in refused)


def test_an_underlying_may_take_its_part_of_a_cap_alone(morning):
    """A straddle has a vega of 58 and of 40 USD a point of 30 days: of a cap of 110 each may take half."""
    free = morning("risk.max_vega_fraction=0.0011")
    assert bought(free) == set(SYMBOLS)
    halved = morning("risk.max_vega_fraction=0.0011", "risk.max_underlying_fraction=0.5")
    assert bought(halved) == {"QQQ"}


def test_a_days_loss_of_the_account_closes_both(morning):
    run = morning("risk.max_daily_loss=20")
    (why,) = [reasons for _, kind, _, reasons, _ in run.decisions() if kind is DecisionKind.MODE]
    assert "daily loss" in why[0]
    assert (
        bought(run)
        == {symbol for _, symbol, purpose in run.sent() if purpose is Purpose.CLOSE}
        == set(SYMBOLS)
    )
    assert not run.desk.positions.held()


def test_what_the_account_holds_goes_to_the_scalper_of_its_underlying(tmp_path):
    run = Run(tmp_path, "SPY,QQQ", "simulation.positions.SPY=10", "simulation.positions.QQQ=7")
    first = [(owner, symbol) for owner, symbol, _ in run.sent()[:2]]
    assert sorted(first) == [("gamma-scalper:QQQ", "QQQ"), ("gamma-scalper:SPY", "SPY")]
    assert not run.desk.positions.held()


def test_strategies_of_one_desk_trade_each_its_underlying():
    own = ("strategies.gamma-scalper.underlying=QQQ", "strategies.st0cka.underlying=SPY")
    settings = load_settings("st0cka+gamma-scalper", overrides=(*own, *BUYS))
    assert settings.strategy_config.underlying == "SPY,QQQ"


def test_the_replay_is_exact(both):
    again = replay(both.run_dir)
    assert (again.identical, again.difference) == (True, None)
    assert again.summary["decision_hash"] == both.summary["decision_hash"]


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_report_has_each_straddle_as_its_lone_run_has_it(both, day, symbol):
    alone = read_stored(day(symbol).run_dir)
    name, found = f"gamma-scalper:{symbol}", read_stored(both.run_dir)
    (row,) = [each for each in found.trades if each.strategy == name]
    (lone,) = alone.trades
    for key in ("entry", "exit", "legs", "hedges", "why", "opened_ns", "closed_ns", "pnl"):
        assert getattr(row, key) == getattr(lone, key), key
    assert row.vol_in == pytest.approx(lone.vol_in, rel=0.02)
    assert row.realised_vol == pytest.approx(lone.realised_vol, rel=0.05)
    hedges = [each for each in found.hedges if each.strategy == name]
    assert len(hedges) == len(alone.hedges)


@pytest.mark.parametrize(
    ("symbols", "fix"), [("SPY,,QQQ", "SPY,QQQ"), ("SPY,SPY", "SPY"), ("", "SPY"), ("QQQ,SPY,QQQ", "QQQ,SPY")]
)
def test_symbols_that_are_empty_or_stand_twice_are_refused(symbols, fix):
    spec = find_strategy("gamma-scalper")
    with pytest.raises(ConfigError) as caught:
        spec.build(msgspec.convert({"underlying": symbols}, spec.config))
    assert (caught.value.where, caught.value.value) == ("underlying", symbols)
    assert caught.value.fix.endswith(f": {fix}")


def test_an_underlying_without_options_is_refused_by_name():
    spy, qqq = market("SPY"), market("QQQ")
    bare = replace(qqq, instruments=Instruments([qqq.instruments[0]]))
    assembly.require_options([spy, qqq])
    with pytest.raises(DataError) as caught:
        assembly.require_options([spy, bare])
    assert caught.value.value == "QQQ"
    assert "--symbols" in caught.value.fix


def test_an_unknown_underlying_is_refused_by_name():
    settings = load_settings("gamma-scalper", overrides=("underlying=SPY,XYZ",))
    with pytest.raises(ArgumentError) as caught:
        assembly.load_market(settings, "embedded", underlying="SPY,XYZ", start=DAY, end=DAY, seed=1)
    assert (caught.value.value, caught.value.nearest) == ("XYZ", "SPY or QQQ")


def test_the_hybrid_refuses_two_underlyings():
    settings = load_settings("hybrid", overrides=("underlying=SPY,QQQ",))
    with pytest.raises(ConfigError) as caught:
        find_strategy("hybrid").build(settings.strategy_config)
    assert caught.value.fix == "--set underlying=SPY"


@pytest.mark.slow
def test_a_dividend_of_one_is_no_move_of_the_other(tmp_path):
    """SPY goes ex on 16 March 2018: its dividend is added back to its own straddle's moves alone."""
    found = {}
    for symbols in ("SPY,QQQ", "QQQ"):
        overrides = (f"underlying={symbols}", "entry.gate=advise", "exits.edge_gone=false")
        settings = load_settings("gamma-scalper", overrides=overrides)
        first, last = date(2018, 3, 15), date(2018, 3, 16)
        tape = assembly.load_market(settings, "embedded", underlying=symbols, start=first, end=last, seed=1)
        assert [each.symbol for each in tape.dividends] == ["SPY"] * ("SPY" in symbols)
        stored = read_stored(run_backtest(settings, tape, ManualClock(), seed=1, runs_dir=tmp_path).run_dir)
        first = next(each for each in stored.trades if each.legs[0].symbol.startswith("QQQ"))
        found[symbols] = first.realised_vol
    assert found["SPY,QQQ"] == pytest.approx(found["QQQ"], rel=0.02)
