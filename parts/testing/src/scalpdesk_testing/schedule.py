"""Faults of a trial and their times: everything follows from the seed."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import date
from enum import StrEnum

import msgspec
import numpy as np

from scalpdesk.core.intents import LegOrders
from scalpdesk.simulation.faults import OF_ANSWERS, PLACES, Fault, FaultPlan
from scalpdesk_testing.market import DAYS

_REJECTIONS = (
    "insufficient_buying_power", "insufficient_quantity", "options_level", "wash_trade", "account_blocked",
    "shorting_not_allowed", "inactive_asset", "outside_hours", "malformed",
)  # fmt: skip
_BY_RULE = tuple(name for name in PLACES if name != "assignment" and name not in OF_ANSWERS)
"""Faults that strike by chance where the exchange asks for them."""
MOMENTS = (
    "kill", "power_cut", "outage", "cut", "freeze", "clock_jump", "disk_full", "halt", "reduce", "flatten",
    "trading_halt", "lost_quotes", "left_feed", "auto_liquidation", "bust", "manual_trade", "foreign_order",
    "dividend", "assignment", "venue_cancel", "venue_expiry",
)  # fmt: skip
"""Faults that strike at an instant: process, line, machine, operator, market, account, order."""
TRANSFER, CORRECTION, STRAY = "transfer", "correction", "stray"
"""Moments that are no faults: the owner brings money or takes some away; the venue corrects the price of an
order that works, or an old one; a gateway reports what no gateway should.
"""
ASSIGNED, CALLED = "leg_assigned", "called"
"""Moments of a desk that sells: a sold leg is assigned; the owner takes away what the margin needs."""
LINE_FAULTS = ("held_request", "double_request", "double_answer")
"""Requests that lie on the way, that arrive twice (only the second answer comes), that are answered twice."""
FAULTS = tuple(dict.fromkeys((*_BY_RULE, *MOMENTS, *LINE_FAULTS)))
_UNANSWERED_SHARE = 0.15
"""Share of the drawn trials in which the venue does not answer a question or two for a while."""
_QUESTIONS = ("account", "positions", "open_orders", "order_by_id", "executions", "contracts", "clock")
UNANSWERED = ("answer_refused", "answer_missing", "answer_late")
"""The questions, and what becomes of them; false answers are tried by the matrix of questions."""
_FEES_SHARE = 0.5
"""Share of the drawn trials whose venue charges fees."""
STATES = ("no_order", "pending_new", "working", "partially_filled", "pending_cancel", "unknown")
"""States of the desk's orders that a fault can meet."""
_LIKELIHOOD = {
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
_COMBO_SHARE = 0.5
"""Share of the drawn trials whose straddles go as one order."""
_SCALES = (None, None, 2.0)
"""Most straddles that a drawn trial may hold, in multiples of those bought first; None never changes size."""
_SOLD_EVERY = 7
"""One in so many seeds sells its straddles, unless its desk is reckless."""
SOLD_SHAPES = ("straddle", "straddle", "iron_fly", "iron_condor", "vertical")
"""Shapes of what is sold."""
_ASSIGNED_SHARE, _CALLED_SHARE = 0.3, 0.35
"""Shares of the drawn trials that sell in which a sold leg is assigned, and in which the broker calls."""
JUMP = 70.0
"""By how much the share jumps where that leads to the call, currency."""
CRASHES = ("before", "torn", "after")
"""At a journal write: nothing of it written, a part of it, all of it but nothing sent."""


_DRAWN_SECONDS = 255
"""Length of a drawn trial: faults for at most 130 s, a minute to recover, and the exit."""


_HOLDING_EVERY = 17
"""One in so many trials with one strategy begins with straddles held since days before."""


class Story(StrEnum):
    """Setting of a trial beside its faults; with the seeds each comes in turn."""

    NONE = "none"
    PASSIVE = "hedges rest, and fill in parts"
    HISTORY = "executions are missed, and the history of them is late"
    LOSS = "the day's loss comes to its limit"
    MONEY = "the owner moves money, and dividends are paid on what is held"
    TAKEN_BACK = "trades of before a restart are taken back or corrected after it"
    RESTART = "the process dies with an order on its way and is back at once"
    HALT = "trading halts again and again"
    LATE_FILLS = "orders rest, and fill after their cancel"


STORIES = tuple(Story)


class Moment(msgspec.Struct, frozen=True):
    """Something that happens at ``at`` seconds after the market's beginning; lengths in seconds."""

    at: float
    kind: str
    seconds: float = 0.0


class Aim(msgspec.Struct, frozen=True):
    """A fault that strikes as soon as one of the desk's orders is in a state."""

    fault: str
    state: str
    seconds: float = 1.0


class BadAnswer(msgspec.Struct, frozen=True):
    """A question that the venue answers badly from ``at`` on for ``seconds``, both since the beginning."""

    at: float
    seconds: float
    fault: Fault
    is_cut: bool = False
    """Whether every connection breaks as it begins, so that the desk has to ask."""


class Crash(msgspec.Struct, frozen=True):
    """The desk's process dies at its ``write``-th journal write that holds a command."""

    write: int
    how: str
    fraction: float = 0.5
    """Part of a torn write that reaches the disk."""


class Schedule(msgspec.Struct, frozen=True):
    """One trial.

    ``seed``: All else follows from it.
    ``day``: Session whose last minutes are played.
    ``heal_at``: When everything is healed, seconds after the beginning.
    ``rules``: Faults that strike by chance.
    ``moments``: Faults that strike at an instant.
    ``crashes``: Deaths at a write.
    ``held_fraction``, ``held_seconds``: Share of requests that lie on the way, and how long at most.
    ``doubled_fraction``: Share of requests that arrive twice, and of answers that come twice.
    ``aim``: A fault at a chosen state of an order.
    ``is_reckless``: The strategy also proposes what no strategy may: the risk gate has to refuse all of it.
    ``is_sold``: Straddles are sold instead of bought.
    ``shape``: What is sold, by the name of its shape.
    ``called_at``: From when on the account's own funds carry what is held no more, seconds after the
    beginning: money is taken away, or the price jumps; None: the broker never calls.
    ``is_jump``: Whether the price jumps then.
    ``members``: Strategies that share the desk.
    ``leg_orders``: Whether a straddle goes in and out as one order for a combo, or leg by leg.
    ``max_multiple``: Most straddles, in multiples of those bought first, as the implied volatility moves;
    None: it stands, and so does their number.
    ``held_days``: Days since the straddles' last quote, which the account holds at the open; 0 for no
    holding.
    ``latency_seconds``: One way between desk and exchange.
    ``seconds``: Length of the market, up to the session's close.
    ``story``: What is drawn beside the faults so that a trial comes where they alone do not lead.
    ``holds``: Whether the account holds the straddles at the open, quoted as ever.
    ``passive_seconds``: How long a hedge rests at the near side; None crosses at once.
    ``history_seconds``: By how much the venue's history of the desk's executions is late, until all is
    healed.
    ``max_loss``: Loss of the session that ends its trading, in currency; None leaves the limit out of reach.
    ``has_fees``: Whether the venue charges fees.
    ``restart_seconds``: From a kill of the process to its next life; a run that has ended by itself waits
    three seconds.
    ``dies_at_order``: The process dies as soon as so many orders have left it, with the last one on its way;
    0: it does not.
    ``halted_after``: From the beginning of a next life to a person's halt, until all is healed; None without
    one.
    ``bad_answers``: Questions that the venue does not answer for a while.
    """

    seed: int
    day: date
    heal_at: float
    rules: tuple[Fault, ...] = ()
    moments: tuple[Moment, ...] = ()
    crashes: tuple[Crash, ...] = ()
    held_fraction: float = 0.0
    held_seconds: float = 0.0
    doubled_fraction: float = 0.0
    aim: Aim | None = None
    is_reckless: bool = False
    is_sold: bool = False
    shape: str = "straddle"
    called_at: float | None = None
    is_jump: bool = False
    members: int = 1
    leg_orders: LegOrders = LegOrders.LEGS
    max_multiple: float | None = None
    held_days: int = 0
    latency_seconds: float = 0.02
    seconds: int = 330
    story: Story = Story.NONE
    holds: bool = False
    passive_seconds: float | None = None
    history_seconds: float = 0.0
    max_loss: int | None = None
    has_fees: bool = False
    restart_seconds: float = 3.0
    dies_at_order: int = 0
    halted_after: float | None = None
    bad_answers: tuple[BadAnswer, ...] = ()

    def without(self, names: frozenset[str]) -> "Schedule":
        """Return the schedule less the faults and moments of these names."""
        return msgspec.structs.replace(
            self,
            rules=tuple(rule for rule in self.rules if rule.name not in names),
            moments=tuple(moment for moment in self.moments if moment.kind not in names),
            aim=self.aim if self.aim is not None and self.aim.fault not in names else None,
        )

    @property
    def faults(self) -> set[str]:
        """Names of all that may go wrong."""
        aimed = set() if self.aim is None else {self.aim.fault}
        aimed |= {bad.fault.name for bad in self.bad_answers}
        return aimed | {rule.name for rule in self.rules} | {moment.kind for moment in self.moments}


_RESTS = Fault("partial_fill", times=40, fraction=0.0, seconds=60.0)
_RESTS_HALF = Fault("partial_fill", times=40, fraction=0.5, seconds=60.0)
LEADS_TO: dict[str, tuple[Fault, ...]] = {
    "no_order": (),
    "pending_new": (Fault("late_ack", probability=0.6, times=8, seconds=1.0),),
    "working": (_RESTS,),
    "partially_filled": (_RESTS_HALF,),
    "pending_cancel": (_RESTS_HALF, Fault("cancel_stuck", probability=0.8, times=6, seconds=4.0)),
    # a request that never arrives is in doubt until its absence is proven, 10 s later
    "unknown": (
        Fault("drop_request", probability=0.4, times=6, match="POST /v2/orders"),
        Fault("disconnect_after", probability=0.7, times=6, match="POST /v2/orders"),
        _RESTS_HALF,
    ),
}
"""Faults that bring orders into a state and keep them there for a while."""
_OF_A_SUBMIT = frozenset(name for name, place in PLACES.items() if place == "submit")
_OF_A_CANCEL = frozenset(name for name, place in PLACES.items() if place == "cancel")
_OF_A_REQUEST = _OF_A_SUBMIT | _OF_A_CANCEL | frozenset(LINE_FAULTS)
_ANY_STATE = frozenset(STATES)
_IMPOSSIBLE: tuple[tuple[frozenset[str], frozenset[str], str], ...] = (
    (frozenset({"replace_too_late"}), _ANY_STATE, "the desk cancels and sends again; it never replaces"),
    (
        _OF_A_SUBMIT,
        frozenset({"no_order"}),
        "an order that the desk submits is pending_new; it meets a stranger's",
    ),
    (_OF_A_CANCEL, frozenset({"no_order"}), "the order that is cancelled is alive at the desk"),
    (
        frozenset({"correct", "venue_cancel", "venue_expiry"}),
        frozenset({"no_order"}),
        "it strikes an order of the desk that is alive at the venue; without one it does nothing",
    ),
)
"""Pairs of faults and states that cannot meet, and why."""
_QUIET_DAY = DAYS[0]


def quiet_schedule(seed: int = 0, **changes: object) -> Schedule:
    """Return a schedule without any fault; ``changes`` replace its fields."""
    quiet = Schedule(seed, _QUIET_DAY, heal_at=170.0)
    return msgspec.structs.replace(quiet, **changes)


def possible_pairs() -> list[tuple[str, str]]:
    """Return every fault with every state in which it can strike, in a fixed order."""
    return [(fault, state) for state in STATES for fault in FAULTS if impossible(fault, state) is None]


def impossible(fault: str, state: str) -> str | None:
    """Return why a fault cannot meet a state, None where it can."""
    for faults, states, why in _IMPOSSIBLE:
        if fault in faults and state in states:
            return why
    return None


def draw_schedule(seed: int) -> Schedule:
    """Draw a trial: its faults, and the story that the seed comes to; the same seed draws the same."""
    return _with_bad_answers(_with_sold(with_story(draw_faults(seed), STORIES[seed % len(STORIES)])))


def _with_bad_answers(drawn: Schedule) -> Schedule:
    """Return a schedule with questions that are not answered for a while, by dice of their own."""
    dice = np.random.Generator(np.random.PCG64(np.random.SeedSequence([drawn.seed, 43])))
    if dice.random() >= _UNANSWERED_SHARE:
        return drawn
    found = []
    for _ in range(int(dice.integers(1, 3))):
        question, name = str(dice.choice(_QUESTIONS)), str(dice.choice(UNANSWERED))
        at, seconds = float(dice.uniform(6.0, drawn.heal_at - 10.0)), float(dice.uniform(4.0, 40.0))
        late_seconds = round(float(dice.uniform(3.0, 25.0)), 3)
        fault = Fault(name, times=0, match=question, seconds=late_seconds)
        lasts = round(min(seconds, drawn.heal_at - at), 3)
        found.append(BadAnswer(round(at, 3), lasts, fault, is_cut=bool(dice.random() < 0.5)))
    return msgspec.structs.replace(drawn, bad_answers=tuple(found))


def _with_sold(drawn: Schedule) -> Schedule:
    """Return a schedule with what a desk that sells may meet, by dice that nothing else depends on."""
    if not drawn.is_sold:
        return drawn
    dice = np.random.Generator(np.random.PCG64(np.random.SeedSequence([drawn.seed, 41])))
    shape = str(dice.choice(SOLD_SHAPES))
    assigned_at, called_at = (round(float(at), 3) for at in dice.uniform(14.0, drawn.heal_at, 2))
    is_assigned, is_called = dice.random() < _ASSIGNED_SHARE, dice.random() < _CALLED_SHARE
    is_jump = bool(dice.random() < 0.5)
    changes: dict[str, object] = {"shape": shape}
    moments = list(drawn.moments)
    if is_assigned:
        moments.append(Moment(assigned_at, ASSIGNED, 30.0))
    # an owner's call beside a limit on the day's loss says nothing new
    if is_called and drawn.story is not Story.LOSS:
        changes |= {"called_at": called_at, "is_jump": is_jump and shape == "straddle"}
        if not changes["is_jump"]:
            moments.append(Moment(called_at, CALLED, 60.0))
    moments.sort(key=lambda moment: moment.at)
    return msgspec.structs.replace(drawn, moments=tuple(moments), **changes)


def with_story(drawn: Schedule, story: Story) -> Schedule:
    """Return a schedule with a story and its dice, which nothing else that is drawn depends on."""
    dice = np.random.Generator(np.random.PCG64(np.random.SeedSequence([drawn.seed, 37])))
    changes: dict[str, object] = {"story": story, "has_fees": bool(dice.random() < _FEES_SHARE)}
    rules, moments = list(drawn.rules), list(drawn.moments)
    heals = drawn.heal_at

    def at(first: float, last: float) -> float:
        return round(float(dice.uniform(first, max(last, first + 0.1))), 3)

    if story is Story.PASSIVE:
        changes |= {"passive_seconds": at(2.5, 4.0), "members": 1, "is_reckless": False}
    elif story is Story.HISTORY:
        rules[:0] = [
            Fault("partial_fill", probability=0.7, times=40, fraction=at(0.2, 0.8), seconds=at(1.0, 6.0)),
            Fault("stream_drop", probability=0.4, times=20, match="fill"),
            Fault("disconnect_after", probability=0.2, times=4, match="POST /v2/orders"),
            Fault("server_error", probability=0.8, times=20, match="trades_by_order"),
        ]
        moments += [Moment(at(15.0, heals), str(dice.choice(["cut", "kill"])), 1.0) for _ in range(2)]
        is_single = "assignment" not in drawn.faults
        if heals > 80.0 and dice.random() < 0.5 and is_single:  # the history lacks what the account shows
            moments += [Moment(at(6.0, heals - 70.0), "assignment", at(34.0, 50.0))]
        # a fill after its cancel that no history shows yet cannot be explained
        is_late = "late_fill_after_cancel" not in drawn.faults
        changes |= {"history_seconds": at(4.0, 40.0) if is_late else 0.0}
    elif story is Story.LOSS:
        changes |= {"holds": True, "held_days": 0, "members": 1, "max_loss": int(dice.integers(20, 300))}
        changes |= {"max_multiple": 2.0}  # the implied volatility moves
    elif story is Story.MONEY:
        moments += [Moment(at(12.0, heals), TRANSFER, at(0.1, 12.0)) for _ in range(2)]
        moments += [Moment(at(12.0, heals), "dividend") for _ in range(2)]
        changes |= {"holds": drawn.members == 1, "held_days": 0}
    elif story is Story.TAKEN_BACK:
        rules[:0] = [
            Fault("partial_fill", probability=0.5, times=20, fraction=at(0.2, 0.8), seconds=at(1.0, 8.0))
        ]
        if dice.random() < 0.5:
            rules.insert(0, Fault("bust", probability=0.4, times=4, seconds=at(4.0, 14.0)))
        moments += [Moment(at(6.0, heals), "kill") for _ in range(3)]
        moments += [Moment(at(heals + 15.0, heals + 35.0), CORRECTION, 20.0) for _ in range(2)]
    elif story is Story.RESTART:
        moments += [Moment(moment, "kill") for moment in (at(4.0, 12.0), at(12.0, heals), at(12.0, heals))]
        moments += [Moment(at(4.0, heals), "halt")]
        is_late = dice.random() < 0.5  # by less than an order is valid at the venue
        held = (1.0, at(1.3, 1.9)) if is_late else (0.5, at(2.0, 8.0))
        changes |= {"restart_seconds": at(0.1, 0.3), "held_fraction": held[0], "held_seconds": held[1]}
        changes |= {"halted_after": at(0.1, 0.6), "dies_at_order": int(dice.integers(1, 5))}
    elif story is Story.HALT:
        moments += [Moment(at(5.0, heals), "trading_halt", at(3.0, 12.0)) for _ in range(3)]
        changes |= {"is_reckless": True}
    elif story is Story.LATE_FILLS:
        rules[:0] = [
            _RESTS if dice.random() < 0.5 else _RESTS_HALF,
            Fault("late_fill_after_cancel", probability=0.6, times=6, seconds=at(0.2, 9.0)),
        ]
        if heals > 80.0 and dice.random() < 0.5:  # what the strategy does not know the desk closes itself
            moments += [Moment(at(0.5, 3.0), "flatten"), Moment(at(14.0, 18.0), "assignment", at(0.5, 3.0))]
        else:
            moments += [Moment(at(8.0, heals), STRAY, 8.0) for _ in range(3)]
    moments.sort(key=lambda moment: moment.at)
    return msgspec.structs.replace(drawn, rules=tuple(rules), moments=tuple(moments), **changes)


def draw_faults(seed: int) -> Schedule:
    """Draw a trial's faults; the same seed draws the same.

    Beside what is drawn by chance one fault is aimed at one state of an order: each pair is drawn in turn
    with the seeds.
    """
    dice = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 19])))
    heal_at = float(dice.integers(50, 130))
    names = [str(name) for name in dice.choice(_BY_RULE, size=int(dice.integers(0, 9)), replace=False)]
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
    pairs = possible_pairs()
    fault, state = pairs[seed % len(pairs)]
    temper = float(dice.random())
    # one strategy seldom sends while another order of its own is under way; two do
    needs_two = fault in _OF_A_REQUEST and state not in ("pending_new", "no_order")
    # an order whose request lies on the way is new at the desk until the next quote
    is_held = state == "pending_new" and PLACES.get(fault) == "data"
    held_fraction = float(dice.choice([0.0, 0.0, 0.02, 0.1]))
    held_seconds = round(float(dice.uniform(0.5, 8.0)), 3)
    # dice of their own: what else a seed draws does not depend on them
    forms = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 29])))
    members = 2 if temper > 0.85 or temper < 0.06 or needs_two else 1
    return Schedule(
        seed,
        DAYS[int(dice.integers(0, len(DAYS)))],
        heal_at,
        LEADS_TO[state] + tuple(_rule(name, dice) for name in names),
        tuple(sorted(moments, key=lambda moment: moment.at)),
        tuple(crashes),
        held_fraction=0.5 if is_held else held_fraction,
        held_seconds=max(held_seconds, 2.5) if is_held else held_seconds,
        doubled_fraction=float(dice.choice([0.0, 0.0, 0.0, 0.05])),
        aim=Aim(fault, state, round(float(dice.uniform(0.2, 12.0)), 3)),
        is_reckless=temper < 0.3,
        is_sold=temper >= 0.3 and seed % _SOLD_EVERY == 3,
        members=members,
        leg_orders=LegOrders.COMBO if forms.random() < _COMBO_SHARE else LegOrders.LEGS,
        max_multiple=_SCALES[int(forms.integers(len(_SCALES)))],
        held_days=3 if members == 1 and seed % _HOLDING_EVERY == 11 else 0,
        latency_seconds=float(dice.choice([0.001, 0.02, 0.15])),
        seconds=_DRAWN_SECONDS,
    )


