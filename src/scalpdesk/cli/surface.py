"""``scalpdesk surface``: forwards, smiles and term structure of one chain, and a ladder for a straddle."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.flags import options
from scalpdesk.cli.market import Moment, instant_ns
from scalpdesk.cli.output import print_answer, print_notes, print_table, save_figure, table_of
from scalpdesk.core.errors import DataError
from scalpdesk.core.figures import new_figure
from scalpdesk.core.flags import Flag, Options
from scalpdesk.core.units import DAYS_PER_YEAR
from scalpdesk.portfolio.risk_book import SMILES

if TYPE_CHECKING:
    from scalpdesk.marketdata.chain_surface import ChainSurface


class SurfaceOptions(Options, frozen=True, kw_only=True):
    """How the surface is fitted, and what is shown beside it."""

    clock_name: Annotated[
        Literal["calendar-365", "us-sessions"],
        Flag("Time in which variance runs evenly between expiries.", name="--clock"),
    ] = "calendar-365"
    scenario: Annotated[bool, Flag("Add a spot ladder of one straddle at the money.")] = False
    smile: Annotated[
        str,
        Flag(
            "Of --scenario: the smile moves with the spot or stays with the strikes.", choices=lambda: SMILES
        ),
    ] = SMILES[0]
    expiry: Annotated[date | None, Flag("Expiry of the straddle [default: the nearest].", "DATE")] = None
    plot: Annotated[str | None, Flag("Draw the smiles into FILE.", "FILE")] = None


@desk_command(
    "surface",
    example=(
        "scalpdesk surface SPY --start 2018-02-05 --time 15:00",
        "scalpdesk surface GOOG --data lean --start 2015-12-24 --time 11:00 --json",
        "scalpdesk surface SPY --scenario",
    ),
)
@click.argument("symbol")
@options(Moment, "moment")
@options(SurfaceOptions)
@settings_options
def surface(
    *,
    as_json: bool,
    symbol: str,
    moment: Moment,
    options: SurfaceOptions,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Fit the volatility surface of SYMBOL as it stood at one minute of a session.

    One line an expiry: forward and borrow from put-call parity, volatility at the forward, 25-delta risk
    reversal and butterfly, and how well the smile fits. Volatilities in the table are in points; with --json
    everything is in raw units (0.20 is 20 %).
    """
    from scalpdesk.marketdata.chain_surface import chain_quotes_at, fit_chain
    from scalpdesk.research.chain import oldest_quote_seconds
    from scalpdesk.research.surface import clock_from, straddle_ladder, surface_document

    day, clock = moment.session, options.clock_name
    tape = moment.load(settings_from(config_file, overrides), symbol)
    now_ns = instant_ns(tape, moment.clock)
    age = oldest_quote_seconds(tape, moment.max_age)
    chain = chain_quotes_at(tape, now_ns, max_age_seconds=age)
    if not chain.expiries:
        raise DataError(
            f"there is no quote of an option on {symbol.upper()} at this time",
            where=f"{tape.name}, {day} {moment.clock}",
            fix="choose a later --time, or a longer --max-age",
        )
    fitted = fit_chain(chain, clock=clock_from(clock, now_ns), clock_name=clock)
    document = surface_document(tape, fitted, now_ns, age)
    if options.scenario:
        document["scenario"] = straddle_ladder(tape, fitted, options.expiry, options.smile)
    if options.plot is not None:
        _draw_smiles(fitted, Path(options.plot), f"{tape.underlying} {day} {moment.clock} ({tape.kind})")
        document["plot"] = options.plot
    print_answer(document, lambda: _print(document), as_json=as_json)


def _print(document: dict[str, Any]) -> None:
    data = document["data"]
    click.echo(
        f"{document['symbol']} {document['spot']:.2f} at {document['session']} {document['time']} New York "
        f"({data['name']}, {data['kind']}); quotes up to {document['max_age_seconds']:g} s old"
    )
    roots = {row["root"] for row in document["expiries"]}
    columns = (
        f"expiry={{expiry}}{'' if len(roots) == 1 else ' {root}'}|days:.2f|forward:.2f"
        "|±={forward_uncertainty:.3f}|borrow%={borrow:.2p}|ATM={atm_vol:.2p}|fwd={forward_vol:.2p}|RR25={risk_reversal:.2p}"
        "|BF25={butterfly:.2p}|rms={rms_residual:.2p}|n={quotes}|inside={share_inside:.0%}|verdict"
    )
    print_table(table_of(document["expiries"], columns, is_tight=True, text=("verdict",)))
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
        f"{ladder['smile']} smile; {24 * ladder['days_to_close']:.2f} h to the close"
    )
    columns = (
        "spot:.2f|P&L now $={pnl_usd:.2f}|P&L at close $={pnl_usd_at_close:.2f}|delta sh={delta_shares:.1f}"
        "|gamma sh/$={gamma_shares_per_usd:.2f}|theta $/d={theta_usd_per_day:.2f}"
        "|vega $/pt={vega_usd_per_point:.2f}"
    )
    print_table(table_of(ladder["ladder"], columns, left=0))


def _draw_smiles(fitted: "ChainSurface", path: Path, title: str) -> None:
    """Draw every smile with its bid–ask bars into a file; the ending says in which format.

    Raises ConfigError when matplotlib is not installed. Raises ArgumentError when the file cannot be written.
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
