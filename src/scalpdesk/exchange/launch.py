"""Assembly of a simulated exchange: market, accounts with their keys, faults, pace, server.

``rebased`` moves a tape of another day to the wall clock, and its expiries to the sessions ahead.
"""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.sockets import EXCHANGE_PROTOCOLS
from scalpdesk.core.units import DAY_SECONDS, MINUTE_NS, InstrumentId
from scalpdesk.datasets.embedded import COIN_MARKETS, EMBEDDED
from scalpdesk.exchange.keyring import Credential
from scalpdesk.exchange.market import MarketOptions, Pace, SimulatedMarket, read_speed
from scalpdesk.exchange.options import ExchangeOptions
from scalpdesk.exchange.protocol import ProtocolSpec, ServerOptions, find_protocol
from scalpdesk.exchange.server import ExchangeServer
from scalpdesk.exchange.source import Bar, MarketSource, TapeSource
from scalpdesk.instruments.contract import (
    Instrument,
    Instruments,
    occ_symbol,
)
from scalpdesk.instruments.sessions import Session, new_york_ns, sessions_between, to_new_york, to_ns
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk.simulation.faults import (
    IN_COIN,
    PLACES,
    Fault,
    FaultPlan,
    check_in_coin,
    load_faults,
    seeded_faults,
)

_DEFAULT_PROTOCOL, _COIN_PROTOCOL = "alpaca", "deribit"
"""Protocols of a market that settles in dollars, and of one that settles in coin."""
USUAL_CASH = {"BTC": 2.0, "ETH": 60.0, "USD": 100_000.0}
"""Cash of an account by its currency, unless it is set."""
_LOOK_AHEAD_DAYS = 800
_MINUTES_SESSIONS = 20
"""Sessions of minute bars before the first day."""


def rebased(tape: MarketTape, start_ns: int) -> MarketTape:
    """Return the tape as if its first session opened at ``start_ns`` (UTC nanoseconds).

    A contract that ends n sessions after the tape's first day ends n sessions after the first session that
    closes no sooner than the moved tape: contracts that expired within the tape then expire after it.
    """
    first = tape.sessions[0]
    shift_ns = start_ns - first.open_ns
    end_ns = tape.sessions[-1].close_ns + shift_ns
    today = to_new_york(start_ns).date()
    ahead = [
        session.day
        for session in sessions_between(today, today + timedelta(days=_LOOK_AHEAD_DAYS))
        if session.close_ns >= end_ns
    ]
    behind = [
        session.day for session in sessions_between(first.day, first.day + timedelta(days=_LOOK_AHEAD_DAYS))
    ]
    place = {day: index for index, day in enumerate(behind)}

    def moved(instrument: Instrument) -> Instrument:
        if not instrument.is_option:
            return instrument
        index = place.get(instrument.expiry)
        if index is None:  # no session (a Saturday of old): as far ahead as the session before it
            index = sum(day <= instrument.expiry for day in behind) - 1
        expiry = ahead[min(max(index, 0), len(ahead) - 1)]
        return replace(
            instrument,
            expiry=expiry,
            symbol=occ_symbol(instrument.root, expiry, instrument.right, instrument.strike),
        )

    moved_instruments = Instruments(moved(instrument) for instrument in tape.instruments)
    names = {old.symbol: new.symbol for old, new in zip(tape.instruments, moved_instruments, strict=True)}
    quotes, bars = tape.quotes.whole(), tape.bars.whole() if tape.bars is not None else None
    return replace(
        tape,
        sessions=tuple(
            Session(
                to_new_york(session.open_ns + shift_ns).date(),
                session.open_ns + shift_ns,
                session.close_ns + shift_ns,
            )
            for session in tape.sessions
        ),
        instruments=moved_instruments,
        quotes=replace(quotes, ts_ns=quotes.ts_ns + shift_ns),
        bars=None if bars is None else replace(bars, ts_ns=bars.ts_ns + shift_ns),
        open_interest={
            names[symbol]: count for symbol, count in tape.open_interest.items() if symbol in names
        },
        settlement_prices={},
        notes=(*tape.notes, f"played on the wall clock; recorded or drawn for {first.day}"),
    )


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """Settings of a simulated exchange."""

    source: MarketSource
    """Source of the market."""
    options: MarketOptions = field(default_factory=MarketOptions)
    """Behaviour of the exchange."""
    protocol: str = _DEFAULT_PROTOCOL
    """Protocol that the server speaks; its venue's terms apply to the market."""
    faults: tuple[Fault, ...] = ()
    """Faults to inject."""
    speed: float = 1.0
    """Market seconds a second; 0 pauses, infinity runs at full speed."""
    is_wall_time: bool = False
    """Whether market time is wall time, at the wall's speed; else the market begins with the server."""
    accounts: int = 1
    cash: float = 100_000.0
    options_level: int = 3
    currency: str = "USD"
    """``accounts``, ``cash``, ``options_level``, ``currency``: Number of accounts, and the cash, options
    level and currency of each.
    """
    host: str = "127.0.0.1"
    port: int = 0
    """``host``, ``port``: Loopback address; port 0 takes a free port."""
    socket_port: int = 0
    """Port of a protocol that listens on a socket of its own; 0 takes a free port."""
    trading_limit: int = 200
    data_limit: int = 10_000
    """``trading_limit``, ``data_limit``: Requests a minute and account; 0 for no limit."""
    lockstep_ms: float = 0.0
    """At full speed: wait for a client's orders after it has read all its messages, milliseconds."""


