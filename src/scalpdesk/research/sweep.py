"""Sweeps: a backtest for each combination of settings, and the table of their results.

A finished backtest is a line in the sweep's folder, by the hash of its configuration and the digest of its
market: the same sweep goes on where it ended.
"""

import math
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from scalpdesk.assembly import require_tradable
from scalpdesk.backtesting.simulate import (
    BacktestConfig,
    BacktestResult,
    PreparedMarket,
    few_collections,
    simulate_by_session,
)
from scalpdesk.config.settings import LoadedSettings
from scalpdesk.core.errors import ArgumentError, ConfigError, DataError, RefusalFacts
from scalpdesk.core.figures import html_table, new_figure
from scalpdesk.core.frames import in_library, required, required_polars
from scalpdesk.core.units import SESSIONS_PER_YEAR, number_text
from scalpdesk.core.version import BUILD
from scalpdesk.instruments.sessions import Session
from scalpdesk.portfolio.option_vols import SharedSmiles
from scalpdesk.report.statistics import (
    Interval,
    bootstrap_samples,
    carries_ratio,
    quantile_interval,
    sessions_traded,
    sharpe_ratio,
)
from scalpdesk.report.summary import why_no_trade
from scalpdesk.strategies.registry import helper_facts
from scalpdesk.volatility.variance_time import clock_of

if TYPE_CHECKING:
    from scalpdesk.research.overfitting import OverfittingReport

SWEEPS = "sweeps"
"""Folder of sweeps below that of the runs."""
ROWS_FILE = "rows.ndjson"
_TABLE_FILE = "rows.parquet"
_ABOUT_FILE = "sweep.json"
_COUNTS = ("sessions", "traded", "fills", "orders", "hedges", "trades")
_TEXTS = ("config_hash", "decision_hash", "verdict")
_PLAIN = (*_TEXTS, *_COUNTS, "pruned", "sharpe", "seconds", "cpu_seconds")
"""Fields of a row that are columns of the table under their own names."""
MOST_VALUES = 10_000
"""Values of a parameter."""


