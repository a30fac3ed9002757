"""``scalpdesk sweep``: a backtest for each combination of settings, in one table."""

import os
import sys
from contextlib import redirect_stdout
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
    typed_command,
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
from scalpdesk.cli.strategy_choice import folder_overrides
from scalpdesk.datasets.embedded import RECONSTRUCTED

if TYPE_CHECKING:
    from scalpdesk.research.sweep import SweepResult
    from scalpdesk.research.sweep_plan import EngineName


@desk_command(
    "sweep",
    example=(
        "scalpdesk sweep gamma-scalper --start 2018-02-05 --param hedge.band=fixed,whalley_wilmott",
        "scalpdesk sweep gamma-scalper --start 2018-02-05 --param hedge.threshold_shares=1:20:log:8 --json",
        "scalpdesk sweep gamma-scalper --start 2018-02-05 --search 40 --param straddles=1:9:lin",
        "scalpdesk sweep gamma-scalper --start 2018-02-05 --param straddles=1,2,4 --html sweep.html",
        "scalpdesk sweep external --strategy DIR --start 2018-02-05 --param risk.max_orders_per_minute=5,50",
    ),
)
@click.argument("strategy")
@click.option(
    "--param",
    "params",
    multiple=True,
    required=True,
    metavar="KEY=VALUES",
    help="Setting to vary: KEY=A,B,C, or KEY=LOW:HIGH:lin|log:NUMBER (--search: no number); may be repeated.",
)
@span_options("First session.")
@data_option
@click.option("--seed", type=int, default=None, help="Path of the embedded market [default: 1].")
@quality_option
@click.option("--strategy", "folder", default=None, metavar="DIR", help="Folder of strategy.py (external).")
@click.option("--workers", type=click.IntRange(1, 256), default=None, help="Processes [default: one a core].")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Processes of this machine, or a Ray cluster (extra ray).",
)
@click.option(
    "--address",
    default=None,
    metavar="ADDRESS",
    help="--engine ray: a running cluster, auto or HOST:PORT [default: start one here].",
)
@click.option(
    "--search",
    type=click.IntRange(1, 1_000_000),
    default=None,
    metavar="N",
    help="N backtests proposed by Optuna (extra search) in place of every combination.",
)
@click.option("--search-seed", type=int, default=1, show_default=True, help="Seed of the search's proposals.")
@click.option("--no-stop", is_flag=True, help="With --search: run every backtest to its end.")
@click.option("--lines", is_flag=True, help="Print each new row as one line of JSON as it ends; no table.")
@click.option("--out", default=None, metavar="DIR", help="Folder of the sweep [default: below the runs].")
@html_option
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
    quality: str | None,
    folder: str | None,
    workers: int | None,
    engine: "EngineName",
    address: str | None,
    search: int | None,
    search_seed: int,
    no_stop: bool,
    lines: bool,
    out: str | None,
    html_file: str | None,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Run STRATEGY with every combination of settings, or search among them, and compare the results.

    A backtest that is finished is not run again: the same command goes on where it ended. A combination that
    fails is a row with its reason.
    """
    from scalpdesk.backtesting.simulate import PreparedMarket
    from scalpdesk.cli.doctor import compile_kernels_once
    from scalpdesk.config.sources import take_keys
    from scalpdesk.research.sweep import SWEEPS, SweepFolder, SweepRow, sweep_name
    from scalpdesk.research.sweep_plan import SweepPlan, run_plan
    from scalpdesk.strategies.contract import configured_underlyings

    plan = SweepPlan.read(
        params,
        search=search,
        search_seed=search_seed,
        stops=not no_stop,
        engine=engine,
        workers=workers,
        address=address,
    )
    overrides = (*folder_overrides(strategy, folder, overrides), *quality_override(quality))
    base = settings_from(config_file, overrides, strategy)
    first, last = read_span(start, end)
    path_seed = base.config.simulation.seed if seed is None else seed
    seeded = path_seed if data_set in RECONSTRUCTED else None
    take_keys(os.environ)  # the processes of the sweep need no account
    underlying = ",".join(configured_underlyings(base.strategy_config))
    compile_kernels_once()
    tape = load_tape(base, data_set, underlying, first, last=last, seed=seed)
    market = PreparedMarket(tape)
    assert base.strategy is not None
    name = sweep_name(base.strategy, seeded, market)
    fees, fill = base.config.simulation.fees, base.config.simulation.fill_model
    known = ("name", "kind", "quality", "session", "underlying")
    facts = {key: value for key, value in market.facts().items() if key in known}
    about = {"strategy": base.strategy, "data": facts, "params": params, "search": search}
    about |= {"fees": fees, "fill_model": fill, "command": typed_command()}

    kept = SweepFolder(Path(out or Path(base.config.desk.runs_dir) / SWEEPS / name))
    stdout = sys.stdout

    def print_line(row: SweepRow) -> None:
        click.echo(msgspec.json.encode(row).decode(), file=stdout)
        stdout.flush()

    with (
        kept_when_interrupted([kept]),
        progress_bar(as_json=as_json) as preparing,
        progress_bar(as_json=as_json) as report,
        redirect_stdout(sys.stderr),  # Ray reports a dead worker on stdout, which is for the document
    ):
        found = run_plan(
            plan,
            lambda texts: settings_from(config_file, (*overrides, *texts), strategy),
            market,
            seed=seeded,
            folder=kept,
            about=about,
            preparing=preparing,
            report=report,
            on_row=print_line if lines else None,
        )
    if html_file is not None:
        write_result_sheet(found, html_file)
    if lines:
        return
    judged = found.overfitting
    if as_json:
        document = {"table": str(found.table), "fees": fees, "fill_model": fill, "quality": tape.quality}
        document |= {"rows": msgspec.to_builtins(found.rows), "overfitting": msgspec.to_builtins(judged)}
        document["no_trade"] = found.why_no_trade
        print_json(document)
        return
    _show(found)
    for line in judged.lines():
        console().print(line, markup=False)
    console().print(
        f"fill model {fill}, fees {fees}, unless a parameter says otherwise; table: {found.table}"
    )


def _show(found: "SweepResult") -> None:
    keys, problems, parts = found.keys, list[str](), ("gamma", "theta", "spread", "fees")
    names = ("P&L", "Sharpe", *parts, "hedges", "fills", "sessions", "traded", "s")
    shown = new_table(*keys, *names, left=len(keys))
    for row in found.rows:
        cells = [row.settings.get(key, "") for key in keys]
        if row.problem is not None:
            problems.append(f"{', '.join(f'{key}={row.settings[key]}' for key in keys)}: {row.problem}")
            shown.add_row(*cells, "failed", *[""] * (len(names) - 1))
            continue
        amounts = [row.pnl[name] for name in parts]
        sessions = f"{row.sessions} (stopped)" if row.pruned else str(row.sessions)
        traded = "-" if row.traded is None else str(row.traded)
        counts = [str(row.hedges), str(row.fills), sessions, traded, f"{row.seconds:.1f}"]
        shown.add_row(*cells, row.pnl["total"], cell(row.sharpe, 2), *amounts, *counts)
    print_table(shown, first_to_go=("s", "sessions", "fees", "spread", "theta", "gamma"))
    out = console()
    for problem in problems:
        out.print(problem)
    if found.why_no_trade is not None:
        out.print(found.why_no_trade, markup=False)
    out.print(
        f"{len(found.rows)} combinations on the same sessions, {found.new} run now:"
        " the best of many is partly luck."
    )
