"""Times of entries and exits: start, cut-offs, half days, FOMC statements, the venue's last orders."""

from datetime import date, time

from scalpdesk.core.units import MINUTE_NS
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.deadlines import VenueCutoff, contract_deadline_ns
from scalpdesk.instruments.events import EventKind, fomc_blocked, why_unknown
from scalpdesk.instruments.sessions import REGULAR_CLOSE, Session
from scalpdesk_strategies.ema_scalper.config import ScalpConfig
from scalpdesk_strategies.ema_scalper.model import days_to_expiry

_FLAT_MINUTES = 5.0
"""Scalps that are not held overnight are closed so many minutes before the close."""
_EARLIEST_WITHOUT_CUTOFF = 2
"""Days to expiry."""


def start_ns(session: Session, config: ScalpConfig) -> int:
    """Return the first instant of an entry, UTC nanoseconds."""
    return session.clock_ns(config.scalp_start_time)


def cutoff_ns(session: Session, days_to_expiry: int, config: ScalpConfig) -> int:
    """Return the instant from which nothing is opened, and by which it is sold, UTC nanoseconds.

    At the configured New York time for today's options, and for later expiries; on a half day as long before
    the close as that time is before 16:00.

    ``session``: Session of the day.
    ``days_to_expiry``: In sessions; 0 today.
    ``config``: Times.
    """
    text = config.zero_dte_cutoff if days_to_expiry == 0 else config.one_dte_cutoff
    before_close = _minutes(REGULAR_CLOSE) - _minutes(time.fromisoformat(text))
    return min(session.clock_ns(text), session.close_ns - before_close * MINUTE_NS)


def time_limit_ns(session: Session, expiry: date, config: ScalpConfig) -> int | None:
    """Return the cut-off of a scalp on a day, UTC nanoseconds; None from two days to expiry on."""
    days = days_to_expiry(session.day, expiry)
    return cutoff_ns(session, days, config) if days < _EARLIEST_WITHOUT_CUTOFF else None


def is_past_limit(now_ns: int, session: Session, expiry: date, config: ScalpConfig) -> bool:
    """Return whether the cut-off of a scalp on a day has passed."""
    last_ns = time_limit_ns(session, expiry, config)
    return last_ns is not None and now_ns >= last_ns


def session_end_ns(session: Session) -> int:
    """Return when scalps that are not held overnight are closed at the latest, UTC nanoseconds."""
    return session.close_ns - int(_FLAT_MINUTES * MINUTE_NS)


def venue_deadline_ns(contract: OptionContract, cutoff: VenueCutoff) -> int:
    """Return by when a contract is sold before the venue's last orders, UTC nanoseconds."""
    return contract_deadline_ns(contract, cutoff, exit_minutes=_FLAT_MINUTES)


def is_near_fomc(now_ns: int, config: ScalpConfig) -> bool:
    """Return whether entries are held back for an FOMC statement."""
    return config.no_scalp_around_fomc and fomc_blocked(now_ns)


def why_fomc_unknown(session: Session, config: ScalpConfig) -> str:
    """Return why the statements of a day are not known; empty where they are."""
    unknown = why_unknown((EventKind.FOMC,), session.day) if config.no_scalp_around_fomc else ""
    return f"{unknown}: nothing is held back for one on {session.day}" if unknown else ""


def _minutes(clock: time) -> int:
    return 60 * clock.hour + clock.minute
