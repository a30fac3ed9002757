"""The other side of a live run: its gateway, and the market that a new run knows."""

import math
import os
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from scalpdesk.assembly import (
    FORECAST_HISTORY_DAYS,
    daily_history,
    describe,
    forecast_event,
    forecasts,
    gamma_words,
    load_market,
)
from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import Event, OpenInterestEvent, RateEvent
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Equity, InstrumentBook
from scalpdesk.instruments.fees import ALPACA_FEES, NO_FEES
from scalpdesk.instruments.sessions import session_on, to_new_york
from scalpdesk.live.account_lock import state_dir
from scalpdesk.live.arming import token_for
from scalpdesk.live.simulated import SimulatedGateway, SimulatedVenue
from scalpdesk.live_plan import LivePlan
from scalpdesk.settings import LoadedSettings
from scalpdesk.simulation.exchange import SimulatedAccount, SimulatedExchange
from scalpdesk.simulation.fills import fill_model
from scalpdesk.strategies.base import find_strategy
from scalpdesk.venues.base import FollowingClock, Gateway, ListedContract


async def first_market(
    plan: LivePlan, gateway: Gateway, book: InstrumentBook, clock: Clock
) -> tuple[dict[str, Any], tuple[Event, ...]]:
    """Fill the book and return the header's data and what the engine is told first."""
    if isinstance(gateway, SimulatedGateway):
        tape = gateway.venue.tape
        for instrument in tape.instruments:
            book.add(instrument)
        data = describe(tape)
        at_ns = tape.sessions[0].open_ns
        told: list[Event] = [
            RateEvent(at_ns, at_ns, tuple(tape.rate_curve.days), tuple(tape.rate_curve.rates))
        ]
        told += [
            OpenInterestEvent(book.id_of(symbol), at_ns, at_ns, contracts)
            for symbol, contracts in sorted(tape.open_interest.items())
            if symbol in book
        ]
        return data, (*told, *forecasts(tape, plan.settings), *gateway.venue.told_at_open)
    symbol = str(getattr(plan.settings.strategy_config, "underlying", "SPY"))
    number = book.add(Equity(symbol))
    now_ns = clock.now_ns()
    today = to_new_york(now_ns).date()
    events: list[Event] = [
        RateEvent(now_ns, now_ns, (1.0,), (plan.settings.config.rates.default,)),
    ]
    if plan.settings.config.data.daily_history is not None:
        history = daily_history(plan.settings, plan.venue, symbol).before(today, FORECAST_HISTORY_DAYS)
        events.append(forecast_event(number, history.bars, now_ns))
    note = "no options: this strategy trades shares alone"
    if trades_options(plan.settings):
        options, note = await _options(plan, gateway, symbol, number, today)
        for one in options:
            contract_id = book.add(one.contract)
            if one.open_interest_contracts is not None:
                events.append(OpenInterestEvent(contract_id, now_ns, now_ns, one.open_interest_contracts))
    data = {
        "name": plan.venue,
        "kind": "live",
        "session": today.isoformat(),
        "underlying": symbol,
        "notes": [note],
        "quote_seconds": 1.0,
        "dividend_yield": 0.0,
    }
    return data, tuple(events)


def trades_options(settings: LoadedSettings) -> bool:
    """Return whether the strategy needs a chain; one that does not says ``TRADES_OPTIONS = False``."""
    assert settings.strategy is not None
    return bool(getattr(find_strategy(settings.strategy), "TRADES_OPTIONS", True))


async def _options(
    plan: LivePlan, gateway: Gateway, symbol: str, number: InstrumentId, today: date
) -> tuple[list[ListedContract], str]:
    """Return the contracts that the run knows, and a note on how they were chosen."""
    near, far = expiry_window(plan.settings.strategy_config)
    listed = await gateway.discover(symbol, today + timedelta(days=near), today + timedelta(days=far))
    quotes = await gateway.quotes([number])
    spot = quotes[0].mid if quotes else None
    chosen = choose_contracts(listed, spot, plan.contracts)
    if not chosen:
        raise ConfigError(
            "the venue lists no options that this strategy could trade; nothing was sent",
            where=f"{symbol}, {near} to {far} days to expiry",
            fix="look at selection.min_expiration_days and max_expiration_days of the strategy",
        )
    return chosen, f"{len(chosen)} of {len(listed)} listed options, nearest to {spot}"


