"""Walk-forward test: settings are chosen on past sessions and judged on the sessions that follow.

Each combination of settings is one backtest over all sessions; its P&L by session decides the choice of each
fold. The chosen settings then trade the fold's test sessions in a backtest of their own, which begins flat
and ends valued at the marks. The test sessions of all folds, one after the other, are the out-of-sample
result.

References
----------
Pardo, R. (2008), "The Evaluation and Optimization of Trading Strategies", 2nd edition: walk-forward analysis
and its efficiency.
López de Prado, M. (2018), "Advances in Financial Machine Learning", chapter 7: purge and embargo.
"""

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from scalpdesk.backtesting.simulate import BacktestConfig, PreparedMarket
from scalpdesk.backtesting.statistics import Floats, Interval, bootstrap_interval, sharpe_ratio, varies
from scalpdesk.config.settings import LoadedSettings
from scalpdesk.core.errors import ArgumentError, ConfigError, ScalpdeskError
from scalpdesk.core.figures import new_figure
from scalpdesk.marketdata.tape import LazyBars, LazyQuotes, MarketTape
from scalpdesk.research.overfitting import Measure, OverfittingReport, judge_trials, sample_shape
from scalpdesk.research.sweep import Job, SweepFolder, SweepRow, run_job, run_local
from scalpdesk.volatility.variance_time import clock_named

USUAL_FOLDS = 4
LEAST_TRAIN = 2
"""Sessions of a choice: a Sharpe ratio takes two."""

