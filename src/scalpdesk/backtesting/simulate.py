"""A backtest as a function: ``simulate(config, market)`` gives the same result in every process."""

import gc
import pickle
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Self

import msgspec

from scalpdesk.assembly import (
    build_engine,
    connect_broker,
    describe,
    earlier_sessions,
    fee_facts,
    fill_models,
    forecasts,
    gamma_events,
    implied_vols,
    played_market,
    reads_gamma,
    require_tradable,
    starting_positions,
)
from scalpdesk.backtesting.runner import BacktestRunner, Journal, Watcher
from scalpdesk.config.settings import CredentialsSection, LoadedSettings, RunSettings, load_settings
from scalpdesk.config.sources import overrides_of
from scalpdesk.core.errors import ArgumentError, ScalpdeskError
from scalpdesk.core.events import AccountSnapshot, Event, HeldPosition
from scalpdesk.core.frames import Framed
from scalpdesk.core.intents import MARK_STATE, Mark
from scalpdesk.core.units import InstrumentId
from scalpdesk.core.version import BUILD
from scalpdesk.datasets.daily_history import vix_before
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.sessions import Session
from scalpdesk.journal.codec import SCHEMA, JournalHeader
from scalpdesk.marketdata.latest_quotes import RowIndex, SessionRows, are_options
from scalpdesk.marketdata.tape import LazyQuotes, MarketTape
from scalpdesk.portfolio.explain import PARTS, part_names
from scalpdesk.portfolio.option_vols import SharedSmiles
from scalpdesk.portfolio.positions import mark_decimal
from scalpdesk.report.figures import flat
from scalpdesk.report.fold import RunFold
from scalpdesk.report.run_report import RunReport, report_of
from scalpdesk.report.session_tables import SessionSums
from scalpdesk.report.summary import run_summary
from scalpdesk.simulation.connection import BrokerConnection
from scalpdesk.simulation.fills import fill_model
from scalpdesk.simulation.hours import TapeHours
from scalpdesk.simulation.tape_reader import session_quotes
from scalpdesk.strategies.contract import Answerer
from scalpdesk.strategies.registry import find_strategy, helper_facts, start_helper
from scalpdesk.volatility.variance_time import clock_of


@dataclass(frozen=True, slots=True)
class BacktestConfig(RunSettings):
    """Settings of a backtest as plain values: no keys, no paths relative to a folder."""

    seed: int | None = None
    """Written into the result; of the coin markets also the path that their history is drawn from."""

    @classmethod
    def of(cls, settings: LoadedSettings, *, seed: int | None = None) -> Self:
        """Take over what a backtest reads of the settings: no keys, and the catalogue's folder in full."""
        if settings.strategy is None:
            raise ArgumentError("a backtest has a strategy", where="settings.strategy")
        data = settings.config.data
        data = msgspec.structs.replace(data, catalog=str(Path(data.catalog).absolute()))
        config = msgspec.structs.replace(settings.config, data=data, credentials=CredentialsSection())
        return cls(config, settings.strategy, settings.strategy_config, seed)

    @classmethod
    def load(
        cls, strategy: str, settings: Mapping[str, Any] | None = None, *, seed: int | None = None
    ) -> Self:
        """Read the configuration as :func:`~scalpdesk.backtest` does.

        Parameters
        ----------
        strategy
            Its name.
        settings
            Keys as for ``--set``, e.g. ``{"hedge.threshold_shares": 5}``.
        seed
            As in the class.

        Raises
        ------
        ConfigError
            For a key or value that the configuration does not have; names the nearest.
        """
        return cls.of(load_settings(strategy, overrides=overrides_of(settings or {})), seed=seed)


