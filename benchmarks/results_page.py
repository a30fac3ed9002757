"""Print the first part of ``docs/evidence/results.md``: ``results_page.py WITH_GATE WITHOUT_GATE REMARK``.

A run that has not ended yet is reported up to the last session that its journal holds whole.
"""

import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from scalpdesk.core.intents import Decision, Mark
from scalpdesk.datasets.daily_history import vix_before
from scalpdesk.journal.reader import JournalReader
from scalpdesk.portfolio.explain import PARTS
from scalpdesk.report.session_tables import SessionSums, grouped, performance
from scalpdesk.report.statistics import bootstrap_interval, trade_figures
from scalpdesk.report.trades import gate_record
from scalpdesk.volatility.variance_time import clock_of

COMMAND = (
    "scalpdesk backtest gamma-scalper --start 2014-01-03 --end 2018-12-31 --set entry.again_after_exit=true"
)
NO_GATE = " --set entry.gate=off --set exits.edge_gone=false"


class Run:
    """Sessions and straddles of a journaled run."""

    def __init__(self, folder: Path) -> None:
        reader = JournalReader(folder)
        marks: list[Mark] = []
        self.straddles: list[dict[str, Any]] = []
        self.hedges = 0
        now_ns = 0
        for events, outputs in reader.steps():
            now_ns = events[-1].ts_recv_ns
            for output in outputs:
                if isinstance(output, Mark):
                    marks.append(output)
                elif isinstance(output, Decision):
                    self._note(output)
        whole = [each for each in reader.header.sessions if each.close_ns <= now_ns]
        last_ns = whole[-1].close_ns
        marks = [mark for mark in marks if mark.ts_ns <= last_ns]
        self.is_whole = len(whole) == len(reader.header.sessions)
        self.days = [each.day for each in whole]
        # hundreds of sessions are summed: rounded to the cent each, the sum would be off by some
        sums = SessionSums(clock_of(reader.header.data), self.days[0])
        for mark in marks:
            sums.add(mark.ts_ns, mark.nav_change, mark.parts, mark.net_delta_shares)
        self.rows = sums.sessions(self.days, vix_before, decimals=6)
        self.figures = performance(self.rows, float(marks[0].nav - marks[0].nav_change))
        self.parts = {name: sum(float(mark.parts[name]) for mark in marks) for name in PARTS}
        self.realised_vs_implied = sum(mark.gamma_rent for mark in marks)
        self.held = sum(bool(abs(float(row.pnl)) > 0) for row in self.rows)
        self.digest = reader.decisions.hex() if reader.sealed else "the run has not ended"

    def _note(self, decision: Decision) -> None:
        facts, kind = decision.facts, str(decision.kind)
        if kind == "hedge" and decision.taken:  # the second order of one that crosses zero is the same hedge
            self.hedges += 1
        if kind == "entry" and decision.taken and "strike" in facts:
            self.straddles.append({"facts": facts, "at": decision.ts_ns, "pnl": None, "why": ""})
        elif kind == "exit" and decision.reasons[0].startswith("flat: ") and self.straddles:
            last = self.straddles[-1]
            last["pnl"], last["why"], last["ended"] = (
                facts["pnl_usd"],
                decision.reasons[0][6:],
                decision.ts_ns,
            )

    @property
    def closed(self) -> list[dict[str, Any]]:
        """Straddles that have been sold."""
        return [each for each in self.straddles if each["pnl"] is not None]


