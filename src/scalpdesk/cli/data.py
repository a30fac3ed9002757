"""``scalpdesk data``: list, verify and fill the catalogue of recorded markets."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from datetime import time as clock_time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalpdesk.cli.command import DeskGroup, desk_command, settings_from
from scalpdesk.cli.market import read_date
from scalpdesk.cli.output import new_table, print_json, print_table, progress_bar
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK
from scalpdesk.datasets.embedded import COIN_MARKETS, EMBEDDED, RECONSTRUCTED

if TYPE_CHECKING:
    from scalpdesk.datasets.verify import VerifyReport

EMBEDDED_SESSION, COIN_SESSION = date(2018, 2, 5), date(2025, 3, 5)
"""Session of a reconstructed market that is checked when none is named."""
MIDNIGHT, DAY_END = clock_time(0), clock_time(23, 59, 59)


@click.group(cls=DeskGroup)
def data() -> None:
    """The market data catalogue: list, verify, import, download."""


@click.group("import", cls=DeskGroup)
def import_() -> None:
    """Fill the catalogue from files: LEAN's folder, CSV, Parquet."""


data.add_command(import_)


@click.group("download", cls=DeskGroup)
def download() -> None:
    """Fill the catalogue from a venue's history."""


data.add_command(download)


@click.group("record", cls=DeskGroup)
def record() -> None:
    """Keep a venue's live market data in the catalogue."""


data.add_command(record)


def _configured(_ctx: click.Context, _param: click.Parameter, value: Path | None) -> Path:
    """Return the folder given, else the one of the configuration (``catalog`` unless it says otherwise)."""
    if value is not None:
        return value
    return Path(settings_from().config.data.catalog)


