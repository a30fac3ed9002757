"""``scalpdesk chain``: one option chain of a data set, with implied volatilities and Greeks."""

from typing import Any

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.flags import options
from scalpdesk.cli.market import Moment, instant_ns, strikes_option
from scalpdesk.cli.output import around, cell, new_table, print_answer, print_hidden, print_notes, print_table
from scalpdesk.core.flags import read_date
from scalpdesk.core.units import DAYS_PER_YEAR
from scalpdesk.marketdata.quotes import QuoteVerdict


@desk_command(
    "chain",
    example=(
        "scalpdesk chain SPY --start 2018-02-05 --time 15:00",
        "scalpdesk chain GOOG --data recorded --start 2015-12-23 --expiry 2015-12-24 --json",
    ),
)
@click.argument("symbol")
@options(Moment, "moment")
@click.option("--expiry", metavar="DATE", help="One expiry [default: the nearest].")
@strikes_option(10)
@settings_options
def chain(
    *,
    as_json: bool,
    symbol: str,
    moment: Moment,
    expiry: str | None,
    strikes: int,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Show the option chain of SYMBOL as it stood at one minute of a session.

    The table is around the money and in traders' units (theta a day, vega a point). With --json every
    strike is given, theta a year and vega per 1.00 of volatility. A quote older than --max-age is left out
    of the table; --json shows it as stale with its age, without volatility and Greeks.
    """
    from scalpdesk.research.chain import chain_document

    settings = settings_from(config_file, overrides)
    tape = moment.load(settings, symbol)
    now_ns = instant_ns(tape, moment.clock)
    wanted = read_date(expiry, "--expiry") if expiry is not None else None
    document = chain_document(tape, now_ns, wanted, moment.max_age)
    print_answer(document, lambda: _print_chain(document, strikes), as_json=as_json)


def _print_chain(document: dict[str, Any], strikes: int) -> None:
    by_strike: dict[tuple[float, str], dict[str, dict[str, Any]]] = {}
    for option in document["options"]:
        by_strike.setdefault((float(option["strike"]), option["root"]), {})[option["right"]] = option
    order = sorted(by_strike)
    has_roots = len({root for _, root in order}) > 1
    shown = around(order, lambda row: float(row[0]), document["spot"], strikes)
    side = ("bid", "ask", "iv %", "delta", "theta/d")
    calls, puts = ([f"{right}\n{name}" for name in side] for right in ("call", "put"))
    table = new_table(*calls, "gamma", "vega/pt", "strike", *reversed(puts), left=0)
    table.columns[len(side) + 2].style = "bold"
    for strike, root in shown:
        call, put = (by_strike[strike, root].get(right, {}) for right in ("call", "put"))
        either = call if call.get("gamma") is not None else put
        table.add_row(
            *_side_cells(call),
            cell(either.get("gamma"), 4),
            cell(either.get("vega"), 3, 0.01),
            f"{root} {strike:g}" if has_roots else f"{strike:g}",
            *reversed(_side_cells(put)),
        )
    kind = document["data"]["kind"]
    ends = sorted({option["years"] for option in document["options"]})
    days = " and ".join(f"{end * DAYS_PER_YEAR:.2f}" for end in ends)
    click.echo(
        f"{document['symbol']} {document['spot']:.2f} at {document['session']} {document['time']} New York "
        f"({document['data']['name']}, {kind}); expiry {document['expiry']}, "
        f"{days} days, rate {document['rate']:.2%}"
    )
    wide = [
        *("gamma", "vega/pt"),
        *(f"{right}\n{name}" for name in reversed(side) for right in ("call", "put")),
    ]
    print_table(table, first_to_go=wide)
    print_hidden(order, shown)
    click.echo(f"expiries: {', '.join(document['expiries'])}")
    print_notes(document["notes"])


def _side_cells(option: dict[str, Any]) -> list[str]:
    sides = {} if option.get("quote") == QuoteVerdict.STALE else option
    return [
        cell(sides.get("bid"), 2),
        cell(sides.get("ask"), 2),
        cell(option.get("iv"), 1, 100.0),
        cell(option.get("delta"), 3),
        cell(option.get("theta"), 3, 1.0 / DAYS_PER_YEAR),
    ]
