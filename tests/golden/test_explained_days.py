"""The split of whole days and of a carried week that an earlier explanation left to its higher orders."""

from datetime import date
from pathlib import Path

import pytest

from fakes.zero_dte_days import play_day
from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.portfolio.explain import unexplained

WEEK = Path(__file__).resolve().parents[2] / "examples" / "validation" / "spxw-2021-01-08.toml"


def parts_of(engine):
    """Return the parts in whole currency, without the costs."""
    names = ("total", "delta", "gamma", "theta", "vega", "higher_order", "residual")
    explain = engine.desk.attribution
    amounts = {"total": explain.nav_change, **explain.totals}
    return {name: round(float(amounts[name])) for name in names}


@pytest.mark.recorded
def test_a_carried_week_of_the_index_earned_its_gamma_and_paid_its_theta(recorded_catalog):
    """One straddle of SPXW 3800 from Monday to its expiry on Friday; theta was -5,250, gamma 1,719.

    Another 2,108 were of higher order: moves were walked in steps, which turned gamma into delta.
    """
    settings = load_settings(
        "gamma-scalper",
        config_file=WEEK,
        overrides=(
            f"data.catalog={recorded_catalog}",
            "strategies.gamma-scalper.straddles=1",
            "strategies.gamma-scalper.hedge.threshold_shares=2",
            "simulation.starting_cash=1000000",
        ),
    )
    days = date(2021, 1, 4), date(2021, 1, 8)
    tape = load_market(settings, "lean", underlying="SPXW", start=days[0], end=days[1], seed=1)
    header, engine = build_backtest(settings, tape, run_id="week", mode="backtest", started_ns=0, seed=1)
    assemble_backtest(settings, tape, header, engine, None).runner.run()
    assert parts_of(engine) == {
        "total": 682,
        "delta": 438,
        "gamma": 4002,
        "theta": -4399,
        "vega": 1478,
        "higher_order": -772,
        "residual": -10,
    }
    assert unexplained(engine.desk.attribution)["of_gross"] < 0.02


def test_a_day_of_the_last_hours_is_gamma_and_delta_and_leaves_no_residual():
    """2018-02-05, an option of the day: the P&L of 117 was 512 of higher order less a residual of 470.

    With a deep leg at its own volatility it was -279 of vega and 399 of higher order.
    """
    engine = play_day("embedded", "2018-02-05").engine
    assert parts_of(engine) == {
        "total": 135,
        "delta": 57,
        "gamma": 118,
        "theta": -29,
        "vega": 4,
        "higher_order": -8,
        "residual": 0,
    }
    explain = engine.desk.attribution
    found = unexplained(explain)
    left = abs(float(explain.totals["residual"])) + abs(explain.details["mark_noise"])
    assert left < 0.02 * float(found["gross"])
    # 5 of three-way terms besides, of a gross that was 941 while vega and higher order cancelled
    assert found["of_gross"] == pytest.approx(0.0232, abs=1e-4)
