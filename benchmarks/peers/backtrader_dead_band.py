"""The dead-band hedger on backtrader; run with the peers' interpreter, prints one JSON line.

backtrader knows bars, not quotes. Each quote becomes one bar whose four prices are the mid. A market order
sent in ``next`` with cheat-on-close fills at the close of the bar that caused it (backtrader books it when
the next bar arrives, before the strategy sees that bar), and a fixed slippage of half the spread, allowed
to leave the bar's range, moves the mid to the bid or the ask. The fill prices are therefore those of the
quotes.

Timed: from the strategy's start to the end of ``Cerebro.run``. The feed is preloaded before (backtrader's own
default) and not timed. The observers that ``Cerebro()`` adds (cash, value, trades) stay on unless the third
argument is ``--no-observers``.
"""

import datetime as dt
import gc
import json
import sys
import time
from pathlib import Path

import backtrader as bt
import numpy as np

CASH = 1_000_000_000.0


class Mid(bt.feed.DataBase):
    """Bars made from columns of quotes."""

    params = (("days", None), ("mids", None))

    def start(self):
        super().start()
        self._rows = zip(self.p.days, self.p.mids, strict=True)

    def _load(self):
        row = next(self._rows, None)
        if row is None:
            return False
        lines = self.lines
        lines.datetime[0], mid = row
        lines.open[0] = lines.high[0] = lines.low[0] = lines.close[0] = mid
        lines.volume[0] = lines.openinterest[0] = 0.0
        return True


class DeadBand(bt.Strategy):
    """Hedge to zero net delta when the band is left."""

    params = (("pivot_half_ticks", 0), ("slope_tenths", 0), ("band", 0.0))

    def start(self):
        self.held = 0
        self.fills = 0
        self.pivot = self.p.pivot_half_ticks / 200.0
        self.slope = self.p.slope_tenths * 20.0
        self.band = self.p.band
        self.close = self.data.close
        gc.collect()
        gc.freeze()
        self.began = time.process_time()

    def next(self):
        mid = self.close[0]
        net = self.slope * (mid - self.pivot) + self.held
        if -self.band < net < self.band:
            return
        half_ticks = round(mid * 200.0)
        tenths = self.p.slope_tenths * (half_ticks - self.p.pivot_half_ticks) + 10 * self.held
        shares = (abs(tenths) + 5) // 10
        if tenths > 0:
            self.sell(size=shares)
        else:
            self.buy(size=shares)

    def notify_order(self, order):
        if order.status == order.Completed:
            self.held += int(order.executed.size)
            self.fills += 1


def peak_rss_mb():
    """High-water mark of this program; `getrusage` would start from that of the program that began it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main():
    quotes = np.load(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else len(quotes["ts_ns"])
    bids, asks = quotes["bid_ticks"][:count], quotes["ask_ticks"][:count]
    epoch_day = bt.date2num(dt.datetime(1970, 1, 1))  # noqa: DTZ001 - backtrader's dates are naive
    days = epoch_day + quotes["ts_ns"][:count] / 86_400e9
    cerebro = bt.Cerebro(stdstats="--no-observers" not in sys.argv[3:])
    cerebro.adddata(Mid(days=days.tolist(), mids=((bids + asks) / 200.0).tolist()))
    cerebro.broker.setcash(CASH)
    cerebro.broker.set_coc(True)
    cerebro.broker.set_checksubmit(False)
    cerebro.broker.set_slippage_fixed(0.005, slip_open=True, slip_match=True, slip_out=True)
    cerebro.addstrategy(
        DeadBand,
        pivot_half_ticks=int(quotes["pivot_half_ticks"]),
        slope_tenths=int(quotes["delta_tenths_per_half_tick"]),
        band=float(quotes["band_shares"]),
    )
    (strategy,) = cerebro.run()
    seconds = time.process_time() - strategy.began
    broker = cerebro.broker
    position = int(broker.getposition(strategy.data).size)
    closing = int(bids[-1] if position > 0 else asks[-1])
    print(
        json.dumps(
            {
                "events": count,
                "seconds": seconds,
                "fills": strategy.fills,
                "position": position,
                "pnl_cents": round((broker.getcash() - CASH) * 100) + position * closing,
                "peak_rss_mb": peak_rss_mb(),
                "version": bt.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
