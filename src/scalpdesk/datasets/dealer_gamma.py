"""Dealer gamma exposure as data: kept by others, set by hand, of earlier sessions, of a tape.

:class:`ExposureSource` asks in this order: the value set by hand, its cache, the store. The exposures of
earlier sessions are a small CSV file in the catalogue, ``gamma_exposure.csv``, one line a session: data set,
symbol, session, exposure of the chain and of its strikes near the money; the last line of a session counts.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Protocol

from scalpdesk.core.errors import DataError, Notify
from scalpdesk.core.events import GammaExposureEvent
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.datasets.store import HistoryFile
from scalpdesk.instruments.sessions import is_session, to_new_york
from scalpdesk.marketdata.chain_gamma import exposure_events
from scalpdesk.marketdata.dealer_gamma import (
    BY_HAND,
    CACHE_SECONDS,
    MAX_AGE_SECONDS,
    ExposureSettings,
    reference_exposure_usd,
)
from scalpdesk.marketdata.tape import MarketTape


class ExposureGap(StrEnum):
    """Why an exposure is not known; each kind is reported once."""

    MALFORMED = "the value set by hand is not a number"
    NO_DOCUMENT = "the document is missing"
    WRONG_TYPE = "the document does not hold what it should"
    NOT_A_NUMBER = "the document's value is not a number"
    STALE = "the last update is too old"
    FUTURE = "the last update is in the future"
    UNREACHABLE = "the store cannot be reached"
    SLOW = "the store does not answer in time"
    DENIED = "the store denies permission"
    REFUSED = "the store refuses the question"


class ExposureUnknownError(Exception):
    """An exposure is not known; never a reason to stop.

    ``detail`` has the particulars: an address, a type, an age.
    """

    def __init__(self, kind: ExposureGap, detail: str = "") -> None:
        self.kind = kind
        self.detail = detail
        super().__init__(f"{kind.value} ({detail})" if detail else kind.value)


@dataclass(frozen=True, slots=True)
class StoredExposure:
    """An exposure as it is kept."""

    symbol: str
    """Underlying whose chain it was computed from."""
    exposure_usd: float
    """Change of dealers' delta in USD for a move of 1 %; finite."""
    last_update_ns: int
    """When it was computed, UTC nanoseconds."""


class _ExposureStore(Protocol):
    """Keeps one exposure that others update."""

    name: str
    """``firestore`` …; the source that events name."""

    def read(self) -> StoredExposure:
        """Return what is kept, within a bounded time.

        Raises ExposureUnknownError in every way in which it may fail.
        """
        ...


FILE = "gamma_exposure.csv"
COLUMNS = ("data", "symbol", "session", "exposure_usd", "near_usd")
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class SessionExposure:
    """Exposure of one session, in USD of dealers' delta per move of 1 %; NaN where it is not known."""

    session: date
    exposure_usd: float
    near_usd: float = _NAN


class ExposureHistory:
    """Exposures of one symbol by one source, in a folder.

    ``data`` names the data set or store that the exposures come from; sources are never mixed.
    """

    def __init__(self, folder: Path, data: str, symbol: str) -> None:
        fix = "correct the line, or delete the file and fill it again: scalpdesk gex SYMBOL --days 60"
        self.path = folder / FILE
        self._file = HistoryFile(self.path, COLUMNS, "exposures", fix)
        self._key = (data, symbol)

    def read(self) -> tuple[SessionExposure, ...]:
        """Return what is kept, oldest first.

        Raises DataError when the file is not of this form; says in which line.
        """
        return tuple(exposure for key, exposure in self._file.read(_of) if key == self._key)

    def keep(self, exposures: Iterable[SessionExposure]) -> None:
        """Add sessions, in the place of those already there.

        Raises DataError when the file is not of this form, or the folder cannot be written.
        """
        added = [(self._key, exposure) for exposure in exposures]
        with self._file.locked():
            kept = self._file.read(_of) + added
            rows = {(*key, exposure.session): exposure for key, exposure in kept}
            self._file.write(
                (data, symbol, day.isoformat(), repr(exposure.exposure_usd), repr(exposure.near_usd))
                for (data, symbol, day), exposure in sorted(rows.items(), key=itemgetter(0))
            )

    def usual(self, before: date) -> tuple[float, float]:
        """Return what counts as a large exposure, of the chain and near the money, as known before a day.

        The 90 % quantile of the size over the last 60 sessions kept; NaN with fewer than 20.
        """
        past = [exposure for exposure in self.read() if exposure.session < before]
        whole = reference_exposure_usd([exposure.exposure_usd for exposure in past])
        near = reference_exposure_usd([exposure.near_usd for exposure in past])
        return _NAN if whole is None else whole, _NAN if near is None else near


