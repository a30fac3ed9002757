"""Sweeps: a backtest for each combination of settings, in processes of this machine.

A finished backtest is a line in the sweep's folder, by the hash of its configuration: the same sweep goes on
where it ended.
"""

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import msgspec
import numpy as np

from scalpdesk.backtesting.simulate import BacktestConfig, PreparedMarket, simulate
from scalpdesk.core.errors import ArgumentError, RetryError, ScalpdeskError

ROWS_FILE = "rows.ndjson"
TABLE_FILE = "rows.parquet"
COUNTS = ("sessions", "fills", "orders", "hedges", "trades")
MOST_VALUES = 10_000
"""Values of a parameter."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A setting and the values that a sweep tries, as texts of ``--set``."""

    key: str
    values: tuple[str, ...]


def read_parameter(text: str) -> Parameter:
    """Read ``KEY=VALUE,VALUE`` or ``KEY=LOW:HIGH:SCALE:NUMBER`` with the scale ``lin`` or ``log``.

    Raises
    ------
    ArgumentError
        When the text is neither.

    Examples
    --------
    >>> read_parameter("hedge.risk_aversion=0.01:1:log:3").values
    ('0.01', '0.1', '1')
    """
    key, _, values = text.partition("=")
    if not key or not values:
        raise ArgumentError(
            "a parameter is KEY=VALUES", where="--param", value=text, fix="hedge.threshold_shares=2,5,10"
        )
    low, *rest = values.split(":")
    if not rest:
        found = tuple(value.strip() for value in values.split(","))
        if "" in found:
            raise ArgumentError("a value is empty", where=f"--param {key}", value=values)
        return Parameter(key, tuple(dict.fromkeys(found)))
    try:
        high, scale, number = rest
        ends, count = (float(low), float(high)), int(number)
    except ValueError:
        ends, count, scale = (0.0, 0.0), 0, ""
    is_sound = 2 <= count <= MOST_VALUES and all(map(math.isfinite, ends))
    if not is_sound or scale not in ("lin", "log") or (scale == "log" and min(ends) <= 0.0):
        raise ArgumentError(
            "a range is LOW:HIGH:SCALE:NUMBER, the scale lin or (above 0) log, the number 2 or more",
            where=f"--param {key}",
            value=values,
            fix=f"{key}=0.01:1:log:5",
        )
    steps = np.geomspace(*ends, count) if scale == "log" else np.linspace(*ends, count)
    return Parameter(key, tuple(dict.fromkeys(f"{value:.10g}" for value in steps)))


def combinations(parameters: Sequence[Parameter]) -> list[dict[str, str]]:
    """Return every combination of the values, by key; the last parameter changes first."""
    keys = [parameter.key for parameter in parameters]
    doubled = next((key for key in keys if keys.count(key) > 1), None)
    if doubled is not None:
        raise ArgumentError("a parameter is given twice", where="--param", value=doubled)
    return [dict(zip(keys, values, strict=True)) for values in product(*(each.values for each in parameters))]


@dataclass(frozen=True, slots=True)
class Job:
    """A backtest of a sweep: its values of the parameters, and its whole configuration."""

    settings: Mapping[str, str]
    config: BacktestConfig


