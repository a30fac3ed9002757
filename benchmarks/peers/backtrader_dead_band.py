"""The dead-band hedger on backtrader; run with the peers' interpreter.

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
import sys
import time

import backtrader as bt
from contender import dead_band_work, freeze

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

    params = (("work", None),)

    def start(self):
        self.work = self.p.work
        self.pivot, self.slope, self.band = self.work.pivot, self.work.slope, self.work.band
        self.held = self.fills = 0
        self.close = self.data.close
        self.began = freeze()

    def next(self):
        mid = self.close[0]
        net = self.slope * (mid - self.pivot) + self.held
        if -self.band < net < self.band:
            return
        shares = self.work.hedge(round(mid * 200.0), self.held)
        (self.buy if shares > 0 else self.sell)(size=abs(shares))

    def notify_order(self, order):
        if order.status == order.Completed:
            self.held += int(order.executed.size)
            self.fills += 1


work = dead_band_work()
epoch_day = bt.date2num(dt.datetime(1970, 1, 1))  # noqa: DTZ001 - backtrader's dates are naive
days, mids = epoch_day + work.ts_ns / 86_400e9, (work.bids + work.asks) / 200.0
cerebro = bt.Cerebro(stdstats="--no-observers" not in sys.argv[3:])
cerebro.adddata(Mid(days=days.tolist(), mids=mids.tolist()))
cerebro.broker.setcash(CASH)
cerebro.broker.set_coc(True)
cerebro.broker.set_checksubmit(False)
cerebro.broker.set_slippage_fixed(0.005, slip_open=True, slip_match=True, slip_out=True)
cerebro.addstrategy(DeadBand, work=work)
(strategy,) = cerebro.run()
seconds = time.process_time() - strategy.began
work.tell(
    seconds=seconds,
    fills=strategy.fills,
    position=int(cerebro.broker.getposition(strategy.data).size),
    cash_cents=round((cerebro.broker.getcash() - CASH) * 100),
    version=bt.__version__,
)
