"""Many trials: in parallel, some of them twice, and what they met."""

import gc
import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field

from scalpdesk.core.errors import ArgumentError
from scalpdesk.orders.order import ALLOWED, OrderState
from scalpdesk_testing.invariants import Violation
from scalpdesk_testing.schedule import FAULTS, STATES, impossible, possible_pairs
from scalpdesk_testing.trial import Trial, TrialOutcome, run_trial

CHUNK = 10
"""Seeds that a worker takes at a time."""
REPEATED_EVERY = 10
"""The first seed of so many runs again, in another process with another hash seed: same digest."""
NO_ACCEPTANCE = "the gateway reports an order's acceptance before anything else of it"
NO_FILL_AFTER = "an end that the venue reports waits for the executions that it counts"
IMPOSSIBLE_EDGES: dict[str, str] = {
    "pending_new > partially_filled": NO_ACCEPTANCE,
    "pending_new > filled": NO_ACCEPTANCE,
    "pending_new > cancelled": NO_ACCEPTANCE,
    "pending_new > expired": NO_ACCEPTANCE,
    "unknown > filled": NO_ACCEPTANCE,
    "unknown > expired": NO_ACCEPTANCE,
    "expired > filled": NO_FILL_AFTER,
    "rejected > filled": "an order that the venue refused, or never had, has no executions there",
    "rejected > cancelled": "an order that the venue refused, or never had, has no executions there",
}
"""Edges of the order machine that no trial can take, and why; tests/orders takes them."""
Progress = Callable[[int, int], None]
"""Called with the seeds done and the seeds in all."""


@dataclass
class Campaign:
    """Results of many trials together.

    Parameters
    ----------
    seeds
        How many were run.
    violations
        Every law that did not hold, with seed and step.
    faults_injected, orders, events, lives
        Sums over the first run of each seed.
    digests
        Of the first run, by seed.
    repeated
        How many seeds were run again by another process.
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
    digests: dict[int, str] = field(default_factory=dict)
    repeated: int = 0

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
        self.digests[outcome.seed] = outcome.digest

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
        self.digests |= other.digests

    def unhit_edges(self) -> list[str]:
        """Return the edges of the order machine that no trial went along."""
        return sorted(set(all_edges()) - set(self.edges))

    def unhit_pairs(self) -> list[str]:
        """Return the pairs of fault and state that no trial met."""
        return sorted(set(all_pairs()) - set(self.pairs))


def all_edges() -> list[str]:
    """Return every edge of the order's state machine that a trial can take, in words."""
    edges = [f"{before} > {after}" for before in OrderState for after in ALLOWED[before] if after != before]
    return ["(new) > pending_new", *(edge for edge in edges if edge not in IMPOSSIBLE_EDGES)]


def impossible_pairs() -> dict[str, str]:
    """Return the pairs of fault and state that cannot meet, and why."""
    found = ((fault, state, impossible(fault, state)) for fault in FAULTS for state in STATES)
    return {f"{fault} x {state}": why for fault, state, why in found if why is not None}


def all_pairs() -> list[str]:
    """Return every fault with every state that an order can be in when it strikes."""
    return [f"{fault} x {state}" for fault, state in possible_pairs()]


def trial_of(protocol: str) -> type[Trial]:
    """Return the trial over the protocol of a venue: ``alpaca``, ``deribit`` or ``tws``."""
    if protocol == "tws":
        from scalpdesk_testing.tws_trial import TwsTrial  # noqa: PLC0415 - needs the extra

        return TwsTrial
    if protocol != "deribit":
        return Trial
    from scalpdesk_testing.deribit_trial import DeribitTrial  # noqa: PLC0415 - needs the extra

    return DeribitTrial


def run_chunk(seeds: Sequence[int], protocol: str = "alpaca") -> Campaign:
    """Run some seeds."""
    found, make = Campaign(), trial_of(protocol)
    for seed in seeds:
        found.add(run_trial(make.draw(seed), make=make))
    return found


def run_campaign(
    first: int,
    last: int,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    protocol: str = "alpaca",
) -> Campaign:
    """Run the seeds from ``first`` to ``last`` (not included) over processes.

    Every tenth is run again by an interpreter with another hash seed: a digest that differs is a
    violation.

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

    def took(part: Campaign) -> None:
        total.join(part)
        if progress is not None:
            progress(total.seeds, last - first)

    repeated = range(first, last, REPEATED_EVERY)
    count = min(workers or os.cpu_count() or 1, len(chunks))
    if count == 1:
        for chunk in chunks:
            took(run_chunk(chunk, protocol))
        again = digests_elsewhere(repeated, protocol)
    else:
        again = _over_processes(chunks, count, set(repeated), took, protocol)
    total.repeated = len(again)
    total.violations += [
        Violation(seed, "9 same_seed_same_run", 0, f"digests {total.digests[seed]} and {digest}")
        for seed, digest in again.items()
        if digest != total.digests[seed]
    ]
    total.violations.sort(key=lambda violation: (violation.seed, violation.step))
    return total


def _over_processes(
    chunks: Iterable[Sequence[int]],
    count: int,
    repeated: set[int],
    took: Callable[[Campaign], None],
    protocol: str,
) -> dict[int, str]:
    """Run chunks over processes of different hash seeds, then some seeds again, each in the next one."""
    pools = [_process(number + 1) for number in range(count)]
    try:
        waiting = deque(chunks)
        running: dict[Future[Campaign], int] = {}
        by_pool: list[list[int]] = [[] for _ in pools]
        free = list(range(count))
        while waiting or running:
            while waiting and free:
                number = free.pop()
                by_pool[(number + 1) % count] += [seed for seed in waiting[0] if seed in repeated]
                running[pools[number].submit(run_chunk, waiting.popleft(), protocol)] = number
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                free.append(running.pop(done))
                took(done.result())
        again = [pool.submit(digests_of, seeds, protocol) for pool, seeds in zip(pools, by_pool, strict=True)]
        return {seed: digest for part in again for seed, digest in part.result().items()}
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)


def _process(hash_seed: int) -> ProcessPoolExecutor:
    """Return a pool of one process whose strings hash by ``hash_seed``."""
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = str(hash_seed)
    try:
        pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=gc.freeze)
        pool.submit(int)  # the process starts here, under this environment
    finally:
        del os.environ["PYTHONHASHSEED"]
        if before is not None:
            os.environ["PYTHONHASHSEED"] = before
    return pool


def digests_of(seeds: Iterable[int], protocol: str = "alpaca") -> dict[int, str]:
    """Return the digest of each seed's run."""
    make = trial_of(protocol)
    return {seed: run_trial(make.draw(seed), make=make).digest for seed in seeds}


def digests_elsewhere(seeds: Iterable[int], protocol: str = "alpaca") -> dict[int, str]:
    """Return the digests of seeds run by another process with another hash seed."""
    mine = os.environ.get("PYTHONHASHSEED")
    with _process(1 if mine != "1" else 2) as pool:
        return pool.submit(digests_of, tuple(seeds), protocol).result()
