"""Whole runs: backtest with journal and summary; replay of a journal against its recorded outputs."""

import gc
import hashlib
import html
import pickle
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import msgspec
import numpy as np

from scalpdesk.assembly import (
    build_engine,
    connect_broker,
    describe,
    earlier_sessions,
    engine_from_header,
    fill_models,
    forecasts,
    gamma_events,
    implied_vol_recorders,
    implied_vols,
    journaled_market,
    played_market,
    starting_positions,
)
from scalpdesk.backtesting.runner import BacktestRunner, Journal
from scalpdesk.backtesting.session_tables import realised_path
from scalpdesk.backtesting.summary import MarkLog, Tally, run_summary
from scalpdesk.config.settings import LoadedSettings
from scalpdesk.core.clock import Clock
from scalpdesk.core.compiled import MODULES
from scalpdesk.core.errors import JournalError, naming_file
from scalpdesk.core.events import AccountSnapshot, HeldPosition, QuoteEvent
from scalpdesk.core.intents import MARK_STATE, Mark, Output
from scalpdesk.core.units import InstrumentId
from scalpdesk.core.version import VERSION
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.sessions import from_ns
from scalpdesk.isolation.answering import FolderAnswerer, folder_facts, start_folder
from scalpdesk.journal.codec import SCHEMA, DecisionHash, JournalHeader, TapeRows, same_outputs
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader, RowsReader, peek_header
from scalpdesk.marketdata.tape import NO_QUOTES, MarketTape, QuoteColumns
from scalpdesk.portfolio.explain import PARTS
from scalpdesk.simulation.fills import fill_model
from scalpdesk.simulation.hours import TapeHours
from scalpdesk.simulation.tape_reader import CHUNK_ROWS, quote_events, session_quotes
from scalpdesk.strategies.contract import StrategySpec
from scalpdesk.strategies.registry import find_strategy
from scalpdesk.volatility.variance_time import clock_of


@dataclass(frozen=True, slots=True)
class Assembled:
    """A backtest ready to run, with its collaborators."""

    header: JournalHeader
    engine: TradingEngine
    runner: BacktestRunner
    tally: Tally
    folder: FolderAnswerer | None = None
    """Strategy folder of an external strategy; the caller closes it."""


STATE_NAME = "state.bin"
SAVE_SECONDS, SAVE_SHARE = 60.0, 0.02
"""Between two savings of a run's state, and the share of its time that they take at most."""

