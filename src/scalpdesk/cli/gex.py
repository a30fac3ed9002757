"""``scalpdesk gex``: dealer gamma exposure of a chain; computed, shown, kept, published."""

from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.flags import options
from scalpdesk.cli.market import instant_ns, load_tape
from scalpdesk.cli.output import (
    around,
    new_table,
    print_answer,
    print_hidden,
    print_notes,
    print_table,
    save_figure,
)
from scalpdesk.core.errors import ArgumentError, ConfigError, DataError, RetryError
from scalpdesk.core.figures import new_figure
from scalpdesk.core.flags import Flag, Options
from scalpdesk.datasets.dealer_gamma import ExposureHistory
from scalpdesk.datasets.embedded import EMBEDDED, USUAL_DAY
from scalpdesk.marketdata.dealer_gamma import FLIP_SPAN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from scalpdesk.config.settings import LoadedSettings
    from scalpdesk.research.dealer_gamma import ChainAt

_CHAIN_FILES = "chain files"
"""Name in the history of what chain files hold: their own names often bear the day."""


class GexOptions(Options, frozen=True, kw_only=True):
    """Which chain, and where its exposure goes."""

    data_set: Annotated[str, Flag("Name of the data set.", name="--data")] = EMBEDDED
    session: Annotated[
        date | None,
        Flag(f"Trading day [default: {USUAL_DAY}; of --chain: its latest].", "DATE", "--start"),
    ] = None
    clock: Annotated[str, Flag("New York time.", "HH:MM", "--at")] = "12:00"
    chain: Annotated[str | None, Flag("A chain from a CSV or Parquet file.", "FILE")] = None
    spot: Annotated[
        float | None, Flag("With --chain: underlying, where FILE does not say.", least=0, above_least=True)
    ] = None
    strikes: Annotated[int, Flag("Strikes shown on either side.", least=0)] = 12
    plot: Annotated[str | None, Flag("Draw strikes and profile into FILE.", "FILE")] = None
    keep: Annotated[bool, Flag("Keep the exposure as this session's, to compare later exposures with.")] = (
        False
    )
    days: Annotated[int | None, Flag("Keep each of the last N sessions.", least=1, most=250)] = None
    publish: Annotated[bool, Flag("Write the exposure to Firestore.")] = False
    document: Annotated[str | None, Flag("Document of --publish [default: by SYMBOL].", "PATH")] = None
    seed: Annotated[int | None, Flag("Path of the embedded market [default: simulation.seed].")] = None


