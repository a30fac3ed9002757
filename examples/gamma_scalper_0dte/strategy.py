"""0DTE gamma scalper as a strategy folder of protocol v1.

``on_market_event`` takes one market event and returns the order intents that answer it; ``reset``
forgets everything. The rules are the desk's own (``scalpdesk.hedging.bands.regime_threshold``), so that this
folder and ``scalpdesk run zero-dte`` decide alike. Settings come from the environment, as listed in
``config.example.env``.
"""

import logging
import os
import threading
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any, cast

from ledger import HedgeRules, Hours, LedgerOrder, QuantityUnit, Update, ZeroDteLedger, number_in

from scalpdesk import CredentialsSection, DeskConfig, ExposureWatch, live_source
from scalpdesk.base import (
    EXIT_MINUTES,
    MINUTE_NS,
    REGULAR_CLOSE,
    ArgumentError,
    ConfigError,
    Session,
    SystemClock,
    cutoff_names,
    exit_deadline_ns,
    is_session,
    new_york_ns,
    session_on,
    to_ns,
    us_option,
    venue_cutoff,
)
from scalpdesk.protocol import OK, event_verdict, order_intent, parse_ts, to_decimal
from scalpdesk.strategies import DEFAULT_SYMBOL, GammaExposureEvent, known_exposure_usd

NAME = "0dte_gamma_scalper"
FIRST_YEAR, LAST_YEAR = 1996, 2029
"""Years whose sessions the exchange calendar knows."""
LATEST_EXIT = time(15, 55)
"""From then on a venue may take no order in what expires today."""
MOST_EVENT_IDS = 100_000
LONGEST_SYMBOL = 64
RULE_KEYS = {
    "threshold": "HEDGING_THRESHOLD",
    "threshold_negative_gex": "HEDGING_THRESHOLD_NEGATIVE_GEX",
    "seconds_between_hedges": "MIN_SECONDS_BETWEEN_HEDGES",
    "stale_delta_seconds": "STALE_DELTA_SECONDS",
}
"""Names of the hedge rule's settings in the environment."""
GREEKS = ("delta", "gamma", "theta", "vega", "greeks")