def catalog_option(body: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--catalog DIR`` (``catalog: Path``); without it ``data.catalog`` of the configuration counts."""
    return click.option(
        "--catalog",
        metavar="DIR",
        type=click.Path(path_type=Path),
        callback=_configured,
        help="Folder of the catalogue [default: data.catalog, SCALPDESK_CATALOG, ./catalog].",
    )(body)


@desk_command("ls", group=data, example=("scalpdesk data ls", "scalpdesk data ls --json"))
@catalog_option
def ls(*, as_json: bool, catalog: Path) -> None:
    """List the data sets, the embedded market first."""
    from scalpdesk.datasets.catalog import list_data_sets

    rows: list[dict[str, Any]] = list(_embedded())
    for manifest in list_data_sets(catalog):
        rows.extend(
            {
                "name": manifest.name,
                "kind": manifest.kind,
                "underlying": underlying,
                "sessions": len(part.sessions),
                "first": part.sessions[0],
                "last": part.sessions[-1],
                "instruments": part.instruments,
                "rows": part.rows,
                "tables": part.tables,
                "bar_seconds": manifest.bar_seconds,
                "source": manifest.source,
            }
            for underlying, part in manifest.underlyings.items()
        )
    if as_json:
        print_json({"catalog": str(catalog), "data_sets": rows})
        return
    headings = ("name", "kind", "underlying", "sessions", "from", "to", "symbols", "rows", "bar s")
    table = new_table(*headings, left=6)
    for row in rows:
        figures = [row["instruments"], row["rows"], row["bar_seconds"]]
        table.add_row(
            row["name"],
            row["kind"],
            row["underlying"],
            str(row["sessions"]),
            row["first"],
            row["last"],
            *("-" if figure is None else f"{figure:,}" for figure in figures),
        )
    print_table(table, first_to_go=("bar s", "symbols", "kind", "rows"))
    if all(row["name"] in RECONSTRUCTED for row in rows):
        click.echo(f"\nNothing recorded in {catalog}/ yet: scalpdesk data import lean PATH")


def _embedded() -> Iterator[dict[str, Any]]:
    """Yield the lines of the reconstructed markets."""
    from importlib import import_module
    from importlib.util import find_spec

    if find_spec("scalpdesk.datasets.embedded.market") is None:
        return
    days = import_module("scalpdesk.datasets.embedded.market").available_sessions()
    from scalpdesk.datasets.embedded.coin import available_days

    begin, end = available_days()
    real = "real daily prices and VIX, intraday path reconstructed"
    drawn = "nothing recorded: drawn from measured statistics"
    for name, underlying, count, first, last, source in (
        (EMBEDDED, "SPY", len(days), min(days), max(days), real),
        *((name, symbol, (end - begin).days + 1, begin, end, drawn) for name, symbol in COIN_MARKETS.items()),
    ):
        yield {
            "name": name,
            "kind": "reconstructed",
            "underlying": underlying,
            "sessions": count,
            "first": str(first),
            "last": str(last),
            "instruments": None,
            "rows": None,
            "tables": {},
            "bar_seconds": None,
            "source": source,
        }


@desk_command(
    "verify",
    group=data,
    example=(
        "scalpdesk data verify",
        "scalpdesk data verify lean --underlying GOOG",
        "scalpdesk data verify embedded --session 2018-02-05",
        "scalpdesk data verify embedded-btc",
    ),
)
@click.argument("name", required=False)
@click.option("--underlying", metavar="SYMBOL", help="Only this underlying.")
@click.option(
    "--session", metavar="DATE", type=click.DateTime(["%Y-%m-%d"]), help="Only this session's quotes."
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the embedded market.")
@catalog_option
def verify(
    *, as_json: bool, name: str | None, underlying: str | None, session: Any, seed: int, catalog: Path
) -> int:
    """Check market data: crossed quotes, gaps, intrinsic value, parity, session times and more.

    Without NAME every recorded data set is checked. Exits 1 when a check fails; warnings are figures
    to know and do not fail.
    """
    day = None if session is None else session.date()
    if name in RECONSTRUCTED:
        reports = [_verify_reconstructed(name, day, seed, underlying)]
    else:
        reports = _verify_recorded(catalog, name, underlying, day, as_json=as_json)
    ok = all(report.ok for report in reports)
    if as_json:
        print_json({"ok": ok, "reports": [report.as_dict() for report in reports]})
    else:
        _show_verdicts(reports, ok=ok)
    return EXIT_OK if ok else EXIT_FAILED


def _verify_reconstructed(name: str, day: date | None, seed: int, underlying: str | None) -> "VerifyReport":
    from scalpdesk.datasets.embedded.coin import reconstruct_coin
    from scalpdesk.datasets.embedded.market import reconstruct
    from scalpdesk.datasets.verify import verify_tape

    if name in COIN_MARKETS:
        first = day or COIN_SESSION
        return verify_tape(reconstruct_coin(first, first, seed=seed, underlying=COIN_MARKETS[name]))
    return verify_tape(reconstruct(day or EMBEDDED_SESSION, seed=seed, underlying=underlying or "SPY"))


def _verify_recorded(
    catalog: Path, name: str | None, underlying: str | None, day: date | None, *, as_json: bool
) -> list["VerifyReport"]:
    from scalpdesk.core.errors import DataError
    from scalpdesk.datasets.manifests import data_set_names, read_manifest
    from scalpdesk.datasets.verify import verify_data_set

    names = [name] if name else data_set_names(catalog)
    if not names:
        raise DataError(
            "there is no recorded data to verify",
            where=str(catalog),
            fix="scalpdesk data import lean PATH, or scalpdesk data verify embedded",
        )
    todo = [
        (each, symbol)
        for each in names
        for symbol in ([underlying] if underlying else sorted(read_manifest(catalog, each).underlyings))
    ]
    reports = []
    with progress_bar(as_json=as_json) as report_progress:
        for done, (each, symbol) in enumerate(todo):
            report_progress(done, len(todo), f"{each} {symbol}")
            reports.append(verify_data_set(catalog, each, symbol, session=day))
    return reports


def _show_verdicts(reports: list["VerifyReport"], *, ok: bool) -> None:
    for report in reports:
        days = [day.isoformat() for day in report.sessions]
        covered = f"{days[0]} to {days[-1]} ({len(days)} sessions)" if days else "no sessions by day"
        title = f"{report.name} {report.underlying}: {covered}"
        columns = ("", "check", "checked", "found", "detail")
        table = new_table(*columns, left=2, text=("check", "detail"), title=title)
        for check in report.checks:
            figures = (f"{check.checked:,}", f"{check.found:,}")
            table.add_row(check.verdict.value, check.name, *figures, check.detail)
        print_table(table)
        click.echo()
    failed = sum(check.verdict.value == "failed" for report in reports for check in report.checks)
    warned = sum(check.verdict.value == "warning" for report in reports for check in report.checks)
    click.echo(f"{'fit to trade on' if ok else 'NOT fit to trade on'}: {failed} failed, {warned} warnings")


@desk_command(
    "lean",
    group=import_,
    example=(
        "scalpdesk data import lean ~/Lean/Data",
        "scalpdesk data import lean ~/Lean/Data --only option --only equity --only goog",
    ),
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", default="lean", show_default=True, help="Name of the data set.")
@click.option(
    "--only",
    metavar="WORD",
    multiple=True,
    help="Security type, symbol, resolution or day (2015-12-23) to keep. May be repeated.",
)
@catalog_option
def lean(*, as_json: bool, path: Path, name: str, only: tuple[str, ...], catalog: Path) -> int:
    """Import LEAN's Data folder as it is.

    Minute bars go to the data set NAME; seconds, hours and days to NAME-second, NAME-hour and
    NAME-daily. Importing again replaces the same days. A damaged file is named and passed over, and the
    exit code is 1.
    """
    from scalpdesk.datasets.importers.lean import import_lean

    with progress_bar(as_json=as_json) as report_progress:
        reports = import_lean(catalog, path, name=name, only=only, progress=report_progress)
    _show_reports(reports, catalog, as_json=as_json)
    return EXIT_FAILED if any(report.unreadable for report in reports) else EXIT_OK


def _table_options(body: Callable[..., Any]) -> Callable[..., Any]:
    body = click.option(
        "--timezone", metavar="ZONE", help="Zone of timestamps without one, such as America/New_York."
    )(body)
    body = click.option(
        "--bar-seconds", type=click.IntRange(1, 86_400), help="Length of a bar [default: from the file]."
    )(body)
    body = click.option("--underlying", metavar="SYMBOL", required=True, help="What the rows are about.")(
        body
    )
    body = click.option("--name", required=True, help="Name of the data set; added to if it exists.")(body)
    return click.argument("path", type=click.Path(path_type=Path))(body)


@desk_command(
    "csv", group=import_, example="scalpdesk data import csv quotes.csv --name mine --underlying GOOG"
)
@_table_options
@catalog_option
def csv(*, as_json: bool, path: Path, catalog: Path, **choices: Any) -> None:
    """Import a CSV file with the columns of docs/data.md."""
    from scalpdesk.datasets.importers.tabular import import_csv

    _import_table(import_csv, path, catalog, choices, as_json=as_json)


@desk_command(
    "parquet",
    group=import_,
    example="scalpdesk data import parquet options_quote.parquet --name mine --underlying GOOG",
)
@_table_options
@catalog_option
def parquet(*, as_json: bool, path: Path, catalog: Path, **choices: Any) -> None:
    """Import a Parquet file with the columns of docs/data.md."""
    from scalpdesk.datasets.importers.tabular import import_parquet

    _import_table(import_parquet, path, catalog, choices, as_json=as_json)


def _import_table(
    importer: Callable[..., Any], path: Path, catalog: Path, choices: dict[str, Any], *, as_json: bool
) -> None:
    from zoneinfo import available_timezones

    from scalpdesk.core.errors import ConfigError, nearest_name
    from scalpdesk.datasets.importers.tabular import ImportChoices

    if choices["timezone"] not in {None, *available_timezones()}:
        raise ConfigError(
            "unknown time zone",
            where="--timezone",
            value=choices["timezone"],
            nearest=nearest_name(choices["timezone"], available_timezones()),
            fix="use a name such as UTC or America/New_York",
        )
    with progress_bar(as_json=as_json) as report_progress:
        report = importer(catalog, path, ImportChoices(**choices), report_progress)
    _show_reports([report], catalog, as_json=as_json)


@desk_command(
    "alpaca",
    group=download,
    example=(
        "scalpdesk data download alpaca SPY --start 2026-01-05 --end 2026-01-09",
        "scalpdesk data download alpaca SPY --start 2026-01-05 --option SPY260109C00690000 --json",
    ),
)
@click.argument("symbol")
@click.option("--start", required=True, metavar="DATE", help="First day.")
@click.option("--end", default=None, metavar="DATE", help="Last day [default: the first].")
@click.option(
    "--option", "options", metavar="SYMBOL", multiple=True, help="Also this option; may be repeated."
)
@click.option("--length", type=click.Choice(["minute", "hour"]), default="minute", show_default=True)
@click.option("--name", default="alpaca", show_default=True, help="Name of the data set; hours: NAME-hour.")
@click.option("--url", default=None, metavar="URL", help="A simulated exchange instead of the venue.")
@catalog_option
def alpaca(
    *,
    as_json: bool,
    symbol: str,
    start: str,
    end: str | None,
    options: tuple[str, ...],
    length: str,
    name: str,
    url: str | None,
    catalog: Path,
) -> None:
    """Download the trade bars and cash dividends of SYMBOL, with the keys of the trading account.

    Downloading again replaces the same days.
    """
    from itertools import chain

    from msgspec.structs import astuple

    from scalpdesk.core.errors import ConfigError
    from scalpdesk.datasets.importers.lean import set_name
    from scalpdesk.datasets.importers.tabular import ImportChoices, import_download
    from scalpdesk.instruments.sessions import from_ns, new_york_ns
    from scalpdesk.venues.alpaca.history import BAR_SECONDS, AlpacaHistory

    keys = settings_from().venue_keys()
    if keys is None:
        raise ConfigError(
            "a download needs the keys of an account",
            where="credentials.trading_api_key",
            fix="put TRADING_API_KEY and TRADING_API_SECRET into .env",
        )
    first, symbol = read_date(start, "--start"), symbol.upper()
    last = first if end is None else read_date(end, "--end")
    if last < first:
        raise ConfigError("the last day lies before the first", where="--end", value=end)
    begin, until = (from_ns(new_york_ns(day, clock)) for day, clock in ((first, MIDNIGHT), (last, DAY_END)))
    history = AlpacaHistory(*keys, base_url=url)
    bars = [history.stock_bars([symbol], begin, until, length=length)]
    if options:
        bars.append(history.option_bars([option.upper() for option in options], begin, until, length=length))
    paid = [(line.ex_date, line.amount) for line in history.cash_dividends(symbol, first, last)]
    choices = ImportChoices(set_name(name, length), symbol, BAR_SECONDS[length])
    report = import_download(catalog, choices, map(astuple, chain(*bars)), paid, (first, last))
    _show_reports([report], catalog, as_json=as_json)


def _show_reports(reports: list[Any], catalog: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"catalog": str(catalog), "data_sets": [report.as_dict() for report in reports]})
        return
    for report in reports:
        click.echo(
            f"{report.name}: {report.files_read} files, {sum(report.rows.values()):,} rows in {catalog}/"
        )
        for table, rows in sorted(report.rows.items()):
            click.echo(f"  {table:<28} {rows:>12,}")
        for error in report.unreadable:
            click.echo(f"  not imported: {error.where}: {error.what}")
        for note in report.notes[:10]:
            click.echo(f"  note: {note}")
        if len(report.notes) > 10:
            click.echo(f"  note: and {len(report.notes) - 10} more (see --json)")
    elsewhere = "" if str(catalog) == settings_from().config.data.catalog else f" --catalog {catalog}"
    click.echo(f"next: scalpdesk data verify {reports[0].name}{elsewhere}")


# Deribit --------------------------------------------------------------------------------------------------


def _raw_option(body: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--catalog",
        metavar="DIR",
        type=click.Path(path_type=Path),
        default=Path("data/raw"),
        show_default=True,
        help="Folder of raw data: a catalogue, which --set data.catalog=DIR trades on.",
    )(body)


def _venue_options(body: Callable[..., Any]) -> Callable[..., Any]:
    body = click.option("--test", "is_test", is_flag=True, help="The venue's test environment.")(body)
    body = click.option("--url", default=None, metavar="URL", help="A simulated exchange instead.")(body)
    body = click.option("--name", default="deribit", show_default=True, help="Name of the data set.")(body)
    return click.argument("coin")(body)


def _history(url: str | None, *, is_test: bool) -> Any:
    """Return the client of the venue's public data."""
    from scalpdesk.core.errors import ConfigError

    try:
        from scalpdesk.venues.deribit.gateway import LIVE_URL, TEST_URL, exchange_urls
        from scalpdesk.venues.deribit.history import HISTORY_URL, TEST_HISTORY_URL, DeribitHistory
    except ModuleNotFoundError as missing:
        raise ConfigError(
            "data of Deribit needs a package that is not installed",
            where=missing.name,
            fix='pip install "scalpdesk[deribit]"',
        ) from missing
    if url is not None:
        return DeribitHistory(*exchange_urls(url))
    return DeribitHistory(*((TEST_URL, TEST_HISTORY_URL) if is_test else (LIVE_URL, HISTORY_URL)))


@desk_command(
    "deribit",
    group=download,
    example=(
        "scalpdesk data download deribit BTC --start 2026-01-05 --end 2026-01-09",
        "scalpdesk data download deribit BTC --start 2026-01-05 --option BTC-27MAR26-90000-C --json",
    ),
)
@_venue_options
@click.option("--start", required=True, metavar="DATE", help="First day; days run from 08:00 UTC.")
@click.option("--end", default=None, metavar="DATE", help="Last day [default: the first].")
@click.option(
    "--option", "options", metavar="SYMBOL", multiple=True, help="Also bars of this option; may be repeated."
)
@click.option(
    "--length",
    type=click.Choice(["minute", "hour", "day"]),
    default="minute",
    show_default=True,
    help="Of the bars; days: bars alone, by UTC, to NAME-daily.",
)
@click.option("--again", is_flag=True, help="Also days that have been downloaded whole before.")
@_raw_option
def deribit(
    *, as_json: bool, coin: str, start: str, end: str | None, options: tuple[str, ...], **choices: Any
) -> None:
    """Download the public history of COIN: trades, bars, instruments, settlements, DVOL, funding. No keys.

    A day that has been downloaded whole is passed over, so that a download that was cut off goes on where it
    stopped. A day that is not over yet is not downloaded.
    """
    import asyncio

    from scalpdesk.core.errors import ConfigError

    first = read_date(start, "--start")
    last = first if end is None else read_date(end, "--end")
    if last < first:
        raise ConfigError("the last day lies before the first", where="--end", value=end)
    symbols = [f"{coin.upper()}-PERPETUAL", *(option.upper() for option in options)]
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    with progress_bar(as_json=as_json) as report_progress:
        work = _download_coin(coin.upper(), symbols, days, progress=report_progress, **choices)
        report = asyncio.run(work)
    _show_reports([report], choices["catalog"], as_json=as_json)


async def _download_coin(
    coin: str,
    symbols: list[str],
    days: list[date],
    *,
    catalog: Path,
    name: str,
    url: str | None,
    is_test: bool,
    length: str,
    again: bool,
    progress: Callable[[int, int, str], None],
) -> Any:
    """Download days one after another; each table of a day is written before the next is asked for."""
    from functools import partial

    from scalpdesk.datasets.coin_data import Downloaded, add_rows, finish
    from scalpdesk.datasets.importers.base import ImportReport
    from scalpdesk.datasets.importers.lean import set_name
    from scalpdesk.datasets.manifests import manifest_to_extend
    from scalpdesk.instruments.sessions import coin_session

    name = set_name(name, "daily" if length == "day" else length)
    seconds = {"minute": 60, "hour": 3_600, "day": 86_400}[length]
    report, kept = ImportReport(name), Downloaded(catalog, name)
    manifest_to_extend(catalog, name, seconds)
    async with _history(url, is_test=is_test) as history:
        now_ms = int(await history.ask("get_time"))
        if length == "day":
            first, last = ((day - date(1970, 1, 1)).days * 86_400_000 for day in (days[0], days[-1]))
            for symbol in symbols:
                rows = await history.bars(symbol, first, last + 86_400_000, length="day")
                is_over = [row for row in rows if row["ts"] <= now_ms * 1_000_000]
                add_rows(catalog, name, "trades", coin, is_over, report)
            days = []
        whole = [day for day in days if coin_session(day).close_ns // 1_000_000 < now_ms]
        for day in days[len(whole) :]:
            report.note(f"{day} is not over at the venue: not downloaded")
        if whole:
            add_rows(catalog, name, "listings", coin, await history.listings(coin), report)
        for done, day in enumerate(whole):
            progress(done, len(whole), str(day))
            begin, until = (ns // 1_000_000 for ns in (coin_session(day).open_ns, coin_session(day).close_ns))
            span = (begin + 1, until + 1)  # what happens at the end belongs to the day that it ends
            jobs = {
                ("prints", coin): partial(history.prints, coin, *span),
                ("settlements", coin): partial(history.settlements, coin, *span),
                ("volatility_index", coin): partial(history.volatility_index, coin, begin, until),
                ("funding", symbols[0]): partial(history.funding, symbols[0], *span),
            }
            for symbol in symbols:
                jobs["trades", symbol] = partial(history.bars, symbol, begin, until, length=length)
            for (table, what), job in jobs.items():
                if again or not kept.has(f"{table}/{what}", day):
                    add_rows(catalog, name, table, coin, await job(), report)
                    kept.add(f"{table}/{what}", day)
                    report.files_read += 1
        finish(catalog, name, [coin], source="Deribit, public history", bar_seconds=seconds)
    for notice in history.notices:
        report.note(notice)
    return report


FLUSH_SECONDS = 300.0
"""Between two writes of what has been recorded."""


@desk_command(
    "deribit",
    group=record,
    example=(
        "scalpdesk data record deribit BTC",
        "scalpdesk data record deribit BTC --every 10 --minutes 60",
    ),
)
@_venue_options
@click.option(
    "--every",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds between two records.",
)
@click.option("--minutes", type=click.FloatRange(0), default=None, help="How long [default: until stopped].")
@_raw_option
def record_deribit(*, as_json: bool, coin: str, **choices: Any) -> None:
    """Record the perpetual and all options of COIN: quotes, marks, implied volatilities, Greeks.

    Each record has the instruments that have changed since the last one. Ctrl-C ends it, and what was
    recorded is written; a process that dies loses five minutes at most.
    """
    import asyncio

    report = asyncio.run(_record_coin(coin.upper(), is_quiet=as_json, **choices))
    _show_reports([report], choices["catalog"], as_json=as_json)


async def _record_coin(
    coin: str,
    *,
    catalog: Path,
    name: str,
    url: str | None,
    is_test: bool,
    every: float,
    minutes: float | None,
    is_quiet: bool,
) -> Any:
    import asyncio
    import signal

    from scalpdesk.datasets.coin_data import add_rows, finish
    from scalpdesk.datasets.importers.base import ImportReport
    from scalpdesk.datasets.manifests import manifest_to_extend

    report = ImportReport(name)
    manifest_to_extend(catalog, name, 60)
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stopped.set)
    rows: list[dict[str, Any]] = []

    def flush() -> None:
        if rows:
            add_rows(catalog, name, "tickers", coin, rows, report)
            finish(catalog, name, [coin], source="Deribit, recorded")
            rows.clear()

    async with _history(url, is_test=is_test) as history:
        add_rows(catalog, name, "listings", coin, await history.listings(coin, expired=False), report)
        flushed = loop.time()
        seconds = None if minutes is None else 60.0 * minutes
        try:
            async for changed in history.chains(coin, stopped, every_seconds=every, seconds=seconds):
                rows += changed
                if loop.time() - flushed >= FLUSH_SECONDS:
                    flush()
                    flushed = loop.time()
                    if not is_quiet:
                        click.echo(f"{report.rows[f'tickers/{coin}']:,} tickers", err=True)
        finally:
            flush()
    for notice in history.notices:
        report.note(notice)
    return report


@desk_command(
    "deribit",
    group=import_,
    example=(
        "scalpdesk data import deribit capture.gz",
        "scalpdesk data import deribit coinbase_btcusd_daily.parquet --name coinbase",
    ),
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", default="deribit", show_default=True, help="Name of the data set.")
@_raw_option
def import_deribit(*, as_json: bool, path: Path, name: str, catalog: Path) -> None:
    """Import a raw capture of JSON-RPC messages (plain or .gz), or a Parquet or CSV file of a coin.

    Files hold tickers (ts, symbol, mark_iv …), prints (ts, trade_id, price …) or bars (ts and bar_start, or
    date; open to volume).
    """
    from scalpdesk.core.errors import DataError
    from scalpdesk.datasets.coin_data import add_rows, coin_of, finish, import_coin_table
    from scalpdesk.datasets.importers.base import ImportReport

    if not path.is_file():
        raise DataError("no such file", where=str(path), fix="check the path")
    if path.suffix in (".parquet", ".csv"):
        _show_reports([import_coin_table(catalog, path, name=name)], catalog, as_json=as_json)
        return
    from scalpdesk.venues.deribit.history import read_capture

    found, kinds = read_capture(path)
    report = ImportReport(name, files_read=1)
    report.note("messages read: " + (", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())) or "none"))
    coins = sorted({coin_of(row["symbol"]) for rows in found.values() for row in rows})
    for table, rows in found.items():
        for coin in coins:
            mine = [row for row in rows if coin_of(row["symbol"]) == coin]
            if mine:
                add_rows(catalog, name, table, coin, mine, report)
    finish(catalog, name, coins, source=f"capture {path.name}")
    _show_reports([report], catalog, as_json=as_json)


@desk_command(
    "process",
    group=data,
    example=(
        "scalpdesk data process embedded-btc --start 2025-03-05 --end 2025-03-14 --windows 3",
        "scalpdesk data process deribit --start 2026-01-05 --end 2026-03-05 --every-hours 4",
    ),
)
@click.argument("name")
@click.option("--start", required=True, metavar="DATE", help="First day.")
@click.option("--end", default=None, metavar="DATE", help="Last day [default: the first].")
@click.option("--underlying", default="BTC-PERPETUAL", show_default=True, metavar="SYMBOL", help="Whose.")
@click.option(
    "--every-hours", type=click.IntRange(1, 24), default=24, show_default=True, help="Between two smiles."
)
@click.option("--windows", default="7,30", show_default=True, help="Days of realised volatility, by commas.")
@click.option("--seed", type=click.IntRange(0), default=None, help="Of the reconstructed market.")
@click.option(
    "--to",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("data/processed"),
    show_default=True,
    help="Where the tables go: DIR/NAME.",
)
@_raw_option
def process(
    *, as_json: bool, name: str, start: str, end: str | None, underlying: str, windows: str, **choices: Any
) -> None:
    """Measure a coin market: realised volatility, IV term structure, variance premium, as Parquet tables."""
    from scalpdesk.cli.market import load_tape
    from scalpdesk.core.errors import ArgumentError
    from scalpdesk.datasets.coin_data import coin_of, index_closes, research_tables, write_processed

    try:
        spans = [int(text) for text in windows.split(",")]
    except ValueError:
        spans = []
    if not spans or min(spans) < 1:
        raise ArgumentError("not a list of days", where="--windows", value=windows, fix="write 7,30")
    first = read_date(start, "--start")
    last = first if end is None else read_date(end, "--end")
    catalog, folder, seed, symbol = choices["catalog"], choices["folder"], choices["seed"], underlying.upper()
    settings = settings_from(None, (f"data.catalog={catalog}",))
    tape = load_tape(settings, name, symbol, first, last=last, seed=seed, option="--start")
    index = {} if name in RECONSTRUCTED else index_closes(catalog, name, coin_of(symbol))
    with progress_bar(as_json=as_json) as show:
        hours = choices["every_hours"]
        tables = research_tables(tape, every_hours=hours, windows=spans, index=index, progress=show)
    rows = write_processed(folder / name, tables)
    if as_json:
        print_json({"folder": str(folder / name), "kind": tape.kind, "rows": rows})
        return
    click.echo(f"{name} ({tape.kind}): {len(tape.sessions)} days in {folder / name}/")
    for table, count in rows.items():
        click.echo(f"  {table + '.parquet':<28} {count:>12,}")
