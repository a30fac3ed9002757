"""A live run against its own backtest: the difference of their P&L, in parts that sum to it.

A chain of backtests leads from the one to the other. Each takes one more condition over from the live run, in
the order of :data:`PARTS`; a part is the change of P&L that its condition makes after those before it. Fees
are what was booked; other orders that a desk sends because of them are the part of its choices. The rest,
which no condition explains, is decisions. All of them end at the last event of the live run's journal.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from scalpdesk.assembly import journaled_market, settings_from_header
from scalpdesk.backtesting.recorded import Counterfactual, LiveRecord, LiveTerms
from scalpdesk.backtesting.simulate import PreparedMarket, assemble_backtest, build_backtest
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.figures import draw_waterfall, html_table, new_figure
from scalpdesk.core.frames import Framed
from scalpdesk.core.intents import Mark
from scalpdesk.core.owner_only import own_file
from scalpdesk.core.units import NANOS_PER_MS, money_decimals, run_currency
from scalpdesk.journal.reader import peek_header
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.report.fold import RunFold
from scalpdesk.report.session_tables import SessionSums
from scalpdesk.volatility.variance_time import clock_of

PARTS = ("data", "latency", "fills", "rejects", "fees", "choices", "decisions")
"""Parts of the difference, in the order in which the conditions are taken over."""
CHAIN = (
    LiveTerms(),
    LiveTerms(latency=True),
    LiveTerms(latency=True, fills=True),
    LiveTerms(latency=True, fills=True, rejects=True),
    LiveTerms(latency=True, fills=True, rejects=True, fees=True),
)
"""Backtests of the recorded stream; each takes one more condition over."""
PARITY_FILE = "parity.json"
"""The last comparison, in the run's folder: the dashboard shows it."""
_REPORT_EVERY = 20_000

Progress = Callable[[int, int], None]
"""Called with the events that are done and all of them."""


@dataclass(frozen=True, slots=True)
class ParityResult(Framed):
    """A live run against its backtest."""

    document: dict[str, Any]
    """All figures, as :func:`compare` returns them."""

    def _frame(self) -> Any:
        """Return a frame by step from the backtest to the live run: ``amount``, ``pnl`` after it."""
        import pandas as pd  # noqa: PLC0415 - a second that only a notebook pays

        return pd.DataFrame(self._rows(), columns=["step", "amount", "pnl"]).set_index("step")

    def _rows(self) -> list[tuple[str, float, float]]:
        document = self.document
        rows, pnl = [("backtest", 0.0, float(document["backtest_pnl"]))], document["backtest_pnl"]
        for name, amount in document["parts"].items():
            pnl += amount
            rows.append((name, float(amount), float(pnl)))
        return [*rows, ("live", float(document["difference"]), float(document["live_pnl"]))]

    def plot(self) -> Any:
        """Draw the difference by part, as steps that end at live less backtest (extra ``plots``)."""
        figure = new_figure(9, 4)
        panel = figure.subplots()
        parts = {name: float(amount) for name, amount in self.document["parts"].items()}
        draw_waterfall(panel, parts, "live less backtest")
        panel.set_ylabel(self.document["currency"])
        panel.set_title(self.document["headline"])
        return figure

    def _repr_html_(self) -> str:
        """Return the parts as a table, for notebooks."""
        decimals = money_decimals(self.document["currency"])
        rows = [
            (name, None if name == "backtest" else f"{amount:+.{decimals}f}", f"{pnl:.{decimals}f}")
            for name, amount, pnl in self._rows()
        ]
        return html_table(self.document["headline"], ("", self.document["currency"], "P&L after it"), rows)


def played_by(run_dir: Path) -> MarketTape | None:
    """Return the market that a run played; None where it was a venue's own.

    Raises DataError when its data is not there any more.
    """
    header = peek_header(run_dir)
    return None if header.data.get("tape") is None else journaled_market(header)


def check_is_live(run_dir: Path) -> None:
    """Refuse a run that is itself a backtest. Raises ArgumentError, which names the run."""
    header = peek_header(run_dir)
    if header.is_backtest:
        raise ArgumentError(
            "a backtest has no live side to compare with",
            where=header.run_id,
            value=header.mode,
            fix="name a run of a venue, of the sandbox or of the simulated venue: scalpdesk runs",
        )


