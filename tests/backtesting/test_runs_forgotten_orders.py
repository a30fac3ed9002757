"""A run over sessions keeps the desk's orders of the last two."""

import gc
from datetime import date, timedelta
from decimal import Decimal

import pytest

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.backtesting.simulate import YOUNG_OBJECTS
from scalpdesk.config.settings import load_settings
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.intents import OrderIntent, Purpose, Side, orders_of
from scalpdesk.marketdata.triggers import EveryQuote, Wake
from scalpdesk.simulation.faults import Fault, FaultPlan
from scalpdesk.strategies.contract import Proposal
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.desk import Scripted, run_tape
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder

D = Decimal
HALF_DAY = date(2017, 11, 24)
DAYS = tuple(DAY + timedelta(days=count) for count in range(4))
MIDS = (500.0, 501.0, 503.0, 502.0)
SHARE = 0


def trade(view, wake, event):
    """Buy a share at one quote and sell it at the next."""
    if wake is not Wake.PRICE:
        return ()
    side = Side.SELL if view.positions.quantity(SHARE) else Side.BUY
    intent = OrderIntent(SHARE, side, D(1), Purpose.HEDGE, "")
    return (Proposal(DecisionKind.HEDGE, ("because",), {}, (intent,)),)


def run(faults=None):
    builder = TapeBuilder(straddle_book(), days=DAYS)
    for day in DAYS:
        for minute, mid in enumerate(MIDS):
            builder.spot(f"10:0{minute}", mid, day=day)
    strategy = Scripted(trade, [EveryQuote(SHARE)])
    return run_tape(builder.build(), strategy, every_quote=False, faults=faults)


@pytest.fixture(scope="module")
def done():
    return run()


def names(done):
    return [order.client_order_id for output in done.outputs for order in orders_of(output)]


def test_the_desk_knows_the_orders_of_the_last_two_sessions_alone_and_the_broker_none_that_was_filled(done):
    sent, desk, broker = names(done), done.engine.desk, done.broker.broker.ledger
    assert len(sent) == broker.order_count == 16
    assert list(desk.orders.orders) == sent[-8:]
    (account,) = broker.accounts.values()
    assert account.orders == account.by_client_id == broker.orders == {}
    assert account.executions == []
    references = [f"{name}/x{number}" for number, name in enumerate(sent, 1)]
    assert [name for name in references if desk.positions.already_applied(name)] == references[-8:]


def test_what_they_came_to_stays(done):
    """Bought at 500.01 and 503.01, sold at 500.99 and 501.99, on each of four days."""
    desk, (account,) = done.engine.desk, done.broker.broker.ledger.accounts.values()
    assert desk.orders.counts() == {("", SHARE): (16, 16)}
    assert desk.positions.positions[SHARE].realized == D("-0.16")
    assert desk.positions.scalps[SHARE].realized == D("-0.16")
    assert account.cash == desk.account.cash == D("99999.84")


def test_where_faults_are_planned_the_broker_may_come_back_to_any_order_and_all_is_kept():
    done = run(FaultPlan([Fault("reject", after=1_000)]))
    (account,) = done.broker.broker.ledger.accounts.values()
    assert list(done.engine.desk.orders.orders) == names(done)
    assert [order.client_order_id for order in account.orders.values()] == names(done)
    assert len(account.executions) == 16


def test_a_run_that_fails_leaves_the_garbage_collector_as_it_found_it():
    settings = load_settings("gamma-scalper", overrides=("entry.gate=off",))
    tape = load_market(settings, "embedded", underlying="SPY", start=HALF_DAY, end=HALF_DAY, seed=1)
    before, seen = gc.get_threshold(), []

    def fail(run, now_ns):
        del run, now_ns
        seen.append(gc.get_threshold())
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run_backtest(settings, tape, ManualClock(1), seed=1, observer=fail)
    assert before[0] < YOUNG_OBJECTS
    assert seen == [(YOUNG_OBJECTS, *before[1:])]
    assert gc.get_threshold() == before
