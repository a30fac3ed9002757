"""Price and heartbeat trigger of a strategy, with its settings."""

from decimal import Decimal
from typing import Annotated

from scalpdesk.core.bounds import BoundedSettings, at_least
from scalpdesk.core.units import CENT, InstrumentId
from scalpdesk.marketdata.quotes import SpreadFilter
from scalpdesk.marketdata.triggers import PriceMove


class TriggersConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Price move and heartbeat that wake the strategy."""

    section = "triggers"
    price_change_usd: Annotated[float, at_least(0, 100, "currency per share")] = 0.05
    """Move of the underlying since the last thought (PRICE_CHANGE_THRESHOLD)."""
    heartbeat_seconds: Annotated[float, at_least(0, 600, "seconds, not milliseconds")] = 5.0
    """Longest silence (HEARTBEAT_TRIGGER_SECONDS)."""
    spread_filter: bool = True
    """Use only quotes whose spread is at most 1.5 times its running average as a price; never on an index."""

    def trigger(
        self, instrument_id: InstrumentId, *, is_index: bool = False, tick: Decimal = CENT
    ) -> PriceMove:
        """Return the trigger on an underlying; spreads of fifty ticks or more are learnt by no average."""
        size = float(tick)
        spreads = (
            SpreadFilter(learn_below=50.0 * size, tick=size) if self.spread_filter and not is_index else None
        )
        return PriceMove(instrument_id, self.price_change_usd, self.heartbeat_seconds, spreads)