def protocol_of(options: ExchangeOptions) -> ProtocolSpec:
    """Return the protocol to speak: the named one, else the usual one of the market.

    Raises ConfigError when two are named, or the protocol does not serve such a market.
    """
    is_tws = options.tws_port is not None
    if is_tws and options.protocol not in {None, "tws"}:
        raise ConfigError(
            "an exchange speaks one protocol",
            where="--protocol, --tws-port",
            value=options.protocol,
            fix="leave --tws-port out; --socket-port is the port of any protocol",
        )
    usual = _COIN_PROTOCOL if options.in_coin else _DEFAULT_PROTOCOL
    spoken = find_protocol("tws" if is_tws else options.protocol or usual)
    if options.in_coin is not spoken.settles_in_coin:
        raise ConfigError(
            f"the protocol {spoken.name} serves {'shares' if options.in_coin else 'coins'} alone",
            where="--tws-port" if is_tws else "--protocol",
            value=options.tws_port if is_tws else spoken.name,
            fix="leave it out, or name another --data",
        )
    return spoken


def launch_plan(
    options: ExchangeOptions, source: MarketSource, *, protocol: str, currency: str, salt: str
) -> LaunchPlan:
    """Return the plan of an exchange over a market.

    ``protocol``: Name of the protocol, see :func:`protocol_of`.
    ``salt``: See :class:`MarketOptions`.

    Raises ConfigError for faults that the market cannot have, or a speed that it does not have.
    """
    return LaunchPlan(
        source=source,
        options=MarketOptions(
            seed=options.seed,
            latency_ms=options.latency_ms,
            fill_model=options.fill_model,
            share_fill_model=options.fill_model,
            fees=options.fees,
            cutoff=options.cutoff,
            liquidation=options.liquidation,
            early_assignment=options.early_assignment,
            after_close_move=options.after_close_move,
            salt=salt,
        ),
        protocol=protocol,
        faults=tuple(_faults_of(options)),
        speed=_speed_of(options),
        is_wall_time=options.is_wall_time,
        accounts=options.accounts,
        cash=USUAL_CASH.get(currency, USUAL_CASH["USD"]) if options.cash is None else options.cash,
        currency=currency,
        options_level=options.options_level,
        port=options.port,
        socket_port=options.tws_port or options.socket_port,
        trading_limit=options.rate_limit,
        lockstep_ms=options.lockstep_ms,
    )


def _faults_of(options: ExchangeOptions) -> list[Fault]:
    """Return the faults of the file and those drawn from the seed, as far as the market can have them."""
    rules = [] if options.faults_file is None else load_faults(Path(options.faults_file))
    if options.in_coin:
        for rule in rules:
            check_in_coin(rule)
    drawn = [] if options.fault_seed is None else seeded_faults(options.fault_seed)
    return rules + [rule for rule in drawn if not options.in_coin or PLACES[rule.name] in IN_COIN]


def _speed_of(options: ExchangeOptions) -> float:
    speed = read_speed(options.speed, "--speed")
    if options.generated is not None and options.clock != "market" and speed != 1.0:
        raise ConfigError(
            "a market on the wall clock goes at the wall clock's speed",
            where="--speed",
            value=options.speed,
            fix="leave --speed out, or add --clock market",
        )
    return speed


def tape_source(tape: MarketTape, *, wall_start_ns: int | None = None, seed: int = 1) -> TapeSource:
    """Return a tape as a source; ``wall_start_ns`` moves its opening to that instant (UTC nanoseconds).

    ``seed`` is that of a reconstructed coin market, whose earlier days are drawn too.
    """
    if tape.name in COIN_MARKETS:
        return TapeSource(tape, partial(_daily_bars_of_coin, tape.sessions[0].day, seed))
    if tape.name != EMBEDDED:
        return TapeSource(tape if wall_start_ns is None else rebased(tape, wall_start_ns))
    day = tape.sessions[0].day
    daily = partial(_daily_bars_of_embedded, day)
    if wall_start_ns is not None:  # minute bars before it would lie on other days
        return TapeSource(rebased(tape, wall_start_ns), daily)
    return TapeSource(tape, daily, partial(_minute_bars_of_embedded, day))


