"""What each timed program does alike, ours and the peers': its own clock and memory, and one line of JSON."""

import gc
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np


def rss_mb(field="VmHWM"):
    """Memory of this program: the most it held (``VmHWM``, not of the program that began it) or holds now."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def freeze():
    """Take what exists out of the garbage collector's sight; return the processor time."""
    gc.collect()
    gc.freeze()
    return time.process_time()


def timed(run):
    """Return the processor time of one run."""
    began = freeze()
    run()
    return time.process_time() - began


def median_seconds(run, repeats, now=time.process_time):
    """Return the median time of a run after a first one."""
    run()
    seconds = []
    for _ in range(repeats):
        began = now()
        run()
        seconds.append(now() - began)
    return statistics.median(seconds)


def tell(**answer):
    print(json.dumps(answer | {"peak_rss_mb": rss_mb()}))


class DeadBandWork:
    """The columns and the constants that `work.Quotes.save` wrote; the first COUNT quotes where told."""

    def __init__(self, path, count=None):
        file = np.load(path)
        self.ts_ns, self.bids, self.asks = (
            file[name][:count] for name in ("ts_ns", "bid_ticks", "ask_ticks")
        )
        self.pivot_half_ticks = int(file["pivot_half_ticks"])
        self.slope_tenths = int(file["delta_tenths_per_half_tick"])
        self.band = float(file["band_shares"])
        self.displayed = float(file["displayed_shares"])
        # in dollars, as a strategy sees prices
        self.pivot, self.slope = self.pivot_half_ticks / 200.0, self.slope_tenths * 20.0

    def hedge(self, half_ticks, held):
        """Signed shares to zero net delta, rounded half away from zero."""
        tenths = self.slope_tenths * (half_ticks - self.pivot_half_ticks) + 10 * held
        shares = (abs(tenths) + 5) // 10
        return -shares if tenths > 0 else shares

    def tell(self, *, seconds, fills, position, cash_cents, **more):
        """Print the answer; what is held is worth the side at which it would be closed."""
        closing = int(self.bids[-1] if position > 0 else self.asks[-1])
        pnl_cents = cash_cents + position * closing
        tell(
            events=len(self.bids),
            seconds=seconds,
            fills=fills,
            position=position,
            pnl_cents=pnl_cents,
            **more,
        )


def dead_band_work():
    """Return the work of the command line: ``QUOTES [COUNT]``."""
    return DeadBandWork(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None)
