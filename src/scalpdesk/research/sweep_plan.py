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

USUAL = SweepOptions()
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
    options: SweepOptions = USUAL

    @classmethod
    def read(cls, params: Sequence[str], options: SweepOptions = USUAL) -> "SweepPlan":
        """Read parameters as the command has them.

        Raises
        ------
        ArgumentError
            For a text that is no parameter, or an option that the engine or the table does not have.
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

    Parameters
    ----------
    plan
        Parameters, engine and search.
    load
        Settings of the sweep, see :class:`JobMaker`.
    market
        Of all backtests.
    seed
        Path of a reconstructed market.
    folder
        Keeps each row as it ends; None keeps nothing.
    about
        Kept beside the table, for the list of sweeps.
    preparing, report
        Follow the preparation of the market and the backtests.
    on_row
        Called with each new row as it ends, after it is kept.

    Raises
    ------
    ConfigError
        When no combination is a configuration, or a package is missing.
    """
    maker = JobMaker(load, seed, market)
    rows: list[SweepRow]
    new = 0

    def keep(row: SweepRow) -> None:
        nonlocal new
        new += 1
        if folder is not None:
            folder.add(row)
        if on_row is not None:
            on_row(row)

    done = {} if folder is None else folder.rows()
    earlier = tuple(done.values())
    wanted = plan.options.search
    if wanted is not None:
        found: dict[tuple[object, ...], SweepRow] = {}
        base = maker.job({})
        jobs = [base] if isinstance(base, Job) else []
        configs = [job.config for job in jobs]
        options = plan.options
        search = Search(plan.axes, wanted, seed=options.search_seed, stops=not options.no_stop)
        with plan.engine_for(market, configs, preparing) as engine:
            for asked, row in enumerate(search.run(maker, engine, done, keep), start=1):
                found[(*row.key, *sorted(row.settings.items()))] = row
                report(asked, wanted, "backtests")
        rows = list(found.values())
        whole = [row for row in rows if row.refusal is None]
        refused = [row for row in rows if row.refusal is not None]
    else:
        made = [maker.job(values) for values in combinations(_listed(plan.axes))]
        jobs = [each for each in made if isinstance(each, Job)]
        refused = [each for each in made if isinstance(each, SweepRow)]
        if not jobs:
            raise _no_configuration(refused[0])
        done = {key: row for key, row in done.items() if not row.pruned}
        waiting = list({job.key: job for job in jobs if job.key not in done}.values())
        ended = len(jobs) - len(waiting)
        report(ended, len(jobs), "backtests")
        with plan.engine_for(market, [job.config for job in waiting], preparing) as engine:
            for row in engine.run(waiting):
                keep(row)
                done[row.key] = row
                ended += 1
                report(ended, len(jobs), "backtests")
        whole = [done[job.key] for job in jobs if done[job.key].refusal is None]
        refused = [done[job.key] for job in jobs if done[job.key].refusal is not None] + refused
    ordered = (*sorted(whole, key=lambda row: row.rank), *refused)
    facts: dict[str, Any] = {"sessions_per_year": clock_named(market.tape.variance_clock).days_per_year}
    if jobs:
        run = jobs[0].config.config
        facts |= {"currency": run.desk.currency}
        facts |= {"fees": run.simulation.fees, "fill_model": run.simulation.fill_model}
    facts |= about or {}
    table = None if folder is None else folder.write_table(ordered, None if about is None else facts)
    return SweepResult(ordered, new, table, facts, earlier)


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
