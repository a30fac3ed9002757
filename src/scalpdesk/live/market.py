"""Market of a live run: contracts, open interest, rates, forecast and dealer gamma."""

import asyncio
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from scalpdesk.assembly import (
    FORECAST_HISTORY_DAYS,
    daily_history,
    describe,
    earlier_sessions,
    forecast_event,
    forecasts,
    hedge_terms,
    implied_vols,
)
from scalpdesk.config.settings import DeskConfig, LoadedSettings
from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import ConfigError, DataError, Notify, RetryError
from scalpdesk.core.events import (
    DividendEvent,
    Event,
    GammaExposureEvent,
    OpenInterestEvent,
    PriceAdjustmentEvent,
    RateEvent,
)
from scalpdesk.core.units import InstrumentId
from scalpdesk.datasets.daily_checks import sound_bars
from scalpdesk.datasets.dealer_gamma import ExposureSource
from scalpdesk.datasets.implied_vols import implied_vol_event
from scalpdesk.instruments.classes import INDICES
from scalpdesk.instruments.contract import Instrument, Instruments, underlying_of
from scalpdesk.instruments.corporate_actions import price_scale
from scalpdesk.instruments.deribit import coin_of, lists_coin
from scalpdesk.instruments.sessions import (
    ex_instant_ns,
    is_session,
    new_york_ns,
    next_session,
    session_on,
    to_new_york,
)
from scalpdesk.live.plan import LivePlan, trades_options
from scalpdesk.live.sessions import session_of
from scalpdesk.live.supervision import describe as describe_error
from scalpdesk.marketdata.dealer_gamma import CACHE_SECONDS
from scalpdesk.marketdata.dividends import INDEX_FUNDS, YEAR_DAYS
from scalpdesk.strategies.contract import StrategySpec
from scalpdesk.strategies.registry import find_strategy
from scalpdesk.venues.contract import BringsMarket, DailyBar, Gateway, ListedContract, VenueView, sessions_of
from scalpdesk.volatility.variance_time import CALENDAR

if TYPE_CHECKING:
    from scalpdesk.datasets.firestore import FirestoreExposureStore

_HOLIDAYS = 5
_SPLIT_DAYS = 10
"""Days for which splits are asked for: a desk may have been down for some."""
_DEFAULT_EXPIRY_DAYS = (0, 45)
_MONTH_DAYS = (21, 45)
_MONTH_STRIKES = 3
_CALENDAR_DAYS_A_BAR = 1.5
"""Days to ask for so that weekends and holidays leave enough sessions."""


async def first_market(
    plan: LivePlan, gateway: Gateway, instruments: Instruments, clock: Clock
) -> tuple[dict[str, Any], tuple[Event, ...]]:
    """Add the run's instruments; return the header's data and the engine's first events."""
    if isinstance(gateway, BringsMarket):
        return _played(plan, gateway, instruments)
    symbol, *others = plan.underlyings
    numbers = {name: instruments.add(await gateway.resolve(name)) for name in plan.underlyings}
    in_coin = instruments.by_id[numbers[symbol]].is_coin
    terms, hedge = hedge_terms(plan.settings), ""
    if terms is not None:
        hedge = instruments[instruments.add(await gateway.resolve(terms.symbol))].symbol
    _check_currencies(instruments, plan.settings.config.desk.currency)
    now_ns = clock.now_ns()
    today = to_new_york(now_ns).date()
    held = held_instruments(plan, await gateway.snapshot(), instruments)
    events, notes = await _daily(plan, gateway, instruments, numbers, clock)
    for number in numbers.values():
        minutes, more = await _earlier(plan, gateway, number, clock)
        events += minutes
        notes += more
    if trades_options(plan.settings):
        for name, number in numbers.items():
            options, note = await _options(plan, gateway, name, number, today, held)
            notes.insert(0, note)
            for listed in options:
                contract_id = instruments.add(listed.contract)
                if listed.open_interest_contracts is not None:
                    interest = listed.open_interest_contracts
                    events.append(OpenInterestEvent(contract_id, now_ns, now_ns, interest))
    else:
        notes.insert(0, "no options: this strategy trades shares alone")
    try:
        events += await _dividends(gateway, instruments, numbers.values(), now_ns)
    except RetryError as error:
        notes.append(f"dividends are not known before tomorrow: {error.what}")
    await _name_holdings(plan, gateway, instruments)
    data = {
        "name": plan.venue,
        "kind": "live",
        "session": today.isoformat(),
        "underlying": symbol,
        "notes": notes,
        "quote_seconds": 1.0,
        "dividend_yield": 0.0,
    }
    if others:
        data["others"] = dict.fromkeys(others, 0.0)
    if hedge:
        data["hedge"] = hedge
    if in_coin:
        data["variance_clock"] = CALENDAR.name
    return data, tuple(events)


