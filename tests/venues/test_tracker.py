from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.events import (
    CancelRejected,
    FillBusted,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderStatusUnknown,
)
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.deribit import perpetual
from scalpdesk.instruments.fees import ALPACA_FEES, trade_date
from scalpdesk.orders.order import OrderState
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.venues.contract import KnownOrder
from scalpdesk.venues.tracker import OrderReport, OrderTracker, Outcome, Span
from scalpdesk_testing.kit.desk import apply_to
from scalpdesk_testing.kit.instruments import straddle_book

BOOK = straddle_book(500)
D = Decimal
QUANTITY = 12


def submit(quantity=QUANTITY, name="sd-000001", side=Side.BUY):
    return SubmitOrder(
        name,
        InstrumentId(0),
        side,
        D(quantity),
        OrderType.MARKET,
        None,
        TimeInForce.DAY,
        Purpose.HEDGE,
    )


def tracked(quantity=QUANTITY, **known):
    tracker = OrderTracker(BOOK)
    if known:
        tracker.restore([KnownOrder(submit(quantity), **known)])
        return tracker, tracker.orders["sd-000001"]
    return tracker, tracker.track(submit(quantity), 0)


def said(outcome, filled=0, average=None, reason=""):
    return OrderReport(
        "sd-000001", "v1", 5, Outcome(outcome), D(filled), None if average is None else D(average), reason
    )


def fills(events):
    return [one for one in events if isinstance(one, OrderFilled)]


@st.composite
def histories(draw):
    """Executions that fill an order in full: (quantity, price, cumulative) in their order."""
    left, cumulative, parts = QUANTITY, 0, []
    while left:
        quantity = draw(st.integers(1, left))
        left -= quantity
        cumulative += quantity
        parts.append((D(quantity), D(draw(st.integers(100, 110))), D(cumulative)))
    return parts


@given(histories(), st.data())
def test_whatever_is_told_in_whatever_order_how_often_each_execution_counts_once(parts, data):
    tracker, one = tracked()
    ways = [(way, index) for way in ("stream", "history", "report") for index in range(len(parts))]
    told = data.draw(st.lists(st.sampled_from(ways), max_size=12))
    given_out = []
    for way, index in told:
        quantity, price, cumulative = parts[index]
        if way == "report":
            value = sum(part[0] * part[1] for part in parts[: index + 1])
            given_out += tracker.apply(one, said("open", cumulative, value / cumulative), 9, infer=True)
        else:
            given_out += tracker.execution(one, f"{way}-{index}", quantity, price, cumulative, 5, 9)
        total = sum((fill.quantity for fill in fills(given_out)), D(0))
        assert total == one.covered <= QUANTITY
    value = sum(part[0] * part[1] for part in parts)
    given_out += tracker.apply(one, said("filled", QUANTITY, value / QUANTITY), 9, infer=True)
    booked = fills(given_out)
    assert sum(fill.quantity for fill in booked) == QUANTITY
    assert abs(sum(fill.quantity * fill.price for fill in booked) - value) < D("1e-15")
    assert len({fill.execution_id for fill in booked}) == len(booked)
    again = tracker.apply(one, said("filled", QUANTITY, value / QUANTITY), 9, infer=True)
    assert again == []


@given(histories(), st.data())
def test_the_order_manager_follows_without_contradiction(parts, data):
    tracker, one = tracked()
    manager = OrderManager("sd")
    intent = OrderIntent(InstrumentId(0), Side.BUY, D(QUANTITY), Purpose.HEDGE, "test")
    assert manager.submit(intent, 0).client_order_id == "sd-000001"
    order = list(range(len(parts)))
    for index in data.draw(st.permutations(order)) + data.draw(st.permutations(order)):
        quantity, price, cumulative = parts[index]
        for event in tracker.execution(one, f"e-{index}", quantity, price, cumulative, 5, 9):
            apply_to(manager, event)
    assert manager.order("sd-000001").state is OrderState.FILLED
    assert tracker.execution(one, "late", D(1), D(1), D(QUANTITY), 5, 9) == []


def test_what_the_journal_has_booked_is_not_given_again():
    executions = {"e1": (D(3), D(100)), "e2": (D(2), D(100))}
    tracker, one = tracked(filled=D(5), value=D(500), venue_order_id="v1", executions=executions)
    assert tracker.execution(one, "other-name", D(2), D(100), D(5), 5, 9) == []
    assert tracker.execution(one, "e2", D(2), D(100), D(5), 5, 9) == []
    events = tracker.apply(one, said("open", 9, "102"), 9, infer=True)
    (fill,) = fills(events)
    assert fill.quantity == 4
    assert fill.price == (D(9) * D(102) - D(500)) / 4
    assert tracker.find("", "v1") is one


