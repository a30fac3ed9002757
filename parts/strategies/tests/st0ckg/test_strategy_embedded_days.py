"""Whole embedded days: what st0ckg bought, when and why it sold, and what was left after costs."""

from datetime import date, time
from decimal import Decimal
from functools import cache

import pytest

from scalpdesk.base import OptionContract, Side, new_york_ns, session_on
from scalpdesk.datasets.embedded import market
from scalpdesk_testing.kit.scalp_days import run_scalps

pytestmark = pytest.mark.second

SETTINGS = ("simulation.latency_ms=50", "gex.from_chain=false")


def run(day, *overrides):
    return run_scalps(market.reconstruct(day), *SETTINGS, *overrides)


known = cache(run)


@pytest.mark.parametrize(
    ("day", "overrides", "signals", "exits", "net"),
    [
        (date(2015, 8, 24), (), [], [], "0.00"),
        (date(2018, 2, 5), (), [], [], "0.00"),
        (date(2014, 10, 15), (), ["VWAP_RECLAIM"], ["breakeven_stop"], "8.15"),
        (date(2016, 6, 24), (), ["OPENING_DRIVE"], ["scale_out", "final_target"], "28.16"),
        (date(2015, 8, 24), ("scoring=original",), ["GAMMA_SQUEEZE"], ["breakeven_stop"], "-21.85"),
    ],
)
def test_a_day(day, overrides, signals, exits, net):
    ran = known(day, *overrides)
    ordered = [one for one in ran.decisions if one.client_order_ids]
    entries = [one.reasons[0].split(" ")[0] for one in ordered if one.kind == "entry"]
    sales = [one.reasons[0].split(":")[0] for one in ordered if one.kind == "exit"]
    assert (entries, sales) == (signals, exits)
    attribution = ran.engine.desk.attribution
    assert attribution.nav_change == Decimal(net)
    assert sum(attribution.totals.values()) == pytest.approx(attribution.nav_change)
    _check_rules(day, ran)


def _check_rules(day, ran):
    """Laws of every day: options of the day in the window, reasons given, flat at the end."""
    assert not ran.engine.desk.positions.held()
    assert len(ran.decisions) < 30
    assert all(one.reasons and all(one.reasons) for one in ran.decisions)
    by_id = {one.client_order_id: one for one in ran.orders}
    for order in ran.orders:
        contract = ran.engine.desk.instruments[order.instrument_id]
        assert isinstance(contract, OptionContract)
        assert contract.expiry == day
        if order.side is Side.BUY:
            assert order.limit_price is not None
            assert order.quantity <= 10
    for fill in ran.fills:
        if by_id[fill.client_order_id].side is Side.BUY:
            assert new_york_ns(day, time(10)) <= fill.ts_recv_ns <= new_york_ns(day, time(10, 31))
        assert fill.ts_recv_ns <= session_on(day).close_ns - 595 * 10**9


def test_a_half_day_ends_ten_minutes_before_its_own_close():
    """With stops and targets out of reach the clock alone sells: 12:50 on 2018-12-24."""
    day = date(2018, 12, 24)
    far = ("exits.stop_fraction=0", "exits.breakeven_at_r=100", "exits.scale_out_at_r=200")
    loose = ("filters.trend_filter=false", "choose=tradable", "signals=options_pin")
    ran = run(day, *far, "exits.final_target_at_r=300", *loose)
    sold = [one for one in ran.decisions if one.kind == "exit" and one.taken]
    assert [one.reasons[0] for one in sold] == ["time_exit"]
    assert 0 <= sold[0].ts_ns - new_york_ns(day, time(12, 50)) < 3 * 10**9


def test_two_runs_decide_alike():
    day = date(2016, 6, 24)
    assert known(day).decisions == run(day).decisions
    assert known(day).decisions
