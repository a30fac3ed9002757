"""The contract of a signal: a scored opinion on the next minutes, computed from known facts.

A signal gets :class:`MarketFacts` and answers with a :class:`Reading`. A fact that was not measured is
None, and a signal that needs it is *absent* with the reason: it never scores a default. Each signal is
scored in two ways. ``measured`` asks for what the signal's name promises; ``original`` repeats the
arithmetic of the program it comes from, so that a port can be proven equal and the two be compared.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar, Protocol, cast

import msgspec

from scalpdesk.core.sockets import SIGNALS


class Scoring(StrEnum):
    """Which definition of a signal is asked."""

    MEASURED = "measured"
    ORIGINAL = "original"


class Confidence(StrEnum):
    """Confidence in a score, by two thresholds of each signal."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class SignalBar(msgspec.Struct, frozen=True):
    """A closed 1-minute bar of the underlying, currency per share and shares."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float | None = None
    """Volume-weighted price of the session up to this bar's end; None when there was no volume."""

    @property
    def range(self) -> float:
        """High less low, currency per share."""
        return self.high - self.low


class StrikeInterest(msgspec.Struct, frozen=True):
    """Open contracts of today's expiry at one strike, as of the evening before."""

    strike: float
    calls: int
    puts: int


NO_HISTORY = (
    "no history to compare with: scalpdesk gex SYMBOL --start DAY --days 60 keeps one from a data set with"
    " open interest (data import), or set exposure_p90_usd and near_exposure_p90_usd"
)
"""Why an exposure tells nothing, and what makes it tell."""


class MarketFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts on the underlying as of now; None where one is not measured.

    Prices are currency per share, volumes shares, sizes shares, returns and fractions plain numbers.
    """

    price: float
    """Mid of the latest good quote."""
    bars: tuple[SignalBar, ...] = ()
    """Closed 1-minute bars of the session, oldest first; at least the last ten where there are ten."""
    volume_ratio: float | None = None
    """Volume of the last bar over the mean of the same minute of the day in earlier sessions."""
    volume_unknown: str = ""
    """Why it is not known."""
    vwap: float | None = None
    """Volume-weighted price since the session's open."""
    open_price: float | None = None
    """First price of the session."""
    prior_high: float | None = None
    prior_low: float | None = None
    """Range of the session before."""
    overnight_high: float | None = None
    overnight_low: float | None = None
    """Range between the sessions (premarket), where the feed has one."""
    opening_volume_ratio: float | None = None
    """Volume of the opening range over its mean in earlier sessions."""
    opening_volume_unknown: str = ""
    """Why it is not known."""
    minute_vol: float | None = None
    """Standard deviation of the session's 1-minute returns before the last one."""
    spread: float | None = None
    spread_median: float | None = None
    """Ask less bid now, and its median over the last 30 minutes."""
    top_size: float | None = None
    top_size_median: float | None = None
    """Shares at the best bid and ask together now, and their median over the last 30 minutes."""
    strikes: tuple[StrikeInterest, ...] | None = None
    """Open interest of the options that expire today; None when no option is listed or it is not known."""
    hours_to_expiry: float | None = None
    exposure_usd: float | None = None
    """Dealer gamma exposure of the whole chain: USD of delta for a move of 1 %."""
    exposure_p90_usd: float | None = None
    """90 % quantile of its absolute value over the last 60 sessions."""
    near_exposure_usd: float | None = None
    near_exposure_p90_usd: float | None = None
    """The same of the strikes within half a per cent of the price."""
    exposure_unknown: str = ""
    """Why the exposure is not known."""
    off_exchange_share_z: float | None = None
    """Off-exchange share of the last minutes' volume in standard deviations of 20 sessions."""
    off_exchange_print: float | None = None
    """Price of the last large off-exchange print."""
    volume_trend: str | None = None
    """``increasing``, ``decreasing`` or ``neutral``."""
    own_delta_shares: float | None = None
    """Net delta of the own book: what one program took for the dealers'."""

    @property
    def last_return(self) -> float | None:
        """Return of the last closed bar over the one before, a fraction; None without two bars."""
        if len(self.bars) < 2 or self.bars[-2].close <= 0.0:
            return None
        return self.bars[-1].close / self.bars[-2].close - 1.0


class Reading(msgspec.Struct, frozen=True):
    """Result of one signal."""

    name: str
    """Name of the signal, as in ``GAMMA_SQUEEZE``."""
    score: float | None
    """From 0 to the signal's weight; None when the signal is absent."""
    direction: int = 0
    """+1 up, -1 down, 0 without a direction."""
    confidence: Confidence = Confidence.LOW
    """By the signal's thresholds on the score; ``low`` when absent."""
    reasons: tuple[str, ...] = ()
    """The facts that scored, with the numbers; for an absent signal the reason why."""

    @property
    def exists(self) -> bool:
        """True when something scored: not for an absent signal or a score of zero."""
        return self.score is not None and self.score > 0.0

    @property
    def is_absent(self) -> bool:
        """True when a fact that the signal needs is missing."""
        return self.score is None


class Signal(Protocol):
    """The contract: figures of the signal and its two definitions."""

    name: ClassVar[str]
    weight: ClassVar[float]
    """Highest score, and the signal's weight in the composite."""
    minimum: ClassVar[float]
    """Least score that may be traded."""
    high_from: ClassVar[float]
    medium_from: ClassVar[float]
    """Least scores of confidence ``high`` and ``medium``."""

    def measured(self, facts: MarketFacts) -> Reading:
        """Score what the signal's name promises."""
        ...

    def original(self, facts: MarketFacts) -> Reading:
        """Score as the program did that the signal comes from."""
        ...


def read_signal(signal: Signal, facts: MarketFacts, scoring: Scoring) -> Reading:
    """Return what ``signal`` says by the chosen definition."""
    return signal.measured(facts) if scoring is Scoring.MEASURED else signal.original(facts)


def absent(signal: Signal, missing: str) -> Reading:
    """Return the reading of a signal that lacks a fact."""
    return Reading(signal.name, None, reasons=(missing,))


def scored(signal: Signal, score: float, direction: int, reasons: Sequence[str]) -> Reading:
    """Return a reading: the score capped at the weight, the confidence by its thresholds."""
    capped = min(score, signal.weight)
    at_least = capped + 1e-12  # a score is a sum of decimal fractions: 4.8 may be 4.799999…
    if at_least >= signal.high_from:
        confidence = Confidence.HIGH
    else:
        confidence = Confidence.MEDIUM if at_least >= signal.medium_from else Confidence.LOW
    return Reading(signal.name, capped, direction, confidence, tuple(reasons))


def sign(value: float) -> int:
    """Return +1, -1 or 0; what is below 1e-12 is no direction."""
    return 0 if abs(value) <= 1e-12 else (1 if value > 0.0 else -1)


def find_signal(name: str) -> Signal:
    """Return a signal by its module's name, such as ``gamma_squeeze`` (upper case is read as well).

    Raises ConfigError when the name is unknown; names the nearest.
    """
    wanted = name.lower().replace("-", "_")
    return cast("Signal", SIGNALS.find(wanted)())