def test_what_is_taken_back_of_an_order_that_the_journal_has_booked_may_fill_again():
    # the restored order counted it as filled still: whole after the next fill, it hid the end of its cancel
    executions = {"e0": (D(0), D(0)), "e1": (D(3), D(100)), "e2": (D(2), D(101))}
    tracker, one = tracked(filled=D(5), value=D(502), venue_order_id="v1", executions=executions)
    tracker.bust(one, "e1", "corrected", 5, 9, is_corrected=True)
    assert (one.covered, one.value) == (2, 202)
    (fill,) = fills(tracker.execution(one, "e3", D(3), D(102), D(5), 5, 9))
    assert (fill.quantity, one.covered, one.value) == (3, 5, 508)
    assert tracker.execution(one, "e0", D(2), D(100), D(7), 5, 9) == []
    (end,) = tracker.apply(one, said("cancelled", 5, "101.6"), 9, infer=False)
    assert isinstance(end, OrderCancelled)


def test_an_acknowledgement_is_given_once():
    tracker, one = tracked()
    first = tracker.apply(one, said("open"), 9, infer=False)
    assert first == [OrderAccepted("sd-000001", 5, 9, "v1")]
    assert tracker.apply(one, said("open"), 10, infer=False) == []


def test_the_venues_first_id_of_an_order_stays_and_none_is_no_id():
    tracker, one = tracked()
    tracker.accept(one, "", 5, 9)
    assert (one.venue_order_id, tracker.accept(one, "v1", 5, 9)) == ("", [])
    assert one.venue_order_id == "v1"
    tracker.accept(one, "v2", 5, 9)
    assert one.venue_order_id == "v1"


def test_a_doubt_ends_with_an_acknowledgement_even_of_an_order_known_before():
    tracker, one = tracked()
    tracker.apply(one, said("open"), 9, infer=False)
    assert isinstance(tracker.mark_unknown(one, "cancel: no answer", 10)[0], OrderStatusUnknown)
    assert tracker.unknown() == ("sd-000001",)
    assert isinstance(tracker.apply(one, said("open"), 11, infer=False)[0], OrderAccepted)
    assert tracker.unknown() == ()


def test_absence_is_doubted_first_and_final():
    tracker, one = tracked()
    assert [type(event) for event in tracker.not_found(one, 9)] == [OrderStatusUnknown, OrderNotFound]
    assert tracker.not_found(one, 10) == []
    assert tracker.mark_unknown(one, "late", 11) == []


def test_a_rejection_is_the_venues_word_and_comes_once():
    tracker, one = tracked()
    assert tracker.apply(one, said("rejected", reason="no money"), 9, infer=False) == [
        OrderRejected("sd-000001", 5, 9, "no money")
    ]
    assert tracker.apply(one, said("rejected"), 9, infer=False) == []


def test_a_rejection_after_a_part_was_filled_is_a_cancellation():
    tracker, one = tracked()
    events = tracker.apply(one, said("rejected", 3, "100"), 9, infer=True)
    assert [type(event) for event in events] == [OrderAccepted, OrderFilled, OrderCancelled]


def test_a_fill_before_its_acknowledgement_brings_it_along():
    tracker, one = tracked()
    events = tracker.execution(one, "e1", D(12), D(100), D(12), 5, 9)
    assert [type(event) for event in events] == [OrderAccepted, OrderFilled]


def test_a_late_fill_after_the_cancellation_still_counts():
    tracker, one = tracked()
    assert isinstance(tracker.apply(one, said("cancelled"), 9, infer=False)[-1], OrderCancelled)
    (fill,) = fills(tracker.execution(one, "e1", D(3), D(100), D(3), 5, 9))
    assert fill.quantity == 3


def test_what_was_inferred_covers_the_executions_that_come_later_without_a_cumulative():
    tracker, one = tracked()
    tracker.next_execution(one, "e1", D(2), D(100), 5, 9)
    (inferred,) = fills(tracker.apply(one, said("open", 8, 100), 9, infer=True))
    assert (inferred.quantity, one.inferred) == (6, 6)
    assert tracker.next_execution(one, "e2", D(4), D(100), 6, 9) == []
    assert tracker.next_execution(one, "e2", D(4), D(100), 6, 9) == []  # the same once more
    assert tracker.next_execution(one, "e1", D(2), D(100), 6, 9) == []
    (fill,) = fills(tracker.next_execution(one, "e3", D(3), D(101), 7, 9, fee=D("0.30000001")))
    assert (fill.execution_id, fill.quantity, fill.price, fill.fee) == ("e3", 1, 101, D("0.10000000"))
    assert (one.covered, one.inferred) == (9, 0)
    (fill,) = fills(tracker.next_execution(one, "e4", D(3), D(102), 8, 9, fee=D("0.3")))
    assert (fill.quantity, fill.fee, one.ended) == (3, D("0.3"), True)