def _check_currencies(instruments: Instruments, currency: str) -> None:
    """Refuse what is traded in another currency than the desk's: its account holds none of it.

    Raises ConfigError when there is such an instrument.
    """
    for instrument in instruments:
        if instrument.currency != currency:
            raise ConfigError(
                f"{instrument.symbol} is traded in {instrument.currency}, and the desk counts in {currency};"
                " nothing was sent",
                where="desk.currency",
                value=currency,
                fix=f"set desk.currency = {instrument.currency}, or name an underlying in {currency}",
            )


async def daily_update(
    plan: LivePlan, gateway: Gateway, instruments: Instruments, clock: Clock
) -> tuple[Event, ...]:
    """Return the events of a later session of the same run: rates and a fresh forecast.

    Raises RetryError when the venue does not answer.
    """
    numbers = {symbol: instruments.id_of(symbol) for symbol in plan.underlyings}
    events, _ = await _daily(plan, gateway, instruments, numbers, clock)
    return tuple(events)


async def _dividends(
    gateway: Gateway, instruments: Instruments, shares: Iterable[int], now_ns: int
) -> list[Event]:
    """Return the dividends that the venue lists: of an index fund the past year's, too."""
    today, events = to_new_york(now_ns).date(), list[Event]()
    for number in map(InstrumentId, shares):
        if not instruments[number].is_share:
            continue
        since = today - timedelta(days=YEAR_DAYS) if instruments[number].symbol in INDEX_FUNDS else today
        for paid in await gateway.dividends(number, since, today + timedelta(days=YEAR_DAYS)):
            if is_session(paid.ex_date):
                ex_ns = session_on(paid.ex_date).open_ns
                events.append(DividendEvent(number, now_ns, now_ns, ex_ns, paid.amount))
    return events


async def listed_actions(gateway: Gateway, instruments: Instruments, clock: Clock) -> tuple[Event, ...]:
    """Return declared dividends, and the splits of shares from some days ago to the next session.

    Each split is stamped at the open of its ex-date: the engine takes those of opens that are still to come.
    Raises RetryError when the venue does not answer.
    """
    now_ns, events = clock.now_ns(), list[Event]()
    today = to_new_york(now_ns).date()
    shares = [number for number, item in enumerate(instruments) if item.is_share]
    if not shares:
        return ()
    first, last = today - timedelta(days=_SPLIT_DAYS), next_session(today).day
    events += await _dividends(gateway, instruments, shares, now_ns)
    for number in map(InstrumentId, shares):
        for split in await gateway.splits(number, first, last):
            open_ns = ex_instant_ns(new_york_ns(split.ex_date, time(0)))
            events.append(PriceAdjustmentEvent(number, open_ns, now_ns, *price_scale(split)))
    return tuple(events)


