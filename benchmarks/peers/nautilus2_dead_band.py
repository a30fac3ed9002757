"""The dead-band hedger on nautilus_trader 2, whose core is Rust; run with the peers' Python 3.12.

The same as `nautilus_dead_band` does with version 1: quotes made beforehand, `run` timed, no closing
analysis, logging off, risk engine on, profit summed from the fill events in cents.
"""

import nautilus_trader
from contender import dead_band_work, timed
from nautilus_trader.backtest import BacktestEngine, BacktestEngineConfig
from nautilus_trader.common import LoggerConfig
from nautilus_trader.execution import FixedFeeModel
from nautilus_trader.model import (
    AccountType,
    Currency,
    Equity,
    InstrumentId,
    Money,
    OmsType,
    OrderSide,
    Price,
    Quantity,
    QuoteTick,
)  # fmt: skip
from nautilus_trader.trading import Strategy, StrategyConfig

SPY, USD = InstrumentId.from_str("SPY.XNAS"), Currency.from_str("USD")


class DeadBand(Strategy):
    """Hedge to zero net delta when the band is left."""

    def __new__(cls, work):
        del work
        return super().__new__(cls, StrategyConfig(log_events=False, log_commands=False))

    def __init__(self, work):
        super().__init__(StrategyConfig(log_events=False, log_commands=False))
        self.work, self.pivot, self.slope, self.band = work, work.pivot, work.slope, work.band
        self.held = self.fills = self.cash_cents = 0

    def on_start(self):
        self.subscribe_quotes(SPY)

    def on_quote(self, quote):
        mid = (quote.bid_price.as_double() + quote.ask_price.as_double()) * 0.5
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
size = Quantity(work.displayed, 0)
rows = zip(work.ts_ns.tolist(), (work.bids / 100.0).tolist(), (work.asks / 100.0).tolist(), strict=True)
quotes = [QuoteTick(SPY, Price(bid, 2), Price(ask, 2), size, size, at, at) for at, bid, ask in rows]
engine = BacktestEngine(
    BacktestEngineConfig(logging=LoggerConfig(bypass_logging=True), bypass_logging=True, run_analysis=False)
)
engine.add_venue(
    SPY.venue, OmsType.NETTING, AccountType.MARGIN, [Money(1e9, USD)], base_currency=USD,
    fee_model=FixedFeeModel(Money(0.0, USD)),
)  # fmt: skip
engine.add_instrument(Equity(SPY, SPY.symbol, USD, 2, Price(0.01, 2), 0, 0, lot_size=Quantity(1, 0)))
engine.add_data(quotes)
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