Progress = Callable[[int, int, str], None]
"""Called with the backtests that are done, their number, and a label."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Sessions of one choice and its test, by day in order."""

    train: tuple[date, ...]
    test: tuple[date, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldPlan:
    """Division of sessions into folds.

    The tests follow one another and end with the last session. A length of None follows from the others.
    """

    folds: int | None = None
    """Number of tests; None: as many as fit with ``train`` and ``test`` given, else four."""
    train: int | None = None
    """Sessions of a choice; anchored: of the first."""
    test: int | None = None
    """Sessions of a test."""
    anchored: bool = False
    """Every choice begins with the first session; otherwise it moves on with the tests."""
    purge: int = 0
    """Sessions left out before a test: as many as a trade of the strategy overlaps."""
    embargo: int = 0
    """Sessions after a test that later choices leave out."""

    def divide(self, days: Sequence[date]) -> tuple[Fold, ...]:
        """Return the folds of these session days.

        Raises
        ------
        ArgumentError
            When a length is out of range, or the sessions do not suffice; names the option.
        """
        for name, value, least in (
            ("--folds", self.folds, 1),
            ("--train", self.train, LEAST_TRAIN),
            ("--test", self.test, 1),
            ("--purge", self.purge, 0),
            ("--embargo", self.embargo, 0),
        ):
            if value is not None and value < least:
                raise ArgumentError("too few", where=name, value=value, fix=f"give {least} or more")
        number, room = self.folds, len(days) - self.purge
        if number is None and self.train is not None and self.test is not None:
            number = (room - self.train) // self.test
        number = USUAL_FOLDS if number is None else number
        test = self.test
        if test is None:
            test = (room - self.train) // number if self.train is not None else room // (number + 1)
        train = room - number * test if self.train is None else self.train
        if number < 1 or test < 1 or train < LEAST_TRAIN or train + number * test > room:
            least = max(self.train or LEAST_TRAIN, LEAST_TRAIN) + self.purge
            least += (self.folds or number if number > 0 else 1) * (self.test or 1)
            raise ArgumentError(
                f"the folds take {least} sessions or more",
                where="--start, --end",
                value=f"{len(days)} sessions",
                fix="take a longer span, fewer folds, or shorter --train, --test and --purge",
            )
        first = len(days) - number * test
        tests = [range(low, low + test) for low in range(first, len(days), test)]
        found = []
        for place, held_out in enumerate(tests):
            end = held_out.start - self.purge
            barred = {
                at for earlier in tests[:place] for at in range(earlier.stop, earlier.stop + self.embargo)
            }
            begin = 0 if self.anchored else end - train
            chosen_on = [at for at in range(begin, end) if at not in barred]
            if len(chosen_on) < LEAST_TRAIN:
                raise ArgumentError(
                    f"the embargo leaves the choice of fold {place + 1} {len(chosen_on)} sessions",
                    where="--embargo",
                    value=self.embargo,
                    fix="give a smaller one, or a longer --train",
                )
            found.append(Fold(tuple(days[at] for at in chosen_on), tuple(days[at] for at in held_out)))
        return tuple(found)


class SpanPnl(msgspec.Struct, frozen=True, kw_only=True):
    """P&L over some sessions, in the account's currency."""

    sessions: int
    total: str
    per_session: float
    sharpe_annual: float | None
    """For uncorrelated sessions; None where it takes more of them, or P&L that varies."""


class FoldResult(msgspec.Struct, frozen=True, kw_only=True):
    """A fold: its choice, and how the choice did before and after."""

    train_first: date
    train_last: date
    train_sessions: int
    test_first: date
    test_last: date
    settings: dict[str, str]
    """The chosen combination."""
    in_sample: SpanPnl
    out_of_sample: SpanPnl
    rank: float
    """Place of the choice in the test sessions among all combinations' own backtests: 0 last, 1 first."""


class WalkForwardReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a walk-forward test, in JSON types."""

    strategy: str
    data: str
    measure: Measure
    anchored: bool
    purge: int
    embargo: int
    combinations: int
    folds: tuple[FoldResult, ...]
    daily: dict[str, str]
    """Out-of-sample P&L of each test session by day, in the account's currency."""
    in_sample: SpanPnl
    """All choices on their own sessions; a session counts as often as a choice used it."""
    out_of_sample: SpanPnl
    sharpe_low: float | None
    sharpe_high: float | None
    """95 % interval of the annual out-of-sample Sharpe ratio: stationary bootstrap of sessions."""
    sharpe_error: float | None
    """Its standard error for independent normal sessions (Lo 2002)."""
    probabilistic_sharpe: float | None
    """Probability that the true out-of-sample Sharpe ratio is above 0."""
    degradation: float | None
    """Part of the in-sample P&L per session that is gone out of sample; None without a gain in sample."""
    overfitting: OverfittingReport
    problems: dict[str, str]
    """Why a combination has no result, by its settings."""


@dataclass(frozen=True, slots=True)
class WalkForwardResult:
    """A finished walk-forward test."""

    report: WalkForwardReport
    rows: tuple[SweepRow, ...]
    """Backtest of each combination over all sessions."""

    def to_frame(self) -> Any:
        """Return a pandas frame by test session: ``pnl``, its sum ``total`` so far, ``fold``, settings."""
        import pandas as pd  # noqa: PLC0415 - a second that only a notebook pays

        report = self.report
        numbers = {
            day: number
            for number, fold in enumerate(report.folds, 1)
            for day in report.daily
            if fold.test_first.isoformat() <= day <= fold.test_last.isoformat()
        }
        frame = pd.DataFrame(
            [
                {"pnl": float(amount), "fold": numbers[day], **report.folds[numbers[day] - 1].settings}
                for day, amount in report.daily.items()
            ],
            index=pd.DatetimeIndex(list(report.daily), name="session"),
        )
        frame.insert(1, "total", frame["pnl"].cumsum())
        return frame

    def plot(self) -> Any:
        """Draw the test; return a figure (extra ``plots``).

        Running P&L out of sample with the folds' bounds, and each fold's P&L per session in and out of
        sample.

        Raises
        ------
        ConfigError
            When matplotlib is not installed.
        """
        report, frame = self.report, self.to_frame()
        figure = new_figure(9, 6)
        upper, lower = figure.subplots(2, 1, height_ratios=(2, 1))
        upper.plot(frame.index, frame["total"], color="black", marker=".")
        upper.axhline(0.0, color="grey", linewidth=0.5)
        for fold in report.folds[1:]:
            upper.axvline(np.datetime64(fold.test_first), color="grey", linewidth=0.5, linestyle=":")
        upper.set_title(f"{report.strategy}: P&L out of sample {report.out_of_sample.total}")
        places = np.arange(len(report.folds))
        for shift, label, parts in (
            (-0.2, "in sample", [fold.in_sample for fold in report.folds]),
            (0.2, "out of sample", [fold.out_of_sample for fold in report.folds]),
        ):
            lower.bar(places + shift, [part.per_session for part in parts], 0.4, label=label)
        lower.axhline(0.0, color="grey", linewidth=0.5)
        lower.set_xticks(places, [f"fold {place + 1}" for place in places])
        lower.set_ylabel("P&L per session")
        lower.legend(loc="upper right", fontsize="small")
        return figure

    def _repr_html_(self) -> str:
        """Return the folds and the verdict as tables, for notebooks."""
        report = self.report
        names = ("fold", "settings", "test", "P&L per session in sample", "out of sample")
        rows = [
            (
                number,
                settings_text(fold.settings),
                f"{fold.test_first} to {fold.test_last}",
                f"{fold.in_sample.per_session:.2f}",
                f"{fold.out_of_sample.per_session:.2f}",
            )
            for number, fold in enumerate(report.folds, 1)
        ]
        head = "".join(f"<th>{name}</th>" for name in names)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows
        )
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in verdict_lines(report))
        caption = html.escape(f"{report.strategy}, walk-forward on {report.data}")
        return f"<table><caption>{caption}</caption><tr>{head}</tr>{body}</table><ul>{lines}</ul>"


