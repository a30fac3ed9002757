from decimal import Decimal

import pytest

from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side
from scalpdesk.risk import checks
from scalpdesk.risk.context import Working
from scalpdesk.risk.counters import OrderCounters
from scalpdesk_testing.kit.instruments import option, share

D = Decimal
S = 10**9
NOW = 1_000 * S
LOWERING = (Purpose.HEDGE, Purpose.CLOSE, Purpose.UNWIND_HEDGE)


def intent(purpose=Purpose.OPEN, quantity=1, side=Side.BUY, limit=None, owner=""):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else D(limit)
    return OrderIntent(0, side, D(quantity), purpose, "", kind, price, owner=owner)


def working(
    side=Side.SELL, quantity=1, limit=None, *, number=0, purpose=Purpose.HEDGE, ago=0.0, leaves=None, owner=""
):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else D(limit)
    one = option("C") if number else share()
    left = D(quantity if leaves is None else leaves)
    return Working(number, one, side, left, kind, price, purpose, NOW - int(ago * S), D(quantity), owner)


# throttle ------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("purpose", "most"),
    [
        (Purpose.OPEN, 96),  # a fifth of 120 is kept back
        (Purpose.HEDGE, 108),  # half of that fifth
        (Purpose.CLOSE, 120),
        (Purpose.UNWIND_HEDGE, 120),
    ],
)
def test_entries_leave_a_fifth_of_the_throttle_and_hedges_half_of_it_to_exits(context, purpose, most, ask):
    def reason(sent):
        return ask(checks.throttle_has_room, context(intent=intent(purpose), orders_last_minute=sent))

    assert reason(most - 1) is None
    assert reason(most) == f"{most} orders in the last minute, limit 120"


@pytest.mark.rows(("purpose", "most"), [(Purpose.OPEN, 144), (Purpose.HEDGE, 162), (Purpose.CLOSE, 180)])
def test_cancels_count_towards_the_messages(context, purpose, most, ask):
    tallies = OrderCounters()

    def reason():
        return ask(checks.throttle_has_room, context(intent=intent(purpose), counters=tallies, now_ns=NOW))

    for _ in range(most - 1):
        tallies.note_cancel(NOW)
    assert reason() is None
    tallies.note_cancel(NOW)
    assert reason() == f"{most} orders and cancels in the last minute, limit 180"


def test_a_small_throttle_lets_entries_through(context, ask):
    assert ask(checks.throttle_has_room, context(limits={"max_orders_per_minute": 4})) is None


@pytest.mark.rows(
    ("purpose", "most"),
    [(Purpose.OPEN, 16), (Purpose.HEDGE, 18), (Purpose.CLOSE, 20), (Purpose.UNWIND_HEDGE, 20)],
)
def test_orders_at_the_venue_are_bounded_and_entries_leave_room_to_exits(context, purpose, most, ask):
    def reason(live_orders):
        return ask(checks.throttle_has_room, context(intent=intent(purpose), live_orders=live_orders))

    assert reason(most - 1) is None
    assert reason(most) == f"{most} orders at the venue, limit 20"


# duplicates ----------------------------------------------------------------------------------------


def test_an_equal_order_is_refused_within_the_window_and_passes_just_after(context, book, ask):
    def reason(ago):
        same = working(Side.BUY, 3, purpose=Purpose.OPEN, ago=ago)
        one = context(intent=intent(quantity=3), live_orders=1, now_ns=NOW, book=book(same))
        return ask(checks.is_no_duplicate, one)

    assert reason(0.5) == "an equal order was sent less than 0.5 s ago and still works"
    assert reason(0.501) is None


@pytest.mark.rows(
    "other",
    [
        working(Side.SELL, 3, purpose=Purpose.OPEN),
        working(Side.BUY, 4, purpose=Purpose.OPEN),
        working(Side.BUY, 3, "5", purpose=Purpose.OPEN),
        working(Side.BUY, 3, purpose=Purpose.HEDGE),
        working(Side.BUY, 3, purpose=Purpose.OPEN, number=1),
        working(Side.BUY, 3, purpose=Purpose.OPEN, owner="other"),
    ],
)
def test_an_order_that_differs_is_no_duplicate(context, book, other, ask):
    one = context(intent=intent(quantity=3), live_orders=1, now_ns=NOW, book=book(other))
    assert ask(checks.is_no_duplicate, one) is None


def test_a_partly_filled_order_is_compared_by_what_was_ordered(context, book, ask):
    partly = working(Side.BUY, 3, purpose=Purpose.OPEN, leaves=1)
    one = context(intent=intent(quantity=3), live_orders=1, now_ns=NOW, book=book(partly))
    assert ask(checks.is_no_duplicate, one) is not None


