"""``scalpdesk surface``: forwards, smiles and term structure of one chain, and a ladder for a straddle."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.market import (
    check_max_age,
    data_option,
    instant_ns,
    load_tape,
    max_age_option,
    oldest_quote_seconds,
    read_date,
    seed_option,
    session_option,
    time_option,
)
from scalpdesk.cli.output import (
    cell,
    finite,
    new_table,
    print_json,
    print_notes,
    print_table,
    save_figure,
)
from scalpdesk.core.errors import DataError
from scalpdesk.core.figures import new_figure
from scalpdesk.core.units import DAYS_PER_YEAR, SESSIONS_PER_YEAR

if TYPE_CHECKING:
    from scalpdesk.marketdata.chain_surface import ChainSurface
    from scalpdesk.marketdata.tape import MarketTape
    from scalpdesk.pricing.surface import Clock, SurfaceExpiry

LADDER_STEPS = 6


@desk_command(
    "surface",
    example=(
        "scalpdesk surface SPY --start 2018-02-05 --time 15:00",
        "scalpdesk surface GOOG --data lean --start 2015-12-24 --time 11:00 --json",
        "scalpdesk surface SPY --scenario",
    ),
)
@click.argument("symbol")
@data_option
@session_option
@time_option("--time")
@click.option(
    "--clock",
    "clock_name",
    type=click.Choice(("calendar-365", "us-sessions")),
    default="calendar-365",
    show_default=True,
    help="Time in which variance runs evenly between expiries.",
)
@click.option("--scenario", is_flag=True, help="Add a spot ladder of one straddle at the money.")
@click.option("--expiry", default=None, metavar="DATE", help="Expiry of the straddle [default: the nearest].")
@max_age_option
@click.option("--plot", "plot_file", default=None, metavar="FILE", help="Draw the smiles into FILE.")
@seed_option
@settings_options
def surface(
    *,
    as_json: bool,
    symbol: str,
    data_set: str,
    session: str,
    clock: str,
    clock_name: str,
    scenario: bool,
    expiry: str | None,
    max_age: float | None,
    plot_file: str | None,
    seed: int | None,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Fit the volatility surface of SYMBOL as it stood at one minute of a session.

    One line an expiry: forward and borrow from put-call parity, volatility at the forward, 25-delta risk
    reversal and butterfly, and how well the smile fits. Volatilities in the table are in points; with --json
    everything is in raw units (0.20 is 20 %).
    """
    from scalpdesk.marketdata.chain_surface import chain_quotes_at, fit_chain

    day, wanted = read_date(session, "--start"), None if expiry is None else read_date(expiry, "--expiry")
    check_max_age(max_age)
    tape = load_tape(settings_from(config_file, overrides), data_set, symbol.upper(), day, seed=seed)
    now_ns = instant_ns(tape, clock)
    age = oldest_quote_seconds(tape, max_age)
    chain = chain_quotes_at(tape, now_ns, max_age_seconds=age)
    if not chain.expiries:
        raise DataError(
            f"there is no quote of an option on {symbol.upper()} at this time",
            where=f"{tape.name}, {day} {clock}",
            fix="choose a later --time, or a longer --max-age",
        )
    fitted = fit_chain(chain, clock=_clock_from(clock_name, now_ns), clock_name=clock_name)
    document = surface_document(tape, fitted, now_ns, age)
    if scenario:
        document["scenario"] = straddle_ladder(tape, fitted, wanted)
    if plot_file is not None:
        draw_smiles(fitted, Path(plot_file), f"{tape.underlying} {day} {clock} ({tape.kind})")
        document["plot"] = plot_file
    if as_json:
        print_json(document)
    else:
        _print(document)


def _clock_from(name: str, now_ns: int) -> "Clock":
    """Return the clock of that name as a function of calendar years from ``now_ns``."""
    from scalpdesk.core.units import NANOS_PER_SECOND, SECONDS_PER_YEAR
    from scalpdesk.volatility.variance_time import clock_named

    clock = clock_named(name)
    return lambda years: clock.years(now_ns, now_ns + round(years * SECONDS_PER_YEAR * NANOS_PER_SECOND))


def surface_document(
    tape: "MarketTape", fitted: "ChainSurface", now_ns: int, max_age_seconds: float
) -> dict[str, Any]:
    """Return the surface ready for JSON: volatilities a year as fractions, times in years and days."""
    from scalpdesk.instruments.sessions import to_new_york

    fit = fitted.surface
    return {
        "symbol": tape.underlying,
        "data": {"name": tape.name, "kind": tape.kind},
        "session": str(tape.sessions[0].day),
        "time": f"{to_new_york(now_ns):%H:%M}",
        "spot": fit.spot,
        "clock": fit.clock_name,
        "max_age_seconds": max_age_seconds,
        "share_inside": finite(fit.share_inside),
        "expiries": [
            {**_expiry_document(fitted, expiry), "forward_vol": vol}
            for expiry, vol in zip(fit.expiries, _forward_vols(fit.expiries), strict=True)
        ],
        "notes": list(tape.notes),
    }


