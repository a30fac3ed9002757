"""``scalpdesk journal``: the calendar of P&L, trades with their edge, and notes."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.output import new_table, print_json, print_table
from scalpdesk.core.errors import ConfigError

TITLES = {
    "days": "Day",
    "months": "Month",
    "weekdays": "Weekday",
    "hours": "Hour, New York",
    "days_to_expiry": "Days to expiry",
    "regimes": "Regime",
}


@desk_command(
    "journal",
    example=(
        "scalpdesk journal last",
        "scalpdesk journal --search 'gamma-scalper paper'",
        "scalpdesk journal last --json",
    ),
)
@click.argument("runs", metavar="[RUN ...]", nargs=-1)
@click.option("--search", default="", metavar="WORDS", help="All runs that have every word, as `runs` does.")
@settings_options
def journal(
    *,
    as_json: bool,
    runs: tuple[str, ...],
    search: str,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Show P&L by day, month, weekday, hour, days to expiry and regime, each trade's edge, and notes.

    RUN is an id, its beginning, or last; without one it is the run written last.
    """
    if runs and search.strip():
        raise ConfigError(
            "runs are named or searched", where="RUN, --search", value=search, fix="leave out one of the two"
        )
    from scalpdesk.web.journal import journal_of

    config = settings_from(config_file, overrides).config
    found = journal_of(Path(config.desk.runs_dir), runs, search, config.records_url)
    if as_json:
        print_json(found)
        return
    if not found["runs"]:
        click.echo("no run; scalpdesk demo makes the first, scalpdesk runs lists them")
        return
    for name, title in TITLES.items():
        if found[name]:
            _show(title, found[name], found["currency"])
    if found["trades"]:
        _show_trades(found["trades"])
    for note in found["notes"]:
        of = f"{note['kind']} {note['name']}".strip()
        click.echo(" ".join([f"{note['run_id']} {of}:", *(f"#{tag}" for tag in note["tags"]), note["note"]]))
    for run_id, why in found["left_out"].items():
        click.echo(f"left out: {run_id}, {why}", err=True)


def _show(title: str, rows: list[dict[str, Any]], currency: str) -> None:
    counts = [name for name in ("sessions", "trades") if rows[0][name] is not None]
    table = new_table(title, f"P&L {currency}", *counts, left=1)
    for row in rows:
        pnl = Decimal(row["pnl"])
        if pnl or counts:  # of days and hours those that moved
            table.add_row(
                row["name"], f"{pnl:+,f}" if pnl else f"{pnl:f}", *(str(row[name]) for name in counts)
            )
    print_table(table)


def _show_trades(rows: list[dict[str, Any]]) -> None:
    from scalpdesk.instruments.sessions import to_new_york

    are_several = len({row["run_id"] for row in rows}) > 1
    first = ("run", "trade", "opened (New York)") if are_several else ("trade", "opened (New York)")
    columns = ("cash in", "worth 1 min", "5 min", "30 min", "vol in", "forecast", "vol out", "cash out")
    table = new_table(*first, *columns, "P&L", left=len(first))
    for row in rows:
        worth = (_figure(row[f"worth_after_{minutes}"]) for minutes in (1, 5, 30))
        vols = map(_vol, (row["vol_in"], row["forecast_vol"], row["vol_out"]))
        opened = f"{to_new_york(row['opened_ns']):%Y-%m-%d %H:%M}"
        own = (row["run_id"],) if are_several else ()
        figures = (_cash(row["cash_in"]), *worth, *vols, _cash(row["cash_out"]), _cash(row["pnl"]))
        table.add_row(*own, f"{row['number']}: {row['structure'] or '-'}", opened, *figures)
    print_table(table)
    for row in rows:
        number = f"{row['run_id']} {row['number']}" if are_several else row["number"]
        click.echo(f"{number}: {'; '.join(filter(None, (row['entry'], row['exit'])))}")


def _cash(amount: Decimal) -> str:
    return f"{amount:+,.2f}"


def _figure(value: float | None) -> str:
    return "·" if value is None else f"{value:,.2f}"


def _vol(value: float | None) -> str:
    return "·" if value is None else f"{100 * value:.1f} %"
