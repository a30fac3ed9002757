# ruff: noqa: INP001, T201 - a script beside its pages, not a package
"""Print tables of evidence that no command of the product prints.

    .venv/bin/python docs/evidence_figures.py TABLE

Tables: ``caps`` (``evidence/risk-caps.md``), ``small-hedges`` (``hedging.md``), ``threshold`` (``gex.md``)
and ``lag`` (``fills.md``). All are of the embedded market, seed 1.
"""

import math
import sys
from calendar import monthrange
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from statistics import fmean, stdev

import numpy as np

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import Event, OrderFilled
from scalpdesk.core.intents import Output, Purpose, Side
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.risk.caps import GreekExposure, Marks, exposure_of

HELD = (
    "entry.gate=off",
    "exits.edge_gone=false",
    "exits.flat_minutes_before_close=10",
    "exits.stop_fraction=none",
    "exits.arm_fraction=none",
)
THREE_DAYS = ("selection.min_expiration_days=1", "selection.max_expiration_days=3", "exits.min_dte=none")
SOON_NS = 30 * NANOS_PER_SECOND
WILD_DAYS = (
    *("2015-08-24", "2016-06-24", "2016-11-09", "2017-07-14", "2017-11-24"),
    *("2018-02-05", "2018-02-09", "2018-10-10", "2018-12-24"),
)
LAG_MONTHS = tuple((2018, month) for month in range(3, 13))
NO_FILTERS = ("min_volume_ratio=0", "require_macro_alignment=false", "simulation.latency_ms=50")

OptionFill = tuple[int, int, Side, float]
"""Instant, instrument, side, and units of the underlying."""


def market_of(strategy: str, first: date, last: date) -> MarketTape:
    """Return the reconstructed sessions of SPY from the first to the last day."""
    return load_market(load_settings(strategy), "embedded", underlying="SPY", start=first, end=last, seed=1)


def played(
    strategy: str,
    tape: MarketTape,
    overrides: tuple[str, ...],
    on_fill: Callable[[TradingEngine, OrderFilled], None] = lambda *_: None,
) -> TradingEngine:
    """Run the sessions, call ``on_fill`` after each fill, and return the engine at the end."""
    settings = load_settings(strategy, overrides=overrides)
    header, engine = build_backtest(settings, tape, run_id="figures", mode="backtest", started_ns=0, seed=1)
    handle = engine.handle

    def handled(event: Event) -> tuple[Output, ...]:
        outputs = handle(event)
        if isinstance(event, OrderFilled):
            on_fill(engine, event)
        return outputs

    engine.handle = handled  # type: ignore[method-assign]
    assemble_backtest(settings, tape, header, engine, None).runner.run()
    return engine


def exposure(engine: TradingEngine) -> GreekExposure | None:
    """Return what the caps weigh of the whole book, in per cent of equity; None while a leg has no Greeks."""
    desk = engine.desk
    lines = [
        (held.instrument_id, desk.instruments[held.instrument_id], float(held.quantity))
        for held in desk.positions.held()
    ]
    marks = Marks(lambda number: desk.delta_engine.state(number, engine.now_ns), desk.delta_engine.mark)
    found = exposure_of(lines, marks, {})
    if not isinstance(found, GreekExposure):
        return None
    return GreekExposure(*[100.0 * abs(figure) / float(desk.attribution.nav) for figure in found])


def caps() -> None:
    """Print the largest part of the account's equity that a day's Greeks came to after a trade."""
    print("| day | net delta | gamma | vega | theta |\n|---|--:|--:|--:|--:|")
    for day in map(date.fromisoformat, ("2015-08-24", "2018-02-05", "2017-06-01")):
        found: list[GreekExposure] = []

        def note(engine: TradingEngine, _: OrderFilled, found: list[GreekExposure] = found) -> None:
            # one leg of a straddle is no trade
            legs = any(
                order.submitted.purpose is not Purpose.HEDGE for order in engine.desk.orders.live.values()
            )
            now = None if legs else exposure(engine)
            found += [now] if now is not None else []

        played("gamma-scalper", market_of("gamma-scalper", day, day), ("entry.gate=off",), note)
        delta, gamma, vega, theta = (max(column) for column in zip(*found, strict=True))
        print(f"| {day} | {delta:.1f} | {gamma:.1f} | {vega:.2f} | {theta:.2f} |", flush=True)


def hedges_of(tape: MarketTape, overrides: tuple[str, ...]) -> tuple[int, int, int]:
    """Return a day's hedges, their shares, and how many turn another of at most 30 s before."""
    fills: dict[str, tuple[int, int]] = {}
    """Instant and signed shares of each order."""

    def note(engine: TradingEngine, event: OrderFilled) -> None:
        order = engine.desk.orders.orders[event.client_order_id].submitted
        if order.purpose is Purpose.HEDGE:
            signed = int(order.quantity) * (1 if order.side is Side.BUY else -1)
            fills[event.client_order_id] = (event.ts_event_ns, signed)

    played("gamma-scalper", tape, (*HELD, *overrides), note)
    turned = sum(
        after[1] * before[1] < 0 and after[0] - before[0] <= SOON_NS
        for before, after in pairwise(fills.values())
    )
    return len(fills), sum(abs(shares) for _, shares in fills.values()), turned


