"""``scalpdesk research hedges`` and ``basis``: the instrument that hedges, compared and measured."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import click
import msgspec

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.flags import options
from scalpdesk.cli.market import DaySpan, load_tape
from scalpdesk.cli.output import console, new_table, print_json, print_table
from scalpdesk.cli.summary_view import money
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.errors import ScalpdeskError

UNDERLYING = "none"
"""Name of the hedge with the underlying itself."""


@desk_command(
    "hedges",
    example=(
        "scalpdesk research hedges gamma-scalper --data lean --start 2021-01-04 --end 2021-01-08"
        " --with SPY --config spx.toml"
    ),
)
@click.argument("strategy")
@options(DaySpan, "span")
@click.option(
    "--with",
    "instruments",
    multiple=True,
    required=True,
    metavar="SYMBOL",
    help="Share, future's root or contract to hedge with, beside the underlying. May be repeated.",
)
@settings_options
def hedges(
    *,
    as_json: bool,
    strategy: str,
    span: DaySpan,
    instruments: tuple[str, ...],
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Backtest STRATEGY hedged with the underlying and with other instruments, side by side.

    P&L is options plus hedge, each from its fills. The hedge is the gain of the underlying on the hedge's
    dollar delta, the basis beyond it, and the cost. What is not in the data is named and left out.
    """
    from scalpdesk.backtesting.simulate import BacktestConfig, PreparedMarket, simulate
    from scalpdesk.cli.compiling import compile_kernels_once
    from scalpdesk.research.hedge_basis import hedged_run, spread_of
    from scalpdesk.strategies.contract import configured_underlyings

    (first, last), data_set = span.days, span.data_set
    compile_kernels_once()
    runs, refused = [], dict[str, str]()
    names = (UNDERLYING, *dict.fromkeys(each.upper() for each in instruments))
    with progress_bar(as_json=as_json) as report:
        for number, name in enumerate(names):
            report(number, len(names), f"hedged with {name}")
            settings = settings_from(config_file, (*overrides, f"hedge.instrument={name}"), strategy)
            underlying = ",".join(configured_underlyings(settings.strategy_config))
            try:
                tape = load_tape(settings, data_set, underlying, first, last=last)
            except ScalpdeskError as error:
                if name == UNDERLYING:
                    raise
                refused[name] = error.what
                continue
            runs.append(hedged_run(name, simulate(BacktestConfig.of(settings), PreparedMarket(tape))))
    if as_json:
        print_json({"runs": msgspec.to_builtins(runs), "refused": refused})
        return
    out = console()
    amounts = "P&L", "options", "hedge", "underlying", "basis", "cost"
    table = new_table("hedged with", *amounts, "sd a day", "hedges")
    for each in runs:
        spread = spread_of(list(each.basis_by_day.values()))
        by_hedge = each.underlying_gain, each.basis, each.hedge_cost
        figures = [money(float(amount)) for amount in (each.pnl, each.options, each.hedge_pnl, *by_hedge)]
        shown = underlying if each.hedge == UNDERLYING else each.hedge
        table.add_row(shown, *figures, f"{spread:.2f}", str(each.hedges))
    print_table(table, out)
    for name, why in refused.items():
        out.print(f"{name}: {why}", markup=False)


@desk_command(
    "basis",
    example="scalpdesk research basis SPY ES --data lean --hedge-set es-2013 --start 2013-10-07",
)
@click.argument("underlying")
@click.argument("hedge")
@options(DaySpan, "span")
@click.option("--hedge-set", default=None, metavar="SET", help="Data set of HEDGE [default: --data].")
@click.option("--dollars", type=float, default=1_000_000.0, show_default=True, help="Dollar delta held.")
@click.option("--beta", type=float, default=1.0, show_default=True, help="As hedge.beta.")
@settings_options
def basis(
    *,
    as_json: bool,
    underlying: str,
    hedge: str,
    span: DaySpan,
    hedge_set: str | None,
    dollars: float,
    beta: float,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Measure the basis of HEDGE against UNDERLYING from the quotes of the same minutes."""
    from scalpdesk.research.hedge_basis import measure_basis

    settings = settings_from(config_file, overrides)
    (first, last), data_set = span.days, span.data_set
    tapes = [
        load_tape(settings, name, symbol.upper(), first, last=last)
        for name, symbol in ((data_set, underlying), (hedge_set or data_set, hedge))
    ]
    found = measure_basis(tapes[0], replace(tapes[1], sessions=tapes[0].sessions), dollars, beta)
    if as_json:
        document: dict[str, Any] = {"hedge": tapes[1].underlying, "dollars": dollars, "beta": beta}
        print_json(document | {"sessions": msgspec.to_builtins(found)})
        return
    table = new_table("session", "basis", "sd a minute", "beta", "correlation", "minutes")
    for each in found:
        amounts = money(each.basis), f"{each.per_minute:.2f}"
        table.add_row(
            each.session, *amounts, f"{each.beta:.3f}", f"{each.correlation:.3f}", str(each.minutes)
        )
    out = console()
    out.print(f"{tapes[1].underlying} against {tapes[0].underlying}, {money(dollars)} of dollar delta")
    print_table(table, out)
    total = sum((Decimal(f"{each.basis:.2f}") for each in found), Decimal(0))
    out.print(f"together {money(float(total))}")
