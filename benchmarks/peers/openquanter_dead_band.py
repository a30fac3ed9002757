"""The dead-band hedger on openquanter, its Python tier with margin; run with the peers' interpreter.

Quotes become a list of its ``Tick`` before the clock starts, prices in its integers; ``run_backtest`` is
timed, one call of the strategy a tick, with margin enforced. A market order fills at the sides of the tick
after the one that caused it. To have it filled at the quote that caused it, as the others do, each tick shows
the quote's bid as its last price and the sides of the quote before; a tick more fills a last order. Its
account keeps bought and sold lots beside each other, so each hedge opens; the holding is their difference.
Profit is summed from its fill prices in cents.
"""

import time
from importlib.metadata import version

import openquanter
from contender import dead_band_work, freeze

CASH_USD = 1_000_000_000
SHARE = openquanter.CASH_SCALE
"""Size of a lot that is one share priced in cents, at the scale of its amounts."""


class DeadBand:
    """Hedge to zero net delta when the band is left."""

    name = "dead band"

    def __init__(self, work):
        self.work, self.pivot, self.slope = work, work.pivot_half_ticks, work.slope_tenths
        self.band_tenths = 10.0 * work.band
        self.held = 0
        self.traded = []

    def on_tick(self, ctx):
        half_ticks = 2 * ctx.last + 1  # the spread is one tick
        tenths = self.slope * (half_ticks - self.pivot) + 10 * self.held
        if -self.band_tenths < tenths < self.band_tenths:
            return None
        shares = self.work.hedge(half_ticks, self.held)
        self.held += shares
        self.traded.append(shares)
        return [openquanter.Order("buy" if shares > 0 else "sell", abs(shares))]


work = dead_band_work()
times, bids, asks = work.ts_ns.tolist(), work.bids.tolist(), work.asks.tolist()
assert all(ask == bid + 1 for bid, ask in zip(bids, asks, strict=True))
rows = zip([*times, times[-1] + 1], [*bids, bids[-1]], [bids[0], *bids], [asks[0], *asks], strict=True)
ticks = [openquanter.Tick(at, last, bid=bid, ask=ask) for at, last, bid, ask in rows]
strategy = DeadBand(work)
began = freeze()
result = openquanter.run_backtest(strategy, ticks, CASH_USD, contract_size=SHARE)
seconds = time.process_time() - began
if result.liquidations or result.fees_paid or len(result.fill_prices) != len(strategy.traded):
    raise SystemExit(f"not the work asked for: {result!r}, {len(strategy.traded)} orders")
work.tell(
    seconds=seconds,
    fills=result.fills,
    position=strategy.held,
    cash_cents=-sum(a * price for a, price in zip(strategy.traded, result.fill_prices, strict=True)),
    version=version("openquanter"),
)