def _played(
    plan: LivePlan, gateway: BringsMarket, instruments: Instruments
) -> tuple[dict[str, Any], tuple[Event, ...]]:
    """Take over the market of a tape."""
    tape = gateway.tape
    for instrument in tape.instruments:
        instruments.add(instrument)
    at_ns = tape.sessions[0].open_ns
    first: list[Event] = [RateEvent(at_ns, at_ns, tuple(tape.rate_curve.days), tuple(tape.rate_curve.rates))]
    first += [
        OpenInterestEvent(instruments.id_of(symbol), at_ns, at_ns, contracts)
        for symbol, contracts in sorted(tape.open_interest.items())
        if symbol in instruments
    ]
    first += earlier_sessions(tape, plan.settings, plan.settings.config.simulation.seed)
    return describe(tape), (
        *first,
        *forecasts(tape, plan.settings),
        *implied_vols(tape, plan.settings),
        *gateway.known_at_open,
    )


async def _daily(
    plan: LivePlan,
    gateway: Gateway,
    instruments: Instruments,
    numbers: Mapping[str, InstrumentId],
    clock: Clock,
) -> tuple[list[Event], list[str]]:
    """Return rates and forecasts as events, and notes on their sources."""
    rates = plan.settings.config.rates
    rate, key = (rates.default, "rates.default") if rates.flat is None else (rates.flat, "rates.flat")
    now_ns = clock.now_ns()
    events: list[Event] = [RateEvent(now_ns, now_ns, (1.0,), (rate,))]
    notes = [f"one rate for every maturity, {100 * rate:g} % ({key}): the venue sends no curve"]
    assert plan.settings.strategy is not None
    today, folder = to_new_york(now_ns).date(), Path(plan.settings.config.data.catalog)
    for symbol, number in numbers.items():
        bars, note = await _bars(plan, gateway, number, symbol, today)
        if bars is not None:
            # fitting takes a while: the heartbeat goes on meanwhile
            a_year = 365 if instruments.by_id[number].is_coin else 252
            made = asyncio.to_thread(forecast_event, number, bars, now_ns, periods_per_year=a_year)
            events.append(await made)
        if find_strategy(plan.settings.strategy).reads_iv_rank:
            known = implied_vol_event(folder, number, symbol, today, now_ns, market=plan.venue)
            if known is None:
                notes.append(f"the IV rank of {symbol} is not known: each close of this desk adds to it")
            else:
                events.append(known)
                notes.append(
                    f"IV rank of {symbol} from {len(known.history)} earlier closes of {known.source}"
                )
        notes.append(note)
    return events, notes


async def _earlier(
    plan: LivePlan, gateway: Gateway, number: InstrumentId, clock: Clock
) -> tuple[list[Event], list[str]]:
    """Return the minutes of the sessions before, as many as the strategy wants, and a note on them."""
    assert plan.settings.strategy is not None
    wanted = find_strategy(plan.settings.strategy).history_sessions(plan.settings.strategy_config)
    if not wanted:
        return [], []
    now_ns = clock.now_ns()
    today = to_new_york(now_ns).date()
    first = today - timedelta(days=int(_CALENDAR_DAYS_A_BAR * wanted) + _HOLIDAYS)
    try:
        minutes = await gateway.minute_bars(number, first, today - timedelta(days=1))
    except RetryError as error:
        return [], [f"no earlier sessions: the venue gives no minutes ({error.what})"]
    found = sessions_of(minutes, number, now_ns)[-wanted:]
    return list(found), [f"minutes of {len(found)} earlier sessions of the venue"]


