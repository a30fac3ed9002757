"""What comes later changes no earlier decision: quotes after an instant perturbed, the gate on."""

from dataclasses import replace
from datetime import date, time

import numpy as np
import pytest

from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.intents import Decision
from scalpdesk.datasets.embedded import market
from scalpdesk.instruments.sessions import new_york_ns

DAY = date(2016, 3, 10)
CUT_NS = new_york_ns(DAY, time(10, 0))
END_NS = new_york_ns(DAY, time(10, 5))


def decisions(tape, *settings):
    """Return every decision of the morning with its figures."""
    loaded = load_settings("gamma-scalper", overrides=("hedge.threshold_shares=0.5", *settings))
    header, engine = build_backtest(loaded, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    run = assemble_backtest(loaded, tape, header, engine, None)
    made: list[Decision] = []

    def watch(event):
        outputs = handle(event)
        made.extend(one for one in outputs if isinstance(one, Decision))
        return outputs

    handle, run.runner._handle = engine.handle, watch
    for now_ns in run.runner.steps():
        if now_ns >= END_NS:
            break
    return made


@pytest.mark.parametrize("settings", [("entry.gate=advise",), ("entry.forecast_vol=0.40",)])
def test_quotes_after_an_instant_change_no_decision_before_it(settings):
    """Once with the nowcast, bought on advice; once through the enforced gate, asked three times."""
    tape = market.reconstruct(DAY, seed=1)
    quotes = tape.quotes.whole()
    later = quotes.ts_ns > CUT_NS
    assert 0.5 < later.mean() < 1.0
    factor = np.where(later, 1.03, 1.0)
    moved = replace(quotes, bid=quotes.bid * factor, ask=quotes.ask * factor)
    before = decisions(tape, *settings)
    after = decisions(replace(tape, quotes=moved), *settings)

    def early(made):
        return [one for one in made if one.ts_ns <= CUT_NS]

    assert early(before) == early(after)
    assert len(early(before)) > 5
    assert any("edge_usd" in one.facts for one in early(before))
    assert before != after
