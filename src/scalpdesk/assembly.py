"""The one place where objects are put together. Everything above asks here; nothing below does."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from scalpdesk.config.history import as_of_today
from scalpdesk.config.settings import DataSection, DeskConfig, LoadedSettings, RunSettings
from scalpdesk.core.errors import ConfigError, DataError, JournalError, Notify
from scalpdesk.core.events import Event, ForecastEvent, GammaExposureEvent
from scalpdesk.core.intents import VenueCommand
from scalpdesk.core.plugins import resolved
from scalpdesk.core.units import NANOS_PER_MS, ZERO, InstrumentId
from scalpdesk.core.version import BUILD
from scalpdesk.datasets.embedded import COIN_MARKETS, EMBEDDED, require_own_coin
from scalpdesk.engine.desk import Desk
from scalpdesk.engine.margins import margin_model
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.broker_terms import charged_fees, fees_named, known_cutoff
from scalpdesk.instruments.classes import use_classes
from scalpdesk.instruments.contract import Instrument, Instruments, Proxy
from scalpdesk.instruments.deadlines import ExpiryRule, VenueCutoff
from scalpdesk.instruments.fees import DatedFees, FeeModel, schedule_used
from scalpdesk.instruments.sessions import previous_session, why_closed
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.margin.day_trading import DayRule
from scalpdesk.margin.holdings import Holding
from scalpdesk.margin.regulation_t import SPREADS, UNCOVERED, uncovered_calls
from scalpdesk.marketdata.state import MarketState
from scalpdesk.marketdata.tape import (
    FLAT_ZERO,
    BarColumns,
    LazyBars,
    LazyQuotes,
    MarketTape,
    QuoteColumns,
    RateCurve,
    TapeOrigin,
    hedged_tape,
    joined_tape,
    with_spread,
)
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.option_vols import SharedSmiles
from scalpdesk.risk.gate import RiskGate
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk.simulation.assignment import AssignmentTerms
from scalpdesk.simulation.broker import Broker
from scalpdesk.simulation.connection import BrokerConnection
from scalpdesk.simulation.faults import FaultPlan
from scalpdesk.simulation.fills import fill_model
from scalpdesk.simulation.hours import Hours
from scalpdesk.simulation.order_entry import VenueRules
from scalpdesk.simulation.tape_reader import price_adjustments
from scalpdesk.strategies.contract import HedgeTerms
from scalpdesk.strategies.registry import bound_config, find_strategy, member_names

if TYPE_CHECKING:
    from scalpdesk.datasets.daily_history import DailyHistory


def fee_facts(config: DeskConfig, first: date, last: date, venue: str = "simulated") -> dict[str, Any]:
    """Return the dated schedule by which a run is charged, or its desk estimates fees, for its header."""
    fees = charged_fees(venue, config.simulation.fees)
    return {"fees": schedule_used(fees, first, last)} if isinstance(fees, DatedFees) else {}


_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "alarm": logging.ERROR}
COIN_MARKET = "scalpdesk.datasets.embedded.coin:reconstruct_coin"
"""Loader of reconstructed coin markets; only they import it."""
_COIN_HISTORY_DAYS = 500
_FORECAST_DAYS = 5
FORECAST_HISTORY_DAYS = 1_500
"""Daily bars before the session that a forecast is fitted to: six years."""


def load_market(
    settings: LoadedSettings, data: str, *, underlying: str, start: date, end: date, seed: int
) -> MarketTape:
    """Return the tape of a data set: a reconstructed one or one of the catalogue.

    ``underlying`` may name several symbols with commas between them; the first is the run's main one.

    Raises ConfigError when the quotes of another market than the embedded one are to have faults. Raises
    DataError when the data set, the underlying or a session is not there; says what is.
    """
    use_classes(settings.config.classes)
    terms = hedge_terms(settings)
    hedge, hedge_set = ("", "") if terms is None else (terms.symbol, settings.config.data.hedge_set or "")
    quality = settings.config.data.quality
    if quality != "clean" and data != EMBEDDED:
        raise ConfigError(
            "only the embedded market of shares is drawn with the faults of recorded quotes",
            where="data.quality",
            value=f"{quality} for {data}",
            fix=f"leave data.quality out, or --data {EMBEDDED}",
        )
    source = TapeOrigin(data, underlying, start, end, seed, hedge, hedge_set, quality)
    tape = _load(source, settings.config.data, settings.strategy)
    if data != EMBEDDED and len(tape.sessions) > 1:
        from scalpdesk.datasets.catalog import refuse_hole

        refuse_hole(data, [session.day for session in tape.sessions])
    return tape


def hedge_terms(settings: RunSettings) -> HedgeTerms | None:
    """Return what a run hedges with in the underlying's place; None for the underlying."""
    if settings.strategy is None:
        return None
    return find_strategy(settings.strategy).hedge_of(settings.strategy_config)