Observer = Callable[[Assembled, int], None]
"""Called after each step of market time with the run and the time (UTC nanoseconds)."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run."""

    summary: dict[str, Any]
    """The run summary, in JSON types."""
    run_dir: Path | None
    """Folder of its journal; None when the run was not journaled."""
    marks: Sequence[Mark]
    """Portfolio values and P&L explain at each mark."""

    def to_frame(self) -> Any:
        """Return the marks as a pandas frame: numbers, by New York time.

        ``pnl`` and ``pnl_delta`` and so on run from the start; ``nav``, ``spot``, the Greeks and
        ``implied_vol`` are the state at the mark.
        """
        import pandas as pd  # noqa: PLC0415 - a second that only a notebook pays

        total, parts = Decimal(0), dict.fromkeys(PARTS, Decimal(0))
        rows = []
        for mark in self.marks:
            total += mark.nav_change
            parts = {name: parts[name] + mark.parts[name] for name in PARTS}
            state = {name: getattr(mark, name) for name in MARK_STATE}
            amounts = {f"pnl_{name}": float(amount) for name, amount in parts.items()}
            rows.append({"nav": float(mark.nav), **state, "pnl": float(total), **amounts})
        times = pd.to_datetime([mark.ts_ns for mark in self.marks], utc=True)
        return pd.DataFrame(rows, index=times.tz_convert("America/New_York").rename("time"))

    def plot(self) -> Any:
        """Draw the run; return a figure (extra ``plots``).

        P&L with its largest parts, net delta, gamma, theta and vega, implied volatility beside what the half
        hour before realised, and the spot.
        """
        from matplotlib.figure import Figure  # noqa: PLC0415 - as above

        frame = self.to_frame()
        figure = Figure(figsize=(9, 11), layout="constrained")
        panels = figure.subplots(6, 1, sharex=True, height_ratios=(3, 1, 1, 1, 1.5, 1))
        upper, delta, gamma, decay, vols, lower = panels
        upper.plot(frame.index, frame["pnl"], color="black", label="P&L")
        largest = sorted(PARTS, key=lambda name: -abs(frame[f"pnl_{name}"].iloc[-1]))[:4]
        for name in largest:
            upper.plot(frame.index, frame[f"pnl_{name}"], linewidth=1, label=name.replace("_", " "))
        upper.axhline(0.0, color="grey", linewidth=0.5)
        upper.set_title(f"{self.summary['strategy']}: P&L {self.summary['pnl']['total']}")
        for panel, name, label in (
            (delta, "net_delta_shares", "net delta"),
            (gamma, "gamma_shares_per_usd", "gamma"),
            (decay, "theta_usd_per_day", "theta"),
            (decay, "vega_usd_per_point", "vega"),
        ):
            panel.plot(frame.index, frame[name], linewidth=1, label=label)
        looks = [{"ts_ns": mark.ts_ns, "spot": mark.spot} for mark in self.marks]
        realised = realised_path(looks, clock_of(self.summary["data"]))
        percent = [None if vol is None else 100.0 * vol for vol in realised]
        implied = 100.0 * frame["implied_vol"].where(frame["implied_vol"] > 0.0)
        vols.plot(frame.index, implied, linewidth=1, label="implied, % a year")
        vols.plot(frame.index, np.array(percent, dtype=float), linewidth=1, label="realised over 30 minutes")
        lower.plot(frame.index, frame["spot"], color="black", linewidth=1)
        lower.set_ylabel(str(self.summary["data"].get("underlying", "spot")))
        for panel in panels[:-1]:
            panel.legend(loc="upper left", fontsize="small")
        return figure

    def _repr_html_(self) -> str:
        """Return the summary as a table, for notebooks."""
        names = ("strategy", "venue", "nav_change", "orders", "fills", "hedges", "mode", "decision_hash")
        cells = {name: self.summary[name] for name in names}
        cells |= {f"P&L {part}": amount for part, amount in self.summary["pnl"].items()}
        body = "".join(
            f"<tr><th>{html.escape(name.replace('_', ' '))}</th><td>{html.escape(str(value))}</td></tr>"
            for name, value in cells.items()
        )
        return f"<table><caption>{html.escape(self.summary['run_id'])}</caption>{body}</table>"


@dataclass(frozen=True, slots=True)
class ReplayVerdict:
    """Result of a replay."""

    identical: bool
    """Whether every output equals the journal byte for byte."""
    events: int
    outputs: int
    """``events``, ``outputs``: Number compared."""
    difference: str | None
    """Description of the first difference, or None."""
    recovered: str | None
    """Description of the partial end that was truncated, or None for a complete journal."""
    summary: dict[str, Any]
    """Run summary computed by the replay."""


def run_backtest(
    settings: LoadedSettings,
    tape: MarketTape,
    clock: Clock,
    *,
    mode: str = "backtest",
    seed: int | None = None,
    runs_dir: Path | None = None,
    observer: Observer | None = None,
    save_seconds: float = SAVE_SECONDS,
    step_seconds: float = 1.0,
) -> RunResult:
    """Run a tape to its end; write its journal below ``runs_dir`` if given.

    The observer is called once in ``step_seconds`` of market time.

    The state of a journaled run over sessions is saved between two of them, at most once in
    ``save_seconds``, so that :func:`resume_backtest` can go on with it.

    Raises
    ------
    ConfigError
        When the configuration does not fit the market.
    StopError
        When the journal cannot be written; records written before it remain.
    """
    started_ns = clock.now_ns()
    header, engine = build_backtest(settings, tape, run_id="", mode=mode, started_ns=started_ns, seed=seed)
    header = msgspec.structs.replace(header, run_id=_claimed_run_id(settings, started_ns, runs_dir))
    run_dir = None if runs_dir is None else runs_dir / header.run_id
    journal = None if run_dir is None else JournalWriter.create(run_dir, header, durability="none")
    run: Assembled | None = None
    try:
        # a journal can name only quotes that can be loaded again
        copies = journal is not None and tape.origin is None
        run = assemble_backtest(
            settings, tape, header, engine, journal, every_quote=copies, step_seconds=step_seconds
        )
        can_resume = journal is not None and not copies and run.folder is None and len(tape.sessions) > 1
        saver = _Saver(run, journal, save_seconds) if journal is not None and can_resume else None
        summary = _carried_on(run, journal, observer, saver, 0.0)
    except BaseException:
        if journal is not None:
            journal.abandon()
            if run is None:  # refused before its first event: it is no run, and never the last one
                shutil.rmtree(journal.run_dir, ignore_errors=True)
        raise
    finally:
        if run is not None and run.folder is not None:
            run.folder.close()
    return RunResult(summary, run_dir, run.tally.marks)


