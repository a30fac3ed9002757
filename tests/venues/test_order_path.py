"""What the fate of a request means for its order, over a wire whose answers a test writes; virtual time."""

import asyncio
from decimal import Decimal

import pytest

from scalpdesk.core.clock import FollowingClock
from scalpdesk.core.events import (
    CancelRejected,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderStatusUnknown,
)
from scalpdesk.core.intents import (
    CancelOrder,
    MultiLegOrder,
    OrderType,
    Purpose,
    Side,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.fees import NO_FEES
from scalpdesk.venues.budget import RequestBudget, Urgency, loop_ns
from scalpdesk.venues.contract import KnownOrder, Notice, NoticeKind
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.order_path import Found, OrderPath, RequestFate, VenueAnswer, urgency_of_command
from scalpdesk.venues.tracker import OrderReport, OrderTracker, Outcome
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.virtual_time import VirtualClock, VirtualLoop

D = Decimal
NOW_NS = 1_795_185_000 * 10**9
OPEN, OVER, FILLED, CANCELLING = Outcome.OPEN, Outcome.CANCELLED, Outcome.FILLED, Outcome.CANCELLING
TAKEN, REFUSED = VenueAnswer(RequestFate.TAKEN, shown=OPEN), VenueAnswer(RequestFate.REFUSED, "no")
TOO_LATE, TWICE = VenueAnswer(RequestFate.OVER, "late"), VenueAnswer(RequestFate.DUPLICATE, "twice")
UNSENT, DOUBT = VenueAnswer(RequestFate.NOT_SENT, "down"), VenueAnswer(RequestFate.UNKNOWN, "lost")


def order(name="a", number=0, quantity=10, purpose=Purpose.HEDGE):
    kind = (OrderType.MARKET, None, TimeInForce.DAY, purpose)
    return SubmitOrder(name, InstrumentId(number), Side.BUY, D(quantity), *kind)


COMBO = MultiLegOrder("ab", (order("a", 1, 2, Purpose.OPEN), order("b", 2, 2)), None)


class Wire:
    """A venue by its answers: each is used up but the last; ``asked_at`` are the seconds of its look-ups."""

    takes_id_once, doubts_whole_combo = True, False

    def __init__(self, *answers, found=(Found.UNCLEAR,), at_once=False, follows=False, **kinds):
        self.loop = VirtualLoop()
        self.answers, self.found, self.at_once = list(answers), list(found), at_once
        self.placed, self.asked, self.asked_at = [], [], []
        self.__dict__ |= kinds
        clock = FollowingClock(NOW_NS) if follows else VirtualClock(self.loop, NOW_NS)
        self.publisher, self.tracker = EventPublisher(clock), OrderTracker(straddle_book(500), NO_FEES)
        self.path = OrderPath(
            self,
            tracker=self.tracker,
            publisher=self.publisher,
            budget=RequestBudget(10),
            timeout_seconds=5.0,
            acceptance_seconds=10.0,
            stamp=loop_ns,
        )
        self.path.is_open = True

    def _answer(self):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer if answer is None or self.at_once else self._later(answer)

    async def _later(self, answer):
        await asyncio.sleep(0.1)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def place(self, command, orders):
        self.placed.append(command)
        return self._answer()

    def cancel(self, order):
        return self._answer()

    def show(self, orders, shown):
        if not isinstance(shown, Outcome):
            return shown
        for each in orders:
            self.report(each, shown)
        return ""

    def report(self, order, outcome):
        name, at_ns = order.submitted.client_order_id, self.publisher.timestamp()
        filled = order.submitted.quantity if outcome is FILLED else D(0)
        report = OrderReport(name, f"v-{name}", at_ns, outcome, filled, filled and D(5))
        self.path.report(order, report, infer=True)

    async def look_up(self, order):
        self.asked.append(order.submitted.client_order_id)
        self.asked_at.append(round(self.loop.time()))
        asked_ns = loop_ns()
        found = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        if isinstance(found, Found):
            return found
        for each in self.tracker.together(order):
            self.report(each, found)
        self.path.judge_cancel(order, found, asked_ns)
        return Found.SHOWN

    def adopted(self, orders):
        self.adopts = orders

    def run(self, call, seconds=None):
        """Run a call until no request is under way, or for so long; return what it gave."""

        async def whole():
            found = call()
            found = await found if asyncio.iscoroutine(found) else found
            if seconds is not None:
                await asyncio.sleep(seconds)
            while seconds is None and self.path.under_way:
                await asyncio.wait(tuple(self.path.under_way))
            return found

        return self.loop.run_until_complete(whole())

    def send(self, *commands, seconds=None):
        for command in commands:
            self.run(lambda command=command: self.path.send(command), seconds)
        return self.said()

    def query(self, name="a", again=None):
        return self.run(lambda: self.path.query_order(name, again))

    def said(self):
        return list(iter(self.publisher.queue.take, None))


@pytest.fixture
def at_venue():
    """Build a wire, closed with the test; ``working`` has sent the order a (or the combo), which rests."""
    made = []

    def build(*answers, working=None, **how):
        wire = Wire(*answers, **how)
        made.append(wire)
        if working is not None:
            wire.answers.insert(0, TAKEN)
            is_at_once, wire.at_once = wire.at_once, False
            assert set(kinds(wire.send(working))) == {OrderAccepted}
            wire.at_once = is_at_once
        return wire

    yield build
    for wire in made:
        wire.path._cancels.close()
        wire.loop.close()


def kinds(said):
    return [one.name if isinstance(one, Notice) else type(one) for one in said]


def named(said):
    return [(type(one), one.client_order_id) for one in said]


# orders ---------------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("answer", "found", "expected"),
    [
        (TAKEN, OPEN, [OrderAccepted]),
        (VenueAnswer(RequestFate.TAKEN, shown="it cannot be read"), OPEN, [OrderStatusUnknown]),
        (REFUSED, OPEN, [OrderRejected]),
        (TOO_LATE, OPEN, [OrderRejected]),
        (DOUBT, OPEN, [OrderStatusUnknown]),
        (TWICE, OPEN, [OrderStatusUnknown, OrderAccepted]),
        (TWICE, Found.ABSENT, [OrderStatusUnknown]),
        (UNSENT, OPEN, [OrderStatusUnknown, OrderNotFound]),
        (None, OPEN, []),
    ],
)
def test_what_becomes_of_an_order_and_of_the_legs_of_a_combo(at_venue, answer, found, expected):
    wire = at_venue(answer, found=[found])
    said = wire.send(order())
    assert kinds(said) == expected
    assert [one.reason for one in said if type(one) is OrderRejected] == (
        [answer.reason] if OrderRejected in expected else []
    )
    assert wire.asked == (["a"] if answer is TWICE else [])
    assert wire.tracker.orders["a"].answered_ns == (None if answer is None else 10**8)
    assert (wire.path.answering, len(wire.path.under_way)) == ({}, 0)
    if answer is UNSENT:
        assert said[0].reason == "not sent: down"
        assert kinds(at_venue(answer, at_once=True).send(order())) == expected
    combo = kinds(at_venue(answer, found=[found]).send(COMBO))
    assert sorted(map(str, combo)) == sorted(map(str, expected * 2))


