"""The dead-band hedger over two sessions, 13 hours of market; prints its memory early and at the end.

The market is made beforehand, so what grows is the engine, its books and the exchange.
"""

import gc

import numpy as np
from contender import dead_band_work, rss_mb, tell
from dead_band import BLOCK, DeadBand, columns_of
from rig import SESSION, make_runner, make_tape

from scalpdesk.instruments.contract import Equity
from scalpdesk.instruments.sessions import next_session

EARLY_SECONDS = 1_800


def main():
    work = dead_band_work()
    count = len(work.bids)
    sessions = (SESSION, next_session(SESSION.day))
    halves = np.array_split(np.arange(count), len(sessions))
    ts_ns = np.concatenate(
        [
            session.open_ns + np.linspace(0, session.close_ns - session.open_ns, len(half), dtype=np.int64)
            for session, half in zip(sessions, halves, strict=True)
        ]
    )
    columns = columns_of(work, ts_ns)
    tape = make_tape([Equity("SPY")], columns, sessions=sessions)
    runner, engine = make_runner(tape, DeadBand(work), held=BLOCK, price=float(columns.bid[0]))
    early_mb, early_orders = 0.0, 0
    for now_ns in runner.steps():
        if not early_mb and now_ns >= SESSION.open_ns + EARLY_SECONDS * 1_000_000_000:
            gc.collect()
            early_mb = rss_mb("VmRSS")
            early_orders = len(engine.desk.orders.orders)
    gc.collect()
    tell(
        events=count,
        orders=len(engine.desk.orders.orders),
        early_orders=early_orders,
        early_mb=early_mb,
        end_mb=rss_mb("VmRSS"),
    )


if __name__ == "__main__":
    main()
