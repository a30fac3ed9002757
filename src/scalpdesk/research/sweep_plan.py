"""A sweep from its parameters to its table: every combination or a search, on the engine asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import cpu_count
from typing import Any

from scalpdesk.backtesting.simulate import BacktestConfig, PreparedMarket
from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.research.options import SweepOptions
from scalpdesk.research.sweep import (
    Job,
    JobMaker,
    Loader,
    Parameter,
    Range,
    SweepFolder,
    SweepResult,
    SweepRow,
    combinations,
    read_axis,
    read_parameter,
    refuse_doubled,
)
from scalpdesk.research.sweep_engines import LocalEngine, RayEngine, SweepEngine
from scalpdesk.research.sweep_search import Search
from scalpdesk.volatility.variance_time import clock_named

_USUAL = SweepOptions()
OF_THE_MARKET = frozenset(
    (
        "data.assumed_spread_bps",
        "data.catalog",
        "data.hedge_set",
        "data.hours",
        "data.index_source",
        "data.max_side_age_seconds",
        "data.quality",
        "simulation.seed",
    )
)
"""Settings by which a market is loaded: all backtests of a sweep play one market."""
Report = Callable[[int, int, str], None]
"""Called with what is done, all of it, and its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """Parameters, engine and search of a sweep."""

    axes: Sequence[Parameter | Range]
    options: SweepOptions = _USUAL

    @classmethod
    def read(cls, params: Sequence[str], options: SweepOptions = _USUAL) -> "SweepPlan":
        """Read parameters as the command has them.

        Raises ArgumentError for a text that is no parameter, or an option that the engine or the table does
        not have.
        """
        axes = [(read_parameter if options.search is None else read_axis)(text) for text in params]
        refuse_doubled(axes)
        for key in (axis.key for axis in axes if axis.key in OF_THE_MARKET):
            raise ArgumentError(
                "all backtests of a sweep play one market, which this setting chooses",
                where="--param",
                value=key,
                fix=f"a sweep for each market: --set {key}=VALUE",
            )
        if not axes:
            raise ArgumentError("no parameter varies", where="--param", fix="hedge.threshold_shares=2,5,10")
        if options.address is not None and options.engine != "ray":
            raise ArgumentError(
                "only the engine ray has an address",
                where="--address",
                value=options.address,
                fix="--engine ray",
            )
        return cls(axes=axes, options=options)

    def engine_for(
        self, market: PreparedMarket, configs: Sequence[BacktestConfig], report: Report
    ) -> SweepEngine:
        """Return the engine, not entered yet."""

        def shared(done: int, of_all: int) -> None:
            report(done, of_all, "sessions prepared")

        if self.options.engine == "ray":
            return RayEngine(market, self.options.workers, self.options.address, configs, shared)
        return LocalEngine(market, self.options.workers or cpu_count() or 1, configs, shared)


def _no_configuration(first: SweepRow) -> ConfigError:
    """Return the refusal of a sweep whose first combination was refused so."""
    why = first.refusal
    assert why is not None
    return ConfigError(
        f"no combination is a configuration: {why.what}",
        where=" of ".join(filter(None, (why.where, "--param"))),
        value=why.value,
        nearest=why.nearest,
        fix=why.fix,
    )