def test_a_refusal_of_an_order_that_the_venue_has_shown_is_not_believed(at_venue):
    # its request came twice on the line: the second was refused, the first order works on
    wire = at_venue(REFUSED, found=[OPEN])

    async def scenario():
        wire.path.send(order())
        wire.report(wire.tracker.orders["a"], OPEN)

    wire.run(scenario)
    assert kinds(wire.said()) == [OrderAccepted, OrderStatusUnknown, OrderAccepted]


def test_a_fault_of_our_own_leaves_a_doubt_that_absence_ends_and_asks_for_a_look_at_the_account(at_venue):
    wire = at_venue(ValueError("x" * 300), found=[Found.ABSENT])
    doubt, gap = wire.send(order())
    assert type(doubt) is OrderStatusUnknown
    assert doubt.reason == ("its answer met a fault of our own: ValueError('" + "x" * 300)[:200]
    assert (gap.kind, gap.name, len(gap.detail)) == (NoticeKind.GAP, "internal_fault", 200)
    assert wire.publisher.counters["internal_fault"] == 1
    wire.loop.leap(10.0)
    assert wire.query()
    assert kinds(wire.said()) == [OrderNotFound]


def test_the_budget_keeps_orders_back_and_says_so_where_the_path_is_open(at_venue):
    wire = at_venue(TAKEN)

    async def ask(is_up):
        return wire.path.may_leave(Urgency.HEDGE, is_up=is_up)

    asked = [wire.run(lambda is_up=is_up: ask(is_up)) for is_up in (True, False, *[True] * 8)]
    assert asked == [True, False, *[True] * 7, False]  # a tenth of ten is kept for cancels
    (told,) = wire.said()
    assert (told.kind, told.name) == (NoticeKind.LIMITED, "own_budget")
    wire.path.is_open = False
    assert wire.run(lambda: ask(True)) is False
    assert wire.said() == []


