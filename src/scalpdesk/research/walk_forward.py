"""Walk-forward test: settings are chosen on past sessions and judged on the sessions that follow.

For each fold every combination of settings trades the fold's past sessions in a backtest of its own; the best
then trades the test sessions in another. Each begins flat and ends valued at the marks. The test sessions of
all folds, one after the other, are the out-of-sample result. A backtest of each combination over all sessions
shows how much of its best is luck.

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
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np

from scalpdesk.backtesting.simulate import PreparedMarket
from scalpdesk.core.errors import ScalpdeskError
from scalpdesk.core.figures import html_table, new_figure, show_clock
from scalpdesk.core.frames import Framed
from scalpdesk.core.units import rounded_text
from scalpdesk.marketdata.tape import LazyBars, LazyQuotes, MarketTape
from scalpdesk.report.statistics import (
    Floats,
    Interval,
    bootstrap_interval,
    carries_ratio,
    sessions_traded,
    sharpe_ratio,
)
from scalpdesk.report.summary import why_no_trade
from scalpdesk.research.folds import Fold, FoldPlan
from scalpdesk.research.overfitting import Measure, OverfittingReport, judge_rows, sample_shape
from scalpdesk.research.sweep import (
    Job,
    JobMaker,
    Loader,
    Parameter,
    SweepFolder,
    SweepRow,
    combinations,
    run_job,
)
from scalpdesk.research.sweep_plan import Report, SweepPlan, run_plan
from scalpdesk.volatility.variance_time import clock_named


class SpanPnl(msgspec.Struct, frozen=True, kw_only=True):
    """P&L over some sessions, in the account's currency."""

    sessions: int
    traded: int
    """Sessions with a P&L."""
    total: str
    per_session: float
    sharpe_annual: float | None
    """For uncorrelated sessions; None where fewer than five traded, or their P&L does not vary."""


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
    """Place of the choice in the test sessions of the backtests over all sessions: 0 last, 1 first."""


class WalkForwardReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a walk-forward test, in JSON types."""

    strategy: str
    data: str
    currency: str
    """That of the account."""
    measure: Measure
    anchored: bool
    purge: int
    embargo: int
    one_run: bool
    """Whether choices read the backtests over all sessions; otherwise each has backtests of its own."""
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
class WalkForwardResult(Framed):
    """A finished walk-forward test."""

    report: WalkForwardReport
    rows: tuple[SweepRow, ...]
    """Backtest of each combination over all sessions, the best first."""
    folds: tuple[Fold, ...]
    """Sessions of each choice and its test."""

    @property
    def why_no_trade(self) -> str | None:
        """Why no combination traded, in words; None where one did."""
        return why_no_trade(row.verdict for row in self.rows if row.refusal is None)

    def _frame(self) -> Any:
        """Return a frame by test session: ``pnl``, its sum ``total`` so far, ``fold``, settings."""
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
        """
        report, frame = self.report, self.to_frame()
        figure = new_figure(9, 6)
        upper, lower = figure.subplots(2, 1, height_ratios=(2, 1))
        upper.plot(frame.index, frame["total"], color="black", marker=".")
        upper.axhline(0.0, color="grey", linewidth=0.5)
        for fold in report.folds[1:]:
            upper.axvline(np.datetime64(fold.test_first), color="grey", linewidth=0.5, linestyle=":")
        upper.set_title(f"{report.strategy}: P&L out of sample {report.out_of_sample.total}")
        upper.set_ylabel("P&L so far")
        show_clock(upper, None)
        places = np.arange(len(report.folds))
        for shift, label, parts in (
            (-0.2, "in sample", [fold.in_sample for fold in report.folds]),
            (0.2, "out of sample", [fold.out_of_sample for fold in report.folds]),
        ):
            lower.bar(places + shift, [part.per_session for part in parts], 0.4, label=label)
        lower.axhline(0.0, color="grey", linewidth=0.5)
        lower.set_xticks(places, [f"fold {place + 1}" for place in places])
        lower.set_ylabel("P&L per session")
        lower.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small")
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
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in verdict_lines(report))
        table = html_table(f"{report.strategy}, walk-forward on {report.data}", names, rows, texts=3)
        return f"{table}<ul>{lines}</ul>"


def settings_text(settings: Mapping[str, str]) -> str:
    """Return a combination as ``KEY=VALUE, KEY=VALUE``."""
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def verdict_lines(report: WalkForwardReport) -> tuple[str, ...]:
    """Return the verdict in sentences."""
    outside, inside = report.out_of_sample, report.in_sample
    each, before = (rounded_text(part.per_session, 2, "") for part in (outside, inside))
    found = f"out of sample {outside.total} over {outside.sessions} sessions, {each} a session"
    lines = [f"{found}; in sample {before}"]
    if outside.traded < outside.sessions:
        lines.append(f"{outside.traded} of {outside.sessions} sessions out of sample had a P&L")
    if outside.sharpe_annual is not None:
        interval = (
            ""
            if report.sharpe_low is None
            else f", 95 % interval {report.sharpe_low:.2f} to {report.sharpe_high:.2f}"
        )
        lines.append(f"Sharpe ratio out of sample {outside.sharpe_annual:.2f} a year{interval}")
    if report.degradation is not None:
        lines.append(f"P&L per session out of sample: {1 - report.degradation:.0%} of that in sample")
    return (*lines, *report.overfitting.lines())


