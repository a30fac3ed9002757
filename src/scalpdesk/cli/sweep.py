"""``scalpdesk sweep``: a backtest for each combination of settings, in one table."""

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from scalpdesk.cli.flags import options
from scalpdesk.cli.market import DaySpan, Drawn, param_option, tape_of
from scalpdesk.cli.output import cell, console, new_table, print_json, print_table
from scalpdesk.cli.strategy_choice import folder_option, folder_overrides
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.research.options import SweepOptions

if TYPE_CHECKING:
    from scalpdesk.backtesting.simulate import PreparedMarket
    from scalpdesk.config.settings import LoadedSettings
    from scalpdesk.research.sweep import SweepResult, SweepRow


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
@param_option(
    "Setting to vary: KEY=A,B,C, or KEY=LOW:HIGH:lin|log:NUMBER (--search: no number); may be repeated."
)
@options(DaySpan, "span")
@options(Drawn, "drawn")
@folder_option
@options(SweepOptions)
@click.option("--lines", is_flag=True, help="Print each new row as one line of JSON as it ends; no table.")
@click.option("--out", metavar="DIR", help="Folder of the sweep [default: below the runs].")
@html_option
@settings_options
def sweep(
    *,
    as_json: bool,
    strategy: str,
    params: tuple[str, ...],
    span: DaySpan,
    drawn: Drawn,
    folder: str | None,
    options: SweepOptions,
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
    from scalpdesk.cli.compiling import compile_kernels_once
    from scalpdesk.config.sources import take_keys
    from scalpdesk.research.sweep import SWEEPS, SweepFolder, sweep_name
    from scalpdesk.research.sweep_plan import SweepPlan, run_plan

    plan = SweepPlan.read(params, options)
    overrides = (*folder_overrides(strategy, folder, overrides), *drawn.overrides())
    base = settings_from(config_file, overrides, strategy)
    take_keys(os.environ)  # the processes of the sweep need no account
    compile_kernels_once()
    market = PreparedMarket(tape_of(base, span, drawn))
    assert base.strategy is not None
    seed = drawn.seed_of(base, span.data_set)
    parent = Path(base.config.desk.runs_dir) / SWEEPS
    kept = SweepFolder(Path(out or parent / sweep_name(base.strategy, seed, market)))
    stdout = sys.stdout

    def print_line(row: "SweepRow") -> None:
        click.echo(msgspec.json.encode(row.as_document()).decode(), file=stdout)
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
            seed=seed,
            folder=kept,
            about=_about(base, market, params, options.search),
            preparing=preparing,
            report=report,
            on_row=print_line if lines else None,
        )
    if html_file is not None:
        write_result_sheet(found, html_file)
    if not lines:
        _report(found, base, market.tape.quality, as_json=as_json)


def _about(
    base: "LoadedSettings", market: "PreparedMarket", params: tuple[str, ...], search: int | None
) -> dict[str, Any]:
    """Return what is kept beside the table."""
    known = ("name", "kind", "quality", "session", "underlying")
    facts = {key: value for key, value in market.facts().items() if key in known}
    about = {"strategy": base.strategy, "data": facts, "params": params, "search": search}
    run = base.config.simulation
    return about | {"fees": run.fees, "fill_model": run.fill_model, "command": typed_command()}


def _report(found: "SweepResult", base: "LoadedSettings", quality: str | None, *, as_json: bool) -> None:
    """Print the table of a sweep and what it is worth."""
    fees, fill = base.config.simulation.fees, base.config.simulation.fill_model
    judged = found.overfitting
    if as_json:
        terms = {"table": str(found.table), "fees": fees, "fill_model": fill, "quality": quality}
        rows = [row.as_document() for row in found.rows]
        judgement = {"overfitting": msgspec.to_builtins(judged), "no_trade": found.why_no_trade}
        print_json({**terms, "rows": rows, **judgement, "without_effect": found.without_effect})
        return
    _show(found)
    for line in judged.lines():
        console().print(line, markup=False)
    console().print(
        f"fill model {fill}, fees {fees}, unless a parameter says otherwise; table: {found.table}"
    )


def _show(found: "SweepResult") -> None:
    keys, problems, parts = found.keys, list[str](), ("gamma", "theta", "spread", "fees")
    has_sharpe = any(row.sharpe is not None for row in found.rows)  # of one session there is none
    sharpe = ("Sharpe",) if has_sharpe else ()
    names = ("P&L", *sharpe, *parts, "hedges", "fills", "sessions", "traded", "s")
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
        risk = (cell(row.sharpe, 2),) if has_sharpe else ()
        shown.add_row(*cells, row.pnl["total"], *risk, *amounts, *counts)
    print_table(shown, first_to_go=("s", "sessions", "fees", "spread", "theta", "gamma"))
    out = console()
    for problem in problems:
        out.print(problem)
    if found.why_no_trade is not None:
        out.print(found.why_no_trade, markup=False)
    for key in found.without_effect:
        out.print(
            f"{key} changed nothing: each of its values gave the same P&L, orders and fills", markup=False
        )
    out.print(
        f"{len(found.rows)} combinations on the same sessions, {found.new} run now:"
        " the best of many is partly luck."
    )