def require_tradable(
    settings: RunSettings, instruments: Instruments, data: Mapping[str, Any], *, is_backtest: bool = False
) -> None:
    """Refuse a run that would buy and sell a cash index, or whose structure the account may not hold.

    ``data`` is that of its journal header. ``is_backtest``: ``simulation`` describes the account.

    Raises ConfigError when a study does not trade an index's level on purpose (``risk.index_orders``), a
    structure sells more of an option than ``risk.max_short_contracts`` or needs a higher
    ``simulation.options_level``, or no option expires on the day of ``selection.expiry``.
    """
    if settings.strategy is not None:
        _require_account(settings, is_backtest=is_backtest)
        _require_expiry(settings, instruments, str(data["underlying"]))
    if settings.config.risk.index_orders or settings.strategy is None:
        return
    traded = [str(data["hedge"])] if data.get("hedge") else []
    if find_strategy(settings.strategy).trades_underlying(settings.strategy_config):
        traded += [str(data["underlying"]), *data.get("others", ())]
    for symbol in traded:
        if instruments[instruments.id_of(symbol)].is_index:
            raise ConfigError(
                f"{symbol} is a cash index: it cannot be bought or sold, and {settings.strategy} trades it",
                where="hedge.instrument",
                value=symbol,
                fix="name a fund or a future on it (SPY, ES or MES on SPX), or let a study trade its level:"
                " risk.index_orders=true",
            )


def journaled_market(header: JournalHeader) -> MarketTape:
    """Return the tape of a journaled backtest as its engine saw it.

    Raises DataError when its data is not there any more. Raises JournalError when its tape was put together
    by hand.
    """
    stored = header.data.get("tape")
    if stored is None:
        raise JournalError("the journal does not say where its tape came from", where=f"run {header.run_id}")
    config = _config_of(header)
    return played_market(_load(msgspec.convert(stored, TapeOrigin), config.data, header.strategy), config)


def played_market(tape: MarketTape, config: DeskConfig) -> MarketTape:
    """Return the tape as a run plays it, with the configured rate and displayed sizes.

    A recorded market without a curve gets the default rate. Without displayed sizes fill models fill whole
    orders.
    """
    if tape.rate_curve is FLAT_ZERO and tape.kind == "recorded":
        tape = replace(tape, rate_curve=RateCurve((1.0,), (config.rates.default,)))
    if not config.simulation.displayed_sizes:
        tape = replace(tape, quotes=tape.quotes.without_sizes())
    return tape


