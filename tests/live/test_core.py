"""The synchronous core: the order of journal, engine, timers and watchers; what is quarantined."""

from decimal import Decimal

import pytest

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import OrderAccepted, OrderFilled, QuoteEvent, TimerEvent, UnmatchedOrderEvent
from scalpdesk.core.intents import (
    CancelOrder,
    Decision,
    OrderType,
    Purpose,
    SetTimer,
    Side,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.mode import DeskMode
from scalpdesk.core.units import NEVER_NS, InstrumentId
from scalpdesk.live.core import LiveCore
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.orders.order_manager import OrderManager

D = Decimal
NOW_NS = 1_000
CANCEL = CancelOrder("a")


class Desk:
    """A journal and an engine that write down, in order, what reaches them."""

    def __init__(self, outputs=()):
        self.steps, self.now_ns, self.outputs = [], NOW_NS, outputs
        sent = SubmitOrder("a", 0, Side.BUY, D(10), OrderType.MARKET, None, TimeInForce.DAY, Purpose.OPEN)
        seen = {"seen": (D(4), D(1))}
        self.desk = self.gate = self
        self.desk_mode = DeskMode()
        self.orders = OrderManager("t")
        self.orders.orders["a"] = Order(sent, 1, OrderState.WORKING, D(4), D(1), executions=seen)
        self.holds = False
        self.core = LiveCore(self, self, watchers=(lambda *seen: self.steps.append(("watched", *seen)),))

    def can_lose(self):
        return self.holds

    def handle(self, event):
        self.steps.append(("handled", event))
        return self.outputs

    def add_event(self, event):
        self.steps.append(("journaled", event))

    def replace_event(self, event):
        self.steps.append(("replaced", event))

    def add_outputs(self, outputs):
        self.steps.append(("outputs", outputs))

    def flush(self):
        self.steps.append("flushed")

    def names(self):
        return [step if isinstance(step, str) else step[0] for step in self.steps]


def quote(at_ns=NOW_NS):
    return QuoteEvent(InstrumentId(0), at_ns, at_ns, 1.0, 2.0, 1.0, 1.0)


def timer(at_ns=NOW_NS):
    return TimerEvent(at_ns, at_ns, "x")


def decision(*, taken=True):
    return Decision(NOW_NS, DecisionKind.HEDGE, taken, ("why",), {}, ())


def fill(quantity="6", price="5", name="a", execution="e"):
    return OrderFilled(name, NOW_NS, NOW_NS, execution, D(quantity), D(price), D(0))


@pytest.mark.rows(("event", "at_ns"), [(timer(999), 1_000), (timer(1_000), 1_000), (timer(1_001), 1_001)])
def test_an_event_from_before_the_last_is_stamped_at_the_engines_time(event, at_ns):
    desk = Desk()
    assert desk.core.feed(event) == ()
    ((_, journaled), (_, handled)) = desk.steps
    assert journaled is handled
    assert (handled.ts_recv_ns, handled.ts_event_ns) == (at_ns, event.ts_event_ns)
    assert desk.core.events == 1


@pytest.mark.rows(
    ("event", "why"),
    [
        (fill(name="b"), "the desk never sent this order"),
        (OrderAccepted("b", NOW_NS, NOW_NS, "v"), "the desk never sent this order"),
        (fill("7"), "fills 11 of 10"),
        (fill("0"), "an execution of 0 at 5"),
        (fill("-1"), "an execution of -1 at 5"),
        (fill("NaN"), "an execution of NaN at 5"),
        (fill("1", "Infinity"), "an execution of 1 at Infinity"),
        (fill("6"), None),
        (fill("7", execution="seen"), None),  # told twice: the engine knows it
        (OrderAccepted("a", NOW_NS, NOW_NS, "v"), None),
    ],
)
def test_an_order_event_that_fits_no_order_is_quarantined_and_on_disk_at_once(event, why):
    desk = Desk()
    desk.core.feed(event)
    expected = event if why is None else UnmatchedOrderEvent(event, NOW_NS, NOW_NS, why)
    assert desk.steps[:2] == [("journaled", expected), ("handled", expected)]
    assert desk.steps[2:] == ([] if why is None else ["flushed"])
    assert desk.core.counters["quarantined"] == (why is not None)


def test_commands_are_on_disk_before_they_leave_and_watchers_see_them_afterwards():
    desk = Desk((decision(), CANCEL))
    assert desk.core.feed(quote()) == (CANCEL,)
    assert desk.names() == ["journaled", "handled", "outputs"]
    desk.core.inform_watchers()
    desk.core.inform_watchers()
    assert desk.steps[3:] == [("watched", quote(), desk.outputs)]
    desk.core.feed(quote())
    desk.core.feed(quote())  # a watcher that was not informed yet is informed before the next event
    assert desk.names()[4:] == [
        "journaled",
        "handled",
        "outputs",
        "watched",
        "journaled",
        "handled",
        "outputs",
    ]


def test_outputs_without_a_command_are_watched_at_once_and_decisions_numbered():
    desk = Desk((decision(), decision(taken=False)))
    assert desk.core.feed(quote()) == ()
    assert desk.names() == ["journaled", "handled", "outputs", "watched"]
    desk.core.feed(quote())
    assert [(number, one.taken) for number, one in desk.core.decisions] == [
        (1, True),
        (2, False),
        (3, True),
        (4, False),
    ]


def test_nothing_is_watched_or_written_for_an_event_without_outputs():
    desk = Desk()
    for event in (quote(), timer()):
        assert desk.core.feed(event) == ()
    assert desk.names() == ["journaled", "handled"] * 2


def test_a_timer_comes_when_it_is_due_stamped_no_earlier_than_the_engine():
    desk = Desk((SetTimer("later", 2_000), SetTimer("sooner", 900)))
    desk.core.feed(timer())
    assert desk.core.timers.due_ns == 900
    assert desk.core.next_timer(899) is None
    assert desk.core.next_timer(900) == TimerEvent(900, 1_000, "sooner")
    assert desk.core.next_timer(1_999) is None
    assert desk.core.next_timer(2_000) == TimerEvent(2_000, 2_000, "later")
    assert desk.core.timers.due_ns == NEVER_NS


def test_the_session_loss_is_judged_at_whole_seconds_and_is_an_event_only_at_its_limit():
    desk = Desk()
    desk.core.feed(timer())
    assert desk.core.due_ns == NEVER_NS
    desk.holds, lost = True, [False, True]
    desk.desk.has_lost_too_much = lambda: lost.pop(0)
    desk.core.feed(timer())
    assert desk.core.due_ns == 10**9
    desk.core.timers.set(SetTimer("first", 10**9))
    assert desk.core.next_timer(10**9) == TimerEvent(10**9, 10**9, "first")
    assert desk.core.next_timer(10**9) is None
    assert desk.core.due_ns == 2 * 10**9
    assert desk.core.next_timer(2 * 10**9 - 1) is None
    assert desk.core.next_timer(2 * 10**9) == TimerEvent(2 * 10**9, 2 * 10**9, "loss")
