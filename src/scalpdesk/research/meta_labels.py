"""Which entries of a strategy earn? A meta-model of its entries, judged out of sample.

The strategy decides when and what to buy; boosted trees say from what was known then whether the entry is
taken or left. An entry's label is the sign of its P&L after costs, its weight the size of that P&L: a
probability above one half then means an expected gain.

The entries are divided by session into folds. Each fold is judged by trees fitted to the others without the
entries whose life overlaps it (purge) and those of the sessions after it (embargo); the threshold of the
probability is chosen inside those others, by folds of the same kind.

References
----------
López de Prado, M. (2018), "Advances in Financial Machine Learning": meta-labels in chapter 3.6, weights in
4.6, purge and embargo in 7.4.
Friedman, J. H. (2001), "Greedy function approximation: a gradient boosting machine", Annals of Statistics 29.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from importlib import import_module
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.frames import required
from scalpdesk.entry.meta_model import LEAF, BoostedTree, MetaModel, MetaVerdict, entry_features
from scalpdesk.report.statistics import bootstrap_interval, error_of_mean, varies
from scalpdesk.report.trades import is_entry
from scalpdesk.research.signal_hypotheses import utc_ns
from scalpdesk.research.significance import FEWEST_SESSIONS, Finding, Floats, corrected
from scalpdesk.research.stored_run import StoredRun

_FEWEST_ENTRIES = 100
"""With fewer entries a fold trains on too few."""
_KNOWN_SHARE = 0.9
"""A feature is used where so many entries have it; entries without it are left out."""
_INNER_FOLDS = 3
_THRESHOLDS = (0.0, 0.40, 0.45, 0.50, 0.55, 0.60)
"""Probabilities from which an entry may be taken; 0 takes every entry."""
_SETTINGS: dict[str, Any] = {
    "n_estimators": 60,
    "learning_rate": 0.05,
    "max_depth": 2,
    "min_samples_leaf": 20,
    "random_state": 0,
}
"""Small trees with many entries in a leaf: chosen once for the size of such samples, not tuned."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PastEntry:
    """An entry that is over: what was known, and what it earned."""

    strategy: str
    session: date
    opened_ns: int
    closed_ns: int
    """``opened_ns``, ``closed_ns``: Its life, UTC nanoseconds: its label depends on all of it."""
    pnl: float
    """After spread, fees and hedges, in the account's currency."""
    features: Mapping[str, float]
    """See :func:`scalpdesk.entry.meta_model.entry_features`."""


class EntryReport(msgspec.Struct, frozen=True, kw_only=True):
    """Out-of-sample result of a meta-model on one strategy's entries; amounts in the account's currency."""

    strategy: str
    features: tuple[str, ...]
    entries: int
    left_out: int
    """Entries of which a feature is not known."""
    first_session: date | None
    last_session: date | None
    earned_share: float | None
    """Share of the entries with a gain after costs."""
    kept: int
    """Entries that the model takes."""
    pnl_all: float
    pnl_kept: float
    """``pnl_all``, ``pnl_kept``: P&L of all entries and of those kept."""
    kept_interval: tuple[float, float] | None = None
    """Interval of 95 % of the mean P&L of the entries kept, a session with entries: below zero leaving every
    entry is no worse.
    """
    auc: float | None = None
    """Probability that an entry with a gain is ranked above one with a loss, out of sample; 0.5 is luck."""
    thresholds: tuple[float, ...] = ()
    """Threshold that each fold's training chose."""
    importance: dict[str, float] = {}
    """Part of the whole model's fit that is due to each feature, the largest first."""
    finding: Finding
    """P&L of the entries kept less that of all, a session with entries. ``control_p`` is the share of shifts
    of the choices by whole entries that gain as much: leaving entries of a losing strategy is no skill.
    """

    @property
    def won(self) -> bool:
        """Whether the model is worth switching on: better than all entries by more than luck, and a gain.

        Leaving every entry is always possible, so entries kept at a loss are no win.
        """
        return self.finding.verdict == "shown, positive" and self.pnl_kept > 0.0

    def document(self) -> dict[str, Any]:
        """Return the report with its verdict, in JSON types."""
        row: dict[str, Any] = msgspec.to_builtins(self)
        return row | {"finding": self.finding.document(), "won": self.won}


# entries ------------------------------------------------------------------------------------------