def _load(source: TapeOrigin, data: DataSection, strategy: str | None) -> MarketTape:
    if source.hedge:
        alone, other = source.hedge_set or source.data_set, source.hedge
        main = replace(source, hedge="", hedge_set="")
        terms = replace(main, data_set=alone, underlying=other)
        if "," in source.underlying:
            raise ConfigError(
                "one instrument hedges the options on one underlying",
                where="hedge.instrument",
                value=f"{other} for {source.underlying}",
                fix="name one underlying, or leave hedge.instrument out",
            )
        tape = hedged_tape(_load(main, data, strategy), _load_alone(terms, data, strategy))
        return _from(source, data, strategy, tape)
    symbols = source.underlying.split(",")
    if len(set(symbols)) < len(symbols):
        raise DataError(
            "an underlying is named twice",
            where="underlying",
            value=source.underlying,
            fix=f"name each once: {','.join(dict.fromkeys(symbols))}",
        )
    if len(symbols) > 1:
        tapes = [_load(replace(source, underlying=each), data, strategy) for each in symbols]
        if strategy is not None and find_strategy(strategy).trades_options:
            require_options(tapes)
        tape = joined_tape(tapes)
    elif source.data_set in COIN_MARKETS:
        own = COIN_MARKETS[source.data_set]
        fix = f"name {own}" if strategy is None else f"set strategies.{strategy}.underlying to {own}"
        if strategy is not None and "+" in strategy:  # each has a section of its own
            fix = f"--set underlying={own}"
        require_own_coin(source.data_set, source.underlying, "underlying", fix)
        tape = resolved(COIN_MARKET)(source.start, source.end, seed=source.seed, underlying=source.underlying)
    elif source.data_set == EMBEDDED:
        from scalpdesk.datasets.embedded.market import reconstruct, reconstruct_span

        seed, underlying, quality = source.seed, source.underlying, source.quality
        if source.start != source.end:
            tape = reconstruct_span(
                source.start, source.end, seed=seed, underlying=underlying, quality=quality
            )
        else:
            tape = reconstruct(source.start, seed=seed, underlying=underlying, quality=quality)
    else:
        from scalpdesk.datasets.catalog import (
            COIN_TAPE,
            MAX_SIDE_AGE_SECONDS,
            find_underlying,
            load_tape,
        )

        manifest, base, coverage, _ = find_underlying(Path(data.catalog), source.data_set, source.underlying)
        if coverage.type == "coin":
            tape = resolved(COIN_TAPE)(Path(data.catalog), manifest, base, coverage, source.start, source.end)
        else:
            from scalpdesk.datasets.verify import refuse_unbooked_action

            refuse_unbooked_action(
                Path(data.catalog), source.data_set, base, coverage.keys, source.start, source.end
            )
            age = data.max_side_age_seconds
            tape = load_tape(
                Path(data.catalog),
                source.data_set,
                underlying=source.underlying,
                start=source.start,
                end=source.end,
                max_side_age_seconds=MAX_SIDE_AGE_SECONDS if age is None else age,
                index_source=data.index_source,
                hours=data.hours,
                # without a strategy (a notebook loads data first) whatever any of them reads
                option_bars=strategy is None or find_strategy(strategy).reads_option_volume,
            )
    if len(symbols) == 1:
        tape = with_spread(tape, data.assumed_spread_bps)
    return _from(source, data, strategy, tape)


def _from(source: TapeOrigin, data: DataSection, strategy: str | None, tape: MarketTape) -> MarketTape:
    """Return a tape that knows where it was loaded from."""
    there = msgspec.structs.replace(data, catalog=str(Path(data.catalog).absolute()))
    again = partial(_load, source, there, strategy)
    return replace(tape, loaded=(source, tape.quotes, tape.sessions), load_again=again)


def _load_alone(source: TapeOrigin, data: DataSection, strategy: str | None) -> MarketTape:
    """Return the market of what hedges, without its options."""
    if source.data_set == EMBEDDED or source.data_set in COIN_MARKETS:
        return _load(source, data, strategy)
    from scalpdesk.datasets.catalog import load_tape

    root, month = source.underlying.partition("_")[::2]
    tape = load_tape(
        Path(data.catalog),
        source.data_set,
        underlying=root,
        start=source.start,
        end=source.end,
        is_hedge=True,
        hours=data.hours,
    )
    is_month = month and source.underlying in tape.instruments
    tape = with_spread(tape, data.assumed_spread_bps)
    return replace(tape, underlying=source.underlying) if is_month else tape


def require_options(tapes: Sequence[MarketTape]) -> None:
    """Refuse a market of several underlyings of which some have no options: their part would never trade.

    Raises DataError, which names the underlyings.
    """
    bare = [tape for tape in tapes if not any(each.is_option for each in tape.instruments)]
    if bare:
        names = ",".join(tape.underlying for tape in bare)
        raise DataError(
            "the data set has no options of an underlying that are quoted in these sessions",
            where=f"{bare[0].name}: {names}",
            value=names,
            fix="leave it out of --symbols, or import its options",
        )