def test_what_was_inferred_before_a_restart_covers_the_executions_that_come_after_it():
    tracker = OrderTracker(BOOK)
    executions = {"e1": (D(2), D(100)), "v-1/2-8": (D(6), D(100)), "e0": (D(0), D(0))}
    tracker.restore([KnownOrder(submit(), D(8), D(800), venue_order_id="v-1", executions=executions)])
    one = tracker.orders["sd-000001"]
    assert one.inferred == 6
    assert tracker.next_execution(one, "e2", D(6), D(100), 6, 9) == []
    (fill,) = fills(tracker.next_execution(one, "e3", D(1), D(100), 6, 9))
    assert fill.quantity == 1
    tracker.restore([KnownOrder(submit(), D(8), D(800))])  # booked, under no id
    assert tracker.orders["sd-000001"].inferred == 8


def test_a_refused_cancel_of_an_order_that_is_over_says_nothing():
    tracker, one = tracked()
    assert isinstance(tracker.reject_cancel(one, "too late", 9)[0], CancelRejected)
    tracker.execution(one, "e1", D(12), D(100), D(12), 5, 9)
    assert tracker.reject_cancel(one, "too late", 10) == []


def test_a_cancel_is_lost_when_the_venue_shows_the_order_at_work_long_after_it_took_it():
    tracker, one = tracked()
    second = 10**9
    assert tracker.cancel_lost(one, 10**12, 9) == []  # nothing was asked for
    at_ns = 0
    for pause in (5, 10, 20, 40, 60, 60):
        assert tracker.cancel_taken(one, at_ns) == at_ns + pause * second
        assert tracker.cancel_lost(one, at_ns + pause * second - 1, 9) == []
        (lost,) = tracker.cancel_lost(one, at_ns + pause * second, 9)
        assert lost == CancelRejected("sd-000001", 9, 9, "the venue took the cancel and works the order on")
        assert tracker.cancel_lost(one, 10**12, 9) == []  # once
        at_ns += pause * second
    tracker.cancel_taken(one, at_ns)
    tracker.execution(one, "e1", D(12), D(100), D(12), 5, 9)
    assert tracker.cancel_lost(one, 10**15, 9) == []  # it is over


def test_a_bust_frees_its_quantity_and_closes_the_gap_behind_it():
    tracker, one = tracked()
    tracker.execution(one, "e1", D(4), D(100), D(4), 5, 9)
    tracker.execution(one, "e2", D(4), D(101), D(8), 5, 9)
    assert tracker.bust(one, "e1", "erroneous", 6, 10) == [FillBusted("sd-000001", 6, 10, "e1", "erroneous")]
    assert one.covered == 4
    assert one.holes(D(4)) == []
    assert fills(tracker.execution(one, "e3", D(4), D(102), D(8), 7, 11))


def test_an_order_whose_first_execution_was_taken_back_unseen_is_over_with_what_is_known():
    tracker, one = tracked(12, venue_order_id="v1")
    tracker.execution(one, "e2", D(6), D(101), D(12), 5, 9)  # after six that the desk never saw
    (ended,) = [
        event
        for event in tracker.apply(one, said("filled", 6, "101"), 9, infer=False)
        if fills([event]) == []
    ]
    assert type(ended) is OrderCancelled
    assert (one.covered, one.ended, one.over) == (6, True, None)


@pytest.mark.rows(
    ("listed", "stays"),
    [
        ([("e2", 4, 4), ("e3", 1, 5)], "e3"),  # a bust before all that is known
        ([("e2", 3, 3), ("e3", 1, 4), ("e4", 1, 5)], "e3"),
    ],
)
def test_what_a_bust_of_a_dead_desks_time_made_room_for_is_booked_from_the_history(listed, stays):
    """The venue counts the executions without the one taken back, the desk had them behind it."""
    tracker, one = tracked(14, venue_order_id="v1")
    tracker.execution(one, "e1", D(1), D(100), D(1), 5, 9)
    told = [(name, D(quantity), D(100), D(upto), 6, 9) for name, quantity, upto in listed]
    booked = [event for line in told if line[0] == stays for event in tracker.execution(one, *line)]
    tracker.apply(one, said("cancelled", 5, "100"), 9, infer=False)
    (bust,) = tracker.taken_back(one, {name: D(quantity) for name, quantity, _ in listed}, 10)
    assert bust.execution_id == "e1"
    booked += [event for _ in range(2) for line in told for event in tracker.execution(one, *line)]
    assert {fill.execution_id for fill in fills(booked)} == {name for name, *_ in listed}
    assert (one.covered, one.ended) == (5, True)