log = logging.getLogger(NAME)
_LEVELS = {"info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR, "alarm": logging.ERROR}


class Settings:
    """Settings of ``config.example.env``, read once from the environment.

    Parameters
    ----------
    environ
        Names and values.

    Raises
    ------
    ConfigError
        For a value that cannot be used; names the key.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        try:
            self.rules = HedgeRules(
                threshold=_decimal(environ, "HEDGING_THRESHOLD", "0.15"),
                threshold_negative_gex=_decimal(environ, "HEDGING_THRESHOLD_NEGATIVE_GEX", "0.10"),
                seconds_between_hedges=float(_decimal(environ, "MIN_SECONDS_BETWEEN_HEDGES", "60")),
                stale_delta_seconds=float(_decimal(environ, "STALE_DELTA_SECONDS", "60")),
            )
        except ConfigError as error:
            where = RULE_KEYS.get(error.where or "", error.where)
            raise ConfigError(error.what, where=where, value=error.value, fix=error.fix) from error
        self.quantity_unit = cast(
            "QuantityUnit", _choice(environ, "QUANTITY_UNIT", "shares", ("shares", "contracts"))
        )
        self.underlying = environ.get("UNDERLYING_SYMBOL", "").strip() or "SPY"
        self.is_live = _choice(environ, "SESSION_MODE", "replay", ("replay", "live")) == "live"
        self.project = environ.get("FIREBASE_PROJECT_ID", "").strip() or None
        self.credentials_file = environ.get("GOOGLE_APPLICATION_CREDENTIALS", "").strip() or None
        self.firestore_host = environ.get("FIRESTORE_EMULATOR_HOST", "").strip() or None
        self.cutoff = venue_cutoff(_choice(environ, "VENUE", "none", cutoff_names()))
        try:
            self.exit_time = time.fromisoformat(environ.get("EXIT_TIME_ET", "").strip() or "15:45:00")
        except ValueError as error:
            raise ConfigError(
                "not a time of day", where="EXIT_TIME_ET", value=environ["EXIT_TIME_ET"], fix="write HH:MM"
            ) from error
        if self.exit_time > LATEST_EXIT:
            raise ConfigError(
                "too late: the last minutes before the close are left to the venue",
                where="EXIT_TIME_ET",
                value=environ["EXIT_TIME_ET"],
                fix=f"at most {LATEST_EXIT:%H:%M}",
            )

    def hours(self, underlying: str, day: date) -> Hours | None:
        """Return when orders may go on ``day``; on a day without a session only a replay has hours."""
        if FIRST_YEAR <= day.year <= LAST_YEAR and is_session(day):
            session = session_on(day)
        elif self.is_live:
            return None
        else:
            session = Session(day, new_york_ns(day, time(9, 30)), new_york_ns(day, time(16)))
        before_close = (new_york_ns(day, REGULAR_CLOSE) - new_york_ns(day, self.exit_time)) / MINUTE_NS
        venue_ns = exit_deadline_ns(
            session.close_ns,
            exit_minutes=min(before_close, EXIT_MINUTES),
            cutoff_minutes=self.cutoff.of(underlying),
        )
        own_ns = new_york_ns(day, self.exit_time)
        return Hours(session.open_ns, min(own_ns, venue_ns), session.close_ns)


def _decimal(environ: Mapping[str, str], key: str, default: str) -> Decimal:
    text = environ.get(key, "").strip() or default
    number = number_in(text)
    if number is None:
        raise ConfigError("not a number", where=key, value=text, fix=f"unset {key}, or set e.g. {default}")
    return number


def _choice(environ: Mapping[str, str], key: str, default: str, choices: tuple[str, ...]) -> str:
    text = environ.get(key, "").strip().lower() or default
    if text not in choices:
        raise ConfigError("not one of the choices", where=key, value=text, fix=f"use {' or '.join(choices)}")
    return text


class DealerGamma:
    """Dealer gamma exposure: GEX_VALUE, else, in a live session, Firestore asked in a thread of its own.

    Parameters
    ----------
    settings
        Where Firestore is, if anywhere.
    """

    def __init__(self, settings: Settings) -> None:
        self.arrived = threading.Event()
        """Set with each word from Firestore."""
        self._text: str | None = None
        self._by_hand: Decimal | None = None
        self._latest: dict[str, GammaExposureEvent] = {}
        self._symbols = (DEFAULT_SYMBOL, settings.underlying)
        self._watch: ExposureWatch | None = None
        is_wanted = settings.is_live and (settings.project or settings.firestore_host)
        if is_wanted:
            keys = CredentialsSection(
                firebase_project_id=settings.project,
                google_application_credentials=settings.credentials_file,
                firestore_emulator_host=settings.firestore_host,
            )
            source = live_source(DeskConfig(credentials=keys), notify=_say)
            self._watch = ExposureWatch(source, SystemClock(), self._take, notify=_say)
            self._watch.start()

    def known(self, now_ns: int) -> Decimal | None:
        """Return the exposure in USD, None when it is not known or older than a quarter of an hour.

        That of the index counts, else that of the underlying; a document of another symbol is neither's.
        """
        text = os.environ.get("GEX_VALUE", "").strip()
        if text != self._text:
            self._text = text
            self._by_hand = wide_number(text)
            if text and self._by_hand is None:
                log.warning("GEX_VALUE is no number; dealer gamma counts as unknown")
        if text:
            return self._by_hand
        latest = (known_exposure_usd(self._latest.get(symbol), now_ns) for symbol in self._symbols)
        exposure = next((found for found in latest if found is not None), None)
        return None if exposure is None else Decimal(repr(exposure))

    def stop(self) -> None:
        """Ask no more."""
        if self._watch is not None:
            self._watch.stop()

    def _take(self, event: GammaExposureEvent) -> None:
        self._latest[event.symbol] = event
        self.arrived.set()


def _say(level: str, text: str) -> None:
    log.log(_LEVELS.get(level, logging.WARNING), text)


class Scalper:
    """The ledger, and how events become updates and orders become intents."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ledger = ZeroDteLedger(
            settings.rules,
            settings.hours,
            quantity_unit=settings.quantity_unit,
            default_underlying=settings.underlying,
            keep_hours=settings.is_live,
        )
        self.dealers = DealerGamma(settings)
        self._seen: dict[str, None] = {}

    def on_market_event(self, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the intents that answer one event; a wrong or repeated event gives no intents."""
        verdict = event_verdict(event)
        if verdict != OK:
            log.warning("event refused: %s", verdict)
            return []
        if event["event_id"] in self._seen:
            return []
        self._seen[event["event_id"]] = None
        if len(self._seen) > MOST_EVENT_IDS:
            del self._seen[next(iter(self._seen))]
        update = self._update(event)
        if update is None:
            return []
        gex = self.dealers.known(update.ts_ns)
        orders = self.ledger.apply(update, gex)
        for level, text in self.ledger.notes:
            log.log(_LEVELS[level], "%s %s", event["event_id"], text)
        return [self._intent(event, order, gex) for order in orders]

    def _update(self, event: Mapping[str, Any]) -> Update | None:
        """Read the payload; a value that is not a number (NaN, text, true) refuses the whole event."""
        payload, symbol = event["payload"], event["symbol"]
        if not symbol.isascii() or len(symbol) > LONGEST_SYMBOL:  # no intent could carry it
            log.warning("event %s refused: value:symbol", event["event_id"])
            return None
        greeks = payload.get("greeks")
        nested = greeks if isinstance(greeks, Mapping) else {}
        numbers: dict[str, Decimal | None] = {}
        for name, keys in (
            ("delta", ("delta",)),
            ("gamma", ("gamma",)),
            ("theta", ("theta",)),
            ("quantity", ("quantity", "qty")),
            ("price", ("price", "mid", "last")),
            ("underlying_price", ("underlying_price",)),
            ("bid", ("bid",)),
            ("ask", ("ask",)),
        ):
            value = next((payload[key] for key in keys if payload.get(key) is not None), nested.get(name))
            numbers[name] = None if value is None else number_in(value)
            if value is not None and numbers[name] is None:
                log.warning("event %s refused: value:%s", event["event_id"], name)
                return None
        try:
            instant = parse_ts(event["ts"])
        except ArgumentError:
            instant = None
        if instant is None or not FIRST_YEAR <= instant.year <= LAST_YEAR:
            log.warning("event %s refused: value:ts", event["event_id"])
            return None
        has_greeks = any(payload.get(key) is not None for key in GREEKS)
        of_option = _underlying_of(symbol)
        is_share = of_option is None and self._is_share(symbol, numbers["delta"])
        is_option = not is_share and (has_greeks or self.ledger.knows(symbol))
        underlying_price = numbers["underlying_price"]
        if of_option is not None and not is_option:
            symbol = of_option  # a quote of an option that is not held: it has the price of its underlying
        elif not is_option and underlying_price is None:
            underlying_price = numbers["price"]
        # a share's quantity is a holding where its delta is given too, and the size of a trade elsewhere
        quantity = numbers["quantity"] if is_option or has_greeks else None
        return Update(symbol, to_ns(instant), is_option, numbers["delta"], quantity, underlying_price)

    def _is_share(self, symbol: str, delta: Decimal | None) -> bool:
        """Return whether a symbol that is not an OCC one is a share's: its delta, where one comes, is 1."""
        if symbol == self.settings.underlying:
            return True
        if self.ledger.knows(symbol):
            return False
        if delta is None:
            return self.ledger.is_underlying(symbol)
        # one that comes before any option on it has its ticker alone
        return delta == 1 and (symbol.isalpha() or self.ledger.is_underlying(symbol))

    def _intent(self, event: Mapping[str, Any], order: LedgerOrder, gex: Decimal | None) -> dict[str, Any]:
        metadata: dict[str, object] = {"reason": "market_close_exit", "strategy": NAME}
        verdict = order.verdict
        if verdict is not None:
            signed = order.quantity if order.side == "buy" else -order.quantity
            metadata = {
                "reason": verdict.reason,
                "net_delta_before": money_text(verdict.net_delta),
                "hedge_qty": str(signed),
                "underlying_price": money_text(order.underlying_price or Decimal(0)),
                "hedging_threshold": str(verdict.threshold),
                "strategy": NAME,
            }
        if gex is not None:
            metadata["gex_value"] = str(gex)
        return order_intent(
            event,
            kind=order.kind,
            strategy=NAME,
            symbol=order.symbol,
            side=order.side,
            qty=order.quantity,
            client_tag=f"{NAME}_{order.kind}",
            metadata=metadata,
        )


def _underlying_of(symbol: str) -> str | None:
    """Return the underlying that an OCC symbol names; None for any other symbol."""
    try:
        return us_option(symbol).underlying
    except ArgumentError:
        return None


def wide_number(text: str) -> Decimal | None:
    """Read an exposure in USD, which may be larger than any price or quantity; None for other texts."""
    try:
        return to_decimal(text)
    except ArgumentError:
        return None


def money_text(number: Decimal) -> str:
    """Write a number in full with two decimals at least: 6.5 is 6.50.

    >>> [money_text(Decimal(x)) for x in ("6.5", "495.50", "4.7525", "-10")]
    ['6.50', '495.50', '4.7525', '-10.00']
    """
    text = format(number.normalize(), "f")
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals:0<2}"


session_on(date(LAST_YEAR, 1, 2))  # loads the exchange calendar now: the first event must not wait for it
_scalper: Scalper | None = None


def on_market_event(event: dict[str, Any]) -> list[dict[str, Any]]:
    """Answer one market event with order intents.

    Parameters
    ----------
    event
        A market event of protocol v1.
    """
    global _scalper  # noqa: PLW0603 - the protocol calls functions of this module: its state is the module's
    if _scalper is None:
        _scalper = Scalper(Settings(os.environ))
    return _scalper.on_market_event(event)


def reset() -> None:
    """Forget all positions and read the settings again at the next event.

    Raises
    ------
    ConfigError
        For a setting that cannot be used: before the first event, not at each of them.
    """
    global _scalper  # noqa: PLW0603 - as above
    Settings(os.environ)
    if _scalper is not None:
        _scalper.dealers.stop()
    _scalper = None