def build_engine(
    config: DeskConfig,
    strategy_name: str,
    strategy_config: Any,
    instruments: Instruments,
    data: dict[str, Any],
    smiles: SharedSmiles | None = None,
) -> TradingEngine:
    """Put an engine together; ``data`` is the ``data`` of the run's journal header.

    Runs over one market with equal terms may share ``smiles``.
    """
    from scalpdesk.volatility.variance_time import clock_of

    _check_currency(config, instruments, str(data["underlying"]))
    pace = float(data["quote_seconds"])
    market = MarketState(
        instruments,
        # a limit tighter than the data's own pace would call every quote stale
        stale_seconds_underlying=max(config.marketdata.stale_seconds_underlying, 2.5 * pace),
        stale_seconds_option=max(config.marketdata.stale_seconds_option, 5.0 * pace),
        max_exposure_seconds=config.gex.max_age_seconds,
    )
    market.expects_dividends = data.get("kind") != "reconstructed"  # its quotes know the next dividend alone
    delta_engine = DeltaEngine(
        instruments,
        market,
        ContractPricer(),
        dividend_yield=float(data["dividend_yield"]),
        dividend_yields={**data.get("others", {}), **config.rates.dividend_yields},
        by_parity=config.rates.forward == "parity",
        floor_seconds=config.marketdata.floor_seconds,
        flat_rate=config.rates.flat,
        clock=clock_of(data),
        vol_half_life_seconds=config.marketdata.vol_half_life_seconds,
        smiles=smiles,
    )
    terms = find_strategy(strategy_name).hedge_of(strategy_config)
    if terms is not None and not data.get("hedge"):
        raise ConfigError(
            "this market was loaded without what hedges",
            where="hedge.instrument",
            value=terms.symbol,
            fix="load it with these settings, as a backtest does",
        )
    if data.get("hedge"):
        own = Proxy(
            instruments.id_of(str(data["hedge"])),
            instruments.id_of(str(data["underlying"])),
            1.0 if terms is None else terms.beta,
        )
        delta_engine.proxies[own.instrument_id] = own
    held = [
        (instruments[instruments.id_of(symbol)], Decimal(units))
        for symbol, units in config.simulation.positions.items()
        if symbol in instruments
    ]
    desk = Desk(
        instruments,
        market,
        delta_engine,
        RiskGate(config.risk),
        OrderManager(str(data["order_prefix"])),
        instruments.id_of(str(data["underlying"])),
        config.simulation.starting_cash,
        options_level=options_level(config, held),
    )
    desk.view.venue = str(data.get("venue", "simulated"))
    recorded = data.get("cutoff")  # headers of earlier versions name the venue alone
    desk.view.cutoff = VenueCutoff(*recorded) if recorded else known_cutoff(desk.view.venue)
    desk.view.fees = charged_fees(desk.view.venue, config.simulation.fees)
    desk.takes_combos = bool(data.get("takes_combos", False))
    if "others" in data:
        desk.divide_by_underlying((str(data["underlying"]), *data["others"]))
    strategy = find_strategy(strategy_name).build(strategy_config)
    return TradingEngine(desk, strategy, mark_seconds=config.marketdata.mark_seconds)


def _check_currency(config: DeskConfig, instruments: Instruments, underlying: str) -> None:
    """Refuse a desk that counts in another currency than its market settles in."""
    settles_in, counts_in = instruments[instruments.id_of(underlying)].currency, config.desk.currency
    if settles_in == counts_in:
        return
    raise ConfigError(
        f"{underlying} is settled in {settles_in}: cash, limits and results are counted in it",
        where="desk.currency",
        value=counts_in,
        fix=f"set desk.currency to {settles_in} and simulation.starting_cash to an amount of it",
    )


def describe(tape: MarketTape) -> dict[str, Any]:
    """Return what a run's header and summary say of its data, in JSON types."""
    first, last = tape.sessions[0].day.isoformat(), tape.sessions[-1].day.isoformat()
    return {
        "name": tape.name,
        "kind": tape.kind,
        **({} if tape.quality is None else {"quality": tape.quality}),
        "session": first if first == last else f"{first}..{last}",
        "underlying": tape.underlying,
        **_prices(tape),
        "notes": list(tape.notes),
        "quote_seconds": tape.quote_seconds,
        "dividend_yield": tape.dividend_yield,
        "variance_clock": tape.variance_clock,
        "tape": None if tape.origin is None else _origin_document(tape.origin),
        **({"hedge": tape.hedge} if tape.hedge else {}),
        **({"others": dict(tape.others)} if tape.others else {}),
    }


