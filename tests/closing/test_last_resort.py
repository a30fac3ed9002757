from collections import defaultdict
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.closing.last_resort import Flattener, closing_again
from scalpdesk.closing.plan import TargetLine, closing_lines
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import TimerEvent
from scalpdesk.core.intents import (
    MultiLegOrder,
    OrderIntent,
    OrderType,
    Purpose,
    SetTimer,
    Side,
    Stop,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.instruments.broker_terms import known_cutoff
from scalpdesk.marketdata.triggers import EveryQuote, Wake
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.contract import Proposal
from scalpdesk_testing.kit.desk import HandDesk, Scripted, cancels, decisions, orders
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import at, quote

D, NAN = Decimal, float("nan")
S = 10**9
NOW = 1_000 * S


@pytest.fixture
def desk():
    """Return a desk that holds a straddle and short shares, under a strategy that does nothing."""

    def build(strategy=None, held=None, **engine):
        one = HandDesk(strategy or Scripted(triggers=[EveryQuote(0)]), straddle_book(500), **engine)
        one.adopt({0: (-30, "500"), 1: (2, "12"), 2: (2, "12")} if held is None else held)
        one.open()
        one.go_to("11:00").market(500.0)
        return one

    return build


def look(one, seconds):
    """Let time pass and fire the desk's timer."""
    one.wait(seconds)
    one.market(500.0)
    return one.handle(TimerEvent(one.now_ns, one.now_ns, "flatten"))


def flatten_timers(outputs, now_ns):
    return [
        (one.due_ns - now_ns) / S for one in outputs if isinstance(one, SetTimer) and one.name == "flatten"
    ]


def wants(outputs):
    return [
        (int(one.instrument_id), one.side.value, int(one.quantity), one.purpose.value)
        for one in orders(outputs)
    ]


def test_what_a_silent_strategy_leaves_is_closed_options_first_then_the_hedge(desk):
    one = desk()
    one.operate("flatten")
    outputs = look(one, 10)
    assert wants(outputs) == [(1, "sell", 2, "close"), (2, "sell", 2, "close")]
    (decision,) = decisions(outputs)
    assert (decision.kind, decision.taken) == ("exit", True)
    assert decision.reasons == (
        "flattening: still held: -30 SPY, +2 SPY240419C00500000, +2 SPY240419P00500000",
        "sell the options",
    )
    call, put = orders(outputs)
    one.fill(call)
    assert wants(look(one, 2)) == []  # the put is still at the venue: the hedge stays
    one.fill(put)
    outputs = look(one, 2)
    assert wants(outputs) == [(0, "buy", 30, "unwind_hedge")]
    one.fill(orders(outputs)[0])
    outputs = look(one, 2)
    assert (one.positions, orders(outputs), flatten_timers(outputs, one.now_ns)) == ({}, [], [])


def test_the_desk_waits_while_the_strategys_own_exit_works(desk):
    def think(view, wake, event):
        if wake is not Wake.OPERATOR:
            return ()
        leaves = [OrderIntent(n, Side.SELL, D(2), Purpose.CLOSE, "mine") for n in (1, 2)]
        return (Proposal(DecisionKind.EXIT, ("mine",), {}, tuple(leaves), all_or_none=False),)

    one = desk(Scripted(think, [EveryQuote(0)]))
    mine = orders(one.operate("flatten"))
    assert len(mine) == 2
    for _ in range(2):
        outputs = look(one, 7)
        assert (orders(outputs), cancels(outputs)) == ([], [])
        assert flatten_timers(outputs, one.now_ns) == [2.0]


def test_a_stop_that_waits_is_cancelled_at_once_and_its_holding_sold(desk):
    def think(view, wake, event):
        del event
        if wake is not Wake.PRICE or view.orders.live or view.now_ns > at("11:00:01"):
            return ()
        stop = OrderIntent(1, Side.SELL, D(2), Purpose.CLOSE, "mine", Stop(D(5)))
        return (Proposal(DecisionKind.EXIT, ("mine",), {}, (stop,)),)

    limits = RiskLimits(allowed_order_types=("market", "stop"))
    one = desk(Scripted(think, [EveryQuote(0)]), held={1: (2, "12")}, limits=limits)
    (stop,) = one.engine.desk.orders.live.values()
    one.accept(stop.submitted)
    assert cancels(one.operate("flatten")) == [stop.client_order_id]
    one.cancelled(stop.client_order_id)
    assert wants(look(one, 10)) == [(1, "sell", 2, "close")]


@pytest.mark.rows(
    ("clock", "venue", "offered"),
    [
        ("15:31", "alpaca", [0, 2, 6, 14, 30, 62, 126]),
        ("15:20", "alpaca", [0, 2, 6, 14, *range(30, 128, 16)]),
        ("15:31", "deribit", [0, 2, 6, 14, *range(30, 128, 16)]),
    ],
)
def test_an_option_still_held_past_the_venues_cut_off_is_offered_after_pauses_that_double(
    clock, venue, offered
):
    flattener, now_ns = Flattener(straddle_book(500, expiry=DAY)), at(clock, DAY)
    line, market = [TargetLine("", 1, D(2))], {0: quote(0, NOW, 499.99, 500.01), 1: quote(1, NOW, 5.0, 5.1)}
    assert [
        second
        for second in range(0, 128, 2)
        if flattener.step(now_ns + second * S, line, [], market, RiskLimits(), known_cutoff(venue)).orders
    ] == offered
    smaller = [TargetLine("", 1, D(1))]  # a part went: it is taken after all
    assert flattener.step(now_ns + 129 * S, smaller, [], market, RiskLimits(), known_cutoff(venue)).orders


@given(
    held=st.integers(-300, 300).filter(bool),
    working=st.lists(
        st.tuples(
            st.integers(1, 200),
            st.sampled_from([OrderState.PENDING_NEW, OrderState.UNKNOWN, OrderState.WORKING]),
        )
    ),
)
def test_a_step_sends_what_is_held_less_what_works_and_never_more(held, working):
    """However often it is asked: an order on its way, or of unknown state, is not sent again."""
    side = Side.SELL if held > 0 else Side.BUY
    at_venue = [
        Order(
            SubmitOrder(
                f"o{n}", 0, side, D(size), OrderType.MARKET, None, TimeInForce.DAY, Purpose.UNWIND_HEDGE
            ),
            NOW,
            state,
        )
        for n, (size, state) in enumerate(working)
    ]
    flattener = Flattener(straddle_book(), "run")
    line = TargetLine("", 0, D(held))
    quotes = [quote(0, NOW, 499.99, 500.01)]
    for _ in range(3):
        step = flattener.step(NOW, [line], at_venue, quotes, RiskLimits())
        assert step.cancels == ()
        left = abs(held) - sum(size for size, _ in working)
        assert [(order.side, order.quantity) for order in step.orders] == ([(side, left)] if left > 0 else [])
        for order in flattener.name_orders(step.orders):
            at_venue.append(Order(order, NOW))
            working = [*working, (int(order.quantity), OrderState.PENDING_NEW)]


@given(
    spot=st.floats(400.0, 600.0),
    number=st.sampled_from([1, 2]),
    has_quote=st.booleans(),
    has_spot=st.booleans(),
)
def test_an_option_is_never_offered_below_its_payoff_and_one_not_seen_goes_at_the_market(
    spot, number, has_quote, has_spot
):
    """A resting offer fills at its own price: where the bid lacks for a moment, nothing is given away."""
    book = straddle_book(500)
    quotes = defaultdict(lambda: quote(0, 0, NAN, NAN))
    if has_spot:
        quotes[0] = quote(0, NOW, spot, spot)
    if has_quote:
        quotes[number] = quote(number, NOW, NAN, 200.0)
    step = Flattener(book).step(NOW, [TargetLine("", number, D(1))], [], quotes, RiskLimits())
    (sale,) = step.orders
    payoff = max(spot - 500.0 if number == 1 else 500.0 - spot, 0.0)
    if has_quote and has_spot:
        assert sale.order_type is OrderType.LIMIT
        assert 0.0 <= float(sale.limit_price) - max(0.95 * payoff, 0.0) <= 0.0100001
        assert sale.limit_price > 0
    else:
        assert (sale.order_type, sale.limit_price) == (OrderType.MARKET, None)


def test_an_offer_that_the_spot_has_left_behind_is_made_anew_at_the_payoff():
    flattener, line = Flattener(straddle_book(500)), [TargetLine("", 1, D(1))]
    quotes = {0: quote(0, NOW, 499.0, 499.0), 1: quote(1, NOW, NAN, 200.0)}
    (sale,) = flattener.name_orders(flattener.step(NOW, line, [], quotes, RiskLimits()).orders)
    resting = [Order(sale, NOW, OrderState.WORKING)]
    later = NOW + 20 * S
    assert flattener.step(later, line, resting, quotes, RiskLimits()).cancels == ()
    quotes[0] = quote(0, later, 520.0, 520.0)
    (cancel,) = flattener.step(later, line, resting, quotes, RiskLimits()).cancels
    assert cancel.client_order_id == sale.client_order_id
    (again,) = flattener.step(later, line, [], quotes, RiskLimits()).orders
    assert (sale.limit_price, again.limit_price) == (D("0.01"), D("19.00"))


@pytest.mark.rows(
    ("held", "bid", "ask", "sent"),
    [
        (10, 499.5, 500.5, [("sell", D("499.49"))]),
        (10, 0.0, 500.5, []),  # no limit can be named
        (10, NAN, 500.5, []),
        (-10, 499.5, 0.0, []),
        (-10, 0.0, 500.5, [("buy", D("500.51"))]),
    ],
)
def test_shares_are_unwound_at_a_limit_only_at_a_price_above_zero(held, bid, ask, sent):
    lines = [TargetLine("", 0, D(held))]
    quotes = {0: quote(0, NOW, bid, ask)}
    limits = RiskLimits(allowed_order_types=(OrderType.LIMIT,))
    step = Flattener(straddle_book(500)).step(NOW, lines, (), quotes, limits)
    assert [(one.side.value, one.limit_price) for one in step.orders] == sent


# one step at its boundaries ----------------------------------------


def at_work(
    name, number=0, side=Side.SELL, size=10, purpose=Purpose.UNWIND_HEDGE, *, owner="", age=0.0, **order
):
    sent = SubmitOrder(name, number, side, D(size), OrderType.MARKET, None, TimeInForce.DAY, purpose, owner)
    return Order(sent, NOW - int(age * S), **order)


def quoted(**bids):
    """Quotes of the share, a call and a put, each 0.02 wide; nothing is bid for where None is given."""
    prices = {0: 500.0, 1: 5.0, 2: 6.0} | {int(name[1:]): bid for name, bid in bids.items()}
    return {
        number: quote(number, NOW, 0.0, 0.05) if bid is None else quote(number, NOW, bid, bid + 0.02)
        for number, bid in prices.items()
    }


def step(lines=(), working=(), flattener=None, quotes=None, now_ns=NOW, **limits):
    held = [TargetLine("", number, D(size)) for number, size in lines]
    return (flattener or Flattener(straddle_book(500), "run")).step(
        now_ns, held, working, quotes or quoted(), RiskLimits(**limits)
    )


def test_nothing_held_and_nothing_at_work_is_the_end_and_one_of_both_is_not():
    assert step() is None
    assert step(working=[at_work("a", state=OrderState.UNKNOWN, age=16.0)]) == ((), (), ())
    assert step(working=[at_work("a", age=14.9)]) == ((), (), ())
    (cancel,) = step(working=[at_work("a", age=15.0)]).cancels
    assert (cancel.client_order_id, cancel.reason) == ("a", "flattening")
    found = step(working=[at_work("a", age=16.0)])
    assert found.reasons == ("flattening: still held: nothing", "take orders off the book")


@pytest.mark.rows(
    ("purpose", "lines", "is_cancelled"),
    [
        (Purpose.OPEN, [(1, 1)], True),
        (Purpose.OPEN, [], True),
        (Purpose.HEDGE, [(1, 1)], False),
        (Purpose.HEDGE, [(0, 5)], True),  # nothing is left to be hedged
        (Purpose.CLOSE, [(1, 1)], False),
        (Purpose.UNWIND_HEDGE, [(0, 5)], False),
    ],
)
@pytest.mark.rows("state", [OrderState.WORKING, OrderState.PENDING_CANCEL, OrderState.UNKNOWN])
def test_orders_that_add_to_the_book_are_taken_off_it_before_anything_is_sold(
    purpose, lines, is_cancelled, state
):
    terms = "a", 2, Side.BUY, 10, purpose
    found = step(lines, [at_work(*terms, state=state)])
    is_asked = is_cancelled and state is not OrderState.PENDING_CANCEL  # it is on its way out
    assert [one.client_order_id for one in found.cancels] == ["a"] * is_asked
    assert bool(found.orders) is (bool(lines) and not is_asked)
    again = step(lines, [at_work(*terms, state=state, is_unwanted=True)])  # in doubt it is asked for once
    assert bool(again.cancels) is (is_cancelled and state is OrderState.WORKING)


@pytest.mark.rows(
    ("order", "sent"),
    [
        (at_work("a", size=4), [6]),
        (at_work("a", size=10), []),
        (at_work("a", size=12), []),  # more is on its way out than is held
        (at_work("a", side=Side.BUY, size=4), [10]),  # the rest once it has filled: it may not
        (at_work("a", owner="other"), []),
        (at_work("a", number=1), [10]),
        (at_work("a", purpose=Purpose.HEDGE, state=OrderState.UNKNOWN), []),
        (at_work("a", size=10, filled=D(3)), [3]),
    ],
)
def test_what_works_already_is_not_sent_a_second_time(order, sent):
    found = step([(0, 10)], [order])
    assert [int(one.quantity) for one in found.orders] == sent
    short = step([(0, -14)], [at_work("b", side=Side.BUY, size=4)])
    assert [(one.side, one.quantity) for one in short.orders] == [(Side.BUY, 10)]


@pytest.mark.rows(
    ("line", "sent"),
    [
        ((0, 70), ("sell", 70)),
        ((0, 71), ("sell", 70)),
        ((0, -71), ("buy", 70)),
        ((1, 9), ("sell", 9)),
        ((1, 10), ("sell", 9)),
        ((2, -10), ("buy", 9)),
    ],
)
def test_a_part_at_a_time_leaves_of_what_is_larger_than_one_order(line, sent):
    (found,) = step([line], max_order_shares=70, max_order_contracts=9).orders
    assert (found.side.value, found.quantity) == sent
    purpose = Purpose.CLOSE if line[0] else Purpose.UNWIND_HEDGE
    assert (found.purpose, found.order_type, found.limit_price) == (purpose, OrderType.MARKET, None)
    assert (found.reason, found.owner) == ("flattening", "")


def sent_at(flattener, lines, seconds, working=(), quotes=None, begins=0):
    """Return the seconds of this range at which a step sends something."""
    times = range(begins, begins + seconds)
    return [
        second
        for second in times
        if step(lines, working, flattener=flattener, quotes=quotes, now_ns=NOW + second * S).orders
    ]


def test_the_same_orders_are_sent_again_at_growing_intervals_and_others_at_once():
    flattener = Flattener(straddle_book(500))
    assert sent_at(flattener, [(0, 10)], 100) == [0, 2, 6, 14, 29, 44, 59, 74, 89]
    assert sent_at(flattener, [(0, 9)], 10, begins=100) == [100, 102, 106]  # a part of it went
    assert sent_at(flattener, [(0, 9)], 10, [at_work("a", size=9)], begins=110) == []
    assert sent_at(flattener, [(0, 9), (1, 2)], 10, begins=120) == [120, 122, 126]  # the shares wait
    flattener.begin()
    assert sent_at(flattener, [(0, 9)], 5, begins=130) == [130, 132]


def test_what_nobody_bids_for_is_offered_ever_more_seldom_and_at_once_when_it_is_bid_for():
    flattener, now_ns = Flattener(straddle_book(500)), NOW + 10_000 * S
    nobody = quoted(_1=None)
    offers = sent_at(flattener, [(1, 2)], 10_000, quotes=nobody)
    pauses = [later - earlier for earlier, later in pairwise(offers)]
    assert pauses[:12] == [2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 1_800, 1_800]
    (sale,) = step([(1, 2)], flattener=flattener, now_ns=now_ns).orders
    assert sale.order_type is OrderType.MARKET
    # and the pauses begin again
    assert sent_at(flattener, [(1, 2)], 20, quotes=nobody, begins=10_001) == [10_002, 10_006, 10_014]
    flattener.begin()
    assert step([(1, 2)], flattener=flattener, quotes=nobody, now_ns=now_ns + 21 * S).orders


@pytest.mark.rows(
    ("side", "number", "limit", "is_left"),
    [
        (Side.SELL, 1, "0.01", True),
        (Side.SELL, 1, "0.50", False),
        (Side.SELL, 1, None, False),
        (Side.BUY, 1, "0.01", False),
        (Side.SELL, 2, "0.01", False),  # it is bid for
    ],
)
def test_the_least_offer_of_what_nobody_bids_for_rests(side, number, limit, is_left):
    sent = SubmitOrder(
        *("a", number, side, D(2), OrderType.LIMIT, None if limit is None else D(limit)),
        *(TimeInForce.DAY, Purpose.CLOSE),
    )
    found = step([(number, 2)], [Order(sent, NOW - 20 * S, OrderState.WORKING)], quotes=quoted(_1=None))
    assert bool(found.cancels) is not is_left


@pytest.mark.rows(
    ("bids", "lines", "sent"),
    [
        ({"_0": 490.0, "_1": None}, [(0, -30), (1, 2)], {0, 1}),
        ({"_0": 490.0, "_1": None}, [(0, 30), (1, 2), (2, 2)], {1, 2}),  # the put has a bid: it goes first
        ({"_0": 490.0, "_1": None, "_2": None}, [(0, 30), (1, 2), (2, 2)], {1, 2}),  # the put has a payoff
        ({"_0": 510.0, "_1": None}, [(0, -30), (1, 2)], {1}),  # exercise delivers what the hedge owes
        ({"_0": 490.0, "_1": None}, [(0, 30), (1, -2)], {1}),  # sold: it may still cost
        ({}, [(0, -30), (1, 2)], {1}),
    ],
)
def test_a_hedge_outlives_no_option_that_expires_worthless(bids, lines, sent):
    """22 shares stayed over the night beside a call without a bid."""
    found = step(lines, quotes=quoted(**bids))
    assert {int(one.instrument_id) for one in found.orders} == sent
    hedge = at_work("h", 0, Side.BUY, 5, Purpose.HEDGE)
    is_unwound = 0 in sent
    assert bool(step(lines, [hedge], quotes=quoted(**bids)).cancels) is is_unwound


@given(
    held=st.integers(-60, 60),
    doubted=st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 80)), min_size=1, max_size=4),
)
def test_what_goes_out_again_of_orders_in_doubt_takes_no_holding_across_zero(held, doubted):
    live = [
        at_work(f"o{place}", 0, side, quantity, Purpose.HEDGE, state=OrderState.UNKNOWN)
        for place, (side, quantity) in enumerate(doubted)
    ]
    again = [closing_again([order], lambda _: D(held), live) for order in live]
    sent = [(order.submitted, wanted) for order, wanted in zip(live, again, strict=True) if wanted]
    for before, wanted in sent:
        assert (wanted.client_order_id, wanted.side) == (before.client_order_id, before.side)
        assert 0 < wanted.quantity <= before.quantity
        assert wanted.side.sign * held < 0
    assert sum(wanted.quantity for _, wanted in sent) <= abs(held)
    closing = sum(order.submitted.quantity for order in live if order.submitted.side.sign * held < 0)
    assert bool(sent) is (closing > 0)


