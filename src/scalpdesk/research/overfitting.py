"""Overfitting: how much of a best backtest is the luck of many trials.

Amounts are P&L per session. Sharpe ratios are per session unless a name says annual; their deviation is that
of a sample (n - 1). Kurtosis is 3 for a normal distribution.

References
----------
Bailey, D. and López de Prado, M. (2012), "The Sharpe Ratio Efficient Frontier", Journal of Risk 15(2):
probabilistic Sharpe ratio, minimum track record length.
Bailey, D. and López de Prado, M. (2014), "The Deflated Sharpe Ratio", Journal of Portfolio Management 40(5).
Bailey, D., Borwein, J., López de Prado, M. and Zhu, Q. (2014), "Pseudo-Mathematics and Financial
Charlatanism", Notices of the AMS 61(5): minimum backtest length.
Bailey, D., Borwein, J., López de Prado, M. and Zhu, Q. (2015), "The Probability of Backtest Overfitting",
Journal of Computational Finance 20(4): combinatorially symmetric cross-validation.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import combinations
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import SESSIONS_PER_YEAR, count_text
from scalpdesk.report.statistics import Floats

_MOST_BLOCKS = 16
"""Blocks of sessions that cross-validation divides into halves: 12,870 ways."""
_LEAST_SESSIONS = 8
"""Sessions for cross-validation: four blocks of two."""
_CHUNK_SPLITS = 1_000
_CONFIDENCE = 0.95


class Measure(StrEnum):
    """Figure that a choice among backtests maximises."""

    SHARPE = "sharpe"
    PNL = "pnl"


class _JudgedRow(Protocol):
    """Row of a sweep, as far as the judgement reads it."""

    @property
    def config_hash(self) -> str:
        """Hash of the configuration."""
        ...

    @property
    def problem(self) -> str | None:
        """Reason of a failure."""
        ...

    @property
    def pruned(self) -> bool:
        """Whether a search stopped it."""
        ...

    @property
    def daily(self) -> Mapping[str, str]:
        """P&L by session day."""
        ...

    @property
    def settings(self) -> Mapping[str, str]:
        """Values of the parameters."""
        ...


class SampleShape(msgspec.Struct, frozen=True, kw_only=True):
    """Sharpe ratio per session of a sample, and the moments that its error depends on."""

    sessions: int
    sharpe: float
    skew: float
    kurtosis: float
    """3 for a normal distribution."""

    def probability_above(self, benchmark: float) -> float:
        """Return the probability that the true Sharpe ratio is above a benchmark, per session."""
        return probabilistic_sharpe(
            self.sharpe, self.sessions, benchmark=benchmark, skew=self.skew, kurtosis=self.kurtosis
        )


def sample_shape(amounts: Sequence[float] | Floats) -> SampleShape | None:
    """Return Sharpe ratio, skew and kurtosis of amounts per session; None where they do not vary."""
    row = np.asarray(amounts, dtype=np.float64)
    if len(row) < 2 or not row.max() > row.min():
        return None
    centred = row - row.mean()
    variance = float((centred**2).mean())
    return SampleShape(
        sessions=len(row),
        sharpe=float(row.mean() / row.std(ddof=1)),
        skew=float((centred**3).mean() / variance**1.5),
        kurtosis=float((centred**4).mean() / variance**2),
    )


def _error_factor(sharpe: float, skew: float, kurtosis: float) -> float:
    """Return the variance of a Sharpe ratio times n - 1 (2012, equation 8)."""
    factor = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    if factor < -1e-12:
        raise ArgumentError(
            "no distribution has this skew and kurtosis",
            where="kurtosis",
            value=kurtosis,
            fix=f"a kurtosis is at least 1 + skew², here {1.0 + skew**2:g}; 3 is the normal distribution",
        )
    return max(factor, 0.0)


def probabilistic_sharpe(
    sharpe: float, sessions: int, *, benchmark: float = 0.0, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Return the probability that the true Sharpe ratio is above a benchmark.

    ``Φ((SR - SR*) √(n - 1) / √(1 - skew SR + (kurtosis - 1) SR² / 4))``, Bailey and López de Prado (2012).

    ``sharpe``: Observed, per session.
    ``sessions``: Observations, two or more.
    ``benchmark``: Per session.
    ``skew``, ``kurtosis``: Moments of the amounts per session.

    Raises ArgumentError for fewer than two sessions, or moments that no distribution has.
    """
    if sessions < 2:
        raise ArgumentError(
            "a Sharpe ratio takes two sessions or more",
            where="sessions",
            value=sessions,
            fix="give 2 or more",
        )
    factor, excess = _error_factor(sharpe, skew, kurtosis), sharpe - benchmark
    if factor == 0.0:  # the ratio is without error
        return 0.5 + 0.5 * float(np.sign(excess))
    return float(ndtr(excess * math.sqrt(sessions - 1) / math.sqrt(factor)))


