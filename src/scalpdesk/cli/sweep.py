"""``scalpdesk sweep``: a backtest for each combination of settings, in one table."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.market import data_option, load_tape, read_span, span_options
from scalpdesk.cli.output import console, print_json, print_table, progress_bar
from scalpdesk.core.errors import ConfigError
from scalpdesk.datasets.embedded import RECONSTRUCTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scalpdesk.research.sweep import SweepRow

SWEEPS = "sweeps"
"""Folder of sweeps below that of the runs."""


@desk_command(
    "sweep",
    example=(
        "scalpdesk sweep gamma-scalper --start 2018-02-05 --param hedge.band=fixed,whalley_wilmott",
        "scalpdesk sweep gamma-scalper --start 2018-02-05 --param hedge.threshold_shares=1:20:log:8 --json",
    ),
)
@click.argument("strategy")
@click.option(
    "--param",
    "params",
    multiple=True,
    required=True,
    metavar="KEY=VALUES",
    help="Setting to vary: KEY=A,B,C, or KEY=LOW:HIGH:lin|log:NUMBER; may be repeated.",
)
@span_options("First session.")
@data_option
@click.option("--seed", type=int, default=None, help="Path of the embedded market [default: 1].")
@click.option("--workers", type=click.IntRange(1, 256), default=None, help="Processes [default: one a core].")
@click.option("--out", default=None, metavar="DIR", help="Folder of the sweep [default: below the runs].")
@settings_options
def sweep(
    *,
    as_json: bool,
    strategy: str,
    params: tuple[str, ...],
    start: str,
    end: str | None,
    data_set: str,
    seed: int | None,
    workers: int | None,
    out: str | None,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Run STRATEGY with every combination of settings and compare the results.

    A backtest that is finished is not run again: the same command goes on where it ended. A combination that
    fails is a row with its reason.
    """
    from scalpdesk.backtesting.simulate import BacktestConfig, PreparedMarket
    from scalpdesk.cli.doctor import compile_kernels_once
    from scalpdesk.config.sources import take_keys
    from scalpdesk.research.overfitting import judge_trials
    from scalpdesk.research.sweep import (
        Job,
        SweepFolder,
        SweepRow,
        combinations,
        read_parameter,
        run_local,
        sweep_name,
    )
    from scalpdesk.strategies.contract import configured_underlyings
    from scalpdesk.volatility.variance_time import clock_named

    found = combinations([read_parameter(text) for text in params])
    base = settings_from(config_file, overrides, strategy)
    first, last = read_span(start, end)
    path_seed = base.config.simulation.seed if seed is None else seed
    seeded = path_seed if data_set in RECONSTRUCTED else None
    jobs, refused = [], []
    for settings in found:
        texts = tuple(f"{key}={value}" for key, value in settings.items())
        try:
            loaded = settings_from(config_file, (*overrides, *texts), strategy)
            jobs.append(Job(settings, BacktestConfig.of(loaded, seed=seeded)))
        except ConfigError as error:
            refused.append(SweepRow(config_hash="", settings=settings, problem=error.render()))
    if not jobs:
        raise ConfigError("no combination is a configuration", where="--param", value=refused[0].problem)
    take_keys(os.environ)  # the processes of the sweep need no account
    underlying = ",".join(configured_underlyings(base.strategy_config))
    compile_kernels_once()
    tape = load_tape(base, data_set, underlying, first, last=last, seed=seed)
    market = PreparedMarket(tape)
    path = Path(out or Path(base.config.desk.runs_dir) / SWEEPS / sweep_name(jobs, market))
    folder = SweepFolder(path)
    done = folder.rows()
    waiting = list(
        {job.config.config_hash: job for job in jobs if job.config.config_hash not in done}.values()
    )
    with progress_bar(as_json=as_json) as report:
        ended = len(jobs) - len(waiting)
        report(ended, len(jobs), "backtests")
        for row in run_local(waiting, market, workers or os.cpu_count() or 1):
            folder.add(row)
            done[row.config_hash] = row
            ended += 1
            report(ended, len(jobs), "backtests")
    rows = sorted((done[job.config.config_hash] for job in jobs), key=lambda row: -row.total) + refused
    table = folder.write_table(rows)
    fees, fill = base.config.simulation.fees, base.config.simulation.fill_model
    tried = {row.config_hash: row for row in rows if row.problem is None}
    judged = judge_trials(
        [row.daily for row in tried.values()],
        [row.settings for row in tried.values()],
        earlier_trials=sum(key not in tried and row.problem is None for key, row in done.items()),
        sessions_per_year=clock_named(tape.variance_clock).days_per_year,
    )
    if as_json:
        document = {"table": str(table), "fees": fees, "fill_model": fill, "rows": msgspec.to_builtins(rows)}
        print_json(document | {"overfitting": msgspec.to_builtins(judged)})
        return
    _show(rows, new=len(waiting))
    for line in judged.lines():
        console().print(line, markup=False)
    console().print(f"fill model {fill}, fees {fees}, unless a parameter says otherwise; table: {table}")


def _show(rows: "Sequence[SweepRow]", *, new: int) -> None:
    from rich.table import Table

    keys = list(dict.fromkeys(key for row in rows for key in row.settings))
    shown = Table()
    for key in keys:
        shown.add_column(key)
    for name in ("P&L", "gamma", "theta", "spread", "fees", "hedges", "fills", "s"):
        shown.add_column(name, justify="right")
    problems = []
    for row in rows:
        cells = [row.settings.get(key, "") for key in keys]
        if row.problem is not None:
            problems.append(f"{', '.join(f'{key}={row.settings[key]}' for key in keys)}: {row.problem}")
            shown.add_row(*cells, "failed", *[""] * 7)
            continue
        parts = [row.pnl[name] for name in ("total", "gamma", "theta", "spread", "fees")]
        shown.add_row(*cells, *parts, str(row.hedges), str(row.fills), f"{row.seconds:.1f}")
    print_table(shown)
    out = console()
    for problem in problems:
        out.print(problem)
    out.print(
        f"{len(rows)} combinations on the same sessions, {new} run now: the best of many is partly luck."
    )
