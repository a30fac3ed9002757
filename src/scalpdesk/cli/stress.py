"""``scalpdesk research stress``: a strategy's trades when quotes of held options are disturbed."""

from collections import Counter

import click
import msgspec

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.flags import options
from scalpdesk.cli.market import Drawn, UsualSpan, tape_of
from scalpdesk.cli.output import console, print_json, print_table, table_of
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK


@desk_command(
    "stress",
    example=(
        "scalpdesk research stress gamma-scalper --draws 50 --set entry.gate=off",
        "scalpdesk research stress zero-dte --start 2017-05-17 --draws 200 --json",
    ),
)
@click.argument("strategy")
@options(UsualSpan, "span")
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
    span: UsualSpan,
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

    settings, drawn = settings_from(config_file, overrides, strategy), Drawn()
    config = BacktestConfig.of(settings, seed=drawn.seed_of(settings, span.data_set))
    compile_kernels_once()
    tape = tape_of(settings, span, drawn)
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
    differ = Counter(each.kind for each in found.differences)
    stopped = Counter(each.kind for each in found.differences if each.is_stopped)
    rows = [(kind, count, differ[kind], stopped[kind]) for kind, count in sorted(found.draws.items())]
    columns = "disturbance={0[0]}|draws={0[1]}|traded otherwise={0[2]}|of them stopped={0[3]}"
    print_table(table_of(rows, columns), out)
    out.print(
        f"{found.trades} executions in options on the plain day; "
        f"the worst of all days at {found.worst_fraction:.0%} of the undisturbed mid",
        markup=False,
    )
    for each in found.differences:
        where = f"{each.kind} of {', '.join(each.symbols)} for {each.seconds:g} s from {each.time}"
        out.print(f"draw {each.draw}: {where}: {each.nav_change:+g}, {each.mode}; {each.why}", markup=False)
    return exit_code
