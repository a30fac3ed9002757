"""Every setting of the 0DTE gamma scalper, with its unit and default."""

from datetime import time
from decimal import Decimal
from typing import Literal

import msgspec

from scalpdesk.core.errors import ConfigError, nearest_name
from scalpdesk.instruments.deadlines import BUFFER_MINUTES, EXIT_MINUTES, VENUE_CUTOFFS
from scalpdesk.marketdata.dealer_gamma import MAX_AGE_SECONDS, STANDARD_THRESHOLD, TIGHT_THRESHOLD
from scalpdesk.strategies.zero_dte.rules import HedgeRules

AUTO = "auto"
MOST_STRADDLES = 100_000


class ZeroDteTriggers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When to think.

    Parameters
    ----------
    price_change_usd
        Move of the underlying since the last thought.
    heartbeat_seconds
        Longest silence.
    spread_filter
        Use only quotes whose spread is at most 1.5 times its running average; never on an index.
    """

    price_change_usd: float = 0.05
    heartbeat_seconds: float = 5.0
    spread_filter: bool = True

    def __post_init__(self) -> None:
        """Refuse times and moves that are none."""
        _within("triggers.price_change_usd", self.price_change_usd, 0.0, 1e6)
        _within("triggers.heartbeat_seconds", self.heartbeat_seconds, 0.0, 3600.0)


class ZeroDteEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the options come from.

    Parameters
    ----------
    mode
        ``adopt`` hedges what the account holds and buys nothing; ``straddle`` buys straddles at the
        money, unless options that expire today are held already.
    straddles
        So many, for ``straddle``.
    at, not_after
        New York times (``HH:MM``) between which they are bought.
    order_ttl_seconds
        A leg's order that has not been filled by then is cancelled and priced anew.
    max_attempts
        So often; then what was bought is sold again.
    """

    mode: Literal["adopt", "straddle"] = "adopt"
    straddles: int = 1
    at: str = "09:45"
    not_after: str = "14:00"
    order_ttl_seconds: float = 15.0
    max_attempts: int = 5

    def __post_init__(self) -> None:
        """Refuse times and numbers that are none."""
        first, last = _clock("entry.at", self.at), _clock("entry.not_after", self.not_after)
        if last < first:
            raise ConfigError(
                "the last time to buy lies before the first",
                where="entry.not_after",
                value=self.not_after,
                fix=f"after entry.at, which is {self.at}",
            )
        _within("entry.straddles", self.straddles, 1, MOST_STRADDLES)
        _within("entry.order_ttl_seconds", self.order_ttl_seconds, 0.1, 3600.0)
        _within("entry.max_attempts", self.max_attempts, 1, 1000)


class ZeroDteHedge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When to hedge.

    Parameters
    ----------
    threshold
        Contract deltas that the net delta may be off by, inclusive.
    threshold_negative_gex
        The tight one.
    seconds_between_hedges
        Shortest time between two hedges.
    regime
        What asks for the tight threshold: ``dealers`` that are known to be short gamma, the desk's
        ``own_gamma`` below zero, or ``standard``: nothing.
    gex_symbol
        Symbol whose dealer gamma counts, for SPY too; while nothing is known of it, the
        underlying's own.
    gex_max_age_seconds
        Age at which it is not known any more.
    macro_widening
        Factor on the threshold within half an hour of a rate decision of the Federal Reserve; 1: none.
    order_ttl_seconds
        A hedge order that has not been filled by then is cancelled and sized anew.
    """

    threshold: Decimal = STANDARD_THRESHOLD
    threshold_negative_gex: Decimal = TIGHT_THRESHOLD
    seconds_between_hedges: float = 60.0
    regime: Literal["dealers", "own_gamma", "standard"] = "dealers"
    gex_symbol: str = "SPX"
    gex_max_age_seconds: float = MAX_AGE_SECONDS
    macro_widening: Decimal = Decimal(1)
    order_ttl_seconds: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        self.rules()
        _within("hedge.macro_widening", float(self.macro_widening), 0.1, 10.0)
        _within("hedge.gex_max_age_seconds", self.gex_max_age_seconds, 0.0, 86_400.0)
        _within("hedge.order_ttl_seconds", self.order_ttl_seconds, 0.1, 3600.0)

    def rules(self) -> HedgeRules:
        """Return the hedge rule's own settings."""
        return HedgeRules(
            threshold=self.threshold,
            threshold_negative_gex=self.threshold_negative_gex,
            seconds_between_hedges=self.seconds_between_hedges,
        )


