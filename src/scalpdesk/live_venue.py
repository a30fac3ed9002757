"""The other side of a live run: its gateway."""

import os
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from scalpdesk.assembly import gamma_words, load_market
from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import ConfigError
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.contract import InstrumentBook
from scalpdesk.instruments.fees import ALPACA_FEES, NO_FEES
from scalpdesk.instruments.sessions import session_on
from scalpdesk.live.account_lock import state_dir
from scalpdesk.live.arming import token_for
from scalpdesk.live.simulated import SimulatedGateway, SimulatedVenue
from scalpdesk.live_plan import LivePlan, trades_options
from scalpdesk.simulation.exchange import SimulatedAccount, SimulatedExchange
from scalpdesk.simulation.fills import fill_model
from scalpdesk.venues.base import FollowingClock, Gateway
from scalpdesk.venues.paper import PaperGateway
from scalpdesk.venues.paper_venue import PaperTerms

if TYPE_CHECKING:
    from scalpdesk.venues.alpaca.endpoints import Endpoints


def build_gateway(
    plan: LivePlan, book: InstrumentBook, clock: Clock, engine: TradingEngine | None = None
) -> Gateway:
    """Return the gateway of a plan; nothing is connected yet.

    Parameters
    ----------
    plan
        What is wanted.
    book
        Instruments of the run; it may still grow.
    clock
        Stamps what is received.
    engine
        Of the run that goes on, None of a new one: a paper account begins with what it remembers.

    Raises
    ------
    ConfigError
        When keys are missing, or live trading is not armed.
    """
    if plan.venue == "simulated":
        return simulated_gateway(plan, clock)
    if plan.venue == "alpaca":
        return alpaca_gateway(plan, book, clock)
    if plan.venue == "paper":
        data = alpaca_gateway(plan, book, clock, data_only=True)
        return PaperGateway(data, book, paper_terms(plan, engine), clock)
    raise ConfigError(
        "this venue cannot be traded yet",
        where="--venue",
        value=plan.venue,
        fix="use simulated, paper or alpaca",
    )


def alpaca_gateway(plan: LivePlan, book: InstrumentBook, clock: Clock, *, data_only: bool = False) -> Gateway:
    """Return the gateway to Alpaca, or to a simulated exchange in its place.

    Raises
    ------
    ConfigError
        When keys are missing, or live trading is not armed.
    """
    from scalpdesk.venues.alpaca.client import AlpacaGateway  # noqa: PLC0415 - an extra
    from scalpdesk.venues.alpaca.options import GatewayOptions  # noqa: PLC0415 - an extra

    keys = plan.settings.venue_keys()
    if keys is None:
        raise ConfigError(
            "the venue needs a key and a secret; nothing was sent",
            where="credentials.trading_api_key, credentials.trading_api_secret",
            fix="put TRADING_API_KEY and TRADING_API_SECRET into .env (scalpdesk init writes .env.example)",
        )
    venue = plan.settings.config.venue
    options = GatewayOptions(
        options_level=2 if trades_options(plan.settings) else 0,
        timeout_seconds=venue.timeout_seconds,
        absent_after_seconds=plan.runner.absent_after_seconds,
        requests_per_minute=venue.requests_per_minute,
        data_requests_per_minute=venue.data_requests_per_minute,
        heartbeat_seconds=venue.heartbeat_seconds,
        fees=ALPACA_FEES if plan.live else NO_FEES,
        data_only=data_only,
    )
    return AlpacaGateway(_endpoints(plan), *keys, book, clock, options)


def _endpoints(plan: LivePlan) -> "Endpoints":
    from scalpdesk.venues.alpaca.endpoints import Endpoints  # noqa: PLC0415 - an extra

    venue = plan.settings.config.venue
    feeds: dict[str, Any] = {"stock_feed": venue.stock_feed, "option_feed": venue.option_feed}
    if plan.url is not None:
        if plan.live:
            raise ConfigError(
                "--live trades at the venue itself, not at another address",
                where="--url, venue.url",
                value=plan.url,
                fix="leave out --live or the address",
            )
        return Endpoints.at(plan.url, **feeds)
    if not plan.live:
        return Endpoints.paper(**feeds)
    if plan.settings.config.desk.paper:
        raise ConfigError(
            "--live contradicts the configuration, which says paper; nothing was sent",
            where="desk.paper",
            value=True,
            fix="set desk.paper = false (IS_PAPER_TRADING=false) and arm again, or leave out --live",
        )
    folder = plan.state or state_dir(os.environ)
    return Endpoints.live(token_for(folder, plan.venue, plan.settings.config_hash), **feeds)


def paper_terms(plan: LivePlan, engine: TradingEngine | None) -> PaperTerms:
    """Return the paper account: as configured, or as a journal remembers it."""
    simulation = plan.settings.config.simulation
    cash, held = simulation.starting_cash, {}
    if engine is not None:
        cash = engine.desk.account.cash
        held = {one.instrument_id: (one.quantity, one.average_price) for one in engine.desk.positions.held()}
    return PaperTerms(
        cash,
        held,
        fill_model=simulation.fill_model,
        fees=ALPACA_FEES if simulation.fees == "alpaca" else NO_FEES,
        latency_ns=int(simulation.latency_ms * 1_000_000),
    )


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
