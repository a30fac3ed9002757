"""Puts an exchange together: market, accounts with their keys, faults, pace, server.

A tape of another day, played now: instants move to the wall clock, expiries to the sessions ahead.
"""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from scalpdesk.core.clock import Clock
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.exchange.alpaca.app import Credential
from scalpdesk.exchange.market import MarketOptions, Pace, SimulatedMarket
from scalpdesk.exchange.server import ExchangeServer, ServerOptions
from scalpdesk.exchange.source import Bar, MarketSource, TapeSource
from scalpdesk.instruments.contract import (
    Instrument,
    Instruments,
    OptionContract,
    occ_symbol,
)
from scalpdesk.instruments.sessions import Session, session_on, sessions_between, to_new_york
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk.simulation.faults import Fault, FaultPlan

LOOK_AHEAD_DAYS = 800


def rebased(tape: MarketTape, start_ns: int) -> MarketTape:
    """Return the tape as if its first session opened at ``start_ns`` (UTC nanoseconds).

    A contract that ends n sessions after the tape's first day ends n sessions after the first session that
    closes no sooner than the moved tape: what was due to expire within the tape no longer does.
    """
    first = tape.sessions[0]
    shift_ns = start_ns - first.open_ns
    end_ns = tape.sessions[-1].close_ns + shift_ns
    today = to_new_york(start_ns).date()
    ahead = [
        one.day
        for one in sessions_between(today, today + timedelta(days=LOOK_AHEAD_DAYS))
        if one.close_ns >= end_ns
    ]
    behind = [one.day for one in sessions_between(first.day, first.day + timedelta(days=LOOK_AHEAD_DAYS))]
    place = {day: index for index, day in enumerate(behind)}

    def moved(one: Instrument) -> Instrument:
        if not isinstance(one, OptionContract):
            return one
        index = place.get(one.expiry)
        if index is None:  # no session (a Saturday of old): as far ahead as the session before it
            index = sum(day <= one.expiry for day in behind) - 1
        expiry = ahead[min(max(index, 0), len(ahead) - 1)]
        return replace(one, expiry=expiry, symbol=occ_symbol(one.root, expiry, one.right, one.strike))

    book = Instruments(moved(one) for one in tape.instruments)
    names = {old.symbol: new.symbol for old, new in zip(tape.instruments, book, strict=True)}
    bars = tape.bars
    return replace(
        tape,
        sessions=tuple(
            Session(
                to_new_york(one.open_ns + shift_ns).date(), one.open_ns + shift_ns, one.close_ns + shift_ns
            )
            for one in tape.sessions
        ),
        instruments=book,
        quotes=replace(tape.quotes, ts_ns=tape.quotes.ts_ns + shift_ns),
        bars=None if bars is None else replace(bars, ts_ns=bars.ts_ns + shift_ns),
        open_interest={
            names[symbol]: count for symbol, count in tape.open_interest.items() if symbol in names
        },
        settlement_prices={},
        notes=(*tape.notes, f"played on the wall clock; recorded or drawn for {first.day}"),
    )


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
    options: MarketOptions = field(default_factory=MarketOptions)
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


def build_world(plan: LaunchPlan) -> tuple[SimulatedMarket, list[Credential]]:
    """Return the world of a plan with its accounts, and their keys."""
    world = SimulatedMarket(plan.source, plan.options, FaultPlan(plan.faults, plan.options.seed))
    credentials = []
    for number in range(1, plan.accounts + 1):
        name = f"account-{number}"
        world.open_account(
            AccountTerms(name=name, cash=Decimal(str(plan.cash)), options_level=plan.options_level)
        )
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


def minute_bars_of_embedded(day: date, count: int = 20) -> list[Bar]:
    """Return the minutes of the embedded market's share in ``count`` sessions before ``day`` (seed 1)."""
    from scalpdesk.datasets.embedded.market import minute_bars_before  # noqa: PLC0415 - reads a package

    bars = []
    for one in minute_bars_before(day, count, InstrumentId(0)):
        rows = zip(one.ends_ns, one.open, one.high, one.low, one.close, one.volume, strict=True)
        for end_ns, opened, high, low, close, volume in rows:
            start_ns = end_ns - 60 * NANOS_PER_SECOND
            typical = (high + low + close) / 3.0
            bars.append(Bar(start_ns, 60, opened, high, low, close, volume, 0, typical))
    return bars


def daily_bars_of_embedded(day: date, count: int = 300) -> list[Bar]:
    """Return real daily bars of the embedded market's share (index over ten) before ``day``."""
    from scalpdesk.datasets.embedded.days import index_rows, us_date  # noqa: PLC0415 - reads a package

    rows = [row for row in index_rows("sp500") if us_date(row[0]) < day][-count:]
    bars = []
    for row in rows:
        opened, high, low, close = (round(float(text) / 10.0, 2) for text in row[1:5])
        start = session_on(us_date(row[0])).open_ns
        bars.append(Bar(start, 86_400, opened, high, low, close, 0.0, 0, (high + low + close) / 3.0))
    return bars
