"""The dead-band hedger on nautilus_trader 1; run with the peers' interpreter.

Quotes become `QuoteTick` objects and are handed to the engine before the clock starts; ``BacktestEngine.run``
is what is timed, without its closing analysis and with logging off. The risk engine stays on, as it does for
its users and ours. The strategy keeps its own share count from fill events, which is quicker than asking the
portfolio at every quote. Profit is summed from the fill events in cents: the account rounds each realised
profit for itself and drifts by some cents over thousands of fills.
"""

import nautilus_trader
import pandas as pd
from contender import dead_band_work, timed
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.common.config import LoggingConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import QuoteTickDataWrangler
from nautilus_trader.trading.strategy import Strategy

VENUE = Venue("XNAS")
SPY = InstrumentId(Symbol("SPY"), VENUE)


class DeadBand(Strategy):
    """Hedge to zero net delta when the band is left."""

    def __init__(self, work):
        super().__init__()
        self.work, self.pivot, self.slope, self.band = work, work.pivot, work.slope, work.band
        self.held = self.fills = self.cash_cents = 0

    def on_start(self):
        self.subscribe_quote_ticks(SPY)

    def on_quote_tick(self, tick):
        mid = (tick.bid_price.as_double() + tick.ask_price.as_double()) * 0.5
        net = self.slope * (mid - self.pivot) + self.held
        if -self.band < net < self.band:
            return
        shares = self.work.hedge(round(mid * 200.0), self.held)
        side = OrderSide.BUY if shares > 0 else OrderSide.SELL
        self.submit_order(self.order_factory.market(SPY, side, Quantity.from_int(abs(shares))))

    def on_order_filled(self, event):
        shares = int(event.last_qty.as_double()) * (1 if event.order_side == OrderSide.BUY else -1)
        self.held += shares
        self.fills += 1
        self.cash_cents -= shares * round(event.last_px.as_double() * 100.0)


work = dead_band_work()
instrument = Equity(
    SPY, SPY.symbol, USD, 2, Price.from_str("0.01"), Quantity.from_int(1), ts_event=0, ts_init=0
)
frame = pd.DataFrame(
    {"bid_price": work.bids / 100.0, "ask_price": work.asks / 100.0},
    index=pd.to_datetime(work.ts_ns, utc=True),
)
engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), run_analysis=False))
engine.add_venue(VENUE, OmsType.NETTING, AccountType.MARGIN, [Money(10**9, USD)], base_currency=USD)
engine.add_instrument(instrument)
engine.add_data(QuoteTickDataWrangler(instrument).process(frame, default_volume=work.displayed))
strategy = DeadBand(work)
engine.add_strategy(strategy)
seconds = timed(engine.run)
work.tell(
    seconds=seconds,
    fills=strategy.fills,
    position=int(engine.portfolio.net_position(SPY)),
    cash_cents=strategy.cash_cents,
    version=nautilus_trader.__version__,
)
