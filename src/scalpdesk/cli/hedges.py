"""``scalpdesk research hedges`` and ``basis``: the instrument that hedges, compared and measured."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import click
import msgspec

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.flags import options
from scalpdesk.cli.market import DaySpan, load_tape
from scalpdesk.cli.output import Made, console, money, print_json, print_table, table_of
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
    columns = (
        "hedged with={name}|P&L={pnl:.2$}|options={options:.2$}|hedge={hedge_pnl:.2$}"
        "|underlying={underlying_gain:.2$}|basis={basis:.2$}|cost={hedge_cost:.2$}|sd a day={spread:.2f}"
        "|hedges"
    )
    made: Made = {
        "name": lambda each: underlying if each.hedge == UNDERLYING else each.hedge,
        "spread": lambda each: spread_of(list(each.basis_by_day.values())),
    }
    print_table(table_of(runs, columns, made), out)
    for name, why in refused.items():
        out.print(f"{name}: {why}", markup=False)


@desk_command(
    "basis",
    example="scalpdesk research basis SPY ES --data lean --hedge-set es-2013 --start 2013-10-07",
)
@click.argument("underlying")
@click.argument("hedge")
@options(DaySpan, "span")
@click.option("--hedge-set", metavar="SET", help="Data set of HEDGE [default: --data].")
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
    columns = "session|basis:.2$|sd a minute={per_minute:.2f}|beta:.3f|correlation:.3f|minutes"
    out, table = console(), table_of(found, columns)
    out.print(f"{tapes[1].underlying} against {tapes[0].underlying}, {money(dollars)} of dollar delta")
    print_table(table, out)
    total = sum((Decimal(f"{each.basis:.2f}") for each in found), Decimal(0))
    out.print(f"together {money(float(total))}")