def _of(
    data: str, symbol: str, session: str, exposure: str, near: str
) -> tuple[tuple[str, str], SessionExposure]:
    made = SessionExposure(date.fromisoformat(session), float(exposure), float(near))
    if math.isinf(made.exposure_usd) or math.isinf(made.near_usd):
        raise ValueError(exposure, near)
    return (data, symbol), made


_SKEW_SECONDS = 60.0
"""Longest lead of a store's clock over the desk's; a stamp further ahead is not believed."""


def by_hand(given: float | str, symbol: str, now_ns: int) -> GammaExposureEvent:
    """Return the exposure set by hand as an event; with a reason where it is no number.

    ``given`` is GEX_VALUE, in USD of delta per move of 1 %.
    """
    try:
        value = float(given)
    except ValueError:
        value = _NAN
    reason = "" if math.isfinite(value) else f"{ExposureGap.MALFORMED.value} ({given!r})"
    return GammaExposureEvent(symbol, now_ns, now_ns, _NAN if reason else value, BY_HAND, reason)


class ExposureSource:
    """The latest exposure, asked for at most once a minute; each failure and the recovery are reported once.

    ``symbol``: Underlying whose exposure is asked for.
    ``value_by_hand``: What a person set; it wins over the store.
    ``store``: Where others keep it; None without one.
    ``say``: Receives a level and a sentence: each kind of failure once, and the recovery once.
    ``cache_seconds``: How long an answer, good or bad, stands for the next question.
    ``max_age_seconds``: Age of the store's stamp at which its value is no longer believed.
    ``history_folder``: Folder where one value a session is kept and what is usual comes from; None without.
    """

    def __init__(
        self,
        symbol: str,
        *,
        value_by_hand: float | str | None = None,
        store: _ExposureStore | None = None,
        say: Notify | None = None,
        cache_seconds: float = CACHE_SECONDS,
        max_age_seconds: float = MAX_AGE_SECONDS,
        history_folder: Path | None = None,
    ) -> None:
        self._symbol = symbol
        self._value_by_hand = value_by_hand
        self._store = store
        self.say = say or (lambda _level, _text: None)
        self._cache_ns = round(cache_seconds * NANOS_PER_SECOND)
        self._max_age_ns = round(max_age_seconds * NANOS_PER_SECOND)
        self._cached: StoredExposure | ExposureUnknownError | None = None
        self._read_at_ns = 0
        self._reported: set[ExposureGap] = set()
        self._history_folder = history_folder
        self._compared_with: tuple[str, date] | None = None
        self._usual = (_NAN, _NAN)

    @property
    def has_any(self) -> bool:
        """Whether there is anything to ask."""
        return self._value_by_hand is not None or self._store is not None

    def look(self, now_ns: int) -> GammaExposureEvent | None:
        """Return the latest exposure, known or not; None when there is no source at all.

        Never raises: what is not known is an answer too.
        """
        if self._value_by_hand is not None:
            event = by_hand(self._value_by_hand, self._symbol, now_ns)
            self._tell(ExposureGap.MALFORMED if event.reason else None, event)
            return event
        if self._store is None:
            return None
        name = self._store.name
        try:
            kept = self._kept(self._store, now_ns)
            self._check_age(kept, now_ns)
        except ExposureUnknownError as error:
            event = GammaExposureEvent(self._symbol, now_ns, now_ns, _NAN, name, str(error))
            self._tell(error.kind, event)
            return event
        if kept.symbol != self._symbol:  # a failure to come is about the same underlying
            what = f"{name} keeps the dealer gamma of {kept.symbol}, not of {self._symbol}"
            self.say("warning", f"{what}: a strategy sees it where it looks for {kept.symbol}")
            self._symbol = kept.symbol
        # stamped no later than it arrives: the store's clock may run a little ahead
        event_ns = min(kept.last_update_ns, now_ns)
        usual = self._compared(kept, name, now_ns)
        event = GammaExposureEvent(kept.symbol, event_ns, now_ns, kept.exposure_usd, name, "", _NAN, *usual)
        self._tell(None, event)
        return event

    def _kept(self, store: _ExposureStore, now_ns: int) -> StoredExposure:
        if self._cached is None or not 0 <= now_ns - self._read_at_ns < self._cache_ns:
            self._read_at_ns = now_ns
            try:
                self._cached = store.read()
            except ExposureUnknownError as error:
                self._cached = error
        if isinstance(self._cached, ExposureUnknownError):
            raise self._cached
        return self._cached

    def _compared(self, kept: StoredExposure, store: str, now_ns: int) -> tuple[float, float]:
        """Keep the session's first value; return what earlier sessions of its underlying say is usual."""
        day = to_new_york(now_ns).date()
        if self._history_folder is not None and (kept.symbol, day) != self._compared_with:
            self._compared_with = (kept.symbol, day)
            history = ExposureHistory(self._history_folder, store, kept.symbol)
            try:
                # a desk that starts again finds the day's first value there
                if is_session(day) and all(exposure.session != day for exposure in history.read()):
                    history.keep([SessionExposure(day, kept.exposure_usd)])
                self._usual = history.usual(day)
            except DataError as error:
                self._usual = (_NAN, _NAN)
                self.say("warning", f"{error.what}: {error.where}; dealer gamma is compared with nothing")
        return self._usual

    def _check_age(self, kept: StoredExposure, now_ns: int) -> None:
        age_ns = now_ns - kept.last_update_ns
        if age_ns > self._max_age_ns:
            raise ExposureUnknownError(ExposureGap.STALE, f"{age_ns / NANOS_PER_SECOND / 60.0:.0f} minutes")
        if age_ns < -_SKEW_SECONDS * NANOS_PER_SECOND:
            raise ExposureUnknownError(ExposureGap.FUTURE, f"{-age_ns / NANOS_PER_SECOND:.0f} s")

    def _tell(self, kind: ExposureGap | None, event: GammaExposureEvent) -> None:
        if kind is None:
            if self._reported:
                self._reported.clear()
                self.say(
                    "info", f"dealer gamma of {event.symbol} is known again: {event.exposure_usd:,.0f} USD"
                )
        elif kind not in self._reported:
            self._reported.add(kind)
            what = f"dealer gamma of {event.symbol} is not known: {event.reason}"
            self.say("warning", f"{what}; the standard threshold is used")