RowKey = tuple[str, str]
"""Hash of a configuration and digest of a market."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A setting and the values that a sweep tries, as texts of ``--set``."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """A setting and the range in which a search draws its values."""

    key: str
    low: float
    high: float
    is_log: bool
    is_whole: bool
    """Draw whole numbers: both ends are written as whole numbers."""


def read_axis(text: str) -> Parameter | Range:
    """Read ``KEY=LOW:HIGH:SCALE`` as a range, anything else as :func:`read_parameter` does.

    Raises ArgumentError when the text is no parameter.

    Examples
    --------
    >>> read_axis("hedge.band_settings.risk_aversion=0.01:1:log").high
    1.0
    """
    key, _, values = text.partition("=")
    parts = values.split(":")
    if not key or len(parts) != 3 or parts[2] not in ("lin", "log"):
        return read_parameter(text)
    try:
        low, high = float(parts[0]), float(parts[1])
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high) or (parts[2] == "log" and low <= 0.0):
        raise ArgumentError(
            "a range is LOW:HIGH:SCALE, the first end lower, with log above 0",
            where=f"--param {key}",
            value=values,
            fix=f"{key}=0.01:1:log",
        )
    is_whole = all(part.strip().lstrip("+-").isdigit() for part in parts[:2])
    return Range(key, low, high, parts[2] == "log", is_whole)


_CLOCK = r"\d\d:\d\d(:\d\d)?"
"""A time of day among the values of a parameter."""


def read_parameter(text: str) -> Parameter:
    """Read ``KEY=VALUE,VALUE`` or ``KEY=LOW:HIGH:SCALE:NUMBER`` with the scale ``lin`` or ``log``.

    Raises ArgumentError when the text is neither.

    Examples
    --------
    >>> read_parameter("hedge.band_settings.risk_aversion=0.01:1:log:3").values
    ('0.01', '0.1', '1')
    """
    key, _, values = text.partition("=")
    if not key or not values:
        raise ArgumentError(
            "a parameter is KEY=VALUES", where="--param", value=text, fix="hedge.threshold_shares=2,5,10"
        )
    low, *rest = values.split(":")
    if not rest or re.fullmatch(rf"{_CLOCK}(\s*,\s*{_CLOCK})*", values):
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
            fix=f"{key}=09:45,10:30 lists times"
            if re.search(_CLOCK, values)
            else f"{key}=0.01:1:log:5; without a number: --search N",
        )
    steps = np.geomspace(*ends, count) if scale == "log" else np.linspace(*ends, count)
    return Parameter(key, tuple(dict.fromkeys(f"{value:.10g}" for value in steps)))


def combinations(parameters: Sequence[Parameter]) -> list[dict[str, str]]:
    """Return every combination of the values, by key; the last parameter changes first."""
    keys = [parameter.key for parameter in parameters]
    refuse_doubled(parameters)
    return [dict(zip(keys, values, strict=True)) for values in product(*(each.values for each in parameters))]


def refuse_doubled(axes: Sequence[Parameter | Range]) -> None:
    """Refuse a key that is given twice.

    Raises ArgumentError, which names the key.
    """
    keys = [axis.key for axis in axes]
    doubled = next((key for key in keys if keys.count(key) > 1), None)
    if doubled is not None:
        raise ArgumentError("a parameter is given twice", where="--param", value=doubled)


@dataclass(frozen=True, slots=True)
class Job:
    """A backtest of a sweep: its values of the parameters, and its whole configuration."""

    settings: Mapping[str, str]
    config: BacktestConfig
    market: str = ""
    """Digest of the market and of what else decides the result, see :func:`market_digest`."""
    floors: tuple[float | None, ...] = ()
    """P&L at the end of each session below which the run stops; None: it goes on. Empty: it never stops."""
    search: str = ""
    """Digest of the search that asked for it."""

    @property
    def key(self) -> RowKey:
        """Name of its row."""
        return self.config.config_hash, self.market


class SweepRow(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one backtest, or why it failed."""

    config_hash: str
    settings: dict[str, str]
    market: str = ""
    """Digest of the market and of what else decides the result."""
    refusal: RefusalFacts | None = None
    """Why it has no result."""
    decision_hash: str | None = None
    pnl: dict[str, str] = {}
    """By part with ``total``, in the account's currency."""
    daily: dict[str, str] = {}
    """P&L of each session by its day, exact, in the account's currency."""
    sharpe: float | None = None
    """Annual Sharpe ratio of the sessions' P&L: mean over standard deviation, times the square root of the
    sessions of a year; None where they do not vary."""
    sessions: int = 0
    """Sessions that were run."""
    traded: int | None = None
    """Sessions with a P&L; None in a table of before it was counted."""
    verdict: str = ""
    """Outcome in a sentence: without a trade, why."""
    fills: int = 0
    orders: int = 0
    hedges: int = 0
    trades: int = 0
    pruned: bool = False
    """A search stopped it before its last session."""
    search: str = ""
    """Digest of the search that stopped it."""
    seconds: float = 0.0
    """Time of its process."""
    cpu_seconds: float = 0.0
    """Processor time of its process, user and system."""

    @property
    def key(self) -> RowKey:
        """Hash of the configuration and digest of the market."""
        return self.config_hash, self.market

    @property
    def problem(self) -> str | None:
        """Why it has no result, in words; None of one that has."""
        return None if self.refusal is None else self.refusal.text

    def as_document(self) -> dict[str, Any]:
        """Return the row for ``--json``, with its problem in words beside the refusal."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields | {"problem": self.problem}

    @property
    def total(self) -> float:
        """P&L for sorting; a row without a result comes last."""
        return float(self.pnl["total"]) if self.pnl else float("-inf")

    @property
    def rank(self) -> tuple[bool, float]:
        """Place in the table: whole results by P&L, then what was stopped."""
        return self.pruned, -self.total

    def interval(self) -> Interval | None:
        """Return the 95 % interval of the P&L over as many sessions, by the stationary bootstrap of sessions.

        None below three sessions.
        """
        if len(self.daily) < 3:
            return None
        return quantile_interval(bootstrap_samples([float(each) for each in self.daily.values()]).sum(axis=1))


def run_job(job: Job, market: PreparedMarket) -> SweepRow:
    """Run a backtest; a failure is a row with its reason."""
    return run_together([job], market)[0]


def priced_by(job: Job) -> bytes:
    """Return the settings by which a backtest values options: the terms of its smiles."""
    config = job.config.config
    terms = config.marketdata, config.rates, config.gex, config.data, config.simulation.displayed_sizes
    return msgspec.json.encode(terms)


def run_together(jobs: Sequence[Job], market: PreparedMarket) -> list[SweepRow]:
    """Run backtests side by side, session by session; a failure is a row with its reason.

    Those with equal terms share the smiles, and the memory of one session serves them all.
    """
    smiles: dict[bytes, SharedSmiles] = {priced_by(job): {} for job in jobs}
    courses = [_Course(job, market, smiles[priced_by(job)] if len(jobs) > 1 else None) for job in jobs]
    with few_collections():
        going = courses
        while going:
            going = [course for course in going if course.go_on()]
            for fitted in smiles.values():
                fitted.clear()
    return [course.row for course in courses if course.row is not None]


class _Course:
    """One backtest among those that run side by side."""

    def __init__(self, job: Job, market: PreparedMarket, smiles: SharedSmiles | None) -> None:
        self._job, self._floors = job, iter(job.floors)
        self._is_stopped = False
        self._wall = self._cpu = 0.0
        self.row: SweepRow | None = None
        follows = self._goes_on if job.floors else None
        self._steps = simulate_by_session(job.config, market, after_session=follows, smiles=smiles)

    def _goes_on(self, _: Session, so_far: Decimal) -> bool:
        floor = next(self._floors, None)
        self._is_stopped = floor is not None and so_far < floor
        return not self._is_stopped

    def go_on(self) -> bool:
        """Run the next session; return whether there are more."""
        began, worked = time.perf_counter(), time.process_time()
        try:
            next(self._steps)
        except StopIteration as end:
            found: BacktestResult = end.value
            self._count(began, worked)
            self.row = _row_of(self._job, found, self._is_stopped, self._wall, self._cpu)
        except Exception as error:  # noqa: BLE001 - a strategy's fault ends its row, not the sweep
            self.row = SweepRow(
                config_hash=self._job.config.config_hash,
                market=self._job.market,
                settings=dict(self._job.settings),
                refusal=RefusalFacts.of(error),
            )
        else:
            self._count(began, worked)
        return self.row is None

    def _count(self, began: float, worked: float) -> None:
        self._wall += time.perf_counter() - began
        self._cpu += time.process_time() - worked


def _row_of(job: Job, found: BacktestResult, is_stopped: bool, wall: float, cpu: float) -> SweepRow:
    daily = {day: figures["total"] for day, figures in found.daily().items()}
    amounts = np.array([float(amount) for amount in daily.values()])
    sharpe = None
    if carries_ratio(amounts):
        periods = clock_of(found.document["data"]).days_per_year
        sharpe = sharpe_ratio(amounts, periods).annual_independent
    return SweepRow(
        config_hash=job.config.config_hash,
        settings=dict(job.settings),
        market=job.market,
        decision_hash=found.decision_hash,
        pnl={name: str(amount) for name, amount in found.pnl.items()},
        daily={day.isoformat(): str(amount) for day, amount in daily.items()},
        sharpe=sharpe,
        sessions=len(found.sessions),
        traded=sessions_traded(amounts),
        verdict=str(found.document["verdict"]),
        fills=found.fills,
        orders=found.orders,
        hedges=int(found.document["hedges"]),
        trades=len(found.trades),
        pruned=is_stopped,
        search=job.search if is_stopped else "",
        seconds=round(wall, 3),
        cpu_seconds=round(cpu, 3),
    )


Loader = Callable[[tuple[str, ...]], LoadedSettings]
"""Returns the settings with some more ``KEY=VALUE`` texts of ``--set``.