def test_an_execution_before_one_of_the_journal_is_booked_once_the_venue_says_where_that_is():
    known = {"e2": (D(5), D(101))}
    tracker, one = tracked(12, venue_order_id="v1", filled=D(5), value=D(505), executions=known)
    history = [("e1", D(7), D(100), D(7), 5, 9), ("e2", D(5), D(101), D(12), 6, 9)]
    (fill,) = fills([event for _ in range(2) for told in history for event in tracker.execution(one, *told)])
    assert (fill.execution_id, fill.quantity, one.covered, one.ended) == ("e1", 7, 12, True)


def test_an_execution_of_the_journal_stays_where_another_of_the_journal_may_be():
    known = {"e2": (D(1), D(101)), "v1/0-4": (D(4), D(100))}
    tracker, one = tracked(12, venue_order_id="v1", filled=D(5), value=D(501), executions=known)
    assert tracker.execution(one, "e2", D(1), D(101), D(5), 5, 9) == []
    assert tracker.execution(one, "e1", D(4), D(100), D(4), 5, 9) == []  # it was inferred
    (fill,) = fills(tracker.apply(one, said("open", 9, "101"), 9, infer=True))
    assert (fill.quantity, one.covered) == (4, 9)


def test_an_execution_of_the_journal_that_was_inferred_covers_what_the_venue_tells_of_it():
    known = {"v1/0-5": (D(5), D(101))}
    tracker, one = tracked(12, venue_order_id="v1", filled=D(5), value=D(505), executions=known)
    told = [*tracker.execution(one, "e1", D(5), D(101), D(5), 5, 9)]
    told += tracker.execution(one, "e2", D(7), D(101), D(12), 5, 9)
    assert [fill.execution_id for fill in fills(told)] == ["e2"]


@pytest.mark.parametrize(("last", "is_told"), [(9, True), (8, False)])
def test_an_execution_taken_back_unseen_leaves_its_place_once_the_history_lists_what_the_end_counts(
    last, is_told
):
    tracker, one = tracked(12, venue_order_id="v1")
    for name, quantity, cumulative in (("e1", 1, 1), ("e2", 2, 3)):
        tracker.execution(one, name, D(quantity), D(100), D(cumulative), 5, 9)
    tracker.apply(one, said("cancelled", 10), 9, infer=False)
    assert tracker.execution(one, "e3", D(9), D(101), D(10), 6, 9) == []  # it overlaps the second
    listed = {"e1": D(1), "e3": D(last)}
    busts = tracker.taken_back(one, listed, 10)
    assert [bust.execution_id for bust in busts] == (["e2"] if is_told else [])
    if is_told:
        *_, fill, ended = tracker.execution(one, "e3", D(9), D(101), D(10), 6, 11)
        assert (fill.quantity, type(ended), one.covered, one.unknown) == (9, OrderCancelled, 10, False)


def test_a_bust_that_comes_after_the_end_of_its_order_uncovers_the_execution_that_the_end_counts():
    # one of two was taken back and the other traded while the line was down; the end counts the other
    tracker, one = tracked(2, venue_order_id="v1")
    tracker.execution(one, "e1", D(1), D(100), D(1), 5, 9)
    end = msgspec.structs.replace(said("cancelled", 1, "101"), ts_event_ns=8)
    assert [type(event) for event in tracker.apply(one, end, 12, infer=True)] == [OrderCancelled]
    bust, fill = tracker.bust(one, "e1", "erroneous", 6, 13)
    assert (bust.execution_id, bust.more_follow, one.covered) == ("e1", True, 1)
    assert (fill.quantity, fill.price) == (1, 101)
    # its own message tells nothing new: its place is one of before the bust
    assert tracker.execution(one, "e2", D(1), D(101), D(2), 5, 14) == []
    assert (one.covered, one.ended) == (1, True)


@pytest.mark.parametrize("at_ns", [8, 9])
def test_a_bust_of_the_instant_of_the_end_or_after_it_uncovers_nothing(at_ns):
    tracker, one = tracked(2, venue_order_id="v1")
    tracker.execution(one, "e1", D(1), D(100), D(1), 5, 9)
    tracker.apply(one, msgspec.structs.replace(said("cancelled", 1, "100"), ts_event_ns=8), 12, infer=True)
    (bust,) = tracker.bust(one, "e1", "erroneous", at_ns, 13)
    assert (bust.more_follow, one.covered) == (False, 0)


