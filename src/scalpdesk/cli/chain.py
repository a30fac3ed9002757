"""``scalpdesk chain``: one option chain of a data set, with implied volatilities and Greeks."""

from datetime import date
from typing import TYPE_CHECKING, Any

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.market import (
    data_option,
    instant_ns,
    load_tape,
    read_date,
    seed_option,
    session_option,
    time_option,
)
from scalpdesk.cli.output import (
    around,
    cell,
    finite,
    new_table,
    print_hidden,
    print_json,
    print_notes,
    print_table,
)
from scalpdesk.core.errors import DataError
from scalpdesk.core.units import DAYS_PER_YEAR, years_between

if TYPE_CHECKING:
    from scalpdesk.instruments.contract import OptionContract
    from scalpdesk.marketdata.tape import MarketTape

STRIKES_SHOWN = 10
GREEKS = ("delta", "gamma", "theta", "vega", "rho", "vanna", "volga", "charm")


@desk_command(
    "chain",
    example=(
        "scalpdesk chain SPY --session 2018-02-05 --time 15:00",
        "scalpdesk chain GOOG --data recorded --session 2015-12-23 --expiry 2015-12-24 --json",
    ),
)
@click.argument("symbol")
@data_option
@session_option
@time_option("--time")
@click.option("--expiry", default=None, metavar="DATE", help="One expiry [default: the nearest].")
@click.option("--strikes", default=STRIKES_SHOWN, show_default=True, help="Strikes shown on either side.")
@seed_option
@settings_options
def chain(
    *,
    as_json: bool,
    symbol: str,
    data_set: str,
    session: str,
    clock: str,
    expiry: str | None,
    strikes: int,
    seed: int | None,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Show the option chain of SYMBOL as it stood at one minute of a session.

    The table is around the money and in traders' units (theta a day, vega a point). With --json every
    strike is given, theta a year and vega per 1.00 of volatility.
    """
    settings = settings_from(config_file, overrides)
    tape = load_tape(settings, data_set, symbol.upper(), read_date(session, "--session"), seed=seed)
    now_ns = instant_ns(tape, clock)
    wanted = read_date(expiry, "--expiry") if expiry is not None else None
    document = chain_document(tape, now_ns, wanted)
    if as_json:
        print_json(document)
    else:
        _print_chain(document, strikes)


def chain_document(tape: "MarketTape", now_ns: int, wanted: date | None) -> dict[str, Any]:
    """Return the chain of one expiry as of ``now_ns``, ready for JSON.

    Only quotes known by ``now_ns`` are used; without ``wanted`` the nearest expiry that is not over.

    Returns
    -------
    dict
        Facts of the market and ``options``, one a contract, sorted by strike, call before put. Greeks
        per unit of the underlying: theta and charm a year, vega, vanna and volga per 1.00 of volatility.
        What cannot be computed is null, and ``iv_status`` says why.

    Raises
    ------
    DataError
        When there is no option of that expiry, or the underlying was not quoted yet.
    """
    from scalpdesk.instruments.contract import options_in_order
    from scalpdesk.instruments.sessions import expiry_instant_ns, to_new_york
    from scalpdesk.marketdata.chain_surface import last_rows

    today = tape.sessions[0].day
    listed = options_in_order(tape.instruments, tape.underlying)
    expiries = sorted({contract.expiry for _, contract in listed if expiry_instant_ns(contract) >= now_ns})
    if not expiries or (wanted is not None and wanted not in expiries):
        near = min(expiries, key=lambda day: abs((day - (wanted or today)).days), default=None)
        raise DataError(
            f"there is no option on {tape.underlying} of this expiry in this session",
            where=f"{tape.name}, {today}",
            value=str(wanted or "any"),
            nearest=str(near) if near is not None else None,
            fix=f"--expiry {near}"
            if near is not None
            else "scalpdesk data ls shows what each data set holds",
        )
    expiry = wanted or expiries[0]
    ids = [number for number, contract in listed if contract.expiry == expiry]
    contracts = [contract for _, contract in listed if contract.expiry == expiry]
    spot_id = tape.instruments.id_of(tape.underlying)
    quotes = tape.quotes.until(now_ns)
    last = last_rows(quotes)
    if spot_id not in last:
        raise DataError(
            f"{tape.underlying} was not quoted yet at this time",
            where=f"{tape.name}, {to_new_york(now_ns):%Y-%m-%d %H:%M}",
            fix="choose a later --time",
        )
    row = last[spot_id]
    spot = 0.5 * (float(quotes.bid[row]) + float(quotes.ask[row]))
    rows = [last.get(number) for number in ids]
    years = years_between(now_ns, expiry_instant_ns(contracts[0]))
    return {
        "symbol": tape.underlying,
        "data": {"name": tape.name, "kind": tape.kind},
        "session": str(today),
        "time": f"{to_new_york(now_ns):%H:%M}",
        "spot": spot,
        "expiry": str(expiry),
        "years": years,
        "rate": tape.rate_curve.rate_at(years * DAYS_PER_YEAR),
        "dividend_yield": tape.dividend_yield,
        "expiries": [str(day) for day in expiries],
        "options": _valued(tape, contracts, rows, spot, years, now_ns),
        "notes": list(tape.notes),
    }


def _valued(
    tape: "MarketTape",
    contracts: "list[OptionContract]",
    rows: list[int | None],
    spot: float,
    years: float,
    now_ns: int,
) -> list[dict[str, Any]]:
    """Return one table a contract: its quote, implied volatility and Greeks at the mid."""
    import numpy as np

    from scalpdesk.marketdata.chain_surface import dividends_ahead
    from scalpdesk.marketdata.quotes import judge_quote
    from scalpdesk.pricing import greeks, implied_vol

    nan, quotes = float("nan"), tape.quotes.until(now_ns)
    bid = np.array([nan if row is None else float(quotes.bid[row]) for row in rows])
    ask = np.array([nan if row is None else float(quotes.ask[row]) for row in rows])
    mid = 0.5 * (bid + ask)
    strike = np.array([float(contract.strike) for contract in contracts])
    is_call = np.array([contract.is_call for contract in contracts])
    terms: dict[str, Any] = {
        "rate": tape.rate_curve.rate_at(years * DAYS_PER_YEAR),
        "dividend_yield": tape.dividend_yield,
        "dividends": [pair for pair in dividends_ahead(tape, now_ns) if pair[0] <= years] or None,
        "style": contracts[0].style.value,
    }
    known = np.isfinite(mid)
    implied = implied_vol(np.where(known, mid, 0.0), spot, strike, years, is_call, **terms)
    vol = np.where(known, implied.vol, nan)
    priced = np.isfinite(vol)
    answer = greeks(spot, strike, years, np.where(priced, vol, 0.0), is_call, **terms)
    options = []
    for i, contract in enumerate(contracts):
        ok = bool(priced[i])
        options.append(
            {
                "symbol": contract.symbol,
                "strike": str(contract.strike),
                "right": "call" if contract.is_call else "put",
                "bid": finite(bid[i]),
                "ask": finite(ask[i]),
                "mid": finite(mid[i]),
                "quote": "absent" if rows[i] is None else str(judge_quote(float(bid[i]), float(ask[i]))),
                "open_interest": tape.open_interest.get(contract.symbol),
                "iv": finite(vol[i]),
                "iv_status": str(implied.status[i]) if known[i] else "no_mid",
                **{name: float(getattr(answer, name)[i]) if ok else None for name in GREEKS},
            }
        )
    return options


def _print_chain(document: dict[str, Any], strikes: int) -> None:
    by_strike: dict[float, dict[str, dict[str, Any]]] = {}
    for option in document["options"]:
        by_strike.setdefault(float(option["strike"]), {})[option["right"]] = option
    order = sorted(by_strike)
    shown = around(order, float, document["spot"], strikes)
    side = ("bid", "ask", "iv %", "delta", "theta/d")
    calls, puts = ([f"{right}\n{name}" for name in side] for right in ("call", "put"))
    table = new_table(*calls, "gamma", "vega/pt", "strike", *reversed(puts), left=0)
    table.columns[len(side) + 2].style = "bold"
    for strike in shown:
        call, put = (by_strike[strike].get(right, {}) for right in ("call", "put"))
        either = call if call.get("gamma") is not None else put
        table.add_row(
            *_side_cells(call),
            cell(either.get("gamma"), 4),
            cell(either.get("vega"), 3, 0.01),
            f"{strike:g}",
            *reversed(_side_cells(put)),
        )
    kind = document["data"]["kind"]
    click.echo(
        f"{document['symbol']} {document['spot']:.2f} at {document['session']} {document['time']} New York "
        f"({document['data']['name']}, {kind}); expiry {document['expiry']}, "
        f"{document['years'] * DAYS_PER_YEAR:.2f} days, rate {document['rate']:.2%}"
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
    return [
        cell(option.get("bid"), 2),
        cell(option.get("ask"), 2),
        cell(option.get("iv"), 1, 100.0),
        cell(option.get("delta"), 3),
        cell(option.get("theta"), 3, 1.0 / DAYS_PER_YEAR),
    ]