It raises ConfigError where they are no configuration.
"""


class JobMaker:
    """Makes the jobs of a sweep from values of its parameters.

    ``load``: The settings of the sweep.
    ``seed``: Path of a reconstructed market; None for a recorded one.
    ``market``: Of all of its runs.
    """

    def __init__(self, load: Loader, seed: int | None, market: PreparedMarket) -> None:
        self._load, self._seed = load, seed
        self._content, self._market = market_digest(market), market

    def job(self, settings: Mapping[str, str]) -> Job | SweepRow:
        """Return the backtest of some values; a row with the reason where they are no configuration."""
        try:
            loaded = self._load(tuple(f"{key}={value}" for key, value in settings.items()))
            config = BacktestConfig.of(loaded, seed=self._seed)
            assert config.strategy is not None
            require_tradable(config, self._market.tape.instruments, self._market.facts(), is_backtest=True)
            folder = helper_facts(config.strategy, config.config.strategies)
        except ConfigError as error:
            return SweepRow(config_hash="", settings=dict(settings), refusal=RefusalFacts.of(error))
        decided_by = [self._content, self._seed, folder]
        return Job(settings, config, sha256(msgspec.json.encode(decided_by)).hexdigest()[:16])


def market_digest(market: PreparedMarket) -> str:
    """Return a digest of the rows and facts of a market and of the version of this program."""
    decided_by = [market.facts(), market.tape.content_digest(), BUILD]
    return sha256(msgspec.json.encode(decided_by, order="sorted")).hexdigest()


class SweepFolder:
    """The rows of a sweep on disk: a line for each finished backtest, and a table at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def rows(self) -> dict[RowKey, SweepRow]:
        """Return the finished backtests with a result, without a torn last line."""
        found = {}
        file = self.path / ROWS_FILE
        for line in file.read_bytes().splitlines() if file.exists() else ():
            try:
                row = msgspec.json.decode(line, type=SweepRow)
            except msgspec.MsgspecError:
                continue
            if row.pnl:
                found[row.key] = row
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

    def write_table(self, rows: Sequence[SweepRow], about: Mapping[str, Any] | None = None) -> Path:
        """Write the rows as Parquet, a column for each parameter and each part; return its path.

        ``about`` is kept beside it, for the list of sweeps.
        """
        target = self.path / _TABLE_FILE
        if about is not None:
            (self.path / _ABOUT_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=2))
        connection, table = _rows_table(rows)
        with connection:
            table.write_parquet(str(target))
        return target

    def read_table(self) -> tuple[SweepRow, ...]:
        """Return the rows of the table as it was written last: the best first, those that failed too.

        Raises DataError when the folder has no table.
        """
        import duckdb  # noqa: PLC0415 - a tenth of a second

        file = self.path / _TABLE_FILE
        if not file.is_file():
            raise DataError("the sweep has no table", where=str(file), fix="run the sweep to its end")
        with duckdb.connect() as connection:
            table = connection.read_parquet(str(file))
            kinds = dict(zip(table.columns, map(str, table.types), strict=True))
            found = [dict(zip(kinds, values, strict=True)) for values in table.fetchall()]
        parts = [name for name, kind in kinds.items() if name.startswith("pnl_") and kind != "VARCHAR"]
        keys = [name for name in kinds if name not in (*_PLAIN, "problem", *parts, "daily")]
        return tuple(
            SweepRow(
                **{name: row[name] for name in _PLAIN if row.get(name) is not None},
                refusal=None if row["problem"] is None else RefusalFacts(row["problem"]),
                settings={key: row[key] for key in keys if row[key] is not None},
                daily=dict(row["daily"] or {}),
                pnl={part[4:]: number_text(row[part]) for part in parts if row[part] is not None},
            )
            for row in found
        )


