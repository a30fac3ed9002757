"""What goes wrong in one trial, and when: everything follows from the seed."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date

import msgspec
import numpy as np

from scalpdesk.simulation.faults import PLACES, Fault, FaultPlan
from scalpdesk_testing.market import DAYS

REJECTIONS = (
    "insufficient_buying_power", "insufficient_quantity", "options_level", "wash_trade", "account_blocked",
    "shorting_not_allowed", "inactive_asset", "outside_hours", "malformed",
)  # fmt: skip
BY_RULE = tuple(name for name in PLACES if name != "assignment")
"""Faults that strike by chance where the exchange asks for them."""
MOMENTS = (
    "kill", "outage", "cut", "freeze", "clock_jump", "disk_full", "halt", "flatten", "trading_halt",
    "auto_liquidation", "bust", "manual_trade",
)  # fmt: skip
"""Faults that strike at an instant: process, line, machine, operator, market, account."""
LIKELIHOOD = {
    "http": (0.01, 0.4, 10),
    "stream": (0.02, 0.3, 10),
    "submit": (0.05, 0.6, 5),
    "cancel": (0.3, 1.0, 2),
    "replace": (0.3, 1.0, 2),
    "fill": (0.05, 0.4, 5),
    "market": (0.002, 0.02, 40),
    "data": (0.01, 0.08, 20),
}
"""By place: least and largest probability, and how many questions may pass first.

Quotes come by the hundred, orders by the dozen, cancels one by one.
"""
CRASHES = ("before", "torn", "after")
"""At a journal write: nothing of it written, a part of it, all of it but nothing sent."""


DRAWN_SECONDS = 255
"""Length of a drawn trial: faults for at most 130 s, a minute to recover, and the exit."""


class Moment(msgspec.Struct, frozen=True):
    """Something that happens at ``at`` seconds after the market's beginning; lengths in seconds."""

    at: float
    kind: str
    seconds: float = 0.0


class Crash(msgspec.Struct, frozen=True):
    """The desk's process dies at its ``write``-th journal write that holds a command."""

    write: int
    how: str
    fraction: float = 0.5
    """Of a torn write: how much of it reaches the disk."""


class Schedule(msgspec.Struct, frozen=True):
    """One trial.

    Parameters
    ----------
    seed
        All else follows from it.
    day
        Session whose last minutes are played.
    heal_at
        When everything is healed, seconds after the beginning.
    rules
        Faults that strike by chance.
    moments
        Faults that strike at an instant.
    crashes
        Deaths at a write.
    held_fraction, held_seconds
        Share of requests that lie on the way, and how long at most.
    latency_seconds
        One way between desk and exchange.
    seconds
        Length of the market, up to the session's close.
    """

    seed: int
    day: date
    heal_at: float
    rules: tuple[Fault, ...] = ()
    moments: tuple[Moment, ...] = ()
    crashes: tuple[Crash, ...] = ()
    held_fraction: float = 0.0
    held_seconds: float = 0.0
    latency_seconds: float = 0.02
    seconds: int = 330


QUIET_DAY = DAYS[0]


def quiet_schedule(seed: int = 0, **changes: object) -> Schedule:
    """Return a schedule without any fault; ``changes`` replace its fields."""
    quiet = Schedule(seed, QUIET_DAY, heal_at=170.0)
    return msgspec.structs.replace(quiet, **changes)


def draw_schedule(seed: int) -> Schedule:
    """Draw a trial's faults; the same seed draws the same."""
    dice = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 19])))
    heal_at = float(dice.integers(50, 130))
    names = [str(name) for name in dice.choice(BY_RULE, size=int(dice.integers(0, 9)), replace=False)]
    moments = [
        Moment(
            round(float(dice.uniform(1.0, heal_at)), 3),
            str(dice.choice(MOMENTS)),
            round(float(dice.uniform(0.2, 12.0)), 3),
        )
        for _ in range(int(dice.integers(0, 4)))
    ]
    crashes = [
        Crash(int(dice.integers(1, 12)), str(dice.choice(CRASHES)), round(float(dice.random()), 3))
        for _ in range(int(dice.integers(0, 3)))
    ]
    return Schedule(
        seed,
        DAYS[int(dice.integers(0, len(DAYS)))],
        heal_at,
        tuple(_rule(name, dice) for name in names),
        tuple(sorted(moments, key=lambda moment: moment.at)),
        tuple(crashes),
        held_fraction=float(dice.choice([0.0, 0.0, 0.02, 0.1])),
        held_seconds=round(float(dice.uniform(0.5, 8.0)), 3),
        latency_seconds=float(dice.choice([0.001, 0.02, 0.15])),
        seconds=DRAWN_SECONDS,
    )


def _rule(name: str, dice: np.random.Generator) -> Fault:
    least, most, patience = LIKELIHOOD[PLACES[name]]
    match = str(dice.choice(["/stream", "/v2", "/v1beta1", ""])) if PLACES[name] == "stream" else ""
    return Fault(
        name,
        probability=round(float(dice.uniform(least, most)), 3),
        times=int(dice.integers(1, 6)),
        after=int(dice.integers(0, patience)),
        match=match,
        seconds=round(float(dice.uniform(0.05, 12.0)), 3),
        fraction=round(float(dice.uniform(0.1, 0.9)), 3),
        reason=str(dice.choice(REJECTIONS)),
    )


class CountingPlan(FaultPlan):
    """A plan that notes in which states the desk's orders were when each fault struck.

    Parameters
    ----------
    faults, seed
        As of any plan.
    """

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        super().__init__(faults, seed)
        self.states: Callable[[], Sequence[str]] = tuple
        self.pairs: Counter[str] = Counter()

    def take(self, place: str, about: str = "") -> Fault | None:
        """Return the fault that strikes here and now, or None."""
        fault = super().take(place, about)
        if fault is not None:
            self.note(fault.name)
        return fault

    def note(self, name: str) -> None:
        """Count a fault with the states it met."""
        for state in self.states() or ("no_order",):
            self.pairs[f"{name} x {state}"] += 1
