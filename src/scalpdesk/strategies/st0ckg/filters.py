"""Whether a signal may be traded now: st0ckg's filters, in order, the first refusal with its reason."""

from datetime import time
from typing import NamedTuple

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.sessions import Session, new_york_ns, whole_session
from scalpdesk.strategies.st0ckg.config import FilterConfig

PIN = "OPTIONS_PIN"
"""Exempt from the trend filter: a pin pulls against the trend as well."""


class Refusal(NamedTuple):
    """Which filter refused, and why in words."""

    rule: str
    reason: str


class EntryHistory:
    """What was bought and when; stamps are set by fills, never by signals."""

    def __init__(self) -> None:
        self.last_fill_ns: int | None = None
        self.last_fill_of: dict[str, int] = {}
        self.trades_in_session = 0

    def new_session(self) -> None:
        """Count from zero; the stamps stay."""
        self.trades_in_session = 0

    def note_fill(self, signal: str, now_ns: int) -> None:
        """Remember the first fill of an entry."""
        self.last_fill_ns = now_ns
        self.last_fill_of[signal] = now_ns
        self.trades_in_session += 1


class EntryMoment(NamedTuple):
    """The signal and the desk at the instant of the question."""

    now_ns: int
    session: Session
    signal: str
    direction: int
    open_positions: int
    trend: int | None
    """Sign of fast less slow average of 5-minute closes; None while there are too few."""


def refusal(moment: EntryMoment, history: EntryHistory, config: FilterConfig) -> Refusal | None:
    """Return the first filter that forbids the entry, or None."""
    return (
        _window(moment.now_ns, moment.session, config)
        or _counts(moment, history, config)
        or _same_signal(moment, history, config)
        or _trend(moment, config)
    )


def is_in_window(now_ns: int, session: Session, config: FilterConfig) -> bool:
    """Return whether an entry may be made at this time of the session."""
    return _window(now_ns, session, config) is None


def _window(now_ns: int, session: Session, config: FilterConfig) -> Refusal | None:
    from_ns = new_york_ns(session.day, time.fromisoformat(config.window_from))
    until_ns = new_york_ns(session.day, time.fromisoformat(config.window_until))
    if not from_ns <= now_ns <= until_ns:
        return Refusal("window", f"outside {config.window_from} to {config.window_until} New York")
    if now_ns < whole_session(session).open_ns + int(config.skip_opening_minutes * 60 * NANOS_PER_SECOND):
        return Refusal("opening", f"within {config.skip_opening_minutes:g} minutes of the open")
    return None


def _counts(moment: EntryMoment, history: EntryHistory, config: FilterConfig) -> Refusal | None:
    last_ns = history.last_fill_ns
    if last_ns is not None:
        since = (moment.now_ns - last_ns) / NANOS_PER_SECOND
        if since < config.min_seconds_between_trades:
            least = config.min_seconds_between_trades
            return Refusal("cooldown", f"{since:.0f} s since the last entry, least {least:g}")
    if moment.open_positions >= config.max_open_positions:
        return Refusal("positions", f"{moment.open_positions} scalps open, most {config.max_open_positions}")
    if history.trades_in_session >= config.max_trades_per_session:
        return Refusal("trades", f"{history.trades_in_session} entries today")
    return None


def _same_signal(moment: EntryMoment, history: EntryHistory, config: FilterConfig) -> Refusal | None:
    last_ns = history.last_fill_of.get(moment.signal)
    if last_ns is None:
        return None
    since = (moment.now_ns - last_ns) / NANOS_PER_SECOND
    if since >= config.min_seconds_same_signal:
        return None
    least = config.min_seconds_same_signal
    return Refusal("same_signal", f"{since:.0f} s since an entry on {moment.signal}, least {least:g}")


def _trend(moment: EntryMoment, config: FilterConfig) -> Refusal | None:
    if not config.trend_filter or moment.signal == PIN:
        return None
    if moment.trend is None:
        return Refusal("trend", f"fewer than {config.trend_slow} closed bars of 5 minutes: no trend")
    if moment.trend == moment.direction:
        return None
    wanted = "above" if moment.direction > 0 else "below"
    averages = f"average of {config.trend_fast} 5-minute closes is not {wanted} that of {config.trend_slow}"
    return Refusal("trend", f"against the trend: the {averages}")
