# ruff: noqa: INP001, T201 - a script beside its page, not a package
"""Print how far an option's next quote moves in favour of the order that was filled at the last.

    .venv/bin/python docs/quote_lag_figures.py

``evidence/fills.md`` has the table: ema-scalper on the embedded market of 2018, seed 1.
"""

import math
from calendar import monthrange
from datetime import date
from statistics import fmean, stdev

import numpy as np

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runner import Journal
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import Event, OrderFilled
from scalpdesk.core.intents import Output, Side, SubmitOrder

MONTHS = range(3, 13)
NO_FILTERS = ("min_volume_ratio=0", "require_macro_alignment=false", "simulation.latency_ms=50")


class Fills(Journal):
    """Keeps the fills of a run and their orders; takes the place of its journal."""

    def __init__(self) -> None:
        self.found: list[OrderFilled] = []
        self.orders: dict[str, SubmitOrder] = {}

    def add_event(self, event: Event) -> None:
        """Keep a fill."""
        if isinstance(event, OrderFilled):
            self.found.append(event)

    def add_outputs(self, outputs: tuple[Output, ...]) -> None:
        """Keep the orders."""
        self.orders |= {each.client_order_id: each for each in outputs if isinstance(each, SubmitOrder)}


def main() -> None:
    """Print the table."""
    moves: dict[Side, list[float]] = {Side.BUY: [], Side.SELL: []}
    halves: list[float] = []
    settings = load_settings("ema-scalper", overrides=NO_FILTERS)
    for month in MONTHS:
        first, last = date(2018, month, 1), date(2018, month, monthrange(2018, month)[1])
        tape = load_market(settings, "embedded", underlying="SPY", start=first, end=last, seed=1)
        header, engine = build_backtest(settings, tape, run_id="lag", mode="backtest", started_ns=0, seed=1)
        fills = Fills()
        assemble_backtest(settings, tape, header, engine, fills).runner.run()
        for session in tape.sessions:
            quotes = tape.quotes.between(session.open_ns, session.close_ns)
            for fill in fills.found:
                order = fills.orders[fill.client_order_id]
                option = engine.desk.instruments[order.instrument_id]
                if not option.is_option or not session.open_ns <= fill.ts_event_ns < session.close_ns:
                    continue
                size = float(fill.quantity) * option.multiplier
                rows = quotes.take(quotes.instrument_id == order.instrument_id)
                now = int(np.searchsorted(rows.ts_ns, fill.ts_event_ns, side="right")) - 1
                if now + 1 < len(rows):
                    mids = 0.5 * (rows.bid[now : now + 2] + rows.ask[now : now + 2])
                    sign = 1.0 if order.side is Side.BUY else -1.0
                    moves[order.side].append(sign * size * float(mids[1] - mids[0]))
                    halves.append(0.5 * size * float(rows.ask[now] - rows.bid[now]))
    print("| order | USD an order | orders |\n|---|--:|--:|")
    for name, found in (("purchase", moves[Side.BUY]), ("sale", moves[Side.SELL])):
        print(f"| {name} | {fmean(found):+.2f} ± {stdev(found) / math.sqrt(len(found)):.2f} | {len(found)} |")
    both = [*moves[Side.BUY], *moves[Side.SELL]]
    print(f"{fmean(both) / fmean(halves):.0%} of the half spread, {fmean(halves):.2f} USD an order")


if __name__ == "__main__":
    main()