async def _bars(
    plan: LivePlan, gateway: Gateway, number: InstrumentId, symbol: str, today: date
) -> tuple[dict[str, list[float]] | None, str]:
    """Return the daily bars before today that a forecast is fitted to, None for no forecast; and a note."""
    if plan.settings.config.data.daily_history is not None:
        history = daily_history(plan.settings, plan.venue, symbol).before(today, FORECAST_HISTORY_DAYS)
        if stale := history.why_stale(today):
            return None, f"no forecast: {stale}"
        note = f"forecast from {len(history.days)} daily bars: {history.source}"
        return history.bars, "; ".join((note, *history.notes))
    if not plan.settings.config.venue.forecast:
        return None, "no forecast (venue.forecast)"
    first = today - timedelta(days=int(_CALENDAR_DAYS_A_BAR * FORECAST_HISTORY_DAYS))
    try:
        found = await gateway.daily_bars(number, first, today - timedelta(days=1))
    except RetryError as error:
        return None, f"no forecast: the venue gives no daily bars ({error.what})"
    if not found:
        return None, f"no forecast: the venue has no daily bars of {symbol}"
    kept = found[-FORECAST_HISTORY_DAYS:]
    try:
        sound = sound_bars(
            symbol,
            plan.venue,
            [bar.day for bar in kept],
            columns_of(kept),
            trades_daily=lists_coin(coin_of(symbol)),
        )
    except DataError as error:
        return None, f"no forecast: {error.what}"
    note = f"forecast from {len(sound.days)} daily bars of the venue, to {sound.days[-1]}"
    return sound.bars, "; ".join((note, *sound.notes))


def columns_of(bars: tuple[DailyBar, ...]) -> dict[str, list[float]]:
    """Return bars as columns for a forecast."""
    return {
        "open": [bar.open for bar in bars],
        "high": [bar.high for bar in bars],
        "low": [bar.low for bar in bars],
        "close": [bar.close for bar in bars],
    }


def held_instruments(plan: LivePlan, view: VenueView, instruments: Instruments) -> list[Instrument]:
    """Return what the account holds: a new run knows all of it, values it, and closes it in a flatten.

    Raises ConfigError when something cannot be valued or closed, or is an option on the run's underlying that
    its strategy neither hedges nor closes: it would trade the hedge shares without the options.
    """
    holdings = [
        position
        if position.instrument_id is None
        else structs.replace(position, instrument=instruments[position.instrument_id])
        for position in view.positions
        if position.quantity
    ]
    symbols, listed = set(plan.underlyings), ", ".join(map(str, holdings))
    unknown = [
        position
        for position in holdings
        if position.instrument is None
        or ((name := underlying_of(position.instrument)) in INDICES and name not in symbols)
    ]
    if unknown:
        raise ConfigError(
            f"the account holds what this desk can neither value nor close: {', '.join(map(str, unknown))};"
            " nothing was sent",
            where="account",
            value=listed,
            fix="close it on the venue's own pages, trade another account, or name the class of an unknown "
            "root: [classes.ROOT] in scalpdesk.toml",
        )
    held = [position.instrument for position in holdings if position.instrument is not None]
    owner = _owner(plan.settings)
    day = session_of(view.clock).day
    left = [
        contract.symbol
        for contract in held
        if contract.is_option
        and contract.underlying in symbols
        and owner is not None
        and not (owner.trades_options and owner.takes_over(contract, day))
    ]
    if left and owner is not None:
        raise ConfigError(
            f"{owner.name} neither hedges nor closes {', '.join(left)}, and trades the same shares;"
            " nothing was sent",
            where="account",
            value=listed,
            fix="run the strategy that holds them, or close them with their shares on the venue's own pages",
        )
    return held


async def _name_holdings(plan: LivePlan, gateway: Gateway, instruments: Instruments) -> None:
    """Add what the account holds beside the market that the run trades, as it stands before the run begins.

    Raises ConfigError as :func:`held_instruments` does, and when venue and desk have different names for a
    holding.
    """
    view = await gateway.snapshot()
    for instrument in held_instruments(plan, view, instruments):
        if instrument.is_option and instrument.underlying not in instruments:
            instruments.add(await gateway.resolve(instrument.underlying))
        if instrument.symbol not in instruments:  # the venue's list knows its multiplier
            instruments.add(instrument)
    nameless = [held for held in view.positions if held.quantity and held.symbol not in instruments]
    if nameless:
        raise ConfigError(
            f"the account holds what this desk has no name for: {', '.join(map(str, nameless))};"
            " nothing was sent",
            where="account",
            value=", ".join(str(held) for held in view.positions if held.quantity),
            fix="close it on the venue's own pages, or trade another account",
        )


