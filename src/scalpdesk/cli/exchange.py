"""``scalpdesk exchange``: a venue on this machine that official clients can talk to."""

import json
import sys
from typing import TYPE_CHECKING

import click

from scalpdesk.cli.command import desk_command, settings_from
from scalpdesk.cli.flags import options
from scalpdesk.cli.market import load_tape, span_of
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import ConfigError
from scalpdesk.datasets.embedded import (
    COIN_MARKETS,
    RECONSTRUCTED,
    USUAL_COIN_DAY,
    USUAL_DAY,
    require_own_coin,
)
from scalpdesk.exchange.options import ExchangeOptions

if TYPE_CHECKING:
    from scalpdesk.exchange.server import ExchangeServer
    from scalpdesk.exchange.source import MarketSource


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
@options(ExchangeOptions)
def exchange(*, as_json: bool, options: ExchangeOptions) -> None:
    """Serve a simulated exchange that speaks Alpaca's protocol, on this machine only.

    A market that settles in coin (embedded-btc, embedded-eth) is served in Deribit's protocol. --protocol
    names another one: TWS's, or that of an installed package (scalpdesk plugins lists them).

    When ready it writes one line of JSON with its addresses and keys; it ends with Ctrl-C.
    """
    del as_json  # the ready line is JSON in any case
    import asyncio

    from scalpdesk.exchange.launch import build_server, launch_plan, protocol_of
    from scalpdesk.instruments.deribit import coin_of

    if options.in_coin and options.clock == "wall":
        raise ConfigError(
            "this market keeps its own time", where="--clock", value=options.clock, fix="leave --clock out"
        )
    spoken = protocol_of(options)
    symbol = _underlying_of(options)
    plan = launch_plan(
        options,
        _generated(options) if options.generated is not None else _played(options, symbol),
        protocol=spoken.name,
        currency=coin_of(symbol) if options.in_coin else "USD",
        salt=f"@{SystemClock().now_ns()}",
    )
    asyncio.run(_serve(build_server(plan, SystemClock())))


async def _serve(server: "ExchangeServer") -> None:
    from scalpdesk.exchange.launch import ready_line

    await server.start()
    click.echo(json.dumps(ready_line(server)))
    sys.stdout.flush()
    try:
        await server.wait()
    finally:
        await server.stop()


def _underlying_of(wanted: ExchangeOptions) -> str:
    """Return the symbol to play; a reconstructed coin market has one."""
    if wanted.underlying is None or wanted.generated is not None:
        return COIN_MARKETS.get(wanted.plays, "SPY")
    symbol = wanted.underlying.upper()
    require_own_coin(wanted.plays, symbol, "--underlying", "leave --underlying out")
    return symbol


def _generated(wanted: ExchangeOptions) -> "MarketSource":
    """Return a market that is made up; refuse what chooses a day or an underlying of --data beside it."""
    from scalpdesk.exchange.generated import COINS, GeneratedSource

    for name in ("start", "end", "underlying", "quality"):
        if (value := getattr(wanted, name)) is not None:
            raise ConfigError(
                "a market that is made up begins now and names its own shares",
                where=f"--{name}, --generated",
                value=str(value),
                fix=f"leave --{name} out, or play a data set: --data embedded",
            )
    if wanted.data_set is not None:
        raise ConfigError("a market is either played or made up", where="--data, --generated")
    symbols = [name.strip().upper() for name in (wanted.generated or "").split(",") if name.strip()]
    if symbols and COINS.issuperset(symbols):
        raise ConfigError(
            "a coin has neither shares nor options in this market",
            where="--generated",
            value=wanted.generated,
            fix=f"--data embedded-{symbols[0].lower()} plays one in Deribit's protocol, or add a share",
        )
    return GeneratedSource(symbols, SystemClock().now_ns(), wanted.seed)


def _played(wanted: ExchangeOptions, symbol: str) -> "MarketSource":
    """Return the sessions of a data set as a market."""
    from scalpdesk.exchange.launch import tape_source

    first, last = span_of(wanted.start or (USUAL_COIN_DAY if wanted.in_coin else USUAL_DAY), wanted.end)
    seed = wanted.seed if wanted.plays in RECONSTRUCTED else None
    settings = settings_from(overrides=wanted.overrides())
    tape = load_tape(settings, wanted.plays, symbol, first, last=last, seed=seed)
    wall_start_ns = SystemClock().now_ns() if wanted.clock == "wall" else None
    return tape_source(tape, wall_start_ns=wall_start_ns, seed=wanted.seed)
