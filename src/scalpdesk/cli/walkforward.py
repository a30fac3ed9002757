"""``scalpdesk walkforward``: settings chosen on past sessions, judged on the sessions that follow."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from scalpdesk.cli.command import (
    desk_command,
    html_option,
    kept_when_interrupted,
    settings_from,
    settings_options,
    write_result_sheet,
)
from scalpdesk.cli.market import (
    data_option,
    load_tape,
    quality_option,
    quality_override,
    read_span,
    span_options,
)
from scalpdesk.cli.output import cell, console, new_table, print_json, print_table, progress_bar
from scalpdesk.datasets.embedded import RECONSTRUCTED

if TYPE_CHECKING:
    from scalpdesk.research.walk_forward import WalkForwardReport


@desk_command(
    "walkforward",
    example=(
        "scalpdesk walkforward st0cka --start 2018-02-01 --end 2018-03-01 --param profit_target=0.01,0.05",
        (
            "scalpdesk walkforward hybrid --start 2018-02-01 --end 2018-03-01 --param volatility=0.1,0.3"
            " --html folds.html"
        ),
        "scalpdesk walkforward hybrid --start 2018-02-01 --end 2018-03-01 --param volatility=0.1,0.3 --json",
    ),
)
@click.argument("strategy")
@click.option(
    "--param",
    "params",
    multiple=True,
    required=True,
    metavar="KEY=VALUES",
    help="Setting to choose: KEY=A,B,C, or KEY=LOW:HIGH:lin|log:NUMBER; may be repeated.",
)
@span_options("First session.")
@data_option
@click.option("--folds", type=int, default=None, help="Number of tests [default: as many as fit, or 4].")
@click.option("--train", type=int, default=None, metavar="SESSIONS", help="Sessions of a choice.")
@click.option("--test", type=int, default=None, metavar="SESSIONS", help="Sessions of a test.")
@click.option("--anchored", is_flag=True, help="Let every choice begin with the first session.")
@click.option(
    "--purge", type=int, default=0, metavar="SESSIONS", help="Sessions left out before a test [default: 0]."
)
@click.option(
    "--embargo",
    type=int,
    default=0,
    metavar="SESSIONS",
    help="Sessions after a test that later choices leave out [default: 0].",
)
@click.option(
    "--metric",
    type=click.Choice(["sharpe", "pnl"]),
    default="sharpe",
    show_default=True,
    help="Figure that a choice maximises.",
)
@click.option(
    "--one-run",
    is_flag=True,
    help="Choose by one backtest over all sessions: faster, but it may hold a position as a fold begins.",
)
@click.option(
    "--earlier-trials",
    type=click.IntRange(0),
    default=0,
    metavar="NUMBER",
    help="Configurations tried before, beside these: the deflated Sharpe ratio counts them.",
)
@click.option("--seed", type=int, default=None, help="Path of the embedded market [default: 1].")
@quality_option
@click.option("--workers", type=click.IntRange(1, 256), default=None, help="Processes [default: one a core].")
@click.option(
    "--out", default=None, metavar="DIR", help="Folder of the backtests' folders [default: that of sweeps]."
)
@html_option
@settings_options
def walkforward(
    *,
    as_json: bool,
    strategy: str,
    params: tuple[str, ...],
    start: str,
    end: str | None,
    data_set: str,
    folds: int | None,
    train: int | None,
    test: int | None,
    anchored: bool,
    purge: int,
    embargo: int,
    metric: str,
    one_run: bool,
    earlier_trials: int,
    seed: int | None,
    quality: str | None,
    workers: int | None,
    out: str | None,
    html_file: str | None,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Choose settings of STRATEGY on past sessions and judge each choice on the sessions that follow.

    Each choice is a sweep over its past sessions; the best then trades the test sessions in a backtest that
    begins flat. A sweep over all sessions shows how much of the best is luck. A backtest of a sweep that is
    finished is not run again.
    """
    from scalpdesk.backtesting.simulate import PreparedMarket
    from scalpdesk.cli.doctor import compile_kernels_once
    from scalpdesk.config.sources import take_keys
    from scalpdesk.research.overfitting import Measure
    from scalpdesk.research.sweep import SWEEPS, SweepFolder, sweep_name
    from scalpdesk.research.sweep_plan import SweepPlan
    from scalpdesk.research.walk_forward import FoldPlan, walk_forward
    from scalpdesk.strategies.contract import configured_underlyings

    plan = FoldPlan(folds=folds, train=train, test=test, anchored=anchored, purge=purge, embargo=embargo)
    sweep = SweepPlan.read(params, workers=workers)
    overrides = (*overrides, *quality_override(quality))
    base = settings_from(config_file, overrides, strategy)
    first, last = read_span(start, end)
    path_seed = base.config.simulation.seed if seed is None else seed
    seeded = path_seed if data_set in RECONSTRUCTED else None
    take_keys(os.environ)  # the processes need no account
    underlying = ",".join(configured_underlyings(base.strategy_config))
    tape = load_tape(base, data_set, underlying, first, last=last, seed=seed)
    plan.divide([session.day for session in tape.sessions])  # refused before anything is run
    compile_kernels_once()
    parent = Path(out or Path(base.config.desk.runs_dir) / SWEEPS)

    folders: list[SweepFolder] = []

    def folder_of(market: PreparedMarket) -> SweepFolder:
        assert base.strategy is not None
        folders.append(SweepFolder(parent / sweep_name(base.strategy, seeded, market)))
        return folders[-1]

    with (
        kept_when_interrupted(folders),
        progress_bar(as_json=as_json) as preparing,
        progress_bar(as_json=as_json) as report,
    ):
        made = walk_forward(
            sweep,
            lambda texts: settings_from(config_file, (*overrides, *texts), strategy),
            PreparedMarket(tape),
            plan,
            seed=seeded,
            measure=Measure(metric),
            one_run=one_run,
            folder_of=folder_of,
            earlier_trials=earlier_trials,
            preparing=preparing,
            report=report,
        )
    if html_file is not None:
        write_result_sheet(made, html_file)
    fees, fill = base.config.simulation.fees, base.config.simulation.fill_model
    if as_json:
        document = msgspec.to_builtins(made.report) | {"no_trade": made.why_no_trade}
        print_json(
            document | {"folder": str(parent), "fees": fees, "fill_model": fill, "quality": tape.quality}
        )
        return
    _show(made.report)
    if made.why_no_trade is not None:
        console().print(made.why_no_trade, markup=False)
    console().print(f"fill model {fill}, fees {fees}, unless a parameter says otherwise", markup=False)


def _show(report: "WalkForwardReport") -> None:
    from scalpdesk.research.walk_forward import settings_text, verdict_lines

    table = new_table(
        *("fold", "choice", "on", "traded", "tested on", "traded"),
        *("in sample\nP&L a session", "Sharpe", "out of sample\nP&L a session", "Sharpe"),
        left=3,
    )
    for number, fold in enumerate(report.folds, 1):
        inside, outside = fold.in_sample, fold.out_of_sample
        table.add_row(
            str(number),
            settings_text(fold.settings),
            f"{fold.train_first} to {fold.train_last}",
            f"{inside.traded} of {inside.sessions}",
            f"{fold.test_first} to {fold.test_last}",
            f"{outside.traded} of {outside.sessions}",
            f"{inside.per_session:.2f}",
            cell(inside.sharpe_annual, 2),
            f"{outside.per_session:.2f}",
            cell(outside.sharpe_annual, 2),
        )
    print_table(table)
    out = console()
    for line in verdict_lines(report):
        out.print(line, markup=False)
    for settings, problem in report.problems.items():
        out.print(f"{settings}: {problem}", markup=False)