@pytest.mark.rows(("held", "is_sent"), [((2, 2), True), ((2, 1), False), ((-2, 2), False)])
def test_a_combo_in_doubt_goes_out_again_where_each_of_its_legs_is_held(held, is_sent):
    call, put = (
        at_work(f"o{number}", number, Side.SELL, 2, Purpose.CLOSE, state=OrderState.UNKNOWN)
        for number in (1, 2)
    )
    call.parent_id = put.parent_id = "whole"
    holdings = {1: D(held[0]), 2: D(held[1])}
    combo = closing_again([call, put], holdings.__getitem__, [call, put])
    assert combo == (MultiLegOrder("whole", (call.submitted, put.submitted), None) if is_sent else None)


def test_ids_count_the_attempts_at_each_instrument():
    flattener = Flattener(straddle_book(500), "run")
    found = step([(1, 2), (2, 3)], flattener=flattener).orders
    first = flattener.name_orders(found)
    second = flattener.name_orders(found[:1])
    assert [order.client_order_id for order in (*first, *second)] == [
        "run-flat-SPY240419C00500000-1",
        "run-flat-SPY240419P00500000-1",
        "run-flat-SPY240419C00500000-2",
    ]
    assert [(order.instrument_id, order.side, order.quantity) for order in first] == [
        (1, Side.SELL, 2),
        (2, Side.SELL, 3),
    ]
    assert (first[0].purpose, first[0].time_in_force) == (Purpose.CLOSE, found[0].time_in_force)
    assert Flattener(straddle_book(500), "run").name_orders(found) == first