def _rule(name: str, dice: np.random.Generator) -> Fault:
    least, most, patience = _LIKELIHOOD[PLACES[name]]
    match = str(dice.choice(["/stream", "/v2", "/v1beta1", ""])) if PLACES[name] == "stream" else ""
    return Fault(
        name,
        probability=round(float(dice.uniform(least, most)), 3),
        times=int(dice.integers(1, 6)),
        after=int(dice.integers(0, patience)),
        match=match,
        seconds=round(float(dice.uniform(0.05, 12.0)), 3),
        fraction=round(float(dice.uniform(0.1, 0.9)), 3),
        reason=str(dice.choice(_REJECTIONS)),
    )


class CountingPlan(FaultPlan):
    """A plan that notes in which states the desk's orders were when each fault struck."""

    def __init__(self, faults: Sequence[Fault], seed: int, aim: Aim | None = None) -> None:
        super().__init__(faults, seed)
        self.states: Callable[[], Sequence[str]] = tuple
        self.pairs: Counter[str] = Counter()
        self.on_struck: Callable[[], None] = lambda: None
        """Called as a fault strikes."""
        self._aim = aim
        self.is_quiet = self.is_quiet and aim is None

    def heal(self) -> None:
        """Let nothing go wrong from here on."""
        super().heal()
        self._aim = None

    def aimed(self, faults: Collection[str]) -> Aim | None:
        """Return the aim when it is one of these faults and an order is in its state now; it is used up."""
        aim = self._aim
        if aim is None or aim.fault not in faults or aim.state not in (self.states() or ("no_order",)):
            return None
        self._aim = None
        return aim

    def take(self, place: str, about: str = "") -> Fault | None:
        """Return the fault that strikes here and now, or None."""
        fault = None
        if self._aim is not None and PLACES.get(self._aim.fault) == place:
            aim = self.aimed(_BY_RULE)
            if aim is not None:
                fault = Fault(aim.fault, seconds=aim.seconds)
                self.hits[fault.name] += 1
        # what leads to the state may strike at the same place, every time
        fault = fault or super().take(place, about)
        if fault is not None:
            self.note(fault.name)
        return fault

    def note(self, name: str) -> None:
        """Count a fault with the states it met."""
        self.on_struck()
        for state in self.states() or ("no_order",):
            self.pairs[f"{name} x {state}"] += 1
