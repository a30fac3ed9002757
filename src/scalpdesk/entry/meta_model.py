"""Meta-model of entries: takes or leaves each entry by what is known then.

A strategy decides when and what to buy; a second model, boosted trees fitted to how past entries ended, only
takes or leaves its entries (López de Prado, "Advances in Financial Machine Learning", 2018, chapter 3.6).
A model is plain JSON: its trees, its features by name, its training span and its out-of-sample verdict.
"""

import hashlib
import math
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from scalpdesk.core.errors import ConfigError, naming_file
from scalpdesk.instruments.sessions import to_new_york

LEAF = -1
"""Feature of a node without branches."""
_LEVELS = frozenset(
    {
        *("spot", "strike", "forward", "price", "bid", "ask", "limit", "underlying_price"),
        *("contracts", "contracts_planned", "risk_usd"),
    }
)
"""Facts that no model learns from: prices, which tell the date, and sizes."""


def entry_features(facts: Mapping[str, Any], decided_ns: int) -> dict[str, float]:
    """Return the features of an entry, from the facts of its decision and its instant alone.

    ``facts``: Of the decision to enter. A straddle's are turned into ratios; of any other entry each number
    counts that is neither a price nor a size.
    ``decided_ns``: Instant of the decision, UTC nanoseconds.
    """
    at = to_new_york(decided_ns)
    found = {"minute_of_day": 60.0 * at.hour + at.minute, "weekday": float(at.weekday())}
    numbers = {
        name: float(value)
        for name, value in facts.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    if "spread_usd_per_unit" not in facts:
        return found | {name: value for name, value in numbers.items() if name not in _LEVELS}
    if "expiry" in facts:
        found["days_to_expiry"] = float((date.fromisoformat(str(facts["expiry"])) - at.date()).days)
    for name in ("implied_vol", "forecast_vol", "implied_level", "edge_usd", "straddle_delta_of_100"):
        if name in numbers:
            found[name] = numbers[name]
    for name, over, under in (
        ("forecast_over_implied", "forecast_vol", "implied_level"),
        ("edge_in_standard_errors", "edge_usd", "edge_stderr_usd"),
        ("spread_over_spot", "spread_usd_per_unit", "spot"),
        ("breakeven_over_spot", "breakeven_move_usd", "spot"),
    ):
        if over in numbers and numbers.get(under, 0.0) > 0.0:
            found[name] = numbers[over] / numbers[under]
    return found


class BoostedTree(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A regression tree as columns, a row for each node; the first is its root."""

    feature: tuple[int, ...]
    """Number of the feature that a node asks for; :data:`LEAF` where the tree ends."""
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    """``left``, ``right``: Node that follows a feature up to its threshold, and one above it."""
    value: tuple[float, ...]
    """Part of the log-odds."""

    def value_at(self, row: tuple[float, ...]) -> float:
        """Return the tree's part of the log-odds."""
        node = 0
        while self.feature[node] != LEAF:
            is_left = row[self.feature[node]] <= self.threshold[node]
            node = (self.left if is_left else self.right)[node]
        return self.value[node]


class MetaVerdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Out-of-sample result of the entries that a model keeps, less that of all entries."""

    won: bool
    """Whether the difference is above zero by more than luck, after the correction for many tests, and the
    entries kept earned.
    """
    effect: float | None
    low: float | None
    high: float | None
    """``effect``, ``low``, ``high``: Mean difference and its interval of 95 %, currency a session."""
    adjusted_p: float | None
    sessions: int
    pnl_kept: float
    """P&L of the entries kept, in the account's currency."""


class MetaAnswer(NamedTuple):
    """Whether an entry is taken, why, and the figures."""

    is_taken: bool
    reason: str
    facts: dict[str, Any]


class MetaModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fitted model of one strategy's entries."""

    strategy: str
    features: tuple[str, ...]
    start: float
    """Log-odds before the first tree."""
    trees: tuple[BoostedTree, ...]
    threshold: float
    """Probability from which an entry is taken, chosen on the training entries; 0 takes every entry."""
    entries: int
    first_session: date
    last_session: date
    """``entries``, ``first_session``, ``last_session``: What it was trained on."""
    verdict: MetaVerdict
    sha256: str = ""
    """Hash of all other fields."""

    def probability(self, features: Mapping[str, float]) -> float | None:
        """Return the part of the absolute P&L of such entries that is gain; None without all features."""
        try:
            # the trees were fitted to single precision: the side of a threshold is decided in it
            row = tuple(float(np.float32(features[name])) for name in self.features)
        except KeyError:
            return None
        odds = self.start
        for tree in self.trees:
            odds += tree.value_at(row)
        return 1.0 / (1.0 + math.exp(-odds)) if odds >= 0.0 else math.exp(odds) / (1.0 + math.exp(odds))

    def judge(self, facts: Mapping[str, Any], now_ns: int) -> MetaAnswer:
        """Return whether to take an entry; without all features, and in its training span, it is taken.

        ``facts``: Of the decision to enter.
        ``now_ns``: Its instant, UTC nanoseconds.
        """
        known: dict[str, Any] = {"meta_model": self.sha256[:12]}
        if to_new_york(now_ns).date() <= self.last_session:
            return MetaAnswer(True, f"meta-model: trained up to {self.last_session}, not asked before", known)
        chance = self.probability(entry_features(facts, now_ns))
        if chance is None:
            return MetaAnswer(True, "meta-model: a feature of the entry is not known", known)
        known["meta_probability"] = chance
        is_taken = chance >= self.threshold
        against = "is at least" if is_taken else "is below"
        reason = f"meta-model: probability {chance:.3f} {against} {self.threshold:g}"
        return MetaAnswer(is_taken, reason, known)

    def digest(self) -> str:
        """Return the SHA-256 of all fields but itself; hexadecimal."""
        blank = msgspec.structs.replace(self, sha256="")
        return hashlib.sha256(msgspec.json.encode(blank, order="deterministic")).hexdigest()

    def write(self, path: Path) -> None:
        """Write the model as JSON, with its hash."""
        whole = msgspec.structs.replace(self, sha256=self.digest())
        with naming_file(path):
            path.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1))


