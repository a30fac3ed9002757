"""A desk with the EMA scalper, clouds that show what the test says, and options of the day at 495 to 505."""

from datetime import timedelta

from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.sessions import from_ns
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.signals.macro_bias import MacroState
from scalpdesk_strategies.ema_scalper.cloud_watch import CloudWatch
from scalpdesk_strategies.ema_scalper.model import TradeSignal
from scalpdesk_strategies.ema_scalper.strategy import EmaScalper, ScalpConfig
from scalpdesk_testing.kit.cloud_bars import bar_event, candle
from scalpdesk_testing.kit.desk import HandDesk, orders
from scalpdesk_testing.kit.instruments import DAY, straddle_book

STRIKES = range(490, 511)
SPOT = 499.75
"""So that late in the day the next strike still has a delta that may be bought."""


class ShownClouds(CloudWatch):
    """Clouds that show what the test says; bars are followed as ever."""

    def __init__(self):
        super().__init__(InstrumentId(0), "SPY")
        self.direction = 0
        self.lengths = (60,)
        """Bar lengths in seconds whose cloud flips."""
        self.conviction = 80
        self.bias = None
        """The 10-minute bias; None for the signal's own direction."""
        self.ratio = 2.0
        self.shown = {}
        """Candle by the end of its bar, UTC nanoseconds."""

    @property
    def macro(self):
        return MacroState(self.bias, None, 2**62, 10)

    def flip(self, seconds):
        return self.direction if seconds in self.lengths else 0

    def signal(self, seconds, iv_rank=None):
        end_ns = super().candles(seconds)[-1].bar.ts_event_ns
        return self.told(end_ns, iv_rank, f"{seconds // 60}m") if self.flip(seconds) else None

    def told(self, end_ns, iv_rank=None, timeframe="1m"):
        side, way = ("bullish", "up") if self.direction > 0 else ("bearish", "down")
        return TradeSignal(
            signal_id=f"SPY|{timeframe}|{from_ns(end_ns):%Y-%m-%dT%H:%M:%SZ}|flip_{way}",
            ticker="SPY",
            direction=side,
            conviction=self.conviction,
            timestamp=from_ns(end_ns),
            entry_price=500.0,
            timeframe=timeframe,
            macro_bias=self.direction if self.bias is None else self.bias,
            volume_ratio=self.ratio,
            iv_rank=iv_rank,
        )

    def candles(self, seconds):
        return [self.shown.get(one.bar.ts_event_ns, one) for one in super().candles(seconds)]

    def show(self, end_ns, *prices, top, bottom):
        """Let a bar be this candle: open, high, low, close against the fast cloud."""
        self.shown[end_ns] = candle(*prices, top=top, bottom=bottom, end_ns=end_ns)


class EmaBench:
    """Drives the scalper by hand; spreads are two cents unless ``spread`` is set."""

    def __init__(self, *, days=0, interest=5_000, **settings):
        self.strategy = EmaScalper(ScalpConfig(**settings))
        book = straddle_book(*STRIKES, expiry=DAY + timedelta(days=days))
        # the caps on Greeks cut today's options first, and are no matter here
        limits = RiskLimits(
            max_theta_fraction=1.0, max_bought_delta_fraction=100.0, max_bought_gamma_fraction=1000.0
        )
        self.desk = HandDesk(self.strategy, book, limits=limits)
        self.spread = 0.02
        self.desk.open()
        for number in range(1, len(book)):
            self.interest(number, interest)
        self.clouds = ShownClouds()
        tickers = self.strategy._tickers
        tickers[0] = tickers[0]._replace(watch=self.clouds)
        self.clouds.open_session(self.desk.session)
        self.minute("09:31")  # from here on minutes come from bars, not from quotes

    def interest(self, number, contracts):
        from scalpdesk.core.events import OpenInterestEvent

        now_ns = self.desk.now_ns
        self.desk.handle(OpenInterestEvent(InstrumentId(number), now_ns, now_ns, contracts))

    def minute(self, clock=None, spot=SPOT, flip=0):
        """Quote everything and close a minute, at ``clock`` or a minute later; return what follows."""
        if clock is None:
            minute_ns = 60 * 10**9
            self.desk.now_ns += minute_ns - (self.desk.now_ns - self.desk.session.open_ns) % minute_ns
        else:
            self.desk.go_to(clock)
        self.desk.market(spot, option_spread=self.spread)
        self.clouds.direction = flip
        outputs = self.desk.handle(bar_event(0, spot, end_ns=self.desk.now_ns))
        self.clouds.direction = 0
        return outputs

    def enter(self, clock="10:00", flip=1, spot=SPOT):
        """Return the order that a flip leads to."""
        (order,) = orders(self.minute(clock, spot, flip))
        return order

    def bought(self, clock="10:00", flip=1, fill=None):
        """Have a first half bought and filled; return its order."""
        order = self.enter(clock, flip)
        self.desk.wait(1)
        self.desk.accept(order)
        self.desk.fill(order, fill, price=float(order.limit_price))
        return order

    def quote(self, order, mid, spread=0.02, seconds=1):
        """Quote the bought option and those beside it around ``mid``, then the underlying."""
        self.desk.wait(seconds)
        half, book = spread / 2, self.desk.engine.desk.instruments
        bought = book[order.instrument_id]
        beside = [
            number
            for number, each in enumerate(book)
            if each.is_option and (each.expiry, each.right) == (bought.expiry, bought.right)
        ]
        outputs = ()
        for number in sorted(beside, key=lambda each: each == order.instrument_id):
            outputs += self.desk.quote(number, round(mid - half, 4), round(mid + half, 4))
        outputs += self.desk.quote(0, 499.69, 499.71)
        return outputs + self.desk.quote(0, 499.74, 499.76)

    @property
    def reasons(self):
        """Reasons of the last decision."""
        from scalpdesk_testing.kit.desk import decisions

        return decisions(self.desk.outputs)[-1].reasons
