"""Deribit's history, and captures and tables of a coin, as sources."""

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta
from functools import partial
from typing import Annotated, Any, Literal

from scalpdesk.base import DataError, Flag, Options
from scalpdesk.core.units import NANOS_PER_MS
from scalpdesk.instruments.deribit import coin_of, perpetual_symbol
from scalpdesk.instruments.sessions import coin_session
from scalpdesk.plugins import (
    FLUSH_SECONDS,
    DownloaderSpec,
    DownloadRequest,
    ImporterSpec,
    ImportReport,
    ImportRequest,
    RecorderSpec,
    RecordRequest,
)


class CaptureFlags(Options, frozen=True):
    """Flags of ``data import deribit``."""

    name: Annotated[str, Flag("Name of the data set.")] = "deribit"


def _read_file(request: ImportRequest, flags: CaptureFlags) -> Sequence[ImportReport]:
    """Import a capture of messages, or a table."""
    from scalpdesk.datasets.coin_data import add_rows, finish, import_coin_table
    from scalpdesk.plugins import manifest_to_extend
    from scalpdesk_deribit.history import read_capture

    path, catalog, name = request.path, request.catalog, flags.name
    if not path.is_file():
        raise DataError("no such file", where=str(path), fix="check the path")
    if path.name.lower().endswith((".parquet", ".csv", ".csv.gz")):
        return [import_coin_table(catalog, path, name=name)]
    manifest_to_extend(catalog, name, 60)
    found, kinds = read_capture(path)
    if not kinds:
        raise DataError(
            "the file holds no JSON-RPC message",
            where=str(path),
            fix="name a capture, or a table that ends in .csv, .csv.gz or .parquet",
        )
    report = ImportReport(name, files_read=1)
    report.note("messages read: " + (", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())) or "none"))
    coins = sorted({coin_of(row["symbol"]) for rows in found.values() for row in rows})
    for table, rows in found.items():
        for coin in coins:
            mine = [row for row in rows if coin_of(row["symbol"]) == coin]
            if mine:
                add_rows(catalog, name, table, coin, mine, report)
    finish(catalog, name, coins, source=f"capture {path.name}")
    return [report]


class HistoryFlags(Options, frozen=True):
    """Flags of ``data download deribit``."""

    name: Annotated[str, Flag("Name of the data set.")] = "deribit"
    url: Annotated[str | None, Flag("A simulated exchange instead.", "URL")] = None
    test: Annotated[bool, Flag("The venue's test environment.")] = False
    option: Annotated[tuple[str, ...], Flag("Also bars of this option; may be repeated.", "SYMBOL")] = ()
    length: Annotated[
        Literal["minute", "hour", "day"], Flag("Length of the bars; days: bars alone, by UTC, to NAME-daily.")
    ] = "minute"
    again: Annotated[bool, Flag("Also days that have been downloaded whole before.")] = False


def download(request: DownloadRequest, flags: HistoryFlags) -> Sequence[ImportReport]:
    """Download the public history."""
    return [asyncio.run(_download(request, flags))]


def _history_at(url: str | None, *, is_test: bool) -> Any:
    """Return the client of the venue's public data."""
    from scalpdesk_deribit.gateway import LIVE_URL, TEST_URL, exchange_urls
    from scalpdesk_deribit.history import HISTORY_URL, TEST_HISTORY_URL, DeribitHistory

    if url is not None:
        return DeribitHistory(*exchange_urls(url))
    return DeribitHistory(*((TEST_URL, TEST_HISTORY_URL) if is_test else (LIVE_URL, HISTORY_URL)))


async def _download(request: DownloadRequest, flags: HistoryFlags) -> ImportReport:
    """Download days one after another; each table of a day is written before the next is asked for."""
    from scalpdesk.datasets.coin_data import add_rows, finish
    from scalpdesk.plugins import Downloaded, manifest_to_extend, set_name

    catalog, coin, length = request.catalog, request.symbol, flags.length
    symbols = [perpetual_symbol(coin), *(option.upper() for option in flags.option)]
    days = [request.first + timedelta(days=n) for n in range((request.last - request.first).days + 1)]
    name = set_name(flags.name, "daily" if length == "day" else length)
    seconds = {"minute": 60, "hour": 3_600, "day": 86_400}[length]
    report, kept = ImportReport(name), Downloaded(catalog, name)
    manifest_to_extend(catalog, name, seconds)
    async with _history_at(flags.url, is_test=flags.test) as history:
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
            request.progress(done, len(whole), str(day))
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
                if flags.again or not kept.has(f"{table}/{what}", day):
                    add_rows(catalog, name, table, coin, await job(), report)
                    kept.add(f"{table}/{what}", day)
                    report.files_read += 1
        finish(catalog, name, [coin], source="Deribit, public history", bar_seconds=seconds)
    for notice in history.notices:
        report.note(notice)
    return report


class RecordFlags(Options, frozen=True):
    """Flags of ``data record deribit``."""

    name: Annotated[str, Flag("Name of the data set.")] = "deribit"
    url: Annotated[str | None, Flag("A simulated exchange instead.", "URL")] = None
    test: Annotated[bool, Flag("The venue's test environment.")] = False


async def record(request: RecordRequest, flags: RecordFlags) -> Sequence[ImportReport]:
    """Record the tickers that change."""
    from scalpdesk.datasets.coin_data import add_rows, finish
    from scalpdesk.plugins import manifest_to_extend

    catalog, name, coin = request.catalog, flags.name, request.symbol
    report, loop = ImportReport(name), asyncio.get_running_loop()
    manifest_to_extend(catalog, name, 60)
    rows: list[dict[str, Any]] = []

    def flush() -> None:
        if rows:
            add_rows(catalog, name, "tickers", coin, rows, report)
            finish(catalog, name, [coin], source="Deribit, recorded")
            rows.clear()

    async with _history_at(flags.url, is_test=flags.test) as history:
        listings = await history.listings(coin, expired=False)
        add_rows(catalog, name, "listings", coin, listings, report)
        request.notify(f"{len(listings):,} contracts of {coin} listed; Ctrl-C ends it")
        flushed = loop.time()
        try:
            async for changed in history.chains(
                coin, request.stopped, every_seconds=request.every_seconds, seconds=request.seconds
            ):
                rows += changed
                if loop.time() - flushed >= FLUSH_SECONDS:
                    flush()
                    flushed = loop.time()
                    request.notify(f"{report.rows[f'tickers/{coin}']:,} tickers")
        finally:
            flush()
    for notice in history.notices:
        report.note(notice)
    return [report]


IMPORTER = ImporterSpec(
    name="deribit",
    summary="Import a raw capture of JSON-RPC messages, or a table of a coin.",
    help="""Import a raw capture of JSON-RPC messages (plain or .gz), or a Parquet or CSV file of a coin.

    Files hold tickers (ts, symbol, mark_iv …), prints (ts, trade_id, price …) or bars (ts and bar_start, or
    date; open to volume).
    """,
    examples=(
        "scalpdesk data import deribit capture.gz",
        "scalpdesk data import deribit coinbase_btcusd_daily.parquet --name coinbase",
    ),
    flags=CaptureFlags,
    is_raw=True,
    run=_read_file,
)
DOWNLOADER = DownloaderSpec(
    name="deribit",
    summary="Download the public history of COIN. No keys.",
    help="""Download the public history of COIN: trades, bars, instruments, settlements, DVOL, funding.

    No keys are needed. A day that has been downloaded whole is passed over, so that a download that was cut
    off goes on where it stopped. A day that is not over yet is not downloaded.
    """,
    examples=(
        "scalpdesk data download deribit BTC --start 2026-01-05 --end 2026-01-09",
        "scalpdesk data download deribit BTC --start 2026-01-05 --option BTC-27MAR26-90000-C --json",
    ),
    flags=HistoryFlags,
    is_raw=True,
    run=download,
    argument="coin",
    days_help="First day; days run from 08:00 UTC.",
)
RECORDER = RecorderSpec(
    name="deribit",
    summary="Record the perpetual and all options of COIN: quotes, marks, IVs, Greeks.",
    help="""Record the perpetual and all options of COIN: quotes, marks, implied volatilities, Greeks.

    Each record has the instruments that have changed since the last one. Ctrl-C ends it, and what was
    recorded is written; a process that dies loses five minutes at most.
    """,
    examples=(
        "scalpdesk data record deribit BTC",
        "scalpdesk data record deribit BTC --every 10 --minutes 60",
    ),
    flags=RecordFlags,
    is_raw=True,
    run=record,
    argument="coin",
)