def _forward_vols(expiries: "tuple[SurfaceExpiry, ...]") -> list[float | None]:
    """Volatility at the forward from each fitted expiry to the next, a year of the surface's clock."""
    vols: list[float | None] = []
    variance = clock_years = 0.0
    for expiry in expiries:
        if expiry.smile is None or not expiry.clock_years > clock_years:
            vols.append(None)
            continue
        total = float(expiry.smile.total_variance(0.0))
        vols.append(max((total - variance) / (expiry.clock_years - clock_years), 0.0) ** 0.5)
        variance, clock_years = total, expiry.clock_years
    return vols


def _expiry_document(fitted: "ChainSurface", expiry: "SurfaceExpiry") -> dict[str, Any]:
    from scalpdesk.marketdata.chain_surface import ExpiryLabel

    label = expiry.label
    assert isinstance(label, ExpiryLabel)
    forward, smile = fitted.forwards[label], expiry.smile
    parameters = None
    if smile is not None:
        parameters = {name: getattr(smile, name) for name in ("a", "b", "rho", "m", "s")}
    return {
        "expiry": str(label.expiry),
        "root": label.root,
        "days": expiry.years * DAYS_PER_YEAR,
        "years": expiry.years,
        "clock_years": expiry.clock_years,
        "forward": finite(forward.forward),
        "forward_uncertainty": finite(forward.uncertainty),
        "forward_status": str(forward.status),
        "pairs_used": forward.pairs_used,
        "rate": fitted.rates[label],
        "borrow": finite(forward.borrow),
        "atm_vol": finite(expiry.atm_vol),
        "risk_reversal": finite(expiry.risk_reversal),
        "butterfly": finite(expiry.butterfly),
        "rms_residual": finite(expiry.rms_residual),
        "share_inside": finite(expiry.share_inside),
        "quotes": expiry.quotes_used,
        "verdict": str(expiry.verdict),
        "arbitrage_found": {"butterfly": expiry.found.butterfly, "calendar": expiry.found.calendar},
        "arbitrage_left": {"butterfly": expiry.left.butterfly, "calendar": expiry.left.calendar},
        "svi": parameters,
    }


def straddle_ladder(tape: "MarketTape", fitted: "ChainSurface", wanted: date | None) -> dict[str, Any]:
    """Price one long straddle at the money over spots, now and at the session's close.

    The volatility stays with each strike. Steps are half the move that one day (or the time left, where
    that is less) is expected to bring at the volatility at the forward. They begin at the spot that the
    expiry is priced with: the chain's may be late by minutes.

    Raises
    ------
    DataError
        When the expiry has no smile.
    """
    import numpy as np

    from scalpdesk.marketdata.chain_surface import ExpiryLabel
    from scalpdesk.pricing.scenarios import VALUE_UNITS, OptionLine, scenario_grid

    fit = fitted.surface
    there = [(expiry.label, expiry) for expiry in fit.fitted if isinstance(expiry.label, ExpiryLabel)]
    pair = next((pair for pair in there if wanted is None or pair[0].expiry == wanted), None)
    if pair is None:
        raise DataError(
            "no expiry with a smile to price the straddle on",
            where="--expiry",
            value=str(wanted or "the nearest"),
            nearest=", ".join(str(label.expiry) for label, _ in there) or None,
        )
    label, found = pair
    entry = next(quotes for quotes in fitted.chain.expiries if quotes.label == label)
    strike = float(entry.strike[np.argmin(np.abs(entry.strike - found.forward))])
    vol = float(found.vol(strike))
    listed = (contract for _, contract in tape.instruments.options(tape.underlying))
    contract = next(contract for contract in listed if contract.expiry == label.expiry)
    lines = [
        OptionLine(
            strike,
            found.years,
            is_call,
            vol,
            1.0,
            float(contract.multiplier),
            fitted.rates[label],
            fitted.forwards[label].pricing_borrow,
            entry.style,
            dividends=fitted.chain.dividends,
        )
        for is_call in (True, False)
    ]
    spot_now = fitted.forwards[label].pricing_spot
    step = 0.5 * found.atm_vol * np.sqrt(min(1.0 / SESSIONS_PER_YEAR, found.years)) * spot_now
    spots = spot_now + step * np.arange(-LADDER_STEPS, LADDER_STEPS + 1)
    left_days = (tape.sessions[0].close_ns - fitted.chain.ts_ns) / 86_400e9
    grid = scenario_grid(lines, spot_now, spots=spots, days_ahead=(0.0, left_days))
    names = ("pnl_usd", "delta_shares", "gamma_shares_per_usd", "theta_usd_per_day", "vega_usd_per_point")
    return {
        "position": f"long 1 straddle {label.expiry} {strike:g} (multiplier {contract.multiplier})",
        "strike": strike,
        "expiry": str(label.expiry),
        "vol": vol,
        "premium_usd": float(grid["value_usd"][LADDER_STEPS, 0, 0]),
        "days_to_close": left_days,
        "units": {name: VALUE_UNITS[name] for name in names},
        "ladder": [
            {
                "spot": float(spot),
                **{name: float(grid[name][i, 0, 0]) for name in names},
                "pnl_usd_at_close": float(grid["pnl_usd"][i, 0, 1]),
            }
            for i, spot in enumerate(spots)
        ],
    }


