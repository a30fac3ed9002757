"""``scalpdesk data import``: fill the catalogue from files."""

import math
from datetime import date
from pathlib import Path
from typing import Any

import click

from scalpdesk.cli.command import desk_command
from scalpdesk.cli.data import catalog_option, show_imports
from scalpdesk.cli.data_sources import SourceGroup, source_command
from scalpdesk.cli.output import print_json
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK
from scalpdesk.core.sockets import IMPORTERS
from scalpdesk.core.units import count_text
from scalpdesk.data_sources.contract import ImporterSpec, ImportRequest


def _import_command(spec: ImporterSpec[Any]) -> click.Command:
    """Return the command of an importer."""

    @click.argument("path", type=click.Path(path_type=Path))
    def run(*, as_json: bool, path: Path, catalog: Path, flags: Any) -> int:
        with progress_bar(as_json=as_json) as report_progress:
            request = ImportRequest(path=path, catalog=catalog, progress=report_progress)
            reports = spec.run(request, flags)
        show_imports(reports, catalog, as_json=as_json)
        return EXIT_FAILED if any(report.unreadable for report in reports) else EXIT_OK

    return source_command(spec, run)


@click.group("import", cls=SourceGroup, sources=IMPORTERS, declare=_import_command)
def import_() -> None:
    """Fill the catalogue from files: LEAN's folder, CSV, Parquet, files of data vendors."""


@desk_command("actions", example="scalpdesk data actions mine splits.csv")
@click.argument("name")
@click.argument("path", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@catalog_option
def actions(*, as_json: bool, name: str, path: Path | None, catalog: Path) -> None:
    """Book the splits and dividends of FILE in the data set NAME.

    FILE is a CSV file with the columns symbol, ex_date, action (split, dividend, special_dividend) and
    amount: 3:1 of a split, currency a share of a dividend. Without FILE those of the built-in table are
    booked that the data set's own prices show.
    """
    from scalpdesk.datasets.importers.actions import book_known_actions, import_actions

    report = book_known_actions(catalog, name) if path is None else import_actions(catalog, name, path)
    show_imports([report], catalog, as_json=as_json)


_EXAMPLE_COLUMNS = {
    "ts": "Quote Time",
    "expiry": "Expiry",
    "strike": "Strike",
    "right": "Call/Put",
    "bid": "Best Bid",
    "ask": "Best Ask",
    "bid_size": "Bid Size",
    "ask_size": "Ask Size",
}
"""Columns of the sample file as a vendor might name them, by the catalogue's name."""
_EXAMPLE_SESSION = date(2018, 2, 5)


@desk_command("example", example=("scalpdesk data example", "scalpdesk data example quotes.csv --json"))
@click.argument("path", type=click.Path(path_type=Path), default=Path("example.csv"), metavar="[FILE]")
def example(*, as_json: bool, path: Path) -> None:
    """Write a CSV file of quotes as a vendor might: own column names, US dates, N/A; and how to import it.

    It holds a session of the embedded market: SPY and its options of one expiry.
    """
    import shlex

    rows = _example_rows()
    path.write_text("\n".join((",".join(_EXAMPLE_COLUMNS.values()), *rows)) + "\n", encoding="utf-8")
    mapped = [word for name, column in _EXAMPLE_COLUMNS.items() for word in ("--map", f"{name}={column}")]
    words = ("data", "import", "csv", str(path), "--name", "example", "--underlying", "SPY")
    zone = ("--timezone", "America/New_York", "--dates", "mdy")
    commands = (
        shlex.join(("scalpdesk", *words, *zone, *mapped)),
        "scalpdesk backtest gamma-scalper --data example --set entry.gate=off",
    )
    if as_json:
        print_json({"file": str(path), "rows": len(rows), "next": commands})
        return
    click.echo(f"{path}: {count_text(len(rows), 'row')}, SPY on {_EXAMPLE_SESSION}, reconstructed")
    click.echo("next: " + "\n      ".join(commands))


def _example_rows() -> list[str]:
    """Return the quotes of a session as lines of a CSV file; a side that is absent is N/A."""
    from scalpdesk.datasets.embedded.chain import listed_expiries
    from scalpdesk.datasets.embedded.market import reconstruct
    from scalpdesk.instruments.sessions import to_new_york
    from scalpdesk.simulation.tape_reader import session_quotes

    day = _EXAMPLE_SESSION
    expiry = next(each for each in listed_expiries(day) if (each - day).days >= 30)
    tape = reconstruct(day, expiries=(expiry,), quote_seconds=60.0)
    quotes = session_quotes(tape, tape.sessions[0])
    contracts = []
    for each in tape.instruments:
        if each.is_option:
            contracts.append(f"{each.expiry:%m/%d/%Y},{each.strike},{'Call' if each.is_call else 'Put'}")
        else:
            contracts.append("N/A,N/A,N/A")

    def shown(price: float) -> str:
        return f"{price:.2f}" if math.isfinite(price) else "N/A"

    columns = (quotes.ts_ns, quotes.instrument_id, quotes.bid, quotes.ask, quotes.bid_size, quotes.ask_size)
    return [
        f"{to_new_york(int(ts_ns)):%m/%d/%Y %H:%M:%S},{contracts[number]},"
        f"{shown(bid)},{shown(ask)},{bid_size:.0f},{ask_size:.0f}"
        for ts_ns, number, bid, ask, bid_size, ask_size in zip(*columns, strict=True)
    ]