def _origin_document(origin: TapeOrigin) -> dict[str, Any]:
    """Return where a tape comes from, in JSON types; the hedge only where another instrument hedges."""
    found: dict[str, Any] = msgspec.to_builtins(origin)
    return {name: value for name, value in found.items() if value or not name.startswith("hedge")}


def _prices(tape: MarketTape) -> dict[str, str | None]:
    """Open, high, low, close of the underlying: from its trade bars, else from its quotes' mids.

    Over a split they are in the scale of the last session.
    """
    number, names = tape.instruments.id_of(tape.underlying), ("open", "high", "low", "close")
    has_bars = tape.bars is not None and tape.bars.edges_of(number) is not None
    bars, decimals = (tape.bars, 2) if has_bars else (None, 3)
    changes = [
        [each for each in price_adjustments(tape, session) if each.instrument_id == number]
        for session in tape.sessions
    ]
    if not any(changes):
        figures = _edges(bars, tape.quotes, number)
    else:
        figures = None
        for session, changed in zip(tape.sessions, changes, strict=True):
            span_ns = session.open_ns, session.close_ns
            own_bars = None if bars is None else bars.between(*span_ns)
            own = _edges(own_bars, tape.quotes.between(*span_ns), number)
            if figures is None:
                figures = own
                continue
            for each in changed:
                figures = tuple(map(each.price, figures))
            if own is not None:
                figures = (figures[0], max(figures[1], own[1]), min(figures[2], own[2]), own[3])
    if figures is None:
        return dict.fromkeys(names)
    return {name: f"{value:.{decimals}f}" for name, value in zip(names, figures, strict=True)}


def _edges(
    bars: BarColumns | LazyBars | None, quotes: QuoteColumns | LazyQuotes, number: InstrumentId
) -> tuple[float, ...] | None:
    """Return first, highest, lowest and last price of an instrument; None without any."""
    if bars is not None:
        return bars.edges_of(number)
    _, mids = quotes.whole().mids(number)
    return tuple(map(float, (mids[0], mids.max(), mids.min(), mids[-1]))) if len(mids) else None


def reads_gamma(tape: MarketTape, settings: RunSettings) -> bool:
    """Return whether a run needs the dealer gamma of the tape's chain.

    It does only where an option expires within the strategy's days: without any it trades nothing, and a
    chain with cash dividends takes seconds each time.
    """
    assert settings.strategy is not None
    spec = find_strategy(settings.strategy)
    is_read = spec.wants_dealer_gamma(settings.strategy_config)
    if is_read and spec.expiry_days is not None and not spec.members:
        day, (_, far) = tape.sessions[0].day, spec.expiry_days(settings.strategy_config)
        options = (each for each in tape.instruments if each.is_option)
        is_read = any(0 <= (option.expiry - day).days <= far for option in options)
    return is_read


def gamma_events(tape: MarketTape, settings: RunSettings) -> tuple[GammaExposureEvent, ...]:
    """Return the events on dealer gamma of a tape's run, each stamped with when it may be known."""
    from scalpdesk.datasets.dealer_gamma import tape_gamma_events

    config = settings.config
    return tape_gamma_events(
        played_market(tape, config),
        config.gex,
        config.marketdata.gex_value,
        is_read=reads_gamma(tape, settings),
        history_folder=Path(config.data.catalog),
        say=log_message,
    )


def forecasts(
    tape: MarketTape,
    settings: RunSettings,
    *,
    seed: int = 1,
) -> tuple[Event, ...]:
    """Return a volatility forecast for each session, from daily bars before it and nothing later."""
    from scalpdesk.volatility.variance_time import clock_named

    number = tape.instruments.id_of(tape.underlying)
    if tape.name in COIN_MARKETS and settings.config.data.daily_history is None:
        return _coin_forecasts(tape, number, seed)
    events: list[Event] = []
    a_year = clock_named(tape.variance_clock).days_per_year
    for symbol, number in zip(tape.underlyings, tape.underlying_ids, strict=True):
        history = None
        if tape.name != EMBEDDED or settings.config.data.daily_history is not None:
            history = daily_history(settings, tape.name, symbol)
            if not history.days:
                continue
        elif len(tape.sessions) > 1:  # the file is read once for all of them
            from scalpdesk.datasets.daily_history import packaged_history
            from scalpdesk.datasets.embedded.days import index_share

            history = packaged_history(index_share(symbol).series)
        for session in tape.sessions:
            stale = None
            if history is None:
                bars = bars_before(tape, settings, symbol, session.day)
            else:
                known = history.before(session.day, FORECAST_HISTORY_DAYS)
                bars, stale = known.bars, known.why_stale(session.day)
            if stale is None:
                events.append(forecast_event(number, bars, session.open_ns, periods_per_year=a_year))
            else:
                events.append(_no_forecast(number, session.open_ns, stale))
    return tuple(events)


