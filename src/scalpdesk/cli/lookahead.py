"""``scalpdesk research lookahead``: a test whether a strategy decides by what is known only later."""

import click
import msgspec

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.flags import options
from scalpdesk.cli.market import Drawn, UsualSpan, tape_of
from scalpdesk.cli.output import console, print_json
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK


@desk_command(
    "lookahead",
    example=(
        "scalpdesk research lookahead gamma-scalper --set entry.gate=advise",
        "scalpdesk research lookahead st0cka --start 2018-02-05 --end 2018-02-06 --cuts 20 --json",
    ),
)
@click.argument("strategy")
@options(UsualSpan, "span")
@click.option(
    "--cuts",
    type=click.IntRange(1, 1_000),
    default=8,
    show_default=True,
    help="Instants after which the market is changed: half at decisions.",
)
@click.option(
    "--listing",
    is_flag=True,
    help="Leave out contracts that only later sessions quote: a tape lists them from the first on.",
)
@options(Drawn, "drawn")
@settings_options
def lookahead(
    *,
    as_json: bool,
    strategy: str,
    span: UsualSpan,
    cuts: int,
    listing: bool,
    drawn: Drawn,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> int:
    """Change the market after several instants and compare what STRATEGY decided before them.

    Exit code 1 when a decision, an order or a mark before an instant depends on what comes after it.
    """
    from scalpdesk.backtesting.simulate import BacktestConfig
    from scalpdesk.cli.compiling import compile_kernels_once
    from scalpdesk.research.look_ahead import USUAL_CHANGES, FutureChange, find_look_ahead

    settings = settings_from(config_file, (*overrides, *drawn.overrides()), strategy)
    config = BacktestConfig.of(settings, seed=drawn.seed_of(settings, span.data_set))
    compile_kernels_once()
    tape = tape_of(settings, span, drawn)
    changes = USUAL_CHANGES | ({FutureChange.LISTING} if listing else set())
    with progress_bar(as_json=as_json) as report:
        found = find_look_ahead(config, tape, cuts=cuts, changes=changes, report=report)
    exit_code = EXIT_OK if found.passed else EXIT_FAILED
    if as_json:
        print_json(msgspec.to_builtins(found) | {"passed": found.passed})
        return exit_code
    out = console()
    compared = f"{found.decisions} decisions and orders, {len(found.cuts)} cuts, {found.runs} changed futures"
    if found.found is None:
        out.print(f"no look-ahead found: {compared}", markup=False)
        if not found.decisions:
            out.print("the run decided nothing: choose sessions or settings that trade", markup=False)
        return exit_code
    wrong = found.found
    lines = (
        f"look-ahead: an output of {wrong.time} New York changed with the {wrong.change} after {wrong.cut}",
        f"market as it is: {wrong.before}",
        f"other future:    {wrong.after}",
        compared,
    )
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)
    return exit_code
