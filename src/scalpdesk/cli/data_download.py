"""``scalpdesk data download`` and ``record``: fill the catalogue from a venue."""

from collections.abc import Callable
from datetime import date, timedelta
from datetime import time as clock_time
from pathlib import Path
from typing import Any

import click

from scalpdesk.cli.command import Body, DeskGroup, NumberRange, desk_command, settings_from
from scalpdesk.cli.data import catalog_option, raw_option, show_imports
from scalpdesk.cli.market import read_span, span_options
from scalpdesk.cli.output import progress_bar
from scalpdesk.core.units import NANOS_PER_MS
from scalpdesk.instruments.deribit import perpetual_symbol

MIDNIGHT, DAY_END = clock_time(0), clock_time(23, 59, 59)
FLUSH_SECONDS = 300.0
"""Between two writes of what has been recorded."""


@click.group("download", cls=DeskGroup)
def download() -> None:
    """Fill the catalogue from a venue's history."""


@click.group("record", cls=DeskGroup)
def record() -> None:
    """Keep a venue's live market data in the catalogue."""


@desk_command(
    "alpaca",
    group=download,
    example=(
        "scalpdesk data download alpaca SPY --start 2026-01-05 --end 2026-01-09",
        "scalpdesk data download alpaca SPY --start 2026-01-05 --option SPY260109C00690000 --json",
    ),
)
@click.argument("symbol")
@span_options()
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

    They are those of the strategy in STRATEGY_MODE where it has its own. Downloading again
    replaces the same days.
    """
    from itertools import chain

    from msgspec.structs import astuple

    from scalpdesk.config.settings import keys_missing
    from scalpdesk.datasets.importers.lean import set_name
    from scalpdesk.datasets.importers.tabular import ImportChoices, import_download
    from scalpdesk.instruments.sessions import from_ns, new_york_ns
    from scalpdesk.venues.alpaca.history import BAR_SECONDS, AlpacaHistory

    mode = settings_from().config.desk.strategy_mode
    keys = settings_from(strategy=mode, simulated_account=False).venue_keys()
    if keys is None:
        raise keys_missing("a download needs the keys of an account", mode)
    (first, last), symbol = read_span(start, end), symbol.upper()
    begin, until = (from_ns(new_york_ns(day, clock)) for day, clock in ((first, MIDNIGHT), (last, DAY_END)))
    history = AlpacaHistory(*keys, base_url=url)
    bars = [history.stock_bars([symbol], begin, until, length=length)]
    if options:
        bars.append(history.option_bars([option.upper() for option in options], begin, until, length=length))
    paid = [(line.ex_date, line.amount) for line in history.cash_dividends(symbol, first, last)]
    choices = ImportChoices(set_name(name, length), symbol, BAR_SECONDS[length])
    report = import_download(catalog, choices, map(astuple, chain(*bars)), paid, (first, last))
    show_imports([report], catalog, as_json=as_json)


def _venue_options(body: Body) -> Body:
    body = click.option("--test", "is_test", is_flag=True, help="The venue's test environment.")(body)
    body = click.option("--url", default=None, metavar="URL", help="A simulated exchange instead.")(body)
    body = click.option("--name", default="deribit", show_default=True, help="Name of the data set.")(body)
    return click.argument("coin")(body)


def _history(url: str | None, *, is_test: bool) -> Any:
    """Return the client of the venue's public data."""
    from scalpdesk.venues.deribit.gateway import LIVE_URL, TEST_URL, exchange_urls
    from scalpdesk.venues.deribit.history import HISTORY_URL, TEST_HISTORY_URL, DeribitHistory

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
@span_options("First day; days run from 08:00 UTC.")
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
@raw_option
def deribit(
    *, as_json: bool, coin: str, start: str, end: str | None, options: tuple[str, ...], **choices: Any
) -> None:
    """Download the public history of COIN: trades, bars, instruments, settlements, DVOL, funding. No keys.

    A day that has been downloaded whole is passed over, so that a download that was cut off goes on where it
    stopped. A day that is not over yet is not downloaded.
    """
    import asyncio

    first, last = read_span(start, end)
    symbols = [perpetual_symbol(coin.upper()), *(option.upper() for option in options)]
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    with progress_bar(as_json=as_json) as report_progress:
        work = _download_coin(coin.upper(), symbols, days, progress=report_progress, **choices)
        report = asyncio.run(work)
    show_imports([report], choices["catalog"], as_json=as_json)


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
                is_over = [row for row in rows if row["ts"] <= now_ms * NANOS_PER_MS]
                add_rows(catalog, name, "trades", coin, is_over, report)
            days = []
        whole = [day for day in days if coin_session(day).close_ns // NANOS_PER_MS < now_ms]
        for day in days[len(whole) :]:
            report.note(f"{day} is not over at the venue: not downloaded")
        if whole:
            add_rows(catalog, name, "listings", coin, await history.listings(coin), report)
        for done, day in enumerate(whole):
            progress(done, len(whole), str(day))
            session = coin_session(day)
            begin, until = session.open_ns // NANOS_PER_MS, session.close_ns // NANOS_PER_MS
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
    type=NumberRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds between two records.",
)
@click.option("--minutes", type=NumberRange(0), default=None, help="How long [default: until stopped].")
@raw_option
def record_deribit(*, as_json: bool, coin: str, **choices: Any) -> None:
    """Record the perpetual and all options of COIN: quotes, marks, implied volatilities, Greeks.

    Each record has the instruments that have changed since the last one. Ctrl-C ends it, and what was
    recorded is written; a process that dies loses five minutes at most.
    """
    import asyncio

    report = asyncio.run(_record_coin(coin.upper(), is_quiet=as_json, **choices))
    show_imports([report], choices["catalog"], as_json=as_json)


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