def _table(head: list[str], rows: list[list[str]]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|---" + "|--:" * (len(head) - 1) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def _interval(ends: list[float] | None, form: str = "{:.2f}") -> str:
    return "" if ends is None else f" ({form.format(ends[0])} to {form.format(ends[1])})"


def _facts(run: Run) -> list[str]:
    found, figures = run.figures, trade_figures([each["pnl"] for each in run.closed])
    pnl = [float(row.pnl) for row in run.rows]
    fall = found["drawdown"]
    straddle = ""
    if len(run.closed) > 4:
        ends = bootstrap_interval([each["pnl"] for each in run.closed], np.mean)
        straddle = _interval([ends.low, ends.high])
    return [
        str(found["sessions"]),
        str(run.held),
        f"{sum(pnl):,.2f}",
        f"{found['mean_pnl']:.2f}{_interval(found.get('mean_pnl_interval'))}",
        f"{found.get('sharpe', float('nan')):.2f}{_interval(found.get('sharpe_interval'))}",
        f"{found.get('sortino', float('nan')):.2f}",
        f"{found['hit_rate']:.1%}",
        f"{fall['amount']:,.2f} ({fall['after']} to {fall['trough']})",
        str(fall["longest_under_water_sessions"]),
        f"{found['largest_net_delta_shares']:.1f}",
        str(len(run.closed)),
        f"{figures.expectancy:.2f}{straddle}",
        f"{figures.hit_rate:.1%}",
        str(run.hedges),
        f"{run.parts['spread'] + run.parts['fees'] + run.parts['slippage']:,.2f}",
        f"{run.realised_vs_implied:,.2f}",
    ]


WHY_DELTA = """\
Delta is the trend within days. A hedge goes back to the edge of the band, not to zero, so a day that moves
further from open to close than its quadratic variation leaves delta in its direction, and a choppy day takes
some back. Higher order is vanna less volga: volatility rises as SPY falls, and a straddle held for weeks has
its strike above the spot then. In runs of the second half of August 2015, January 2016 and the first half of
February 2018 alone, delta was 13.91 on 2015-08-21, 9.12 on 2018-02-02 and -6.19 on 2016-01-12; higher order
-44.11 on 2018-02-09 and -26.56 on 2015-08-24; vanna -176.2 and volga +50.3 made -126.7 of that February. Both
come of many days; no single one makes them.
"""

LABELS = [
    "sessions",
    "of them with a P&L",
    "P&L, USD",
    "mean of a session, USD (95 %)",
    "Sharpe ratio a year (95 %)",
    "Sortino ratio",
    "above zero, of sessions with a P&L",
    "largest drawdown, USD",
    "longest under water, sessions",
    "largest net delta at a mark, shares",
    "straddles sold",
    "mean of a straddle, USD (95 %)",
    "straddles above zero",
    "hedges",
    "spread, fees and slippage, USD",
    "realised against implied, USD",
]


def _by_year(run: Run) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for row in run.rows:
        found[row.session[:4]].append(float(row.pnl))
    return found


def _groups(run: Run, kind: str) -> dict[str, list[float]]:
    return {
        name: [group["sessions"], float(group["pnl"]), group["hit_rate"]]
        for name, group in grouped(run.rows)[kind].items()
    }


def _edges(run: Run) -> None:
    names = ("edge_usd", "edge_stderr_usd", "forecast_vol", "implied_level")
    found = gate_record(
        [
            SimpleNamespace(
                closed_ns=1,
                realised_vol=None,
                pnl=each["pnl"],
                **{name: each["facts"][name] for name in names},
            )
            for each in run.closed
            if "edge_usd" in each["facts"]
        ]
    )
    if "difference_interval" not in found:
        return
    low, high = found["difference_interval"]
    print(
        f"The gate promised {found['promised']:.2f} USD a straddle on average (forecast over implied"
        f" {found['forecast_over_implied']:.2f}); they earned {found['earned']:.2f}:"
        f" {found['difference']:+.2f} apart, 95 % from {low:.2f} to {high:.2f}. Promise and P&L are"
        f" correlated by {found['correlation']:.2f} over {found['trades']} straddles."
        " `scalpdesk vol --track RUN` lists them.\n"
    )


def main() -> None:
    """Print the page."""
    gated, free = Run(Path(sys.argv[1])), Run(Path(sys.argv[2]))
    runs = [gated, free]
    print("# What did the default gamma scalper earn in 2014–2018?\n")
    print(
        "Made by `benchmarks/results_page.py` from two journals; not edited. A reconstructed market is no\n"
        "evidence that a rule earns money "
        "([why](../concepts/embedded-market.md#what-it-is-and-what-it-is-not)):\n"
        "daily prices, the VIX and the nights are real, what happens within a session is drawn.\n"
    )
    print(f"```\n{COMMAND}\n{COMMAND}{NO_GATE}\n```\n")
    print(
        "Default settings and seed 1, one straddle at a time, 100,000 USD, no commission, `cross` fills;\n"
        "`entry.again_after_exit` lets another straddle follow one that was sold. Without the gate a\n"
        f"straddle is bought whatever the forecast says, and not sold for a lost edge.\n\n{sys.argv[3]}\n"
    )
    for name, run in zip(("With", "Without"), runs, strict=True):
        whole = "all" if run.is_whole else "**not all**: the run did not end"
        print(
            f"* {name} the gate: {run.days[0]} to {run.days[-1]}, {len(run.days)} of 1257 sessions ({whole});"
            f" decision hash {run.digest}"
        )
    print()
    _table(
        ["", "with its gate", "without"],
        [list(row) for row in zip(LABELS, _facts(gated), _facts(free), strict=True)],
    )
    print(
        "Intervals are stationary bootstraps (2,000 draws). A day without a position is a session of zero.\n"
    )
    _edges(gated)
    print("## P&L by part, USD\n")
    _table(
        ["", *PARTS],
        [[n, *(f"{r.parts[p]:,.2f}" for p in PARTS)] for n, r in zip(("with", "without"), runs, strict=True)],
    )
    print(WHY_DELTA)
    print("## By year\n")
    years = [_by_year(run) for run in runs]
    rows = []
    for year in sorted({*years[0], *years[1]}):
        cells = []
        for found in years:
            pnl = found.get(year, [])
            if not pnl:
                cells += ["", "", ""]
                continue
            if len(pnl) < 5 or not any(pnl):
                cells += [f"{sum(pnl):,.2f}", "", ""]
                continue
            ends = bootstrap_interval(pnl, np.mean)
            cells += [f"{sum(pnl):,.2f}", f"{np.mean(pnl):.2f} ({ends.low:.2f} to {ends.high:.2f})"]
            cells.append(f"{sum(amount > 0 for amount in pnl) / sum(amount != 0 for amount in pnl):.0%}")
        rows.append([year, *cells])
    head = ["with: P&L", "mean (95 %)", "hit rate", "without: P&L", "mean (95 %)", "hit rate"]
    _table(["year", *head], rows)
    for kind, title in (("vix", "By the VIX of the evening before"), ("weekday", "By weekday")):
        print(f"## {title}\n")
        groups = [_groups(run, kind) for run in runs]
        rows = []
        for name in sorted({*groups[0], *groups[1]}, key=_order):
            cells = []
            for found in groups:
                sessions, pnl, rate = found.get(name, (0, 0.0, None))
                cells += [str(sessions), f"{pnl:,.2f}", "" if rate is None else f"{rate:.0%}"]
            rows.append([name, *cells])
        _table(["", "with: sessions", "P&L", "hit rate", "without: sessions", "P&L", "hit rate"], rows)
    print("## Why straddles were sold\n")
    reasons = [Counter(each["why"].split(":")[0] for each in run.closed) for run in runs]
    _table(
        ["", "with its gate", "without"],
        [[why, *(str(count[why]) for count in reasons)] for why in sorted({*reasons[0], *reasons[1]})],
    )
    print("## The variance premium\n")
    print(
        "Nothing is set: it is the real one between the VIX and the moves of the index, 64 points² a year\n"
        "(95 % from 34 to 90; "
        "[embedded market](../concepts/embedded-market.md#sessions-in-sequence)). What these\n"
        "straddles met of it:\n"
    )
    _table(
        ["", "with its gate", "without"],
        [
            ["volatility paid, mean of straddles", *(_mean(run, "implied_vol") for run in runs)],
            [
                "gamma + theta, USD a session held",
                *(f"{r.realised_vs_implied / max(r.held, 1):.2f}" for r in runs),
            ],
        ],
    )
    print("\n## Made by\n\n| figures | command | made |\n|---|---|---|")
    title = "what-did-the-default-gamma-scalper-earn-in-20142018"
    print(
        f"| [all of this page](#{title}) | `python benchmarks/results_page.py WITH WITHOUT REMARK` |"
        f" {datetime.now(UTC).date()} |"
    )


def _mean(run: Run, name: str) -> str:
    found = [each["facts"][name] for each in run.straddles if name in each["facts"]]
    return f"{np.mean(found):.2%}" if found else ""


WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")


def _order(name: str) -> tuple[int, str]:
    if name in WEEKDAYS:
        return WEEKDAYS.index(name), ""
    digits = "".join(c for c in name if c.isdigit())[:2]
    return int(digits or 99) - ("below" in name), name


if __name__ == "__main__":
    main()