class PreparedMarket:
    """A tape, and what runs over it have in common: worked out at first need, kept for the next run.

    Pickled it goes along as its tape does: by the name of its data set, or with its columns. So does what was
    worked out by then, but for the sorted rows. A process that gets it again and again loads it once.

    Parameters
    ----------
    tape
        The market; its columns may be read-only. A pickled tape is loaded at first need.
    kept_sessions
        Number of sessions whose sorted rows stay in memory, 25 MB each, of a tape read in parts; a tape in
        memory keeps all.
    worked_out
        Of :meth:`worked_out` of another process, for the same tape.
    index_of
        Returns the sorted rows of a session, with the sizes; None sorts the tape's.
    """

    def __init__(
        self,
        tape: MarketTape | bytes,
        *,
        kept_sessions: int = 1,
        worked_out: Mapping[tuple[Any, ...], Any] | None = None,
        index_of: Callable[[Session], RowIndex] | None = None,
    ) -> None:
        self._source = tape
        self._kept_sessions = kept_sessions
        self._kept: dict[tuple[Any, ...], Any] = dict(worked_out or {})
        self._index_of = index_of

    @cached_property
    def tape(self) -> MarketTape:
        """The market.

        Raises
        ------
        DataError
            When it cannot be loaded where it was unpickled, or has changed since.
        """
        if isinstance(self._source, bytes):
            tape: MarketTape = pickle.loads(self._source)  # noqa: S301 - what a pickle has brought
            return tape
        return self._source

    @cached_property
    def _packed(self) -> bytes:
        return self._source if isinstance(self._source, bytes) else pickle.dumps(self._source)

    @cached_property
    def _index(self) -> Callable[[Session, bool], RowIndex]:
        most = self._kept_sessions if isinstance(self.tape.quotes, LazyQuotes) else None
        return lru_cache(most)(self._sorted_rows)

    def _sorted_rows(self, session: Session, has_sizes: bool) -> RowIndex:
        if self._index_of is not None:
            index = self._index_of(session)
            return index if has_sizes else index._replace(columns=index.columns.without_sizes())
        columns = session_quotes(self.tape, session)
        return RowIndex.of(
            columns if has_sizes else columns.without_sizes(), are_options(self.tape.instruments)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _market_of, (self._packed, self._kept_sessions), self._kept

    def __setstate__(self, kept: dict[tuple[Any, ...], Any]) -> None:
        self._kept.update(kept)

    def prepare(self, configs: Iterable[BacktestConfig]) -> None:
        """Work out what the runs of some configurations have in common.

        What one of them refuses is left to its run.
        """
        self.facts()
        for config in configs:
            with suppress(ScalpdeskError):
                self.known(config, config.seed)

    def worked_out(self) -> dict[tuple[Any, ...], Any]:
        """Return what was worked out so far, for another process."""
        return dict(self._kept)

    def facts(self) -> dict[str, Any]:
        """Return what headers and summaries say of the tape, in JSON types."""
        made: dict[str, Any] = self._once(("facts",), partial(describe, self.tape))
        return deepcopy(made)

    def rows(self, session: Session, *, has_sizes: bool) -> SessionRows:
        """Return the session's quotes in the order of events, all still ahead.

        ``has_sizes`` keeps the sizes that they display.
        """
        return SessionRows(self._index(session, has_sizes))

    def known(self, config: RunSettings, seed: int | None) -> tuple[Event, ...]:
        """Return the events of a run that are not on the tape, in order.

        Forecasts of volatility, dealer gamma, implied volatilities, and the minutes of earlier sessions.
        """
        tape = self.tape
        if tape.catalog is not None:
            data = msgspec.structs.replace(config.config.data, catalog=tape.catalog)
            config = replace(config, config=msgspec.structs.replace(config.config, data=data))
        assert config.strategy is not None
        desk, spec = config.config, find_strategy(config.strategy)
        folder, history = desk.data.catalog, desk.data.daily_history
        sessions = spec.history_sessions(config.strategy_config)
        played = desk.rates.default, desk.simulation.displayed_sizes
        gamma = reads_gamma(tape, config), desk.gex, desk.marketdata.gex_value, folder, played
        parts: tuple[tuple[tuple[Any, ...], Callable[[], tuple[Event, ...]]], ...] = (
            (
                ("forecasts", folder, history, seed),
                partial(forecasts, tape, config, seed=1 if seed is None else seed),
            ),
            (("gamma", *gamma), partial(gamma_events, tape, config)),
            (("implied vols", folder, spec.reads_iv_rank), partial(implied_vols, tape, config)),
            (("sessions before", sessions, seed), partial(earlier_sessions, tape, config, seed)),
        )
        return tuple(event for key, make in parts for event in self._once(key, make))

    def _once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


@lru_cache(maxsize=1)
def _market_of(packed: bytes, kept_sessions: int) -> PreparedMarket:
    return PreparedMarket(packed, kept_sessions=kept_sessions)


@dataclass(frozen=True, slots=True)
class BacktestResult(Framed):
    """Result of a backtest; amounts are exact, in the currency of the desk."""

    strategy: str
    decision_hash: str
    """Digest of every decision, order and mark: runs with equal digests did the same."""
    events: int
    decisions: int
    orders: int
    fills: int
    """Executions that stand."""
    pnl: Mapping[str, Decimal]
    """By part, to the cent (of a desk in coin eight decimals), with their ``total``."""
    trades: tuple[Decimal, ...]
    """Profit of each round trip from flat to flat, in order; of several strategies one after the other."""
    pnl_by_symbol: Mapping[str, Decimal]
    """P&L of each instrument traded, exact: its fills, fees, settlements and income, and its last mark."""
    end_positions: Mapping[str, Decimal]
    """Contracts or shares held at the end, by symbol."""
    sessions: tuple[Session, ...]
    marks: Sequence[Mark]
    """Portfolio values and P&L explain at each mark."""
    document: Mapping[str, Any]
    """The run summary in JSON types."""

    def summary(self) -> dict[str, Any]:
        """Return the run summary, in JSON types."""
        return dict(self.document)

    def daily(self) -> dict[date, dict[str, Decimal]]:
        """Return the P&L of each session: its ``total`` and the parts that sum to it, not rounded."""
        sums = SessionSums(clock_of(self.document["data"]), self.sessions[0].day)
        for mark in self.marks:
            sums.add(mark.ts_ns, mark.nav_change, mark.parts, mark.net_delta_shares)
        nothing = dict.fromkeys(("total", *part_names(self.pnl)), Decimal(0))
        return {session.day: nothing | sums.of_day(session.day) for session in self.sessions}

    def _frame(self) -> Any:
        """Return the marks as a frame, as :func:`marks_frame` has it."""
        return marks_frame(self.marks)


def marks_frame(marks: Sequence[Mark]) -> Any:
    """Return marks as a pandas frame: numbers, by New York time.

    ``pnl`` and ``pnl_delta`` and so on run from the start; ``nav``, ``spot``, the Greeks and ``implied_vol``
    are the state at the mark.
    """
    import pandas as pd  # noqa: PLC0415 - a second that only a notebook pays

    total = Decimal(0)
    parts = dict.fromkeys(part_names(marks[0].parts) if marks else PARTS, Decimal(0))
    rows = []
    for mark in marks:
        total += mark.nav_change
        parts = {name: before + mark.parts[name] for name, before in parts.items()}
        state = {name: getattr(mark, name) for name in MARK_STATE}
        amounts = {f"pnl_{name}": float(amount) for name, amount in parts.items()}
        rows.append({"nav": float(mark.nav), **state, "pnl": float(total), **amounts})
    times = pd.to_datetime([mark.ts_ns for mark in marks], utc=True)
    return pd.DataFrame(rows, index=times.tz_convert("America/New_York").rename("time"))


def rows_frame(rows: Sequence[msgspec.Struct]) -> Any:
    """Return rows as a pandas frame: amounts as numbers, each part of a P&L a column of its own."""
    import pandas as pd  # noqa: PLC0415 - a second that only a notebook pays

    return pd.DataFrame(
        [
            {
                name: float(each) if isinstance(each, Decimal) else each
                for name, each in flat(row, "facts").items()
            }
            for row in rows
        ]
    )


_AfterSession = Callable[[Session, Decimal], bool]
"""Called as a session has closed, with the P&L since the start; returns whether to go on."""


def simulate(
    config: BacktestConfig, market: PreparedMarket, *, after_session: _AfterSession | None = None
) -> BacktestResult:
    """Run a backtest to its end.

    Equal arguments give equal results: it reads no clock, environment or working folder, writes no file and
    keeps nothing but what ``market`` works out at first need, for which it may read daily history. A strategy
    folder is an exception: its code is read where the configuration says, and runs as it does in a backtest.

    Parameters
    ----------
    config, market
        Settings and data.
    after_session
        Follows the run. If it returns False the result is that of the sessions until then.

    Raises
    ------
    ConfigError
        When the configuration does not fit the market, or its strategy folder cannot be loaded.
    """
    steps = simulate_by_session(config, market, after_session=after_session)
    with few_collections():
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: BacktestResult = end.value
                return result


def simulate_by_session(
    config: BacktestConfig,
    market: PreparedMarket,
    *,
    after_session: _AfterSession | None = None,
    smiles: SharedSmiles | None = None,
) -> Generator[Session, None, BacktestResult]:
    """Run a backtest session by session, so that several go through the market side by side.

    Arguments, result and refusals are those of :func:`simulate`, which runs the whole; ``smiles`` may be
    shared by runs over one market with equal terms.

    Yields
    ------
    Session
        The session that has closed.
    """
    header, engine = build_backtest(
        config, market, run_id="", mode="backtest", started_ns=0, seed=config.seed, smiles=smiles
    )
    run = assemble_backtest(config, market, header, engine, None, most_bytes=0)
    done = 0
    try:
        for session in run.runner.sessions():
            done += 1
            if after_session and not after_session(session, engine.desk.attribution.nav_change):
                break
            yield session
    finally:
        if run.folder is not None:
            run.folder.close()
    result = run.result(0.0)
    return result if done == len(result.sessions) else replace(result, sessions=result.sessions[:done])


YOUNG_OBJECTS = 20_000
"""Objects made, less those gone, before the youngest are looked at; all are after a hundred times as many."""


@contextmanager
def few_collections() -> Iterator[None]:
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


@dataclass(frozen=True, slots=True)
class Assembled:
    """A backtest ready to run, with its collaborators."""

    header: JournalHeader
    engine: TradingEngine
    runner: BacktestRunner
    fold: RunFold
    folder: Answerer | None = None
    """Strategy folder of an external strategy; the caller closes it."""

    def result(self, wall_seconds: float) -> BacktestResult:
        """Return what the run, which took so many seconds, gave."""
        fold, desk = self.fold, self.engine.desk
        document = run_summary(self.header, self.engine, fold, self.runner.events, wall_seconds)
        ledgers = [desk.gate] if desk.books is None else desk.books.books.values()
        return BacktestResult(
            strategy=self.header.strategy,
            decision_hash=document["decision_hash"],
            events=self.runner.events,
            decisions=document["decisions"],
            orders=document["orders"],
            fills=document["fills"],
            pnl={name: Decimal(amount) for name, amount in document["pnl"].items()},
            trades=tuple(profit for each in ledgers for profit in each.closed_trades.results),
            pnl_by_symbol={
                held.instrument.symbol: held.profit(mark_decimal(desk.delta_engine, held))
                for held in desk.positions.positions.values()
                if held.instrument.currency == desk.account.currency
            },
            end_positions={name: Decimal(held) for name, held in document["end_positions"].items()},
            sessions=self.header.sessions,
            marks=fold.marks,
            document=document,
        )

    def report(self, wall_seconds: float, **more: Any) -> RunReport:
        """Return the report of the run, which took so many seconds, with ``more`` figures."""
        figures = run_summary(self.header, self.engine, self.fold, self.runner.events, wall_seconds)
        return report_of(self.header, self.fold, figures | more, vix_before)


def build_backtest(
    settings: RunSettings,
    market: MarketTape | PreparedMarket,
    *,
    run_id: str,
    mode: str,
    started_ns: int,
    seed: int | None,
    smiles: SharedSmiles | None = None,
) -> tuple[JournalHeader, TradingEngine]:
    """Return journal header and engine of a run; a replay rebuilds the engine from the header alone."""
    assert settings.strategy is not None
    for name in fill_models(settings.config):  # refused here, before a journal is started
        fill_model(name)
    market = prepared(market)
    tape = market.tape
    require_tradable(settings, tape.instruments, market.facts(), is_backtest=True)
    tape_facts = market.facts() | helper_facts(settings.strategy, settings.config.strategies)
    tape_facts["order_prefix"] = f"sd{settings.config_hash[:8]}"
    tape_facts["takes_combos"] = BrokerConnection.takes_combos
    days = [session.day for session in tape.sessions]
    tape_facts |= fee_facts(settings.config, days[0], days[-1])
    header = JournalHeader(
        schema=SCHEMA,
        run_id=run_id,
        strategy=settings.strategy,
        venue="simulated",
        mode=mode,
        config=settings.effective(),
        config_hash=settings.config_hash,
        build=BUILD,
        instruments=tuple(tape.instruments),
        sessions=tape.sessions,
        data=tape_facts,
        started_ns=started_ns,
        seed=seed,
    )
    engine = build_engine(
        settings.config, settings.strategy, settings.strategy_config, tape.instruments, tape_facts, smiles
    )
    return header, engine


def assemble_backtest(
    settings: RunSettings,
    market: MarketTape | PreparedMarket,
    header: JournalHeader,
    engine: TradingEngine,
    journal: Journal | None,
    *,
    most_bytes: int | None = None,
    watchers: tuple[Watcher, ...] = (),
    every_quote: bool = False,
    step_seconds: float = 1.0,
) -> Assembled:
    """Connect market, engine, simulated broker and journal; the last three arguments as in the runner.

    ``most_bytes`` is as in the fold.
    """
    market = prepared(market)
    config, tape = settings.config, market.tape
    simulation = config.simulation
    positions = starting_positions(tape, config)
    broker = connect_broker(
        config, tape.instruments, TapeHours(tape.sessions), simulation.starting_cash, positions
    )
    fold = RunFold.of_desk(header, engine.desk, most_bytes)
    known = (
        *_snapshot(tape, simulation.starting_cash, positions),
        *market.known(settings, header.seed),
    )
    folder = start_helper(header.strategy, config.strategies, Path(config.desk.runs_dir))
    runner = BacktestRunner(
        played_market(tape, config),
        engine,
        broker,
        journal,
        watchers=watchers,
        known_at_open=known,
        answerer=None if folder is None else folder.answer,
        rows_of=partial(market.rows, has_sizes=simulation.displayed_sizes),
        every_quote=every_quote,
        step_seconds=step_seconds,
        fold=fold.see,
    )
    return Assembled(header, engine, runner, fold, folder)


def prepared(market: MarketTape | PreparedMarket) -> PreparedMarket:
    """Return the market with room for what its runs have in common."""
    return market if isinstance(market, PreparedMarket) else PreparedMarket(market)


def _snapshot(
    tape: MarketTape, cash: Decimal, positions: dict[InstrumentId, tuple[Decimal, Decimal]]
) -> tuple[AccountSnapshot, ...]:
    """Return the account snapshot of the starting positions, empty without any."""
    if not positions:
        return ()
    at_ns = tape.sessions[0].open_ns
    lines = tuple(HeldPosition(number, *held) for number, held in positions.items())
    return (AccountSnapshot(at_ns, at_ns, cash, lines),)
