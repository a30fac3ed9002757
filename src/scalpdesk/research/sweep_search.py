"""Search among the settings of a strategy: Optuna proposes values, backtests judge them by their P&L.

Values are proposed in generations of a fixed size, and the results of a generation are reported in the order
of proposal. So a search with the same seed takes the same way whatever the engine, the number of workers and
the order in which they end, and one that was interrupted takes it again from its rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import accumulate
from statistics import median
from typing import Any

import msgspec

from scalpdesk.core.frames import required
from scalpdesk.research.sweep import Job, JobMaker, Parameter, Range, RowKey, SweepRow
from scalpdesk.research.sweep_engines import SweepEngine

GENERATION = 8
"""Backtests proposed at once."""
FEWEST_WHOLE = 5
"""Finished backtests before one is stopped."""
_UNSTOPPED_FRACTION = 0.25
"""Fraction of the sessions before which no backtest is stopped."""


class Search:
    """A search by Optuna's tree-structured Parzen estimator.

    A backtest stops after a session at whose end its P&L is below the median of the finished backtests.

    ``axes``: What may vary.
    ``number``: Backtests.
    ``seed``: Of the proposals.
    ``stops``: Whether a backtest below the median stops early.
    Raises ConfigError when Optuna is not installed.

    References
    ----------
    Bergstra, J., Bardenet, R., Bengio, Y. and Kégl, B. (2011), "Algorithms for Hyper-Parameter Optimization",
    NeurIPS 24. Golovin, D. et al. (2017), "Google Vizier", KDD: the median rule.
    """

    def __init__(
        self, axes: Sequence[Parameter | Range], number: int, *, seed: int = 1, stops: bool = True
    ) -> None:
        self._optuna = required(
            "optuna", "scalpdesk[search]", "a search needs a package that is not installed"
        )
        self._axes, self._number, self._seed, self._stops = axes, number, seed, stops

    def run(
        self,
        maker: JobMaker,
        engine: SweepEngine,
        done: Mapping[RowKey, SweepRow],
        keep: Callable[[SweepRow], None],
    ) -> Iterator[SweepRow]:
        """Yield the row of each proposal in order; the same values may come again.

        ``done`` are rows of an earlier run of the same search or of other sweeps of the same market; each
        new row goes to ``keep`` as its backtest ends.
        """
        optuna = self._optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=self._seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        known, whole = dict(done), list[SweepRow]()
        for first in range(0, self._number, GENERATION):
            trials = [study.ask() for _ in range(min(GENERATION, self._number - first))]
            made = [maker.job(self._values(trial)) for trial in trials]
            floors = self._floors(whole)
            name = self._name(made)
            jobs = {}
            for each in made:
                if isinstance(each, Job) and not _serves(known.get(each.key), name):
                    jobs[each.key] = Job(each.settings, each.config, each.market, floors, name)
            failed: dict[RowKey, SweepRow] = {}
            for row in engine.run(jobs.values()):
                keep(row)
                (failed if row.refusal is not None else known)[row.key] = row
            for trial, each in zip(trials, made, strict=True):
                row = each if isinstance(each, SweepRow) else failed.get(each.key) or known[each.key]
                judged = _as_stopped(row, floors)
                if not (judged.pruned or row.refusal or row in whole):
                    whole.append(row)
                _tell(optuna, study, trial, judged)
                yield row

    def _values(self, trial: Any) -> dict[str, str]:
        found = {}
        for axis in self._axes:
            if isinstance(axis, Parameter):
                found[axis.key] = _listed(trial, axis)
            elif axis.is_whole:
                number = trial.suggest_int(axis.key, int(axis.low), int(axis.high), log=axis.is_log)
                found[axis.key] = str(number)
            else:
                drawn = trial.suggest_float(axis.key, axis.low, axis.high, log=axis.is_log)
                found[axis.key] = f"{drawn:.6g}"
        return found

    def _floors(self, whole: Sequence[SweepRow]) -> tuple[float | None, ...]:
        """Return the P&L by session below which a backtest stops."""
        if not self._stops or len(whole) < FEWEST_WHOLE:
            return ()
        paths = [list(accumulate(map(float, row.daily.values()))) for row in whole]
        sessions = len(paths[0])
        free = max(1, int(_UNSTOPPED_FRACTION * sessions))
        medians = [median(at) for at in zip(*paths, strict=True)]
        return tuple(None if place < free else medians[place] for place in range(sessions - 1))

    def _name(self, made: Sequence[Job | SweepRow]) -> str:
        """Return the digest of the search: a stopped backtest serves no other."""
        market = next((each.market for each in made if isinstance(each, Job)), "")
        decided_by = [[str(axis) for axis in self._axes], self._seed, self._stops, market]
        return sha256(msgspec.json.encode(decided_by)).hexdigest()[:16]


def _listed(trial: Any, axis: Parameter) -> str:
    """Draw one of the listed values; numbers in order are near to one another."""
    try:
        numbers = [float(value) for value in axis.values]
    except ValueError:
        chosen: str = trial.suggest_categorical(axis.key, list(axis.values))
        return chosen
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    if len(order) == 1:
        return axis.values[0]
    place: int = trial.suggest_int(axis.key, 0, len(order) - 1)
    return axis.values[order[place]]


def _serves(row: SweepRow | None, search: str) -> bool:
    return row is not None and (not row.pruned or row.search == search)


def _as_stopped(row: SweepRow, floors: Sequence[float | None]) -> SweepRow:
    """Return what a search sees of a row that another sweep has run whole."""
    days = list(row.daily.items())
    for place, (total, floor) in enumerate(
        zip(accumulate(float(amount) for _, amount in days), floors, strict=False)
    ):
        if floor is not None and total < floor:
            return msgspec.structs.replace(row, pruned=True, daily=dict(days[: place + 1]))
    return row


def _tell(optuna: Any, study: Any, trial: Any, row: SweepRow) -> None:
    states = optuna.trial.TrialState
    if row.refusal is not None:
        study.tell(trial, state=states.FAIL)
        return
    for place, total in enumerate(accumulate(map(float, row.daily.values()))):
        trial.report(total, place)
    if row.pruned:
        study.tell(trial, state=states.PRUNED)
    else:
        study.tell(trial, row.total)