def window(tape: MarketTape, first: date, last: date) -> MarketTape:
    """Return a tape's sessions between two days, both included; pickled as the tape is."""
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
    part = replace(tape, sessions=sessions, quotes=quotes, bars=bars, loaded=None, load_again=None)
    if tape.origin is None or tape.load_again is None:
        return part
    origin = replace(tape.origin, start=sessions[0].day, end=sessions[-1].day)
    again = partial(_window_again, tape.load_again, first, last)
    return replace(part, loaded=(origin, quotes, sessions), load_again=again)


def _window_again(load: Callable[[], MarketTape], first: date, last: date) -> MarketTape:
    return window(load(), first, last)


def walk_forward(
    sweep: SweepPlan,
    load: Loader,
    market: PreparedMarket,
    plan: FoldPlan,
    *,
    seed: int | None = None,
    folder_of: Callable[[PreparedMarket], SweepFolder] | None = None,
    preparing: Report = lambda _done, _of_all, _label: None,
    report: Report = lambda _done, _of_all, _label: None,
) -> WalkForwardResult:
    """Choose settings fold by fold and test each choice on the sessions after it.

    Parameters
    ----------
    sweep
        Combinations and engine of the backtests.
    load
        Settings, as of :func:`~scalpdesk.research.sweep_plan.run_plan`.
    market
        Its sessions are divided.
    plan
        Lengths of the folds, and how each choice is made.
    seed
        Path of a reconstructed market.
    folder_of
        Returns the folder of the rows over a market: a row that is there is not run again.
    preparing, report
        Follow the preparation of the markets and the backtests.

    Raises
    ------
    ArgumentError
        When the sessions do not suffice.
    ScalpdeskError
        When no combination has a result, or a test fails.
    """
    folds = plan.divide([session.day for session in market.tape.sessions])
    runs = _Runs(
        sweep, load, market, plan, len(folds),
        seed=seed, folder_of=folder_of, preparing=preparing, report=report,
    )  # fmt: skip
    whole = runs.swept(market)
    if not whole:
        raise ScalpdeskError("no combination has a result", where="--param", value=runs.rows[0].problem)
    tested = [runs.choose_and_test(place, fold, whole) for place, fold in enumerate(folds, 1)]
    return WalkForwardResult(_report_of(runs, tested, whole), tuple(runs.rows), folds)


class _Tested(NamedTuple):
    """A fold with what its choice earned by session, before and after, and what was run."""

    result: FoldResult
    inside: list[Decimal]
    outside: dict[str, Decimal]
    job: Job