@desk_command(
    "gex",
    example=(
        "scalpdesk gex SPY --start 2018-02-05 --at 15:00",
        "scalpdesk gex GOOG --data lean --start 2015-12-24 --at 11:00 --plot goog.png",
        "scalpdesk gex SPY --chain chains.parquet --start 2026-08-18 --json",
        "scalpdesk gex SPY --days 20",
    ),
)
@click.argument("symbol")
@options(GexOptions)
@settings_options
def gex(
    *,
    as_json: bool,
    symbol: str,
    options: GexOptions,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Compute the dealer gamma exposure of SYMBOL's chain from its open interest.

    In USD: how much delta dealers gain when the underlying moves 1 %, if customers sell calls and buy puts.
    That is a convention and not an observation. Open interest is the evening's before: what was traded
    today is not in it.
    """
    from scalpdesk.research.dealer_gamma import chain_from_file, exposure_document

    symbol = symbol.upper()
    settings = settings_from(config_file, overrides)
    if options.chain is not None:
        _refuse_with_file(options)
        rates = settings.config.rates
        rate = rates.default if rates.flat is None else rates.flat
        at = chain_from_file(Path(options.chain), symbol, options.session, options.spot, rate)
        history = _history(settings, _CHAIN_FILES, symbol)
    elif options.spot is not None:
        raise ConfigError(
            "the data says where the underlying stands; --spot goes with --chain",
            where="--spot",
            value=options.spot,
            fix="leave --spot out, or name a chain file: --chain FILE",
        )
    else:
        last = options.session or USUAL_DAY
        if options.days is not None:
            _keep_days(settings, symbol, options, last, options.days)
        at = _from_market(settings, symbol, options, last)
        history = _history(settings, at.data, at.symbol)
    if options.keep:
        history.keep([at.as_session()])
    shown = exposure_document(at, history.usual(at.day))
    if options.plot is not None:
        draw(at, shown, Path(options.plot))
        shown["plot"] = options.plot
    if options.publish:
        shown["published"] = _publish(settings, at, shown, options.document)
    print_answer(shown, lambda: _print_exposure(shown, options.strikes), as_json=as_json)


def _refuse_with_file(options: GexOptions) -> None:
    is_other = options.data_set != EMBEDDED
    for name, given in (("--data", is_other), ("--seed", options.seed is not None), ("--days", options.days)):
        if given:
            raise ConfigError(f"a chain file goes without {name}", where="--chain", fix=f"leave {name} out")


def _from_market(settings: "LoadedSettings", symbol: str, options: GexOptions, day: date) -> "ChainAt":
    from scalpdesk.marketdata.chain_gamma import price_tape
    from scalpdesk.research.dealer_gamma import ChainAt

    tape = load_tape(settings, options.data_set, symbol, day, seed=options.seed)
    if not tape.open_interest:
        raise DataError(
            f"this data set has no open interest of {symbol}",
            where=f"{tape.name}, {day}",
            fix="choose a session that has (scalpdesk data ls), or a chain file with --chain",
        )
    now_ns = instant_ns(tape, options.clock, "--at")
    return ChainAt(symbol, tape.name, tape.kind, day, now_ns, price_tape(tape, now_ns), tape.notes)


def _history(settings: "LoadedSettings", data: str, symbol: str) -> ExposureHistory:
    return ExposureHistory(Path(settings.config.data.catalog), data, symbol)


def _keep_days(settings: "LoadedSettings", symbol: str, options: GexOptions, last: date, days: int) -> None:
    """Keep the exposures of the sessions up to ``last``; what a data set does not hold is passed over."""
    from scalpdesk.instruments.sessions import is_session, previous_session

    day = last if is_session(last) else previous_session(last).day
    for _ in range(days):
        try:
            at = _from_market(settings, symbol, options, day)
        except DataError as error:
            click.echo(f"{day}: {error.what}", err=True)
        except ArgumentError as error:  # a half day is over by then
            click.echo(f"{day}: {error.what} ({options.clock})", err=True)
        else:
            _history(settings, at.data, at.symbol).keep([at.as_session()])
        day = previous_session(day).day


def _publish(
    settings: "LoadedSettings", at: "ChainAt", shown: dict[str, Any], document: str | None
) -> dict[str, Any]:
    """Write the exposure where a desk reads it; its stamp is that of the quotes."""
    from scalpdesk.datasets.dealer_gamma import ExposureUnknownError, StoredExposure
    from scalpdesk.live.market import firestore_of

    if shown["net_usd"] is None:
        raise DataError(
            "an exposure that is not known is not published",
            where=f"{at.data}, {at.day}",
            value=shown["reason"],
            fix="choose a chain with open interest and quotes",
        )
    chosen = settings.config.gex
    path = document or (chosen.document if at.symbol == chosen.symbol else f"market_regime/{at.symbol}_GEX")
    store = firestore_of(settings.config, path)
    try:
        store.write(StoredExposure(at.symbol, shown["net_usd"], at.now_ns))
    except ExposureUnknownError as error:
        raise RetryError(
            f"Firestore did not take the exposure: {error}",
            where=path,
            fix="check FIREBASE_PROJECT_ID, GOOGLE_APPLICATION_CREDENTIALS and the network",
        ) from error
    finally:
        store.close()
    return {"document": path, "gex_value": shown["net_usd"], "symbol": at.symbol, "last_update": shown["at"]}


_BAR_CELLS = 24
_PROFILE_SHOWN = (-0.05, -0.02, -0.01, 0.0, 0.01, 0.02, 0.05)
_MILLION = 1e6


def _print_exposure(document: dict[str, Any], strikes: int) -> None:
    """Write the facts, a bar a strike, the expiries and the profile."""
    data, spot = document["data"], document["spot"]
    click.echo(
        f"{document['symbol']} {spot:.2f} at {document['time']} New York, open interest of "
        f"{document['session']} ({data['name']}, {data['kind']})"
    )
    net, rows = document["net_usd"], document["rows"]
    if net is None:
        click.echo(
            f"net exposure  not known: {document['reason']} (what counts sums to "
            f"{_millions(document['sum_usd'])} M)"
        )
    else:
        held = "dealers have no gamma" if not net else f"dealers {'long' if net > 0.0 else 'short'} gamma"
        click.echo(f"net exposure  {_millions(net)} M USD per 1 %: {held}, if the convention holds")
    relative = document["relative"]
    against = (
        "no history to compare with" if relative is None else f"{relative:+.2f} of what is usually large"
    )
    click.echo(f"near money    {_millions(document['near_usd'])} M within 0.5 %; {against}")
    flip = document["flip"]
    where = "none within 15 %" if flip is None else f"{flip:.2f} ({flip / spot - 1.0:+.2%})"
    walls = " / ".join(
        "-" if document[name] is None else f"{document[name]:g}" for name in ("call_wall", "put_wall")
    )
    click.echo(f"flip          {where}; call wall / put wall {walls}")
    click.echo(
        f"coverage      {document['coverage']:.1%}: {document['covers_text']}; volatility quoted "
        f"{rows['vol_quoted']}, from the fitted smile {rows['vol_from_smile']}"
    )
    _print_strikes(document, strikes)
    parts = [f"{row['expiry']} {_millions(row['net_usd'])}" for row in document["expiries"]]
    click.echo(f"by expiry, M  {'; '.join(parts[:8])}{'; …' if len(parts) > 8 else ''}")
    _print_profile(document)
    click.echo(f"note: {document['convention']}")
    print_notes(document["notes"])
    if "published" in document:
        click.echo(f"published to {document['published']['document']}")


def _print_strikes(document: dict[str, Any], shown: int) -> None:
    spot, every = document["spot"], document["strikes"]
    if not every:
        return
    near = around(every, lambda row: float(row["strike"]), spot, shown)
    at_spot = around(every, lambda row: float(row["strike"]), spot, 0)[0]
    top = max(max(abs(row["call_usd"]), abs(row["put_usd"])) for row in near) or 1.0
    table = new_table("strike", "puts", "", " ", "calls", "net M", "  ", left=0, is_tight=True)
    table.columns[3].justify = table.columns[6].justify = "left"
    for row in reversed(near):
        marks = [
            name.replace("_", " ") for name in ("call_wall", "put_wall") if document[name] == row["strike"]
        ]
        marks += ["spot"] if row is at_spot else []
        table.add_row(
            f"{row['strike']:g}",
            _millions(row["put_usd"]),
            "▒" * round(_BAR_CELLS * abs(row["put_usd"]) / top),
            "█" * round(_BAR_CELLS * row["call_usd"] / top),
            _millions(row["call_usd"]),
            _millions(row["net_usd"]),
            ", ".join(marks),
        )
    print_table(table, first_to_go=("", " "))
    print_hidden(every, near)


def _print_profile(document: dict[str, Any]) -> None:
    spot, profile = document["spot"], document["profile"]
    parts = []
    for move in _PROFILE_SHOWN:
        level = min(profile, key=lambda row: abs(row["spot"] - spot * (1.0 + move)))
        parts.append(f"{move:+.0%} {_millions(level['net_usd'])}")
    click.echo(f"repriced, M   {'; '.join(parts)}")


def draw(at: "ChainAt", document: dict[str, Any], path: Path) -> None:
    """Draw the exposure by strike and the repriced profile into a file.

    Raises ConfigError when matplotlib is not installed. Raises ArgumentError when the file cannot be written.
    """
    figure = new_figure(9.0, 7.0)
    upper, lower = figure.subplots(2, 1)
    _draw_strikes(upper, document)
    _draw_profile(lower, document)
    figure.suptitle(f"{at.symbol} dealer gamma exposure, {document['time']} New York ({at.data}, {at.kind})")
    save_figure(figure, path)


def _draw_strikes(axis: "Axes", document: dict[str, Any]) -> None:
    spot = document["spot"]
    near = [row for row in document["strikes"] if abs(row["strike"] / spot - 1.0) <= FLIP_SPAN / 2]
    strike = [row["strike"] for row in near]
    width = 0.8 * min((b - a for a, b in pairwise(strike)), default=1.0)
    axis.bar(strike, [row["call_usd"] / _MILLION for row in near], width, color="C0", label="calls")
    axis.bar(strike, [row["put_usd"] / _MILLION for row in near], width, color="C1", label="puts")
    axis.axvline(spot, color="0.3", linewidth=0.8, label="spot")
    axis.set_xlabel("strike")
    axis.set_ylabel("USD million per 1 %")
    axis.legend(fontsize=8)


def _draw_profile(axis: "Axes", document: dict[str, Any]) -> None:
    levels = [row["spot"] for row in document["profile"]]
    axis.plot(levels, [row["net_usd"] / _MILLION for row in document["profile"]], color="C0")
    axis.axhline(0.0, color="0.8", linewidth=0.8)
    axis.axvline(document["spot"], color="0.3", linewidth=0.8, label="spot")
    if document["flip"] is not None:
        axis.axvline(document["flip"], color="C3", linewidth=0.8, linestyle="--", label="flip")
    axis.set_xlabel("underlying, volatility staying with the strike")
    axis.set_ylabel("net, USD million per 1 %")
    axis.legend(fontsize=8)


def _millions(usd: float) -> str:
    return f"{usd / _MILLION:+,.1f}"
