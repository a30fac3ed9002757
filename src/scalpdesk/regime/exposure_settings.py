"""Settings of dealer gamma: where it comes from and when it is too old."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from scalpdesk.signals.gamma_regime import MAX_AGE_SECONDS

DEFAULT_DOCUMENT = "market_regime/SPX_GEX"
DEFAULT_SYMBOL = "SPX"
CACHE_SECONDS = 60.0
TIMEOUT_SECONDS = 3.0

Positive = Annotated[float, Meta(gt=0)]


class ExposureSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Dealer gamma exposure: where it comes from and when it is too old."""

    symbol: str = DEFAULT_SYMBOL
    """Underlying that ``marketdata.gex_value`` and the store's document are about."""
    store: Literal["auto", "firestore", "none"] = "auto"
    """Where a live desk asks; ``auto`` asks Firestore when a project or a local server is named."""
    document: str = DEFAULT_DOCUMENT
    """Path of the Firestore document."""
    cache_seconds: Positive = CACHE_SECONDS
    """How long an answer stands, and the pause between two questions."""
    max_age_seconds: Positive = MAX_AGE_SECONDS
    """Age of the document's last update at which its value counts as unknown."""
    timeout_seconds: Positive = TIMEOUT_SECONDS
    """Longest wait for an answer."""
    from_chain: bool = True
    """Compute it from the data's open interest where nothing better is there and the strategy reads it."""
    chain_minutes: Positive = 10.0
    """Minutes from one computation to the next."""