def compare(
    run_dir: Path,
    market: MarketTape | None = None,
    *,
    seed: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare a live run with its backtest.

    ``run_dir``: Folder of the live run's journal.
    ``market``: Data set of the same session, which the first backtest plays; None begins with the recorded
    stream: then the part of the data is 0.
    ``seed``: Path of an embedded market.
    ``progress``: Called now and then.

    Returns a document ready for JSON: ``parts`` are exact amounts in the desk's currency that sum to
    ``difference``, live less backtest; ``chain`` has the P&L of each backtest, ``sessions`` both sides
    session by session. Raises ArgumentError when the run is a backtest, DataError when no session was opened
    in it.
    """
    check_is_live(run_dir)
    record = LiveRecord(run_dir)
    chain = [record.differing(terms) for terms in CHAIN]
    made = {terms: Counterfactual(record, terms) for terms in dict.fromkeys(chain)}
    runs = [made[terms] for terms in chain]
    for done, event in enumerate(record.stream(), start=1):
        for run in made.values():
            run.take(event)
        if progress is not None and not done % _REPORT_EVERY:
            progress(done, record.events)
    amounts = [run.pnl() for run in runs]
    begun, fold = amounts[0], runs[0].fold
    if market is not None:
        begun, fold = _backtest(record, market, seed)
    last_but_one, with_fees = runs[-2:]
    amounts[-1:] = [
        amounts[-2] + record.paid.total - last_but_one.paid.total,
        amounts[-1] + record.paid.total - with_fees.paid.total,
    ]
    if _sent(last_but_one) == _sent(with_fees):  # nothing was chosen otherwise: what is left is of the rest
        amounts[-1] = amounts[-2]
    course = [begun, *amounts, record.pnl]
    parts = {name: course[place + 1] - course[place] for place, name in enumerate(PARTS)}
    difference = record.pnl - begun
    last, currency = runs[-1], run_currency(record.header.config)
    return {
        "run_id": record.header.run_id,
        "venue": record.header.venue,
        "currency": currency,
        "live_pnl": record.pnl,
        "backtest_pnl": begun,
        "difference": difference,
        "fraction": float(difference / abs(begun)) if begun else None,
        "parts": parts,
        "chain": dict(zip(("backtest", *PARTS[:-1]), course[:-1], strict=True)),
        "data": None if market is None else market.name,
        "sessions": _sessions(record, fold),
        "orders": {
            "live": len(record.orders),
            "backtest": len(last.fold.orders),
            "matched": last.orders.matched,
        },
        "decisions": {
            "live": record.trail.count,
            "backtest": last.trail.count,
            "equal": record.trail.hex() == last.trail.hex(),
        },
        "latency_ms": {
            "out": record.median_out_ns() / NANOS_PER_MS,
            "back": record.median_back_ns() / NANOS_PER_MS,
        },
        "headline": headline(difference, begun, currency),
    }


def _sent(run: Counterfactual) -> list[tuple[object, ...]]:
    """Return the orders of a backtest: when, what and at which limit."""
    return [
        (line.created_ns, line.symbol, line.side, line.quantity, line.order_type, line.limit_price)
        for line in run.fold.orders
    ]


def headline(difference: Decimal, backtest: Decimal, currency: str) -> str:
    """Return the number to watch: the difference, the backtest's P&L, and the one as a part of the other.

    >>> headline(Decimal("-3.12"), Decimal("214.50"), "USD")
    'parity: -3.12 USD of 214.50, 1.5 %'
    """
    decimals = money_decimals(currency)
    share = f"{100 * abs(difference / backtest):.1f} %" if backtest else "no backtest P&L to compare with"
    shown = difference or abs(difference)  # no negative zero
    return f"parity: {shown:.{decimals}f} {currency} of {backtest:.{decimals}f}, {share}"


def keep(document: dict[str, Any], run_dir: Path) -> Path:
    """Write a comparison into the run's folder; return the file."""
    path = run_dir / PARITY_FILE
    own_file(path)
    path.write_text(json.dumps(document, indent=2, default=str), encoding="utf-8")
    return path


def _sessions(record: LiveRecord, fold: RunFold) -> list[dict[str, Any]]:
    """Return for each session what the run and the backtest earned in it, and how many orders they sent."""

    def earned(marks: Sequence[Mark]) -> dict[date, Decimal]:
        sums = SessionSums(clock_of(record.header.data), record.sessions[0].day)
        for mark in marks:
            sums.add(mark.ts_ns, mark.nav_change, mark.parts, mark.net_delta_shares)
        return {session.day: sums.of_day(session.day)["total"] for session in record.sessions}

    live, backtest = earned(record.marks), earned(fold.marks)
    sent = [order.sent_ns for order in record.orders.values()], [order.created_ns for order in fold.orders]
    return [
        {
            "session": session.day.isoformat(),
            "live_pnl": live[session.day],
            "backtest_pnl": backtest[session.day],
            "difference": live[session.day] - backtest[session.day],
            "orders": {
                side: sum(session.open_ns <= at_ns <= session.close_ns for at_ns in stamps)
                for side, stamps in zip(("live", "backtest"), sent, strict=True)
            },
        }
        for session in record.sessions
    ]


def _backtest(record: LiveRecord, market: MarketTape, seed: int | None) -> tuple[Decimal, RunFold]:
    """Return P&L and course of a backtest of a data set as the run is configured, where the run's ends."""
    settings = settings_from_header(record.header)
    prepared = PreparedMarket(market)
    header, engine = build_backtest(settings, prepared, run_id="", mode="backtest", started_ns=0, seed=seed)
    run = assemble_backtest(settings, prepared, header, engine, None)
    run.runner.run(record.last_ns)
    return run.result(0.0).pnl["total"], run.fold
