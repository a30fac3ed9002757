"""The first hedge of a session waits for its options' first quotes, a minute at most."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.intents import Decision
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.marketdata.tape import LazyQuotes

pytestmark = pytest.mark.second

RULES = (
    *("entry.gate=off", "exits.edge_gone=false", "exits.stop_fraction=null", "exits.arm_fraction=null"),
    "simulation.starting_cash=500000",
)
CRASH = date(2018, 2, 1), date(2018, 2, 6)
"""SPY opens 2.4 % lower on the 5th and 4.6 % lower on the 6th."""


def first_hedges(span, *more, late=0.0):
    """Return each session's first hedge: seconds from the open, and of its legs' quotes.

    ``late`` drops the options' quotes of that many seconds after each open but the first.
    """
    chosen = load_settings("gamma-scalper", overrides=(*RULES, *more), environ={})
    tape = load_market(chosen, "embedded", underlying="SPY", start=span[0], end=span[1], seed=1)
    whole, opens = tape.quotes, [session.open_ns for session in tape.sessions]

    def changed(session):
        rows = whole.between(session.open_ns, session.close_ns)
        gone = (rows.instrument_id != 0) & (rows.ts_ns < session.open_ns + late * NANOS_PER_SECOND)
        return rows if session.open_ns == opens[0] else rows.take(~gone)

    if late:
        tape = replace(tape, quotes=LazyQuotes(tape.sessions, changed), loaded=None)
    header, engine = build_backtest(chosen, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    found = {}

    def watch(_event, outputs):
        desk = engine.desk
        for each in outputs:
            if not (isinstance(each, Decision) and each.kind is DecisionKind.HEDGE and each.taken):
                continue
            begun = desk.view.session.open_ns
            quotes = [desk.market.quotes[leg.instrument_id] for leg in desk.positions.held()
                      if leg.instrument.is_option]  # fmt: skip
            ages = [(quote.ts_recv_ns - begun) / NANOS_PER_SECOND for quote in quotes]
            found.setdefault(begun, ((each.ts_ns - begun) / NANOS_PER_SECOND, min(ages), each.reasons))

    assemble_backtest(chosen, tape, header, engine, None, watchers=(watch,)).runner.run()
    return [found[open_ns] for open_ns in opens[1:] if open_ns in found]


@pytest.mark.parametrize("span", [CRASH, (date(2015, 8, 21), date(2015, 8, 25))])
def test_no_first_hedge_is_sized_with_a_quote_of_yesterday(span):
    """On 6 February 2018 the desk sold eight shares one second after the open where three were due."""
    hedges = first_hedges(span)
    assert len(hedges) >= 2
    for at, quoted, _ in hedges:
        assert 0.0 < quoted <= at
    assert min(at for at, _, _ in hedges) < 20.0  # and it does not wait for longer than for the quotes


@pytest.mark.parametrize("late", [40.0, 600.0])
def test_a_leg_without_a_quote_is_waited_for_a_minute_and_then_valued_by_the_model(late):
    hedges = first_hedges(CRASH, late=late)
    assert len(hedges) >= 2
    first = np.array([at for at, _, _ in hedges])
    assert (first >= min(late, 60.0)).all()
    assert (first < min(late, 60.0) + 30.0).any()
    if late > 60.0:
        assert any("by the model" in " ".join(reasons) for _, _, reasons in hedges)
