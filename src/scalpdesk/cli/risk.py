"""``scalpdesk risk``: value at risk, stress days and scenario grid of a book; coverage of its VaR."""

import csv
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.flags import options
from scalpdesk.cli.market import DEFAULT_SESSION, instant_ns, load_tape, seed_option, time_of_day
from scalpdesk.cli.output import new_table, print_answer, print_notes, print_table, table_of
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.errors import ArgumentError, ConfigError, DataError
from scalpdesk.core.flags import read_date
from scalpdesk.datasets.embedded import EMBEDDED
from scalpdesk.instruments.sessions import new_york_ns, to_new_york
from scalpdesk.research.risk_options import RiskOptions

if TYPE_CHECKING:
    from scalpdesk.config.settings import LoadedSettings
    from scalpdesk.monitor.follower import RunFollower
    from scalpdesk.portfolio.risk_book import LowestCell, RiskBook

Report = Callable[[int, int, str], None]
_PLAIN_WINDOW, _STRADDLE_WINDOW = 500, 250
"""Scenarios of a session in the coverage backtest; the packaged VIX is too short for 500."""


@desk_command(
    "risk",
    example=(
        "scalpdesk risk last",
        "scalpdesk risk last --time 10:30 --filter ewma --filter garch",
        "scalpdesk risk --position SPY180316C00265000=10 --position SPY180316P00265000=10 --position SPY=-40",
        "scalpdesk risk --book positions.csv --data recorded --start 2015-12-23 --json",
        "scalpdesk risk --coverage",
    ),
)
@click.argument("run", required=False, default=None)
@click.option(
    "--position", "positions", metavar="SYMBOL=QTY", multiple=True, help="A position. May be repeated."
)
@click.option("--book", metavar="FILE", help="CSV file of positions: symbol,quantity.")
@click.option("--data", "data_set", default=EMBEDDED, show_default=True, help="Data set that prices it.")
@click.option(
    "--start", "session", metavar="DATE", help=f"Session [default: a run's first; {DEFAULT_SESSION}]."
)
@click.option(
    "--time",
    "clock",
    metavar="HH:MM",
    help="New York time [default: 12:00; of a run, when something was held last].",
)
@seed_option
@options(RiskOptions)
@click.option("--coverage", is_flag=True, help="Test the value at risk over five years instead of a book.")
@settings_options
def risk(
    *,
    as_json: bool,
    run: str | None,
    positions: tuple[str, ...],
    book: str | None,
    data_set: str,
    session: str | None,
    clock: str | None,
    seed: int | None,
    options: RiskOptions,
    coverage: bool,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Show the risk of RUN's book, or of positions: VaR, expected shortfall, stress days, scenario grid.

    Every scenario reprices every option in full. Losses of VaR and ES are positive, P&L is signed; nothing is
    hedged within a scenario.
    """
    settings = settings_from(config_file, overrides)
    given = [*(_position(text) for text in positions), *(_positions_of(Path(book)) if book else ())]
    named = sum((run is not None, bool(given), coverage))
    if named != 1:
        raise ConfigError(
            "name one book: a run, or positions; or --coverage",
            where="RUN, --position, --book, --coverage",
            value=f"{named} of them",
            fix="scalpdesk risk last",
        )
    catalog = Path(settings.config.data.catalog)
    with progress_bar(as_json=as_json) as report:
        if coverage:
            document = _coverage_of_history(catalog, options, report)
        elif run is not None:
            run_id, follower = follow_run(Path(settings.config.desk.runs_dir), run, session, clock, report)
            document = {"run_id": run_id, **_of_run(run_id, follower, catalog, options)}
        else:
            held = _given_book(settings, data_set, given, session or DEFAULT_SESSION, clock or "12:00", seed)
            document = _measured(held, catalog, data_set, options)
    print_answer(document, partial(_print_coverage if coverage else _print_risk, document), as_json=as_json)


def _position(text: str) -> tuple[str, float]:
    """Read SYMBOL=QTY."""
    symbol, _, quantity = text.rpartition("=")
    return symbol.strip(), _quantity(quantity, "--position", text)


def _quantity(text: str, where: str, value: str) -> float:
    try:
        quantity = float(text)
    except ValueError:
        quantity = math.nan
    if not math.isfinite(quantity) or not quantity:
        raise ArgumentError(
            "a position is a symbol and a number, negative when sold",
            where=where,
            value=value,
            fix="SPY180316C00265000=-10",
        )
    return quantity


def _positions_of(path: Path) -> list[tuple[str, float]]:
    """Read a CSV file with the columns symbol and quantity."""
    if not path.is_file():
        raise DataError("there is no such file", where="--book", value=str(path))
    with path.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines)
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        missing = {"symbol", "quantity"} - set(reader.fieldnames)
        if missing:
            raise DataError(
                f"the file has no column {min(missing)}",
                where=str(path),
                value=list(reader.fieldnames),
                fix="its first line is symbol,quantity",
            )
        return [
            (row["symbol"].strip(), _quantity(row["quantity"] or "", f"{path}:{reader.line_num}", str(row)))
            for row in reader
        ]


def follow_run(
    runs_dir: Path, name: str, session: str | None, clock: str | None, report: Report
) -> tuple[str, "RunFollower"]:
    """Return a run's id, and the run read up to an instant (by default: when something was held last)."""
    from scalpdesk.backtesting.recorded import LiveRecord
    from scalpdesk.journal.reader import find_run_dir, peek_header
    from scalpdesk.monitor.held_book import followed_to

    until_ns = None
    run_dir = find_run_dir(runs_dir, name)
    if clock is not None or session is not None:
        # a live run's sessions stand in its events, not in its header
        sessions = peek_header(run_dir).sessions or LiveRecord(run_dir).sessions
        day = sessions[0].day if session is None else read_date(session, "--start")
        until_ns = new_york_ns(day, time_of_day(clock or "16:00"))
    follower = followed_to(run_dir, until_ns, report)
    if follower.engine is None:
        raise DataError(
            "this run has nothing yet", where="RUN", value=run_dir.name, fix="give a later --time"
        )
    return run_dir.name, follower


def _of_run(run_id: str, follower: "RunFollower", catalog: Path, wanted: RiskOptions) -> dict[str, Any]:
    """Return the risk of what a run holds, with its working orders in the worst case."""
    from scalpdesk.monitor.held_book import held_book, worst_of

    held = held_book(follower)
    if held is None or follower.header is None:
        raise DataError(
            "this run holds nothing then, or a leg has no price",
            where="RUN",
            value=run_id,
            fix="give a --time at which it holds something; scalpdesk why RUN --list shows its trades",
        )
    data_set = str(follower.header.data["name"])
    return _measured(held, catalog, data_set, wanted, worst_of(follower, wanted.smile))


def _given_book(
    settings: "LoadedSettings",
    data_set: str,
    given: Sequence[tuple[str, float]],
    session: str,
    clock: str,
    seed: int | None,
) -> "RiskBook":
    """Return positions priced by a data set at an instant."""
    from scalpdesk.instruments.classes import underlying_of_root
    from scalpdesk.instruments.contract import parse_occ
    from scalpdesk.research.quoted_book import quoted_book

    def underlying(symbol: str) -> str:
        return (
            underlying_of_root(parse_occ(symbol)[0]) if any(letter.isdigit() for letter in symbol) else symbol
        )

    symbols = ",".join(dict.fromkeys(underlying(symbol) for symbol, _ in given))
    tape = load_tape(settings, data_set, symbols, read_date(session, "--start"), seed=seed)
    return quoted_book(tape, given, instant_ns(tape, clock))


def _measured(
    held: "RiskBook", catalog: Path, data_set: str, wanted: RiskOptions, worst: "LowestCell | None" = None
) -> dict[str, Any]:
    from scalpdesk.research.book_risk import past_moves, risk_document

    symbols = [part.underlying for part in held.parts]
    day = to_new_york(held.as_of_ns).date()
    moves, notes = past_moves(
        symbols, catalog, data_set, history=wanted.history, vix=wanted.vix, before=day, is_coin=held.is_coin
    )
    return risk_document(held, moves, wanted, worst=worst, notes=notes)


def _coverage_of_history(catalog: Path, wanted: RiskOptions, report: Report) -> dict[str, Any]:
    """Return the coverage of index books over 1,257 sessions, and of straddles as far as the VIX reaches."""
    from scalpdesk.datasets.daily_history import find_history, packaged_history, packaged_vix
    from scalpdesk.research.book_risk import VIX, joint_moves
    from scalpdesk.research.risk_coverage import coverage_document

    indices = {"SPY": packaged_history("sp500"), "QQQ": packaged_history("nasdaq")}
    linear = coverage_document(
        joint_moves(indices, None, None), filters=wanted.filters, window=_PLAIN_WINDOW, report=report
    )
    volatility = packaged_vix() if wanted.vix is None else find_history(catalog, VIX, VIX, wanted.vix)
    straddles = coverage_document(
        joint_moves({"SPY": indices["SPY"]}, volatility, None),
        filters=tuple(name for name in wanted.filters if name == "ewma" or wanted.vix is not None),
        window=_STRADDLE_WINDOW if wanted.vix is None else _PLAIN_WINDOW,
        report=report,
        straddles_alone=True,
    )
    return {"parts": [linear, straddles]}


def _print_risk(document: dict[str, Any]) -> None:
    currency = document["currency"]
    places = 0 if currency == "USD" else 4
    held = ", ".join(f"{row['quantity']:+g} {row['symbol']}" for row in document["positions"])
    spots = ", ".join(f"{symbol} {spot:.2f}" for symbol, spot in document["spots"].items())
    click.echo(f"{document['as_of']} New York, {spots}")
    click.echo(held if document["structure"] is None else f"{document['structure']}: {held}")
    history = document["history"]
    if history is not None:
        when = "at once" if document["horizon"] == "now" else f"up to the {document['horizon']}"
        click.echo(
            f"loss {when}, {currency}, by {history['moves']} daily moves of {history['first']} to"
            f" {history['last']}; {document['smile']} smile"
        )
        table = new_table("method", "VaR 97.5 %", "ES 97.5 %", "VaR 99 %", "ES 99 %")
        rows = {(row["method"], row["confidence"]): row for row in document["measures"]}
        for method in dict.fromkeys(row["method"] for row in document["measures"]):
            found = [rows[method, confidence][name] for confidence in (0.975, 0.99) for name in ("var", "es")]
            table.add_row(method, *(f"{value:,.{places}f}" for value in found))
        print_table(table)
    for row in document["alone"]:
        if row["confidence"] == 0.99:
            click.echo(f"alone {row['underlying']}: VaR 99 % {row['var']:,.{places}f}")
    correlation = document["correlation"]
    if correlation is not None:
        names = correlation["symbols"]
        pairs = ", ".join(
            f"{first}/{second} {correlation['ewma'][i][j]:.3f} (all days {correlation['sample'][i][j]:.3f})"
            for i, first in enumerate(names)
            for j, second in enumerate(names)
            if i < j
        )
        click.echo(f"correlation by EWMA: {pairs}")
    if document["stress"]:
        columns = (
            "stress day={day}|={label}|moves|volatility index={index_from:.2f} to {index_to:.2f}"
            f"|P&L {currency}={{pnl:+,.{places}f}}"
        )
        moves = {"moves": lambda row: ", ".join(f"{name} {move:+.2%}" for name, move in row["moves"].items())}
        print_table(table_of(document["stress"], columns, moves, left=4))
    _print_ladder(document["ladder"], currency, places)
    grid = document["grid"]
    for place, name in enumerate(grid["times"][:2]):
        click.echo(
            f"P&L {name}, spot by change of 30-day volatility in points (each expiry by the root of time)"
        )
        table = new_table("spot", *(f"{100 * points:+.0f}" for points in grid["vol_points"]))
        for move, cells in zip(grid["moves"], grid["pnl"][place], strict=True):
            table.add_row(f"{move:+.0%}", *(f"{value:+,.{places}f}" for value in cells))
        print_table(table)
    worst = document["worst_case"]
    click.echo(
        f"worst case: {worst['pnl']:+,.{places}f} at {worst['move']:+.0%},"
        f" {100 * worst['vol_points']:+.0f} points, now\n  ({worst['definition']})"
    )
    print_notes(document["notes"])


def _print_ladder(ladder: dict[str, Any], currency: str, places: int) -> None:
    if not ladder["rows"]:
        return
    money = f"+,.{places}f"
    columns = (
        f"expiry|of={{underlying}}|days:.1f|forward:,.2f|vega, {currency} a point={{vega:{money}}}"
        f"|of 30-day volatility={{weighted_vega:{money}}}|gamma:+.2f|theta a day={{theta:{money}}}"
        "|vanna:+.1f|volga:+.2f|charm:+.2f"
    )
    if currency != "USD":
        columns += "|vega, USD a point={vega_usd:+,.0f}"
    print_table(table_of(ladder["rows"], columns, {}))
    total = ladder["total"]
    click.echo(
        f"all: vega {total['vega']:{money}} a point of each expiry's own volatility,"
        f" {total['weighted_vega']:{money}} of 30-day volatility, theta {total['theta']:{money}} a day"
    )
    for shock in ladder["shocks"]:
        click.echo(
            f"  {shock['points']:+g} points, {shock['shape']}: {shock['full']:{money}}"
            f" (vega {shock['first']:{money}}, volga {shock['second']:{money}}, rest {shock['rest']:{money}})"
        )


def _tested(name: str, row: dict[str, Any]) -> str:
    return f"{row[name]['statistic']:.2f}{' no' if row[name]['rejected'] else ' ok'}"


def _print_coverage(document: dict[str, Any]) -> None:
    for part in document["parts"]:
        click.echo(
            f"{part['sessions']:,} sessions of {part['first']} to {part['last']}, each by the"
            f" {part['window']} moves before it"
        )
        columns = (
            "book|VaR %={confidence:.1p}|method|exceptions|expected:.1f|in 10={most_in_10_sessions}"
            "|Kupiec={kupiec}|independence|both={conditional_coverage}"
        )
        made = {name: partial(_tested, name) for name in ("kupiec", "independence", "conditional_coverage")}
        print_table(table_of(part["rows"], columns, made))
    print_notes(
        [
            "in 10: most exceptions within 10 sessions",
            "no: rejected at 95 %, above 3.841 (Kupiec, independence) or 5.991 (both)",
        ]
    )