def settings_text(settings: Mapping[str, str]) -> str:
    """Return a combination as ``KEY=VALUE, KEY=VALUE``."""
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def verdict_lines(report: WalkForwardReport) -> tuple[str, ...]:
    """Return the verdict in sentences."""
    outside, inside = report.out_of_sample, report.in_sample
    found = (
        f"out of sample {outside.total} over {outside.sessions} sessions, {outside.per_session:.2f} a session"
    )
    lines = [f"{found}; in sample {inside.per_session:.2f}"]
    if outside.sharpe_annual is not None:
        interval = (
            ""
            if report.sharpe_low is None
            else f", 95 % interval {report.sharpe_low:.2f} to {report.sharpe_high:.2f}"
        )
        lines.append(f"Sharpe ratio out of sample {outside.sharpe_annual:.2f} a year{interval}")
    if report.degradation is not None:
        lines.append(f"{report.degradation:.0%} of the P&L per session in sample is gone out of sample")
    return (*lines, *report.overfitting.lines())


def jobs_of(
    load: Callable[[tuple[str, ...]], LoadedSettings],
    found: Sequence[Mapping[str, str]],
    *,
    seed: int | None,
) -> tuple[list[Job], list[SweepRow]]:
    """Return a backtest for each combination, and a row with its reason for each that is refused.

    Parameters
    ----------
    load
        Reads the configuration with some settings, each ``KEY=VALUE``.
    found
        The combinations.
    seed
        Path of a reconstructed market.

    Raises
    ------
    ConfigError
        When every combination is refused.
    """
    jobs, refused = list[Job](), list[SweepRow]()
    for settings in found:
        try:
            loaded = load(tuple(f"{key}={value}" for key, value in settings.items()))
            jobs.append(Job(settings, BacktestConfig.of(loaded, seed=seed)))
        except ConfigError as error:
            refused.append(SweepRow(config_hash="", settings=dict(settings), problem=error.render()))
    if not jobs:
        raise ConfigError("no combination is a configuration", where="--param", value=refused[0].problem)
    return jobs, refused


