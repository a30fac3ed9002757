"""``scalpdesk research stress``: a strategy's trades when quotes of held options are disturbed."""

import click
import msgspec

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.market import DEFAULT_SESSION, data_option, load_tape, read_span
from scalpdesk.cli.output import console, print_json
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK
from scalpdesk.datasets.embedded import RECONSTRUCTED


@desk_command(
    "stress",
    example=(
        "scalpdesk research stress gamma-scalper --draws 50 --set entry.gate=off",
        "scalpdesk research stress zero-dte --start 2017-05-17 --draws 200 --json",
    ),
)
@click.argument("strategy")
@click.option("--start", default=DEFAULT_SESSION, metavar="DATE", show_default=True, help="First session.")
@click.option("--end", default=None, metavar="DATE", help="Last session [default: the first].")
@data_option
@click.option(
    "--draws",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="Disturbances, each in a run of its own.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the draws.")
@settings_options
def stress(
    *,
    as_json: bool,
    strategy: str,
    start: str,
    end: str | None,
    data_set: str,
    draws: int,
    seed: int,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> int:
    """Disturb the quotes of the options that STRATEGY holds, and compare its trades with the plain day's.

    Exit code 1 when options are traded otherwise although the desk has not stopped, or when one is sold for
    less than half of its undisturbed mid, or bought for more than twice that.
    """
    from scalpdesk.backtesting.simulate import BacktestConfig
    from scalpdesk.cli.compiling import compile_kernels_once
    from scalpdesk.research.quote_stress import stress_quotes
    from scalpdesk.strategies.contract import configured_underlyings

    settings = settings_from(config_file, overrides, strategy)
    first, last = read_span(start, end)
    config = BacktestConfig.of(
        settings, seed=settings.config.simulation.seed if data_set in RECONSTRUCTED else None
    )
    underlying = ",".join(configured_underlyings(settings.strategy_config))
    compile_kernels_once()
    tape = load_tape(settings, data_set, underlying, first, last=last)
    with progress_bar(as_json=as_json) as report:
        found = stress_quotes(config, tape, draws=draws, seed=seed, report=report)
    exit_code = EXIT_OK if found.passed else EXIT_FAILED
    if as_json:
        print_json(msgspec.to_builtins(found) | {"passed": found.passed})
        return exit_code
    out = console()
    if found.no_trade is not None:
        out.print(found.no_trade, markup=False)
        return exit_code
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("disturbance", "draws", "traded otherwise", "of them stopped"):
        table.add_column(name, justify="left" if name == "disturbance" else "right")
    for kind, count in sorted(found.draws.items()):
        rows = [each for each in found.differences if each.kind == kind]
        stopped = sum(each.is_stopped for each in rows)
        table.add_row(kind, str(count), str(len(rows)), str(stopped))
    out.print(table)
    out.print(
        f"{found.trades} executions in options on the plain day; "
        f"the worst of all days at {found.worst_fraction:.0%} of the undisturbed mid",
        markup=False,
    )
    for each in found.differences:
        where = f"{each.kind} of {', '.join(each.symbols)} for {each.seconds:g} s from {each.time}"
        out.print(f"draw {each.draw}: {where}: {each.nav_change:+g}, {each.mode}; {each.why}", markup=False)
    return exit_code