def _owner(settings: LoadedSettings) -> StrategySpec | None:
    """Return the strategy that takes over the account's positions at the start, or None."""
    assert settings.strategy is not None
    spec = find_strategy(settings.strategy)
    if not spec.members:
        return spec
    adopts = settings.config.budgets.adopts
    return None if adopts is None else find_strategy(adopts)


async def _month_options(
    plan: LivePlan, gateway: Gateway, symbol: str, spot: float | None, today: date
) -> list[ListedContract]:
    """Return options at the money about 30 days off: the day's implied volatility is taken from them."""
    settings = plan.settings
    assert settings.strategy is not None
    if (
        spot is None
        or settings.config.data.keep_implied_vols == "never"
        or not find_strategy(settings.strategy).reads_iv_rank
    ):
        return []
    near, far = (today + timedelta(days=days) for days in _MONTH_DAYS)
    listed = [item for item in await gateway.discover(symbol, near, far) if item.is_tradable]
    month = today + timedelta(days=30)
    expiries = sorted({item.contract.expiry for item in listed})
    around = [*[day for day in expiries if day <= month][-1:], *[day for day in expiries if day > month][:1]]
    chosen: list[ListedContract] = []
    for day in around:
        of_day = [item for item in listed if item.contract.expiry == day]
        strikes = sorted({float(item.contract.strike) for item in of_day}, key=lambda k: abs(k - spot))
        chosen += [item for item in of_day if float(item.contract.strike) in strikes[:_MONTH_STRIKES]]
    return chosen if 4 * len(chosen) <= plan.contracts // len(plan.underlyings) else []


async def _options(
    plan: LivePlan,
    gateway: Gateway,
    symbol: str,
    number: InstrumentId,
    today: date,
    held: Sequence[Instrument],
) -> tuple[list[ListedContract], str]:
    """Return the run's contracts on an underlying, those held first, and a note on how they were chosen."""
    near, far = expiry_window(plan.settings)
    listed = await gateway.discover(symbol, today + timedelta(days=near), today + timedelta(days=far))
    quotes = await gateway.quotes([number])
    spot = quotes[0].mid if quotes else None
    held_options = {
        item.symbol
        for item in held
        if item.is_option and item.underlying not in set(plan.underlyings) - {symbol}
    }
    known = [item for item in listed if item.contract.symbol in held_options]
    known += await _month_options(plan, gateway, symbol, spot, today)
    named = held_options | {item.contract.symbol for item in known}
    rest = tuple(item for item in listed if item.contract.symbol not in named)
    room = plan.contracts // len(plan.underlyings) - len(named)
    chosen = known + choose_contracts(rest, spot, max(room, 0))
    if not chosen and not held_options and not plan.is_later_day:
        raise ConfigError(
            "the venue lists no options that this strategy could trade; nothing was sent",
            where=f"{symbol}, {near} to {far} days to expiry",
            fix="start on a day on which they are listed, or check the strategy's days to expiry",
        )
    chosen.sort(key=lambda kept: kept.contract.symbol)
    on = f" on {symbol}" if len(plan.underlyings) > 1 else ""
    return chosen, f"{len(chosen)} of {len(listed)} listed options{on}, nearest to {spot}"


def expiry_window(settings: LoadedSettings) -> tuple[int, int]:
    """Return the days to expiry, nearest and farthest, that a strategy's options may have."""
    assert settings.strategy is not None
    days = find_strategy(settings.strategy).expiry_days
    return _DEFAULT_EXPIRY_DAYS if days is None else days(settings.strategy_config)


def choose_contracts(
    listed: tuple[ListedContract, ...], spot: float | None, most: int
) -> list[ListedContract]:
    """Return the tradable contracts nearest to the money, at most ``most``."""
    tradable = [contract for contract in listed if contract.is_tradable]
    if len(tradable) > most and spot is not None and math.isfinite(spot):
        tradable.sort(key=lambda near: (abs(float(near.contract.strike) - spot), near.contract.symbol))
    return tradable[:most]


