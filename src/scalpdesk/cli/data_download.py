"""``scalpdesk data download`` and ``record``: fill the catalogue from a venue."""

import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from scalpdesk.cli.command import Body, NumberRange, settings_from
from scalpdesk.cli.data import show_imports
from scalpdesk.cli.data_sources import SourceGroup, source_command
from scalpdesk.cli.market import read_span, span_options
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.sockets import DOWNLOADERS, RECORDERS
from scalpdesk.data_sources.contract import (
    DownloaderSpec,
    DownloadRequest,
    RecorderSpec,
    RecordRequest,
)
from scalpdesk.datasets.importers.base import ImportReport
from scalpdesk.venues.contract import Revealable


def _download_command(spec: DownloaderSpec[Any]) -> click.Command:
    """Return the command of a downloader."""

    @click.argument("symbol", metavar=spec.argument.upper())
    def run(*, as_json: bool, symbol: str, start: str, end: str | None, catalog: Path, flags: Any) -> None:
        first, last = read_span(start, end)
        with progress_bar(as_json=as_json) as report_progress:
            request = DownloadRequest(
                symbol=symbol.upper(),
                first=first,
                last=last,
                catalog=catalog,
                keys=partial(_account_keys, spec.name),
                progress=report_progress,
            )
            reports = spec.run(request, flags)
        show_imports(reports, catalog, as_json=as_json)

    return source_command(spec, run, span_options(spec.days_help))


@click.group(
    "download",
    cls=SourceGroup,
    sources=DOWNLOADERS,
    declare=_download_command,
)
def download() -> None:
    """Fill the catalogue from a venue's history."""


def _account_keys(source: str) -> tuple[Revealable, Revealable]:
    """Return the keys of the trading account: those of the strategy in STRATEGY_MODE where it has its own.

    Others open an account at the venue of that name, too, as they do for a desk.
    """
    from scalpdesk.config.settings import keys_missing
    from scalpdesk.venues.registry import find_venue, venue_names

    mode = settings_from().config.desk.strategy_mode
    others = find_venue(source).other_keys if source in venue_names() else ()
    keys = settings_from(strategy=mode, simulated_account=False).venue_keys(others)
    if keys is None:
        raise keys_missing("a download needs the keys of an account", mode)
    return keys


def _record_command(spec: RecorderSpec[Any]) -> click.Command:
    """Return the command of a recorder."""

    @click.argument("symbol", metavar=spec.argument.upper())
    def run(
        *, as_json: bool, symbol: str, every: float, minutes: float | None, catalog: Path, flags: Any
    ) -> None:
        import asyncio

        async def recorded() -> Sequence[ImportReport]:
            stopped, loop = asyncio.Event(), asyncio.get_running_loop()
            for each in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(each, stopped.set)
            request = RecordRequest(
                symbol=symbol.upper(),
                catalog=catalog,
                every_seconds=every,
                seconds=None if minutes is None else 60.0 * minutes,
                stopped=stopped,
                keys=partial(_account_keys, spec.name),
                notify=lambda text: None if as_json else click.echo(text, err=True),
            )
            return await spec.run(request, flags)

        show_imports(asyncio.run(recorded()), catalog, as_json=as_json)

    return source_command(spec, run, _interval_options)


def _interval_options(body: Body) -> Body:
    body = click.option("--minutes", type=NumberRange(0), help="Duration [default: until stopped].")(body)
    return click.option(
        "--every",
        type=NumberRange(0, min_open=True),
        default=60.0,
        show_default=True,
        help="Seconds between two records.",
    )(body)


@click.group(
    "record",
    cls=SourceGroup,
    sources=RECORDERS,
    declare=_record_command,
)
def record() -> None:
    """Keep a venue's live market data in the catalogue."""