def _rows_table(rows: Sequence[SweepRow]) -> tuple[Any, Any]:
    """Return rows as a table of DuckDB and its connection, which the caller closes."""
    import duckdb  # noqa: PLC0415 - a tenth of a second

    keys = list(dict.fromkeys(key for row in rows for key in row.settings))
    parts = list(dict.fromkeys(part for row in rows for part in row.pnl))
    columns = {name: [getattr(row, name) for row in rows] for name in (*_PLAIN, "problem")}
    columns |= {key: [row.settings.get(key) for row in rows] for key in keys}
    columns |= {f"pnl_{part}": [row.pnl.get(part) for row in rows] for part in parts}
    columns["daily"] = [row.daily for row in rows]
    kinds = dict.fromkeys(_COUNTS, "INTEGER") | {"pruned": "BOOLEAN", "daily": "MAP(VARCHAR, VARCHAR)"}
    kinds |= dict.fromkeys(("sharpe", "seconds", "cpu_seconds"), "DOUBLE")
    kinds |= {f"pnl_{part}": "DECIMAL(24, 8)" for part in parts}
    connection = duckdb.connect()
    shape = ", ".join(f'"{name}" {kinds.get(name, "VARCHAR")}' for name in columns)
    connection.execute(f"CREATE TABLE rows ({shape})")
    marks = ", ".join("?" * len(columns))
    if rows:
        connection.executemany(
            f"INSERT INTO rows VALUES ({marks})",  # noqa: S608 - marks alone
            list(zip(*columns.values(), strict=True)),
        )
    return connection, connection.table("rows")


def sweep_name(strategy: str, seed: int | None, market: PreparedMarket) -> str:
    """Return the name of a sweep's folder: its strategy and market, whatever its parameters."""
    facts = market.facts()
    named = {name: facts.get(name) for name in ("data", "session", "sessions", "underlying")}
    named["seed"] = seed
    digest = sha256(msgspec.json.encode(named, order="sorted")).hexdigest()[:8]
    return f"{strategy}-{digest}"


