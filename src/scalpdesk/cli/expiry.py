"""``scalpdesk expiry``: the options of a run on their last day, and what will be held tomorrow."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import to_builtins

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.output import Made, print_json, print_table, table_of
from scalpdesk.cli.risk import follow_run
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.instruments.sessions import to_new_york

if TYPE_CHECKING:
    from scalpdesk.closing.expiry_day import LegAtExpiry


@desk_command("expiry", example=("scalpdesk expiry last", "scalpdesk expiry last --time 15:30 --json"))
@click.argument("run", required=False, default="last")
@click.option("--start", "session", metavar="DATE", help="Session [default: when something was held last].")
@click.option(
    "--time", "clock", metavar="HH:MM", help="New York time [default: when something was held last]."
)
@click.option(
    "--pin",
    "deviations",
    type=click.FloatRange(0.0, 10.0),
    default=1.0,
    show_default=True,
    help="Standard deviations within which a strike counts as a pin.",
)
@settings_options
def expiry(
    *,
    as_json: bool,
    run: str,
    session: str | None,
    clock: str | None,
    deviations: float,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Show the options of RUN that expire on its day: pins, cut-offs, notices, shares held tomorrow.

    The distance is in standard deviations of what is left, above 0 in the money. Worth exercised and worth
    held are those of the whole position.
    """
    from scalpdesk.monitor.expiry_documents import expiry_figures, tomorrow_text

    settings = settings_from(config_file, overrides)
    with progress_bar(as_json=as_json) as report:
        run_id, follower = follow_run(Path(settings.config.desk.runs_dir), run, session, clock, report)
    found, as_of = expiry_figures(follower, deviations), to_new_york(follower.now_ns)
    document: dict[str, Any] = {"run_id": run_id, "as_of": f"{as_of:%Y-%m-%d %H:%M:%S}", **to_builtins(found)}
    if as_json:
        print_json(document)
        return
    click.echo(f"{run_id}, {document['as_of']} New York")
    if not found.legs:
        click.echo("nothing that is held expires on this day")
        return
    _print_legs(found.legs)
    for night in found.tomorrow:
        click.echo(tomorrow_text(night))


def _print_legs(legs: "tuple[LegAtExpiry, ...]") -> None:
    def at(ts_ns: int | None) -> str:
        return "" if ts_ns is None else f"{to_new_york(ts_ns):%H:%M}"

    columns = (
        "option={symbol}|units:+f|min left={minutes:.0f}|sd in the money={distance:+.1f}{pin}|chance:.0p %"
        "|last order|last notice|exercised:,.2f|held:,.2f"
    )
    made: Made = {
        "pin": lambda leg: " pin" if leg.is_pinned else "",
        "last order": lambda leg: at(leg.order_cutoff_ns),
        "last notice": lambda leg: at(leg.notice_ns),
    }
    print_table(table_of(legs, columns, made, unknown=""))