@pytest.mark.rows(
    ("account", "a", "b", "lines"),
    [
        (10, 4, 6, [("a", 4), ("b", 6)]),
        (4, 10, -6, [("a", 4)]),  # what two hold against each other is not at the venue
        (-6, 4, -10, [("b", -6)]),
        (5, 3, 9, [("a", 3), ("b", 2)]),
        (3, 3, 9, [("a", 3)]),
        (0, 4, -4, []),
        (-5, -3, -9, [("a", -3), ("b", -2)]),
        (1, 4, -3, [("a", 1)]),
        (4, 1, 3, [("a", 1), ("b", 3)]),
        (-1, -4, 3, [("a", -1)]),
    ],
)
def test_strategies_close_together_what_the_account_holds(account, a, b, lines):
    def book(units):
        desk = HandDesk(Scripted())
        desk.adopt({0: (units, "500")} if units else {})
        return desk.engine.desk.positions

    held = {0: D(account)} if account else {}
    found = closing_lines(held, {"a": book(a), "b": book(b)})
    assert found == [TargetLine(owner, 0, D(units)) for owner, units in lines]
    alone = closing_lines(held, None)
    assert alone == ([TargetLine("", 0, D(account))] if account else [])


def test_a_sold_option_is_bought_back_before_what_covers_it_is_sold():
    flattener = Flattener(straddle_book(500))
    found = step([(1, -2), (2, 3)], flattener=flattener)
    assert [(one.instrument_id, one.side, one.quantity) for one in found.orders] == [(1, Side.BUY, 2)]
    found = step([(2, 3)], flattener=flattener, now_ns=NOW + S)
    assert [(one.instrument_id, one.side) for one in found.orders] == [(2, Side.SELL)]