def list_sweeps(folder: Path) -> list[dict[str, Any]]:
    """Return the sweeps below a folder in order of their last table: what each is, its rows, its best."""
    files = sorted(folder.glob(f"*/{_ABOUT_FILE}"), key=lambda file: file.stat().st_mtime_ns)
    found = []
    for file in files:
        rows = SweepFolder(file.parent).rows().values()
        best = min((row for row in rows if not row.pruned), key=lambda row: row.rank, default=None)
        found.append(
            {
                "name": file.parent.name,
                "about": msgspec.json.decode(file.read_bytes()),
                "rows": len(rows),
                "table": str(file.parent / _TABLE_FILE),
                "best": None
                if best is None
                else {"pnl": best.pnl["total"], "sharpe": best.sharpe, "settings": best.settings},
            }
        )
    return found


def find_sweep(folder: Path, name: str) -> Path | None:
    """Return the folder of a finished sweep by path, name, or the beginning of one name; None without it."""
    known = [file.parent for file in sorted(folder.glob(f"*/{_ABOUT_FILE}"))]
    exact = [each for each in (Path(name), folder / name) if (each / _ABOUT_FILE).is_file()]
    begun = [each for each in known if each.name.startswith(name)]
    return exact[0] if exact else begun[0] if len(begun) == 1 else None


def stored_sweep(folder: Path) -> "SweepResult":
    """Return the last sweep of a folder as it ended.

    Raises DataError when the folder has no table.
    """
    kept = SweepFolder(folder)
    about = msgspec.json.decode((folder / _ABOUT_FILE).read_bytes(), type=dict[str, Any])
    rows = kept.read_table()
    return SweepResult(rows, 0, folder / _TABLE_FILE, about, tuple(kept.rows().values()))


SHOWN_ROWS = 20
"""Rows in a notebook."""


