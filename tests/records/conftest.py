from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.core.enums import ChangeCause, DecisionKind
from scalpdesk.core.events import (
    AccountSnapshot,
    CancelRejected,
    FillBusted,
    HeldPosition,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    PositionChanged,
    QuoteEvent,
    TimerEvent,
)
from scalpdesk.core.intents import (
    CancelOrder,
    Decision,
    Mark,
    OrderType,
    Purpose,
    Side,
    Stop,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity
from scalpdesk.instruments.sessions import Session
from scalpdesk.journal.log import JournalWriter
from scalpdesk.records.store import open_store
from scalpdesk_testing.kit.journaled_run import journal_header

SPY, CALL = InstrumentId(0), InstrumentId(1)
START_NS = 1_517_841_000_000_000_000


@pytest.fixture
def header():
    return journal_header(
        (Equity("SPY"), us_option("SPY180209C00270000")),
        run_id="demo-1",
        strategy="gamma_scalper",
        mode="demo",
        config={"capital": "100000.00", "limit": float("inf")},
        sessions=(Session(date(2018, 2, 5), START_NS, START_NS + 1),),
        data={
            "name": "embedded",
            "kind": "reconstructed",
            "session": "2018-02-05",
            "underlying": "SPY",
            "open": "273.45",
            "high": 275.85,
            "low": "nothing",
        },
        started_ns=START_NS,
        seed=1,
    )


def order(client_order_id, instrument, side, quantity, purpose, limit=None):
    kind = Stop(Decimal("273.50")) if limit is None else OrderType.LIMIT
    return SubmitOrder(
        client_order_id, instrument, side, Decimal(quantity), kind, limit, TimeInForce.DAY, purpose
    )


def mark(step, nav_change, **parts):
    exact = {name: Decimal(amount) for name, amount in parts.items()}
    change = Decimal(nav_change)
    return Mark(
        START_NS + step, 100_000 + change, change, exact, 273.5, 1.0, 2.0, -3.0, 4.0, float("nan"), 5.0, 6.0
    )


@pytest.fixture
def story():
    """A straddle leg bought in two fills, a hedge sold, a bust, a cancel that came too late, an expiry."""

    def stamps(step):
        return START_NS + step, START_NS + step + 100

    def fill(name, step, execution, quantity, price):
        return OrderFilled(name, *stamps(step), execution, Decimal(quantity), Decimal(price), Decimal("0.05"))

    buy = order("d-1", CALL, Side.BUY, 3, Purpose.OPEN, Decimal("3.50"))
    sell = order("d-2", SPY, Side.SELL, 150, Purpose.HEDGE)
    entry = Decision(
        START_NS + 1, DecisionKind.ENTRY, True, ("edge",), {"edge": 1.5, "vol": float("nan")}, ("d-1",)
    )
    expired = Decimal(-3), Decimal(0), Decimal(0)
    skipped = Decision(START_NS + 4, DecisionKind.HEDGE, False, ("inside the band",), {"delta": 0.5})
    hedge = Decision(START_NS + 6, DecisionKind.HEDGE, True, ("delta above band",), {"delta": 150}, ("d-2",))
    return [
        ([AccountSnapshot(*stamps(0), Decimal(100000), (HeldPosition(SPY, Decimal(10), Decimal(270)),))], ()),
        ([QuoteEvent(CALL, *stamps(1), 3.4, 3.5, 5.0, 5.0)], (entry, buy)),
        ([OrderAccepted("d-1", *stamps(2), "v-1")], ()),
        ([fill("d-1", 3, "x-1", 1, "3.45")], (mark(3, "-0.55", spread="-0.50", fees="-0.05"),)),
        ([fill("d-1", 3, "x-1", 1, "3.45")], ()),
        ([fill("d-1", 5, "x-2", 2, "3.50"), TimerEvent(*stamps(5), "beat")], (skipped,)),
        ([QuoteEvent(SPY, *stamps(6), 273.4, 273.6, 9.0, 9.0)], (hedge, sell)),
        ([fill("d-2", 7, "x-1", 100, "273.40")], (CancelOrder("d-2"),)),
        ([CancelRejected("d-2", *stamps(8), "too late")], ()),
        ([fill("d-2", 9, "x-3", 50, "273.41")], (mark(9, "10.25", gamma="10.20", delta="0.05", odd="0.00"),)),
        ([FillBusted("d-2", *stamps(10), "x-3", "erroneous")], ()),
        ([fill("stranger", 11, "y-1", 1, "1")], ()),
        ([OrderCancelled("stranger", *stamps(11), "who is this")], ()),
        ([PositionChanged(CALL, *stamps(12), ChangeCause.EXPIRED_WORTHLESS, *expired, "exp-1")], ()),
    ]


def write_run(runs_dir, header, story, *, seal=True, summary=None):
    run_dir = runs_dir / header.run_id
    writer = JournalWriter.create(run_dir, header, durability="none")
    for events, outputs in story:
        for event in events:
            writer.add_event(event)
        writer.add_outputs(outputs)
    if seal:
        writer.close(summary)
    else:
        writer.abandon()
    return run_dir


@pytest.fixture
def write():
    return write_run


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'desk.sqlite'}") as opened:
        yield opened