def test_a_combo_is_as_urgent_as_its_most_urgent_leg():
    assert urgency_of_command(COMBO) is urgency_of_command(order()) is Urgency.HEDGE
    assert urgency_of_command(COMBO.legs[0]) is Urgency.OPEN


# proof ----------------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("found", "wanted", "takes_id_once", "proof", "expected"),
    [
        (OPEN, True, True, True, [OrderAccepted]),
        (Outcome.UNKNOWN, True, True, False, []),  # as it was
        (Found.UNCLEAR, True, True, False, []),
        (Found.ABSENT, False, True, True, [OrderNotFound]),
        (Found.ABSENT, True, False, True, [OrderNotFound]),
        (Found.ABSENT, True, True, False, [OrderAccepted]),  # it went out again
    ],
)
def test_absence_proves_nothing_before_the_acceptance_time_is_over(
    at_venue, found, wanted, takes_id_once, proof, expected
):
    for command in (order(), COMBO):
        times = 1 if command is not COMBO else 2
        wire = at_venue(DOUBT, TAKEN, found=[Found.ABSENT, found], takes_id_once=takes_id_once)
        wire.send(command)
        wire.loop.leap(9.9)
        assert wire.query("a", command) is False
        assert wire.said() == []
        wire.loop.leap(0.2)
        assert wire.query("a", command if wanted else None) is proof
        assert kinds(wire.said()) == expected * times
        again = expected == [OrderAccepted] and found is Found.ABSENT
        assert wire.placed == [command] * (2 if again else 1)
        assert wire.publisher.counters.get("order_sent_again", 0) == again
    assert at_venue(TAKEN).query("never-sent") is False


@pytest.mark.rows(
    ("second", "found", "expected"),
    [
        (TWICE, OPEN, [OrderStatusUnknown, OrderAccepted]),  # the first one came meanwhile
        (REFUSED, OPEN, [OrderAccepted]),  # which may be why it is refused
        (REFUSED, Found.ABSENT, []),  # the first one may still come, and not be refused
        (DOUBT, Found.ABSENT, [OrderStatusUnknown]),
        (UNSENT, Found.ABSENT, [OrderStatusUnknown]),
    ],
)
def test_what_the_answer_to_a_repeated_order_proves(at_venue, second, found, expected):
    wire = at_venue(DOUBT, second, found=[Found.ABSENT, found])
    wire.send(order())
    wire.loop.leap(10.0)
    assert wire.query("a", order()) is False
    assert kinds(wire.said()) == expected


def test_a_repeated_order_that_is_refused_is_over_once_its_first_request_is_a_minute_old(at_venue):
    wire = at_venue(DOUBT, REFUSED, found=[Found.ABSENT])
    wire.loop.leap(1.0)
    wire.send(order())
    ends = []
    for _ in range(7):
        wire.loop.leap(10.1)
        wire.query("a", order())
        ends.append(kinds(wire.said()))
    assert ends == [[]] * 5 + [[OrderRejected], []]
    assert wire.query() is True


def test_a_repeated_order_that_is_held_back_stays_in_doubt(at_venue):
    wire = at_venue(DOUBT, found=[Found.ABSENT])
    wire.send(order())
    wire.loop.leap(10.0)
    wire.answers, wire.at_once = [UNSENT], True
    assert wire.query("a", order()) is False
    assert wire.said() == []


@pytest.mark.rows(
    ("sent_ago_seconds", "follows", "waits_seconds"),
    [
        (60.0, False, 0.0),  # its acceptance time-out is over
        (9.0, False, 6.0),  # 5 s of its request, 4 s of the 10 s after it
        (2.0, False, 10.0),  # its request may have ended just now
        (None, False, 10.0),
        (60.0, True, 10.0),  # the clock runs at another pace than the wall
    ],
)
def test_the_acceptance_time_of_an_order_from_before_counts_from_its_requests_end(
    at_venue, sent_ago_seconds, follows, waits_seconds
):
    wire = at_venue(TAKEN, found=[Found.ABSENT], follows=follows)
    sent_ns = 0 if sent_ago_seconds is None else NOW_NS - int(sent_ago_seconds * 10**9)

    async def adopt():
        wire.path.adopt(iter([KnownOrder(order(), sent_ns=sent_ns)]))

    wire.run(adopt)
    assert [each.submitted for each in wire.adopts] == [order()]
    for wait in (waits_seconds - 0.1, 0.2):
        wire.loop.leap(max(wait, 0.0))
        assert wire.query() is (wait == 0.2 or not waits_seconds)
    assert kinds(wire.said()) == [OrderStatusUnknown, OrderNotFound]


