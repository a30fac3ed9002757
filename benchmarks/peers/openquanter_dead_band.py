"""The dead-band hedger on openquanter, its Python tier with margin; run with the peers' interpreter.

Quotes become a list of its ``Tick`` before the clock starts, prices in its integers; ``run_backtest`` is
timed, one call of the strategy a tick, with margin enforced. A market order fills at the sides of the tick
after the one that caused it. To have it filled at the quote that caused it, as the others do, each tick shows
the quote's bid as its last price and the sides of the quote before; a tick more fills a last order. Its
account keeps bought and sold lots beside each other, so each hedge opens; the holding is their difference.
Profit is summed from its fill prices in cents.
"""

import gc
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import openquanter

CASH_USD = 1_000_000_000
SHARE = openquanter.CASH_SCALE
"""Size of a lot that is one share priced in cents, at the scale of its amounts."""


class DeadBand:
    """Hedge to zero net delta when the band is left."""

    name = "dead band"

    def __init__(self, pivot_half_ticks, slope_tenths, band):
        self.pivot = pivot_half_ticks
        self.slope = slope_tenths
        self.band_tenths = 10.0 * band
        self.held = 0
        self.traded = []

    def on_tick(self, ctx):
        tenths = self.slope * (2 * ctx.last + 1 - self.pivot) + 10 * self.held  # the spread is one tick
        if -self.band_tenths < tenths < self.band_tenths:
            return None
        shares = (abs(tenths) + 5) // 10
        side = "sell" if tenths > 0 else "buy"
        signed = -shares if tenths > 0 else shares
        self.held += signed
        self.traded.append(signed)
        return [openquanter.Order(side, shares)]


def peak_rss_mb():
    """High-water mark of this program; `getrusage` would start from that of the program that began it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main():
    quotes = np.load(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else len(quotes["ts_ns"])
    times, bids, asks = (quotes[name][:count].tolist() for name in ("ts_ns", "bid_ticks", "ask_ticks"))
    assert all(ask == bid + 1 for bid, ask in zip(bids, asks, strict=True))
    rows = zip([*times, times[-1] + 1], [*bids, bids[-1]], [bids[0], *bids], [asks[0], *asks], strict=True)
    ticks = [openquanter.Tick(at, last, bid=bid, ask=ask) for at, last, bid, ask in rows]
    strategy = DeadBand(
        int(quotes["pivot_half_ticks"]),
        int(quotes["delta_tenths_per_half_tick"]),
        float(quotes["band_shares"]),
    )
    gc.collect()
    gc.freeze()
    began = time.process_time()
    result = openquanter.run_backtest(strategy, ticks, CASH_USD, contract_size=SHARE)
    seconds = time.process_time() - began
    if result.liquidations or result.fees_paid or len(result.fill_prices) != len(strategy.traded):
        raise SystemExit(f"not the work asked for: {result!r}, {len(strategy.traded)} orders")
    cash = -sum(shares * price for shares, price in zip(strategy.traded, result.fill_prices, strict=True))
    closing = bids[-1] if strategy.held > 0 else asks[-1]
    print(
        json.dumps(
            {
                "events": count,
                "seconds": seconds,
                "fills": result.fills,
                "position": strategy.held,
                "pnl_cents": cash + strategy.held * closing,
                "peak_rss_mb": peak_rss_mb(),
                "version": version("openquanter"),
            }
        )
    )


if __name__ == "__main__":
    main()