class SweepRow(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one backtest, or why it failed."""

    config_hash: str
    settings: dict[str, str]
    problem: str | None = None
    """Why it has no result."""
    decision_hash: str | None = None
    pnl: dict[str, str] = {}
    """By part with ``total``, in the account's currency."""
    daily: dict[str, str] = {}
    """P&L of each session by its day, not rounded, in the account's currency."""
    sessions: int = 0
    fills: int = 0
    orders: int = 0
    hedges: int = 0
    trades: int = 0
    seconds: float = 0.0
    """Time of its process."""

    @property
    def total(self) -> float:
        """P&L for sorting; a row without a result comes last."""
        return float(self.pnl["total"]) if self.pnl else float("-inf")


def run_job(job: Job, market: PreparedMarket) -> SweepRow:
    """Run a backtest; a failure is a row with its reason."""
    began, settings = time.perf_counter(), dict(job.settings)
    try:
        found = simulate(job.config, market)
    except ScalpdeskError as error:
        return SweepRow(config_hash=job.config.config_hash, settings=settings, problem=error.render())
    except Exception as error:  # noqa: BLE001 - a strategy's fault ends its row, not the sweep
        problem = f"{type(error).__name__}: {error}"
        return SweepRow(config_hash=job.config.config_hash, settings=settings, problem=problem)
    return SweepRow(
        config_hash=job.config.config_hash,
        settings=settings,
        decision_hash=found.decision_hash,
        pnl={name: str(amount) for name, amount in found.pnl.items()},
        daily={day.isoformat(): str(parts["total"]) for day, parts in found.daily().items()},
        sessions=len(found.sessions),
        fills=found.fills,
        orders=found.orders,
        hedges=int(found.document["hedges"]),
        trades=len(found.trades),
        seconds=round(time.perf_counter() - began, 3),
    )


class SweepFolder:
    """The rows of a sweep on disk: a line for each finished backtest, and a table at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def rows(self) -> dict[str, SweepRow]:
        """Return the finished backtests with a result, by configuration, without a torn last line."""
        found = {}
        file = self.path / ROWS_FILE
        for line in file.read_bytes().splitlines() if file.exists() else ():
            try:
                row = msgspec.json.decode(line, type=SweepRow)
            except msgspec.MsgspecError:
                continue
            if row.problem is None:
                found[row.config_hash] = row
        return found

    def add(self, row: SweepRow) -> None:
        """Keep a row, at once."""
        with (self.path / ROWS_FILE).open("ab") as file:
            if file.tell() and not self._ends_with_a_line():
                file.write(b"\n")
            file.write(msgspec.json.encode(row) + b"\n")

    def _ends_with_a_line(self) -> bool:
        with (self.path / ROWS_FILE).open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def write_table(self, rows: Sequence[SweepRow]) -> Path:
        """Write the rows as Parquet, a column for each parameter and each part; return its path."""
        import duckdb  # noqa: PLC0415 - a tenth of a second

        keys = list(dict.fromkeys(key for row in rows for key in row.settings))
        parts = list(dict.fromkeys(part for row in rows for part in row.pnl))
        plain = ("config_hash", "decision_hash", "problem", *COUNTS, "seconds")
        columns = {name: [getattr(row, name) for row in rows] for name in plain}
        columns |= {key: [row.settings.get(key) for row in rows] for key in keys}
        columns |= {f"pnl_{part}": [row.pnl.get(part) for row in rows] for part in parts}
        kinds = dict.fromkeys(COUNTS, "INTEGER") | {"seconds": "DOUBLE"}
        kinds |= {f"pnl_{part}": "DECIMAL(24, 8)" for part in parts}
        target = self.path / TABLE_FILE
        with duckdb.connect() as connection:
            shape = ", ".join(f'"{name}" {kinds.get(name, "VARCHAR")}' for name in columns)
            connection.execute(f"CREATE TABLE rows ({shape})")
            marks = ", ".join("?" * len(columns))
            if rows:
                connection.executemany(
                    f"INSERT INTO rows VALUES ({marks})",  # noqa: S608 - marks alone
                    list(zip(*columns.values(), strict=True)),
                )
            connection.execute("COPY rows TO ? (FORMAT parquet)", [str(target)])
        return target


def sweep_name(jobs: Sequence[Job], market: PreparedMarket) -> str:
    """Return the name of a sweep's folder: its strategy and market, whatever its parameters."""
    facts = market.facts()
    named = {name: facts.get(name) for name in ("data", "session", "sessions", "underlying")}
    named["seed"] = jobs[0].config.seed
    digest = sha256(msgspec.json.encode(named, order="sorted")).hexdigest()[:8]
    return f"{jobs[0].config.strategy}-{digest}"


def run_local(jobs: Sequence[Job], market: PreparedMarket, workers: int) -> Iterator[SweepRow]:
    """Run backtests in processes; yield each row as it ends.

    Each process loads the market once.

    Raises
    ------
    RetryError
        When a process ends in the middle, for want of memory as a rule.
    """
    if workers == 1:
        for job in jobs:
            yield run_job(job, market)
        return
    waiting = iter(jobs)
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(market,)
    ) as pool:
        running: set[Future[SweepRow]] = set()
        try:
            while True:
                for job in waiting:
                    running.add(pool.submit(_run_in_process, job))
                    if len(running) >= 2 * workers:
                        break
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    yield future.result()
        except BrokenProcessPool as error:
            raise RetryError(
                "a process of the sweep ended in the middle",
                where="--workers",
                value=workers,
                fix="the same command goes on with the rest; with less memory give --workers 1",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_market: PreparedMarket | None = None


def _begin(market: PreparedMarket) -> None:
    global _market  # noqa: PLW0603 - one market for each process
    _market = market


def _run_in_process(job: Job) -> SweepRow:
    assert _market is not None
    return run_job(job, _market)
