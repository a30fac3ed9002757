"""Many trials: in parallel, each seed twice, and what they hit."""

import multiprocessing
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field

from scalpdesk.core.errors import ArgumentError
from scalpdesk.orders.order import ALLOWED, OrderState
from scalpdesk_testing.invariants import Violation
from scalpdesk_testing.schedule import BY_RULE, MOMENTS, draw_schedule
from scalpdesk_testing.trial import TrialOutcome, run_trial

CHUNK = 20
"""Seeds that a worker takes at a time."""
OTHER_HASH_SAMPLE = 5
"""Seeds of a campaign that are run once more by an interpreter with another hash seed."""
STATES = ("no_order", "pending_new", "working", "partially_filled", "pending_cancel", "unknown")
Progress = Callable[[int, int], None]
"""Called with the seeds done and the seeds in all."""


@dataclass
class Campaign:
    """What many trials gave together.

    Parameters
    ----------
    seeds
        How many were run, each twice.
    violations
        Every law that did not hold, with seed and step.
    faults_injected, orders, events, lives
        Sums over the first run of each seed.
    edges, pairs
        How often each edge of the order machine, and each pair of fault and state, was met.
    """

    seeds: int = 0
    violations: list[Violation] = field(default_factory=list)
    faults_injected: int = 0
    orders: int = 0
    events: int = 0
    lives: int = 0
    edges: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: TrialOutcome) -> None:
        """Count one seed in."""
        self.seeds += 1
        self.violations += outcome.violations
        self.faults_injected += outcome.faults
        self.orders += outcome.orders
        self.events += outcome.events
        self.lives += outcome.lives
        self.edges += outcome.edges
        self.pairs += outcome.pairs

    def join(self, other: "Campaign") -> None:
        """Count another campaign in."""
        self.seeds += other.seeds
        self.violations += other.violations
        self.faults_injected += other.faults_injected
        self.orders += other.orders
        self.events += other.events
        self.lives += other.lives
        self.edges += other.edges
        self.pairs += other.pairs

    def unhit_edges(self) -> list[str]:
        """Return the edges of the order machine that no trial went along."""
        return sorted(set(all_edges()) - set(self.edges))

    def unhit_pairs(self) -> list[str]:
        """Return the pairs of fault and state that no trial met."""
        return sorted(set(all_pairs()) - set(self.pairs))


def all_edges() -> list[str]:
    """Return every edge of the order's state machine, in words."""
    return ["(new) > pending_new"] + [
        f"{before.value} > {after.value}"
        for before in OrderState
        for after in ALLOWED[before]
        if after is not before
    ]


def all_pairs() -> list[str]:
    """Return every fault with every state that an order can be in when it strikes."""
    faults = sorted({*BY_RULE, *MOMENTS, "held_request"})
    return [f"{fault} x {state}" for fault in faults for state in STATES]


def run_seed_twice(seed: int) -> TrialOutcome:
    """Run a seed, and again: a digest that differs is a violation."""
    first = run_trial(draw_schedule(seed))
    again = run_trial(draw_schedule(seed))
    if first.digest != again.digest:
        detail = f"digests {first.digest} and {again.digest}"
        first.violations.append(Violation(seed, "9 same_seed_same_run", first.events, detail))
    return first


def run_chunk(seeds: Sequence[int]) -> Campaign:
    """Run some seeds, each twice."""
    found = Campaign()
    for seed in seeds:
        found.add(run_seed_twice(seed))
    return found


def run_campaign(
    first: int, last: int, *, workers: int | None = None, progress: Progress | None = None
) -> Campaign:
    """Run the seeds from ``first`` to ``last`` (not included), each twice, over processes.

    A sample of the seeds is run a third time by an interpreter with another hash seed.

    Raises
    ------
    ArgumentError
        When there is no seed in the range.
    """
    if not 0 <= first < last:
        raise ArgumentError(
            "a range of seeds needs a start of 0 or more and a later end",
            where="seeds",
            value=f"{first}:{last}",
            fix="for example 0:1000",
        )
    chunks = [range(low, min(low + CHUNK, last)) for low in range(first, last, CHUNK)]
    total = Campaign()
    count = min(workers or os.cpu_count() or 1, len(chunks))
    if count == 1:
        for chunk in chunks:
            _took(total, run_chunk(chunk), last - first, progress)
    else:
        with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
            for done in as_completed([pool.submit(run_chunk, chunk) for chunk in chunks]):
                _took(total, done.result(), last - first, progress)
    total.violations += other_hash_seed(range(first, last, max((last - first) // OTHER_HASH_SAMPLE, 1)))
    total.violations.sort(key=lambda violation: (violation.seed, violation.step))
    return total


def _took(total: Campaign, part: Campaign, of: int, progress: Progress | None) -> None:
    total.join(part)
    if progress is not None:
        progress(total.seeds, of)


def digests_of(seeds: Iterable[int]) -> list[str]:
    """Return the digest of each seed's run."""
    return [run_trial(draw_schedule(seed)).digest for seed in seeds]


def other_hash_seed(seeds: Sequence[int]) -> list[Violation]:
    """Run seeds here and in another process with another hash seed; return those that differ."""
    here = digests_of(seeds)
    mine = os.environ.get("PYTHONHASHSEED", "random")
    there = subprocess.run(  # noqa: S603 - this very interpreter, on a module of ours
        [sys.executable, "-m", "scalpdesk_testing.campaign", *map(str, seeds)],
        env={**os.environ, "PYTHONHASHSEED": "1" if mine != "1" else "2"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return [
        Violation(seed, "9 same_in_another_process", 0, f"digests {ours} and {other}")
        for seed, ours, other in zip(seeds, here, there, strict=True)
        if ours != other
    ]


if __name__ == "__main__":
    sys.stdout.write("\n".join(digests_of(int(seed) for seed in sys.argv[1:])) + "\n")
