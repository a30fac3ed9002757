# ruff: noqa: INP001, T201 - a script beside its page, not a package
"""Count structures with an edge at the market's own level; figures of docs/evidence/structures.md.

    python docs/structure_law.py [--catalog DIR]

The catalogue holds the recorded GOOG and SPXW of LEAN; without one embedded chains alone are counted.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import RunSettings, load_settings
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.datasets.embedded.coin import reconstruct_coin
from scalpdesk.datasets.embedded.market import reconstruct
from scalpdesk.entry.shapes import SHAPES, SIDES, RightName, StructureConfig
from scalpdesk.entry.straddle_selector import SelectionConfig
from scalpdesk.instruments.contract import options_in_order
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.strategies.contract import DeskView
from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig
from scalpdesk.strategies.gamma_scalper.trade import ScalperTools
from scalpdesk.strategies.toolkit.exits import ExitConfig

DAYS = (
    "2014-03-05", "2015-08-25", "2016-01-20", "2016-06-24", "2016-11-09", "2017-08-10", "2018-03-23",
    "2018-10-10", "2018-12-24",
)  # fmt: skip
NOTHING = ("entry.gate=off", "entry.not_before=15:29")
FIRST_NS = 15 * 60 * NANOS_PER_SECOND
RIGHTS: tuple[RightName, ...] = ("call", "put")
SMALLEST = 1e-6


def views(settings: RunSettings, tape: MarketTape, seconds: int, most: int) -> Iterator[DeskView]:
    """Yield the view of a desk that trades nothing, from a quarter of an hour into the session on."""
    header, engine = build_backtest(settings, tape, run_id="law", mode="backtest", started_ns=0, seed=1)
    run = assemble_backtest(settings, tape, header, engine, None)
    due_ns, count = 0, 0
    for now_ns in run.runner.steps():
        session = engine.desk.view.session
        if session is None or now_ns < max(session.open_ns + FIRST_NS, due_ns):
            continue
        yield engine.desk.view
        due_ns, count = now_ns + seconds * NANOS_PER_SECOND, count + 1
        if count == most:
            return


def gross_edges(view: DeskView, selection: SelectionConfig) -> Iterator[float]:
    """Yield the edge before costs of each structure of a chain at the market's own level, USD or coins."""
    symbol = view.instruments[view.underlying].symbol
    options, spot = options_in_order(view.instruments, symbol), view.market.mark(view.underlying)
    for name, shape in SHAPES.items():
        rights = RIGHTS if any(leg.right is None for leg in shape.legs) else RIGHTS[:1]
        for side, right in ((side, right) for side in SIDES for right in rights):
            structure = StructureConfig(shape=name, side=side, right=right)

            def tools_at(vol: float, structure: StructureConfig = structure) -> ScalperTools:
                config = GammaScalperConfig(
                    underlying=symbol,
                    structure=structure,
                    selection=selection,
                    entry=EntryConfig(forecast_vol=vol, max_straddle_delta=None),
                    exits=ExitConfig(min_dte=None),
                )
                tools = ScalperTools(config)
                tools.learn(options, view)
                return tools

            tools = tools_at(0.2)
            listed, now_ns = tools.structures(view), view.now_ns
            best = tools.selector.select(listed, view.market, view.delta_engine, spot or 0.0, now_ns).best
            facts = {} if best is None else tools.edge.judge(best, view, tools.hedger).facts
            if best is not None and "implied_level" in facts:
                again = tools_at(float(facts["implied_level"]))
                yield float(again.edge.judge(best, view, again.hedger).facts["edge_gross_usd"])


def main() -> None:
    """Count, and print a line for each source of chains."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--catalog", type=Path, default=None, help="folder of the recorded data")
    given = words.parse_args()
    month = SelectionConfig(min_expiration_days=20, max_expiration_days=60)
    near = SelectionConfig(min_expiration_days=0, max_expiration_days=60, min_open_interest=-1)
    plain = load_settings("gamma-scalper", overrides=NOTHING)
    found = [("embedded", plain, reconstruct(date.fromisoformat(day)), 9_000, 3, month) for day in DAYS]
    coin = load_settings(
        "gamma-scalper",
        config_file=Path("examples/btc-gamma-scalper/params.yaml"),
        overrides=("entry.gate=off", "entry.not_before=23:29"),
    )
    day = date(2025, 3, 5)
    tape = reconstruct_coin(day, day, seed=1, underlying="BTC-PERPETUAL")
    found.append(("coin", coin, tape, 10_800, 7, near))
    if given.catalog is not None:
        for symbol, first, last, seconds in (
            ("GOOG", date(2015, 12, 24), date(2015, 12, 24), 1_500),
            ("SPXW", date(2021, 1, 4), date(2021, 1, 8), 14_400),
        ):
            own = (
                *NOTHING,
                f"data.catalog={given.catalog}",
                f"underlying={symbol}",
                "risk.index_orders=true",
            )
            settings = load_settings("gamma-scalper", overrides=own)
            tape = load_market(settings, "lean", underlying=symbol, start=first, end=last, seed=1)
            found.append((symbol, settings, tape, seconds, 10, near))
    chains, checks, off = Counter[str](), Counter[str](), Counter[str]()
    for name, settings, tape, seconds, most, selection in found:
        for view in views(settings, tape, seconds, most):
            edges = list(gross_edges(view, selection))
            chains[name] += 1
            checks[name] += len(edges)
            off[name] += sum(abs(edge) > SMALLEST for edge in edges)
    for name in chains:
        print(f"{name}: {chains[name]} chains, {checks[name]} structures, {off[name]} off by more than 1e-6")


if __name__ == "__main__":
    main()