def _no_forecast(number: InstrumentId, at_ns: int, reason: str) -> ForecastEvent:
    """Return the event that says why there is no forecast."""
    nothing = math.nan
    return ForecastEvent(number, at_ns, at_ns, "none", _FORECAST_DAYS, nothing, nothing, nothing, 0.0, reason)


def _coin_forecasts(tape: MarketTape, number: InstrumentId, seed: int) -> tuple[Event, ...]:
    """Return a forecast for each day of the reconstructed coin market, a fraction of a year of 365 days."""
    from scalpdesk.datasets.embedded.coin import MARKETS, daily_bars_before

    return tuple(
        forecast_event(
            number,
            daily_bars_before(session.day, _COIN_HISTORY_DAYS, seed=seed, market=MARKETS[tape.underlying]),
            session.open_ns,
            periods_per_year=365,
        )
        for session in tape.sessions
    )


def bars_before(tape: MarketTape, settings: RunSettings, symbol: str, day: date) -> Mapping[str, Any]:
    """Return the daily bars before a day that the forecast of a symbol is fitted to, oldest first.

    A coin has no such bars. Raises DataError when ``data.daily_history`` names what is not there.
    """
    if tape.name == EMBEDDED and settings.config.data.daily_history is None:
        from scalpdesk.datasets.embedded.market import daily_bars_before

        return daily_bars_before(day, FORECAST_HISTORY_DAYS, symbol)
    known = daily_history(settings, tape.name, symbol).before(day, FORECAST_HISTORY_DAYS)
    if stale := known.why_stale(day):
        raise DataError(stale, where=known.source, fix="add the days since then to the history")
    return known.bars


def daily_history(settings: RunSettings, data: str, symbol: str) -> "DailyHistory":
    """Return the daily bars of a symbol that forecasts are fitted to; empty without a history.

    Raises DataError when ``data.daily_history`` names what is not there.
    """
    from scalpdesk.datasets.daily_history import find_history

    where = settings.config.data
    return find_history(Path(where.catalog), data, symbol, where.daily_history)


def forecast_event(
    number: InstrumentId,
    bars: Mapping[str, Any],
    at_ns: int,
    *,
    periods_per_year: float = 252,
) -> ForecastEvent:
    """Fit a forecast to daily bars and return it as the event that the desk receives at ``at_ns``."""
    from scalpdesk.volatility.forecast import DESK_DEFAULT, forecast_vol

    made = forecast_vol(
        bars, model=DESK_DEFAULT, horizon_days=_FORECAST_DAYS, periods_per_year=periods_per_year
    )
    return ForecastEvent(
        number,
        at_ns,
        at_ns,
        made.model,
        made.horizon_days,
        made.vol,
        made.low,
        made.high,
        made.stderr if math.isfinite(made.stderr) else 0.0,
        made.reason or "",
    )


def earlier_sessions(tape: MarketTape, settings: RunSettings, seed: int | None) -> tuple[Event, ...]:
    """Return the minutes of the sessions before a tape that the strategy reads."""
    assert settings.strategy is not None
    wanted = find_strategy(settings.strategy).history_sessions(settings.strategy_config)
    if not wanted:
        return ()
    from scalpdesk.datasets.embedded.market import minutes_before_tape

    return minutes_before_tape(tape, wanted, seed=1 if seed is None else seed)


def implied_vols(tape: MarketTape, settings: RunSettings) -> tuple[Event, ...]:
    """Return the 30-day implied volatility before each session of a tape, where the strategy reads it."""
    assert settings.strategy is not None
    if not find_strategy(settings.strategy).reads_iv_rank:
        return ()
    from scalpdesk.datasets.implied_vols import implied_vol_event

    folder = Path(settings.config.data.catalog)
    found = (
        implied_vol_event(folder, number, symbol, session.day, session.open_ns, market=tape.name)
        for symbol, number in zip(tape.underlyings, tape.underlying_ids, strict=True)
        for session in tape.sessions
    )
    return tuple(event for event in found if event is not None)


