"""Closed bars of the tape come at the same place in a backtest and on the simulated venue."""

from dataclasses import replace

import numpy as np

from scalpdesk.core.events import BarEvent, QuoteEvent
from scalpdesk.marketdata.tape import BarColumns
from scalpdesk.venues.simulated import PlayedSession
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.desk import Scripted, run_tape
from scalpdesk_testing.kit.tape import TapeBuilder, at

ENDS = (at("10:01"), at("10:01:30"), at("10:02"))


def tape():
    builder = TapeBuilder()
    for minute in range(4):
        builder.spot(f"10:0{minute}", 500.0 + minute)
    prices = np.array([500.0, 501.0, 502.0])
    bars = BarColumns(
        np.array(ENDS, np.int64),
        np.zeros(3, np.int32),
        np.full(3, 60, np.int32),
        prices,
        prices,
        prices,
        prices,
        np.array([10.0, 20.0, 30.0]),
    )
    return replace(builder.build(), bars=bars)


def in_short(events):
    """Quotes and bars with their stamps, and the volume of a bar."""
    kinds = {QuoteEvent: "quote", BarEvent: "bar"}
    return [
        (kinds[type(one)], one.ts_recv_ns, getattr(one, "volume", None))
        for one in events
        if type(one) in kinds
    ]


def test_the_simulated_venue_tells_bars_in_the_backtests_order():
    market = tape()
    venue = PlayedSession(market, connect(market.instruments, is_open=False))
    stepped = []
    while not venue.is_over:
        stepped += venue.step()
    told = in_short(stepped)
    assert told == in_short(run_tape(market, Scripted()).events)
    assert [one[1:] for one in told if one[0] == "bar"] == list(zip(ENDS, (10.0, 20.0, 30.0), strict=True))
    assert told.index(("bar", ENDS[0], 10.0)) > told.index(("quote", ENDS[0], None))
