"""By when a position in an expiring option must be out: the strategy's wish and the venue's last order.

A venue stops taking orders in contracts that expire today some time before their end, and may close
what is left by itself soon after. An exit planned for later than that is refused, so the deadline is
the earlier of the two, with a margin.
"""

from dataclasses import dataclass

from scalpdesk.core.errors import ConfigError, nearest_name
from scalpdesk.core.units import NANOS_PER_SECOND

MINUTE_NS = 60 * NANOS_PER_SECOND
EXIT_MINUTES = 15.0
"""Minutes before the close at which a 0DTE position is left where no venue asks for more: 15:45."""
BUFFER_MINUTES = 5.0
"""Margin kept before a venue's last order."""
BROAD_FUNDS = frozenset({"SPY", "QQQ", "IWM", "DIA"})
"""Funds on broad indices, whose expiring contracts some venues let trade a little longer."""


@dataclass(frozen=True, slots=True)
class VenueCutoff:
    """Minutes before a contract's end at which a venue stops taking orders in it on its last day.

    Parameters
    ----------
    minutes
        For every option.
    minutes_broad_funds
        For options on :data:`BROAD_FUNDS`.
    """

    minutes: float
    minutes_broad_funds: float

    def of(self, underlying: str) -> float:
        """Return the minutes that apply to options on ``underlying``."""
        return self.minutes_broad_funds if underlying in BROAD_FUNDS else self.minutes


NO_CUTOFF = VenueCutoff(0.0, 0.0)
CAUTIOUS = VenueCutoff(45.0, 45.0)
"""For a venue whose rule is not known here."""
VENUE_CUTOFFS = {
    "alpaca": VenueCutoff(45.0, 30.0),
    "paper": VenueCutoff(45.0, 30.0),
    "ibkr": NO_CUTOFF,
    "simulated": NO_CUTOFF,
    "none": NO_CUTOFF,
}
"""Last orders by venue. Alpaca: strategies reference E6, not confirmed by the venue; half days are
taken to shift with the close; ``paper`` rehearses it. The others take orders until the contract's end."""


def venue_cutoff(venue: str) -> VenueCutoff:
    """Return a venue's last-order rule by name.

    Raises
    ------
    ConfigError
        When the venue is unknown; names the nearest.
    """
    found = VENUE_CUTOFFS.get(venue)
    if found is None:
        raise ConfigError(
            "no last-order rule is known for this venue",
            where="venue",
            value=venue,
            nearest=nearest_name(venue, VENUE_CUTOFFS),
            fix=f"use one of {', '.join(VENUE_CUTOFFS)}",
        )
    return found


def exit_deadline_ns(
    close_ns: int,
    *,
    exit_minutes: float = EXIT_MINUTES,
    cutoff_minutes: float = 0.0,
    buffer_minutes: float = BUFFER_MINUTES,
) -> int:
    """Return by when to be out, UTC nanoseconds: the earlier of one's own exit and the venue's.

    Parameters
    ----------
    close_ns
        Close of the contract's last session, half days included, UTC nanoseconds.
    exit_minutes
        The strategy's own exit, minutes before the close.
    cutoff_minutes
        The venue's last order, minutes before the close; 0 where it takes orders to the end.
    buffer_minutes
        Margin before the venue's last order.

    Examples
    --------
    >>> (60 * 60 * 10**9 - exit_deadline_ns(60 * 60 * 10**9, cutoff_minutes=30)) // MINUTE_NS
    35
    """
    own = exit_minutes
    venue = cutoff_minutes + buffer_minutes if cutoff_minutes > 0 else buffer_minutes
    return close_ns - int(max(own, venue) * MINUTE_NS)
