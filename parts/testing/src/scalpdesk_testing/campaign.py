"""Many trials: in parallel, some of them twice, and what they met."""

import gc
import os
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.plugins import Socket
from scalpdesk.orders.order import ALLOWED, OrderState
from scalpdesk_testing.alpaca_trial import AlpacaTrial
from scalpdesk_testing.invariants import Violation
from scalpdesk_testing.schedule import FAULTS, STATES, UNANSWERED, Schedule, impossible, possible_pairs
from scalpdesk_testing.small_desk import scratch_folder
from scalpdesk_testing.trial import Trial, TrialOutcome
from scalpdesk_testing.workers import Batch, Worker, run_batches

CHUNK = 10
"""Seeds that a worker takes at a time."""
_WALL_SECONDS = 300.0
"""A batch of seeds that runs for longer hangs: it takes a few seconds, on a loaded machine half a minute."""
_REPEATED_EVERY = 10
"""The first seed of so many runs again, in another process with another hash seed: same digest."""
_NO_ACCEPTANCE = "the gateway reports an order's acceptance before anything else of it"
_NO_FILL_AFTER = "an end that the venue reports waits for the executions that it counts"
IMPOSSIBLE_EDGES: dict[str, str] = {
    "pending_new > partially_filled": _NO_ACCEPTANCE,
    "pending_new > filled": _NO_ACCEPTANCE,
    "pending_new > cancelled": _NO_ACCEPTANCE,
    "pending_new > expired": _NO_ACCEPTANCE,
    "unknown > filled": _NO_ACCEPTANCE,
    "unknown > expired": _NO_ACCEPTANCE,
    "expired > filled": _NO_FILL_AFTER,
    "rejected > filled": "an order that the venue refused, or never had, has no executions there",
    "rejected > cancelled": "an order that the venue refused, or never had, has no executions there",
}
"""Edges of the order machine that no trial can take, and why; tests/orders takes them."""
TRIALS = Socket(
    "trial",
    "protocol",
    "scalpdesk.trials",
    "scalpdesk_testing.trial:Trial",
    "add_an_exchange_protocol.md",
    {
        "alpaca": "scalpdesk_testing.alpaca_trial:AlpacaTrial",
        "deribit": "scalpdesk_testing.deribit_trial:DeribitTrial",
        "tws": "scalpdesk_testing.tws_trial:TwsTrial",
    },
    is_spec=False,
)
"""Trials by the protocol of their venue; each but the first needs an extra."""
_RunChunk = Callable[..., "Campaign"]
"""Runs some seeds over the protocol of a venue, ``protocol``."""
Progress = Callable[[int, int], None]
"""Called with the seeds done and the seeds in all."""


@dataclass
class Campaign:
    """Results of many trials together.

    ``seeds``: How many were run.
    ``violations``: Every law that did not hold, with seed and step.
    ``faults_injected``, ``orders``, ``events``, ``lives``: Sums over the first run of each seed.
    ``digests``: Of the first run, by seed.
    ``repeated``: How many seeds were run again by another process.
    ``edges``, ``pairs``: How often each edge of the order machine, and each pair of fault and state, was met.
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

    def give_up(self, seed: int, why: str) -> None:
        """Count a seed in whose trial never ended."""
        self.seeds += 1
        self.violations.append(Violation(seed, "0 trial_ends", 0, why))

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
    answers = ((fault, state) for fault in UNANSWERED for state in STATES)
    return [f"{fault} x {state}" for fault, state in (*possible_pairs(), *answers)]


def trial_of(protocol: str) -> type[Trial]:
    """Return the trial over the protocol of a venue, our own or that of an installed package.

    Raises ConfigError when no trial has this name (names the nearest), or a package's trial lacks a part.
    """
    found: type[Trial] = TRIALS.find(protocol)
    return found


def run_trial(schedule: Schedule, *, verbose: bool = False, make: type[Trial] = AlpacaTrial) -> TrialOutcome:
    """Run one schedule in a scratch folder of its own; ``make`` is of another venue's protocol."""
    collects = gc.isenabled()
    gc.disable()  # a trial's garbage goes at once, after it: a seventh of the time
    try:
        with scratch_folder() as folder:
            return make(schedule, Path(folder), verbose=verbose).run()
    finally:
        if collects:
            gc.enable()


def run_chunk(seeds: Batch, protocol: str = "alpaca") -> Campaign:
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
    run: _RunChunk = run_chunk,
    wall_seconds: float = _WALL_SECONDS,
) -> Campaign:
    """Run the seeds from ``first`` to ``last`` (not included) over processes.

    Every tenth is run again by an interpreter with another hash seed: a digest that differs is a violation.
    So is a trial that never ends: its process is ended after ``wall_seconds``, and the campaign goes on.
    ``run`` runs some seeds in a process.

    Raises ArgumentError when there is no seed in the range.
    """
    if not 0 <= first < last:
        raise ArgumentError(
            "a range of seeds needs a start of 0 or more and a later end",
            where="seeds",
            value=f"{first}:{last}",
            fix="for example 0:1000",
        )
    chunks = deque(range(low, min(low + CHUNK, last)) for low in range(first, last, CHUNK))
    count = min(workers or os.cpu_count() or 1, len(chunks))
    total, again = Campaign(), Campaign()
    by_worker: list[list[int]] = [[] for _ in range(max(count, 2))]
    """Seeds to run again, by the process that is to do it."""
    # started together; the second of one worker runs the repetitions alone
    processes = [Worker(number + 1, partial(run, protocol=protocol)) for number in range(len(by_worker))]
    try:
        for over in run_batches(
            processes[:count], lambda _: chunks.popleft() if chunks else None, wall_seconds=wall_seconds
        ):
            if over.result is None:
                total.give_up(over.batch[0], over.why)
            else:
                total.join(over.result)
                repeated = [seed for seed in over.batch if not (seed - first) % _REPEATED_EVERY]
                by_worker[(over.worker + 1) % len(processes)] += repeated
            if progress is not None:
                progress(total.seeds, last - first)
        second = [deque(seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)) for seeds in by_worker]
        for over in run_batches(
            processes,
            lambda number: second[number].popleft() if second[number] else None,
            wall_seconds=wall_seconds,
        ):
            if over.result is None:
                again.give_up(over.batch[0], over.why)
            else:
                again.join(over.result)
    finally:
        for process in processes:
            process.end()
    total.repeated = again.seeds
    total.violations += [each for each in again.violations if each.seed not in again.digests]
    total.violations += [
        Violation(seed, "9 same_seed_same_run", 0, f"digests {total.digests[seed]} and {digest}")
        for seed, digest in again.digests.items()
        if digest != total.digests[seed]
    ]
    total.violations.sort(key=lambda violation: (violation.seed, violation.step))
    return total