@dataclass(frozen=True)
class SweepResult:
    """The table of a sweep: the best first, then what a search stopped, then what failed."""

    rows: tuple[SweepRow, ...]
    new: int
    """Backtests that were run now."""
    table: Path | None = None
    """The rows as Parquet; None without a folder."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Strategy, data, parameters, currency and sessions of a year."""
    earlier: tuple[SweepRow, ...] = ()
    """Rows that its folder had before."""

    @cached_property
    def overfitting(self) -> "OverfittingReport":
        """Judgement on the best row: deflated Sharpe ratio and probability of backtest overfitting."""
        from scalpdesk.research.overfitting import judge_rows  # noqa: PLC0415 - scipy is loaded with it

        a_year = float(self.about.get("sessions_per_year", SESSIONS_PER_YEAR))
        return judge_rows(self.rows, self.earlier, sessions_per_year=a_year)

    @property
    def why_no_trade(self) -> str | None:
        """Why no combination traded, in words; None where one did."""
        return why_no_trade(row.verdict for row in self.done)

    @property
    def without_effect(self) -> list[str]:
        """Parameters whose values changed no result, whatever the others were: P&L by part, orders, fills."""
        if self.why_no_trade is not None:
            return []
        return [key for key in self.varied if self._is_without_effect(key)]

    def _is_without_effect(self, key: str) -> bool:
        results: dict[tuple[tuple[str, str], ...], list[tuple[object, ...]]] = {}
        for row in self.done:
            others = tuple(sorted((name, text) for name, text in row.settings.items() if name != key))
            # not the decision hash: the ids of orders in it tell one configuration from another
            results.setdefault(others, []).append((row.pnl, row.daily, row.orders, row.fills, row.hedges))
        return all(each == found[0] for found in results.values() for each in found)

    @property
    def done(self) -> list[SweepRow]:
        """Rows of whole backtests."""
        return [row for row in self.rows if row.refusal is None and not row.pruned]

    @property
    def varied(self) -> list[str]:
        """Parameters of which whole backtests have more than one value."""
        done = self.done
        return [key for key in self.keys if len({row.settings.get(key) for row in done}) > 1]

    @property
    def keys(self) -> list[str]:
        """Parameters, in order."""
        return list(dict.fromkeys(key for row in self.rows for key in row.settings))

    def to_frame(self, library: str = "pandas") -> Any:
        """Return the rows as a frame: a column for each parameter, figure and part of the P&L.

        Parameters
        ----------
        library
            ``pandas``, in which parameters that are numbers are numbers; or ``polars``, which reads the
            columns through Arrow.

        Raises
        ------
        ConfigError
            When the library is not installed.
        ArgumentError
            For another library.
        """
        if library == "polars":
            polars = required_polars()
            connection, table = _rows_table(self.rows)
            with connection:
                return polars.DataFrame(table)
        pandas = required("pandas", "pandas", "frames of pandas need a package that is not installed")
        kept = ("config_hash", "decision_hash", "problem", *_COUNTS, "pruned", "sharpe", "seconds")
        parts = list(dict.fromkeys(part for row in self.rows for part in row.pnl))
        columns: dict[str, list[Any]] = {key: numbers_of(self._values(key)) for key in self.keys}
        for part in parts:
            columns[f"pnl_{part}"] = [float(row.pnl.get(part, "nan")) for row in self.rows]
        columns |= {name: [getattr(row, name) for row in self.rows] for name in kept}
        return in_library(pandas.DataFrame(columns), library)

    def _values(self, key: str) -> list[str | None]:
        return [row.settings.get(key) for row in self.rows]

    def plot(self, figure: str = "total") -> Any:
        """Draw a figure of the result over one parameter (a line) or two (a heat map); extra ``plots``.

        Parameters
        ----------
        figure
            ``total`` (P&L in the account's currency), another part of the P&L, or ``sharpe``.

        Raises
        ------
        ArgumentError
            When the sweep varies no parameter or more than two.
        ConfigError
            When matplotlib is not installed.
        """
        done, varied = self.done, self.varied
        if not 1 <= len(varied) <= 2:
            raise ArgumentError(
                "a plot has one or two parameters",
                where="plot",
                value=", ".join(varied) or "nothing varies",
                fix="draw what you need from to_frame()",
            )
        values = [float("nan") if (value := _figure_of(row, figure)) is None else value for row in done]
        drawn = new_figure(8, 5)
        panel = drawn.subplots()
        ways = [[row.settings[key] for row in done] for key in varied]
        if len(varied) == 1:
            order = in_order(ways[0])
            by_value = dict(zip(ways[0], values, strict=True))
            places = numbers_of(order)
            panel.plot(places, [by_value[value] for value in order], marker="o")
            panel.set_ylabel(_label(figure))
        else:
            across, up = (in_order(way) for way in ways)
            cells = np.full((len(up), len(across)), np.nan)
            for first, second, value in zip(*ways, values, strict=True):
                cells[up.index(second), across.index(first)] = value
            image = panel.imshow(cells, origin="lower", aspect="auto")
            drawn.colorbar(image, label=_label(figure))
            panel.set_xticks(range(len(across)), across)
            panel.set_yticks(range(len(up)), up)
            panel.set_ylabel(varied[1])
        panel.set_xlabel(varied[0])
        return drawn

    def _repr_html_(self) -> str:
        """Return the best rows as a table, for notebooks."""
        figures = ("P&L", "Sharpe", "sessions", "hedges", "fills")
        rows = []
        for row in self.rows[:SHOWN_ROWS]:
            cells = [row.settings.get(key, "") for key in self.keys]
            if row.refusal is None:
                sharpe = "" if row.sharpe is None else f"{row.sharpe:.2f}"
                stopped = " (stopped)" if row.pruned else ""
                counts = [f"{row.sessions}{stopped}", str(row.hedges), str(row.fills)]
                cells += [row.pnl.get("total", ""), sharpe, *counts]
            else:
                cells += ["failed", *[""] * (len(figures) - 1)]
            rows.append(cells)
        caption = f"{len(rows)} of {len(self.rows)} combinations; the best of many is partly luck"
        return html_table(caption, (*self.keys, *figures), rows, texts=len(self.keys))


def _figure_of(row: SweepRow, figure: str) -> float | None:
    if figure == "sharpe":
        return row.sharpe
    if figure not in row.pnl:
        raise ArgumentError(
            "no such figure", where="figure", value=figure, fix=", ".join([*row.pnl, "sharpe"])
        )
    return float(row.pnl[figure])


def _label(figure: str) -> str:
    return "Sharpe ratio, annual" if figure == "sharpe" else f"P&L, {figure}"


def in_order(values: Iterable[str]) -> list[str]:
    """Return texts once each: numbers by size, others as they come."""
    found = list(dict.fromkeys(values))
    numbers = numbers_of(found)
    if all(isinstance(number, float) for number in numbers):
        return [text for _, text in sorted(zip(numbers, found, strict=True))]
    return found


def numbers_of(values: Sequence[str | None]) -> list[Any]:
    """Return texts as numbers where all of them are numbers."""
    try:
        return [float(value) for value in values if value is not None] if None not in values else list(values)
    except ValueError:
        return list(values)