def test_an_end_from_before_a_bust_waits_for_the_other_executions_that_it_counts():
    tracker, one = tracked(3, venue_order_id="v1")
    tracker.execution(one, "e1", D(1), D(100), D(1), 5, 9)
    tracker.bust(one, "e1", "erroneous", 8, 10)
    (doubted,) = tracker.apply(
        one, msgspec.structs.replace(said("cancelled", 2, "101"), ts_event_ns=7), 12, infer=False
    )
    assert type(doubted) is OrderStatusUnknown
    *_, fill, ended = tracker.execution(one, "e2", D(1), D(102), D(1), 6, 13)
    assert (fill.quantity, type(ended), one.covered, one.unknown) == (1, OrderCancelled, 1, False)


def test_an_answer_from_before_a_bust_does_not_bring_the_execution_back():
    # a slow answer still counted what was taken back: the desk booked it again and took the order for over
    tracker, one = tracked()
    tracker.execution(one, "e1", D(4), D(100), D(4), 5, 9)
    tracker.bust(one, "e1", "erroneous", 6, 10)
    assert tracker.apply(one, said("open", 4, "100"), 12, infer=True) == []
    assert one.covered == 0
    later = msgspec.structs.replace(said("open", 4, "102"), ts_event_ns=7)
    (fill,) = fills(tracker.apply(one, later, 13, infer=True))
    assert (fill.quantity, fill.price) == (4, 102)


def test_an_execution_beyond_the_beginning_is_not_believed():
    tracker, one = tracked()
    (doubt,) = tracker.execution(one, "e1", D(5), D(100), D(4), 5, 9)
    assert isinstance(doubt, OrderStatusUnknown)
    assert one.covered == 0


@pytest.mark.rows(
    ("mean", "price"),
    [
        (D(1_000) / (D(400) / 90_000 + D(600) / 91_000), D(91_000)),
        (D(400) * 90_000 / 400, D(90_000)),  # of another count: more coin than was bought is missing
        (D(1_000) * 90_000 / 400, D(225_000)),  # the coin of the rest would be zero
    ],
)
def test_the_mean_of_inverse_contracts_is_harmonic(mean, price):
    tracker = OrderTracker(Instruments([perpetual("BTC")]))
    one = tracker.track(submit(1_000), 0)
    tracker.next_execution(one, "x1", D(400), D(90_000), 1, 1)
    (fill,) = fills(tracker.apply(one, said("filled", 1_000, mean), 9, infer=True))
    assert (fill.quantity, round(fill.price, 6)) == (600, price)


def test_an_average_of_another_count_never_makes_a_negative_price():
    tracker, one = tracked(filled=D(11), value=D(1200))
    (fill,) = fills(tracker.apply(one, said("filled", 12, "90"), 9, infer=True))
    assert fill.price == D(90)


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_fees_come_from_the_schedule(side):
    tracker = OrderTracker(BOOK, ALPACA_FEES)
    one = tracker.track(submit(side=side), 0)
    (fill,) = fills(tracker.execution(one, "e1", D(12), D(500), D(12), 5, 9))
    assert fill.fee == ALPACA_FEES.on(trade_date(5)).fee(BOOK[InstrumentId(0)], side, D(12), D(500))


@given(st.integers(0, 50), st.sampled_from([Side.BUY, Side.SELL]))
def test_a_fee_reported_late_leaves_the_cash_at_what_the_venue_charged(cents, side):
    tracker = OrderTracker(BOOK, ALPACA_FEES)
    one = tracker.track(submit(side=side), 0)
    (fill,) = fills(tracker.execution(one, "e1", D(12), D(500), D(12), 5, 9))
    charged = D(cents) / 100
    late = tracker.fee_reported(one, "e1", charged, 6, 9)
    assert fill.fee - sum(change.cash_change for change in late) == charged
    assert tracker.fee_reported(one, "e1", charged, 7, 9) == []


# one order ------------------------------------------------------------------------------------------


def test_an_order_is_found_by_either_id_and_a_stranger_is_not():
    tracker, one = tracked()
    assert tracker.find("sd-000001", "") is tracker.find("sd-000001", "v9") is one
    assert tracker.find("", "v1") is tracker.find("other", "v1") is None
    tracker.bind("sd-000001", "v1")
    assert tracker.find("", "v1") is tracker.find("other", "v1") is one
    assert tracker.find("", "") is None


