"""Looks that cannot decide are not made: every run decides as if all were made."""

import cProfile
import pstats
from decimal import Decimal

import pytest

import scalpdesk
from scalpdesk.strategies.toolkit.exits import PositionView, TrailingStop, quiet_of
from scalpdesk.strategies.toolkit.quiet import SAME_QUOTES

DAY = "2018-02-05"
RUNS = {
    "straddle": {},
    "fixed band to zero": {"hedge.band": "fixed"},
    "every so often": {"hedge.band": "time_based"},
    "Leland": {"hedge.band": "leland"},
    "dealers": {"hedge.band": "regime_threshold"},
    "sold condor with stops": {
        "structure.shape": "iron_condor",
        "structure.side": "short",
        "exits.side_credit_multiple": 0.5,
        "risk.max_short_contracts": 1,
    },
    "calendar": {
        "structure.shape": "calendar",
        "recentre.gamma_fraction": 0.5,
        "risk.max_short_contracts": 1,
    },
    "of its last day": {"selection.min_expiration_days": 0, "exits.min_dte": None},
    "by each leg's own quote": {"hedge.delta_vol": "implied"},
    "by a smile of each minute": {"hedge.delta_model": "sticky_delta"},
    "with alerts on its delta": {"watch.delta_z": 1.0, "watch.delta_multiple": 0.5},
}


@pytest.fixture(scope="module")
def day():
    return scalpdesk.load_data("embedded", start=DAY, end=DAY, underlying="SPY")


def decided(tape, settings, strategy="gamma-scalper", opens=("entry.gate", "off")):
    found = scalpdesk.backtest(strategy, tape, settings=dict([opens]) | settings)
    return found.summary["orders"], found.summary["fills"], str(found.summary["pnl"]["total"])


@pytest.mark.parametrize(
    "name", ["straddle", *(pytest.param(each, marks=pytest.mark.second) for each in list(RUNS)[1:])]
)
def test_no_look_that_is_spared_would_have_decided_anything(day, name):
    every_look = {"exits.before_event": ["fomc"]}  # states no bounds; no event is near
    assert decided(day, RUNS[name]) == decided(day, RUNS[name] | every_look)


@pytest.mark.second
def test_no_look_that_is_spared_would_have_decided_anything_on_options_of_the_day(day):
    every_look = {"watch.max_vega_usd_per_point": 1e9}  # asks at every look, and is never reached
    of_the_day = "zero-dte", ("entry.mode", "straddle")
    assert decided(day, {}, *of_the_day) == decided(day, every_look, *of_the_day)


def test_most_looks_of_a_day_are_spared(day):
    profile = cProfile.Profile()
    profile.runcall(scalpdesk.backtest, "gamma-scalper", day, settings={"entry.gate": "off"})
    looks = [calls[1] for at, calls in pstats.Stats(profile).stats.items() if at[2] == "hold"]
    assert sum(looks) < 1_200  # of 8,423


def test_an_armed_trailing_stop_is_told_each_profit_and_others_wait_for_quotes():
    rule, seen = TrailingStop(0.1, 0.5), {"premium_paid": Decimal(1_000)}
    assert rule.reason(PositionView(pnl=Decimal(400), quoted_ns=1, **seen)) is None
    rule.quiet(PositionView(pnl=Decimal(400), quoted_ns=None, **seen))  # no leg shows a price
    assert rule.quiet(PositionView(pnl=Decimal(400), quoted_ns=2, **seen)) is SAME_QUOTES
    (follow,) = rule.quiet(PositionView(pnl=Decimal(400), quoted_ns=3, **seen)).follows
    assert [follow(Decimal(pnl)) for pnl in (300, 500, 260)] == [100, 0, 10]
    assert follow(Decimal(250)) < 0
    assert rule.reason(PositionView(pnl=Decimal(250), quoted_ns=3, **seen)).startswith("trailing")


class Silent:
    """A rule as of an installed package: it says nothing of when it has a reason."""

    def reason(self, trade):
        return None


def test_a_rule_that_states_no_bounds_is_asked_at_every_look():
    assert quiet_of([Silent()], None) is None
