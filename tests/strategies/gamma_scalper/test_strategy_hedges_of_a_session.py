"""Hedges of whole reconstructed sessions: how many, how often back and forth, and never two at once."""

from datetime import date
from itertools import accumulate, pairwise

import pytest

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.intents import Decision
from scalpdesk.core.units import NANOS_PER_SECOND

FREE = ("entry.gate=off", "exits.stop_fraction=null", "exits.arm_fraction=null", "exits.min_dte=null")
ONE_DAY = (*FREE, "selection.min_expiration_days=1", "selection.max_expiration_days=1")


def hedges(day, *overrides):
    """Return when each hedge of a session was sent, and its shares, signed."""
    start = date.fromisoformat(day)
    settings = load_settings("gamma-scalper", overrides=overrides)
    tape = load_market(settings, "embedded", underlying="SPY", start=start, end=start, seed=1)
    header, engine = build_backtest(settings, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    run = assemble_backtest(settings, tape, header, engine, None)
    made: list[tuple[int, int]] = []

    def watch(event):
        outputs = handle(event)
        taken = [one for one in outputs if isinstance(one, Decision) and one.taken]
        made.extend(
            (one.ts_ns, one.facts["quantity_shares"]) for one in taken if "quantity_shares" in one.facts
        )
        return outputs

    handle, engine.handle = engine.handle, watch
    run.runner.run()
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("day", "settings", "most"),
    [("2014-06-24", ONE_DAY, 40), ("2018-02-05", (*FREE, "exits.flat_minutes_before_close=10"), 120)],
)
def test_a_session_is_hedged_seldom_and_not_back_and_forth(day, settings, most):
    """With a fixed band of two shares and each leg's own volatility: 897 and 179."""
    made = hedges(day, *settings)
    assert 10 < len(made) < most
    flips = [b for a, b in pairwise(made) if a[1] * b[1] < 0 and b[0] - a[0] <= 30 * NANOS_PER_SECOND]
    assert len(flips) < 0.2 * len(made)
    held = accumulate(quantity for _, quantity in made)
    # a hedge through zero goes in two orders, the second as soon as nothing is held
    assert all(a[0] < b[0] or shares == 0 for (a, b), shares in zip(pairwise(made), held, strict=False))
