"""The matrix of questions that a venue answers badly: its cells, what was seen in one, and the verdict.

A cell is a question of the desk, how it is answered, when that begins, and the road by which a person or the
watchdog then leaves. It is tried in virtual time (:mod:`scalpdesk_testing.question_trial`) and with real
commands over sockets (:mod:`scalpdesk_testing.question_sockets`).
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import product
from typing import Any, NamedTuple

from scalpdesk.exchange import Fault, Question

LATE_SECONDS = 20.0
VENUES = ("alpaca", "deribit", "tws")
"""Venues of the matrix, by the name of their protocol."""
QUESTIONS = tuple(question for question in Question if question is not Question.FILLS)


class How(StrEnum):
    """How a question is answered."""

    WELL = "well"
    REFUSED = "refused"
    SILENT = "silent"
    EMPTY = "empty"
    LATE = "late"
    WRONG = "wrong"
    OLD = "old"


_FAULTS = {
    How.REFUSED: "answer_refused",
    How.SILENT: "answer_missing",
    How.EMPTY: "answer_empty",
    How.LATE: "answer_late",
    How.OLD: "answer_old",
}
"""Faults of the exchange by what becomes of an answer; which number is wrong depends on the question."""


class When(StrEnum):
    """When the bad answers begin."""

    RUNNING = "running"
    STARTING = "starting"
    CUT = "after a cut"


class Road(StrEnum):
    """Who leaves, and how."""

    NOTHING = "nothing"
    FLATTEN = "flatten"
    NOW = "flatten --now"
    WATCHDOG = "watchdog"
    KILL_NOTHING = "kill -9, restart"
    KILL_FLATTEN = "kill -9, flatten, restart"
    KILL_NOW = "kill -9, flatten --now"
    KILL_WATCHDOG = "kill -9, watchdog"

    @property
    def kills(self) -> bool:
        """Whether the desk's process is killed first."""
        return self.name.startswith("KILL")

    @property
    def leaves(self) -> bool:
        """Whether the account has to be flat at its end."""
        return self not in (Road.NOTHING, Road.KILL_NOTHING)

    @property
    def wait_seconds(self) -> float:
        """How long the road may wait for answers before it sells."""
        return 5.0 if self in (Road.FLATTEN, Road.KILL_FLATTEN) else 0.0


class Cell(NamedTuple):
    """One cell of the matrix."""

    venue: str
    question: Question
    how: How
    when: When
    road: Road

    def __str__(self) -> str:
        """Return its name, by which it is run again."""
        return f"{self.venue}/{self.question}/{self.how}/{self.when}/{self.road}"

    @property
    def fault(self) -> Fault:
        """The fault that answers the question so until it is lifted; executions that are told have one."""
        is_price = self.question in (Question.ACCOUNT, Question.EXECUTIONS, Question.QUOTES)
        wrong = "wrong_price" if is_price else "wrong_quantity"
        seconds = LATE_SECONDS if self.how is How.LATE else 1.0
        name = f"answer_{wrong}" if self.how is How.WRONG else _FAULTS[self.how]
        times = 1 if self.question is Question.FILLS else 0
        return Fault(name, times=times, match=self.question.value, seconds=seconds)

    @property
    def control(self) -> "Cell":
        """The same road at the same time where every question is answered well."""
        return self.but(question=Question.ACCOUNT, how=How.WELL)

    def but(self, **changes: Any) -> "Cell":
        """Return the cell with other values of some fields."""
        return self._replace(**changes)

    @property
    def is_of_positions(self) -> bool:
        """Whether the one question that leaving needs is answered badly."""
        return self.question is Question.POSITIONS and self.how is not How.WELL


class Seen(NamedTuple):
    """What was seen in a cell.

    ``held``: Whether the account held anything when the road began.
    ``flat_seconds``: From the road's beginning to a flat account; None where it was never flat.
    ``healed_seconds``: From the end of the bad answers to a flat account, where it was not flat before.
    ``reversed_``: An execution that went through zero or away from it while leaving; empty without one.
    ``mode``: The desk's mode at the end of the wait, empty without a desk.
    ``alarm``: An alarm or refusal that was told since the bad answers began; empty without one.
    ``orders``: Orders that the venue received from the desk once the bad answers were noticed.
    """

    held: bool
    flat_seconds: float | None = None
    healed_seconds: float | None = None
    reversed_: str = ""
    mode: str = ""
    alarm: str = ""
    orders: int = 0


def cells(
    venues: Iterable[str] = VENUES,
    questions: Iterable[Question] = QUESTIONS,
    hows: Iterable[How] = tuple(How)[1:],
    whens: Iterable[When] = tuple(When),
    roads: Iterable[Road] = tuple(Road),
) -> Iterator[Cell]:
    """Yield the cells of a part of the matrix, all of it by default."""
    return (Cell(*parts) for parts in product(venues, questions, hows, whens, roads))


def cell_named(name: str) -> Cell:
    """Return a cell by its name."""
    venue, question, how, when, road = name.split("/")
    return Cell(venue, Question(question), How(how), When(when), Road(road))


class Verdict(StrEnum):
    """What became of a cell."""

    HELD = "held"
    TOLD = "told"
    """No desk runs: its start was refused, with the reason; what it held is closed by ``flatten --now``."""
    FAILED = "failed"


def verdict(cell: Cell, seen: Seen, control: Seen | None, slack_seconds: float) -> tuple[Verdict, str]:
    """Return what became of a cell, with the reason where it failed.

    ``control``: The same road with good answers: how long selling takes by itself.
    ``slack_seconds``: What a machine and a market may add to it.
    """
    why = _failing(cell, seen, control, slack_seconds)
    needs_start = cell.when is When.STARTING or cell.road.kills
    waits_for_start = needs_start and cell.road in _OF_A_START
    if why and waits_for_start and not seen.mode and seen.alarm and not seen.reversed_:
        return Verdict.TOLD, ""
    return (Verdict.FAILED, why) if why else (Verdict.HELD, "")


_OF_A_START = frozenset({Road.NOTHING, Road.FLATTEN, Road.KILL_NOTHING, Road.KILL_FLATTEN})
"""Roads on which the desk itself acts."""


def _failing(cell: Cell, seen: Seen, control: Seen | None, slack_seconds: float) -> str:
    if not seen.held:
        return "not judged: nothing was held when it began"
    if seen.reversed_:
        return f"reversal: {seen.reversed_}"
    if not cell.road.leaves:
        if seen.alarm and seen.mode != "ACTIVE":
            return ""
        if seen.mode == "ACTIVE" and seen.orders:
            return ""
        return f"mode {seen.mode or 'none'}, {seen.orders} orders, {'an' if seen.alarm else 'no'} alarm"
    selling = 0.0 if control is None or control.flat_seconds is None else control.flat_seconds
    bound = cell.road.wait_seconds + selling + slack_seconds
    if seen.flat_seconds is not None and seen.flat_seconds <= bound:
        return ""
    if cell.is_of_positions:
        if seen.flat_seconds is None and seen.healed_seconds is None:
            return "positions fail, and nothing leaves once they are answered again"
        return "" if seen.alarm else "positions fail and nobody is told"
    if seen.flat_seconds is None:
        return "not flat"
    return f"flat late: after {seen.flat_seconds:.1f} s, bound {bound:.1f} s"