def tape_gamma_events(
    tape: MarketTape,
    settings: ExposureSettings,
    value_by_hand: float | str | None,
    *,
    is_read: bool,
    history_folder: Path | None = None,
    say: Notify | None = None,
) -> tuple[GammaExposureEvent, ...]:
    """Return the events on dealer gamma of a run over a tape, in order.

    ``settings``: Where the exposure comes from.
    ``value_by_hand``: Text that a person set; it wins, and is stated at the open of each session.
    ``is_read``: Whether the strategy reads the exposure; if not, none is computed from the chain.
    ``history_folder``: Folder of the exposures of earlier sessions; None without.
    ``say``: Called once when the value set by hand is not a number.

    Each is stamped with the instant at which it may be known.
    """
    if value_by_hand is not None:
        events = tuple(by_hand(value_by_hand, settings.symbol, session.open_ns) for session in tape.sessions)
        if events and events[0].reason and say is not None:
            what = f"dealer gamma of {settings.symbol} is not known: {events[0].reason}"
            say("warning", f"{what}; the standard threshold is used")
        return events
    if not (is_read and settings.from_chain):
        return ()
    found: list[GammaExposureEvent] = []
    for symbol in tape.underlyings:
        usual = (_NAN, _NAN)
        if history_folder is not None:
            usual = ExposureHistory(history_folder, tape.name, symbol).usual(tape.sessions[0].day)
        seconds = 60.0 * settings.chain_minutes
        found += exposure_events(tape.with_main(symbol), every_seconds=seconds, usual_usd=usual)
    return tuple(sorted(found, key=attrgetter("ts_recv_ns")))