def run_plan(
    plan: SweepPlan,
    load: Loader,
    market: PreparedMarket,
    *,
    seed: int | None = None,
    folder: SweepFolder | None = None,
    about: dict[str, Any] | None = None,
    preparing: Report,
    report: Report,
    on_row: Callable[[SweepRow], None] | None = None,
) -> SweepResult:
    """Run a sweep; finished backtests of the folder are not run again.

    ``load``: Settings of the sweep, see :class:`JobMaker`.
    ``seed``: Path of a reconstructed market.
    ``folder``: Keeps each row as it ends; None keeps nothing.
    ``about``: Kept beside the table, for the list of sweeps.
    ``preparing``, ``report``: Follow the preparation of the market and the backtests.
    ``on_row``: Called with each new row as it ends, after it is kept.

    Raises ConfigError when no combination is a configuration, or a package is missing.
    """
    run = _SweepUnderWay(plan, JobMaker(load, seed, market), market, folder, preparing, report, on_row)
    earlier = tuple(run.done.values())
    found = run.all_combinations() if plan.options.search is None else run.search(plan.options.search)
    whole = sorted((row for row in found if row.refusal is None), key=lambda row: row.rank)
    ordered = (*whole, *(row for row in found if row.refusal is not None))
    facts: dict[str, Any] = {"sessions_per_year": clock_named(market.tape.variance_clock).days_per_year}
    if run.first is not None:
        config = run.first.config.config
        facts |= {"currency": config.desk.currency}
        facts |= {"fees": config.simulation.fees, "fill_model": config.simulation.fill_model}
    facts |= about or {}
    table = None if folder is None else folder.write_table(ordered, None if about is None else facts)
    return SweepResult(ordered, run.new, table, facts, earlier)


class _SweepUnderWay:
    """A sweep under way: its rows so far, and those that its folder had."""

    def __init__(
        self,
        plan: SweepPlan,
        maker: JobMaker,
        market: PreparedMarket,
        folder: SweepFolder | None,
        preparing: Report,
        report: Report,
        on_row: Callable[[SweepRow], None] | None,
    ) -> None:
        self._plan, self._maker, self._market, self._folder = plan, maker, market, folder
        self._preparing, self._report, self._on_row = preparing, report, on_row
        self.done = {} if folder is None else folder.rows()
        self.first: Job | None = None
        """A backtest of the sweep, for what all of them have in common."""
        self.new = 0

    def all_combinations(self) -> list[SweepRow]:
        """Run every combination of the values; return their rows, in order."""
        made = [self._maker.job(values) for values in combinations(_listed(self._plan.axes))]
        jobs = [each for each in made if isinstance(each, Job)]
        refused = [each for each in made if isinstance(each, SweepRow)]
        if not jobs:
            raise _no_configuration(refused[0])
        self.first = jobs[0]
        rows = {key: row for key, row in self.done.items() if not row.pruned}
        waiting = list({job.key: job for job in jobs if job.key not in rows}.values())
        ended = len(jobs) - len(waiting)
        self._report(ended, len(jobs), "backtests")
        with self._engine([job.config for job in waiting]) as engine:
            for row in engine.run(waiting):
                self._keep(row)
                rows[row.key] = row
                ended += 1
                self._report(ended, len(jobs), "backtests")
        return [*(rows[job.key] for job in jobs), *refused]

    def search(self, wanted: int) -> list[SweepRow]:
        """Search as many backtests as wanted; return the row of each combination."""
        base, options = self._maker.job({}), self._plan.options
        self.first = base if isinstance(base, Job) else None
        rows: dict[tuple[object, ...], SweepRow] = {}
        search = Search(self._plan.axes, wanted, seed=options.search_seed, stops=not options.no_stop)
        with self._engine([] if self.first is None else [self.first.config]) as engine:
            found = search.run(self._maker, engine, self.done, self._keep)
            for asked, row in enumerate(found, start=1):
                rows[(*row.key, *sorted(row.settings.items()))] = row
                self._report(asked, wanted, "backtests")
        return list(rows.values())

    def _engine(self, configs: Sequence[BacktestConfig]) -> SweepEngine:
        return self._plan.engine_for(self._market, configs, self._preparing)

    def _keep(self, row: SweepRow) -> None:
        self.new += 1
        if self._folder is not None:
            self._folder.add(row)
        if self._on_row is not None:
            self._on_row(row)


def _listed(axes: Sequence[Parameter | Range]) -> list[Parameter]:
    found = [axis for axis in axes if isinstance(axis, Parameter)]
    if len(found) < len(axes):
        raise ArgumentError(
            "a range without a number of values belongs to a search",
            where="--param",
            value=next(axis.key for axis in axes if isinstance(axis, Range)),
            fix="LOW:HIGH:SCALE:NUMBER, or --search N",
        )
    return found
