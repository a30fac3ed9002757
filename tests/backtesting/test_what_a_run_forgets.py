"""A run over sessions keeps the desk's orders of the last two, and nothing of options that expired."""

import gc
from datetime import date, timedelta
from decimal import Decimal

import pytest

from fakes.clock import ManualClock
from fakes.desk import Scripted, run_tape
from fakes.instruments import DAY, option, straddle_book
from fakes.tape import TapeBuilder
from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import YOUNG_OBJECTS, run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.intents import OrderIntent, Purpose, Side, orders_of
from scalpdesk.marketdata.triggers import EveryQuote, Wake
from scalpdesk.simulation.faults import Fault, FaultPlan
from scalpdesk.strategies.contract import Proposal

D = Decimal
HALF_DAY = date(2017, 11, 24)
DAYS = tuple(DAY + timedelta(days=count) for count in range(4))
MIDS = (500.0, 501.0, 503.0, 502.0)
SHARE, CALL, EXPIRED = 0, 1, 3


def trade(view, wake, event):
    """Buy a share at one quote and sell it at the next, and ask what the options are worth."""
    if wake is not Wake.PRICE:
        return ()
    for number in (CALL, EXPIRED):
        view.delta_engine.value(number, view.now_ns)
        view.delta_engine.strike_vol(number, view.now_ns)
    side = Side.SELL if view.positions.quantity(SHARE) else Side.BUY
    intent = OrderIntent(SHARE, side, D(1), Purpose.HEDGE, "")
    return (Proposal(DecisionKind.HEDGE, ("because",), {}, (intent,)),)


def run(faults=None):
    book = straddle_book()
    book.add(option("C", 505, DAYS[0]))
    builder = TapeBuilder(book, days=DAYS)
    for day in DAYS:
        for minute, mid in enumerate(MIDS):
            if day > DAYS[0]:  # the third is not quoted any more
                for number, (bid, ask) in enumerate(((mid - 0.01, mid + 0.01), (12.0, 12.1), (11.0, 11.1))):
                    builder.quote(number, f"10:0{minute}", bid, ask, day=day)
            else:
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
    assert desk.positions.applied("") == {f"{name}/x{number}" for number, name in enumerate(sent[-8:], 9)}


def test_what_they_came_to_stays(done):
    """Bought at 500.01 and 503.01, sold at 500.99 and 501.99, on each of four days."""
    desk, (account,) = done.engine.desk, done.broker.broker.ledger.accounts.values()
    assert desk.orders.counts() == {("", SHARE): (16, 16)}
    assert desk.positions.positions[SHARE].realized == D("-0.16")
    assert desk.positions.scalps[SHARE].realized == D("-0.16")
    assert account.cash == desk.account.cash == D("99999.84")


def test_an_expired_option_leaves_neither_a_quote_nor_a_value(done):
    desk, ledger, now_ns = done.engine.desk, done.broker.broker.ledger, done.runner.tape.sessions[-1].close_ns
    for latest in (desk.market.quotes.__getitem__, ledger.latest):
        assert latest(EXPIRED) is None
        assert latest(CALL).bid == 12.0
    assert [desk.delta_engine.value(number, now_ns) is None for number in (CALL, EXPIRED)] == [False, True]


def test_where_faults_are_planned_the_broker_may_come_back_to_any_order_and_all_is_kept():
    done = run(FaultPlan([Fault("reject", after=1_000)]))
    (account,) = done.broker.broker.ledger.accounts.values()
    assert list(done.engine.desk.orders.orders) == names(done)
    assert [order.client_order_id for order in account.orders.values()] == names(done)
    assert len(account.executions) == 16
    assert done.engine.desk.market.quotes[EXPIRED] is not None


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
