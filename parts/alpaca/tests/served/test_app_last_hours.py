"""The last day of a contract, and what the broker does by itself."""

from datetime import date

import pytest

from scalpdesk.exchange.source import TapeSource
from scalpdesk.simulation.faults import Fault
from scalpdesk_testing.kit.exchange import Bench
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder, at

CALL, PUT = "SPY240304C00500000", "SPY240304P00500000"


def expiry_day(close=504.0, symbol="SPY", **plan):
    """A day whose end is the end of one straddle at 500."""
    builder = TapeBuilder(straddle_book(500, expiry=DAY, symbol=symbol))
    for when in ("09:30", "12:00", "15:00", "15:20", "15:40", "15:59"):
        builder.spot(when, 501.0 if when != "15:59" else close)
    bench = Bench(TapeSource(builder.build()), cash=plan.pop("cash", 1_000_000), options=plan)
    bench.world.advance_to(at("09:31"))
    return bench


def held(bench):
    return {one["symbol"]: one["qty"] for one in bench.get("/v2/positions")}


def test_working_orders_end_with_their_contract():
    bench = expiry_day()
    order = bench.order(symbol=CALL, type="limit", limit_price=0.01, time_in_force="gtc")
    bench.world.advance_to(at("16:01"))
    assert bench.seen(order)["status"] == "expired"
    assert bench.refused(symbol=CALL, type="limit", limit_price=1)[2] == f'asset "{CALL}" is not active'


@pytest.mark.rows(
    ("symbol", "last", "first_refused"), [("SPY", "15:29", "15:30"), ("NVDA", "15:14", "15:15")]
)
def test_orders_in_expiring_contracts_are_refused_in_time(symbol, last, first_refused):
    bench = expiry_day(symbol=symbol) if symbol == "SPY" else None
    if bench is None:
        builder = TapeBuilder(straddle_book(500, expiry=DAY, symbol=symbol)).spot("09:30", 501.0)
        builder.dividends = ()
        tape = builder.build()
        from dataclasses import replace

        bench = Bench(TapeSource(replace(tape, underlying=symbol)), cash=1_000_000)
    call = CALL.replace("SPY", symbol)
    bench.world.advance_to(at(last))
    assert "status" in bench.order(symbol=call)
    bench.world.advance_to(at(first_refused))
    status, _, message = bench.refused(symbol=call)
    assert status == 403
    assert call in message


def test_the_cutoff_can_be_switched_off():
    bench = expiry_day(cutoff=False)
    bench.world.advance_to(at("15:59"))
    assert "status" in bench.order(symbol=CALL)


def test_assignment_and_liquidation_on_request():
    bench = expiry_day()
    bench.order(symbol=PUT, side="sell", qty=2)
    bench.world.strike_market_fault(Fault("assignment", match=PUT))
    assert held(bench) == {"SPY": "200"}
    bench.world.strike_market_fault(Fault("auto_liquidation", match="SPY"))
    assert held(bench) == {}


def test_a_half_day_ends_earlier():
    half = date(2024, 11, 29)
    builder = TapeBuilder(straddle_book(500, expiry=half), days=(half,))
    builder.spot("09:30", 501.0).spot("13:00", 501.0)
    bench = Bench(TapeSource(builder.build()), cash=1_000_000)
    call = "SPY241129C00500000"
    bench.world.advance_to(at("12:29", half))
    bench.order(symbol=call)
    bench.world.advance_to(at("12:30", half))
    assert bench.refused(symbol=call)[0] == 403
    bench.world.advance_to(at("13:01", half))
    assert held(bench) == {call: "1"}
    bench.world.advance_to(at("07:30", date(2024, 12, 2)))
    assert held(bench) == {"SPY": "100"}
