"""Dealer gamma of a run over a tape, from its settings to the strategy."""

import logging
import math
from datetime import date

import pytest

from scalpdesk.assembly import gamma_events
from scalpdesk.backtesting.runner import Journal
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.intents import Decision
from scalpdesk.datasets.embedded import market

DAY = date(2018, 2, 5)


@pytest.fixture(scope="module")
def tape():
    return market.reconstruct(DAY, seed=1, underlying="SPY")


def settings_of(strategy, *overrides, **environ):
    return load_settings(strategy, overrides=overrides, environ=environ)


@pytest.mark.parametrize(
    ("strategy", "overrides", "told"),
    [
        ("gamma-scalper", (), 0),
        ("st0cka+gamma-scalper", ("strategies.gamma-scalper.hedge.band=regime_threshold",), 40),
        ("zero-dte", (), 40),
        ("st0ckg", (), 40),
    ],
)
def test_the_chain_is_priced_for_those_who_read_it(tape, tmp_path, monkeypatch, strategy, overrides, told):
    monkeypatch.chdir(tmp_path)
    words = gamma_events(tape, settings_of(strategy, *overrides))
    assert len(words) == told
    assert {one.source for one in words} <= {"chain"}


@pytest.mark.parametrize(("strategy", "told"), [("zero-dte", 0), ("zero-dte+st0ckg", 40)])
def test_no_chain_is_priced_for_a_strategy_without_an_option_within_its_days(
    tmp_path, monkeypatch, strategy, told
):
    monkeypatch.chdir(tmp_path)
    tuesday = market.reconstruct(date(2018, 2, 6), seed=1, underlying="SPY")
    assert len(gamma_events(tuesday, settings_of(strategy))) == told


def test_a_value_in_the_environment_wins(tape):
    (word,) = gamma_events(tape, settings_of("zero-dte", GEX_VALUE="-15000.0"))
    assert (word.symbol, word.exposure_usd, word.ts_recv_ns) == ("SPX", -15_000.0, tape.sessions[0].open_ns)


def test_a_value_that_is_none_is_logged_once_and_no_crash(tape, caplog):
    with caplog.at_level(logging.WARNING):
        (word,) = gamma_events(tape, settings_of("zero-dte", GEX_VALUE="-15k"))
    assert math.isnan(word.exposure_usd)
    assert len(caplog.records) == 1
    assert "'-15k'" in caplog.text


class Hedges(Journal):
    """Keeps the thresholds of the hedges that were decided."""

    def __init__(self):
        super().__init__()
        self.thresholds = []

    def add_outputs(self, outputs):
        decided = (one for one in outputs if isinstance(one, Decision) and one.kind == "hedge")
        self.thresholds += [one.facts["threshold_contracts"] for one in decided]


@pytest.mark.slow
@pytest.mark.parametrize(("value", "threshold"), [("-15000.0", 0.10), ("1", 0.15), ("-15k", 0.15)])
def test_the_threshold_is_the_documents(tape, value, threshold):
    overrides = ("entry.mode=straddle", "entry.straddles=2", "marketdata.mark_seconds=3600")
    settings = settings_of("zero-dte", *overrides, GEX_VALUE=value)
    header, engine = build_backtest(settings, tape, run_id="x", mode="backtest", started_ns=0, seed=1)
    journal = Hedges()
    steps = assemble_backtest(settings, tape, header, engine, journal).runner.steps()
    while len(journal.thresholds) < 3:
        next(steps)
    assert set(journal.thresholds) == {threshold}
