"""Deadlines of expiring options: the exit, the earlier of the strategy's and the venue's, and the notices.

A venue stops accepting orders in contracts that expire today some time before they end, and may liquidate
the rest soon after. An exit planned later would be refused, so a margin before the cut-off is kept.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import lru_cache

from scalpdesk.core.units import MINUTE_NS
from scalpdesk.instruments.classes import BROAD_FUNDS
from scalpdesk.instruments.contract import Instrument, OptionContract
from scalpdesk.instruments.sessions import (
    Session,
    account_day,
    effective_day,
    final_close_ns,
    session_on,
    to_new_york,
)

EXIT_MINUTES = 15.0
"""Default exit of a 0DTE position, minutes before the close: 15:45."""
BUFFER_MINUTES = 5.0
"""Margin before a venue's order cut-off."""


LAST_CALL_NS = 60 * MINUTE_NS
"""Before the close: from then on an exit from an option on its last day waits for no fresh quote."""


def must_go_now(option: OptionContract, session: Session | None, now_ns: int) -> bool:
    """Return whether an option is in the last hour of its last day: the next session is too late to leave it.

    ``session`` is the current one, None outside of one; ``now_ns`` is UTC.
    """
    if session is None or _last_day(option) > session.day:
        return False
    return session.close_ns - now_ns <= LAST_CALL_NS


@lru_cache(maxsize=8192)
def _last_day(option: OptionContract) -> date:
    """Return the session in which trading ends: of an AM-settled option the one before its expiry."""
    last_ns = final_close_ns(option)
    return account_day(last_ns) if option.is_coin else to_new_york(last_ns).date()


@dataclass(frozen=True, slots=True)
class VenueCutoff:
    """Order cut-off of a venue on a contract's last day, in minutes before the contract's end."""

    minutes: float
    """For every option."""
    minutes_broad_funds: float
    """For options on funds on broad indices."""

    def of(self, underlying: str) -> float:
        """Return the minutes for options on ``underlying``."""
        return self.minutes_broad_funds if underlying in BROAD_FUNDS else self.minutes


NO_CUTOFF = VenueCutoff(0.0, 0.0)
CAUTIOUS = VenueCutoff(45.0, 45.0)
"""For a venue without a known rule."""
ALPACA_CUTOFF = VenueCutoff(45.0, 30.0)
"""Strategies reference E6; not confirmed by the venue, assumed to shift with the close on half days."""


def order_cutoff_ns(contract: OptionContract, cutoff: VenueCutoff) -> int:
    """Return the instant from which a venue refuses orders in a contract on its last day, UTC nanoseconds."""
    return final_close_ns(contract) - int(cutoff.of(contract.underlying) * MINUTE_NS)


def is_past_cutoff(instrument: Instrument, cutoff: VenueCutoff, now_ns: int) -> bool:
    """Return whether a venue no longer accepts orders in an option, by :func:`order_cutoff_ns`."""
    return isinstance(instrument, OptionContract) and now_ns >= order_cutoff_ns(instrument, cutoff)


class ExpiryRule(StrEnum):
    """Treatment of options that no strategy has left before the venue takes no order in them any more."""

    CLOSE = "close"
    """The desk flattens before."""
    LET_GO = "let_go"
    """They are kept to their end, and what was bought is not exercised whatever it is worth."""
    EXERCISE = "exercise"
    """They are kept to their end, and what was bought is exercised if it is in the money."""


@dataclass(frozen=True, slots=True)
class NoticeCutoff:
    """Until when a broker takes exercise notices and contrary instructions, from a day on."""

    since: date
    minutes: float
    """After the close of the regular session; negative before it."""


_NOTICE_MINUTES = 90
"""After the close: 17:30 New York on a full day. The exchanges give a shortened day as long."""
NOTICE_CUTOFFS: dict[str, tuple[NoticeCutoff, ...]] = {
    "alpaca": (NoticeCutoff(date(2024, 2, 1), 0.0),),
    "ibkr": (NoticeCutoff(date(2026, 1, 1), 85.0),),
}
"""Brokers that take them for a shorter time than the exchanges, oldest first; a day before the first row has
that one. Alpaca's is its documentation of the two requests, that of IBKR is not confirmed.
"""


def takes_notices(contract: OptionContract) -> bool:
    """Return whether the owner of an option decides about its exercise: where it delivers shares."""
    return contract.delivers and not contract.is_on_future


def notice_deadline_ns(day: date, cutoffs: Sequence[NoticeCutoff] = ()) -> int:
    """Return the last instant for notices on a session's day, UTC nanoseconds.

    ``cutoffs`` are those of a broker; without them the exchanges' own counts.

    >>> to_new_york(notice_deadline_ns(date(2024, 11, 29))).time().isoformat()  # a shortened day
    '14:30:00'
    """
    minutes: float = _NOTICE_MINUTES
    if cutoffs:
        minutes = next((row for row in reversed(cutoffs) if row.since <= day), cutoffs[0]).minutes
    return session_on(effective_day(day)).close_ns + int(minutes * MINUTE_NS)


def exit_deadline_ns(
    close_ns: int,
    *,
    exit_minutes: float = EXIT_MINUTES,
    cutoff_minutes: float | None = 0.0,
    buffer_minutes: float = BUFFER_MINUTES,
) -> int:
    """Return the exit deadline, UTC nanoseconds: the earlier of the strategy's exit and the venue's.

    ``close_ns``: Close of the contract's last session, half days included, UTC nanoseconds.
    ``exit_minutes``: The strategy's exit, minutes before the close.
    ``cutoff_minutes``: The venue's order cut-off, minutes before the close; 0 where it takes orders to the
    end, None where no venue is in the way: then the strategy's exit alone counts.
    ``buffer_minutes``: Margin before the venue's cut-off.

    >>> (60 * 60 * 10**9 - exit_deadline_ns(60 * 60 * 10**9, cutoff_minutes=30)) // MINUTE_NS
    35
    """
    by_venue = -math.inf if cutoff_minutes is None else max(cutoff_minutes, 0.0) + buffer_minutes
    return close_ns - int(max(exit_minutes, by_venue) * MINUTE_NS)


def contract_deadline_ns(
    contract: OptionContract,
    cutoff: VenueCutoff,
    *,
    exit_minutes: float = EXIT_MINUTES,
) -> int:
    """Return the latest exit from a contract at a venue, UTC nanoseconds; see :func:`exit_deadline_ns`."""
    return exit_deadline_ns(
        final_close_ns(contract),
        exit_minutes=exit_minutes,
        cutoff_minutes=cutoff.of(contract.underlying),
        buffer_minutes=BUFFER_MINUTES,
    )