def log_message(level: str, text: str) -> None:
    """Write a message for the operator to the log: what a run without an operator does with it."""
    logging.getLogger(__name__).log(_LEVELS[level], text)


def implied_vol_recorders(
    settings: LoadedSettings,
    desk: Desk,
    symbols: Sequence[str],
    source: str,
    *,
    is_live: bool,
    say: Notify = log_message,
) -> tuple[Callable[[Event, Any], None], ...]:
    """Return the watcher that keeps a run's implied volatilities at each close, where one is wanted."""
    from scalpdesk.datasets.implied_vols import ImpliedVolRecorder

    assert settings.strategy is not None
    wanted = {"live": is_live, "always": True, "never": False}[settings.config.data.keep_implied_vols]
    if not (wanted and find_strategy(settings.strategy).reads_iv_rank):
        return ()
    folder = Path(settings.config.data.catalog)
    return (ImpliedVolRecorder(desk, symbols, folder, source, say).see,)


def engine_from_header(header: JournalHeader) -> TradingEngine:
    """Rebuild the engine of a journaled run.

    Raises ConfigError when the journal's configuration is not one of this version.
    """
    settings = settings_from_header(header)
    assert settings.strategy is not None
    book = Instruments(header.instruments)
    return build_engine(settings.config, settings.strategy, settings.strategy_config, book, header.data)


def settings_from_header(header: JournalHeader) -> RunSettings:
    """Return the settings of a journaled run.

    Raises ConfigError when the journal's configuration is not one of this version.
    """
    config = _config_of(header)
    sections = as_of_today(header.config).get("strategies", {})
    try:
        configs = {
            name: msgspec.convert(sections.get(name, {}), find_strategy(name).config, strict=False)
            for name in (header.strategy, *member_names(header.strategy))
        }
    except msgspec.ValidationError as error:
        raise _does_not_fit(header, error) from error
    strategy_config = bound_config(header.strategy, configs, config.budgets.fractions, config.budgets.adopts)
    return RunSettings(config, header.strategy, strategy_config)


def _config_of(header: JournalHeader) -> DeskConfig:
    plain = as_of_today({key: value for key, value in header.config.items() if key != "credentials"})
    try:
        config = msgspec.convert(plain | {"strategies": {}}, DeskConfig, strict=False)
    except msgspec.ValidationError as error:
        raise _does_not_fit(header, error) from error
    use_classes(config.classes)
    return config


def _does_not_fit(header: JournalHeader, error: msgspec.ValidationError) -> ConfigError:
    return ConfigError(
        f"the journal's configuration does not fit this version: {error}",
        where=f"run {header.run_id}, build {header.build}",
        value=f"this is build {BUILD}",
        fix=f"replay it with build {header.build}",
    )


def fill_models(config: DeskConfig) -> tuple[str, str]:
    """Return the names of the fill models for options and for hedges."""
    simulation = config.simulation
    return simulation.fill_model, simulation.fill_model_hedge or simulation.fill_model


def starting_positions(tape: MarketTape, config: DeskConfig) -> dict[InstrumentId, tuple[Decimal, Decimal]]:
    """Return what is held at the start of a tape: quantity, and the price at which it is taken over.

    The price is the first mid of the first session, so that the run's P&L begins there; 0 without a quote.
    """
    positions, session = config.simulation.positions, tape.sessions[0]
    if not positions:
        return {}
    opening = tape.quotes.between(session.open_ns, session.close_ns)
    held = {}
    for symbol, quantity in positions.items():
        number = tape.instruments.id_of(symbol)
        _, mids = opening.mids(number)
        held[number] = Decimal(quantity), Decimal(f"{float(mids[0]):.4f}") if len(mids) else Decimal(0)
    return held


