"""Alpaca's history, snapshots of its option chains, and their recording as sources."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, time, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from scalpdesk.base import Flag, Options, RetryError
from scalpdesk.plugins import (
    FLUSH_SECONDS,
    DownloaderSpec,
    DownloadRequest,
    ImportReport,
    RecorderSpec,
    RecordRequest,
)

if TYPE_CHECKING:
    from scalpdesk.datasets.chain_snapshots import ChainSnapshot

_DAY_END = time(23, 59, 59)


class ChainFlags(Options, frozen=True, kw_only=True):
    """Flags of whatever asks for a chain."""

    days: Annotated[int, Flag("Options that expire within so many days.", least=0, most=1_200)] = 45
    strikes: Annotated[int, Flag("Strikes within so many percent of the share.", least=1, most=1_000)] = 15
    feed: Annotated[Literal["indicative", "opra"], Flag("Feed of option quotes.")] = "indicative"
    stock_feed: Annotated[Literal["iex", "sip"], Flag("Feed of share quotes.")] = "iex"
    rate: Annotated[float, Flag("Rate a year, continuously compounded, of the own volatilities.")] = 0.0
    url: Annotated[str | None, Flag("A simulated exchange instead of the venue.", "URL")] = None


class AlpacaFlags(ChainFlags, frozen=True, kw_only=True):
    """Flags of ``data download alpaca``."""

    option: Annotated[tuple[str, ...], Flag("Also this option; may be repeated.", "SYMBOL")] = ()
    chain: Annotated[bool, Flag("Also the option bars of each day, by --days and --strikes.")] = False
    snapshot: Annotated[
        bool, Flag("Also the chain as it is now, to NAME-chain: quotes, volatilities, Greeks.")
    ] = False
    again: Annotated[bool, Flag("Also option bars of days that have been downloaded before.")] = False
    length: Annotated[Literal["minute", "hour"], Flag("Length of the bars.")] = "minute"
    name: Annotated[str, Flag("Name of the data set; hours: NAME-hour.")] = "alpaca"


class AlpacaRecordFlags(ChainFlags, frozen=True, kw_only=True):
    """Flags of ``data record alpaca``."""

    name: Annotated[str, Flag("Name of the data set.")] = "alpaca-chain"


def run(request: DownloadRequest, flags: AlpacaFlags) -> Sequence[ImportReport]:
    """Download trade bars and cash dividends, and the chain where it is asked for."""
    from scalpdesk.base import from_ns, new_york_ns
    from scalpdesk.plugins import ImportChoices, import_download, set_name
    from scalpdesk_alpaca.history import BAR_SECONDS, AlpacaHistory

    symbol, first, last = request.symbol, request.first, request.last
    begin, until = from_ns(new_york_ns(first, time())), from_ns(new_york_ns(last, _DAY_END))
    history = AlpacaHistory(*request.keys(), base_url=flags.url)
    bars = [history.stock_bars([symbol], begin, until, length=flags.length)]
    if flags.option:
        options = [option.upper() for option in flags.option]
        bars.append(history.option_bars(options, begin, until, length=flags.length))
    paid = [(line.ex_date, line.amount) for line in history.cash_dividends(symbol, first, last)]
    choices = ImportChoices(set_name(flags.name, flags.length), symbol, BAR_SECONDS[flags.length])
    rows = map(msgspec.structs.astuple, chain(*bars))
    reports = [import_download(request.catalog, choices, rows, paid, (first, last))]
    if flags.chain:
        _download_chain(request, flags, history, choices, reports[0])
    if flags.snapshot:
        from scalpdesk.datasets.chain_snapshots import add_snapshots

        report = ImportReport(f"{flags.name}-chain")
        snapshot = _snapshot_now(history, symbol, flags)
        add_snapshots(
            request.catalog,
            report.name,
            [snapshot],
            report,
            bar_seconds=60,
            source="Alpaca, recorded",
            rate=flags.rate,
        )
        reports.append(report)
    return reports


def _download_chain(
    request: DownloadRequest, flags: AlpacaFlags, history: Any, choices: Any, report: ImportReport
) -> None:
    """Download the bars of each day's options, session by session; whole days are passed over."""
    from scalpdesk.base import SystemClock, from_ns, new_york_ns, sessions_between
    from scalpdesk.datasets.store import connect, day_file, read_columns
    from scalpdesk.plugins import Downloaded, import_download

    symbol, name = request.symbol, choices.name
    kept = Downloaded(request.catalog, name)
    listed = history.contracts(symbol, request.first, request.last + timedelta(days=flags.days))
    sessions = sessions_between(request.first, request.last)
    what = f"options of {symbol}, {flags.days} days, {flags.strikes} %"
    for done, session in enumerate(sessions):
        day = session.day
        request.progress(done, len(sessions), str(day))
        stored = day_file(
            request.catalog, name, "trades", symbol, str(day.year) if flags.length == "hour" else str(day)
        )
        if not stored.is_file() or (kept.has(what, day) and not flags.again):
            continue
        bounds = [new_york_ns(day, at) for at in (time(), _DAY_END)]
        prices = read_columns(
            connect(),
            [stored],
            "SELECT min(low) AS low, max(high) AS high FROM rows WHERE symbol = ? "
            "AND epoch_ns(ts) BETWEEN ? AND ?",
            [symbol, *bounds],
        )
        low, high = float(prices["low"][0]), float(prices["high"][0])
        low, high = low * (1 - flags.strikes / 100), high * (1 + flags.strikes / 100)
        names = [
            each.symbol
            for each in listed
            if day <= each.expiry <= day + timedelta(days=flags.days) and low <= each.strike <= high
        ]
        bars = list(history.pages_of_option_bars(names, *map(from_ns, bounds), length=flags.length))
        if bars:
            part = import_download(
                request.catalog, choices, map(msgspec.structs.astuple, bars), (), (date.max, date.max)
            )
            for label, rows in part.rows.items():
                table, _, key = label.partition("/")
                report.add(table, key, rows)
            for note in part.notes:
                report.note(note)
        else:
            report.note(f"{day}: no trade of {len(names)} options")
        if session.close_ns < SystemClock().now_ns():
            kept.add(what, day)


