"""Whole runs: backtest with journal and summary; replay of a journal against its recorded outputs."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from scalpdesk.assembly import engine_from_header, implied_vol_recorders, journaled_market
from scalpdesk.backtesting.simulate import (
    Assembled,
    PreparedMarket,
    assemble_backtest,
    build_backtest,
    few_collections,
    marks_frame,
    prepared,
    rows_frame,
)
from scalpdesk.config.settings import LoadedSettings
from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import ArgumentError, JournalError
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.figures import draw_waterfall, html_table, new_figure, show_clock
from scalpdesk.core.frames import in_library
from scalpdesk.core.intents import Decision, Mark, Output
from scalpdesk.core.owner_only import make_folder
from scalpdesk.core.units import money_decimals
from scalpdesk.core.version import BUILD
from scalpdesk.engine.replica import Replica
from scalpdesk.instruments.sessions import from_ns
from scalpdesk.journal.codec import JournalHeader, TapeRows, first_difference, same_outputs
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader, RowsReader
from scalpdesk.marketdata.tape import NO_QUOTES, MarketTape, QuoteColumns
from scalpdesk.portfolio.explain import part_names
from scalpdesk.report.fold import Fill, RunFold, SentOrder
from scalpdesk.report.pnl_calendar import calendar_of_report
from scalpdesk.report.run_report import Hedge, RunReport
from scalpdesk.report.session_tables import SessionPnl, realised_path
from scalpdesk.report.summary import run_summary
from scalpdesk.report.trades import Trade
from scalpdesk.simulation.tape_reader import CHUNK_ROWS, session_quotes
from scalpdesk.volatility.variance_time import clock_of

TABLES = ("orders", "fills", "decisions", "sessions", "trades", "hedges")
"""Tables of a result beside its marks."""
_UNSEEN_SECONDS = 60.0
"""Of market time between two readings of the processor's clock, where nobody looks on."""
Observer = Callable[[Assembled, int], None]
"""Called after each step of market time with the run and the time (UTC nanoseconds)."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run."""

    summary: dict[str, Any]
    """The run summary, in JSON types."""
    run_dir: Path | None
    """Folder of its journal; None when the run was not journaled."""
    report: RunReport = field(repr=False)
    """All of it as a value, from which the tables below are."""

    @property
    def marks(self) -> Sequence[Mark]:
        """Portfolio values and P&L explain at each mark."""
        return self.report.marks

    @property
    def orders(self) -> tuple[SentOrder, ...]:
        """Orders in the order they were sent."""
        return tuple(self.report.orders)

    @property
    def fills(self) -> tuple[Fill, ...]:
        """Executions in the order they came."""
        return tuple(self.report.fills)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What was decided, taken or skipped, in order."""
        return tuple(self.report.decisions)

    @property
    def sessions(self) -> tuple[SessionPnl, ...]:
        """P&L of each session, with its parts."""
        return self.report.sessions

    @property
    def trades(self) -> tuple[Trade, ...]:
        """Straddles and other structures, from when options are held until none is."""
        return self.report.trades or ()

    @property
    def hedges(self) -> tuple[Hedge, ...]:
        """Hedges, each with what was earned since the one before it."""
        return self.report.hedges

    def calendar(self) -> dict[str, Any]:
        """Return P&L by day, month, weekday, hour, days to expiry and regime, as the journal does."""
        unit = Decimal(1).scaleb(-money_decimals(self.summary.get("currency", "USD")))
        return calendar_of_report(self.report, unit)

    def to_frame(self, library: str = "pandas", *, table: str = "marks") -> Any:
        """Return a table of the run as a frame; the marks as ``marks_frame`` has them.

        ``library``: ``pandas``, or ``polars`` through Arrow: :func:`~scalpdesk.core.frames.in_library`.
        ``table``: ``marks``, ``orders``, ``fills``, ``decisions``, ``sessions``, ``trades`` or ``hedges``.

        Raises ArgumentError for another table.
        """
        if table == "marks":
            return in_library(marks_frame(self.marks), library)
        if table not in TABLES:
            raise ArgumentError(
                "no such table", where="table", value=table, fix=", ".join(("marks", *TABLES))
            )
        return in_library(rows_frame(getattr(self, table)), library)

    def plot(self, figure: str = "run") -> Any:
        """Draw the run; return a figure (extra ``plots``).

        ``figure``: ``run``: over time P&L with its largest parts, net delta, gamma, theta and vega, implied
        volatility, the realised volatility of the half hour before, and the spot. ``explain``: the parts of
        the P&L as steps that end at the P&L.

        Raises ArgumentError for another figure. Raises ConfigError when matplotlib is not installed.
        """
        if figure == "explain":
            return self._plot_explain()
        if figure != "run":
            raise ArgumentError("no such figure", where="figure", value=figure, fix="run or explain")
        return self._plot_run()

    def _plot_explain(self) -> Any:
        pnl, currency = dict(self.summary["pnl"]), self._currency
        total = pnl.pop("total")
        figure = new_figure(9, 4)
        panel = figure.subplots()
        parts = {name.replace("_", " "): float(amount) for name, amount in pnl.items() if float(amount)}
        draw_waterfall(panel, parts, "P&L")
        panel.set_ylabel(currency)
        panel.set_title(f"{self.summary['strategy']}: P&L {total} {currency} by part")
        return figure

    def _plot_run(self) -> Any:
        figure = new_figure(9, 11)
        frame = self.to_frame()
        panels = figure.subplots(6, 1, sharex=True, height_ratios=(3, 1, 1, 1, 1.5, 1))
        upper, delta, gamma, decay, vols, lower = panels
        upper.plot(frame.index, frame["pnl"], color="black", label="P&L")
        largest = sorted(
            part_names(self.summary["pnl"]), key=lambda name: -abs(frame[f"pnl_{name}"].iloc[-1])
        )[:4]
        for name in largest:
            upper.plot(frame.index, frame[f"pnl_{name}"], linewidth=1, label=name.replace("_", " "))
        upper.axhline(0.0, color="grey", linewidth=0.5)
        upper.set_title(f"{self.summary['strategy']}: P&L {self.summary['pnl']['total']} {self._currency}")
        upper.set_ylabel(self._currency)
        for panel, name, label, unit in (
            (delta, "net_delta_shares", None, "net delta,\nshares"),
            (gamma, "gamma_shares_per_usd", None, "gamma,\nshares per USD"),
            (decay, "theta_usd_per_day", "theta", ""),
            (decay, "vega_usd_per_point", "vega", "theta a day,\nvega a point,\nUSD"),
        ):
            panel.plot(frame.index, frame[name], linewidth=1, label=label)
            panel.set_ylabel(unit)
        realised = realised_path(
            ((mark.ts_ns, mark.spot) for mark in self.marks), clock_of(self.summary["data"])
        )
        percent = [None if vol is None else 100.0 * vol for vol in realised]
        implied = 100.0 * frame["implied_vol"].where(frame["implied_vol"] > 0.0)
        vols.plot(frame.index, implied, linewidth=1, label="implied")
        vols.plot(frame.index, np.array(percent, dtype=float), linewidth=1, label="realised over 30 minutes")
        vols.set_ylabel("volatility,\n% a year")
        lower.plot(frame.index, frame["spot"], color="black", linewidth=1)
        lower.set_ylabel(str(self.summary["data"].get("underlying", "spot")))
        for panel in (upper, decay, vols):
            panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small")
        figure.align_ylabels()
        show_clock(lower, frame.index.tz)
        return figure

    def _repr_html_(self) -> str:
        """Return the summary as a table, for notebooks."""
        names = ("strategy", "venue", "nav_change", "orders", "fills", "hedges", "mode", "decision_hash")
        cells = {name: self.summary[name] for name in names}
        cells |= {f"P&L {part}": amount for part, amount in self.summary["pnl"].items()}
        caption = f"{self.summary['run_id']}, amounts in {self._currency}"
        return html_table(caption, (), [(name.replace("_", " "), value) for name, value in cells.items()])

    @property
    def _currency(self) -> str:
        return str(self.summary.get("currency", "USD"))


@dataclass(frozen=True, slots=True)
class _ReplayVerdict:
    """Result of a replay."""

    identical: bool
    """Whether every output equals the journal byte for byte."""
    events: int
    outputs: int
    """``events``, ``outputs``: Number compared."""
    difference: str | None
    """The first difference in one line, or None."""
    recovered: str | None
    """Description of the partial end that was truncated, or None for a complete journal."""
    summary: dict[str, Any]
    """Run summary computed by the replay."""
    build: str
    """Build that wrote the journal."""


def run_backtest(
    settings: LoadedSettings,
    market: MarketTape | PreparedMarket,
    clock: Clock,
    *,
    mode: str = "backtest",
    seed: int | None = None,
    runs_dir: Path | None = None,
    observer: Observer | None = None,
    step_seconds: float = 1.0,
) -> RunResult:
    """Run a market to its end; write its journal below ``runs_dir`` if given.

    The observer is called once in ``step_seconds`` of market time.

    Raises ConfigError when the configuration does not fit the market. Raises StopError when the journal
    cannot be written; records written before it remain.
    """
    started_ns = clock.now_ns()
    market = prepared(market)
    tape = market.tape
    header, engine = build_backtest(settings, market, run_id="", mode=mode, started_ns=started_ns, seed=seed)
    header = msgspec.structs.replace(header, run_id=_claimed_run_id(settings, started_ns, runs_dir))
    run_dir = None if runs_dir is None else runs_dir / header.run_id
    journal = None if run_dir is None else JournalWriter.create(run_dir, header, durability="none")
    run: Assembled | None = None
    spent = ProcessorTime(tape.sessions[0].open_ns, tape.sessions[-1].close_ns)
    try:
        # a journal can name only quotes that can be loaded again
        copies = journal is not None and tape.origin is None
        run = assemble_backtest(
            settings,
            market,
            header,
            engine,
            journal,
            watchers=implied_vol_recorders(settings, engine.desk, tape.underlyings, tape.name, is_live=False),
            every_quote=copies,
            step_seconds=_UNSEEN_SECONDS if observer is None else step_seconds,
        )
        began = time.perf_counter()
        spent.begin()
        with few_collections():
            for now_ns in run.runner.steps():
                spent.note(now_ns)
                if observer is not None:
                    observer(run, now_ns)
        seconds = time.perf_counter() - began
        report = run.report(seconds, **spent.figures(header.strategy))
        summary = report.document()
        if journal is not None:
            journal.close(summary)
    except BaseException:
        if journal is not None:
            journal.abandon()
            if run is None:  # refused before its first event: not a run
                shutil.rmtree(journal.run_dir, ignore_errors=True)
        raise
    finally:
        if run is not None and run.folder is not None:
            run.folder.close()
    return RunResult(summary, run_dir, report)


_LEAST_SECONDS, _LARGEST_GROWTH = 10.0, 4.0
"""A run is called slow from this processor time on, if its last quarter took this many times its first."""


class ProcessorTime:
    """Processor time of a run: to prepare it, and in each quarter of its market time.

    ``open_ns``, ``close_ns``: Start and end of its market time, UTC nanoseconds.
    ``clock``: Processor time so far, seconds.
    """

    def __init__(self, open_ns: int, close_ns: int, clock: Callable[[], float] = time.process_time) -> None:
        self._ends_ns = [open_ns + (close_ns - open_ns) * quarter // 4 for quarter in range(1, 5)]
        self._clock, self._seen = clock, [clock()]

    def begin(self) -> None:
        """Note that the run is prepared."""
        self._seen.append(self._clock())

    def note(self, now_ns: int) -> None:
        """Take the time where a quarter ends."""
        while len(self._seen) < 6 and now_ns >= self._ends_ns[len(self._seen) - 2]:
            self._seen.append(self._clock())

    def figures(self, strategy: str) -> dict[str, Any]:
        """Return the seconds for the summary; ``slow`` names the strategy if they grow or went before it."""
        prepare, *quarters = (round(after - before, 3) for before, after in pairwise(self._seen))
        found: dict[str, Any] = {"cpu_seconds": {"prepare": prepare, "quarters": quarters}}
        spent = sum(quarters)
        grows = bool(quarters) and quarters[-1] > _LARGEST_GROWTH * quarters[0]
        if prepare + spent >= _LEAST_SECONDS and (prepare > spent or grows):
            shown = ", ".join(f"{seconds:.1f}" for seconds in quarters)
            found["slow"] = (
                f"{strategy} took {prepare:.1f} s of processor time to prepare its market,"
                f" then {shown} s in the quarters of the market time"
            )
        return found


def replay(run_dir: Path, *, verify: bool = True) -> _ReplayVerdict:
    """Feed a journal's events to an engine rebuilt from its header.

    ``run_dir``: Folder of the journal.
    ``verify``: Stop at the first output that differs from the journal.
    Raises JournalError when the journal is damaged. Raises ConfigError when this version cannot read its
    configuration.
    """
    return replay_of(JournalReader(run_dir), verify=verify)


def replay_of(reader: JournalReader, *, verify: bool = True) -> _ReplayVerdict:
    """Replay what was in a journal when its reader was made: :func:`replay`."""
    engine = engine_from_header(reader.header)
    fold, replica = RunFold.of_desk(reader.header, engine.desk), Replica(engine)
    events = outputs = 0
    difference = None
    unwritten: tuple[Output, ...] = ()
    began = time.perf_counter()
    for step, journaled in reader.steps(rows_reader(reader.header)):
        produced = unwritten
        for event in step:
            if produced and difference is None:
                difference = f"event {events}, {first_difference((), produced)}"
            replica.take(event)
            produced = replica.produced
            fold.see(event, produced if difference is None else journaled if event is step[-1] else ())
            events += 1
        outputs += len(produced)
        unwritten = () if journaled or reader.sealed else produced  # lawful at the very last event: see steps
        if difference is None and not unwritten and not same_outputs(journaled, produced):
            difference = f"event {events}, {first_difference(journaled, produced)}"
        if verify and difference is not None:
            break
        if not unwritten:
            replica.heed(journaled)
    summary = run_summary(reader.header, engine, fold, events, time.perf_counter() - began)
    recovered = None if reader.recovered is None else str(reader.recovered)
    build = reader.header.build
    return _ReplayVerdict(difference is None, events, outputs, difference, recovered, summary, build)


def replayed(run_dir: Path) -> RunFold:
    """Return the fold of a run on a desk that takes its journal's events: it divides a shared run.

    Raises ScalpdeskError when the run cannot be replayed: its tape or a strategy is not there any more.
    """
    reader = JournalReader(run_dir)
    engine = engine_from_header(reader.header)
    fold, replica = RunFold.of_desk(reader.header, engine.desk), Replica(engine)
    for step, journaled in reader.steps(rows_reader(reader.header)):
        for event in step:
            replica.take(event)
            fold.see(event, ())
        replica.heed(journaled)
        for output in journaled:
            fold.note(output, step[-1].ts_recv_ns)
    return fold


def rows_reader(header: JournalHeader) -> RowsReader:
    """Return what reads the quotes of a journal from the tape that it names.

    It raises DataError where the tape cannot be loaded, and JournalError where it has changed.
    """
    found: list[tuple[MarketTape, str, QuoteColumns]] = []

    def columns_of(rows: TapeRows) -> QuoteColumns:
        if not found:
            found.append((journaled_market(header), "", NO_QUOTES))
        tape, day, columns = found[0]
        if day != rows.session:
            session = next(each for each in tape.sessions if each.day.isoformat() == rows.session)
            columns = session_quotes(tape, session)
            if not columns.has_digest(rows.digest):
                raise JournalError(
                    "the data is not what this run was made with: its quotes differ",
                    where=f"{tape.name}, session {rows.session}",
                    fix=f"restore the data set, or replay it with build {header.build} (this is {BUILD})",
                )
            found[0] = (tape, rows.session, columns)
        return columns

    def read_rows(rows: TapeRows) -> Iterator[list[QuoteEvent]]:
        columns = columns_of(rows)
        for low in range(rows.first, rows.last, CHUNK_ROWS):
            yield columns.quotes(slice(low, min(low + CHUNK_ROWS, rows.last)))

    return read_rows


def _claimed_run_id(settings: LoadedSettings, started_ns: int, runs_dir: Path | None) -> str:
    """Return a run id of time, strategy and configuration hash, numbered if the folder exists.

    The folder is made at once: of runs that start in the same second each gets its own.
    """
    base = f"{from_ns(started_ns):%Y%m%d-%H%M%S}-{settings.strategy}-{settings.config_hash[:6]}"
    run_id, count = base, 1
    while runs_dir is not None:
        try:
            make_folder(runs_dir)
            (runs_dir / run_id).mkdir(mode=0o700)
        except FileExistsError:
            count += 1
            run_id = f"{base}-{count}"
        except OSError:  # the journal, which writes there first, says what the disk refuses
            break
        else:
            break
    return run_id