class ZeroDteExit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When and how everything is left.

    Parameters
    ----------
    at
        New York time (``HH:MM``).
    minutes_before_close
        Before the session's own close: what half days go by.
    venue
        Whose last order in an expiring contract counts: a name, or ``auto`` for the one traded at.
    buffer_minutes
        Margin before that last order.
    retry_seconds
        An exit order that has not been filled by then is cancelled and priced anew.
    alert_after
        So many tries of one leg that came to nothing are an alert.
    """

    at: str = "15:45"
    minutes_before_close: float = EXIT_MINUTES
    venue: str = AUTO
    buffer_minutes: float = BUFFER_MINUTES
    retry_seconds: float = 2.0
    alert_after: int = 3

    def __post_init__(self) -> None:
        """Refuse times and venues that are none."""
        _clock("exit.at", self.at)
        _within("exit.minutes_before_close", self.minutes_before_close, 1.0, 390.0)
        _within("exit.buffer_minutes", self.buffer_minutes, 1.0, 120.0)
        _within("exit.retry_seconds", self.retry_seconds, 0.1, 60.0)
        _within("exit.alert_after", self.alert_after, 1, 100)
        if self.venue != AUTO and self.venue not in VENUE_CUTOFFS:
            raise ConfigError(
                "no last-order rule is known for this venue",
                where="exit.venue",
                value=self.venue,
                nearest=nearest_name(self.venue, VENUE_CUTOFFS),
                fix=f"use {AUTO} or one of {', '.join(VENUE_CUTOFFS)}",
            )


class ZeroDteWatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is worth a word, beside what is decided. None switches a watch off.

    Parameters
    ----------
    delta_z
        Net delta so many standard deviations off its session's mean.
    delta_multiple
        And at least so many times the hedging threshold.
    min_observations
        Net deltas seen before a standard deviation means anything.
    max_gamma_shares_per_usd, max_vega_usd_per_point, max_theta_usd_per_day
        Sizes of the whole position's Greeks.
    again_after_seconds
        The same alert is not repeated sooner.
    report_hedges
        Say of each hedge fill what it realised and what it cost.
    """

    delta_z: float | None = 4.0
    delta_multiple: float = 3.0
    min_observations: int = 60
    max_gamma_shares_per_usd: float | None = None
    max_vega_usd_per_point: float | None = None
    max_theta_usd_per_day: float | None = None
    again_after_seconds: float = 900.0
    report_hedges: bool = True

    def __post_init__(self) -> None:
        """Refuse limits that are none."""
        _within("watch.delta_multiple", self.delta_multiple, 0.0, 1e6)
        _within("watch.min_observations", self.min_observations, 2, 1_000_000)
        _within("watch.again_after_seconds", self.again_after_seconds, 0.0, 86_400.0)
        for key in (
            "delta_z",
            "max_gamma_shares_per_usd",
            "max_vega_usd_per_point",
            "max_theta_usd_per_day",
        ):
            if getattr(self, key) is not None:
                _within(f"watch.{key}", getattr(self, key), 0.0, 1e12)


class ExpiryWindow(msgspec.Struct, frozen=True):
    """Calendar days to expiry, nearest and farthest: today and nothing else."""

    min_expiration_days: int = 0
    max_expiration_days: int = 0


class ZeroDteConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of the 0DTE gamma scalper.

    Parameters
    ----------
    underlying
        What the options are on and what hedges them.
    entry, hedge, exit, triggers, watch
        See their own fields.
    """

    underlying: str = "SPY"
    entry: ZeroDteEntry = msgspec.field(default_factory=ZeroDteEntry)
    hedge: ZeroDteHedge = msgspec.field(default_factory=ZeroDteHedge)
    exit: ZeroDteExit = msgspec.field(default_factory=ZeroDteExit)
    triggers: ZeroDteTriggers = msgspec.field(default_factory=ZeroDteTriggers)
    watch: ZeroDteWatch = msgspec.field(default_factory=ZeroDteWatch)

    @property
    def selection(self) -> "ExpiryWindow":
        """Return the days to expiry of the options that a venue is asked for."""
        return ExpiryWindow()

    def __post_init__(self) -> None:
        """Refuse settings that contradict one another."""
        if _clock("entry.not_after", self.entry.not_after) >= _clock("exit.at", self.exit.at):
            raise ConfigError(
                "options bought at the last moment would be sold at once",
                where="entry.not_after",
                value=self.entry.not_after,
                fix=f"before exit.at, which is {self.exit.at}",
            )


def _clock(where: str, text: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError as error:
        raise ConfigError("not a time of day", where=where, value=text, fix="write HH:MM") from error


def _within(where: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigError(
            "out of range", where=where, value=value, fix=f"a number from {least:g} to {most:g}"
        )
