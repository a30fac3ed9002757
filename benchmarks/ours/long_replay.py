"""The dead-band hedger over two sessions, 13 hours of market; prints its memory early and at the end.

The market is made beforehand, so what grows is the engine, its books and the exchange.
"""

import gc
import json
import sys

import numpy as np
from dead_band import BLOCK, DeadBand
from rig import SESSION, make_runner, make_tape, rss_mb, sizes

from scalpdesk.instruments.contract import Equity
from scalpdesk.instruments.sessions import next_session
from scalpdesk.marketdata.tape import QuoteColumns

EARLY_SECONDS = 1_800


def main():
    with np.load(sys.argv[1]) as file:
        quotes = {name: file[name] for name in file.files}
    count = len(quotes["ts_ns"])
    sessions = (SESSION, next_session(SESSION.day))
    halves = np.array_split(np.arange(count), len(sessions))
    ts_ns = np.concatenate(
        [
            session.open_ns + np.linspace(0, session.close_ns - session.open_ns, len(half), dtype=np.int64)
            for session, half in zip(sessions, halves, strict=True)
        ]
    )
    bid, ask = quotes["bid_ticks"] / 100.0, quotes["ask_ticks"] / 100.0
    displayed = sizes(count, quotes["displayed_shares"])
    columns = QuoteColumns(ts_ns, np.full(count, 0, np.int32), bid, ask, displayed, displayed)
    tape = make_tape([Equity("SPY")], columns, sessions=sessions)
    strategy = DeadBand(
        int(quotes["pivot_half_ticks"]),
        int(quotes["delta_tenths_per_half_tick"]),
        float(quotes["band_shares"]),
    )
    runner, engine = make_runner(tape, strategy, held=BLOCK, price=float(bid[0]))
    early_mb, early_orders = 0.0, 0
    for now_ns in runner.steps():
        if not early_mb and now_ns >= SESSION.open_ns + EARLY_SECONDS * 1_000_000_000:
            gc.collect()
            early_mb = rss_mb("VmRSS")
            early_orders = len(engine.desk.orders.orders)
    gc.collect()
    print(
        json.dumps(
            {
                "events": count,
                "orders": len(engine.desk.orders.orders),
                "early_orders": early_orders,
                "early_mb": early_mb,
                "end_mb": rss_mb("VmRSS"),
            }
        )
    )


if __name__ == "__main__":
    main()
