"""Price and heartbeat trigger of a strategy, with its settings."""

from decimal import Decimal

import msgspec

from scalpdesk.core.bounds import Bound, check_bounds
from scalpdesk.core.units import CENT, InstrumentId
from scalpdesk.marketdata.quotes import SpreadFilter
from scalpdesk.marketdata.triggers import PriceMove

BOUNDS = {
    "price_change_usd": Bound(0, 100, "currency per share", may_equal_low=True),
    "heartbeat_seconds": Bound(0, 600, "seconds, not milliseconds", may_equal_low=True),
}


class TriggersConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Price move and heartbeat that wake the strategy."""

    price_change_usd: float = 0.05
    """Move of the underlying since the last thought (PRICE_CHANGE_THRESHOLD)."""
    heartbeat_seconds: float = 5.0
    """Longest silence (HEARTBEAT_TRIGGER_SECONDS)."""
    spread_filter: bool = True
    """Use only quotes whose spread is at most 1.5 times its running average as a price; never on an index."""

    def __post_init__(self) -> None:
        """Refuse figures out of bounds."""
        check_bounds(self, BOUNDS, "triggers")

    def trigger(
        self, instrument_id: InstrumentId, *, is_index: bool = False, tick: Decimal = CENT
    ) -> PriceMove:
        """Return the trigger on an underlying; spreads of fifty ticks or more are learnt by no average."""
        size = float(tick)
        spreads = (
            SpreadFilter(learn_below=50.0 * size, tick=size) if self.spread_filter and not is_index else None
        )
        return PriceMove(instrument_id, self.price_change_usd, self.heartbeat_seconds, spreads)