def resume_backtest(run_dir: Path, clock: Clock, *, observer: Observer | None = None) -> RunResult:
    """Go on with a run over sessions that did not end, from the last state that was saved.

    Its decisions and their hash are those of a run that was never interrupted. What was journaled after the
    state was saved is dropped and made again.

    Raises
    ------
    JournalError
        When the run ended, is still running, or no state of this version of the code was saved.
    DataError
        When its data is not there any more.
    """
    header = peek_header(run_dir)
    path = run_dir / STATE_NAME
    if JournalReader(run_dir).sealed:  # a kill between the seal and the end of the process leaves the state
        path.unlink(missing_ok=True)
        raise JournalError("the run has ended", where=str(run_dir), fix=f"scalpdesk report {run_dir.name}")
    try:
        with path.open("rb") as file:
            code = file.readline().strip().decode("ascii", "replace")
            if code != _code_digest():
                raise JournalError(
                    "the run was made by another version of the code, whose state this one cannot read",
                    where=str(path),
                    fix="start a new run",
                )
            tape = journaled_market(header)
            found = _StateReader(file, {"header": header, "tape": tape, "instruments": tape.instruments})
            run, end, seconds = found.load()
    except FileNotFoundError as error:
        raise JournalError(
            "no state of this run was saved: it has one session, or was ended within its first minute",
            where=str(path),
            fix="start a new run",
        ) from error
    journal = JournalWriter.reopen(run_dir, started_ns=clock.now_ns(), durability="none", at=end)
    try:
        for _, outputs in JournalReader(run_dir).steps():
            for output in outputs:
                if isinstance(output, Mark):
                    run.tally.marks.append(output)
        run.tally.hash = journal.decisions.copy()
        run.runner.journal = journal
        summary = _carried_on(run, journal, observer, _Saver(run, journal, SAVE_SECONDS), seconds)
    except BaseException:
        journal.abandon()
        raise
    return RunResult(summary, run_dir, run.tally.marks)


def _carried_on(
    run: Assembled,
    journal: JournalWriter | None,
    observer: Observer | None,
    saver: "_Saver | None",
    seconds_before: float,
) -> dict[str, Any]:
    """Run the sessions that are left and close the journal; return the summary."""
    began = time.perf_counter() - seconds_before
    with _few_collections():
        for now_ns in run.runner.steps():
            if observer is not None:
                observer(run, now_ns)
            if saver is not None:
                saver.save(began)
    seconds = time.perf_counter() - began
    summary = run_summary(run.header, run.engine, run.tally, run.runner.events, seconds)
    if journal is not None:
        journal.close(summary)
        (journal.run_dir / STATE_NAME).unlink(missing_ok=True)
    return summary


YOUNG_OBJECTS = 20_000
"""Objects made, less those gone, before the youngest are looked at; all are after a hundred times as many."""


@contextmanager
def _few_collections() -> Iterator[None]:
    """Spare the garbage collector most of its passes over objects.

    A run leaves hardly a cycle behind, and one over years lists tens of thousands of contracts that stay: a
    twentieth of its time went into looking for some among all objects, and a thirtieth among the youngest.
    Nothing is frozen: what was frozen does not count as old, and once it is thawed the collector passes over
    all of it again and again.
    """
    young, middle, full = gc.get_threshold()
    gc.set_threshold(max(young, YOUNG_OBJECTS), middle, full)
    try:
        yield
    finally:
        gc.set_threshold(young, middle, full)


