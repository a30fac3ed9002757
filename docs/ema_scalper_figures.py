# ruff: noqa: INP001, T201 - a script beside its page, not a package
"""Print the tables of ``evidence/ema-scalper.md`` and ``evidence/ema-scalper-signals.md``.

    .venv/bin/python docs/ema_scalper_figures.py [MONTH ...]

Months as ``2017-08``; each variant trades all sessions of a month of the embedded market in one run. About
fifteen seconds for a variant and month.
"""

import sys
import tempfile
from calendar import monthrange
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.instruments.sessions import sessions_between
from scalpdesk.records.projection import project_journal
from scalpdesk.records.scalps import scalp_history
from scalpdesk.records.store import load_decisions, open_store, store_url
from scalpdesk.strategies.contract import configured_underlyings
from scalpdesk.strategies.toolkit.order_life import without_figures

MONTHS = ("2017-08", "2018-12")
NO_VOLUME = "min_volume_ratio=0"
VARIANTS: dict[str, tuple[str, ...]] = {
    "as documented": (),
    "without the volume filter": (NO_VOLUME,),
    "the same, without the bias": (NO_VOLUME, "require_macro_alignment=false"),
    "without it, 1 and 5 minutes": (NO_VOLUME, "signal_minutes=1,5"),
    "without it, SPY and QQQ": (NO_VOLUME, "underlying=SPY,QQQ"),
}
COSTS = ("simulation.fees=alpaca", "simulation.latency_ms=50")


def run(month: str, settings: tuple[str, ...]) -> tuple[dict[str, Any], list[dict[str, Any]], Counter[str]]:
    """Return a month's summary, its scalps, and how often each reason kept a signal from being traded."""
    year, number = map(int, month.split("-"))
    last = monthrange(year, number)[1]
    sessions = sessions_between(date(year, number, 1), date(year, number, last))
    days = [session.day for session in sessions]
    loaded = load_settings("ema-scalper", overrides=(*COSTS, *settings))
    symbols = ",".join(configured_underlyings(loaded.strategy_config))
    tape = load_market(loaded, "embedded", underlying=symbols, start=days[0], end=days[-1], seed=1)
    with tempfile.TemporaryDirectory() as folder:
        result = run_backtest(loaded, tape, clock=SystemClock(), runs_dir=Path(folder), seed=1)
        assert result.run_dir is not None
        with open_store(store_url(Path(folder))) as store:
            project_journal(result.run_dir, store)
            run_id = result.summary["run_id"]
            scalps = scalp_history(store, run_id, limit=10_000)
            decisions = load_decisions(store, run_id)
    refused: Counter[str] = Counter()
    for decision in decisions:
        first = decision.reasons[0]
        if first.startswith("skipped: "):
            refused["signals not traded"] += 1
            refused.update(_short(reason) for reason in first.removeprefix("skipped: ").split("; "))
    return result.summary, scalps, refused


def _short(reason: str) -> str:
    """Return a reason as the table names it."""
    if reason.startswith("a scalp in "):
        return "a scalp in the ticker is losing"
    for start in ("conviction", "volume", "the 10-minute bias", "past the last entry", "before", "of "):
        if reason.startswith(start):
            return {"of ": "no contract passes"}.get(start, start)
    if reason.partition(": ")[0][-8:].isdigit():  # a contract and what its Greeks are refused for
        return reason.split(": ")[1]
    return without_figures(reason)


def main(months: tuple[str, ...]) -> None:
    """Print results, exits and refusals of all variants."""
    exits: dict[str, dict[str, list[float]]] = {}
    refusals: dict[str, Counter[str]] = {}
    print("| variant | month | scalps | won | spread and fees | net | best | worst |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for name, settings in VARIANTS.items():
        for month in months:
            summary, scalps, refused = run(month, settings)
            costs = float(summary["pnl"]["spread"]) + float(summary["pnl"]["fees"])
            results = [row["pnl"] for row in scalps]
            won = sum(result > 0 for result in results)
            ends = (f"{max(results):.2f}", f"{min(results):.2f}") if results else ("-", "-")
            figures = (len(scalps), won, f"{costs:.2f}", summary["nav_change"], *ends)
            print(f"| {name} | {month} | {' | '.join(map(str, figures))} |", flush=True)
            for symbol, row in summary.get("underlyings", {}).items():
                print(f"| … of it {symbol} | | | | | {row['pnl']['total']} | | |", flush=True)
            for row in scalps:
                exits.setdefault(name, {}).setdefault(row["exit_reason"], []).append(row["pnl"])
            refusals.setdefault(name, Counter()).update(refused)
    print("\n| variant | exit | scalps | won | P&L, costs included |")
    print("|---|---|--:|--:|--:|")
    for name, found in exits.items():
        for reason, results in sorted(found.items(), key=lambda item: -len(item[1])):
            won = sum(result > 0 for result in results)
            print(f"| {name} | `{reason}` | {len(results)} | {won} | {sum(results):.2f} |")
    print("\n| variant | signal not traded because | times |")
    print("|---|---|--:|")
    for name, counts in refusals.items():
        for reason, count in counts.most_common():
            print(f"| {name} | {reason} | {count} |")


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or MONTHS)
