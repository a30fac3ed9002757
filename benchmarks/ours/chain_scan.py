"""Every straddle and strangle of a chain: ``chain_scan.py CHAIN select|scan REPEATS``."""

import hashlib
import json
import math
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from contender import median_seconds, tell

from scalpdesk.marketdata.chain_surface import ChainQuotes, ExpiryLabel, ExpiryQuotes, fit_chain
from scalpdesk.research.scan import DeskForecast, Legs, rank, select_pairs
from scalpdesk.strategies.gamma_scalper.config import GammaScalperConfig
from scalpdesk.volatility.forecast import VolForecast
from scalpdesk.volatility.variance_time import CALENDAR

SPOT, RATE, DAY_NS = 500.0, 0.04, 86_400 * 10**9
TODAY = date(2024, 3, 4)
NOW_NS = 1_709_568_000 * 10**9


def main() -> None:
    chain_file, wanted, repeats = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    rows = sorted(json.loads(chain_file.read_text(encoding="utf-8")))
    days = sorted({row[0] for row in rows})
    expiries = []
    for day in days:
        own = [row for row in rows if row[0] == day]
        strike, bid, ask = (np.array([row[at] for row in own]) for at in (1, 3, 4))
        is_call = np.array([row[2] for row in own])
        label = ExpiryLabel(TODAY + timedelta(days=day), "X")
        expiries.append(
            ExpiryQuotes(label, day / 365.0, "american", strike, is_call, bid, ask, np.full(len(own), SPOT))
        )
    chain = ChainQuotes(NOW_NS, SPOT, tuple(expiries), lambda _: RATE)
    began = time.perf_counter()
    fitted = fit_chain(chain)
    fit_seconds = time.perf_counter() - began
    legs = Legs(
        expiry=np.array([days.index(row[0]) for row in rows]),
        strike=np.array([row[1] for row in rows]),
        is_call=np.array([row[2] for row in rows]),
        bid=np.array([row[3] for row in rows]),
        ask=np.array([row[4] for row in rows]),
        size=np.full(len(rows), 10.0),
        open_interest=np.full(len(rows), 1_000),
    )
    made = VolForecast(0.21, math.nan, math.nan, 0.01, math.nan, 5, "given", "given", None, {}, 0, ())
    forecast = DeskForecast(made, None, 0.0)

    def scan():
        found = rank(
            fitted,
            legs,
            forecast=forecast,
            config=GammaScalperConfig(),
            clock=CALENDAR,
            expires_ns=tuple(NOW_NS + day * DAY_NS for day in days),
            multiplier=100,
            share=(SPOT - 0.01, SPOT + 0.01),
        )
        return found.call, found.put

    def select():
        call, put = select_pairs(legs)
        mid = 0.5 * (legs.bid + legs.ask)
        return call, put, mid[call] + mid[put]

    work = {"scan": scan, "select": select}[wanted]
    (call, put, *_) = work()
    seconds = median_seconds(work, repeats, time.perf_counter)
    columns = np.array(days)[legs.expiry[call]], legs.strike[put], legs.strike[call]
    pairs = sorted(zip(*(column.tolist() for column in columns), strict=True))
    mid = 0.5 * (legs.bid + legs.ask)
    tell(
        seconds=seconds,
        fit_seconds=fit_seconds,
        pairs=len(pairs),
        cost=float(mid[call].sum() + mid[put].sum()),
        digest=hashlib.sha256(json.dumps(pairs).encode()).hexdigest(),
    )


if __name__ == "__main__":
    main()
