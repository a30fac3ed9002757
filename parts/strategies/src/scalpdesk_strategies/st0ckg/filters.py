"""Whether a signal may be traded now: st0ckg's filters, in order, the first refusal with its reason."""

from typing import Annotated, NamedTuple

from scalpdesk.core.bounds import BoundedSettings, above, at_least, time_of_day
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.sessions import Session, whole_session

_PIN = "OPTIONS_PIN"
"""Exempt from the trend filter: a pin pulls against the trend as well."""


class FilterConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Filters of a signal, in the order in which they are applied."""

    section = "filters"
    window_from: str = "09:40"
    window_until: str = "10:30"
    """``window_from``, ``window_until``: New York times, both included."""
    skip_opening_minutes: Annotated[float, at_least(0, 1e9, "minutes")] = 30.0
    """Nothing is bought so soon after the open: with the window above from 10:00 on."""
    min_seconds_between_trades: Annotated[float, at_least(0, 1e9, "seconds")] = 1800.0
    """Since the last entry was filled."""
    max_open_positions: Annotated[int, above(0, 1e9, "scalps")] = 2
    """Scalps held or being bought."""
    max_trades_per_session: Annotated[int, above(0, 1e9, "entries")] = 5
    """Entries filled."""
    min_seconds_same_signal: Annotated[float, at_least(0, 1e9, "seconds")] = 300.0
    """Since an entry on the same signal was filled."""
    trend_filter: bool = True
    """Calls only while the fast average of 5-minute closes lies above the slow one, puts only below."""
    trend_fast: int = 20
    trend_slow: int = 50
    """``trend_fast``, ``trend_slow``: Periods of the two exponential averages, in 5-minute bars; earlier
    sessions count.
    """

    def __post_init__(self) -> None:
        """Refuse texts that are no times, and averages the wrong way round."""
        super().__post_init__()
        window_from = time_of_day("filters.window_from", self.window_from)
        if window_from >= time_of_day("filters.window_until", self.window_until):
            raise ConfigError(
                "a window must end after it begins",
                where="filters.window_until",
                value=self.window_until,
                fix=f"after filters.window_from, which is {self.window_from}",
            )
        if not 0 < self.trend_fast < self.trend_slow:
            raise ConfigError(
                "the fast average must be shorter than the slow one",
                where="filters.trend_fast",
                value=self.trend_fast,
                fix=f"above 0 and below filters.trend_slow, which is {self.trend_slow}",
            )


class _FilterRefusal(NamedTuple):
    """Which filter refused, and why in words."""

    rule: str
    reason: str


class EntryHistory:
    """Entries of the session by signal; instants are those of fills, never of signals."""

    def __init__(self) -> None:
        self.last_fill_ns: int | None = None
        self.last_fill_of: dict[str, int] = {}
        self.trades_in_session = 0

    def new_session(self) -> None:
        """Begin again: every filter is of a session, as a desk of that day has it."""
        self.last_fill_ns = None
        self.last_fill_of.clear()
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


def refusal(moment: EntryMoment, history: EntryHistory, config: FilterConfig) -> _FilterRefusal | None:
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


def _window(now_ns: int, session: Session, config: FilterConfig) -> _FilterRefusal | None:
    from_ns = session.clock_ns(config.window_from)
    until_ns = session.clock_ns(config.window_until)
    if not from_ns <= now_ns <= until_ns:
        return _FilterRefusal("window", f"outside {config.window_from} to {config.window_until} New York")
    if now_ns < whole_session(session).open_ns + int(config.skip_opening_minutes * 60 * NANOS_PER_SECOND):
        return _FilterRefusal("opening", f"within {config.skip_opening_minutes:g} minutes of the open")
    return None


def _counts(moment: EntryMoment, history: EntryHistory, config: FilterConfig) -> _FilterRefusal | None:
    last_ns = history.last_fill_ns
    if last_ns is not None:
        since = (moment.now_ns - last_ns) / NANOS_PER_SECOND
        if since < config.min_seconds_between_trades:
            least = config.min_seconds_between_trades
            return _FilterRefusal("cooldown", f"{since:.0f} s since the last entry, least {least:g}")
    if moment.open_positions >= config.max_open_positions:
        return _FilterRefusal(
            "positions", f"{moment.open_positions} scalps open, most {config.max_open_positions}"
        )
    if history.trades_in_session >= config.max_trades_per_session:
        return _FilterRefusal("trades", f"{history.trades_in_session} entries today")
    return None


def _same_signal(moment: EntryMoment, history: EntryHistory, config: FilterConfig) -> _FilterRefusal | None:
    last_ns = history.last_fill_of.get(moment.signal)
    if last_ns is None:
        return None
    since = (moment.now_ns - last_ns) / NANOS_PER_SECOND
    if since >= config.min_seconds_same_signal:
        return None
    least = config.min_seconds_same_signal
    return _FilterRefusal("same_signal", f"{since:.0f} s since an entry on {moment.signal}, least {least:g}")


def _trend(moment: EntryMoment, config: FilterConfig) -> _FilterRefusal | None:
    if not config.trend_filter or moment.signal == _PIN:
        return None
    if moment.trend is None:
        return _FilterRefusal("trend", f"fewer than {config.trend_slow} closed bars of 5 minutes: no trend")
    if moment.trend == moment.direction:
        return None
    wanted = "above" if moment.direction > 0 else "below"
    averages = f"average of {config.trend_fast} 5-minute closes is not {wanted} that of {config.trend_slow}"
    return _FilterRefusal("trend", f"against the trend: the {averages}")