def _credential_of(name: str, seed: int) -> Credential:
    """Return the keys of an account, derived from its name and the seed."""
    digest = hashlib.sha256(f"scalpdesk-exchange|{seed}|{name}".encode()).hexdigest()
    return Credential(f"PK{digest[:18].upper()}", digest[18:58], name)


def build_world(plan: LaunchPlan) -> tuple[SimulatedMarket, list[Credential]]:
    """Return the market of a plan with its accounts, and their keys."""
    faults = FaultPlan(plan.faults, plan.options.seed)
    world = SimulatedMarket(plan.source, find_protocol(plan.protocol).terms, plan.options, faults)
    credentials = []
    for number in range(1, plan.accounts + 1):
        name = f"account-{number}"
        world.open_account(
            AccountTerms(
                name=name,
                cash=Decimal(str(plan.cash)),
                options_level=plan.options_level,
                currency=plan.currency,
            )
        )
        credentials.append(_credential_of(name, plan.options.seed))
    world.advance_to(plan.source.start_ns)
    return world, credentials


def build_server(plan: LaunchPlan, clock: Clock) -> ExchangeServer:
    """Return the server of a plan, not yet listening."""
    world, credentials = build_world(plan)
    wall_ns = world.now_ns if plan.is_wall_time else clock.now_ns()
    pace = Pace(clock, world.now_ns, wall_ns, plan.speed)
    options = ServerOptions(
        plan.host,
        plan.port,
        plan.socket_port,
        plan.trading_limit,
        plan.data_limit,
        lockstep_ms=plan.lockstep_ms,
    )
    return ExchangeServer(world, credentials, pace, find_protocol(plan.protocol), options, clock)


def ready_line(server: ExchangeServer) -> dict[str, Any]:
    """Return addresses and keys for clients."""
    first, spec = server.keyring.credentials[0], server.spec
    return {
        "urls": {
            **dict.fromkeys(EXCHANGE_PROTOCOLS.names()),
            spec.name: server.protocol.url or f"{server.url}{spec.path}",
            "admin": f"{server.url}/admin",
        },
        "keys": {**dict.fromkeys(EXCHANGE_PROTOCOLS.names()), spec.name: [first.key, first.secret]},
        "accounts": [
            {"name": credential.account, "key": credential.key, "secret": credential.secret}
            for credential in server.keyring.credentials
        ],
    }


def _minute_bars_of_embedded(day: date, symbol: str) -> list[Bar]:
    """Return the minutes of a share of the embedded market in the sessions before ``day`` (seed 1)."""
    from scalpdesk.datasets.embedded.market import minute_bars_before  # noqa: PLC0415 - reads a package

    bars = []
    for minutes in minute_bars_before(day, _MINUTES_SESSIONS, InstrumentId(0), underlying=symbol):
        prices = zip(minutes.open, minutes.high, minutes.low, minutes.close, strict=True)
        for end_ns, ohlc, volume in zip(minutes.ends_ns, prices, minutes.volume, strict=True):
            bars.append(Bar.of_prices(end_ns - MINUTE_NS, 60, ohlc, volume, 0))
    return bars


def _daily_bars_of_embedded(day: date, symbol: str) -> list[Bar]:
    """Return real daily bars of a share of the embedded market (a part of its index) before ``day``."""
    from scalpdesk.datasets.embedded.days import (  # noqa: PLC0415 - reads a package
        index_rows,
        index_share,
        us_date,
    )

    share = index_share(symbol)
    rows = [row for row in index_rows(share.series) if us_date(row[0]) < day]
    bars = []
    for row in rows:
        opened, high, low, close = (round(float(text) / share.points_per_dollar, 2) for text in row[1:5])
        start = new_york_ns(us_date(row[0]), time())
        bars.append(Bar.of_prices(start, DAY_SECONDS, (opened, high, low, close), 0.0, 0))
    return bars


def _daily_bars_of_coin(day: date, seed: int, symbol: str) -> list[Bar]:
    """Return the UTC days of a reconstructed coin market before ``day``."""
    from scalpdesk.datasets.embedded.coin import MARKETS, utc_days_before  # noqa: PLC0415 - draws a market

    return [
        Bar.of_prices(to_ns(datetime.combine(at, time(), tzinfo=UTC)), DAY_SECONDS, prices, 0.0, 0)
        for at, prices in utc_days_before(day, seed=seed, market=MARKETS[symbol])
    ]