class _Runs:
    """The backtests of a walk-forward test, counted as they end.

    Attributes
    ----------
    rows
        Of the sweep over the whole market, those without a result too.
    """

    def __init__(
        self,
        sweep: SweepPlan,
        load: Loader,
        market: PreparedMarket,
        plan: FoldPlan,
        fold_count: int,
        *,
        seed: int | None,
        folder_of: Callable[[PreparedMarket], SweepFolder] | None,
        preparing: Report,
        report: Report,
    ) -> None:
        self._sweep, self._load, self._seed = sweep, load, seed
        self._folder_of, self._preparing, self._report = folder_of, preparing, report
        self.market, self.plan, self.measure = market, plan, Measure(plan.metric)
        self.a_year = clock_named(market.tape.variance_clock).days_per_year
        self.rows = list[SweepRow]()
        self._values = combinations([axis for axis in sweep.axes if isinstance(axis, Parameter)])
        sweeps = 1 if plan.one_run else 1 + fold_count
        self._done, self._of_all = 0, sweeps * len(self._values) + fold_count
        self._maker = JobMaker(load, seed, market)

    def swept(self, over: PreparedMarket) -> dict[str, SweepRow]:
        """Return the row of each configuration with a result, in the order of the combinations."""
        before = self._done
        found = run_plan(
            self._sweep,
            self._load,
            over,
            seed=self._seed,
            folder=None if self._folder_of is None else self._folder_of(over),
            preparing=self._preparing,
            report=lambda ended, _of_these, label: self._report(before + ended, self._of_all, label),
        )
        self._done += len(self._values)
        self.rows.extend(found.rows if over is self.market else ())
        by_settings = {settings_text(row.settings): row for row in found.rows if row.refusal is None}
        in_order = [by_settings[text] for text in map(settings_text, self._values) if text in by_settings]
        return {row.config_hash: row for row in in_order}

    def choose_and_test(self, place: int, fold: Fold, whole: Mapping[str, SweepRow]) -> _Tested:
        """Choose on the past sessions of a fold, and test the choice on those that follow."""
        trained = self._trained(place, fold, whole)
        amounts = {key: _amounts(row.daily, fold.train) for key, row in trained.items()}
        best = max(amounts, key=lambda key: _value(amounts[key], self.measure))
        job = self._maker.job(trained[best].settings)
        assert isinstance(job, Job)
        outside = _amounts(self._test(place, fold, job).daily, fold.test)
        others = [_value(_amounts(row.daily, fold.test), self.measure) for row in whole.values()]
        result = FoldResult(
            train_first=fold.train[0],
            train_last=fold.train[-1],
            train_sessions=len(fold.train),
            test_first=fold.test[0],
            test_last=fold.test[-1],
            settings=dict(job.settings),
            in_sample=_pnl_of(amounts[best], self.a_year),
            out_of_sample=_pnl_of(outside, self.a_year),
            rank=_rank(others, list(whole).index(best)),
        )
        by_day = dict(zip((day.isoformat() for day in fold.test), outside, strict=True))
        return _Tested(result, amounts[best], by_day, job)

    def _trained(self, place: int, fold: Fold, whole: Mapping[str, SweepRow]) -> Mapping[str, SweepRow]:
        """Return the rows that a choice is made of: of its sessions alone, or of one run over all."""
        if self.plan.one_run:
            return whole
        own = self.swept(self._window(fold.train))
        trained = {key: row for key, row in own.items() if key in whole}
        if not trained:
            raise ScalpdeskError(
                f"no combination has a result in the sessions of choice {place}",
                where=f"{fold.train[0]} to {fold.train[-1]}",
            )
        return trained

    def _test(self, place: int, fold: Fold, job: Job) -> SweepRow:
        ended = run_job(job, self._window(fold.test))
        self._done += 1
        self._report(self._done, self._of_all, "backtests")
        if ended.refusal is not None:
            raise ScalpdeskError(
                f"the test of fold {place} failed: {ended.problem}",
                where=f"{fold.test[0]} to {fold.test[-1]}",
                value=settings_text(job.settings),
            )
        return ended

    def _window(self, days: Sequence[date]) -> PreparedMarket:
        return PreparedMarket(window(self.market.tape, days[0], days[-1]))


def _report_of(runs: _Runs, tested: Sequence[_Tested], whole: Mapping[str, SweepRow]) -> WalkForwardReport:
    plan, a_year, job = runs.plan, runs.a_year, tested[-1].job
    daily = {day: amount for fold in tested for day, amount in fold.outside.items()}
    outside = _pnl_of(list(daily.values()), a_year)
    inside = _pnl_of([amount for fold in tested for amount in fold.inside], a_year)
    interval, error = _sharpe_interval(list(daily.values()), a_year)
    shape = sample_shape(_floats(list(daily.values())))
    return WalkForwardReport(
        strategy=str(job.config.strategy),
        data=runs.market.tape.name,
        currency=job.config.config.desk.currency,
        measure=runs.measure,
        anchored=plan.anchored,
        purge=plan.purge,
        embargo=plan.embargo,
        one_run=plan.one_run,
        combinations=len(whole),
        folds=tuple(fold.result for fold in tested),
        daily={day: str(amount) for day, amount in daily.items()},
        in_sample=inside,
        out_of_sample=outside,
        sharpe_low=None if interval is None else interval.low,
        sharpe_high=None if interval is None else interval.high,
        sharpe_error=error,
        probabilistic_sharpe=None if shape is None else shape.probability_above(0.0),
        degradation=1.0 - outside.per_session / inside.per_session if inside.per_session > 0.0 else None,
        overfitting=judge_rows(
            whole.values(),
            earlier_trials=plan.earlier_trials,
            sessions_per_year=a_year,
            measure=runs.measure,
        ),
        problems={
            settings_text(row.settings): row.refusal.text for row in runs.rows if row.refusal is not None
        },
    )


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
    row, total = _floats(amounts), sum(amounts, Decimal(0))
    shape = sample_shape(row) if carries_ratio(row) else None
    return SpanPnl(
        sessions=len(amounts),
        traded=sessions_traded(row),
        total=str(round(total, 2)),
        per_session=float(total) / len(amounts),
        sharpe_annual=None if shape is None else shape.sharpe * math.sqrt(a_year),
    )


def _sharpe_interval(amounts: Sequence[Decimal], a_year: float) -> tuple[Interval | None, float | None]:
    """Return the bootstrap interval of the annual Sharpe ratio, and its standard error."""
    row = _floats(amounts)
    if not carries_ratio(row):
        return None, None

    def annual(sample: Floats) -> float:
        found = sample_shape(sample)
        return math.nan if found is None else found.sharpe * math.sqrt(a_year)

    return bootstrap_interval(row, annual), sharpe_ratio(row, a_year).error