def span(start, end):
    return Span(D(start), D(end))


def test_holes_are_what_no_execution_covers_up_to_a_quantity():
    _, one = tracked()
    assert one.holes(D(0)) == []
    assert one.holes(D(3)) == [span(0, 3)]
    for name, covered in (("e2", span(8, 10)), ("e1", span(2, 5))):
        one.add_execution(name, covered, D(100))
    assert one.cover == [span(2, 5), span(8, 10)]
    assert one.holes(D(12)) == [span(0, 2), span(5, 8), span(10, 12)]
    assert one.holes(D(10)) == one.holes(D(9)) == [span(0, 2), span(5, 8)]
    assert one.holes(D(8)) == [span(0, 2), span(5, 8)]
    assert one.holes(D(7)) == [span(0, 2), span(5, 7)]
    assert one.holes(D(2)) == [span(0, 2)]
    assert one.holes(D(1)) == [span(0, 1)]
    assert (one.covered, one.value) == (5, 500)


def test_what_is_taken_back_moves_what_came_after_it_and_nothing_before():
    _, one = tracked()
    for name, covered, price in (("e1", span(0, 4), 100), ("e2", span(4, 7), 101), ("e3", span(7, 9), 102)):
        one.add_execution(name, covered, D(price))
    assert one.remove_execution("e2") == span(4, 7)
    assert one.cover == [span(0, 4), span(4, 6)]
    assert one.executions == {"e1": (span(0, 4), D(100)), "e3": (span(4, 6), D(102))}
    assert one.value == 4 * 100 + 2 * 102
    assert one.remove_execution("e2") is None
    assert one.remove_execution("e3") == span(4, 6)
    assert (one.cover, one.value, list(one.executions)) == ([span(0, 4)], 400, ["e1"])


def test_an_execution_that_covers_nothing_any_more_is_not_taken_back_twice():
    executions = {"e0": (D(0), D(100)), "e1": (D(3), D(100))}
    _, one = tracked(filled=D(3), value=D(300), executions=executions)
    assert one.remove_execution("e0") is None
    assert (one.cover, one.value) == ([span(0, 3)], 300)


# the orders of the journal --------------------------------------------------------------------------


@pytest.mark.rows(
    ("known", "accepted"),
    [({}, False), ({"venue_order_id": "v1"}, True), ({"filled": D("0.5")}, True), ({"filled": D(0)}, False)],
)
def test_an_order_of_the_journal_was_accepted_if_it_has_an_id_or_a_fill(known, accepted):
    tracker = OrderTracker(BOOK)
    tracker.restore([KnownOrder(submit(), parent_id="whole", **known)], lambda order: len(order.parent_id))
    one = tracker.orders["sd-000001"]
    assert (one.accepted, one.ended, one.unknown) == (accepted, False, False)
    assert (one.sent_ns, one.parent_id, one.answered_ns) == (0, "whole", 5)
    assert one.venue_order_id == known.get("venue_order_id", "")
    assert tracker.find("", one.venue_order_id or "v1") is (one if one.venue_order_id else None)


def test_an_order_of_the_journal_that_ended_stays_so_and_was_answered_long_ago():
    tracker = OrderTracker(BOOK)
    tracker.restore([KnownOrder(submit(), is_live=False)])
    one = tracker.orders["sd-000001"]
    assert (one.ended, one.answered_ns) == (True, 0)
    assert tracker.mark_unknown(one, "x", 9) == tracker.reject(one, "x", 5, 9) == []


def test_what_the_journal_booked_without_an_execution_is_covered_too():
    executions = {"e1": (D(3), D(100)), "e2": (D(0), D(0)), "e3": (D(2), D(101))}
    _, one = tracked(filled=D(8), value=D(805), executions=executions)
    assert one.cover == [span(0, 3), span(3, 5), span(5, 8)]
    assert one.executions["e2"] == (span(3, 3), D(0))
    assert (one.covered, one.value) == (8, 805)
    _, whole = tracked(filled=D(5), value=D(502), executions=executions)
    assert whole.cover == [span(0, 3), span(3, 5)]


# reports --------------------------------------------------------------------------------------------


def test_a_rejection_brings_the_venues_id_unless_one_is_known():
    tracker, one = tracked()
    tracker.apply(one, said("rejected"), 9, infer=False)
    assert (one.venue_order_id, tracker.find("", "v1")) == ("v1", one)
    tracker, one = tracked()
    tracker.bind("sd-000001", "v0")
    assert tracker.apply(one, said("rejected"), 9, infer=False) == [
        OrderRejected("sd-000001", 5, 9, "rejected by the venue")
    ]
    assert one.venue_order_id == "v0"
    tracker, one = tracked()
    tracker.apply(one, msgspec.structs.replace(said("rejected"), venue_order_id=""), 9, infer=False)
    assert (one.venue_order_id, tracker.find("", "")) == ("", None)


