"""Alpaca's history as a source."""

from collections.abc import Sequence
from datetime import time
from itertools import chain
from typing import Annotated, Literal

import msgspec

from scalpdesk.data_sources.contract import DownloaderSpec, DownloadRequest, Flag
from scalpdesk.datasets.importers.base import ImportReport

DAY_END = time(23, 59, 59)


class AlpacaFlags(msgspec.Struct, frozen=True):
    """Flags of ``data download alpaca``."""

    option: Annotated[tuple[str, ...], Flag("Also this option; may be repeated.", "SYMBOL")] = ()
    length: Annotated[Literal["minute", "hour"], Flag("Length of the bars.")] = "minute"
    name: Annotated[str, Flag("Name of the data set; hours: NAME-hour.")] = "alpaca"
    url: Annotated[str | None, Flag("A simulated exchange instead of the venue.", "URL")] = None


def run(request: DownloadRequest, flags: AlpacaFlags) -> Sequence[ImportReport]:
    """Download trade bars and cash dividends."""
    from scalpdesk.datasets.importers.lean import set_name
    from scalpdesk.datasets.importers.tabular import ImportChoices, import_download
    from scalpdesk.instruments.sessions import from_ns, new_york_ns
    from scalpdesk.venues.alpaca.history import BAR_SECONDS, AlpacaHistory

    symbol, first, last = request.symbol, request.first, request.last
    begin, until = from_ns(new_york_ns(first, time())), from_ns(new_york_ns(last, DAY_END))
    history = AlpacaHistory(*request.keys(), base_url=flags.url)
    bars = [history.stock_bars([symbol], begin, until, length=flags.length)]
    if flags.option:
        options = [option.upper() for option in flags.option]
        bars.append(history.option_bars(options, begin, until, length=flags.length))
    paid = [(line.ex_date, line.amount) for line in history.cash_dividends(symbol, first, last)]
    choices = ImportChoices(set_name(flags.name, flags.length), symbol, BAR_SECONDS[flags.length])
    rows = map(msgspec.structs.astuple, chain(*bars))
    return [import_download(request.catalog, choices, rows, paid, (first, last))]


DOWNLOADER = DownloaderSpec(
    name="alpaca",
    summary="Download the trade bars and cash dividends of SYMBOL.",
    help="""Download the trade bars and cash dividends of SYMBOL, with the keys of the trading account.

    They are those of the strategy in STRATEGY_MODE where it has its own. Downloading again
    replaces the same days.
    """,
    examples=(
        "scalpdesk data download alpaca SPY --start 2026-01-05 --end 2026-01-09",
        "scalpdesk data download alpaca SPY --start 2026-01-05 --option SPY260109C00690000 --json",
    ),
    flags=AlpacaFlags,
    run=run,
)
