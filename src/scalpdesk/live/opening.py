"""How a run meets its account: a new one adopts it, one that goes on holds it against its journal."""

from collections.abc import Iterator

import msgspec

from scalpdesk.core.errors import RetryError
from scalpdesk.core.events import Event, OperatorEvent, OrderDoubted, QuoteEvent
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.live.parts import Start
from scalpdesk.orders.order import OrderState
from scalpdesk.venues.base import Gateway, VenueView


async def quotes_of_holdings(gateway: Gateway, view: VenueView) -> tuple[QuoteEvent, ...]:
    """Return the latest quotes of what the account holds.

    An account is adopted at market: at the prices once paid, all that was gained or lost since would
    count as this session's, and might be taken for its daily loss. Without an answer there are none.
    """
    held = [one.instrument_id for one in view.positions if one.instrument_id is not None and one.quantity]
    if not held:
        return ()
    try:
        return await gateway.quotes(held)
    except RetryError:
        return ()


def adoption(start: Start, view: VenueView, marks: tuple[QuoteEvent, ...], now_ns: int) -> Iterator[Event]:
    """Yield what a new run is told: its market, the prices of what is held, and the account itself."""
    for event in (*start.opening, *marks, view.as_event()):
        yield msgspec.structs.replace(event, ts_recv_ns=now_ns)


def continuation(engine: TradingEngine, start: Start, now_ns: int) -> Iterator[Event]:
    """Yield what a run that goes on is told.

    Orders that were journaled and never acknowledged may have left or not: they are doubted. A halt that
    an orderly stop left behind is lifted.
    """
    for name, order in tuple(engine.desk.orders.live.items()):
        if order.state is OrderState.PENDING_NEW and not order.venue_order_id:
            yield OrderDoubted(name, now_ns, now_ns, "the desk ended before the venue answered")
    if start.lapsed_stop and engine.desk.gate.mode == "HALTED":
        yield OperatorEvent(now_ns, now_ns, "resume", "the run goes on after its stop", start.who)
