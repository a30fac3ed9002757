"""How a run ends in order: what a stop asks of the engine, and when it is done."""

from collections.abc import Callable

from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.venues.base import VenueView

HOLD_SECONDS = 5.0
"""How long a stop waits for the venue to confirm the cancels."""
ACTION = {"leave": "", "hold": "halt", "flatten": "flatten"}


class Ending:
    """Follows a stop to its end.

    Parameters
    ----------
    engine
        What is to come to rest.
    ask_view
        Asks the venue for the account.
    """

    def __init__(self, engine: TradingEngine, ask_view: Callable[[str], object]) -> None:
        self._engine = engine
        self._ask_view = ask_view
        self.how: str | None = None
        """``leave``, ``hold`` or ``flatten`` once a stop was asked for."""
        self.reason = ""
        """Why the run is over; empty until it is."""

    def begin(self, how: str) -> str:
        """Begin a stop; return what the engine is to be told (``halt``, ``flatten`` or nothing)."""
        self.how = how
        return ACTION[how]

    def finish(self, why: str) -> None:
        """The run is over; the first reason stands."""
        self.reason = self.reason or why

    def look(self, view: VenueView | None) -> None:
        """Finish once what was asked for is so; ``view`` is the latest of the account."""
        if self.how is None or self.reason:
            return
        desk = self._engine.desk
        if self.how == "leave" or (self.how == "hold" and not desk.orders.live):
            self.finish(f"stopped: {self.how}")
        elif self.how == "flatten" and not desk.orders.live and not desk.positions.held():
            latest = max((order.created_ns for order in desk.orders.orders.values()), default=0)
            if view is not None and view.ts_recv_ns >= latest and is_flat(view):
                self.finish("stopped: flat, and the venue shows it")
            else:
                self._ask_view("flatten")


def is_flat(view: VenueView) -> bool:
    """Return whether the venue shows nothing of the run's market, neither held nor ordered."""
    held = any(one.quantity for one in view.positions if one.instrument_id is not None)
    return not held and not view.open_orders
