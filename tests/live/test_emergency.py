"""The last resort's rounds against a venue in memory: when each request leaves, its size, and what is logged.

What it comes to at the simulated exchange is held in ``tests/faults/test_watchdog_flatten.py``.
"""

import asyncio
from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest

from scalpdesk.core.errors import RetryError
from scalpdesk.core.events import (
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    QuoteEvent,
)
from scalpdesk.core.intents import CancelOrder, OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.venues.contract import KnownOrder
from tests.live.emergency_venue import SHARE, EmergencyVenue, S

D = Decimal
CALL = InstrumentId(1)


def desk_order(name, quantity=2, side=Side.BUY, number=SHARE):
    return SubmitOrder(
        name, number, side, D(quantity), OrderType.MARKET, None, TimeInForce.DAY, Purpose.HEDGE, "desk"
    )


def test_an_account_without_open_orders_is_clear_at_the_first_look():
    venue = EmergencyVenue()
    assert venue.clear() is True
    assert (venue.looks, venue.log, venue.cancels, venue.asked) == ([0.0], ["no order is open"], [], [])


def test_rounds_grow_from_a_fifth_of_a_second_to_two_seconds_and_end_after_ten_minutes():
    venue = EmergencyVenue()
    venue.failures = [RetryError("the venue is away", where="here")] * 1_000
    assert venue.clear() is False
    gaps = [round(later - earlier, 3) for earlier, later in pairwise(venue.looks)]
    assert gaps[:4] == [0.2, 0.22, 0.242, 0.266]
    assert gaps[-1] == 2.0
    assert sorted(gaps) == gaps
    assert 598.0 <= venue.looks[-1] < 600.0
    assert venue.log == ["not done yet: the venue is away"] * len(venue.looks)


def halted(venue, seconds):
    """Let orders rest at the venue until trading resumes, as in a halt."""
    resting = {}

    def take(command):
        name = command.client_order_id
        venue.tell(OrderAccepted(name, 0, 0, f"v-{name}"))
        if venue.now >= seconds:
            venue.fill(command)
            return
        resting[name] = command
        venue.rest(name, command.side, command.quantity, command.instrument_id)

    def send(command):
        venue.sent.append((venue.now, command))
        if isinstance(command, SubmitOrder):
            take(command)
        elif resting.pop(command.client_order_id, None) is not None:
            del venue.open[f"v-{command.client_order_id}"]
            venue.tell(OrderCancelled(command.client_order_id, 0, 0, "as asked"))

    def resume():
        venue.open.clear()
        for command in resting.values():
            venue.fill(command)

    venue.send = send
    venue.loop.call_later(seconds, resume)


@pytest.mark.rows("minutes", [5, 15, 60])
def test_a_halt_is_waited_out_and_then_options_go_before_their_hedge(minutes):
    """After ten minutes its sale of the options was left at the venue, and the hedge without an owner."""
    venue = EmergencyVenue(SPY240419C00500000=2, SPY=-30)
    halted(venue, 60.0 * minutes)
    assert venue.clear(flatten=True) is True
    assert not any(venue.held.values())
    at, *bought = venue.orders()[-1]
    assert bought[:2] == ["buy", 30]
    assert 60.0 * minutes < at < 60.0 * minutes + 5.0
    assert [quantity for _, _, quantity, _ in venue.orders()].count(30) == 1


def test_a_cancel_that_is_not_taken_is_repeated_and_logged_every_two_seconds():
    venue = EmergencyVenue()
    venue.rest("by-hand", Side.SELL, 30)
    venue.takes_cancels = False
    venue.loop.call_later(5.0, setattr, venue, "takes_cancels", True)
    assert venue.clear() is True
    at = [when for when, _ in venue.cancels]
    assert at[0] == 0.0
    assert all(2.0 <= later - earlier < 3.0 for earlier, later in pairwise(at))
    assert 5.0 < at[-1] < 8.0
    not_taken = "the cancel of by-hand was not taken: trying again"
    assert venue.log == [
        "cancelling sell 30 SPY by-hand",
        *[not_taken] * (len(at) - 1),
        "no order is open",
    ]