def _print(document: dict[str, Any]) -> None:
    data = document["data"]
    click.echo(
        f"{document['symbol']} {document['spot']:.2f} at {document['session']} {document['time']} New York "
        f"({data['name']}, {data['kind']}); quotes up to {document['max_age_seconds']:g} s old"
    )
    roots = {row["root"] for row in document["expiries"]}
    figures = ("days", "forward", "±", "borrow%", "ATM", "fwd", "RR25", "BF25", "rms", "n", "inside")
    table = new_table("expiry", *figures, "verdict", is_tight=True, text=("verdict",))
    for row in document["expiries"]:
        table.add_row(
            row["expiry"] if len(roots) == 1 else f"{row['expiry']} {row['root']}",
            f"{row['days']:.2f}",
            cell(row["forward"], 2),
            cell(row["forward_uncertainty"], 3),
            cell(row["borrow"], 2, 100.0),
            cell(row["atm_vol"], 2, 100.0),
            cell(row["forward_vol"], 2, 100.0),
            cell(row["risk_reversal"], 2, 100.0),
            cell(row["butterfly"], 2, 100.0),
            cell(row["rms_residual"], 2, 100.0),
            str(row["quotes"]),
            "-" if row["share_inside"] is None else f"{row['share_inside']:.0%}",
            row["verdict"],
        )
    print_table(table)
    inside = document["share_inside"]
    click.echo(
        "ATM, RR25 (25-delta call less put), BF25 (25-delta mean less ATM), rms: volatility points a year; "
        f"fwd: from expiry to expiry, a year of {document['clock']}\n"
        + ("no quote was used" if inside is None else f"{inside:.1%} of the quotes used hold the fit")
    )
    if "scenario" in document:
        _print_ladder(document["scenario"])
    print_notes(document["notes"])


def _print_ladder(ladder: dict[str, Any]) -> None:
    click.echo(
        f"\n{ladder['position']} at {ladder['vol']:.2%}, premium {ladder['premium_usd']:.2f} USD; "
        f"the volatility stays with the strike; {24 * ladder['days_to_close']:.2f} h to the close"
    )
    columns = {
        "spot": ("spot", 2),
        "pnl_usd": ("P&L now $", 2),
        "pnl_usd_at_close": ("P&L at close $", 2),
        "delta_shares": ("delta sh", 1),
        "gamma_shares_per_usd": ("gamma sh/$", 2),
        "theta_usd_per_day": ("theta $/d", 2),
        "vega_usd_per_point": ("vega $/pt", 2),
    }
    table = new_table(*(heading for heading, _ in columns.values()), left=0)
    for row in ladder["ladder"]:
        table.add_row(*(cell(row[name], decimals) for name, (_, decimals) in columns.items()))
    print_table(table)


def draw_smiles(fitted: "ChainSurface", path: Path, title: str) -> None:
    """Draw every smile with its bid–ask bars into a file; the ending says in which format.

    Raises
    ------
    ConfigError
        When matplotlib is not installed.
    ArgumentError
        When the file cannot be written.
    """
    import numpy as np

    shown = fitted.surface.fitted
    columns = min(len(shown), 4) or 1
    rows = max(-(-len(shown) // columns), 1)
    figure = new_figure(4.0 * columns, 3.0 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).reshape(-1)
    quotes_of = {quotes.label: quotes for quotes in fitted.smile_quotes}
    for axis, expiry in zip(axes, shown, strict=False):
        quotes = quotes_of[expiry.label]
        strikes = quotes.strike[expiry.used]
        low, high = 100.0 * quotes.bid_vol[expiry.used], 100.0 * quotes.ask_vol[expiry.used]
        axis.vlines(strikes, low, high, color="0.6", linewidth=1.5, label="bid to ask")
        line = np.linspace(strikes.min(), strikes.max(), 200)
        axis.plot(line, 100.0 * expiry.vol(line), color="C0", linewidth=1.2, label="SVI")
        axis.axvline(expiry.forward, color="0.8", linewidth=0.8)
        axis.set_title(f"{expiry.label}, {expiry.years * DAYS_PER_YEAR:.1f} days", fontsize=9)
        axis.set_ylabel("volatility %", fontsize=8)
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    figure.suptitle(title)
    save_figure(figure, path)
