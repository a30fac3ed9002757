"""Values that the scalper's parts exchange: signal, chain, selection, verdict, position, result.

Premiums are currency per share, deltas and gammas per 1 USD of the underlying, theta per share and day,
implied volatilities fractions a year.
"""

from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Literal

import msgspec

from scalpdesk.base import NEW_YORK, ArgumentError, TickRule, sessions_between, us_option
from scalpdesk.signals.conviction import Conviction

OptionType = Literal["call", "put"]
NAN = float("nan")
CONTRACT_SHARES = 100


class TradeSignal(msgspec.Struct, frozen=True, kw_only=True):
    """A signal of the clouds on one underlying."""

    signal_id: str
    """``ticker|bar length|close of the bar|kind``: one for each flip."""
    ticker: str
    """Underlying."""
    direction: Literal["bullish", "bearish"]
    """``bullish`` buys calls, ``bearish`` puts."""
    conviction: int
    """0 to 100."""
    timestamp: datetime
    """Close of the trigger bar, with a time zone."""
    entry_price: float
    """Its closing price, currency per share."""
    timeframe: str = "1m"
    """Bar length: ``1m`` or ``5m``."""
    macro_bias: int | None = None
    """+1, 0 or -1; None while it is not known."""
    volume_ratio: float | None = None
    """Volume of the trigger bar over the mean of the 20 before; None while it is not known."""
    iv_rank: float | None = None
    """Rank of the underlying's implied volatility, 0 to 1; None when it is not known."""
    parts: Conviction | None = None
    """Parts of the conviction; None where it comes from elsewhere."""

    def __post_init__(self) -> None:
        """Refuse another direction: one that is not ``bullish`` would buy puts."""
        if self.direction not in ("bullish", "bearish"):
            raise ArgumentError(
                "not a direction of a signal",
                where="direction",
                value=self.direction,
                fix="bullish for calls, bearish for puts",
            )
        if self.timestamp.tzinfo is None:
            raise ArgumentError(
                "a moment needs a time zone", where="timestamp", value=self.timestamp.isoformat()
            )

    @property
    def sign(self) -> int:
        """+1 bullish, -1 bearish."""
        return 1 if self.direction == "bullish" else -1

    @property
    def option_type(self) -> OptionType:
        """Type of the option bought: calls on a bullish signal."""
        return "call" if self.direction == "bullish" else "put"

    @property
    def day(self) -> date:
        """Day of the signal in New York."""
        return self.timestamp.astimezone(NEW_YORK).date()


class ChainRow(msgspec.Struct, frozen=True, kw_only=True):
    """One listed option with its quote; NaN (volume: None) is not known."""

    option_symbol: str
    expiry: date
    strike: float
    option_type: OptionType
    bid: float
    ask: float
    open_interest: int
    volume: float | None = None
    delta: float = NAN
    gamma: float = NAN
    theta: float = NAN
    iv: float = NAN

    @property
    def mid(self) -> float:
        """Middle of bid and ask."""
        return 0.5 * (self.bid + self.ask)

    @property
    def spread_pct(self) -> float:
        """Ask less bid over the mid; infinite without a mid."""
        return (self.ask - self.bid) / self.mid if self.mid > 0.0 else float("inf")


class OptionsChain:
    """The options of one underlying at an instant.

    Parameters
    ----------
    as_of
        Instant, with a time zone.
    spot
        Price of the underlying.
    rows
        The options, with Greeks.
    cutoff_passed
        Whether options that expire today may no longer be bought.
    """

    def __init__(
        self, as_of: datetime, spot: float, rows: Sequence[ChainRow], *, cutoff_passed: bool = False
    ) -> None:
        self.as_of = as_of
        self.spot = spot
        self.rows = rows
        self.cutoff_passed = cutoff_passed

    @property
    def day(self) -> date:
        """Day in New York."""
        return self.as_of.astimezone(NEW_YORK).date()

    def tick_rule(self, option_symbol: str, ticker: str) -> TickRule:
        """Return the price grid of an option on ``ticker``: by its class."""
        return us_option(option_symbol, [ticker]).tick_rule

    def valued(self, rows: Sequence[ChainRow]) -> list[ChainRow]:
        """Return these rows with their Greeks; a row that has none is left out."""
        return [row for row in rows if row.delta == row.delta]


class StrikeSelection(msgspec.Struct, frozen=True, kw_only=True):
    """The contract chosen for a scalp."""

    strike: float
    expiry: date
    option_type: OptionType
    option_symbol: str
    delta: float
    gamma: float
    theta: float
    iv: float
    bid: float
    ask: float
    mid: float
    spread_pct: float
    open_interest: int
    volume: int | None
    score: float
    """0 to 100."""


class GreeksDecision(msgspec.Struct, frozen=True):
    """Verdict of the Greeks gate."""

    approved: bool
    """Whether the contract may be bought."""
    reason: str | None
    """The first check that rejects it; None when it passes all."""
    adjustments: dict[str, Any] | None = None
    """Consequences for the order, such as ``{"reduce_size": True}``; None for nothing."""
    reasons: tuple[str, ...] = ()
    """Every check that rejects it, with its figures."""


class ScalpPosition(msgspec.Struct, kw_only=True):
    """A scalp that is held: it exists from its first fill."""

    ticker: str
    option_symbol: str
    option_type: OptionType
    strike: float
    expiry: date
    dte: int
    direction: Literal["long_call", "long_put"]
    contracts: int
    entry_price: float
    current_price: float
    delta: float
    theta: float
    iv: float
    unrealized_pnl: float
    unrealized_pnl_pct: float
    entry_time: datetime
    signal_id: str

    def mark(self, price: float) -> None:
        """Value the position at a premium."""
        self.current_price = price
        self.unrealized_pnl = (price - self.entry_price) * self.contracts * CONTRACT_SHARES
        self.unrealized_pnl_pct = price / self.entry_price - 1.0


class ScalpResult(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of a signal that was sent as an order."""

    signal_id: str
    """Id of the signal."""
    option_symbol: str
    """Symbol of the option that was ordered."""
    contracts_ordered: int
    contracts_filled: int
    """``contracts_ordered``, ``contracts_filled``: The first half, and what of it was filled within the time
    allowed.
    """
    limit_price: float
    """Limit of the order, currency per share."""
    position: ScalpPosition | None = None
    """Position held now; None when nothing was filled."""


@lru_cache(maxsize=1024)
def days_to_expiry(day: date, expiry: date) -> int:
    """Return days to expiry as scalpers count them: sessions, so that Monday is 1DTE on a Friday.

    >>> days_to_expiry(date(2018, 2, 2), date(2018, 2, 5))
    1
    """
    return max(len(sessions_between(day, expiry)) - 1, 0)
