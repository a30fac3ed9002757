"""The dead-band hedger on nautilus_trader; run with the peers' interpreter, prints one JSON line.

Quotes become `QuoteTick` objects and are handed to the engine before the clock starts; ``BacktestEngine.run``
is what is timed, without its closing analysis and with logging off. The risk engine stays on, as it does for
its users and ours. The strategy keeps its own share count from fill events, which is quicker than asking the
portfolio at every quote. Profit is summed from the fill events in cents: the account rounds each realised
profit for itself and drifts by some cents over thousands of fills.
"""

import gc
import json
import sys
import time
from pathlib import Path

import nautilus_trader
import numpy as np
import pandas as pd
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.common.config import LoggingConfig
from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import QuoteTickDataWrangler
from nautilus_trader.trading.strategy import Strategy

VENUE = Venue("XNAS")
CASH_USD = 1_000_000_000


class DeadBandConfig(StrategyConfig, frozen=True):
    """Settings of the hedger."""

    instrument_id: InstrumentId
    pivot_half_ticks: int
    slope_tenths: int
    band: float


class DeadBand(Strategy):
    """Hedge to zero net delta when the band is left."""

    def __init__(self, config):
        super().__init__(config)
        self.held = 0
        self.fills = 0
        self.cash_cents = 0
        self.pivot = config.pivot_half_ticks / 200.0
        self.slope = config.slope_tenths * 20.0
        self.band = config.band

    def on_start(self):
        self.subscribe_quote_ticks(self.config.instrument_id)

    def on_quote_tick(self, tick):
        mid = (tick.bid_price.as_double() + tick.ask_price.as_double()) * 0.5
        net = self.slope * (mid - self.pivot) + self.held
        if -self.band < net < self.band:
            return
        tenths = (
            self.config.slope_tenths * (round(mid * 200.0) - self.config.pivot_half_ticks) + 10 * self.held
        )
        self.submit_order(
            self.order_factory.market(
                self.config.instrument_id,
                OrderSide.SELL if tenths > 0 else OrderSide.BUY,
                Quantity.from_int((abs(tenths) + 5) // 10),
            )
        )

    def on_order_filled(self, event):
        shares = int(event.last_qty.as_double())
        if event.order_side == OrderSide.SELL:
            shares = -shares
        self.held += shares
        self.fills += 1
        self.cash_cents -= shares * round(event.last_px.as_double() * 100.0)


def peak_rss_mb():
    """High-water mark of this program; `getrusage` would start from that of the program that began it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main():
    quotes = np.load(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else len(quotes["ts_ns"])
    bids, asks = quotes["bid_ticks"][:count], quotes["ask_ticks"][:count]
    instrument = Equity(
        instrument_id=InstrumentId(Symbol("SPY"), VENUE),
        raw_symbol=Symbol("SPY"),
        currency=USD,
        price_precision=2,
        price_increment=Price.from_str("0.01"),
        lot_size=Quantity.from_int(1),
        ts_event=0,
        ts_init=0,
    )
    frame = pd.DataFrame(
        {"bid_price": bids / 100.0, "ask_price": asks / 100.0},
        index=pd.to_datetime(quotes["ts_ns"][:count], utc=True),
    )
    ticks = QuoteTickDataWrangler(instrument).process(frame, default_volume=float(quotes["displayed_shares"]))
    engine = BacktestEngine(
        BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), run_analysis=False)
    )
    engine.add_venue(VENUE, OmsType.NETTING, AccountType.MARGIN, [Money(CASH_USD, USD)], base_currency=USD)
    engine.add_instrument(instrument)
    engine.add_data(ticks)
    strategy = DeadBand(
        DeadBandConfig(
            instrument_id=instrument.id,
            pivot_half_ticks=int(quotes["pivot_half_ticks"]),
            slope_tenths=int(quotes["delta_tenths_per_half_tick"]),
            band=float(quotes["band_shares"]),
        )
    )
    engine.add_strategy(strategy)
    gc.collect()
    gc.freeze()
    began = time.process_time()
    engine.run()
    seconds = time.process_time() - began
    position = int(engine.portfolio.net_position(instrument.id))
    closing = int(bids[-1] if position > 0 else asks[-1])
    print(
        json.dumps(
            {
                "events": count,
                "seconds": seconds,
                "fills": strategy.fills,
                "position": position,
                "pnl_cents": strategy.cash_cents + position * closing,
                "peak_rss_mb": peak_rss_mb(),
                "version": nautilus_trader.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