def test_a_cancel_that_raises_does_not_keep_the_others_from_the_venue():
    venue = EmergencyVenue()
    venue.rest("first", Side.SELL, 30)
    venue.rest("second", Side.BUY, 3)
    cancel = venue.cancel_at_venue
    failures = [RetryError("lost", where="here")]

    async def lossy(venue_id):
        if venue_id == "v-first" and failures:
            venue.cancels.append((venue.now, venue_id))
            raise failures.pop()
        return await cancel(venue_id)

    venue.cancel_at_venue = lossy
    assert venue.clear() is True
    assert venue.cancels[:2] == [(0.0, "v-first"), (0.0, "v-second")]
    assert [venue_id for _, venue_id in venue.cancels[2:]] == ["v-first"]
    assert [text for text in venue.log if "not taken" in text] == [
        "the cancel of first was not taken: trying again"
    ]


def test_orders_of_the_desk_are_asked_after_until_each_has_ended():
    venue = EmergencyVenue()
    venue.rest("shown", Side.BUY, 2)
    ends = {
        "lost": OrderNotFound("lost", 0, 0),
        "gone": OrderCancelled("gone", 0, 0, "by the venue"),
    }
    venue.on_query = lambda name: venue.tell(ends[name]) if name in ends and venue.now > 0.5 else None
    shown = OrderCancelled("shown", 0, 0, "cancelled")
    venue.loop.call_later(0.3, venue.tell, shown)
    orders = [desk_order(name) for name in ("lost", "shown", "gone")]
    # 'not found' ends only an order whose state is unknown: which every one of the desk's is
    assert venue.clear(*orders, parents={"gone": "combo"}) is True
    assert venue.adopted == [
        KnownOrder(order, parent_id="combo" if order.client_order_id == "gone" else "") for order in orders
    ]
    assert venue.cancels == [(0.0, "v-shown")]
    assert venue.asked == [
        *[(0.0, "lost"), (0.0, "gone")],  # at first the venue shows the other one as open
        *[(0.2, name) for name in ("lost", "shown", "gone")],
        *[(0.42, name) for name in ("lost", "gone")],
        *[(0.662, name) for name in ("lost", "gone")],
    ]


def test_executions_of_the_desk_are_logged_and_other_events_passed_over():
    venue = EmergencyVenue()
    other, order = desk_order("not-followed", 5), desk_order("a", 2)
    venue.fill(other)
    venue.tell(QuoteEvent(SHARE, S, S, 499.5, 500.5, 1.0, 1.0))
    venue.fill(order, 1)
    venue.sent.append(None)  # another execution id
    venue.fill(order, 1)
    venue.sent.append(None)
    venue.fill(order, 1)  # one more than was ordered
    assert venue.clear(order) is True
    filled = "buy 1 SPY filled at 500.25"
    assert venue.log == [filled, filled, *venue.log[2:3], filled, "no order is open"]
    assert venue.log[2].startswith("OrderFilled of a was not applied: ")


def test_a_position_is_closed_once_it_was_shown_twice_and_then_called_flat():
    venue = EmergencyVenue(SPY=100)
    assert venue.clear(flatten=True) is True
    assert venue.orders() == [(0.2, "sell", 100, "wd-flat-SPY-1")]
    assert venue.log == [
        "sell 100 SPY wd-flat-SPY-1",
        "sell 100 SPY filled at 500.25",
        "the account is flat",
    ]
    # what is held is what was believed and the execution: it is believed at once
    assert venue.looks == [0.0, 0.2, 0.42]


def test_positions_from_elsewhere_are_believed_when_they_are_shown_again():
    venue = EmergencyVenue(SPY=100)
    venue.loop.call_later(0.1, venue.held.update, {SHARE: D(-40)})
    assert venue.clear(flatten=True) is True
    assert venue.orders() == [(0.42, "buy", 40, "wd-flat-SPY-1")]


@pytest.mark.parametrize("lag_seconds", [3.0, 60.0])
def test_positions_that_stand_still_beside_an_execution_are_old_and_nothing_is_sold_twice(lag_seconds):
    """After ten seconds a venue that answered with an old list had the position sold once more."""
    venue = EmergencyVenue(SPY=100)
    venue.lag_seconds = lag_seconds
    assert venue.clear(flatten=True) is True
    assert venue.orders() == [(0.2, "sell", 100, "wd-flat-SPY-1")]
    assert lag_seconds <= venue.now < lag_seconds + 5.0


