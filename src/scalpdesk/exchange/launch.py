"""Puts an exchange together: market, accounts with their keys, faults, pace, server."""

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from scalpdesk.core.clock import Clock
from scalpdesk.exchange.alpaca.api import Credential
from scalpdesk.exchange.driver import Pace
from scalpdesk.exchange.rebase import rebased
from scalpdesk.exchange.server import ExchangeServer, ServerOptions
from scalpdesk.exchange.source import (
    MarketSource,
    TapeSource,
    daily_bars_of_embedded,
    minute_bars_of_embedded,
)
from scalpdesk.exchange.world import World, WorldOptions
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.simulation.broker.accounts import BrokerAccount
from scalpdesk.simulation.faults import Fault, FaultPlan

EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What an exchange is made of.

    Parameters
    ----------
    source
        Market.
    options
        How the exchange behaves.
    faults
        What goes wrong.
    speed
        Market seconds a second; 0 steps, infinity is as fast as can be.
    accounts, cash, options_level
        How many accounts, each with this cash in currency and this options level.
    host, port
        Loopback address; port 0 takes a free one.
    trading_limit, data_limit
        Requests a minute and account; 0 for no limit.
    lockstep_ms
        As fast as can be: how long to wait for a client's orders after it has read what it was told.
    """

    source: MarketSource
    options: WorldOptions = field(default_factory=WorldOptions)
    faults: tuple[Fault, ...] = ()
    speed: float = 1.0
    accounts: int = 1
    cash: float = 100_000.0
    options_level: int = 3
    host: str = "127.0.0.1"
    port: int = 0
    trading_limit: int = 200
    data_limit: int = 10_000
    lockstep_ms: float = 0.0


def tape_source(tape: MarketTape, *, wall_start_ns: int | None = None) -> TapeSource:
    """Return a tape as a source; with ``wall_start_ns`` it opens then instead of on its own day."""
    if tape.name != EMBEDDED:
        return TapeSource(tape if wall_start_ns is None else rebased(tape, wall_start_ns))
    day = tape.sessions[0].day
    daily = daily_bars_of_embedded(day)
    if wall_start_ns is not None:  # the minutes before would lie on other days than the market says
        return TapeSource(rebased(tape, wall_start_ns), daily)
    return TapeSource(tape, daily, partial(minute_bars_of_embedded, day))


def credential_of(name: str, seed: int) -> Credential:
    """Return the keys of an account: they follow from its name and the seed, and open nothing else."""
    digest = hashlib.sha256(f"scalpdesk-exchange|{seed}|{name}".encode()).hexdigest()
    return Credential(f"PK{digest[:18].upper()}", digest[18:58], name)


def build_world(plan: LaunchPlan) -> tuple[World, list[Credential]]:
    """Return the world of a plan with its accounts, and their keys."""
    world = World(plan.source, plan.options, FaultPlan(plan.faults, plan.options.seed))
    credentials = []
    for number in range(1, plan.accounts + 1):
        name = f"account-{number}"
        world.add_account(BrokerAccount(name, Decimal(str(plan.cash)), options_level=plan.options_level))
        credentials.append(credential_of(name, plan.options.seed))
    world.advance_to(plan.source.start_ns)
    return world, credentials


def build_server(plan: LaunchPlan, clock: Clock) -> ExchangeServer:
    """Return the server of a plan; it does not listen yet."""
    world, credentials = build_world(plan)
    pace = Pace(clock, world.now_ns, clock.now_ns(), plan.speed)
    options = ServerOptions(
        plan.host, plan.port, plan.trading_limit, plan.data_limit, lockstep_ms=plan.lockstep_ms
    )
    return ExchangeServer(world, credentials, pace, options, clock)


def ready_line(server: ExchangeServer) -> dict[str, Any]:
    """Return what a client must know: addresses and keys."""
    first = server.keyring.credentials[0]
    return {
        "urls": {"alpaca": server.url, "deribit": None, "tws": None, "admin": f"{server.url}/admin"},
        "keys": {"alpaca": [first.key, first.secret], "deribit": None},
        "accounts": [
            {"name": one.account, "key": one.key, "secret": one.secret} for one in server.keyring.credentials
        ],
    }
