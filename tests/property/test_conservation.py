"""Cash, shares and contracts are conserved: what the exchange booked is what the desk booked."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import OrderFilled, OrderRejected
from scalpdesk.core.intents import (
    CancelIntent,
    OrderIntent,
    OrderType,
    Purpose,
    SetTimer,
    Side,
    Stop,
    TimeInForce,
)
from scalpdesk.instruments.fees import ALPACA_FEES, NO_FEES
from scalpdesk.marketdata.triggers import EveryQuote, Wake
from scalpdesk.portfolio.explain import parts_in_cents
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.contract import Proposal
from scalpdesk_testing.kit.desk import Scripted, marks, run_tape
from scalpdesk_testing.kit.instruments import DAY, EXPIRY, straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder

pytestmark = pytest.mark.second

D = Decimal
LOOSE = RiskLimits(
    max_orders_per_minute=10_000,
    max_live_orders=1_000,
    price_collar_fraction=1.0,
    allowed_order_types=("market", "limit", "stop", "stop_limit"),
)


class Restless:
    """Sends one drawn order a quote of the underlying, and sometimes cancels the oldest."""

    def __init__(self, plan):
        self.plan = list(plan)

    def __call__(self, view, wake, event):
        if wake is not Wake.PRICE or not self.plan:
            return ()
        number, signed, ticks, tif, cancels, waits = self.plan.pop(0)
        intents = []
        if cancels and view.orders.live:
            intents.append(CancelIntent(next(iter(view.orders.live)), "drawn"))
        quote = view.market.quotes[number]
        side = Side.BUY if signed > 0 else Side.SELL
        limit = None
        if ticks is not None:
            limit = max(D(f"{quote.mid:.2f}") + D(ticks) / 100, D("0.01"))
        kind = OrderType.MARKET if limit is None else OrderType.LIMIT
        if waits is not None:
            kind = Stop(max(D(f"{quote.mid:.2f}") + D(waits) / 100, D("0.01")))
            tif = TimeInForce.GTC if tif is TimeInForce.GTC else TimeInForce.DAY
        intents.append(OrderIntent(number, side, D(abs(signed)), Purpose.HEDGE, "", kind, limit, tif))
        return (
            Proposal(DecisionKind.HEDGE, ("drawn",), {}, tuple(intents)),
            SetTimer("drawn", view.now_ns + 10**9),
        )


ORDERS = st.tuples(
    st.integers(0, 2),
    st.integers(-40, 40).filter(bool),
    st.none() | st.integers(-20, 20),
    st.sampled_from(TimeInForce),
    st.booleans(),
    st.none() | st.integers(-60, 60),
)


@settings(max_examples=120, deadline=None)
@given(
    plan=st.lists(ORDERS, max_size=12),
    moves=st.lists(st.integers(-150, 150), min_size=13, max_size=13),
    size=st.sampled_from([0.0, 3.0, 25.0]),
    fills=st.sampled_from(["cross", "mid", "queue", "adverse"]),
    latency_ms=st.sampled_from([0, 250, 1500]),
    expiry=st.sampled_from([DAY, EXPIRY]),
    start=st.dictionaries(st.integers(0, 2), st.integers(-50, 50).filter(bool)),
    fees=st.sampled_from([NO_FEES, ALPACA_FEES]),
)
def test_cash_and_units_are_conserved_and_every_cent_is_explained(
    plan, moves, size, fills, latency_ms, expiry, start, fees
):
    mids, mid = [], 500.0
    for move in moves:
        mid += move / 100
        mids.append(round(mid, 2))
    builder = TapeBuilder(straddle_book(500, expiry=expiry))
    tape = builder.path("15:59:48", 1.0, mids, size=size).dividend("1.25", DAY).build()
    strategy = Scripted(Restless(plan), [EveryQuote(0)])
    run = run_tape(
        tape,
        strategy,
        fills=fills,
        fees=fees,
        latency_ms=latency_ms,
        positions=start,
        limits=LOOSE,
        mark_seconds=2339.0,  # ten marks, the last two seconds into the quotes
    )
    desk, account = run.engine.desk, run.broker.account

    # the two ledgers, kept apart, agree to the last digit
    assert desk.account.cash == account.cash
    held = {one.instrument_id: one.quantity for one in desk.positions.held()}
    assert held == {number: one.quantity for number, one in account.holdings.items()}

    # every order came to its end, save what outlives a session, and no execution was lost
    outliving = {TimeInForce.GTC, TimeInForce.OPG}
    assert {one.submitted.time_in_force for one in desk.orders.live.values()} <= outliving
    executions = [event for event in run.events if isinstance(event, OrderFilled)]
    assert sum(len(order.executions) for order in desk.orders.orders.values()) == len(executions)
    assert len({event.execution_id for event in executions}) == len(executions)
    rejected = [event for event in run.events if isinstance(event, OrderRejected)]
    assert {event.reason.split(" (")[0] for event in rejected} <= {
        "order would cross zero: close the holding first",
        "insufficient buying power",
        "insufficient quantity",
        "inactive asset",
        "the session is over",
    }

    # value is cash and everything at its mark, and each change of it is explained exactly
    attribution = desk.attribution
    worth = desk.account.cash + sum(
        (
            one.quantity * one.multiplier * D(f"{desk.view.mark(one.instrument_id):.4f}")
            for one in desk.positions.held()
        ),
        D(0),
    )
    assert attribution.nav == attribution.current_nav() == worth
    for mark in marks(run.outputs):
        assert sum(mark.parts.values()) == mark.nav_change
    assert sum((mark.nav_change for mark in marks(run.outputs)), D(0)) == attribution.nav_change
    assert sum(attribution.totals.values()) == attribution.nav_change
    assert -attribution.totals["fees"] == sum((one.fee for one in executions), D(0))
    cents = parts_in_cents(attribution.totals, attribution.nav_change)
    assert sum(cents.values()) == 2 * cents["total"]