def test_a_closing_order_that_is_filled_in_parts_leaves_positions_that_are_believed_at_once():
    venue = EmergencyVenue(SPY=100)

    def in_parts(order):
        for part in (60, 30, 10):
            venue.fill(order, part, event=False)
            name = order.client_order_id
            venue.tell(OrderFilled(name, 0, 0, f"{name}-{part}", D(part), D("500.25"), D(0)))

    venue.on_send = in_parts
    assert venue.clear(flatten=True) is True
    assert [quantity for _, _, quantity, _ in venue.orders()] == [100]
    assert venue.looks[-1] - venue.orders()[0][0] < 1.0  # not the ten seconds of positions that lag


def test_refused_closing_orders_are_sent_again_at_growing_intervals():
    venue = EmergencyVenue(SPY=100)
    venue.on_send = lambda order: venue.tell(OrderRejected(order.client_order_id, 0, 0, "closed"))
    venue.loop.call_later(100.0, venue.held.clear)
    assert venue.clear(flatten=True) is True
    at = [when for when, *_ in venue.orders()]
    gaps = [later - earlier for earlier, later in pairwise(at)]
    for gap, pause in zip(gaps, (2.0, 4.0, 8.0, 15.0, 15.0, 15.0), strict=False):
        assert pause <= gap < pause + 2.0
    assert [name for *_, name in venue.orders()][:2] == ["wd-flat-SPY-1", "wd-flat-SPY-2"]


@pytest.mark.rows(
    ("side", "held", "sent"),
    [
        (Side.SELL, 100, ("sell", 70)),  # may still close 30: only the rest is sent
        (Side.BUY, 100, ("sell", 100)),  # would add
        (Side.BUY, -100, ("buy", 70)),
        (Side.SELL, -100, ("buy", 100)),
    ],
)
def test_an_order_from_elsewhere_that_cannot_be_cancelled_counts_where_it_closes(side, held, sent):
    venue = EmergencyVenue(SPY=held)
    venue.takes_cancels = False
    venue.rest("by-hand", side, 30)
    venue.rest("of-what-is-not-held", Side.BUY, 1, CALL)
    venue.rest("of-no-known-symbol", Side.SELL, 1, None)
    venue.loop.call_later(1.0, setattr, venue, "takes_cancels", True)
    venue.clear(flatten=True)
    (_, *first, _), *_ = venue.orders()
    assert tuple(first) == sent
    assert venue.held[SHARE] == 0


def test_a_desk_that_may_send_no_market_orders_closes_a_tick_below_the_bid_and_two_after_fifteen_seconds():
    venue = EmergencyVenue(SPY=100)
    venue.on_send = lambda order: None
    limits = RiskLimits(allowed_order_types=(OrderType.LIMIT,))
    send = venue.send

    def with_cancels(command):
        send(command)
        if isinstance(command, CancelOrder):
            venue.tell(OrderCancelled(command.client_order_id, 0, 0, "as asked"))
            venue.on_send = venue.fill

    venue.send = with_cancels
    assert venue.clear(flatten=True, limits=limits) is True
    (first_at, first), (cancel_at, cancel), (_, second) = venue.sent
    assert (first.order_type, first.limit_price, first.quantity) == (OrderType.LIMIT, D("499.49"), 100)
    assert cancel == CancelOrder("wd-flat-SPY-1")
    assert 15.0 <= cancel_at - first_at < 17.0
    assert (second.client_order_id, second.limit_price) == ("wd-flat-SPY-2", D("499.48"))
    assert venue.cancels == []  # its own orders are not cancelled as those of others are


def test_without_a_quote_nothing_is_sent_at_a_limit():
    venue = EmergencyVenue(SPY240419C00500000=2)
    venue.loop.call_later(20.0, venue.held.clear)
    assert venue.clear(flatten=True, limits=RiskLimits(allowed_order_types=(OrderType.LIMIT,))) is True
    assert venue.sent == []


def test_a_look_in_which_an_event_came_is_no_ground_to_send_an_order():
    """It may have been an execution: what was shown is held no more."""
    venue = EmergencyVenue(SPY=-30)
    look = venue.shown_positions

    async def disturbed():
        shown = await look()
        if venue.now < 5.0:
            venue.tell(OrderAccepted("call", 0, 0, "v-call"))
            await asyncio.sleep(0.01)
        return shown

    venue.shown_positions = disturbed
    venue.loop.call_later(20.0, lambda: venue.tell(OrderCancelled("call", 0, 0, "at last")))
    assert venue.clear(desk_order("call", number=CALL), flatten=True) is True
    ((sent_at, *order),) = venue.orders()
    assert order[:2] == ["buy", 30]
    assert sent_at > 5.0