def window(tape: MarketTape, first: date, last: date) -> MarketTape:
    """Return a tape's sessions between two days, both included."""
    sessions = tuple(session for session in tape.sessions if first <= session.day <= last)
    quotes, bars = tape.quotes, tape.bars
    if isinstance(quotes, LazyQuotes):
        whole = quotes
        quotes = LazyQuotes(sessions, lambda session: whole.between(session.open_ns, session.close_ns))
    else:
        quotes = quotes.between(sessions[0].open_ns, sessions[-1].close_ns)
    if isinstance(bars, LazyBars):
        bars = replace(bars, sessions=sessions)
    elif bars is not None:
        bars = bars.between(sessions[0].open_ns, sessions[-1].close_ns)
    return replace(tape, sessions=sessions, quotes=quotes, bars=bars)


def walk_forward(
    jobs: Sequence[Job],
    market: PreparedMarket,
    plan: FoldPlan,
    *,
    measure: Measure = Measure.SHARPE,
    workers: int = 1,
    folder: SweepFolder | None = None,
    earlier_trials: int = 0,
    refused: Sequence[SweepRow] = (),
    report: Progress = lambda _done, _total, _label: None,
) -> WalkForwardResult:
    """Choose settings fold by fold and test each choice on the sessions after it.

    Parameters
    ----------
    jobs
        Backtests of the combinations.
    market
        Its sessions are divided.
    plan
        Lengths of the folds.
    measure
        What a choice maximises in sample; of equals the first combination is chosen.
    workers
        Processes for the backtests of the combinations.
    folder
        Keeps their rows: a row that is there is not run again.
    earlier_trials
        Configurations that were tried before, beside these: the deflated Sharpe ratio counts them.
    refused
        Rows of combinations that are no configuration.
    report
        Called as backtests end.

    Raises
    ------
    ArgumentError
        When the sessions do not suffice.
    ScalpdeskError
        When no combination has a result, or a test fails.
    """
    folds = plan.divide([session.day for session in market.tape.sessions])
    rows = _run_combinations(jobs, market, workers, folder, len(folds), report)
    unique = {job.config.config_hash: job for job in jobs}
    sound = [(job, rows[key]) for key, job in unique.items() if rows[key].problem is None]
    if not sound:
        raise ScalpdeskError(
            "no combination has a result", where="--param", value=next(iter(rows.values())).problem
        )
    a_year = clock_named(market.tape.variance_clock).days_per_year
    results, daily = list[FoldResult](), dict[str, Decimal]()
    insides = list[Decimal]()
    for place, fold in enumerate(folds):
        trained = [_amounts(row.daily, fold.train) for _, row in sound]
        at = int(np.argmax([_value(amounts, measure) for amounts in trained]))
        job = sound[at][0]
        ended = run_job(job, PreparedMarket(window(market.tape, fold.test[0], fold.test[-1])))
        report(len(rows) + place + 1, len(rows) + len(folds), "backtests")
        if ended.problem is not None:
            raise ScalpdeskError(
                f"the test of fold {place + 1} failed: {ended.problem}",
                where=f"{fold.test[0]} to {fold.test[-1]}",
                value=settings_text(job.settings),
            )
        tested = _amounts(ended.daily, fold.test)
        daily |= dict(zip((day.isoformat() for day in fold.test), tested, strict=True))
        insides += trained[at]
        results.append(
            FoldResult(
                train_first=fold.train[0],
                train_last=fold.train[-1],
                train_sessions=len(fold.train),
                test_first=fold.test[0],
                test_last=fold.test[-1],
                settings=dict(job.settings),
                in_sample=_pnl_of(trained[at], a_year),
                out_of_sample=_pnl_of(tested, a_year),
                rank=_rank([_value(_amounts(row.daily, fold.test), measure) for _, row in sound], at),
            )
        )
    outside, inside = _pnl_of(list(daily.values()), a_year), _pnl_of(insides, a_year)
    interval, error = _sharpe_interval(daily.values(), a_year)
    shape = sample_shape([float(amount) for amount in daily.values()])
    known = (*(rows[key] for key in unique), *refused)
    made = WalkForwardReport(
        strategy=jobs[0].config.strategy or "",
        data=market.tape.name,
        measure=measure,
        anchored=plan.anchored,
        purge=plan.purge,
        embargo=plan.embargo,
        combinations=len(sound),
        folds=tuple(results),
        daily={day: str(amount) for day, amount in daily.items()},
        in_sample=inside,
        out_of_sample=outside,
        sharpe_low=None if interval is None else interval.low,
        sharpe_high=None if interval is None else interval.high,
        sharpe_error=error,
        probabilistic_sharpe=None if shape is None else shape.probability_above(0.0),
        degradation=1.0 - outside.per_session / inside.per_session if inside.per_session > 0.0 else None,
        overfitting=judge_trials(
            [row.daily for _, row in sound],
            [row.settings for _, row in sound],
            earlier_trials=earlier_trials,
            sessions_per_year=a_year,
            measure=measure,
        ),
        problems={settings_text(row.settings): row.problem for row in known if row.problem is not None},
    )
    return WalkForwardResult(made, known)