def read_meta_model(path: Path, strategy: str) -> MetaModel:
    """Read a model that won out of sample.

    ``path``: File that :meth:`MetaModel.write` wrote.
    ``strategy``: Strategy whose entries it is to judge.

    Raises ConfigError when the file is absent, damaged, changed or of another strategy, or the model did not
    win.
    """
    fix = "train it with scalpdesk research entries RUN --save FILE"
    try:
        model = msgspec.json.decode(path.read_bytes(), type=MetaModel)
    except OSError as error:
        raise ConfigError(
            f"cannot read the model: {error.strerror}", where="entry.meta_model", value=str(path), fix=fix
        ) from error
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"this is no model of entries: {error}", where="entry.meta_model", value=str(path), fix=fix
        ) from error
    if model.sha256 != model.digest():
        raise ConfigError(
            "the model was changed since it was trained", where="entry.meta_model", value=str(path), fix=fix
        )
    if model.strategy != strategy:
        raise ConfigError(
            f"this is a model of entries of {model.strategy}, not of {strategy}",
            where="entry.meta_model",
            value=str(path),
            fix=f"train it on runs of {strategy}",
        )
    verdict = model.verdict
    if not verdict.won:
        raise ConfigError(
            "this model did not win out of sample:"
            f" {verdict.effect or 0.0:+.2f} a session against taking every entry,"
            f" corrected p {1.0 if verdict.adjusted_p is None else verdict.adjusted_p:.3f};"
            f" the entries kept earned {verdict.pnl_kept:.2f}",
            where="entry.meta_model",
            value=str(path),
            fix="leave entry.meta_model unset, or train on more sessions",
        )
    return model
