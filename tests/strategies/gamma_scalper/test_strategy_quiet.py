"""Looks that cannot decide are not made: every run decides as if all were made."""

import pytest

import scalpdesk
from scalpdesk.strategies.toolkit.exits import quiet_of

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
}


@pytest.fixture(scope="module")
def day():
    return scalpdesk.load_data("embedded", start=DAY, end=DAY, underlying="SPY")


def decided(tape, settings):
    found = scalpdesk.backtest("gamma-scalper", tape, settings={"entry.gate": "off", **settings})
    return found.summary["orders"], found.summary["fills"], str(found.summary["pnl"]["total"])


@pytest.mark.parametrize(
    "name", ["straddle", *(pytest.param(each, marks=pytest.mark.second) for each in list(RUNS)[1:])]
)
def test_no_look_that_is_spared_would_have_decided_anything(day, name):
    every_look = {"exits.before_event": ["fomc"]}  # states no bounds; no event is near
    assert decided(day, RUNS[name]) == decided(day, RUNS[name] | every_look)


class Silent:
    """A rule as of an installed package: it says nothing of when it has a reason."""

    def reason(self, trade):
        return None


def test_a_rule_that_states_no_bounds_is_asked_at_every_look():
    assert quiet_of([Silent()], None) is None
