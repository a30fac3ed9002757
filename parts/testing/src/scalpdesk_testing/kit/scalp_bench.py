"""A desk with st0ckg, a signal that says what it is told, and options of the day."""

from scalpdesk.core.events import BarEvent
from scalpdesk.signals.base import Confidence, Reading
from scalpdesk_strategies.st0ckg.config import St0ckgConfig
from scalpdesk_strategies.st0ckg.filters import FilterConfig
from scalpdesk_strategies.st0ckg.strategy import St0ckg
from scalpdesk_testing.kit.desk import HandDesk, orders
from scalpdesk_testing.kit.instruments import DAY, straddle_book


class LiveOrders:
    """A signal that says what the test says."""

    name = "TOLD"
    weight = 9.0
    minimum = 6.0
    high_from = 7.0
    medium_from = 5.0

    def __init__(self):
        self.reading = Reading("TOLD", 0.0)
        self.facts = None

    def say(self, direction, score=8.0):
        confidence = Confidence.HIGH if score >= 7 else Confidence.MEDIUM
        self.reading = Reading("TOLD", score, direction, confidence, ("because",))

    def measured(self, facts):
        self.facts = facts
        return self.reading

    original = measured


QUIET = FilterConfig(trend_filter=False)


class Bench:
    """A desk with st0ckg, one told signal and options of the day at 498 to 502."""

    def __init__(self, **settings):
        config = St0ckgConfig(**({"filters": QUIET} | settings))
        self.strategy = St0ckg(config)
        self.told = LiveOrders()
        self.strategy._signals = (self.told,)
        self.desk = HandDesk(self.strategy, straddle_book(498, 499, 500, 501, 502, expiry=DAY))
        self.desk.open()
        self.minute("09:31")  # from here on minutes come from bars, not from quotes

    def minute(self, clock, spot=500.0):
        """Quote everything and close a minute at ``clock``; return what follows from the bar."""
        self.desk.go_to(clock)
        return self.close_minute(spot)

    def close_minute(self, spot):
        """Quote everything and close a minute now; return what follows from the bar."""
        self.desk.market(spot, option_spread=0.02)
        now_ns = self.desk.now_ns
        return self.desk.handle(BarEvent(0, now_ns, now_ns, 60, spot, spot + 0.02, spot - 0.02, spot, 1000.0))

    def bought(self, direction=1, clock="10:05", fill=None):
        """Have an entry made and filled."""
        self.told.say(direction)
        (order,) = orders(self.minute(clock))
        self.desk.wait(1)
        self.desk.accept(order)
        self.desk.fill(order, fill)
        self.told.say(0, 0.0)
        return order

    def at(self, spot, clock=None, seconds=30):
        """Move the market; return what follows."""
        if clock is not None:
            self.desk.go_to(clock)
        else:
            self.desk.wait(seconds)
        return self.desk.market(spot, option_spread=0.02)

    def symbol(self, order):
        return self.desk.book[order.instrument_id].symbol