@pytest.mark.rows(("reason", "shown"), [("", "cancelled by the venue"), ("too old", "too old")])
@pytest.mark.rows("outcome", ["cancelled", "rejected"])
def test_a_cancellation_has_a_reason(outcome, reason, shown):
    tracker, one = tracked(filled=D(1), value=D(100), venue_order_id="v1")
    assert tracker.apply(one, said(outcome, 1, "100", reason), 9, infer=True) == [
        OrderCancelled("sd-000001", 5, 9, shown)
    ]
    assert one.ended
    assert tracker.apply(one, said(outcome, 1, "100", reason), 9, infer=True) == []


def test_an_order_expires_once():
    tracker, one = tracked(venue_order_id="v1")
    tracker.mark_unknown(one, "no answer", 8)
    events = tracker.apply(one, said("expired"), 9, infer=True)
    assert events == [OrderAccepted("sd-000001", 5, 9, "v1"), OrderExpired("sd-000001", 5, 9)]
    assert (one.ended, one.unknown) == (True, False)
    assert tracker.apply(one, said("expired"), 9, infer=True) == []


@pytest.mark.rows(("filled", "ends"), [(11, True), (12, False), (13, False)])
def test_an_order_that_the_venue_ended_below_its_quantity_is_cancelled(filled, ends):
    tracker, one = tracked(venue_order_id="v1")
    tracker.execution(one, "e1", D(11), D(100), D(11), 4, 9)
    ended = tracker.apply(one, said("filled", filled, "100"), 9, infer=False)
    assert ended == (
        [OrderCancelled("sd-000001", 5, 9, f"ended at the venue with {filled} of 12")] if ends else []
    )
    assert one.ended is ends


@given(histories(), st.sampled_from(["cancelled", "rejected", "expired", "filled"]), st.data())
def test_an_order_is_over_once_all_that_its_end_counts_is_booked_and_not_before(parts, label, data):
    tracker, one = tracked(venue_order_id="v1")
    counted = parts[: data.draw(st.integers(0, len(parts)))]
    filled = sum((quantity for quantity, _, _ in counted), D(0))
    late = data.draw(st.permutations(range(len(counted))))
    known = data.draw(st.integers(0, len(late)))

    def book(index):
        quantity, price, cumulative = parts[index]
        return tracker.execution(one, f"e-{index}", quantity, price, cumulative, 5, 9)

    given_out = [event for index in late[:known] for event in book(index)]
    given_out += tracker.apply(one, said(label, filled), 9, infer=False)
    for index in late[known:]:
        assert not one.ended
        given_out += book(index)
    assert one.ended is (label != "filled" or filled < QUANTITY or one.covered == QUANTITY)
    assert sum(fill.quantity for fill in fills(given_out)) == one.covered == filled
    doubts = [event for event in given_out if isinstance(event, OrderStatusUnknown)]
    assert bool(doubts) is (known < len(late) and (label != "filled" or filled < QUANTITY))
    assert sum(not isinstance(event, OrderFilled) for event in given_out if event not in doubts) <= 1 + len(
        doubts
    )


def test_an_order_that_a_question_finds_filled_is_in_doubt_until_its_executions_are_known():
    tracker, one = tracked(venue_order_id="v1")
    assert tracker.apply(one, said("filled", QUANTITY), 9, infer=False) == []  # the stream brings them
    (doubt,) = tracker.apply(one, said("filled", QUANTITY), 9, infer=True)
    assert isinstance(doubt, OrderStatusUnknown)
    assert tracker.apply(one, said("filled", QUANTITY), 9, infer=True) == []
    tracker.execution(one, "e1", D(QUANTITY), D(100), D(QUANTITY), 5, 9)
    assert (one.ended, one.unknown) == (True, False)


def test_an_end_that_waits_for_executions_is_taken_back_by_an_order_at_work():
    tracker, one = tracked(venue_order_id="v1")
    tracker.apply(one, said("rejected", 3), 9, infer=False)
    assert (one.ended, one.unknown) == (False, True)
    (shown,) = tracker.apply(one, said("open", 3), 9, infer=False)
    assert isinstance(shown, OrderAccepted)
    tracker.execution(one, "e1", D(3), D(100), D(3), 5, 9)
    assert (one.ended, one.unknown) == (False, False)