def _run_combinations(
    jobs: Sequence[Job],
    market: PreparedMarket,
    workers: int,
    folder: SweepFolder | None,
    tests: int,
    report: Progress,
) -> dict[str, SweepRow]:
    """Return the row of each configuration; a row that is in the folder with its P&L by session is kept."""
    wanted = {job.config.config_hash: job for job in jobs}
    kept = {} if folder is None else folder.rows()
    done = {key: kept[key] for key in wanted if key in kept and kept[key].daily}
    report(len(done), len(wanted) + tests, "backtests")
    waiting = [job for key, job in wanted.items() if key not in done]
    for row in run_local(waiting, market, min(workers, max(len(waiting), 1))):
        if folder is not None:
            folder.add(row)
        done[row.config_hash] = row
        report(len(done), len(wanted) + tests, "backtests")
    return done


def _amounts(daily: Mapping[str, str], days: Sequence[date]) -> list[Decimal]:
    return [Decimal(daily[day.isoformat()]) for day in days]


def _floats(amounts: Sequence[Decimal]) -> Floats:
    return np.array([float(amount) for amount in amounts])


def _value(amounts: Sequence[Decimal], measure: Measure) -> float:
    if measure is Measure.PNL:
        return float(sum(amounts))
    shape = sample_shape(_floats(amounts))
    return 0.0 if shape is None else shape.sharpe


def _rank(values: Sequence[float], at: int) -> float:
    """Return the place of a value among all, equal values in the middle of theirs; 1 for the only value."""
    if len(values) == 1:
        return 1.0
    below = sum(value < values[at] for value in values)
    equal = sum(value == values[at] for value in values) - 1
    return (below + equal / 2.0) / (len(values) - 1)


def _pnl_of(amounts: Sequence[Decimal], a_year: float) -> SpanPnl:
    shape, total = sample_shape(_floats(amounts)), sum(amounts, Decimal(0))
    return SpanPnl(
        sessions=len(amounts),
        total=str(round(total, 2)),
        per_session=float(total) / len(amounts),
        sharpe_annual=None if shape is None else shape.sharpe * math.sqrt(a_year),
    )


def _sharpe_interval(amounts: Any, a_year: float) -> tuple[Interval | None, float | None]:
    """Return the bootstrap interval of the annual Sharpe ratio, and its standard error."""
    row = _floats(list(amounts))
    if len(row) < 3 or not varies(row):
        return None, None

    def annual(sample: Floats) -> float:
        found = sample_shape(sample)
        return math.nan if found is None else found.sharpe * math.sqrt(a_year)

    return bootstrap_interval(row, annual), sharpe_ratio(row, a_year).error
