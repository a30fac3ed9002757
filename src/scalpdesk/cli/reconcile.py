"""``scalpdesk reconcile``: a broker's statement against the journal, line by line."""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.flags import options
from scalpdesk.cli.output import print_answer, print_notes, print_table, table_of
from scalpdesk.cli.tax import run_folders
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK, ConfigError, DataError
from scalpdesk.core.flags import Flag, Options
from scalpdesk.core.units import ZERO, count_text, money_decimals, number_text, rounded_text

if TYPE_CHECKING:
    from scalpdesk.accounting.agreement import Agreement, Line
    from scalpdesk.accounting.statements import Statement

_MOST_LINES = 60


class ReconcileOptions(Options, frozen=True, kw_only=True):
    """Which lines are compared, and how closely."""

    broker: Annotated[str, Flag("Broker of the statement: alpaca, deribit, ibkr.", "NAME")]
    runs: Annotated[
        tuple[str, ...], Flag('A run by id or "last"; without any, all live runs there.', "RUN", "--run")
    ] = ()
    account: Annotated[str | None, Flag("Account, where the file holds several.", "NAME")] = None
    start: Annotated[date | None, Flag("First day to compare; default: the statement's.", "DATE")] = None
    end: Annotated[date | None, Flag("Last day to compare; default: the statement's.", "DATE")] = None
    zone: Annotated[str | None, Flag("Zone of the statement's times; default: the broker's.", "ZONE")] = None
    seconds: Annotated[
        float, Flag("Difference of a trade's time that counts as none.", least=0, most=86_400)
    ] = 2.0
    shows_all: Annotated[bool, Flag("Also show the lines that agree.", name="--all")] = False


@desk_command(
    "reconcile",
    example=(
        "scalpdesk reconcile flex.xml --broker ibkr",
        "scalpdesk reconcile activities.json --broker alpaca --run last",
        "scalpdesk reconcile log.csv --broker deribit --start 2025-03-05 --end 2025-03-07 --json",
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@options(ReconcileOptions)
@settings_options
def reconcile(
    *,
    as_json: bool,
    file: Path,
    options: ReconcileOptions,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> int:
    """Compare FILE, a statement of the broker, with the journal, line by line.

    Trades, other lines, positions and cash at the end: what agrees to the cent, what differs, what only one
    side has. The exit code is 1 unless all agree.
    """
    from scalpdesk.accounting.agreement import Tolerances, compare, span_of
    from scalpdesk.accounting.journals import read_lines
    from scalpdesk.accounting.statements import find_reader, without_repeats

    reader = find_reader(options.broker)
    zone_info = _zone(options.zone or reader.zone)
    statement = without_repeats(_chosen(reader.read(_bytes(file), zone_info), options.account, file))
    span = span_of(statement, zone_info, options.start, options.end)
    if span is None:
        raise DataError(
            "the statement has no line, and names no days",
            where=str(file),
            fix="name the days: --start 2024-03-01 --end 2024-03-31",
        )
    settings = settings_from(config_file, overrides)
    folders = run_folders(Path(settings.config.desk.runs_dir), options.runs, venue=options.broker)
    found = compare(statement, read_lines(folders), span, Tolerances(seconds=options.seconds))
    document = _document(found, statement, [each.name for each in folders])
    shown = {"file": str(file), "broker": options.broker, **document}
    print_answer(shown, lambda: _print(found, document, shows_all=options.shows_all), as_json=as_json)
    return EXIT_OK if found.agrees else EXIT_FAILED


def _zone(name: str) -> Any:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(
            "no zone has this name", where="--zone", value=name, fix="--zone America/New_York"
        ) from error


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(
            f"the statement cannot be read: {error.strerror}",
            where=str(file),
            fix="name a file of the broker",
        ) from error


def _chosen(statements: "Sequence[Statement]", account: str | None, file: Path) -> "Statement":
    """Return the statement of the account that is asked for, or the only one."""
    found = [each for each in statements if account in (None, each.account)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(each.account or "?" for each in statements) or "none"
    raise DataError(
        f"the file holds {count_text(len(found), 'statement')} of this account; it names {names}",
        where=str(file),
        value=account,
        fix="choose one: --account NAME",
    )


def _document(found: "Agreement", statement: "Statement", runs: Sequence[str]) -> dict[str, Any]:
    from scalpdesk.instruments.sessions import rfc3339

    return {
        "account": statement.account,
        "runs": list(runs),
        "from": rfc3339(found.span.start_ns),
        "until": rfc3339(found.span.end_ns),
        "agrees": found.agrees,
        "counts": dict(Counter(line.verdict.value for line in found.lines)),
        "lines": [_row(line) for line in found.lines],
        "totals": {
            currency: {
                "broker": number_text(total.broker),
                "journal": number_text(total.journal),
                "difference": number_text(total.broker - total.journal),
                "closes": total.closes,
            }
            for currency, total in found.totals.items()
        },
        "journal_outside": found.outside,
        "notes": found.notes,
        "unread": found.unread,
    }


def _row(line: "Line") -> dict[str, Any]:
    from scalpdesk.instruments.sessions import rfc3339

    return {
        "verdict": line.verdict.value,
        "kind": line.kind,
        "what": line.what,
        "time": rfc3339(line.ts_ns),
        "broker": line.broker,
        "journal": line.journal,
        "currency": line.currency,
        "broker_cash": number_text(line.broker_cash),
        "journal_cash": number_text(line.journal_cash),
        "differences": {name: number_text(value) for name, value in line.differences.items()},
        "unlike": line.unlike,
    }


def _print(found: "Agreement", document: dict[str, Any], *, shows_all: bool) -> None:
    click.echo(f"{document['from']} to {document['until']}, account {document['account'] or '?'}")
    click.echo(", ".join(f"{count} {verdict}" for verdict, count in document["counts"].items()) or "no line")
    shown = [line for line in found.lines if shows_all or line.verdict.value != "agrees"]
    if shown:
        columns = "={verdict.value}|what={kind} {what}|time|broker|journal|difference"
        made = {"time": lambda line: _row(line)["time"][:19], "difference": _apart}
        table = table_of(shown[:_MOST_LINES], columns, made, text=("broker", "journal"))
        print_table(table, first_to_go=("journal", "broker"))
        if len(shown) > _MOST_LINES:
            click.echo(f"… and {len(shown) - _MOST_LINES:,} more: --json has all")
    for currency, total in found.totals.items():
        amounts = (total.broker, total.journal, total.broker - total.journal)
        names = ("broker", "journal", "difference")
        digits = money_decimals(currency)
        click.echo(
            f"{currency}: "
            + ", ".join(
                f"{name} {rounded_text(amount, digits, '+,')}"
                for name, amount in zip(names, amounts, strict=True)
            )
        )
    print_notes([*found.notes, *(f"not read: {each}" for each in found.unread)])


def _apart(line: "Line") -> str:
    """Return what differs, money in the currency's smallest coins."""
    digits = money_decimals(line.currency)
    if not line.differences and not line.unlike:
        return rounded_text(line.cash, digits, "+,") if line.cash else ""
    amounts = (
        f"{name} {rounded_text(value, digits, '+,') if name in ('fee', 'cash') else number_text(value)}"
        for name, value in line.differences.items()
        if value != ZERO
    )
    return ", ".join([*(f"{name} {values}" for name, values in line.unlike.items()), *amounts])