def firestore_of(config: DeskConfig, document: str | None = None) -> "FirestoreExposureStore":
    """Return the configured store of dealer gamma, for another document where one is named.

    Nothing is connected yet. Raises ConfigError when the document's path, the key file or the package is not
    there.
    """
    from scalpdesk.datasets.firestore import FirestoreExposureStore  # noqa: PLC0415 - the extra firestore

    keys = config.credentials
    return FirestoreExposureStore(
        keys.firebase_project_id,
        document=document or config.gex.document,
        credentials_file=keys.google_application_credentials,
        emulator_host=keys.firestore_emulator_host,
        timeout_seconds=config.gex.timeout_seconds,
    )


def live_source(
    config: DeskConfig, *, history_folder: Path | None = None, notify: Notify | None = None
) -> ExposureSource:
    """Return the dealer gamma source of a live desk: the value set by hand, else the store if there is one.

    ``config``: Its sections ``gex``, ``marketdata`` (the value by hand) and ``credentials``.

    Raises ConfigError when ``gex.store`` is ``firestore`` and its package, key file or path is not there;
    under ``auto`` that is only a warning.
    """
    settings, keys, by_hand = config.gex, config.credentials, config.marketdata.gex_value
    is_named = keys.firebase_project_id is not None or keys.firestore_emulator_host is not None
    store = None
    if by_hand is None and (settings.store == "firestore" or (settings.store == "auto" and is_named)):
        try:
            store = firestore_of(config)
        except ConfigError as error:
            if settings.store == "firestore":
                raise
            if notify is not None:  # it was not asked for by name: trading goes on without
                fix = "" if error.fix is None else f" ({error.fix})"
                notify(
                    "warning",
                    f"dealer gamma is not asked for: {error.what}{fix}; the standard threshold is used",
                )
    return ExposureSource(
        settings.symbol,
        value_by_hand=by_hand,
        store=store,
        say=notify,
        cache_seconds=settings.cache_seconds,
        max_age_seconds=settings.max_age_seconds,
        history_folder=history_folder,
    )


class ExposureWatch:
    """A thread that polls the dealer gamma source and posts what has changed.

    ``post``: Takes the event, in this thread: it hands it to the desk's queue.
    ``notify``: Takes messages for the operator; a poll that fails unexpectedly is an alarm, and the next one
    is made all the same.
    """

    def __init__(
        self,
        source: ExposureSource,
        clock: Clock,
        post: Callable[[GammaExposureEvent], None],
        *,
        every_seconds: float = CACHE_SECONDS,
        notify: Notify | None = None,
    ) -> None:
        self._source = source
        self._clock = clock
        self._post = post
        self._every_seconds = every_seconds
        self._notify = notify or (lambda _level, _text: None)
        self._over = threading.Event()
        self._last: tuple[str, float | None, int, str] | None = None
        self._failure = ""
        # a daemon: a call that hangs must not keep the desk from ending
        self._thread = threading.Thread(target=self._run, name="gamma-exposure", daemon=True)

    def start(self) -> None:
        """Start polling; the first poll is immediate."""
        self._thread.start()

    def stop(self, wait_seconds: float = 0.5) -> None:
        """End the polling; a call under way is waited for no longer than ``wait_seconds``."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(wait_seconds)

    def look(self) -> None:
        """Poll once; post the exposure if it has changed."""
        event = self._source.look(self._clock.now_ns())
        if event is None:
            return
        if event.reason or event.source == "environment":
            seen = (event.symbol, None if event.reason else event.exposure_usd, 0, event.source)
        else:
            seen = (event.symbol, event.exposure_usd, event.ts_event_ns, event.source)
        if seen != self._last and not self._over.is_set():
            self._last = seen
            self._post(event)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - the thread goes on; what was known last goes stale
                self._report(describe_error(error))
            self._over.wait(self._every_seconds)

    def _report(self, failure: str) -> None:
        if failure != self._failure and not self._over.is_set():
            self._failure = failure
            self._notify("alarm", f"dealer gamma could not be read: {failure}; the last value goes stale")