def test_a_sold_option_that_cannot_be_bought_back_keeps_its_cover_only_for_a_while():
    unseen = quoted() | {1: None}
    assert [one.instrument_id for one in step([(1, -2), (2, 3)], quotes=unseen).orders] == [2]
    doubted = [at_work("a", 1, size=2, side=Side.BUY, purpose=Purpose.CLOSE, state=OrderState.UNKNOWN)]
    flattener = Flattener(straddle_book(500))
    steps = [
        step([(1, -2), (2, 3)], doubted, flattener=flattener, now_ns=NOW + count * 2 * S).orders
        for count in range(12)
    ]
    first = next(count for count, orders in enumerate(steps) if orders)
    assert 5 <= first <= 10
    assert [one.instrument_id for one in steps[first]] == [2]


@pytest.mark.rows(
    ("working", "bids", "limits"),
    [
        ([at_work("a", 1, size=2, purpose=Purpose.HEDGE, state=OrderState.UNKNOWN)], {}, {}),
        ([at_work("a", 1, size=2, purpose=Purpose.CLOSE)], {}, {}),  # all of it works
        ([], {"_1": NAN}, {"allowed_order_types": (OrderType.LIMIT,)}),  # no price for its limit
    ],
)
def test_what_cannot_be_sold_now_holds_up_nothing_else(working, bids, limits):
    quotes = quoted(**bids)
    if bids:
        quotes[0] = quote(0, NOW, NAN, NAN)  # nor a spot: its payoff is not known
    found = step([(1, 2), (2, 3)], working, quotes=quotes, **limits)
    assert [(one.instrument_id, one.quantity) for one in found.orders] == [(2, 3)]


