"""``scalpdesk exchange``: a venue on this machine that official clients can talk to."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scalpdesk.cli.command import NumberRange, desk_command, settings_from
from scalpdesk.cli.market import DEFAULT_SESSION, load_tape, quality_option, quality_override, read_span
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import ConfigError
from scalpdesk.datasets.embedded import COIN_MARKETS, EMBEDDED, RECONSTRUCTED, require_own_coin

COIN_SESSION = "2025-03-05"

if TYPE_CHECKING:
    from scalpdesk.exchange.server import ExchangeServer
    from scalpdesk.exchange.source import MarketSource
    from scalpdesk.simulation.assignment import EarlyAssignment


@desk_command(
    "exchange",
    example=(
        "scalpdesk exchange --generated SPY,NVDA,BTC --clock wall",
        "scalpdesk exchange --data embedded --start 2018-02-05 --speed 60",
        "scalpdesk exchange --generated NVDA --faults faults.json --seed 7",
        "scalpdesk exchange --data embedded-btc --start 2025-03-05 --cash 2",
        "scalpdesk exchange --generated SPY --protocol tws --socket-port 4002",
    ),
)
@click.option("--data", "data_set", default=None, metavar="NAME", help="Play a data set [default: embedded].")
@click.option("--generated", default=None, metavar="SYMBOLS", help="Random prices, e.g. SPY,NVDA,BTC.")
@click.option(
    "--start",
    "session",
    default=None,
    metavar="DATE",
    help=f"First session of --data [default: {DEFAULT_SESSION}].",
)
@click.option("--end", default=None, metavar="DATE", help="Last session of --data [default: the first].")
@click.option("--underlying", default=None, help="Underlying of --data [default: SPY, or BTC-PERPETUAL].")
@click.option(
    "--clock",
    type=click.Choice(["market", "wall"]),
    default=None,
    help="Time of the data, or of this machine [default: market for --data, wall for --generated].",
)
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Port; 0 takes a free one.")
@click.option(
    "--protocol",
    default=None,
    metavar="NAME",
    help="alpaca, deribit, tws or an installed package's [default: by the market].",
)
@click.option(
    "--socket-port",
    type=click.IntRange(0, 65_535),
    default=0,
    help="Port of a protocol with a socket of its own; 0 takes a free one.",
)
@click.option(
    "--tws-port",
    type=click.IntRange(0, 65_535),
    default=None,
    help="As --protocol tws --socket-port; 0 takes a free one.",
)
@click.option(
    "--speed", default="1", metavar="X|max", show_default=True, help="X times as fast; 0 stands still."
)
@click.option("--faults", "faults_file", default=None, metavar="FILE", help="Faults to cause: a JSON list.")
@click.option("--fault-seed", type=int, default=None, help="Cause random faults, drawn from this seed.")
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=1, show_default=True, help="Seed of prices and keys."
)
@quality_option
@click.option(
    "--accounts", type=click.IntRange(1, 50), default=1, show_default=True, help="Number of accounts."
)
@click.option(
    "--cash",
    type=NumberRange(0, 1e12),
    default=None,
    help="Cash of each account, in its currency [default: 100000 USD, or 2 BTC].",
)
@click.option(
    "--options-level", type=click.IntRange(0, 3), default=3, show_default=True, help="Options level, 0 to 3."
)
@click.option(
    "--latency-ms", type=NumberRange(0, 60_000), default=0, show_default=True, help="Delay of orders."
)
@click.option(
    "--lockstep-ms",
    type=NumberRange(0, 10_000),
    default=0,
    show_default=True,
    help="With --speed max: wait this long for orders after clients have read their quotes.",
)
@click.option("--fill-model", default="cross", show_default=True, help="cross, mid, queue or adverse.")
@click.option(
    "--rate-limit",
    type=click.IntRange(0),
    default=200,
    show_default=True,
    help="Requests a minute and account; 0 for no limit.",
)
@click.option("--fees/--no-fees", default=True, help="Charge regulatory fees.")
@click.option("--cutoff/--no-cutoff", default=True, help="Refuse late orders in expiring contracts.")
@click.option(
    "--liquidation/--no-liquidation", default=True, help="Close expiring options you cannot pay for."
)
@click.option(
    "--early-assignment",
    type=click.Choice(("off", "worth", "random")),
    default="worth",
    show_default=True,
    help="Assign sold options early: off, what is worth more exercised, or some at random as well.",
)
@click.option(
    "--after-close-move",
    type=NumberRange(0, 0.2),
    default=0,
    show_default=True,
    help="Move from the close of an expiry to its last notice, a fraction (standard deviation).",
)
def exchange(
    *,
    as_json: bool,
    data_set: str | None,
    generated: str | None,
    session: str | None,
    end: str | None,
    underlying: str | None,
    clock: str | None,
    port: int,
    protocol: str | None,
    socket_port: int,
    tws_port: int | None,
    speed: str,
    faults_file: str | None,
    fault_seed: int | None,
    seed: int,
    quality: str | None,
    accounts: int,
    cash: float | None,
    options_level: int,
    latency_ms: float,
    lockstep_ms: float,
    fill_model: str,
    rate_limit: int,
    fees: bool,
    cutoff: bool,
    liquidation: bool,
    early_assignment: "EarlyAssignment",
    after_close_move: float,
) -> None:
    """Serve a simulated exchange that speaks Alpaca's protocol, on this machine only.

    A market that settles in coin (embedded-btc, embedded-eth) is served in Deribit's protocol. --protocol
    names another one: TWS's, or that of an installed package (scalpdesk plugins lists them).

    When ready it writes one line of JSON with its addresses and keys; it ends with Ctrl-C.
    """
    del as_json  # the ready line is JSON in any case
    import asyncio

    from scalpdesk.exchange.launch import USUAL_CASH, LaunchPlan, build_server, ready_line
    from scalpdesk.exchange.market import MarketOptions
    from scalpdesk.exchange.protocol import find_protocol
    from scalpdesk.instruments.deribit import coin_of
    from scalpdesk.simulation.faults import IN_COIN, PLACES, check_in_coin, load_faults, seeded_faults

    in_coin = data_set in COIN_MARKETS
    if in_coin and clock == "wall":
        raise ConfigError(
            "this market keeps its own time", where="--clock", value=clock, fix="leave --clock out"
        )
    spoken = find_protocol(_protocol_of(protocol, tws_port, in_coin=in_coin))
    if in_coin is not spoken.settles_in_coin:
        raise ConfigError(
            f"the protocol {spoken.name} serves {'shares' if in_coin else 'coins'} alone",
            where="--protocol" if tws_port is None else "--tws-port",
            value=spoken.name if tws_port is None else tws_port,
            fix="leave it out, or name another --data",
        )
    if generated is not None:
        _refuse_beside_generated(
            {"--start": session, "--end": end, "--underlying": underlying, "--quality": quality}
        )
    symbol = _underlying_of(data_set, underlying)
    currency = coin_of(symbol) if in_coin else "USD"
    source = _source(data_set, generated, session, end, symbol, clock, seed, quality)
    rules = load_faults(Path(faults_file)) if faults_file is not None else []
    if in_coin:
        for rule in rules:
            check_in_coin(rule)
    if fault_seed is not None:
        drawn = seeded_faults(fault_seed)
        rules += [rule for rule in drawn if not in_coin or PLACES[rule.name] in IN_COIN]
    plan = LaunchPlan(
        source=source,
        options=MarketOptions(
            seed=seed,
            latency_ms=latency_ms,
            fill_model=fill_model,
            share_fill_model=fill_model,
            fees=fees,
            cutoff=cutoff,
            liquidation=liquidation,
            early_assignment=early_assignment,
            after_close_move=after_close_move,
            salt=f"@{SystemClock().now_ns()}",
        ),
        protocol=spoken.name,
        faults=tuple(rules),
        speed=_speed(speed, generated=generated is not None and clock != "market"),
        is_wall_time=clock == "wall" or (generated is not None and clock != "market"),
        accounts=accounts,
        cash=cash if cash is not None else USUAL_CASH.get(currency, USUAL_CASH["USD"]),
        currency=currency,
        options_level=options_level,
        port=port,
        socket_port=tws_port or socket_port,
        trading_limit=rate_limit,
        lockstep_ms=lockstep_ms,
    )

    async def serve(server: "ExchangeServer") -> None:
        await server.start()
        click.echo(json.dumps(ready_line(server)))
        sys.stdout.flush()
        try:
            await server.wait()
        finally:
            await server.stop()

    asyncio.run(serve(build_server(plan, SystemClock())))


def _protocol_of(protocol: str | None, tws_port: int | None, *, in_coin: bool) -> str:
    """Return the protocol to speak: the named one, else the usual one of the market."""
    from scalpdesk.exchange.launch import COIN_PROTOCOL, DEFAULT_PROTOCOL

    if tws_port is None:
        return protocol or (COIN_PROTOCOL if in_coin else DEFAULT_PROTOCOL)
    if protocol not in (None, "tws"):
        raise ConfigError(
            "an exchange speaks one protocol",
            where="--protocol, --tws-port",
            value=protocol,
            fix="leave --tws-port out; --socket-port is the port of any protocol",
        )
    return "tws"


def _refuse_beside_generated(options: dict[str, str | None]) -> None:
    """Refuse what chooses a day or an underlying of --data beside --generated."""
    for option, value in options.items():
        if value is not None:
            raise ConfigError(
                "a market that is made up begins now and names its own shares",
                where=f"{option}, --generated",
                value=value,
                fix=f"leave {option} out, or play a data set: --data embedded",
            )


def _underlying_of(data_set: str | None, underlying: str | None) -> str:
    """Return the symbol to play; a reconstructed coin market has one."""
    name = data_set or ""
    if underlying is None:
        return COIN_MARKETS.get(name, "SPY")
    require_own_coin(name, underlying.upper(), "--underlying", "leave --underlying out")
    return underlying.upper()


def _speed(text: str, *, generated: bool) -> float:
    from scalpdesk.exchange.market import read_speed

    speed = read_speed(text, "--speed")
    if generated and speed != 1.0:
        raise ConfigError(
            "a market on the wall clock goes at the wall clock's speed",
            where="--speed",
            value=text,
            fix="leave --speed out, or add --clock market",
        )
    return speed


def _source(
    data_set: str | None,
    generated: str | None,
    session: str | None,
    end: str | None,
    underlying: str,
    clock: str | None,
    seed: int,
    quality: str | None,
) -> "MarketSource":
    if generated is not None:
        if data_set is not None:
            raise ConfigError("a market is either played or made up", where="--data, --generated")
        from scalpdesk.exchange.generated import COINS, GeneratedSource

        symbols = [name.strip().upper() for name in generated.split(",") if name.strip()]
        if symbols and COINS.issuperset(symbols):
            raise ConfigError(
                "a coin has neither shares nor options in this market",
                where="--generated",
                value=generated,
                fix=f"--data embedded-{symbols[0].lower()} plays one in Deribit's protocol, or add a share",
            )
        return GeneratedSource(symbols, SystemClock().now_ns(), seed)
    from scalpdesk.exchange.launch import tape_source

    data = data_set or EMBEDDED
    usual = COIN_SESSION if data in COIN_MARKETS else DEFAULT_SESSION
    first, last = read_span(session or usual, end)
    tape = load_tape(
        settings_from(overrides=quality_override(quality)),
        data,
        underlying,
        first,
        last=last,
        seed=seed if data in RECONSTRUCTED else None,
    )
    wall_start_ns = SystemClock().now_ns() if clock == "wall" else None
    return tape_source(tape, wall_start_ns=wall_start_ns, seed=seed)
