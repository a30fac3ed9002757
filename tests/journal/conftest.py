from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import Event, OrderFilled, QuoteEvent
from scalpdesk.core.intents import Decision, Output, Purpose, SetTimer, Side, SubmitOrder
from scalpdesk.core.intents import OrderType as Pricing
from scalpdesk.core.intents import TimeInForce as Life
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Future, Index, LinearPerpetual, Perpetual
from scalpdesk.instruments.sessions import Session
from scalpdesk.instruments.ticks import CENT_TICK
from scalpdesk.journal.codec import SCHEMA, JournalHeader


@pytest.fixture
def header() -> JournalHeader:
    instruments = (
        Equity("SPY"),
        Index("SPX"),
        Future("ESH1", "ES", date(2021, 3, 19), CENT_TICK, multiplier=50),
        Perpetual("BTC-PERPETUAL", 10, CENT_TICK),
        us_option("SPXW210104C03700000"),
        us_option("GOOG151224P00752500", ["GOOG"]),
        LinearPerpetual("BTC_USDC-PERPETUAL", CENT_TICK),
    )
    return JournalHeader(
        schema=SCHEMA,
        run_id="demo-20180205-1",
        strategy="gamma_scalper",
        venue="simulated",
        mode="demo",
        config={"hedge": {"band": 2.5, "names": ["a", "b"]}, "capital": "100000.00"},
        config_hash="c0ffee",
        build="0.1.0",
        instruments=instruments,
        sessions=(Session(date(2018, 2, 5), 1_517_841_000_000_000_000, 1_517_864_400_000_000_000),),
        data={"name": "embedded", "kind": "reconstructed", "open": "269.07"},
        started_ns=1_517_841_000_000_000_000,
        seed=1,
    )


@pytest.fixture
def quote() -> Callable[[int], QuoteEvent]:
    def make(step: int) -> QuoteEvent:
        return QuoteEvent(InstrumentId(0), step, step + 1, 100.0 + step, 100.5 + step, 3.0, 4.0)

    return make


@pytest.fixture
def script(quote: Callable[[int], QuoteEvent]) -> list[tuple[list[Event], tuple[Output, ...]]]:
    """Three steps: two quotes and an order, a fill and a timer, a quote that causes nothing."""
    order = SubmitOrder(
        "d-1", InstrumentId(4), Side.BUY, Decimal(2), Pricing.LIMIT, Decimal("3.50"), Life.DAY, Purpose.OPEN
    )
    taken = Decision(2, DecisionKind.ENTRY, True, ("edge above cost",), {"edge_usd": 12.5, "n": 3}, ("d-1",))
    filled = OrderFilled("d-1", 3, 4, "x-1", Decimal(2), Decimal("3.45"), Decimal("0.06"))
    return [
        ([quote(1), quote(2)], (taken, order)),
        ([filled], (SetTimer("heartbeat", 9),)),
        ([quote(5)], ()),
    ]
