"""``scalpdesk scalps``: the options scalper's open positions, its history and its performance."""

import json
from pathlib import Path
from typing import Any

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.output import Made, moment_of, print_json, print_table, table_of
from scalpdesk.core.units import count_text, rounded_text

_VIEWS = ("positions", "history", "performance")
_EXAMPLES = ("scalpdesk scalps", "scalpdesk scalps performance --json", "scalpdesk scalps history --run last")


@desk_command("scalps", example=_EXAMPLES)
@click.argument("view", type=click.Choice(_VIEWS), required=False)
@click.option("--run", "run", metavar="RUN", help="Only this run: an id, its beginning, or last.")
@click.option("--ticker", help="Only this underlying.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Most rows.")
@settings_options
def scalps(
    *,
    as_json: bool,
    view: str | None,
    run: str | None,
    ticker: str | None,
    limit: int,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Show what the options scalper holds, what it has closed, and what that came to.

    VIEW is positions, history or performance; all three without. The figures are those of the runs on
    record; times are New York's, those of --json UTC.
    """
    from scalpdesk.records.projection import project_missing
    from scalpdesk.records.scalps import open_scalps, scalp_history, scalp_performance
    from scalpdesk.records.store import Store, load_run, read_runs

    config = settings_from(config_file, overrides).config
    runs_dir = Path(config.desk.runs_dir)
    wanted = _VIEWS if view is None else (view,)
    symbol = None if ticker is None else ticker.upper()
    found: dict[str, Any] = {}

    def read(store: Store) -> dict[str, Any]:
        known: dict[str, Any] = {"unreadable": project_missing(runs_dir, store)}
        run_id = None if run is None else load_run(store, run).run_id
        if "positions" in wanted:
            known["positions"] = [_shown(row) for row in open_scalps(store, run_id, ticker=symbol)]
        if "history" in wanted:
            rows = scalp_history(store, run_id, limit=limit, ticker=symbol)
            known["history"] = [_shown(row) for row in rows]
        if "performance" in wanted:
            figures = scalp_performance(store, run_id, ticker=symbol)
            ends = {name: row and _shown(row) for name in ("best", "worst") for row in (figures[name],)}
            known["performance"] = figures | ends
        return known

    if runs_dir.is_dir() or run is not None:
        found = read_runs(runs_dir, read, config.records_url)
    if as_json:
        empty: dict[str, Any] = {"positions": [], "history": [], "performance": None}
        print_json({"unreadable": {}, **{name: empty[name] for name in wanted}, **found})
        return
    is_known = found.get("performance") is not None and found["performance"]["total"]["scalps"]
    if not (found.get("positions") or found.get("history") or is_known):
        about = "" if symbol is None else f" in {symbol}"
        advice = "" if about else ": scalpdesk backtest ema-scalper"
        click.echo(f"no scalps{about} on record in {runs_dir}/{advice}")
        return
    if "positions" in wanted:
        _print_positions(found["positions"])
    if "history" in wanted:
        _print_history(found["history"])
    if "performance" in wanted:
        _print_performance(found["performance"])


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row in JSON types, its metadata as an object."""
    from scalpdesk.records.scalps import plain_row

    plain = plain_row(row)
    return plain | {"metadata": json.loads(plain.pop("metadata_json") or "{}")}


_ENTRY = "contract={option_symbol}|entered|contracts|entry={entry_premium:.3f}"
_MADE: Made = {
    "entered": lambda row: moment_of(row["entry_time"]),
    "pnl": lambda row: rounded_text(row["pnl"], 2, "+"),
}


def _print_positions(rows: list[dict[str, Any]]) -> None:
    click.echo(f"{len(rows)} open")
    if rows:
        columns = f"{_ENTRY}|delta={{entry_delta:.2f}}|DTE={{dte}}|signal={{signal_id}}"
        print_table(table_of(rows, columns, _MADE), first_to_go=("signal",))


def _print_history(rows: list[dict[str, Any]]) -> None:
    click.echo(f"\n{len(rows)} closed, the newest first")
    if rows:
        columns = (
            f"{_ENTRY}|exit={{exit_premium:.3f}}|reason={{exit_reason}}|P&L USD={{pnl}}|%={{pnl_pct:+.1p}}"
        )
        print_table(table_of(rows, columns, _MADE), first_to_go=("entered", "%"))


def _print_performance(performance: dict[str, Any]) -> None:
    total = performance["total"]
    if not total["scalps"]:
        return
    click.echo(
        f"\n{count_text(total['scalps'], 'scalp')}: {total['won']} won, {total['lost']} lost,"
        f" P&L {total['pnl']:+.2f} USD, held {total['average_hold_seconds']:.0f} s on average"
    )
    titles = {"by_ticker": "{}", "by_hour": "{}:00", "by_conviction": "conviction {}"}
    groups = [
        each | {"group": title.format(each["key"])}
        for name, title in titles.items()
        for each in performance[name]
    ]
    columns = "group|scalps|won %={win_rate:.0p}|P&L USD={pnl}|held s={average_hold_seconds:.0f}"
    print_table(table_of(groups, columns, _MADE))
    for name in ("best", "worst"):
        row = performance[name]
        click.echo(
            f"{name}: {row['option_symbol']} {rounded_text(row['pnl'], 2, '+')} USD ({row['exit_reason']})"
        )
