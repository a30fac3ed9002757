"""Dealer gamma exposure by the order of its sources: set by hand, then the cache, then the store."""

import math
from collections.abc import Callable
from datetime import date

from scalpdesk.core.errors import DataError
from scalpdesk.core.events import GammaExposureEvent
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.regime.exposure_history import ExposureHistory, SessionExposure
from scalpdesk.regime.exposure_settings import CACHE_SECONDS
from scalpdesk.regime.exposure_store import ExposureStore, ExposureUnknownError, StoredExposure, Unknown
from scalpdesk.signals.gamma_regime import BY_HAND, MAX_AGE_SECONDS

SKEW_SECONDS = 60.0
"""How far ahead of the desk's clock a store's may run before its stamp is not believed."""
NAN = float("nan")

Say = Callable[[str, str], None]


def by_hand(text: str, symbol: str, now_ns: int) -> GammaExposureEvent:
    """Return the word of a person: the number in ``text``, or that it is none.

    Parameters
    ----------
    text
        As it was set (GEX_VALUE), in USD of delta per move of 1 %.
    symbol
        Underlying that it is about.
    now_ns
        UTC nanoseconds.
    """
    try:
        value = float(text)
    except ValueError:
        value = NAN
    reason = "" if math.isfinite(value) else f"{Unknown.MALFORMED.value} ({text!r})"
    return GammaExposureEvent(symbol, now_ns, now_ns, NAN if reason else value, BY_HAND, reason)


class ExposureSource:
    """Asks for the exposure, at most once a minute, and says once what keeps it from being known.

    Parameters
    ----------
    symbol
        Underlying whose exposure is asked for.
    value_by_hand
        Text that a person set; it wins over the store.
    store
        Where others keep it; None without one.
    say
        Told a level and a sentence: each kind of failure once, and the recovery once.
    cache_seconds
        How long an answer, good or bad, stands for the next question.
    max_age_seconds
        Age of the store's stamp at which its value is no longer believed.
    history
        Where one value a session is kept and what is usual comes from; None without.
    """

    def __init__(
        self,
        symbol: str,
        *,
        value_by_hand: str | None = None,
        store: ExposureStore | None = None,
        say: Say | None = None,
        cache_seconds: float = CACHE_SECONDS,
        max_age_seconds: float = MAX_AGE_SECONDS,
        history: ExposureHistory | None = None,
    ) -> None:
        self.reads = 0
        """How often the store was asked."""
        self._symbol = symbol
        self._value_by_hand = value_by_hand
        self._store = store
        self.say = say or (lambda _level, _text: None)
        self._cache_ns = round(cache_seconds * NANOS_PER_SECOND)
        self._max_age_ns = round(max_age_seconds * NANOS_PER_SECOND)
        self._cached: StoredExposure | ExposureUnknownError | None = None
        self._read_at_ns = 0
        self._told: set[Unknown] = set()
        self._history = history
        self._session: date | None = None
        self._usual = (NAN, NAN)

    @property
    def has_any(self) -> bool:
        """Whether there is anything to ask."""
        return self._value_by_hand is not None or self._store is not None

    def look(self, now_ns: int) -> GammaExposureEvent | None:
        """Return the latest word, known or not; None when there is no source at all.

        Never raises: what is not known is an answer too.

        Parameters
        ----------
        now_ns
            The desk's time, UTC nanoseconds.
        """
        if self._value_by_hand is not None:
            event = by_hand(self._value_by_hand, self._symbol, now_ns)
            self._tell(Unknown.MALFORMED if event.reason else None, event)
            return event
        if self._store is None:
            return None
        name = self._store.name
        try:
            kept = self._kept(self._store, now_ns)
            self._check_age(kept, now_ns)
        except ExposureUnknownError as error:
            event = GammaExposureEvent(self._symbol, now_ns, now_ns, NAN, name, str(error))
            self._tell(error.kind, event)
            return event
        if kept.symbol != self._symbol:  # a failure to come is about the same underlying
            what = f"{name} keeps the dealer gamma of {kept.symbol}, not of {self._symbol}"
            self.say("warning", f"{what}: a strategy sees it where it looks for {kept.symbol}")
            self._symbol = kept.symbol
        # stamped no later than it arrives: the store's clock may run a little ahead
        event_ns = min(kept.last_update_ns, now_ns)
        usual = self._compared(kept, now_ns)
        event = GammaExposureEvent(kept.symbol, event_ns, now_ns, kept.exposure_usd, name, "", NAN, *usual)
        self._tell(None, event)
        return event

    def _kept(self, store: ExposureStore, now_ns: int) -> StoredExposure:
        if self._cached is None or not 0 <= now_ns - self._read_at_ns < self._cache_ns:
            self._read_at_ns = now_ns
            self.reads += 1
            try:
                self._cached = store.read()
            except ExposureUnknownError as error:
                self._cached = error
        if isinstance(self._cached, ExposureUnknownError):
            raise self._cached
        return self._cached

    def _compared(self, kept: StoredExposure, now_ns: int) -> tuple[float, float]:
        """Keep the session's first value; return what earlier sessions say is usual."""
        day = to_new_york(now_ns).date()
        if self._history is not None and day != self._session:
            self._session = day
            try:
                self._history.keep([SessionExposure(day, kept.exposure_usd)])
                self._usual = self._history.usual(day)
            except DataError as error:
                self._usual = (NAN, NAN)
                self.say("warning", f"{error.what}: {error.where}; dealer gamma is compared with nothing")
        return self._usual

    def _check_age(self, kept: StoredExposure, now_ns: int) -> None:
        age_ns = now_ns - kept.last_update_ns
        if age_ns > self._max_age_ns:
            raise ExposureUnknownError(Unknown.STALE, f"{age_ns / NANOS_PER_SECOND / 60.0:.0f} minutes")
        if age_ns < -SKEW_SECONDS * NANOS_PER_SECOND:
            raise ExposureUnknownError(Unknown.FUTURE, f"{-age_ns / NANOS_PER_SECOND:.0f} s")

    def _tell(self, kind: Unknown | None, event: GammaExposureEvent) -> None:
        if kind is None:
            if self._told:
                self._told.clear()
                self.say(
                    "info", f"dealer gamma of {event.symbol} is known again: {event.exposure_usd:,.0f} USD"
                )
        elif kind not in self._told:
            self._told.add(kind)
            what = f"dealer gamma of {event.symbol} is not known: {event.reason}"
            self.say("warning", f"{what}; the standard threshold is used")
