"""``scalpdesk data download`` and ``record``: fill the catalogue from a venue."""

from pathlib import Path
from typing import Any

import click

from scalpdesk.cli.command import Body, DeskGroup, NumberRange, desk_command, settings_from
from scalpdesk.cli.data import raw_option, show_imports
from scalpdesk.cli.data_sources import SourceGroup, source_command
from scalpdesk.cli.market import read_span, span_options
from scalpdesk.cli.output import progress_bar
from scalpdesk.data_sources.contract import DOWNLOADERS, DownloaderSpec, DownloadRequest
from scalpdesk.venues.contract import Revealable

FLUSH_SECONDS = 300.0
"""Between two writes of what has been recorded."""


def download_command(spec: DownloaderSpec[Any]) -> click.Command:
    """Return the command of a downloader."""

    @click.argument("symbol", metavar=spec.argument.upper())
    def run(*, as_json: bool, symbol: str, start: str, end: str | None, catalog: Path, **flags: Any) -> None:
        first, last = read_span(start, end)
        with progress_bar(as_json=as_json) as report_progress:
            request = DownloadRequest(
                symbol=symbol.upper(),
                first=first,
                last=last,
                catalog=catalog,
                keys=_account_keys,
                progress=report_progress,
            )
            reports = spec.run(request, spec.flags(**flags))
        show_imports(reports, catalog, as_json=as_json)

    return source_command(spec, run, span_options(spec.days_help))


@click.group(
    "download",
    cls=SourceGroup,
    sources=DOWNLOADERS,
    kind=DownloaderSpec,
    declare=download_command,
)
def download() -> None:
    """Fill the catalogue from a venue's history."""


def _account_keys() -> tuple[Revealable, Revealable]:
    """Return the keys of the trading account: those of the strategy in STRATEGY_MODE where it has its own."""
    from scalpdesk.config.settings import keys_missing

    mode = settings_from().config.desk.strategy_mode
    keys = settings_from(strategy=mode, simulated_account=False).venue_keys()
    if keys is None:
        raise keys_missing("a download needs the keys of an account", mode)
    return keys


@click.group("record", cls=DeskGroup)
def record() -> None:
    """Keep a venue's live market data in the catalogue."""


def _venue_options(body: Body) -> Body:
    body = click.option("--test", "is_test", is_flag=True, help="The venue's test environment.")(body)
    body = click.option("--url", default=None, metavar="URL", help="A simulated exchange instead.")(body)
    body = click.option("--name", default="deribit", show_default=True, help="Name of the data set.")(body)
    return click.argument("coin")(body)


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
@click.option("--minutes", type=NumberRange(0), default=None, help="Duration [default: until stopped].")
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

    from scalpdesk.data_sources.deribit import history_at
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

    async with history_at(url, is_test=is_test) as history:
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
