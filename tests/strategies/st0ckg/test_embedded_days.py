"""Whole embedded days: what st0ckg bought, when and why it sold, and what was left after costs."""

from collections import deque
from datetime import date, time
from decimal import Decimal
from functools import cache

import pytest

from scalpdesk.assembly import assemble_backtest, build_backtest
from scalpdesk.core.events import Event, OrderFilled
from scalpdesk.core.intents import Decision, Side, SubmitOrder
from scalpdesk.datasets.reconstructed import reconstruct
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import new_york_ns, session_on
from scalpdesk.settings import load_settings

COSTS = ("simulation.fees=alpaca", "simulation.latency_ms=50", "gex.from_chain=false")


class Seen:
    """Takes the place of a journal."""

    def __init__(self):
        self.append = deque[Event](maxlen=0).append
        self.outputs = []
        self.fills = []

    def write_if_full(self):
        pass

    def add_event(self, event):
        if isinstance(event, OrderFilled):
            self.fills.append(event)

    def add_outputs(self, outputs):
        self.outputs.extend(outputs)


def run(day, *overrides):
    settings = load_settings("st0ckg", overrides=(*COSTS, *overrides))
    tape = reconstruct(day)
    header, engine = build_backtest(settings, tape, run_id="t", mode="backtest", started_ns=0, seed=1)
    seen = Seen()
    assemble_backtest(settings, tape, header, engine, seen).runner.run()
    return engine, seen


known = cache(run)


@pytest.mark.parametrize(
    ("day", "overrides", "signals", "exits", "net"),
    [
        (date(2015, 8, 24), (), [], [], "0.00"),
        (date(2018, 2, 5), (), [], [], "0.00"),
        (date(2014, 10, 15), (), ["VWAP_RECLAIM"], ["breakeven_stop"], "-20.64"),
        (date(2016, 6, 24), (), ["OPENING_DRIVE"], ["scale_out", "final_target"], "29.36"),
        (date(2015, 8, 24), ("scoring=original",), ["GAMMA_SQUEEZE"], ["breakeven_stop"], "-50.64"),
    ],
)
def test_a_day(day, overrides, signals, exits, net):
    engine, seen = known(day, *overrides)
    decisions = [one for one in seen.outputs if isinstance(one, Decision)]
    ordered = [one for one in decisions if one.client_order_ids]
    entries = [one.reasons[0].split(" ")[0] for one in ordered if one.kind == "entry"]
    sales = [one.reasons[0].split(":")[0] for one in ordered if one.kind == "exit"]
    assert (entries, sales) == (signals, exits)
    attribution = engine.desk.attribution
    assert attribution.nav_change == Decimal(net)
    assert sum(attribution.totals.values()) == pytest.approx(attribution.nav_change)
    _check_rules(day, engine, seen, decisions)


def _check_rules(day, engine, seen, decisions):
    """What holds on every day: options of the day in the window, reasons given, flat at the end."""
    assert not engine.desk.positions.held()
    assert len(decisions) < 30
    assert all(one.reasons and all(one.reasons) for one in decisions)
    orders = [one for one in seen.outputs if isinstance(one, SubmitOrder)]
    by_id = {one.client_order_id: one for one in orders}
    for order in orders:
        contract = engine.desk.instruments[order.instrument_id]
        assert isinstance(contract, OptionContract)
        assert contract.expiry == day
        if order.side is Side.BUY:
            assert order.limit_price is not None
            assert order.quantity <= 10
    for fill in seen.fills:
        if by_id[fill.client_order_id].side is Side.BUY:
            assert new_york_ns(day, time(10)) <= fill.ts_recv_ns <= new_york_ns(day, time(10, 31))
        assert fill.ts_recv_ns <= session_on(day).close_ns - 595 * 10**9


def test_a_half_day_ends_ten_minutes_before_its_own_close():
    """With stops and targets out of reach the clock alone sells: 12:50 on 2018-12-24."""
    day = date(2018, 12, 24)
    far = ("exits.stop_fraction=0", "exits.breakeven_at_r=100", "exits.scale_out_at_r=200")
    _, seen = run(
        day,
        *far,
        "exits.final_target_at_r=300",
        "filters.trend_filter=false",
        "choose=tradable",
        "signals=options_pin",
    )
    sold = [one for one in seen.outputs if isinstance(one, Decision) and one.kind == "exit" and one.taken]
    assert [one.reasons[0] for one in sold] == ["time_exit"]
    assert 0 <= sold[0].ts_ns - new_york_ns(day, time(12, 50)) < 3 * 10**9


def test_two_runs_decide_alike():
    day = date(2016, 6, 24)
    first, second = (
        [one for one in seen.outputs if isinstance(one, Decision)] for _, seen in (known(day), run(day))
    )
    assert first == second
    assert first