def test_an_offer_that_waits_and_an_option_without_a_quote_hold_up_nothing_else():
    flattener, nobody = Flattener(straddle_book(500)), quoted(_1=None)
    assert len(step([(1, 2), (2, 3)], flattener=flattener, quotes=nobody).orders) == 2
    step([(1, 2), (2, 3)], flattener=flattener, quotes=nobody, now_ns=NOW + 2 * S)
    found = step([(1, 2), (2, 2)], flattener=flattener, quotes=nobody, now_ns=NOW + 3 * S)
    assert [one.instrument_id for one in found.orders] == [2]
    unseen = quoted() | {1: None}
    assert [one.instrument_id for one in step([(1, 2), (2, 3)], quotes=unseen).orders] == [2]


@pytest.mark.rows(
    ("spot", "kind"), [(0.5, OrderType.LIMIT), (0.02, OrderType.LIMIT), (0.0, OrderType.MARKET)]
)
def test_the_share_of_an_unsold_option_may_be_worth_cents(spot, kind):
    quotes = quoted(_1=None) | {0: quote(0, NOW, spot, spot)}
    (sale,) = step([(1, 2)], quotes=quotes).orders
    assert sale.order_type is kind


@pytest.mark.rows(
    ("bid", "ask", "offered"),
    [(9.9, 10.2, None), (0.05, 20.0, "9.5"), (0.0, 20.0, "9.5"), (9.9, 20.0, "9.5"), (9.0, 11.0, None)],
)
def test_an_option_in_the_money_whose_quote_is_a_stub_is_offered_at_its_payoff(bid, ask, offered):
    flattener, line = Flattener(straddle_book(500, expiry=DAY)), [TargetLine("", 1, D(2))]
    market = {0: quote(0, NOW, 509.99, 510.01), 1: quote(1, NOW, bid, ask)}
    (order,) = flattener.step(NOW, line, [], market, RiskLimits()).orders
    assert (order.side, order.quantity) == (Side.SELL, 2)
    assert order.limit_price == (None if offered is None else D(offered))