def straddle_entries(stored: StoredRun) -> list[PastEntry]:
    """Return the entries of a run's straddles that are over, with the facts of their decisions."""
    found = []
    owners = {name: record.decisions for name, record in stored.report.strategies.items()}
    owners = owners or {"": stored.report.decisions}
    decided = {name: [each for each in decisions if is_entry(each)] for name, decisions in owners.items()}
    for trade in stored.trades:
        if trade.closed_ns is None:
            continue
        before = decided[trade.strategy]
        place = bisect_right(before, trade.opened_ns, key=attrgetter("ts_ns")) - 1
        if place < 0:  # it was held at the start, or came by a transfer
            continue
        found.append(
            PastEntry(
                trade.strategy or stored.run["strategy"],
                stored.clock.session_day(trade.opened_ns),
                trade.opened_ns,
                trade.closed_ns,
                float(trade.pnl),
                entry_features(before[place].facts, before[place].ts_ns),
            )
        )
    return found


def scalp_entries(stored: StoredRun, scalps: Iterable[Mapping[str, Any]]) -> list[PastEntry]:
    """Return a run's scalps that are over (rows of the scalps' table), with the facts of their decisions."""
    decided = {order_id: each for each in stored.report.decisions for order_id in each.client_order_ids}
    found = []
    for row in scalps:
        decision = decided.get(row["order_id"])
        if decision is None or row["pnl"] is None or row["exit_time"] is None:
            continue
        opened_ns, closed_ns = (utc_ns(row[name]) for name in ("entry_time", "exit_time"))
        found.append(
            PastEntry(
                stored.run["strategy"],
                stored.clock.session_day(opened_ns),
                opened_ns,
                closed_ns,
                row["pnl"],
                entry_features(decision.facts, decision.ts_ns),
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Sample:
    """Entries of one strategy by opening, and the features that they have in common."""

    strategy: str
    entries: Sequence[PastEntry]
    features: tuple[str, ...]
    rows: Floats
    """A row for each entry, a column for each feature."""
    pnl: Floats
    left_out: int
    """Entries of which a feature is not known."""

    @classmethod
    def of(cls, entries: Iterable[PastEntry]) -> "Sample":
        """Return the entries of one strategy, each once, without those that lack a usual feature."""
        unique = {(each.opened_ns, each.closed_ns, each.pnl): each for each in entries}
        whole = sorted(unique.values(), key=lambda each: (each.opened_ns, each.closed_ns, each.pnl))
        count = Counter(name for each in whole for name in each.features)
        features = tuple(sorted(name for name in count if count[name] >= _KNOWN_SHARE * len(whole)))
        known = [each for each in whole if each.features.keys() >= set(features)]
        rows = np.array([[each.features[name] for name in features] for each in known], dtype=np.float64)
        pnl = np.array([each.pnl for each in known], dtype=np.float64)
        return cls(whole[0].strategy, known, features, rows, pnl, len(whole) - len(known))

    def only(self, which: Flags) -> "Sample":
        """Return a part of the entries."""
        part = [each for each, is_in in zip(self.entries, which, strict=True) if is_in]
        return replace(self, entries=part, rows=self.rows[which], pnl=self.pnl[which])


# folds --------------------------------------------------------------------------------------------


def purged_folds(entries: Sequence[PastEntry], folds: int, embargo: int) -> list[tuple[Flags, Flags]]:
    """Return for each fold which entries train and which are tested.

    A fold tests the entries of consecutive sessions. No entry trains whose life overlaps that of the tested
    entries, nor one of the first ``embargo`` sessions after it. Raises ArgumentError when there are fewer
    than two folds, fewer sessions than folds, or the embargo is below zero.
    """
    days = sorted({each.session for each in entries})
    for name, value, is_good, fix in (
        ("--folds", folds, 2 <= folds <= len(days), f"give 2 to {len(days)}, the sessions with entries"),
        ("--embargo", embargo, embargo >= 0, "give 0 or more"),
    ):
        if not is_good:
            raise ArgumentError("out of range", where=name, value=value, fix=fix)
    number = np.searchsorted(np.array(days), np.array([each.session for each in entries]))
    opened = np.array([each.opened_ns for each in entries], dtype=np.int64)
    closed = np.array([each.closed_ns for each in entries], dtype=np.int64)
    found = []
    for block in np.array_split(np.arange(len(days)), folds):
        is_test = (number >= block[0]) & (number <= block[-1])
        start_ns, end_ns = opened[is_test].min(), closed[is_test].max()
        later = np.unique(number[~is_test & (opened > end_ns)])[:embargo]
        apart = (closed < start_ns) | (opened > end_ns)
        found.append((apart & ~is_test & ~np.isin(number, later), is_test))
    return found


# trees --------------------------------------------------------------------------------------------


def fit_entries(rows: Floats, pnl: Floats) -> Any:
    """Fit boosted trees to the sign of P&L, weighted by its size; None where all have one sign.

    Raises ConfigError when scikit-learn is not installed.
    """
    why = "the meta-model needs scikit-learn, which is not installed"
    ensemble = required("sklearn.ensemble", "scalpdesk[ml]", why)
    if not (pnl > 0.0).any() or not (pnl < 0.0).any():
        return None
    weight = np.abs(pnl) / np.abs(pnl).mean()
    return ensemble.GradientBoostingClassifier(**_SETTINGS).fit(rows, pnl > 0.0, weight)


def _probability(trees: Any, rows: Floats) -> Floats:
    """Return the probability of each row; 1, which every threshold takes, without trees."""
    if trees is None:
        return np.ones(len(rows))
    return np.asarray(trees.predict_proba(rows)[:, 1], dtype=np.float64)


def _choose_threshold(sample: Sample, embargo: int) -> float:
    """Return the threshold whose entries earned most in folds inside the training; the lowest of equals."""
    if len({each.session for each in sample.entries}) < _INNER_FOLDS:
        return _THRESHOLDS[0]
    chance = np.ones(len(sample.entries))
    for train, test in purged_folds(sample.entries, _INNER_FOLDS, embargo):
        past = sample.only(train)
        chance[test] = _probability(fit_entries(past.rows, past.pnl), sample.rows[test])
    return max(_THRESHOLDS, key=lambda least: float(sample.pnl[chance >= least].sum()))


# verdict ------------------------------------------------------------------------------------------


def judge_entries(
    entries: Iterable[PastEntry],
    *,
    folds: int = 5,
    embargo: int = 1,
    progress: Callable[[int, int, str], None] = lambda *_: None,
) -> list[EntryReport]:
    """Judge a meta-model for the entries of each strategy, with one correction for all of them.

    ``entries``: Of any runs and strategies; an entry that stands in two runs counts once.
    ``folds``, ``embargo``: See :func:`purged_folds`.
    ``progress``: Called with the folds done, all folds and a label.

    Raises ArgumentError when a number is out of range; names the option. Raises ConfigError when scikit-learn
    is not installed.
    """
    groups: dict[str, list[PastEntry]] = {}
    for each in entries:
        groups.setdefault(each.strategy, []).append(each)
    reports = []
    for place, name in enumerate(sorted(groups)):

        def note(done: int, place: int = place) -> None:
            progress(place * folds + done, len(groups) * folds, "folds")

        reports.append(_judged(Sample.of(groups[name]), folds, embargo, note))
    found = corrected([each.finding for each in reports])
    return [
        msgspec.structs.replace(each, finding=finding) for each, finding in zip(reports, found, strict=True)
    ]


def _judged(sample: "Sample", folds: int, embargo: int, note: Callable[[int], None]) -> EntryReport:
    entries, rows, pnl = sample.entries, sample.rows, sample.pnl
    ordinals, place = np.unique([each.session.toordinal() for each in entries], return_inverse=True)
    days = [date.fromordinal(each) for each in ordinals.tolist()]
    finding = Finding(
        name=f"{sample.strategy}: entries kept less all",
        unit="currency a session with entries",
        observations=len(entries),
        sessions=len(days),
    )
    report = EntryReport(
        strategy=sample.strategy,
        features=sample.features,
        entries=len(entries),
        left_out=sample.left_out,
        first_session=days[0] if days else None,
        last_session=days[-1] if days else None,
        earned_share=float((pnl > 0.0).mean()) if len(pnl) else None,
        kept=len(entries),
        pnl_all=float(pnl.sum()),
        pnl_kept=float(pnl.sum()),
        finding=finding,
    )
    fewest = max(FEWEST_SESSIONS, folds)
    whole = None
    if len(entries) < _FEWEST_ENTRIES:
        problem = f"{len(entries)} entries, at least {_FEWEST_ENTRIES}"
    elif len(days) < fewest:
        problem = f"{len(days)} sessions, at least {fewest}"
    else:
        whole, problem = fit_entries(rows, pnl), "all entries have one sign"
    if whole is None:
        return msgspec.structs.replace(report, finding=msgspec.structs.replace(finding, problem=problem))
    chance, kept, thresholds = np.ones(len(entries)), np.ones(len(entries), dtype=np.bool_), []
    for done, (train, test) in enumerate(purged_folds(entries, folds, embargo), start=1):
        past = sample.only(train)
        least = _choose_threshold(past, embargo)
        chance[test] = _probability(fit_entries(past.rows, past.pnl), rows[test])
        kept[test] = chance[test] >= least
        thresholds.append(least)
        note(done)
    by_session, earned = (
        np.bincount(place, weights=pnl * part).astype(np.float64) for part in (kept - 1.0, kept)
    )
    p_value, (low, high) = 1.0, (0.0, 0.0)
    if varies(by_session):
        low, high = _interval(by_session)
        p_value = math.erfc(abs(by_session.mean()) / error_of_mean(by_session) / math.sqrt(2.0))
    return msgspec.structs.replace(
        report,
        kept=int(kept.sum()),
        pnl_kept=float(pnl[kept].sum()),
        kept_interval=_interval(earned) if varies(earned) else None,
        auc=float(import_module("sklearn.metrics").roc_auc_score(pnl > 0.0, chance)),
        thresholds=tuple(thresholds),
        importance=_importance(whole, sample.features),
        finding=msgspec.structs.replace(
            finding,
            effect=float(by_session.mean()),
            low=low,
            high=high,
            p_value=p_value,
            control_p=shift_p(kept, pnl),
        ),
    )


def _interval(amounts: Floats) -> tuple[float, float]:
    ends = bootstrap_interval(amounts, np.mean)
    return ends.low, ends.high


def shift_p(kept: Flags, pnl: Floats) -> float:
    """Return the share of shifts of the choices, by any number of entries, that gain as much as the choices.

    A shift keeps how many entries are left, and their runs; only the tie to the entries' P&L is cut.

    >>> shift_p(np.array([True, True, False, True]), np.array([1.0, 2.0, -3.0, 4.0]))
    0.25
    """
    gained = np.array([pnl[np.roll(kept, by)].sum() for by in range(len(kept))])
    return float((gained >= gained[0] - 1e-9 * np.abs(pnl).sum()).mean())


def _importance(trees: Any, features: Sequence[str]) -> dict[str, float]:
    parts = zip(features, (float(each) for each in trees.feature_importances_), strict=True)
    return dict(sorted(parts, key=lambda each: -each[1]))


def train_model(entries: Iterable[PastEntry], report: EntryReport, embargo: int = 1) -> MetaModel:
    """Fit the model that :func:`judge_entries` judged to all its entries, as plain data with its verdict.

    Raises ArgumentError when the report says that it could not be judged.
    """
    if report.finding.problem:
        raise ArgumentError(
            f"these entries give no model: {report.finding.problem}",
            where="--save",
            value=report.strategy,
            fix="name runs with more entries",
        )
    sample = Sample.of([each for each in entries if each.strategy == report.strategy])
    trees, finding = fit_entries(sample.rows, sample.pnl), report.finding
    prior, rate = trees.init_.class_prior_, trees.learning_rate
    return MetaModel(
        strategy=report.strategy,
        features=report.features,
        start=float(np.log(prior[1] / prior[0])),
        trees=tuple(_plain(each[0].tree_, rate) for each in trees.estimators_),
        threshold=_choose_threshold(sample, embargo),
        entries=report.entries,
        first_session=sample.entries[0].session,
        last_session=max(each.session for each in sample.entries),
        verdict=MetaVerdict(
            won=report.won,
            effect=finding.effect,
            low=finding.low,
            high=finding.high,
            adjusted_p=finding.adjusted_p,
            sessions=finding.sessions,
            pnl_kept=report.pnl_kept,
        ),
    )


def _plain(tree: Any, rate: float) -> BoostedTree:
    is_leaf = tree.children_left < 0
    return BoostedTree(
        tuple(int(each) for each in np.where(is_leaf, LEAF, tree.feature)),
        tuple(float(each) for each in tree.threshold),
        tuple(int(each) for each in tree.children_left),
        tuple(int(each) for each in tree.children_right),
        tuple(float(rate * each) for each in tree.value[:, 0, 0]),
    )
