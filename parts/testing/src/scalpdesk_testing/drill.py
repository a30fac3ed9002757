"""``scalpdesk drill``: rehearse a day's disasters on this set-up."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scalpdesk.cli.output import console
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK, ConfigError, nearest_name
from scalpdesk.plugins import desk_command, print_json, settings_options

if TYPE_CHECKING:
    from scalpdesk_testing.rehearsal import Rehearsed


@desk_command(
    "drill",
    example=(
        "scalpdesk drill",
        "scalpdesk drill --only 'watchdog kill' --set straddles=5",
        "scalpdesk drill --config scalpdesk.toml --json",
    ),
)
@click.option("--only", metavar="NAME", multiple=True, help="Rehearse this disaster; may be repeated.")
@settings_options
def drill(
    *, as_json: bool, only: tuple[str, ...], config_file: str | None, overrides: tuple[str, ...]
) -> int:
    """Rehearse disasters on your own configuration; exit 1 when one does not end well.

    The live desk runs against the simulated exchange in virtual time: minutes pass in a second and
    nothing leaves this machine. Hedging, exits, order sizes and risk limits are yours. The market is a
    small one, and the entry is made at once whatever its gate says. A disaster ends well when the hedge
    is right, the book is flat, or the desk states why it has stopped.
    """
    from scalpdesk.config.settings import load_settings
    from scalpdesk.strategies.gamma_scalper.config import GammaScalperConfig
    from scalpdesk_testing.rehearsal import ADAPTED, DISASTERS, rehearse

    names = [disaster.name for disaster in DISASTERS]
    for name in only:
        if name not in names:
            raise ConfigError(
                "there is no such disaster",
                where="--only",
                value=name,
                nearest=nearest_name(name, names),
                fix=f"one of: {', '.join(names)}",
            )
    settings = load_settings(
        "gamma-scalper", config_file=config_file, overrides=overrides, environ=os.environ, cwd=Path()
    )
    config = settings.strategy_config
    assert isinstance(config, GammaScalperConfig)
    chosen = [disaster for disaster in DISASTERS if not only or disaster.name in only]
    began = time.perf_counter()
    found: list[Rehearsed] = []
    with progress_bar(as_json=as_json) as report:
        for disaster in chosen:
            found.append(rehearse(config, settings.config.risk, disaster))
            report(len(found), len(chosen), disaster.name)
    failed = [row for row in found if not row.ok]
    if as_json:
        print_json(
            {
                "strategy": "gamma-scalper",
                "config_hash": settings.config_hash,
                "adapted": list(ADAPTED),
                "disasters": [
                    {
                        "name": row.name,
                        "happened": row.happened,
                        "did": row.did,
                        "simulated_seconds": row.seconds,
                        "position": row.position,
                        "ending": row.ending,
                        "ok": row.ok,
                    }
                    for row in found
                ],
                "passed": len(found) - len(failed),
                "failed": len(failed),
                "wall_seconds": round(time.perf_counter() - began, 3),
            }
        )
    else:
        _print_table(found, ADAPTED)
    return EXIT_FAILED if failed else EXIT_OK


def _print_table(found: "list[Rehearsed]", adapted: tuple[str, ...]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_lines=False, padding=(0, 2, 1, 0))
    for name in ("disaster", "what happened", "what the desk did", "took", "position after", "ending"):
        table.add_column(name, justify="right" if name == "took" else "left", overflow="fold")
    for row in found:
        ending = row.ending if row.ok else f"[bold red]{row.ending}[/]"
        table.add_row(row.name, row.happened, row.did, f"{row.seconds:g} s", row.position, ending)
    console().print(table)
    good = sum(row.ok for row in found)
    click.echo(f"{good} of {len(found)} ended well. Replaced for the rehearsal: {', '.join(adapted)}.")