class _Saver:
    """Saves a run's state between two sessions."""

    def __init__(self, run: Assembled, journal: JournalWriter, seconds: float) -> None:
        self._run, self._journal, self._seconds = run, journal, seconds
        self._sessions = run.runner.sessions_done
        self._next = time.perf_counter() + seconds

    def save(self, began: float) -> None:
        """Save the state where a session has just ended and the time has come."""
        runner, now = self._run.runner, time.perf_counter()
        if runner.sessions_done == self._sessions:
            return  # within a session
        self._sessions = runner.sessions_done
        if now < self._next:
            return
        runner.leave_session()
        self._journal.flush()
        path = self._journal.run_dir / STATE_NAME
        unfinished = path.with_suffix(".tmp")
        try:
            with naming_file(path):
                self._write(unfinished, now - began)
                unfinished.replace(path)
        except OSError:
            unfinished.unlink(missing_ok=True)  # on a full disk it holds what the journal's end needs
            raise
        done = time.perf_counter()
        self._next = done + max(self._seconds, (done - now) / SAVE_SHARE)

    def _write(self, unfinished: Path, seconds: float) -> None:
        runner = self._run.runner
        with unfinished.open("wb") as file:
            file.write(_code_digest().encode() + b"\n")
            apart = {
                id(self._run.header): "header",
                id(runner.tape): "tape",
                id(runner.tape.instruments): "instruments",
                id(self._journal): "journal",
            }
            _StateWriter(file, apart).dump((self._run, self._journal.end, seconds))


class _StateWriter(pickle.Pickler):
    """Writes the objects of a run, but for those that a resumed run brings itself."""

    def __init__(self, file: BinaryIO, apart: dict[int, str]) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._apart = apart

    def persistent_id(self, found: Any) -> str | None:
        """Return the name of what is not written."""
        if isinstance(found, DecisionHash | MarkLog):
            return type(found).__name__
        return self._apart.get(id(found))

    def reducer_override(self, found: Any) -> Any:
        """Return how a read-only dictionary, a compiled frozen dataclass or a spec is made again."""
        if type(found) is MappingProxyType:
            return _read_only, (gc.get_referents(found)[0],)
        if type(found) is StrategySpec:  # a plug of functions: it is found again by its name
            return find_strategy, (found.name,)
        if is_dataclass(found) and type(found).__module__ in MODULES.files:
            return type(found), tuple(getattr(found, part.name) for part in fields(found))
        return NotImplemented


class _StateReader(pickle.Unpickler):
    """Reads a run's objects again; the file is in a folder that its owner alone can write."""

    def __init__(self, file: BinaryIO, known: dict[str, Any]) -> None:
        super().__init__(file)
        self._known = known | {"journal": None}

    def persistent_load(self, name: str) -> Any:
        """Return what was not written."""
        if name == DecisionHash.__name__:
            return DecisionHash()
        return MarkLog() if name == MarkLog.__name__ else self._known[name]


