"""What each order type asks for and does: a row a type, by its name.

Adding a type: its row here, its class in :mod:`scalpdesk.core.intents`, what the simulated broker's matching
does with it, and its word in ``order_words`` of each venue that has it.
"""

from types import MappingProxyType
from typing import Literal, NamedTuple

from scalpdesk.core.intents import TimeInForce

OrderTypeName = Literal["market", "limit", "stop", "stop_limit"]
"""Types that a desk sends."""
_ANY = frozenset(TimeInForce)
_RESTING = frozenset({TimeInForce.DAY, TimeInForce.GTC})


class OrderTraits(NamedTuple):
    """What an order type asks for and does."""

    needs_limit: bool
    needs_trigger: bool
    """Whether its sender states the price that it waits for."""
    waits: bool
    """Whether the venue holds it back, without a place in the queue, until the market has come to a price."""
    lifetimes: frozenset[TimeInForce]
    is_sent: bool = True
    """Whether a desk sends it; others come from clients of a served exchange alone."""


TRAITS = MappingProxyType(
    {
        "market": OrderTraits(needs_limit=False, needs_trigger=False, waits=False, lifetimes=_ANY),
        "limit": OrderTraits(needs_limit=True, needs_trigger=False, waits=False, lifetimes=_ANY),
        "stop": OrderTraits(needs_limit=False, needs_trigger=True, waits=True, lifetimes=_RESTING),
        "stop_limit": OrderTraits(needs_limit=True, needs_trigger=True, waits=True, lifetimes=_RESTING),
        "trailing_stop": OrderTraits(
            needs_limit=False, needs_trigger=False, waits=True, lifetimes=_RESTING, is_sent=False
        ),
    }
)
SENT = tuple(name for name, traits in TRAITS.items() if traits.is_sent)
"""Names of the types that a desk sends."""
WORKING_AT_ONCE = frozenset(name for name in SENT if not TRAITS[name].waits)
"""Names of those that work from their arrival on: a desk needs one of them to leave."""