def test_a_status_that_nobody_knows_puts_the_order_in_doubt_until_a_known_one_comes():
    tracker, one = tracked()
    (doubt,) = tracker.apply(one, said("unknown"), 9, infer=True)
    assert isinstance(doubt, OrderStatusUnknown)
    assert (one.venue_order_id, one.unknown, one.ended) == ("v1", True, False)
    assert tracker.apply(one, said("unknown"), 9, infer=True) == []
    assert fills(tracker.apply(one, said("unknown", 5, "100"), 9, infer=True))[0].quantity == 5
    assert one.unknown
    (shown,) = tracker.apply(one, said("cancelling", 5, "100"), 9, infer=True)
    assert isinstance(shown, OrderAccepted)
    assert (one.unknown, one.ended) == (False, False)


def test_a_report_of_the_instant_of_a_bust_is_believed_and_one_before_it_is_not():
    tracker, one = tracked(venue_order_id="v1")
    tracker.execution(one, "e1", D(4), D(100), D(4), 3, 9)
    tracker.bust(one, "e1", "erroneous", 5, 10)
    tracker.bust(one, "unknown", "erroneous", 4, 10)
    assert one.busted_ns == 5
    early = msgspec.structs.replace(said("open", 4, "100"), ts_event_ns=4)
    assert tracker.apply(one, early, 12, infer=True) == []
    (fill,) = tracker.apply(one, said("open", 4, "100"), 12, infer=True)
    assert (fill.execution_id, fill.quantity, fill.price) == ("v1/0-4", 4, 100)


def test_a_bust_says_whether_a_corrected_execution_follows():
    tracker, one = tracked(venue_order_id="v1")
    (plain,) = tracker.bust(one, "e1", "erroneous", 5, 9)
    (corrected,) = tracker.bust(one, "e1", "corrected", 6, 9, is_corrected=True)
    assert (plain.is_corrected, corrected.is_corrected, one.busted_ns) == (False, True, 6)


def test_a_missed_execution_that_was_free_costs_nothing():
    call = msgspec.structs.replace(submit(), instrument_id=InstrumentId(1))
    tracker = OrderTracker(BOOK)
    tracker.restore([KnownOrder(call, filled=D(6), value=D(600), venue_order_id="v1")])
    (fill,) = tracker.apply(tracker.orders["sd-000001"], said("open", 12, "50"), 9, infer=True)
    assert (fill.quantity, fill.price) == (6, 0)
    tracker, one = tracked(filled=D(6), value=D(600), venue_order_id="v1")
    (fill,) = tracker.apply(one, said("open", 12, "50.04"), 9, infer=True)
    assert fill.price == D("0.08")


def test_each_hole_is_filled_by_an_execution_of_its_own_at_the_mean_of_the_missing():
    tracker, one = tracked(venue_order_id="v1")
    tracker.execution(one, "e1", D(2), D(100), D(5), 4, 9)
    first, second = tracker.apply(one, said("open", 8, "101.5"), 9, infer=True)
    assert [(fill.execution_id, fill.quantity) for fill in (first, second)] == [("v1/0-3", 3), ("v1/5-8", 3)]
    assert first.price == second.price == (D("101.5") * 8 - 200) / 6
    assert (first.ts_event_ns, first.ts_recv_ns) == (5, 9)


def test_more_than_was_ordered_is_never_inferred():
    tracker, one = tracked(venue_order_id="v1")
    (fill,) = tracker.apply(one, said("open", 20, "100"), 9, infer=True)
    assert (fill.quantity, one.ended) == (12, True)


def test_an_older_report_than_what_is_known_infers_nothing():
    tracker, one = tracked(venue_order_id="v1")
    tracker.execution(one, "e2", D(4), D(100), D(8), 4, 9)
    assert tracker.apply(one, said("open", 7, "100"), 9, infer=True) == []
    (fill,) = tracker.apply(one, said("open", 8, "100"), 9, infer=True)
    assert fill.quantity == 4


def test_an_execution_ends_the_order_when_nothing_is_left():
    tracker, one = tracked(venue_order_id="v1")
    tracker.execution(one, "e1", D(11), D(100), D(11), 4, 9)
    assert not one.ended
    tracker.mark_unknown(one, "no answer", 9)
    events = tracker.execution(one, "e2", D(1), D(100), D(12), 4, 9, fee=D("0.5"))
    assert events == [
        OrderAccepted("sd-000001", 4, 9, "v1"),
        OrderFilled("sd-000001", 4, 9, "e2", D(1), D(100), D("0.5")),
    ]
    assert (one.ended, one.unknown) == (True, False)
