# ruff: noqa: INP001 - a script beside its page, not a package
"""Print the tables of ``evidence/st0ckg.md`` and ``evidence/st0ckg-signals.md``.

    .venv/bin/python docs/st0ckg_figures.py [--catalog FOLDER] [--months 2017-07,2018-10] [TABLE ...]

Tables: ``days``, ``months``, ``signals``. The catalogue is where exposures of earlier sessions
are kept (filled here where they are missing) and where recorded markets are found.
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from functools import cache
from pathlib import Path
from statistics import fmean, stdev

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runner import Journal
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import Event, OrderFilled
from scalpdesk.core.intents import Decision, Output
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.datasets.dealer_gamma import ExposureHistory, SessionExposure
from scalpdesk.datasets.embedded import market
from scalpdesk.datasets.embedded.market import available_sessions, reconstruct, reconstruct_bars
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk.marketdata.chain_gamma import exposure_event, price_tape
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.signals.base import Reading, find_signal
from scalpdesk.signals.composite import survey
from scalpdesk.strategies.contract import Action, DeskView
from scalpdesk_strategies.st0ckg.config import SEVEN, St0ckgConfig
from scalpdesk_strategies.st0ckg.market_facts import FactsCollector
from scalpdesk_strategies.st0ckg.strategy import St0ckg

DAYS = (
    "2014-06-30 2014-10-15 2015-08-24 2016-06-24 2016-08-10 2016-11-09 2017-07-14 2017-10-02 2018-02-05 "
    "2018-08-27 2018-12-24 2018-12-26"
)
VARIANTS: dict[str, tuple[str, ...]] = {
    "measured, no history of exposures": ("gex.from_chain=false",),
    "measured": (),
    "measured, choose=tradable": ("choose=tradable",),
    "original": ("scoring=original", "gex.from_chain=false"),
    "original, choose=tradable": ("scoring=original", "gex.from_chain=false", "choose=tradable"),
}
COSTS = ("simulation.fees=alpaca", "simulation.latency_ms=50")
EARLIER = 20
HORIZONS_MINUTES = (1, 5, 15, 30)


@dataclass
class Seen(Journal):
    """Decisions and orders of one run; takes the place of its journal."""

    decisions: list[Decision] = field(default_factory=list)
    fills: int = 0

    def add_event(self, event: Event) -> None:
        """Count the fills."""
        self.fills += isinstance(event, OrderFilled)

    def add_outputs(self, outputs: tuple[Output, ...]) -> None:
        """Keep the decisions."""
        self.decisions += [output for output in outputs if isinstance(output, Decision)]


@dataclass
class Result:
    """One run in figures, USD."""

    entries: int
    exits: Counter[str]
    net: Decimal
    costs: Decimal
    decisions: int
    entered_on: Counter[str]
    wins: int = 0
    trades: int = 0


def run(tape: MarketTape, overrides: tuple[str, ...], *, seed: int = 1) -> Result:
    """Run one tape."""
    settings = load_settings("st0ckg", overrides=(*COSTS, *overrides))
    header, engine = build_backtest(
        settings, tape, run_id="figures", mode="backtest", started_ns=0, seed=seed
    )
    seen = Seen()
    assemble_backtest(settings, tape, header, engine, seen).runner.run()
    totals = engine.desk.attribution.totals
    exits: Counter[str] = Counter()
    entered: Counter[str] = Counter()
    result = Result(0, exits, engine.desk.attribution.nav_change, Decimal(0), len(seen.decisions), entered)
    result.costs = sum((totals[name] for name in ("spread", "fees", "slippage")), Decimal(0))
    for decision in seen.decisions:
        if decision.kind == "entry" and decision.client_order_ids:
            entered[decision.reasons[0].split(" ")[0]] += 1
            result.entries += 1
        if decision.kind == "exit" and decision.client_order_ids:
            exits[decision.reasons[0].split(":")[0]] += 1
        gain = decision.facts.get("gain_before_fees_usd")
        if gain is not None:
            result.trades += 1
            result.wins += float(gain) > 0
    return result


def say(text: str = "") -> None:
    """Write a line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def counted(counts: Counter[str]) -> str:
    """Return counts in words."""
    return (
        ", ".join(f"{n} {name}" for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
        or "-"
    )


def keep_what_is_drawn() -> None:
    """Keep the sessions that are drawn: each is asked for by many runs."""
    market.reconstruct_bars = cache(reconstruct_bars)


def fill_history(catalog: Path, days: list[date]) -> None:
    """Keep the exposure at 10:00 of the 20 sessions before each day."""
    history = ExposureHistory(catalog, "embedded", "SPY")
    known = {kept.session for kept in history.read()}
    sessions = available_sessions()
    wanted = sorted(
        {earlier for day in days for earlier in [x for x in sessions if x < day][-EARLIER:]} - known
    )
    for day in wanted:
        word = exposure_event(price_tape(reconstruct(day), new_york_ns(day, time(10, 0))), "SPY", 0)
        history.keep([SessionExposure(day, word.exposure_usd, word.near_usd)])


def expiry_days(month: str) -> list[date]:
    """Mondays, Wednesdays and Fridays of a month that are sessions."""
    return [
        day
        for day in available_sessions()
        if day.isoformat().startswith(month) and day.weekday() in (0, 2, 4)
    ]


def days_table(catalog: Path) -> None:
    """One row a day, one column a variant: signals bought on, how it ended, what was left, its costs."""
    days = [date.fromisoformat(text) for text in DAYS.split()]
    fill_history(catalog, days)
    say(f"| day | {' | '.join(VARIANTS)} |")
    say("|---|" + "---|" * len(VARIANTS))
    for day in days:
        tape = reconstruct(day)
        cells = []
        for overrides in VARIANTS.values():
            result = run(tape, (*overrides, f"data.catalog={catalog}"))
            words = f"{counted(result.entered_on)}; {counted(result.exits)};"
            words += f" {result.net:+.2f} ({result.costs:.2f})"
            cells.append(words if result.entries else "-")
        say(f"| {day} | {' | '.join(cells)} |")


def months_table(catalog: Path, months: list[str]) -> None:
    """All days of some months with options that expire, by variant."""
    days = [day for month in months for day in expiry_days(month)]
    fill_history(catalog, days)
    sums: dict[str, list[Result]] = {name: [] for name in VARIANTS}
    for day in days:
        tape = reconstruct(day)
        for name, overrides in VARIANTS.items():
            sums[name].append(run(tape, (*overrides, f"data.catalog={catalog}")))
    say("| variant | days | traded | trades | won | entries on | costs | net | best | worst |")
    say("|---|--:|--:|--:|--:|---|--:|--:|--:|--:|")
    for name, results in sums.items():
        entered: Counter[str] = Counter()
        for result in results:
            entered.update(result.entered_on)
        nets = [result.net for result in results]
        cells = (
            name,
            len(results),
            sum(result.trades > 0 for result in results),
            sum(result.trades for result in results),
            sum(result.wins for result in results),
            counted(entered),
            *(
                f"{sum_:.2f}"
                for sum_ in (sum(result.costs for result in results), sum(nets), max(nets), min(nets))
            ),
        )
        say(f"| {' | '.join(map(str, cells))} |")


class Listener(St0ckg):
    """Asks the signals each minute and keeps what they say; buys nothing."""

    def __init__(self, config: St0ckgConfig) -> None:
        super().__init__(config)
        self.heard: list[tuple[int, float, tuple[Reading, ...]]] = []

    def _think(self, view: DeskView, watch: FactsCollector) -> list[Action]:
        spot = view.market.mark(view.underlying)
        if spot is not None:
            found = survey(self._signals, watch.facts(view, spot), self.config.scoring)
            self.heard.append((view.now_ns, spot, found.readings))
        return []


def listen(tape: MarketTape, overrides: tuple[str, ...]) -> Listener:
    """Run the signals over a tape."""
    settings = load_settings("st0ckg", overrides=overrides)
    header, engine = build_backtest(settings, tape, run_id="figures", mode="backtest", started_ns=0, seed=1)
    listener = Listener(settings.strategy_config)
    deaf = TradingEngine(engine.desk, listener)
    assemble_backtest(settings, tape, header, deaf, Seen()).runner.run()
    return listener


def moves_after(listener: Listener) -> dict[str, list[tuple[float | None, ...]]]:
    """Return by signal what the share did after each tradable reading, in cents along its direction.

    A signal that stands for several minutes counts once; what the session's close cuts off is None.
    """
    minima = {find_signal(name).name: find_signal(name).minimum for name in SEVEN}
    spots = {now_ns: spot for now_ns, spot, _ in listener.heard}
    found: dict[str, list[tuple[float | None, ...]]] = {}
    standing: set[tuple[str, int]] = set()
    for now_ns, spot, readings in listener.heard:
        now = {
            (reading.name, reading.direction)
            for reading in readings
            if reading.score is not None and reading.score >= minima[reading.name] and reading.direction
        }
        for name, direction in sorted(now - standing):
            after = [spots.get(now_ns + minutes * 60 * NANOS_PER_SECOND) for minutes in HORIZONS_MINUTES]
            row = tuple(None if later is None else 100.0 * direction * (later - spot) for later in after)
            found.setdefault(name, []).append(row)
        standing = now
    return found


def signals_table(catalog: Path) -> None:
    """Moves of the share after each signal, on recorded and on embedded days."""
    say("| market | scoring | signal | times | " + " | ".join(f"{m} min" for m in HORIZONS_MINUTES) + " |")
    say("|---|---|---|--:|" + "--:|" * len(HORIZONS_MINUTES))
    here = f"data.catalog={catalog}"
    for scoring in ("measured", "original"):
        chosen = (here, f"scoring={scoring}")
        few = (*chosen, "volume_sessions=3")
        markets = {
            "SPY minutes 2013-10-04 to 10-11": [(_recorded(catalog, "spy", date(2013, 10, 4)), few)],
            "SPY seconds 2013-10-07 to 10-11": [(_recorded(catalog, "spy-second", date(2013, 10, 7)), few)],
            "embedded, the twelve days": [(reconstruct(date.fromisoformat(d)), chosen) for d in DAYS.split()],
        }
        for name_of_market, runs in markets.items():
            rows: dict[str, list[tuple[float | None, ...]]] = {}
            for tape, overrides in runs:
                for name, some in moves_after(listen(tape, overrides)).items():
                    rows.setdefault(name, []).extend(some)
            for name, some in sorted(rows.items()):
                cells = []
                for at in range(len(HORIZONS_MINUTES)):
                    moves = [row[at] for row in some if row[at] is not None]
                    cells.append(f"{fmean(moves):+.1f} ± {_error(moves):.1f}" if moves else "-")
                say(f"| {name_of_market} | {scoring} | {name} | {len(some)} | " + " | ".join(cells) + " |")


def _recorded(catalog: Path, name: str, start: date) -> MarketTape:
    settings = load_settings("st0ckg", overrides=(f"data.catalog={catalog}",))
    return load_market(settings, name, underlying="SPY", start=start, end=date(2013, 10, 11), seed=1)


def _error(moves: list[float]) -> float:
    return stdev(moves) / len(moves) ** 0.5 if len(moves) > 1 else float("nan")


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--catalog", type=Path, default=Path("catalog"))
    parser.add_argument("--months", default="2017-08,2018-12")
    parser.add_argument("tables", nargs="*", default=["days", "months"])
    asked = parser.parse_args()
    keep_what_is_drawn()
    if "days" in asked.tables:
        days_table(asked.catalog)
    if "signals" in asked.tables:
        signals_table(asked.catalog)
    if "months" in asked.tables:
        months_table(asked.catalog, asked.months.split(","))


if __name__ == "__main__":
    main()
