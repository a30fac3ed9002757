"""Faults on order: which, when, how often. A plan is a seed and a list of rules; the same plan hits the same.

A fault has a place at which it is asked for. A rule answers with its probability, at most ``times``
times; a fault put in by hand answers the next question that fits it. After :meth:`FaultPlan.heal` nothing
answers any more.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from scalpdesk.core.errors import ConfigError, nearest_name

PLACES: dict[str, str] = {
    # network, requests
    "drop_request": "http",
    "disconnect_before": "http",
    "disconnect_after": "http",
    "delay": "http",
    "half_open": "http",
    "truncated_answer": "http",
    "slow_answer": "http",
    # the venue's front door
    "too_many_requests": "http",
    "server_error": "http",
    "unavailable": "http",
    "gateway_timeout": "http",
    "maintenance": "http",
    "auth_loss": "http",
    # network, streams
    "stream_drop": "stream",
    "stream_delay": "stream",
    "stream_duplicate": "stream",
    "stream_reorder": "stream",
    "stream_disconnect": "stream",
    "stream_half_open": "stream",
    "stream_truncated": "stream",
    # the life of an order
    "reject": "submit",
    "late_reject": "submit",
    "late_ack": "submit",
    "fill_before_ack": "submit",
    "partial_fill": "submit",
    "cancel_too_late": "cancel",
    "late_fill_after_cancel": "cancel",
    "cancel_stuck": "cancel",
    "replace_too_late": "replace",
    "bust": "fill",
    "correct": "fill",
    # the market and the account
    "halt": "market",
    "auto_liquidation": "market",
    "assignment": "market",
    # quotes as they are published
    "stale": "data",
    "gap": "data",
    "crossed": "data",
    "one_sided": "data",
    "zero_bid": "data",
    "nan": "data",
    "negative": "data",
    "out_of_order": "data",
    "duplicate": "data",
    "wrong_symbol": "data",
    "clock_skew": "data",
    # answers to the desk's questions, and what streams tell of the same
    "answer_refused": "question",
    "answer_missing": "question",
    "answer_empty": "question",
    "answer_late": "question",
    "answer_wrong_quantity": "question",
    "answer_wrong_price": "question",
    "answer_old": "question",
}
"""Every fault and the place where it is asked for."""
OF_ANSWERS = tuple(name for name, place in PLACES.items() if place == "question")
"""Faults of an answer; what they strike is named by its question (``match``)."""
IN_COIN = frozenset({"submit", "cancel", "replace", "fill", "market", "question"})
"""Places that there are at the exchange in coin: its requests and streams are not tampered with otherwise."""


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One fault and its figures."""

    name: str
    """One of :data:`PLACES`."""
    probability: float = 1.0
    """Chance at each question, 0 to 1."""
    times: int = 1
    """Most times that it is applied; 0 without a limit."""
    after: int = 0
    """Questions that pass before the first answer."""
    match: str = ""
    """Text that the question must contain (a path, a symbol); empty fits all."""
    seconds: float = 1.0
    """Length of a delay, a halt, a loss of access."""
    fraction: float = 0.5
    """Share of an order in a partial fill, share of a frame that is sent."""
    reason: str = "insufficient_buying_power"
    """Cause of a reject, as the broker names it."""

    def __post_init__(self) -> None:
        """Refuse names and figures out of range."""
        if self.name not in PLACES:
            raise ConfigError(
                "no such fault",
                where="faults.name",
                value=self.name,
                nearest=nearest_name(self.name, PLACES),
                fix="docs/venues/exchange-faults.md lists the faults",
            )
        if not 0.0 <= self.probability <= 1.0:
            raise ConfigError(
                "a probability lies between 0 and 1", where=f"faults.{self.name}", value=self.probability
            )
        if not 0.0 <= self.fraction <= 1.0 or not 0.0 <= self.seconds <= 86_400.0:
            raise ConfigError(
                "a fraction lies between 0 and 1, a length between 0 and 86400 seconds",
                where=f"faults.{self.name}",
                value=(self.fraction, self.seconds),
            )


