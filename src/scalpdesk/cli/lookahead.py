"""``scalpdesk lookahead``: a test whether a strategy decides by what is known only later."""

import click
import msgspec

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.market import (
    DEFAULT_SESSION,
    data_option,
    load_tape,
    quality_option,
    quality_override,
    read_span,
)
from scalpdesk.cli.output import console, print_json, progress_bar
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK
from scalpdesk.datasets.embedded import RECONSTRUCTED


@desk_command(
    "lookahead",
    example=(
        "scalpdesk lookahead gamma-scalper --set entry.gate=advise",
        "scalpdesk lookahead st0cka --start 2018-02-05 --end 2018-02-06 --cuts 20 --json",
    ),
)
@click.argument("strategy")
@click.option("--start", default=DEFAULT_SESSION, metavar="DATE", show_default=True, help="First session.")
@click.option("--end", default=None, metavar="DATE", help="Last session [default: the first].")
@data_option
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
@click.option("--seed", type=int, default=None, help="Path of the embedded market [default: 1].")
@quality_option
@settings_options
def lookahead(
    *,
    as_json: bool,
    strategy: str,
    start: str,
    end: str | None,
    data_set: str,
    cuts: int,
    listing: bool,
    seed: int | None,
    quality: str | None,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> int:
    """Change the market after several instants and compare what STRATEGY decided before them.

    Exit code 1 when a decision, an order or a mark before an instant depends on what comes after it.
    """
    from scalpdesk.backtesting.simulate import BacktestConfig
    from scalpdesk.cli.doctor import compile_kernels_once
    from scalpdesk.research.look_ahead import USUAL_CHANGES, FutureChange, find_look_ahead
    from scalpdesk.strategies.contract import configured_underlyings

    settings = settings_from(config_file, (*overrides, *quality_override(quality)), strategy)
    first, last = read_span(start, end)
    path_seed = settings.config.simulation.seed if seed is None else seed
    config = BacktestConfig.of(settings, seed=path_seed if data_set in RECONSTRUCTED else None)
    underlying = ",".join(configured_underlyings(settings.strategy_config))
    compile_kernels_once()
    tape = load_tape(settings, data_set, underlying, first, last=last, seed=seed)
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