def small_hedges() -> None:
    """Print the hedges of a straddle of three days and of a month, with and without small hedges."""
    days = [(date(2014, 6, 24), THREE_DAYS), (date(2018, 2, 5), ())]
    markets = [(market_of("gamma-scalper", day, day), more) for day, more in days]
    head = "`least_fraction` 0 | 0.35 | shares | turns"
    print(f"| aversion | 2014-06-24, {head} | 2018-02-05, {head} |\n|---|{'--:|' * 8}")
    for aversion in (0.001, 0.005, 0.02, 0.05, 0.15, 0.25, 0.5):
        cells: list[int] = []
        for tape, more in markets:
            band = f"hedge.band_settings.risk_aversion={aversion}"
            whole, _, _ = hedges_of(tape, (*more, band, "hedge.least_fraction=0"))
            cells += [whole, *hedges_of(tape, (*more, band, "hedge.least_fraction=0.35"))]
        print(f"| {aversion} | {' | '.join(map(str, cells))} |", flush=True)
    fixed = ("hedge.band=fixed", "hedge.threshold_shares=2", "hedge.delta_vol=implied")
    of_fixed = [
        f"{count} | | {shares} | {turned}"
        for count, shares, turned in (hedges_of(tape, (*more, *fixed)) for tape, more in markets)
    ]
    print(f"| fixed, 2 shares, each leg's own volatility | {' | '.join(of_fixed)} |")


def threshold() -> None:
    """Print what ten straddles held from the open come to by each rule of the threshold."""
    markets = []
    for day in map(date.fromisoformat, WILD_DAYS):
        tape = market_of("zero-dte", day, day)
        (session,) = tape.sessions
        spot = tape.quotes.until(session.clock_ns("09:31")).mids(tape.instruments.id_of("SPY"))[1][0]
        expiring = [each for each in tape.instruments if each.is_option and each.expiry == day]
        strike = min({each.strike for each in expiring}, key=lambda price: abs(float(price) - spot))
        markets.append((tape, [each.symbol for each in expiring if each.strike == strike]))
    print("| held | rule | hedges | P&L, USD | standard deviation of the days | spread paid, USD |")
    print("|---|---|--:|--:|--:|--:|")
    for held, contracts in (("long", 10), ("short", -10)):
        for rule in ("standard", "dealers", "own_gamma"):
            hedges, results, spread = 0, [], 0.0
            for tape, symbols in markets:
                positions = [f"simulation.positions.{symbol}={contracts}" for symbol in symbols]
                settings = (f"hedge.regime={rule}", "simulation.starting_cash=1000000", *positions)
                desk = played("zero-dte", tape, settings).desk
                hedges += sum(
                    order.submitted.purpose is Purpose.HEDGE and order.filled > 0
                    for order in desk.orders.orders.values()
                )
                results.append(float(desk.attribution.nav_change))
                spread -= float(desk.attribution.totals["spread"])
            figures = f"{hedges} | {sum(results):.0f} | {stdev(results):.0f} | {spread:.0f}"
            print(f"| {held} | `{rule}` | {figures} |", flush=True)


def lag() -> None:
    """Print how far an option's next quote moves in favour of the order that was filled at the last."""
    moves: dict[Side, list[float]] = {Side.BUY: [], Side.SELL: []}
    halves: list[float] = []
    for year, month in LAG_MONTHS:
        tape = market_of("ema-scalper", date(year, month, 1), date(year, month, monthrange(year, month)[1]))
        fills: list[OptionFill] = []

        def note(engine: TradingEngine, event: OrderFilled, fills: list[OptionFill] = fills) -> None:
            order = engine.desk.orders.orders[event.client_order_id].submitted
            option = engine.desk.instruments[order.instrument_id]
            if option.is_option:
                size = float(event.quantity) * option.multiplier
                fills.append((event.ts_event_ns, order.instrument_id, order.side, size))

        played("ema-scalper", tape, NO_FILTERS, note)
        for session in tape.sessions:
            quotes = tape.quotes.between(session.open_ns, session.close_ns)
            for at_ns, number, side, size in fills:
                if not session.open_ns <= at_ns < session.close_ns:
                    continue
                rows = quotes.take(quotes.instrument_id == number)
                now = int(np.searchsorted(rows.ts_ns, at_ns, side="right")) - 1
                if now + 1 < len(rows):
                    mids = 0.5 * (rows.bid[now : now + 2] + rows.ask[now : now + 2])
                    sign = 1.0 if side is Side.BUY else -1.0
                    moves[side].append(sign * size * float(mids[1] - mids[0]))
                    halves.append(0.5 * size * float(rows.ask[now] - rows.bid[now]))
    print("| order | USD an order | orders |\n|---|--:|--:|")
    for name, found in (("purchase", moves[Side.BUY]), ("sale", moves[Side.SELL])):
        print(f"| {name} | {fmean(found):+.2f} ± {stdev(found) / math.sqrt(len(found)):.2f} | {len(found)} |")
    both = [*moves[Side.BUY], *moves[Side.SELL]]
    print(f"{fmean(both) / fmean(halves):.0%} of the half spread, {fmean(halves):.2f} USD an order")


TABLES: dict[str, Callable[[], None]] = {
    "caps": caps,
    "small-hedges": small_hedges,
    "threshold": threshold,
    "lag": lag,
}

if __name__ == "__main__":
    TABLES[sys.argv[1]]()