def _require_account(settings: RunSettings, *, is_backtest: bool) -> None:
    """Refuse a structure that the account may not sell; names every setting that lets it."""
    assert settings.strategy is not None
    spec, config = find_strategy(settings.strategy), settings.config
    most, limit = spec.sells_contracts(settings.strategy_config), config.risk.max_short_contracts
    needs = spec.options_level(settings.strategy_config)
    is_known = is_backtest and (
        config.simulation.options_level is not None or not config.simulation.positions
    )
    has = options_level(config, ()) if is_known else needs
    sets_level = f"simulation.options_level={needs}" if needs > has else ""
    if most > limit:
        both = f" and {sets_level}" if sets_level else ""
        raise ConfigError(
            f"{settings.strategy} would sell {most} contracts of an option, and the limit is {limit}",
            where="risk.max_short_contracts",
            value=limit,
            fix=f"set risk.max_short_contracts={most}{both}, or trade a structure that sells fewer",
        )
    if sets_level:
        raise ConfigError(
            f"{settings.strategy} would open what an account of options level {needs} alone may,"
            f" and this one has {has}",
            where="simulation.options_level",
            value=has,
            fix=f"set {sets_level}, or trade a structure whose sold options bought ones cover",
        )


def _require_expiry(settings: RunSettings, instruments: Instruments, underlying: str) -> None:
    """Refuse an expiry on a day without trading, or that no option of the run has; name the nearest."""
    assert settings.strategy is not None
    day = find_strategy(settings.strategy).chosen_expiry(settings.strategy_config)
    listed = sorted({contract.expiry for _, contract in instruments.options(underlying)})
    if day is None or day in listed:
        return
    is_coin = instruments[instruments.id_of(underlying)].is_coin  # its options expire on any day
    why = None if is_coin else why_closed(day)
    if why is None and not listed:
        return
    near = sorted(listed, key=lambda each: abs((each - day).days))[:2] or [previous_session(day).day]
    what = "no option expires on this day" if why else f"no option of {underlying} with this expiry is listed"
    raise ConfigError(
        f"{what}: it is {why}" if why else what,
        where="selection.expiry",
        value=day.isoformat(),
        nearest=" or ".join(each.isoformat() for each in near),
        fix=f"set selection.expiry={near[0]}",
    )


def options_level(config: DeskConfig, held: Iterable[tuple[Instrument, Decimal]]) -> int:
    """Return what the simulated account may trade in options, as the desk's gate and the broker read it.

    An account that holds an uncovered call at the start was permitted to sell it.
    """
    if config.simulation.options_level is not None:
        return config.simulation.options_level
    return UNCOVERED if uncovered_calls(Holding(*each, ZERO) for each in held) else SPREADS


def connect_broker(
    config: DeskConfig,
    instruments: Instruments,
    hours: Hours,
    cash: Decimal,
    positions: dict[InstrumentId, tuple[Decimal, Decimal]],
    *,
    fees: FeeModel | None = None,
    faults: FaultPlan | None = None,
    delays: Callable[[VenueCommand], int] | None = None,
) -> BrokerConnection:
    """Return a simulated broker as it is configured, and the desk's connection to its account there.

    ``config``: Its ``simulation`` section.
    ``instruments``: What is traded; may grow.
    ``hours``: When the market is open.
    ``cash``, ``positions``: Of the account: in its currency; signed units and average price by instrument.
    ``fees``: Fee schedule in place of the configured one.
    ``faults``: What goes wrong at the broker.
    ``delays``: Returns the travel time of a command; answers then arrive at once.
    """
    simulation = config.simulation
    broker = Broker(
        instruments,
        hours,
        *map(fill_model, fill_models(config)),
        fees=fees_named(simulation.fees) if fees is None else fees,
        faults=faults,
        rules=VenueRules(index_orders=config.risk.index_orders),
        assignment=AssignmentTerms(simulation.early_assignment, simulation.after_close_move, simulation.seed),
        margin=margin_model(instruments),
    )
    held = [(instruments[number], quantity) for number, (quantity, _) in positions.items()]
    terms = AccountTerms(
        cash=cash,
        positions=positions,
        options_level=options_level(config, held),
        day_rule=DayRule(simulation.day_trading_rule) if config.desk.currency == "USD" else None,
        currency=config.desk.currency,
        exercises_nothing=config.desk.at_expiry is ExpiryRule.LET_GO,
    )
    account = broker.open_account(terms)
    latency_ns = int(simulation.latency_ms * NANOS_PER_MS)
    back_ns = latency_ns if delays is None else 0
    return BrokerConnection(broker, account, out_ns=latency_ns, back_ns=back_ns, delays=delays)
