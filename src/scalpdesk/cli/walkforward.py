"""``scalpdesk walkforward``: settings chosen on past sessions, judged on the sessions that follow."""

import os
from itertools import count
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
from scalpdesk.cli.flags import options
from scalpdesk.cli.market import DaySpan, Drawn, param_option, tape_of
from scalpdesk.cli.output import console, print_json, print_table, table_of
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.research.folds import FoldPlan
from scalpdesk.research.options import SweepOptions, Workers

if TYPE_CHECKING:
    from scalpdesk.research.walk_forward import WalkForwardReport, WalkForwardResult


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
@param_option("Setting to choose: KEY=A,B,C, or KEY=LOW:HIGH:lin|log:NUMBER; may be repeated.")
@options(DaySpan, "span")
@options(FoldPlan, "plan")
@options(Drawn, "drawn")
@options(Workers, "workers")
@click.option("--out", metavar="DIR", help="Folder of the backtests' folders [default: that of sweeps].")
@html_option
@settings_options
def walkforward(
    *,
    as_json: bool,
    strategy: str,
    params: tuple[str, ...],
    span: DaySpan,
    plan: FoldPlan,
    drawn: Drawn,
    workers: Workers,
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
    from scalpdesk.cli.compiling import compile_kernels_once
    from scalpdesk.config.sources import take_keys
    from scalpdesk.research.sweep import SWEEPS, SweepFolder, sweep_name
    from scalpdesk.research.sweep_plan import SweepPlan
    from scalpdesk.research.walk_forward import walk_forward

    sweep = SweepPlan.read(params, SweepOptions(workers=workers.workers))
    overrides = (*overrides, *drawn.overrides())
    base = settings_from(config_file, overrides, strategy)
    take_keys(os.environ)  # the processes need no account
    tape = tape_of(base, span, drawn)
    seed = drawn.seed_of(base, span.data_set)
    plan.divide([session.day for session in tape.sessions])  # refused before anything is run
    compile_kernels_once()
    parent = Path(out or Path(base.config.desk.runs_dir) / SWEEPS)
    folders: list[SweepFolder] = []

    def folder_of(market: PreparedMarket) -> SweepFolder:
        assert base.strategy is not None
        folders.append(SweepFolder(parent / sweep_name(base.strategy, seed, market)))
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
            seed=seed,
            folder_of=folder_of,
            preparing=preparing,
            report=report,
        )
    if html_file is not None:
        write_result_sheet(made, html_file)
    run = base.config.simulation
    terms = {"fees": run.fees, "fill_model": run.fill_model}
    if as_json:
        document = msgspec.to_builtins(made.report) | {"no_trade": made.why_no_trade}
        print_json(document | {"folder": str(parent), **terms, "quality": tape.quality})
        return
    _print(made, **terms)


def _print(made: "WalkForwardResult", *, fees: str, fill_model: str) -> None:
    _show(made.report)
    if made.why_no_trade is not None:
        console().print(made.why_no_trade, markup=False)
    console().print(f"fill model {fill_model}, fees {fees}, unless a parameter says otherwise", markup=False)


def _show(report: "WalkForwardReport") -> None:
    from scalpdesk.research.walk_forward import settings_text, verdict_lines

    number = count(1)
    columns = (
        "fold|choice|on={train_first} to {train_last}|traded={in_sample.traded} of {in_sample.sessions}"
        "|tested on={test_first} to {test_last}|traded={out_of_sample.traded} of {out_of_sample.sessions}"
        "|in sample\nP&L a session={in_sample.per_session:.2f}|Sharpe={in_sample.sharpe_annual:.2f}"
        "|out of sample\nP&L a session={out_of_sample.per_session:.2f}"
        "|Sharpe={out_of_sample.sharpe_annual:.2f}"
    )
    made = {"fold": lambda _: next(number), "choice": lambda fold: settings_text(fold.settings)}
    print_table(table_of(report.folds, columns, made, left=3))
    out = console()
    for line in verdict_lines(report):
        out.print(line, markup=False)
    for settings, problem in report.problems.items():
        out.print(f"{settings}: {problem}", markup=False)
