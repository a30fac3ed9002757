"""Laws of the gamma scalper on any market: it always gets out, and its hedge never crosses zero."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.events import OrderFilled, OrderRejected
from scalpdesk.core.intents import Decision, Purpose, Side
from scalpdesk.entry.selector import SelectionConfig
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig, HedgeConfig
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.toolkit.exits import ExitConfig
from scalpdesk.strategies.toolkit.triggers import TriggersConfig
from scalpdesk_testing.kit.desk import run_tape
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder, at

pytestmark = pytest.mark.second

D = Decimal
LOOSE = RiskLimits(max_orders_per_minute=10_000, max_position_fraction=1.0, max_daily_loss=D(1_000_000))
SECONDS = 90


@settings(max_examples=50, deadline=None)
@given(
    moves=st.lists(st.integers(-80, 80), min_size=SECONDS, max_size=SECONDS),
    size=st.sampled_from([0.0, 2.0, 30.0]),
    latency_ms=st.sampled_from([0, 100, 700]),
    fills=st.sampled_from(["cross", "mid", "adverse"]),
    straddles=st.integers(1, 3),
    band=st.sampled_from(["fixed", "whalley_wilmott", "time_based"]),
    days=st.sampled_from([1, 46]),
    mode=st.sampled_from(["init", "resume"]),
    start=st.sampled_from([{}, {0: -35}, {1: 2}, {1: 1, 2: 1, 0: 20}]),
)
def test_whatever_the_market_does_the_scalper_ends_flat(
    moves, size, latency_ms, fills, straddles, band, days, mode, start
):
    book = straddle_book(495, 500, 505, expiry=DAY + timedelta(days=days))
    mids, mid = [], 500.0
    for move in moves:
        mid += move / 100
        mids.append(round(mid, 2))
    builder = TapeBuilder(book).path("10:00", 1.0, mids, size=size)
    # after the exit time the market goes on long enough for everything to fill
    builder.path("10:02", 1.0, [mid] * 200, size=size)
    strategy = GammaScalper(
        GammaScalperConfig(
            straddles=straddles,
            mode=mode,
            selection=SelectionConfig(min_expiration_days=0),
            entry=EntryConfig(gate="off", order_ttl_seconds=3.0),
            hedge=HedgeConfig(band=band, order_ttl_seconds=2.0),
            triggers=TriggersConfig(heartbeat_seconds=0.5, spread_filter=False),
            exits=ExitConfig(min_dte=None, edge_gone=False, close_at="10:02"),
        )
    )
    run = run_tape(
        builder.build(),
        strategy,
        fills=fills,
        latency_ms=latency_ms,
        positions=start,
        limits=LOOSE,
        mark_seconds=7_200.0,
    )
    desk, account = run.engine.desk, run.broker.account
    assert desk.account.cash == account.cash
    held = {one.instrument_id: one.quantity for one in desk.positions.held()}
    assert held == {number: one.quantity for number, one in account.holdings.items()}
    assert not [event for event in run.events if isinstance(event, OrderRejected)]
    assert sum(desk.attribution.totals.values()) == desk.attribution.nav_change
    refused = [
        one
        for one in run.outputs
        if isinstance(one, Decision) and one.reasons[0].startswith("resume refused")
    ]
    if refused:
        assert held.keys() == start.keys()
        return
    entered = any(order.submitted.purpose is Purpose.OPEN for order in desk.orders.orders.values())
    if entered or strategy.phase == "done":
        assert held == {}
        assert not desk.orders.live
        # a new entry that the gate refuses after the last quote is noticed with the next
        assert strategy.phase in ("done", "waiting", "entering")
    assert_hedges_stay_behind_the_options(run, start)


def assert_hedges_stay_behind_the_options(run, start):
    """Follow every fill: no unwinding while options are held, and no share order across zero."""
    desk = run.engine.desk
    held = {number: D(quantity) for number, quantity in start.items()}
    for event in run.events:
        if not isinstance(event, OrderFilled):
            continue
        command = desk.orders.order(event.client_order_id).submitted
        number = command.instrument_id
        before = held.get(number, D(0))
        held[number] = before + (event.quantity if command.side is Side.BUY else -event.quantity)
        if number == 0:
            assert before * held[number] >= 0
        if command.purpose is Purpose.UNWIND_HEDGE:
            assert not any(held.get(option) for option in range(1, 7))


@settings(max_examples=40, deadline=None)
@given(
    moves=st.lists(st.integers(-120, 120), min_size=60, max_size=60),
    size=st.sampled_from([0.0, 5.0]),
    latency_ms=st.sampled_from([0, 400, 2_500]),
    fills=st.sampled_from(["cross", "queue", "adverse"]),
    root=st.sampled_from(["SPY", "XSP", "SPX"]),
    dividend=st.sampled_from(["0", "1.25"]),
    again=st.booleans(),
)
def test_holding_over_nights_into_expiry_leaves_nothing_unexplained(
    moves, size, latency_ms, fills, root, dividend, again
):
    days = (DAY, DAY + timedelta(days=1), DAY + timedelta(days=2))
    book = straddle_book(495, 500, 505, expiry=days[1], symbol=root)
    builder = TapeBuilder(book, days=days).dividend(dividend, days[1], root)
    mid = 500.0
    for number, day in enumerate(days):
        for part, clock_time in enumerate(("10:00:00", "15:59:51")):
            for step in range(10):
                mid = round(mid + moves[number * 20 + part * 10 + step] / 100, 2)
                builder.spot(at(clock_time, day) + step * 1_000_000_000, mid, size=size)
    strategy = GammaScalper(
        GammaScalperConfig(
            underlying=root,
            selection=SelectionConfig(min_expiration_days=0),
            entry=EntryConfig(gate="off", order_ttl_seconds=3.0, again_after_exit=again),
            hedge=HedgeConfig(order_ttl_seconds=2.0),
            triggers=TriggersConfig(heartbeat_seconds=0.5, spread_filter=False),
            exits=ExitConfig(min_dte=None, stop_fraction=None, arm_fraction=None, edge_gone=False),
        )
    )
    run = run_tape(
        builder.build(), strategy, fills=fills, latency_ms=latency_ms, limits=LOOSE, mark_seconds=3_600.0
    )
    desk, account = run.engine.desk, run.broker.account
    assert desk.account.cash == account.cash
    held = {one.instrument_id: one.quantity for one in desk.positions.held()}
    assert held == {number: one.quantity for number, one in account.holdings.items()}
    assert desk.orders.live == {}
    assert set(held) <= {0}  # every option has expired by the third day
    assert held == {} or latency_ms + size > 0 or fills != "cross"
    assert sum(desk.attribution.totals.values()) == desk.attribution.nav_change
    assert desk.attribution.nav == desk.attribution.current_nav()
    stamps = [event.ts_recv_ns for event in run.events]
    assert stamps == sorted(stamps)