def expected_maximum(trials: int) -> float:
    """Return the expected maximum of independent standard normal numbers, in standard deviations.

    ``(1 - γ) Φ⁻¹(1 - 1/N) + γ Φ⁻¹(1 - 1/(N e))`` with Euler's constant γ, good from ten trials on; 0 for one.
    Raises ArgumentError for fewer than one trial.
    """
    if trials < 1:
        raise ArgumentError(
            "a choice has one trial or more", where="trials", value=trials, fix="give 1 or more"
        )
    if trials == 1:
        return 0.0
    quantiles = ndtri([1.0 - 1.0 / trials, 1.0 - 1.0 / (trials * math.e)])
    return float((1.0 - np.euler_gamma) * quantiles[0] + np.euler_gamma * quantiles[1])


def deflated_sharpe(
    sharpe: float, sessions: int, *, trials: int, variance: float, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Return the probability that the best Sharpe ratio of several trials is more than their luck.

    The probabilistic Sharpe ratio against the expected maximum of as many trials without skill
    (Bailey and López de Prado 2014).

    ``sharpe``, ``sessions``, ``skew``, ``kurtosis``: Those of the best trial, as of
    :func:`probabilistic_sharpe`.
    ``trials``: Number of trials behind the choice.
    ``variance``: Variance of the trials' Sharpe ratios, per session.

    A ratio of 2.5 a year over five years of 250 sessions, the variance of the annual ratios 1/2:

    >>> ratio, variance = 2.5 / 250**0.5, 0.5 / 250
    >>> round(deflated_sharpe(ratio, 1250, trials=100, variance=variance, skew=-3, kurtosis=10), 4)
    0.9004
    """
    benchmark = math.sqrt(variance) * expected_maximum(trials)
    return probabilistic_sharpe(sharpe, sessions, benchmark=benchmark, skew=skew, kurtosis=kurtosis)


def minimum_track_record(
    sharpe: float,
    *,
    benchmark: float = 0.0,
    skew: float = 0.0,
    kurtosis: float = 3.0,
) -> float | None:
    """Return the sessions after which a Sharpe ratio is above a benchmark with 95 % confidence.

    ``1 + (1 - skew SR + (kurtosis - 1) SR² / 4) (Φ⁻¹(confidence) / (SR - SR*))²``, Bailey and López de Prado
    (2012). None where the ratio is not above the benchmark: no record is long enough.
    """
    if sharpe <= benchmark:
        return None
    return 1.0 + _error_factor(sharpe, skew, kurtosis) * float(ndtri(_CONFIDENCE) / (sharpe - benchmark)) ** 2


def minimum_backtest_years(trials: int) -> float:
    """Return the years of data below which the best of several trials without skill has a Sharpe ratio of 1.

    ``expected_maximum(N)²``, Bailey, Borwein, López de Prado and Zhu (2014).
    """
    return expected_maximum(trials) ** 2


class CrossValidation(msgspec.Struct, frozen=True, kw_only=True):
    """A choice among trials, tested on every half of the sessions (CSCV)."""

    pbo: float
    """Probability of backtest overfitting: part of the splits in which the best of one half is below the
    median of the other; a split at the median counts half.
    """
    splits: int
    blocks: int
    probability_of_loss: float
    """Part of the splits in which the best of one half lost in the other."""
    slope: float | None
    """Change of the measure in the other half for each unit of it in the half of the choice (regression over
    the splits); None where it does not vary.
    """


def cross_validate(
    amounts: npt.ArrayLike, *, blocks: int | None = None, measure: Measure = Measure.SHARPE
) -> CrossValidation:
    """Return the probability of backtest overfitting by combinatorially symmetric cross-validation.

    The sessions are divided into blocks. For each way to take half of the blocks the best trial of that half
    is ranked in the other half.

    ``amounts``: P&L: a row for each session in order, a column for each trial. A trial without variation has
    the Sharpe ratio 0.
    ``blocks``: Even number of blocks; None takes the most up to 16 of two sessions or more.
    ``measure``: Figure that the best trial has most of.

    Raises ArgumentError with fewer than two trials or eight sessions, or when the blocks do not fit.
    """
    table = np.asarray(amounts, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2 or len(table) < _LEAST_SESSIONS or not np.isfinite(table).all():
        raise ArgumentError(
            f"cross-validation takes {_LEAST_SESSIONS} sessions and 2 trials or more, all finite",
            where="amounts",
            value=f"shape {table.shape}",
            fix="give a row for each session and a column for each trial",
        )
    sessions, trials = table.shape
    most = min(_MOST_BLOCKS, 2 * (sessions // 4))
    count = most if blocks is None else blocks
    if count % 2 or not 2 <= count <= sessions // 2:
        raise ArgumentError(
            "the number of blocks is even, each of two sessions or more",
            where="blocks",
            value=blocks,
            fix=f"give 2 to {2 * (sessions // 4)}, or leave it out for {most}",
        )
    middle = table.mean(axis=0)
    starts = np.arange(count) * sessions // count
    centred = table - middle  # so that squares lose no digits
    lengths = np.diff([*starts.tolist(), sessions]).astype(np.float64)
    sums, squares = (np.add.reduceat(each, starts, axis=0) for each in (centred, centred**2))
    halves = np.zeros((math.comb(count, count // 2), count))
    chosen_blocks = np.array(list(combinations(range(count), count // 2)))
    np.put_along_axis(halves, chosen_blocks, 1.0, axis=1)

    def measured(taken: Floats) -> Floats:
        """Return the measure of each trial for each choice of blocks."""
        number = (taken @ lengths)[:, None]
        means: Floats = taken @ sums / number
        if measure is Measure.PNL:
            means += middle
            return means
        variances = (taken @ squares / number - means**2) * number / (number - 1.0)
        # of amounts that do not vary rounding leaves some 1e-32 of their squares
        vary = variances > 1e-24 * (middle**2 + squares.sum(axis=0) / sessions)
        ratios: Floats = np.where(vary, (means + middle) / np.sqrt(np.where(vary, variances, 1.0)), 0.0)
        return ratios

    inside, outside, below = np.empty(len(halves)), np.empty(len(halves)), 0.0
    for low in range(0, len(halves), _CHUNK_SPLITS):
        taken = halves[low : low + _CHUNK_SPLITS]
        here, there = measured(taken), measured(1.0 - taken)
        best = np.argmax(here, axis=1)[:, None]
        inside[low : low + len(taken)] = np.take_along_axis(here, best, axis=1)[:, 0]
        found = np.take_along_axis(there, best, axis=1)
        outside[low : low + len(taken)] = found[:, 0]
        # relative rank ω in (0, 1), equal trials in the middle of theirs; its logit is 0 at ω = ½
        ranks = (there < found).sum(axis=1) + 0.5 * ((there == found).sum(axis=1) + 1.0)
        relative = ranks / (trials + 1.0)
        below += float((relative < 0.5).sum()) + 0.5 * float((relative == 0.5).sum())
    varies = inside.max() > inside.min()
    return CrossValidation(
        pbo=below / len(halves),
        splits=len(halves),
        blocks=count,
        probability_of_loss=float((outside < 0.0).mean()),
        slope=float(np.polyfit(inside, outside, 1)[0]) if varies else None,
    )


class OverfittingReport(msgspec.Struct, frozen=True, kw_only=True):
    """Judgement on the best of several backtests over the same sessions.

    A figure is None where the sessions or the trials do not suffice; ``notes`` say why.
    """

    trials: int
    """Configurations behind the choice, those of earlier searches included."""
    compared: int
    """Trials whose P&L by session is known here."""
    sessions: int
    best: dict[str, str]
    """Settings of the trial with the highest Sharpe ratio."""
    sharpe_annual: float | None = None
    """Its Sharpe ratio, for uncorrelated sessions."""
    skew: float | None = None
    kurtosis: float | None = None
    luck_annual: float | None = None
    """Annual Sharpe ratio that the best of as many trials without skill is expected to have."""
    probabilistic_sharpe: float | None = None
    """Probability that the true ratio is above 0, the choice left aside."""
    deflated_sharpe: float | None = None
    """Probability that the true ratio is above 0, the choice among the trials taken into account."""
    minimum_track_sessions: float | None = None
    """Sessions after which the best's ratio would be above 0 with 95 % confidence, without the choice."""
    minimum_backtest_years: float | None = None
    """Years below which the best of as many trials without skill has an annual Sharpe ratio of 1."""
    cross_validation: CrossValidation | None = None
    notes: tuple[str, ...] = ()

    @property
    def pbo(self) -> float | None:
        """Probability of backtest overfitting."""
        return None if self.cross_validation is None else self.cross_validation.pbo

    def lines(self) -> tuple[str, ...]:
        """Return the judgement in sentences."""
        found = [f"{count_text(self.trials, 'trial')} over {count_text(self.sessions, 'session')}"]
        if self.deflated_sharpe is not None:
            settings = ", ".join(f"{key}={value}" for key, value in self.best.items())
            found.append(
                f"best Sharpe ratio {self.sharpe_annual:.2f} a year ({settings});"
                f" luck alone gives the best of {self.trials} about {self.luck_annual:.2f}"
            )
            side = "at or above" if self.deflated_sharpe >= _CONFIDENCE else "below"
            found.append(
                f"deflated Sharpe ratio {self.deflated_sharpe:.3f}: {side} {_CONFIDENCE}, the limit of luck"
            )
        if self.cross_validation is not None:
            found.append(
                f"probability of backtest overfitting {self.cross_validation.pbo:.2f} over "
                f"{self.cross_validation.splits} splits (0.5: the choice is worth nothing)"
            )
        return (*found, *self.notes)


def judge_trials(
    daily: Sequence[Mapping[str, str]],
    settings: Sequence[Mapping[str, str]],
    *,
    earlier_trials: int = 0,
    sessions_per_year: float = SESSIONS_PER_YEAR,
    measure: Measure = Measure.SHARPE,
) -> OverfittingReport:
    """Judge the best of several backtests over the same sessions.

    ``daily``: P&L by session day of each backtest; the sessions that all of them have are compared. A
    backtest without any counts as a trial.
    ``settings``: Settings of each.
    ``earlier_trials``: Configurations that were tried before, beside these.
    ``sessions_per_year``: For annual figures: 252, or 365 for a market that never closes.
    ``measure``: Figure by which cross-validation finds the best.
    """
    known = [(each, held) for each, held in zip(daily, settings, strict=True) if each]
    trials, notes = len(daily) + earlier_trials, list[str]()
    if len(known) < len(daily):
        notes.append(f"{len(daily) - len(known)} trials count without P&L by session")
    table = daily_table([each for each, _ in known])
    report = OverfittingReport(trials=trials, compared=len(known), sessions=len(table), best={})
    shapes = [sample_shape(column) for column in table.T]
    ratios = [0.0 if shape is None else shape.sharpe for shape in shapes]
    best = int(np.argmax(ratios)) if ratios else -1
    shape = shapes[best] if ratios else None
    if len(known) < 2 or len(table) < _LEAST_SESSIONS:
        notes.append(
            f"the probability of backtest overfitting takes 2 trials and {_LEAST_SESSIONS} sessions or more"
        )
    else:
        report = msgspec.structs.replace(report, cross_validation=cross_validate(table, measure=measure))
    if shape is None:
        notes.append("the Sharpe ratio takes 2 sessions or more, and P&L that varies")
        return msgspec.structs.replace(report, notes=tuple(notes))
    variance = float(np.var(ratios, ddof=1)) if len(ratios) > 1 else 0.0
    if trials > len(ratios):  # the ratios of the others are not known: at least the variance of an estimate
        variance = max(variance, 1.0 / (shape.sessions - 1))
    moments = {"skew": shape.skew, "kurtosis": shape.kurtosis}
    a_year = math.sqrt(sessions_per_year)
    return msgspec.structs.replace(
        report,
        best=dict(known[best][1]),
        sharpe_annual=shape.sharpe * a_year,
        luck_annual=math.sqrt(variance) * expected_maximum(trials) * a_year,
        probabilistic_sharpe=shape.probability_above(0.0),
        deflated_sharpe=deflated_sharpe(
            shape.sharpe, shape.sessions, trials=trials, variance=variance, **moments
        ),
        minimum_track_sessions=minimum_track_record(shape.sharpe, **moments),
        minimum_backtest_years=minimum_backtest_years(trials),
        notes=tuple(notes),
        **moments,
    )


def judge_rows(
    rows: Iterable[_JudgedRow],
    kept: Iterable[_JudgedRow] = (),
    *,
    earlier_trials: int = 0,
    sessions_per_year: float = SESSIONS_PER_YEAR,
    measure: Measure = Measure.SHARPE,
) -> OverfittingReport:
    """Judge the best row of a sweep; see :func:`judge_trials` for the other arguments.

    ``rows``: Those of the sweep. A row that failed is no trial; of a row that a search stopped no P&L is
    compared.
    ``kept``: Rows of the sweep's folder: other configurations there are earlier trials.
    """
    tried = {row.config_hash: row for row in rows if row.problem is None}
    others = {row.config_hash for row in kept if row.problem is None} - tried.keys()
    return judge_trials(
        [{} if row.pruned else row.daily for row in tried.values()],
        [row.settings for row in tried.values()],
        earlier_trials=earlier_trials + len(others),
        sessions_per_year=sessions_per_year,
        measure=measure,
    )


def daily_table(daily: Sequence[Mapping[str, str]]) -> Floats:
    """Return P&L by session: a row for each day that all have, in order, a column for each backtest."""
    days = sorted(set.intersection(*(set(each) for each in daily))) if daily else []
    return np.array([[float(each[day]) for each in daily] for day in days]).reshape(len(days), len(daily))