# cancels --------------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("answer", "found", "expected"),
    [
        (TAKEN, OPEN, []),
        (REFUSED, OPEN, [CancelRejected]),
        (UNSENT, OPEN, [CancelRejected]),
        (DOUBT, OPEN, [OrderStatusUnknown]),
        (TOO_LATE, FILLED, [OrderFilled]),  # what is over needs no refusal
        (TOO_LATE, Found.UNCLEAR, [CancelRejected]),
        (None, OPEN, []),
    ],
)
def test_what_becomes_of_a_cancel(at_venue, answer, found, expected):
    for at_once in (False, answer is not TOO_LATE):
        wire = at_venue(answer, found=[found], working=order(), at_once=at_once)
        said = wire.send(CancelOrder("a"))
        assert kinds(said) == expected
        assert [one.reason for one in said if type(one) is not OrderFilled] == (
            [answer.reason] if said and found is not FILLED else []
        )


@pytest.mark.rows(("is_whole", "legs"), [(False, ["a"]), (True, ["a", "b"])])
def test_a_cancel_in_doubt_is_of_its_leg_or_of_the_whole_combo(at_venue, is_whole, legs):
    wire = at_venue(DOUBT, working=COMBO, doubts_whole_combo=is_whole)
    assert named(wire.send(CancelOrder("a"))) == [(OrderStatusUnknown, name) for name in legs]


def test_a_cancel_of_an_order_that_nobody_sent_is_refused(at_venue):
    wire = at_venue(TAKEN)
    told, refused = wire.send(CancelOrder("x"))
    assert (told.name, told.detail, named([refused])) == (
        "unknown_order", "cancel of x", [(CancelRejected, "x")],
    )  # fmt: skip
    assert refused.reason


@pytest.mark.rows(
    ("found", "asked_at", "again"),
    [
        ([OPEN], [5], 10),  # taken, and dropped; tried again, and lost again
        ([CANCELLING, OPEN], [5, 15], 20),
        ([CANCELLING, Found.UNCLEAR, CANCELLING, OVER], [5, 15, 35, 75], None),
    ],
)
def test_a_cancel_that_was_taken_is_asked_after_ever_more_seldom(at_venue, found, asked_at, again):
    wire = at_venue(TAKEN, found=found, working=order())
    (said,) = wire.send(CancelOrder("a"), seconds=300.0)
    assert (type(said), wire.asked_at) == (OrderCancelled if again is None else CancelRejected, asked_at)
    if again is not None:
        assert said.reason == "the venue took the cancel and works the order on"
        began = round(wire.loop.time())
        assert kinds(wire.send(CancelOrder("a"), seconds=300.0)) == [CancelRejected]
        assert wire.asked_at == [*asked_at, began + again]


@pytest.mark.rows("ends", ["order", "path"])
def test_a_cancel_is_not_asked_after_once_its_order_or_the_path_is_over(at_venue, ends):
    wire = at_venue(TAKEN, working=order())

    async def scenario():
        wire.path.send(CancelOrder("a"))
        wire.path.send(CancelOrder("a"))  # once is enough
        await asyncio.sleep(1.0)
        if ends == "order":
            wire.report(wire.tracker.orders["a"], OVER)
        else:
            await wire.path.close(graceful=True)
        await asyncio.sleep(100.0)

    wire.run(scenario)
    assert wire.asked_at == []


# the end --------------------------------------------------------------------------------------------------


@pytest.mark.rows(("graceful", "expected"), [(True, [OrderAccepted]), (False, [])])
def test_the_end_waits_for_answers_or_gives_them_up(at_venue, graceful, expected):
    wire = at_venue(TAKEN)

    async def scenario():
        wire.path.send(order())
        assert list(wire.path.answering) == ["a"]
        await wire.path.close(graceful=graceful)
        return wire.path.is_open, asyncio.all_tasks() - {asyncio.current_task()}

    assert wire.run(scenario) == (False, set())
    assert kinds(wire.said()) == expected