def expiry_window(strategy_config: Any) -> tuple[int, int]:
    """Return the days to expiry, nearest and farthest, that a strategy's options may have."""
    selection = getattr(strategy_config, "selection", None)
    near = getattr(selection, "min_expiration_days", 0)
    far = getattr(selection, "max_expiration_days", 45)
    return int(near), int(far)


def choose_contracts(
    listed: tuple[ListedContract, ...], spot: float | None, most: int
) -> list[ListedContract]:
    """Return the tradable contracts nearest to the money, at most ``most``, in the venue's order."""
    tradable = [one for one in listed if one.is_tradable]
    if len(tradable) > most and spot is not None and math.isfinite(spot):
        near = sorted(
            tradable, key=lambda one: (abs(float(one.contract.strike) - spot), one.contract.symbol)
        )[:most]
        kept = {one.contract.symbol for one in near}
        tradable = [one for one in tradable if one.contract.symbol in kept]
    return sorted(tradable[:most], key=lambda one: one.contract.symbol)


def build_gateway(plan: LivePlan, book: InstrumentBook, clock: Clock) -> Gateway:
    """Return the gateway of a plan; nothing is connected yet.

    Raises
    ------
    ConfigError
        When keys are missing, or live trading is not armed.
    """
    if plan.venue == "simulated":
        return simulated_gateway(plan, clock)
    if plan.venue != "alpaca":
        raise ConfigError(
            "this venue cannot be traded yet",
            where="--venue",
            value=plan.venue,
            fix="use simulated or alpaca",
        )
    from scalpdesk.venues.alpaca.client import AlpacaGateway  # noqa: PLC0415 - an extra
    from scalpdesk.venues.alpaca.endpoints import Endpoints  # noqa: PLC0415 - an extra
    from scalpdesk.venues.alpaca.options import GatewayOptions  # noqa: PLC0415 - an extra

    keys = plan.settings.venue_keys()
    if keys is None:
        raise ConfigError(
            "the venue needs a key and a secret; nothing was sent",
            where="credentials.trading_api_key, credentials.trading_api_secret",
            fix="put TRADING_API_KEY and TRADING_API_SECRET into .env (scalpdesk init writes .env.example)",
        )
    if plan.url is not None:
        if plan.live:
            raise ConfigError(
                "--live trades at the venue itself, not at another address",
                where="--url",
                value=plan.url,
                fix="leave out --live or --url",
            )
        endpoints = Endpoints.at(plan.url)
    elif plan.live:
        if plan.settings.config.desk.paper:
            raise ConfigError(
                "--live contradicts the configuration, which says paper; nothing was sent",
                where="desk.paper",
                value=True,
                fix="set desk.paper = false (IS_PAPER_TRADING=false) and arm again, or leave out --live",
            )
        folder = plan.state or state_dir(os.environ)
        endpoints = Endpoints.live(token_for(folder, plan.venue, plan.settings.config_hash))
    else:
        endpoints = Endpoints.paper()
    options = GatewayOptions(
        options_level=2,
        absent_after_seconds=plan.runner.absent_after_seconds,
        fees=ALPACA_FEES if plan.live else NO_FEES,
    )
    return AlpacaGateway(endpoints, *keys, book, clock, options)


def simulated_gateway(plan: LivePlan, clock: Clock) -> SimulatedGateway:
    """Return an in-process venue that plays one session."""
    settings = plan.settings
    simulation = settings.config.simulation
    day = plan.session or date(2018, 2, 5)
    session_on(day)
    underlying = str(getattr(settings.strategy_config, "underlying", "SPY"))
    tape = load_market(settings, plan.data, underlying=underlying, start=day, end=day, seed=simulation.seed)
    positions = {
        tape.instruments.id_of(symbol): Decimal(quantity) for symbol, quantity in simulation.positions.items()
    }
    exchange = SimulatedExchange(
        tape.instruments,
        SimulatedAccount(simulation.starting_cash, positions),
        fill_model(simulation.fill_model),
        fill_model(simulation.fill_model_hedge or simulation.fill_model),
        fees=ALPACA_FEES if simulation.fees == "alpaca" else NO_FEES,
        latency_ns=int(simulation.latency_ms * 1_000_000),
    )
    assert isinstance(clock, FollowingClock)
    venue = SimulatedVenue(tape, exchange, words=gamma_words(tape, settings))
    return SimulatedGateway(venue, clock, pace=plan.pace)