# self-match ----------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("side", "limit", "other", "meets"),
    [
        (Side.BUY, None, working(Side.SELL, 2), True),
        (Side.BUY, None, working(Side.SELL, 2, "99"), True),
        (Side.BUY, "10", working(Side.SELL, 2), True),
        (Side.BUY, "10.00", working(Side.SELL, 2, "10.00"), True),
        (Side.BUY, "9.99", working(Side.SELL, 2, "10.00"), False),
        (Side.SELL, "10.00", working(Side.BUY, 2, "10.00"), True),
        (Side.SELL, "10.01", working(Side.BUY, 2, "10.00"), False),
        (Side.BUY, "10", working(Side.BUY, 2, "10"), False),
        (Side.BUY, "10", working(Side.SELL, 2, "9", number=1), False),
        (Side.BUY, "10", working(Side.SELL, 2, "9", leaves=0), False),
    ],
)
def test_no_order_meets_one_of_the_desks_own(context, book, side, limit, other, meets, ask):
    one = context(intent=intent(side=side, limit=limit), live_orders=1, now_ns=NOW, book=book(other))
    assert (ask(checks.meets_no_own_order, one) is not None) is meets


def test_a_self_match_says_what_it_would_meet(context, book, ask):
    def reason(other):
        return ask(checks.meets_no_own_order, context(live_orders=1, book=book(other)))

    assert reason(working(Side.SELL, 2, "10.5")) == "would trade with the desk's own order to sell 2 at 10.5"
    assert reason(working(Side.SELL, 2)) == "would trade with the desk's own order to sell 2 at the market"


# moving size ---------------------------------------------------------------------------------------


def test_contracts_and_shares_have_a_moving_limit_each(context, ask):
    tallies = OrderCounters()
    tallies.note_order(NOW, D(990), is_option=True)
    tallies.note_order(NOW, D(199_990), is_option=False)

    def reason(quantity, **changes):
        one = context(intent=intent(quantity=quantity), counters=tallies, now_ns=NOW, **changes)
        return ask(checks.moving_size_has_room, one)

    assert reason(10) is None
    assert reason(11) == (
        "990 contracts ordered within 60 s and 11 more are above the limit of 1000"
        " (risk.max_window_contracts)"
    )
    assert reason(10, on_share=True) is None
    assert "limit of 200000 (risk.max_window_shares)" in reason(11, on_share=True)


def test_size_leaves_the_window(context, ask):
    tallies = OrderCounters()
    tallies.note_order(NOW, D(1_000), is_option=True)

    def reason(seconds, purpose=Purpose.OPEN):
        later = NOW + int(seconds * S)
        return ask(
            checks.moving_size_has_room, context(intent=intent(purpose), counters=tallies, now_ns=later)
        )

    assert reason(59.9, Purpose.CLOSE) is None
    assert reason(59.9, Purpose.HEDGE) is not None
    assert reason(59.9) is not None
    assert reason(60) is None


# refusals ------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("refused", "taken", "passes"),
    [(9, 0, True), (10, 0, False), (5, 5, False), (4, 6, True), (50, 51, True), (50, 50, False)],
)
def test_nothing_opens_while_the_venue_refuses_half_of_ten_or_more(context, refused, taken, passes, ask):
    tallies = OrderCounters()
    for is_refused, times in ((True, refused), (False, taken)):
        for _ in range(times):
            tallies.note_answer(NOW, rejected=is_refused)
    reason = ask(checks.rejections_are_few, context(counters=tallies, now_ns=NOW))
    assert (reason is None) is passes
    for purpose in LOWERING:
        lowering = context(intent=intent(purpose), counters=tallies, now_ns=NOW)
        assert ask(checks.rejections_are_few, lowering) is None


def test_refusals_are_forgotten_after_the_window(context, ask):
    tallies = OrderCounters()
    for _ in range(10):
        tallies.note_answer(NOW, rejected=True)
    late = context(counters=tallies, now_ns=NOW + 299 * S)
    assert ask(checks.rejections_are_few, late) == (
        "the venue refused 100% of the last orders, limit 50% (risk.max_reject_fraction)"
    )
    assert ask(checks.rejections_are_few, context(counters=tallies, now_ns=NOW + 300 * S)) is None


def test_orders_that_have_left_their_window_refuse_nothing_and_are_then_forgotten(context, ask):
    tallies = OrderCounters()
    for _ in range(120):
        tallies.note_order(NOW - 60 * S, Decimal(10))
    later = context(intent=intent(Purpose.CLOSE), counters=tallies, now_ns=NOW)
    earlier = context(intent=intent(Purpose.CLOSE), counters=tallies, now_ns=NOW - 1)
    assert ask(checks.throttle_has_room, earlier) == "120 orders in the last minute, limit 120"
    assert ask(checks.throttle_has_room, later) is None
    assert (len(tallies.orders_ns), tallies.shares) == (0, 0)