class FaultPlan:
    """Answers at every place where something may go wrong."""

    def __init__(self, faults: Sequence[Fault] = (), seed: int = 0) -> None:
        self._rules = list(faults)
        self._asked: Counter[int] = Counter()
        self._used: Counter[int] = Counter()
        self._dice = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 7])))
        self._by_hand: list[Fault] = []
        self._standing: list[Fault] = []
        self.injected = 0
        """How many faults were put in by hand."""
        self.is_quiet = not self._rules
        """True when nothing can go wrong: no fault was planned, or injected since :meth:`heal`."""
        self.hits: Counter[str] = Counter()
        """Number of times that each fault was applied."""

    def inject(self, fault: Fault) -> None:
        """Answer the next ``times`` matching questions with ``fault``; 0: every one until it is lifted."""
        if fault.times:
            self._by_hand.extend([fault] * fault.times)
        else:
            self._standing.append(fault)
        self.injected += 1
        self.is_quiet = False

    def lift(self, fault: Fault) -> None:
        """End a fault that was put in by hand without a limit."""
        self._standing = [each for each in self._standing if each != fault]
        self.is_quiet = not (self._rules or self._by_hand or self._standing)

    def heal(self) -> None:
        """Stop injecting faults."""
        self._rules.clear()
        self._by_hand.clear()
        self._standing.clear()
        self.is_quiet = True

    def take(self, place: str, about: str = "") -> Fault | None:
        """Return the fault that strikes here and now, or None."""
        if self.is_quiet:
            return None
        for index, fault in enumerate(self._by_hand):
            if PLACES[fault.name] == place and fault.match in about:
                del self._by_hand[index]
                self.hits[fault.name] += 1
                return fault
        for fault in self._standing:
            if PLACES[fault.name] == place and fault.match in about:
                self.hits[fault.name] += 1
                return fault
        for index, rule in enumerate(self._rules):
            if PLACES[rule.name] != place or (rule.match not in about and place != "market"):
                continue
            if rule.times and self._used[index] >= rule.times:
                continue
            self._asked[index] += 1
            if self._asked[index] <= rule.after:
                continue
            if rule.probability >= 1.0 or self._dice.random() < rule.probability:
                self._used[index] += 1
                self.hits[rule.name] += 1
                return rule
        return None


def check_in_coin(fault: Fault) -> None:
    """Refuse by its name, with a ConfigError, a fault that never strikes at the exchange in coin."""
    if PLACES[fault.name] not in IN_COIN:
        raise ConfigError(
            "the exchange in coin has no such fault",
            where="faults.name",
            value=fault.name,
            fix="take one of orders or of the market and account (docs/venues/exchange-faults.md)",
        )


def seeded_faults(seed: int, count: int = 12) -> list[Fault]:
    """Draw ``count`` rules from the table without faults of answers; the same seed draws the same."""
    dice = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 11])))
    names = [
        str(name) for name in dice.choice(sorted(PLACES.keys() - set(OF_ANSWERS)), size=count, replace=False)
    ]
    return [
        Fault(
            name,
            probability=round(float(dice.uniform(0.01, 0.3)), 3),
            times=int(dice.integers(1, 6)),
            after=int(dice.integers(0, 20)),
            seconds=round(float(dice.uniform(0.05, 5.0)), 3),
            fraction=round(float(dice.uniform(0.1, 0.9)), 3),
        )
        for name in names
    ]


def load_faults(path: Path) -> list[Fault]:
    """Read the rules of a JSON file: a list, or an object with a list ``faults``.

    Raises ConfigError when the file is not there or not of this form.
    """
    try:
        document: Any = msgspec.json.decode(path.read_bytes())
        rules = document.get("faults") if isinstance(document, dict) else document
        return msgspec.convert(rules, list[Fault])
    except OSError as error:
        raise ConfigError(
            f"the file of faults cannot be read: {error.strerror or error}",
            where=str(path),
            fix="check the path",
        ) from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ConfigError(
            f"not a list of faults: {error}",
            where=str(path),
            fix='write [{"name": "late_ack", "probability": 0.1, "seconds": 2}]',
        ) from error