def _snapshot_now(history: Any, symbol: str, flags: ChainFlags) -> "ChainSnapshot":
    """Return the chain as the venue has it now.

    Raises RetryError when the venue does not answer, or has no quote of the share.
    """
    from scalpdesk.base import SystemClock, to_new_york
    from scalpdesk.datasets.chain_snapshots import ChainSnapshot

    share = history.latest_quote(symbol, feed=flags.stock_feed)
    price = 0.0 if share is None else max(share.bid, share.ask)
    if share is None or price <= 0.0:
        raise RetryError(
            f"the venue has no quote of {symbol}",
            value=symbol,
            fix="check the symbol; Alpaca has options on shares and funds, not on indices",
        )
    band = flags.strikes / 100
    today = to_new_york(SystemClock().now_ns()).date()
    options = history.chain(
        symbol,
        feed=flags.feed,
        last_expiry=today + timedelta(days=flags.days),
        strikes=(price * (1 - band) if band < 1 else 0.01, price * (1 + band)),
    )
    # known when the last page has come, not when it was asked for
    return ChainSnapshot(ts_ns=SystemClock().now_ns(), underlying=share, options=tuple(options))


async def record(request: RecordRequest, flags: AlpacaRecordFlags) -> Sequence[ImportReport]:
    """Record a snapshot of the chain at each interval."""
    from scalpdesk.datasets.chain_snapshots import add_snapshots, newest
    from scalpdesk.plugins import manifest_to_extend
    from scalpdesk_alpaca.history import AlpacaHistory

    seconds = max(1, round(request.every_seconds))
    report, loop = ImportReport(flags.name), asyncio.get_running_loop()
    manifest_to_extend(request.catalog, flags.name, seconds)
    history = AlpacaHistory(*request.keys(), base_url=flags.url)
    waiting: list[ChainSnapshot] = []

    def flush() -> None:
        if not waiting:
            return
        add_snapshots(
            request.catalog,
            flags.name,
            waiting,
            report,
            bar_seconds=seconds,
            source="Alpaca, recorded",
            rate=flags.rate,
        )
        request.notify(newest(waiting))
        waiting.clear()

    began = flushed = loop.time()
    taken, is_over = 0, False
    try:
        while not is_over:
            try:
                waiting.append(await asyncio.to_thread(_snapshot_now, history, request.symbol, flags))
            except RetryError as lost:
                if not taken:
                    raise
                report.note(f"no answer: {lost.value}")
            taken += 1
            if taken == 1:
                request.notify(f"{newest(waiting)}; Ctrl-C ends it")
            if loop.time() - flushed >= FLUSH_SECONDS:
                flush()
                flushed = loop.time()
            due = began + taken * request.every_seconds
            if request.seconds is not None:
                due = min(due, began + request.seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(due - loop.time(), 0.0)):
                    await request.stopped.wait()
            is_over = request.stopped.is_set() or (
                request.seconds is not None and loop.time() - began >= request.seconds
            )
    finally:
        flush()
    return [report]


DOWNLOADER = DownloaderSpec(
    name="alpaca",
    summary="Download the trade bars and cash dividends of SYMBOL, and its option chain.",
    help="""Download the trade bars and cash dividends of SYMBOL, with the keys of the trading account.

    They are those of the strategy in STRATEGY_MODE where it has its own. Downloading again
    replaces the same days. With --chain also the bars of all options that --days and --strikes choose,
    expired options too: a session that is in whole is passed over, so that a download that was cut off goes
    on. With --snapshot also the chain as it is now, with the venue's and own volatilities and Greeks.
    """,
    examples=(
        "scalpdesk data download alpaca SPY --start 2026-01-05 --end 2026-01-09",
        "scalpdesk data download alpaca SPY --start 2026-01-05 --option SPY260109C00690000 --json",
        "scalpdesk data download alpaca SPY --start 2026-01-05 --chain --days 5 --strikes 3",
    ),
    flags=AlpacaFlags,
    run=run,
)
RECORDER = RecorderSpec(
    name="alpaca",
    summary="Record the option chain of SYMBOL: quotes, the venue's and own IVs and Greeks.",
    help="""Record snapshots of the option chain of SYMBOL: quotes, the venue's and own IVs and Greeks.

    With the keys of the trading account. Ctrl-C ends it, and what was recorded is written; a process that
    dies loses five minutes at most. Backtests and replays trade on the recorded quotes.
    """,
    examples=(
        "scalpdesk data record alpaca SPY --days 7 --strikes 5",
        "scalpdesk data record alpaca SPY --every 15 --minutes 60 --json",
    ),
    flags=AlpacaRecordFlags,
    run=record,
)