def test_an_order_that_is_filled_while_quotes_are_asked_for_is_not_sent_again():
    """What is held was read before them, and what is left of the order after: the account was sold short."""
    venue = EmergencyVenue(SPY=100)
    venue.on_send = lambda order: None
    quotes = venue.quotes

    async def slow(numbers):
        if venue.now > 10.0:
            venue.quotes = quotes
            venue.fill(venue.sent[0][1])
            await asyncio.sleep(0.01)
        return await quotes(numbers)

    venue.quotes = slow
    assert venue.clear(flatten=True, limits=RiskLimits(allowed_order_types=(OrderType.LIMIT,))) is True
    assert [name for *_, name in venue.orders()] == ["wd-flat-SPY-1"]


def test_an_order_that_still_works_is_not_sent_again_in_its_instrument():
    venue = EmergencyVenue(SPY=100)
    venue.on_send = lambda order: None  # no word of it
    venue.loop.call_later(12.0, lambda: venue.fill(venue.sent[0][1]))
    assert venue.clear(flatten=True) is True
    assert venue.orders() == [(0.2, "sell", 100, "wd-flat-SPY-1")]
    assert {name for _, name in venue.asked} == {"wd-flat-SPY-1"}


def test_open_orders_from_elsewhere_are_left_and_named_once():
    venue = EmergencyVenue()
    venue.rest("by-hand", Side.SELL, 30)
    venue.rest("desk-7", Side.SELL, 30)
    venue.rest("other-8", Side.BUY, 2)
    assert venue.clear(desk_order("other-8"), only_ids="desk") is False  # the last one's end is never told
    assert [venue_id for _, venue_id in venue.cancels] == ["v-desk-7", "v-other-8"]
    left = "open orders from elsewhere are left (--foreign-orders leave): SPY by-hand"
    assert venue.log.count(left) == 1
    assert "no order is open" not in venue.log


def test_nothing_is_closed_where_an_order_of_the_desk_may_still_be_on_its_way():
    venue = EmergencyVenue(SPY=10, SPY240419C00500000=2)
    venue.loop.call_later(50.0, lambda: venue.tell(OrderRejected("a", 0, 0, "no")))
    assert venue.clear(desk_order("a", 4, Side.SELL), flatten=True) is True
    option_sale, share_sale = venue.orders()
    assert option_sale == (0.2, "sell", 2, "wd-flat-SPY240419C00500000-1")
    assert share_sale[1:] == ("sell", 10, "wd-flat-SPY-1")
    assert share_sale[0] > 50.0


def test_beside_an_exit_in_doubt_no_more_is_sold_than_is_left_of_the_holding():
    venue = EmergencyVenue(SPY=10)
    exit_ = msgspec.structs.replace(desk_order("a", 4, Side.SELL), purpose=Purpose.UNWIND_HEDGE)
    venue.loop.call_later(50.0, lambda: venue.tell(OrderRejected("a", 0, 0, "no")))
    assert venue.clear(exit_, flatten=True) is True
    (at, *first), (later, *rest) = venue.orders()
    assert (at, first, rest) == (0.2, ["sell", 6, "wd-flat-SPY-1"], ["sell", 4, "wd-flat-SPY-2"])
    assert later > 50.0


def test_a_second_order_under_the_name_of_one_placed_here_is_cancelled():
    """Of two open orders with one name both counted as placed here, and none was cancelled."""
    venue = EmergencyVenue(SPY=10)

    def twice(order):
        name = order.client_order_id
        for venue_id in ("v-one", "v-second"):
            venue.rest(name, order.side, order.quantity, venue_id=venue_id)
        venue.tell(OrderAccepted(name, 0, 0, "v-one"))

        def fill():
            venue.open.pop("v-one")
            venue.fill(order)

        venue.loop.call_later(3.0, fill)

    venue.on_send = twice
    assert venue.clear(flatten=True) is True
    assert {venue_id for _, venue_id in venue.cancels} == {"v-second"}
    assert not any(venue.held.values())
