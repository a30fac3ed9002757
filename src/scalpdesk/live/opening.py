"""What a new run must know before it adopts an account."""

from scalpdesk.core.errors import RetryError
from scalpdesk.core.events import QuoteEvent
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