def _read_only(of: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(of)


@cache
def _code_digest() -> str:
    sources = sorted(Path(__file__).parents[1].rglob("*.py"))
    code = b"".join(path.read_bytes() for path in sources)
    return hashlib.sha256(code + b"".join(name.encode() for name in sorted(MODULES.files))).hexdigest()


def replay(run_dir: Path, *, verify: bool = True) -> ReplayVerdict:
    """Feed a journal's events to an engine rebuilt from its header.

    Parameters
    ----------
    run_dir
        Folder of the journal.
    verify
        Stop at the first output that differs from the journal.

    Raises
    ------
    JournalError
        When the journal is damaged.
    ConfigError
        When this version cannot read its configuration.
    """
    reader = JournalReader(run_dir)
    engine = engine_from_header(reader.header)
    tally = Tally()
    events = outputs = 0
    difference = None
    began = time.perf_counter()
    for step, journaled in reader.steps(rows_reader(reader.header)):
        produced: tuple[Output, ...] = ()
        for event in step:
            if produced and difference is None:
                difference = (
                    f"event {events}: the journal has no outputs here, the replay gives {len(produced)}"
                )
            produced = engine.handle(event)
            tally.see(event, produced)
            events += 1
        outputs += len(produced)
        if difference is None and not same_outputs(journaled, produced):
            difference = _first_difference(events, journaled, produced)
        if verify and difference is not None:
            break
    summary = run_summary(reader.header, engine, tally, events, time.perf_counter() - began)
    recovered = None if reader.recovered is None else str(reader.recovered)
    return ReplayVerdict(difference is None, events, outputs, difference, recovered, summary)


def build_backtest(
    settings: LoadedSettings, tape: MarketTape, *, run_id: str, mode: str, started_ns: int, seed: int | None
) -> tuple[JournalHeader, TradingEngine]:
    """Return journal header and engine of a run; a replay rebuilds the engine from the header alone."""
    assert settings.strategy is not None
    for name in fill_models(settings.config):  # refused here, before a journal is started
        fill_model(name)
    tape_facts = describe(tape) | folder_facts(settings.strategy, settings.config.strategies)
    tape_facts["order_prefix"] = f"sd{settings.config_hash[:8]}"
    header = JournalHeader(
        schema=SCHEMA,
        run_id=run_id,
        strategy=settings.strategy,
        venue="simulated",
        mode=mode,
        config=settings.effective(),
        config_hash=settings.config_hash,
        build=VERSION,
        instruments=tuple(tape.instruments),
        sessions=tape.sessions,
        data=tape_facts,
        started_ns=started_ns,
        seed=seed,
    )
    engine = build_engine(
        settings.config, settings.strategy, settings.strategy_config, tape.instruments, tape_facts
    )
    return header, engine


def assemble_backtest(
    settings: LoadedSettings,
    tape: MarketTape,
    header: JournalHeader,
    engine: TradingEngine,
    journal: Journal | None,
    *,
    every_quote: bool = False,
    step_seconds: float = 1.0,
) -> Assembled:
    """Connect tape, engine, simulated broker and journal; the last two arguments as in the runner."""
    config = settings.config
    simulation = config.simulation
    positions = starting_positions(tape, config)
    broker = connect_broker(
        config,
        tape.instruments,
        TapeHours(tape.sessions),
        simulation.starting_cash,
        positions,
    )
    tally = Tally()
    known = (
        *_snapshot(tape, simulation.starting_cash, positions),
        *forecasts(tape, settings, seed=1 if header.seed is None else header.seed),
        *gamma_events(tape, settings),
        *implied_vols(tape, settings),
        *earlier_sessions(tape, settings, header.seed),
    )
    folder = start_folder(header.strategy, config.strategies)
    runner = BacktestRunner(
        played_market(tape, config),
        engine,
        broker,
        journal,
        watchers=(
            tally.see,
            *implied_vol_recorders(settings, engine.desk, tape.underlyings, tape.name, is_live=False),
        ),
        known_at_open=known,
        answerer=None if folder is None else folder.answer,
        every_quote=every_quote,
        step_seconds=step_seconds,
    )
    return Assembled(header, engine, runner, tally, folder)


def _snapshot(
    tape: MarketTape, cash: Decimal, positions: dict[InstrumentId, tuple[Decimal, Decimal]]
) -> tuple[AccountSnapshot, ...]:
    """Return the account snapshot of the starting positions, empty without any."""
    if not positions:
        return ()
    at_ns = tape.sessions[0].open_ns
    lines = tuple(HeldPosition(number, *held) for number, held in positions.items())
    return (AccountSnapshot(at_ns, at_ns, cash, lines),)


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
                    fix=f"restore the data set, or replay it with version {header.build}",
                )
            found[0] = (tape, rows.session, columns)
        return columns

    def read_rows(rows: TapeRows) -> Iterator[list[QuoteEvent]]:
        columns = columns_of(rows)
        for low in range(rows.first, rows.last, CHUNK_ROWS):
            yield quote_events(columns, slice(low, min(low + CHUNK_ROWS, rows.last)))

    return read_rows


def _first_difference(event_number: int, journaled: Iterable[Output], produced: Iterable[Output]) -> str:
    old, new = list(journaled), list(produced)
    for index, (recorded, other) in enumerate(zip(old, new, strict=False)):
        if recorded != other:
            return f"event {event_number}, output {index + 1}: journal {recorded!r}; replay {other!r}"
    return f"event {event_number}: the journal has {len(old)} outputs, the replay {len(new)}"


def _claimed_run_id(settings: LoadedSettings, started_ns: int, runs_dir: Path | None) -> str:
    """Return a run id of time, strategy and configuration hash, numbered if the folder exists.

    The folder is made at once: of runs that start in the same second each gets its own.
    """
    base = f"{from_ns(started_ns):%Y%m%d-%H%M%S}-{settings.strategy}-{settings.config_hash[:6]}"
    run_id, count = base, 1
    while runs_dir is not None:
        try:
            (runs_dir / run_id).mkdir(parents=True, mode=0o700)
        except FileExistsError:
            count += 1
            run_id = f"{base}-{count}"
        except OSError:  # the journal, which writes there first, says what the disk refuses
            break
        else:
            break
    return run_id
