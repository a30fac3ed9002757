"""Strike and delta of the straddles bought on reconstructed days while no gate is enforced."""

from datetime import date

import pytest

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.intents import Decision
from scalpdesk.strategies.registry import find_strategy

FIRST = "2018-02-05"
"""A day of the first stage."""
DAYS = ("2014-12-16", "2015-08-24", "2015-12-18", "2016-06-24", "2017-11-15", FIRST, "2018-12-26")
STRATEGIES = {
    "gamma-scalper": ("entry.gate=off",),
    "zero-dte": ("entry.mode=straddle",),
    "hybrid": ("volatility=0.9", "strategies.gamma-scalper.entry.gate=off"),
}


def first_straddle(strategy, day, *overrides):
    """Run a session up to its first straddle; return the figures of that decision and the listed strikes."""
    start = date.fromisoformat(day)
    settings = load_settings(strategy, overrides=overrides)
    tape = load_market(settings, "embedded", underlying="SPY", start=start, end=start, seed=1)
    header, engine = build_backtest(settings, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    run = assemble_backtest(settings, tape, header, engine, None)
    found = []

    def watch(event):
        outputs = handle(event)
        decisions = [one for one in outputs if isinstance(one, Decision) and one.taken]
        found.extend(one.facts for one in decisions if "straddle_delta_of_100" in one.facts)
        return outputs

    handle, engine.handle = engine.handle, watch
    for _ in run.runner.steps():
        if found:
            break
    call = engine.desk.instruments[engine.desk.instruments.id_of(found[0]["call"])]
    options = (one for _, one in engine.desk.instruments.options("SPY"))
    return found[0], {float(one.strike) for one in options if one.expiry == call.expiry}


@pytest.mark.parametrize(
    ("strategy", "day"),
    [
        pytest.param(strategy, day, marks=() if day == FIRST else pytest.mark.second)
        for strategy in STRATEGIES
        for day in DAYS
        if (strategy, day) != ("zero-dte", "2014-12-16")  # a Tuesday: nothing expires
    ],
)
def test_the_strike_is_the_nearest_listed_to_the_forward_and_the_delta_small(strategy, day):
    """With the gate off strikes lay 1 to 3 % above the spot, at deltas of -28 to -40 shares."""
    bought, listed = first_straddle(strategy, day, *STRATEGIES[strategy])
    assert bought["strike"] == min(listed, key=lambda strike: abs(strike - bought["forward"]))
    assert abs(bought["straddle_delta_of_100"]) <= 10.0
    assert abs(bought["strike"] - bought["spot"]) <= 0.55  # strikes a dollar apart, no interest


def test_the_demo_buys_the_strike_that_a_trader_expects():
    """Strike 275 at a spot of 274.62; it was 281."""
    bought, _ = first_straddle("gamma-scalper", "2018-02-05", *find_strategy("gamma-scalper").demo_settings)
    assert bought["strike"] == 275.0
    assert bought["spot"] == pytest.approx(274.62, abs=0.01)
    assert bought["edge_usd"] < 0.0  # what the gate, which only advises there, would have refused
